//! Several nodes over one Redis, and clients on presence channels, who keep the list that they are told.

use std::collections::BTreeSet;

use fanfare_server::config::Secret;
use fanfare_server::pusher::signature::sign;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::Client;
use super::redis::Redis;
use super::{KEY, SECRET, Server, configuration, directory, wait_until};

/// A node with a directory of its own.
pub struct Node {
    pub server: Server,
    _directory: TempDir,
}

impl Node {
    /// Starts a node, and waits until it has its place in the fleet.
    pub fn start(url: &str, change: impl FnOnce(&mut Value)) -> Self {
        Self::start_over(&json!({"url": url}), change)
    }

    /// The same with any way to Redis.
    pub fn start_over(redis: &Value, change: impl FnOnce(&mut Value)) -> Self {
        let node = Self::launch(redis, change);
        node.server.logged("this node has its place in the fleet");
        node
    }

    /// Starts a node, wherever Redis is.
    pub fn launch(redis: &Value, change: impl FnOnce(&mut Value)) -> Self {
        let directory = directory();
        let mut configuration = configuration(directory.path());
        configuration["redis"] = redis.clone();
        // What is waited for does not wait longer than it must.
        configuration["limits"] = json!({"lease_ms": 1_500, "fleet_answer_timeout_ms": 60_000, "redis_regroup_ms": 0, "redis_timeout_ms": 60_000});
        // The journal of all that is published would be most of what a test costs.
        configuration["log"]["level"] = "debug".into();
        change(&mut configuration);
        Self { server: Server::start(&configuration), _directory: directory }
    }

    /// Waits until it knows of so many nodes, itself included.
    pub fn knows_of(&self, nodes: u64) {
        wait_until(&format!("{nodes} nodes are known"), || self.server.metric("fleet_nodes") == nodes);
    }
}

/// Nodes over one Redis.
pub struct Scene {
    pub nodes: Vec<Node>,
    pub redis: Redis,
    _directory: TempDir,
}

impl Scene {
    pub fn new(nodes: usize) -> Self {
        Self::with(nodes, |_| ())
    }

    pub fn with(nodes: usize, change: impl Fn(&mut Value)) -> Self {
        Self::over(nodes, &[], change)
    }

    /// The same over a Redis with these arguments.
    pub fn over(nodes: usize, arguments: &[&str], change: impl Fn(&mut Value)) -> Self {
        let directory = directory();
        let redis = Redis::start("redis-server", directory.path(), arguments);
        let nodes: Vec<Node> = (0..nodes).map(|_| Node::start(&redis.url(), &change)).collect();
        nodes.iter().for_each(|node| node.knows_of(nodes.len() as u64));
        Self { nodes, redis, _directory: directory }
    }

    pub fn server(&self, at: usize) -> &Server {
        &self.nodes[at].server
    }
}

/// What a client that is let in presents.
pub fn auth(signed: &str) -> String {
    format!("{KEY}:{}", sign(&Secret::new(SECRET), &[signed]))
}

/// A client on a presence channel, and who it has been told is there.
pub struct Member {
    pub client: Client,
    pub here: BTreeSet<String>,
    /// Whether it was given the list yet.
    pub joined: bool,
    /// Who has come (+) and gone (-) since.
    pub told: Vec<String>,
}

impl Member {
    /// Joins, and hears who is there.
    pub fn join(server: &Server, channel: &str, user_id: &str) -> Self {
        let mut member = Self::knock(server, channel, user_id);
        assert_eq!(member.hear(), None);
        assert!(member.joined);
        member
    }

    /// Asks to be let in, and waits for nothing.
    pub fn knock(server: &Server, channel: &str, user_id: &str) -> Self {
        let mut client = Client::connect(server);
        let channel_data = json!({"user_id": user_id}).to_string();
        let auth = auth(&format!("{}:{channel}:{channel_data}", client.socket_id));
        let data = json!({"channel": channel, "auth": auth, "channel_data": channel_data});
        client.send(json!({"event": "pusher:subscribe", "data": data}));
        Self { client, here: BTreeSet::new(), joined: false, told: Vec::new() }
    }

    pub fn leave(&mut self, channel: &str) {
        self.client.send(json!({"event": "pusher:unsubscribe", "data": {"channel": channel}}));
        self.is_answered();
    }

    /// Everything sent before has been dealt with; what is heard until then are changes of the members.
    pub fn is_answered(&mut self) {
        self.client.send(r#"{"event":"pusher:ping","data":{}}"#);
        while self.hear().is_none_or(|event| event["event"] != "pusher:pong") {}
    }

    /// The next event: the list or a change of the members, which must be one, or another, which is given back.
    pub fn hear(&mut self) -> Option<Value> {
        let event = self.client.event();
        let data = || serde_json::from_str::<Value>(event["data"].as_str().unwrap()).unwrap();
        let user_id = || data()["user_id"].as_str().unwrap().to_owned();
        match event["event"].as_str().unwrap() {
            "pusher_internal:subscription_succeeded" => {
                assert!(!std::mem::replace(&mut self.joined, true), "twice: {event}");
                let data = data();
                let ids = data["presence"]["ids"].as_array().unwrap().iter();
                self.here = ids.map(|id| id.as_str().unwrap().to_owned()).collect();
            }
            "pusher_internal:member_added" => {
                assert!(self.joined && self.here.insert(user_id()), "twice, or before the list: {event}");
                self.told.push(format!("+{}", user_id()));
            }
            "pusher_internal:member_removed" => {
                assert!(self.joined && self.here.remove(&user_id()), "twice, or before the list: {event}");
                self.told.push(format!("-{}", user_id()));
            }
            _ => return Some(event),
        }
        None
    }

    /// Hears until these are here.
    pub fn sees(&mut self, expected: &[&str]) {
        let expected: BTreeSet<String> = expected.iter().map(ToString::to_string).collect();
        while self.here != expected {
            assert_eq!(self.hear(), None, "while {expected:?} is awaited and {:?} are here", self.here);
        }
    }

    /// Nothing has changed until now.
    pub fn is_told_nothing(&mut self) {
        let before = self.here.clone();
        self.client.send(r#"{"event":"pusher:ping","data":{}}"#);
        let heard = self.hear();
        assert_eq!(heard.map(|event| event["event"].clone()), Some("pusher:pong".into()), "after {before:?}");
    }
}

/// A fixed sequence for a seed.
pub struct Dice(u64);

impl Dice {
    /// Of the seed that is asked for by `FANFARE_TEST_SEED`, else always the same; it is printed with a failure.
    pub fn new() -> Self {
        let seed = std::env::var("FANFARE_TEST_SEED").map_or(7, |seed| seed.parse().unwrap());
        println!("FANFARE_TEST_SEED={seed}");
        Self(seed)
    }

    /// Further ones, for what goes on by itself beside these.
    pub fn another(&mut self) -> Self {
        Self(self.below(1 << 31) as u64)
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        (1..all.len()).for_each(|at| all.swap(at, self.below(at + 1)));
    }
}
