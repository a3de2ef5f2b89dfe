//! As messages on the Unix socket, where shared memory cannot be had.
//!
//! The kernel's buffer dies with the server that should have read it. What the server has not acknowledged is
//! therefore kept here as well, bounded, and sent again to its successor. What it says is always read before a
//! connection is judged or given up: its last acknowledgements are what must not be sent twice.

use std::collections::VecDeque;
use std::io::IoSlice;

use fanfare_wire::attach::{self, Message};
use fanfare_wire::record::{Draft, RECORD_BYTES_MAX, Sink};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

use super::{Gone, NotCommitted};
use crate::link::Link;

/// Acknowledgements are read when this many records wait for one, so that most broadcasts cost one system call.
const UNREAD_BEFORE_HEARING: usize = 64;

/// Messages sent and not acknowledged, and the rest of the connection's state.
#[derive(Debug)]
pub(crate) struct SocketTransport {
    backlog: VecDeque<u8>,
    lens: VecDeque<usize>,
    /// Bytes of the backlog that this connection has taken.
    written: usize,
    /// Records that the server has acknowledged on this connection.
    acknowledged: u64,
    inbox: Vec<u8>,
    bytes_max: usize,
}

struct Backlog<'a>(&'a mut VecDeque<u8>);

impl Sink for Backlog<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }
}

enum Write {
    Done,
    WouldBlock,
    Broken,
}

impl SocketTransport {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            backlog: VecDeque::new(),
            lens: VecDeque::new(),
            written: 0,
            acknowledged: 0,
            inbox: Vec::new(),
            bytes_max,
        }
    }

    pub(super) fn record_bytes_max(&self) -> usize {
        // As in a ring of the same size, so that a payload does not depend on the transport.
        (self.bytes_max / 2).min(RECORD_BYTES_MAX) - attach::HEADER_BYTES
    }

    pub(super) fn attached(&mut self, said: Vec<u8>) {
        self.written = 0;
        self.acknowledged = 0;
        self.inbox = said;
    }

    pub(super) fn commit<'a, C>(&mut self, draft: &Draft<'a, C>, link: &Link) -> Result<(), NotCommitted>
    where
        C: Iterator<Item = &'a [u8]> + Clone,
    {
        let len = attach::HEADER_BYTES + draft.encoded_len();
        if self.lens.len() >= UNREAD_BEFORE_HEARING || self.backlog.len() + len > self.bytes_max {
            self.hear(link).map_err(|_| NotCommitted::ServerGone)?;
        }
        // What was not written yet goes first: a predecessor's, or the rest of a message.
        match self.write(link) {
            Write::Done if self.backlog.len() + len <= self.bytes_max => {}
            Write::Done | Write::WouldBlock => return Err(NotCommitted::Full),
            Write::Broken => return Err(NotCommitted::ServerGone),
        }
        let start = self.backlog.len();
        self.backlog.extend(attach::record_header(draft.encoded_len()));
        draft.encode(&mut Backlog(&mut self.backlog));
        self.lens.push_back(len);
        let why = match self.write(link) {
            Write::Done => return Ok(()),
            Write::WouldBlock if self.written > start => return Err(NotCommitted::Half),
            Write::WouldBlock => NotCommitted::Full,
            // Part of it may have been taken: a server that is gone did not read a whole message.
            Write::Broken => NotCommitted::ServerGone,
        };
        self.backlog.truncate(start);
        self.written = self.written.min(start);
        self.lens.pop_back();
        Err(why)
    }

    /// Writes what was not written yet; whether that was all of it.
    pub(super) fn flush(&mut self, link: &Link) -> bool {
        matches!(self.write(link), Write::Done)
    }

    fn write(&mut self, link: &Link) -> Write {
        while self.written < self.backlog.len() {
            let (front, back) = self.backlog.as_slices();
            let slices = match front.get(self.written..) {
                Some(front) => [IoSlice::new(front), IoSlice::new(back)],
                None => {
                    let back = back.get(self.written - front.len()..).unwrap_or_default();
                    [IoSlice::new(back), IoSlice::new(&[])]
                }
            };
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match sendmsg(link.stream(), &slices, &mut SendAncillaryBuffer::default(), flags) {
                Ok(sent) => self.written += sent,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Write::WouldBlock,
                Err(_) => return Write::Broken,
            }
        }
        Write::Done
    }

    /// What ends the wait for room: an acknowledgement, and room in the kernel's buffer where that is full.
    pub(super) fn room_flags(&self) -> PollFlags {
        if self.written < self.backlog.len() || self.backlog.len() < self.bytes_max / 2 {
            PollFlags::IN | PollFlags::OUT
        } else {
            PollFlags::IN
        }
    }

    /// Takes in what the server has said.
    ///
    /// # Errors
    /// [`Gone`] after the last acknowledgement has been taken in.
    pub(super) fn hear(&mut self, link: &Link) -> Result<(), Gone> {
        let heard = link.hear(&mut self.inbox);
        loop {
            match Message::decode(&self.inbox) {
                Ok(Some((Message::Ack { records }, len))) => {
                    self.inbox.drain(..len);
                    self.forget(records);
                }
                Ok(Some((other, _))) => return Err(Gone::because_of(&other)),
                Ok(None) => return heard,
                Err(error) => return Err(Gone { refusal: Some(error.to_string()) }),
            }
        }
    }

    /// The server has delivered `records` in all on this connection. A count beyond what was sent acknowledges
    /// no more than that.
    fn forget(&mut self, records: u64) {
        while self.acknowledged < records {
            match self.lens.front() {
                Some(&len) if len <= self.written => {
                    self.backlog.drain(..len);
                    self.written -= len;
                    self.lens.pop_front();
                    self.acknowledged += 1;
                }
                _ => return,
            }
        }
    }

    pub(super) fn is_drained(&self) -> bool {
        self.lens.is_empty()
    }

    pub(super) fn unread_records(&self) -> u64 {
        self.lens.len() as u64
    }
}
