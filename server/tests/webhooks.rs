//! Webhooks, from what a client does to the request that an application gets: the real server, real sockets, and a
//! receiver that checks every signature.
//!
//! "Nothing else came" is shown by something that comes after it: an endpoint is told in order.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use fanfare_server::config::Secret;
use fanfare_server::limits::Limits;
use fanfare_server::metrics::Metrics;
use fanfare_server::pusher::signature;
use fanfare_server::webhooks::{AppHooks, Endpoint, Event, ExtraHeader, Url, Webhooks};
use harness::client::Client;
use harness::receiver::{Answer, Receiver};
use harness::{KEY, SECRET, Server, configuration, directory, run_to_end, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// A configuration whose first app has these webhooks. Nothing waits longer than it must, and each event goes alone.
fn with_webhooks(directory: &Path, webhooks: Value) -> Value {
    let mut configuration = configuration(directory);
    configuration["apps"][0]["webhooks"] = webhooks;
    // Clients of a test that waits for the server to leave do not answer its close frame.
    configuration["limits"] = json!({
        "close_timeout_ms": 1,
        "webhook_settle_ms": 1, "webhook_batch_events_max": 1, "webhook_backoff_ms": 1, "webhook_timeout_ms": 60_000,
    });
    configuration
}

fn sign(text: &str) -> String {
    format!("{KEY}:{}", signature::sign(&Secret::new(SECRET), &[text]))
}

/// Subscribes to a channel that needs the app's signature.
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

/// Occupies a channel, of which nothing else is heard in the test, and waits until the receiver is told. Gives what
/// it was told before.
fn told_until_now(client: &mut Client, receiver: &Receiver, sentinel: &str) -> Vec<Value> {
    client.subscribe(sentinel);
    let mut events = receiver.events_until(|event| *event == occupied(sentinel));
    events.pop();
    events
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
fn w_each_kind_of_event_is_told_once() {
    let (directory, receiver) = (directory(), Receiver::start());
    let mut configuration = with_webhooks(directory.path(), json!([{"url": receiver.url("/hook?a=b")}]));
    configuration["apps"][0]["subscription_count"] = true.into();
    let server = Server::start(&configuration);
    let mut client = Client::connect(&server);
    let socket_id = client.socket_id.clone();

    subscribe_signed(&mut client, "presence-a", Some("7"));
    let hook = receiver.hook();
    assert_eq!((hook.path.as_str(), &*hook.headers["X-Pusher-Key"]), ("/hook?a=b", KEY));
    let mut events = hook.events();
    client.send(json!({"event": "client-x", "channel": "presence-a", "data": {"a": [1, "ü"]}}));
    client.send(json!({"event": "client-y", "channel": "presence-a", "data": "a \"text\""}));
    client.send(json!({"event": "client-z", "channel": "presence-a"}));
    let last = json!({"name": "client_event", "channel": "presence-a", "event": "client-z", "data": "",
        "socket_id": socket_id, "user_id": "7"});
    events.extend(receiver.events_until(|event| *event == last));
    let (mut x, mut y) = (last.clone(), last.clone());
    (x["event"], x["data"]) = ("client-x".into(), r#"{"a":[1,"ü"]}"#.into());
    (y["event"], y["data"]) = ("client-y".into(), r#"a "text""#.into());
    assert_eq!(events, [occupied("presence-a"), member("member_added", "presence-a", "7"), x, y, last]);

    unsubscribe(&mut client, "presence-a");
    let events = receiver.events_until(|event| *event == vacated("presence-a"));
    assert_eq!(events, [member("member_removed", "presence-a", "7"), vacated("presence-a")]);

    client.send(json!({"event": "pusher:subscribe", "data": {"channel": "cache-b"}}));
    let miss = json!({"name": "cache_miss", "channel": "cache-b"});
    let events = receiver.events_until(|event| *event == miss);
    assert_eq!(events, [occupied("cache-b"), count("cache-b", 1), miss]);
    unsubscribe(&mut client, "cache-b");
    let events = receiver.events_until(|event| *event == vacated("cache-b"));
    assert_eq!(events, [count("cache-b", 0), vacated("cache-b")]);

    let mut client = Client::connect(&server);
    assert_eq!(told_until_now(&mut client, &receiver, "end"), [] as [Value; 0]);
    wait_until("nothing waits", || server.metric("webhooks_waiting") == 0);
    assert_eq!(receiver.events_until(|event| *event == count("end", 1)).len(), 1);
    assert_eq!(server.metric("webhooks_dropped_total"), 0);
    wait_until("all are counted", || server.metric("webhooks_sent_total") == 14);
    assert_eq!(server.metric("webhook_attempts_failed_total"), 0);
    // Fourteen requests. One may come before its predecessor's connection is free again.
    assert!(receiver.connections() < 5, "{} connections", receiver.connections());
}

#[test]
fn w_a_refused_client_event_and_an_app_without_webhooks_are_not_told() {
    let (directory, receiver) = (directory(), Receiver::start());
    let server = Server::start(&with_webhooks(directory.path(), json!([{"url": receiver.url("/")}])));
    let mut stranger = Client::upgrade(&server, "/app/other-key?protocol=7").greeted();
    stranger.subscribe("news");
    let mut client = Client::connect(&server);
    client.subscribe("public");
    client.send(json!({"event": "client-x", "channel": "public", "data": 1}));
    assert_eq!(client.event()["data"]["code"], 4301);
    client.send(json!({"event": "client-x", "channel": "private-not-subscribed", "data": 1}));
    assert_eq!(client.event()["data"]["code"], 4009);
    assert_eq!(told_until_now(&mut client, &receiver, "end"), [occupied("public")]);
}

#[test]
fn w_the_channel_of_one_user_is_nobodys_business() {
    let (directory, receiver) = (directory(), Receiver::start());
    let mut configuration = with_webhooks(directory.path(), json!([{"url": receiver.url("/")}]));
    configuration["apps"][0]["subscription_count"] = true.into();
    let server = Server::start(&configuration);
    let mut client = Client::connect(&server);
    let user_data = r#"{"id":"7"}"#;
    let auth = sign(&format!("{}::user::{user_data}", client.socket_id));
    client.send(json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}}));
    assert_eq!(client.event()["event"], "pusher:signin_success");
    client.subscribe("#server-to-user-7");
    unsubscribe(&mut client, "#server-to-user-7");
    client.settle();
    assert_eq!(told_until_now(&mut client, &receiver, "end"), [] as [Value; 0]);
}

#[test]
fn w_an_endpoint_hears_what_its_filters_let_through() {
    let (directory, all, some) = (directory(), Receiver::start(), Receiver::start());
    let webhooks = json!([
        {"url": some.url("/kinds"), "events": ["member_added", "channel_vacated"]},
        {"url": some.url("/prefix"), "channel_prefix": "presence-"},
        {"url": some.url("/both"), "channel_prefix": "b", "channel_suffix": "-eu"},
        {"url": all.url("/all")},
    ]);
    let mut configuration = with_webhooks(directory.path(), webhooks);
    configuration["limits"]["webhook_batch_ms"] = 60_000.into();
    configuration["limits"]["webhook_batch_events_max"] = 250.into();
    configuration["apps"][0]["webhooks"][3]["headers"] =
        json!({"authorization": "Bearer abc", "X-Tenant": "7"});
    let mut server = Server::start(&configuration);
    let mut client = Client::connect(&server);
    subscribe_signed(&mut client, "presence-a", Some("1"));
    client.subscribe("b-eu");
    client.subscribe("a-eu");
    client.subscribe("b-us");
    // What waits for company goes when the server leaves.
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    let hook = all.hook();
    assert_eq!((&*hook.headers["Authorization"], &*hook.headers["X-Tenant"]), ("Bearer abc", "7"));
    let mut told: Vec<(String, Vec<Value>)> =
        some.rest().into_iter().map(|hook| (hook.path.clone(), hook.events())).collect();
    told.sort_by(|a, b| a.0.cmp(&b.0));
    let (added, removed) =
        (member("member_added", "presence-a", "1"), member("member_removed", "presence-a", "1"));
    let occupied_then_vacated = |channel| [occupied(channel), vacated(channel)];
    // A connection that leaves leaves its channels in no order that means anything.
    assert_eq!(told[0], ("/both".to_owned(), occupied_then_vacated("b-eu").to_vec()));
    let (path, mut kinds) = told[1].clone();
    assert_eq!((path.as_str(), kinds.remove(0)), ("/kinds", added.clone()));
    kinds.sort_by_key(|event| event["channel"].as_str().unwrap().to_owned());
    assert_eq!(kinds, ["a-eu", "b-eu", "b-us", "presence-a"].map(vacated));
    assert_eq!(
        told[2],
        ("/prefix".to_owned(), vec![occupied("presence-a"), added, removed, vacated("presence-a")])
    );
    assert_eq!(told.len(), 3);
    assert_eq!(hook.events().len(), 10);
}

#[test]
fn w_a_page_that_is_loaded_again_gives_nothing() {
    let (directory, receiver) = (directory(), Receiver::start());
    let mut configuration = with_webhooks(directory.path(), json!([{"url": receiver.url("/")}]));
    configuration["limits"]["webhook_settle_ms"] = 60_000.into();
    let mut server = Server::start(&configuration);
    let mut bystander = Client::connect(&server);
    let mut page = Client::connect(&server);
    subscribe_signed(&mut page, "presence-a", Some("7"));
    page.subscribe("news");
    // Within one connection, then with a new one, as a browser does it.
    unsubscribe(&mut page, "presence-a");
    subscribe_signed(&mut page, "presence-a", Some("7"));
    page.socket.close(None).unwrap();
    page.finish();
    wait_until("the page is gone", || server.metric("channels") == 0);
    let mut page = Client::connect(&server);
    subscribe_signed(&mut page, "presence-a", Some("7"));
    page.subscribe("news");
    let added = member("member_added", "presence-a", "7");
    assert_eq!(
        told_until_now(&mut bystander, &receiver, "end"),
        [occupied("presence-a"), added, occupied("news")]
    );
    // Whoever does not come back has left: here, when the server leaves.
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    let mut left: Vec<Value> = receiver.rest().iter().flat_map(harness::receiver::Hook::events).collect();
    left.sort_by_key(Value::to_string);
    let mut expected = vec![
        member("member_removed", "presence-a", "7"),
        vacated("presence-a"),
        vacated("news"),
        vacated("end"),
    ];
    expected.sort_by_key(Value::to_string);
    assert_eq!(left, expected);
}

#[test]
fn w_a_batch_waits_for_company_and_holds_so_much() {
    let (directory, receiver) = (directory(), Receiver::start());
    let mut configuration = with_webhooks(directory.path(), json!([{"url": receiver.url("/")}]));
    configuration["limits"]["webhook_batch_ms"] = 60_000.into();
    configuration["limits"]["webhook_batch_events_max"] = 3.into();
    let mut server = Server::start(&configuration);
    let mut client = Client::connect(&server);
    for channel in ["a", "b", "c", "d"] {
        client.subscribe(channel);
    }
    assert_eq!(receiver.hook().events(), ["a", "b", "c"].map(occupied));
    wait_until("the fourth one waits alone", || server.metric("webhooks_waiting") == 1);
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    assert_eq!(receiver.hook().events()[0], occupied("d"));
}

#[test]
fn w_of_the_numbers_of_a_channel_a_batch_holds_the_latest() {
    let (directory, receiver) = (directory(), Receiver::start());
    let webhooks = json!([{"url": receiver.url("/"), "events": ["subscription_count"]}]);
    let mut configuration = with_webhooks(directory.path(), webhooks);
    configuration["apps"][0]["subscription_count"] = true.into();
    configuration["limits"]["webhook_batch_ms"] = 60_000.into();
    configuration["limits"]["webhook_batch_events_max"] = 2.into();
    let server = Server::start(&configuration);
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(&server)).collect();
    clients.iter_mut().for_each(|client| client.subscribe("news"));
    let mut other = Client::connect(&server);
    other.subscribe("other");
    assert_eq!(receiver.hook().events(), [count("news", 3), count("other", 1)]);
}

