//! The transcripts of `tests/fixtures/pusher` over real sockets: the real binary with two shards, WebSockets that
//! the kernel spreads over them, and publications out of a ring.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;
#[path = "harness/transcript/mod.rs"]
mod transcript;

use std::collections::{BTreeMap, VecDeque};
use std::net::TcpStream;

use harness::php::Php;
use harness::{PATIENCE, Server, configuration, directory, wait_until};
use transcript::for_every_scene;
use transcript::play::{Heard, Place, play};
use transcript::scene::{Published, Request, Scene};
use tungstenite::client::ClientRequestBuilder;
use tungstenite::protocol::{Message, WebSocket};

struct Client {
    socket: WebSocket<TcpStream>,
    inbox: VecDeque<Heard>,
    /// Whether a close frame has gone in either direction.
    closing: bool,
}

impl Client {
    /// Reads up to the next thing that is heard; a pong with `sign` gives none.
    fn read(&mut self, sign: &[u8]) -> Result<Option<Heard>, tungstenite::Error> {
        loop {
            let message = self.socket.read()?;
            if matches!(&message, Message::Pong(payload) if payload == sign) {
                return Ok(None);
            }
            if message.is_close() {
                self.closing = true;
                // The answer. The server may be gone already, if it was the client that began.
                let _ = self.socket.flush();
            }
            if let Some(heard) = Heard::of(message) {
                return Ok(Some(heard));
            }
        }
    }
}

/// A server, and those who are connected to it.
struct Sockets {
    server: Server,
    clients: BTreeMap<String, Client>,
    php: Option<Php>,
    signs: u64,
}

impl Sockets {
    /// What every client was sent is read, up to the answer to a ping. Twice: whatever the first exchange of one
    /// client comes after has been posted to the other shards, and they take it before they read the second.
    fn settle(&mut self) {
        for _ in 0..2 {
            for client in self.clients.values_mut().filter(|client| !client.closing) {
                self.signs += 1;
                let sign = self.signs.to_be_bytes();
                client.socket.send(Message::Ping(sign.to_vec().into())).unwrap();
                while let Some(heard) = client.read(&sign).unwrap() {
                    client.inbox.push_back(heard);
                    if client.closing {
                        break;
                    }
                }
            }
        }
    }

    /// Ends a client's connection by `end`, and waits until the server has noticed.
    fn ending(&mut self, client: &str, end: impl FnOnce(Client)) {
        let before = self.server.metric("connections");
        end(self.clients.remove(client).unwrap());
        wait_until("the server has noticed", || self.server.metric("connections") < before);
        self.settle();
    }

    fn client(&mut self, client: &str) -> &mut Client {
        self.clients.get_mut(client).unwrap()
    }
}

impl Place for Sockets {
    fn connect(&mut self, client: &str, request: &Request) {
        let uri = format!("ws://{}{}", self.server.address, request.path);
        let mut builder = ClientRequestBuilder::new(uri.parse().unwrap());
        if let Some(origin) = &request.origin {
            builder = builder.with_header("Origin", origin.as_str());
        }
        let stream = TcpStream::connect(self.server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client(builder, stream).unwrap();
        self.clients.insert(client.to_owned(), Client { socket, inbox: VecDeque::new(), closing: false });
        self.settle();
    }

    fn send(&mut self, client: &str, message: Message) {
        let from = self.client(client);
        let closes = message.is_close();
        from.socket.send(message).unwrap();
        while closes && !from.closing {
            let heard = from.read(&[]).unwrap();
            from.inbox.extend(heard);
        }
        self.settle();
    }

    fn hear(&mut self, client: &str) -> Option<Heard> {
        let client = self.client(client);
        match client.inbox.pop_front() {
            None if !client.closing => {
                // What has not come by now comes with time, or never: then patience ends in an error.
                let heard = client.read(&[]);
                heard.unwrap_or_else(|error| panic!("nothing was heard within {PATIENCE:?}: {error}"))
            }
            heard => heard,
        }
    }

    fn heard(&mut self, client: &str) -> Vec<Heard> {
        self.client(client).inbox.drain(..).collect()
    }

    fn end(&mut self, client: &str) {
        let mut client = self.clients.remove(client).unwrap();
        match client.socket.read() {
            Err(tungstenite::Error::ConnectionClosed) => {}
            other => panic!("expected the connection to be closed in good order, but found {other:?}"),
        }
    }

    fn vanish(&mut self, client: &str) {
        self.ending(client, drop);
    }

    fn publish(&mut self, published: &Published) {
        let Published { channels, event, data, except } = published;
        let php = self.php.get_or_insert_with(|| Php::attach(&self.server));
        let channels: Vec<&str> = channels.iter().map(String::as_str).collect();
        php.broadcast_except(&channels, event, data, except.as_deref());
        php.drained();
        self.settle();
    }

    fn pass(&mut self, _: u32) {
        // It does so by itself: what comes of it is waited for when it is to be heard.
    }
}

fn played(name: &str) {
    let scene = Scene::read(name);
    if let Some(why) = &scene.in_memory_only {
        return eprintln!("{name} is played in memory only: {why}");
    }
    let directory = directory();
    let mut configuration = configuration(directory.path());
    for (field, value) in scene.configuration().as_object().unwrap() {
        configuration[field] = value.clone();
    }
    let server = Server::start(&configuration);
    let mut sockets = Sockets { server, clients: BTreeMap::new(), php: None, signs: 0 };
    if let Err(difference) = play(&scene, &mut sockets) {
        panic!("{name}: {}\n{difference}", scene.title);
    }
}

macro_rules! tests {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                played(stringify!($name));
            }
        )*
    };
}

for_every_scene!(tests);
