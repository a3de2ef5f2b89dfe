//! As messages on the Unix socket, where shared memory cannot be had.
//!
//! The kernel's buffer dies with the server that should have read it. What the server has not acknowledged is
//! therefore kept here as well, bounded, and sent again to its successor.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use fanfare_wire::attach::{self, Message};
use fanfare_wire::record::{Draft, RECORD_BYTES_MAX, Sink};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg};

use super::{NotCommitted, Unread};
use crate::link::{self, Link};

/// Acknowledgements are read when this many records wait for one, so that most broadcasts cost one system call.
const UNREAD_BEFORE_LOOK: usize = 64;
/// How long a message that the kernel has taken in part may wait for the rest. The server reads continuously: when
/// it does not, it is stopped, and the connection is given up (the message is not).
const HALF_WRITTEN_PATIENCE: Duration = Duration::from_millis(20);

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

    pub(super) fn attached(&mut self) {
        self.written = 0;
        self.acknowledged = 0;
        self.inbox.clear();
    }

    pub(super) fn commit<'a, C>(&mut self, draft: &Draft<'a, C>, link: &Link) -> Result<(), NotCommitted>
    where
        C: Iterator<Item = &'a [u8]> + Clone,
    {
        let len = attach::HEADER_BYTES + draft.encoded_len();
        if self.lens.len() >= UNREAD_BEFORE_LOOK || self.backlog.len() + len > self.bytes_max {
            self.read_acknowledgements(link)?;
        }
        // What a predecessor did not deliver goes first.
        if self.written < self.backlog.len() {
            match self.write(link) {
                Write::Done => {}
                Write::WouldBlock => return Err(NotCommitted::Full),
                Write::Broken => return Err(NotCommitted::ServerGone),
            }
        }
        if self.backlog.len() + len > self.bytes_max {
            return Err(NotCommitted::Full);
        }
        let start = self.backlog.len();
        self.backlog.extend(attach::record_header(draft.encoded_len()));
        draft.encode(&mut Backlog(&mut self.backlog));
        self.lens.push_back(len);
        self.write_last(link, start)
    }

    /// Writes the newest message, which starts at `start`. It is either taken as a whole or, as far as anybody can
    /// tell, was never there.
    fn write_last(&mut self, link: &Link, start: usize) -> Result<(), NotCommitted> {
        let deadline = Instant::now() + HALF_WRITTEN_PATIENCE;
        loop {
            let failure = match self.write(link) {
                Write::Done => return Ok(()),
                Write::WouldBlock if self.written == start => NotCommitted::Full,
                Write::WouldBlock if link::wait(link.stream(), PollFlags::OUT, deadline) => continue,
                // Half a message cannot be taken back, but the connection can: the server drops the half.
                Write::WouldBlock | Write::Broken => NotCommitted::ServerGone,
            };
            self.backlog.truncate(start);
            self.lens.pop_back();
            return Err(failure);
        }
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

    fn read_acknowledgements(&mut self, link: &Link) -> Result<(), NotCommitted> {
        let mut chunk = [0_u8; 1024];
        let received = loop {
            match recv(link.stream(), &mut chunk[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => break Err(NotCommitted::ServerGone),
                Ok((len, _)) => self.inbox.extend_from_slice(chunk.get(..len).unwrap_or_default()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break Ok(()),
                Err(_) => break Err(NotCommitted::ServerGone),
            }
        };
        // A server that leaves in good order has acknowledged everything just before.
        while let Some(records) = self.next_acknowledgement()? {
            self.forget(records);
        }
        received
    }

    fn next_acknowledgement(&mut self) -> Result<Option<u64>, NotCommitted> {
        let decoded = Message::decode_within(&self.inbox, attach::HANDSHAKE_BYTES_MAX);
        let Some((message, len)) = decoded.map_err(|_| NotCommitted::ServerGone)? else { return Ok(None) };
        let Message::Ack { records } = message else { return Err(NotCommitted::ServerGone) };
        self.inbox.drain(..len);
        Ok(Some(records))
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

    pub(super) fn is_drained(&mut self, link: Option<&Link>) -> bool {
        if let Some(link) = link {
            let _ = self.read_acknowledgements(link);
            let _ = self.write(link);
        }
        self.lens.is_empty()
    }

    pub(super) fn unread(&mut self) -> Unread {
        Unread { records: self.lens.len() as u64 }
    }
}
