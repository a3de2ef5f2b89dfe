//! The life of one WebSocket connection, as a task of its shard.
//!
//! Owns reading, the conversation ([`Session`]) and the end. Everything that is written goes through the
//! connection's outbox, which others fill as well. The task waits for three things at once: something to read,
//! room to write while something waits, and somebody else's decision to close.

use std::cell::RefMut;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use fanfare_wire::record::NAME_BYTES_MAX;
use tracing::debug;

use super::connections::{Connections, Fate};
use super::headers::Breach;
use super::lobby::Visitor;
use super::outbox::Flush;
use super::reader::{Heard, Next, Reader};
use super::socket::Socket;
use super::{Counted, Shard};
use crate::apps::{App, AppIndex, Standing};
use crate::frame;
use crate::hub::subscribers::Subscribed;
use crate::hub::{ConnectionKey, Full, Member, Round};
use crate::publication::{Data, Publication};
use crate::pusher::admission::Refusal;
use crate::pusher::channel::Kind;
use crate::pusher::{ChannelName, ClientEvent, Code, Effect, Session, Setting, events};
use crate::webhooks::{Event, EventKind};

/// Reads in a row before others have their turn.
const READS_MAX: usize = 16;

/// A connection's entry in its shard, removed however the task ends: a panic here must not leave it behind.
pub(super) struct Place {
    shard: Rc<Shard>,
    pub(super) key: ConnectionKey,
    /// Counted for the node and for this app.
    app: Option<Arc<App>>,
    /// Counted too.
    deflates: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shard.connections.borrow_mut().remove(self.key);
        if let Some(app) = &self.app {
            self.shard.node.metrics.connections.decrement();
            app.connections.decrement();
        }
        if self.deflates {
            self.shard.node.metrics.connections_deflating.decrement();
        }
    }
}

/// Serves an upgraded socket until it ends. `leftover` is what came right behind the HTTP request, `client` where
/// it came from. The `visitor` is one no longer when it is let in. Who is admitted may have agreed to compression.
/// `counted` is kept until the end.
///
/// A client that is let in has a task of its own, which holds what a conversation needs and nothing of the handshake.
/// Closing and being refused have tasks that are larger: nearly all connections do neither.
pub(crate) fn serve(
    shard: &Rc<Shard>,
    visitor: Rc<Visitor>,
    socket: Socket,
    leftover: &[u8],
    client: IpAddr,
    admitted: (Result<Arc<App>, Refusal>, bool),
    counted: Counted,
) {
    let (admitted, deflates) = admitted;
    match begin(shard, socket, client, admitted, deflates) {
        Begun::LetIn(mut conversation) => {
            drop(visitor);
            if !leftover.is_empty() {
                conversation.take_in(leftover);
            }
            tokio::task::spawn_local(live(conversation, counted));
        }
        Begun::Refused(place, mut reader) => {
            let mut heard_out = false;
            let bytes_max = shard.node.limits.message_bytes_max;
            reader.feed(leftover, bytes_max, |heard| listen_out(&heard, &mut heard_out));
            tokio::task::spawn_local(async move {
                let _counted = counted;
                see_off(&place, &visitor, (!heard_out).then_some(reader)).await;
            });
        }
    }
}

/// The life of a client that is let in.
#[allow(
    clippy::manual_async_fn,
    reason = "an async fn has room for its arguments twice: 480 bytes instead of 264"
)]
fn live(mut conversation: Conversation, counted: Counted) -> impl Future<Output = ()> {
    async move {
        conversation.converse().await;
        let reader = (!conversation.heard_out).then(|| std::mem::take(&mut conversation.reader));
        Box::pin(linger(&conversation.place, reader)).await;
        drop(counted);
    }
}

/// A connection that has begun.
pub(super) enum Begun {
    /// It has been told hello.
    LetIn(Conversation),
    /// It has been told why not, and only has to read it.
    Refused(Place, Reader),
}

