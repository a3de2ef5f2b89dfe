//! What one message means. Whole conversations are transcripts, in `tests/fixtures/pusher`.

use super::*;
use crate::pusher::socket_id::SocketIds;
use serde_json::{Value, json};

/// A conversation as a transcript: `hear` takes what the client says and gives what the server does.
struct Transcript {
    session: Session,
    app: App,
}

impl Transcript {
    fn new() -> Self {
        let text = r#"{"listen":"127.0.0.1:0","socket":"/s","apps":[{"id":"1","key":"k","secret":"s"}]}"#;
        let app = crate::config::Configuration::parse(text, 1).unwrap().apps.remove(0);
        Self { session: Session::new(SocketIds::new(1, 0, 1).draw()), app }
    }

    fn hear(&mut self, text: &str) -> Vec<String> {
        let mut effects = Vec::new();
        let setting = Setting { app: &self.app, now: Instant::now() };
        self.session.on_text(text, setting, &mut effects);
        let told = |effect| match effect {
            Effect::Send(text) => text.into_owned(),
            Effect::Subscribe { channel, member: None } => format!("+{}", channel.as_str()),
            Effect::Subscribe { channel, member: Some(member) } => {
                format!("+{} as {}", channel.as_str(), member.user_id)
            }
            Effect::Unsubscribe(channel) => format!("-{}", channel.as_str()),
            Effect::SignIn(user) => format!("signed in as {}", user.user_id),
            Effect::Publish(event) => format!("publish {} on {}", event.event, event.channel.as_str()),
            Effect::Close(code, _) => format!("close {}", code.number()),
        };
        effects.into_iter().map(told).collect()
    }

    /// Hears something that is answered by one `pusher:error`, and gives its code.
    fn error_code(&mut self, text: &str) -> u64 {
        let heard = self.hear(text);
        assert_eq!(heard.len(), 1, "{text}: {heard:?}");
        let value: Value = serde_json::from_str(&heard[0]).unwrap();
        assert_eq!(value["event"], "pusher:error");
        value["data"]["code"].as_u64().unwrap()
    }
}

