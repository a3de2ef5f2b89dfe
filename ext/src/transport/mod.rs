//! How publications reach the server: the ring, or the socket.
//!
//! Both keep what the server has not delivered yet, in memory that survives the server, and hand it to the
//! successor. Neither waits: [`crate::attachment`] decides how long to wait, and for what.

mod ring;
mod socket;

use std::os::fd::BorrowedFd;

use fanfare_wire::record::Draft;

use crate::link::Link;
use crate::options::{Options, TransportChoice};
use crate::outcome::Outcome;
pub(crate) use ring::RingTransport;
pub(crate) use socket::SocketTransport;

/// Why a publication was not committed now.
#[derive(Debug)]
pub(crate) enum NotCommitted {
    /// There is no room until the server reads.
    Full,
    /// The connection broke. What was committed before is kept.
    ServerGone,
    /// The memory shared with the server makes no sense any more.
    Corrupt(String),
}

/// Publications that the server has not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unread {
    pub(crate) records: u64,
}

/// The transport in use, with what it keeps.
#[derive(Debug)]
pub(crate) enum Transport {
    Ring(RingTransport),
    Socket(SocketTransport),
}

impl Transport {
    /// Makes the transport that the options ask for, empty.
    ///
    /// # Errors
    /// `Unavailable` when shared memory was demanded and cannot be had.
    pub(crate) fn new(options: &Options) -> Result<Self, Outcome> {
        if options.transport == TransportChoice::Socket {
            return Ok(Self::socket(options));
        }
        match RingTransport::create(options.ring_bytes) {
            Ok(ring) => Ok(Self::Ring(ring)),
            Err(_) if options.transport == TransportChoice::Auto => Ok(Self::socket(options)),
            Err(error) => Err(Outcome::Unavailable(format!(
                "{error}; set the option transport to 'auto' or 'socket' to do without shared memory"
            ))),
        }
    }

    /// The socket transport, empty.
    pub(crate) fn socket(options: &Options) -> Self {
        Self::Socket(SocketTransport::new(options.ring_bytes))
    }

    /// Its name, as `Sidecar::transport()` says it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Ring(_) => "ring",
            Self::Socket(_) => "socket",
        }
    }

    /// What is handed to the server when attaching.
    pub(crate) fn descriptors(&self) -> Option<[BorrowedFd<'_>; 2]> {
        match self {
            Self::Ring(ring) => Some(ring.descriptors()),
            Self::Socket(_) => None,
        }
    }

    /// The largest record that it can carry, in bytes, whatever the server says.
    pub(crate) fn record_bytes_max(&self) -> usize {
        match self {
            Self::Ring(ring) => ring.record_bytes_max(),
            Self::Socket(socket) => socket.record_bytes_max(),
        }
    }

    /// A server has been attached: it gets what its predecessor did not deliver.
    pub(crate) fn attached(&mut self) {
        if let Self::Socket(socket) = self {
            socket.attached();
        }
    }

    /// Hands the publication over, or says why not. Does not wait for room.
    #[inline]
    pub(crate) fn commit<'a, C>(&mut self, draft: &Draft<'a, C>, link: &Link) -> Result<(), NotCommitted>
    where
        C: Iterator<Item = &'a [u8]> + Clone,
    {
        match self {
            Self::Ring(ring) => ring.commit(draft),
            Self::Socket(socket) => socket.commit(draft, link),
        }
    }

    /// Whether the server has delivered everything. A memory that makes no sense counts as delivered: nothing
    /// can be read from it any more.
    pub(crate) fn is_drained(&mut self, link: Option<&Link>) -> bool {
        match self {
            Self::Ring(ring) => ring.is_drained(),
            Self::Socket(socket) => socket.is_drained(link),
        }
    }

    /// Counts what the server has not delivered.
    pub(crate) fn unread(&mut self) -> Unread {
        match self {
            Self::Ring(ring) => ring.unread(),
            Self::Socket(socket) => socket.unread(),
        }
    }
}