/// Takes on a connection and says hello, or why the client is refused.
pub(super) fn begin(
    shard: &Rc<Shard>,
    socket: Socket,
    client: IpAddr,
    admitted: Result<Arc<App>, Refusal>,
    deflates: bool,
) -> Begun {
    let socket_id = shard.socket_ids.borrow_mut().draw();
    let key = shard.connections.borrow_mut().open(socket_id, client, socket);
    let mut place = Place { shard: Rc::clone(shard), key, app: None, deflates: false };
    let admitted = admitted.and_then(|app| {
        count(shard, &app)?;
        place.app = Some(Arc::clone(&app));
        if deflates {
            place.deflates = true;
            shard.node.metrics.connections_deflating.increment();
        }
        Ok(app)
    });
    match admitted {
        Ok(app) => {
            debug!(%socket_id, %client, app = app.settings().app.id, "a client is let in");
            shard.connections.borrow_mut().admit(key, Arc::clone(&app), deflates);
            let mut conversation =
                Conversation::new(place, app, Reader::new(deflates), Session::new(socket_id));
            conversation.open();
            Begun::LetIn(conversation)
        }
        Err(refusal) => {
            debug!(%socket_id, %client, code = refusal.code.number(), reason = refusal.message, "a client is refused");
            refuse(shard, key, &refusal);
            Begun::Refused(place, Reader::new(deflates))
        }
    }
}

