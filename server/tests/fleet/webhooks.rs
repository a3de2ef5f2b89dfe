//! What webhooks are told of the fleet: once, whoever dies, leaves or is cut off before it has told it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use rustix::process::Signal;

use crate::harness::client::Client;
use crate::harness::fleet::{Member, Node};
use crate::harness::receiver::Receiver;
use crate::harness::redis::{Proxy, Redis};
use crate::harness::{Server, configuration, directory, wait_until};

const CHANNEL: &str = "presence-room";
const FACTS: &str = "fanfare:{app:presence-room}:facts";
/// Of a node that is to be gone before it tells anything that waits.
const NEVER_MS: u64 = 60_000;
const SOON_MS: u64 = 300;

/// A node that tells what waits after so long.
fn node(url: &str, receiver: &Receiver, settle_ms: u64) -> Node {
    node_with(url, receiver, |limits| limits["webhook_settle_ms"] = settle_ms.into())
}

fn node_with(url: &str, receiver: &Receiver, change: impl FnOnce(&mut Value)) -> Node {
    Node::start(url, |configuration| {
        configuration["apps"][0]["webhooks"] = json!([{"url": receiver.url("/")}]);
        configuration["limits"]["redis_reconnect_ms"] = 100.into();
        change(&mut configuration["limits"]);
    })
}

fn redis() -> (tempfile::TempDir, Redis) {
    let directory = directory();
    let redis = Redis::start("redis-server", directory.path(), &[]);
    (directory, redis)
}

/// Waits until webhooks are told so much, and gives it in order of the text.
fn told(receiver: &Receiver, count: usize) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    while told.len() < count {
        told.extend(receiver.hook().events().iter().map(note));
    }
    told.sort();
    told
}

fn note(event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or("-").to_owned();
    [text("name"), text("channel"), text("user_id")].join(" ")
}

const COME: [&str; 2] = ["channel_occupied presence-room -", "member_added presence-room 1"];
const GONE: [&str; 2] = ["channel_vacated presence-room -", "member_removed presence-room 1"];

/// A removal stands among the facts, as something that waits.
fn waits(redis: &Redis) -> bool {
    redis.ask(&format!("HGETALL {FACTS}")).unwrap().contains("\r\ng1\r\n")
}

/// Nothing is left in Redis of anybody who is gone, and nothing more is told: what comes after it is.
fn nothing_is_left(redis: &Redis, server: &Server, receiver: &Receiver) {
    wait_until("no facts are left", || redis.ask(&format!("EXISTS {FACTS}")).unwrap() == ":0\r\n");
    wait_until("no lease has any", || redis.ask("KEYS fanfare:lease:*").unwrap() == "*0\r\n");
    drop(Member::join(server, "presence-last", "9"));
    let expected = ["channel_occupied", "channel_vacated", "member_added", "member_removed"];
    let told = told(receiver, expected.len());
    assert!(
        told.iter().zip(expected).all(|(told, name)| told.starts_with(&format!("{name} presence-last"))),
        "{told:?}"
    );
    assert!(receiver.rest().is_empty());
}

#[test]
fn what_waits_at_a_node_that_is_killed_is_told_by_another() {
    let ((_directory, redis), receiver) = (redis(), Receiver::start());
    let [one, two] = [NEVER_MS, SOON_MS].map(|settle_ms| node(&redis.url(), &receiver, settle_ms));
    let mut member = Member::join(&one.server, CHANNEL, "1");
    assert_eq!(told(&receiver, 2), COME);
    member.leave(CHANNEL);
    wait_until("its removal waits", || waits(&redis));
    one.server.kill();
    assert_eq!(told(&receiver, 2), GONE);
    nothing_is_left(&redis, &two.server, &receiver);
}

#[test]
fn what_waits_at_a_node_that_reaps_another_is_told_when_both_are_killed() {
    let ((_directory, redis), receiver) = (redis(), Receiver::start());
    let [one, two] = [SOON_MS, NEVER_MS].map(|settle_ms| node(&redis.url(), &receiver, settle_ms));
    two.knows_of(2);
    let _member = Member::join(&one.server, CHANNEL, "1");
    assert_eq!(told(&receiver, 2), COME);
    one.server.kill();
    wait_until("the other has reaped it", || waits(&redis));
    let three = node(&redis.url(), &receiver, SOON_MS);
    two.server.kill();
    assert_eq!(told(&receiver, 2), GONE);
    nothing_is_left(&redis, &three.server, &receiver);
}

