//! The attach handshake, the server's side: who wants to publish or ask, for which app, with what proof, and how.
//!
//! Owns the order of messages and what is asked of the descriptors that come with them. A peer gets no more than
//! [`HANDSHAKE_BYTES_MAX`] of buffer before it has proved that it knows the app's secret. Whether key or proof
//! was wrong is not said.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use fanfare_wire::attach::{
    self, AttachError, HANDSHAKE_BYTES_MAX, Message, Purpose, RefusalCode, Transport,
};
use fanfare_wire::descriptors::{self, DESCRIPTORS_MAX};
use fanfare_wire::record::PublicationLimits;
use fanfare_wire::ring::{Consumer, SharedMemory};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::edge::Edge;
use super::{Refusal, send};
use crate::apps::{App, Standing};
use crate::entropy;
use crate::limits::Limits;
use crate::node::Node;
use crate::shard::Shard;

/// What the server calls itself.
const SERVER: &str = concat!("fanfare-", env!("CARGO_PKG_VERSION"));

/// A peer that may publish, or ask.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) app: Arc<App>,
    /// What the peer was told that it may publish: what it accepts by them is taken, whatever is configured later.
    pub(super) limits: Limits,
    pub(super) client: String,
    pub(super) means: Means,
    /// What the peer sent right behind its last message.
    pub(super) leftover: Vec<u8>,
    pub(super) counted: CountedAttachment,
}

/// One of the node's attachments, until it is dropped: also when the handshake is cut off in its last step.
#[derive(Debug)]
pub(super) struct CountedAttachment(Arc<Node>);

impl Drop for CountedAttachment {
    fn drop(&mut self) {
        self.0.metrics.attachments.decrement();
    }
}

/// What the connection is for, with what that takes.
#[derive(Debug)]
pub(super) enum Means {
    Ring { consumer: Box<Consumer<SharedMemory>>, doorbell: Edge },
    Socket,
    Ask,
}

/// Bytes and descriptors that came and were not used yet.
struct Inbox<'a> {
    stream: &'a UnixStream,
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

/// Takes a peer through the handshake.
///
/// # Errors
/// Why it is refused; `None` when it left.
pub(super) async fn perform(shard: &Shard, stream: &UnixStream) -> Result<Granted, Option<Refusal>> {
    let node = &shard.node;
    let mut inbox = Inbox { stream, bytes: Vec::new(), descriptors: Vec::new() };
    let (key, client) = inbox
        .receive("Hello", |message| match message {
            Message::Hello { key, client } => Some((key.to_vec(), (*client).to_owned())),
            _ => None,
        })
        .await?;
    if node.is_leaving() {
        let message = "this server is about to stop; attach to its successor";
        return Err(Some(Refusal::new(RefusalCode::Draining, message)));
    }
    let nonce = entropy::bytes().map_err(|error| {
        Refusal::new(RefusalCode::Capacity, format!("the server has no random bytes ({error}); attach again"))
    })?;
    tell(stream, &Message::Challenge { nonce }).await?;
    let (purpose, proof) = inbox
        .receive("Attach", |message| match message {
            Message::Attach { purpose, proof } => Some((*purpose, *proof)),
            _ => None,
        })
        .await?;
    let app = std::str::from_utf8(&key).ok().and_then(|key| node.apps.by_key(key));
    let proved = app.filter(|app| attach::verify(app.settings().app.secret.as_bytes(), &nonce, &key, &proof));
    let Some(app) = proved else {
        let message = "expected the key and secret of a configured app, but one of them is another; \
                       compare PHP's configuration with the server's";
        return Err(Some(Refusal::new(RefusalCode::Credentials, message)));
    };
    withdrawn(&app)?;
    let Inbox { bytes: leftover, descriptors, .. } = inbox;
    let means = match purpose {
        Purpose::Publish(Transport::Ring) => open_ring(descriptors)?,
        _ if !descriptors.is_empty() => {
            let message = "expected descriptors with a ring only, but found some; leave them out";
            return Err(Some(Refusal::new(RefusalCode::Protocol, message)));
        }
        Purpose::Publish(Transport::Socket) => Means::Socket,
        Purpose::Ask => Means::Ask,
    };
    let max = node.limits.attachments_max;
    if !node.metrics.attachments.increment_up_to(max as u64) {
        let message =
            format!("this server has {max} attachments, as many as it may have; raise attachments_max");
        return Err(Some(Refusal::new(RefusalCode::Capacity, message)));
    }
    let counted = CountedAttachment(Arc::clone(node));
    let limits = app.settings().limits().clone();
    tell(stream, &Message::Attached { limits: announced(&limits), server: SERVER }).await?;
    Ok(Granted { app, limits, client, means, leftover, counted })
}

