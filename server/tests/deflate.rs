//! permessage-deflate (RFC 7692) over real sockets: who gets what compressed, and what a client may send so.
//!
//! What is compressed here, and what is read, is miniz_oxide's work or flate2's streams: not the server's two machines.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use fanfare_server::config::Secret;
use fanfare_server::pusher::signature::sign;
use flate2::{Compress, Compression, FlushCompress};
use harness::client::Client;
use harness::php::Php;
use harness::raw::{PATH, Raw, handshake, masked, show, text};
use harness::{SECRET, Server, configuration, directory, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};

/// What Chromium offers.
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const PING: &str = r#"{"event":"pusher:ping","data":{}}"#;
const PONG: &[u8] = b"\x81\x23{\"event\":\"pusher:pong\",\"data\":\"{}\"}";
const DEFLATED_TEXT: u8 = 0xC1;

fn server(directory: &tempfile::TempDir, limits: Value) -> Server {
    let mut configuration = configuration(directory.path());
    configuration["limits"] = limits;
    configuration["log"]["level"] = "info".into();
    Server::start(&configuration)
}

/// Upgrades with offers, and expects this answer; gives the socket id as well.
fn upgraded(server: &Server, offers: &str, agreed: Option<&str>) -> (Raw, String) {
    let mut raw = Raw::connect(server.address);
    raw.send(handshake(PATH, offers));
    raw.expect_upgraded_with(agreed);
    let hello: Value = serde_json::from_str(&raw.text()).unwrap();
    let data: Value = serde_json::from_str(hello["data"].as_str().unwrap()).unwrap();
    (raw, data["socket_id"].as_str().unwrap().to_owned())
}

fn deflating(server: &Server) -> Raw {
    upgraded(server, OFFER, Some(AGREED)).0
}

/// As browsers compress: a flush, and its tail left out.
fn deflated(payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut out = Vec::with_capacity(payload.len() + 1_000);
    Compress::new(Compression::best(), false).compress_vec(payload, &mut out, FlushCompress::Sync).unwrap();
    out.truncate(out.len() - 4);
    out
}

/// As those compress that cannot flush: a last block, and an empty byte behind it (section 7.2.3.4).
fn deflated_to_the_end(payload: impl AsRef<[u8]>) -> Vec<u8> {
    [miniz_oxide::deflate::compress_to_vec(payload.as_ref(), 6), vec![0]].concat()
}

fn inflated(payload: &[u8]) -> String {
    let whole = [payload, b"\0\0\xff\xff\x03\0"].concat();
    String::from_utf8(miniz_oxide::inflate::decompress_to_vec(&whole).unwrap()).unwrap()
}

fn subscription(channel: &str, auth: &str) -> String {
    json!({"event": "pusher:subscribe", "data": {"channel": channel, "auth": auth}}).to_string()
}

/// An event such as Laravel broadcasts: a model with its relations, 4 KB.
fn order() -> String {
    let item = |n: usize| {
        json!({"id": 4_000 + n, "order_id": 1_017, "product_id": n * 37 % 100, "name": format!("Product {n}"), "quantity": n % 4 + 1,
            "price": format!("{}.90", n * 13), "created_at": "2026-11-24T10:12:13.000000Z", "updated_at": "2026-11-24T10:12:13.000000Z"})
    };
    let items: Vec<Value> = (0..20).map(item).collect();
    json!({"order": {"id": 1_017, "status": "paid", "customer": {"name": "Ada", "email": "ada@example.com"}, "items": items}})
        .to_string()
}

