//! What PHP asks over the Unix socket, without HTTP: the same answers, for the app that the process has proved.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use std::io::Write as _;

use fanfare_wire::attach::{Message, Purpose, RefusalCode};
use harness::client::Client;
use harness::php::{Asker, Peer, Said};
use harness::{KEY, SECRET, Server, configuration, directory, wait_until};
use rustix::process::Signal;
use serde_json::json;

#[test]
fn the_questions_of_the_http_api_are_answered_without_http() {
    let directory = directory();
    let server = Server::start(&configuration(directory.path()));
    let (mut one, mut two) = (Client::connect(&server), Client::connect(&server));
    one.subscribe("news");
    two.subscribe("news");
    let mut asker = Asker::attach(&server);
    assert_eq!(asker.ask("GET", "/connections", ""), (200, json!({"connections": 2})));
    let channels = json!({"channels": {"news": {"subscription_count": 2}}});
    assert_eq!(asker.ask("GET", "/channels?info=subscription_count", ""), (200, channels));
    let channel = json!({"occupied": true});
    assert_eq!(asker.ask("GET", "/channels/news", ""), (200, channel));
    assert_eq!(asker.ask("GET", "/channels/presence-x/users", ""), (200, json!({"users": []})));

    let event = json!({"name": "e", "channel": "news", "data": "1", "socket_id": one.socket_id}).to_string();
    assert_eq!(asker.ask("POST", "/events", &event), (200, json!({})));
    assert_eq!(two.data(), "1");
    one.settle();

    let (status, answer) = asker.ask("GET", "/channels/news/users", "");
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("not_presence")));
    let (status, answer) = asker.ask("GET", "/nothing", "");
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("not_found")));
    let (status, answer) = asker.ask("POST", "/events", "{");
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("body")));
    assert_eq!(server.metric("attachments_asking"), 1);
}

#[test]
fn questions_that_come_together_are_answered_in_their_order() {
    let directory = directory();
    let server = Server::start(&configuration(directory.path()));
    let mut asker = Asker::attach(&server);
    for at in 0..50 {
        asker.say("GET", &format!("/channels/c{at}?info=cache"), "");
        asker.say("GET", "/connections", "");
    }
    for _ in 0..50 {
        assert_eq!(asker.answer(), (200, json!({"occupied": false, "cache": null})));
        assert_eq!(asker.answer(), (200, json!({"connections": 0})));
    }
    asker.0.say(&Message::Goodbye);
    assert_eq!(asker.0.hear(), Said::End);
    wait_until("the attachment is gone", || server.metric("attachments") == 0);
    assert_eq!(server.metric("attachments_asking"), 0);
}

#[test]
fn another_message_ends_the_connection_and_a_leaving_server_does() {
    let directory = directory();
    let mut server = Server::start(&configuration(directory.path()));
    let mut asker = Asker::attach(&server);
    asker.0.say(&Message::Record(b"x"));
    assert_eq!(asker.0.refused().0, RefusalCode::Protocol);

    let mut asker = Asker::attach(&server);
    let huge = "x".repeat(7 << 20);
    let mut bytes = Vec::new();
    Message::Ask { method: "POST", target: "/events", body: huge.as_bytes() }.encode(&mut bytes);
    // Its header alone says that it is too long.
    asker.0.say_bytes(&bytes[..8]);
    let (code, message) = asker.0.refused();
    assert_eq!(code, RefusalCode::Protocol);
    assert!(message.contains("expected a message of at most"), "{message}");

    let mut peer = Peer::connect(&server);
    peer.prove(KEY, SECRET);
    peer.say(&Message::Attach { purpose: Purpose::Ask, proof: [0; 32] });
    assert_eq!(peer.refused().0, RefusalCode::Credentials);

    let mut asker = Asker::attach(&server);
    server.signal(Signal::TERM);
    assert_eq!(asker.0.hear(), Said::End);
    assert!(server.wait().success());
}

/// Answers that nobody takes fill the process' own socket, and a server that leaves does not wait for them.
#[test]
fn a_process_that_asks_without_listening_holds_up_nobody() {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    configuration["shards"] = json!(1);
    let mut server = Server::start(&configuration);
    let mut client = Client::connect(&server);
    client.subscribe("news");
    let mut asker = Asker::attach(&server);
    // Until neither of the two sockets takes any more: the server waits for room to answer.
    asker.0.stream.set_nonblocking(true).unwrap();
    let mut question = Vec::new();
    let target = format!("/channels/{}", "x".repeat(4_000));
    Message::Ask { method: "GET", target: &target, body: b"" }.encode(&mut question);
    while asker.0.stream.write(&question).is_ok() {}
    client.settle();
    server.signal(Signal::TERM);
    assert_eq!(u16::from(client.close_frame().code), 4200);
    drop(client);
    assert!(server.wait().success());
}
