//! Clients and publications, end to end over real sockets: hop 3 to hop 7 of a broadcast. What the protocol says is
//! in `transcripts.rs`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use std::io::{Read as _, Write as _};

use fanfare_server::config::Secret;
use fanfare_server::pusher::signature;
use harness::client::Client;
use harness::php::Php;
use harness::raw::{PATH, Raw, text};
use harness::{KEY, SECRET, Server, configuration, directory};
use serde_json::{Value, json};

#[test]
fn a_broadcast_reaches_its_subscribers_on_every_shard_and_nobody_else() {
    let directory = directory();
    let server = Server::start(&configuration(directory.path()));
    // Enough for the kernel to give each shard some.
    let mut clients: Vec<Client> = (0..16).map(|_| Client::connect(&server)).collect();
    let mut ids: Vec<&str> = clients.iter().map(|client| client.socket_id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 16, "socket ids differ");
    clients.iter_mut().for_each(|client| client.subscribe("news"));
    let mut bystander = Client::connect(&server);
    bystander.subscribe("other");
    let mut stranger = Client::upgrade(&server, "/app/other-key?protocol=7").greeted();
    stranger.subscribe("news");

    let mut php = Php::attach(&server);
    php.broadcast(&["news"], r"App\Events\X", r#"{"a":"ü\n"}"#);
    for client in &mut clients {
        assert_eq!(client.text(), r#"{"event":"App\\Events\\X","channel":"news","data":"{\"a\":\"ü\\n\"}"}"#);
    }
    php.drained();
    bystander.settle();
    stranger.settle();
    let journal = server.logged("fanfare::publication");
    let fields: Value = serde_json::from_str::<Value>(&journal).unwrap()["fields"].take();
    let expected = json!({"message": "publication", "app": "app", "channels": "news",
        "event": r"App\Events\X", "data": r#"{"a":"ü\n"}"#});
    assert_eq!(fields, expected);
}

#[test]
fn ten_thousand_events_of_every_size_arrive_in_order_and_intact() {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    // All of it may wait: on a busy machine the client may not keep up, which is another test's subject.
    configuration["limits"] = json!({"outbox_bytes_max": 64 << 20});
    let server = Server::start(&configuration);
    let mut client = Client::connect(&server);
    client.subscribe("news");
    let payload = |n: usize| format!("{n}:{}", "é\"\\x".repeat((n * n) % 500));
    let mut php = Php::attach_with(&server, 1 << 16);
    std::thread::scope(|scope| {
        scope.spawn(|| (0..10_000).for_each(|n| php.broadcast(&["news"], "e", &payload(n))));
        for n in 0..10_000 {
            assert_eq!(client.data(), payload(n), "event {n}");
        }
    });
}

#[test]
fn a_connection_that_ends_leaves_its_channels() {
    let directory = directory();
    let server = Server::start(&configuration(directory.path()));
    let mut client = Client::connect(&server);
    client.subscribe("news");
    assert_eq!((server.metric("connections"), server.metric("channels")), (1, 1));
    client.socket.close(None).unwrap();
    client.finish();
    harness::wait_until("the channel is vacated", || server.metric("channels") == 0);
    assert_eq!(server.metric("connections"), 0);
}

#[test]
fn refused_clients_are_counted_as_such() {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    configuration["limits"] = json!({"connections_max": 1});
    let server = Server::start(&configuration);
    for (refused, path) in (1..).zip(["/app/unknown?protocol=7", "/app/app-key?protocol=3", "/elsewhere"]) {
        Client::upgrade(&server, path).finish();
        assert_eq!(server.metric("connections_refused_total"), refused, "{path}");
    }
    assert_eq!(server.metric("connections_opened_total"), 0);
    let _first = Client::connect(&server);
    Client::upgrade(&server, "/app/app-key?protocol=7").finish();
    assert_eq!(server.metric("connections_refused_total"), 4);
    assert_eq!(server.metric("connections_opened_total"), 1);
}

#[test]
fn a_client_that_does_not_keep_up_is_closed_and_the_others_miss_nothing() {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    configuration["limits"] = json!({"outbox_bytes_max": 65_536, "close_timeout_ms": 60_000});
    configuration["log"]["level"] = "info".into();
    let server = Server::start(&configuration);
    let mut keeping_up = Client::connect(&server);
    keeping_up.subscribe("news");
    // A small window, so that the kernel does not hold megabytes for it.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&server.address.into()).unwrap();
    let mut slow = Client::upgrade_over(socket.into(), server.address, "/app/app-key?protocol=7").greeted();
    slow.subscribe("news");

    let mut php = Php::attach(&server);
    let data = "x".repeat(8192);
    let mut sent = 0_u64;
    while server.metric("outbox_overflows_total") == 0 {
        for _ in 0..16 {
            sent += 1;
            php.broadcast(&["news"], "e", &format!("{sent}:{data}"));
            assert_eq!(keeping_up.data().split_once(':').unwrap().0, sent.to_string());
        }
        assert!(sent < 10_000, "80 MB wait somewhere");
    }
    // It reads now: whole events in order, then why it was closed.
    let mut received = 0;
    let error = loop {
        let event = slow.event();
        if event["event"] == "pusher:error" {
            break event;
        }
        received += 1;
        let data = event["data"].as_str().unwrap();
        assert_eq!(data.split_once(':').unwrap().0, received.to_string());
    };
    assert!(received < sent);
    assert_eq!(error["data"]["code"], 4100);
    assert_eq!(u16::from(slow.close_frame().code), 4100);
    slow.finish();
    php.broadcast(&["news"], "e", "last");
    assert_eq!(keeping_up.data(), "last");
}

#[test]
fn http_answers_on_the_port_and_on_the_socket() {
    let directory = directory();
    let server = Server::start(&configuration(directory.path()));
    for answer in [server.get("/up"), server.get_local("/up")] {
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.ends_with(r#"{"health":"OK"}"#), "{answer}");
    }
    assert!(server.get("/nowhere").starts_with("HTTP/1.1 404 "));
    assert!(server.get("/metrics").starts_with("HTTP/1.1 404 "), "metrics are not for the public");
    assert!(server.get("/app/app-key").starts_with("HTTP/1.1 426 "));
    // A head beyond the limit: answered, or cut off when the kernel has more of it than was read.
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    let mut answer = String::new();
    let sent =
        stream.write_all(format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(40_000)).as_bytes());
    let read = stream.read_to_string(&mut answer);
    assert!(sent.is_err() || read.is_err() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!(server.get("/up").starts_with("HTTP/1.1 200 "));
}

/// The others of the sender's own shard too, whom its events could reach without a mailbox.
#[test]
fn s15_who_joins_and_speaks_in_one_breath_is_heard_to_join_first() {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    configuration["shards"] = 1.into();
    let server = Server::start(&configuration);
    let join = |socket_id: &str, user: &str| {
        let member = json!({"user_id": user}).to_string();
        let signed = format!("{socket_id}:presence-a:{member}");
        let auth = format!("{KEY}:{}", signature::sign(&Secret::new(SECRET), &[&signed]));
        let data = json!({"channel": "presence-a", "channel_data": member, "auth": auth});
        json!({"event": "pusher:subscribe", "data": data}).to_string()
    };
    let mut early = Client::connect(&server);
    early.send(join(&early.socket_id.clone(), "1"));
    assert_eq!(early.event()["event"], "pusher_internal:subscription_succeeded");
    for user in ["2", "3", "4"] {
        let mut late = Raw::upgrade(&server, PATH);
        let socket_id = late.expect_hello();
        let event = json!({"event": "client-e", "channel": "presence-a", "data": {}}).to_string();
        late.send([text(join(&socket_id, user)), text(event)].concat());
        let heard = [(); 2].map(|()| early.event()["event"].as_str().unwrap().to_owned());
        assert_eq!(heard, ["pusher_internal:member_added", "client-e"], "user {user}");
        drop(late);
        assert_eq!(early.event()["event"], "pusher_internal:member_removed");
    }
}
