//! Some nodes, clients that come and go, and a Redis between them, all in one thread and by a seed: words come late and
//! twice, links are cut with what is on them, nodes die, Redis forgets everything.
//!
//! What holds at every moment: who watches a channel on a node is told of each user `added` and `removed` in turn. What
//! holds when nothing happens any more: every node's view of every channel is the truth, and so is that of a node
//! that has only come now.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lease::RollCall;
use super::replica::{Heard, Owner};
use super::{Change, LeaseId, Leases, Ledger, Replica, Snapshot, Turn, Word};
use crate::hub::Member;
use crate::hub::members::Members;

const SPAN: Duration = Duration::from_secs(15);
const CHANNELS: usize = 3;
const USERS: usize = 5;

/// A fixed sequence for a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone, Debug)]
enum Command {
    /// With the leases that its node will give back.
    Say(usize, Word, Vec<LeaseId>),
    Take(LeaseId),
    Renew(LeaseId),
    Roll(RollCall),
    Snapshot(usize, u64),
    /// Everything under a lease is removed: it has died, or is given back.
    Reap(LeaseId),
}

#[derive(Clone, Debug)]
enum Reply {
    Renewed(LeaseId, bool),
    Roll(RollCall, Vec<LeaseId>, Vec<LeaseId>),
    /// With the leases that lived when it was taken, or after.
    Snapshot(usize, u64, Snapshot, Vec<LeaseId>),
}

#[derive(Clone, Debug)]
enum Message {
    Subscribed(usize, u64),
    Word(usize, Word),
    Ended(LeaseId),
}

/// Two connections of one node: commands with their answers, and what it subscribes to.
#[derive(Default)]
struct Link {
    commands: VecDeque<Command>,
    replies: VecDeque<Reply>,
    /// Subscriptions that Redis has not seen yet.
    subscribing: VecDeque<(usize, u64)>,
    topics: BTreeSet<usize>,
    messages: VecDeque<Message>,
}

type Facts = BTreeMap<LeaseId, (u64, u32, BTreeMap<Arc<str>, Member>)>;

#[derive(Default)]
struct Redis {
    leases: BTreeMap<LeaseId, Instant>,
    channels: Vec<Facts>,
}

impl Redis {
    fn new() -> Self {
        Self { channels: vec![Facts::new(); CHANNELS], ..Self::default() }
    }

    fn say(&mut self, channel: usize, word: &Word, before: &[LeaseId]) {
        let facts = &mut self.channels[channel];
        if word.prev == 0 {
            facts.remove(&word.lease);
            for lease in before {
                if let Some((_, subscriptions, _)) = facts.get_mut(lease) {
                    *subscriptions = 0;
                }
            }
        }
        let (seq, subscriptions, members) = facts.entry(word.lease).or_default();
        (*seq, *subscriptions) = (word.seq, word.subscriptions);
        for change in &word.changes {
            match change {
                Change::Joined(member) => members.insert(Arc::clone(&member.user_id), member.clone()),
                Change::Left(user_id) => members.remove(user_id),
            };
        }
        if word.subscriptions == 0 {
            facts.remove(&word.lease);
        }
    }

    fn snapshot(&self, channel: usize) -> Snapshot {
        let facts = &self.channels[channel];
        let owner = |(lease, &(seq, subscriptions, _)): (&LeaseId, &(u64, u32, _))| Owner {
            lease: *lease,
            seq,
            subscriptions,
        };
        let members = facts
            .iter()
            .flat_map(|(lease, (_, _, members))| members.values().map(|member| (*lease, member.clone())));
        Snapshot { owners: facts.iter().map(owner).collect(), members: members.collect() }
    }
}

/// What a node knows of a channel that it has subscribers of.
struct View {
    life: u64,
    /// The snapshot that was asked for last: the answer to one before may lack what was not held since.
    load: u64,
    replica: Replica,
    members: Members,
    /// What those who watch were told; nothing before they were told that they are subscribed.
    told: Option<BTreeSet<Arc<str>>>,
}

