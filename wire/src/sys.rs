//! The only hand-written `unsafe` of this crate: memory that is mapped, and reached while another process may write it.
//!
//! Owns mappings and the copies in and out of them, behind safe functions that check every bound. What the bytes
//! mean is for [`crate::ring`].

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags};

use crate::ring::{HEADER_BYTES, Header};

/// A file mapped for reading and writing, shared with other processes.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone, is not tied to a thread, and is reached through raw copies and
// atomics only.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of `file`. The caller knows that the file has them and cannot shrink (seals).
    ///
    /// # Errors
    /// `InvalidInput` when `len` has no room for a ring's header; otherwise what mmap(2) says.
    pub fn shared(file: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        if len < HEADER_BYTES {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that anything else uses.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                file,
                0,
            )
        }?;
        Self::from_base(base, len)
    }

    fn from_base(base: *mut std::ffi::c_void, len: usize) -> io::Result<Self> {
        let base = NonNull::new(base.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, len })
    }

    /// The words at the start of a ring.
    #[inline]
    pub fn header(&self) -> &Header {
        // SAFETY: the mapping has at least HEADER_BYTES, is page-aligned and lives as long as `self`; a Header is
        // made of atomics alone, for which every bit pattern is valid and which other processes may change.
        unsafe { self.base.cast::<Header>().as_ref() }
    }

    /// Copies `bytes` to `offset`, or does nothing when they would not fit.
    #[inline]
    pub fn copy_in(&self, offset: usize, bytes: &[u8]) {
        if let Some(target) = self.at(offset, bytes.len()) {
            // SAFETY: `at` has checked that the target is inside the mapping; `bytes` is a borrow of other memory,
            // since no reference into the data area is ever handed out, so the two do not overlap. The other
            // process may read these bytes meanwhile, but uses them only after the tail has been released.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target.as_ptr(), bytes.len()) };
        }
    }

    /// Appends the `len` bytes at `offset` to `into`, or nothing when they are not all inside.
    #[inline]
    pub fn copy_out(&self, offset: usize, len: usize, into: &mut Vec<u8>) {
        let Some(source) = self.at(offset, len) else { return };
        into.reserve(len);
        let spare = into.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        // SAFETY: `at` has checked the source; `spare` has room for `len` bytes because of `reserve`, and is private.
        // An honest producer does not write here until the head is released; a lying one changes which bytes
        // arrive, and they are parsed from this copy only.
        unsafe { std::ptr::copy_nonoverlapping(source.as_ptr(), spare, len) };
        let filled = into.len() + len;
        // SAFETY: `filled` is within the capacity, and the copy above has written every byte up to it.
        unsafe { into.set_len(filled) };
    }

    /// The 8 bytes at `offset`, zeros when they are not all inside.
    #[inline]
    pub fn word(&self, offset: usize) -> [u8; 8] {
        let mut word = [0_u8; 8];
        if let Some(source) = self.at(offset, word.len()) {
            // SAFETY: `at` has checked the source, and `word` is private memory of the same length.
            unsafe { std::ptr::copy_nonoverlapping(source.as_ptr(), word.as_mut_ptr(), word.len()) };
        }
        word
    }

    #[inline]
    fn at(&self, offset: usize, len: usize) -> Option<NonNull<u8>> {
        let end = offset.checked_add(len)?;
        // SAFETY: offset ≤ end ≤ self.len, so the result stays within the mapping or one past its end.
        (end <= self.len).then(|| unsafe { self.base.add(offset) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: base and len are those of a mapping that this value alone owns; no reference outlives it.
        // An error would mean that it is not mapped, which leaves nothing to do.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// Tells a forked child from its parent at the cost of one load: a page that the kernel wipes in a child.
///
/// `getpid()` would say the same for 200 ns. Needs Linux 4.14 (`MADV_WIPEONFORK`).
#[derive(Debug)]
pub struct ForkSentinel {
    page: Mapping,
}

const SENTINEL_BYTES: usize = 4096;

impl ForkSentinel {
    /// Marks this process as the one that made it.
    ///
    /// # Errors
    /// What mmap(2) and madvise(2) say; `EINVAL` from a kernel without `MADV_WIPEONFORK`.
    pub fn new() -> io::Result<Self> {
        // SAFETY: a new private mapping at an address of the kernel's choice touches nothing that is in use.
        let base = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                SENTINEL_BYTES,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }?;
        let page = Mapping::from_base(base, SENTINEL_BYTES)?;
        // SAFETY: the range is exactly the mapping made above, which holds nothing yet.
        unsafe { rustix::mm::madvise(page.base.as_ptr().cast(), SENTINEL_BYTES, Advice::LinuxWipeOnFork) }?;
        let sentinel = Self { page };
        sentinel.mark().store(1, Ordering::Relaxed);
        Ok(sentinel)
    }

    /// Whether this is still the process that made the sentinel, and not a child forked since.
    #[inline]
    pub fn is_same_process(&self) -> bool {
        self.mark().load(Ordering::Relaxed) != 0
    }

    #[inline]
    fn mark(&self) -> &AtomicU8 {
        // SAFETY: the page is mapped for as long as `self` lives, and this atomic is the only way it is reached.
        unsafe { self.page.base.cast::<AtomicU8>().as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn mapping() -> Mapping {
        let file = rustix::fs::memfd_create(c"test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, 8192).unwrap();
        Mapping::shared(file.as_fd(), 8192).unwrap()
    }

    #[test]
    fn copies_what_is_inside_and_nothing_else() {
        let mapping = mapping();
        mapping.copy_in(8190, b"ab");
        mapping.copy_in(8191, b"xy");
        mapping.copy_in(usize::MAX, b"xy");
        let mut bytes = b"<".to_vec();
        mapping.copy_out(8189, 3, &mut bytes);
        mapping.copy_out(8191, 2, &mut bytes);
        mapping.copy_out(usize::MAX, 2, &mut bytes);
        assert_eq!(bytes, b"<\0ab");
        assert_eq!(mapping.word(8184), *b"\0\0\0\0\0\0ab");
        assert_eq!(mapping.word(8185), [0; 8]);
    }

    #[test]
    fn refuses_a_mapping_without_room_for_a_header() {
        let file = rustix::fs::memfd_create(c"test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        assert_eq!(
            Mapping::shared(file.as_fd(), HEADER_BYTES - 1).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
    }
}
