//! The life of one WebSocket connection, as a task of its shard.
//!
//! Owns reading, the conversation ([`Session`]) and the end. Everything that is written goes through the
//! connection's outbox, which others fill as well. The task waits for three things at once: something to read,
//! room to write while something waits, and somebody else's decision to close.

use std::future::poll_fn;
use std::io;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tracing::debug;

use super::Shard;
use super::connections::Fate;
use super::reader::{Heard, Next, Reader};
use super::socket::Socket;
use crate::frame;
use crate::hub::ConnectionKey;
use crate::node::AppIndex;
use crate::pusher::admission::Refusal;
use crate::pusher::{Code, Effect, Session};

/// Reads in a row before others have their turn.
const READS_MAX: usize = 16;

/// A connection's entry in its shard, removed however the task ends: a panic here must not leave it behind.
struct Place {
    shard: Rc<Shard>,
    key: ConnectionKey,
    counted: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shard.connections.borrow_mut().remove(self.key);
        if self.counted {
            self.shard.node.metrics.connections.decrement();
        }
    }
}

/// Serves an upgraded socket until it ends. `leftover` is what came right behind the HTTP request.
pub(crate) async fn serve(
    shard: Rc<Shard>,
    stream: Socket,
    leftover: Bytes,
    admitted: Result<AppIndex, Refusal>,
) {
    let stream = Rc::new(stream);
    let socket_id = shard.socket_ids.borrow_mut().draw();
    let key = shard.connections.borrow_mut().open(socket_id, Rc::clone(&stream));
    let mut place = Place { shard: Rc::clone(&shard), key, counted: false };
    let mut reader = Reader::new(&shard.node.limits);
    let mut client_closed = false;
    let admitted = admitted.and_then(|app| {
        if shard.node.is_leaving() {
            return Err(Refusal::new(Code::ReconnectNow, "this server is leaving; connect again"));
        }
        let metrics = &shard.node.metrics;
        place.counted = metrics.connections.increment_up_to(shard.node.limits.connections_max as u64);
        if place.counted {
            metrics.connections_opened_total.increment();
            return Ok(app);
        }
        Err(Refusal::new(
            Code::OverCapacity,
            "this server has as many connections as it may have; try again later",
        ))
    });
    match admitted {
        Ok(app) => {
            debug!(%socket_id, app = shard.node.app(app).id, "a client is let in");
            let mut conversation = Conversation::new(&shard, key, app, Session::new(socket_id));
            conversation.open();
            conversation.converse(&stream, &mut reader, leftover).await;
            client_closed = conversation.client_closed;
        }
        Err(refusal) => {
            debug!(%socket_id, code = refusal.code.number(), message = refusal.message, "a client is refused");
            refuse(&shard, key, &refusal);
        }
    }
    linger(&shard, key, &stream, &mut reader, client_closed).await;
}

fn refuse(shard: &Shard, key: ConnectionKey, refusal: &Refusal) {
    shard.node.metrics.connections_refused_total.increment();
    let mut connections = shard.connections.borrow_mut();
    connections.enqueue(key, frame::text(&refusal.error_text()));
    connections.close(key, refusal.code, &refusal.message);
    connections.flush_touched(&shard.node.metrics);
}

/// How far reading came.
enum Read {
    /// There is no more for now.
    All,
    /// A client that sends without pause has had its turn.
    SomeIsLeft,
    /// The client is gone.
    Gone,
}

/// A session, and where its effects go.
struct Conversation<'a> {
    shard: &'a Shard,
    key: ConnectionKey,
    app: AppIndex,
    session: Session,
    /// Whether the client has sent its close frame.
    client_closed: bool,
}

impl<'a> Conversation<'a> {
    fn new(shard: &'a Shard, key: ConnectionKey, app: AppIndex, session: Session) -> Self {
        Self { shard, key, app, session, client_closed: false }
    }

    fn open(&mut self) {
        let mut effects = Vec::new();
        self.session.open(&self.shard.node.limits, &mut effects);
        self.carry_out(&mut effects);
        self.flush();
    }

    /// Until the connection is closing, broken or gone.
    async fn converse(&mut self, stream: &Socket, reader: &mut Reader, leftover: Bytes) {
        if !leftover.is_empty() {
            self.take_in(reader, &leftover);
        }
        drop(leftover);
        loop {
            let ready = poll_fn(|cx| {
                if self.shard.connections.borrow_mut().poll_write(self.key, cx).is_ready() {
                    return Poll::Ready(ControlFlow::Break(()));
                }
                stream.poll_read_ready(cx).map(|_| ControlFlow::Continue(()))
            });
            if ready.await.is_break() {
                return;
            }
            match self.read(stream, reader) {
                Read::All => {}
                Read::SomeIsLeft => tokio::task::yield_now().await,
                Read::Gone => {
                    self.shard.connections.borrow_mut().remove(self.key);
                    return;
                }
            }
        }
    }

