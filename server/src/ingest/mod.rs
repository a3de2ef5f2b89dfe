//! Where publications and questions of local PHP processes come in: the Unix socket and the rings attached over it.
//!
//! Owns who may attach (`handshake`), draining a ring (`ring`), taking messages from the socket
//! (`socket`), turning records into publications (`intake`), and answering what PHP asks (`ask`). The same Unix socket serves HTTP: the first
//! byte tells, since 0xFA never begins a request.
//!
//! Nothing a peer sends is believed. A peer that breaks the rules is refused with a code and a sentence that says
//! what to do, it is logged once, and its own attachment ends; nobody else notices.

mod ask;
mod edge;
mod handshake;
mod intake;
mod peer;
mod ring;
mod socket;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanfare_wire::attach::{MAGIC, Message, Purpose, RefusalCode, Transport};
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, warn};

use crate::apps::App;
use crate::http;
use crate::limits::Limits;
use crate::logs::Sparingly;
use crate::shard::Shard;
use edge::Edge;
use handshake::CountedAttachment;
use peer::PeerCredentials;

/// Why a peer is turned away, before or after it has attached.
#[derive(Debug)]
struct Refusal {
    code: RefusalCode,
    /// What was expected, what was found, what to do.
    message: String,
}

impl Refusal {
    fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// How an attachment ended.
#[derive(Debug)]
enum End {
    /// The process ended or said goodbye.
    Left,
    /// This server leaves; the process attaches to the successor.
    ServerLeaves,
    /// What came was not sound.
    Broken(Refusal),
}

/// A PHP process that has proved itself.
#[derive(Debug)]
struct Attachment {
    shard: Rc<Shard>,
    app: Arc<App>,
    /// What the process was told that it may publish.
    limits: Limits,
    stream: UnixStream,
    /// Readable when the process has ended; see [`peer::pidfd`] for why end-of-file does not suffice.
    process: Option<Edge>,
    purpose: Purpose,
    _counted: CountedAttachment,
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let metrics = &self.shard.node.metrics;
        match self.purpose {
            Purpose::Publish(Transport::Ring) => metrics.attachments_ring.decrement(),
            Purpose::Publish(Transport::Socket) => {}
            Purpose::Ask => metrics.attachments_asking.decrement(),
        }
    }
}

