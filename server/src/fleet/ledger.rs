//! What this node owns: its facts about every channel that is shared, and what of it the others have not been told.
//!
//! Owns that the others are told of what remains: who comes and goes between two words was never there. Owns too what
//! webhooks have been told of it, so that they are not told again when Redis has lost its data. Leaves to
//! others when it is time to speak. `K` names a channel.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use super::LeaseId;
use super::word::{Change, Word};
use crate::hub::Member;

/// The facts of one node.
#[derive(Debug)]
pub struct Ledger<K> {
    lease: LeaseId,
    /// The number of the last word.
    seq: u64,
    pages: HashMap<K, Page>,
    /// What there is to be said about, the oldest first.
    due: VecDeque<K>,
}

/// The facts about one channel.
#[derive(Debug, Default)]
struct Page {
    /// The number of its last word; 0 when the others know nothing of it.
    prev: u64,
    subscriptions: u32,
    subscriptions_told: u32,
    members: BTreeMap<Arc<str>, Option<Arc<str>>>,
    /// Who has come or gone since, and whether the others have been told that the user is there.
    changed: BTreeMap<Arc<str>, bool>,
    /// Whether it stands in the list of what is due.
    is_due: bool,
    /// What webhooks have been told to be here, by whichever node, and not to be gone.
    told: Again,
    /// Whether data was lost since, and this was not said again.
    is_lost: bool,
}

/// What webhooks have been told before: nothing, as long as no data is lost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Again {
    /// Of these users that they are here.
    pub users: BTreeSet<Arc<str>>,
    /// That the channel is occupied.
    pub occupied: bool,
}

impl Again {
    fn is_empty(&self) -> bool {
        self.users.is_empty() && !self.occupied
    }
}

impl<K: Clone + Eq + Hash> Ledger<K> {
    /// Nothing yet, under a first lease.
    pub fn new(lease: LeaseId) -> Self {
        Self { lease, seq: 0, pages: HashMap::new(), due: VecDeque::new() }
    }

    /// The lease under which words are said now.
    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    /// Whether others hold something about a channel under the present lease, or are about to.
    pub fn has_said(&self, key: &K) -> bool {
        self.pages.get(key).is_some_and(|page| page.prev != 0)
    }

    /// How many channels there are facts about.
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// From now on so many connections subscribe to a channel here.
    pub fn count(&mut self, key: &K, subscriptions: usize) {
        let subscriptions = u32::try_from(subscriptions).unwrap_or(u32::MAX);
        self.change(key, |page| page.subscriptions = subscriptions);
    }

    /// A user has become a member here.
    pub fn join(&mut self, key: &K, member: &Member) {
        self.change(key, |page| {
            page.members.insert(Arc::clone(&member.user_id), member.user_info.clone());
            page.changed.entry(Arc::clone(&member.user_id)).or_insert(false);
        });
    }

    /// A user is a member here no longer.
    pub fn leave(&mut self, key: &K, user_id: &str) {
        self.change(key, |page| {
            if let Some((user_id, _)) = page.members.remove_entry(user_id) {
                page.changed.entry(user_id).or_insert(true);
            }
        });
    }

    fn change(&mut self, key: &K, change: impl FnOnce(&mut Page)) {
        let page = self.pages.entry(key.clone()).or_default();
        change(page);
        if !std::mem::replace(&mut page.is_due, true) {
            self.due.push_back(key.clone());
        }
    }

    /// Everything is to be said once more, under another lease: the others know nothing of it. When data was `lost`, who
    /// has gone since is said too: nobody else can know it.
    pub fn begin(&mut self, lease: LeaseId, lost: bool) {
        self.lease = lease;
        self.pages.retain(|_, page| {
            page.is_lost |= lost;
            page.subscribers() > 0 || !page.told.is_empty()
        });
        self.due = self.pages.keys().cloned().collect();
        for page in self.pages.values_mut() {
            page.prev = 0;
            page.subscriptions_told = 0;
            page.changed = page.members.keys().map(|user_id| (Arc::clone(user_id), false)).collect();
            for user_id in &page.told.users {
                // Else whoever removes what the lease before has left tells of it.
                if page.is_lost && !page.members.contains_key(user_id) {
                    page.changed.insert(Arc::clone(user_id), true);
                }
            }
            page.is_due = true;
        }
    }