#[test]
fn a_ping_is_answered_and_a_pong_is_not() {
    let mut transcript = Transcript::new();
    assert_eq!(transcript.hear(r#"{"event":"pusher:ping","data":{}}"#), [events::PONG]);
    assert_eq!(transcript.hear(r#"{"event":"pusher:ping"}"#), [events::PONG]);
    assert!(transcript.hear(r#"{"event":"pusher:pong","data":{}}"#).is_empty());
}

#[test]
fn public_channels_open_in_every_form_of_the_message() {
    for message in [
        r#"{"event":"pusher:subscribe","data":{"auth":"","channel":"news"}}"#,
        r#"{"event":"pusher:subscribe","data":{"channel":"news"}}"#,
        r#"{"event":"pusher:subscribe","data":{"auth":null,"channel":"news"}}"#,
        r#"{"event":"pusher:subscribe","data":"{\"auth\":\"\",\"channel\":\"news\"}"}"#,
    ] {
        let mut transcript = Transcript::new();
        assert_eq!(transcript.hear(message), ["+news"], "{message}");
        assert_eq!(transcript.hear(message), ["+news"], "twice: {message}");
    }
}

#[test]
fn unsubscribing_is_silent_and_only_from_what_is_held() {
    let mut transcript = Transcript::new();
    let leave = r#"{"event":"pusher:unsubscribe","data":{"channel":"news"}}"#;
    assert!(transcript.hear(leave).is_empty());
    transcript.hear(r#"{"event":"pusher:subscribe","data":{"channel":"news"}}"#);
    assert_eq!(transcript.hear(leave), ["-news"]);
    assert!(transcript.hear(leave).is_empty());
}

#[test]
fn channels_that_need_a_signature_are_refused_to_channel_and_connection() {
    for channel in ["private-x", "presence-x", "private-encrypted-x", "private-cache-x", "#server-to-user-1"]
    {
        let message = json!({"event": "pusher:subscribe", "data": {"channel": channel, "auth": "k:s"}});
        let heard = Transcript::new().hear(&message.to_string());
        assert_eq!(heard.len(), 2, "{heard:?}");
        let (refusal, error): (Value, Value) =
            (serde_json::from_str(&heard[0]).unwrap(), serde_json::from_str(&heard[1]).unwrap());
        assert_eq!(refusal["event"], "pusher:subscription_error");
        assert_eq!(refusal["channel"], channel);
        assert_eq!(refusal["data"]["type"], "AuthError");
        assert_eq!(refusal["data"]["status"], 401);
        assert_eq!(error["data"]["code"], 4009);
    }
}

#[test]
fn what_is_not_understood_is_answered_once() {
    let mut transcript = Transcript::new();
    let deep = format!(r#"{{"event":"pusher:ping","data":{}{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
    let deep_inside = json!({"event": "pusher:subscribe", "data": "[".repeat(50_000)}).to_string();
    for text in [
        "",
        "x",
        "null",
        "[]",
        "{}",
        r#"{"event":1}"#,
        r#"{"event":null}"#,
        r#"{"data":{}}"#,
        r#"{"event":"pusher:unheard"}"#,
        r#"{"event":"pusher_internal:x"}"#,
        r#"{"event":"pusher:subscribe"}"#,
        r#"{"event":"pusher:subscribe","data":{}}"#,
        r#"{"event":"pusher:subscribe","data":"{"}"#,
        r#"{"event":"pusher:subscribe","data":{"channel":7}}"#,
        r#"{"event":"pusher:unsubscribe","data":[]}"#,
        &deep,
        &deep_inside,
    ] {
        assert_eq!(transcript.error_code(text), 4300, "{}", text.get(..60).unwrap_or(text));
    }
    assert_eq!(transcript.error_code(r#"{"event":"hello"}"#), 4301);
    assert_eq!(transcript.error_code(r#"{"event":"client-typing","channel":"news","data":{}}"#), 4009);
    assert_eq!(transcript.error_code(r#"{"event":"pusher:signin","data":{"user_data":"{}"}}"#), 4009);
}

#[test]
fn a_connection_holds_a_bounded_number_of_channels() {
    let mut transcript = Transcript::new();
    transcript.app.limits.connection_channels_max = 2;
    let subscribe =
        |channel: &str| json!({"event": "pusher:subscribe", "data": {"channel": channel}}).to_string();
    assert_eq!(transcript.hear(&subscribe("a"))[0], "+a");
    assert_eq!(transcript.hear(&subscribe("b"))[0], "+b");
    let heard = transcript.hear(&subscribe("c"));
    assert!(heard[0].contains("LimitReached") && heard[1].contains("4100"), "{heard:?}");
    assert_eq!(transcript.hear(&subscribe("a"))[0], "+a");
}

#[test]
fn bad_channel_names_are_refused_on_a_living_connection() {
    for channel in ["", "a b", &"x".repeat(201), "#x"] {
        let message = json!({"event": "pusher:subscribe", "data": {"channel": channel}}).to_string();
        let heard = Transcript::new().hear(&message);
        assert!(heard[0].contains("subscription_error") && heard[1].contains("4300"), "{heard:?}");
    }
}

proptest::proptest! {
    /// Whatever a client says: at most two answers, each of them JSON, and the connection lives on.
    #[test]
    fn nothing_that_is_said_ends_a_conversation(
        text in proptest::prop_oneof![
            ".*",
            r#"\{"event":"(pusher:(un)?subscribe|client-x|pusher:ping)","data":("(\\\\"|[^"\\\\])*"|\{"channel":"[^"\\\\]*"\}|[\[\]\{\}]*)\}"#,
        ]
    ) {
        let heard = Transcript::new().hear(&text);
        proptest::prop_assert!(heard.len() <= 2, "{heard:?}");
        for told in heard {
            let is_effect = told.starts_with(['+', '-']);
            proptest::prop_assert!(is_effect || serde_json::from_str::<Value>(&told).is_ok(), "{told}");
        }
    }
}