#[test]
fn w_a_failed_attempt_is_repeated_with_the_same_text_until_it_is_accepted() {
    let (directory, receiver) = (directory(), Receiver::start());
    let server = Server::start(&with_webhooks(directory.path(), json!([{"url": receiver.url("/hook")}])));
    let failing = [Answer::Status(500), Answer::Close, Answer::Redirect, Answer::Status(404)];
    receiver.answer(&failing, Answer::Status(204));
    let mut client = Client::connect(&server);
    client.subscribe("a");
    let first = receiver.hook();
    assert_eq!((first.answer, first.events()), (failing[0], vec![occupied("a")]));
    for answer in &failing[1..] {
        let again = receiver.hook();
        assert_eq!((again.answer, again.path.as_str()), (*answer, "/hook"), "a redirect is not followed");
        assert_eq!((&again.body, &again.headers), (&first.body, &first.headers));
    }
    let last = receiver.hook();
    assert_eq!((last.answer, &last.body), (Answer::Status(204), &first.body));
    assert_eq!(told_until_now(&mut client, &receiver, "end"), [] as [Value; 0]);
    wait_until("both are counted", || server.metric("webhooks_sent_total") == 2);
    assert_eq!(server.metric("webhook_attempts_failed_total"), 4);
    assert_eq!((server.metric("webhooks_dropped_total"), server.metric("webhooks_waiting")), (0, 0));
    let failure = server.logged("a webhook endpoint fails; it is tried again");
    assert!(failure.contains("500 Internal Server Error"), "{failure}");
    server.logged("a webhook endpoint works again");
    assert_eq!(server.log_lines("it is tried again").len(), 1, "one outage is one line");
}

