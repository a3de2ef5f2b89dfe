//! Three nodes, three hundred clients, and everybody who can publish does so everywhere at once: each client receives what
//! was addressed to it, once, in the order of its publisher, and not what it is left out of.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use serde_json::{Value, json};

use crate::harness::client::Client;
use crate::harness::fleet::{Dice, Scene, auth};
use crate::harness::http::Api;
use crate::harness::php::Php;

const NODES: usize = 3;
const CLIENTS: usize = 300;
const KINDS: [&str; 3] = ["", "private-", "presence-"];
const CHANNELS: usize = 15;
/// Every so manieth client speaks too, on its channels that are not public.
const SPEAKER: usize = 25;

/// Who publishes, in the order in which all of them are numbered.
#[derive(Debug, Clone, Copy)]
enum Publisher {
    /// A PHP process beside that node.
    Php(usize),
    /// A host somewhere that asks that node.
    Api(usize),
    /// A client.
    Client(usize),
}

#[derive(Debug)]
struct Publication {
    channels: Vec<usize>,
    except: Option<usize>,
}

#[derive(Debug)]
struct Plan {
    publisher: Publisher,
    publications: Vec<Publication>,
    /// Where its last word is said.
    ends: Vec<usize>,
}

fn name(channel: usize) -> String {
    format!("{}channel-{channel}", KINDS[channel % KINDS.len()])
}

fn is_public(channel: usize) -> bool {
    channel.is_multiple_of(KINDS.len())
}

/// Some channels, each once, in any order.
fn draw(dice: &mut Dice, from: &[usize], len: usize) -> Vec<usize> {
    let mut all = from.to_vec();
    dice.shuffle(&mut all);
    all.truncate(len.max(1));
    all
}

fn plan(publisher: Publisher, dice: &mut Dice, subscribed: &[BTreeSet<usize>]) -> Plan {
    let all: Vec<usize> = (0..CHANNELS).collect();
    let (len, ends) = match publisher {
        Publisher::Php(_) => (400, all),
        Publisher::Api(_) => (120, all),
        Publisher::Client(at) => {
            (40, subscribed[at].iter().copied().filter(|&channel| !is_public(channel)).collect())
        }
    };
    let publication = |_| match publisher {
        // To one channel, and never to itself.
        Publisher::Client(at) => Publication { channels: draw(dice, &ends, 1), except: Some(at) },
        Publisher::Php(node) | Publisher::Api(node) => {
            let many = dice.below(4);
            let channels = draw(dice, &ends, many);
            // Somebody of another node who would hear it; client n is at node n % NODES.
            let hears = |at: &usize| {
                at % NODES != node && channels.iter().any(|channel| subscribed[*at].contains(channel))
            };
            let others: Vec<usize> = (0..CLIENTS).filter(hears).collect();
            let except = (dice.below(2) == 0 && !others.is_empty()).then(|| others[dice.below(others.len())]);
            Publication { channels, except }
        }
    };
    let publications = (0..len).map(publication).collect();
    Plan { publisher, publications, ends }
}

/// The next event that is not about members.
fn hear(client: &mut Client) -> Value {
    loop {
        let event = client.event();
        if event["event"] != "pusher_internal:member_added" {
            return event;
        }
    }
}

fn subscribe(client: &mut Client, user_id: usize, channel: usize) {
    let name = name(channel);
    let mut data = json!({"channel": name});
    let mut signed = format!("{}:{name}", client.socket_id);
    if name.starts_with("presence-") {
        let channel_data = json!({"user_id": user_id.to_string()}).to_string();
        signed = format!("{signed}:{channel_data}");
        data["channel_data"] = channel_data.into();
    }
    data["auth"] = auth(&signed).into();
    client.send(json!({"event": "pusher:subscribe", "data": data}));
    let succeeded = hear(client);
    assert_eq!(succeeded["event"], "pusher_internal:subscription_succeeded", "{succeeded}");
    assert_eq!(succeeded["channel"], name);
}

fn publish(scene: &Scene, number: usize, plan: &Plan, ids: &[String]) {
    let names: Vec<String> = (0..CHANNELS).map(name).collect();
    let named = |channels: &[usize]| -> Vec<&str> { channels.iter().map(|&at| names[at].as_str()).collect() };
    let all = plan.publications.iter().enumerate().map(|(n, publication)| {
        let except = publication.except.map(|at| ids[at].as_str());
        ("event", named(&publication.channels), format!("{number}:{n}"), except)
    });
    let all = all.chain([("end", named(&plan.ends), format!("{number}:"), None)]);
    match plan.publisher {
        Publisher::Php(node) => {
            let mut php = Php::attach(scene.server(node));
            all.for_each(|(event, channels, data, except)| {
                php.broadcast_except(&channels, event, &data, except)
            });
            php.drained();
        }
        Publisher::Api(node) => {
            let mut api = Api::connect(scene.server(node));
            for (event, channels, data, except) in all {
                let body = json!({"name": event, "channels": channels, "data": data, "socket_id": except});
                assert_eq!(api.post_json("/apps/app/events", &body).json(200), json!({}));
            }
        }
        Publisher::Client(_) => {}
    }
}

