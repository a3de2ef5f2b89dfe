//! Whether the scenes are what they say that they are, and whether playing one finds what is otherwise.

use std::collections::BTreeSet;

use super::transcript::scene::{self, Scene};
use super::transcript::words;
use super::{Difference, NAMES, played};
use crate::limits::Limits;
use crate::pusher::events::PONG;

/// The letters of the checklist's sections and how many items each has; codes and limits are not numbered.
const SECTIONS: [(char, u32); 11] = [
    ('C', 6),
    ('M', 10),
    ('S', 15),
    ('N', 5),
    ('A', 6),
    ('H', 13),
    ('T', 5),
    ('U', 5),
    ('W', 0),
    ('E', 0),
    ('L', 0),
];

/// Whether `item` is one of the checklist's.
fn is_item(item: &str) -> bool {
    SECTIONS.iter().any(|&(letter, items)| match item.strip_prefix(letter) {
        Some("") => items == 0,
        Some(number) => (1..=items).any(|item| item.to_string() == number),
        None => false,
    })
}

#[test]
fn every_file_is_a_scene_that_is_listed_and_begins_with_its_items() {
    let files = std::fs::read_dir(scene::directory()).unwrap();
    let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<String> = files.map(|file| file.strip_suffix(".json").unwrap().to_owned()).collect();
    let listed: BTreeSet<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(
        files, listed,
        "tests/fixtures/pusher, and for_every_scene in tests/harness/transcript/mod.rs"
    );
    for name in files {
        let items = Scene::read(&name).items;
        assert!(!items.is_empty() && items.iter().all(|item| is_item(item)), "{name}: {items:?}");
        let words: Vec<String> = name.split('_').map(str::to_uppercase).collect();
        let first = words.iter().take_while(|word| is_item(word)).cloned().collect::<Vec<_>>();
        assert_eq!(first, items, "{name}.json begins with its items");
    }
}

/// What a conversation consists of has its scene; the rest of the checklist is shown elsewhere.
#[test]
fn every_item_of_a_conversation_has_a_scene() {
    let shown: BTreeSet<String> = NAMES.iter().flat_map(|name| Scene::read(name).items).collect();
    let conversation = SECTIONS.iter().filter(|(letter, _)| "CMSNU".contains(*letter));
    for (letter, items) in conversation {
        for item in (1..=*items).map(|item| format!("{letter}{item}")) {
            assert!(shown.contains(&item), "{item}");
        }
    }
    assert!(["A1", "A2", "A3", "A5"].iter().all(|item| shown.contains(*item)), "{shown:?}");
}

/// To meet the others that bound clients, one must not read or not answer, which no scene can say.
#[test]
fn l_every_limit_that_a_client_can_meet_has_a_scene() {
    const MET: [&str; 22] = [
        "subscriptions_per_s",
        "connections_max",
        "app_connections_max",
        "connection_channels_max",
        "message_bytes_max",
        "json_depth_max",
        "activity_timeout_s",
        "pong_timeout_s",
        "signin_timeout_s",
        "user_id_bytes_max",
        "presence_members_max",
        "member_info_bytes_max",
        "watchlist_users_max",
        "user_settle_ms",
        "client_events_per_s",
        "client_event_bytes_max",
        "channel_bytes_max",
        "event_bytes_max",
        "cache_ttl_s",
        "cached_channels_max",
        "cached_bytes_max",
        "subscription_count_ms",
    ];
    let mut set = BTreeSet::new();
    for Scene { app, limits, .. } in NAMES.iter().map(|name| Scene::read(name)) {
        let of_app = app.get("limits").and_then(|limits| limits.as_object()).cloned().unwrap_or_default();
        set.extend(of_app.into_iter().chain(limits).map(|(name, _)| name));
    }
    for limit in MET {
        assert!(Limits::CATALOGUE.iter().any(|row| row.name == limit), "{limit} is no limit");
        assert!(set.contains(limit), "no scene sets {limit}");
    }
}

