//! The opening handshake over raw sockets: what is accepted, what is answered by HTTP, and who is refused inside the
//! WebSocket.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Duration;

use harness::raw::{PATH, Raw, close, handshake, masked, text};
use harness::{Server, configuration, directory, wait_until};
use serde_json::{Value, json};

/// A server with these limits and changes to its first app.
fn server(directory: &tempfile::TempDir, limits: Value, app: Value) -> Server {
    let mut configuration = configuration(directory.path());
    configuration["limits"] = limits;
    for (name, value) in app.as_object().unwrap() {
        configuration["apps"][0][name] = value.clone();
    }
    Server::start(&configuration)
}

/// Expects what C4 asks for: `pusher:error`, a close frame with the same code and reason, and the end once the client
/// has answered. Gives the reason.
fn refused(mut raw: Raw, code: u16) -> String {
    let error: Value = serde_json::from_str(&raw.text()).unwrap();
    let reason = error["data"]["message"].as_str().unwrap().to_owned();
    assert_eq!(error, json!({"event": "pusher:error", "data": {"code": code, "message": reason}}));
    assert_eq!(raw.close(), (code, reason.clone()));
    raw.send(close(code, ""));
    raw.expect_end("a refusal");
    reason
}

fn refused_at(server: &Server, path: &str, code: u16) -> String {
    refused(Raw::upgrade(server, path), code)
}

#[test]
fn c1_pusher_js_is_let_in_whatever_else_its_query_has() {
    let directory = directory();
    let server = server(&directory, json!({}), json!({}));
    for query in [
        "?protocol=7&client=js&version=8.6.0&flash=false",
        "?client=js&version=8.6.0&flash=false&protocol=7",
        "?flash=false&unknown=%zz&=&&protocol=7&protocol=1",
        "?protocol=4",
        "?protocol=5",
        "?protocol=6",
    ] {
        let mut raw = Raw::upgrade(&server, &format!("/app/app-key{query}"));
        raw.expect_hello();
        raw.is_alive(query);
    }
}

#[test]
fn c5_the_version_may_be_missing_but_not_wrong() {
    let directory = directory();
    let server = server(&directory, json!({}), json!({}));
    for query in ["", "?", "?client=js"] {
        Raw::upgrade(&server, &format!("/app/app-key{query}")).expect_hello();
    }
    for version in ["x", "", "7.0", "-7", "99999999999999999999"] {
        let reason = refused_at(&server, &format!("/app/app-key?protocol={version}"), 4006);
        assert_eq!(reason, "expected protocol=4 to 7, but found something that is not a number");
    }
    for version in ["0", "1", "3", "8", "4294967295"] {
        refused_at(&server, &format!("/app/app-key?protocol={version}"), 4007);
    }
}

#[test]
fn c4_e_4001_an_unknown_key() {
    let directory = directory();
    let server = server(&directory, json!({}), json!({}));
    for key in ["unknown", "APP-KEY", "app-key%20", "other-secret"] {
        refused_at(&server, &format!("/app/{key}?protocol=7"), 4001);
    }
    assert_eq!(server.metric("connections_refused_total"), 4);
    assert_eq!(server.metric("connections_opened_total"), 0);
}

#[test]
fn c4_e_4003_an_app_that_is_switched_off() {
    let directory = directory();
    let server = server(&directory, json!({}), json!({"enabled": false}));
    refused_at(&server, PATH, 4003);
    Raw::upgrade(&server, "/app/other-key?protocol=7").expect_hello();
}

#[test]
fn c4_e_4004_an_app_with_as_many_connections_as_it_may_have() {
    let directory = directory();
    let server = server(&directory, json!({}), json!({"limits": {"app_connections_max": 2}}));
    let (first, _second) = (Raw::greeted(&server), Raw::greeted(&server));
    let reason = refused_at(&server, PATH, 4004);
    assert_eq!(reason, "this app has 2 connections, as many as it may have (app_connections_max)");
    Raw::upgrade(&server, "/app/other-key?protocol=7").expect_hello();
    // The place of one that leaves is free again, and one that is refused takes none.
    first.reset();
    wait_until("it is gone", || server.metric("connections") == 1);
    Raw::greeted(&server);
}

#[test]
fn c4_e_4005_another_path() {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    configuration["path"] = "/ws".into();
    let server = Server::start(&configuration);
    for path in [
        "/",
        "/app",
        "/ws/app",
        "/ws/app/",
        "/ws/app/app-key/x",
        PATH,
        "/wsx/app/app-key",
        "/ws//app/app-key",
    ] {
        refused_at(&server, path, 4005);
    }
    Raw::upgrade(&server, "/ws/app/app-key?protocol=7").expect_hello();
}

