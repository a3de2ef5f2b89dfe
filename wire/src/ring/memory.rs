//! What a ring is laid over: memory shared with another process, or the heap (tests, models).
//!
//! Owns the size and seal checks of shared memory. The algorithm above it is the same for both.

use super::layout::{Header, Line};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// A header and a data area that two parties reach at the same time.
///
/// Offsets are within the data area. Access outside of it does nothing (write) or gives nothing (read): the
/// algorithm never asks for it, and a mistake must not become somebody's crash.
pub trait Memory: std::fmt::Debug {
    /// The words that both sides share.
    fn header(&self) -> &Header;
    /// Bytes of the data area: this side's own, checked copy.
    fn capacity(&self) -> u64;
    /// Copies `bytes` to `offset`.
    fn write(&self, offset: usize, bytes: &[u8]);
    /// Appends `len` bytes from `offset` to `into`.
    fn read(&self, offset: usize, len: usize, into: &mut Vec<u8>);
    /// The 8 bytes at `offset`.
    fn word(&self, offset: usize) -> [u8; 8];
}

impl Header {
    pub(super) fn new(capacity: u64) -> Self {
        use super::layout::{HEADER_BYTES, MAGIC, VERSION};
        Self {
            magic: AtomicU64::new(MAGIC),
            version: AtomicU32::new(VERSION),
            header_bytes: AtomicU32::new(HEADER_BYTES as u32),
            capacity: AtomicU64::new(capacity),
            tail: Line(AtomicU64::new(0)),
            head: Line(AtomicU64::new(0)),
            sleeping: Line(AtomicU32::new(0)),
        }
    }
}

/// A ring on the heap, shared between threads. Its bytes are relaxed atomic words, so that a model checker sees
/// a read that is not ordered after its write.
#[derive(Debug)]
pub struct HeapMemory {
    header: Header,
    words: Box<[AtomicU64]>,
}

impl HeapMemory {
    /// A data area of `words` × 8 bytes; `words` is rounded up to a power of two.
    pub fn new(words: usize) -> Self {
        let words = words.max(1).next_power_of_two();
        Self { header: Header::new(words as u64 * 8), words: (0..words).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Memory for std::sync::Arc<HeapMemory> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn capacity(&self) -> u64 {
        self.words.len() as u64 * 8
    }

    fn write(&self, mut offset: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let Some(word) = self.words.get(offset / 8) else { return };
            let start = offset % 8;
            let len = bytes.len().min(8 - start);
            let mut content = word.load(Ordering::Relaxed).to_le_bytes();
            content[start..start + len].copy_from_slice(&bytes[..len]);
            word.store(u64::from_le_bytes(content), Ordering::Relaxed);
            offset += len;
            bytes = &bytes[len..];
        }
    }

    fn read(&self, mut offset: usize, mut len: usize, into: &mut Vec<u8>) {
        while len > 0 {
            let Some(word) = self.words.get(offset / 8) else { return };
            let start = offset % 8;
            let step = len.min(8 - start);
            into.extend_from_slice(&word.load(Ordering::Relaxed).to_le_bytes()[start..start + step]);
            offset += step;
            len -= step;
        }
    }

    fn word(&self, offset: usize) -> [u8; 8] {
        self.words.get(offset / 8).map_or(0, |word| word.load(Ordering::Relaxed)).to_le_bytes()
    }
}

#[cfg(not(loom))]
pub use shared::SharedMemory;

#[cfg(not(loom))]
mod shared {
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::sync::atomic::Ordering;

    use rustix::fs::{MemfdFlags, SealFlags};

    use super::{Header, Memory};
    use crate::ring::RingError;
    use crate::ring::layout::{HEADER_BYTES, MAGIC, VERSION, is_capacity};
    use crate::sys::Mapping;

    const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

    /// A ring in a sealed memfd, mapped into this process.
    #[derive(Debug)]
    pub struct SharedMemory {
        mapping: Mapping,
        capacity: u64,
    }

