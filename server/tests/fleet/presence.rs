//! What several nodes know together: who is a member, how many subscribe, who is asked and told; and what becomes of it
//! when a node is killed or cut off, or Redis restarts.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::client::Client;
use crate::harness::fleet::{Member, Node, Scene, auth};
use crate::harness::http::Api;
use crate::harness::php::Php;
use crate::harness::receiver::Receiver;
use crate::harness::redis::{Cluster, Proxy, Redis};
use crate::harness::{Server, directory, wait_until};

const CHANNEL: &str = "presence-room";

#[test]
fn members_are_the_same_everywhere_and_each_is_told_once() {
    let scene = Scene::new(3);
    let mut one = Member::join(scene.server(0), CHANNEL, "1");
    assert_eq!(one.here, BTreeSet::from(["1".into()]));
    let mut two = Member::join(scene.server(1), CHANNEL, "2");
    assert_eq!(two.here, BTreeSet::from(["1".into(), "2".into()]), "the list has those of other nodes");
    one.sees(&["1", "2"]);
    // The same user on a third node, and once more on the first: one member.
    let mut again = Member::join(scene.server(2), CHANNEL, "1");
    let mut third = Member::join(scene.server(2), CHANNEL, "3");
    for member in [&mut one, &mut two, &mut again] {
        member.sees(&["1", "2", "3"]);
    }
    one.leave(CHANNEL);
    third.leave(CHANNEL);
    two.sees(&["1", "2"]);
    again.sees(&["1", "2"]);
    // Its last place is gone.
    again.leave(CHANNEL);
    two.sees(&["2"]);
    let late = Member::join(scene.server(0), CHANNEL, "4");
    assert_eq!(late.here, BTreeSet::from(["2".into(), "4".into()]));
    two.sees(&["2", "4"]);
    two.is_told_nothing();
}

#[test]
fn the_members_of_a_node_that_is_killed_are_removed_once_and_nothing_of_them_is_left() {
    let mut scene = Scene::new(3);
    let mut one = Member::join(scene.server(0), CHANNEL, "1");
    let mut two = Member::join(scene.server(1), CHANNEL, "2");
    let _both = Member::join(scene.server(2), CHANNEL, "2");
    let _dead = Member::join(scene.server(2), CHANNEL, "3");
    for member in [&mut one, &mut two] {
        member.sees(&["1", "2", "3"]);
    }
    scene.nodes.pop().unwrap().server.kill();
    for member in [&mut one, &mut two] {
        member.sees(&["1", "2"]);
    }
    scene.nodes.iter().for_each(|node| node.knows_of(2));
    // Whoever has reaped it has done so before others see that it is gone from the leases.
    wait_until("Redis has nothing of it", || {
        !scene.redis.ask("ZCOUNT fanfare:leases -inf (inf").unwrap().contains(":3")
    });
    let mut late = Member::join(scene.server(0), CHANNEL, "4");
    assert_eq!(late.here, ["1", "2", "4"].map(String::from).into());
    for member in [&mut one, &mut two, &mut late] {
        member.sees(&["1", "2", "4"]);
        member.is_told_nothing();
    }
}

#[test]
fn nobody_is_gone_because_redis_was() {
    nobody_is_gone(&[], || ());
}

#[test]
fn nobody_is_gone_because_redis_comes_back_with_leases_that_ran_out_meanwhile() {
    nobody_is_gone(&["--appendonly", "yes"], || {
        let away = Instant::now();
        wait_until("all leases have run out", || away.elapsed() > LEASE);
    });
}

const LEASE: Duration = Duration::from_secs(3);