impl View {
    fn tell(&mut self, turns: Vec<Turn>) {
        let Some(told) = &mut self.told else { return };
        for turn in turns {
            match turn {
                Turn::Added(member) => assert!(told.insert(member.user_id), "added once"),
                Turn::Removed(user_id) => assert!(told.remove(&user_id), "removed once"),
            }
        }
        assert!(
            told.iter().eq(self.members.iter().map(|(user_id, _)| user_id)),
            "what was told is what is known"
        );
    }

    fn answer(&mut self) {
        if self.told.is_none() {
            self.told = Some(self.members.iter().map(|(user_id, _)| Arc::clone(user_id)).collect());
        }
    }
}

struct Node {
    ledger: Ledger<usize>,
    leases: Leases,
    given_back: Vec<LeaseId>,
    /// To be reaped once the node can tell dead from cut off.
    left_behind: BTreeSet<LeaseId>,
    views: Vec<Option<View>>,
    connections: Vec<(usize, Arc<str>)>,
    link: Option<Link>,
    /// Counts the snapshots that were asked for.
    loads: u64,
}

struct World {
    dice: Dice,
    now: Instant,
    redis: Redis,
    nodes: Vec<Node>,
    lives: u64,
    /// How likely a word is lost on a link that is up, one in so many; 0 never.
    lossy: usize,
}

impl World {
    fn new(seed: u64, lossy: usize) -> Self {
        let mut world = Self {
            dice: Dice(seed),
            now: Instant::now(),
            redis: Redis::new(),
            nodes: Vec::new(),
            lives: 0,
            lossy,
        };
        (0..3).for_each(|_| world.start());
        world
    }

    fn start(&mut self) {
        self.lives += 1;
        let lease = LeaseId(self.lives << 16);
        let (ledger, views) = (Ledger::new(lease), (0..CHANNELS).map(|_| None).collect());
        let leases = Leases::new(SPAN);
        self.nodes.push(Node {
            ledger,
            leases,
            given_back: Vec::new(),
            left_behind: BTreeSet::new(),
            views,
            connections: Vec::new(),
            link: None,
            loads: 0,
        });
        self.connect(self.nodes.len() - 1);
    }

    /// The link is there again: another lease, and everything anew.
    fn connect(&mut self, at: usize) {
        let (now, node) = (self.now, &mut self.nodes[at]);
        node.leases.link_is_up();
        let mut link = Link::default();
        for (channel, view) in node.views.iter().enumerate() {
            link.subscribing.extend(view.as_ref().map(|view| (channel, view.life)));
        }
        node.link = Some(link);
        node.take_lease(now);
        node.call_roll();
    }

    fn cut(&mut self, at: usize) {
        let Some(mut link) = self.nodes[at].link.take() else { return };
        // Some of what was on its way arrives, and nobody hears of it.
        for _ in 0..self.dice.below(link.commands.len() + 1) {
            if let Some(command) = link.commands.pop_front() {
                self.execute(command);
            }
        }
        let node = &mut self.nodes[at];
        node.leases.link_is_down();
        node.views.iter_mut().flatten().for_each(View::answer);
    }

    fn join(&mut self, at: usize, channel: usize, user: usize) {
        self.lives += 1;
        let (life, node) = (self.lives, &mut self.nodes[at]);
        let member = Member { user_id: format!("{user}").into(), user_info: None };
        node.connections.push((channel, Arc::clone(&member.user_id)));
        let view = node.views[channel].get_or_insert_with(|| {
            let mut replica = Replica::default();
            let told = match &mut node.link {
                Some(link) => {
                    link.subscribing.push_back((channel, life));
                    replica.load();
                    None
                }
                None => Some(BTreeSet::new()),
            };
            View { life, load: 0, replica, members: Members::default(), told }
        });
        let added = view.members.add(&member, usize::MAX).unwrap();
        if added.first {
            view.tell(vec![Turn::Added(member.clone())]);
        }
        if added.first_here {
            node.ledger.join(&channel, &member);
        }
        if self.dice.one_in(3) {
            // Another thread speaks at any moment.
            node.speak();
        }
        node.count(channel);
    }

