//! `GET /tail?app=…&channel=…` on the Unix socket: publications as they pass, one JSON object a line.
//!
//! Owns the request's words and the body that never ends by itself: it does when the reader goes, or when the
//! server leaves. A reader may end its own side and read on, so that only a write tells that it has gone: an empty
//! line is sent every now and then. What a line says and what a slow reader loses is [`crate::tail`]'s.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{Answer, error};
use crate::lifecycle::Phase;
use crate::shard::Shard;
use crate::tail::{Filter, TooMany, Watched};

/// How long a reader that has gone may go unnoticed while nothing is published.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// The lines for one reader.
pub(super) struct Lines {
    watched: Option<Watched>,
    leaving: Pin<Box<dyn Future<Output = ()>>>,
    signs_of_life: Interval,
    shard: Rc<Shard>,
}

/// Whether this is what is asked for.
pub(super) fn is_requested(request: &Request<Incoming>) -> bool {
    request.uri().path() == "/tail"
}

/// The lines, or what is wrong with the request.
pub(super) fn answer(shard: &Rc<Shard>, request: &Request<Incoming>) -> Result<Response<Lines>, Box<Answer>> {
    if request.method() != Method::GET {
        let mut answer =
            error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "expected GET at this path");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return Err(Box::new(answer));
    }
    let filter = read(request.uri().query().unwrap_or_default())
        .map_err(|message| Box::new(error(StatusCode::BAD_REQUEST, "bad_query", &message)))?;
    if let Some(app) = &filter.app
        && shard.node.apps.by_id(app).is_none()
    {
        let message = format!("expected the id of an app that this server has, but found {app:?}");
        return Err(Box::new(error(StatusCode::NOT_FOUND, "unknown_app", &message)));
    }
    let watched = shard.node.tails.watch(filter).map_err(|TooMany { max }| {
        let message = format!("{max} watch already, which is tails_max; end one of them");
        Box::new(error(StatusCode::SERVICE_UNAVAILABLE, "too_many_tails", &message))
    })?;
    let mut phase = shard.node.phase.clone();
    let leaving = Box::pin(async move {
        // The sender outlives all shards; if it is gone, so is the server.
        let _ = phase.wait_for(|now| *now >= Phase::Draining).await;
    });
    let mut signs_of_life = interval_at(Instant::now() + SIGN_OF_LIFE, SIGN_OF_LIFE);
    signs_of_life.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let lines = Lines { watched: Some(watched), leaving, signs_of_life, shard: Rc::clone(shard) };
    let mut answer = Response::new(lines);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(answer)
}

impl Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(watched) = &mut self.watched
            && let Poll::Ready(line) = watched.poll_line(context)
        {
            return Poll::Ready(line.map(|line| Ok(Frame::data(line))));
        }
        if self.leaving.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        self.signs_of_life.poll_tick(context).map(|_| Some(Ok(Frame::data(Bytes::from_static(b"\n")))))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // The lines first: they are what tells that nobody reads them any more.
        self.watched = None;
        self.shard.node.tails.forget_gone();
    }
}

fn read(query: &str) -> Result<Filter, String> {
    let mut filter = Filter::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let field = match name {
            "app" => &mut filter.app,
            "channel" => &mut filter.channel,
            _ => return Err(format!("expected app or channel in the query, but found {name:?}")),
        };
        let value = decode(value).ok_or_else(|| format!("expected {name} in percent-encoded UTF-8"))?;
        *field = (!value.is_empty()).then_some(value);
    }
    Ok(filter)
}

fn decode(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_app_and_channel_or_is_refused() {
        let filter = read("app=shop&channel=orders.%2A%C3%BC").unwrap();
        assert_eq!((filter.app.as_deref(), filter.channel.as_deref()), (Some("shop"), Some("orders.*ü")));
        let filter = read("app=&").unwrap();
        assert_eq!((filter.app, filter.channel), (None, None));
        for query in ["chanel=x", "channel=%", "channel=%f", "channel=%zz", "channel=%ff"] {
            assert!(read(query).is_err(), "{query}");
        }
    }
}
