//! Which connections of one shard are subscribed to a channel.
//!
//! Both directions are kept: a channel lists its connections (that is what delivery walks) and a connection lists
//! its channels (that is what leaving walks). Each entry knows its counterpart's place, so that removing one is a
//! swap on either side, whatever the channel's size. Finding one subscription of a connection walks that
//! connection's own list.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use slotmap::SlotMap;

use super::cache::Remembered;
use super::delivery::Unheard;
use super::directory::{Change, Stamp, State};
use super::members::{Full, Member};
use super::shards::ShardIndex;
use super::{ConnectionKey, Herald, give_back};
use crate::apps::{App, AppIndex};
use crate::metrics::Metrics;
use crate::pusher::ChannelName;

slotmap::new_key_type! {
    struct ChannelKey;
}

#[derive(Debug)]
struct Channel {
    app: Arc<App>,
    name: Arc<str>,
    subscribers: Vec<Subscriber>,
    /// Whether its subscribers wait until it is ready: they have not been told that they are subscribed, and hear
    /// nothing.
    waits: bool,
    /// As long as `subscribers` on a presence or cache channel, empty on others.
    details: Vec<Detail>,
}

/// A connection in a channel's list; `place` is where the channel stands in the connection's list.
#[derive(Debug, Clone, Copy)]
struct Subscriber {
    connection: ConnectionKey,
    place: u32,
}

/// What else is known of a subscriber of a channel that has a state.
#[derive(Debug, Default)]
struct Detail {
    /// The last change of the members that it was told with the list of them.
    members: Stamp,
    /// The last event that it was told when it subscribed.
    event: Stamp,
    /// Whose connection it is, on a presence channel.
    user_id: Option<Arc<str>>,
}

/// A channel in a connection's list; `place` is where the connection stands in the channel's list.
#[derive(Debug, Clone, Copy)]
struct Membership {
    channel: ChannelKey,
    place: u32,
}

/// What a subscriber is told about its channel.
#[derive(Debug, Default)]
pub struct Subscribed {
    /// Whether it is told now. Otherwise all subscribers are told when the channel is [ready](Subscribers::ready).
    pub ready: bool,
    /// The members of a presence channel, by user id.
    pub members: Vec<Member>,
    /// On a cache channel, its last event or that there is none.
    pub remembered: Option<Option<Remembered>>,
}

/// The subscriptions of one shard.
#[derive(Debug)]
pub struct Subscribers {
    shard: ShardIndex,
    herald: Arc<dyn Herald>,
    metrics: Arc<Metrics>,
    /// Boxed: the map itself never shrinks, and what a channel takes is to be free again when it is gone.
    channels: SlotMap<ChannelKey, Box<Channel>>,
    keys_by_name: Vec<HashMap<Arc<str>, ChannelKey, RandomState>>,
    memberships: HashMap<ConnectionKey, Vec<Membership>, RandomState>,
}

impl Subscribers {
    /// None yet, of shard `shard`; `herald` tells others of what changes.
    pub fn new(shard: ShardIndex, herald: Arc<dyn Herald>, metrics: Arc<Metrics>) -> Self {
        Self {
            shard,
            herald,
            metrics,
            channels: SlotMap::with_key(),
            keys_by_name: Vec::new(),
            memberships: HashMap::default(),
        }
    }