    /// Reads what is there, up to [`READS_MAX`] times.
    fn read(&mut self, stream: &Socket, reader: &mut Reader) -> Read {
        for _ in 0..READS_MAX {
            let mut scratch = self.shard.scratch.borrow_mut();
            match stream.try_read(&mut scratch) {
                Ok(0) => return Read::Gone,
                Ok(n) => self.take_in(reader, &scratch[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Read::All,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Read::Gone,
            }
        }
        Read::SomeIsLeft
    }

    /// Hears what is in `input`, and flushes the answers once.
    fn take_in(&mut self, reader: &mut Reader, input: &[u8]) {
        let mut effects = Vec::new();
        let metrics = &self.shard.node.metrics;
        reader.feed(input, |heard| {
            match heard {
                Heard::Text(text) => {
                    metrics.messages_total.increment();
                    self.session.on_text(&text, &self.shard.node.limits, &mut effects);
                }
                Heard::Binary => self.session.on_binary(&mut effects),
                Heard::Sign => {}
                Heard::Close => self.client_closed = true,
                Heard::Broken(code) => {
                    let metric = match code {
                        Code::TooBig => &metrics.messages_too_large_total,
                        _ => &metrics.protocol_errors_total,
                    };
                    metric.increment();
                    effects.push(Effect::Close(code, code.meaning()));
                }
            }
            self.carry_out(&mut effects);
            match self.shard.connections.borrow().fate(self.key) {
                Some(Fate::Open) => Next::Continue,
                _ => Next::Stop,
            }
        });
        let replies = reader.take_replies();
        let mut connections = self.shard.connections.borrow_mut();
        match (self.client_closed, replies.is_empty()) {
            (false, true) => {}
            (false, false) => connections.enqueue(self.key, Bytes::from(replies)),
            (true, true) => connections.close(self.key, Code::Normal, ""),
            (true, false) => connections.finish(self.key, Bytes::from(replies)),
        }
        drop(connections);
        self.flush();
    }

    fn carry_out(&mut self, effects: &mut Vec<Effect>) {
        let mut connections = self.shard.connections.borrow_mut();
        for effect in effects.drain(..) {
            match effect {
                Effect::Send(text) => connections.enqueue(self.key, frame::text(&text)),
                Effect::Subscribe(channel) => connections.subscribe(self.key, self.app, &channel),
                Effect::Unsubscribe(channel) => connections.unsubscribe(self.key, self.app, &channel),
                Effect::Close(code, reason) => connections.close(self.key, code, reason),
            }
        }
    }

    fn flush(&self) {
        self.shard.connections.borrow_mut().flush_touched(&self.shard.node.metrics);
    }
}

/// After the close frame is enqueued: writes what waits, and reads on until the client has closed too, within
/// `close_timeout_ms`. To drop a socket with bytes unread would make the kernel reset it, and the client might
/// never see why it was closed.
async fn linger(
    shard: &Shard,
    key: ConnectionKey,
    stream: &Socket,
    reader: &mut Reader,
    client_closed: bool,
) {
    if shard.connections.borrow().fate(key) != Some(Fate::Closing) {
        return;
    }
    let mut answered = client_closed;
    let until_closed = poll_fn(|cx| {
        if shard.connections.borrow_mut().poll_write(key, cx) != Poll::Ready(Fate::Closing) {
            return Poll::Ready(());
        }
        while stream.poll_read_ready(cx).is_ready() {
            let mut scratch = shard.scratch.borrow_mut();
            match stream.try_read(&mut scratch) {
                Ok(0) => return Poll::Ready(()),
                Ok(n) => reader.feed(&scratch[..n], |heard| match heard {
                    Heard::Close => {
                        answered = true;
                        Next::Stop
                    }
                    _ => Next::Continue,
                }),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => return Poll::Ready(()),
            }
        }
        if answered && shard.connections.borrow().is_flushed(key) { Poll::Ready(()) } else { Poll::Pending }
    });
    let timeout = Duration::from_millis(shard.node.limits.close_timeout_ms as u64);
    // Boxed: a timer is larger than everything else here, and nearly all connections are not closing.
    drop(Box::pin(tokio::time::timeout(timeout, until_closed)).await);
}