#[test]
fn c6_e_4009_another_origin() {
    let directory = directory();
    let app = json!({"allowed_origins": ["https://example.com"]});
    let server = server(&directory, json!({}), app);
    let upgrade = |origin: &str| Raw::upgrade_with(&server, PATH, origin);
    let reason = "pages of this origin may not connect; add the origin to the app's allowed_origins";
    for origin in ["https://example.com.evil.org", "http://example.com", "null", "https://other.com"] {
        assert_eq!(refused(upgrade(&format!("Origin: {origin}\r\n")), 4009), reason);
    }
    upgrade("Origin: https://example.com\r\n").expect_hello();
}

#[test]
fn c6_who_names_no_origin_is_let_in_or_not_as_configured() {
    for (policy, is_let_in) in [("allow", true), ("refuse", false)] {
        let directory = directory();
        let app = json!({"allowed_origins": ["https://example.com"], "missing_origin": policy});
        let server = server(&directory, json!({}), app);
        let mut raw = Raw::upgrade(&server, PATH);
        if is_let_in {
            raw.expect_hello();
        } else {
            refused(raw, 4009);
        }
    }
}

#[test]
fn c4_e_4100_a_server_with_as_many_connections_as_it_may_have() {
    let directory = directory();
    let server = server(&directory, json!({"connections_max": 1}), json!({}));
    let mut first = Raw::greeted(&server);
    for path in [PATH, "/app/other-key?protocol=7"] {
        let reason = refused_at(&server, path, 4100);
        assert_eq!(reason, "this server has as many connections as it may have; try again later");
    }
    // What is wrong for good is said first.
    refused_at(&server, "/app/unknown", 4001);
    first.is_alive("it is not the one to suffer");
}

/// What a client of a refused connection is told.
fn hear_refusal(raw: &mut Raw) {
    assert!(raw.text().contains("4001"));
    assert_eq!(raw.close().0, 4001);
}

#[test]
fn c4_a_refused_client_that_does_not_answer_is_cut_off() {
    let directory = directory();
    let server = server(&directory, json!({"close_timeout_ms": 200}), json!({}));
    let mut silent = Raw::upgrade(&server, "/app/unknown?protocol=7");
    hear_refusal(&mut silent);
    silent.expect_end("a client that does not answer");
    wait_until("nothing is left of it", || server.metric("http_connections") == 0);
}

/// Whatever the client does instead of answering the close.
#[test]
fn c4_a_refused_client_hears_why_and_the_socket_ends() {
    let directory = directory();
    let server = server(&directory, json!({"close_timeout_ms": 60_000}), json!({}));
    let wrong = "/app/unknown?protocol=7";

    let mut talkative = Raw::connect(server.address);
    let request = handshake(wrong, "");
    talkative
        .send([request.as_bytes(), &text("{}"), &masked(0x89, b"p"), &close(4001, ""), &text("x")].concat());
    talkative.expect_upgraded();
    hear_refusal(&mut talkative);
    talkative.expect_end("a client that has said everything already");

    let mut broken = Raw::upgrade(&server, wrong);
    broken.send(b"\x83\x00 and any bytes at all");
    hear_refusal(&mut broken);
    broken.expect_end("a client that breaks the rules");

    let mut half = Raw::upgrade(&server, wrong);
    half.end();
    hear_refusal(&mut half);
    half.expect_end("a client that has ended its side");
    drop((talkative, broken, half));
    wait_until("nothing is left of them", || server.metric("http_connections") == 0);
}

