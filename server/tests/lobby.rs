//! Sockets of the port that are no WebSocket clients: how many there may be, who makes room, and that PHP and
//! clients get through whoever crowds in.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use std::io::Read as _;

use harness::client::Client;
use harness::php::Php;
use harness::raw::{Raw, close};
use harness::{Server, configuration, directory, wait_until};
use serde_json::{Value, json};

const UP: &str = "GET /up HTTP/1.1\r\nHost: x\r\n\r\n";

fn server_with(directory: &tempfile::TempDir, limits: Value) -> Server {
    let mut configuration = configuration(directory.path());
    // Who waits longest is known shard by shard.
    configuration["shards"] = 1.into();
    configuration["limits"] = limits;
    configuration["limits"]["request_head_timeout_ms"] = 600_000.into();
    Server::start(&configuration)
}

fn ask(raw: &mut Raw) {
    raw.send(UP);
    let (head, body) = raw.response();
    assert!(head.starts_with("HTTP/1.1 200 ") && body == r#"{"health":"OK"}"#, "{head}{body}");
}

/// Connects, and waits until the server knows of it.
fn visit(server: &Server, visitors: u64) -> Raw {
    let raw = Raw::connect(server.address);
    wait_until("it is let in", || server.metric("http_connections") == visitors);
    raw
}

#[test]
fn who_has_waited_longest_for_a_request_makes_room() {
    let directory = directory();
    let server = server_with(&directory, json!({"http_connections_max": 3, "close_timeout_ms": 60_000}));
    let (mut first, mut second, mut third) = (visit(&server, 1), visit(&server, 2), visit(&server, 3));
    // Its wait begins anew.
    ask(&mut first);
    let mut fourth = Raw::connect(server.address);
    second.expect_end("the one that has waited longest");
    ask(&mut fourth);
    // Half a head is no request.
    third.send("GET /up HTTP/1.1\r\n");
    let mut fifth = Raw::connect(server.address);
    third.expect_end("then the next");
    ask(&mut first);
    ask(&mut fourth);
    ask(&mut fifth);
    assert_eq!(server.metric("http_connections_turned_out_total"), 2);

    // A client that is let in has left the lobby, and takes nobody's place there.
    let mut client = Client::connect(&server);
    first.expect_end("for a moment it was in the lobby, too");
    wait_until("it has left", || server.metric("http_connections") == 2);
    let mut sixth = visit(&server, 3);
    ask(&mut sixth);
    client.settle();

    // One that is refused stays until it has answered, or somebody else needs the place.
    let mut refused = Raw::upgrade(&server, "/app/unknown");
    assert!(refused.text().contains("4001"));
    assert_eq!(refused.close().0, 4001);
    fourth.expect_end("it has waited longest by now");
    ask(&mut fifth);
    ask(&mut sixth);
    let mut seventh = Raw::connect(server.address);
    ask(&mut seventh);
    refused.expect_end("it had been told everything");
    assert_eq!(server.metric("http_connections_turned_out_total"), 5);
    assert_eq!(server.metric("http_connections_refused_total"), 0);
    client.settle();
}

#[test]
fn who_makes_room_in_time_costs_nobody_a_place() {
    let directory = directory();
    let server = server_with(&directory, json!({"http_connections_max": 2}));
    let mut idle = visit(&server, 1);
    for _ in 0..100 {
        let mut raw = Raw::upgrade(&server, "/app/unknown");
        assert!(raw.text().contains("4001"));
        raw.close();
        raw.send(close(4001, ""));
        raw.expect_end("a refusal");
        drop(raw);
        wait_until("it is gone", || server.metric("http_connections") == 1);
    }
    ask(&mut idle);
    assert_eq!(server.metric("http_connections_turned_out_total"), 0);
}

/// A crowd that would take every descriptor of the process.
#[test]
fn a_crowd_keeps_out_neither_php_nor_clients() {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    configuration["log"]["level"] = "info".into();
    configuration["limits"] = json!({"request_head_timeout_ms": 600_000});
    let server = Server::start_with_descriptors(&configuration, 256);
    let mut client = Client::connect(&server);
    client.subscribe("news");
    let crowd: Vec<Raw> = (0..1_000).map(|_| Raw::connect(server.address)).collect();
    wait_until("all of it has come in", || {
        // A quarter of the descriptors is not for them.
        let (inside, turned_out) =
            (server.metric("http_connections"), server.metric("http_connections_turned_out_total"));
        assert!(inside <= 192 - 1 + 2, "{inside}: one for each shard may be on its way out");
        inside + turned_out >= 1_000
    });
    let mut processes: Vec<Php> = (0..4).map(|_| Php::attach(&server)).collect();
    for (at, php) in processes.iter_mut().enumerate() {
        php.broadcast(&["news"], "e", &at.to_string());
        assert_eq!(client.data(), at.to_string());
    }
    let mut late = Client::connect(&server);
    late.settle();
    assert_eq!(server.metric("accept_errors_total"), 0);
    drop(crowd);
    wait_until("the crowd has gone", || server.metric("http_connections") == 0);
}

/// WebSocket clients take the same descriptors. Nobody waits whom another could take the place of.
#[test]
fn clients_leave_descriptors_for_php_as_well() {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    configuration["shards"] = 1.into();
    configuration["log"]["level"] = "info".into();
    configuration["limits"] = json!({"request_head_timeout_ms": 600_000});
    let server = Server::start_with_descriptors(&configuration, 256);
    let mut clients: Vec<Client> = (0..192).map(|_| Client::connect(&server)).collect();
    assert_eq!(server.metric("connections"), 192);
    for _ in 0..100 {
        let mut raw = Raw::connect(server.address);
        let (head, body) = raw.response();
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
        assert!(
            head.contains("\r\nconnection: close\r\n") && head.contains("\r\nretry-after: 1\r\n"),
            "{head}"
        );
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["error"]["code"], "too_many_connections");
        assert_eq!(raw.stream.read(&mut [0]).unwrap(), 0);
    }
    assert_eq!(server.metric("http_connections_refused_total"), 100);
    assert_eq!(server.metric("accept_errors_total"), 0);
    let mut processes: Vec<Php> = (0..4).map(|_| Php::attach(&server)).collect();
    let last = clients.last_mut().unwrap();
    last.subscribe("news");
    processes[3].broadcast(&["news"], "e", "x");
    assert_eq!(last.data(), "x");
    // One that leaves makes room for one.
    drop(clients.pop());
    wait_until("it has left", || server.metric("connections") == 191);
    Client::connect(&server).settle();
}

/// A request whose body does not come keeps nobody out, whoever sends it.
#[test]
fn who_owes_the_body_of_a_request_makes_room() {
    let directory = directory();
    let server =
        server_with(&directory, json!({"http_connections_max": 3, "request_body_timeout_ms": 600_000}));
    let mut owing: Vec<Raw> = (1..=3).map(|visitors| visit(&server, visitors)).collect();
    for raw in &mut owing {
        raw.send("POST /apps/app/events HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n");
    }
    wait_until("all heads are there", || server.metric("api_requests_total") == 3);
    let mut client = Client::connect(&server);
    client.settle();
}
