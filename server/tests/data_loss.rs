//! A Redis that refuses or loses what the nodes keep there: what a server says of itself then, and what webhooks are told.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use fanfare_server::config::Secret;
use fanfare_server::pusher::signature::sign;
use harness::client::Client;
use harness::redis::Redis;
use harness::{KEY, SECRET, Server, configuration, directory, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

const CHANNEL: &str = "presence-room";

/// A node with a directory of its own.
struct Node {
    server: Server,
    _directory: TempDir,
}

impl Node {
    fn start(url: &str, change: impl FnOnce(&mut Value)) -> Self {
        let directory = directory();
        let mut configuration = configuration(directory.path());
        configuration["redis"]["url"] = url.into();
        // What is waited for does not wait longer than it must.
        configuration["limits"] = json!({"lease_ms": 1_500, "redis_regroup_ms": 0, "redis_timeout_ms": 60_000, "redis_reconnect_ms": 100});
        configuration["log"]["level"] = "debug".into();
        change(&mut configuration);
        Self { server: Server::start(&configuration), _directory: directory }
    }

    fn is_ready(&self) {
        wait_until("it is ready", || self.server.get("/ready").contains(r#"{"status":"ready"}"#));
        assert_eq!(self.server.metric("fleet_away"), 0);
    }

    /// Its own words, wherever somebody may ask.
    fn is_degraded(&self, reason: &str) {
        wait_until(&format!("it says {reason}"), || {
            let answer = self.server.get("/ready");
            answer.contains("degraded") && answer.contains(reason)
        });
        assert_eq!((self.server.metric("fleet_away"), self.server.metric("broker_away")), (1, 0));
        let status = self.server.get_local("/status");
        let status: Value = serde_json::from_str(status.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(status["broker"]["standing"], "connected");
        assert_eq!(status["broker"]["store"]["standing"], "away");
        assert!(status["broker"]["store"]["reason"].as_str().unwrap().contains(reason), "{status}");
        self.server.logged(reason);
    }
}

/// A member of a channel, whose list nobody looks at.
fn join(server: &Server, channel: &str, user_id: &str) -> Client {
    let mut client = Client::connect(server);
    let channel_data = json!({"user_id": user_id}).to_string();
    let signed = format!("{}:{channel}:{channel_data}", client.socket_id);
    let auth = format!("{KEY}:{}", sign(&Secret::new(SECRET), &[&signed]));
    let data = json!({"channel": channel, "auth": auth, "channel_data": channel_data});
    client.send(json!({"event": "pusher:subscribe", "data": data}));
    assert_eq!(client.event()["event"], "pusher_internal:subscription_succeeded");
    client
}

#[test]
fn a_redis_that_refuses_what_is_kept_there_is_named_and_so_is_why() {
    let directory = directory();
    let redis = Redis::start("redis-server", directory.path(), &[]);
    // Everything but one command that is needed as soon as there is something to be kept.
    let user = |rights: &str| {
        let all = "on >secret resetkeys ~* resetchannels &* -@all +@all";
        assert_eq!(redis.ask(&format!("ACL SETUSER fanfare {all} {rights}")).as_deref(), Some("+OK\r\n"));
    };
    user("-sadd");
    let node = Node::start(&format!("redis://fanfare:secret@127.0.0.1:{}", redis.port), |_| ());
    node.is_ready();
    let mut one = join(&node.server, CHANNEL, "1");
    node.is_degraded("NOPERM");
    one.settle();
    user("");
    node.is_ready();
    // All of them, from now on.
    user("-evalsha");
    node.is_degraded("NOPERM");
    user("");
    node.is_ready();
}

#[test]
fn a_redis_without_memory_is_named() {
    let directory = directory();
    for program in ["redis-server", "valkey-server"] {
        let redis = Redis::start(program, directory.path(), &["--maxmemory-policy", "noeviction"]);
        let node = Node::start(&redis.url(), |_| ());
        node.is_ready();
        assert_eq!(redis.ask("CONFIG SET maxmemory 1").as_deref(), Some("+OK\r\n"));
        node.is_degraded("OOM");
        assert_eq!(redis.ask("CONFIG SET maxmemory 0").as_deref(), Some("+OK\r\n"));
        node.is_ready();
    }
}
