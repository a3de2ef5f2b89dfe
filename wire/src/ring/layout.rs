//! Where everything is in a ring's memory, and the words both sides share.
//!
//! ```text
//! offset  size  field
//!      0     8  magic      "FANFRING"
//!      8     4  version    stored last: a ring with a version is complete
//!     12     4  header     4096
//!     16     8  capacity   bytes of the data area, a power of two
//!    128     8  tail       written by the producer
//!    256     8  head       written by the consumer
//!    384     4  sleeping   1: ring the doorbell; set by the consumer, cleared by either
//!   4096     …  data
//! ```
//!
//! The three words are 128 bytes apart, because processors fetch cache lines in pairs.

use crate::sync::{AtomicU32, AtomicU64};

/// First bytes of a ring.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"FANFRING");
/// Version of the layout.
pub const VERSION: u32 = 1;
/// Bytes before the data area.
pub const HEADER_BYTES: usize = 4096;
/// Smallest data area, in bytes.
pub const CAPACITY_MIN: usize = 4096;
/// Largest data area, in bytes.
pub const CAPACITY_MAX: usize = 256 << 20;

/// Bytes of a frame's header: length (u32), kind (u32).
pub(super) const FRAME_BYTES: usize = 8;
pub(super) const KIND_RECORD: u32 = 1;
pub(super) const KIND_PADDING: u32 = 2;

/// The header, as both processes see it.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Header {
    pub(super) magic: AtomicU64,
    pub(super) version: AtomicU32,
    pub(super) header_bytes: AtomicU32,
    pub(super) capacity: AtomicU64,
    pub(super) tail: Line<AtomicU64>,
    pub(super) head: Line<AtomicU64>,
    pub(super) sleeping: Line<AtomicU32>,
}

#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct Line<T>(pub(super) T);

#[cfg(not(loom))]
const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(Header, magic) == 0);
    assert!(offset_of!(Header, version) == 8);
    assert!(offset_of!(Header, header_bytes) == 12);
    assert!(offset_of!(Header, capacity) == 16);
    assert!(offset_of!(Header, tail) == 128);
    assert!(offset_of!(Header, head) == 256);
    assert!(offset_of!(Header, sleeping) == 384);
    assert!(size_of::<Header>() == 512);
    assert!(size_of::<Header>() <= HEADER_BYTES);
    assert!(FRAME_BYTES == 8 && CAPACITY_MIN.is_power_of_two() && CAPACITY_MAX.is_power_of_two());
};

/// Whether a data area may have this many bytes.
#[cfg(not(loom))]
pub(super) fn is_capacity(bytes: u64) -> bool {
    bytes.is_power_of_two() && (CAPACITY_MIN as u64..=CAPACITY_MAX as u64).contains(&bytes)
}

/// Bytes that a record of `len` bytes takes in the data area.
pub(super) fn frame_len(len: u64) -> u64 {
    FRAME_BYTES as u64 + len.next_multiple_of(8)
}

pub(super) fn frame_header(len: u32, kind: u32) -> [u8; FRAME_BYTES] {
    (u64::from(len) | u64::from(kind) << 32).to_le_bytes()
}

/// Length and kind.
pub(super) fn parse_frame_header(bytes: [u8; FRAME_BYTES]) -> (u32, u32) {
    let word = u64::from_le_bytes(bytes);
    (word as u32, (word >> 32) as u32)
}
