//! The transcripts of `tests/fixtures/pusher` without a socket: a node of two shards whose connections write into
//! memory, and whose mailboxes and clock the test moves on.
//!
//! Clients are on either shard in turn, so that those of one scene meet across shards. What a task does between
//! two awaits is what is called here: a connection begins, takes in bytes, and ends; a shard takes what is posted.

mod checks;
#[path = "../../tests/harness/transcript/mod.rs"]
mod transcript;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tungstenite::protocol::{Message, Role, WebSocket};

use self::transcript::for_every_scene;
use self::transcript::play::{Difference, Heard, Place as Venue, play};
use self::transcript::scene::{Published, Request, Scene};
use super::connection::{Begun, begin};
use super::connections::Fate;
use super::*;
use crate::broker::NodeId;
use crate::broker::memory::MemoryBroker;
use crate::config::Configuration;
use crate::publication::Publication;
use crate::pusher::SocketId;
use crate::webhooks::Webhooks;

/// A client's side of a socket in memory.
struct Wire {
    /// What the server wrote.
    to_client: Rc<RefCell<Vec<u8>>>,
    /// What the client wrote, and the server has not read.
    to_server: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut written = self.to_client.borrow_mut();
        if written.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let read = written.as_slice().read(buf)?;
        written.drain(..read);
        Ok(read)
    }
}

impl Write for Wire {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.to_server.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Begun {
    fn key(&self) -> ConnectionKey {
        match self {
            Self::LetIn(conversation) => conversation.place.key,
            Self::Refused(place, _) => place.key,
        }
    }
}

struct Client {
    shard: ShardIndex,
    begun: Begun,
    socket: WebSocket<Wire>,
    inbox: VecDeque<Heard>,
}

/// Shards whose threads are the test's.
struct Memory<'a> {
    runtime: &'a Runtime,
    shards: &'a [Rc<Shard>],
    mailboxes: Vec<mpsc::UnboundedReceiver<Post>>,
    clients: BTreeMap<String, Client>,
    /// Who connects next is on this shard, or on the one that is as far behind the last.
    connected: usize,
    now_s: u32,
}

impl Memory<'_> {
    /// Does all that is posted, and lets every client read what it was sent.
    fn settle(&mut self) {
        loop {
            let mut idle = true;
            for (shard, mailbox) in self.shards.iter().zip(&mut self.mailboxes) {
                while let Ok(post) = mailbox.try_recv() {
                    idle = false;
                    let unflushed = shard.take(post, false);
                    shard.flush();
                    drop(unflushed);
                }
            }
            if idle {
                break;
            }
        }
        for client in self.clients.values_mut() {
            // What the client's WebSocket answers by itself, a pong, goes out with what it sends next: so a scene
            // says who is alive.
            while let Ok(message) = client.socket.read() {
                client.inbox.extend(Heard::of(message));
            }
        }
    }

    fn inbox(&mut self, client: &str) -> &mut VecDeque<Heard> {
        &mut self.clients.get_mut(client).unwrap().inbox
    }
}

impl Venue for Memory<'_> {
    fn connect(&mut self, client: &str, request: &Request) {
        let index = self.connected % self.shards.len();
        self.connected += 1;
        let shard = &self.shards[index];
        let (path, query) = match request.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (request.path.as_str(), None),
        };
        let admitted = shard.node.admit(path, query, request.origin.as_deref().map(str::as_bytes));
        let to_client = Rc::default();
        let socket = Socket::memory(Rc::clone(&to_client));
        let begun = begin(shard, socket, [127, 0, 0, 1].into(), admitted, false);
        let wire = Wire { to_client, to_server: Vec::new() };
        let socket = WebSocket::from_raw_socket(wire, Role::Client, None);
        let client_of = Client { shard: index, begun, socket, inbox: VecDeque::new() };
        self.clients.insert(client.to_owned(), client_of);
        self.settle();
    }

    fn send(&mut self, client: &str, message: Message) {
        let Client { shard, begun, socket, .. } = self.clients.get_mut(client).unwrap();
        socket.send(message).unwrap();
        let bytes = std::mem::take(&mut socket.get_mut().to_server);
        let fate = self.shards[*shard].connections.borrow().fate(begun.key());
        if let (Some(Fate::Open), Begun::LetIn(conversation)) = (fate, begun) {
            conversation.take_in(&bytes);
        }
        self.settle();
    }

    fn hear(&mut self, client: &str) -> Option<Heard> {
        self.inbox(client).pop_front()
    }

    fn heard(&mut self, client: &str) -> Vec<Heard> {
        self.inbox(client).drain(..).collect()
    }

    fn end(&mut self, client: &str) {
        let Client { shard, begun, .. } = &self.clients[client];
        let fate = self.shards[*shard].connections.borrow().fate(begun.key());
        assert_eq!(fate, Some(Fate::Closing), "{client} is not about to be closed");
        self.vanish(client);
    }

    fn vanish(&mut self, client: &str) {
        self.clients.remove(client);
        self.settle();
    }

    fn publish(&mut self, published: &Published) {
        let Published { channels, event, data, except } = published;
        let (shard, node) = (&self.shards[0], &self.shards[0].node);
        let app = node.apps.by_key(transcript::KEY).unwrap();
        let channels = channels.iter().map(String::as_str).collect();
        let except = except.as_deref().and_then(SocketId::parse);
        let limits = app.settings().limits().clone();
        let publication = Publication::of_application(channels, event, data, except, &limits).unwrap();
        drop(shard.deliver(|round| node.publish(&app, &publication, round)));
        self.settle();
    }

    fn pass(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.runtime.block_on(tokio::time::advance(Duration::from_secs(1)));
            self.now_s += 1;
            self.shards.iter().for_each(|shard| shard.look(self.now_s));
            self.settle();
        }
    }
}

/// Plays a scene on a node of its own.
fn played(scene: &Scene) -> Result<(), Difference> {
    let mut configuration = scene.configuration();
    configuration["listen"] = "127.0.0.1:0".into();
    configuration["socket"] = "/nowhere".into();
    let configuration = Configuration::parse(configuration.to_string(), 1).unwrap();
    let (senders, mailboxes) = (0..configuration.shards).map(|_| mpsc::unbounded_channel()).unzip();
    let (_phase, phase) = watch::channel(Phase::Serving);
    let metrics = Arc::default();
    let (webhooks, _ending) = Webhooks::start(&configuration.limits, None, Arc::clone(&metrics)).unwrap();
    let broker = Arc::new(MemoryBroker::alone(NodeId(122 << 11)));
    let node = Arc::new(Node::new(configuration, senders, phase, metrics, webhooks, broker));
    let shards: Vec<_> =
        (0..node.shards()).map(|index| Rc::new(Shard::new(index, Arc::clone(&node)))).collect();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let _clock = runtime.enter();
    let clients = BTreeMap::new();
    let mut memory =
        Memory { runtime: &runtime, shards: &shards, mailboxes, clients, connected: 0, now_s: 0 };
    play(scene, &mut memory)
}

macro_rules! tests {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                let scene = Scene::read(stringify!($name));
                if let Err(difference) = played(&scene) {
                    panic!("{}: {}\n{difference}", stringify!($name), scene.title);
                }
            }
        )*

        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

for_every_scene!(tests);
