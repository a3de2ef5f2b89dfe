//! Several nodes with a real Redis between them, and what becomes of it: restarts, cuts, failovers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use harness::client::Client;
use harness::php::Php;
use harness::redis::{Cluster, Proxy, Redis, Watched};
use harness::{Server, configuration, directory, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A node with a directory of its own.
struct Node {
    server: Server,
    _directory: TempDir,
}

impl Node {
    fn start(redis: &Value) -> Self {
        Self::start_with(redis, &json!({}))
    }

    fn start_with(redis: &Value, limits: &Value) -> Self {
        let directory = directory();
        let mut configuration = configuration(directory.path());
        configuration["redis"] = redis.clone();
        configuration["limits"] = limits.clone();
        // The journal of all that is published would be most of what a test costs.
        configuration["log"]["level"] = "debug".into();
        let node = Self { server: Server::start(&configuration), _directory: directory };
        node.is_ready();
        node
    }

    /// Waits until it hears the others.
    fn is_ready(&self) {
        self.says("{\"status\":\"ready\"}");
    }

    fn says(&self, text: &str) {
        wait_until(&format!("/ready says {text}"), || self.server.get("/ready").contains(text));
    }

    fn is_away(&self) {
        self.says("\"status\":\"degraded\"");
        assert!(self.server.get("/ready").starts_with("HTTP/1.1 200 "));
        assert!(self.server.get_local("/status").contains("\"standing\":\"away\""));
    }
}

fn plain(redis: &Redis) -> Value {
    json!({"url": redis.url()})
}

fn three(redis: &Value) -> [Node; 3] {
    [(); 3].map(|()| Node::start(redis))
}

/// Everybody hears everybody, whatever was before.
fn all_hear_all(nodes: &[Node], channel: &str) {
    let mut clients: Vec<Client> = nodes.iter().map(|node| Client::connect(&node.server)).collect();
    clients.iter_mut().for_each(|client| client.subscribe(channel));
    for (n, node) in nodes.iter().enumerate() {
        Php::attach(&node.server).broadcast(&[channel], "hello", &n.to_string());
        for client in &mut clients {
            assert_eq!(client.data(), n.to_string());
        }
    }
}

#[test]
fn nothing_is_missed_after_the_first_subscriber_of_a_node_is_told() {
    let directory = directory();
    let redis = Redis::start("redis-server", directory.path(), &[]);
    let [here, there, _] = three(&plain(&redis));
    let mut php = Php::attach(&there.server);
    for n in 0..100 {
        let channel = format!("first-{n}");
        let mut client = Client::connect(&here.server);
        client.subscribe(&channel);
        php.broadcast(&[&channel], "event", "now");
        assert_eq!(client.data(), "now");
        client.send(json!({"event": "pusher:unsubscribe", "data": {"channel": channel}}));
        client.subscribe(&channel);
        php.broadcast(&[&channel], "event", "again");
        assert_eq!(client.data(), "again");
    }
}

#[test]
fn a_node_hears_only_what_its_clients_listen_to() {
    let directory = directory();
    let redis = Redis::start("redis-server", directory.path(), &[]);
    let [here, there, _] = three(&plain(&redis));
    let mut client = Client::connect(&here.server);
    client.subscribe("mine");
    let mut php = Php::attach(&there.server);
    for n in 0..50 {
        php.broadcast(&[&format!("other-{n}")], "event", "");
    }
    php.broadcast(&["mine"], "event", "1");
    assert_eq!(client.data(), "1");
    assert_eq!(here.server.metric("broker_heard_total"), 1);
    wait_until("all are published", || there.server.metric("broker_published_total") == 51);
}

/// What is said on one node while it is cut off is heard on the others afterwards, local clients hear it at once, and
/// who subscribes meanwhile is told so at once.
fn while_away(speaker: &Node, listener: &Node, come_back: impl FnOnce()) {
    let mut far = Client::connect(&listener.server);
    far.subscribe("channel");
    let mut near = Client::connect(&speaker.server);
    near.subscribe("channel");
    speaker.is_away();
    let mut php = Php::attach(&speaker.server);
    for n in 0..10 {
        php.broadcast(&["channel"], "event", &n.to_string());
        assert_eq!(near.data(), n.to_string());
    }
    let mut late = Client::connect(&speaker.server);
    late.subscribe("late");
    php.broadcast(&["late"], "event", "local");
    assert_eq!(late.data(), "local");
    come_back();
    for n in 0..10 {
        assert_eq!(far.data(), n.to_string());
    }
    // What was subscribed to meanwhile is heard now.
    speaker.is_ready();
    Php::attach(&listener.server).broadcast(&["late", "channel"], "event", "remote");
    assert_eq!(late.data(), "remote");
    assert_eq!((near.data(), far.data()), ("remote".to_owned(), "remote".to_owned()));
    assert_eq!(speaker.server.metric("broker_dropped_total"), 0);
    assert_eq!(speaker.server.metric("broker_waiting_bytes"), 0);
}

/// All know how many they are, which tells them when all are there again.
fn counted(nodes: &[Node]) {
    let all = nodes.len() as u64;
    wait_until("all are counted", || nodes.iter().all(|node| node.server.metric("broker_nodes") == all));
}

/// So that a machine that is busy elsewhere does not make frames too old.
fn patient() -> Value {
    json!({"redis_buffer_ms": 600_000, "redis_regroup_ms": 30_000})
}

#[test]
fn a_restart_of_redis_is_survived() {
    let directory = directory();
    let mut redis = Redis::start("redis-server", directory.path(), &[]);
    let nodes = [(); 3].map(|()| Node::start_with(&plain(&redis), &patient()));
    all_hear_all(&nodes, "before");
    counted(&nodes);
    redis.kill();
    nodes.iter().for_each(Node::is_away);
    while_away(&nodes[0], &nodes[1], || redis.restart());
    nodes.iter().for_each(Node::is_ready);
    all_hear_all(&nodes, "after");
}

#[test]
fn a_node_that_is_cut_off_comes_back() {
    let directory = directory();
    let redis = Redis::start("valkey-server", directory.path(), &[]);
    let proxy = Proxy::to(redis.port);
    let cut = Node::start_with(&json!({"url": format!("redis://127.0.0.1:{}", proxy.port)}), &patient());
    let other = Node::start(&plain(&redis));
    proxy.cut();
    while_away(&cut, &other, || proxy.heal());
    all_hear_all(&[cut, other], "after");
}

#[test]
fn cuts_while_it_publishes_lose_nothing_and_repeat_nothing() {
    const CUTS: u64 = 4;
    let directory = directory();
    let redis = Redis::start("redis-server", directory.path(), &[]);
    let proxy = Proxy::to(redis.port);
    let cut = Node::start_with(&json!({"url": format!("redis://127.0.0.1:{}", proxy.port)}), &patient());
    let other = Node::start(&plain(&redis));
    wait_until("both are counted", || cut.server.metric("broker_nodes") == 2);
    let mut far = Client::connect(&other.server);
    far.subscribe("channel");
    let mut near = Client::connect(&cut.server);
    near.subscribe("channel");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut php = Php::attach(&cut.server);
            let mut n = 0;
            while !over.load(Ordering::Relaxed) {
                php.broadcast(&["channel"], "event", &n.to_string());
                // One after the other, so that there is no end of them that waits.
                assert_eq!(near.data(), n.to_string());
                n += 1;
            }
            php.broadcast(&["channel"], "event", "end");
            php.drained();
        });
        scope.spawn(|| {
            for _ in 0..CUTS {
                let before = cut.server.metric("broker_published_total");
                wait_until("it publishes", || cut.server.metric("broker_published_total") > before + 100);
                proxy.cut();
                cut.is_away();
                proxy.heal();
                cut.is_ready();
            }
            over.store(true, Ordering::Relaxed);
        });
        let heard = std::iter::repeat_with(|| far.data()).take_while(|data| data != "end");
        for (n, data) in heard.enumerate() {
            assert_eq!(data, n.to_string());
        }
    });
    far.settle();
    assert_eq!(cut.server.metric("broker_dropped_total"), 0);
    assert!(cut.server.metric("broker_connections_total") > CUTS);
}

