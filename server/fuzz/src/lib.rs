//! What the fuzzer calls, and what `tests/corpus.rs` replays: any bytes of a stranger give a value or a typed error.

use std::sync::LazyLock;

use fanfare_server::apps::Apps;
use fanfare_server::broker::NodeId;
use fanfare_server::broker::frame::{self, Published};
use fanfare_server::config::{Configuration, Secret};
use fanfare_server::deflate::{Deflater, Inflater};
use fanfare_server::fleet::frames::Message;
use fanfare_server::http::api::rejection::Rejection;
use fanfare_server::http::api::request::{Head, Request, authorise};
use fanfare_server::http::api::{route, signature as requests};
use fanfare_server::limits::Limits;
use fanfare_server::publication::Publication;
use fanfare_server::pusher::signature::sign;
use fanfare_server::pusher::socket_id::SocketIds;
use fanfare_server::pusher::{Effect, Session, Setting};
use serde_json::Value;

const NOW_S: u64 = 1_700_000_000;
const PREFIX: &str = "/ws";

static CONFIGURATION: LazyLock<Configuration> = LazyLock::new(|| {
    let text = r#"{"listen":"127.0.0.1:0","socket":"/s","path":"/ws","apps":[
        {"id":"1","key":"key","secret":"secret","limits":{"data_bytes_max":64,"connection_channels_max":8}},
        {"id":"2","key":"off","secret":"secret","enabled":false}]}"#;
    Configuration::parse(text, 1).unwrap()
});

static APPS: LazyLock<Apps> = LazyLock::new(|| Apps::new(CONFIGURATION.apps.clone()));

fn secret() -> Secret {
    Secret::new("secret")
}

/// A conversation, one message a line. `"auth":"!"` stands for the application's signature, which a fuzzer does not
/// find. Whatever is said, everything that is answered is JSON and nothing ends the connection.
pub fn message(bytes: &[u8]) {
    let app = &CONFIGURATION.apps[0];
    let mut session = Session::new(SocketIds::new(1, 0, 1).draw());
    let now = tokio::time::Instant::now();
    for line in bytes.split(|byte| *byte == b'\n') {
        // The WebSocket layer has refused anything else.
        let Ok(text) = std::str::from_utf8(line) else { continue };
        let signed = with_signature(text, &session.socket_id().to_string());
        let mut effects = Vec::new();
        session.on_text(signed.as_deref().unwrap_or(text), Setting { app, now }, &mut effects);
        assert!(effects.len() <= 3, "one message, {} effects", effects.len());
        for effect in effects {
            match effect {
                Effect::Send(text) => {
                    let said: Value = serde_json::from_str(&text).unwrap();
                    assert!(said["event"].is_string(), "{text}");
                }
                Effect::Publish(event) => {
                    assert!(event.event.starts_with("client-"));
                    if let Some(json) = &event.json {
                        serde_json::from_str::<&serde_json::value::RawValue>(json).unwrap();
                    }
                }
                Effect::Close(code, _) => panic!("closed with {code:?}"),
                Effect::Subscribe { .. } | Effect::Unsubscribe(_) | Effect::SignIn(_) => {}
            }
        }
    }
}

