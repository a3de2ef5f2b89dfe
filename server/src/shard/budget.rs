//! A shard without a thread, for those who count what one step of it costs (`tests/budget`).
//!
//! Owns putting it together: a node of one shard and one app, clients whose sockets end in this process, and what a
//! task does between two awaits, as calls. Nothing here is a stand-in: the sockets are the system's, so what is counted
//! is what runs in the server. Leaves to others what is counted, and what that may cost.
//!
//! It is compiled into the library always, so that the counted code is the very code that is served, and nothing is
//! compiled twice; the linker leaves it out of the binary.

use std::error::Error;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use super::connection::{Begun, Conversation, begin};
use super::{Post, Shard, Socket};
use crate::apps::App;
use crate::broker::NodeId;
use crate::broker::memory::MemoryBroker;
use crate::config::Configuration;
use crate::hub::Round;
use crate::lifecycle::Phase;
use crate::node::Node;
use crate::publication::Publication;
use crate::pusher::ChannelName;
use crate::webhooks::Webhooks;

/// What cannot be put together.
pub type Failure = Box<dyn Error>;

/// One app; a limit that depends on time must not be met by a count.
const CONFIGURATION: &str = r#"{"listen":"127.0.0.1:0","socket":"/nowhere","apps":[{"id":"1","key":"key","secret":"secret",
    "limits":{"subscriptions_per_s":1000000}}]}"#;

/// A shard, and whatever moves it.
#[derive(Debug)]
pub struct Stage {
    runtime: Runtime,
    shard: Rc<Shard>,
    app: Arc<App>,
    round: Round,
    // What is posted is held as long as the shard is; their other ends must not be gone.
    _mailbox: mpsc::UnboundedReceiver<Post>,
    _phase: watch::Sender<Phase>,
}

/// Both ends of a client's connection.
#[derive(Debug)]
pub struct Line {
    near: std::net::TcpStream,
    far: UnixStream,
}

/// A client that is served, until it is dropped.
pub struct Client(Conversation);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Client").field(&self.0.place.key).finish()
    }
}

impl Stage {
    /// A shard without clients.
    ///
    /// # Errors
    /// The system refuses something.
    pub fn new() -> Result<Self, Failure> {
        let configuration =
            Configuration::parse(CONFIGURATION, 1).map_err(|mistakes| format!("{mistakes:?}"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (sender, mailbox) = mpsc::unbounded_channel();
        let (phase_sender, phase) = watch::channel(Phase::Serving);
        let metrics = Arc::default();
        // Their thread would be counted as well, whenever it happens to run.
        let webhooks = Webhooks::unheard(&configuration.limits, Arc::clone(&metrics));
        let node = {
            let _clock = runtime.enter();
            let broker = Arc::new(MemoryBroker::alone(NodeId(1)));
            Arc::new(Node::new(configuration, vec![sender], phase, metrics, webhooks, broker))
        };
        let app = node.apps.by_key("key").ok_or("expected the app that is configured, but found none")?;
        let round = Round::new(node.shards());
        let shard = Rc::new(Shard::new(0, node));
        Ok(Self { runtime, shard, app, round, _mailbox: mailbox, _phase: phase_sender })
    }

    /// A pair of sockets.
    ///
    /// # Errors
    /// The system refuses a pair of sockets.
    pub fn line(&self) -> io::Result<Line> {
        // What is written to one end is in the other when the call returns: over TCP a thread of the kernel may come
        // in between, and a write find no room.
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        Ok(Line { near: OwnedFd::from(near).into(), far })
    }

    /// The server's end of a line, which the shard's runtime knows to be writable.
    fn socket(&self, line: &Line) -> io::Result<Socket> {
        let _reactor = self.runtime.enter();
        let near = TcpStream::from_std(line.near.try_clone()?)?;
        self.runtime.block_on(near.writable())?;
        Ok(Socket::plain(near))
    }

    /// Begins to serve a client, which is told hello.
    ///
    /// # Errors
    /// The system refuses its socket, or the shard the client.
    pub fn connect(&self, line: &Line) -> io::Result<Client> {
        let (client, admitted) = (Ipv4Addr::LOCALHOST.into(), Ok(Arc::clone(&self.app)));
        match begin(&self.shard, self.socket(line)?, client, admitted, false) {
            Begun::LetIn(conversation) => Ok(Client(conversation)),
            Begun::Refused(..) => {
                Err(io::Error::other("expected a client that is let in, but it is refused"))
            }
        }
    }

    /// Has a connection of nobody subscribe to channels, for as long as the shard is there.
    ///
    /// # Errors
    /// As [`Stage::line`].
    pub fn occupy(&self, channels: &[ChannelName]) -> io::Result<()> {
        let near = self.socket(&self.line()?)?;
        let socket_id = self.shard.socket_ids.borrow_mut().draw();
        let mut connections = self.shard.connections.borrow_mut();
        let key = connections.open(socket_id, Ipv4Addr::LOCALHOST.into(), near);
        for channel in channels {
            // Only a channel with members can be full.
            let _ = connections.subscribe(key, &self.app, channel, None);
        }
        Ok(())
    }

    /// Publishes, and leaves it at that: nobody is given what is to be delivered.
    pub fn publish(&mut self, publication: &Publication<'_>) {
        self.shard.node.publish(&self.app, publication, &mut self.round);
        self.round.shards.iter_mut().for_each(Vec::clear);
    }

    /// Publishes a batch, enqueues it for all subscribers and flushes their outboxes.
    pub fn deliver(&self, batch: &[Publication<'_>]) {
        let flushed = self.shard.deliver(|round| {
            batch.iter().for_each(|publication| self.shard.node.publish(&self.app, publication, round));
        });
        // There is no other shard to wait for.
        drop(flushed);
    }

    /// Flushes every outbox that something was enqueued in.
    pub fn flush(&self) {
        self.shard.flush();
    }
}

impl Line {
    /// Reads what the client was sent, and gives the number of bytes.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn read_all(&self) -> io::Result<usize> {
        let mut buf = [0; 16 * 1024];
        let mut all = 0;
        loop {
            match (&self.far).read(&mut buf) {
                Ok(0) => return Ok(all),
                Ok(n) => all += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(all),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Client {
    /// Hears bytes that the client has written, and answers.
    pub fn take_in(&mut self, bytes: &[u8]) {
        self.0.take_in(bytes);
    }

    /// Enqueues a frame; [`Stage::flush`] writes it.
    pub fn enqueue(&self, stage: &Stage, frame: Bytes) {
        stage.shard.connections.borrow_mut().enqueue(self.0.place.key, frame);
    }

    /// Subscribes to a channel without members, as if it had asked to.
    pub fn subscribe(&self, stage: &Stage, channel: &ChannelName) {
        let mut connections = stage.shard.connections.borrow_mut();
        // Only a channel with members can be full.
        let _ = connections.subscribe(self.0.place.key, &stage.app, channel, None);
    }

    /// Ends a subscription.
    pub fn unsubscribe(&self, stage: &Stage, channel: &ChannelName) {
        stage.shard.connections.borrow_mut().unsubscribe(self.0.place.key, stage.app.index, channel);
    }
}
