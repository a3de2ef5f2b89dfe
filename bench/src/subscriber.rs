//! A bare subscriber: a blocking socket, a WebSocket, nothing else in its thread.
//!
//! Owns the clock reading: it is taken when a message has been read, before anything is made of it. Assumes that
//! the publisher reads the same clock (CLOCK_MONOTONIC, which is PHP's `hrtime()`).

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use sha2::Sha256;
use tungstenite::{Message, WebSocket};

use crate::failure::Failure;

/// How long a message may stay away before the bench gives up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A client with one subscription.
#[derive(Debug)]
pub(crate) struct Subscriber {
    socket: WebSocket<TcpStream>,
}

/// One event, as it came.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The event's data.
    pub(crate) data: String,
    /// CLOCK_MONOTONIC when it had been read.
    pub(crate) at_ns: u64,
}

impl Subscriber {
    /// Connects to the server as a Pusher client does, and subscribes to the public channel `channel`.
    ///
    /// # Errors
    /// When the server does not answer as the protocol says.
    pub(crate) fn subscribe(address: SocketAddr, key: &str, channel: &str) -> Result<Self, Failure> {
        let (mut subscriber, _) = Self::connect(address, key)?;
        subscriber.begin(&json!({"channel": channel}))?;
        Ok(subscriber)
    }

    /// The same on a presence channel, as the user `user_id`, with the app's signature.
    ///
    /// # Errors
    /// As [`Subscriber::subscribe`].
    pub(crate) fn join(
        address: SocketAddr,
        key: &str,
        secret: &str,
        channel: &str,
        user_id: &str,
    ) -> Result<Self, Failure> {
        let (mut subscriber, socket_id) = Self::connect(address, key)?;
        let channel_data = json!({"user_id": user_id}).to_string();
        let signature = sign(secret, &format!("{socket_id}:{channel}:{channel_data}"))?;
        let auth = format!("{key}:{signature}");
        subscriber.begin(&json!({"channel": channel, "auth": auth, "channel_data": channel_data}))?;
        Ok(subscriber)
    }

    /// Connects; gives the socket id too.
    fn connect(address: SocketAddr, key: &str) -> Result<(Self, String), Failure> {
        let stream = TcpStream::connect(address).map_err(Failure::system(format!("connect to {address}")))?;
        stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(SILENCE_MAX)))
            .map_err(Failure::system("set up the subscriber's socket"))?;
        let url = format!("ws://{address}/app/{key}?protocol=7&client=bench&version=1");
        let (socket, _) = tungstenite::client(url, stream).map_err(|error| {
            Failure::new(format!("expected the server to upgrade to a WebSocket, but found: {error}"))
        })?;
        let mut subscriber = Self { socket };
        let hello = subscriber.expect("pusher:connection_established")?;
        let data: Value = hello
            .get("data")
            .and_then(Value::as_str)
            .map(serde_json::from_str)
            .transpose()
            .ok()
            .flatten()
            .unwrap_or_default();
        let socket_id = data.get("socket_id").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok((subscriber, socket_id))
    }

    fn begin(&mut self, data: &Value) -> Result<(), Failure> {
        let subscription = json!({"event": "pusher:subscribe", "data": data});
        self.socket
            .send(Message::text(subscription.to_string()))
            .map_err(|error| Failure::new(format!("cannot subscribe: {error}")))?;
        self.expect("pusher_internal:subscription_succeeded").map(drop)
    }

    /// The next `count` events.
    ///
    /// # Errors
    /// When they stay away, or something else comes.
    pub(crate) fn receive(&mut self, count: usize) -> Result<Vec<Arrival>, Failure> {
        let mut frames = Vec::with_capacity(count);
        while frames.len() < count {
            let text = self.read().map_err(|failure| {
                let found = frames.len();
                Failure::new(format!("expected {count} events, but after {found} of them: {failure}"))
            })?;
            frames.push((monotonic_ns(), text));
        }
        frames
            .into_iter()
            .map(|(at_ns, text)| {
                let event: Value = serde_json::from_str(&text).unwrap_or_default();
                let data = event
                    .get("data")
                    .and_then(Value::as_str)
                    .ok_or_else(|| Failure::new(format!("expected an event with data, but found {text}")))?;
                Ok(Arrival { data: data.to_owned(), at_ns })
            })
            .collect()
    }

    fn expect(&mut self, event: &str) -> Result<Value, Failure> {
        let text = self.read()?;
        let found: Value = serde_json::from_str(&text).unwrap_or_default();
        if found.get("event").and_then(Value::as_str) == Some(event) {
            return Ok(found);
        }
        Err(Failure::new(format!("expected the event {event} from the server, but found {text}")))
    }

    fn read(&mut self) -> Result<String, Failure> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return Ok(text.to_string()),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(other) => {
                    return Err(Failure::new(format!("expected a text message, but found {other:?}")));
                }
                Err(error) => return Err(Failure::new(format!("cannot read from the server: {error}"))),
            }
        }
    }
}

/// Pusher's signature of a text: HMAC-SHA256 in lower-case hex.
fn sign(secret: &str, text: &str) -> Result<String, Failure> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .map_err(|error| Failure::new(format!("cannot sign: {error}")))?;
    mac.update(text.as_bytes());
    Ok(mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