    /// The next word that is due, of at most `changes_max` changes and about `bytes_max` bytes, and what of it webhooks
    /// know; none when the others know everything. Whoever takes it has to bring it to them, or begin anew.
    pub fn next(&mut self, changes_max: usize, bytes_max: usize) -> Option<(K, Word, Again)> {
        while let Some(key) = self.due.pop_front() {
            let Some(page) = self.pages.get_mut(&key) else { continue };
            let changes = page.changes(changes_max.clamp(1, Word::CHANGES_MAX), bytes_max);
            let more = !page.changed.is_empty();
            // Not before the last of its members is told to be gone.
            let subscriptions = if more { page.subscribers().max(1) } else { page.subscribers() };
            page.is_due = more;
            let is_vacant = page.is_lost && page.told.occupied && subscriptions == 0;
            let is_news = is_vacant || !changes.is_empty() || subscriptions != page.subscriptions_told;
            let again = page.again(&changes, !more);
            let word = is_news.then(|| {
                self.seq += 1;
                let prev = std::mem::replace(&mut page.prev, self.seq);
                page.subscriptions_told = subscriptions;
                Word { lease: self.lease, prev, seq: self.seq, subscriptions, changes }
            });
            if more {
                self.due.push_back(key.clone());
            } else if subscriptions == 0 {
                // Whoever comes after that begins anew.
                page.prev = 0;
                if page.told.is_empty() {
                    self.pages.remove(&key);
                }
            }
            if let Some(word) = word {
                return Some((key, word, again));
            }
        }
        None
    }

    /// The leases before are given back: what was under them and is no more is told to be gone, by whoever removed it.
    pub fn given_back(&mut self) {
        self.pages.retain(|_, page| {
            let (members, changed) = (&page.members, &page.changed);
            page.told.users.retain(|user_id| members.contains_key(user_id) || changed.contains_key(user_id));
            page.told.occupied &= page.is_due || page.subscriptions_told > 0;
            page.is_due || page.subscribers() > 0 || !page.told.is_empty()
        });
    }

    /// A word is written, and webhooks are told what it means, but for what `waits`.
    pub fn said(&mut self, key: &K, word: &Word, waits: &Again) {
        let Some(page) = self.pages.get_mut(key) else { return };
        for change in &word.changes {
            match change {
                Change::Joined(Member { user_id, .. }) => {
                    if !waits.users.contains(user_id) {
                        page.told.users.insert(Arc::clone(user_id));
                    }
                }
                Change::Left(user_id) => drop(page.told.users.remove(user_id)),
            }
        }
        page.told.occupied = word.subscriptions > 0 && !waits.occupied;
        page.is_lost &= !page.changed.is_empty();
        if page.subscribers() == 0 && !page.is_due && page.told.is_empty() {
            self.pages.remove(key);
        }
    }

    /// Webhooks are told nothing any more.
    pub fn is_not_told(&mut self, key: &K) {
        let Some(page) = self.pages.get_mut(key) else { return };
        page.told = Again::default();
        if page.subscribers() == 0 && !page.is_due {
            self.pages.remove(key);
        }
    }

    /// What has waited is told, or somebody else has told it: that a user has come, or, without one, that the channel
    /// is occupied.
    pub fn told(&mut self, key: &K, user_id: Option<&Arc<str>>) {
        let Some(page) = self.pages.get_mut(key) else { return };
        match user_id {
            Some(user_id) if page.members.contains_key(user_id) => {
                page.told.users.insert(Arc::clone(user_id));
            }
            Some(_) => {}
            None => page.told.occupied |= page.subscriptions_told > 0,
        }
    }

