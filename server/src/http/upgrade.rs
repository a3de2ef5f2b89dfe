//! The WebSocket opening handshake, RFC 6455 section 4.2.
//!
//! Owns what makes a request a handshake and its answer. Who is let in is judged here, by
//! [`Node::admit`](crate::node::Node::admit), but told inside the accepted WebSocket: a browser shows a script nothing of a
//! refused upgrade. Only a handshake that is itself malformed gets an HTTP error.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tracing::debug;
use tungstenite::handshake::derive_accept_key;

use super::{Answer, error, extensions};
use crate::apps::App;
use crate::pusher::admission::Refusal;
use crate::shard::{self, Shard, Socket, Visitor};

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// Whether a request asks for a WebSocket.
pub(super) fn is_requested(request: &Request<Incoming>) -> bool {
    has_token(request.headers(), &UPGRADE, "websocket")
}

/// Whether this is where clients connect, for a helpful answer to who comes without a handshake.
pub(super) fn is_clients_path(shard: &Shard, path: &str) -> bool {
    path.strip_prefix(shard.node.path.as_str()).is_some_and(|rest| rest.starts_with("/app/"))
}

/// Accepts a handshake and leaves the socket to the shard, or says what is wrong with it.
pub(super) fn answer(shard: &Rc<Shard>, visitor: &Rc<Visitor>, request: Request<Incoming>) -> Answer {
    let uri = request.uri();
    let origin = request.headers().get(ORIGIN).map(HeaderValue::as_bytes);
    let admitted = shard.node.admit(uri.path(), uri.query(), origin);
    accept(shard, visitor, request, admitted)
}

/// Accepts a handshake so that the client is told why it is not let in.
pub(super) fn refuse(
    shard: &Rc<Shard>,
    visitor: &Rc<Visitor>,
    request: Request<Incoming>,
    refusal: Refusal,
) -> Answer {
    accept(shard, visitor, request, Err(refusal))
}

fn accept(
    shard: &Rc<Shard>,
    visitor: &Rc<Visitor>,
    mut request: Request<Incoming>,
    admitted: Result<Arc<App>, Refusal>,
) -> Answer {
    let accept = match accept_key(&request) {
        Ok(accept) => accept,
        Err(answer) => return *answer,
    };
    let forwarded_for = request.headers().get_all(X_FORWARDED_FOR);
    let proxies = shard.node.proxies.load();
    let client = proxies.client(visitor.peer(), forwarded_for.iter().map(HeaderValue::as_bytes));
    let agreed = agree(&admitted, request.headers());
    let deflates = agreed.is_some();
    let upgraded = hyper::upgrade::on(&mut request);
    let (shard, visitor) = (Rc::clone(shard), Rc::clone(visitor));
    let counted = shard.clients.count();
    tokio::task::spawn_local(async move {
        let upgraded = match upgraded.await {
            Ok(upgraded) => upgraded,
            Err(error) => return debug!(%error, "a client left during the handshake"),
        };
        match regain(upgraded) {
            Some((socket, leftover)) => {
                shard::serve_websocket(
                    &shard,
                    visitor,
                    socket,
                    &leftover,
                    client,
                    (admitted, deflates),
                    counted,
                );
            }
            None => debug!("an upgraded connection is neither TCP nor TLS; it is dropped"),
        }
    });
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(agreed) = agreed {
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, agreed);
    }
    answer
}

/// What is agreed upon with a client that is let in, if its app compresses at all.
fn agree(admitted: &Result<Arc<App>, Refusal>, headers: &HeaderMap) -> Option<HeaderValue> {
    let app = admitted.as_ref().ok()?;
    let compresses = app.settings().limits().deflate_bytes_min > 0;
    compresses.then(|| extensions::agree(headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter()))?
}

/// The socket under an upgraded connection, and what hyper had read from it already.
fn regain(upgraded: Upgraded) -> Option<(Socket, Bytes)> {
    match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => Some((Socket::plain(parts.io.into_inner()), parts.read_buf)),
        Err(upgraded) => {
            let parts = upgraded.downcast::<TokioIo<TlsStream<TcpStream>>>().ok()?;
            Some((Socket::tls(parts.io.into_inner()), parts.read_buf))
        }
    }
}

fn accept_key(request: &Request<Incoming>) -> Result<HeaderValue, Box<Answer>> {
    let headers = request.headers();
    let bad = |message| Err(Box::new(error(StatusCode::BAD_REQUEST, "bad_handshake", message)));
    if request.method() != Method::GET || request.version() != hyper::Version::HTTP_11 {
        return bad("expected a WebSocket handshake by GET over HTTP/1.1");
    }
    if !request.body().is_end_stream() {
        // Its bytes would be taken for frames.
        return bad(
            "expected a WebSocket handshake without a body; leave Content-Length and Transfer-Encoding out",
        );
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return bad("expected Connection: Upgrade; a proxy in between must pass it on");
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let mut answer: Response<Full<Bytes>> =
            error(StatusCode::UPGRADE_REQUIRED, "websocket_version", "expected Sec-WebSocket-Version: 13");
        answer.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(Box::new(answer));
    }
    // 16 bytes in base64: 22 characters and "==".
    let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).filter(|key| {
        let base64 = |b: &u8| b.is_ascii_alphanumeric() || b"+/".contains(b);
        key.len() == 24 && key[..22].iter().all(base64) && key.ends_with(b"==")
    });
    let Some(key) = key else { return bad("expected Sec-WebSocket-Key with 16 bytes in base64") };
    HeaderValue::from_str(&derive_accept_key(key)).or_else(|_| bad("expected another Sec-WebSocket-Key"))
}

/// Whether a header that is a list holds `token`, in any case.
pub(super) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|found| found.trim().eq_ignore_ascii_case(token))
}
