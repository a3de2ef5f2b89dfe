//! A scene: one file of `tests/fixtures/pusher`, read and judged.
//!
//! Owns the form of the files. A file is an object:
//!
//! | field | |
//! |---|---|
//! | `title` | what it shows, in a sentence |
//! | `items` | the items of the protocol's checklist that it shows, the file's name begins with them |
//! | `about` | more about it, where there is more to say |
//! | `app` | what the app's configuration has beside id, key and secret |
//! | `limits` | limits of the node |
//! | `clients` | who is connected, and has been greeted, when the scene begins |
//! | `crowd` | how many more are subscribed to a public channel by then, and say nothing |
//! | `in_memory_only` | why it is not played over real sockets |
//! | `steps` | what happens, one after the other |
//!
//! A step is an object with one field, "who does": its value (and it may have a `note`):
//!
//! | step | value |
//! |---|---|
//! | `a connects` | the path, or `{"path", "origin"}` |
//! | `a sends` | a message; a string goes out as it stands, anything else as JSON |
//! | `a sends binary`, `a sends bytes` | hex of a binary message's payload, of a text message's |
//! | `a receives` | the server's text as JSON: nothing less and nothing more |
//! | `a receives text` | the server's text, byte for byte |
//! | `a receives ping` | a WebSocket ping; why |
//! | `a receives nothing` | why: all that was sent has been dealt with, and nothing has come of it |
//! | `a is closed` | the close frame: its code, or `{"code", "reason"}`; the connection ends |
//! | `a closes` | the code of the close frame that the client sends |
//! | `a vanishes` | why the connection is cut |
//! | `the application publishes` | `{"channels", "event", "data"}`, and `"except"`, a socket id |
//! | `seconds pass` | how many; over real sockets the next `receives` waits for what comes of it |
//!
//! The strings may hold placeholders: [`super::words`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    pub title: String,
    pub items: Vec<String>,
    #[serde(default)]
    pub about: Option<String>,
    #[serde(default)]
    pub app: Map<String, Value>,
    #[serde(default)]
    pub limits: Map<String, Value>,
    #[serde(default)]
    pub clients: Vec<String>,
    #[serde(default)]
    pub crowd: BTreeMap<String, usize>,
    #[serde(default)]
    pub in_memory_only: Option<String>,
    pub steps: Vec<Map<String, Value>>,
}

/// What happens.
#[derive(Debug, Clone)]
pub enum Step {
    Client(String, Act),
    Publish(Published),
    SecondsPass(u32),
}

/// What happens to one client.
#[derive(Debug, Clone)]
pub enum Act {
    Connects(Request),
    Sends(Value),
    SendsBinary(Vec<u8>),
    SendsBytes(Vec<u8>),
    Receives(Value),
    ReceivesText(String),
    ReceivesPing,
    ReceivesNothing,
    IsClosed(u16, Option<String>),
    Closes(u16),
    Vanishes,
}

/// A WebSocket request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub path: String,
    #[serde(default)]
    pub origin: Option<String>,
}

/// What the application publishes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    pub channels: Vec<String>,
    pub event: String,
    pub data: String,
    #[serde(default)]
    pub except: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Closed {
    code: u16,
    reason: String,
}

/// Where the files are.
pub fn directory() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "tests", "fixtures", "pusher"].iter().collect()
}

impl Scene {
    /// Reads the file called `name`, without its ending.
    pub fn read(name: &str) -> Self {
        let path = directory().join(format!("{name}.json"));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// What a node of two shards is configured with, but for where it listens.
    pub fn configuration(&self) -> Value {
        let mut app = self.app.clone();
        for (name, value) in [("id", "app"), ("key", super::KEY), ("secret", super::SECRET)] {
            app.insert(name.to_owned(), value.into());
        }
        serde_json::json!({
            "shards": 2,
            "limits": self.limits,
            "apps": [app, {"id": "other", "key": "other-key", "secret": "other-secret"}],
        })
    }
}

/// Reads a step.
pub fn step(fields: &Map<String, Value>) -> Result<Step, String> {
    let mut named = fields.iter().filter(|(name, _)| *name != "note");
    let (Some((words, value)), None) = (named.next(), named.next()) else {
        return Err(r#"expected one field beside "note", such as "a sends""#.to_owned());
    };
    match words.as_str() {
        "the application publishes" => return read(value).map(Step::Publish),
        "seconds pass" => return read(value).map(Step::SecondsPass),
        _ => {}
    }
    let (client, does) =
        words.split_once(' ').ok_or_else(|| format!("expected who and what, but found {words:?}"))?;
    let act = match does {
        "connects" if value.is_string() => Act::Connects(Request { path: read(value)?, origin: None }),
        "connects" => Act::Connects(read(value)?),
        "sends" => Act::Sends(value.clone()),
        "sends binary" => Act::SendsBinary(bytes(value)?),
        "sends bytes" => Act::SendsBytes(bytes(value)?),
        "receives" if value.is_object() => Act::Receives(value.clone()),
        "receives text" => Act::ReceivesText(read(value)?),
        "receives ping" => reason(value, Act::ReceivesPing)?,
        "receives nothing" => reason(value, Act::ReceivesNothing)?,
        "is closed" if value.is_number() => Act::IsClosed(read(value)?, None),
        "is closed" => read(value).map(|Closed { code, reason }| Act::IsClosed(code, Some(reason)))?,
        "closes" => Act::Closes(read(value)?),
        "vanishes" => reason(value, Act::Vanishes)?,
        _ => return Err(format!("no such step: {words:?}")),
    };
    Ok(Step::Client(client.to_owned(), act))
}

fn read<T: for<'de> Deserialize<'de>>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| error.to_string())
}

/// A step whose value only says why.
fn reason(value: &Value, act: Act) -> Result<Act, String> {
    match value.as_str() {
        Some(reason) if !reason.is_empty() => Ok(act),
        _ => Err(format!("expected a text that says why, but found {value}")),
    }
}

fn bytes(value: &Value) -> Result<Vec<u8>, String> {
    let hex: String = read(value)?;
    let digits: Option<Vec<u8>> = hex.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 => {
            Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
        }
        _ => Err(format!("expected hex, but found {hex:?}")),
    }
}
