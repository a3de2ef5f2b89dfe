//! The bounded bytes that wait to be written to one connection; the only writer of its socket.
//!
//! Owns order, bound and partial writes. Frames are shared, not copied: an outbox holds references, each to one frame
//! or to several that follow each other in every outbox. Knows nothing of sockets ([`Outbox::flush`] is given something
//! that writes) nor of what a full outbox means for its client.
//!
//! An empty outbox owns no memory: its queue comes from the shard's [`Spares`] and goes back there.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::Bytes;

use crate::frame;

/// Slices that one write takes; more than a kernel needs to fill a socket buffer with small frames.
const SLICES_MAX: usize = 64;

/// Frames on their way to one connection.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: VecDeque<Bytes>,
    /// Bytes of the first entry that are written already.
    written: usize,
    /// Bytes that are not written yet.
    waiting: usize,
}

/// The outbox would hold more than it may: the client does not keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overflow;

/// How far a flush came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flush {
    /// Everything is written.
    Empty,
    /// The socket takes no more for now.
    Blocked,
}

/// Queues that no outbox uses at the moment, so that delivery allocates nothing per subscriber.
#[derive(Debug, Default)]
pub(super) struct Spares(Vec<VecDeque<Bytes>>);

/// Spare queues that a shard keeps, and the frames that one may have room for to be kept.
const SPARES_MAX: usize = 1024;
const SPARE_FRAMES_MAX: usize = 256;