    fn leave(&mut self, at: usize, connection: usize) {
        let node = &mut self.nodes[at];
        let (channel, user_id) = node.connections.swap_remove(connection);
        let view = node.views[channel].as_mut().unwrap();
        let removed = view.members.remove(&user_id).unwrap();
        if removed.last {
            view.tell(vec![Turn::Removed(Arc::clone(&user_id))]);
        }
        if removed.last_here {
            node.ledger.leave(&channel, &user_id);
        }
        if self.dice.one_in(3) {
            node.speak();
        }
        node.count(channel);
        if node.connections.iter().all(|(other, _)| *other != channel) {
            node.views[channel] = None;
            if let Some(link) = &mut node.link {
                link.topics.remove(&channel);
                link.subscribing.retain(|(other, _)| *other != channel);
            }
        }
    }

    fn execute(&mut self, command: Command) -> Option<Reply> {
        match command {
            Command::Say(channel, word, before) => {
                self.redis.say(channel, &word, &before);
                self.publish(Some(channel), &Message::Word(channel, word));
                None
            }
            Command::Take(lease) => {
                self.redis.leases.insert(lease, self.now + SPAN);
                None
            }
            Command::Renew(lease) => {
                // One that has run out is not renewed, whether or not it has been reaped already.
                let now = self.now;
                let held = self.redis.leases.get_mut(&lease).filter(|expires| **expires > now);
                let renewed = held.map(|expires| *expires = now + SPAN).is_some();
                Some(Reply::Renewed(lease, renewed))
            }
            Command::Roll(call) => {
                let (living, run_out): (Vec<_>, Vec<_>) =
                    self.redis.leases.iter().partition(|(_, expires)| **expires > self.now);
                let ids =
                    |leases: Vec<(&LeaseId, &Instant)>| leases.into_iter().map(|(lease, _)| *lease).collect();
                Some(Reply::Roll(call, ids(living), ids(run_out)))
            }
            Command::Snapshot(channel, load) => {
                let leases = self.redis.leases.iter().filter(|(_, expires)| **expires > self.now);
                let living = leases.map(|(lease, _)| *lease).collect();
                Some(Reply::Snapshot(channel, load, self.redis.snapshot(channel), living))
            }
            Command::Reap(lease) => {
                self.redis.leases.remove(&lease);
                self.redis.channels.iter_mut().for_each(|facts| drop(facts.remove(&lease)));
                self.publish(None, &Message::Ended(lease));
                None
            }
        }
    }

    fn publish(&mut self, topic: Option<usize>, message: &Message) {
        for node in &mut self.nodes {
            let Some(link) = &mut node.link else { continue };
            if topic.is_some_and(|topic| !link.topics.contains(&topic)) {
                continue;
            }
            if self.lossy > 0 && self.dice.one_in(self.lossy) {
                continue;
            }
            link.messages.push_back(message.clone());
            if self.dice.one_in(10) {
                // Once more, at any time after.
                let after = link.messages.len() + self.dice.below(3);
                link.messages.insert(after.min(link.messages.len()), message.clone());
            }
        }
    }

    /// Something happens on the links of a node; whether anything was left to happen.
    fn carry(&mut self, at: usize) -> bool {
        let which = self.dice.below(4);
        for which in (0..4).map(|n| (n + which) % 4) {
            let Some(link) = &mut self.nodes[at].link else { return false };
            match which {
                0 => {
                    if let Some(command) = link.commands.pop_front() {
                        if let Some(reply) = self.execute(command)
                            && let Some(link) = &mut self.nodes[at].link
                        {
                            link.replies.push_back(reply);
                        }
                        return true;
                    }
                }
                1 => {
                    if let Some((channel, life)) = link.subscribing.pop_front() {
                        link.topics.insert(channel);
                        link.messages.push_back(Message::Subscribed(channel, life));
                        return true;
                    }
                }
                2 => {
                    if let Some(reply) = link.replies.pop_front() {
                        self.reply(at, reply);
                        return true;
                    }
                }
                _ => {
                    if let Some(message) = link.messages.pop_front() {
                        self.nodes[at].hear(message);
                        return true;
                    }
                }
            }
        }
        // Speaking last, so that several changes come together.
        self.nodes[at].speak()
    }

