//! The connections of one shard and what waits for them.
//!
//! Owns every connection's outbox and fate, and the shard's part of the hub. All of it is changed by one thread
//! between two awaits, so delivery takes no lock. Leaves reading, and the conversation, to each connection's task
//! ([`super::connection`]).

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use slotmap::SlotMap;
use tracing::info;

use super::liveness::Silence;
use super::outbox::{Flush, Outbox, Overflow, Spares};
use super::run::Run;
use super::socket::Socket;
use crate::apps::{App, AppIndex, Standing};
use crate::deflate::Deflater;
use crate::frame;
use crate::hub::subscribers::Subscribed;
use crate::hub::users::{Attendance, Watcher};
use crate::hub::{ConnectionKey, Delivery, Full, Herald, Member, ShardIndex, Subscribers};
use crate::logs::Sparingly;
use crate::metrics::Metrics;
use crate::pusher::member::SignedIn;
use crate::pusher::{ChannelName, Code, SocketId, events};

/// One client's socket and what waits for it.
#[derive(Debug)]
pub(super) struct Connection {
    socket_id: SocketId,
    /// Whether it has agreed to compression.
    deflates: bool,
    /// Where it comes from, for logs.
    client: IpAddr,
    socket: Socket,
    outbox: Outbox,
    /// Whose client it is; none of a client that is refused.
    pub(super) app: Option<Arc<App>>,
    /// Who is signed in.
    pub(super) user: Option<Arc<SignedIn>>,
    pub(super) silence: Silence,
    /// The task, to be woken when the fate changes or the socket is blocked.
    task: Option<Waker>,
    pub(super) fate: Fate,
    /// Whether it stands in the list of outboxes to be flushed.
    touched: bool,
}

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is served.
    Open,
    /// A close frame is the last that is in its outbox.
    Closing,
    /// Its socket cannot be written any more.
    Broken,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Connections {
    shard: ShardIndex,
    pub(super) herald: Arc<dyn Herald>,
    /// Boxed: the map itself never shrinks, and what a connection takes is to be free again when it is gone.
    pub(super) connections: SlotMap<ConnectionKey, Box<Connection>>,
    subscribers: Subscribers,
    spares: Spares,
    deflater: Deflater,
    touched: Vec<ConnectionKey>,
    overflowed: Vec<ConnectionKey>,
    outbox_bytes_max: usize,
    /// Seconds since the shard began, as of the last look at who is silent.
    pub(super) now_s: u32,
    /// Users whose last connection was here, and when they count as gone.
    pub(super) departing: Vec<Departing>,
}

/// A user whose last connection is gone, for now.
#[derive(Debug)]
pub(super) struct Departing {
    pub(super) app: Arc<App>,
    pub(super) user_id: Arc<str>,
    pub(super) since: tokio::time::Instant,
}

static OVERFLOWS: Sparingly = Sparingly::new();

impl Connections {
    /// None yet.
    pub(super) fn new(
        shard: ShardIndex,
        herald: Arc<dyn Herald>,
        metrics: Arc<Metrics>,
        outbox_bytes_max: usize,
    ) -> Self {
        Self {
            shard,
            subscribers: Subscribers::new(shard, Arc::clone(&herald), Arc::clone(&metrics)),
            deflater: Deflater::new(metrics),
            herald,
            connections: SlotMap::with_key(),
            spares: Spares::default(),
            touched: Vec::new(),
            overflowed: Vec::new(),
            outbox_bytes_max,
            now_s: 0,
            departing: Vec::new(),
        }
    }

    /// Takes on a connection.
    pub(super) fn open(&mut self, socket_id: SocketId, client: IpAddr, socket: Socket) -> ConnectionKey {
        self.connections.insert(Box::new(Connection {
            socket_id,
            deflates: false,
            client,
            socket,
            outbox: Outbox::default(),
            app: None,
            user: None,
            silence: Silence::since(self.now_s),
            task: None,
            fate: Fate::Open,
            touched: false,
        }))
    }

