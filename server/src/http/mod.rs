//! HTTP/1.1 on the clients' port and on the Unix socket.
//!
//! Owns routing, the WebSocket upgrade request (RFC 6455 section 4.2), Pusher's HTTP API ([`api`]), TLS where it is
//! configured, whose address a client has, and the form of errors: `{"error":{"code":…,"message":…}}`. Leaves the
//! upgraded socket to [`crate::shard`]. Metrics, the server's status and the tail are served on the Unix socket only,
//! where the peer's user is checked: they are nobody else's business.

pub mod api;
mod encryption;
mod extensions;
mod proxies;
mod status;
mod tail;
mod upgrade;

use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpStream, UnixStream};
use tracing::debug;

use crate::broker::Standing;
use crate::lifecycle::Phase;
use crate::shard::{Shard, Visitor};
use encryption::Opened;
pub use proxies::{Proxies, Proxy};

type Answer = Response<Full<Bytes>>;

/// Where a request came in.
#[derive(Debug, Clone)]
enum Origin {
    /// The clients' port.
    Port(Rc<Visitor>),
    /// The clients' port, without the TLS that is spoken there.
    Unencrypted(Rc<Visitor>),
    /// The Unix socket.
    Socket,
}

impl Origin {
    /// Who comes, on the port.
    fn visitor(&self) -> Option<&Visitor> {
        match self {
            Self::Port(visitor) | Self::Unencrypted(visitor) => Some(visitor),
            Self::Socket => None,
        }
    }
}

/// Serves a client's connection until it is closed or upgraded.
pub(crate) async fn serve_client(shard: Rc<Shard>, stream: TcpStream, visitor: Visitor) {
    let visitor = Rc::new(visitor);
    tokio::select! {
        () = serve_visitor(shard, stream, &visitor) => {}
        () = visitor.turned_out() => debug!("an HTTP connection is closed to make room"),
    }
}

async fn serve_visitor(shard: Rc<Shard>, stream: TcpStream, visitor: &Rc<Visitor>) {
    let port = Origin::Port(Rc::clone(visitor));
    let Some(config) = shard.node.tls.load_full() else {
        return serve(shard, TokioIo::new(stream), port).await;
    };
    match encryption::open(&shard, stream, visitor.peer(), config).await {
        Some(Opened::Encrypted(stream)) => serve(shard, TokioIo::new(stream), port).await,
        Some(Opened::Plain(stream)) => {
            serve(shard, TokioIo::new(stream), Origin::Unencrypted(Rc::clone(visitor))).await;
        }
        None => {}
    }
}