fn nobody_is_gone(redis: &[&str], meanwhile: impl FnOnce()) {
    let mut scene = Scene::over(3, redis, |configuration| {
        // They come back one after the other, but within the span of a lease.
        configuration["limits"]["lease_ms"] = (LEASE.as_millis() as u64).into();
        configuration["limits"]["redis_reconnect_ms"] = 100.into();
    });
    let mut members: Vec<Member> =
        (0..3).map(|at| Member::join(scene.server(at), CHANNEL, &at.to_string())).collect();
    for member in &mut members {
        member.sees(&["0", "1", "2"]);
        member.told.clear();
    }
    scene.redis.kill();
    for node in &scene.nodes {
        wait_until("it is away", || node.server.get("/ready").contains("degraded"));
    }
    // What is local goes on.
    let mut local = Member::join(scene.server(0), CHANNEL, "3");
    members[0].sees(&["0", "1", "2", "3"]);
    meanwhile();
    scene.redis.restart();
    members[1].sees(&["0", "1", "2", "3"]);
    members[2].sees(&["0", "1", "2", "3"]);
    scene.nodes.iter().for_each(|node| node.knows_of(3));
    wait_until("nothing is left of the leases of before", || scene.redis.leases() == Some(3));
    local.leave(CHANNEL);
    for member in &mut members {
        member.sees(&["0", "1", "2"]);
        member.is_told_nothing();
        assert_eq!(member.told, ["+3", "-3"]);
    }
}

#[test]
fn a_node_that_was_cut_off_comes_back_to_the_truth_and_so_do_the_others() {
    let mut scene = Scene::new(2);
    let proxy = Proxy::to(scene.redis.port);
    scene.nodes.push(Node::start(&format!("redis://127.0.0.1:{}", proxy.port), |_| ()));
    scene.nodes.iter().for_each(|node| node.knows_of(3));
    let mut one = Member::join(scene.server(0), CHANNEL, "1");
    let mut leaving = Member::join(scene.server(1), CHANNEL, "2");
    let mut far = Member::join(scene.server(2), CHANNEL, "3");
    one.sees(&["1", "2", "3"]);
    proxy.cut();
    // Longer than its lease: the others take it for dead.
    one.sees(&["1", "2"]);
    leaving.leave(CHANNEL);
    one.sees(&["1"]);
    let _new = Member::join(scene.server(2), CHANNEL, "4");
    far.sees(&["1", "2", "3", "4"]);
    far.is_told_nothing();
    proxy.heal();
    one.sees(&["1", "3", "4"]);
    far.sees(&["1", "3", "4"]);
    let _late = Member::join(scene.server(1), CHANNEL, "5");
    for member in [&mut one, &mut far] {
        member.sees(&["1", "3", "4", "5"]);
        member.is_told_nothing();
    }
}

#[test]
fn a_cluster_keeps_the_facts_of_each_channel_where_its_topic_is() {
    const CHANNELS: [&str; 4] = ["presence-a", "presence-b", "presence-c", "presence-d"];
    let directory = directory();
    let mut cluster = Cluster::start(directory.path());
    let redis = cluster.configuration();
    let mut nodes: Vec<Node> = (0..2).map(|_| Node::start_over(&redis, |_| ())).collect();
    nodes.iter().for_each(|node| node.knows_of(2));
    let mut ones = CHANNELS.map(|channel| Member::join(&nodes[0].server, channel, "1"));
    let twos = CHANNELS.map(|channel| Member::join(&nodes[1].server, channel, "2"));
    for (one, two) in ones.iter_mut().zip(&twos) {
        one.sees(&["1", "2"]);
        assert_eq!(two.here, one.here);
    }
    nodes.pop().unwrap().server.kill();
    ones.iter_mut().for_each(|one| one.sees(&["1"]));
    // Another one, as after a failure.
    let primary = cluster.primary_of(cluster.slot("fanfare:{app:presence-a}"));
    cluster.0[primary].kill();
    let mut late = Node::start_over(&redis, |_| ());
    for (one, channel) in ones.iter_mut().zip(CHANNELS) {
        let mut two = Member::join(&late.server, channel, "2");
        one.sees(&["1", "2"]);
        two.sees(&["1", "2"]);
        two.leave(channel);
        one.sees(&["1"]);
    }
    assert!(late.server.ended().is_none());
}

