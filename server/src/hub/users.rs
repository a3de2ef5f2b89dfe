//! Who is signed in to one app, and who watches whom on this node.
//!
//! Owns when a user is online: from the first signed-in connection until some time after the last one is gone, so
//! that reloading a page is not told to anybody; on whichever node, for users that are watched here. Leaves to others
//! how watchers are told, and the time: whoever ends a user's last connection calls [`Users::settle`] when that time
//! is over.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::RandomState;
use tokio::time::Instant;

use super::ConnectionKey;
use super::members::Members;
use super::shards::ShardIndex;
use crate::fleet::replica::Heard;
use crate::fleet::{LeaseId, Replica, Snapshot, Word};

/// A connection that is told when the users on its list come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Watcher {
    /// Its shard.
    pub shard: ShardIndex,
    /// Which one there.
    pub connection: ConnectionKey,
}

/// A user has come or gone, as `tell` hears it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn<'a> {
    /// Who.
    pub user_id: &'a str,
    /// Whether the user is online now.
    pub online: bool,
    /// Who is to be told.
    pub watchers: &'a Watchers,
}

/// What others are told about a user, while the users are locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserChange<'a> {
    /// To be told to those who watch.
    Turned(Turn<'a>),
    /// The user is on this node now, or not any more.
    Here {
        /// Who.
        user_id: &'a Arc<str>,
        /// Whether it is.
        here: bool,
    },
    /// Somebody on this node watches the user now, or nobody any more.
    Watched {
        /// Who.
        user_id: &'a Arc<str>,
        /// Whether somebody does.
        watched: bool,
        /// Set by who is told: where there are other nodes, whether what they know is going to be read now.
        reads: &'a Cell<Option<bool>>,
    },
}

/// Who on a watchlist is there, and who is not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attendance {
    /// Ids of those who are online, in the order of the list.
    pub online: Vec<Arc<str>>,
    /// Ids of those who are not.
    pub offline: Vec<Arc<str>>,
}

/// Those who watch one user.
pub type Watchers = HashSet<Watcher, RandomState>;

/// The users of one app.
#[derive(Debug, Default)]
pub struct Users(Mutex<ById>);

type ById = HashMap<Arc<str>, User, RandomState>;

#[derive(Debug, Default)]
struct User {
    connections: usize,
    /// When the last of them was gone, the last time that there was none.
    left: Option<Instant>,
    /// Whether the user counts as being on this node.
    here: bool,
    /// What watchers were told last.
    online: bool,
    watchers: Watchers,
    /// What other nodes say, of a user that is watched here.
    replica: Option<Box<Replica>>,
    /// Watchers that are told when that is known.
    untold: Watchers,
}

impl User {
    fn is_forgotten(&self) -> bool {
        self.connections == 0 && !self.here && self.watchers.is_empty()
    }

