//! The life of one WebSocket connection, as a task of its shard.
//!
//! Owns reading, the conversation ([`Session`]) and the end. Everything that is written goes through the
//! connection's outbox, which others fill as well. The task waits for three things at once: something to read,
//! room to write while something waits, and somebody else's decision to close.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tracing::debug;

use super::Shard;
use super::connections::Fate;
use super::reader::{Heard, Next, Reader};
use super::socket::Socket;
use crate::apps::{App, Standing};
use crate::frame;
use crate::hub::{ConnectionKey, Full, Member};
use crate::publication::{Data, Publication};
use crate::pusher::admission::Refusal;
use crate::pusher::channel::Kind;
use crate::pusher::{ChannelName, ClientEvent, Code, Effect, Session, Setting, events};

/// Reads in a row before others have their turn.
const READS_MAX: usize = 16;

/// A connection's entry in its shard, removed however the task ends: a panic here must not leave it behind.
struct Place {
    shard: Rc<Shard>,
    key: ConnectionKey,
    /// Counted for the node and for this app.
    app: Option<Arc<App>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shard.connections.borrow_mut().remove(self.key);
        if let Some(app) = &self.app {
            self.shard.node.metrics.connections.decrement();
            app.connections.decrement();
        }
    }
}

/// Serves an upgraded socket until it ends. `leftover` is what came right behind the HTTP request, `client` where
/// it came from.
pub(crate) async fn serve(
    shard: Rc<Shard>,
    stream: Socket,
    leftover: Bytes,
    client: IpAddr,
    admitted: Result<Arc<App>, Refusal>,
) {
    let stream = Rc::new(stream);
    let socket_id = shard.socket_ids.borrow_mut().draw();
    let key = shard.connections.borrow_mut().open(socket_id, client, Rc::clone(&stream));
    let mut place = Place { shard: Rc::clone(&shard), key, app: None };
    let admitted = admitted.and_then(|app| {
        count(&shard, &app)?;
        place.app = Some(Arc::clone(&app));
        Ok(app)
    });
    let mut client_closed = false;
    let mut reader;
    match admitted {
        Ok(app) => {
            debug!(%socket_id, %client, app = app.settings().app.id, "a client is let in");
            reader = Reader::new(app.settings().limits());
            shard.connections.borrow_mut().admit(key, Arc::clone(&app));
            let mut conversation = Conversation::new(&shard, key, app, Session::new(socket_id));
            conversation.open();
            conversation.converse(&stream, &mut reader, leftover).await;
            client_closed = conversation.client_closed;
        }
        Err(refusal) => {
            debug!(%socket_id, %client, code = refusal.code.number(), message = refusal.message, "a client is refused");
            reader = Reader::new(&shard.node.limits);
            refuse(&shard, key, &refusal);
        }
    }
    linger(&shard, key, &stream, &mut reader, client_closed).await;
}

/// Counts a client of `app` unless there are as many as there may be.
fn count(shard: &Shard, app: &App) -> Result<(), Refusal> {
    let node = &shard.node;
    if node.is_leaving() {
        return Err(Refusal::new(Code::ReconnectNow, "this server is leaving; connect again"));
    }
    if app.settings().standing != Standing::Served {
        // It was a moment ago.
        return Err(Refusal::new(Code::AppDisabled, Code::AppDisabled.meaning()));
    }
    let app_max = app.settings().limits().app_connections_max;
    if !app.connections.increment_up_to(app_max as u64) {
        let message =
            format!("this app has {app_max} connections, as many as it may have (app_connections_max)");
        return Err(Refusal::new(Code::OverQuota, message));
    }
    if !node.metrics.connections.increment_up_to(node.limits.connections_max as u64) {
        app.connections.decrement();
        let message = "this server has as many connections as it may have; try again later";
        return Err(Refusal::new(Code::OverCapacity, message));
    }
    node.metrics.connections_opened_total.increment();
    Ok(())
}

