//! One client's conversation.
//!
//! Owns what each message of a client means and which channels this client holds. Leaves to others to carry out
//! the [`Effect`]s, in their order: that order is what makes `subscription_succeeded` come before the first
//! event of its channel.
//!
//! A message that is not understood never ends a connection: it is answered by one `pusher:error` whose code is
//! in the frame only. Signatures are not verified yet, so channels that need one are refused, which is the
//! truth, rather than opened to anybody.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::channel::Kind;
use super::{ChannelName, Code, SocketId, events, nesting};
use crate::limits::Limits;

/// What is to be done about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send this text.
    Send(Cow<'static, str>),
    /// Make the connection a subscriber; it may be one already.
    Subscribe(ChannelName),
    /// Make the connection a subscriber no longer.
    Unsubscribe(ChannelName),
    /// Send a close frame and end the connection.
    Close(Code, &'static str),
}

/// The state of one conversation.
#[derive(Debug)]
pub struct Session {
    socket_id: SocketId,
    /// Sorted. A set of names costs 16 bytes a channel this way and nothing when there are none.
    channels: Vec<ChannelName>,
}

#[derive(Deserialize)]
struct Message<'a> {
    event: String,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// `data` of subscribe and unsubscribe; `auth` and `channel_data` are of no use while nothing is verified.
#[derive(Deserialize)]
struct Subscription {
    channel: String,
}

impl Session {
    /// A conversation that begins.
    pub fn new(socket_id: SocketId) -> Self {
        Self { socket_id, channels: Vec::new() }
    }

    /// The connection's Pusher name.
    pub fn socket_id(&self) -> SocketId {
        self.socket_id
    }

    /// Says hello: the first text of every conversation.
    pub fn open(&self, limits: &Limits, effects: &mut Vec<Effect>) {
        let text = events::connection_established(self.socket_id, limits.activity_timeout_s as u64);
        effects.push(Effect::Send(text.into()));
    }

    /// Hears a text message.
    pub fn on_text(&mut self, text: &str, limits: &Limits, effects: &mut Vec<Effect>) {
        let Some(message) = parse::<Message<'_>>(text, limits) else {
            return complain(
                effects,
                "expected a JSON object with the string \"event\", not nested too deeply",
            );
        };
        match message.event.as_str() {
            "pusher:ping" => effects.push(Effect::Send(Cow::Borrowed(events::PONG))),
            "pusher:pong" => {}
            "pusher:subscribe" => match subscription(message.data, limits) {
                Some(channel) => self.subscribe(&channel, limits, effects),
                None => {
                    complain(effects, "expected pusher:subscribe to have data with the string \"channel\"")
                }
            },
            "pusher:unsubscribe" => match subscription(message.data, limits) {
                Some(channel) => self.unsubscribe(&channel, effects),
                None => {
                    complain(effects, "expected pusher:unsubscribe to have data with the string \"channel\"")
                }
            },
            "pusher:signin" => {
                effects.push(send_error(Code::Unauthorised, "this server does not sign in users yet"))
            }
            event if event.starts_with("client-") => {
                let message =
                    "client events need a private or presence channel, which this server does not open yet";
                effects.push(send_error(Code::ClientEventRejected, message));
            }
            _ => complain(
                effects,
                "expected a pusher: event of protocol 7 or a client- event, but found another event",
            ),
        }
    }

    /// Hears a binary message, which Pusher's protocol does not have.
    pub fn on_binary(&mut self, effects: &mut Vec<Effect>) {
        effects.push(Effect::Close(Code::Unsupported, Code::Unsupported.meaning()));
    }

    fn subscribe(&mut self, name: &str, limits: &Limits, effects: &mut Vec<Effect>) {
        let channel = match ChannelName::parse(name, limits.channel_bytes_max) {
            Ok(channel) => channel,
            Err(error) => {
                return refuse(effects, name, Code::Malformed, "ChannelNameError", 400, &error.to_string());
            }
        };
        let traits = channel.traits();
        if traits.needs_signature() || traits.kind == Kind::User {
            let message =
                "this server does not verify subscriptions yet, so that only public channels are open";
            return refuse(effects, name, Code::Unauthorised, "AuthError", 401, message);
        }
        if let Err(place) = self.channels.binary_search(&channel) {
            let max = limits.connection_channels_max;
            if self.channels.len() >= max {
                let message =
                    format!("expected at most {max} channels on one connection; unsubscribe from some");
                return refuse(effects, name, Code::OverCapacity, "LimitReached", 429, &message);
            }
            self.channels.insert(place, channel.clone());
        }
        let succeeded = events::subscription_succeeded(&channel);
        // Subscribing twice is answered twice: the second time it changes nothing.
        effects.push(Effect::Subscribe(channel));
        effects.push(Effect::Send(succeeded.into()));
    }

    fn unsubscribe(&mut self, name: &str, effects: &mut Vec<Effect>) {
        if let Ok(place) = self.channels.binary_search_by(|channel| channel.as_str().cmp(name)) {
            effects.push(Effect::Unsubscribe(self.channels.remove(place)));
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str, limits: &Limits) -> Option<T> {
    if nesting::exceeds(text, limits.json_depth_max) {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// `data` may be an object, or a string that holds one: clients of several generations differ.
fn subscription(data: Option<&RawValue>, limits: &Limits) -> Option<String> {
    let raw = data?.get();
    let subscription: Subscription = if raw.starts_with('"') {
        parse(&serde_json::from_str::<String>(raw).ok()?, limits)?
    } else {
        serde_json::from_str(raw).ok()?
    };
    Some(subscription.channel)
}

fn send_error(code: Code, message: &str) -> Effect {
    Effect::Send(events::error(code, message).into())
}

fn complain(effects: &mut Vec<Effect>, message: &str) {
    effects.push(send_error(Code::Malformed, message));
}

/// A refused subscription is told twice: to Echo's `.error()` of the channel, and to the connection's `error`.
fn refuse(effects: &mut Vec<Effect>, channel: &str, code: Code, kind: &str, status: u16, message: &str) {
    effects.push(Effect::Send(events::subscription_error(channel, kind, message, status).into()));
    effects.push(send_error(code, message));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pusher::socket_id::SocketIds;
    use serde_json::{Value, json};

    /// A conversation as a transcript: `hear` takes what the client says and gives what the server does.
    struct Transcript {
        session: Session,
        limits: Limits,
    }

    impl Transcript {
        fn new() -> Self {
            Self { session: Session::new(SocketIds::new(1, 0, 1).draw()), limits: Limits::default() }
        }

        fn hear(&mut self, text: &str) -> Vec<String> {
            let mut effects = Vec::new();
            self.session.on_text(text, &self.limits, &mut effects);
            let told = |effect| match effect {
                Effect::Send(text) => text.into_owned(),
                Effect::Subscribe(channel) => format!("+{}", channel.as_str()),
                Effect::Unsubscribe(channel) => format!("-{}", channel.as_str()),
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
            let succeeded =
                r#"{"event":"pusher_internal:subscription_succeeded","channel":"news","data":"{}"}"#;
            let mut transcript = Transcript::new();
            assert_eq!(transcript.hear(message), ["+news", succeeded], "{message}");
            assert_eq!(transcript.hear(message), ["+news", succeeded], "twice: {message}");
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
        for channel in
            ["private-x", "presence-x", "private-encrypted-x", "private-cache-x", "#server-to-user-1"]
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
        let deep =
            format!(r#"{{"event":"pusher:ping","data":{}{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
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
            r#"{"event":"hello"}"#,
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
        assert_eq!(transcript.error_code(r#"{"event":"client-typing","channel":"news","data":{}}"#), 4301);
        assert_eq!(transcript.error_code(r#"{"event":"pusher:signin","data":{}}"#), 4009);
    }

    #[test]
    fn a_connection_holds_a_bounded_number_of_channels() {
        let mut transcript = Transcript::new();
        transcript.limits.connection_channels_max = 2;
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
}
