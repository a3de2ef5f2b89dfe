//! Silence: who is asked, what counts as an answer, and who is closed. Nothing here measures time; the limits are
//! small, and the tests wait for what is to come.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use fanfare_server::config::Secret;
use fanfare_server::pusher::signature;
use harness::php::Php;
use harness::raw::{PATH, Raw, close, masked, text};
use harness::{SECRET, Server, configuration, directory};
use serde_json::{Value, json};

const ASKED: &[u8] = b"\x89\x00\x81\x23{\"event\":\"pusher:ping\",\"data\":\"{}\"}";
const PONG_TEXT: &str = r#"{"event":"pusher:pong","data":{}}"#;
/// How often a client that answers is asked here. One that was not heard would not be asked again.
const ROUNDS: usize = 3;

fn server_with(directory: &tempfile::TempDir, limits: Value) -> Server {
    let mut configuration = configuration(directory.path());
    configuration["log"]["level"] = "info".into();
    configuration["limits"] = limits;
    Server::start(&configuration)
}

/// Asks soon, and closes soon who does not answer.
fn impatient(directory: &tempfile::TempDir) -> Server {
    server_with(directory, json!({"activity_timeout_s": 1, "pong_timeout_s": 1, "close_timeout_ms": 60_000}))
}

/// Asks soon, and waits for the answer however slow this machine is.
fn curious(directory: &tempfile::TempDir) -> Server {
    server_with(directory, json!({"activity_timeout_s": 1, "pong_timeout_s": 3_600}))
}

/// Expects to be closed for silence, and answers.
fn closed_for_silence(raw: &mut Raw) {
    let error = r#"{"event":"pusher:error","data":{"code":4201,"message":"pong reply not received"}}"#;
    assert_eq!(raw.text(), error);
    assert_eq!(raw.close(), (4201, "pong reply not received".into()));
    raw.send(close(4201, ""));
    raw.expect_end("silence");
}

fn subscribe(raw: &mut Raw, channel: &str) {
    raw.send(text(json!({"event": "pusher:subscribe", "data": {"channel": channel}}).to_string()));
    assert!(raw.text().contains("subscription_succeeded"));
}