/// Waits until a client that was told why it is refused has left, or somebody else needs its place.
async fn see_off(place: &Place, visitor: &Visitor, reader: Option<Reader>) {
    visitor.waits();
    tokio::select! {
        () = linger(place, reader) => {}
        () = visitor.turned_out() => {}
    }
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
pub(super) struct Conversation {
    pub(super) place: Place,
    app: Arc<App>,
    reader: Reader,
    session: Session,
    /// Whether nothing that the client still says matters: it has sent its close frame, or broken the protocol.
    heard_out: bool,
}

impl Conversation {
    fn new(place: Place, app: Arc<App>, reader: Reader, session: Session) -> Self {
        Self { place, app, reader, session, heard_out: false }
    }

    fn connections(&self) -> RefMut<'_, Connections> {
        self.place.shard.connections.borrow_mut()
    }

    fn open(&mut self) {
        let mut effects = Vec::new();
        self.session.open(self.app.settings().limits(), &mut effects);
        self.carry_out(&mut effects);
        self.flush();
    }

    /// Until the connection is closing, broken or gone.
    async fn converse(&mut self) {
        loop {
            let ready = poll_fn(|cx| {
                let mut connections = self.connections();
                if connections.poll_write(self.place.key, cx).is_ready() {
                    return Poll::Ready(ControlFlow::Break(()));
                }
                connections.poll_read_ready(self.place.key, cx).map(ControlFlow::Continue)
            });
            if ready.await.is_break() {
                return;
            }
            match self.read() {
                Read::All => {}
                Read::SomeIsLeft => tokio::task::yield_now().await,
                Read::Gone => {
                    self.connections().remove(self.place.key);
                    return;
                }
            }
        }
    }

    /// Reads what is there, up to [`READS_MAX`] times.
    fn read(&mut self) -> Read {
        let shard = Rc::clone(&self.place.shard);
        for _ in 0..READS_MAX {
            let mut scratch = shard.scratch.borrow_mut();
            let read = shard.connections.borrow().try_read(self.place.key, &mut scratch);
            match read {
                Ok(0) => return Read::Gone,
                Ok(n) => {
                    self.take_in(&scratch[..n]);
                    if !self.is_open() {
                        return Read::All;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Read::All,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Read::Gone,
            }
        }
        Read::SomeIsLeft
    }

    /// Hears what is in `input`, and flushes the answers once.
    pub(super) fn take_in(&mut self, input: &[u8]) {
        let mut effects = Vec::new();
        let key = self.place.key;
        self.connections().hear(key);
        let message_bytes_max = self.app.settings().limits().message_bytes_max;
        // Away while it tells what it reads, which changes all the rest.
        let mut reader = std::mem::take(&mut self.reader);
        reader.feed(input, message_bytes_max, |heard| {
            if !self.is_open() {
                // Closed by what came before in the same read: only the client's own close still matters.
                return listen_out(&heard, &mut self.heard_out);
            }
            match heard {
                Heard::Text(text) => {
                    self.place.shard.node.metrics.messages_total.increment();
                    self.hear(&text, &mut effects);
                }
                Heard::Deflated(payload) => match self.inflate(&payload) {
                    Ok(text) => {
                        self.place.shard.node.metrics.messages_total.increment();
                        self.place.shard.node.metrics.messages_deflated_total.increment();
                        self.hear(&text, &mut effects);
                    }
                    Err(breach) => self.fail(&breach),
                },
                Heard::Binary => self.session.on_binary(&mut effects),
                Heard::Ping(payload) => self.connections().enqueue(key, frame::pong(&payload)),
                Heard::Pong => {}
                Heard::Close(answer) => {
                    self.heard_out = true;
                    self.connections().finish(key, answer);
                }
                Heard::Broken(breach) => self.fail(&breach),
            }
            self.carry_out(&mut effects);
            if self.heard_out { Next::Stop } else { Next::Continue }
        });
        self.reader = reader;
        self.flush();
    }

    /// Takes a compressed text apart, with the machine that all connections of the shard share.
    fn inflate(&self, payload: &[u8]) -> Result<String, Breach> {
        let bytes_max = self.app.settings().limits().message_bytes_max;
        let inflated = self.place.shard.inflater.borrow_mut().inflate(payload, bytes_max);
        let inflated = inflated.map_err(|unsound| Breach::of_deflated(unsound, bytes_max))?;
        String::from_utf8(inflated).map_err(|_| Breach::text())
    }

    fn is_open(&self) -> bool {
        self.connections().fate(self.place.key) == Some(Fate::Open)
    }

    /// Fails the connection (RFC 6455 section 7.1.7): what comes behind a broken frame cannot be told apart.
    fn fail(&mut self, Breach { code, reason }: &Breach) {
        let metrics = &self.place.shard.node.metrics;
        match code {
            Code::TooBig => metrics.messages_too_large_total.increment(),
            _ => metrics.protocol_errors_total.increment(),
        }
        self.heard_out = true;
        self.connections().close(self.place.key, *code, reason);
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
                    self.connections().unsubscribe(self.place.key, self.app.index, &channel);
                }
                Effect::SignIn(user) => {
                    let attendance = self.connections().sign_in(self.place.key, &user);
                    if let Some(attendance) = attendance {
                        self.send(&events::watchlist_events(&attendance));
                    }
                }
                Effect::Publish(event) => self.publish(&event),
                Effect::Close(code, reason) => {
                    self.connections().close(self.place.key, code, reason);
                }
            }
        }
    }

    fn send(&self, text: &str) {
        self.connections().enqueue(self.place.key, frame::text(text));
    }

    /// Subscribes, and tells the client so, unless that has to wait ([`tell_ready`]).
    fn subscribe(&mut self, channel: &ChannelName, member: Option<&Member>) {
        let subscribed = self.connections().subscribe(self.place.key, &self.app, channel, member);
        let subscribed = match subscribed {
            Ok(Some(subscribed)) => subscribed,
            Ok(None) => return,
            Err(Full) => {
                let mut effects = Vec::new();
                self.session.channel_is_full(channel, self.app.settings().limits(), &mut effects);
                return self.carry_out(&mut effects);
            }
        };
        if subscribed.ready {
            tell_subscribed(&self.place.shard, &self.app, self.place.key, channel, subscribed);
        }
    }

    /// Publishes what the client sends to the others, with its name on a presence channel.
    fn publish(&self, ClientEvent { channel, event, json }: &ClientEvent) {
        let node = &self.place.shard.node;
        let name = channel.as_str();
        let user_id = self.connections().member_of(self.place.key, self.app.index, name);
        let publication = Publication {
            channels: vec![name],
            event,
            data: Data::Client { json: json.as_deref(), user_id: user_id.as_deref() },
            except: Some(self.session.socket_id()),
        };
        node.metrics.client_events_total.increment();
        let publish = |round: &mut Round| node.publish(&self.app, &publication, round);
        match channel.traits().kind {
            // The others are to hear first that the client is a member, which waits in the mailboxes.
            Kind::Presence => self.place.shard.post(publish),
            // Nobody waits for it to be flushed: a client is promised nothing about what it sends.
            _ => drop(self.place.shard.deliver(publish)),
        }
        node.tell_webhooks(&self.app, EventKind::ClientEvent, || Event::ClientEvent {
            channel: channel.shared(),
            event: event.clone(),
            data: text_of(json.as_deref()),
            socket_id: self.session.socket_id(),
            user_id,
            signed_in: self.session.user_id().cloned(),
        });
    }

    fn flush(&self) {
        self.connections().flush_touched(&self.place.shard.node.metrics);
    }
}

/// Tells a client first that it is subscribed, then what the channel remembers.
fn tell_subscribed(
    shard: &Shard,
    app: &App,
    key: ConnectionKey,
    channel: &ChannelName,
    subscribed: Subscribed,
) {
    let send = |text: &str| shard.connections.borrow_mut().enqueue(key, frame::text(text));
    if channel.traits().kind == Kind::Presence {
        send(&events::presence_succeeded(channel, &subscribed.members));
    } else {
        send(&events::subscription_succeeded(channel));
    }
    match subscribed.remembered {
        None => {}
        Some(None) => {
            send(&events::cache_miss(channel));
            shard
                .node
                .tell_webhooks(app, EventKind::CacheMiss, || Event::CacheMiss { channel: channel.shared() });
        }
        Some(Some(last)) => {
            let frame = frame::event(&last.event, channel.as_str(), &Data::Text(&last.data));
            shard.connections.borrow_mut().enqueue(key, frame);
        }
    }
}