/// Whether an app is served no longer.
///
/// # Errors
/// The refusal that says so.
pub(super) fn withdrawn(app: &App) -> Result<(), Refusal> {
    let what = match app.settings().standing {
        Standing::Served => return Ok(()),
        Standing::Disabled => "the app is switched off; set its `enabled` to true",
        Standing::Removed => "the server's configuration no longer has this app; add it again",
    };
    Err(Refusal::new(RefusalCode::Credentials, what))
}

/// What PHP is told, so that it refuses what this server would have to drop. All three are within their bounds.
fn announced(limits: &Limits) -> PublicationLimits {
    let name = |max: usize| u16::try_from(max).unwrap_or(u16::MAX);
    PublicationLimits {
        data_bytes_max: u32::try_from(limits.data_bytes_max).unwrap_or(u32::MAX),
        channel_bytes_max: name(limits.channel_bytes_max),
        event_bytes_max: name(limits.event_bytes_max),
    }
}

/// The ring's memory and its doorbell. The memory's seals, size and header are checked before it is read.
fn open_ring(descriptors: Vec<OwnedFd>) -> Result<Means, Refusal> {
    let found = descriptors.len();
    let Ok([memory, doorbell]) = <[OwnedFd; 2]>::try_from(descriptors) else {
        let message =
            format!("expected two descriptors, the ring's memory and its doorbell, but found {found}");
        return Err(Refusal::new(RefusalCode::Ring, message));
    };
    // Anything that can be polled would do as a doorbell, but only this is known to ring when it is written to
    // without being read: see `edge`.
    let link = std::fs::read_link(format!("/proc/self/fd/{}", doorbell.as_raw_fd()));
    if let Ok(link) = link
        && link.as_os_str() != "anon_inode:[eventfd]"
    {
        let message = format!("expected an eventfd as the ring's doorbell, but found {}", link.display());
        return Err(Refusal::new(RefusalCode::Ring, message));
    }
    let consumer =
        Consumer::open(memory).map_err(|error| Refusal::new(RefusalCode::Ring, error.to_string()))?;
    let doorbell = Edge::register(doorbell).map_err(|error| {
        Refusal::new(
            RefusalCode::Ring,
            format!("expected a doorbell that can be waited for, but found: {error}"),
        )
    })?;
    Ok(Means::Ring { consumer: Box::new(consumer), doorbell })
}

async fn tell(stream: &UnixStream, message: &Message<'_>) -> Result<(), Option<Refusal>> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    send(stream, &bytes).await.map_err(|_| None)
}

impl From<AttachError> for Refusal {
    fn from(error: AttachError) -> Self {
        let code = match error {
            AttachError::Version { .. } => RefusalCode::Version,
            _ => RefusalCode::Protocol,
        };
        Self::new(code, error.to_string())
    }
}

impl Inbox<'_> {
    /// The next message, of which `take` keeps what it needs; `None` from it means that the message is out of
    /// turn.
    async fn receive<T>(
        &mut self,
        expected: &str,
        take: impl Fn(&Message<'_>) -> Option<T>,
    ) -> Result<T, Option<Refusal>> {
        loop {
            let decoded = Message::decode_within(&self.bytes, HANDSHAKE_BYTES_MAX).map_err(Refusal::from)?;
            if let Some((message, len)) = decoded {
                let taken = take(&message).ok_or_else(|| {
                    let message = format!("expected the message {expected}, but found another one");
                    Refusal::new(RefusalCode::Protocol, message)
                })?;
                self.bytes.drain(..len);
                return Ok(taken);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), Option<Refusal>> {
        let mut buf = [0; HANDSHAKE_BYTES_MAX];
        let stream = self.stream;
        let received =
            stream.async_io(Interest::READABLE, || descriptors::receive(stream.as_fd(), &mut buf)).await;
        let (n, descriptors) = match received {
            Ok((0, _)) => return Err(None),
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(_) => return Err(None),
        };
        self.bytes.extend_from_slice(&buf[..n]);
        self.descriptors.extend(descriptors);
        if self.descriptors.len() > DESCRIPTORS_MAX {
            let message = format!("expected at most {DESCRIPTORS_MAX} descriptors, but found more");
            return Err(Some(Refusal::new(RefusalCode::Protocol, message)));
        }
        Ok(())
    }
}
