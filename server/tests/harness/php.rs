//! What the extension does in a PHP process, over the real socket and shared memory.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use fanfare_wire::attach::{self, Message, Purpose, RefusalCode, Transport};
use fanfare_wire::descriptors;
use fanfare_wire::record::{Draft, PublicationLimits};
use fanfare_wire::ring::{Producer, ReserveError, SharedMemory};
use rustix::event::{EventfdFlags, eventfd};

use super::{KEY, PATIENCE, SECRET, Server, wait_until};

/// A peer of the Unix socket.
pub struct Peer {
    pub stream: UnixStream,
    input: Vec<u8>,
}

/// A message that outlives the buffer.
#[derive(Debug, PartialEq)]
pub enum Said {
    Challenge([u8; 32]),
    Attached(PublicationLimits),
    Refused(RefusalCode, String),
    Ack(u64),
    Answer(u16, serde_json::Value),
    Other,
    /// The server has closed the socket.
    End,
}

impl Peer {
    pub fn connect(server: &Server) -> Self {
        Self::over(UnixStream::connect(&server.socket).unwrap())
    }

    pub fn over(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, input: Vec::new() }
    }

    pub fn say(&mut self, message: &Message<'_>) {
        self.say_with(message, &[]);
    }

    pub fn say_with(&mut self, message: &Message<'_>, fds: &[BorrowedFd<'_>]) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        assert_eq!(descriptors::send(self.stream.as_fd(), &bytes, fds).unwrap(), bytes.len());
    }

    pub fn say_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn hear(&mut self) -> Said {
        loop {
            if let Some((message, len)) = Message::decode(&self.input).unwrap() {
                let said = match message {
                    Message::Challenge { nonce } => Said::Challenge(nonce),
                    Message::Attached { limits, .. } => Said::Attached(limits),
                    Message::Refused { code, message } => Said::Refused(code, message.to_owned()),
                    Message::Ack { records } => Said::Ack(records),
                    Message::Answer { status, body } => {
                        Said::Answer(status, serde_json::from_slice(body).unwrap())
                    }
                    _ => Said::Other,
                };
                self.input.drain(..len);
                return said;
            }
            let mut buf = [0; 4096];
            match self.stream.read(&mut buf) {
                Ok(0) => return Said::End,
                Ok(n) => self.input.extend_from_slice(&buf[..n]),
                // The server closed with something of ours unread.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Said::End,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Expects a refusal and then the end.
    pub fn refused(&mut self) -> (RefusalCode, String) {
        let Said::Refused(code, message) = self.hear() else { panic!("expected a refusal") };
        assert_eq!(self.hear(), Said::End);
        (code, message)
    }

    /// Says hello and gives the proof for the challenge.
    pub fn prove(&mut self, key: &str, secret: &str) -> [u8; 32] {
        self.say(&Message::Hello { key: key.as_bytes(), client: "test" });
        let Said::Challenge(nonce) = self.hear() else { panic!("expected a challenge") };
        attach::prove(secret.as_bytes(), &nonce, key.as_bytes())
    }
}

/// A process that asks.
pub struct Asker(pub Peer);

impl Asker {
    pub fn attach(server: &Server) -> Self {
        let mut peer = Peer::connect(server);
        let proof = peer.prove(KEY, SECRET);
        peer.say(&Message::Attach { purpose: Purpose::Ask, proof });
        assert!(matches!(peer.hear(), Said::Attached { .. }));
        Self(peer)
    }

    pub fn say(&mut self, method: &str, target: &str, body: &str) {
        self.0.say(&Message::Ask { method, target, body: body.as_bytes() });
    }

    pub fn answer(&mut self) -> (u16, serde_json::Value) {
        let said = self.0.hear();
        let Said::Answer(status, body) = said else { panic!("expected an answer, but found {said:?}") };
        (status, body)
    }

    pub fn ask(&mut self, method: &str, target: &str, body: &str) -> (u16, serde_json::Value) {
        self.say(method, target, body);
        self.answer()
    }
}

/// A process with a ring.
pub struct Php {
    pub peer: Peer,
    pub producer: Producer<SharedMemory>,
    pub memfd: OwnedFd,
    pub doorbell: OwnedFd,
}

pub fn doorbell() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

impl Php {
    pub fn attach(server: &Server) -> Self {
        Self::attach_with(server, 1 << 20)
    }

    pub fn attach_with(server: &Server, ring_bytes: usize) -> Self {
        let (producer, memfd) = Producer::create(ring_bytes).unwrap();
        let mut php = Self { peer: Peer::connect(server), producer, memfd, doorbell: doorbell() };
        php.shake_hands();
        php
    }

    /// Hands the same ring to a successor.
    pub fn reattach(&mut self, server: &Server) {
        self.peer = Peer::connect(server);
        self.shake_hands();
    }

    fn shake_hands(&mut self) {
        let proof = self.peer.prove(KEY, SECRET);
        let message = Message::Attach { purpose: Purpose::Publish(Transport::Ring), proof };
        self.peer.say_with(&message, &[self.memfd.as_fd(), self.doorbell.as_fd()]);
        assert!(matches!(self.peer.hear(), Said::Attached { .. }));
    }

    /// Commits a record, waiting for room.
    pub fn broadcast(&mut self, channels: &[&str], event: &str, data: &str) {
        self.broadcast_except(channels, event, data, None);
    }

    pub fn broadcast_except(&mut self, channels: &[&str], event: &str, data: &str, except: Option<&str>) {
        let names = channels.iter().map(|name| name.as_bytes());
        let draft = Draft::new(names, event.as_bytes(), data.as_bytes(), except.map(str::as_bytes)).unwrap();
        let mut rung = false;
        wait_until("the ring has room", || match self.producer.reserve(draft.encoded_len()) {
            Ok(mut span) => {
                draft.encode(&mut span);
                rung = span.commit().unwrap().ring_doorbell;
                true
            }
            Err(ReserveError::Full { .. }) => false,
            Err(error) => panic!("{error}"),
        });
        if rung {
            self.ring();
        }
    }

    /// Commits any bytes as a record.
    pub fn commit_bytes(&mut self, bytes: &[u8]) {
        use fanfare_wire::record::Sink as _;
        let mut span = self.producer.reserve(bytes.len()).unwrap();
        span.put(bytes);
        if span.commit().unwrap().ring_doorbell {
            self.ring();
        }
    }

    pub fn ring(&self) {
        rustix::io::write(&self.doorbell, &1_u64.to_ne_bytes()).unwrap();
    }

    /// Waits until the server has given everything back.
    pub fn drained(&mut self) {
        wait_until("the ring is drained", || self.producer.is_drained());
    }
}