#[test]
fn any_node_answers_for_the_fleet() {
    let scene = Scene::new(3);
    let mut clients: Vec<Client> = (0..3).map(|at| Client::connect(scene.server(at))).collect();
    clients.iter_mut().for_each(|client| client.subscribe("news"));
    let _one = Member::join(scene.server(0), CHANNEL, "1");
    let _two = Member::join(scene.server(1), CHANNEL, "2");
    for at in 0..3 {
        let mut api = Api::connect(scene.server(at));
        let listed = api.get("/apps/app/channels", &["info=subscription_count"]).json(200);
        let counted = json!({"news": {"subscription_count": 3}, CHANNEL: {"subscription_count": 2}});
        assert_eq!(listed, json!({"channels": counted}));
        let path = format!("/apps/app/channels/{CHANNEL}");
        let info = api.get(&path, &["info=user_count,subscription_count"]).json(200);
        assert_eq!(info, json!({"occupied": true, "user_count": 2, "subscription_count": 2}));
        let users = api.get(&format!("{path}/users"), &[]).json(200);
        assert_eq!(users, json!({"users": [{"id": "1"}, {"id": "2"}]}));
        assert_eq!(api.get("/apps/app/connections", &[]).json(200), json!({"connections": 5}));
        let none = api.get("/apps/app/channels/quiet", &[]).json(200);
        assert_eq!(none, json!({"occupied": false}));
    }
}

#[test]
fn an_answer_in_which_a_node_is_missing_says_so() {
    let scene = Scene::with(2, |configuration| {
        configuration["limits"]["fleet_answer_timeout_ms"] = 200.into();
        // It is there for the others for as long as the test takes.
        configuration["limits"]["lease_ms"] = 600_000.into();
    });
    scene.server(1).freeze();
    let answer = Api::connect(scene.server(0)).get("/apps/app/connections", &[]).json(200);
    assert_eq!(answer, json!({"connections": 0, "nodes_missing": 1}));
    scene.server(1).signal(rustix::process::Signal::CONT);
}

fn sign_in(client: &mut Client, user_id: &str) {
    let user_data = json!({"id": user_id}).to_string();
    let auth = auth(&format!("{}::user::{user_data}", client.socket_id));
    client.send(json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}}));
    assert_eq!(client.event()["event"], "pusher:signin_success");
}

#[test]
fn a_user_is_reached_and_sent_away_wherever_it_is() {
    let scene = Scene::new(2);
    let mut theirs: Vec<Client> = (0..2).map(|at| Client::connect(scene.server(at))).collect();
    for client in &mut theirs {
        sign_in(client, "7");
        client.subscribe("#server-to-user-7");
    }
    let mut other = Client::connect(scene.server(1));
    sign_in(&mut other, "8");
    Php::attach(scene.server(0)).broadcast(&["#server-to-user-7"], "hello", "{}");
    theirs.iter_mut().for_each(|client| assert_eq!(client.data(), "{}"));
    let mut api = Api::connect(scene.server(0));
    assert_eq!(api.post("/apps/app/users/7/terminate_connections", b"").json(200), json!({}));
    for client in &mut theirs {
        assert_eq!(client.event()["data"]["code"], 4009);
        assert_eq!(u16::from(client.close_frame().code), 4009);
    }
    other.settle();
}

fn watch(server: &Server, user_id: &str, watchlist: &[&str]) -> Client {
    let mut client = Client::connect(server);
    let user_data = json!({"id": user_id, "watchlist": watchlist}).to_string();
    let auth = auth(&format!("{}::user::{user_data}", client.socket_id));
    client.send(json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}}));
    assert_eq!(client.event()["event"], "pusher:signin_success");
    client
}

#[test]
fn a_watchlist_knows_the_users_of_all_nodes() {
    let mut scene = Scene::with(3, |configuration| configuration["limits"]["user_settle_ms"] = 1.into());
    let hears = |client: &mut Client, name: &str, user_id: &str| {
        let event = client.event();
        assert_eq!(event["event"], "pusher_internal:watchlist_events", "{event}");
        assert_eq!(event["data"]["events"], json!([{"name": name, "user_ids": [user_id]}]));
    };
    let mut two = Client::connect(scene.server(1));
    sign_in(&mut two, "2");
    // It is known elsewhere when a word about it was said.
    wait_until("it is said", || scene.server(1).metric("fleet_words_total") == 1);
    let mut one = watch(scene.server(0), "1", &["2"]);
    hears(&mut one, "online", "2");
    let mut other = watch(scene.server(0), "9", &["3"]);
    hears(&mut other, "offline", "3");
    let mut three = Client::connect(scene.server(2));
    sign_in(&mut three, "3");
    hears(&mut other, "online", "3");
    // The same user on two nodes, then on one: nobody is told.
    let mut again = Client::connect(scene.server(2));
    sign_in(&mut again, "2");
    wait_until("it is said", || scene.server(2).metric("fleet_words_total") == 2);
    drop(two);
    wait_until("it is said", || scene.server(1).metric("fleet_words_total") == 2);
    one.settle();
    drop(scene.nodes.pop().unwrap().server.kill());
    hears(&mut one, "offline", "2");
    hears(&mut other, "offline", "3");
}