#[test]
fn w_an_endpoint_that_does_not_answer_is_tried_again() {
    let (directory, receiver) = (directory(), Receiver::start());
    let mut configuration = with_webhooks(directory.path(), json!([{"url": receiver.url("/hook")}]));
    configuration["limits"]["webhook_timeout_ms"] = 200.into();
    let server = Server::start(&configuration);
    receiver.answer(&[Answer::Hang], Answer::Status(200));
    let mut client = Client::connect(&server);
    client.subscribe("a");
    let first = receiver.hook();
    assert_eq!((first.answer, first.events()), (Answer::Hang, vec![occupied("a")]));
    assert_eq!(receiver.hook().body, first.body);
    let failure = server.logged("it is tried again");
    assert!(failure.contains("did not answer within 200ms (webhook_timeout_ms)"), "{failure}");
    wait_until("it is counted", || server.metric("webhooks_sent_total") == 1);
}

#[test]
fn w_events_keep_their_order_while_their_endpoint_fails() {
    let (directory, receiver) = (directory(), Receiver::start());
    let mut configuration = with_webhooks(directory.path(), json!([{"url": receiver.url("/")}]));
    configuration["limits"]["webhook_batch_events_max"] = 2.into();
    let server = Server::start(&configuration);
    receiver.answer(&[Answer::Status(503); 8], Answer::Status(200));
    let mut client = Client::connect(&server);
    let channels: Vec<String> = (0..50).map(|n| format!("channel-{n}")).collect();
    channels.iter().for_each(|channel| client.subscribe(channel));
    let events = receiver.events_until(|event| *event == occupied("channel-49"));
    assert_eq!(events, channels.iter().map(|channel| occupied(channel)).collect::<Vec<_>>());
}