fn speak(client: &mut Client, number: usize, plan: &Plan) {
    let mut say = |event: &str, channel: usize, data: String| {
        client.send(json!({"event": event, "channel": name(channel), "data": data}));
    };
    for (n, publication) in plan.publications.iter().enumerate() {
        say("client-event", publication.channels[0], format!("{number}:{n}"));
    }
    plan.ends.iter().for_each(|&channel| say("client-end", channel, format!("{number}:")));
}

/// By publisher and channel.
type Received = BTreeMap<(usize, usize), Vec<usize>>;

/// Everything up to the last word of each publisher on each channel.
fn receive(client: &mut Client, mut ends: BTreeSet<(usize, usize)>) -> Received {
    let channels: BTreeMap<String, usize> = (0..CHANNELS).map(|channel| (name(channel), channel)).collect();
    let mut received = Received::new();
    while !ends.is_empty() {
        let event = hear(client);
        let channel = channels[event["channel"].as_str().unwrap()];
        let (publisher, n) = event["data"].as_str().unwrap().split_once(':').unwrap();
        let from = (publisher.parse().unwrap(), channel);
        if event["event"].as_str().unwrap().ends_with("end") {
            assert!(ends.remove(&from), "not expected, or twice: {event}");
        } else {
            assert!(ends.contains(&from), "after the last: {event}");
            received.entry(from).or_default().push(n.parse().unwrap());
        }
    }
    client.send(r#"{"event":"pusher:ping","data":{}}"#);
    assert_eq!(hear(client)["event"], "pusher:pong");
    received
}

fn expected(at: usize, subscribed: &BTreeSet<usize>, plans: &[Plan]) -> (Received, BTreeSet<(usize, usize)>) {
    let (mut received, mut ends) = (Received::new(), BTreeSet::new());
    for (number, plan) in plans.iter().enumerate() {
        for (n, publication) in plan.publications.iter().enumerate().filter(|(_, one)| one.except != Some(at))
        {
            for channel in publication.channels.iter().filter(|channel| subscribed.contains(channel)) {
                received.entry((number, *channel)).or_default().push(n);
            }
        }
        if !matches!(plan.publisher, Publisher::Client(speaker) if speaker == at) {
            ends.extend(plan.ends.iter().filter(|end| subscribed.contains(end)).map(|end| (number, *end)));
        }
    }
    (received, ends)
}

#[test]
fn everybody_receives_everything_once_in_order_and_not_what_it_is_left_out_of() {
    let mut dice = Dice::new();
    let scene = Scene::with(NODES, |configuration| {
        let limits = &mut configuration["limits"];
        limits["presence_members_max"] = CLIENTS.into();
        limits["client_events_per_s"] = 1_000_000.into();
        // A machine that is busy elsewhere takes nobody for dead.
        limits["lease_ms"] = 60_000.into();
    });
    let all: Vec<usize> = (0..CHANNELS).collect();
    let subscribed: Vec<BTreeSet<usize>> = (0..CLIENTS)
        .map(|at| {
            let many = 1 + dice.below(5);
            let mut channels: BTreeSet<usize> = draw(&mut dice, &all, many).into_iter().collect();
            channels.extend(at.is_multiple_of(SPEAKER).then_some(at / SPEAKER % (KINDS.len() - 1) + 1));
            channels
        })
        .collect();
    let publishers = (0..NODES).flat_map(|node| [Publisher::Php(node), Publisher::Api(node)]);
    let publishers = publishers.chain((0..CLIENTS).step_by(SPEAKER).map(Publisher::Client));
    let plans: Vec<Plan> = publishers.map(|publisher| plan(publisher, &mut dice, &subscribed)).collect();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|at| Client::connect(scene.server(at % NODES))).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        subscribed[at].iter().for_each(|&channel| subscribe(client, at, channel));
    }
    let ids: Vec<String> = clients.iter().map(|client| client.socket_id.clone()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), CLIENTS, "ids differ between nodes");

    thread::scope(|scope| {
        for (number, plan) in plans.iter().enumerate() {
            let (scene, ids) = (&scene, &ids);
            scope.spawn(move || publish(scene, number, plan, ids));
        }
        for (chunk, clients) in clients.chunks_mut(SPEAKER).enumerate() {
            let (plans, subscribed) = (&plans, &subscribed);
            scope.spawn(move || {
                let first = chunk * SPEAKER;
                let is_its = |plan: &Plan| matches!(plan.publisher, Publisher::Client(at) if at == first);
                let number = plans.iter().position(is_its).unwrap();
                speak(&mut clients[0], number, &plans[number]);
                for (at, client) in (first..).zip(clients) {
                    let (expected, ends) = expected(at, &subscribed[at], plans);
                    assert_eq!(receive(client, ends), expected, "client {at} of {:?}", subscribed[at]);
                }
            });
        }
    });
    for node in &scene.nodes {
        assert_eq!(node.server.metric("broker_dropped_total"), 0);
    }
}