    /// Webhooks are told that a user is gone from everywhere, or that nobody subscribes any more.
    pub fn told_gone(&mut self, key: &K, user_id: Option<&Arc<str>>) {
        let Some(page) = self.pages.get_mut(key) else { return };
        match user_id {
            Some(user_id) => drop(page.told.users.remove(user_id)),
            None => page.told.occupied = false,
        }
        if page.subscribers() == 0 && !page.is_due && page.told.is_empty() {
            self.pages.remove(key);
        }
    }

    /// What was not told yet to be gone, and is to be said once more: before data was lost it was here, or elsewhere.
    pub fn is_to_be_gone(&mut self, key: &K, user_id: Option<&Arc<str>>) {
        let page = self.pages.entry(key.clone()).or_default();
        match user_id {
            Some(user_id) => drop(page.told.users.insert(Arc::clone(user_id))),
            None => page.told.occupied = true,
        }
    }
}

impl Page {
    /// What webhooks have been told of these changes before data was lost; of the channel with the last of them only.
    fn again(&self, changes: &[Change], is_last: bool) -> Again {
        if !self.is_lost {
            return Again::default();
        }
        let users = changes.iter().map(|change| match change {
            Change::Joined(Member { user_id, .. }) | Change::Left(user_id) => user_id,
        });
        let users = users.filter(|user_id| self.told.users.contains(*user_id)).cloned().collect();
        Again { users, occupied: self.told.occupied && (is_last || self.prev == 0) }
    }

    /// A member is a subscriber, who may be noted before the number is.
    fn subscribers(&self) -> u32 {
        self.subscriptions.max(u32::from(!self.members.is_empty()))
    }