#[test]
fn t2_the_silent_are_asked_in_both_ways_and_then_closed_subscribed_or_not() {
    let directory = directory();
    let server = impatient(&directory);
    let mut hello = Raw::upgrade(&server, PATH);
    assert!(
        hello.text().contains(r#"\"activity_timeout\":1}"#),
        "clients are told how long they may be silent"
    );
    let (mut bare, mut subscribed) = (Raw::greeted(&server), Raw::greeted(&server));
    subscribe(&mut subscribed, "news");
    for raw in [&mut hello, &mut bare, &mut subscribed] {
        raw.expect(ASKED, "a silent client");
        closed_for_silence(raw);
    }
    assert_eq!(server.metric("connections_silent_total"), 3);
    assert_eq!(server.metric("channels"), 0);
}

#[test]
fn t2_whatever_a_client_says_keeps_it() {
    let directory = directory();
    let server = curious(&directory);
    let answers = [
        ("a pong", masked(0x8A, b"")),
        ("an unsolicited pong", masked(0x8A, b"unsolicited")),
        ("pusher:pong", text(PONG_TEXT)),
        ("a ping", masked(0x89, b"p")),
        ("pusher:ping", text(r#"{"event":"pusher:ping","data":{}}"#)),
        ("a text that is not understood", text("hello")),
        ("half a frame", vec![0x81]),
        ("a fragment", masked(0x01, b"{")),
    ];
    let kept = answers.map(|(name, answer)| {
        let mut raw = Raw::greeted(&server);
        std::thread::spawn(move || {
            // The same once more would be another byte of the same frame, or break the rules.
            let rounds = if name.starts_with("half") || name == "a fragment" { 1 } else { ROUNDS };
            for _ in 0..rounds {
                raw.expect(ASKED, name);
                raw.send(&answer);
                match name {
                    "a ping" => raw.expect(b"\x8a\x01p", name),
                    "pusher:ping" => assert!(raw.text().contains("pusher:pong")),
                    "a text that is not understood" => assert!(raw.text().contains("4300")),
                    _ => {}
                }
            }
            raw.expect(ASKED, name);
        })
    });
    kept.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(server.metric("connections_silent_total"), 0);
}

/// A browser on a busy channel never pings by itself: it answers, and nothing else.
#[test]
fn t1_a_client_that_only_receives_and_answers_lives_on() {
    let directory = directory();
    let server = curious(&directory);
    let mut raw = Raw::greeted(&server);
    subscribe(&mut raw, "news");
    let mut php = Php::attach(&server);
    let (mut asked, mut sent, mut received) = (0, 0_u64, 0_u64);
    while asked < ROUNDS || received < sent {
        if sent == received {
            sent += 1;
            php.broadcast(&["news"], "e", &sent.to_string());
        }
        let (first, payload) = raw.frame();
        if first == 0x89 {
            continue;
        }
        assert_eq!(first, 0x81, "expected pings and events alone");
        let event: Value = serde_json::from_slice(&payload).unwrap();
        if event["event"] == "pusher:ping" {
            asked += 1;
            raw.send(masked(0x8A, b""));
        } else {
            received += 1;
            assert_eq!(event["data"], received.to_string());
        }
    }
    raw.is_alive("a busy client");
    assert_eq!(server.metric("connections_silent_total"), 0);
}

/// The same client without the answers: that it is sent a lot does not mean that it is there.
#[test]
fn t2_a_client_that_only_receives_and_does_not_answer_is_closed() {
    let directory = directory();
    let server = impatient(&directory);
    let mut raw = Raw::greeted(&server);
    subscribe(&mut raw, "news");
    let mut php = Php::attach(&server);
    let code = loop {
        php.broadcast(&["news"], "e", "x");
        match raw.frame() {
            (0x88, payload) => break u16::from_be_bytes([payload[0], payload[1]]),
            (first, _) => assert!(first == 0x81 || first == 0x89),
        }
    };
    assert_eq!(code, 4201);
}

/// What pusher-js does when the browser says that it is offline: it must hear at once whether that is true.
#[test]
fn t3_a_ping_is_answered_at_once_in_whatever_form() {
    let directory = directory();
    let server = server_with(&directory, json!({}));
    let mut raw = Raw::greeted(&server);
    for ping in [
        r#"{"event":"pusher:ping","data":{}}"#,
        r#"{"event":"pusher:ping","data":"{}"}"#,
        r#"{"event":"pusher:ping"}"#,
        r#"{"event":"pusher:ping","data":null}"#,
    ] {
        raw.send(text(ping));
        assert_eq!(raw.text(), r#"{"event":"pusher:pong","data":"{}"}"#);
    }
    // M7: an answer has no answer.
    raw.send(text(PONG_TEXT));
    raw.is_alive("after a pong");
}

#[test]
fn u4_who_does_not_sign_in_in_time_is_closed_and_who_does_is_not() {
    let directory = directory();
    let server = server_with(&directory, json!({"signin_timeout_s": 3, "close_timeout_ms": 60_000}));
    let mut anonymous = Raw::greeted(&server);
    let mut user = Raw::upgrade(&server, PATH);
    let hello: Value = serde_json::from_str(&user.text()).unwrap();
    let data: Value = serde_json::from_str(hello["data"].as_str().unwrap()).unwrap();
    let user_data = r#"{"id":"1"}"#;
    let socket_id = data["socket_id"].as_str().unwrap();
    let digest = signature::sign(&Secret::new(SECRET), &[socket_id, "::user::", user_data]);
    let auth = format!("{}:{digest}", harness::KEY);
    user.send(text(
        json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}}).to_string(),
    ));
    assert!(user.text().contains("pusher:signin_success"));

    let reason = "expected the client to sign in in time (signin_timeout_s), but it did not";
    let error = json!({"event": "pusher:error", "data": {"code": 4009, "message": reason}});
    assert_eq!(serde_json::from_str::<Value>(&anonymous.text()).unwrap(), error);
    assert_eq!(anonymous.close(), (4009, reason.to_owned()));
    anonymous.send(close(4009, ""));
    anonymous.expect_end("nobody");
    // It was there before the other, and has been looked at as often.
    user.is_alive("a user");
}