    /// Makes a connection a subscriber, as `member` on a presence channel. Being one already changes nothing, and
    /// is told the same.
    ///
    /// # Errors
    /// [`Full`]: the channel has `members_max` members already; nothing has changed.
    pub fn subscribe(
        &mut self,
        connection: ConnectionKey,
        app: &Arc<App>,
        name: &ChannelName,
        member: Option<&Member>,
        members_max: usize,
    ) -> Result<Subscribed, Full> {
        let key = self.key(app.index, name.as_str());
        let held = key.and_then(|channel| Some((channel, self.place_of(connection, channel)?)));
        let state = match held {
            Some(_) => app.directory.state(name.as_str()),
            None => {
                let shared = name.shared();
                let tell = |change: Change<'_>| self.herald.changed(app, &shared, change);
                let with_others = self.herald.shares(app, name.as_str());
                app.directory.subscribe(&shared, self.shard, member, members_max, with_others, tell)?
            }
        };
        // Ready for the node and not for this shard: it has been posted, and others wait for it here too.
        let ready = state.ready
            && !held.map(|(channel, _)| channel).or(key).is_some_and(|key| self.channels[key].waits);
        // Recalled after the directory knows of the subscription: an event in between comes by itself.
        let recalled = name.traits().cache.then(|| app.cache.recall(name.as_str()));
        let event = recalled.as_ref().map(|(stamp, _)| *stamp).unwrap_or_default();
        let told = Detail { members: state.stamp, event, user_id: None };
        match held {
            Some((channel, at)) => self.tell_again(connection, channel, at, told),
            None => {
                let user_id = member.map(|member| Arc::clone(&member.user_id));
                self.begin(connection, app, name, ready, Detail { user_id, ..told });
            }
        }
        let State { members, .. } = state;
        Ok(Subscribed { ready, members, remembered: recalled.map(|(_, remembered)| remembered) })
    }

    /// Ends one subscription. Not having it changes nothing.
    pub fn unsubscribe(&mut self, connection: ConnectionKey, app: AppIndex, name: &str) {
        let Some(channel) = self.key(app, name) else { return };
        if let Some(at) = self.place_of(connection, channel) {
            self.end(connection, at);
        }
    }

    /// Ends all subscriptions of a connection that leaves.
    pub fn leave(&mut self, connection: ConnectionKey) {
        while let Some(last) = self.memberships.get(&connection).and_then(|list| list.len().checked_sub(1)) {
            self.end(connection, last);
        }
        self.memberships.remove(&connection);
        give_back(&mut self.memberships);
    }

    /// A channel is ready, as far as the directory says so too: it may be another life of the channel that was. Gives
    /// those who have waited for it, each of whom subscribes once more to be told its state.
    pub fn ready(&mut self, app: AppIndex, name: &str) -> Vec<ConnectionKey> {
        let channel = self.key(app, name).and_then(|channel| self.channels.get_mut(channel));
        let channel = channel.filter(|channel| channel.waits && channel.app.directory.state(name).ready);
        let Some(channel) = channel else { return Vec::new() };
        channel.waits = false;
        channel.subscribers.iter().map(|entry| entry.connection).collect()
    }

    /// The subscribers of a channel that something is new to, in no order that means anything.
    pub fn of(&self, app: AppIndex, name: &str, unheard: Unheard) -> impl Iterator<Item = ConnectionKey> {
        let channel = self.key(app, name).and_then(|channel| self.channels.get(channel));
        let channel = channel.filter(|channel| !channel.waits);
        let (subscribers, details) =
            channel.map_or((&[][..], &[][..]), |channel| (&channel.subscribers[..], &channel.details[..]));
        let is_new = move |at: usize| match (unheard, details.get(at)) {
            (Unheard::ByAll, _) | (_, None) => true,
            (Unheard::AsMembership(stamp), Some(detail)) => detail.members < stamp,
            (Unheard::AsLastEvent(stamp), Some(detail)) => detail.event < stamp,
        };
        let new = subscribers.iter().enumerate().filter(move |(at, _)| is_new(*at));
        new.map(|(_, entry)| entry.connection)
    }

    /// Whose connection this is on a presence channel that it is subscribed to.
    pub fn user_id(&self, connection: ConnectionKey, app: AppIndex, name: &str) -> Option<Arc<str>> {
        let channel = self.key(app, name)?;
        let place = self.memberships.get(&connection)?[self.place_of(connection, channel)?].place;
        self.channels.get(channel)?.details.get(place as usize)?.user_id.clone()
    }

    /// Every connection that is a member of some presence channel as `user_id`; several times if of several.
    pub fn members(&self, app: AppIndex, user_id: &str) -> Vec<ConnectionKey> {
        let of_app = self.channels.values().filter(|channel| channel.app.index == app);
        let entries = of_app.flat_map(|channel| channel.subscribers.iter().zip(&channel.details));
        let found = entries.filter(|(_, detail)| detail.user_id.as_deref() == Some(user_id));
        found.map(|(entry, _)| entry.connection).collect()
    }

