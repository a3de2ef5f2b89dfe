//! Who is signed in to one app on this node, and who watches whom.
//!
//! Owns when a user is online: from its first signed-in connection until some time after its last one is gone, so
//! that reloading a page is not told to anybody. Leaves to others how watchers are told, and the time: whoever
//! ends a user's last connection calls [`Users::settle`] when that time is over.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::RandomState;

use super::ConnectionKey;
use super::shards::ShardIndex;

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
    /// What watchers were told last.
    online: bool,
    watchers: Watchers,
}

impl User {
    fn is_forgotten(&self) -> bool {
        self.connections == 0 && !self.online && self.watchers.is_empty()
    }
}

impl Users {
    fn lock(&self) -> MutexGuard<'_, ById> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection signs in as `user_id`. `tell` is called, under the lock, when that brings the user online.
    pub fn sign_in(&self, user_id: &Arc<str>, tell: impl FnOnce(Turn<'_>)) {
        let mut users = self.lock();
        let user = users.entry(Arc::clone(user_id)).or_default();
        user.connections += 1;
        if !std::mem::replace(&mut user.online, true) {
            tell(Turn { user_id, online: true, watchers: &user.watchers });
        }
    }

    /// A signed-in connection is gone; whether it was the user's last, which is to be [settled](Self::settle).
    #[must_use = "nobody is told that a user is gone until it is settled"]
    pub fn sign_out(&self, user_id: &str) -> bool {
        let mut users = self.lock();
        let Some(user) = users.get_mut(user_id) else { return false };
        user.connections -= 1;
        user.connections == 0
    }

    /// Tells that a user is offline, unless it has come back.
    pub fn settle(&self, user_id: &str, tell: impl FnOnce(Turn<'_>)) {
        let mut users = self.lock();
        let Some(user) = users.get_mut(user_id).filter(|user| user.connections == 0) else { return };
        if std::mem::replace(&mut user.online, false) {
            tell(Turn { user_id, online: false, watchers: &user.watchers });
        }
        if user.is_forgotten() {
            users.remove(user_id);
        }
    }

    /// A connection begins to watch users. Gives who of them is there now; it hears of every turn from here on.
    pub fn watch(&self, watcher: Watcher, user_ids: &[Arc<str>]) -> Attendance {
        let mut users = self.lock();
        let mut attendance = Attendance::default();
        for user_id in user_ids {
            let user = users.entry(Arc::clone(user_id)).or_default();
            user.watchers.insert(watcher);
            let list = if user.online { &mut attendance.online } else { &mut attendance.offline };
            list.push(Arc::clone(user_id));
        }
        attendance
    }

    /// A connection watches no longer.
    pub fn unwatch(&self, watcher: Watcher, user_ids: &[Arc<str>]) {
        let mut users = self.lock();
        for user_id in user_ids {
            let Some(user) = users.get_mut(user_id) else { continue };
            user.watchers.remove(&watcher);
            if user.is_forgotten() {
                users.remove(user_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmap::SlotMap;

    fn note(turn: &Turn<'_>) -> String {
        format!("{}{} to {}", if turn.online { '+' } else { '-' }, turn.user_id, turn.watchers.len())
    }

    #[test]
    fn u5_a_user_is_online_from_the_first_connection_until_the_last_has_been_gone_for_a_while() {
        let (users, mut told) = (Users::default(), Vec::new());
        let mut keys = SlotMap::<ConnectionKey, ()>::with_key();
        let watcher = Watcher { shard: 0, connection: keys.insert(()) };
        let (one, two): (Arc<str>, Arc<str>) = ("1".into(), "2".into());
        users.sign_in(&two, |turn| told.push(note(&turn)));
        let attendance = users.watch(watcher, &[Arc::clone(&one), Arc::clone(&two)]);
        assert_eq!(
            attendance,
            Attendance { online: vec![Arc::clone(&two)], offline: vec![Arc::clone(&one)] }
        );
        users.sign_in(&one, |turn| told.push(note(&turn)));
        users.sign_in(&one, |turn| told.push(note(&turn)));
        assert!(!users.sign_out("1"));
        assert!(users.sign_out("1"));
        users.sign_in(&one, |turn| told.push(note(&turn)));
        users.settle("1", |turn| told.push(note(&turn)));
        assert_eq!(told, ["+2 to 0", "+1 to 1"], "a page that is reloaded is not told");
        assert!(users.sign_out("1"));
        users.settle("1", |turn| told.push(note(&turn)));
        users.settle("1", |turn| told.push(note(&turn)));
        assert_eq!(told[2..], ["-1 to 1"]);
        users.unwatch(watcher, &[one, Arc::clone(&two)]);
        assert!(users.sign_out("2"));
        users.settle("2", |turn| told.push(note(&turn)));
        assert_eq!(told[3..], ["-2 to 0"]);
        assert!(users.lock().is_empty(), "nothing is kept of who is gone and not watched");
    }
}
