//! What a body asks to be published.
//!
//! Owns the forms of `events` and `batch_events`, and that all of a request is judged before any of it is published:
//! one bad name, and nothing is delivered at all. Leaves names and sizes to [`Publication::of_application`].

use serde::Deserialize;
use serde_json::value::RawValue;

use super::channels::Attributes;
use super::rejection::{Code, Rejection};
use crate::limits::Limits;
use crate::publication::{Data, Publication, Unacceptable};
use crate::pusher::SocketId;
use crate::pusher::channel::{self, Kind};

/// A publication that was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Legal names, at least one.
    pub channels: Vec<String>,
    /// The event's name.
    pub event: String,
    /// Its data.
    pub data: String,
    /// The connection that does not receive it. None too when the id is well-formed but cannot be one of ours.
    pub except: Option<SocketId>,
    /// What the answer is to say about the channels.
    pub wanted: Attributes,
}

impl Submission {
    /// The same, borrowed.
    pub fn publication(&self) -> Publication<'_> {
        Publication {
            channels: self.channels.iter().map(String::as_str).collect(),
            event: &self.event,
            data: Data::Text(&self.data),
            except: self.except,
        }
    }
}

// Raw values, so that each field is complained about by its name. Skipping one does not recurse, however deep it nests.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    channel: Option<&'a RawValue>,
    #[serde(borrow, default)]
    channels: Option<&'a RawValue>,
    #[serde(borrow, default)]
    socket_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    info: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct BatchFields<'a> {
    #[serde(borrow, default)]
    batch: Option<&'a RawValue>,
}

/// Reads the body of `POST …/events`.
///
/// # Errors
/// The first rule that is broken.
pub fn event(body: &[u8], limits: &Limits) -> Result<Submission, Rejection> {
    const EXPECTED: &str = "a JSON object with name, data, and channel or channels";
    let fields: Fields<'_> = parse(text(body)?, EXPECTED)?;
    let channels = match (fields.channel, fields.channels) {
        (Some(channel), None) => vec![string("channel", channel)?],
        (None, Some(channels)) => list("channels", channels)?
            .into_iter()
            .map(|channel| string("each of channels", channel))
            .collect::<Result<_, _>>()?,
        (None, None) => return Err(missing("channel or channels")),
        (Some(_), Some(_)) => {
            let message = "expected channel or channels, but found both; send one of them";
            return Err(Rejection::new(Code::Field, message));
        }
    };
    let max = limits.publication_channels_max;
    if channels.is_empty() || channels.len() > max {
        let found = channels.len();
        let message = format!("expected 1 to {max} channels, but found {found}; split the request");
        return Err(Rejection::new(Code::Channels, message));
    }
    submission(&fields, channels, limits)
}

/// Reads the body of `POST …/batch_events`.
///
/// # Errors
/// As [`event`]; the message says which of the batch it is.
pub fn batch(body: &[u8], limits: &Limits) -> Result<Vec<Submission>, Rejection> {
    const EXPECTED: &str = "a JSON object with name, data and channel";
    let fields: BatchFields<'_> = parse(text(body)?, "a JSON object with batch, a list")?;
    let batch = list("batch", fields.batch.ok_or_else(|| missing("batch"))?)?;
    let max = limits.batch_publications_max;
    if batch.len() > max {
        let found = batch.len();
        let message = format!("expected at most {max} publications in a batch, but found {found}; split it");
        return Err(Rejection::new(Code::Batch, message));
    }
    let judged = batch.into_iter().enumerate().map(|(index, raw)| {
        let read = || {
            let fields: Fields<'_> = parse(raw.get(), EXPECTED)?;
            let channel = fields.channel.ok_or_else(|| missing("channel"))?;
            if fields.channels.is_some() {
                let message = "expected one channel, but found channels; send one publication for each";
                return Err(Rejection::new(Code::Field, message));
            }
            submission(&fields, vec![string("channel", channel)?], limits)
        };
        read().map_err(|rejection| rejection.at(index))
    });
    judged.collect()
}

fn submission(fields: &Fields<'_>, channels: Vec<String>, limits: &Limits) -> Result<Submission, Rejection> {
    let event = string("name", fields.name.ok_or_else(|| missing("name"))?)?;
    let data = string("data", fields.data.ok_or_else(|| missing("data"))?)?;
    let except = fields.socket_id.map(socket_id).transpose()?.flatten();
    let wanted = match fields.info {
        Some(info) => Attributes::parse(&string("info", info)?)?,
        None => Attributes::default(),
    };
    if event.is_empty() {
        return Err(Rejection::new(Code::EventName, "expected the name of an event, but found an empty one"));
    }
    let submission = Submission { channels, event, data, except, wanted };
    let names = submission.publication().channels;
    Publication::of_application(names, &submission.event, &submission.data, except, limits)?;
    let encrypted = |name: &String| channel::kind(name) == Kind::Encrypted;
    if submission.channels.len() > 1 && submission.channels.iter().any(encrypted) {
        return Err(Rejection::new(
            Code::EncryptedWithOthers,
            "expected an encrypted channel alone, because each has a key of its own, but found others beside it; publish to each by itself",
        ));
    }
    Ok(submission)
}

