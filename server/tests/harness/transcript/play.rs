//! Plays a scene: does what its steps say, and compares what each client is told with what stands there.
//!
//! Leaves to a [`Place`] how clients connect. Each step is over, everywhere, before the next one begins; so what a
//! client is told has one order, and whatever a scene does not mention has not come.

use std::fmt;

use serde_json::{Value, json};
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{Message, Utf8Bytes};

use super::GREETED_PATH;
use super::scene::{Act, Published, Request, Scene, Step, step};
use super::words::{self, SocketIds};

/// Where clients connect and the application publishes. When a call returns, the server has dealt with it,
/// everywhere, and all that the clients are told because of it can be [heard](Place::hear).
pub trait Place {
    /// A client asks for a WebSocket; the place may assume that it gets one.
    fn connect(&mut self, client: &str, request: &Request);
    /// A client sends a message.
    fn send(&mut self, client: &str, message: Message);
    /// What a client was told next. Waits for it where time passes by itself; none where nothing can come.
    fn hear(&mut self, client: &str) -> Option<Heard>;
    /// All that a client was told up to now.
    fn heard(&mut self, client: &str) -> Vec<Heard>;
    /// The client's connection, whose close frame was heard, is at its end.
    fn end(&mut self, client: &str);
    /// A client's connection is cut.
    fn vanish(&mut self, client: &str);
    /// The application publishes.
    fn publish(&mut self, published: &Published);
    /// Time passes, where it does not by itself.
    fn pass(&mut self, seconds: u32);
}

/// Something that a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A text message.
    Text(String),
    /// A WebSocket ping.
    Ping,
    /// A close frame.
    Closed(u16, String),
}

impl Heard {
    /// What a message is to a scene; pongs are nothing to it.
    pub fn of(message: Message) -> Option<Self> {
        match message {
            Message::Text(text) => Some(Self::Text(text.to_string())),
            Message::Ping(_) => Some(Self::Ping),
            Message::Close(Some(frame)) => Some(Self::Closed(frame.code.into(), frame.reason.to_string())),
            Message::Close(None) => Some(Self::Closed(1005, String::new())),
            Message::Pong(_) => None,
            Message::Binary(_) | Message::Frame(_) => panic!("the server sends no such frame: {message:?}"),
        }
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Ping => f.write_str("a WebSocket ping"),
            Self::Closed(code, reason) => write!(f, "a close frame, {code} {reason:?}"),
        }
    }
}

/// What went otherwise than the scene says.
#[derive(Debug)]
pub struct Difference {
    /// Which step, from 1, as it stands in the file.
    pub step: String,
    pub expected: String,
    pub found: String,
    /// What else the clients were told that no step has looked at.
    pub unheard: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  expected {}\n  found    {}", self.step, self.expected, self.found)?;
        self.unheard.iter().try_for_each(|unheard| write!(f, "\n  unheard by {unheard}"))
    }
}

/// Expected, and found.
type Differs = (String, String);

fn malformed(why: String) -> Differs {
    ("a step that can be played".to_owned(), why)
}

/// A scene under way.
struct Play<'a, P> {
    place: &'a mut P,
    socket_ids: SocketIds,
    /// Who is there, and has to have heard everything at the end.
    present: Vec<String>,
}

/// Plays a scene to its end.
pub fn play(scene: &Scene, place: &mut impl Place) -> Result<(), Difference> {
    let mut play = Play { place, socket_ids: SocketIds::new(), present: Vec::new() };
    play.all(scene).map_err(|(step, (expected, found))| Difference {
        step,
        expected,
        found,
        unheard: play.unheard(),
    })
}

