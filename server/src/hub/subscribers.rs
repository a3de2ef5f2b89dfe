//! Which connections of one shard are subscribed to a channel.
//!
//! Both directions are kept: a channel lists its connections (that is what delivery walks) and a connection lists
//! its channels (that is what leaving walks). Each entry knows its counterpart's place, so that removing one is a
//! swap on either side, whatever the channel's size. Finding one subscription of a connection walks that
//! connection's own list.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use slotmap::{SecondaryMap, SlotMap};

use super::ConnectionKey;
use super::directory::{Directory, ShardIndex};
use crate::metrics::Metrics;
use crate::node::AppIndex;
use crate::pusher::ChannelName;

slotmap::new_key_type! {
    struct ChannelKey;
}

#[derive(Debug)]
struct Channel {
    app: AppIndex,
    name: Arc<str>,
    subscribers: Vec<Subscriber>,
}

/// A connection in a channel's list; `place` is where the channel stands in the connection's list.
#[derive(Debug, Clone, Copy)]
struct Subscriber {
    connection: ConnectionKey,
    place: u32,
}

/// A channel in a connection's list; `place` is where the connection stands in the channel's list.
#[derive(Debug, Clone, Copy)]
struct Membership {
    channel: ChannelKey,
    place: u32,
}

/// The subscriptions of one shard.
#[derive(Debug)]
pub struct Subscribers {
    shard: ShardIndex,
    directory: Arc<Directory>,
    metrics: Arc<Metrics>,
    channels: SlotMap<ChannelKey, Channel>,
    keys_by_name: Vec<HashMap<Arc<str>, ChannelKey, RandomState>>,
    memberships: SecondaryMap<ConnectionKey, Vec<Membership>>,
}

impl Subscribers {
    /// None yet, of shard `shard`; `directory` hears of first and last ones.
    pub fn new(shard: ShardIndex, apps: usize, directory: Arc<Directory>, metrics: Arc<Metrics>) -> Self {
        Self {
            shard,
            directory,
            metrics,
            channels: SlotMap::with_key(),
            keys_by_name: (0..apps).map(|_| HashMap::default()).collect(),
            memberships: SecondaryMap::new(),
        }
    }

    /// Makes a connection a subscriber. Being one already changes nothing.
    pub fn subscribe(&mut self, connection: ConnectionKey, app: AppIndex, name: &ChannelName) {
        let channel = match self.keys_by_name[app.0].get(name.as_str()) {
            Some(&channel) if self.place_of(connection, channel).is_some() => return,
            Some(&channel) => channel,
            None => self.occupy(app, name),
        };
        let Some(memberships) = self.memberships.entry(connection) else { return };
        let memberships = memberships.or_default();
        let subscribers = &mut self.channels[channel].subscribers;
        let (in_list, in_channel) = (memberships.len() as u32, subscribers.len() as u32);
        memberships.push(Membership { channel, place: in_channel });
        subscribers.push(Subscriber { connection, place: in_list });
    }

    /// Ends one subscription. Not having it changes nothing.
    pub fn unsubscribe(&mut self, connection: ConnectionKey, app: AppIndex, name: &str) {
        let Some(&channel) = self.keys_by_name[app.0].get(name) else { return };
        if let Some(at) = self.place_of(connection, channel) {
            self.end(connection, at);
        }
    }

    /// Ends all subscriptions of a connection that leaves.
    pub fn leave(&mut self, connection: ConnectionKey) {
        while let Some(last) = self.memberships.get(connection).and_then(|list| list.len().checked_sub(1)) {
            self.end(connection, last);
        }
        self.memberships.remove(connection);
    }

    /// The subscribers of a channel, in no order that means anything.
    pub fn of(&self, app: AppIndex, name: &str) -> impl ExactSizeIterator<Item = ConnectionKey> {
        let channel = self.keys_by_name[app.0].get(name).and_then(|&channel| self.channels.get(channel));
        channel.map_or(&[][..], |channel| &channel.subscribers).iter().map(|entry| entry.connection)
    }

    fn place_of(&self, connection: ConnectionKey, channel: ChannelKey) -> Option<usize> {
        self.memberships.get(connection)?.iter().position(|membership| membership.channel == channel)
    }