#[test]
fn c7_one_publication_is_compressed_once_for_all_who_agreed_on_every_shard() {
    let directory = directory();
    let server = server(&directory, json!({}));
    // Enough for the kernel to give each shard some.
    let mut deflating: Vec<Raw> = (0..12).map(|_| self::deflating(&server)).collect();
    let mut plain: Vec<Client> = (0..4).map(|_| Client::connect(&server)).collect();
    for raw in &mut deflating {
        raw.send(text(subscription("news", "")));
        assert!(raw.text().contains("subscription_succeeded"), "too small to be compressed");
    }
    plain.iter_mut().for_each(|client| client.subscribe("news"));
    assert_eq!((server.metric("connections"), server.metric("connections_deflating")), (16, 12));

    let (mut php, order) = (Php::attach(&server), order());
    for n in 0..5 {
        php.broadcast(&["news"], "shipped", &order);
        php.broadcast(&["news"], "small", &n.to_string());
        let expected = plain[0].text();
        assert!(expected.contains("shipped") && expected.len() > 4_000);
        assert_eq!(plain[0].data(), n.to_string());
        for client in &mut plain[1..] {
            assert_eq!(client.text(), expected);
            assert_eq!(client.data(), n.to_string());
        }
        let mut all = Vec::new();
        for raw in &mut deflating {
            let (first, payload) = raw.frame();
            assert_eq!(first, DEFLATED_TEXT, "{}", show(&payload));
            all.push(payload);
            assert_eq!(raw.text(), format!(r#"{{"event":"small","channel":"news","data":"{n}"}}"#));
        }
        assert_eq!(inflated(&all[0]), expected);
        assert!(all[0].len() * 5 < expected.len(), "{} of {}", all[0].len(), expected.len());
        all.dedup();
        assert_eq!(all.len(), 1, "everybody gets the same bytes");
    }
    assert_eq!(server.metric("events_deflated_total"), 5, "not one for each of 60 deliveries");
    drop(deflating);
    wait_until("they are gone", || server.metric("connections_deflating") == 0);
    php.broadcast(&["news"], "shipped", &order);
    plain.iter_mut().for_each(|client| assert_eq!(client.data(), order));
    assert_eq!(server.metric("events_deflated_total"), 5, "nobody is there to have it compressed for");
}

#[test]
fn c7_how_a_client_offers_and_what_is_agreed() {
    let directory = directory();
    let server = server(&directory, json!({"deflate_bytes_min": 100}));
    let line = |offer: &str| format!("Sec-WebSocket-Extensions: {offer}\r\n");
    let with_window = format!("{AGREED}; server_max_window_bits=15");
    for (offers, agreed) in [
        (String::new(), None),
        (line("permessage-deflate"), Some(AGREED)),
        (line("permessage-deflate; client_max_window_bits; server_max_window_bits=15"), Some(&with_window)),
        (line("permessage-deflate; server_max_window_bits=9"), None),
        (line("permessage-deflate; server_max_window_bits=9, permessage-deflate"), Some(AGREED)),
        (line("permessage-deflate; server_max_window_bits=9") + &line("permessage-deflate"), Some(AGREED)),
        (line("permessage-deflate; who_knows"), None),
        (line("permessage-deflate; client_max_window_bits=\"15"), None),
        (line("x-webkit-deflate-frame"), None),
        (line(""), None),
    ] {
        let (mut raw, _) = upgraded(&server, &offers, agreed);
        raw.send(text(subscription("news", "")));
        assert!(raw.text().contains("subscription_succeeded"), "{offers}");
        let mut php = Php::attach(&server);
        php.broadcast(&["news"], "e", &"ab".repeat(100));
        let (first, payload) = raw.frame();
        let said = if agreed.is_some() { inflated(&payload) } else { String::from_utf8(payload).unwrap() };
        let is_deflated = first == DEFLATED_TEXT;
        assert!(said.contains("abab") && is_deflated == agreed.is_some(), "{offers}: {said}");
        raw.is_alive(&offers);
    }
}

#[test]
fn c7_what_a_client_compresses_is_understood() {
    let directory = directory();
    let server = server(&directory, json!({}));
    let (mut sender, sender_id) = upgraded(&server, OFFER, Some(AGREED));
    let (mut other, other_id) = upgraded(&server, "", None);
    for (raw, id) in [(&mut sender, &sender_id), (&mut other, &other_id)] {
        let signature = sign(&Secret::new(SECRET), &[&format!("{id}:private-a")]);
        let subscription = subscription("private-a", &format!("app-key:{signature}"));
        let is_sender = *id == sender_id;
        raw.send(if is_sender { masked(DEFLATED_TEXT, &deflated(subscription)) } else { text(subscription) });
        assert!(raw.text().contains("subscription_succeeded"));
    }
    let event = |n: usize| {
        json!({"event": "client-typing", "channel": "private-a", "data": {"n": n, "text": "é😀".repeat(600)}})
            .to_string()
    };
    let mut n = 0;
    let mut heard = |sender: &mut Raw, frames: &[u8]| {
        sender.send(frames);
        let said: Value = serde_json::from_str(&other.text()).unwrap();
        let sent: Value = serde_json::from_str(&event(n)).unwrap();
        assert_eq!((&said["event"], &said["data"]), (&sent["event"], &sent["data"]));
        n += 1;
    };
    heard(&mut sender, &masked(DEFLATED_TEXT, &deflated(event(0))));
    heard(&mut sender, &masked(DEFLATED_TEXT, &deflated_to_the_end(event(1))));
    // Fragments, one of them empty, with a ping and a pong between them.
    let payload = deflated(event(2));
    let (one, two) = payload.split_at(payload.len() / 2);
    let pieces =
        [masked(0x41, one), masked(0x89, b"p"), masked(0x00, b""), masked(0x8A, b""), masked(0x80, two)];
    heard(&mut sender, &pieces.concat());
    sender.expect(b"\x8a\x01p", "a ping between fragments");
    // Not every message has to be compressed, nor a compressed one be smaller.
    heard(&mut sender, &text(event(3)));
    let stored = {
        let mut out = Vec::with_capacity(100_000);
        Compress::new(Compression::none(), false)
            .compress_vec(event(4).as_bytes(), &mut out, FlushCompress::Sync)
            .unwrap();
        out.truncate(out.len() - 4);
        out
    };
    heard(&mut sender, &masked(DEFLATED_TEXT, &stored));
    // Byte by byte, and several in one segment.
    for byte in masked(DEFLATED_TEXT, &deflated(PING)).chunks(1) {
        sender.send(byte);
    }
    sender.expect(PONG, "a ping in pieces");
    let ping = masked(DEFLATED_TEXT, &deflated(PING));
    sender.send([&ping[..], &text(PING), &ping, &masked(0x89, b"q")].concat());
    sender.expect(&[PONG, PONG, PONG, b"\x8a\x01q"].concat(), "three pings, two of them compressed");
    assert_eq!(server.metric("messages_deflated_total"), 8);
    assert_eq!(server.metric("client_events_total"), 5);
    sender.is_alive("the end");
}

#[test]
fn c7_a_compressed_message_has_the_bounds_of_any_other() {
    let directory = directory();
    let server = server(&directory, json!({"message_bytes_max": 10_000}));
    let too_big = "expected a message of at most 10000 bytes (message_bytes_max), but found";
    let message = |len: usize| format!(r#"{{"event":"pusher:ping","data":"{}"}}"#, "x".repeat(len - 33));
    assert_eq!(message(10_000).len(), 10_000);
    let mut raw = deflating(&server);
    raw.send(masked(DEFLATED_TEXT, &deflated(message(10_000))));
    raw.expect(PONG, "as large as it may be");

    let bomb = deflated(vec![b' '; 10_000_000]);
    assert!(bomb.len() < 10_000, "{}", bomb.len());
    let announced = [&[DEFLATED_TEXT, 0xFE][..], &10_001_u16.to_be_bytes()].concat();
    for (what, frame) in [
        ("one byte more", masked(DEFLATED_TEXT, &deflated(message(10_001)))),
        ("a bomb", masked(DEFLATED_TEXT, &bomb)),
        ("more than that, compressed", announced),
    ] {
        let mut raw = deflating(&server);
        raw.send(frame);
        let (code, reason) = raw.close();
        assert_eq!(code, 1009, "{what}");
        assert!(reason.starts_with(too_big), "{what}: {reason}");
        raw.expect_end(what);
    }
    assert_eq!(server.metric("messages_too_large_total"), 3);
    raw.is_alive("who behaves");
}

#[test]
fn c7_what_is_not_compressed_as_agreed_fails_the_connection() {
    let directory = directory();
    let server = server(&directory, json!({}));
    let reserved = "expected reserved bits of 0, but found one that is 1";
    let corrupt = "expected a compressed message that can be inflated by itself, but found other bytes";
    let not_text = "expected UTF-8 in a text message or a close reason, but found other bytes";
    let ping = deflated(PING);
    // The second message refers to the first, as it may not.
    let mut machine = Compress::new(Compression::best(), false);
    let mut second = Vec::with_capacity(1_000);
    machine.compress_vec(PING.as_bytes(), &mut Vec::with_capacity(1_000), FlushCompress::Sync).unwrap();
    machine.compress_vec(PING.as_bytes(), &mut second, FlushCompress::Sync).unwrap();
    second.truncate(second.len() - 4);
    for (what, frames, code, reason) in [
        ("a compressed ping", masked(0xC9, b""), 1002, reserved),
        ("a compressed close", masked(0xC8, b""), 1002, reserved),
        ("a continuation", [masked(0x41, &ping[..4]), masked(0xC0, &ping[4..])].concat(), 1002, reserved),
        (
            "a continuation of a plain message",
            [masked(0x01, b"{"), masked(0xC0, &ping)].concat(),
            1002,
            reserved,
        ),
        ("reserved bit 2", masked(0xA1, &ping), 1002, reserved),
        ("reserved bits 1 and 3", masked(0xD1, &ping), 1002, reserved),
        ("bytes that are not DEFLATE", masked(DEFLATED_TEXT, b"\xff\xff\xff\xff"), 1007, corrupt),
        ("a plain text", masked(DEFLATED_TEXT, PING.as_bytes()), 1007, corrupt),
        ("a message that refers to one before", masked(DEFLATED_TEXT, &second), 1007, corrupt),
        ("Latin-1", masked(DEFLATED_TEXT, &deflated(b"caf\xe9")), 1007, not_text),
        ("binary", masked(0xC2, &ping), 1003, "only text messages are supported"),
        (
            "binary that is not DEFLATE",
            masked(0xC2, b"\xff\xff\xff\xff"),
            1003,
            "only text messages are supported",
        ),
    ] {
        let mut raw = deflating(&server);
        raw.send(frames);
        assert_eq!(raw.close(), (code, reason.to_owned()), "{what}");
    }
    for offers in ["", "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n"] {
        let (mut raw, _) = upgraded(&server, offers, None);
        raw.send(masked(DEFLATED_TEXT, &ping));
        assert_eq!(raw.close(), (1002, reserved.to_owned()), "nothing was agreed");
    }
    wait_until("all are gone", || server.metric("connections") == 0);
    assert!(server.log_lines("a mistake in this program").is_empty(), "nothing has panicked");
}

#[test]
fn c7_an_app_may_go_without_and_a_refused_client_always_does() {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    let file = directory.path().join("fanfare.json");
    std::fs::write(&file, configuration.to_string()).unwrap();
    let server = Server::start_from(&file);
    let mut php = Php::attach(&server);
    let subscribed = |offers: &str, agreed| {
        let (mut raw, _) = upgraded(&server, offers, agreed);
        raw.send(text(subscription("news", "")));
        assert!(raw.text().contains("subscription_succeeded"));
        raw
    };
    let mut before = subscribed(OFFER, Some(AGREED));
    php.broadcast(&["news"], "shipped", &order());
    assert_eq!(before.frame().0, DEFLATED_TEXT);

    configuration["apps"][0]["limits"] = json!({"deflate_bytes_min": 0});
    std::fs::write(&file, configuration.to_string()).unwrap();
    server.signal(Signal::HUP);
    server.logged("is read again and taken");
    let mut after = subscribed(OFFER, None);
    php.broadcast(&["news"], "shipped", &order());
    assert!(before.text().contains("shipped"), "who had agreed before is not bound to it");
    assert!(after.text().contains("shipped"));
    before.send(masked(DEFLATED_TEXT, &deflated(PING)));
    before.expect(PONG, "what a client was promised holds");

    let mut other = Raw::connect(server.address);
    other.send(handshake(&PATH.replace("app-key", "other-key"), OFFER));
    other.expect_upgraded_with(Some(AGREED));
    let mut nobody = Raw::connect(server.address);
    nobody.send(handshake(&PATH.replace("app-key", "no-such-key"), OFFER));
    nobody.expect_upgraded();
    assert!(nobody.text().contains("4001"));
    assert_eq!(nobody.close().0, 4001);
    assert_eq!(server.metric("events_deflated_total"), 1);
}