impl From<Unacceptable> for Rejection {
    fn from(error: Unacceptable) -> Self {
        let code = match &error {
            Unacceptable::Channel(_) => Code::ChannelName,
            Unacceptable::Event { .. } => Code::EventName,
            Unacceptable::Data { .. } => Code::DataTooLarge,
            Unacceptable::Text { .. } => Code::Body,
        };
        Self::new(code, error.to_string())
    }
}

/// The connection that a socket id names. One that is well-formed, but not as ours are written (of another server, from
/// before a restart), names nobody.
fn socket_id(raw: &RawValue) -> Result<Option<SocketId>, Rejection> {
    let text = string("socket_id", raw)?;
    if !SocketId::is_well_formed(&text) {
        let message = "expected socket_id to be digits, a dot and digits, but found another text; pass on what the client's connection.socket_id says, or leave it out";
        return Err(Rejection::new(Code::SocketId, message));
    }
    Ok(SocketId::parse(&text))
}

fn text(body: &[u8]) -> Result<&str, Rejection> {
    std::str::from_utf8(body)
        .map_err(|_| Rejection::new(Code::Body, "expected a body in UTF-8, but found other bytes in it"))
}

/// A derived reader would take a list for an object, field by field.
fn parse<'a, T: Deserialize<'a>>(text: &'a str, expected: &str) -> Result<T, Rejection> {
    let rejection =
        |found: &str| Rejection::new(Code::Body, format!("expected {expected}, but found {found}"));
    if text.trim_ascii_start().starts_with('[') {
        return Err(rejection("a list"));
    }
    serde_json::from_str(text).map_err(|error| rejection(&format!("another text: {error}")))
}

fn missing(field: &str) -> Rejection {
    Rejection::new(Code::Field, format!("expected {field}, but found none"))
}

fn list<'a>(field: &str, raw: &'a RawValue) -> Result<Vec<&'a RawValue>, Rejection> {
    serde_json::from_str(raw.get()).map_err(|_| {
        Rejection::new(Code::Field, format!("expected {field} to be a list, but found {}", kind_of(raw)))
    })
}

fn string(field: &str, raw: &RawValue) -> Result<String, Rejection> {
    serde_json::from_str(raw.get()).map_err(|_| {
        let advice = if field == "data" { "; encode it as JSON first, and send that text" } else { "" };
        let message = format!("expected {field} to be a string, but found {}{advice}", kind_of(raw));
        Rejection::new(Code::Field, message)
    })
}

