//! How publications reach the server: the ring, or the socket.
//!
//! Both keep what the server has not delivered yet, in memory that survives the server, and hand it to the
//! successor. Neither waits: [`crate::attachment`] decides how long to wait, and for what.

mod ring;
mod socket;

use std::time::Duration;

use fanfare_wire::attach::{Message, Purpose, Transport as OnTheWire};
use fanfare_wire::record::Draft;
use rustix::event::PollFlags;

use crate::link::{AttachFailure, Identity, Link};
use crate::options::{Options, TransportChoice};
use crate::outcome::Outcome;
pub(crate) use ring::RingTransport;
pub(crate) use socket::SocketTransport;

/// Why a publication was not committed now.
#[derive(Debug)]
pub(crate) enum NotCommitted {
    /// There is no room until the server reads.
    Full,
    /// The kernel has taken a part of the message, and has no room for the rest. A part cannot be taken back: the
    /// publication is accepted, the rest is kept and written as soon as there is room.
    Half,
    /// The connection broke. What was committed before is kept.
    ServerGone,
    /// It would not fit even into an empty ring.
    TooLarge,
    /// The memory shared with the server makes no sense any more.
    Corrupt(String),
}

/// The server has ended the attachment.
#[derive(Debug)]
pub(crate) struct Gone {
    /// What it said about that, if it was not simply its own end.
    pub(crate) refusal: Option<String>,
}

impl Gone {
    /// Gone without a word.
    pub(crate) const SILENTLY: Self = Self { refusal: None };

    /// After a message that is not part of an attachment that goes on.
    fn because_of(message: &Message<'_>) -> Self {
        let refusal = match message {
            Message::Refused { message, .. } => (*message).to_owned(),
            _ => "it sent a message that is not due in an attachment".to_owned(),
        };
        Self { refusal: Some(refusal) }
    }
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

    /// Attaches this transport to the server.
    ///
    /// # Errors
    /// As [`Link::attach`].
    pub(crate) fn attach(&self, identity: &Identity, timeout: Duration) -> Result<Link, AttachFailure> {
        match self {
            Self::Ring(ring) => {
                Link::attach(identity, Purpose::Publish(OnTheWire::Ring), &ring.descriptors(), timeout)
            }
            Self::Socket(_) => Link::attach(identity, Purpose::Publish(OnTheWire::Socket), &[], timeout),
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
    /// `said` is what came right behind the handshake.
    pub(crate) fn attached(&mut self, said: Vec<u8>) {
        match self {
            Self::Ring(ring) => ring.attached(said),
            Self::Socket(socket) => socket.attached(said),
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

    /// Goes on writing a message that the kernel has taken in part; whether it is whole now.
    pub(crate) fn flush(&mut self, link: &Link) -> bool {
        match self {
            Self::Ring(_) => true,
            Self::Socket(socket) => socket.flush(link),
        }
    }

    /// Takes in what the server has said, and whether it is still there.
    ///
    /// # Errors
    /// [`Gone`]; everything it had to say about what it delivered has been taken in.
    pub(crate) fn hear(&mut self, link: &Link) -> Result<(), Gone> {
        match self {
            Self::Ring(ring) => ring.hear(link),
            Self::Socket(socket) => socket.hear(link),
        }
    }

    /// What ends a wait for room early; `None` when only time does.
    pub(crate) fn room_flags(&self) -> Option<PollFlags> {
        match self {
            Self::Ring(_) => None,
            Self::Socket(socket) => Some(socket.room_flags()),
        }
    }

    /// Whether the server has delivered everything, as far as it has been heard.
    pub(crate) fn is_drained(&mut self) -> bool {
        match self {
            Self::Ring(ring) => ring.is_drained(),
            Self::Socket(socket) => socket.is_drained(),
        }
    }

    /// Counts what the server has not delivered.
    pub(crate) fn unread_records(&mut self) -> u64 {
        match self {
            Self::Ring(ring) => ring.unread_records(),
            Self::Socket(socket) => socket.unread_records(),
        }
    }
}
