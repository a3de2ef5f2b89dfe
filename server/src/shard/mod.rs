//! A shard: one thread with its own runtime, its own listeners and its own connections.
//!
//! Owns accepting, the mailbox through which other shards reach it, and leaving. A connection never moves to
//! another thread, so delivery inside a shard takes no lock; the shard's state is borrowed between two awaits and
//! never across one.

mod accept;
pub mod budget;
mod connection;
mod connections;
mod headers;
mod liveness;
mod lobby;
mod outbox;
mod reader;
mod run;
mod socket;
#[cfg(test)]
mod transcripts;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::LocalSet;
use tracing::{debug, warn};

use crate::apps::AppIndex;
use crate::deflate::Inflater;
use crate::hub::{ConnectionKey, Delivery, Herald, Round, ShardIndex};
use crate::ingest;
use crate::lifecycle::Phase;
use crate::node::{Flushed, Node, Unflushed};
use crate::pusher::Code;
use crate::pusher::socket_id::SocketIds;
use connections::Connections;
use lobby::Lobby;

pub(crate) use connection::serve as serve_websocket;
pub(crate) use lobby::Visitor;
pub(crate) use socket::Socket;

/// What all connections of a shard read into, one after the other.
const SCRATCH_BYTES: usize = 16 * 1024;
/// Posts that are taken from the mailbox before the outboxes that they touched are flushed.
const POSTS_MAX: usize = 64;
/// Connections that are told to leave at a time, and the pause before the next ones.
const CLOSE_SLICE: usize = 50;
const CLOSE_PAUSE: Duration = Duration::from_millis(20);

/// What one shard hands to another.
///
/// The mailbox has no bound of its own. A ring or socket, and a request of the HTTP API, waits until its batch is
/// flushed before it brings the next one. Nobody waits for what changes of channels and users are told by, nor for client
/// events: those are bounded by how often one connection may cause them (`subscriptions_per_s`, `client_events_per_s`).
#[derive(Debug)]
pub enum Post {
    /// Deliver, in order.
    Deliver {
        /// What.
        deliveries: Vec<Delivery>,
        /// Dropped when it is flushed, where anybody waits for that.
        unflushed: Option<Unflushed>,
    },
    /// Send a frame to some connections.
    Tell {
        /// Which.
        connections: Vec<ConnectionKey>,
        /// What.
        frame: Bytes,
    },
    /// Channels are ready: those who have subscribed are told so.
    Ready {
        /// Of which app.
        app: AppIndex,
        /// Which.
        channels: Vec<Arc<str>>,
    },
    /// Close every connection of a user.
    Terminate {
        /// Of which app.
        app: AppIndex,
        /// Which user.
        user_id: Arc<str>,
    },
    /// The apps are configured anew.
    Configured,
    /// Serve a peer of the Unix socket.
    Peer {
        /// Its connection.
        stream: UnixStream,
        /// Its place among those that have not finished their handshake.
        pending: OwnedSemaphorePermit,
    },
}

/// What a shard starts with.
#[derive(Debug)]
pub struct Equipment {
    /// Which shard it is.
    pub index: ShardIndex,
    /// What all shards share.
    pub node: Arc<Node>,
    /// Its own listeners for clients.
    pub listeners: Vec<TcpListener>,
    /// The listener for PHP, which one shard has.
    pub socket: Option<UnixListener>,
    /// What others post.
    pub mailbox: mpsc::UnboundedReceiver<Post>,
    /// Told when the shard accepts connections.
    pub ready: oneshot::Sender<()>,
    /// Told when no PHP process is attached any more, once the server drains.
    pub detached: oneshot::Sender<()>,
}

/// The state of one shard.
#[derive(Debug)]
pub struct Shard {
    /// Which shard it is.
    pub index: ShardIndex,
    /// What all shards share.
    pub node: Arc<Node>,
    connections: RefCell<Connections>,
    scratch: RefCell<Box<[u8]>>,
    inflater: RefCell<Inflater>,
    /// Room for the deliveries of one batch; empty between two batches.
    round: RefCell<Round>,
    socket_ids: RefCell<SocketIds>,
    /// Rings that are looked at again, though nobody rings for them.
    pub looking: Rc<Tally>,
    /// Peers of the Unix socket: the server leaves when they are gone.
    pub peers: Rc<Tally>,
    /// HTTP and WebSocket connections.
    pub clients: Rc<Tally>,
    lobby: Rc<Lobby>,
}

