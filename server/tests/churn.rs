//! Presence while 200 clients come and go at random, over two shards.
//!
//! Every client keeps the member lists of its channels by what it is told, and every step must make sense: who is
//! added was not there, who is removed was. Two observers, one per shard, stay all the time and must hear the same, in
//! the same order. When the rest has come to a halt, those who join then must be told the truth, and the observers'
//! lists must be the truth too.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

use std::collections::{BTreeMap, BTreeSet};

use fanfare_server::config::Secret;
use fanfare_server::pusher::signature;
use harness::raw::{PATH, Raw, close, masked, text};
use harness::{KEY, SECRET, Server, configuration, directory, wait_until};
use serde_json::{Value, json};

const CLIENTS: usize = 200;
const CHANNELS: usize = 20;
/// Five clients are one user.
const USERS: usize = 40;
const THREADS: usize = 4;
const STEPS_PER_CLIENT: usize = 1_800;
const SHARDS: u64 = 2;

type Users = BTreeSet<String>;

/// SplitMix64: the same numbers for the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }
}

fn channel(number: usize) -> String {
    format!("presence-{number}")
}

/// A connected client and what it knows.
struct Member {
    raw: Raw,
    user: String,
    socket_id: String,
    /// The members of each channel that it is subscribed to.
    views: BTreeMap<String, Users>,
    /// What it was told, channel by channel.
    heard: BTreeMap<String, Vec<(bool, String)>>,
}

impl Member {
    fn connect(server: &Server, user: &str) -> Self {
        let mut raw = Raw::upgrade(server, PATH);
        let hello: Value = serde_json::from_str(&raw.text()).unwrap();
        let data: Value = serde_json::from_str(hello["data"].as_str().unwrap()).unwrap();
        let socket_id = data["socket_id"].as_str().unwrap().to_owned();
        Self { raw, user: user.to_owned(), socket_id, views: BTreeMap::new(), heard: BTreeMap::new() }
    }

    /// One whom the kernel gave to this shard: shards draw their numbers in turn.
    fn connect_to(server: &Server, shard: u64, user: &str) -> Self {
        loop {
            let member = Self::connect(server, user);
            let serial: u64 = member.socket_id.split_once('.').unwrap().1.parse().unwrap();
            if (serial - 1) % SHARDS == shard {
                return member;
            }
        }
    }

    /// Subscribes, for the first time or again, and hears who is there.
    fn subscribe(&mut self, channel: &str) {
        let channel_data = json!({"user_id": self.user, "user_info": {"name": self.user}}).to_string();
        let parts = [self.socket_id.as_str(), ":", channel, ":", &channel_data];
        let auth = format!("{KEY}:{}", signature::sign(&Secret::new(SECRET), &parts));
        let data = json!({"channel": channel, "auth": auth, "channel_data": channel_data});
        self.raw.send(text(json!({"event": "pusher:subscribe", "data": data}).to_string()));
        while !self.hear("pusher_internal:subscription_succeeded", channel) {}
    }

    fn unsubscribe(&mut self, channel: &str) {
        self.raw.send(text(json!({"event": "pusher:unsubscribe", "data": {"channel": channel}}).to_string()));
        self.views.remove(channel);
    }