#[test]
fn a_redis_that_does_not_answer_is_named_once_in_what_is_said_of_it() {
    let directory = directory();
    let redis = Redis::start("redis-server", directory.path(), &[]);
    let proxy = Proxy::to(redis.port);
    let url = format!("redis://127.0.0.1:{}", proxy.port);
    let node = Node::start_with(&json!({"url": url}), &json!({"redis_timeout_ms": 1_000}));
    // Asked whether it is there, it says nothing; asked again over another connection, neither.
    proxy.hold();
    node.is_away();
    let address = format!("127.0.0.1:{}", proxy.port);
    node.says(&format!("Redis at {address}"));
    assert_eq!(node.server.get("/ready").matches(&address).count(), 1);
    let line = node.server.logged("Redis is away");
    assert_eq!(line.matches(&address).count(), 1, "{line}");
    proxy.heal();
    node.is_ready();
}

#[test]
fn a_server_without_redis_serves_its_clients_and_drops_what_is_too_much_or_too_old() {
    let directory = directory();
    let redis = json!({"url": format!("redis://127.0.0.1:{}", harness::redis::port())});
    let mut configuration = configuration(directory.path());
    configuration["redis"] = redis;
    configuration["limits"] = json!({"redis_buffer_bytes_max": 4_096, "redis_buffer_ms": 0});
    let server = Server::start(&configuration);
    let mut client = Client::connect(&server);
    client.subscribe("channel");
    let mut php = Php::attach(&server);
    for n in 0..100 {
        php.broadcast(&["channel"], "event", &n.to_string());
        assert_eq!(client.data(), n.to_string());
    }
    wait_until("all are dropped", || {
        server.metric("broker_dropped_total") == 100 && server.metric("broker_waiting_bytes") == 0
    });
    server.logged("redis_buffer_ms");
    assert!(server.get("/ready").contains("cannot connect to Redis at 127.0.0.1:"));
    assert_eq!(server.metric("broker_away"), 1);
}

