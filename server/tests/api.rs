//! Pusher's HTTP API over real sockets: what is published reaches real clients, what is asked is answered from them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use std::io::{Read, Write};

use fanfare_server::config::Secret;
use fanfare_server::pusher::signature::sign;
use harness::client::Client;
use harness::http::{Answered, Api};
use harness::{KEY, SECRET, Server, configuration, directory, wait_until};
use serde_json::{Value, json};

const EVENTS: &str = "/apps/app/events";
const BATCH: &str = "/apps/app/batch_events";

fn start() -> (tempfile::TempDir, Server) {
    let directory = directory();
    let server = Server::start(&configuration(directory.path()));
    (directory, server)
}

/// Enough for the kernel to give each shard some.
fn clients(server: &Server) -> Vec<Client> {
    (0..16).map(|_| Client::connect(server)).collect()
}

fn auth(signed: &str) -> String {
    format!("{KEY}:{}", sign(&Secret::new(SECRET), &[signed]))
}

/// Subscribes with the application's signature, as `user_id` on a presence channel.
fn join(client: &mut Client, channel: &str, user_id: Option<&str>) {
    let mut data = json!({"channel": channel});
    let mut signed = format!("{}:{channel}", client.socket_id);
    if let Some(user_id) = user_id {
        let channel_data = json!({"user_id": user_id}).to_string();
        signed = format!("{signed}:{channel_data}");
        data["channel_data"] = channel_data.into();
    }
    data["auth"] = auth(&signed).into();
    client.send(json!({"event": "pusher:subscribe", "data": data}));
    hear(client, "pusher_internal:subscription_succeeded");
}

fn sign_in(client: &mut Client, user_id: &str) {
    let user_data = json!({"id": user_id}).to_string();
    let auth = auth(&format!("{}::user::{user_data}", client.socket_id));
    client.send(json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}}));
    hear(client, "pusher:signin_success");
}

/// The next event of this name, past those that tell of other members.
fn hear(client: &mut Client, event: &str) -> Value {
    loop {
        let heard = client.event();
        if heard["event"] == event {
            return heard;
        }
        assert_eq!(heard["event"], "pusher_internal:member_added", "instead of {event}");
    }
}

fn event(channels: &[&str], data: &str) -> Value {
    json!({"name": r"App\Events\X", "channels": channels, "data": data})
}