fn refuse(shard: &Shard, key: ConnectionKey, refusal: &Refusal) {
    shard.node.metrics.connections_refused_total.increment();
    let mut connections = shard.connections.borrow_mut();
    connections.turn_away(key, refusal.code, &refusal.message);
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
    app: Arc<App>,
    session: Session,
    /// Whether the client has sent its close frame.
    client_closed: bool,
}

impl<'a> Conversation<'a> {
    fn new(shard: &'a Shard, key: ConnectionKey, app: Arc<App>, session: Session) -> Self {
        Self { shard, key, app, session, client_closed: false }
    }

    fn open(&mut self) {
        let mut effects = Vec::new();
        self.session.open(self.app.settings().limits(), &mut effects);
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
        self.shard.connections.borrow_mut().hear(self.key);
        reader.feed(input, |heard| {
            match heard {
                Heard::Text(text) => {
                    metrics.messages_total.increment();
                    self.hear(&text, &mut effects);
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

    fn hear(&mut self, text: &str, effects: &mut Vec<Effect>) {
        let settings = self.app.settings();
        let setting = Setting { app: &settings.app, now: tokio::time::Instant::now() };
        self.session.on_text(text, setting, effects);
    }

    fn carry_out(&mut self, effects: &mut Vec<Effect>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Send(text) => self.send(&text),
                Effect::Subscribe { channel, member } => self.subscribe(&channel, member.as_ref()),
                Effect::Unsubscribe(channel) => {
                    self.shard.connections.borrow_mut().unsubscribe(self.key, self.app.index, &channel);
                }
                Effect::SignIn(user) => {
                    let attendance = self.shard.connections.borrow_mut().sign_in(self.key, &user);
                    if let Some(attendance) = attendance {
                        self.send(&events::watchlist_events(&attendance));
                    }
                }
                Effect::Publish(event) => self.publish(&event),
                Effect::Close(code, reason) => {
                    self.shard.connections.borrow_mut().close(self.key, code, reason);
                }
            }
        }
    }

    fn send(&self, text: &str) {
        self.shard.connections.borrow_mut().enqueue(self.key, frame::text(text));
    }

    /// Subscribes, and tells the client so: first that it is subscribed, then what the channel remembers.
    fn subscribe(&mut self, channel: &ChannelName, member: Option<&Member>) {
        let subscribed = self.shard.connections.borrow_mut().subscribe(self.key, &self.app, channel, member);
        let subscribed = match subscribed {
            Ok(Some(subscribed)) => subscribed,
            Ok(None) => return,
            Err(Full) => {
                let mut effects = Vec::new();
                self.session.channel_is_full(channel, self.app.settings().limits(), &mut effects);
                return self.carry_out(&mut effects);
            }
        };
        if channel.traits().kind == Kind::Presence {
            self.send(&events::presence_succeeded(channel, &subscribed.members));
        } else {
            self.send(&events::subscription_succeeded(channel));
        }
        match subscribed.remembered {
            None => {}
            Some(None) => self.send(&events::cache_miss(channel)),
            Some(Some(last)) => {
                let frame = frame::event(&last.event, channel.as_str(), &Data::Text(&last.data));
                self.shard.connections.borrow_mut().enqueue(self.key, frame);
            }
        }
    }

    /// Publishes what the client sends to the others, with its name on a presence channel.
    fn publish(&self, ClientEvent { channel, event, json }: &ClientEvent) {
        let node = &self.shard.node;
        let name = channel.as_str();
        let user_id = self.shard.connections.borrow().member_of(self.key, self.app.index, name);
        let publication = Publication {
            channels: vec![name],
            event,
            data: Data::Client { json: json.as_deref(), user_id: user_id.as_deref() },
            except: Some(self.session.socket_id()),
        };
        node.metrics.client_events_total.increment();
        // Nobody waits for it to be flushed: a client is promised nothing about what it sends.
        drop(self.shard.deliver(|round| node.publish(&self.app, &publication, round)));
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