#[test]
fn another_primary_behind_sentinel_is_found() {
    let directory = directory();
    let mut watched = Watched::start(directory.path());
    let redis = watched.configuration();
    let nodes = [(); 3].map(|()| Node::start_with(&redis, &patient()));
    all_hear_all(&nodes, "before");
    counted(&nodes);
    watched.primary.kill();
    while_away(&nodes[0], &nodes[1], || {});
    nodes.iter().for_each(Node::is_ready);
    all_hear_all(&nodes, "after");
    let status = nodes[0].server.get_local("/status");
    assert!(status.contains("\"standing\":\"connected\""), "{status}");
}

#[test]
fn a_failover_within_a_cluster_is_survived_and_the_other_slots_go_on() {
    let directory = directory();
    let mut cluster = Cluster::start(directory.path());
    let redis = cluster.configuration();
    let limits = json!({"redis_buffer_ms": 600_000, "redis_regroup_ms": 8_000});
    let nodes = [(); 3].map(|()| Node::start_with(&redis, &limits));
    for n in 0..8 {
        all_hear_all(&nodes, &format!("before-{n}"));
    }
    let mut far = Client::connect(&nodes[1].server);
    far.subscribe("channel");
    let slot = |channel: &str| cluster.slot(&format!("fanfare:{{app:{channel}}}"));
    let lost = cluster.primary_of(slot("channel"));
    let others: Vec<String> = (0..100)
        .map(|n| format!("other-{n}"))
        .filter(|name| cluster.primary_of(slot(name)) != lost)
        .take(4)
        .collect();
    let mut elsewhere = Client::connect(&nodes[1].server);
    others.iter().for_each(|name| elsewhere.subscribe(name));
    cluster.0[lost].kill();
    nodes[0].is_away();
    let mut php = Php::attach(&nodes[0].server);
    for name in &others {
        php.broadcast(&[name], "event", "not lost");
        assert_eq!(elsewhere.data(), "not lost");
    }
    for n in 0..10 {
        php.broadcast(&["channel"], "event", &n.to_string());
    }
    for n in 0..10 {
        assert_eq!(far.data(), n.to_string());
    }
    nodes.iter().for_each(Node::is_ready);
    for n in 0..8 {
        all_hear_all(&nodes, &format!("after-{n}"));
    }
    let status = nodes[0].server.get_local("/status");
    assert!(status.contains("\"standing\":\"connected\""), "{status}");
}

/// A certificate for loopback, its key and its authority, as files.
fn certificates(directory: &Path) -> [String; 3] {
    let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca = rcgen::CertifiedIssuer::self_signed(parameters, ca_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let certificate = own.signed_by(&key, &ca).unwrap();
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    [write("own.pem", certificate.pem()), write("key.pem", key.serialize_pem()), write("ca.pem", ca.pem())]
}

#[test]
fn tls_a_user_of_few_rights_a_password_in_a_file_and_a_prefix() {
    let directory = directory();
    let [certificate, key, ca] = certificates(directory.path());
    let tls_port = harness::redis::port().to_string();
    let rights = "user fanfare on >sesame resetkeys resetchannels &own:* -@all +publish +subscribe +unsubscribe +ping +hello +auth +client|setinfo";
    let acl = directory.path().join("users.acl");
    std::fs::write(&acl, format!("user default off\n{rights}\n")).unwrap();
    let arguments = [
        "--tls-port",
        &tls_port,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "no",
        "--aclfile",
        acl.to_str().unwrap(),
    ];
    let _redis = Redis::start("redis-server", directory.path(), &arguments);
    let password = directory.path().join("password");
    std::fs::write(&password, "sesame\n").unwrap();
    let redis = json!({
        "url": format!("rediss://127.0.0.1:{tls_port}"), "ca_file": ca, "username": "fanfare",
        "password_file": password, "prefix": "own:",
    });
    let nodes = three(&redis);
    all_hear_all(&nodes, "channel");
    for node in &nodes {
        assert!(node.server.log_lines("sesame").is_empty());
    }
}