/// A request, and the status line and error code that answer it.
#[test]
fn c1_a_handshake_that_is_none_is_answered_by_http() {
    const NOT: &str = "HTTP/1.1 400 Bad Request";
    let directory = directory();
    let server = server(&directory, json!({}), json!({}));
    let sound = handshake(PATH, "");
    let without = |line: &str| sound.replace(line, "");
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (request, status, code) in [
        (sound.replace("Version: 13", "Version: 12"), "HTTP/1.1 426 Upgrade Required", "websocket_version"),
        (sound.replace("Version: 13", "Version: x"), "HTTP/1.1 426 Upgrade Required", "websocket_version"),
        (without("Sec-WebSocket-Version: 13\r\n"), "HTTP/1.1 426 Upgrade Required", "websocket_version"),
        (without(key), NOT, "bad_handshake"),
        (sound.replace(key, "Sec-WebSocket-Key:\r\n"), NOT, "bad_handshake"),
        (sound.replace(key, "Sec-WebSocket-Key: short==\r\n"), NOT, "bad_handshake"),
        (sound.replace("GET ", "POST "), NOT, "bad_handshake"),
        (sound.replace("GET ", "HEAD "), NOT, ""),
        (sound.replace("HTTP/1.1", "HTTP/1.0"), "HTTP/1.0 400 Bad Request", "bad_handshake"),
        (without("Connection: keep-alive, Upgrade\r\n"), NOT, "bad_handshake"),
        (sound.replace("keep-alive, Upgrade", "keep-alive"), NOT, "bad_handshake"),
        (without("Upgrade: websocket\r\n"), "HTTP/1.1 426 Upgrade Required", "upgrade_required"),
        (
            sound.replace("Upgrade: websocket", "Upgrade: h2c"),
            "HTTP/1.1 426 Upgrade Required",
            "upgrade_required",
        ),
        (handshake(PATH, "Content-Length: 4\r\n") + "\u{1}abc", NOT, "bad_handshake"),
        (handshake(PATH, "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n", NOT, "bad_handshake"),
    ] {
        let mut raw = Raw::connect(server.address);
        raw.send(&request);
        if code.is_empty() {
            assert!(raw.head().starts_with(status), "{request}");
            continue;
        }
        let (head, body) = raw.response();
        assert!(head.starts_with(&format!("{status}\r\n")), "{request}{head}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["error"]["code"], code, "{request}{body}");
        let names_version = head.contains("sec-websocket-version: 13\r\n");
        assert_eq!(names_version, code == "websocket_version", "{request}{head}");
    }
    assert_eq!(server.metric("connections_opened_total"), 0);
}

/// The forms that RFC 6455 allows: header names in any case, lists, a handshake without a body that says so.
#[test]
fn c1_a_handshake_may_be_written_in_many_ways() {
    let directory = directory();
    let server = server(&directory, json!({}), json!({}));
    let sound = handshake(PATH, "");
    for request in [
        sound
            .to_lowercase()
            .replace("dghlihnhbxbszsbub25jzq==", "dGhlIHNhbXBsZSBub25jZQ==")
            .replace("get ", "GET ")
            .replace("http/1.1", "HTTP/1.1"),
        sound.replace("Upgrade: websocket", "UPGRADE: WebSocket"),
        sound.replace("keep-alive, Upgrade", "upgrade"),
        sound.replace("Connection: keep-alive, Upgrade", "Connection: keep-alive\r\nConnection: Upgrade"),
        handshake(PATH, "Content-Length: 0\r\n"),
        handshake(PATH, "Sec-WebSocket-Extensions: x-webkit-deflate-frame\r\n"),
        handshake(PATH, "Sec-WebSocket-Protocol: pusher\r\n"),
    ] {
        let mut raw = Raw::connect(server.address);
        raw.send(&request);
        // Nothing is agreed to that was only offered.
        raw.expect_upgraded();
        raw.expect_hello();
        raw.is_alive(&request);
    }
}

#[test]
fn c1_a_slow_handshake_is_waited_for() {
    let directory = directory();
    let server = server(&directory, json!({}), json!({}));
    let mut raw = Raw::connect(server.address);
    for byte in handshake(PATH, "").as_bytes().chunks(1) {
        raw.send(byte);
    }
    raw.expect_upgraded();
    raw.expect_hello();
    raw.is_alive("a slow handshake");
}

#[test]
fn c1_a_head_that_is_never_finished_ends() {
    let directory = directory();
    let server = server(&directory, json!({"request_head_timeout_ms": 200}), json!({}));
    let request = handshake(PATH, "");
    for len in [0, 1, request.len() - 1] {
        let mut raw = Raw::connect(server.address);
        raw.send(&request[..len]);
        raw.expect_end("half a head");
    }
    // One that is kept alive after a response, and says nothing more.
    let mut raw = Raw::connect(server.address);
    raw.send("GET /up HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(raw.response().1, r#"{"health":"OK"}"#);
    raw.expect_end("an idle connection");
    // Bytes now and then do not prolong it.
    let mut raw = Raw::connect(server.address);
    raw.stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    raw.send("GET /up HTTP/1.1\r\n");
    wait_until("the server has closed it", || {
        // Not taken any more once it has.
        let _ = raw.stream.write_all(b"x");
        let read = raw.stream.read(&mut [0; 256]);
        !read.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    });
    wait_until("all are gone", || server.metric("http_connections") == 0);
}
