//! What a server tells about itself on the Unix socket: its status, and the tail of what is published.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use harness::client::Client;
use harness::php::Php;
use harness::{PATIENCE, Server, configuration, directory, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};

fn status(server: &Server) -> Value {
    body(&server.get_local("/status"))
}

fn body(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// A reader of the tail.
struct Tail(BufReader<UnixStream>);

impl Tail {
    /// Asks, and waits until the server shows what is published from now on.
    fn open(server: &Server, query: &str) -> Self {
        let mut stream = UnixStream::connect(&server.socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // HTTP/1.0: the lines come without the lengths of chunks.
        stream.write_all(format!("GET /tail{query} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
        let mut tail = Self(BufReader::new(stream));
        assert!(tail.line().starts_with("HTTP/1.0 200 "));
        while !tail.line().trim().is_empty() {}
        tail
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    fn publication(&mut self) -> Value {
        loop {
            let line = self.line();
            if !line.trim().is_empty() {
                return serde_json::from_str(&line).unwrap();
            }
        }
    }
}

#[test]
fn the_status_says_what_the_server_is_and_has() {
    let directory = directory();
    let server = Server::start(&configuration(directory.path()));
    let before = status(&server);
    assert_eq!(before["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(before["pid"], server.pid());
    assert_eq!(before["phase"], "serving");
    assert_eq!(before["shards"], 2);
    assert_eq!((&before["tls"], &before["path"]), (&json!(false), &json!("")));
    // Not the 0 that was configured.
    assert_eq!(before["listen"], json!([server.address.to_string()]));
    assert_eq!(before["apps"][0], json!({"id": "app", "enabled": true, "connections": 0, "channels": 0}));
    assert_eq!(before["apps"][1]["id"], "other");
    assert_eq!(before["attachments"], json!({"ring": 0, "socket": 0}));
    assert!(before["memory"]["rss_bytes"].as_u64().unwrap() > 1 << 20);
    assert!(before["open_files"]["max"].as_u64().unwrap() >= before["open_files"]["open"].as_u64().unwrap());
    assert!(before["started_at"].as_u64().unwrap() > 1_600_000_000);

    let mut clients = [Client::connect(&server), Client::connect(&server)];
    for client in &mut clients {
        client.subscribe("orders");
    }
    clients[0].subscribe("news");
    let mut php = Php::attach(&server);
    php.broadcast(&["orders"], "Shipped", "{}");
    php.drained();
    let now = status(&server);
    assert_eq!(now["apps"][0], json!({"id": "app", "enabled": true, "connections": 2, "channels": 2}));
    assert_eq!(now["attachments"], json!({"ring": 1, "socket": 0}));
    assert_eq!(now["metrics"]["publications_total"], 1);
    assert_eq!(now["metrics"]["deliveries_total"], 2);
}

#[test]
fn status_and_tail_are_nobodys_business_on_the_port() {
    let directory = directory();
    let server = Server::start(&configuration(directory.path()));
    for path in ["/status", "/tail"] {
        assert!(server.get(path).starts_with("HTTP/1.1 404 "), "{path}");
    }
}

#[test]
fn a_tail_shows_what_passes_its_filter() {
    let directory = directory();
    let server = Server::start(&configuration(directory.path()));
    let mut all = Tail::open(&server, "");
    let mut orders = Tail::open(&server, "?app=app&channel=orders.*");
    let mut other = Tail::open(&server, "?app=other");
    assert_eq!(status(&server)["tails"], 3);
    let mut php = Php::attach(&server);
    php.broadcast(&["news"], "Told", "{}");
    php.broadcast_except(&["orders.1", "news"], "Shipped", r#"{"id":1}"#, Some("1.2"));
    let told = all.publication();
    assert_eq!((&told["event"], &told["channels"]), (&json!("Told"), &json!(["news"])));
    for tail in [&mut all, &mut orders] {
        let mut shipped = tail.publication();
        assert!(shipped["at_ms"].as_u64().unwrap() > 1_600_000_000_000);
        shipped.as_object_mut().unwrap().remove("at_ms");
        assert_eq!(
            shipped,
            json!({
                "app": "app", "channels": ["orders.1", "news"], "event": "Shipped", "bytes": 8, "data": "{\"id\":1}",
                "cut": false, "except": "1.2", "source": "application",
            })
        );
    }
    // Leaving ends what would never end.
    server.signal(Signal::TERM);
    let mut rest = String::new();
    other.0.read_to_string(&mut rest).unwrap();
    assert_eq!(rest.trim(), "");
}

#[test]
fn a_tail_that_is_closed_costs_nothing_any_more() {
    let directory = directory();
    let server = Server::start(&configuration(directory.path()));
    let tail = Tail::open(&server, "");
    assert_eq!(status(&server)["tails"], 1);
    drop(tail);
    wait_until("the server has noticed", || status(&server)["tails"] == 0);
}

#[test]
fn a_slow_tail_loses_lines_and_delays_nobody() {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    configuration["limits"] = json!({"tail_lines_max": 4});
    configuration["log"] = json!({"level": "info", "format": "json"});
    let server = Server::start(&configuration);
    let mut slow = Tail::open(&server, "");
    let mut php = Php::attach(&server);
    // Far more than what the socket's buffers hold.
    let data = format!("\"{}\"", "x".repeat(10_000));
    let total = 2_000;
    for _ in 0..total {
        php.broadcast(&["orders"], "Shipped", &data);
    }
    php.drained();
    php.broadcast(&["orders"], "Last", "{}");
    php.drained();
    let (mut seen, mut lost) = (0, 0);
    // The last one may be among the lost.
    while seen + lost < total + 1 {
        let line = slow.publication();
        match line["lost"].as_u64() {
            Some(n) => lost += n,
            None => seen += 1,
        }
    }
    assert_eq!(seen + lost, total + 1);
    assert!(lost > 0 && seen > 4, "{lost} lost, {seen} seen");
}

#[test]
fn a_tail_of_nonsense_is_refused_with_words() {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    configuration["limits"] = json!({"tails_max": 1});
    let server = Server::start(&configuration);
    for (query, status, code) in [
        ("?chanel=x", "400", "bad_query"),
        ("?channel=%ff", "400", "bad_query"),
        ("?app=nobody", "404", "unknown_app"),
    ] {
        let answer = server.get_local(&format!("/tail{query}"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert_eq!(body(&answer)["error"]["code"], code);
    }
    let _one = Tail::open(&server, "");
    assert!(server.get_local("/tail").starts_with("HTTP/1.1 503 "));
}