    fn occupy(&mut self, app: AppIndex, name: &ChannelName) -> ChannelKey {
        let name = name.shared();
        let channel = self.channels.insert(Channel { app, name: Arc::clone(&name), subscribers: Vec::new() });
        self.directory.add(app, &name, self.shard);
        self.keys_by_name[app.0].insert(name, channel);
        self.metrics.channels.increment();
        channel
    }

    /// Ends the subscription at `at` of the connection's list.
    fn end(&mut self, connection: ConnectionKey, at: usize) {
        let Some(list) = self.memberships.get_mut(connection) else { return };
        let Membership { channel, place } = list.swap_remove(at);
        if let Some(&moved) = list.get(at) {
            self.channels[moved.channel].subscribers[moved.place as usize].place = at as u32;
        }
        let subscribers = &mut self.channels[channel].subscribers;
        subscribers.swap_remove(place as usize);
        if let Some(&moved) = subscribers.get(place as usize) {
            self.memberships[moved.connection][moved.place as usize].place = place;
        }
        if subscribers.is_empty() {
            self.vacate(channel);
        } else if subscribers.capacity() > 64 && subscribers.len() * 4 < subscribers.capacity() {
            subscribers.shrink_to(subscribers.len() * 2);
        }
    }

    fn vacate(&mut self, channel: ChannelKey) {
        if let Some(Channel { app, name, .. }) = self.channels.remove(channel) {
            self.keys_by_name[app.0].remove(&name);
            self.directory.remove(app, &name, self.shard);
            self.metrics.channels.decrement();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeSet, HashSet};

    const APP: AppIndex = AppIndex(0);

    fn subscribers() -> Subscribers {
        Subscribers::new(0, 2, Arc::new(Directory::new(2)), Arc::default())
    }

    fn name(name: &str) -> ChannelName {
        ChannelName::parse(name, 200).unwrap()
    }

    #[test]
    fn subscribing_is_idempotent_and_apps_are_apart() {
        let (mut hub, mut keys) = (subscribers(), SlotMap::<ConnectionKey, ()>::with_key());
        let one = keys.insert(());
        hub.subscribe(one, APP, &name("a"));
        hub.subscribe(one, APP, &name("a"));
        assert_eq!(hub.of(APP, "a").collect::<Vec<_>>(), [one]);
        assert_eq!(hub.of(AppIndex(1), "a").len(), 0);
        hub.unsubscribe(one, AppIndex(1), "a");
        hub.unsubscribe(one, APP, "b");
        assert_eq!(hub.of(APP, "a").len(), 1);
        hub.unsubscribe(one, APP, "a");
        assert_eq!(hub.of(APP, "a").len(), 0);
        assert_eq!(hub.metrics.channels.value(), 0);
    }

    /// Any order of subscribing, unsubscribing and leaving gives what a set of pairs gives.
    #[test]
    fn it_agrees_with_a_set_of_pairs_whatever_happens() {
        let (mut hub, mut keys) = (subscribers(), SlotMap::<ConnectionKey, ()>::with_key());
        let mut connections: Vec<ConnectionKey> = (0..8).map(|_| keys.insert(())).collect();
        let mut model: HashSet<(ConnectionKey, String)> = HashSet::new();
        // A fixed linear congruential sequence: every run does the same.
        let mut state = 7_u64;
        let mut draw = |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };
        for _ in 0..20_000 {
            let at = draw(connections.len());
            let (connection, channel) = (connections[at], format!("c{}", draw(12)));
            match draw(16) {
                0..=7 => {
                    hub.subscribe(connection, APP, &name(&channel));
                    model.insert((connection, channel));
                }
                8..=14 => {
                    hub.unsubscribe(connection, APP, &channel);
                    model.remove(&(connection, channel));
                }
                _ => {
                    hub.leave(connection);
                    model.retain(|(other, _)| *other != connection);
                    keys.remove(connection);
                    connections[at] = keys.insert(());
                }
            }
            let channel = format!("c{}", draw(12));
            let listed: BTreeSet<ConnectionKey> = hub.of(APP, &channel).collect();
            let expected = model.iter().filter(|(_, of)| *of == channel).map(|(connection, _)| *connection);
            assert_eq!(listed, expected.collect());
            assert_eq!(hub.of(APP, &channel).len(), listed.len(), "nobody is listed twice");
        }
        connections.into_iter().for_each(|connection| hub.leave(connection));
        assert!(hub.channels.is_empty() && hub.keys_by_name[0].is_empty());
        assert_eq!(hub.metrics.channels.value(), 0);
    }
}