    fn reply(&mut self, at: usize, reply: Reply) {
        let now = self.now;
        match reply {
            Reply::Renewed(lease, renewed) => {
                if !renewed && lease == self.nodes[at].ledger.lease() {
                    self.nodes[at].leases.spare_all(now);
                    self.nodes[at].take_lease(now);
                }
            }
            Reply::Roll(call, living, run_out) => {
                let node = &mut self.nodes[at];
                let gone = node.leases.take_roll(now, call, &living, &run_out);
                gone.all().iter().for_each(|lease| node.drop_lease(*lease));
                node.left_behind.extend(run_out);
                node.reap(now);
            }
            Reply::Snapshot(channel, load, snapshot, living) => {
                self.nodes[at].take(now, channel, load, snapshot, living)
            }
        }
    }

    fn step(&mut self) {
        let at = self.dice.below(self.nodes.len());
        let (channel, user) = (self.dice.below(CHANNELS), self.dice.below(USERS));
        match self.dice.below(400) {
            0..=49 => self.join(at, channel, user),
            50..=99 => {
                let n = self.nodes[at].connections.len();
                if n > 0 {
                    let connection = self.dice.below(n);
                    self.leave(at, connection);
                }
            }
            100..=104 => self.cut(at),
            105..=119 if self.nodes[at].link.is_none() => self.connect(at),
            120..=121 => {
                self.nodes.swap_remove(at);
                self.start();
            }
            122 => {
                (0..self.nodes.len()).for_each(|at| self.cut(at));
                self.redis = Redis::new();
            }
            123..=139 => self.now += Duration::from_millis(self.dice.below(4_000) as u64),
            140..=159 => self.nodes[at].look(),
            _ => drop(self.carry(at)),
        }
    }

    /// Nothing happens any more, and time goes by.
    fn settle(&mut self) {
        for at in 0..self.nodes.len() {
            if self.nodes[at].link.is_none() {
                self.connect(at);
            }
        }
        for _ in 0..16 {
            for at in 0..self.nodes.len() {
                self.nodes[at].look();
                while self.carry(at) {}
            }
            // What one has caused for another.
            while (0..self.nodes.len()).any(|at| self.carry(at)) {}
            self.now += SPAN / 5;
        }
    }

    fn truth(&self, channel: usize) -> (BTreeSet<Arc<str>>, usize) {
        let all = self.nodes.iter().flat_map(|node| &node.connections).filter(|(other, _)| *other == channel);
        (all.clone().map(|(_, user_id)| Arc::clone(user_id)).collect(), all.count())
    }

    fn check(&self) {
        for channel in 0..CHANNELS {
            let (truth, connections) = self.truth(channel);
            for node in &self.nodes {
                let Some(view) = &node.views[channel] else { continue };
                let here = node.connections.iter().filter(|(other, _)| *other == channel).count();
                assert_eq!(view.told.as_ref(), Some(&truth), "channel {channel}");
                assert_eq!(view.replica.subscriptions() as usize + here, connections, "channel {channel}");
                assert!(!view.replica.is_loading());
            }
        }
    }

    /// Nothing is left behind in Redis, once somebody has looked.
    fn check_redis(&self) {
        for channel in 0..CHANNELS {
            let members = self.redis.snapshot(channel).members.into_iter();
            assert_eq!(
                members.map(|(_, member)| member.user_id).collect::<BTreeSet<_>>(),
                self.truth(channel).0
            );
        }
    }
}

impl Node {
    fn send(&mut self, commands: impl IntoIterator<Item = Command>) {
        if let Some(link) = &mut self.link {
            link.commands.extend(commands);
        }
    }

    fn take_lease(&mut self, now: Instant) {
        let (old, lease) = (self.ledger.lease(), self.ledger.lease().next());
        self.given_back.push(old);
        self.leases.end(now, old);
        self.ledger.begin(lease, false);
        self.send([Command::Take(lease)]);
    }

    fn call_roll(&mut self) {
        let call = self.leases.call_roll();
        self.send([Command::Roll(call)]);
    }

    /// What is done every now and then.
    fn look(&mut self) {
        let lease = self.ledger.lease();
        self.send([Command::Renew(lease)]);
        let is_reading = self.views.iter().flatten().any(|view| view.replica.is_loading());
        if self.link.as_ref().is_some_and(|link| link.subscribing.is_empty()) && !is_reading {
            self.leases.has_caught_up();
        }
        self.call_roll();
    }

