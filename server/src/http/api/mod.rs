//! Pusher's HTTP API, on the clients' port and on the Unix socket alike: every request is signed.
//!
//! Owns reading a body within its bounds and carrying out what was asked; what it is and whether it may be is judged
//! without I/O ([`request`], over [`route`], [`parameters`], [`signature`], [`publish`] and [`channels`]).
//! [`rejection`] is the catalogue of errors. A publication is answered when it has reached the outboxes of all its
//! subscribers here. Source: Pusher's "HTTP API Reference", docs/http-api.md for what is different.

pub mod channels;
pub(super) mod listen;
pub mod parameters;
pub mod publish;
pub mod rejection;
pub mod request;
pub mod route;
pub mod signature;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fanfare_wire::attach::MESSAGE_BYTES_MAX;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, EXPECT, HeaderValue};
use hyper::{Request as HttpRequest, StatusCode};
use serde_json::{Value, json};
use tracing::debug;

use super::{Answer, error, error_text, json as json_answer};
use crate::apps::App;
use crate::fleet::asking::Told;
use crate::fleet::frames::About;
use crate::node::Node;
use crate::shard::{Shard, Visitor};
use publish::Submission;
use rejection::{Code, Rejection};
pub use request::{Authorised, Head, Request};
pub(super) use route::is_api;

/// Answers a request of the API. A `visitor` of the port is not turned out while it is carried out.
pub(super) async fn answer(
    shard: Rc<Shard>,
    http: HttpRequest<Incoming>,
    visitor: Option<&Visitor>,
) -> Answer {
    let node = Arc::clone(&shard.node);
    node.metrics.api_requests_total.increment();
    let path = http.uri().path().to_owned();
    match judge(&node, http).await {
        Ok((app, request)) => {
            visitor.inspect(|visitor| visitor.is_answered());
            let value = carry_out(&shard, &app, &request).await;
            json_answer(StatusCode::OK, value.to_string())
        }
        Err(rejection) => refuse(&node, &path, &rejection),
    }
}

fn refuse(node: &Node, path: &str, rejection: &Rejection) -> Answer {
    note(node, path, rejection);
    let mut answer = error(rejection.code.status(), rejection.code.text(), &rejection.message);
    if let Some(allow) = rejection.allow {
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    }
    answer
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Answers what PHP asks over its attached connection: the status that HTTP would have, and JSON. `target` is what
/// would stand behind `/apps/{id}`.
pub(crate) async fn answer_attached(
    shard: &Shard,
    app: &Arc<App>,
    (method, target): (&str, &str),
    body: &[u8],
) -> (StatusCode, String) {
    let node = &shard.node;
    node.metrics.api_requests_total.increment();
    let judged = Authorised::attached(method, target)
        .and_then(|asked| asked.judge_body(body, app.settings().limits()));
    match judged {
        Ok(request) => (StatusCode::OK, carry_out(shard, app, &request).await.to_string()),
        Err(rejection) => {
            note(node, target, &rejection);
            (rejection.code.status(), error_text(rejection.code.text(), &rejection.message))
        }
    }
}

/// The answer to a question whose answer, of `found` bytes, is more than one message of the Unix socket can be.
pub(crate) fn too_long_for_a_message(found: usize) -> (StatusCode, String) {
    let message = format!(
        "expected an answer of at most {MESSAGE_BYTES_MAX} bytes, but found {found}; ask for less (filter_by_prefix)"
    );
    let code = Code::AnswerTooLarge;
    (code.status(), error_text(code.text(), &message))
}

/// Counts and logs a request that is not carried out.
fn note(node: &Node, path: &str, rejection: &Rejection) {
    node.metrics.api_requests_rejected_total.increment();
    if rejection.code.drops_a_publication() {
        node.metrics.publications_rejected_total.increment();
    }
    debug!(path, code = rejection.code.text(), reason = &*rejection.message, "an API request is rejected");
}

/// Judges the head, then reads the body of who may send one, then judges that.
async fn judge(node: &Node, http: HttpRequest<Incoming>) -> Result<(Arc<App>, Request), Rejection> {
    let (parts, body) = http.into_parts();
    let (bytes_max, within) =
        (node.limits.http_body_bytes_max, Duration::from_millis(node.limits.request_body_timeout_ms as u64));
    let head = Head { method: parts.method.as_str(), path: parts.uri.path(), query: parts.uri.query() };
    let received = match request::authorise(head, &node.path, &node.apps, now_s()) {
        Ok((app, authorised)) => receive(body, bytes_max, within).await.map(|body| (app, authorised, body)),
        Err(rejection) => Err((rejection, Some(body))),
    };
    match received {
        Ok((app, authorised, body)) => {
            let request = authorised.judge(&body, app.settings().limits())?;
            Ok((app, request))
        }
        Err((rejection, rest)) => {
            // Who waits to be asked for the body is not asked. Others send all of it before they read an answer, and
            // would not get to see it if the connection were closed before.
            if let Some(rest) = rest.filter(|_| !parts.headers.contains_key(EXPECT)) {
                discard(rest, bytes_max, within.min(DISCARD)).await;
            }
            Err(rejection)
        }
    }
}

/// Reads a body of at most `bytes_max`. A rejection comes with what was not read, where there may be some.
async fn receive(
    mut body: Incoming,
    bytes_max: usize,
    within: Duration,
) -> Result<Vec<u8>, (Rejection, Option<Incoming>)> {
    let too_large = |found: String| {
        let message = format!(
            "expected a body of at most {bytes_max} bytes, but found {found}; send less at a time, or raise http_body_bytes_max"
        );
        Rejection::new(Code::BodyTooLarge, message)
    };
    let announced = body.size_hint().lower();
    if announced > bytes_max as u64 {
        return Err((too_large(announced.to_string()), Some(body)));
    }
    let mut received = Vec::new();
    let read = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| {
                Rejection::new(
                    Code::BodyIncomplete,
                    "expected the whole body, but the connection ended before",
                )
            })?;
            let Ok(piece) = frame.into_data() else { continue };
            if piece.len() > bytes_max - received.len() {
                return Err(too_large("more".into()));
            }
            received.extend_from_slice(&piece);
        }
        Ok(())
    };
    match tokio::time::timeout(within, read).await {
        Ok(Ok(())) => Ok(received),
        Ok(Err(rejection)) => Err((rejection, Some(body))),
        Err(_) => {
            let ms = within.as_millis();
            let message =
                format!("expected the whole body within {ms} ms, but it did not come; send it again");
            Err((Rejection::new(Code::BodyTimeout, message), None))
        }
    }
}

