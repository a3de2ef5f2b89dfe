//! A Redis that refuses or loses what the nodes keep there: what a server says of itself then, and what webhooks are told.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use std::collections::{BTreeMap, BTreeSet};

use harness::client::Client;
use harness::fleet::{Dice, Member, Node};
use harness::receiver::Receiver;
use harness::redis::Redis;
use harness::{Server, directory, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

const CHANNEL: &str = "presence-room";

fn start(url: &str, change: impl FnOnce(&mut Value)) -> Node {
    Node::launch(&json!({"url": url}), |configuration| {
        configuration["limits"]["redis_reconnect_ms"] = 100.into();
        change(configuration);
    })
}

fn is_ready(node: &Node) {
    wait_until("it is ready", || node.server.get("/ready").contains(r#"{"status":"ready"}"#));
    assert_eq!(node.server.metric("fleet_away"), 0);
}

/// Its own words, wherever somebody may ask.
fn is_degraded(node: &Node, reason: &str) {
    let server = &node.server;
    wait_until(&format!("it says {reason}"), || {
        let answer = server.get("/ready");
        answer.contains("degraded") && answer.contains(reason)
    });
    assert_eq!((server.metric("fleet_away"), server.metric("broker_away")), (1, 0));
    let status = server.get_local("/status");
    let status: Value = serde_json::from_str(status.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(status["broker"]["standing"], "connected");
    assert_eq!(status["broker"]["store"]["standing"], "away");
    assert!(status["broker"]["store"]["reason"].as_str().unwrap().contains(reason), "{status}");
    server.logged(reason);
}

/// A member of a channel, whose list nobody looks at.
fn join(server: &Server, channel: &str, user_id: &str) -> Client {
    Member::join(server, channel, user_id).client
}

#[test]
fn a_redis_that_refuses_what_is_kept_there_is_named_and_so_is_why() {
    let directory = directory();
    let redis = Redis::start("redis-server", directory.path(), &[]);
    // Everything but one command that is needed as soon as there is something to be kept.
    redis.allow("-sadd");
    let node = &start(&format!("redis://fanfare:secret@127.0.0.1:{}", redis.port), |_| ());
    is_ready(node);
    let mut one = join(&node.server, CHANNEL, "1");
    is_degraded(node, "NOPERM");
    one.settle();
    redis.allow("");
    is_ready(node);
    // All of them, from now on.
    redis.allow("-evalsha");
    is_degraded(node, "NOPERM");
    redis.allow("");
    is_ready(node);
}

#[test]
fn a_redis_without_memory_is_named() {
    let directory = directory();
    for program in ["redis-server", "valkey-server"] {
        let redis = Redis::start(program, directory.path(), &["--maxmemory-policy", "noeviction"]);
        let node = &start(&redis.url(), |_| ());
        is_ready(node);
        assert_eq!(redis.ask("CONFIG SET maxmemory 1").as_deref(), Some("+OK\r\n"));
        is_degraded(node, "OOM");
        assert_eq!(redis.ask("CONFIG SET maxmemory 0").as_deref(), Some("+OK\r\n"));
        is_ready(node);
    }
}

/// Nodes of which webhooks are told, and what they were told so far.
struct Scene {
    nodes: Vec<Node>,
    redis: Redis,
    receiver: Receiver,
    _directory: TempDir,
}

impl Scene {
    fn new(nodes: usize) -> Self {
        let (directory, receiver) = (directory(), Receiver::start());
        let redis = Redis::start("redis-server", directory.path(), &[]);
        let nodes = (0..nodes).map(|_| node(&redis.url(), &receiver)).collect();
        Self { nodes, redis, receiver, _directory: directory }
    }

    fn join(&self, at: usize, channel: &str, user_id: &str) -> Client {
        join(&self.nodes[at].server, channel, user_id)
    }

    /// Redis ends and begins anew, with nothing of what it had; `meanwhile` nobody has it.
    fn lose_data(&mut self, meanwhile: impl FnOnce(&Self)) {
        let before: Vec<usize> = self.places_taken();
        self.redis.kill();
        for node in &self.nodes {
            wait_until("it is away", || node.server.get("/ready").contains("degraded"));
        }
        meanwhile(self);
        self.redis.restart();
        for (node, before) in self.nodes.iter().zip(before) {
            node.server.logged_times(before + 1, "has its place in the fleet");
            is_ready(node);
        }
    }

    fn places_taken(&self) -> Vec<usize> {
        self.nodes.iter().map(|node| node.server.log_lines("has its place in the fleet").len()).collect()
    }

    /// What webhooks were told until each node has told them of a user that comes now, who is left out.
    fn told_until(&self, last: &str) -> Vec<String> {
        let channels: Vec<String> = (0..self.nodes.len()).map(|at| format!("presence-last-{at}")).collect();
        let _last: Vec<Client> =
            channels.iter().enumerate().map(|(at, channel)| self.join(at, channel, last)).collect();
        let mut told: Vec<String> = Vec::new();
        while !channels.iter().all(|channel| told.contains(&format!("member_added {channel} {last}"))) {
            told.extend(self.receiver.hook().events().iter().map(note));
        }
        told.retain(|note| !note.contains("presence-last"));
        told.sort();
        told
    }
}

fn node(url: &str, receiver: &Receiver) -> Node {
    let node = start(url, |configuration| {
        configuration["apps"][0]["webhooks"] = json!([{"url": receiver.url("/")}]);
        configuration["limits"]["webhook_settle_ms"] = 300.into();
    });
    node.server.logged("has its place in the fleet");
    node
}

fn note(event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or("-").to_owned();
    [text("name"), text("channel"), text("user_id")].join(" ")
}

#[test]
fn what_webhooks_were_told_is_not_told_again_when_redis_has_lost_its_data_and_nothing_else_is_lost() {
    let mut scene = Scene::new(2);
    let _one = scene.join(0, "presence-a", "1");
    let mut both = [scene.join(0, "presence-a", "2"), scene.join(1, "presence-a", "2")];
    let mut leaving = scene.join(1, "presence-a", "3");
    let mut last = scene.join(1, "presence-b", "4");
    let expected = [
        "channel_occupied presence-a -",
        "channel_occupied presence-b -",
        "member_added presence-a 1",
        "member_added presence-a 2",
        "member_added presence-a 3",
        "member_added presence-b 4",
    ];
    assert_eq!(scene.told_until("1"), expected);
    let unsubscribe = |client: &mut Client, channel: &str| {
        client.send(json!({"event": "pusher:unsubscribe", "data": {"channel": channel}}));
        client.send(r#"{"event":"pusher:ping","data":{}}"#);
        while client.event()["event"] != "pusher:pong" {}
    };
    let mut come = Vec::new();
    scene.lose_data(|scene| {
        unsubscribe(&mut leaving, "presence-a");
        unsubscribe(&mut last, "presence-b");
        // From one node to the other, where it is said as new before or after it is said to be gone.
        unsubscribe(&mut both[0], "presence-a");
        come.push(scene.join(0, "presence-a", "5"));
        come.push(scene.join(1, "presence-a", "1"));
        come.push(scene.join(1, "presence-c", "6"));
    });
    let expected = [
        "channel_occupied presence-c -",
        "channel_vacated presence-b -",
        "member_added presence-a 5",
        "member_added presence-c 6",
        "member_removed presence-a 3",
        "member_removed presence-b 4",
    ];
    assert_eq!(scene.told_until("2"), expected);
    // Nothing happens meanwhile, and nothing is told; not even when the links stay.
    scene.lose_data(|_| ());
    let places = scene.places_taken();
    assert_eq!(scene.redis.ask("FLUSHALL").as_deref(), Some("+OK\r\n"));
    for (node, places) in scene.nodes.iter().zip(places) {
        node.server.logged_times(places + 1, "has its place in the fleet");
        is_ready(node);
    }
    assert_eq!(scene.told_until("3"), Vec::<String>::new());
    // All of it is known again.
    drop(come);
    let expected =
        ["channel_vacated presence-c -", "member_removed presence-a 5", "member_removed presence-c 6"];
    let mut told: Vec<String> = Vec::new();
    while told.len() < expected.len() {
        told.extend(scene.receiver.hook().events().iter().map(note));
        told.retain(|note| !note.contains("presence-last"));
    }
    told.sort();
    assert_eq!(told, expected);
}

#[test]
fn whatever_is_lost_webhooks_are_told_of_every_member_as_often_to_have_come_as_to_have_gone() {
    const CHANNELS: [&str; 2] = ["presence-a", "presence-b"];
    let mut scene = Scene::new(3);
    let mut dice = Dice::new();
    let mut members: Vec<(&str, String, Client)> = Vec::new();
    let mut balance: BTreeMap<String, i64> = BTreeMap::new();
    for round in 0..4 {
        for loses in [true, false] {
            for _ in 0..dice.below(30) {
                if dice.below(2) == 0 || members.is_empty() {
                    let (at, channel) = (dice.below(3), CHANNELS[dice.below(2)]);
                    let user_id = dice.below(5).to_string();
                    members.push((channel, user_id.clone(), scene.join(at, channel, &user_id)));
                } else {
                    members.swap_remove(dice.below(members.len()));
                }
            }
            if loses { scene.redis.kill() } else { scene.redis.restart() }
        }
        // What happens when data is lost again before all have said what they know is documented, and not looked at.
        scene.nodes.iter().for_each(is_ready);
        for note in scene.told_until(&round.to_string()) {
            match note.split_once(' ') {
                Some(("member_added", who)) => *balance.entry(who.to_owned()).or_default() += 1,
                Some(("member_removed", who)) => *balance.entry(who.to_owned()).or_default() -= 1,
                _ => {}
            }
        }
        let truth: BTreeSet<String> =
            members.iter().map(|(channel, user_id, _)| format!("{channel} {user_id}")).collect();
        balance.retain(|_, n| *n != 0);
        let expected: BTreeMap<String, i64> = truth.into_iter().map(|who| (who, 1)).collect();
        assert_eq!(balance, expected, "after round {round}");
    }
}