#[test]
fn a_user_of_redis_with_the_rights_that_are_documented_will_do() {
    let documented = include_str!("../../../docs/configuration.md");
    let line =
        documented.lines().map(str::trim).find(|line| line.starts_with("ACL SETUSER fanfare")).unwrap();
    let directory = directory();
    let redis = Redis::start("redis-server", directory.path(), &[]);
    assert_eq!(redis.ask(&line.replace("PASSWORD", "secret")).as_deref(), Some("+OK\r\n"));
    let url = format!("redis://fanfare:secret@127.0.0.1:{}", redis.port);
    let mut nodes: Vec<Node> = (0..2).map(|_| Node::start(&url, |_| ())).collect();
    let mut one = Member::join(&nodes[0].server, CHANNEL, "1");
    let two = Member::join(&nodes[1].server, CHANNEL, "2");
    assert_eq!(two.here.len(), 2);
    one.sees(&["1", "2"]);
    nodes.pop().unwrap().server.kill();
    one.sees(&["1"]);
    nodes[0].knows_of(1);
    assert_eq!(nodes[0].server.log_lines("NOPERM"), Vec::<String>::new());
}

#[test]
fn subscribers_are_counted_on_all_nodes() {
    let scene = Scene::with(2, |configuration| configuration["apps"][0]["subscription_count"] = true.into());
    let counted = |client: &mut Client, expected: u64| {
        loop {
            let event = client.event();
            assert_eq!(event["event"], "pusher_internal:subscription_count", "{event}");
            let data: Value = serde_json::from_str(event["data"].as_str().unwrap()).unwrap();
            if data["subscription_count"] == expected {
                return;
            }
        }
    };
    let mut one = Client::connect(scene.server(0));
    one.subscribe("news");
    counted(&mut one, 1);
    let mut two = Client::connect(scene.server(1));
    two.subscribe("news");
    for client in [&mut one, &mut two] {
        counted(client, 2);
    }
    drop(two);
    counted(&mut one, 1);
}

#[test]
fn webhooks_are_told_once_for_the_fleet() {
    let receiver = Receiver::start();
    let hooks = json!([{"url": receiver.url("/")}]);
    let mut scene = Scene::with(2, |configuration| {
        configuration["apps"][0]["webhooks"] = hooks.clone();
        configuration["limits"]["webhook_settle_ms"] = 300.into();
    });
    let event = |name: &str, user_id: Option<&str>| match user_id {
        Some(user_id) => json!({"name": name, "channel": CHANNEL, "user_id": user_id}),
        None => json!({"name": name, "channel": CHANNEL}),
    };
    let mut one = Member::join(scene.server(0), CHANNEL, "1");
    let mut two = Member::join(scene.server(1), CHANNEL, "1");
    let mut three = Member::join(scene.server(1), CHANNEL, "2");
    // Each node tells by itself, so that one may be before the other.
    let mut told: Vec<Value> = Vec::new();
    while told.len() < 3 {
        told.extend(receiver.hook().events());
    }
    told.sort_by_key(ToString::to_string);
    let added = |user_id| event("member_added", Some(user_id));
    assert_eq!(told, [event("channel_occupied", None), added("1"), added("2")]);
    // From one node to the other, and back before it has settled: nothing.
    two.leave(CHANNEL);
    one.leave(CHANNEL);
    let _again = Member::join(scene.server(1), CHANNEL, "1");
    three.leave(CHANNEL);
    assert_eq!(receiver.events_until(|told| told["user_id"] == "2"), [event("member_removed", Some("2"))]);
    // All of a node that is killed.
    scene.nodes.pop().unwrap().server.kill();
    let told = receiver.events_until(|told| told["name"] == "channel_vacated");
    assert_eq!(told, [event("member_removed", Some("1")), event("channel_vacated", None)]);
    assert!(receiver.rest().is_empty());
}

