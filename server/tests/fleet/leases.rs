//! Who is taken for dead, when, and who is not: by leases that are renewed, kept, given back and reaped.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use rustix::process::Signal;

use crate::harness::client::Client;
use crate::harness::fleet::{Member, Node, Scene};
use crate::harness::receiver::Receiver;
use crate::harness::redis::{Proxy, Redis};
use crate::harness::{directory, wait_until};

const CHANNEL: &str = "presence-room";
const LEASE: Duration = Duration::from_millis(1_500);

fn through(proxy: &Proxy) -> String {
    format!("redis://127.0.0.1:{}", proxy.port)
}

#[test]
fn a_node_whose_facts_are_refused_keeps_its_lease_and_tries_again_ever_more_rarely() {
    let scene = Scene::new(1);
    scene.redis.allow("-hset");
    let url = format!("redis://fanfare:secret@127.0.0.1:{}", scene.redis.port);
    let refused =
        Node::start(&url, |configuration| configuration["limits"]["redis_reconnect_ms"] = 500.into());
    let _member = Member::join(&refused.server, CHANNEL, "1");
    let attempts = "cannot be kept in Redis";
    refused.server.logged_times(6, attempts);
    scene.nodes[0].knows_of(2);
    wait_until("each has one lease", || scene.redis.leases() == Some(2));
    let times: Vec<Value> =
        refused.server.log_lines(attempts).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let level = |level: &str| times.iter().filter(|line| line["level"] == level).count();
    assert_eq!(level("WARN"), 1, "the same reason is told once");
    // Nothing is said, so it has no place since then.
    assert_eq!(refused.server.log_lines("has its place in the fleet").len(), 1);
    // It is in its place as soon as it may be.
    scene.redis.allow("");
    let mut other = Member::join(&scene.nodes[0].server, CHANNEL, "2");
    other.sees(&["1", "2"]);
}

/// Many times the channels that can be removed within the span of the remover's own lease.
#[test]
fn a_node_that_reaps_very_much_keeps_its_own_lease() {
    const CLIENTS: usize = 10;
    const CHANNELS: usize = 1_000;
    let directory = directory();
    let redis = Redis::start("redis-server", directory.path(), &[]);
    let change = |configuration: &mut Value| {
        configuration["apps"][0]["subscription_count"] = true.into();
        configuration["limits"]["lease_ms"] = 1_000.into();
    };
    let dying = Node::start(&redis.url(), change);
    let proxy = Proxy::slow(redis.port, Duration::from_millis(10));
    let reaping = Node::start(&through(&proxy), change);
    reaping.knows_of(2);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(&dying.server)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        for channel in 0..CHANNELS {
            client.send(json!({"event": "pusher:subscribe", "data": {"channel": format!("c{n}-{channel}")}}));
        }
    }
    wait_until("all of it is written", || {
        dying.server.metric("fleet_words_total") == (CLIENTS * CHANNELS) as u64
    });
    dying.server.kill();
    reaping.knows_of(1);
    wait_until("nothing of it is left", || redis.ask("KEYS fanfare:*lease*:*").unwrap() == "*0\r\n");
    wait_until("its lease is buried", || redis.leases() == Some(1));
    // It has looked at its lease before it says that.
    let _member = Member::join(&reaping.server, CHANNEL, "1");
    wait_until("it speaks", || reaping.server.metric("fleet_words_total") == 1);
    assert_eq!(reaping.server.metric("fleet_leases_lost_total"), 0);
}

#[test]
fn nobody_is_gone_because_redis_stood_still_for_longer_than_a_lease() {
    let directory = directory();
    let redis = Redis::start("redis-server", directory.path(), &[]);
    let proxies = [0, 1].map(|_| Proxy::to(redis.port));
    let nodes = proxies.each_ref().map(|proxy| Node::start(&through(proxy), |_| ()));
    all_leases_run_out(&redis, &nodes, |all_have_run_out| {
        proxies.iter().for_each(Proxy::hold);
        all_have_run_out();
        proxies.iter().for_each(Proxy::heal);
    });
}

#[test]
fn nobody_is_gone_because_all_nodes_stood_still_for_longer_than_a_lease() {
    let directory = directory();
    let redis = Redis::start("redis-server", directory.path(), &[]);
    let nodes = [0, 1].map(|_| Node::start(&redis.url(), |_| ()));
    all_leases_run_out(&redis, &nodes, |all_have_run_out| {
        nodes.iter().for_each(|node| node.server.freeze());
        all_have_run_out();
        nodes.iter().for_each(|node| node.server.signal(Signal::CONT));
    });
}

