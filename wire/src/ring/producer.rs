//! The side that writes: PHP.
//!
//! Owns the tail. Reads the consumer's head and flag as foreign words: a head that cannot be true is an error,
//! never a position that is written to.

use thiserror::Error;

use super::layout::{FRAME_BYTES, KIND_PADDING, KIND_RECORD, frame_header, frame_len, parse_frame_header};
use super::{Memory, RingError};
use crate::record::Sink;
use crate::sync::{Ordering, fence};

/// Why no span could be reserved.
#[derive(Debug, Error)]
pub enum ReserveError {
    /// The consumer has not given enough bytes back yet.
    #[error("the ring has no room for {needed} bytes: {unread} of {capacity} bytes wait to be read")]
    Full {
        /// Bytes that the frame needs, padding included.
        needed: u64,
        /// Bytes not given back.
        unread: u64,
        /// Bytes of the data area.
        capacity: u64,
    },
    /// The record would never fit, even into an empty ring.
    #[error("expected a record of at most {max} bytes for this ring, but found {found} bytes")]
    TooLarge {
        /// [`Producer::record_bytes_max`].
        max: usize,
        /// Bytes of the record.
        found: usize,
    },
    /// The consumer's words make no sense.
    #[error(transparent)]
    Corrupt(#[from] RingError),
}

/// What has been committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a sleeping consumer reads nothing until its doorbell rings"]
pub struct Committed {
    /// The consumer sleeps: ring its doorbell.
    pub ring_doorbell: bool,
}

/// What the consumer has not given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread {
    /// Records, counted.
    pub records: u64,
    /// Bytes, frame headers and padding included.
    pub bytes: u64,
}

/// The writing end of a ring.
#[derive(Debug)]
pub struct Producer<M> {
    memory: M,
    tail: u64,
    /// The newest head seen. It only grows, so that it is read again only when the ring seems full.
    head: u64,
}

#[cfg(not(loom))]
impl Producer<super::SharedMemory> {
    /// Makes a ring of `capacity` data bytes in a sealed memfd. The descriptor is kept by the producer, which
    /// hands the same ring to the server's successor.
    ///
    /// # Errors
    /// See [`super::SharedMemory::create`].
    pub fn create(capacity: usize) -> Result<(Self, std::os::fd::OwnedFd), RingError> {
        let (memory, memfd) = super::SharedMemory::create(capacity)?;
        Ok((Self::new(memory), memfd))
    }
}

impl<M: Memory> Producer<M> {
    /// Takes the writing end of a new, empty ring.
    pub fn new(memory: M) -> Self {
        Self { memory, tail: 0, head: 0 }
    }

    /// The largest record that always fits into the empty ring, in bytes: half of it, because padding may take
    /// as much as the record itself.
    pub fn record_bytes_max(&self) -> usize {
        (self.memory.capacity() / 2) as usize - FRAME_BYTES
    }

    /// Reserves a span for a record of `len` bytes. Never waits.
    ///
    /// # Errors
    /// [`ReserveError::Full`] when the consumer has to read first; the other outcomes are final.
    #[inline]
    pub fn reserve(&mut self, len: usize) -> Result<Span<'_, M>, ReserveError> {
        let max = self.record_bytes_max();
        if len > max {
            return Err(ReserveError::TooLarge { max, found: len });
        }
        let capacity = self.memory.capacity();
        let offset = self.tail & (capacity - 1);
        let frame = frame_len(len as u64);
        let to_end = capacity - offset;
        let padding = if frame > to_end { to_end } else { 0 };
        let needed = padding + frame;
        if self.tail + needed - self.head > capacity {
            self.see_head()?;
            let unread = self.tail - self.head;
            if unread + needed > capacity {
                return Err(ReserveError::Full { needed, unread, capacity });
            }
        }
        let start = if padding > 0 {
            let header = frame_header((padding - FRAME_BYTES as u64) as u32, KIND_PADDING);
            self.memory.write(offset as usize, &header);
            0
        } else {
            offset
        };
        let position = start as usize + FRAME_BYTES;
        Ok(Span {
            end: position + len,
            position,
            start: start as usize,
            len,
            next: self.tail + needed,
            producer: self,
        })
    }

    /// Counts what the consumer has not given back. A head that cannot be true gives nothing back: it is counted
    /// from the last one that could. A frame that the consumer has overwritten ends the count of records.
    pub fn unread(&mut self) -> Unread {
        let _ = self.see_head();
        let capacity = self.memory.capacity();
        let mut records = 0;
        let mut position = self.head;
        while position < self.tail {
            let offset = position & (capacity - 1);
            let (len, kind) = parse_frame_header(self.memory.word(offset as usize));
            let available = (self.tail - position).min(capacity - offset);
            if frame_len(u64::from(len)) > available {
                break;
            }
            records += u64::from(kind == KIND_RECORD);
            position += frame_len(u64::from(len));
        }
        Unread { records, bytes: self.tail - self.head }
    }

    /// Whether the consumer has given everything back. One whose head cannot be true has not.
    pub fn is_drained(&mut self) -> bool {
        self.see_head().is_ok() && self.head == self.tail
    }

    fn see_head(&mut self) -> Result<(), RingError> {
        // RELEASE: pairs with the store in Consumer::release; the bytes before it are free.
        let head = self.memory.header().head.0.load(Ordering::Acquire);
        if head < self.head || head > self.tail || !head.is_multiple_of(8) {
            let capacity = self.memory.capacity();
            return Err(RingError::Positions { head, tail: self.tail, capacity });
        }
        self.head = head;
        Ok(())
    }
}

/// A part of the ring that only this producer can see yet. Dropped without [`Span::commit`], it never existed.
#[derive(Debug)]
#[must_use = "a span that is not committed is never read"]
pub struct Span<'a, M: Memory> {
    producer: &'a mut Producer<M>,
    start: usize,
    position: usize,
    end: usize,
    len: usize,
    next: u64,
}

impl<M: Memory> Sink for Span<'_, M> {
    /// Appends bytes; what does not fit into the reserved length is left out, and `commit` then commits nothing.
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        if bytes.len() <= self.end - self.position.min(self.end) {
            self.producer.memory.write(self.position, bytes);
        }
        self.position = self.position.saturating_add(bytes.len());
    }
}

impl<M: Memory> Span<'_, M> {
    /// Makes the record visible to the consumer, whole, with one store.
    ///
    /// # Errors
    /// Gives back the number of bytes that were put when it is not the number reserved; nothing is committed then.
    #[inline]
    pub fn commit(self) -> Result<Committed, usize> {
        if self.position != self.end {
            return Err(self.position - self.start - FRAME_BYTES);
        }
        let memory = &self.producer.memory;
        memory.write(self.start, &frame_header(self.len as u32, KIND_RECORD));
        let header = memory.header();
        // COMMIT: pairs with the load in Consumer::drain; the frame's bytes come before it.
        header.tail.0.store(self.next, Ordering::Release);
        self.producer.tail = self.next;
        // DOORBELL: the store above comes before the load below, for the consumer too (Consumer::announce_sleep).
        fence(Ordering::SeqCst);
        let ring_doorbell = header.sleeping.0.load(Ordering::Relaxed) != 0;
        if ring_doorbell {
            // Rung once per sleep: the next commits find the flag cleared and stay free of system calls.
            header.sleeping.0.store(0, Ordering::Relaxed);
        }
        Ok(Committed { ring_doorbell })
    }
}
