//! How connections end: who closes first, who never answers, who just goes, and a server that leaves.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use std::collections::BTreeMap;
use std::time::Duration;

use fanfare_server::pusher::Code;
use fanfare_server::pusher::codes::Reaction;
use harness::client::Client;
use harness::php::Php;
use harness::raw::{PATH, Raw, close, handshake, masked, text};
use harness::{Server, configuration, directory, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};

const PING: &str = r#"{"event":"pusher:ping","data":{}}"#;
const PONG: &[u8] = b"\x81\x23{\"event\":\"pusher:pong\",\"data\":\"{}\"}";
/// What a binary message is answered with: the server closes first.
const UNSUPPORTED: &[u8] = b"\x88\x22\x03\xebonly text messages are supported";

fn server_with(directory: &tempfile::TempDir, limits: Value) -> Server {
    let mut configuration = configuration(directory.path());
    configuration["limits"] = limits;
    Server::start(&configuration)
}

/// A client that the server has just closed.
fn closed(server: &Server) -> Raw {
    let mut raw = Raw::greeted(server);
    raw.send(masked(0x82, b"x"));
    raw.expect(UNSUPPORTED, "a close");
    raw
}

#[test]
fn e_the_server_closes_first_and_the_client_answers_in_its_own_way() {
    let directory = directory();
    let server = server_with(&directory, json!({"close_timeout_ms": 60_000}));
    for (name, answer) in [
        ("in kind", close(1003, "")),
        ("with another code", close(1000, "bye")),
        ("without a code", masked(0x88, b"")),
        ("with data before", [text(PING), masked(0x89, b"p"), masked(0x82, b"x"), close(1003, "")].concat()),
        ("with half a message before", [masked(0x01, b"{"), close(1003, "")].concat()),
        ("with data behind", [close(1003, ""), text(PING)].concat()),
        ("with a code that may not be sent", close(1005, "")),
        ("with what breaks the rules", b"\xff\xff".to_vec()),
        ("with what breaks the rules, then a close", [masked(0x83, b""), close(1003, "")].concat()),
    ] {
        let mut raw = closed(&server);
        raw.send(&answer);
        raw.expect_end(name);
    }
    let mut raw = Raw::greeted(&server);
    raw.send([masked(0x82, b"x"), text(PING), close(1000, "")].concat());
    raw.expect(UNSUPPORTED, "a close");
    raw.expect_end("with a close that came along with what it is closed for");
    drop(raw);
    let mut raw = closed(&server);
    raw.end();
    raw.expect_end("by ending its side");
    closed(&server).reset();
    // All of it without the bound of a minute.
    wait_until("nothing is left", || server.metric("connections") == 0);
}

/// Were the socket dropped while the client still sends, the kernel would reset it, and the client might never see
/// why it was closed.
#[test]
fn l_e_what_follows_a_message_that_is_too_large_is_read_and_not_taken_for_frames() {
    let directory = directory();
    let server = server_with(&directory, json!({"close_timeout_ms": 60_000}));
    let mut raw = Raw::greeted(&server);
    // The head of a text of 16 MiB, masked with zeros; what is in it looks like one close frame after the other.
    raw.send(b"\x81\xff\0\0\0\0\x01\0\0\0\0\0\0\0");
    let payload = b"\x88\x80\0\0\0\0".repeat(10_000);
    raw.send(&payload);
    let reason = "expected a message of at most 100000 bytes (message_bytes_max), but found 16777216";
    let head = [0x88, 2 + reason.len() as u8, 0x03, 0xF1];
    raw.expect(&[&head, reason.as_bytes()].concat(), "why it is closed");
    raw.expect_end("behind it");
    for _ in 0..100 {
        raw.send(&payload);
    }
    assert_eq!((server.metric("connections"), server.metric("messages_too_large_total")), (1, 1));
    drop(raw);
    wait_until("the server has noticed", || server.metric("connections") == 0);
}

