//! Listeners: what happens in an app's channels, told over the Unix socket until somebody says that it is done with it.
//! The real server, real clients, and a listener that speaks line by line.
//!
//! "Nothing else came" is shown by something that comes after it: a listener is told in order.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use fanfare_server::config::Secret;
use fanfare_server::pusher::signature;
use harness::client::Client;
use harness::http::Api;
use harness::receiver::Receiver;
use harness::{KEY, PATIENCE, SECRET, Server, configuration, directory, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A configuration whose first app has a listener. Nothing waits longer than it must.
fn with_listener(directory: &Path, listener: Value) -> Value {
    let mut configuration = configuration(directory);
    configuration["apps"][0]["listener"] = listener;
    configuration["limits"] = json!({"close_timeout_ms": 1, "webhook_settle_ms": 1});
    configuration
}

/// Somebody who listens, or wants to.
struct Listener {
    stream: BufReader<UnixStream>,
    status: u16,
    /// The answer's body, where it is not told anything.
    error: Value,
}

/// A batch, as it came.
#[derive(Debug, PartialEq)]
struct Batch {
    id: String,
    again: bool,
    missed: u64,
    events: Vec<Value>,
}

impl Listener {
    fn ask(server: &Server, id: &str, secret: &str) -> Self {
        let stream = UnixStream::connect(&server.socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut api = Api::connect_locally(server);
        api.secret = secret.to_owned();
        let path = format!("/apps/{id}/listen");
        let query = api.sign("GET", &path, &[], b"");
        let mut stream = BufReader::new(stream);
        let request = format!(
            "GET {path}?{query} HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: fanfare-listen-1\r\n\r\n"
        );
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(stream.read_line(&mut head).unwrap(), 0, "the connection ended after {head:?}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).unwrap();
        let error = serde_json::from_slice(&body).unwrap_or_default();
        Self { stream, status, error }
    }

    /// One that has its turn.
    fn of(server: &Server) -> Self {
        let mut listener = Self::ask(server, "app", SECRET);
        assert!(listener.turn());
        listener
    }

    fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        (self.stream.read_line(&mut line).unwrap() > 0).then(|| serde_json::from_str(&line).unwrap())
    }

    fn turn(&mut self) -> bool {
        assert_eq!(self.status, 101, "{}", self.error);
        let line = self.line().unwrap();
        assert_eq!(line["version"], env!("CARGO_PKG_VERSION"));
        line["turn"].as_bool().unwrap_or_else(|| panic!("{line}"))
    }

    fn batch(&mut self) -> Batch {
        let line = self.line().unwrap();
        let events = line["events"].as_array().unwrap_or_else(|| panic!("expected a batch, found {line}"));
        Batch {
            id: line["batch"].as_str().unwrap().to_owned(),
            again: line["again"].as_bool().unwrap(),
            missed: line["missed"].as_u64().unwrap(),
            events: events.clone(),
        }
    }

    fn say(&mut self, line: &str) {
        self.stream.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn done(&mut self, batch: &Batch) {
        self.say(&json!({"done": batch.id}).to_string());
    }

    /// Takes what comes, until `last` does. Gives all of it.
    fn events_until(&mut self, last: &Value) -> Vec<Value> {
        let mut events = Vec::new();
        while events.last() != Some(last) {
            let batch = self.batch();
            self.done(&batch);
            events.extend(batch.events);
        }
        events
    }

    /// The code that it ends with.
    fn end(&mut self) -> String {
        let line = self.line().unwrap();
        assert!(!line["end"]["message"].as_str().unwrap().is_empty());
        assert_eq!(self.line(), None);
        line["end"]["code"].as_str().unwrap().to_owned()
    }

    fn code(&self) -> &str {
        self.error["error"]["code"].as_str().unwrap()
    }
}

fn sign(text: &str) -> String {
    format!("{KEY}:{}", signature::sign(&Secret::new(SECRET), &[text]))
}

fn sign_in(client: &mut Client, user: &str) {
    let user_data = json!({"id": user}).to_string();
    let auth = sign(&format!("{}::user::{user_data}", client.socket_id));
    client.send(json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}}));
    assert_eq!(client.event()["event"], "pusher:signin_success");
}