#[test]
fn two_that_notice_the_same_dead_nodes_tell_each_client_and_the_webhooks_once() {
    const DEAD: usize = 4;
    let receiver = Receiver::start();
    let hooks = json!([{"url": receiver.url("/")}]);
    let mut scene = Scene::with(2 + DEAD, |configuration| {
        configuration["apps"][0]["webhooks"] = hooks.clone();
        configuration["limits"]["webhook_settle_ms"] = 300.into();
    });
    let mut survivors = [0, 1].map(|at| Member::join(scene.server(at), CHANNEL, &format!("survivor-{at}")));
    let lost: Vec<String> = (0..DEAD * 3).map(|n| format!("lost-{n}")).collect();
    let seats = lost.iter().enumerate().flat_map(|(n, user_id)| {
        // Some are on two of the nodes that die.
        [2 + n % DEAD, 2 + n * n % DEAD].map(|at| (at, user_id))
    });
    let _members: Vec<Member> =
        seats.map(|(at, user_id)| Member::join(scene.server(at), CHANNEL, user_id)).collect();
    let mut all: Vec<&str> = lost.iter().map(String::as_str).collect();
    all.extend(["survivor-0", "survivor-1"]);
    survivors.iter_mut().for_each(|survivor| survivor.sees(&all));
    let mut told = Vec::new();
    let count = |told: &[Value], name: &str| told.iter().filter(|told| told["name"] == name).count();
    // What a node has not told yet dies with it.
    while count(&told, "member_added") < all.len() || count(&told, "channel_occupied") == 0 {
        told.extend(receiver.hook().events());
    }
    scene.nodes.drain(2..).for_each(|node| drop(node.server.kill()));
    survivors.iter_mut().for_each(|survivor| survivor.sees(&["survivor-0", "survivor-1"]));
    while count(&told, "member_removed") < lost.len() {
        told.extend(receiver.hook().events());
    }
    survivors.iter_mut().for_each(Member::is_told_nothing);
    survivors.iter_mut().for_each(|survivor| survivor.leave(CHANNEL));
    while count(&told, "member_removed") < all.len() || count(&told, "channel_vacated") == 0 {
        told.extend(receiver.hook().events());
    }
    told.extend(receiver.rest().iter().flat_map(|hook| hook.events()));
    let mut told: Vec<(String, String)> = told
        .iter()
        .map(|told| {
            (told["name"].as_str().unwrap().into(), told["user_id"].as_str().unwrap_or_default().into())
        })
        .collect();
    let names = ["member_added", "member_removed"].map(str::to_owned);
    let mut expected: Vec<(String, String)> =
        names.iter().flat_map(|name| all.iter().map(|&user_id| (name.clone(), user_id.into()))).collect();
    expected.extend(["channel_occupied", "channel_vacated"].map(|name| (name.to_owned(), String::new())));
    told.sort_unstable();
    expected.sort_unstable();
    assert_eq!(told, expected);
}

#[test]
fn who_subscribes_to_a_cache_channel_is_told_what_another_node_remembers() {
    let scene = Scene::new(3);
    let mut php = Php::attach(scene.server(0));
    php.broadcast(&["cache-a"], "first", "1");
    php.drained();
    let mut one = Client::connect(scene.server(1));
    one.subscribe("cache-a");
    assert_eq!(one.data(), "1");
    php.broadcast(&["cache-a"], "second", "2");
    assert_eq!(one.data(), "2");
    let mut two = Client::connect(scene.server(2));
    two.subscribe("cache-a");
    assert_eq!(two.data(), "2");
    for at in 0..3 {
        let info =
            Api::connect(scene.server(at)).get("/apps/app/channels/cache-a", &["info=cache"]).json(200);
        assert_eq!(info["cache"]["data"], "2");
    }
    let mut miss = Client::connect(scene.server(2));
    miss.subscribe("cache-b");
    assert_eq!(miss.event()["event"], "pusher:cache_miss");
    one.settle();
    two.settle();
}
