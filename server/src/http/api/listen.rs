//! `GET /apps/{id}/listen` with `Upgrade: fanfare-listen-1`, on the Unix socket: what happens in an app's channels is told
//! over the connection from then on.
//!
//! Owns the request: it is signed like every other one, and refused where the app has no listener. What is said
//! afterwards is the webhooks' thread's ([`crate::webhooks`]), which the connection is handed to.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tracing::debug;

use super::super::Answer;
use super::super::upgrade::has_token;
use super::rejection::{Code, Rejection};
use super::{Head, now_s, refuse, request};
use crate::node::Node;
use crate::shard::Shard;
use crate::webhooks::{AppHooks, Newcomer};

/// The number is that of what is said afterwards: a process that speaks otherwise is told to use the same version.
const PROTOCOL: &str = "fanfare-listen-1";

/// Whether a request asks for it.
pub(in crate::http) fn is_requested(request: &Request<Incoming>) -> bool {
    has_token(request.headers(), &UPGRADE, PROTOCOL)
}

/// What is answered to who asks in another way.
pub(super) fn needs_upgrade() -> Rejection {
    let message = format!(
        "expected `Upgrade: {PROTOCOL}` over the server's Unix socket, but found another request; run `php artisan fanfare:listen` on the server's host, in the same version"
    );
    Rejection::new(Code::ListenUpgrade, message)
}

/// Hands the connection over, or says why not.
pub(in crate::http) fn answer(shard: &Shard, mut request: Request<Incoming>) -> Answer {
    let node = &shard.node;
    node.metrics.api_requests_total.increment();
    let hooks = match judge(node, &request) {
        Ok(hooks) => hooks,
        Err(rejection) => return refuse(node, request.uri().path(), &rejection),
    };
    let (upgraded, node) = (hyper::upgrade::on(&mut request), Arc::clone(node));
    tokio::task::spawn_local(async move {
        match upgraded.await.map(|upgraded| regain(upgraded, hooks)) {
            Ok(Some(newcomer)) => node.attend_listener(newcomer),
            Ok(None) => {
                debug!("a listener's connection is not of the Unix socket, or cannot be had; it is dropped")
            }
            Err(error) => debug!(%error, "a listener left before it could be told anything"),
        }
    });
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
    answer
}

/// What is configured for the app that may be listened to.
fn judge(node: &Node, request: &Request<Incoming>) -> Result<Arc<AppHooks>, Rejection> {
    let uri = request.uri();
    let head = Head { method: request.method().as_str(), path: uri.path(), query: uri.query() };
    let (app, authorised) = request::authorise(head, &node.path, &node.apps, now_s())?;
    // A body's bytes would be taken for what a listener says.
    if !authorised.is_to_listen() || !request.body().is_end_stream() {
        return Err(needs_upgrade());
    }
    let hooks = app.settings().hooks.clone();
    hooks.filter(|hooks| hooks.listener.is_some()).ok_or_else(|| {
        Rejection::new(
            Code::ListenOff,
            "expected an app with a listener, but found one without; set `listener` of the app to true in the server's configuration",
        )
    })
}

/// The connection, free of the shard's runtime.
fn regain(upgraded: Upgraded, hooks: Arc<AppHooks>) -> Option<Newcomer> {
    let parts = upgraded.downcast::<TokioIo<UnixStream>>().ok()?;
    let said: Bytes = parts.read_buf;
    let stream = parts.io.into_inner().into_std().ok()?;
    Some(Newcomer { hooks, stream, said: said.into() })
}