fn subscribe_signed(client: &mut Client, channel: &str, user: Option<&str>) {
    let mut text = format!("{}:{channel}", client.socket_id);
    let mut data = json!({"channel": channel});
    if let Some(user) = user {
        let channel_data = json!({"user_id": user}).to_string();
        text = format!("{text}:{channel_data}");
        data["channel_data"] = channel_data.into();
    }
    data["auth"] = sign(&text).into();
    client.send(json!({"event": "pusher:subscribe", "data": data}));
    let succeeded = client.event();
    assert_eq!(succeeded["event"], "pusher_internal:subscription_succeeded", "{succeeded}");
}

fn unsubscribe(client: &mut Client, channel: &str) {
    client.send(json!({"event": "pusher:unsubscribe", "data": {"channel": channel}}));
}

fn occupied(channel: &str) -> Value {
    json!({"name": "channel_occupied", "channel": channel})
}

fn vacated(channel: &str) -> Value {
    json!({"name": "channel_vacated", "channel": channel})
}

fn member(name: &str, channel: &str, user: &str) -> Value {
    json!({"name": name, "channel": channel, "user_id": user})
}

fn count(channel: &str, n: u64) -> Value {
    json!({"name": "subscription_count", "channel": channel, "subscription_count": n})
}

#[test]
fn each_kind_of_event_is_told_in_order_and_with_the_user() {
    let directory = directory();
    let mut configuration = with_listener(directory.path(), json!(true));
    configuration["apps"][0]["subscription_count"] = true.into();
    let server = Server::start(&configuration);
    let mut listener = Listener::of(&server);
    let mut client = Client::connect(&server);
    let client_event = |client: &Client, channel: &str, data: &str, user: Option<&str>| {
        let mut event = json!({"name": "client_event", "channel": channel, "event": "client-x", "data": data,
            "socket_id": client.socket_id});
        if let Some(user) = user {
            event["user_id"] = user.into();
        }
        event
    };

    subscribe_signed(&mut client, "presence-a", Some("7"));
    client.send(json!({"event": "client-x", "channel": "presence-a", "data": {"a": "ü"}}));
    let last = client_event(&client, "presence-a", r#"{"a":"ü"}"#, Some("7"));
    let events = listener.events_until(&last);
    assert_eq!(events, [occupied("presence-a"), member("member_added", "presence-a", "7"), last]);

    unsubscribe(&mut client, "presence-a");
    let events = listener.events_until(&vacated("presence-a"));
    assert_eq!(events, [member("member_removed", "presence-a", "7"), vacated("presence-a")]);

    // A sender's user is known where it is a member, and everywhere once it is signed in.
    subscribe_signed(&mut client, "private-b", None);
    client.send(json!({"event": "client-x", "channel": "private-b", "data": "1"}));
    let last = client_event(&client, "private-b", "1", None);
    let events = listener.events_until(&last);
    assert_eq!(events, [occupied("private-b"), count("private-b", 1), last]);
    assert_eq!(client.event()["event"], "pusher_internal:subscription_count");
    sign_in(&mut client, "8");
    client.send(json!({"event": "client-x", "channel": "private-b", "data": "2"}));
    let last = client_event(&client, "private-b", "2", Some("8"));
    assert_eq!(listener.events_until(&last), [last]);

    client.send(json!({"event": "pusher:subscribe", "data": {"channel": "cache-c"}}));
    let miss = json!({"name": "cache_miss", "channel": "cache-c"});
    assert_eq!(listener.events_until(&miss), [occupied("cache-c"), count("cache-c", 1), miss]);
    wait_until("nothing waits", || server.metric("listener_events_waiting") == 0);
    assert_eq!(server.metric("listener_events_taken_total"), 12);
    assert_eq!((server.metric("listener_events_dropped_total"), server.metric("listeners")), (0, 1));
    assert_eq!(server.metric("webhooks_waiting"), 0);
}

#[test]
fn what_happens_before_anybody_listens_waits_as_its_filter_lets_through() {
    let (directory, receiver) = (directory(), Receiver::start());
    let filter = json!({"events": ["channel_occupied", "client_event"], "channel_prefix": "private-"});
    let mut configuration = with_listener(directory.path(), filter);
    configuration["apps"][0]["webhooks"] = json!([{"url": receiver.url("/")}]);
    let server = Server::start(&configuration);
    let mut client = Client::connect(&server);
    client.subscribe("public");
    subscribe_signed(&mut client, "private-a", None);
    sign_in(&mut client, "8");
    client.send(json!({"event": "client-x", "channel": "private-a", "data": "1"}));
    subscribe_signed(&mut client, "private-end", None);
    // The webhook is told what Pusher tells, the listener who it was.
    let told = receiver.events_until(|event| *event == occupied("private-end"));
    assert_eq!((&told[2]["name"], told[2].get("user_id")), (&json!("client_event"), None));
    wait_until("three wait", || server.metric("listener_events_waiting") == 3);
    let mut listener = Listener::of(&server);
    let events = listener.events_until(&occupied("private-end"));
    assert_eq!((events.len(), &events[0], &events[1]["user_id"]), (3, &occupied("private-a"), &json!("8")));
}

#[test]
fn a_batch_that_nobody_is_done_with_is_given_again_and_nothing_before_it_is_done() {
    let directory = directory();
    let server = Server::start(&with_listener(directory.path(), json!(true)));
    let mut client = Client::connect(&server);
    let mut listener = Listener::of(&server);
    client.subscribe("a");
    let first = listener.batch();
    assert_eq!((first.events.clone(), first.again, first.missed), (vec![occupied("a")], false, 0));
    client.subscribe("b");
    wait_until("both wait", || server.metric("listener_events_waiting") == 2);
    // As a kill -9 leaves it. The one after it hears the same, and only then what happened since.
    drop(listener);
    let mut listener = Listener::of(&server);
    let again = listener.batch();
    assert_eq!(again, Batch { again: true, ..first });
    listener.done(&again);
    let second = listener.batch();
    assert_eq!((second.events.clone(), second.again), (vec![occupied("b")], false));
    listener.done(&second);
    wait_until("both are counted", || server.metric("listener_events_taken_total") == 2);
    // What is done with does not come again.
    drop(listener);
    wait_until("nobody listens", || server.metric("listeners") == 0);
    let mut listener = Listener::of(&server);
    client.subscribe("c");
    assert_eq!(listener.events_until(&occupied("c")), [occupied("c")]);
}

#[test]
fn a_second_listener_waits_for_its_turn_and_too_many_are_refused() {
    let directory = directory();
    let mut configuration = with_listener(directory.path(), json!(true));
    configuration["limits"]["listeners_max"] = 2.into();
    let server = Server::start(&configuration);
    let mut client = Client::connect(&server);
    let mut first = Listener::of(&server);
    let mut second = Listener::ask(&server, "app", SECRET);
    assert!(!second.turn());
    assert_eq!(Listener::ask(&server, "app", SECRET).end(), "too_many_listeners");
    client.subscribe("a");
    let batch = first.batch();
    assert_eq!(server.metric("listeners"), 2);
    drop(first);
    // With its turn it gets what the other one had.
    assert!(second.turn());
    assert_eq!(second.batch(), Batch { again: true, ..batch });
}

#[test]
fn more_than_may_wait_is_dropped_counted_logged_and_told() {
    let directory = directory();
    let mut configuration = with_listener(directory.path(), json!(true));
    configuration["limits"]["listener_queue_bytes_max"] = 1_024.into();
    let server = Server::start(&configuration);
    let mut client = Client::connect(&server);
    let channels: Vec<String> = (0..30).map(|n| format!("channel-{n:02}")).collect();
    channels.iter().for_each(|channel| client.subscribe(channel));
    // An event is some 50 bytes of text, and costs 96 more.
    let waiting = 7;
    wait_until("the others are dropped", || server.metric("listener_events_dropped_total") == 30 - waiting);
    assert_eq!(server.metric("listener_events_waiting"), waiting);
    let mut listener = Listener::of(&server);
    let batch = listener.batch();
    assert_eq!((batch.events.len() as u64, batch.missed), (waiting, 30 - waiting));
    assert_eq!(
        batch.events,
        channels[..batch.events.len()].iter().map(|name| occupied(name)).collect::<Vec<_>>()
    );
    listener.done(&batch);
    // There is room again.
    client.subscribe("end");
    let batch = listener.batch();
    assert_eq!((batch.missed, batch.events), (0, vec![occupied("end")]));
    assert!(server.logged("events for a listener are dropped").contains("listener_queue_bytes_max"));
    assert!(server.log_lines("events for a listener are dropped").len() <= 20);
}

#[test]
fn only_who_proves_the_apps_secret_on_the_unix_socket_of_an_app_with_a_listener_is_told() {
    let directory = directory();
    let mut configuration = with_listener(directory.path(), json!(true));
    configuration["apps"]
        .as_array_mut()
        .unwrap()
        .push(json!({"id": "off", "key": "off-key", "secret": SECRET, "listener": true, "enabled": false}));
    let server = Server::start(&configuration);
    let wrong = Listener::ask(&server, "app", "wrong");
    assert_eq!((wrong.status, wrong.code()), (401, "auth_signature"));
    let strange = Listener::ask(&server, "nobody", SECRET);
    assert_eq!((strange.status, strange.code()), (404, "app_unknown"));
    let mut other = Api::connect_locally(&server);
    (other.key, other.secret) = ("other-key".to_owned(), "other-secret".to_owned());
    let mut upgrade = |path: &str| {
        let query = other.sign("GET", path, &[], b"");
        other.write(
            format!("GET {path}?{query} HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: fanfare-listen-1\r\n\r\n").as_bytes(),
        );
        other.answer(false).error()
    };
    assert_eq!(upgrade("/apps/other/listen"), (403, "listen_off".to_owned()));
    assert_eq!(upgrade("/apps/other/channels"), (400, "listen_upgrade".to_owned()));
    // Without the upgrade, and on the port whatever it asks for.
    let mut local = Api::connect_locally(&server);
    assert_eq!(local.get("/apps/app/listen", &[]).error(), (400, "listen_upgrade".to_owned()));
    let mut remote = Api::connect(&server);
    let query = remote.sign("GET", "/apps/app/listen", &[], b"");
    remote.write(
        format!("GET /apps/app/listen?{query} HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: fanfare-listen-1\r\n\r\n").as_bytes(),
    );
    assert_eq!(remote.answer(false).error(), (400, "listen_upgrade".to_owned()));
    assert_eq!(server.metric("listeners"), 0);
}

#[test]
fn who_says_something_else_than_done_is_sent_away_and_loses_nothing() {
    let directory = directory();
    let server = Server::start(&with_listener(directory.path(), json!(true)));
    let mut client = Client::connect(&server);
    client.subscribe("a");
    let mut listener = Listener::of(&server);
    let first = listener.batch();
    listener.say(r#"{"done":"another"}"#);
    assert_eq!(listener.end(), "protocol");
    let mut listener = Listener::of(&server);
    assert_eq!(listener.batch(), Batch { again: true, ..first });
    // A line without an end.
    listener.stream.get_mut().write_all(&[b'x'; 2_000]).unwrap();
    assert_eq!(listener.end(), "protocol");
    assert_eq!(Listener::of(&server).events_until(&occupied("a")), [occupied("a")]);
}

#[test]
fn a_reload_ends_who_may_not_listen_any_more_and_leaves_the_others_alone() {
    let directory = directory();
    let file = directory.path().join("fanfare.json");
    let mut configuration = with_listener(directory.path(), json!(true));
    std::fs::write(&file, configuration.to_string()).unwrap();
    let server = Server::start_from(&file);
    let mut reloads = 0;
    let mut reload = |configuration: &Value| {
        std::fs::write(&file, configuration.to_string()).unwrap();
        server.signal(Signal::HUP);
        reloads += 1;
        server.logged_times(reloads, "is read again and taken");
    };
    let mut client = Client::connect(&server);
    let mut listener = Listener::of(&server);
    // Another filter: it goes on, and what waits does too.
    client.subscribe("a");
    let batch = listener.batch();
    configuration["apps"][0]["listener"] = json!({"channel_prefix": "b"});
    reload(&configuration);
    client.subscribe("c");
    client.subscribe("b");
    listener.done(&batch);
    assert_eq!(
        (batch.events, listener.events_until(&occupied("b"))),
        (vec![occupied("a")], vec![occupied("b")])
    );

    // Another secret: what waits is for who proves that one.
    client.subscribe("b-2");
    let batch = listener.batch();
    configuration["apps"][0]["secret"] = "new-secret".into();
    reload(&configuration);
    assert_eq!(listener.end(), "credentials");
    assert_eq!(Listener::ask(&server, "app", SECRET).code(), "auth_signature");
    let mut listener = Listener::ask(&server, "app", "new-secret");
    assert!(listener.turn());
    let again = listener.batch();
    assert_eq!((&again.id, again.again), (&batch.id, true));

    // No listener any more: what waits is dropped.
    configuration["apps"][0]["listener"] = false.into();
    reload(&configuration);
    assert_eq!(listener.end(), "listen_off");
    wait_until("it is counted", || server.metric("listener_events_dropped_total") == 1);
    assert_eq!(Listener::ask(&server, "app", "new-secret").code(), "listen_off");
    // And again.
    configuration["apps"][0]["listener"] = true.into();
    reload(&configuration);
    let mut listener = Listener::ask(&server, "app", "new-secret");
    assert!(listener.turn());
    client.subscribe("end");
    assert_eq!(listener.events_until(&occupied("end")), [occupied("end")]);
    // An app that is switched off, or gone, has none.
    configuration["apps"][0]["enabled"] = false.into();
    reload(&configuration);
    assert_eq!(listener.end(), "listen_off");
    assert_eq!(Listener::ask(&server, "app", "new-secret").code(), "app_disabled");
    configuration["apps"][0]["enabled"] = true.into();
    reload(&configuration);
    let mut listener = Listener::ask(&server, "app", "new-secret");
    assert!(listener.turn());
    configuration["apps"].as_array_mut().unwrap().remove(0);
    reload(&configuration);
    assert_eq!(listener.end(), "listen_off");
}

#[test]
fn a_server_that_leaves_tells_everything_and_waits_until_it_is_done_with() {
    let directory = directory();
    let mut configuration = with_listener(directory.path(), json!(true));
    configuration["limits"]["webhook_settle_ms"] = 60_000.into();
    let mut server = Server::start(&configuration);
    let mut client = Client::connect(&server);
    let mut listener = Listener::of(&server);
    client.subscribe("a");
    let batch = listener.batch();
    server.signal(Signal::TERM);
    assert_eq!(u16::from(client.close_frame().code), 4200);
    client.finish();
    // It waits for this, and for what the leaving itself has caused.
    listener.done(&batch);
    let last = listener.batch();
    assert_eq!((batch.events, &last.events), (vec![occupied("a")], &vec![vacated("a")]));
    listener.done(&last);
    assert_eq!(listener.end(), "leaving");
    assert!(server.wait().success());
    assert!(server.log_lines("are lost").is_empty());
}

#[test]
fn a_server_that_leaves_waits_for_a_listener_in_bounded_time_and_says_what_is_lost() {
    let directory = directory();
    let mut configuration = with_listener(directory.path(), json!(true));
    configuration["limits"]["drain_timeout_ms"] = 2_000.into();
    let mut server = Server::start(&configuration);
    let mut client = Client::connect(&server);
    let mut listener = Listener::of(&server);
    client.subscribe("a");
    let batch = listener.batch();
    server.signal(Signal::TERM);
    client.close_frame();
    client.finish();
    assert_eq!((batch.events, listener.end()), (vec![occupied("a")], "leaving".to_owned()));
    assert!(server.wait().success());
    let lost: Value = serde_json::from_str(&server.logged("are lost")).unwrap();
    assert_eq!(lost["fields"]["events"], 2);
}

#[test]
fn a_listener_that_does_not_read_delays_nobody_and_what_comes_in_pieces_is_understood() {
    let directory = directory();
    let mut configuration = with_listener(directory.path(), json!(true));
    configuration["limits"]["webhook_batch_events_max"] = 1.into();
    let server = Server::start(&configuration);
    let (mut sender, mut receiver) = (Client::connect(&server), Client::connect(&server));
    subscribe_signed(&mut sender, "private-a", None);
    subscribe_signed(&mut receiver, "private-a", None);
    let mut listener = Listener::of(&server);
    // More than a Unix socket holds: the server's write does not end.
    let data = "x".repeat(90_000);
    for n in 0..8 {
        sender.send(json!({"event": format!("client-{n}"), "channel": "private-a", "data": data}));
        assert_eq!(receiver.event()["event"], format!("client-{n}"));
    }
    let mut events = Vec::new();
    while events.len() < 9 {
        let batch = listener.batch();
        for piece in format!("{}\n", json!({"done": batch.id})).as_bytes().chunks(7) {
            listener.stream.get_mut().write_all(piece).unwrap();
        }
        events.extend(batch.events);
    }
    let names: Vec<&str> = events[1..].iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, (0..8).map(|n| format!("client-{n}")).collect::<Vec<_>>());
}