fn all_leases_run_out(redis: &Redis, nodes: &[Node; 2], meanwhile: impl FnOnce(&dyn Fn())) {
    nodes.iter().for_each(|node| node.knows_of(2));
    let mut members = [0, 1].map(|at| Member::join(&nodes[at].server, CHANNEL, &at.to_string()));
    members.iter_mut().for_each(|member| member.sees(&["0", "1"]));
    // Dead and cut off are told apart from now on.
    let settled = Instant::now();
    wait_until("the links have been up for a lease", || settled.elapsed() > LEASE + LEASE / 2);
    meanwhile(&|| {
        let still = Instant::now();
        wait_until("all leases have run out", || still.elapsed() > LEASE + LEASE / 5);
    });
    for node in nodes {
        node.server.logged("this node's lease ran out");
    }
    wait_until("the leases of before are reaped", || redis.leases() == Some(2));
    nodes.iter().for_each(|node| node.knows_of(2));
    let mut late = Member::join(&nodes[0].server, CHANNEL, "2");
    for member in &mut members {
        member.sees(&["0", "1", "2"]);
        member.told.retain(|told| told != "+1");
        assert_eq!(member.told, ["+2"]);
    }
    late.sees(&["0", "1", "2"]);
}

#[test]
fn a_dead_node_is_noticed_though_the_link_of_who_notices_breaks_all_the_time() {
    let mut scene = Scene::new(1);
    let proxy = Proxy::to(scene.redis.port);
    let change = |configuration: &mut Value| configuration["limits"]["redis_reconnect_ms"] = 100.into();
    scene.nodes.push(Node::start(&through(&proxy), change));
    scene.nodes.iter().for_each(|node| node.knows_of(2));
    let _dead = Member::join(scene.server(0), CHANNEL, "1");
    let mut member = Member::join(scene.server(1), CHANNEL, "2");
    member.sees(&["1", "2"]);
    let settled = Instant::now();
    wait_until("the links have been up for a lease", || settled.elapsed() > LEASE + LEASE / 2);
    scene.nodes.remove(0).server.kill();
    let survivor = &scene.nodes[0].server;
    let mut places = 1;
    wait_until("the other is removed", || {
        // Several times in the span of a lease.
        thread::sleep(LEASE / 4);
        proxy.cut();
        proxy.heal();
        places += 1;
        survivor.logged_times(places, "has its place in the fleet");
        member.is_answered();
        !member.here.contains("1")
    });
    assert_eq!(member.told, ["-1"]);
}

#[test]
fn a_node_that_is_back_at_once_is_counted_once_and_taken_for_dead_by_nobody() {
    let receiver = Receiver::start();
    let mut scene = Scene::new(0);
    let proxy = Proxy::to(scene.redis.port);
    let change = |configuration: &mut Value| {
        configuration["apps"][0]["subscription_count"] = true.into();
        configuration["apps"][0]["webhooks"] =
            json!([{"url": receiver.url("/"), "events": ["subscription_count"]}]);
        configuration["limits"]["redis_reconnect_ms"] = 100.into();
    };
    let urls = [scene.redis.url(), through(&proxy), scene.redis.url()];
    scene.nodes.extend(urls.iter().map(|url| Node::start(url, change)));
    scene.nodes.iter().for_each(|node| node.knows_of(3));
    let mut clients = [0, 1].map(|at| Client::connect(scene.server(at)));
    let counted = |client: &mut Client| {
        let event = client.event();
        assert_eq!(event["event"], "pusher_internal:subscription_count", "{event}");
        serde_json::from_str::<Value>(event["data"].as_str().unwrap()).unwrap()["subscription_count"].clone()
    };
    clients[0].subscribe("news");
    assert_eq!(counted(&mut clients[0]), 1);
    clients[1].subscribe("news");
    assert_eq!(clients.each_mut().map(counted), [2, 2]);
    for n in 2..5 {
        proxy.cut();
        proxy.heal();
        scene.server(1).logged_times(n, "has its place in the fleet");
        scene.nodes.iter().for_each(|node| node.knows_of(3));
        wait_until("the lease before is given back", || scene.redis.leases() == Some(3));
    }
    // Nothing was told meanwhile.
    clients.iter_mut().for_each(Client::settle);
    let mut third = Client::connect(scene.server(2));
    third.subscribe("news");
    assert_eq!(clients.each_mut().map(counted), [3, 3]);
    let mut told: Vec<u64> = Vec::new();
    while told.last() != Some(&3) {
        told.extend(receiver.hook().events().iter().map(|told| told["subscription_count"].as_u64().unwrap()));
    }
    // Webhooks may be told the last of several.
    assert!(told.is_sorted(), "{told:?}");
    for node in &scene.nodes {
        assert_eq!(node.server.log_lines("nodes are dead"), Vec::<String>::new());
    }
}