    fn count(&mut self, channel: usize) {
        let here = self.connections.iter().filter(|(other, _)| *other == channel).count();
        self.ledger.count(&channel, here);
    }

    fn speak(&mut self) -> bool {
        if self.link.is_none() {
            return false;
        }
        if let Some((channel, word, _)) = self.ledger.next(2, 1_000) {
            self.send([Command::Say(channel, word, self.given_back.clone())]);
            return true;
        }
        // Everything is said under the present lease.
        let old = std::mem::take(&mut self.given_back);
        let any = !old.is_empty();
        self.send(old.into_iter().map(Command::Reap));
        any
    }

    fn load(&mut self, channel: usize) {
        if let Some(view) = &mut self.views[channel] {
            view.replica.load();
            self.loads += 1;
            view.load = self.loads;
            self.send([Command::Snapshot(channel, self.loads)]);
        }
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Subscribed(channel, life) => {
                if self.views[channel].as_ref().is_some_and(|view| view.life == life) {
                    self.load(channel);
                }
            }
            Message::Word(channel, word) => {
                if word.lease == self.ledger.lease() || !self.leases.hear(word.lease) {
                    return;
                }
                let Some(view) = &mut self.views[channel] else { return };
                let mut turns = Vec::new();
                let heard = view.replica.hear(&mut view.members, word, &mut turns);
                view.tell(turns);
                if heard == Heard::Gap {
                    self.load(channel);
                }
            }
            Message::Ended(lease) => {
                if lease != self.ledger.lease() {
                    self.leases.give_back(lease);
                }
            }
        }
    }

    fn drop_lease(&mut self, lease: LeaseId) {
        for view in self.views.iter_mut().flatten() {
            let mut turns = Vec::new();
            view.replica.drop_lease(&mut view.members, lease, &mut turns);
            view.tell(turns);
        }
    }

    fn take(&mut self, now: Instant, channel: usize, load: u64, snapshot: Snapshot, living: Vec<LeaseId>) {
        let own = self.ledger.lease();
        let Some(view) =
            self.views[channel].as_mut().filter(|view| view.load == load && view.replica.is_loading())
        else {
            return;
        };
        let living: HashSet<LeaseId> = living.into_iter().collect();
        self.left_behind
            .extend(snapshot.owners.iter().map(|owner| owner.lease).filter(|lease| !living.contains(lease)));
        let mut turns = Vec::new();
        let leases = &mut self.leases;
        let counts = |lease| lease != own && leases.hear(lease);
        let again = view.replica.take(&mut view.members, snapshot, &living, counts, &mut turns);
        view.tell(turns);
        view.answer();
        if again {
            self.load(channel);
        }
        self.reap(now);
    }

    fn reap(&mut self, now: Instant) {
        if self.leases.is_settled(now) {
            let own = self.ledger.lease();
            let left_behind = std::mem::take(&mut self.left_behind);
            self.send(left_behind.into_iter().filter(|lease| *lease != own).map(Command::Reap));
        }
    }
}

#[test]
fn whatever_happens_everybody_ends_up_with_the_truth_and_hears_of_each_user_in_turn() {
    for seed in 0..3_000 {
        let mut world = World::new(seed, 0);
        (0..600).for_each(|_| world.step());
        world.settle();
        world.check();
        // A node that has only come now sees the same.
        world.start();
        let newest = world.nodes.len() - 1;
        (0..CHANNELS).for_each(|channel| world.join(newest, channel, 0));
        world.settle();
        world.check();
        world.check_redis();
    }
}

#[test]
fn a_word_that_is_lost_on_a_link_that_seems_well_is_missed_at_the_next_one() {
    for seed in 0..500 {
        let mut world = World::new(seed, 20);
        (0..600).for_each(|_| world.step());
        world.lossy = 0;
        // Everybody says one more word about everything: one apart from what was to be said, which it may undo.
        while (0..world.nodes.len()).any(|at| world.carry(at)) {}
        for at in 0..world.nodes.len() {
            (0..CHANNELS).for_each(|channel| world.join(at, channel, 0));
        }
        world.settle();
        world.check();
    }
}
