//! The floor: the least that a server can do for the same work, as a process of its own.
//!
//! Owns just enough of the Pusher protocol that the same clients and publishers can use it: it answers an upgrade and
//! `pusher:subscribe`, takes `POST /apps/…/events`, and writes each event to each subscriber of the channel with one
//! `send` in a bare loop. No signature is checked, nothing is validated, counted, bounded or logged, nobody is pinged,
//! and a member of a presence channel is told of nobody. What a server does beyond that is what the bench wants to see.
//!
//! One thread, one epoll, on purpose: it shares nothing, and so makes the lowest CPU per delivery that there is here.
//! Several publications that arrive together (pipelined requests) are a burst: it starts the next one as soon as the
//! last one is written, without a system call in between.
//!
//! A subscriber that does not read is waited for: a floor drops nothing.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd as _};

use rustix::event::{PollFd, PollFlags, epoll, poll};
use serde::Deserialize;
use socket2::{Domain, Protocol, Socket, Type};
use tungstenite::handshake::derive_accept_key;

use crate::failure::Failure;
use crate::frames;
use crate::http;

const BACKLOG: i32 = 4_096;
const READ_BYTES: usize = 256 * 1024;
const EVENTS_MAX: usize = 1_024;
const LISTENER: u64 = u64::MAX;
const WELCOME: &[u8] =
    br#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.1\",\"activity_timeout\":120}"}"#;

/// A publication, as Pusher's HTTP API has it; with more fields, which are ignored.
#[derive(Debug, Deserialize)]
struct Publication<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    data: Cow<'a, str>,
    channel: Option<&'a str>,
    channels: Option<Vec<&'a str>>,
}

/// One client. Clients and channels know each other's places, so that a leave takes as long as a subscription.
#[derive(Debug)]
struct Client {
    stream: TcpStream,
    /// What has come of a request or frame that is not complete. Nothing is held while there is none.
    pending: Vec<u8>,
    upgraded: bool,
    /// Channel, and this client's place among its subscribers.
    subscriptions: Vec<(usize, usize)>,
}

/// Everything that the floor knows.
#[derive(Debug)]
struct Floor {
    listener: TcpListener,
    epoll: rustix::fd::OwnedFd,
    /// By the number of the descriptor.
    clients: Vec<Option<Client>>,
    channels: HashMap<Vec<u8>, usize>,
    /// By channel: the subscribers' descriptors.
    subscribers: Vec<Vec<usize>>,
}

/// Serves on a free port of the loopback interface until it is ended, and says the address on standard output.
///
/// # Errors
/// When the system has no port, or no epoll.
pub(crate) fn serve() -> Result<(), Failure> {
    Floor::bind().and_then(|mut floor| floor.run()).map_err(Failure::system("serve as the floor"))
}