    fn key(&self, app: AppIndex, name: &str) -> Option<ChannelKey> {
        self.keys_by_name.get(app.0)?.get(name).copied()
    }

    fn place_of(&self, connection: ConnectionKey, channel: ChannelKey) -> Option<usize> {
        self.memberships.get(&connection)?.iter().position(|membership| membership.channel == channel)
    }

    /// Lists a connection and its channel with each other.
    fn begin(
        &mut self,
        connection: ConnectionKey,
        app: &Arc<App>,
        name: &ChannelName,
        ready: bool,
        detail: Detail,
    ) {
        let channel = self.key(app.index, name.as_str()).unwrap_or_else(|| self.open(app, name));
        self.channels[channel].waits |= !ready;
        let memberships = self.memberships.entry(connection).or_default();
        let channel_entry = &mut self.channels[channel];
        let (in_list, in_channel) = (memberships.len() as u32, channel_entry.subscribers.len() as u32);
        push(memberships, Membership { channel, place: in_channel });
        push(&mut channel_entry.subscribers, Subscriber { connection, place: in_list });
        if name.traits().has_state() {
            push(&mut channel_entry.details, detail);
        }
    }

    /// A subscriber is told the state once more: what that holds is not new to it.
    fn tell_again(&mut self, connection: ConnectionKey, channel: ChannelKey, at: usize, told: Detail) {
        let Some(place) =
            self.memberships.get(&connection).and_then(|list| list.get(at)).map(|held| held.place)
        else {
            return;
        };
        let place = place as usize;
        if let Some(detail) = self.channels[channel].details.get_mut(place) {
            (detail.members, detail.event) = (told.members, told.event);
        }
    }

    fn open(&mut self, app: &Arc<App>, name: &ChannelName) -> ChannelKey {
        let name = name.shared();
        let channel = Channel {
            app: Arc::clone(app),
            name: Arc::clone(&name),
            subscribers: Vec::new(),
            waits: false,
            details: Vec::new(),
        };
        let channel = self.channels.insert(Box::new(channel));
        if self.keys_by_name.len() <= app.index.0 {
            self.keys_by_name.resize_with(app.index.0 + 1, HashMap::default);
        }
        self.keys_by_name[app.index.0].insert(name, channel);
        self.metrics.channels.increment();
        channel
    }

    /// Ends the subscription at `at` of the connection's list.
    fn end(&mut self, connection: ConnectionKey, at: usize) {
        let Some(list) = self.memberships.get_mut(&connection) else { return };
        let Membership { channel: key, place } = list.swap_remove(at);
        let place = place as usize;
        if let Some(&moved) = list.get(at) {
            // The connection may be in the list of this very channel only once, so it is another channel's.
            self.channels[moved.channel].subscribers[moved.place as usize].place = at as u32;
        }
        let channel = &mut self.channels[key];
        channel.subscribers.swap_remove(place);
        let detail = (place < channel.details.len()).then(|| channel.details.swap_remove(place));
        if let Some(&moved) = channel.subscribers.get(place)
            && let Some(list) = self.memberships.get_mut(&moved.connection)
        {
            list[moved.place as usize].place = place as u32;
        }
        let Channel { app, name, subscribers, details, .. } = &mut **channel;
        if subscribers.capacity() > 64 && subscribers.len() * 4 < subscribers.capacity() {
            subscribers.shrink_to(subscribers.len() * 2);
            details.shrink_to(subscribers.len() * 2);
        }
        let last_here = subscribers.is_empty();
        let user_id = detail.and_then(|detail| detail.user_id);
        let tell = |change: Change<'_>| self.herald.changed(app, name, change);
        app.directory.unsubscribe(name, self.shard, last_here, user_id.as_deref(), tell);
        if last_here {
            self.close(key);
        }
    }

    fn close(&mut self, channel: ChannelKey) {
        if let Some(channel) = self.channels.remove(channel) {
            if let Some(keys) = self.keys_by_name.get_mut(channel.app.index.0) {
                keys.remove(&channel.name);
                give_back(keys);
            }
            self.metrics.channels.decrement();
        }
    }
}

