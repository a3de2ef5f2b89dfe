//! Whatever a client says. What messages mean is in the transcripts of `tests/fixtures/pusher`.

use super::*;
use crate::pusher::socket_id::SocketIds;
use serde_json::Value;

/// A conversation: `hear` takes what the client says and gives what the server does.
struct Conversation {
    session: Session,
    app: App,
}

impl Conversation {
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
        let heard = Conversation::new().hear(&text);
        proptest::prop_assert!(heard.len() <= 2, "{heard:?}");
        for told in heard {
            let is_effect = told.starts_with(['+', '-']);
            proptest::prop_assert!(is_effect || serde_json::from_str::<Value>(&told).is_ok(), "{told}");
        }
    }
}