impl<P: Place> Play<'_, P> {
    /// The step that differs goes with the difference.
    fn all(&mut self, scene: &Scene) -> Result<(), (String, Differs)> {
        for client in &scene.clients {
            self.begin(client).map_err(|differs| (format!("before step 1, {client} connects"), differs))?;
        }
        for (channel, count) in &scene.crowd {
            for number in 1..=*count {
                let client = format!("number {number} of the crowd of {channel}");
                self.joins(&client, channel)
                    .map_err(|differs| (format!("before step 1, {client}"), differs))?;
            }
        }
        for (number, fields) in (1..).zip(&scene.steps) {
            let words = fields.keys().find(|name| *name != "note").map_or("", String::as_str);
            let step = step(fields).map_err(malformed).and_then(|step| self.step(step));
            step.map_err(|differs| (format!("step {number}, {words}"), differs))?;
        }
        for client in self.present.clone() {
            self.nothing(&client).map_err(|differs| (format!("after the last step, {client}"), differs))?;
        }
        Ok(())
    }

    /// What nobody has looked at yet, for whoever looks for the reason of a difference.
    fn unheard(&mut self) -> Vec<String> {
        let mut unheard = Vec::new();
        for client in &self.present {
            unheard.extend(self.place.heard(client).into_iter().map(|heard| format!("{client}: {heard}")));
        }
        unheard
    }

    /// Connects as pusher-js does, and is greeted.
    fn begin(&mut self, client: &str) -> Result<(), Differs> {
        let path = GREETED_PATH.to_owned();
        self.act(client, Act::Connects(Request { path, origin: None }))?;
        let data = r#"{"socket_id":"{{…}}","activity_timeout":{{…}}}"#;
        self.act(client, Act::Receives(json!({"event": "pusher:connection_established", "data": data})))
    }

    /// Subscribes to a public channel, and is of no interest any more.
    fn joins(&mut self, client: &str, channel: &str) -> Result<(), Differs> {
        self.begin(client)?;
        let subscribe = json!({"event": "pusher:subscribe", "data": {"auth": "", "channel": channel}});
        self.act(client, Act::Sends(subscribe))?;
        let event = "pusher_internal:subscription_succeeded";
        self.act(client, Act::Receives(json!({"event": event, "channel": channel, "data": "{}"})))?;
        self.goes(client);
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<(), Differs> {
        match step {
            Step::Client(client, act) => self.act(&client, act),
            Step::Publish(mut published) => {
                if let Some(except) = &mut published.except {
                    *except = self.fill_in(except)?;
                }
                published.data = self.fill_in(&published.data)?;
                self.place.publish(&published);
                Ok(())
            }
            Step::SecondsPass(seconds) => {
                self.place.pass(seconds);
                Ok(())
            }
        }
    }

    fn act(&mut self, client: &str, act: Act) -> Result<(), Differs> {
        let connects = matches!(act, Act::Connects(_));
        let present = self.present.iter().any(|other| other == client);
        if connects == present {
            let is = if present { "connected" } else { "not connected" };
            return Err(malformed(format!("{client} is {is}")));
        }
        match act {
            Act::Connects(mut request) => {
                request.path = self.fill_in(&request.path)?;
                self.present.push(client.to_owned());
                self.place.connect(client, &request);
            }
            Act::Sends(message) => {
                let text = self.message(client, message)?;
                self.place.send(client, Message::text(text));
            }
            Act::SendsBinary(bytes) => self.place.send(client, Message::binary(bytes)),
            Act::SendsBytes(bytes) => {
                let frame = Frame::message(bytes, OpCode::Data(Data::Text), true);
                self.place.send(client, Message::Frame(frame));
            }
            Act::Receives(expected) => self.receives(client, expected)?,
            Act::ReceivesText(expected) => {
                let found = self.text(client, &expected)?;
                let expected = self.fill_in(&expected)?;
                if !words::is_text_as_expected(&expected, &found) {
                    return Err((expected, found));
                }
            }
            Act::ReceivesPing => match self.place.hear(client) {
                Some(Heard::Ping) => {}
                other => return Err((Heard::Ping.to_string(), found(other.as_ref()))),
            },
            Act::ReceivesNothing => self.nothing(client)?,
            Act::IsClosed(code, reason) => {
                let expected = Heard::Closed(code, reason.clone().unwrap_or_else(|| words::ANY.to_owned()));
                match self.place.hear(client) {
                    Some(Heard::Closed(found, because))
                        if found == code
                            && reason.is_none_or(|reason| words::is_text_as_expected(&reason, &because)) => {}
                    other => return Err((expected.to_string(), found(other.as_ref()))),
                }
                self.place.end(client);
                self.goes(client);
            }
            Act::Closes(code) => {
                let frame =
                    tungstenite::protocol::CloseFrame { code: code.into(), reason: Utf8Bytes::default() };
                self.place.send(client, Message::Close(Some(frame)));
            }
            Act::Vanishes => {
                self.nothing(client)?;
                self.place.vanish(client);
                self.goes(client);
            }
        }
        Ok(())
    }

    fn goes(&mut self, client: &str) {
        self.present.retain(|other| other != client);
        self.socket_ids.remove(client);
    }

    fn fill_in(&self, text: &str) -> Result<String, Differs> {
        words::filled(text, &self.socket_ids).map_err(malformed)
    }

    /// What a client sends, filled in and signed.
    fn message(&self, client: &str, mut message: Value) -> Result<String, Differs> {
        words::fill_in(&mut message, &self.socket_ids).map_err(malformed)?;
        match message {
            Value::String(text) => Ok(text),
            mut message => {
                words::sign_message(&mut message, self.socket_ids.get(client)).map_err(malformed)?;
                Ok(message.to_string())
            }
        }
    }

    /// The next text; the first one tells the client's socket id.
    fn text(&mut self, client: &str, expected: &str) -> Result<String, Differs> {
        let text = match self.place.hear(client) {
            Some(Heard::Text(text)) => text,
            other => return Err((expected.to_owned(), found(other.as_ref()))),
        };
        if !self.socket_ids.contains_key(client)
            && let Some(socket_id) = socket_id(&text)
        {
            self.socket_ids.insert(client.to_owned(), socket_id);
        }
        Ok(text)
    }

    fn receives(&mut self, client: &str, mut expected: Value) -> Result<(), Differs> {
        let text = self.text(client, &expected.to_string())?;
        words::fill_in(&mut expected, &self.socket_ids).map_err(malformed)?;
        let differs = |why| Err((expected.to_string(), format!("{text}{why}")));
        match serde_json::from_str::<Value>(&text) {
            Err(_) => differs(", which is not JSON"),
            Ok(found) if !words::is_as_expected(&expected, &found) => differs(""),
            // Something is there twice, or there are spaces.
            Ok(found) if found.to_string().len() != text.len() => {
                differs(", which says the same in other words")
            }
            Ok(_) => Ok(()),
        }
    }

    fn nothing(&mut self, client: &str) -> Result<(), Differs> {
        match self.place.heard(client).first() {
            None => Ok(()),
            first => Err(("nothing".to_owned(), found(first))),
        }
    }
}

fn found(heard: Option<&Heard>) -> String {
    heard.map_or_else(|| "nothing".to_owned(), Heard::to_string)
}

/// The socket id in the first text of a conversation: `^\d+\.\d+\z`, as PHP's SDK has it.
fn socket_id(hello: &str) -> Option<String> {
    let hello: Value = serde_json::from_str(hello).ok()?;
    let data: Value = serde_json::from_str(hello["data"].as_str()?).ok()?;
    let socket_id = data["socket_id"].as_str()?;
    let (process, serial) = socket_id.split_once('.')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(process) && is_number(serial)).then(|| socket_id.to_owned())
}