/// A channel is ready: all who have subscribed meanwhile are told so, with its state as it is now.
pub(super) fn tell_ready(shard: &Shard, app: AppIndex, channel: &str) {
    let Some(app) = shard.node.apps.by_index(app) else { return };
    let Ok(name) = ChannelName::parse(channel, NAME_BYTES_MAX) else { return };
    let waited = shard.connections.borrow_mut().ready(app.index, channel);
    for key in waited {
        // It has the subscription, and so is neither a further member nor one too many.
        let subscribed = shard.connections.borrow_mut().subscribe(key, &app, &name, None);
        if let Ok(Some(subscribed)) = subscribed {
            tell_subscribed(shard, &app, key, &name, subscribed);
        }
    }
}

/// The data of a client event as webhooks tell it: the string that it is, or the JSON text of anything else.
fn text_of(json: Option<&str>) -> String {
    let json = json.unwrap_or_default();
    let string = json.starts_with('"').then(|| serde_json::from_str(json).ok()).flatten();
    string.unwrap_or_else(|| json.to_owned())
}

/// After the close frame is enqueued: writes what waits, reads on until the client has closed too (with a `reader`,
/// if that is still to come), ends this side of the socket, and waits for the end of the other, all of it within
/// `close_timeout_ms`. To drop a socket with bytes unread, or before the last have come, would make the kernel reset
/// it, and the client might never see why it was closed.
async fn linger(place: &Place, mut reader: Option<Reader>) {
    let (shard, key) = (&*place.shard, place.key);
    if shard.connections.borrow().fate(key) != Some(Fate::Closing) {
        return;
    }
    let mut ended_here = false;
    let mut ended_there = false;
    let until_closed = poll_fn(|cx| {
        if shard.connections.borrow_mut().poll_write(key, cx) != Poll::Ready(Fate::Closing) {
            return Poll::Ready(());
        }
        let mut reads = 0;
        while !ended_there && shard.connections.borrow().poll_read_ready(key, cx).is_ready() {
            if reads == READS_MAX {
                cx.waker().wake_by_ref();
                break;
            }
            reads += 1;
            let mut scratch = shard.scratch.borrow_mut();
            let read = shard.connections.borrow().try_read(key, &mut scratch);
            match read {
                Ok(0) => ended_there = true,
                Ok(n) => {
                    let mut heard_out = false;
                    if let Some(reader) = &mut reader {
                        let bytes_max = shard.node.limits.message_bytes_max;
                        reader.feed(&scratch[..n], bytes_max, |heard| listen_out(&heard, &mut heard_out));
                    }
                    if heard_out {
                        reader = None;
                    }
                }
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => return Poll::Ready(()),
            }
        }
        if !shard.connections.borrow().is_flushed(key) {
            return Poll::Pending;
        }
        if ended_there {
            return Poll::Ready(());
        }
        if reader.is_none() && !ended_here {
            let ended = shard.connections.borrow().end(key);
            match ended {
                Ok(Flush::Empty) => ended_here = true,
                // TLS has a last word, which waits for room: this is polled again when there is some.
                Ok(Flush::Blocked) => cx.waker().wake_by_ref(),
                Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    });
    let timeout = Duration::from_millis(shard.node.limits.close_timeout_ms as u64);
    // A client that is not done by then is cut off.
    drop(tokio::time::timeout(timeout, until_closed).await);
}

/// Listens for nothing but the end of what a client has to say.
fn listen_out(heard: &Heard, heard_out: &mut bool) -> Next {
    if matches!(heard, Heard::Close(_) | Heard::Broken(_)) {
        *heard_out = true;
        return Next::Stop;
    }
    Next::Continue
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of<F>(_: impl Fn(Conversation, Counted) -> F) -> usize {
        size_of::<F>()
    }

    /// There may be a hundred thousand of them: see docs/performance.md before either is raised.
    #[test]
    fn an_idle_connection_is_small() {
        let (task, entry) = (bytes_of(live), size_of::<crate::shard::connections::Connection>());
        assert!(task <= 264, "{task}");
        assert!(entry <= 176, "{entry}");
    }
}