/// How many of something there are, and when there are none.
#[derive(Debug, Default)]
pub struct Tally {
    count: Cell<usize>,
    none: Notify,
}

/// One of them.
#[derive(Debug)]
pub struct Counted(Rc<Tally>);

impl Tally {
    /// One more, until it is dropped.
    pub fn count(self: &Rc<Self>) -> Counted {
        self.count.set(self.count.get() + 1);
        Counted(Rc::clone(self))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count.get()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until there are none.
    pub async fn none(&self) {
        while self.count.get() > 0 {
            self.none.notified().await;
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        if self.0.count.get() == 0 {
            self.0.none.notify_one();
        }
    }
}

/// Runs a shard on the calling thread until the server has left.
///
/// # Errors
/// When the runtime or the listeners cannot be set up.
pub fn run(equipment: Equipment) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve(equipment))
}

async fn serve(equipment: Equipment) -> io::Result<()> {
    let Equipment { index, node, listeners, socket, mailbox, ready, detached } = equipment;
    let shard = Rc::new(Shard::new(index, node));
    for listener in listeners {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tokio::task::spawn_local(accept::clients(Rc::clone(&shard), listener));
    }
    if let Some(socket) = socket {
        let listener = tokio::net::UnixListener::from_std(socket)?;
        tokio::task::spawn_local(accept::peers(Rc::clone(&shard), listener));
    }
    tokio::task::spawn_local(receive(Rc::clone(&shard), mailbox));
    tokio::task::spawn_local(look_after(Rc::clone(&shard)));
    // Nobody listening means that the server is ending already.
    let _ = ready.send(());

    shard.reached(Phase::Draining).await;
    tokio::select! {
        () = shard.peers.none() => {}
        // Time is up: clients are told to go, whether or not the last process has detached.
        () = shard.reached(Phase::Closing) => {}
    }
    let _ = detached.send(());
    shard.reached(Phase::Closing).await;
    let timeout = Duration::from_millis(shard.node.limits.drain_timeout_ms as u64);
    if tokio::time::timeout(timeout, shard.dismiss(timeout / 2)).await.is_err() {
        warn!(
            shard = index,
            clients = shard.clients.count.get(),
            "clients that did not leave in time are cut off"
        );
    }
    Ok(())
}

/// Takes what others post. Everything that is there is enqueued before anything is flushed.
async fn receive(shard: Rc<Shard>, mut mailbox: mpsc::UnboundedReceiver<Post>) {
    let mut posts = Vec::with_capacity(POSTS_MAX);
    let mut unflushed = Vec::new();
    while mailbox.recv_many(&mut posts, POSTS_MAX).await > 0 {
        let several = posts.len() > 1;
        for post in posts.drain(..) {
            unflushed.extend(shard.take(post, several));
        }
        shard.flush();
        unflushed.clear();
        if !mailbox.is_empty() {
            // Others publish without pause. A socket that was full is written again only when the runtime has looked
            // at it: without a turn of its own, a client that reads would seem not to.
            tokio::task::yield_now().await;
        }
    }
}

/// Looks, once a second, after what only time changes.
async fn look_after(shard: Rc<Shard>) {
    let began = tokio::time::Instant::now();
    let mut looks = tokio::time::interval(liveness::LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        // 136 years.
        let now_s = u32::try_from(began.elapsed().as_secs()).unwrap_or(u32::MAX);
        shard.look(now_s);
    }
}

impl Shard {
    /// A shard without connections.
    fn new(index: ShardIndex, node: Arc<Node>) -> Self {
        Self {
            index,
            connections: RefCell::new(Connections::new(
                index,
                Arc::clone(&node) as Arc<dyn Herald>,
                Arc::clone(&node.metrics),
                node.limits.outbox_bytes_max,
            )),
            scratch: RefCell::new(vec![0; SCRATCH_BYTES].into()),
            inflater: RefCell::default(),
            round: RefCell::new(Round::new(node.shards())),
            socket_ids: RefCell::new(SocketIds::new(
                node.broker.node_id().socket_id_half(),
                index,
                node.shards(),
            )),
            looking: Rc::default(),
            peers: Rc::default(),
            clients: Rc::default(),
            lobby: Lobby::new(&node),
            node,
        }
    }