/// Tells a client that it cannot be taken in, as far as its socket takes that at once. No request of it was read,
/// and none will be. Where TLS is spoken the end of the connection says it.
pub(crate) fn turn_away(shard: &Shard, stream: &TcpStream) {
    const BODY: &str = r#"{"error":{"code":"too_many_connections","message":"this server has as many connections as it may have; try again later"}}"#;
    if shard.node.tls.load().is_some() {
        return;
    }
    let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\nretry-after: 1";
    let _ = stream.try_write(format!("{head}\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len()).as_bytes());
}

/// Serves a connection of the Unix socket, whose peer may use it.
pub async fn serve_local(shard: Rc<Shard>, stream: UnixStream) {
    serve(shard, TokioIo::new(stream), Origin::Socket).await;
}

async fn serve<Io: Read + Write + Unpin + Send + 'static>(shard: Rc<Shard>, io: Io, origin: Origin) {
    let _counted = shard.clients.count();
    let limits = &shard.node.limits;
    let service = service_fn(|request| {
        let (shard, origin) = (Rc::clone(&shard), origin.clone());
        async move {
            // It may be turned out while its body is waited for: whoever does not send it must not keep others out.
            let answer = if origin.visitor().is_none() && tail::is_requested(&request) {
                tail::answer(&shard, &request)
                    .map_or_else(|error| error.map(Either::Left), |lines| lines.map(Either::Right))
            } else {
                answer(shard, request, &origin).await.map(Either::Left)
            };
            origin.visitor().inspect(|visitor| visitor.waits());
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits.request_head_timeout_ms as u64))
        .max_buf_size(limits.request_head_bytes_max)
        // A client that has said all it wants may end its side before it is answered.
        .half_close(true)
        .serve_connection(io, service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let closing = pin!(shard.reached(Phase::Closing));
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = closing => {
            connection.as_mut().graceful_shutdown();
            // Not even the head of a request may come, and nothing else would end it.
            let timeout = Duration::from_millis(limits.close_timeout_ms as u64);
            tokio::time::timeout(timeout, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = served {
        debug!(%error, "an HTTP connection ended early");
    }
}

async fn answer(shard: Rc<Shard>, request: Request<Incoming>, origin: &Origin) -> Answer {
    if let Origin::Unencrypted(visitor) = origin {
        return encryption::refuse(&shard, visitor, request);
    }
    if upgrade::is_requested(&request) {
        return match origin {
            Origin::Port(visitor) | Origin::Unencrypted(visitor) => upgrade::answer(&shard, visitor, request),
            Origin::Socket => error(
                StatusCode::BAD_REQUEST,
                "websocket_on_unix_socket",
                "WebSocket clients are served on the port; connect there",
            ),
        };
    }
    if matches!(origin, Origin::Socket) && api::listen::is_requested(&request) {
        return api::listen::answer(&shard, request);
    }
    let path = request.uri().path();
    match (path, origin) {
        ("/up", _) => when_read(&request, || json(StatusCode::OK, r#"{"health":"OK"}"#.into())),
        ("/ready", _) => when_read(&request, || readiness(&shard)),
        ("/metrics", Origin::Socket) => when_read(&request, || {
            let text = shard.node.metrics.render();
            typed(StatusCode::OK, "text/plain; version=0.0.4", text)
        }),
        ("/status", Origin::Socket) => {
            when_read(&request, || json(StatusCode::OK, status::render(&shard.node)))
        }
        (path, _) if api::is_api(path, &shard.node.path) => {
            api::answer(shard, request, origin.visitor()).await
        }
        (path, Origin::Port(_)) if upgrade::is_clients_path(&shard, path) => {
            let mut answer = error(
                StatusCode::UPGRADE_REQUIRED,
                "upgrade_required",
                "expected a WebSocket handshake here, but found a plain request; connect with a Pusher client",
            );
            answer.headers_mut().insert(hyper::header::UPGRADE, HeaderValue::from_static("websocket"));
            answer
        }
        _ => error(StatusCode::NOT_FOUND, "not_found", "nothing is served at this path"),
    }
}

/// Whether clients are to be sent here. A server that does not hear other nodes serves its own clients, which is more
/// than nobody could do: a load balancer keeps it, and the body says what is the matter.
fn readiness(shard: &Shard) -> Answer {
    if *shard.node.phase.borrow() != Phase::Serving {
        return json(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"leaving"}"#.into());
    }
    let not_kept = || match shard.node.part.get()?.store_standing() {
        Standing::Away { reason } => Some(format!("what this server knows is not kept in Redis: {reason}")),
        Standing::Connecting | Standing::Connected => None,
    };
    let reason = match shard.node.broker.standing() {
        Standing::Connected => not_kept(),
        Standing::Connecting => Some("Redis has not been reached yet".to_owned()),
        Standing::Away { reason } => Some(reason),
    };
    let answer = match reason {
        None => serde_json::json!({"status": "ready"}),
        Some(reason) => serde_json::json!({"status": "degraded", "reason": reason}),
    };
    json(StatusCode::OK, answer.to_string())
}

/// Answers GET and HEAD.
fn when_read(request: &Request<Incoming>, answer: impl FnOnce() -> Answer) -> Answer {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return answer();
    }
    let mut answer =
        error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "expected GET or HEAD at this path");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    answer
}

fn error(status: StatusCode, code: &str, message: &str) -> Answer {
    json(status, error_text(code, message))
}

fn error_text(code: &str, message: &str) -> String {
    serde_json::json!({"error": {"code": code, "message": message}}).to_string()
}

fn json(status: StatusCode, body: String) -> Answer {
    typed(status, "application/json", body)
}

fn typed(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