/// The message with what the application would have signed for it.
fn with_signature(text: &str, socket_id: &str) -> Option<String> {
    if !text.contains(r#""auth":"!""#) {
        return None;
    }
    let message: Value = serde_json::from_str(text).ok()?;
    let field = |name: &str| message["data"][name].as_str();
    let signed = match (field("user_data"), field("channel"), field("channel_data")) {
        (Some(user_data), _, _) => format!("{socket_id}::user::{user_data}"),
        (None, Some(channel), Some(data)) if channel.starts_with("presence-") => {
            format!("{socket_id}:{channel}:{data}")
        }
        (None, channel, _) => format!("{socket_id}:{}", channel?),
    };
    let auth = format!(r#""auth":"key:{}""#, sign(&secret(), &[&signed]));
    Some(text.replacen(r#""auth":"!""#, &auth, 1))
}

/// The payload of a compressed message. Whatever it is, no more comes out than a message may have; and what does, is itself
/// again when it is compressed for others.
pub fn deflated(bytes: &[u8]) {
    const BYTES_MAX: usize = 4_096;
    let mut inflater = Inflater::default();
    let Ok(inflated) = inflater.inflate(bytes, BYTES_MAX) else { return };
    assert!(inflated.len() <= BYTES_MAX);
    for readers in [1, 1_000] {
        let mut again = Vec::new();
        if Deflater::default().append(&inflated, readers, &mut again) {
            assert!(again.len() < inflated.len());
            assert_eq!(inflater.inflate(&again, BYTES_MAX).unwrap(), inflated);
        }
    }
}

/// A request, `METHOD PATH?QUERY`, and its body in the lines below. It is judged as it comes, and once more signed.
/// What is accepted holds to the rules that everything behind relies on.
pub fn request(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let Ok(line) = std::str::from_utf8(&bytes[..end]) else { return };
    let body = bytes.get(end + 1..).unwrap_or_default();
    let (method, target) = line.split_once(' ').unwrap_or((line, ""));
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    judge(Head { method, path, query }, body);

    let mut signed = format!("auth_key=key&auth_timestamp={NOW_S}&auth_version=1.0");
    if !body.is_empty() {
        signed.push_str(&format!("&body_md5={}", requests::hex_md5(body)));
    }
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        signed.push_str(&format!("&{query}"));
    }
    let Ok(parameters) = fanfare_server::http::api::parameters::Parameters::parse(Some(&signed)) else {
        return;
    };
    for form in route::signed_forms(path, PREFIX) {
        let text = format!("{method}\n{form}\n{}", parameters.signed_form());
        let query = format!("{signed}&auth_signature={}", sign(&secret(), &[&text]));
        judge(Head { method, path, query: Some(&query) }, body);
    }
}

fn judge(head: Head<'_>, body: &[u8]) {
    let limits = &CONFIGURATION.apps[0].limits;
    let judged =
        authorise(head, PREFIX, &APPS, NOW_S).and_then(|(_, authorised)| authorised.judge(body, limits));
    match judged {
        Err(Rejection { code, message, .. }) => {
            assert!((400..500).contains(&code.status().as_u16()), "{code:?}");
            assert!(!message.is_empty());
        }
        Ok(Request::Publish(submission)) => is_sound(&submission.publication(), limits),
        Ok(Request::PublishBatch(batch)) => {
            assert!(batch.len() <= limits.batch_publications_max);
            batch.iter().for_each(|submission| is_sound(&submission.publication(), limits));
        }
        Ok(Request::Users(channel)) => assert!(channel.starts_with("presence-")),
        Ok(Request::Terminate(user_id)) => assert!(!user_id.is_empty()),
        Ok(Request::Channels(_) | Request::Channel(_) | Request::Connections) => {}
    }
}

fn is_sound(publication: &Publication<'_>, limits: &Limits) {
    assert!((1..=limits.publication_channels_max).contains(&publication.channels.len()));
    assert!(!publication.event.is_empty());
    let (channels, event) = (publication.channels.clone(), publication.event);
    Publication::of_application(channels, event, publication.data.as_str(), publication.except, limits)
        .unwrap();
}

/// A frame of another node. One that is read is written as the same bytes, but for the number that the broker gives.
pub fn frame(bytes: &[u8]) {
    if let Ok((header, body)) = frame::decode(bytes)
        && let Ok(message) = Message::decode(&header, body)
    {
        let again = message.encode(header.origin);
        let (header, body) = frame::decode(&again).unwrap();
        assert_eq!(Message::decode(&header, body), Ok(message));
    }
    let judged =
        frame::decode(bytes).and_then(|(header, body)| Ok((header, Published::decode(&header, body)?)));
    match judged {
        Err(error) => assert!(error.to_string().starts_with("expected "), "{error}"),
        Ok((header, published)) => {
            let NodeId(_) = header.origin;
            let mut again = published.encode(header.origin);
            again[12..20].copy_from_slice(&header.serial.to_le_bytes());
            assert_eq!(again, bytes);
            assert_eq!(published.publication().channels, [published.channel]);
        }
    }
}
