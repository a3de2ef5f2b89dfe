//! A minute in which everything happens at once: clients come and go on all nodes, nodes are killed, Redis restarts with
//! what it knew and without, links are closed or fall silent, for less than a lease and for more. Then all nodes and all
//! clients know the truth, and no client has heard of anybody twice.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::fleet::{Dice, Member, Node};
use crate::harness::http::Api;
use crate::harness::redis::{Proxy, Redis};
use crate::harness::{directory, wait_until};

const LEASE: Duration = Duration::from_secs(2);
const CHANNELS: [&str; 3] = ["presence-a", "presence-b", "presence-c"];
const USERS: usize = 8;
const PLACES: usize = 3;
/// So many connections of one node, in about.
const MEMBERS_MAX: usize = 15;

/// What a track begins with one thing and ends later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    /// A node is killed; another takes its place.
    Node,
    /// Redis is killed, and comes back with what it had written.
    Redis,
    /// Redis ends, and comes back with nothing.
    Memory,
    /// A node's connections to Redis are closed, and no other is made.
    Link,
    /// What a node and Redis say to each other does not arrive, and neither is told.
    Silence,
}

use Trouble::{Link, Memory, Node as NodeKilled, Redis as RedisKilled, Silence};

/// Troubles that come one after the other, each for less than a lease and for more.
struct Track {
    dice: Dice,
    troubles: Vec<(Trouble, bool)>,
    begun: usize,
    now: Option<(Trouble, usize)>,
    until: Instant,
}

impl Track {
    fn of(mut dice: Dice, troubles: &[Trouble]) -> Self {
        let mut troubles: Vec<_> =
            troubles.iter().flat_map(|&trouble| [(trouble, false), (trouble, true)]).collect();
        dice.shuffle(&mut troubles);
        Self { dice, troubles, begun: 0, now: None, until: Instant::now() }
    }

    /// Ends what has lasted long enough, and begins the next.
    fn go_on(&mut self, world: &mut World) {
        if Instant::now() < self.until {
            return;
        }
        if self.now.is_some() {
            self.end(world);
            self.until = Instant::now() + LEASE.mul_f64(self.dice.below(50) as f64 / 100.0);
            return;
        }
        let (trouble, long) = self.troubles[self.begun % self.troubles.len()];
        let (at, percent) = (self.dice.below(PLACES), self.dice.below(60));
        self.begun += 1;
        self.now = Some((trouble, at));
        world.begin(trouble, at);
        *world.seen.entry((trouble, long)).or_default() += 1;
        let leases = if long { 1.3 } else { 0.0 } + percent as f64 / 100.0;
        self.until = Instant::now() + LEASE.mul_f64(leases);
    }

    fn end(&mut self, world: &mut World) {
        if let Some((trouble, at)) = self.now.take() {
            world.end(trouble, at);
        }
    }
}

/// A node behind its way to Redis, and its clients.
struct Place {
    node: Option<Node>,
    proxy: Proxy,
    seats: Vec<Seat>,
}

struct Seat {
    channel: usize,
    user_id: String,
    member: Member,
}

struct World {
    redis: Redis,
    places: Vec<Place>,
    seen: BTreeMap<(Trouble, bool), usize>,
}

fn limits(configuration: &mut Value) {
    let lease_ms = LEASE.as_millis() as u64;
    configuration["limits"] = json!({
        "lease_ms": lease_ms, "fleet_answer_timeout_ms": 1_000, "redis_regroup_ms": 0,
        "redis_timeout_ms": 1_000, "redis_reconnect_ms": 100,
    });
}

impl World {
    fn start(redis: Redis) -> Self {
        let place = |proxy: Proxy| {
            let node = Node::start(&format!("redis://127.0.0.1:{}", proxy.port), limits);
            Place { node: Some(node), proxy, seats: Vec::new() }
        };
        let places = (0..PLACES).map(|_| place(Proxy::to(redis.port))).collect();
        Self { redis, places, seen: BTreeMap::new() }
    }

    fn begin(&mut self, trouble: Trouble, at: usize) {
        let place = &mut self.places[at];
        match trouble {
            NodeKilled => {
                place.seats.clear();
                let log = place.node.take().unwrap().server.kill();
                assert!(!log.iter().any(|line| line.contains("panicked")), "{log:#?}");
            }
            RedisKilled => self.redis.kill(),
            Memory => self.redis.lose_all(),
            Link => place.proxy.cut(),
            Silence => place.proxy.hold(),
        }
    }

    fn end(&mut self, trouble: Trouble, at: usize) {
        let place = &mut self.places[at];
        match trouble {
            NodeKilled => {
                let redis = json!({"url": format!("redis://127.0.0.1:{}", place.proxy.port)});
                place.node = Some(Node::launch(&redis, limits));
            }
            RedisKilled | Memory => self.redis.restart(),
            Link | Silence => place.proxy.heal(),
        }
    }