    impl SharedMemory {
        /// Makes a memfd of one header page and `capacity` bytes of data, seals its size, and maps it.
        ///
        /// # Errors
        /// [`RingError::Capacity`] when the capacity is not a power of two within the limits, [`RingError::Memory`]
        /// when the system refuses.
        pub fn create(capacity: usize) -> Result<(Self, OwnedFd), RingError> {
            if !is_capacity(capacity as u64) {
                return Err(RingError::Capacity { found: capacity as u64 });
            }
            let len = HEADER_BYTES + capacity;
            let memfd = rustix::fs::memfd_create(
                c"fanfare-ring",
                MemfdFlags::CLOEXEC.union(MemfdFlags::ALLOW_SEALING),
            )
            .map_err(failed("created"))?;
            rustix::fs::ftruncate(&memfd, len as u64).map_err(failed("sized"))?;
            rustix::fs::fcntl_add_seals(&memfd, SEALS).map_err(failed("sealed"))?;
            let mapping = Mapping::shared(memfd.as_fd(), len)
                .map_err(|source| RingError::Memory { action: "mapped", source })?;
            let header = mapping.header();
            header.capacity.store(capacity as u64, Ordering::Relaxed);
            header.header_bytes.store(HEADER_BYTES as u32, Ordering::Relaxed);
            header.magic.store(MAGIC, Ordering::Relaxed);
            // Last: a ring with a version is complete.
            header.version.store(VERSION, Ordering::Release);
            Ok((Self { mapping, capacity: capacity as u64 }, memfd))
        }

        /// Maps a ring that another process made, after its seals and its header have been checked.
        ///
        /// # Errors
        /// Every [`RingError`] but [`RingError::Frame`].
        pub fn open(memfd: BorrowedFd<'_>) -> Result<Self, RingError> {
            let seals = rustix::fs::fcntl_get_seals(memfd).map_err(failed("asked for its seals"))?;
            if !seals.contains(SealFlags::SHRINK | SealFlags::GROW) {
                return Err(RingError::Unsealed { found: seals.bits() });
            }
            // Sealed: the size read now is the size for good.
            let stat = rustix::fs::fstat(memfd).map_err(failed("measured"))?;
            let found = u64::try_from(stat.st_size).unwrap_or(0);
            let capacity = found.saturating_sub(HEADER_BYTES as u64);
            if !is_capacity(capacity) {
                return Err(RingError::Capacity { found: capacity });
            }
            let mapping = Mapping::shared(memfd, HEADER_BYTES + capacity as usize)
                .map_err(|source| RingError::Memory { action: "mapped", source })?;
            let header = mapping.header();
            let version = header.version.load(Ordering::Acquire);
            if header.magic.load(Ordering::Relaxed) != MAGIC {
                return Err(RingError::Magic);
            }
            if version != VERSION {
                return Err(RingError::Version { found: version });
            }
            let header_bytes = u64::from(header.header_bytes.load(Ordering::Relaxed));
            let claimed = header.capacity.load(Ordering::Relaxed).saturating_add(header_bytes);
            if header_bytes != HEADER_BYTES as u64 || claimed != found {
                return Err(RingError::Size { expected: claimed, found });
            }
            Ok(Self { mapping, capacity })
        }
    }

    fn failed(action: &'static str) -> impl Fn(rustix::io::Errno) -> RingError {
        move |errno| RingError::Memory { action, source: errno.into() }
    }

    impl Memory for SharedMemory {
        #[inline]
        fn header(&self) -> &Header {
            self.mapping.header()
        }

        #[inline]
        fn capacity(&self) -> u64 {
            self.capacity
        }

        #[inline]
        fn write(&self, offset: usize, bytes: &[u8]) {
            self.mapping.copy_in(HEADER_BYTES.saturating_add(offset), bytes);
        }

        #[inline]
        fn read(&self, offset: usize, len: usize, into: &mut Vec<u8>) {
            self.mapping.copy_out(HEADER_BYTES.saturating_add(offset), len, into);
        }

        #[inline]
        fn word(&self, offset: usize) -> [u8; 8] {
            self.mapping.word(HEADER_BYTES.saturating_add(offset))
        }
    }
}