impl Attachment {
    /// Resolves when the app is served no longer, with why.
    async fn app_withdrawn(&self) -> Refusal {
        let mut configured = self.shard.node.configured();
        loop {
            if let Err(refusal) = handshake::withdrawn(&self.app) {
                return refusal;
            }
            if configured.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Resolves, once, when the process has ended; never when that cannot be seen.
    async fn process_ended(&self) {
        match &self.process {
            Some(process) => {
                let _ = process.next().await;
            }
            None => std::future::pending().await,
        }
    }
}

/// Serves one peer of the Unix socket until it is gone. `pending` is given back once the peer is known.
pub(crate) async fn serve_peer(shard: Rc<Shard>, stream: StdUnixStream, pending: OwnedSemaphorePermit) {
    let counted = shard.peers.count();
    let stream = match UnixStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => return warn!(%error, "a peer of the Unix socket cannot be served"),
    };
    let credentials = match peer::credentials(&stream) {
        Ok(credentials) => credentials,
        Err(error) => return warn!(%error, "the user of a peer is not known; it is turned away"),
    };
    let timeout = Duration::from_millis(shard.node.limits.attach_timeout_ms as u64);
    let deadline = tokio::time::Instant::now() + timeout;
    let allowed = may_attach(&shard, credentials);
    // Somebody who may not attach does not keep those waiting who may.
    let pending = allowed.then_some(pending);
    // A peer that says nothing is not owed an answer.
    let Ok(Some(first)) = tokio::time::timeout_at(deadline, peek(&stream)).await else { return };
    if first != MAGIC {
        drop((pending, counted));
        if allowed {
            http::serve_local(shard, stream).await;
        } else {
            // A socket that is closed with bytes unread is reset, and the answer might be lost.
            let _ = stream.try_read(&mut [0; 4096]);
            let _ = stream.try_write(FORBIDDEN.as_bytes());
        }
        return;
    }
    let granted = if allowed {
        let shaken = tokio::time::timeout_at(deadline, handshake::perform(&shard, &stream)).await;
        shaken.unwrap_or_else(|_| {
            let ms = timeout.as_millis();
            let message =
                format!("expected the whole handshake within {ms} ms, but it did not come; attach again");
            Err(Some(Refusal::new(RefusalCode::Protocol, message)))
        })
    } else {
        let PeerCredentials { uid, .. } = credentials;
        let own = peer::own_uid();
        let message = format!(
            "expected a process of the server's user (uid {own}), root, or a user in socket_uids, but found uid {uid}; add it to socket_uids"
        );
        Err(Some(Refusal::new(RefusalCode::User, message)))
    };
    drop(pending);
    match granted {
        Ok(granted) => attend(shard, stream, credentials, granted).await,
        Err(Some(refusal)) => refuse(&shard, &stream, credentials, &refusal),
        Err(None) => debug!(pid = credentials.pid, "a peer left during the handshake"),
    }
}

const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: 98\r\nconnection: close\r\n\r\n{\"error\":{\"code\":\"forbidden\",\"message\":\"this user may not use the socket; see socket_uids there\"}}";

fn may_attach(shard: &Shard, PeerCredentials { uid, .. }: PeerCredentials) -> bool {
    uid == 0 || uid == peer::own_uid() || shard.node.socket_uids.contains(&uid)
}

/// The first byte, left where it is; `None` when the peer is gone.
async fn peek(stream: &UnixStream) -> Option<u8> {
    let mut first = [0_u8; 1];
    let peeked = stream.async_io(Interest::READABLE, || {
        let (n, _) = recv(stream.as_fd(), &mut first, RecvFlags::PEEK)?;
        Ok(n)
    });
    matches!(peeked.await, Ok(1)).then_some(first[0])
}

/// Takes in what an attached process publishes, until it or the server leaves.
async fn attend(shard: Rc<Shard>, stream: UnixStream, peer: PeerCredentials, granted: handshake::Granted) {
    let _counted = shard.peers.count();
    let handshake::Granted { app, limits, client, means, leftover, counted } = granted;
    let metrics = &shard.node.metrics;
    metrics.attachments_total.increment();
    let purpose = match means {
        handshake::Means::Ring { .. } => {
            metrics.attachments_ring.increment();
            Purpose::Publish(Transport::Ring)
        }
        handshake::Means::Socket => Purpose::Publish(Transport::Socket),
        handshake::Means::Ask => {
            metrics.attachments_asking.increment();
            Purpose::Ask
        }
    };
    let process = peer::pidfd(peer.pid).and_then(|fd| Edge::register(fd).ok());
    let attachment =
        Attachment { shard: Rc::clone(&shard), app, limits, stream, process, purpose, _counted: counted };
    let PeerCredentials { pid, uid } = peer;
    debug!(pid, uid, app = attachment.app.settings().app.id, client, ?purpose, "a PHP process is attached");
    let end = match means {
        handshake::Means::Ring { consumer, doorbell } => {
            ring::drain(&attachment, *consumer, &doorbell, leftover).await
        }
        handshake::Means::Socket => socket::receive(&attachment, leftover).await,
        handshake::Means::Ask => ask::attend(&attachment, leftover).await,
    };
    match end {
        End::Left => debug!(pid, "a PHP process is gone"),
        End::ServerLeaves => debug!(pid, "a PHP process is left to the successor"),
        End::Broken(Refusal { code, message }) => {
            shard.node.metrics.attachments_broken_total.increment();
            if let Some(left_out) = quota(&shard, code).permit(Instant::now()) {
                warn!(
                    pid,
                    uid,
                    ?code,
                    message,
                    left_out,
                    "an attachment is ended because what came over it is not sound"
                );
            }
            send_refusal(&attachment.stream, code, &message);
        }
    }
}

fn refuse(shard: &Shard, stream: &UnixStream, peer: PeerCredentials, refusal: &Refusal) {
    let Refusal { code, message } = refusal;
    shard.node.metrics.attachments_refused_total.increment();
    if let Some(left_out) = quota(shard, *code).permit(Instant::now()) {
        let PeerCredentials { pid, uid } = peer;
        warn!(pid, uid, ?code, reason = message, left_out, "an attachment is refused");
    }
    send_refusal(stream, *code, message);
}

/// What may be logged of peers that are turned away with this code.
fn quota(shard: &Shard, code: RefusalCode) -> &Sparingly {
    shard.node.refusals.get(usize::from(code as u16)).unwrap_or(&shard.node.refusals[0])
}

/// Best effort: it fits into the buffer of a socket that has only been read so far. A peer that has filled the
/// other direction learns from the end of the stream.
fn send_refusal(stream: &UnixStream, code: RefusalCode, message: &str) {
    let mut bytes = Vec::new();
    Message::Refused { code, message }.encode(&mut bytes);
    let _ = stream.try_write(&bytes);
}

/// Writes all of `bytes`.
pub(crate) async fn send(stream: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::FORBIDDEN;

    #[test]
    fn the_fixed_answer_has_the_length_that_it_says() {
        let (head, body) = FORBIDDEN.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
        serde_json::from_str::<serde_json::Value>(body).unwrap();
    }
}
