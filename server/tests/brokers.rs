//! What every broker promises: the same tests for memory, Redis and Valkey.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use std::sync::{Arc, Mutex, Weak};

use fanfare_server::broker::memory::Exchange;
use fanfare_server::broker::redis::RedisBroker;
use fanfare_server::broker::{Broker, Heard, Listener, NodeId, Readiness, Standing, Topic, frame};
use fanfare_server::config::Configuration;
use fanfare_server::ending::Ending;
use fanfare_server::limits::Limits;
use fanfare_server::metrics::Metrics;
use fanfare_server::node::Flushed;
use harness::redis::Redis;
use harness::{directory, wait_until};
use serde_json::json;

/// A node that writes down what it is told.
#[derive(Debug, Default)]
struct Notes(Mutex<Vec<Note>>);

#[derive(Debug, Clone, PartialEq)]
enum Note {
    Heard(Topic, NodeId, String),
    Ready(Topic),
    Stands(Standing),
}

impl Listener for Notes {
    fn hear(&self, heard: &[Heard]) -> Option<Flushed> {
        for Heard { topic, frame } in heard {
            let (header, body) = frame::decode(frame).unwrap();
            let text = String::from_utf8(body.to_vec()).unwrap();
            self.0.lock().unwrap().push(Note::Heard(topic.clone(), header.origin, text));
        }
        None
    }

    fn ready(&self, topics: &[Topic]) {
        self.0.lock().unwrap().extend(topics.iter().cloned().map(Note::Ready));
    }

    fn stands(&self, standing: &Standing) {
        self.0.lock().unwrap().push(Note::Stands(standing.clone()));
    }
}

struct Node {
    broker: Arc<dyn Broker>,
    notes: Arc<Notes>,
    _ending: Option<Ending>,
}

impl Node {
    fn say(&self, topic: &Topic, text: &str) {
        let mut frame = frame::begin(63, 0, self.broker.node_id(), text.len());
        frame.extend_from_slice(text.as_bytes());
        self.broker.publish(topic.clone(), frame);
    }

    /// Listens, and waits until nothing can be missed.
    fn listen(&self, topic: &Topic) {
        let ready = Note::Ready(topic.clone());
        let times = || self.notes.0.lock().unwrap().iter().filter(|note| **note == ready).count();
        let before = times();
        if self.broker.listen(topic.clone()) == Readiness::Pending {
            wait_until(&format!("{ready:?}"), || times() > before);
        }
    }

    fn heard_from(&self, other: &Self, topic: &Topic) -> Vec<String> {
        let from = other.broker.node_id();
        let notes = self.notes.0.lock().unwrap();
        let texts = notes.iter().filter_map(|note| match note {
            Note::Heard(on, origin, text) if on == topic && *origin == from => Some(text.clone()),
            _ => None,
        });
        texts.collect()
    }

    /// Waits until `last` is heard, and gives all that was.
    fn hears(&self, other: &Self, topic: &Topic, last: &str) -> Vec<String> {
        wait_until(last, || self.heard_from(other, topic).iter().any(|text| text == last));
        self.heard_from(other, topic)
    }
}

fn topic(channel: &str) -> Topic {
    Topic::Channel { app: Arc::from("app"), channel: Arc::from(channel) }
}

fn in_memory() -> [Node; 3] {
    let exchange = Arc::<Exchange>::default();
    [1, 2, 3].map(|id| {
        let notes = Arc::<Notes>::default();
        let listener: Weak<dyn Listener> = Arc::downgrade(&(Arc::clone(&notes) as Arc<dyn Listener>));
        Node { broker: Arc::new(exchange.join(NodeId(id), listener)), notes, _ending: None }
    })
}

fn over(redis: &Redis) -> [Node; 3] {
    [1, 2, 3].map(|id| {
        let configuration = json!({
            "listen": "127.0.0.1:0", "socket": "/s", "redis": {"url": redis.url()},
            "apps": [{"id": "app", "key": "k", "secret": "s"}],
        });
        let configuration = Configuration::parse(configuration.to_string(), 1).unwrap();
        let notes = Arc::<Notes>::default();
        let listener: Weak<dyn Listener> = Arc::downgrade(&(Arc::clone(&notes) as Arc<dyn Listener>));
        let metrics: Arc<Metrics> = Arc::default();
        let settings = configuration.redis.unwrap();
        let (broker, unstarted) =
            RedisBroker::new(NodeId(id), settings, &Limits::default(), &metrics).unwrap();
        let _ending = Some(unstarted.start(listener).unwrap());
        Node { broker: Arc::new(broker), notes, _ending }
    })
}

