//! The channels of one app on this node: which shards have subscribers, how many there are, and who is a member.
//!
//! A publication only reads; a subscription or its end changes. What a change means for others is told to the
//! caller's `tell` **while the channel is locked**, so that all shards hear of changes in the order in which they
//! happened. A change that subscribers hear of has a stamp: a subscriber who was told the state of the channel
//! as of stamp 7 must not hear of change 7 once more.
//!
//! The locks are striped by channel name; no two are ever held at once.
//!
//! A channel that is *shared* with other nodes has a [`Replica`] of what they say about it: `shared` is how that comes in.

mod shared;

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ahash::RandomState;

use super::give_back;
use super::members::{Added, Full, Member, Members};
use super::shards::{ShardIndex, ShardSet};
use crate::fleet::Replica;

/// Locks per app: enough for two shards out of dozens to rarely meet.
const STRIPES: usize = 32;

/// The order of what the subscribers of a channel are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Stamp(pub u64);

impl Stamp {
    fn next(&mut self) -> Self {
        self.0 += 1;
        *self
    }
}

type Channels = HashMap<Arc<str>, Channel, RandomState>;

/// Some of an app's channels, under one lock.
#[derive(Debug, Default)]
struct Stripe {
    channels: Channels,
    /// The last stamp that was given to any of them. A channel that is occupied again begins with it: what is still on
    /// its way from its life before must not be new to anybody.
    stamp: Stamp,
}

/// The channels of one app.
#[derive(Debug)]
pub struct Directory {
    stripes: Box<[RwLock<Stripe>]>,
    hasher: RandomState,
}

/// A channel with subscribers on this node.
#[derive(Debug, Default)]
struct Channel {
    shards: ShardSet,
    subscriptions: usize,
    stamp: Stamp,
    members: Members,
    /// Whether nothing that other nodes publish is missed here.
    ready: bool,
    /// What other nodes say, where the channel is shared with them.
    replica: Option<Box<Replica>>,
}

/// Something that others are told about a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<'a> {
    /// It has its first subscriber.
    Occupied {
        /// Set to false by who is told, when its subscribers have to wait until it is [ready](Directory::make_ready).
        ready: &'a Cell<bool>,
    },
    /// It has lost its last one.
    Vacated,
    /// A user has become a member.
    MemberAdded {
        /// Who.
        member: &'a Member,
        /// Shards with subscribers.
        shards: ShardSet,
        /// The change's place.
        stamp: Stamp,
    },
    /// A user is a member no longer.
    MemberRemoved {
        /// Who.
        user_id: &'a str,
        /// Shards with subscribers.
        shards: ShardSet,
        /// The change's place.
        stamp: Stamp,
    },
    /// A user is on this node now, wherever else it may be.
    Arrived {
        /// Who.
        member: &'a Member,
    },
    /// A user is not on this node any more, wherever else it may be.
    Departed {
        /// Who.
        user_id: &'a str,
    },
    /// The number of subscriptions is another.
    Counted {
        /// How many there are, on all nodes that are known of.
        subscriptions: usize,
        /// How many of them are on this node.
        here: usize,
        /// Shards with subscribers.
        shards: ShardSet,
    },
}

/// The state of a channel as a subscriber is told it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// Whether the subscriber may be told at once that it is subscribed.
    pub ready: bool,
    /// The last change that the state holds.
    pub stamp: Stamp,
    /// The members, by user id.
    pub members: Vec<Member>,
}

/// What is asked about a channel from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupancy {
    /// The channel's name.
    pub name: Arc<str>,
    /// Connections that are subscribed.
    pub subscriptions: usize,
    /// Distinct users; 0 on a channel without members.
    pub users: usize,
}

impl Default for Directory {
    fn default() -> Self {
        Self { stripes: (0..STRIPES).map(|_| RwLock::default()).collect(), hasher: RandomState::new() }
    }
}

impl Directory {
    fn stripe(&self, name: &str) -> &RwLock<Stripe> {
        &self.stripes[self.hasher.hash_one(name) as usize % STRIPES]
    }

