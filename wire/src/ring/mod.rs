//! The shared memory between one PHP process and the server: one producer, one consumer.
//!
//! ```text
//! page 0 (header, see `layout`)                    page 1 … (data, a power of two of bytes)
//! ┌───────┬─────────┬──────────┬──────┬──────┬──────────┐┌────────────┬────────────┬─────────┬──────────┐
//! │ magic │ version │ capacity │ tail │ head │ sleeping ││ frame      │ frame      │ padding │ free     │
//! └───────┴─────────┴──────────┴──────┴──────┴──────────┘└────────────┴────────────┴─────────┴──────────┘
//!                               producer  consumer         head ──────────────────────► tail
//! ```
//!
//! Positions count bytes since the ring was made and only ever grow; the offset is the position modulo the
//! capacity. A frame is 8 bytes of header (length, kind) and the record, rounded up to 8 bytes. It never wraps:
//! where a record does not fit before the end, padding fills the rest. One release store of `tail` commits it.
//!
//! Owns the algorithm and its checks of what the other side wrote. Leaves to others who is at the other end
//! ([`crate::attach`]) and how long to wait ([`Producer::reserve`] never waits).
//!
//! Pairs of atomics, named where they are used:
//! - COMMIT: the producer's release store of `tail` → the consumer's acquire load. Publishes the frame's bytes.
//! - RELEASE: the consumer's release store of `head` → the producer's acquire load. Gives the bytes back.
//! - DOORBELL: store, `SeqCst` fence, load on both sides (producer: `tail`, then `sleeping`; consumer: `sleeping`,
//!   then `tail`). At least one side sees the other's store, so that no wake-up is lost.

mod consumer;
mod layout;
mod memory;
mod producer;

pub use consumer::{Batch, Consumer};
pub use layout::{CAPACITY_MAX, CAPACITY_MIN, HEADER_BYTES, Header, VERSION};
#[cfg(not(loom))]
pub use memory::SharedMemory;
pub use memory::{HeapMemory, Memory};
pub use producer::{Committed, Producer, ReserveError, Span, Unread};

use thiserror::Error;

/// Why a memory is not a ring that can be used.
///
/// All of them mean that the other side is broken, of another version, or lies. It harms its own ring only.
#[derive(Debug, Error)]
pub enum RingError {
    /// A system call failed.
    #[error("the ring's memory cannot be {action}: {source}")]
    Memory {
        /// What was attempted.
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The memory can still be resized under the reader.
    #[error("expected a memory sealed against shrinking and growing, but found seals {found:#x}")]
    Unsealed {
        /// The seals as fcntl(F_GET_SEALS) gives them.
        found: u32,
    },
    /// The data area is not a power of two within the limits.
    #[error(
        "expected a ring of {CAPACITY_MIN} to {CAPACITY_MAX} bytes of data, a power of two, but found {found}"
    )]
    Capacity {
        /// Bytes of the data area.
        found: u64,
    },
    /// The memory is smaller or larger than its header says.
    #[error("expected a ring of {expected} bytes, but found {found}")]
    Size {
        /// What the header says.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// The first bytes are not a ring's.
    #[error("expected a Fanfare ring, but found other bytes at its start")]
    Magic,
    /// Another version of the layout.
    #[error(
        "expected ring version {VERSION}, but found {found}; restart PHP so that it loads the installed extension"
    )]
    Version {
        /// What the header says.
        found: u32,
    },
    /// `head` and `tail` cannot both be true.
    #[error(
        "expected positions with head ≤ tail ≤ head + {capacity}, multiples of 8, but found head {head} and tail {tail}"
    )]
    Positions {
        /// The consumer's position.
        head: u64,
        /// The producer's position.
        tail: u64,
        /// Bytes of the data area.
        capacity: u64,
    },
    /// A frame that reaches beyond what was committed, or of a kind that does not exist.
    #[error(
        "expected a frame within {available} bytes at position {position}, but found kind {kind}, length {len}"
    )]
    Frame {
        /// Where it starts.
        position: u64,
        /// Its kind.
        kind: u32,
        /// Its length, header not counted.
        len: u32,
        /// Bytes up to the tail or the end of the data area.
        available: u64,
    },
}

#[cfg(test)]
mod tests;