#[test]
fn e_a_client_that_never_answers_is_cut_off_after_the_bound() {
    let directory = directory();
    let server = server_with(&directory, json!({"close_timeout_ms": 200}));
    closed(&server).expect_end("a client that says nothing");
    let mut raw = closed(&server);
    // A megabyte of anything but the answer, and of its pings none is answered.
    let flood = [text(PING), masked(0x89, &[b'p'; 125])].concat().repeat(5_000);
    let mut writing = raw.stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut writing, &flood));
    raw.expect_cut_off();
    // Whether all of it was taken before is the kernels' affair.
    drop(writer.join().unwrap());
    // One that has been answered itself, and leaves its side open.
    let mut raw = Raw::greeted(&server);
    raw.send(close(1000, ""));
    raw.expect(b"\x88\x02\x03\xe8", "the answer");
    raw.expect_end("the end of the server's side");
    wait_until("nothing is left", || server.metric("connections") == 0);
}

#[test]
fn s6_a_client_that_ends_its_side_is_gone_once_what_it_said_is_answered() {
    let directory = directory();
    let server = server_with(&directory, json!({}));
    let before = server.descriptors();
    for (name, said, answer) in [
        ("nothing", vec![], &b""[..]),
        ("a text", text(PING), PONG),
        ("a ping", masked(0x89, b"p"), b"\x8a\x01p"),
        ("half a head", vec![0x81], b""),
        ("half a frame", text(PING)[..20].to_vec(), b""),
        ("half a message", masked(0x01, b"{"), b""),
        ("a text, and half of another", [text(PING), text(PING)[..20].to_vec()].concat(), PONG),
    ] {
        let mut raw = Raw::greeted(&server);
        raw.send(&said);
        raw.end();
        raw.expect(answer, name);
        raw.expect_end(name);
    }
    for sent in ["", "GET", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        let mut raw = Raw::connect(server.address);
        raw.send(sent);
        raw.end();
        raw.expect_end("before the handshake");
    }
    // Once by accident is not enough: what matters is whether the end comes with the request or behind it.
    for _ in 0..100 {
        let mut raw = Raw::connect(server.address);
        raw.send(handshake(PATH, ""));
        raw.end();
        raw.expect_upgraded();
        raw.expect_hello();
        raw.expect_end("right behind the handshake");
        let mut raw = Raw::connect(server.address);
        raw.send("GET /up HTTP/1.1\r\nHost: x\r\n\r\n");
        raw.end();
        assert_eq!(raw.response().1, r#"{"health":"OK"}"#);
        raw.expect_end("right behind a request");
    }
    wait_until("no descriptor is left", || server.descriptors() <= before);
    assert_eq!(server.metric("connections") + server.metric("http_connections"), 0);
}

#[test]
fn s6_a_client_that_is_cut_off_is_gone_and_nobody_else_notices() {
    let directory = directory();
    let server = server_with(&directory, json!({}));
    let before = server.descriptors();
    let mut bystander = Client::connect(&server);
    bystander.subscribe("news");
    let mut php = Php::attach(&server);
    for round in 0..50 {
        let mut victims: Vec<Raw> = (0..8).map(|_| Raw::greeted(&server)).collect();
        for (at, victim) in victims.iter_mut().enumerate() {
            victim.send(text(r#"{"event":"pusher:subscribe","data":{"channel":"news"}}"#));
            victim.send(&text(PING)[..at * 4]);
        }
        victims.into_iter().for_each(Raw::reset);
        php.broadcast(&["news"], "e", &round.to_string());
        assert_eq!(bystander.data(), round.to_string());
    }
    wait_until("all of them are gone", || server.metric("connections") == 1);
    drop((bystander, php));
    wait_until("no descriptor is left", || server.descriptors() <= before);
}

/// What pusher-js 8.6 does with a close code (`getCloseAction` in src/core/connection/protocol/protocol.ts).
fn pusher_js(code: u16) -> Reaction {
    match code {
        ..1002 | 1005..4000 => Reaction::RetryAfterASecond,
        1002..=1004 | 4100..4200 => Reaction::BackOff,
        4000 => Reaction::RetryWithTls,
        4200..4300 => Reaction::RetryNow,
        4001..4100 | 4300.. => Reaction::GiveUp,
    }
}

#[test]
fn e_the_catalogue_says_what_pusher_js_does_on_each_close() {
    for &code in Code::CATALOGUE {
        let expected = if code.may_close() { pusher_js(code.number()) } else { Reaction::None };
        assert_eq!(code.reaction(), expected, "{code:?}");
    }
    // The table that people read has every code that a connection is closed with or told.
    let operations = include_str!("../../docs/operations.md");
    for &code in Code::CATALOGUE {
        assert!(
            operations.contains(&format!("| {} |", code.number())),
            "{code:?} is not in docs/operations.md"
        );
    }
}

/// 300 clients and a server that leaves.
#[test]
fn e_4200_a_server_that_leaves_sends_its_clients_elsewhere_a_few_at_a_time() {
    const CLIENTS: usize = 300;
    let directory = directory();
    let mut configuration = configuration(directory.path());
    configuration["log"]["level"] = "debug".into();
    let mut server = Server::start(&configuration);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(&server)).collect();
    clients.iter_mut().for_each(|client| client.subscribe("news"));
    let mut php = Php::attach(&server);
    server.freeze();
    (0..10).for_each(|n| php.broadcast(&["news"], "e", &n.to_string()));
    server.signal(Signal::TERM);
    server.signal(Signal::CONT);
    // Each answers its close at once, as clients do; none waits for another's.
    let readers: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            std::thread::Builder::new()
                .stack_size(128 * 1024)
                .spawn(move || {
                    (0..10).for_each(|n| assert_eq!(client.data(), n.to_string()));
                    let close = client.close_frame();
                    assert_eq!(u16::from(close.code), 4200);
                    assert_eq!(close.reason.as_str(), "the server is leaving; connect again");
                    client.finish();
                })
                .unwrap()
        })
        .collect();
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    assert_eq!(server.wait().code(), Some(0));
    assert!(php.producer.is_drained());
    server.logged("\"stopped\"");
    assert!(server.log_lines("cut off").is_empty(), "all have answered");

    let mut slices: BTreeMap<u64, Vec<(Duration, u64)>> = BTreeMap::new();
    for line in server.log_lines("clients are told to connect again") {
        let line: Value = serde_json::from_str(&line).unwrap();
        let fields = &line["fields"];
        let slice = (time_of_day(line["timestamp"].as_str().unwrap()), fields["clients"].as_u64().unwrap());
        slices.entry(fields["shard"].as_u64().unwrap()).or_default().push(slice);
    }
    let all: u64 = slices.values().flatten().map(|(_, clients)| clients).sum();
    assert_eq!(all, CLIENTS as u64);
    for slices in slices.values() {
        let (_, last) = slices[slices.len() - 1];
        assert!(
            slices[..slices.len() - 1].iter().all(|&(_, clients)| clients == 50) && last <= 50,
            "{slices:?}"
        );
        for pair in slices.windows(2) {
            // Midnight may lie between them.
            let pause = pair[1].0.checked_sub(pair[0].0);
            assert!(pause.is_none_or(|pause| pause >= Duration::from_millis(20)), "{slices:?}");
        }
    }
    let most = slices.values().map(Vec::len).max().unwrap();
    assert!(most >= 3, "300 clients on two shards are at least three slices on one: {slices:?}");
}