    // A map is whole after every statement that changes it, so a panic elsewhere does not spoil it.
    fn read(&self, name: &str) -> RwLockReadGuard<'_, Stripe> {
        self.stripe(name).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, name: &str) -> RwLockWriteGuard<'_, Stripe> {
        self.stripe(name).write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection of `shard` subscribes, as `member` on a presence channel. It must not be subscribed already. The
    /// channel is `shared` with other nodes from its first subscriber on, or not at all.
    ///
    /// # Errors
    /// [`Full`]: the user would be one member more than `members_max`; nothing has changed.
    pub fn subscribe(
        &self,
        name: &Arc<str>,
        shard: ShardIndex,
        member: Option<&Member>,
        members_max: usize,
        shared: bool,
        mut tell: impl FnMut(Change<'_>),
    ) -> Result<State, Full> {
        let mut stripe = self.write(name);
        let Stripe { channels, stamp } = &mut *stripe;
        let new = || {
            let replica = shared.then(|| Box::new(Replica::unread()));
            Channel { stamp: *stamp, replica, ..Channel::default() }
        };
        let channel = channels.entry(Arc::clone(name)).or_insert_with(new);
        let added = match member {
            Some(member) => match channel.members.add(member, members_max) {
                Ok(added) => added,
                Err(full) => {
                    if channel.subscriptions == 0 {
                        channels.remove(name);
                    }
                    return Err(full);
                }
            },
            None => Added::default(),
        };
        channel.shards.insert(shard);
        channel.subscriptions += 1;
        if channel.subscriptions == 1 {
            let ready = Cell::new(true);
            tell(Change::Occupied { ready: &ready });
            channel.ready = ready.get();
        }
        if let Some(member) = member.filter(|_| added.first_here) {
            tell(Change::Arrived { member });
        }
        if let Some(member) = member.filter(|_| added.first) {
            channel.stamp = stamp.next();
            tell(Change::MemberAdded { member, shards: channel.shards, stamp: channel.stamp });
        }
        tell(channel.counted());
        Ok(channel.state())
    }

    /// A connection of `shard` ends its subscription, which it must have; `last_here` when no other connection of
    /// that shard is subscribed, `user_id` when it was a member.
    pub fn unsubscribe(
        &self,
        name: &str,
        shard: ShardIndex,
        last_here: bool,
        user_id: Option<&str>,
        mut tell: impl FnMut(Change<'_>),
    ) {
        let mut stripe = self.write(name);
        let Stripe { channels, stamp } = &mut *stripe;
        let Some(channel) = channels.get_mut(name) else { return };
        channel.subscriptions -= 1;
        if last_here {
            channel.shards.remove(shard);
        }
        if let Some(user_id) = user_id
            && let Some(removed) = channel.members.remove(user_id)
        {
            if removed.last_here {
                tell(Change::Departed { user_id });
            }
            if removed.last {
                channel.stamp = stamp.next();
                tell(Change::MemberRemoved { user_id, shards: channel.shards, stamp: channel.stamp });
            }
        }
        if channel.subscriptions > 0 {
            tell(channel.counted());
            return;
        }
        tell(Change::Vacated);
        channels.remove(name);
        give_back(channels);
    }

    /// A channel is ready. Gives the shards whose subscribers have waited for it.
    pub fn make_ready(&self, name: &str) -> ShardSet {
        let mut stripe = self.write(name);
        let Some(channel) = stripe.channels.get_mut(name).filter(|channel| !channel.ready) else {
            return ShardSet::default();
        };
        channel.ready = true;
        channel.shards
    }

    /// The state of a channel for a subscriber who asks again.
    pub fn state(&self, name: &str) -> State {
        self.read(name).channels.get(name).map(Channel::state).unwrap_or_default()
    }

    /// Where there are subscribers, and how many; `None` when there is nobody, else the name as it is shared.
    pub fn shards(&self, name: &str) -> Option<(Arc<str>, ShardSet, usize)> {
        let stripe = self.read(name);
        let (name, channel) = stripe.channels.get_key_value(name)?;
        Some((Arc::clone(name), channel.shards, channel.subscriptions))
    }

    /// Tells how many subscriptions there are, if there are any, while the channel is locked.
    pub fn count(&self, name: &str, tell: impl FnOnce(usize, ShardSet)) {
        if let Some(channel) = self.write(name).channels.get(name) {
            tell(channel.subscriptions_everywhere(), channel.shards);
        }
    }

    /// One channel; `None` when nobody is subscribed.
    pub fn occupancy(&self, name: &str) -> Option<Occupancy> {
        self.read(name).channels.get_key_value(name).map(|(name, channel)| channel.occupancy(name))
    }

    /// How many channels have subscribers; those that come and go meanwhile may be counted or not.
    pub fn len(&self) -> usize {
        self.stripes
            .iter()
            .map(|stripe| stripe.read().unwrap_or_else(PoisonError::into_inner).channels.len())
            .sum()
    }

    /// Whether no channel has a subscriber.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All channels whose name begins with `prefix`, in no order that means anything.
    pub fn occupancies(&self, prefix: &str) -> Vec<Occupancy> {
        let mut found = Vec::new();
        for stripe in &self.stripes {
            let stripe = stripe.read().unwrap_or_else(PoisonError::into_inner);
            let matching = stripe.channels.iter().filter(|(name, _)| name.starts_with(prefix));
            found.extend(matching.map(|(name, channel)| channel.occupancy(name)));
        }
        found
    }

    /// The ids of a channel's members, in their order.
    pub fn user_ids(&self, name: &str) -> Vec<Arc<str>> {
        let stripe = self.read(name);
        let members = stripe.channels.get(name).map(|channel| channel.members.iter());
        members.into_iter().flatten().map(|(user_id, _)| Arc::clone(user_id)).collect()
    }
}

impl Channel {
    fn state(&self) -> State {
        let member = |(user_id, user_info): (&Arc<str>, Option<&Arc<str>>)| Member {
            user_id: Arc::clone(user_id),
            user_info: user_info.cloned(),
        };
        State { ready: self.ready, stamp: self.stamp, members: self.members.iter().map(member).collect() }
    }

    fn occupancy(&self, name: &Arc<str>) -> Occupancy {
        Occupancy { name: Arc::clone(name), subscriptions: self.subscriptions, users: self.members.len() }
    }

    fn subscriptions_everywhere(&self) -> usize {
        let elsewhere = self.replica.as_ref().map_or(0, |replica| replica.subscriptions());
        self.subscriptions.saturating_add(usize::try_from(elsewhere).unwrap_or(usize::MAX))
    }

    fn counted(&self) -> Change<'static> {
        let (subscriptions, here) = (self.subscriptions_everywhere(), self.subscriptions);
        Change::Counted { subscriptions, here, shards: self.shards }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(user_id: &str) -> Member {
        Member { user_id: user_id.into(), user_info: None }
    }

    /// What was told, in a few letters.
    fn note(change: &Change<'_>) -> String {
        let on = |shards: &ShardSet| shards.iter().map(|shard| shard.to_string()).collect::<String>();
        match change {
            Change::Occupied { .. } => "occupied".into(),
            Change::Vacated => "vacated".into(),
            Change::MemberAdded { member, shards, stamp } => {
                format!("+{}@{} to {}", member.user_id, stamp.0, on(shards))
            }
            Change::MemberRemoved { user_id, shards, stamp } => {
                format!("-{user_id}@{} to {}", stamp.0, on(shards))
            }
            Change::Counted { subscriptions, shards, .. } => format!("{subscriptions} to {}", on(shards)),
            Change::Arrived { .. } | Change::Departed { .. } => String::new(),
        }
    }

    struct Floor {
        directory: Directory,
        told: Vec<String>,
    }

    impl Floor {
        fn new() -> Self {
            Self { directory: Directory::default(), told: Vec::new() }
        }

        fn subscribe(&mut self, name: &str, shard: ShardIndex, user: Option<&str>) -> Result<State, Full> {
            let member = user.map(member);
            let tell = |change: Change<'_>| self.told.push(note(&change));
            self.directory.subscribe(&name.into(), shard, member.as_ref(), 2, false, tell)
        }

        fn unsubscribe(&mut self, name: &str, shard: ShardIndex, last_here: bool, user: Option<&str>) {
            let tell = |change: Change<'_>| self.told.push(note(&change));
            self.directory.unsubscribe(name, shard, last_here, user, tell);
        }

        fn told(&mut self) -> Vec<String> {
            let told = std::mem::take(&mut self.told);
            told.into_iter().filter(|note| !note.is_empty()).collect()
        }
    }

    #[test]
    fn a_channel_is_occupied_counted_and_vacated() {
        let mut floor = Floor::new();
        floor.subscribe("news", 0, None).unwrap();
        floor.subscribe("news", 5, None).unwrap();
        assert_eq!(floor.told(), ["occupied", "1 to 0", "2 to 05"]);
        let occupancy = floor.directory.occupancy("news").unwrap();
        assert_eq!((occupancy.subscriptions, occupancy.users), (2, 0));
        assert_eq!(floor.directory.occupancies("ne").len(), 1);
        assert_eq!(floor.directory.occupancies("x").len(), 0);
        floor.unsubscribe("news", 0, true, None);
        assert_eq!(floor.directory.shards("news").unwrap().1.iter().collect::<Vec<_>>(), [5]);
        floor.unsubscribe("news", 5, true, None);
        assert_eq!(floor.told(), ["1 to 5", "vacated"]);
        assert_eq!(floor.directory.occupancy("news"), None);
    }

    #[test]
    fn s5_s6_a_member_comes_with_its_first_connection_and_goes_with_its_last() {
        let mut floor = Floor::new();
        let first = floor.subscribe("presence-a", 0, Some("1")).unwrap();
        assert_eq!((first.stamp, first.members.len()), (Stamp(1), 1));
        floor.subscribe("presence-a", 1, Some("1")).unwrap();
        let third = floor.subscribe("presence-a", 1, Some("2")).unwrap();
        assert_eq!((third.stamp, third.members.len()), (Stamp(2), 2));
        assert_eq!(floor.told(), ["occupied", "+1@1 to 0", "1 to 0", "2 to 01", "+2@2 to 01", "3 to 01"]);
        floor.unsubscribe("presence-a", 0, true, Some("1"));
        floor.unsubscribe("presence-a", 1, false, Some("1"));
        assert_eq!(floor.told(), ["2 to 1", "-1@3 to 1", "1 to 1"]);
        assert_eq!(floor.directory.user_ids("presence-a"), [Arc::<str>::from("2")]);
    }

    #[test]
    fn s15_what_is_on_its_way_from_a_channels_life_before_is_not_new_in_the_next() {
        let mut floor = Floor::new();
        floor.subscribe("presence-a", 0, Some("1")).unwrap();
        floor.subscribe("presence-a", 1, Some("2")).unwrap();
        floor.unsubscribe("presence-a", 1, true, Some("2"));
        floor.unsubscribe("presence-a", 0, true, Some("1"));
        assert!(floor.told().contains(&"-1@4 to ".to_owned()));
        let again = floor.subscribe("presence-a", 0, Some("1")).unwrap();
        assert_eq!(again.stamp, Stamp(5), "later than all that was told before");
    }

    #[test]
    fn u2_a_full_channel_refuses_a_user_and_nothing_changes() {
        let mut floor = Floor::new();
        floor.subscribe("presence-a", 0, Some("1")).unwrap();
        floor.subscribe("presence-a", 0, Some("2")).unwrap();
        floor.told();
        assert_eq!(floor.subscribe("presence-a", 3, Some("3")), Err(Full));
        assert!(floor.told().is_empty());
        let occupancy = floor.directory.occupancy("presence-a").unwrap();
        assert_eq!((occupancy.subscriptions, occupancy.users), (2, 2));
    }

    #[test]
    fn who_subscribes_to_a_channel_that_is_not_ready_waits_with_the_others() {
        let directory = Directory::default();
        let name: Arc<str> = "news".into();
        let subscribe = |shard| {
            let not_yet = |change: Change<'_>| {
                if let Change::Occupied { ready } = change {
                    ready.set(false);
                }
            };
            directory.subscribe(&name, shard, None, 0, false, not_yet).unwrap().ready
        };
        assert_eq!([subscribe(0), subscribe(5)], [false, false]);
        assert_eq!(directory.make_ready("news").iter().collect::<Vec<_>>(), [0, 5]);
        assert!(directory.make_ready("news").is_empty(), "nobody waits any more");
        assert!(subscribe(7), "nobody has to wait any more");
        assert!(directory.make_ready("quiet").is_empty());
    }
}