/// Appends to a list that mostly has one entry, and then has room for no more: a vector begins with four.
fn push<T>(list: &mut Vec<T>, entry: T) {
    if list.is_empty() {
        list.reserve_exact(1);
    }
    list.push(entry);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::Apps;
    use crate::config::Configuration;
    use crate::hub::UserChange;
    use crate::pusher::ChannelName;
    use std::collections::{BTreeSet, HashSet};

    #[derive(Debug)]
    struct Deaf;

    impl Herald for Deaf {
        fn changed(&self, _: &App, _: &Arc<str>, _: Change<'_>) {}
        fn user_changed(&self, _: &App, _: UserChange<'_>) {}
    }

    fn subscribers() -> Subscribers {
        Subscribers::new(0, Arc::new(Deaf), Arc::default())
    }

    /// Two apps.
    fn apps() -> [Arc<App>; 2] {
        let text = r#"{"listen":"127.0.0.1:0","socket":"/s","apps":[{"id":"1","key":"a","secret":"x"},{"id":"2","key":"b","secret":"y"}]}"#;
        let apps = Apps::new(Configuration::parse(text, 1).unwrap().apps);
        ["1", "2"].map(|id| apps.by_id(id).unwrap())
    }

    fn name(name: &str) -> ChannelName {
        ChannelName::parse(name, 200).unwrap()
    }

    fn of(hub: &Subscribers, app: &App, name: &str) -> Vec<ConnectionKey> {
        hub.of(app.index, name, Unheard::ByAll).collect()
    }

    #[test]
    fn n5_subscribing_is_idempotent_and_apps_are_apart() {
        let (mut hub, mut keys) = (subscribers(), SlotMap::<ConnectionKey, ()>::with_key());
        let ([app, other], one) = (apps(), keys.insert(()));
        hub.subscribe(one, &app, &name("a"), None, 0).unwrap();
        hub.subscribe(one, &app, &name("a"), None, 0).unwrap();
        assert_eq!(of(&hub, &app, "a"), [one]);
        assert!(of(&hub, &other, "a").is_empty());
        hub.unsubscribe(one, other.index, "a");
        hub.unsubscribe(one, app.index, "b");
        assert_eq!(of(&hub, &app, "a").len(), 1);
        hub.unsubscribe(one, app.index, "a");
        assert!(of(&hub, &app, "a").is_empty());
        assert_eq!((hub.metrics.channels.value(), app.directory.occupancies("").len()), (0, 0));
    }

    #[test]
    fn s15_what_a_subscriber_was_told_with_the_state_is_not_new_to_it() {
        let (mut hub, mut keys) = (subscribers(), SlotMap::<ConnectionKey, ()>::with_key());
        let ([app, _], early, late) = (apps(), keys.insert(()), keys.insert(()));
        let member = |id: &str| Member { user_id: id.into(), user_info: None };
        let channel = name("presence-cache-a");
        hub.subscribe(early, &app, &channel, Some(&member("1")), 9).unwrap();
        let event = app.cache.remember(channel.as_str(), "e", "{}");
        let told = hub.subscribe(late, &app, &channel, Some(&member("2")), 9).unwrap();
        assert_eq!(
            (told.members.len(), told.remembered.flatten().map(|last| last.event)),
            (2, Some("e".into()))
        );
        let new = |hub: &Subscribers, unheard| {
            hub.of(app.index, channel.as_str(), unheard).collect::<Vec<ConnectionKey>>()
        };
        assert_eq!(new(&hub, Unheard::AsLastEvent(event)), [early]);
        assert_eq!(new(&hub, Unheard::AsMembership(Stamp(2))), [early]);
        assert_eq!(new(&hub, Unheard::AsMembership(Stamp(3))), [early, late]);
        hub.subscribe(early, &app, &channel, Some(&member("1")), 9).unwrap();
        assert_eq!(new(&hub, Unheard::AsLastEvent(event)), [], "told again, so not new any more");
    }

    #[test]
    fn h9_members_are_found_by_their_user() {
        let (mut hub, mut keys) = (subscribers(), SlotMap::<ConnectionKey, ()>::with_key());
        let ([app, other], one, two) = (apps(), keys.insert(()), keys.insert(()));
        let member = Member { user_id: "7".into(), user_info: None };
        hub.subscribe(one, &app, &name("presence-a"), Some(&member), 9).unwrap();
        hub.subscribe(two, &app, &name("news"), None, 9).unwrap();
        assert_eq!(hub.members(app.index, "7"), [one]);
        assert!(hub.members(other.index, "7").is_empty());
        assert_eq!(hub.user_id(one, app.index, "presence-a").as_deref(), Some("7"));
        assert_eq!(hub.user_id(two, app.index, "presence-a"), None);
    }

    /// Any order of subscribing, unsubscribing and leaving gives what a set of pairs gives.
    #[test]
    fn it_agrees_with_a_set_of_pairs_whatever_happens() {
        let (mut hub, mut keys) = (subscribers(), SlotMap::<ConnectionKey, ()>::with_key());
        let [app, _] = apps();
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
            let (connection, channel) = (connections[at], format!("cache-{}", draw(12)));
            match draw(16) {
                0..=7 => {
                    hub.subscribe(connection, &app, &name(&channel), None, 0).unwrap();
                    model.insert((connection, channel));
                }
                8..=14 => {
                    hub.unsubscribe(connection, app.index, &channel);
                    model.remove(&(connection, channel));
                }
                _ => {
                    hub.leave(connection);
                    model.retain(|(other, _)| *other != connection);
                    keys.remove(connection);
                    connections[at] = keys.insert(());
                }
            }
            let channel = format!("cache-{}", draw(12));
            let listed = of(&hub, &app, &channel);
            let set: BTreeSet<ConnectionKey> = listed.iter().copied().collect();
            let expected = model.iter().filter(|(_, of)| *of == channel).map(|(connection, _)| *connection);
            assert_eq!(set, expected.collect());
            assert_eq!(set.len(), listed.len(), "nobody is listed twice");
            let subscriptions = app.directory.occupancy(&channel).map_or(0, |channel| channel.subscriptions);
            assert_eq!(subscriptions, listed.len());
        }
        connections.into_iter().for_each(|connection| hub.leave(connection));
        assert!(hub.channels.is_empty() && hub.keys_by_name[0].is_empty());
        assert_eq!(hub.metrics.channels.value(), 0);
    }

    /// Has all subscribers wait.
    #[derive(Debug)]
    struct Slow;

    impl Herald for Slow {
        fn changed(&self, _: &App, _: &Arc<str>, change: Change<'_>) {
            if let Change::Occupied { ready } = change {
                ready.set(false);
            }
        }
        fn user_changed(&self, _: &App, _: UserChange<'_>) {}
    }

    #[test]
    fn who_waits_hears_nothing_until_the_channel_is_ready() {
        let (mut hub, [app, _]) = (Subscribers::new(0, Arc::new(Slow), Arc::default()), apps());
        let mut keys = SlotMap::<ConnectionKey, ()>::with_key();
        let [one, two, three] = [(); 3].map(|()| keys.insert(()));
        let subscribe =
            |hub: &mut Subscribers, key| hub.subscribe(key, &app, &name("a"), None, 0).unwrap().ready;
        assert!(!subscribe(&mut hub, one));
        assert!(!subscribe(&mut hub, one), "it is told once, when it is ready");
        assert!(hub.ready(app.index, "a").is_empty(), "told too early: of the channel's life before");
        app.directory.make_ready("a");
        assert!(!subscribe(&mut hub, two), "what is posted to this shard has not come yet");
        assert!(of(&hub, &app, "a").is_empty());
        assert_eq!(hub.ready(app.index, "a"), [one, two]);
        assert!(hub.ready(app.index, "a").is_empty());
        assert!(subscribe(&mut hub, one));
        assert!(subscribe(&mut hub, three));
        assert_eq!(of(&hub, &app, "a"), [one, two, three]);
    }
}
