//! One connection of the crowd: from connecting to the events.
//!
//! Owns what bytes mean in which state. Leaves counting, and when to read, to the process; signing is here because a
//! presence channel's signature holds the socket id.

use std::io::{ErrorKind, Write as _};
use std::net::TcpStream;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::Audience;
use crate::frames::{self, Frame};
use crate::http;
use crate::tick::monotonic_ns;

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// TCP.
    Connecting,
    /// The upgrade was sent.
    Upgrading,
    /// The server has to say who we are.
    Greeting,
    /// The subscription was sent.
    Subscribing,
    /// Events may come.
    Subscribed,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) stream: TcpStream,
    pub(super) state: State,
    /// What has come of a frame that is not complete.
    pub(super) pending: Vec<u8>,
    /// The number of the next event.
    pub(super) next: u64,
    /// Which connection of the audience it is.
    pub(super) number: usize,
    /// When it asked to be subscribed.
    pub(super) asked_ns: u64,
}

/// What everybody has in common.
#[derive(Debug)]
pub(super) struct Manners {
    pub(super) host: String,
    pub(super) key: String,
    pub(super) secret: String,
    pub(super) audience: Audience,
}

/// A message of the server that is no event, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The client is subscribed.
    Subscribed,
    /// A member has come or gone.
    Member,
    /// Nothing that has to be counted.
    Other,
}

impl Client {
    /// Asks for the upgrade.
    pub(super) fn upgrade(&mut self, manners: &Manners) -> Result<(), String> {
        let Manners { host, key, audience, .. } = manners;
        let offer = if audience.deflate {
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
        } else {
            ""
        };
        let request = format!(
            "GET /app/{key}?protocol=7&client=js&version=8.6.0&flash=false HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
        );
        self.state = State::Upgrading;
        self.send(request.as_bytes())
    }

    /// What the answer to the upgrade says: whether compression was agreed upon.
    pub(super) fn upgraded(&mut self, answer: &http::Request<'_>) -> Result<bool, String> {
        if answer.status() != Some(101) {
            return Err(format!("expected the status 101 for an upgrade, but found {:?}", answer.status()));
        }
        self.state = State::Greeting;
        Ok(answer
            .header("sec-websocket-extensions")
            .is_some_and(|value| value.contains("permessage-deflate")))
    }

    /// Answers what has to be answered of a frame that is no event.
    pub(super) fn hear(&mut self, frame: &Frame<'_>, manners: &Manners) -> Result<Word, String> {
        match frame.operation {
            frames::TEXT => {}
            frames::PING => {
                self.send(&frames::from_client(frames::PONG, frame.payload))?;
                return Ok(Word::Other);
            }
            frames::CLOSE => return Err(format!("closed by the server: {}", close_reason(frame.payload))),
            _ => return Ok(Word::Other),
        }
        // Not read as JSON: a list may hold ten thousand members, who are told of each other.
        if frame.payload.starts_with(br#"{"event":"pusher_internal:subscription_succeeded""#) {
            self.state = State::Subscribed;
            return Ok(Word::Subscribed);
        }
        if frame.payload.starts_with(br#"{"event":"pusher_internal:member_"#) {
            return Ok(Word::Member);
        }
        let message: Value = serde_json::from_slice(frame.payload).unwrap_or_default();
        match message.get("event").and_then(Value::as_str) {
            Some("pusher:connection_established") => {
                self.subscribe(&message, manners)?;
                Ok(Word::Other)
            }
            Some("pusher_internal:subscription_succeeded") => {
                self.state = State::Subscribed;
                Ok(Word::Subscribed)
            }
            Some("pusher:ping") => {
                self.say(&json!({"event": "pusher:pong", "data": {}}))?;
                Ok(Word::Other)
            }
            Some("pusher:error" | "pusher:subscription_error") => {
                Err(format!("the server refuses: {message}"))
            }
            _ => Ok(Word::Other),
        }
    }

    fn subscribe(&mut self, greeting: &Value, manners: &Manners) -> Result<(), String> {
        let Audience { per_channel, presence, .. } = manners.audience;
        let channel = super::channel(self.number / per_channel, presence);
        let mut data = json!({"channel": channel});
        if presence {
            let greeting = greeting.get("data").and_then(Value::as_str).unwrap_or_default();
            let greeting: Value = serde_json::from_str(greeting).unwrap_or_default();
            let socket_id = greeting.get("socket_id").and_then(Value::as_str).unwrap_or_default();
            let user = format!(r#"{{"user_id":"{}","user_info":{{"name":"Somebody"}}}}"#, self.number);
            let signature = sign(&manners.secret, &format!("{socket_id}:{channel}:{user}"))?;
            data = json!({"channel": channel, "auth": format!("{}:{signature}", manners.key), "channel_data": user});
        }
        self.state = State::Subscribing;
        self.asked_ns = monotonic_ns();
        self.say(&json!({"event": "pusher:subscribe", "data": data}))
    }

    /// Sends a message of Pusher's.
    pub(super) fn say(&mut self, message: &Value) -> Result<(), String> {
        self.send(&frames::from_client(frames::TEXT, message.to_string().as_bytes()))
    }

    /// What clients say is small: a socket that does not take it at once belongs to a server that does not read.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        match self.stream.write(bytes) {
            Ok(count) if count == bytes.len() => Ok(()),
            Ok(_) => Err("the server does not read what it is sent".to_owned()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Err("the server does not read what it is sent".to_owned())
            }
            Err(error) => Err(format!("cannot write to the server: {error}")),
        }
    }
}

fn close_reason(payload: &[u8]) -> String {
    let code = payload.first_chunk::<2>().map_or(0, |code| u16::from_be_bytes(*code));
    format!("{code} {}", String::from_utf8_lossy(payload.get(2..).unwrap_or_default()))
}

/// Pusher's signature of a text: HMAC-SHA256 in lower-case hex.
pub(crate) fn sign(secret: &str, text: &str) -> Result<String, String> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|error| format!("cannot sign: {error}"))?;
    mac.update(text.as_bytes());
    Ok(mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
}