    /// Does what is due `now_s` seconds after the shard began.
    fn look(&self, now_s: u32) {
        self.connections.borrow_mut().look(now_s, &self.node.metrics);
        self.flush();
        if self.index == 0 {
            self.node.tell_counts_due();
            self.node.apps.configured().iter().for_each(|app| app.cache.expire());
        }
    }

    /// Takes one post, of several or the only one; what it touches is flushed by the caller, who holds on to the guard
    /// until then.
    fn take(self: &Rc<Self>, post: Post, several: bool) -> Option<Unflushed> {
        match post {
            Post::Deliver { deliveries, unflushed } => {
                self.enqueue(&deliveries, several);
                return unflushed;
            }
            Post::Tell { connections, frame } => {
                let mut all = self.connections.borrow_mut();
                connections.into_iter().for_each(|key| all.enqueue(key, frame.clone()));
            }
            Post::Ready { app, channels } => {
                channels.iter().for_each(|channel| connection::tell_ready(self, app, channel));
            }
            Post::Terminate { app, user_id } => self.connections.borrow_mut().terminate(app, &user_id),
            Post::Configured => self.connections.borrow_mut().turn_away_withdrawn(),
            Post::Peer { stream, pending } => {
                tokio::task::spawn_local(ingest::serve_peer(Rc::clone(self), stream, pending));
            }
        }
        None
    }

    /// Waits until the server has reached a phase of its life.
    pub async fn reached(&self, phase: Phase) {
        // The sender outlives all shards; if it is gone, so is the server.
        let _ = self.node.phase.clone().wait_for(|now| *now >= phase).await;
    }

    /// Delivers what `collect` publishes, here and on the other shards. `None` when it is flushed already;
    /// otherwise it is once the other shards have done so too.
    #[must_use = "until it is flushed, a crash loses the batch"]
    pub fn deliver(&self, collect: impl FnOnce(&mut Round)) -> Option<Flushed> {
        let mut round = self.round.borrow_mut();
        collect(&mut round);
        let flushed = self.node.post(&mut round, self.index);
        if let Some(deliveries) = round.shards.get_mut(self.index)
            && !deliveries.is_empty()
        {
            self.enqueue(deliveries, false);
            self.flush();
            deliveries.clear();
        }
        flushed
    }

    /// Has what `collect` publishes delivered by way of the mailboxes, here too: behind what waits there already.
    fn post(&self, collect: impl FnOnce(&mut Round)) {
        let mut round = self.round.borrow_mut();
        collect(&mut round);
        // Nobody waits for it.
        drop(self.node.post(&mut round, ShardIndex::MAX));
    }

    fn enqueue(&self, deliveries: &[Delivery], to_follow: bool) {
        let delivered = self.connections.borrow_mut().deliver(deliveries, to_follow);
        self.node.metrics.deliveries_total.add(delivered);
    }

    fn flush(&self) {
        self.connections.borrow_mut().flush_touched(&self.node.metrics);
    }

    /// Tells all clients to connect again, a few at a time over at most `span`: they do so at once, so this is
    /// all that keeps them from arriving at the successor in one moment. Resolves when all are gone.
    async fn dismiss(&self, span: Duration) {
        let keys = self.connections.borrow().keys();
        let slices = keys.chunks(CLOSE_SLICE);
        let pause = CLOSE_PAUSE.min(span / u32::try_from(slices.len()).unwrap_or(u32::MAX).max(1));
        for (at, slice) in slices.enumerate() {
            if at > 0 {
                tokio::time::sleep(pause).await;
            }
            debug!(shard = self.index, clients = slice.len(), "clients are told to connect again");
            let mut connections = self.connections.borrow_mut();
            for &key in slice {
                connections.close(key, Code::ReconnectNow, "the server is leaving; connect again");
            }
            connections.flush_touched(&self.node.metrics);
        }
        self.clients.none().await;
    }
}