#[test]
fn w_what_an_endpoint_does_not_take_for_too_long_is_dropped_and_counted() {
    let directory = directory();
    // Bound, so that nobody else is, but nobody listens.
    let unreachable = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut configuration =
        with_webhooks(directory.path(), json!([{"url": format!("http://{unreachable}/hook?token=hidden")}]));
    configuration["limits"]["webhook_retry_s"] = 1.into();
    configuration["limits"]["webhook_backoff_ms"] = 100.into();
    let server = Server::start(&configuration);
    let mut client = Client::connect(&server);
    client.subscribe("a");
    client.subscribe("b");
    wait_until("both are dropped", || server.metric("webhooks_dropped_total") == 2);
    assert_eq!((server.metric("webhooks_sent_total"), server.metric("webhooks_waiting")), (0, 0));
    assert!(server.metric("webhook_attempts_failed_total") > 1);
    let dropped = server.logged("webhook events are dropped");
    assert!(dropped.contains("(webhook_retry_s)"), "{dropped}");
    assert!(server.log_lines("hidden").is_empty(), "{:?}", server.log_lines("hidden"));
}

#[test]
fn w_a_dead_endpoint_delays_no_other_and_what_waits_for_it_is_bounded() {
    let (directory, dead, living) = (directory(), Receiver::start(), Receiver::start());
    let webhooks = json!([{"url": dead.url("/"), "events": ["channel_occupied"]}, {"url": living.url("/")}]);
    let mut configuration = with_webhooks(directory.path(), webhooks);
    configuration["limits"]["webhook_queue_bytes_max"] = 4_096.into();
    let server = Server::start(&configuration);
    dead.answer(&[], Answer::Hang);
    let mut client = Client::connect(&server);
    client.subscribe("channel-0");
    assert_eq!(dead.hook().events(), [occupied("channel-0")]);
    for n in 0..50 {
        if n > 0 {
            client.subscribe(&format!("channel-{n}"));
        }
        let channel = format!("channel-{n}");
        assert_eq!(living.events_until(|_| true), [occupied(&channel)], "while the other one is dead");
    }
    let dropped = server.metric("webhooks_dropped_total");
    assert!((1..50).contains(&dropped), "{dropped}");
    wait_until("the rest waits", || server.metric("webhooks_waiting") == 50 - dropped);
    assert!(server.logged("webhook events are dropped").contains("(webhook_queue_bytes_max)"));
    dead.answer(&[], Answer::Status(200));
    dead.release();
    // The oldest were kept.
    let last = occupied(&format!("channel-{}", 49 - dropped));
    let events = dead.events_until(|event| *event == last);
    assert_eq!(events.len() as u64, 50 - dropped);
    wait_until("nothing waits", || server.metric("webhooks_waiting") == 0);
}