#[test]
fn h4_one_publication_to_many_channels_reaches_every_shard() {
    let (_directory, server) = start();
    let mut clients = clients(&server);
    for client in &mut clients {
        client.subscribe("a");
        client.subscribe("b");
    }
    let (mut port, mut socket) = (Api::connect(&server), Api::connect_locally(&server));
    let body = event(&["a", "quiet", "b"], r#"{"a":"ü\n"}"#);
    for answered in [port.post_json(EVENTS, &body), socket.post_json(EVENTS, &body)] {
        assert_eq!((answered.status, answered.body.as_str()), (200, "{}"));
        assert!(answered.head.contains("content-type: application/json\r\n"), "{}", answered.head);
    }
    for client in &mut clients {
        for channel in ["a", "b", "a", "b"] {
            let text =
                format!(r#"{{"event":"App\\Events\\X","channel":"{channel}","data":"{{\"a\":\"ü\\n\"}}"}}"#);
            assert_eq!(client.text(), text, "as from PHP, byte for byte");
        }
        client.settle();
    }
    assert_eq!(server.metric("publications_total"), 2);
    assert_eq!(server.log_lines("fanfare::publication").len(), 2);
}

#[test]
fn h4_what_is_answered_has_reached_every_outbox() {
    let (_directory, server) = start();
    let mut clients = clients(&server);
    clients.iter_mut().for_each(|client| client.subscribe("news"));
    let mut api = Api::connect_locally(&server);
    let body = event(&["news"], "{}").to_string();
    for round in 1..=200 {
        // Both in one piece: the second is dealt with at once when the first is answered, so that the other shard has no
        // time to catch up.
        let query = api.sign("POST", EVENTS, &[], body.as_bytes());
        let length = body.len();
        let post =
            format!("POST {EVENTS}?{query} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}");
        api.write(format!("{post}GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes());
        assert_eq!(api.answer(false).json(200), json!({}));
        let delivered = format!("fanfare_deliveries_total {}\n", 16 * round);
        let metrics = api.answer(false).body;
        assert!(metrics.contains(&delivered), "expected {delivered} in {metrics}");
        clients.iter_mut().for_each(|client| drop(client.data()));
    }
}

#[test]
fn h13_the_excluded_socket_is_left_out_on_whichever_shard_it_is() {
    let (_directory, server) = start();
    let mut clients = clients(&server);
    clients.iter_mut().for_each(|client| client.subscribe("news"));
    let mut api = Api::connect(&server);
    let ids: Vec<String> = clients.iter().map(|client| client.socket_id.clone()).collect();
    for (n, id) in ids.iter().enumerate() {
        let mut body = event(&["news"], &n.to_string());
        body["socket_id"] = id.as_str().into();
        // Alone, and in a batch beside one that excludes nobody.
        assert_eq!(api.post_json(EVENTS, &body).json(200), json!({}));
        let entry = json!({"name": "e", "channel": "news", "data": n.to_string(), "socket_id": id});
        let all = json!({"name": "e", "channel": "news", "data": "all"});
        assert_eq!(api.post_json(BATCH, &json!({"batch": [entry, all]})).json(200), json!({}));
    }
    for (own, client) in clients.iter_mut().enumerate() {
        for n in 0..ids.len() {
            if n != own {
                assert_eq!((client.data(), client.data()), (n.to_string(), n.to_string()));
            }
            assert_eq!(client.data(), "all");
        }
        client.settle();
    }
    let mut body = event(&["news"], "{}");
    for id in ["", "x", "1", "1.2.3"] {
        body["socket_id"] = id.into();
        assert_eq!(api.post_json(EVENTS, &body).error(), (400, "socket_id".into()), "{id:?}");
    }
}

#[test]
fn n3_one_bad_name_and_nothing_is_delivered_at_all() {
    let (_directory, server) = start();
    let mut client = Client::connect(&server);
    client.subscribe("good");
    let mut api = Api::connect(&server);
    let long = "x".repeat(201);
    for bad in ["a b", "", "#private", "é", &long] {
        assert_eq!(api.post_json(EVENTS, &event(&["good", bad], "{}")).error(), (400, "channel_name".into()));
        let batch: Vec<Value> = ["good", "good", bad]
            .iter()
            .map(|name| json!({"name": "e", "channel": name, "data": "{}"}))
            .collect();
        assert_eq!(api.post_json(BATCH, &json!({"batch": batch})).error(), (400, "channel_name".into()));
    }
    client.settle();
    assert_eq!(server.metric("publications_total"), 0);
    assert_eq!(server.metric("publications_rejected_total"), 10);
    assert_eq!(server.metric("api_requests_rejected_total"), 10);
    assert_eq!(server.metric("api_requests_total"), 10);
}

#[test]
fn h4_h5_the_answer_tells_what_info_asks_for() {
    let (_directory, server) = start();
    let mut clients = clients(&server);
    clients[0].subscribe("news");
    for (n, client) in clients.iter_mut().enumerate() {
        // Two connections of each user.
        join(client, "presence-a", Some(&(n / 2).to_string()));
    }
    let mut api = Api::connect(&server);
    let mut body = event(&["presence-a", "news", "quiet"], "{}");
    body["info"] = "user_count,subscription_count".into();
    assert_eq!(
        api.post_json(EVENTS, &body).json(200),
        json!({"channels": {
            "presence-a": {"user_count": 8, "subscription_count": 16},
            "news": {"subscription_count": 1},
            "quiet": {"subscription_count": 0},
        }})
    );
    let entry =
        |channel: &str, info: &str| json!({"name": "e", "channel": channel, "data": "1", "info": info});
    let batch = json!({"batch": [
        entry("news", "subscription_count"),
        {"name": "e", "channel": "news", "data": "1"},
        entry("presence-a", "user_count"),
        entry("cache-a", "cache"),
    ]});
    assert_eq!(
        api.post_json(BATCH, &batch).json(200),
        json!({"batch": [
            {"subscription_count": 1},
            {},
            {"user_count": 8},
            {"cache": {"data": "1", "ttl": 1800}},
        ]})
    );
    let eleven: Vec<Value> = (0..11).map(|_| entry("news", "")).collect();
    assert_eq!(api.post_json(BATCH, &json!({"batch": eleven})).error(), (400, "batch".into()));
    assert_eq!(api.post_json(BATCH, &json!({"batch": eleven[..10]})).json(200), json!({}));
}

#[test]
fn h6_h7_h8_channels_and_users_are_those_of_all_shards() {
    let (_directory, server) = start();
    let mut api = Api::connect(&server);
    assert_eq!(api.get("/apps/app/channels", &[]).body, r#"{"channels":{}}"#);
    assert_eq!(api.get("/apps/app/channels/presence-a/users", &[]).body, r#"{"users":[]}"#);
    assert_eq!(api.get("/apps/app/channels/presence-a", &[]).body, r#"{"occupied":false}"#);
    let mut clients = clients(&server);
    for (n, client) in clients.iter_mut().enumerate() {
        join(client, "presence-a", Some(&format!("user {}", n % 4)));
        client.subscribe("news");
    }
    let mut stranger = Client::upgrade(&server, "/app/other-key?protocol=7").greeted();
    stranger.subscribe("theirs");

    let channels = api.get("/apps/app/channels", &["info=subscription_count"]).json(200);
    let counted = json!({"news": {"subscription_count": 16}, "presence-a": {"subscription_count": 16}});
    assert_eq!(channels, json!({"channels": counted}));
    let present = api.get("/apps/app/channels", &["filter_by_prefix=presence-", "info=user_count"]);
    assert_eq!(present.json(200), json!({"channels": {"presence-a": {"user_count": 4}}}));
    assert_eq!(api.get("/apps/app/channels", &["info=user_count"]).error(), (400, "info".into()));

    let one = api.get("/apps/app/channels/presence-a", &["info=user_count,subscription_count"]);
    assert_eq!(one.json(200), json!({"occupied": true, "user_count": 4, "subscription_count": 16}));
    assert_eq!(api.get("/apps/app/channels/news", &["info=user_count"]).error(), (400, "info".into()));
    assert_eq!(api.get("/apps/app/channels/a%20b", &[]).error(), (400, "channel_name".into()));

    let users = api.get("/apps/app/channels/presence-a/users", &[]).json(200);
    let expected: Vec<Value> = (0..4).map(|n| json!({"id": format!("user {n}")})).collect();
    assert_eq!(users, json!({"users": expected}));
    assert_eq!(api.get("/apps/app/channels/news/users", &[]).error(), (400, "not_presence".into()));

    drop(clients);
    wait_until("the channels are vacated", || {
        api.get("/apps/app/channels", &[]).body == r#"{"channels":{}}"#
    });
}

#[test]
fn h7_a_cache_channel_tells_its_last_event_though_nobody_is_there() {
    let (_directory, server) = start();
    let mut api = Api::connect(&server);
    let asked = |api: &mut Api<_>| api.get("/apps/app/channels/cache-a", &["info=cache"]).json(200);
    assert_eq!(asked(&mut api), json!({"occupied": false, "cache": null}));
    api.post_json(EVENTS, &event(&["cache-a"], "last")).json(200);
    let told = asked(&mut api);
    assert_eq!((&told["occupied"], &told["cache"]["data"]), (&json!(false), &json!("last")));
    let ttl = told["cache"]["ttl"].as_u64().unwrap();
    assert!((1..=1_800).contains(&ttl), "{ttl}");
    // And it is what a subscriber is told.
    let mut client = Client::connect(&server);
    client.subscribe("cache-a");
    assert_eq!(client.data(), "last");
}

#[test]
fn h9_terminating_closes_all_connections_of_the_user_and_nobody_elses() {
    let (_directory, server) = start();
    let mut clients = clients(&server);
    let (theirs, others) = clients.split_at_mut(8);
    for client in &mut theirs[..4] {
        sign_in(client, "a b");
    }
    for client in &mut theirs[4..] {
        join(client, "presence-a", Some("a b"));
    }
    sign_in(&mut others[0], "b");
    others[1].subscribe("news");
    let mut api = Api::connect(&server);
    // As the PHP library does it: signed as its caller wrote it, sent percent-encoded.
    let path = "/apps/app/users/a b/terminate_connections";
    let query = api.sign("POST", path, &[], b"{}");
    let sent = format!("{}?{query}", path.replace(' ', "%20"));
    assert_eq!(api.send("POST", &sent, b"{}").json(200), json!({}));
    for client in theirs {
        assert_eq!(hear(client, "pusher:error")["data"]["code"], 4009);
        assert_eq!(u16::from(client.close_frame().code), 4009);
    }
    others.iter_mut().for_each(Client::settle);
    // Nobody is there any more, and a user's connections may be none at all.
    for user in ["a%20b", "nobody"] {
        let path = format!("/apps/app/users/{user}/terminate_connections");
        assert_eq!(api.post(&path, b"").json(200), json!({}));
    }
    others.iter_mut().for_each(Client::settle);
}

#[test]
fn h10_connections_are_those_of_the_app() {
    let (_directory, server) = start();
    let _clients = clients(&server);
    let _stranger = Client::upgrade(&server, "/app/other-key?protocol=7").greeted();
    let mut api = Api::connect(&server);
    assert_eq!(api.get("/apps/app/connections", &[]).json(200), json!({"connections": 16}));
    assert_eq!(api.send("GET", "/up", b"").json(200), json!({"health": "OK"}));
}

#[test]
fn n4_a_user_is_published_to_on_all_connections_and_its_channel_is_not_listed() {
    let (_directory, server) = start();
    let mut clients = clients(&server);
    for client in &mut clients[..8] {
        sign_in(client, "7");
        client.subscribe("#server-to-user-7");
    }
    let mut api = Api::connect(&server);
    assert_eq!(api.post_json(EVENTS, &event(&["#server-to-user-7"], "{}")).json(200), json!({}));
    for client in &mut clients[..8] {
        assert_eq!(client.event()["channel"], "#server-to-user-7");
    }
    clients.iter_mut().for_each(Client::settle);
    assert_eq!(api.get("/apps/app/channels", &[]).json(200), json!({"channels": {}}));
    // A library that does not encode a path signs it as it is, and its HTTP client encodes it.
    let path = "/apps/app/channels/#server-to-user-7";
    let query = api.sign("GET", path, &[], b"");
    let one = api.send("GET", &format!("{}?{query}", path.replace('#', "%23")), b"");
    assert_eq!(one.json(200), json!({"occupied": true}));
}

#[test]
fn h11_every_refusal_has_its_status_and_the_connection_lives_on() {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    let off = json!({"id": "off", "key": "off-key", "secret": SECRET, "enabled": false});
    configuration["apps"].as_array_mut().unwrap().push(off);
    configuration["limits"] = json!({"data_bytes_max": 1000});
    let server = Server::start(&configuration);
    let (mut port, mut socket) = (Api::connect(&server), Api::connect_locally(&server));
    refusals(&mut port);
    refusals(&mut socket);
    assert_eq!(server.metric("api_requests_rejected_total"), 2 * 20);
    assert_eq!(server.metric("api_requests_total"), 2 * 21);
}

/// All over one connection.
fn refusals<S: Read + Write>(api: &mut Api<S>) {
    let body = event(&["news"], "{}").to_string();
    let body = body.as_bytes();
    let expect = |answered: Answered, status: u16, code: &str| {
        assert_eq!(answered.error(), (status, code.to_owned()));
    };
    expect(api.get("/apps/app", &[]), 404, "not_found");
    expect(api.post("/apps/app/event", body), 404, "not_found");
    expect(api.post("/apps/unknown/events", body), 404, "app_unknown");
    for (method, path, allow) in [("PUT", EVENTS, "post"), ("POST", "/apps/app/channels", "get, head")] {
        let answered = api.send(method, path, b"");
        assert!(answered.head.contains(&format!("allow: {allow}\r\n")), "{}", answered.head);
        expect(answered, 405, "method_not_allowed");
    }
    expect(api.send("POST", EVENTS, body), 401, "auth_missing");
    expect(api.send("GET", "/apps/app/channels?auth_key=app-key", b""), 401, "auth_missing");
    let query = api.sign("POST", EVENTS, &[], body);
    let unsigned = query.replace("body_md5", "body_md6");
    expect(api.send("POST", &format!("{EVENTS}?{unsigned}"), body), 401, "auth_signature");
    expect(api.send("POST", &format!("{EVENTS}?{query}"), b"{}"), 401, "body_md5");
    expect(api.send("POST", &format!("{EVENTS}?{query}"), b""), 401, "body_md5");
    let query = api.sign("POST", EVENTS, &[], b"");
    expect(api.send("POST", &format!("{EVENTS}?{query}"), body), 401, "auth_missing");
    for clock_s in [-700, 700] {
        api.clock_s = clock_s;
        expect(api.post(EVENTS, body), 401, "auth_timestamp");
    }
    api.clock_s = 0;
    api.secret = "another".into();
    expect(api.post(EVENTS, body), 401, "auth_signature");
    api.secret = SECRET.into();
    expect(api.post("/apps/other/events", body), 401, "auth_key");
    api.key = "off-key".into();
    expect(api.post("/apps/off/events", b"no JSON"), 403, "app_disabled");
    api.key = KEY.into();
    expect(api.post(EVENTS, b"no JSON"), 400, "body");
    expect(api.post(EVENTS, br#"{"name":"e","channel":"a","data":{}}"#), 400, "field");
    let both = event(&["news", "private-encrypted-a"], "{}");
    expect(api.post_json(EVENTS, &both), 400, "encrypted_with_others");
    let answered = api.post_json(EVENTS, &event(&["news"], &"x".repeat(1001)));
    assert!(answered.body.contains("1000 bytes") && answered.body.contains("1001"), "{}", answered.body);
    expect(answered, 413, "data_too_large");
    let query = api.sign("HEAD", "/apps/app/channels", &[], b"");
    let answered = api.send("HEAD", &format!("/apps/app/channels?{query}"), b"");
    assert_eq!((answered.status, answered.body.as_str()), (200, ""));
}

#[test]
fn h11_a_body_that_is_too_large_is_refused_however_it_comes() {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    configuration["limits"] = json!({"http_body_bytes_max": 2048});
    let server = Server::start(&configuration);
    let padded = |bytes: usize| {
        let bare = event(&["news"], "").to_string().len();
        event(&["news"], &"x".repeat(bytes - bare)).to_string().into_bytes()
    };
    let target = |api: &Api<_>, body: &[u8]| format!("{EVENTS}?{}", api.sign("POST", EVENTS, &[], body));

    let mut api = Api::connect(&server);
    assert_eq!(api.post(EVENTS, &padded(2048)).json(200), json!({}), "to the byte");
    let answered = api.post(EVENTS, &padded(2049));
    assert!(answered.body.contains("2048 bytes, but found 2049"), "{}", answered.body);
    assert_eq!(answered.error(), (413, "body_too_large".into()));
    assert_eq!(api.post(EVENTS, &padded(2048)).json(200), json!({}), "the connection lives on");

    // Nobody says how long it is.
    for (bytes, status) in [(2048, 200), (2049, 413), (4000, 413)] {
        let mut api = Api::connect(&server);
        let body = padded(bytes);
        let head =
            format!("POST {} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n", target(&api, &body));
        api.write(head.as_bytes());
        for piece in body.chunks(700) {
            api.write(format!("{:x}\r\n", piece.len()).as_bytes());
            api.write(piece);
            api.write(b"\r\n");
        }
        api.write(b"0\r\n\r\n");
        assert_eq!(api.answer(false).status, status, "{bytes} bytes in chunks");
    }

    // A length that is a lie: nothing of it comes, and nobody waits for it, since it is too much in any case.
    let mut api = Api::connect(&server);
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 99999999999\r\n\r\n",
        target(&api, b"x")
    );
    api.write(head.as_bytes());
    assert_eq!(api.answer(false).error(), (413, "body_too_large".into()), "instead of 100 Continue");
    assert!(api.ended(), "nothing else can be said on this connection");
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for_without_end() {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    configuration["limits"] = json!({"request_body_timeout_ms": 50});
    let server = Server::start(&configuration);
    let mut api = Api::connect(&server);
    let query = api.sign("POST", EVENTS, &[], b"{}");
    let head =
        |query: &str| format!("POST {EVENTS}?{query} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n");
    api.write(head(&query).as_bytes());
    assert_eq!(api.answer(false).error(), (408, "body_timeout".into()));
    assert!(api.ended());
    // Who has not proved anything is told so, after as long.
    let mut stranger = Api::connect(&server);
    stranger.write(head("").as_bytes());
    assert_eq!(stranger.answer(false).error(), (401, "auth_missing".into()));
    assert!(stranger.ended());
}

#[test]
fn a_strangers_body_is_not_asked_for() {
    let (_directory, server) = start();
    let mut api = Api::connect(&server);
    let head = format!(
        "POST {EVENTS}?auth_key={KEY} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4000000\r\n\r\n"
    );
    api.write(head.as_bytes());
    assert_eq!(api.answer(false).error(), (401, "auth_missing".into()));
    // Who sends it all the same still gets to see the answer.
    let mut api = Api::connect(&server);
    assert_eq!(api.send("POST", EVENTS, &vec![b'x'; 4_000_000]).error(), (401, "auth_missing".into()));
    assert_eq!(api.post_json(EVENTS, &event(&["a"], "{}")).json(200), json!({}));
}

#[test]
fn h3_below_a_configured_path_the_path_may_be_signed_or_not() {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    configuration["path"] = "/ws".into();
    let server = Server::start(&configuration);
    let mut client = Client::upgrade(&server, "/ws/app/app-key?protocol=7").greeted();
    client.subscribe("news");
    let mut api = Api::connect(&server);
    let mut n = 0;
    for signed in ["", "/ws"] {
        for sent in ["", "/ws"] {
            n += 1;
            let body = event(&["news"], &n.to_string()).to_string();
            let query = api.sign("POST", &format!("{signed}{EVENTS}"), &[], body.as_bytes());
            let answered = api.send("POST", &format!("{sent}{EVENTS}?{query}"), body.as_bytes());
            assert_eq!(answered.json(200), json!({}), "signed below {signed:?}, sent below {sent:?}");
            assert_eq!(client.data(), n.to_string());
        }
    }
    let query = api.sign("GET", "/other/apps/app/channels", &[], b"");
    assert_eq!(api.send("GET", &format!("/other/apps/app/channels?{query}"), b"").error().0, 404);
    assert_eq!(api.send("GET", &format!("/ws/apps/app/channels?{query}"), b"").error().0, 401);
}