#[test]
fn who_moves_from_a_node_that_leaves_to_another_is_not_told_to_be_gone() {
    let ((_directory, redis), receiver) = (redis(), Receiver::start());
    let [mut one, two] = [NEVER_MS, 2_000].map(|settle_ms| node(&redis.url(), &receiver, settle_ms));
    [&one, &two].iter().for_each(|node| node.knows_of(2));
    let mut member = Member::join(&one.server, CHANNEL, "1");
    assert_eq!(told(&receiver, 2), COME);
    one.server.signal(Signal::TERM);
    member.client.close_frame();
    assert!(one.server.wait().success());
    let mut moved = Member::join(&two.server, CHANNEL, "1");
    wait_until("it is reaped, and nothing of it waits", || {
        redis.leases() == Some(1) && !waits(&redis) && two.server.metric("fleet_nodes") == 1
    });
    moved.leave(CHANNEL);
    assert_eq!(told(&receiver, 2), GONE);
    nothing_is_left(&redis, &two.server, &receiver);
}

#[test]
fn the_last_of_a_fleet_tells_what_waits_before_it_ends() {
    let ((_directory, redis), receiver) = (redis(), Receiver::start());
    let mut node = node(&redis.url(), &receiver, NEVER_MS);
    let _member = Member::join(&node.server, CHANNEL, "1");
    assert_eq!(told(&receiver, 2), COME);
    node.server.signal(Signal::TERM);
    assert_eq!(told(&receiver, 2), GONE);
    assert!(node.server.wait().success());
    for keys in [FACTS, "fanfare:lease:*"] {
        assert_eq!(redis.ask(&format!("KEYS {keys}")).as_deref(), Some("*0\r\n"));
    }
}

#[test]
fn all_of_a_fleet_that_are_told_to_end_at_once_leave_nothing_untold() {
    let ((_directory, redis), receiver) = (redis(), Receiver::start());
    let mut nodes = [0, 1, 2].map(|_| node(&redis.url(), &receiver, NEVER_MS));
    nodes.iter().for_each(|node| node.knows_of(3));
    let members = [0, 1, 2].map(|at| Member::join(&nodes[at].server, CHANNEL, &at.to_string()));
    assert_eq!(told(&receiver, 1 + members.len()).len(), 4);
    nodes.iter().for_each(|node| node.server.signal(Signal::TERM));
    let gone = ["channel_vacated presence-room -", "member_removed presence-room 0"];
    let gone = gone.map(str::to_owned).into_iter();
    let gone: Vec<String> = gone.chain([1, 2].map(|n| format!("member_removed presence-room {n}"))).collect();
    assert_eq!(told(&receiver, gone.len()), gone);
    assert!(nodes.iter_mut().all(|node| node.server.wait().success()));
    assert!(receiver.rest().is_empty());
    for keys in [FACTS, "fanfare:lease:*"] {
        assert_eq!(redis.ask(&format!("KEYS {keys}")).as_deref(), Some("*0\r\n"));
    }
}

#[test]
fn the_last_number_of_subscribers_is_right_though_all_leave_at_once_from_several_nodes() {
    let ((_directory, redis), receiver) = (redis(), Receiver::start());
    let nodes = [0, 1, 2].map(|_| {
        Node::start(&redis.url(), |configuration| {
            configuration["apps"][0]["subscription_count"] = true.into();
            configuration["apps"][0]["webhooks"] =
                json!([{"url": receiver.url("/"), "events": ["subscription_count"]}]);
        })
    });
    const CHANNELS: usize = 10;
    let mut clients: Vec<Client> = nodes.iter().map(|node| Client::connect(&node.server)).collect();
    for client in &mut clients {
        for channel in 0..CHANNELS {
            client.send(json!({"event": "pusher:subscribe", "data": {"channel": format!("c{channel}")}}));
        }
    }
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    let mut all_are = |count: u64| {
        while last.len() < CHANNELS || last.values().any(|last| *last != count) {
            for event in receiver.hook().events() {
                let count = event["subscription_count"].as_u64().unwrap();
                last.insert(event["channel"].as_str().unwrap().to_owned(), count);
            }
        }
    };
    all_are(3);
    drop(clients);
    all_are(0);
    // What comes after it is told after everything before it.
    let mut one = Client::connect(&nodes[0].server);
    one.subscribe("last");
    let told = receiver.events_until(|event| event["channel"] == "last");
    assert!(told.iter().all(|told| told["channel"] == "last" || told["subscription_count"] == 0), "{told:?}");
}