#[test]
fn w_the_server_leaves_in_bounded_time_and_says_what_is_lost() {
    let (directory, dead) = (directory(), Receiver::start());
    let mut configuration = with_webhooks(directory.path(), json!([{"url": dead.url("/")}]));
    configuration["limits"]["drain_timeout_ms"] = 2_000.into();
    let mut server = Server::start(&configuration);
    dead.answer(&[], Answer::Hang);
    let mut client = Client::connect(&server);
    client.subscribe("a");
    dead.hook();
    server.signal(Signal::TERM);
    assert_eq!(u16::from(client.close_frame().code), 4200);
    client.finish();
    assert!(server.wait().success());
    let lost: Value = serde_json::from_str(&server.logged("are lost")).unwrap();
    assert_eq!(lost["fields"]["events"], 2);
}

#[test]
fn w_a_leaving_server_tries_once_more_what_has_failed() {
    let (directory, receiver) = (directory(), Receiver::start());
    let mut configuration = with_webhooks(directory.path(), json!([{"url": receiver.url("/")}]));
    configuration["limits"]["webhook_backoff_ms"] = 30_000.into();
    let mut server = Server::start(&configuration);
    receiver.answer(&[Answer::Status(500)], Answer::Status(200));
    let mut client = Client::connect(&server);
    client.subscribe("a");
    let first = receiver.hook();
    server.logged("it is tried again");
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    assert_eq!(receiver.hook().body, first.body);
    assert_eq!(receiver.hook().events(), [vacated("a")]);
}

/// A self-made authority, and a server's configuration with a certificate of it.
fn authority() -> (String, Arc<ServerConfig>) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new([]).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = parameters.self_signed(&authority_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let issuer = rcgen::Issuer::from_params(&parameters, &authority_key);
    let parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = parameters.signed_by(&key, &issuer).unwrap();
    let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (authority.pem(), Arc::new(tls))
}