    /// Hears the next event and keeps the lists; whether it is this one.
    fn hear(&mut self, expected: &str, on: &str) -> bool {
        let event: Value = serde_json::from_str(&self.raw.text()).unwrap();
        let (name, channel) =
            (event["event"].as_str().unwrap(), event["channel"].as_str().unwrap_or_default());
        let data: Value = serde_json::from_str(event["data"].as_str().unwrap()).unwrap();
        let user = || data["user_id"].as_str().unwrap().to_owned();
        match name {
            "pusher:pong" => {}
            "pusher_internal:subscription_succeeded" => {
                let presence = &data["presence"];
                let ids: Vec<&str> =
                    presence["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
                let users: Users = ids.iter().map(|&id| id.to_owned()).collect();
                assert_eq!(users.len(), ids.len(), "nobody is there twice: {event}");
                assert_eq!(presence["count"], ids.len(), "{event}");
                assert_eq!(presence["hash"].as_object().unwrap().len(), ids.len(), "{event}");
                assert!(users.contains(&self.user), "the joiner is there: {event}");
                self.views.insert(channel.to_owned(), users);
            }
            "pusher_internal:member_added" => self.turn(channel, true, user()),
            "pusher_internal:member_removed" => self.turn(channel, false, user()),
            _ => panic!("{event} was not expected"),
        }
        name == expected && channel == on
    }

    /// Somebody has come or gone. What was still on its way when this client unsubscribed is of no interest.
    fn turn(&mut self, channel: &str, added: bool, user: String) {
        let Some(view) = self.views.get_mut(channel) else { return };
        let makes_sense = if added { view.insert(user.clone()) } else { view.remove(&user) };
        let what = if added { "added though it was there" } else { "removed though it was not there" };
        assert!(makes_sense, "{} on {channel}: {user} was {what}: {view:?}", self.user);
        if self.user.starts_with("observer") {
            self.heard.entry(channel.to_owned()).or_default().push((added, user));
        }
    }

    /// Proves that everything that it has sent is dealt with.
    fn settle(&mut self) {
        self.raw.send(text(r#"{"event":"pusher:ping","data":{}}"#));
        while !self.hear("pusher:pong", "") {}
    }

    /// Leaves in one of the ways that there are.
    fn leave(mut self, way: usize) {
        match way {
            0 => self.raw.send(close(1000, "")),
            1 => self.raw.end(),
            2 => self.raw.send(masked(0x83, b"")),
            _ => self.raw.reset(),
        }
        // Dropped, which is a FIN, or a RST where something was not read.
    }
}

/// One thread's clients take their steps. Gives who is left, by client.
fn churn(server: &Server, clients: std::ops::Range<usize>, seed: u64) -> Vec<Option<Member>> {
    let mut dice = Dice(seed);
    let mut members: Vec<Option<Member>> = clients.clone().map(|_| None).collect();
    for _ in 0..STEPS_PER_CLIENT * clients.len() {
        let at = dice.roll(members.len());
        let Some(member) = &mut members[at] else {
            let user = format!("user-{}", (clients.start + at) % USERS);
            members[at] = Some(Member::connect(server, &user));
            continue;
        };
        let channel = channel(dice.roll(CHANNELS));
        match dice.roll(20) {
            0 => members[at].take().unwrap().leave(dice.roll(4)),
            1..=10 => member.subscribe(&channel),
            _ => {
                // One that it has, where there is one: most clients are on few channels.
                let held: Vec<String> = member.views.keys().cloned().collect();
                let channel = if held.is_empty() { channel } else { held[dice.roll(held.len())].clone() };
                member.unsubscribe(&channel);
            }
        }
    }
    members.iter_mut().flatten().for_each(Member::settle);
    members
}

/// Hears everything from before the churn until `last` has joined every channel.
fn observe(mut observer: Member, last: &str) -> Member {
    let joined = |observer: &Member| (0..CHANNELS).all(|at| observer.views[&channel(at)].contains(last));
    while !joined(&observer) {
        observer.hear("", "");
    }
    observer
}

#[test]
fn s4_s5_s6_presence_is_the_truth_after_any_churn() {
    let seed = std::env::var("FANFARE_TEST_SEED").map_or(0xFA0F_A4E5, |seed| seed.parse().unwrap());
    eprintln!("FANFARE_TEST_SEED={seed}");
    let directory = directory();
    let mut configuration = configuration(directory.path());
    configuration["log"]["level"] = "info".into();
    configuration["shards"] = SHARDS.into();
    let server = Server::start(&configuration);
    let observers = [0, 1].map(|shard| Member::connect_to(&server, shard, &format!("observer-{shard}")));
    let observers = observers.map(|mut observer| {
        (0..CHANNELS).for_each(|at| observer.subscribe(&channel(at)));
        observer
    });
    // From here on both hear everything.
    wait_until("those that fell to the other shard are gone", || server.metric("connections") == 2);

    let (members, observers) = std::thread::scope(|scope| {
        let observers = observers.map(|observer| scope.spawn(|| observe(observer, "late-1")));
        let share = CLIENTS / THREADS;
        let threads: Vec<_> = (0..THREADS)
            .map(|at| {
                let server = &server;
                scope.spawn(move || churn(server, at * share..(at + 1) * share, seed + at as u64))
            })
            .collect();
        let members: Vec<Member> =
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).flatten().collect();
        // Those that have left are noticed when they are noticed.
        let left = members.len() as u64 + 2;
        wait_until("all that have left are gone", || server.metric("connections") == left);
        let truth = |at: usize| -> Users {
            let subscribed = members.iter().filter(|member| member.views.contains_key(&channel(at)));
            subscribed
                .map(|member| member.user.clone())
                .chain(["observer-0".into(), "observer-1".into()])
                .collect()
        };
        let mut late = [0, 1].map(|shard| Member::connect_to(&server, shard, &format!("late-{shard}")));
        let mut expected: Vec<Users> = (0..CHANNELS).map(truth).collect();
        assert!(
            expected.iter().any(|users| users.len() > 10),
            "there is something to get wrong: {expected:?}"
        );
        for member in &mut late {
            for (at, expected) in expected.iter_mut().enumerate() {
                expected.insert(member.user.clone());
                member.subscribe(&channel(at));
                assert_eq!(member.views[&channel(at)], *expected, "{} on {}", member.user, channel(at));
            }
        }
        let observers = observers.map(|observer| observer.join().unwrap());
        for observer in &observers {
            for (at, expected) in expected.iter().enumerate() {
                assert_eq!(observer.views[&channel(at)], *expected, "{} on {}", observer.user, channel(at));
            }
        }
        (members, observers)
    });
    let [first, mut second] = observers;
    let mut turns = 0;
    for (channel, heard) in &first.heard {
        turns += heard.len();
        // The first was there before the second, and the second's list began with it.
        let own = (true, "observer-1".to_owned());
        let heard: Vec<_> = heard.iter().filter(|&turn| *turn != own).collect();
        let other: Vec<_> = second.heard[channel].iter().collect();
        assert!(
            heard == other,
            "the observers of {channel} have heard different things, or in different order"
        );
    }
    eprintln!("{turns} times somebody came or went; {} clients are left", members.len());
    assert!(turns > 10_000, "{turns}");

    // All leave at once, the first observer as well.
    drop((members, first));
    let alone: Users = [second.user.clone()].into();
    while !second.views.values().all(|users| *users == alone) {
        second.hear("", "");
    }
    second.settle();
    wait_until("nobody else is there", || server.metric("connections") == 1);
    assert_eq!(server.metric("channels"), CHANNELS as u64);
    assert!(server.log_lines("a mistake in this program").is_empty(), "nothing has panicked");
    assert_eq!(server.metric("outbox_overflows_total"), 0);
}