/// How long the body of a rejected request is read, which is only for its sender to see the answer.
const DISCARD: Duration = Duration::from_secs(1);

/// Reads a body, up to a bound, and forgets it.
async fn discard(mut body: Incoming, bytes_max: usize, within: Duration) {
    let read = async {
        let mut bytes = 0;
        while bytes <= bytes_max
            && let Some(Ok(frame)) = body.frame().await
        {
            bytes += frame.data_ref().map_or(0, hyper::body::Bytes::len);
        }
    };
    // Whatever came until then: the connection is closed if there is more.
    drop(tokio::time::timeout(within, read).await);
}

async fn carry_out(shard: &Shard, app: &Arc<App>, request: &Request) -> Value {
    let node = &shard.node;
    match request {
        Request::Publish(submission) => {
            publish(shard, app, std::slice::from_ref(submission)).await;
            match submission.wanted.any() {
                false => json!({}),
                true => {
                    let (mut channels, mut missing) = (serde_json::Map::new(), 0);
                    for name in &submission.channels {
                        channels
                            .insert(name.clone(), describe(shard, app, name, submission, &mut missing).await);
                    }
                    marked(json!({"channels": channels}), missing)
                }
            }
        }
        Request::PublishBatch(batch) => {
            publish(shard, app, batch).await;
            if !batch.iter().any(|submission| submission.wanted.any()) {
                return json!({});
            }
            let (mut about, mut missing) = (Vec::with_capacity(batch.len()), 0);
            for submission in batch {
                if let Some(name) = submission.channels.first() {
                    about.push(describe(shard, app, name, submission, &mut missing).await);
                }
            }
            marked(json!({"batch": about}), missing)
        }
        Request::Channels(listing) => {
            let Told { answer, missing } = node.enquire(app, About::Channels(listing.prefix.clone())).await;
            marked(listing.answer(answer), missing)
        }
        Request::Channel(enquiry) => {
            let Told { answer, missing } = node.enquire(app, About::Channel(enquiry.channel.clone())).await;
            marked(enquiry.answer(&answer), missing)
        }
        Request::Users(channel) => {
            let Told { answer, missing } = node.enquire(app, About::Users(channel.clone())).await;
            marked(channels::users(&answer), missing)
        }
        Request::Terminate(user_id) => {
            shard.node.terminate(app, user_id);
            json!({})
        }
        Request::Connections => {
            let Told { answer, missing } = node.enquire(app, About::Connections).await;
            marked(json!({"connections": answer.connections}), missing)
        }
    }
}

/// What is wanted about one channel; nobody is asked when nothing is.
async fn describe(
    shard: &Shard,
    app: &App,
    channel: &str,
    submission: &Submission,
    missing: &mut usize,
) -> Value {
    let told = match submission.wanted.any() {
        true => shard.node.enquire(app, About::Channel(channel.to_owned())).await,
        false => Told::default(),
    };
    *missing = told.missing.max(*missing);
    Value::Object(channels::describe(channel, submission.wanted, &told.answer))
}

/// An answer in which some nodes are missing says so; one that is whole is Pusher's and nothing else.
fn marked(mut answer: Value, missing: usize) -> Value {
    if missing > 0
        && let Some(fields) = answer.as_object_mut()
    {
        fields.insert("nodes_missing".into(), missing.into());
    }
    answer
}

/// Publishes all of it together, and waits until it has reached every outbox.
async fn publish(shard: &Shard, app: &App, submissions: &[Submission]) {
    let node = &shard.node;
    let flushed = shard.deliver(|round| {
        for submission in submissions {
            node.metrics.publications_total.increment();
            node.publish(app, &submission.publication(), round);
        }
    });
    if let Some(flushed) = flushed {
        flushed.wait().await;
    }
}
