//! TLS in front of HTTP, where it is configured.
//!
//! Owns the handshake and its time-out, and what is said to who comes without TLS: by its first byte a connection
//! is one or the other. A WebSocket is accepted and refused inside with 4000, upon which pusher-js connects again
//! with wss; any other request is answered 400 in HTTP, which is what its sender speaks. Certificates are
//! [`crate::tls`]'.

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::{Answer, error, upgrade};
use crate::pusher::Code;
use crate::pusher::admission::Refusal;
use crate::shard::{Shard, Visitor};

/// The first byte of a TLS connection: a handshake record (RFC 8446 section 5.1). No text begins with it.
const HANDSHAKE: u8 = 0x16;

/// What a connection turned out to be.
#[expect(clippy::large_enum_variant, reason = "it is taken apart as soon as it is there")]
pub(super) enum Opened {
    /// Encrypted, as it should be.
    Encrypted(TlsStream<TcpStream>),
    /// The client does not speak TLS.
    Plain(TcpStream),
}

/// Does the handshake. `None` when the client is gone, or was too slow.
pub(super) async fn open(
    shard: &Shard,
    stream: TcpStream,
    peer: IpAddr,
    config: Arc<ServerConfig>,
) -> Option<Opened> {
    let timeout = Duration::from_millis(shard.node.limits.tls_handshake_timeout_ms as u64);
    let failed = match tokio::time::timeout(timeout, shake_hands(stream, config)).await {
        Ok(Ok(opened)) => return opened,
        Ok(Err(error)) => error,
        Err(_) => io::ErrorKind::TimedOut.into(),
    };
    shard.node.metrics.tls_handshakes_failed_total.increment();
    debug!(%peer, error = %failed, "a TLS handshake failed");
    None
}

async fn shake_hands(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<Option<Opened>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        // As load balancers do who only look whether anybody listens.
        return Ok(None);
    }
    if first[0] != HANDSHAKE {
        return Ok(Some(Opened::Plain(stream)));
    }
    TlsAcceptor::from(config).accept(stream).await.map(Opened::Encrypted).map(Some)
}

/// Answers a request that came without TLS where TLS is spoken.
pub(super) fn refuse(shard: &Rc<Shard>, visitor: &Rc<Visitor>, request: Request<Incoming>) -> Answer {
    if upgrade::is_requested(&request) {
        let message = "this port speaks TLS only; connect with wss:// (forceTLS: true in Echo)";
        return upgrade::refuse(shard, visitor, request, Refusal::new(Code::TlsOnly, message));
    }
    error(
        StatusCode::BAD_REQUEST,
        "tls_required",
        "expected TLS on this port, but found a plain HTTP request; use https:// or wss://",
    )
}