/// What a value is, in words.
fn kind_of(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        Some(b'"') => "a string that is not Unicode",
        _ => "a number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn limits() -> Limits {
        Limits {
            data_bytes_max: 10,
            publication_channels_max: 3,
            batch_publications_max: 2,
            ..Limits::default()
        }
    }

    fn judged(body: &Value) -> Result<Submission, Code> {
        event(body.to_string().as_bytes(), &limits()).map_err(|rejection| rejection.code)
    }

    fn rejected(body: &Value) -> Code {
        judged(body).unwrap_err()
    }

    #[test]
    fn h4_every_form_of_a_publication() {
        let one = judged(&json!({"name": "e", "data": "{}", "channel": "a"})).unwrap();
        assert_eq!((one.channels, one.event.as_str(), one.data.as_str()), (vec!["a".into()], "e", "{}"));
        assert_eq!((one.except, one.wanted), (None, Attributes::default()));
        let many = judged(&json!({
            "name": "e", "data": "", "channels": ["a", "presence-b", "#server-to-user-1"], "socket_id": "12.34",
            "info": "user_count,subscription_count", "unknown": [1],
        }));
        let many = many.unwrap();
        assert_eq!(many.channels, ["a", "presence-b", "#server-to-user-1"]);
        assert_eq!(many.except, SocketId::parse("12.34"));
        assert_eq!(many.wanted, Attributes { user_count: true, subscription_count: true, cache: false });
        // Libraries send null for what they were not given.
        let null = json!({"name": "e", "data": "", "channel": "a", "channels": null, "socket_id": null, "info": null});
        assert!(judged(&null).is_ok());
    }

    #[test]
    fn h4_data_must_be_a_string() {
        for data in [json!({}), json!([]), json!(1), json!(true)] {
            let body = json!({"name": "e", "data": data, "channel": "a"}).to_string();
            let rejection = event(body.as_bytes(), &limits()).unwrap_err();
            assert_eq!(rejection.code, Code::Field);
            assert!(
                rejection.message.starts_with("expected data to be a string, but found "),
                "{}",
                rejection.message
            );
        }
        assert_eq!(rejected(&json!({"name": "e", "channel": "a"})), Code::Field);
        assert_eq!(
            event(br#"{"name":"e","channel":"a","data":"\ud800"}"#, &limits()).unwrap_err().code,
            Code::Field
        );
    }

    #[test]
    fn h11_a_body_that_is_not_one_is_told_what_is_expected() {
        let deep = "[".repeat(200_000);
        let deep_inside = format!(r#"{{"x":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
        for body in
            ["", "null", "[]", r#" ["e","","a"]"#, "{", "x", "\"\"", r#"{"name":"e","name":"f"}"#, &deep]
        {
            assert_eq!(
                event(body.as_bytes(), &limits()).unwrap_err().code,
                Code::Body,
                "{}",
                &body[..body.len().min(9)]
            );
        }
        assert_eq!(event(b"{\"name\":\"\xff\"}", &limits()).unwrap_err().code, Code::Body);
        assert_eq!(event(deep_inside.as_bytes(), &limits()).unwrap_err().code, Code::Field);
        for (body, code) in [
            (json!({}), Code::Field),
            (json!({"name": 1, "data": "", "channel": "a"}), Code::Field),
            (json!({"name": "e", "data": "", "channel": ["a"]}), Code::Field),
            (json!({"name": "e", "data": "", "channels": "a"}), Code::Field),
            (json!({"name": "e", "data": "", "channels": ["a", 1]}), Code::Field),
            (json!({"name": "e", "data": "", "channels": ["a"], "channel": "a"}), Code::Field),
            (json!({"name": "e", "data": "", "channels": []}), Code::Channels),
            (json!({"name": "", "data": "", "channel": "a"}), Code::EventName),
            (json!({"name": "x".repeat(201), "data": "", "channel": "a"}), Code::EventName),
            (json!({"name": "e", "data": "", "channel": "a", "info": "users"}), Code::Info),
            (json!({"name": "e", "data": "", "channel": "a", "info": 1}), Code::Field),
        ] {
            assert_eq!(rejected(&body), code, "{body}");
        }
    }

    #[test]
    fn h12_what_libraries_check_is_checked_here_too() {
        let with = |field: &str, value: Value| {
            let mut body = json!({"name": "e", "data": ""});
            body[field] = value;
            body
        };
        assert!(judged(&with("channels", json!(["a", "b", "c"]))).is_ok());
        assert_eq!(rejected(&with("channels", json!(["a", "b", "c", "d"]))), Code::Channels);
        assert!(judged(&with("channel", json!("private-encrypted-a"))).is_ok());
        assert_eq!(
            rejected(&with("channels", json!(["private-encrypted-a", "b"]))),
            Code::EncryptedWithOthers
        );
        assert_eq!(
            rejected(&with("channels", json!(["a", "private-encrypted-cache-b"]))),
            Code::EncryptedWithOthers
        );
        for id in ["", "1", "1.", "a.b", "1.2.3", "1.2\n", "-1.2"] {
            let body = json!({"name": "e", "data": "", "channel": "a", "socket_id": id});
            assert_eq!(rejected(&body), Code::SocketId, "{id}");
        }
        // Another server's id names nobody here.
        let body = json!({"name": "e", "data": "", "channel": "a", "socket_id": "1.99999999999999999999999"});
        assert_eq!(judged(&body).unwrap().except, None);
    }

    #[test]
    fn n3_one_bad_name_refuses_the_whole_request() {
        for name in ["", "a b", "#x", "é", &"x".repeat(201)] {
            assert_eq!(
                rejected(&json!({"name": "e", "data": "", "channels": ["good", name]})),
                Code::ChannelName
            );
        }
        let bad = json!({"batch": [
            {"name": "e", "data": "", "channel": "good"},
            {"name": "e", "data": "", "channel": "a b"},
        ]});
        let rejection = batch(bad.to_string().as_bytes(), &limits()).unwrap_err();
        assert_eq!(rejection.code, Code::ChannelName);
        assert!(rejection.message.starts_with("batch[1]: expected a channel name"), "{}", rejection.message);
    }

    #[test]
    fn h11_too_much_data_names_size_and_limit() {
        let body = json!({"name": "e", "data": "12345678901", "channel": "a"}).to_string();
        let rejection = event(body.as_bytes(), &limits()).unwrap_err();
        assert_eq!((rejection.code, rejection.code.status().as_u16()), (Code::DataTooLarge, 413));
        assert!(rejection.message.contains("at most 10 bytes, but found 11"), "{}", rejection.message);
    }

    #[test]
    fn h5_a_batch_is_bounded_and_every_entry_has_one_channel() {
        let entry = json!({"name": "e", "data": "", "channel": "a"});
        let judged = |body: Value| {
            batch(body.to_string().as_bytes(), &limits())
                .map(|all| all.len())
                .map_err(|rejection| rejection.code)
        };
        assert_eq!(judged(json!({"batch": [entry, entry]})), Ok(2));
        assert_eq!(judged(json!({"batch": []})), Ok(0));
        assert_eq!(judged(json!({"batch": [entry, entry, entry]})), Err(Code::Batch));
        assert_eq!(judged(json!({"batch": {}})), Err(Code::Field));
        assert_eq!(judged(json!({})), Err(Code::Field));
        assert_eq!(judged(json!([])), Err(Code::Body));
        for wrong in [json!(1), json!(["e", "", "a"])] {
            assert_eq!(judged(json!({"batch": [wrong]})), Err(Code::Body));
        }
        assert_eq!(
            judged(json!({"batch": [{"name": "e", "data": "", "channels": ["a"]}]})),
            Err(Code::Field)
        );
    }
}