    /// A connection is let in as a client of `app`, which may have agreed to compression.
    pub(super) fn admit(&mut self, key: ConnectionKey, app: Arc<App>, deflates: bool) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.app = Some(app);
            connection.deflates = deflates;
        }
    }

    /// Forgets a connection, and drops its side of the socket.
    pub(super) fn remove(&mut self, key: ConnectionKey) {
        self.leave(key);
        self.connections.remove(key);
    }

    /// Ends what a connection takes part in.
    fn leave(&mut self, key: ConnectionKey) {
        self.subscribers.leave(key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        let (Some(app), Some(user)) = (&connection.app, connection.user.take()) else { return };
        let watcher = Watcher { shard: self.shard, connection: key };
        app.users.unwatch(watcher, &user.watchlist, |change| self.herald.user_changed(app, change));
        let since = tokio::time::Instant::now();
        if app.users.sign_out(&user.user_id, since) {
            let (app, user_id) = (Arc::clone(app), Arc::clone(&user.user_id));
            self.departing.push(Departing { app, user_id, since });
        }
    }

    /// Every connection, to be closed one after the other.
    pub(super) fn keys(&self) -> Vec<ConnectionKey> {
        self.connections.keys().collect()
    }

    /// Makes a connection a subscriber, as `member` on a presence channel; `None` when it is leaving.
    ///
    /// # Errors
    /// [`Full`]: the channel has as many members as it may.
    pub(super) fn subscribe(
        &mut self,
        key: ConnectionKey,
        app: &Arc<App>,
        channel: &ChannelName,
        member: Option<&Member>,
    ) -> Result<Option<Subscribed>, Full> {
        if self.fate(key) != Some(Fate::Open) {
            return Ok(None);
        }
        let members_max = app.settings().limits().presence_members_max;
        self.subscribers.subscribe(key, app, channel, member, members_max).map(Some)
    }

    /// A channel is ready. Gives those who are to be told so.
    pub(super) fn ready(&mut self, app: AppIndex, channel: &str) -> Vec<ConnectionKey> {
        self.subscribers.ready(app, channel)
    }

    /// Makes it one no longer.
    pub(super) fn unsubscribe(&mut self, key: ConnectionKey, app: AppIndex, channel: &ChannelName) {
        self.subscribers.unsubscribe(key, app, channel.as_str());
    }

    /// Whose connection it is on a presence channel.
    pub(super) fn member_of(&self, key: ConnectionKey, app: AppIndex, channel: &str) -> Option<Arc<str>> {
        self.subscribers.user_id(key, app, channel)
    }

    /// Signs a connection in, for as long as it lives. Gives who of its watchlist is there; `None` when there is
    /// no such list, or the connection is leaving.
    pub(super) fn sign_in(&mut self, key: ConnectionKey, user: &Arc<SignedIn>) -> Option<Attendance> {
        let connection = self.connections.get_mut(key).filter(|connection| connection.fate == Fate::Open)?;
        let app = connection.app.as_ref()?;
        connection.user = Some(Arc::clone(user));
        app.users.sign_in(&user.user_id, |change| self.herald.user_changed(app, change));
        if user.watchlist.is_empty() {
            return None;
        }
        let watcher = Watcher { shard: self.shard, connection: key };
        let attendance =
            app.users.watch(watcher, &user.watchlist, |change| self.herald.user_changed(app, change));
        // Of all of them it is to be found out first.
        (attendance != Attendance::default()).then_some(attendance)
    }

    /// Closes every connection that is signed in as a user, or a member of a presence channel as that user.
    pub(super) fn terminate(&mut self, app: AppIndex, user_id: &str) {
        let is_theirs = |connection: &Connection| {
            connection.app.as_ref().is_some_and(|of| of.index == app)
                && connection.user.as_ref().is_some_and(|user| *user.user_id == *user_id)
        };
        let signed_in = self.connections.iter().filter(|(_, connection)| is_theirs(connection));
        let mut keys: Vec<ConnectionKey> = signed_in.map(|(key, _)| key).collect();
        keys.extend(self.subscribers.members(app, user_id));
        for key in keys {
            self.turn_away(key, Code::Unauthorised, "the application has ended this user's connections");
        }
    }

    /// Closes every connection of an app that is served no longer.
    pub(super) fn turn_away_withdrawn(&mut self) {
        let standing = |connection: &Connection| connection.app.as_ref().map(|app| app.settings().standing);
        let standings: Vec<_> =
            self.connections.iter().map(|(key, connection)| (key, standing(connection))).collect();
        for (key, standing) in standings {
            match standing {
                Some(Standing::Disabled) => {
                    self.turn_away(key, Code::AppDisabled, Code::AppDisabled.meaning())
                }
                Some(Standing::Removed) => self.turn_away(key, Code::AppUnknown, Code::AppUnknown.meaning()),
                Some(Standing::Served) | None => {}
            }
        }
    }

    /// Where a connection is in its life; `None` when it is gone.
    pub(super) fn fate(&self, key: ConnectionKey) -> Option<Fate> {
        self.connections.get(key).map(|connection| connection.fate)
    }

    /// Enqueues a frame for one connection; [`Connections::flush_touched`] writes it.
    pub(super) fn enqueue(&mut self, key: ConnectionKey, frame: Bytes) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.fate != Fate::Open {
            return;
        }
        match enqueue(connection, frame, self.outbox_bytes_max, &mut self.spares) {
            Ok(()) => touch(connection, key, &mut self.touched),
            Err(Overflow) => self.overflowed.push(key),
        }
    }

    /// Enqueues every delivery for its subscribers, the excluded connection left out. Gives their number. When nothing
    /// else is `to_follow` before the flush, and the deliveries are one run, they are written at once instead.
    pub(super) fn deliver(&mut self, deliveries: &[Delivery], to_follow: bool) -> u64 {
        let Self {
            connections, subscribers, spares, deflater, touched, overflowed, outbox_bytes_max, ..
        } = self;
        let (mut delivered, mut rest) = (0, deliveries);
        while let Some((mut run, behind)) = Run::begin(rest, *outbox_bytes_max) {
            rest = behind;
            let (events, except) = (run.len(), run.first.except);
            let at_once = !to_follow && events == deliveries.len();
            let Delivery { app, channel, unheard, .. } = run.first;
            for key in subscribers.of(*app, channel, *unheard) {
                let Some(connection) = connections.get_mut(key) else { continue };
                if connection.fate != Fate::Open || except == Some(connection.socket_id) {
                    continue;
                }
                let frames = if connection.deflates { run.deflated(deflater) } else { run.plain() };
                if at_once && connection.outbox.is_empty() {
                    if pass(connection, frames, spares) == Flush::Blocked {
                        wake(connection);
                    }
                } else if enqueue(connection, frames.clone(), *outbox_bytes_max, spares).is_ok() {
                    touch(connection, key, touched);
                } else {
                    overflowed.push(key);
                    continue;
                }
                delivered += events as u64;
            }
        }
        delivered
    }

    /// Says why in a `pusher:error`, then closes with the same code and reason.
    pub(super) fn turn_away(&mut self, key: ConnectionKey, code: Code, reason: &str) {
        self.enqueue(key, frame::text(&events::error(code, reason)));
        self.close(key, code, reason);
    }

    /// Sends a close frame and takes no more for this connection. A code for frames only closes as 1002 would.
    pub(super) fn close(&mut self, key: ConnectionKey, code: Code, reason: &str) {
        let code = if code.may_close() { code } else { Code::Protocol };
        self.finish(key, frame::close(code, reason));
    }

    /// Enqueues `last` and takes no more for this connection.
    pub(super) fn finish(&mut self, key: ConnectionKey, last: Bytes) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.fate != Fate::Open {
            return;
        }
        connection.outbox.enqueue_last(last);
        connection.fate = Fate::Closing;
        touch(connection, key, &mut self.touched);
        wake(connection);
        self.leave(key);
    }

    /// Writes what was enqueued since the last time: one write per connection, however much it is. First the
    /// clients that did not keep up get their last words.
    pub(super) fn flush_touched(&mut self, metrics: &Metrics) {
        for key in std::mem::take(&mut self.overflowed) {
            self.overflow(key, metrics);
        }
        let mut touched = std::mem::take(&mut self.touched);
        for key in touched.drain(..) {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.touched = false;
                if flush(connection, &mut self.spares) == Flush::Blocked {
                    // The task waits for room, or ends when the socket is broken.
                    wake(connection);
                }
            }
        }
        // The list keeps its room for the next batch.
        self.touched = touched;
    }

    fn overflow(&mut self, key: ConnectionKey, metrics: &Metrics) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match connection.fate {
            Fate::Open => {}
            Fate::Closing => return,
            // Found out when room was looked for: the task ends.
            Fate::Broken => return wake(connection),
        }
        const REASON: &str = "this client does not keep up; reconnect and subscribe to less";
        connection.outbox.discard();
        connection.outbox.enqueue_last(frame::text(&events::error(Code::OverCapacity, REASON)));
        if let Some(left_out) = OVERFLOWS.permit(Instant::now()) {
            let Connection { socket_id, client, .. } = &**connection;
            info!(%socket_id, %client, left_out, "a client does not keep up and is closed");
        }
        metrics.outbox_overflows_total.increment();
        self.close(key, Code::OverCapacity, REASON);
    }

    /// For the connection's task: remembers it, writes what waits as far as the socket takes it, and says what
    /// became of the connection. `Pending` while it is open and nothing but reading is to be done.
    pub(super) fn poll_write(&mut self, key: ConnectionKey, cx: &mut Context<'_>) -> Poll<Fate> {
        let Some(connection) = self.connections.get_mut(key) else { return Poll::Ready(Fate::Broken) };
        if !connection.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            connection.task = Some(cx.waker().clone());
        }
        while !is_flushed(connection) && connection.fate != Fate::Broken {
            match connection.socket.poll_write_ready(cx) {
                Poll::Ready(Ok(())) => {
                    // Blocked once more: the next turn registers for room.
                    flush(connection, &mut self.spares);
                }
                Poll::Ready(Err(_)) => connection.fate = Fate::Broken,
                Poll::Pending => break,
            }
        }
        match connection.fate {
            Fate::Open => Poll::Pending,
            fate => Poll::Ready(fate),
        }
    }

    /// For the connection's task: whether reading is worth a try.
    pub(super) fn poll_read_ready(&self, key: ConnectionKey, cx: &mut Context<'_>) -> Poll<()> {
        self.connections.get(key).map_or(Poll::Ready(()), |found| found.socket.poll_read_ready(cx).map(drop))
    }

    /// For the connection's task: reads what is there; 0 is the end, also of a connection that is gone.
    ///
    /// # Errors
    /// As [`Socket::try_read`].
    pub(super) fn try_read(&self, key: ConnectionKey, buf: &mut [u8]) -> io::Result<usize> {
        self.connections.get(key).map_or(Ok(0), |connection| connection.socket.try_read(buf))
    }

    /// Ends this side of a socket, once everything is written.
    ///
    /// # Errors
    /// The socket is broken.
    pub(super) fn end(&self, key: ConnectionKey) -> io::Result<Flush> {
        self.connections.get(key).map_or(Ok(Flush::Empty), |connection| connection.socket.end())
    }

    /// Whether everything for a connection is written.
    pub(super) fn is_flushed(&self, key: ConnectionKey) -> bool {
        self.connections.get(key).is_none_or(|connection| is_flushed(connection))
    }
}

