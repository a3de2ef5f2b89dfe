//! What a node says of the fleet while it is cut off from what the fleet keeps: that others are missing, and why.

use serde_json::{Value, json};

use crate::harness::client::Client;
use crate::harness::fleet::{Member, Node, Scene};
use crate::harness::http::Api;
use crate::harness::redis::{Cluster, Redis, port};
use crate::harness::{Server, directory, wait_until};

const CONNECTIONS: &str = "/apps/app/connections";

fn connections(server: &Server) -> Value {
    Api::connect(server).get(CONNECTIONS, &[]).json(200)
}

/// How many it says are missing in this answer.
fn missing(answer: &Value) -> u64 {
    answer.get("nodes_missing").map_or(0, |missing| missing.as_u64().unwrap())
}

fn broker(server: &Server) -> Value {
    let status = server.get_local("/status");
    let status: Value = serde_json::from_str(status.split_once("\r\n\r\n").unwrap().1).unwrap();
    status["broker"].clone()
}

/// Asks until an answer has all; each before must say that it has not.
fn is_honest_until_whole(server: &Server, whole: &Value) {
    wait_until("the answer is whole", || {
        let answer = connections(server);
        let all = answer["connections"] == whole["connections"];
        assert!(all || missing(&answer) >= 1, "{answer}");
        answer == *whole
    });
}

/// Nothing is kept, because Redis is away, and each place gives that reason, but once.
fn is_away(server: &Server, address: &str) {
    wait_until("it says why", || {
        let broker = broker(server);
        let reason = broker["reason"].as_str().unwrap_or_default();
        broker["standing"] == "away"
            && reason.matches(address).count() == 1
            && broker["store"] == json!({"standing": "away", "reason": reason})
    });
    assert_eq!((server.metric("fleet_away"), server.metric("broker_away")), (1, 1));
    let ready = server.get("/ready");
    assert!(ready.contains("degraded") && !ready.contains("is not kept"), "{ready}");
    assert_eq!(ready.matches(address).count(), 1, "{ready}");
}

#[test]
fn while_redis_is_away_every_answer_says_that_the_others_are_missing_and_nobody_waits_for_them() {
    let mut scene = Scene::with(2, |configuration| {
        // For as long as the test takes, whoever was there may come back.
        configuration["limits"]["lease_ms"] = 600_000.into();
        configuration["limits"]["redis_reconnect_ms"] = 100.into();
        configuration["limits"]["fleet_answer_timeout_ms"] = 60_000.into();
    });
    let _members: Vec<Member> =
        (0..2).map(|at| Member::join(scene.server(at), "presence-room", &at.to_string())).collect();
    let whole = json!({"connections": 2});
    (0..2).for_each(|at| is_honest_until_whole(scene.server(at), &whole));
    let address = format!("127.0.0.1:{}", scene.redis.port);
    scene.redis.kill();
    for at in 0..2 {
        let server = scene.server(at);
        is_away(server, &address);
        assert_eq!(connections(server), json!({"connections": 1, "nodes_missing": 1}));
        let mut api = Api::connect(server);
        for path in ["", "/presence-room", "/presence-room/users"] {
            let answer = api.get(&format!("/apps/app/channels{path}"), &[]).json(200);
            assert_eq!(missing(&answer), 1, "{path}: {answer}");
        }
        assert_eq!(server.metric("fleet_answers_missing_total"), 0, "nobody was asked");
    }
    scene.redis.restart();
    for at in 0..2 {
        let server = scene.server(at);
        is_honest_until_whole(server, &whole);
        wait_until("it is ready", || server.get("/ready").contains(r#"{"status":"ready"}"#));
        assert_eq!((server.metric("fleet_away"), server.metric("broker_away")), (0, 0));
    }
}

#[test]
fn a_node_that_has_never_reached_redis_says_that_at_least_one_is_missing() {
    let port = port();
    let node = Node::launch(&json!({"url": format!("redis://127.0.0.1:{port}")}), |_| ());
    is_away(&node.server, &format!("127.0.0.1:{port}"));
    assert_eq!(connections(&node.server), json!({"connections": 0, "nodes_missing": 1}));
}

#[test]
fn a_node_that_leaves_in_good_order_is_missing_nowhere() {
    let mut scene = Scene::with(3, |configuration| {
        // Nobody has been there for long enough to tell dead from cut off.
        configuration["limits"]["lease_ms"] = 600_000.into();
        configuration["limits"]["fleet_answer_timeout_ms"] = 1_000.into();
    });
    let mut leaving = scene.nodes.pop().unwrap().server;
    leaving.signal(rustix::process::Signal::TERM);
    assert!(leaving.wait().success());
    for node in &scene.nodes {
        node.knows_of(2);
        assert_eq!(connections(&node.server), json!({"connections": 0}));
    }
}

#[test]
fn where_redis_refuses_the_facts_those_that_are_heard_answer_and_it_is_said_that_others_may_be_missing() {
    let directory = directory();
    let redis = Redis::start("redis-server", directory.path(), &[]);
    redis.allow("-evalsha");
    let url = format!("redis://fanfare:secret@127.0.0.1:{}", redis.port);
    let nodes: Vec<Node> = (0..2)
        .map(|_| {
            Node::launch(&json!({"url": url}), |configuration| {
                configuration["limits"]["fleet_answer_timeout_ms"] = 1_000.into();
            })
        })
        .collect();
    let refused = |node: &Node| {
        wait_until("it is refused", || {
            node.server.get("/ready").contains("NOPERM") && node.server.metric("broker_away") == 0
        });
        assert_eq!(node.server.metric("fleet_away"), 1);
    };
    let _clients: Vec<Client> = nodes.iter().map(|node| Client::connect(&node.server)).collect();
    for node in &nodes {
        refused(node);
        assert_eq!(connections(&node.server), json!({"connections": 1, "nodes_missing": 1}));
    }
    redis.allow("");
    let whole = json!({"connections": 2});
    nodes.iter().for_each(|node| node.knows_of(2));
    nodes.iter().for_each(|node| is_honest_until_whole(&node.server, &whole));
    redis.allow("-evalsha");
    for node in &nodes {
        refused(node);
        assert_eq!(connections(&node.server), json!({"connections": 2, "nodes_missing": 1}));
    }
    redis.allow("");
    for node in &nodes {
        wait_until("it is ready", || node.server.get("/ready").contains(r#"{"status":"ready"}"#));
        is_honest_until_whole(&node.server, &whole);
    }
}

#[test]
fn a_cluster_that_has_lost_a_primary_has_every_answer_say_so_until_another_takes_over() {
    let directory = directory();
    let mut cluster = Cluster::start(directory.path());
    let nodes: Vec<Node> = (0..2)
        .map(|_| {
            Node::start_over(&cluster.configuration(), |configuration| {
                configuration["limits"]["lease_ms"] = 600_000.into();
                configuration["limits"]["fleet_answer_timeout_ms"] = 200.into();
                configuration["limits"]["redis_reconnect_ms"] = 100.into();
            })
        })
        .collect();
    nodes.iter().for_each(|node| node.knows_of(2));
    let _clients: Vec<Client> = nodes.iter().map(|node| Client::connect(&node.server)).collect();
    let whole = json!({"connections": 2});
    nodes.iter().for_each(|node| is_honest_until_whole(&node.server, &whole));
    let primary = cluster.primary_of(cluster.slot("fanfare:leases"));
    cluster.0[primary].kill();
    for node in &nodes {
        // It may be back before anybody has asked; what is answered meanwhile is what counts.
        node.server.logged("Redis is away");
        is_honest_until_whole(&node.server, &whole);
    }
}
