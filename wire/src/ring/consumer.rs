//! The side that reads: the server.
//!
//! Owns the head and the sleeping flag. Reads the tail and the frames as foreign bytes: they are copied out and
//! checked, so that a lying producer harms its own ring only.

use super::layout::{FRAME_BYTES, KIND_PADDING, KIND_RECORD, frame_len, parse_frame_header};
use super::{Memory, RingError};
use crate::sync::{Ordering, fence};

/// Records copied out of a ring, bounded in number and bytes.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    records_max: usize,
    bytes_max: usize,
    until: u64,
}

impl Batch {
    /// An empty batch that takes up to `records_max` records, and no further one once it holds `bytes_max` bytes.
    pub fn new(records_max: usize, bytes_max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            ends: Vec::new(),
            records_max: records_max.max(1),
            bytes_max: bytes_max.max(1),
            until: 0,
        }
    }

    /// Whether nothing was there.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The records, oldest first.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).filter_map(|(start, &end)| self.bytes.get(start..end))
    }

    fn is_full(&self) -> bool {
        self.ends.len() >= self.records_max || self.bytes.len() >= self.bytes_max
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// The reading end of a ring.
///
/// Reading and giving back are two steps: what has been drained but not released is drained again by a
/// successor, which is how a server that dies between the two loses nothing.
#[derive(Debug)]
pub struct Consumer<M> {
    memory: M,
    /// Up to here, records have been copied out.
    cursor: u64,
    /// Up to here, bytes have been given back.
    head: u64,
}

#[cfg(not(loom))]
impl Consumer<super::SharedMemory> {
    /// Maps the ring in `memfd` and takes its reading end where the last consumer released it.
    ///
    /// The descriptor is closed: the mapping alone keeps the memory.
    ///
    /// # Errors
    /// Every [`RingError`] but [`RingError::Frame`]: what was passed is not a ring that can be trusted.
    pub fn open(memfd: std::os::fd::OwnedFd) -> Result<Self, RingError> {
        use std::os::fd::AsFd;
        Self::new(super::SharedMemory::open(memfd.as_fd())?)
    }
}

impl<M: Memory> Consumer<M> {
    /// Takes the reading end of a ring where the last consumer released it.
    ///
    /// # Errors
    /// [`RingError::Positions`] when the positions cannot be true.
    pub fn new(memory: M) -> Result<Self, RingError> {
        let head = memory.header().head.0.load(Ordering::Acquire);
        let consumer = Self { memory, cursor: head, head };
        consumer.tail()?;
        consumer.memory.header().sleeping.0.store(0, Ordering::Relaxed);
        Ok(consumer)
    }

    /// Replaces what is in `batch` by the next records, as many as it takes. It is empty when none are there.
    ///
    /// # Errors
    /// [`RingError`] when the tail or a frame lies. The batch then holds the records before it, which are sound.
    pub fn drain(&mut self, batch: &mut Batch) -> Result<(), RingError> {
        batch.clear();
        batch.until = self.cursor;
        let tail = self.tail()?;
        let capacity = self.memory.capacity();
        while self.cursor < tail && !batch.is_full() {
            let offset = self.cursor & (capacity - 1);
            let available = (tail - self.cursor).min(capacity - offset);
            // Read once: the length that is checked is the length that is used.
            let (len, kind) = parse_frame_header(self.memory.word(offset as usize));
            let frame = frame_len(u64::from(len));
            let sound = match kind {
                KIND_RECORD => frame <= available,
                KIND_PADDING => frame == capacity - offset && frame <= available,
                _ => false,
            };
            if !sound {
                return Err(RingError::Frame { position: self.cursor, kind, len, available });
            }
            if kind == KIND_RECORD {
                self.memory.read(offset as usize + FRAME_BYTES, len as usize, &mut batch.bytes);
                batch.ends.push(batch.bytes.len());
            }
            self.cursor += frame;
            batch.until = self.cursor;
        }
        Ok(())
    }

    /// Gives the bytes of `batch`, and of all before it, back to the producer. Called when the batch has been
    /// delivered: until then a crash repeats it.
    pub fn release(&mut self, batch: &Batch) {
        if batch.until > self.head && batch.until <= self.cursor {
            self.head = batch.until;
            // RELEASE: pairs with the load in Producer::see_head; the copies out come before it.
            self.memory.header().head.0.store(self.head, Ordering::Release);
        }
    }

    /// Says that this consumer is about to sleep, then looks again: `true` when it may sleep, `false` when
    /// something has come meanwhile (the flag is cleared then).
    ///
    /// # Errors
    /// [`RingError::Positions`] when the tail lies.
    pub fn announce_sleep(&mut self) -> Result<bool, RingError> {
        self.memory.header().sleeping.0.store(1, Ordering::Relaxed);
        // DOORBELL: the store above comes before the load of the tail, for the producer too (Span::commit).
        fence(Ordering::SeqCst);
        let may_sleep = self.tail()? == self.cursor;
        if !may_sleep {
            self.announce_awake();
        }
        Ok(may_sleep)
    }

    /// Says that this consumer is awake: the producer need not ring.
    pub fn announce_awake(&mut self) {
        self.memory.header().sleeping.0.store(0, Ordering::Relaxed);
    }

    /// Bytes copied out since the ring was made.
    pub fn position(&self) -> u64 {
        self.cursor
    }

    /// Bytes committed and not copied out yet; 0 when the tail lies, which `drain` reports.
    pub fn pending_bytes(&self) -> u64 {
        self.tail().map_or(0, |tail| tail - self.cursor)
    }

    /// Gives up the reading end. What has not been released is there for the next consumer of this memory.
    pub fn into_memory(self) -> M {
        self.memory
    }

    fn tail(&self) -> Result<u64, RingError> {
        // COMMIT: pairs with the store in Span::commit; the frames before it are complete.
        let tail = self.memory.header().tail.0.load(Ordering::Acquire);
        let capacity = self.memory.capacity();
        let sound = tail >= self.cursor
            && tail - self.head <= capacity
            && tail.is_multiple_of(8)
            && self.head.is_multiple_of(8);
        if sound { Ok(tail) } else { Err(RingError::Positions { head: self.head, tail, capacity }) }
    }
}