    /// Somebody comes or goes, or what has happened is heard. The dice are thrown alike whatever comes of it.
    fn step(&mut self, dice: &mut Dice) {
        let [what, at, channel, user, which] =
            [10, PLACES, CHANNELS.len(), USERS, 1_000].map(|n| dice.below(n));
        let Place { node: Some(node), seats, .. } = &mut self.places[at] else { return };
        match what {
            0..=4 if seats.len() < MEMBERS_MAX => {
                let user_id = user.to_string();
                let member = Member::knock(&node.server, CHANNELS[channel], &user_id);
                seats.push(Seat { channel, user_id, member });
            }
            5..=8 if !seats.is_empty() => {
                let Seat { channel, mut member, .. } = seats.swap_remove(which % seats.len());
                // In good order, or as a browser that is closed.
                if which % 2 == 0 {
                    member.leave(CHANNELS[channel]);
                }
            }
            _ => seats.iter_mut().for_each(|seat| seat.member.is_answered()),
        }
    }

    fn seats(&mut self) -> impl Iterator<Item = &mut Seat> {
        self.places.iter_mut().flat_map(|place| &mut place.seats)
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.places.iter().filter_map(|place| place.node.as_ref())
    }

    fn truth(&self) -> [BTreeSet<String>; CHANNELS.len()] {
        let mut truth: [BTreeSet<String>; CHANNELS.len()] = Default::default();
        for seat in self.places.iter().flat_map(|place| &place.seats) {
            truth[seat.channel].insert(seat.user_id.clone());
        }
        truth
    }

    /// What is not the truth: of clients by what they were told, of nodes by what they answer.
    fn mistaken(&mut self, truth: &[BTreeSet<String>]) -> Vec<String> {
        let mut mistaken = Vec::new();
        for (at, place) in self.places.iter_mut().enumerate() {
            for Seat { channel, user_id, member } in &mut place.seats {
                member.is_answered();
                if !member.joined || member.here != truth[*channel] {
                    let name = CHANNELS[*channel];
                    mistaken.push(format!("{user_id} at node {at} on {name} knows of {:?}", member.here));
                }
            }
        }
        let nodes = self.nodes().count() as u64;
        for (at, node) in self.nodes().enumerate() {
            let known = node.server.metric("fleet_nodes");
            if known != nodes {
                mistaken.push(format!("node {at} knows of {known} nodes"));
            }
            let mut api = Api::connect(&node.server);
            for (channel, truth) in CHANNELS.iter().zip(truth) {
                let answer = api.get(&format!("/apps/app/channels/{channel}/users"), &[]).json(200);
                let users: Vec<Value> = truth.iter().map(|user_id| json!({"id": user_id})).collect();
                if answer != json!({"users": users}) {
                    mistaken.push(format!("node {at} on {channel} answers {answer}"));
                }
            }
        }
        mistaken
    }

    /// Waits until everybody knows the truth.
    fn all_agree(&mut self) {
        let (truth, calm) = (self.truth(), Instant::now());
        loop {
            let mistaken = self.mistaken(&truth);
            if mistaken.is_empty() {
                return println!("all agree after {:?}", calm.elapsed());
            }
            let promised = LEASE + Duration::from_secs(5);
            assert!(calm.elapsed() < promised, "the truth is {truth:?}, but {mistaken:#?}");
        }
    }
}

#[test]
fn whatever_happens_to_nodes_links_and_redis_all_end_up_with_the_truth() {
    let seconds = std::env::var("FANFARE_TEST_SECONDS").map_or(60, |seconds| seconds.parse().unwrap());
    let directory = directory();
    let mut world = World::start(Redis::start("redis-server", directory.path(), &["--appendonly", "yes"]));
    let mut dice = Dice::new();
    // Two at a time, of which one may cut off what the other has just brought back.
    let mut tracks = [
        Track::of(dice.another(), &[NodeKilled, RedisKilled, Memory]),
        Track::of(dice.another(), &[Link, Silence]),
    ];
    let over = Instant::now() + Duration::from_secs(seconds);
    let mut steps = 0;
    while Instant::now() < over {
        tracks.iter_mut().for_each(|track| track.go_on(&mut world));
        world.step(&mut dice);
        steps += 1;
        // The pace of the load, for which nothing waits.
        thread::sleep(Duration::from_millis(5));
    }
    tracks.iter_mut().for_each(|track| track.end(&mut world));
    println!("{steps} steps, {:?}", world.seen);
    assert!(seconds < 60 || world.seen.len() == 10, "each of them, briefly and for long: {:?}", world.seen);
    world.all_agree();

    // A node that has only come now sees the same, and everybody sees it, once.
    let node = Node::start(&world.redis.url(), limits);
    let newcomers = CHANNELS.map(|channel| Member::join(&node.server, channel, "new"));
    let seats = newcomers.into_iter().enumerate().map(|(channel, member)| Seat {
        channel,
        user_id: "new".into(),
        member,
    });
    let (seats, proxy) = (seats.collect(), Proxy::to(world.redis.port));
    world.places.push(Place { node: Some(node), proxy, seats });
    world.all_agree();
    wait_until("the dead have left nothing", || world.redis.leases() == Some(PLACES + 1));
    world.seats().for_each(|seat| seat.member.is_told_nothing());
    for node in world.nodes() {
        assert_eq!(node.server.log_lines("panicked"), Vec::<String>::new());
    }
}