    /// Tells the watchers if the user has come or gone.
    fn update(&mut self, user_id: &str, tell: &mut impl FnMut(UserChange<'_>)) {
        let elsewhere = self.replica.as_ref().is_some_and(|replica| replica.subscriptions() > 0);
        let online = self.here || elsewhere;
        if std::mem::replace(&mut self.online, online) != online {
            self.untold.clear();
            tell(UserChange::Turned(Turn { user_id, online, watchers: &self.watchers }));
        }
    }

    /// Tells those who wait what is known.
    fn answer(&mut self, user_id: &str, tell: &mut impl FnMut(UserChange<'_>)) {
        let untold = std::mem::take(&mut self.untold);
        if !untold.is_empty() {
            tell(UserChange::Turned(Turn { user_id, online: self.online, watchers: &untold }));
        }
    }
}

impl Users {
    fn lock(&self) -> MutexGuard<'_, ById> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection signs in as `user_id`.
    pub fn sign_in(&self, user_id: &Arc<str>, mut tell: impl FnMut(UserChange<'_>)) {
        let mut users = self.lock();
        let user = users.entry(Arc::clone(user_id)).or_default();
        user.connections += 1;
        if !std::mem::replace(&mut user.here, true) {
            tell(UserChange::Here { user_id, here: true });
            user.update(user_id, &mut tell);
        }
    }

    /// A signed-in connection is gone; whether it was the user's last, which is to be [settled](Self::settle).
    #[must_use = "nobody is told that a user is gone until it is settled"]
    pub fn sign_out(&self, user_id: &str, now: Instant) -> bool {
        let mut users = self.lock();
        let Some(user) = users.get_mut(user_id) else { return false };
        user.connections -= 1;
        if user.connections > 0 {
            return false;
        }
        user.left = Some(now);
        true
    }

    /// A user that left at `since` is here no longer, unless it has come back. One that has come back and left again is
    /// settled by its later departure, from whichever shard.
    pub fn settle(&self, user_id: &str, since: Instant, mut tell: impl FnMut(UserChange<'_>)) {
        let mut users = self.lock();
        let Some((user_id, mut user)) = users.remove_entry(user_id) else { return };
        let is_gone = user.connections == 0 && user.left == Some(since);
        if is_gone && std::mem::replace(&mut user.here, false) {
            tell(UserChange::Here { user_id: &user_id, here: false });
            user.update(&user_id, &mut tell);
        }
        if !user.is_forgotten() {
            users.insert(user_id, user);
        }
    }

    /// A connection begins to watch users. Gives who of them is there now, and who is not; of others that is still to be
    /// found out, and told. It hears of every turn from here on.
    pub fn watch(
        &self,
        watcher: Watcher,
        user_ids: &[Arc<str>],
        mut tell: impl FnMut(UserChange<'_>),
    ) -> Attendance {
        let mut users = self.lock();
        let mut attendance = Attendance::default();
        for user_id in user_ids {
            let user = users.entry(Arc::clone(user_id)).or_default();
            let mut waits =
                user.replica.as_ref().is_some_and(|replica| replica.is_loading()) && !user.untold.is_empty();
            if user.watchers.is_empty() {
                let reads = Cell::new(None);
                tell(UserChange::Watched { user_id, watched: true, reads: &reads });
                user.replica = reads.get().map(|_| Box::new(Replica::unread()));
                waits = reads.get() == Some(true);
            }
            user.watchers.insert(watcher);
            if waits && !user.online {
                user.untold.insert(watcher);
                continue;
            }
            let list = if user.online { &mut attendance.online } else { &mut attendance.offline };
            list.push(Arc::clone(user_id));
        }
        attendance
    }

    /// A connection watches no longer.
    pub fn unwatch(&self, watcher: Watcher, user_ids: &[Arc<str>], mut tell: impl FnMut(UserChange<'_>)) {
        let mut users = self.lock();
        for user_id in user_ids {
            let Some(user) = users.get_mut(user_id) else { continue };
            user.untold.remove(&watcher);
            if user.watchers.remove(&watcher) && user.watchers.is_empty() {
                tell(UserChange::Watched { user_id, watched: false, reads: &Cell::new(None) });
                user.replica = None;
                user.online = user.here;
            }
            if user.is_forgotten() {
                users.remove(user_id);
            }
        }
    }

    /// Hears another node's word about a user; `None` when nobody here watches.
    pub fn hear(&self, user_id: &str, word: Word, mut tell: impl FnMut(UserChange<'_>)) -> Option<Heard> {
        let mut users = self.lock();
        let user = users.get_mut(user_id)?;
        let heard = user.replica.as_mut()?.hear(&mut Members::default(), word, &mut Vec::new());
        user.update(user_id, &mut tell);
        Some(heard)
    }

    /// A snapshot of a user is asked for; whether there is a use for it.
    pub fn load(&self, user_id: &str) -> bool {
        let mut users = self.lock();
        let replica = users.get_mut(user_id).and_then(|user| user.replica.as_mut());
        replica.map(|replica| replica.load()).is_some()
    }

    /// Takes the snapshot that was asked for; whether another one is to be.
    pub fn take(
        &self,
        user_id: &str,
        snapshot: Snapshot,
        living: &HashSet<LeaseId>,
        counts: impl FnMut(LeaseId) -> bool,
        mut tell: impl FnMut(UserChange<'_>),
    ) -> bool {
        let mut users = self.lock();
        let Some(user) = users.get_mut(user_id) else { return false };
        let Some(replica) = user.replica.as_mut().filter(|replica| replica.is_loading()) else {
            return false;
        };
        let again = replica.take(&mut Members::default(), snapshot, living, counts, &mut Vec::new());
        user.update(user_id, &mut tell);
        user.answer(user_id, &mut tell);
        again
    }

    /// Drops what was held under leases that are dead or given back.
    pub fn drop_leases(&self, leases: &[LeaseId], mut tell: impl FnMut(UserChange<'_>)) {
        for (user_id, user) in self.lock().iter_mut() {
            let Some(replica) = user.replica.as_mut() else { continue };
            for lease in leases {
                replica.drop_lease(&mut Members::default(), *lease, &mut Vec::new());
            }
            user.update(user_id, &mut tell);
        }
    }

    /// Users that are watched here and may be elsewhere.
    pub fn watched(&self) -> Vec<Arc<str>> {
        let users = self.lock();
        users
            .iter()
            .filter(|(_, user)| user.replica.is_some())
            .map(|(user_id, _)| Arc::clone(user_id))
            .collect()
    }

    /// Nobody can be asked about a user: who waits is told what is known here.
    pub fn answer(&self, user_id: &str, mut tell: impl FnMut(UserChange<'_>)) {
        if let Some(user) = self.lock().get_mut(user_id) {
            user.answer(user_id, &mut tell);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmap::SlotMap;

    /// What watchers are told, and nothing of what is for other nodes.
    fn note(told: &mut Vec<String>) -> impl FnMut(UserChange<'_>) {
        |change| {
            if let UserChange::Turned(turn) = change {
                let sign = if turn.online { '+' } else { '-' };
                told.push(format!("{sign}{} to {}", turn.user_id, turn.watchers.len()));
            }
        }
    }

    #[test]
    fn u5_a_user_is_online_from_the_first_connection_until_the_last_has_been_gone_for_a_while() {
        let (users, mut told, left) = (Users::default(), Vec::new(), Instant::now());
        let mut keys = SlotMap::<ConnectionKey, ()>::with_key();
        let watcher = Watcher { shard: 0, connection: keys.insert(()) };
        let (one, two): (Arc<str>, Arc<str>) = ("1".into(), "2".into());
        users.sign_in(&two, note(&mut told));
        let attendance = users.watch(watcher, &[Arc::clone(&one), Arc::clone(&two)], |_| ());
        assert_eq!(
            attendance,
            Attendance { online: vec![Arc::clone(&two)], offline: vec![Arc::clone(&one)] }
        );
        users.sign_in(&one, note(&mut told));
        users.sign_in(&one, note(&mut told));
        assert!(!users.sign_out("1", left));
        assert!(users.sign_out("1", left));
        users.sign_in(&one, note(&mut told));
        users.settle("1", left, note(&mut told));
        assert_eq!(told, ["+2 to 0", "+1 to 1"], "a page that is reloaded is not told");
        assert!(users.sign_out("1", left));
        users.settle("1", left, note(&mut told));
        users.settle("1", left, note(&mut told));
        assert_eq!(told[2..], ["-1 to 1"]);
        users.unwatch(watcher, &[one, Arc::clone(&two)], |_| ());
        assert!(users.sign_out("2", left));
        users.settle("2", left, note(&mut told));
        assert_eq!(told[3..], ["-2 to 0"]);
        assert!(users.lock().is_empty(), "nothing is kept of who is gone and not watched");
    }

    #[test]
    fn u5_who_comes_back_and_leaves_again_is_gone_by_the_later_departure() {
        let (users, mut told, first) = (Users::default(), Vec::new(), Instant::now());
        let second = first + std::time::Duration::from_millis(1_500);
        let user: Arc<str> = "1".into();
        for left in [first, second] {
            users.sign_in(&user, note(&mut told));
            assert!(users.sign_out("1", left));
        }
        users.settle("1", first, note(&mut told));
        assert_eq!(told, ["+1 to 0"], "it left a moment ago");
        users.settle("1", second, note(&mut told));
        assert_eq!(told[1..], ["-1 to 0"]);
    }

    #[test]
    fn u5_a_user_on_several_nodes_is_online_until_the_last_says_otherwise() {
        let (users, mut told, left) = (Users::default(), Vec::new(), Instant::now());
        let mut keys = SlotMap::<ConnectionKey, ()>::with_key();
        let [first, second] = [(); 2].map(|()| Watcher { shard: 0, connection: keys.insert(()) });
        let list: [Arc<str>; 1] = ["1".into()];
        let reads = |change: UserChange<'_>| {
            if let UserChange::Watched { reads, watched: true, .. } = change {
                reads.set(Some(true));
            }
        };
        let lease = LeaseId(7);
        let word = |prev, subscriptions| Word { lease, prev, seq: prev + 1, subscriptions, changes: vec![] };
        for watcher in [first, second] {
            assert_eq!(users.watch(watcher, &list, reads), Attendance::default(), "it is to be found out");
        }
        assert_eq!(users.hear("1", word(0, 1), |_| ()), Some(Heard::Held));
        assert!(!users.take("1", Snapshot::default(), &HashSet::from([lease]), |_| true, note(&mut told)));
        users.sign_in(&list[0], note(&mut told));
        assert_eq!(users.hear("1", word(1, 0), note(&mut told)), Some(Heard::Taken));
        assert_eq!(told, ["+1 to 2"]);
        assert!(users.sign_out("1", left));
        users.settle("1", left, note(&mut told));
        assert_eq!(users.hear("1", word(0, 1), note(&mut told)), Some(Heard::Known));
        assert_eq!(users.hear("1", word(2, 1), note(&mut told)), Some(Heard::Taken));
        users.drop_leases(&[lease], note(&mut told));
        assert_eq!(told[1..], ["-1 to 2", "+1 to 2", "-1 to 2"]);
        // Nobody is there, and who has just come waits for that alone.
        users.unwatch(first, &list, |_| ());
        users.unwatch(second, &list, |_| ());
        users.watch(first, &list, reads);
        users.answer("1", note(&mut told));
        assert_eq!(told[4..], ["-1 to 1"]);
        assert_eq!(users.watched(), list);
    }
}