/// `2026-01-01T12:34:56.123456Z`.
fn time_of_day(timestamp: &str) -> Duration {
    let time = timestamp.split_once('T').unwrap().1.trim_end_matches('Z');
    let (seconds, fraction) = time.split_once('.').unwrap();
    let seconds = seconds.split(':').fold(0, |sum, part| sum * 60 + part.parse::<u64>().unwrap());
    Duration::from_secs(seconds) + Duration::from_micros(fraction.parse().unwrap())
}

#[test]
fn e_4200_a_client_that_does_not_answer_does_not_keep_a_leaving_server() {
    let directory = directory();
    let limits =
        json!({"close_timeout_ms": 200, "drain_timeout_ms": 3_600_000, "request_head_timeout_ms": 600_000});
    let mut server = server_with(&directory, limits);
    let mut silent = Raw::greeted(&server);
    // Sockets that are no clients do not keep it either.
    let mut idle = Raw::connect(server.address);
    idle.send("GET /up HTTP/1.1\r\nHost: x\r\n\r\n");
    idle.response();
    let mut half = Raw::connect(server.address);
    half.send("GET /up HTTP/1.1\r\n");
    wait_until("all of them are there", || server.metric("http_connections") == 2);
    server.signal(Signal::TERM);
    assert_eq!(silent.close(), (4200, "the server is leaving; connect again".into()));
    idle.expect_end("an idle connection");
    half.expect_end("half a head");
    silent.expect_end("a client that does not answer");
    assert_eq!(server.wait().code(), Some(0));
}