#[test]
fn w_https_is_spoken_with_whom_a_configured_authority_vouches_for() {
    let (directory, (pem, tls)) = (directory(), authority());
    let receiver = Receiver::start_with(&[SECRET], Some(tls));
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, pem).unwrap();
    let mut configuration = with_webhooks(directory.path(), json!([{"url": receiver.url("/hook")}]));
    configuration["webhook_ca_file"] = ca_file.to_str().unwrap().into();
    let server = Server::start(&configuration);
    let mut client = Client::connect(&server);
    client.subscribe("a");
    let hook = receiver.hook();
    assert_eq!((hook.path.as_str(), hook.events()), ("/hook", vec![occupied("a")]));
    wait_until("it is counted", || server.metric("webhooks_sent_total") == 1);
    assert_eq!(server.metric("webhook_attempts_failed_total"), 0);
}

#[test]
fn w_https_is_not_spoken_with_strangers() {
    let (directory, (_, tls)) = (directory(), authority());
    let receiver = Receiver::start_with(&[SECRET], Some(tls));
    let server = Server::start(&with_webhooks(directory.path(), json!([{"url": receiver.url("/hook")}])));
    let mut client = Client::connect(&server);
    client.subscribe("a");
    let failure = server.logged("it is tried again");
    assert!(failure.contains("UnknownIssuer"), "{failure}");
    assert!(receiver.rest().is_empty(), "nothing was said to it");
}

#[test]
fn w_a_file_of_authorities_that_cannot_be_used_is_told_before_anything_is_served() {
    let directory = directory();
    let mut configuration = configuration(directory.path());
    let path = directory.path().join("ca.pem");
    configuration["webhook_ca_file"] = path.to_str().unwrap().into();
    let start = || {
        let told = ["serve", "check"].map(|command| {
            let (status, stderr) = run_to_end(&[command, "--config", "-"], &configuration.to_string());
            assert_eq!(status.code(), Some(64), "{stderr}");
            stderr
        });
        assert_eq!(told[0], told[1]);
        told[0].clone()
    };
    let missing = start();
    assert!(missing.contains("cannot read webhook_ca_file /") && missing.contains("ca.pem"), "{missing}");
    std::fs::write(&path, "no certificate").unwrap();
    let none = start();
    assert!(none.contains("but found none"), "{none}");
    std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let unsound = start();
    assert!(unsound.contains("but found another"), "{unsound}");
}

#[test]
fn w_what_waits_goes_out_with_the_secret_and_headers_that_are_configured_since() {
    let receiver = Receiver::start_with(&["old", "new"], None);
    receiver.answer(&[], Answer::Status(401));
    let hooks = |secret: &str, token: &str| {
        let mut endpoint = Endpoint::new(Url::parse(&receiver.url("/")).unwrap());
        endpoint.headers = vec![ExtraHeader::parse("authorization", token).unwrap()];
        Arc::new(AppHooks::new("app", KEY, Secret::new(secret), vec![endpoint]))
    };
    let limits = Limits { webhook_backoff_ms: 1, webhook_batch_ms: 0, ..Limits::default() };
    let (webhooks, ending) = Webhooks::start(&limits, None, Arc::new(Metrics::default())).unwrap();
    webhooks.notify(&hooks("old", "old"), Event::CacheMiss { channel: "a".into() });
    let first = receiver.hook();
    assert_eq!(first.headers["Authorization"], "old");
    webhooks.notify(&hooks("new", "new"), Event::CacheMiss { channel: "b".into() });
    let again =
        std::iter::from_fn(|| Some(receiver.hook())).find(|hook| hook.headers["Authorization"] == "new");
    let again = again.unwrap();
    assert_eq!(again.body, first.body);
    assert_ne!(again.headers["X-Pusher-Signature"], first.headers["X-Pusher-Signature"]);
    receiver.answer(&[], Answer::Status(200));
    let is_b = |event: &Value| event["channel"] == "b";
    assert_eq!(receiver.events_until(is_b).len(), 2);
    drop(ending);
}