    /// Takes out what is to be told next.
    fn changes(&mut self, changes_max: usize, bytes_max: usize) -> Vec<Change> {
        let (mut changes, mut bytes) = (Vec::new(), 0);
        while changes.len() < changes_max && bytes < bytes_max {
            let Some((user_id, told)) = self.changed.pop_first() else { break };
            bytes += user_id.len();
            match (told, self.members.get(&user_id)) {
                (false, Some(user_info)) => {
                    bytes += user_info.as_ref().map_or(0, |user_info| user_info.len());
                    changes.push(Change::Joined(Member { user_id, user_info: user_info.clone() }));
                }
                (true, None) => changes.push(Change::Left(user_id)),
                // Gone and back, or come and gone.
                (true, Some(_)) | (false, None) => {}
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(user_id: &str) -> Member {
        Member { user_id: user_id.into(), user_info: Some("{}".into()) }
    }

    fn note((key, word, again): (&'static str, Word, Again)) -> String {
        let change = |change: &Change| match change {
            Change::Joined(member) => format!(" +{}", member.user_id),
            Change::Left(user_id) => format!(" -{user_id}"),
        };
        let changes: String = word.changes.iter().map(change).collect();
        let again: String = again
            .users
            .iter()
            .map(|user_id| format!(" {user_id}"))
            .chain(again.occupied.then(|| " occupied".to_owned()))
            .collect();
        let again = if again.is_empty() { again } else { format!(" again{again}") };
        format!("{key} {}: {}>{} {}{changes}{again}", word.lease.0, word.prev, word.seq, word.subscriptions)
    }

    fn said(ledger: &mut Ledger<&'static str>, changes_max: usize) -> Vec<String> {
        std::iter::from_fn(|| ledger.next(changes_max, 1_000)).map(note).collect()
    }

    #[test]
    fn only_what_remains_is_said_each_word_naming_the_one_before() {
        let mut ledger = Ledger::new(LeaseId(1));
        ledger.count(&"a", 1);
        ledger.join(&"a", &member("1"));
        ledger.count(&"b", 2);
        assert_eq!(said(&mut ledger, 9), ["a 1: 0>1 1 +1", "b 1: 0>2 2"]);
        assert!(said(&mut ledger, 9).is_empty());
        ledger.join(&"a", &member("2"));
        ledger.leave(&"a", "2");
        ledger.leave(&"a", "1");
        ledger.join(&"a", &member("1"));
        assert!(said(&mut ledger, 9).is_empty());
        ledger.leave(&"a", "1");
        ledger.count(&"a", 0);
        assert_eq!(said(&mut ledger, 9), ["a 1: 1>3 0 -1"]);
        assert_eq!(ledger.len(), 1);
        // The others take this for a first word, and what they still know of the channel for void.
        ledger.count(&"a", 1);
        assert_eq!(said(&mut ledger, 9), ["a 1: 0>4 1"]);
    }

    #[test]
    fn who_is_noted_before_the_number_subscribes_all_the_same() {
        let mut ledger = Ledger::new(LeaseId(1));
        ledger.join(&"a", &member("1"));
        assert_eq!(said(&mut ledger, 9), ["a 1: 0>1 1 +1"]);
        ledger.count(&"a", 1);
        assert!(said(&mut ledger, 9).is_empty());
        ledger.leave(&"a", "1");
        assert_eq!(said(&mut ledger, 9), ["a 1: 1>2 1 -1"]);
        ledger.count(&"a", 0);
        assert_eq!(said(&mut ledger, 9), ["a 1: 2>3 0"]);
    }

    #[test]
    fn much_is_said_in_several_words_and_nobody_subscribes_in_the_last_only() {
        let mut ledger = Ledger::new(LeaseId(1));
        ledger.count(&"a", 3);
        ["1", "2", "3"].iter().for_each(|user_id| ledger.join(&"a", &member(user_id)));
        assert_eq!(said(&mut ledger, 2), ["a 1: 0>1 3 +1 +2", "a 1: 1>2 3 +3"]);
        ["1", "2", "3"].iter().for_each(|user_id| ledger.leave(&"a", user_id));
        ledger.count(&"a", 0);
        assert_eq!(said(&mut ledger, 2), ["a 1: 2>3 1 -1 -2", "a 1: 3>4 0 -3"]);
        assert!(ledger.is_empty());
    }

    #[test]
    fn under_another_lease_everything_is_said_again() {
        let mut ledger = Ledger::new(LeaseId(1));
        for channel in ["a", "b"] {
            ledger.count(&channel, 1);
            ledger.join(&channel, &member("1"));
        }
        assert_eq!(said(&mut ledger, 9).len(), 2);
        ledger.leave(&"b", "1");
        ledger.count(&"b", 0);
        ledger.join(&"a", &member("2"));
        ledger.begin(LeaseId(2), false);
        assert_eq!(said(&mut ledger, 9), ["a 2: 0>3 1 +1 +2"]);
        assert_eq!((ledger.len(), ledger.lease()), (1, LeaseId(2)));
    }

    #[test]
    fn what_webhooks_know_is_said_again_as_such_when_data_was_lost_and_so_is_who_has_gone_since() {
        let mut ledger = Ledger::new(LeaseId(1));
        for channel in ["a", "b"] {
            ledger.count(&channel, 1);
            ledger.join(&channel, &member("1"));
        }
        while let Some((key, word, _)) = ledger.next(9, 1_000) {
            // It has waited on the second.
            let users = ["1"].into_iter().map(Arc::from).filter(|_| key == "b").collect();
            ledger.said(&key, &word, &Again { users, occupied: false });
        }
        ledger.join(&"a", &member("2"));
        ledger.leave(&"a", "1");
        ledger.leave(&"b", "1");
        ledger.count(&"b", 0);
        ledger.is_to_be_gone(&"c", Some(&"3".into()));
        ledger.begin(LeaseId(2), true);
        let mut said = Vec::new();
        while let Some((key, word, again)) = ledger.next(9, 1_000) {
            ledger.said(&key, &word, &Again::default());
            said.push(note((key, word, again)).split_once(' ').map(|(key, rest)| {
                format!("{key} {}", rest.split_once(' ').unwrap().1.split_once(' ').unwrap().1)
            }));
        }
        said.sort();
        let expected = ["a 1 -1 +2 again 1 occupied", "b 0 again occupied", "c 0 -3 again 3"];
        assert_eq!(said.into_iter().flatten().collect::<Vec<_>>(), expected);
        assert_eq!(ledger.len(), 1, "what is gone and told is forgotten");
    }
}