impl Floor {
    fn bind() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        let mut output = io::stdout();
        writeln!(output, "{}", listener.local_addr()?)?;
        output.flush()?;
        Ok(Self { listener, epoll, clients: Vec::new(), channels: HashMap::new(), subscribers: Vec::new() })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::with_capacity(EVENTS_MAX);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            ready.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut ready), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &ready {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    client => self.read(client as usize, &mut buffer),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let client = stream.as_raw_fd().unsigned_abs() as usize;
            let data = epoll::EventData::new_u64(client as u64);
            epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)?;
            if self.clients.len() <= client {
                self.clients.resize_with(client + 1, || None);
            }
            self.clients[client] =
                Some(Client { stream, pending: Vec::new(), upgraded: false, subscriptions: Vec::new() });
        }
    }

    fn read(&mut self, id: usize, buffer: &mut [u8]) {
        // Taken out while it is served, so that an event may be written to anybody, this client too.
        let Some(mut client) = self.clients.get_mut(id).and_then(Option::take) else { return };
        let alive = match client.stream.read(buffer) {
            Ok(0) => false,
            Ok(count) => {
                let received = if client.pending.is_empty() {
                    Cow::Borrowed(&buffer[..count])
                } else {
                    client.pending.extend_from_slice(&buffer[..count]);
                    Cow::Owned(std::mem::take(&mut client.pending))
                };
                self.serve(id, &mut client, &received)
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        };
        if alive {
            self.clients[id] = Some(client);
        } else {
            self.forget(&client);
        }
    }

    /// Serves what is complete and keeps the rest; `false` when the client is to be closed.
    fn serve(&mut self, id: usize, client: &mut Client, received: &[u8]) -> bool {
        let mut rest = received;
        loop {
            let served = if client.upgraded {
                frames::first(rest).map(|frame| (frame.bytes, self.message(id, client, &frame)))
            } else {
                http::first(rest).map(|request| (request.bytes, self.request(client, &request)))
            };
            match served {
                Some((bytes, true)) => rest = &rest[bytes..],
                Some((_, false)) => return false,
                None => break,
            }
        }
        client.pending = rest.to_vec();
        true
    }

    fn request(&mut self, client: &mut Client, request: &http::Request<'_>) -> bool {
        if let Some(key) = request.header("sec-websocket-key") {
            client.upgraded = true;
            let accept = derive_accept_key(key.as_bytes());
            let mut answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n"
            )
            .into_bytes();
            answer.extend_from_slice(&frames::from_server(frames::TEXT, WELCOME));
            return send(&client.stream, &answer);
        }
        let Ok(publication) = serde_json::from_slice::<Publication<'_>>(request.body) else { return false };
        for channel in publication.channel.into_iter().chain(publication.channels.into_iter().flatten()) {
            self.deliver(channel, &publication.name, &publication.data);
        }
        send(&client.stream, http::OK)
    }

    /// The loop that everything else is held against.
    fn deliver(&self, channel: &str, name: &str, data: &str) {
        let Some(&index) = self.channels.get(channel.as_bytes()) else { return };
        let event = serde_json::json!({"event": name, "channel": channel, "data": data}).to_string();
        let frame = frames::from_server(frames::TEXT, event.as_bytes());
        for &subscriber in &self.subscribers[index] {
            if let Some(client) = &self.clients[subscriber] {
                // Who is gone is forgotten when its socket is read.
                let _ = send(&client.stream, &frame);
            }
        }
    }

    fn message(&mut self, id: usize, client: &mut Client, frame: &frames::Frame<'_>) -> bool {
        match frame.operation {
            frames::TEXT => {}
            frames::CLOSE => return false,
            _ => return true,
        }
        let text = frame.content();
        let Some(channel) = between(&text, br#""channel":""#) else { return true };
        if between(&text, br#""event":"pusher:"#) == Some(b"unsubscribe") {
            self.unsubscribe(client, channel);
            return true;
        }
        let next = self.channels.len();
        let index = *self.channels.entry(channel.to_vec()).or_insert(next);
        if index == next {
            self.subscribers.push(Vec::new());
        }
        if !client.subscriptions.iter().any(|&(found, _)| found == index) {
            client.subscriptions.push((index, self.subscribers[index].len()));
            self.subscribers[index].push(id);
        }
        let mut answer = br#"{"event":"pusher_internal:subscription_succeeded","channel":""#.to_vec();
        answer.extend_from_slice(channel);
        answer.extend_from_slice(br#"","data":"{}"}"#);
        send(&client.stream, &frames::from_server(frames::TEXT, &answer))
    }

    fn unsubscribe(&mut self, client: &mut Client, channel: &[u8]) {
        let Some(&index) = self.channels.get(channel) else { return };
        let Some(found) = client.subscriptions.iter().position(|&(subscribed, _)| subscribed == index) else {
            return;
        };
        let (_, place) = client.subscriptions.swap_remove(found);
        self.remove(index, place);
    }

    fn forget(&mut self, client: &Client) {
        for &(index, place) in &client.subscriptions {
            self.remove(index, place);
        }
    }

    /// The last subscriber moves to the place that is free now, and is told.
    fn remove(&mut self, index: usize, place: usize) {
        self.subscribers[index].swap_remove(place);
        let Some(&moved) = self.subscribers[index].get(place) else { return };
        let Some(client) = &mut self.clients[moved] else { return };
        for subscription in &mut client.subscriptions {
            if subscription.0 == index {
                subscription.1 = place;
            }
        }
    }
}

/// Writes all of it; `false` when the peer is gone.
fn send(mut stream: &TcpStream, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let mut full = [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::OUT)];
                if poll(&mut full, None).is_err() {
                    return false;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    true
}

/// What stands between `before` and the next quotation mark.
fn between<'a>(text: &'a [u8], before: &[u8]) -> Option<&'a [u8]> {
    let start = text.windows(before.len()).position(|window| window == before)? + before.len();
    let length = text[start..].iter().position(|&byte| byte == b'"')?;
    Some(&text[start..start + length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_may_have_escapes() {
        let body =
            br#"{"name":"App\\Events\\Shipped","data":"{\"a\":1}","channels":["orders"],"socket_id":null}"#;
        let publication: Publication<'_> = serde_json::from_slice(body).unwrap();
        assert_eq!((&*publication.name, &*publication.data), ("App\\Events\\Shipped", "{\"a\":1}"));
        assert_eq!(publication.channels.as_deref(), Some(&["orders"][..]));
    }

    #[test]
    fn a_channel_is_found_in_a_subscription() {
        let text = br#"{"data":{"auth":"","channel":"room-1"},"event":"pusher:subscribe"}"#;
        assert_eq!(between(text, br#""channel":""#), Some(&b"room-1"[..]));
        assert_eq!(between(b"{}", br#""channel":""#), None);
    }
}