/// The play finds what is other than the scene says: each of these differs at its last step, or behind it.
#[test]
fn a_difference_says_where_it_is_and_what_was_found() {
    let pong = r#"{"a receives": {"event": "pusher:pong", "data": "{}"}}"#;
    let ping = r#"{"a sends": {"event": "pusher:ping"}}"#;
    for (steps, expected) in [
        (
            format!(r#"{ping},{{"a receives nothing": "why"}}"#),
            ["step 2, a receives nothing", "nothing", PONG],
        ),
        (pong.to_owned(), ["step 1, a receives", r#"{"data":"{}","event":"pusher:pong"}"#, "nothing"]),
        (ping.to_owned(), ["after the last step, a", "nothing", PONG]),
        (
            format!(r#"{ping},{{"a receives": {{"event": "pusher:pong", "data": {{}}}}}}"#),
            ["step 2, a receives", r#"{"data":{},"event":"pusher:pong"}"#, PONG],
        ),
        (
            format!(r#"{ping},{{"a receives text": "{{\"data\":\"{{}}\",\"event\":\"pusher:pong\"}}"}}"#),
            ["step 2, a receives text", r#"{"data":"{}","event":"pusher:pong"}"#, PONG],
        ),
        (
            format!(r#"{ping},{{"a is closed": 4009}}"#),
            ["step 2, a is closed", r#"a close frame, 4009 "{{…}}""#, PONG],
        ),
        (
            r#"{"a sends binary": "00"},{"a is closed": 1002}"#.to_owned(),
            [
                "step 2, a is closed",
                r#"a close frame, 1002 "{{…}}""#,
                r#"a close frame, 1003 "only text messages are supported""#,
            ],
        ),
        (
            r#"{"a sends binary": "00"},{"a is closed": {"code": 1003, "reason": "x"}}"#.to_owned(),
            [
                "step 2, a is closed",
                r#"a close frame, 1003 "x""#,
                r#"a close frame, 1003 "only text messages are supported""#,
            ],
        ),
        (
            r#"{"b receives nothing": "why"}"#.to_owned(),
            ["step 1, b receives nothing", "a step that can be played", "b is not connected"],
        ),
        (
            r#"{"a shouts": 1}"#.to_owned(),
            ["step 1, a shouts", "a step that can be played", r#"no such step: "a shouts""#],
        ),
    ] {
        let text = format!(r#"{{"title": "", "items": [], "clients": ["a"], "steps": [{steps}]}}"#);
        let Difference { step, expected: wanted, found, .. } =
            played(&Scene::parse(&text).unwrap()).unwrap_err();
        assert_eq!([step.as_str(), &wanted, &found], expected, "{steps}");
    }
}

#[test]
fn a_text_with_open_places_is_as_expected_or_not() {
    for (expected, found, is) in [
        ("abc", "abc", true),
        ("abc", "abcd", false),
        ("a{{…}}c", "abc", true),
        ("a{{…}}c", "ac", false),
        ("a{{…}}c", "abcd", false),
        ("{{…}}b{{…}}", "abb", true),
        ("{{…}}", "", false),
        ("{{…}}é", "éé", true),
    ] {
        assert_eq!(words::is_text_as_expected(expected, found), is, "{expected} {found}");
    }
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    for (expected, found, is) in [
        (r#"{"a":1}"#, r#"{"a":1}"#, true),
        (r#"{"a":1}"#, r#"{"a":1,"b":2}"#, false),
        (r#"{"a":1,"b":2}"#, r#"{"a":1}"#, false),
        (r#"{"a":["{{…}}",null]}"#, r#"{"a":["x",null]}"#, true),
        (r#"{"a":["{{…}}"]}"#, r#"{"a":[1]}"#, false),
        (r#"["x"]"#, r#"["x","y"]"#, false),
        (r#"{"a":"1"}"#, r#"{"a":1}"#, false),
    ] {
        assert_eq!(words::is_as_expected(&json(expected), &json(found)), is, "{expected} {found}");
    }
}

/// The vectors of Pusher's documentation, for the signatures of scenes are not made with the server's code.
#[test]
fn a1_a3_scenes_sign_as_pusher_does() {
    let socket_ids = [("a".to_owned(), "1234.1234".to_owned())].into();
    assert_eq!(words::filled("{{a.socket_id}} {{x*3}} {{…}}", &socket_ids).unwrap(), "1234.1234 xxx {{…}}");
    assert_eq!(words::filled("{{key}}:{{sign:a:x:{}}}", &socket_ids).unwrap().len(), "app-key:".len() + 64);
    assert!(words::filled("{{b.socket_id}}", &socket_ids).is_err());
    assert!(words::filled("{{what}}", &socket_ids).is_err());
    assert!(words::filled("{{key", &socket_ids).is_err());
    let (secret, text) = ("7ad3773142a6692b25b8", "1234.1234:private-foobar");
    let digest = "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4";
    assert_eq!(words::sign(secret, text), digest);
    let digest = "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba";
    assert_eq!(words::sign(secret, r#"1234.1234::user::{"id":"12345"}"#), digest);
}