fn what_is_published_is_heard_by_whoever_else_listens([one, two, three]: &[Node; 3]) {
    let (news, other) = (topic("news"), topic("other"));
    one.listen(&news);
    two.listen(&news);
    three.listen(&other);
    one.say(&news, "1");
    two.say(&news, "2");
    three.say(&news, "3");
    three.say(&other, "4");
    one.say(&other, "5");
    assert_eq!(one.hears(two, &news, "2"), ["2"]);
    assert_eq!(one.hears(three, &news, "3"), ["3"]);
    assert_eq!(two.hears(one, &news, "1"), ["1"]);
    assert_eq!(three.hears(one, &other, "5"), ["5"]);
    assert!(three.heard_from(one, &news).is_empty(), "it does not listen there");
    assert!(three.heard_from(three, &other).is_empty(), "nobody hears itself");
}

fn what_one_publishes_to_a_topic_is_heard_in_its_order([one, two, three]: &[Node; 3]) {
    const FRAMES: usize = 2_000;
    let (a, b) = (topic("a"), topic("b"));
    for topic in [&a, &b] {
        two.listen(topic);
        three.listen(topic);
    }
    for n in 0..FRAMES {
        one.say(if n % 2 == 0 { &a } else { &b }, &n.to_string());
    }
    one.say(&a, "end");
    one.say(&b, "end");
    for node in [two, three] {
        for (topic, rest) in [(&a, 0), (&b, 1)] {
            let mut heard = node.hears(one, topic, "end");
            heard.pop();
            let numbers: Vec<usize> = heard.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(numbers, (0..FRAMES).filter(|n| n % 2 == rest).collect::<Vec<_>>());
        }
    }
}

fn nothing_is_missed_once_a_topic_is_ready([one, two, _]: &[Node; 3]) {
    for n in 0..300 {
        let topic = topic(&format!("ready-{n}"));
        one.listen(&topic);
        two.say(&topic, "now");
        assert_eq!(one.hears(two, &topic, "now"), ["now"]);
    }
}

fn a_node_that_comes_and_goes_quickly_listens_as_it_did_last([one, two, _]: &[Node; 3]) {
    let (stays, goes) = (topic("stays"), topic("goes"));
    for _ in 0..500 {
        for topic in [&stays, &goes] {
            one.broker.listen(topic.clone());
            one.broker.leave(topic);
        }
    }
    one.listen(&stays);
    two.say(&goes, "x");
    two.say(&stays, "here");
    assert_eq!(one.hears(two, &stays, "here"), ["here"]);
    one.broker.leave(&stays);
    // What was on its way when it left may still be heard; what comes when it is back is.
    one.listen(&stays);
    two.say(&stays, "again");
    one.hears(two, &stays, "again");
}

fn a_large_frame_passes_whole([one, two, _]: &[Node; 3]) {
    let (large, text) = (topic("large"), "é".repeat(2 << 20));
    one.listen(&large);
    two.say(&large, &text);
    two.say(&large, "end");
    assert!(one.hears(two, &large, "end") == [text, "end".to_owned()]);
}

/// All of them, on three nodes that are new to each.
fn conformance(nodes: impl Fn() -> [Node; 3]) {
    what_is_published_is_heard_by_whoever_else_listens(&nodes());
    what_one_publishes_to_a_topic_is_heard_in_its_order(&nodes());
    nothing_is_missed_once_a_topic_is_ready(&nodes());
    a_node_that_comes_and_goes_quickly_listens_as_it_did_last(&nodes());
    a_large_frame_passes_whole(&nodes());
}

#[test]
fn memory() {
    conformance(in_memory);
}

#[test]
fn redis() {
    let directory = directory();
    let redis = Redis::start("redis-server", directory.path(), &[]);
    conformance(|| over(&redis));
}

#[test]
fn valkey() {
    let directory = directory();
    let valkey = Redis::start("valkey-server", directory.path(), &[]);
    conformance(|| over(&valkey));
}