#[test]
fn what_waits_goes_out_though_its_app_is_gone_or_tells_nobody_any_more() {
    let changes: [fn(&mut Value); 2] = [
        |apps| drop(apps[0].as_object_mut().unwrap().remove("webhooks")),
        |apps| drop(apps.as_array_mut().unwrap().remove(0)),
    ];
    for change in changes {
        let ((_redis, redis), receiver, directory) = (redis(), Receiver::start(), directory());
        let mut settings = configuration(directory.path());
        settings["redis"] = json!({"url": redis.url()});
        settings["limits"] = json!({"lease_ms": 1_500, "webhook_settle_ms": 2_000});
        settings["apps"][0]["webhooks"] = json!([{"url": receiver.url("/")}]);
        let file = directory.path().join("fanfare.json");
        std::fs::write(&file, settings.to_string()).unwrap();
        let server = Server::start_from(&file);
        server.logged("this node has its place in the fleet");
        let mut member = Member::join(&server, CHANNEL, "1");
        assert_eq!(told(&receiver, 2), COME);
        member.leave(CHANNEL);
        wait_until("its removal waits", || waits(&redis));
        change(&mut settings["apps"]);
        std::fs::write(&file, settings.to_string()).unwrap();
        server.signal(Signal::HUP);
        server.logged("is read again and taken");
        assert_eq!(told(&receiver, 2), GONE);
        wait_until("no facts are left", || redis.ask(&format!("EXISTS {FACTS}")).unwrap() == ":0\r\n");
    }
}

#[test]
fn an_answer_that_is_lost_loses_no_removal() {
    let ((_directory, redis), receiver) = (redis(), Receiver::start());
    let proxy = Proxy::to(redis.port);
    let node = node(&format!("redis://127.0.0.1:{}", proxy.port), &receiver, SOON_MS);
    let mut member = Member::join(&node.server, CHANNEL, "1");
    assert_eq!(told(&receiver, 2), COME);
    proxy.loses_the_answer_to(b"\r\nask\r\n");
    member.leave(CHANNEL);
    wait_until("it is settled, and nobody knows", || {
        redis.ask(&format!("HGETALL {FACTS}")).unwrap().contains("!\r\n")
    });
    assert!(receiver.rest().is_empty());
    proxy.cut();
    proxy.heal();
    assert_eq!(told(&receiver, 2), GONE);
    nothing_is_left(&redis, &node.server, &receiver);
}

/// A server that is new to Redis cannot see that its data is lost. Those who can come a moment later, and one of them not
/// before a member has gone from the others.
#[test]
fn nothing_is_told_again_though_a_new_node_is_the_first_after_a_loss_of_data() {
    let ((_directory, redis), receiver) = (redis(), Receiver::start());
    let node = || {
        node_with(&redis.url(), &receiver, |limits| {
            limits["webhook_settle_ms"] = SOON_MS.into();
            // They stand still for less.
            limits["lease_ms"] = 5_000.into();
        })
    };
    let [one, two] = [node(), node()];
    [&one, &two].iter().for_each(|node| node.knows_of(2));
    let mut members = [&one, &two].map(|node| Member::join(&node.server, CHANNEL, "1"));
    assert_eq!(told(&receiver, 2), COME);
    [&one, &two].iter().for_each(|node| node.server.freeze());
    assert_eq!(redis.ask("FLUSHALL").as_deref(), Some("+OK\r\n"));
    let three = node();
    one.server.signal(Signal::CONT);
    one.server.logged_times(2, "has its place in the fleet");
    members[0].leave(CHANNEL);
    // For it knows of nobody else who has the member.
    wait_until("its removal waits", || waits(&redis));
    let waits_since = Instant::now();
    wait_until("it would have settled", || waits_since.elapsed() > Duration::from_millis(3 * SOON_MS));
    two.server.signal(Signal::CONT);
    two.server.logged_times(2, "has its place in the fleet");
    wait_until("it does no longer", || !waits(&redis));
    members[1].leave(CHANNEL);
    assert_eq!(told(&receiver, 2), GONE);
    nothing_is_left(&redis, &three.server, &receiver);
}