fn touch(connection: &mut Connection, key: ConnectionKey, touched: &mut Vec<ConnectionKey>) {
    if !connection.touched {
        connection.touched = true;
        touched.push(key);
    }
}

fn wake(connection: &Connection) {
    if let Some(task) = &connection.task {
        task.wake_by_ref();
    }
}

/// Whether nothing waits, neither in the outbox nor behind it.
fn is_flushed(connection: &Connection) -> bool {
    connection.outbox.is_empty() && !connection.socket.wants_write()
}

/// Appends to what waits. A batch may hold more than an outbox: only a client whose socket does not take what waits
/// already does not keep up.
fn enqueue(
    connection: &mut Connection,
    frame: Bytes,
    bytes_max: usize,
    spares: &mut Spares,
) -> Result<(), Overflow> {
    if !connection.outbox.has_room(frame.len(), bytes_max) {
        flush(connection, spares);
    }
    connection.outbox.enqueue(frame, bytes_max, spares)
}

/// Writes as far as the socket takes it.
fn flush(connection: &mut Connection, spares: &mut Spares) -> Flush {
    let socket = &connection.socket;
    let flushed = connection.outbox.flush(spares, |slices| socket.try_write_vectored(slices));
    conclude(connection, flushed)
}

/// The same of a frame before which nothing waits.
fn pass(connection: &mut Connection, frame: &Bytes, spares: &mut Spares) -> Flush {
    let socket = &connection.socket;
    let passed = connection.outbox.pass(frame, spares, |slices| socket.try_write_vectored(slices));
    match conclude(connection, passed) {
        // TLS takes a part at a time, whatever room there is: what it left must not wait for the connection's task.
        Flush::Blocked if connection.fate != Fate::Broken && connection.outbox.has_begun() => {
            flush(connection, spares)
        }
        passed => passed,
    }
}

/// A broken socket counts as blocked: its fate says the rest.
fn conclude(connection: &mut Connection, flushed: io::Result<Flush>) -> Flush {
    let socket = &connection.socket;
    let flushed = match flushed {
        Ok(Flush::Empty) if socket.wants_write() => socket.try_flush(),
        flushed => flushed,
    };
    flushed.unwrap_or_else(|_| {
        connection.fate = Fate::Broken;
        Flush::Blocked
    })
}

#[cfg(test)]
mod tests;