impl Outbox {
    /// Whether everything is written.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Writes a frame at once, since nothing waits before it; what the socket does not take now waits. Most deliveries
    /// end here, and touch neither the queue nor the frame's count of references.
    ///
    /// # Errors
    /// As [`Outbox::flush`].
    pub(super) fn pass(
        &mut self,
        frame: &Bytes,
        spares: &mut Spares,
        write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<Flush> {
        let written = match write(&[IoSlice::new(frame)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) if n >= frame.len() => return Ok(Flush::Empty),
            Ok(n) => n,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => 0,
            Err(error) => return Err(error),
        };
        self.borrow_queue(spares);
        self.frames.push_back(frame.clone());
        (self.written, self.waiting) = (written, frame.len() - written);
        Ok(Flush::Blocked)
    }

    fn borrow_queue(&mut self, spares: &mut Spares) {
        if self.frames.capacity() == 0
            && let Some(spare) = spares.0.pop()
        {
            self.frames = spare;
        }
    }

    /// Whether a part of the first frame is written.
    pub(super) fn has_begun(&self) -> bool {
        self.written > 0
    }

    /// Whether a frame of `len` bytes would be taken. One larger than `bytes_max` still fits into an empty outbox.
    pub(super) fn has_room(&self, len: usize, bytes_max: usize) -> bool {
        self.frames.is_empty() || self.waiting.saturating_add(len) <= bytes_max
    }

    /// Appends a frame.
    ///
    /// # Errors
    /// [`Overflow`]: the frame is not taken.
    pub(super) fn enqueue(
        &mut self,
        frame: Bytes,
        bytes_max: usize,
        spares: &mut Spares,
    ) -> Result<(), Overflow> {
        if !self.has_room(frame.len(), bytes_max) {
            return Err(Overflow);
        }
        self.borrow_queue(spares);
        self.waiting += frame.len();
        self.frames.push_back(frame);
        Ok(())
    }

    /// Appends a frame whatever the bound: the last words to a client that does not keep up.
    pub(super) fn enqueue_last(&mut self, frame: Bytes) {
        self.waiting += frame.len();
        self.frames.push_back(frame);
    }

    /// Drops every frame of which nothing is written yet; one that has begun must be ended, or what follows it
    /// could not be read.
    pub(super) fn discard(&mut self) {
        self.frames.truncate(usize::from(self.written > 0));
        if let Some(first) = self.frames.front_mut() {
            first.truncate(frame::end_of_begun(first, self.written));
            if first.len() == self.written {
                self.frames.clear();
                self.written = 0;
            }
        }
        self.waiting = self.frames.front().map_or(0, |frame| frame.len() - self.written);
    }

    /// Writes until everything is written or `write` says that it would block.
    ///
    /// # Errors
    /// What `write` says, other than that it would block; `WriteZero` when it takes nothing.
    pub(super) fn flush(
        &mut self,
        spares: &mut Spares,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<Flush> {
        while !self.frames.is_empty() {
            match self.write_some(&mut write) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.advance(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Flush::Blocked),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let queue = std::mem::take(&mut self.frames);
        if (1..=SPARE_FRAMES_MAX).contains(&queue.capacity()) && spares.0.len() < SPARES_MAX {
            spares.0.push(queue);
        }
        Ok(Flush::Empty)
    }

    fn write_some(&self, write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<usize> {
        if let (Some(only), 1) = (self.frames.front(), self.frames.len()) {
            return write(&[IoSlice::new(&only[self.written..])]);
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut skip = self.written;
        let filled = slices.iter_mut().zip(&self.frames).map(|(slice, frame)| {
            *slice = IoSlice::new(&frame[std::mem::take(&mut skip)..]);
        });
        let filled = filled.count();
        write(&slices[..filled])
    }

    fn advance(&mut self, n: usize) {
        self.waiting = self.waiting.saturating_sub(n);
        self.written += n;
        while let Some(first) = self.frames.front() {
            if self.written < first.len() {
                return;
            }
            self.written -= first.len();
            self.frames.pop_front();
        }
        self.written = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket that takes `room` bytes, at most `step` of them in one write.
    struct Socket {
        taken: Vec<u8>,
        room: usize,
        step: usize,
        writes: usize,
    }

    impl Socket {
        fn new(room: usize, step: usize) -> Self {
            Self { taken: Vec::new(), room, step, writes: 0 }
        }

        fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.writes += 1;
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            let n = all.len().min(self.room).min(self.step);
            self.taken.extend_from_slice(&all[..n]);
            self.room -= n;
            Ok(n)
        }
    }

    fn frames(outbox: &mut Outbox, spares: &mut Spares, texts: &[&'static str]) {
        for text in texts {
            outbox.enqueue(Bytes::from_static(text.as_bytes()), 1000, spares).unwrap();
        }
    }

    #[test]
    fn a_burst_is_one_write() {
        let (mut outbox, mut spares) = (Outbox::default(), Spares::default());
        let mut socket = Socket::new(usize::MAX, usize::MAX);
        frames(&mut outbox, &mut spares, &["x"; 50]);
        assert_eq!(outbox.flush(&mut spares, |s| socket.write(s)).unwrap(), Flush::Empty);
        assert_eq!((socket.writes, socket.taken.len()), (1, 50));
        assert_eq!((outbox.frames.capacity(), spares.0.len()), (0, 1));
        frames(&mut outbox, &mut spares, &["y"]);
        assert_eq!(spares.0.len(), 0);
    }

    #[test]
    fn whatever_the_socket_takes_the_bytes_stay_in_order() {
        for step in 1..8 {
            let (mut outbox, mut spares) = (Outbox::default(), Spares::default());
            let mut socket = Socket::new(5, step);
            frames(&mut outbox, &mut spares, &["abc", "de", "fghi"]);
            assert_eq!(outbox.flush(&mut spares, |s| socket.write(s)).unwrap(), Flush::Blocked);
            frames(&mut outbox, &mut spares, &["jk"]);
            socket.room = 100;
            assert_eq!(outbox.flush(&mut spares, |s| socket.write(s)).unwrap(), Flush::Empty);
            assert_eq!(socket.taken, b"abcdefghijk");
            assert_eq!(outbox.waiting, 0);
        }
    }

    #[test]
    fn the_bound_holds_but_one_frame_always_fits() {
        let (mut outbox, mut spares) = (Outbox::default(), Spares::default());
        let big = Bytes::from(vec![0; 20]);
        assert_eq!(outbox.enqueue(big.clone(), 10, &mut spares), Ok(()));
        assert_eq!(outbox.enqueue(Bytes::from_static(b"x"), 10, &mut spares), Err(Overflow));
        assert_eq!(outbox.enqueue(Bytes::from_static(b"x"), 21, &mut spares), Ok(()));
    }

    #[test]
    fn discarding_keeps_what_has_begun() {
        let (mut outbox, mut spares) = (Outbox::default(), Spares::default());
        let mut socket = Socket::new(1, 1);
        frames(&mut outbox, &mut spares, &["abc", "def"]);
        outbox.flush(&mut spares, |s| socket.write(s)).unwrap();
        outbox.discard();
        outbox.enqueue_last(Bytes::from_static(b"!"));
        socket.room = 100;
        outbox.flush(&mut spares, |s| socket.write(s)).unwrap();
        assert_eq!(socket.taken, b"abc!");

        frames(&mut outbox, &mut spares, &["abc"]);
        outbox.discard();
        assert!(outbox.is_empty() && outbox.waiting == 0);
    }

    #[test]
    fn of_frames_in_one_piece_the_one_that_has_begun_is_kept() {
        let (one, two) = (frame::text("one"), frame::text("two"));
        let piece = Bytes::from([&one[..], &two, &frame::text("three")].concat());
        for written in 0..piece.len() {
            let (mut outbox, mut spares) = (Outbox::default(), Spares::default());
            let mut socket = Socket::new(written, usize::MAX);
            assert_eq!(outbox.pass(&piece, &mut spares, |s| socket.write(s)).unwrap(), Flush::Blocked);
            outbox.discard();
            outbox.enqueue_last(Bytes::from_static(b"!"));
            socket.room = 100;
            assert_eq!(outbox.flush(&mut spares, |s| socket.write(s)).unwrap(), Flush::Empty);
            let end = frame::end_of_begun(&piece, written);
            assert_eq!(socket.taken, [&piece[..end], b"!"].concat(), "{written}");
            assert_eq!((outbox.waiting, outbox.written), (0, 0));
        }
    }

    #[test]
    fn what_passes_leaves_nothing_behind_and_what_does_not_waits_in_order() {
        let (mut outbox, mut spares) = (Outbox::default(), Spares::default());
        let mut socket = Socket::new(5, usize::MAX);
        let pass = |outbox: &mut Outbox, spares: &mut Spares, socket: &mut Socket, text: &'static str| {
            outbox.pass(&Bytes::from_static(text.as_bytes()), spares, |s| socket.write(s)).unwrap()
        };
        assert_eq!(pass(&mut outbox, &mut spares, &mut socket, "abc"), Flush::Empty);
        assert_eq!((outbox.frames.capacity(), outbox.waiting), (0, 0));
        assert_eq!(pass(&mut outbox, &mut spares, &mut socket, "defg"), Flush::Blocked);
        assert_eq!(outbox.waiting, 2);
        frames(&mut outbox, &mut spares, &["h"]);
        socket.room = 100;
        assert_eq!(outbox.flush(&mut spares, |s| socket.write(s)).unwrap(), Flush::Empty);
        assert_eq!(socket.taken, b"abcdefgh");
        assert!(outbox.pass(&Bytes::from_static(b"x"), &mut spares, |_| Ok(0)).is_err());
    }

    #[test]
    fn a_broken_socket_is_an_error() {
        let (mut outbox, mut spares) = (Outbox::default(), Spares::default());
        frames(&mut outbox, &mut spares, &["abc"]);
        assert!(outbox.flush(&mut spares, |_| Err(io::ErrorKind::BrokenPipe.into())).is_err());
        assert!(outbox.flush(&mut spares, |_| Ok(0)).is_err());
    }
}
