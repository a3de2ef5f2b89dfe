//! What this node owns: its facts about every channel that is shared, and what of it the others have not been told.
//!
//! Owns that the others are told of what remains: who comes and goes between two words was never there. Leaves to
//! others when it is time to speak. `K` names a channel.

use std::collections::{BTreeMap, HashMap, VecDeque};
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

    /// Everything is to be said once more, under another lease: the others know nothing of it.
    pub fn begin(&mut self, lease: LeaseId) {
        self.lease = lease;
        self.pages.retain(|_, page| page.subscriptions > 0 || !page.members.is_empty());
        self.due = self.pages.keys().cloned().collect();
        for page in self.pages.values_mut() {
            page.prev = 0;
            page.subscriptions_told = 0;
            page.changed = page.members.keys().map(|user_id| (Arc::clone(user_id), false)).collect();
            page.is_due = true;
        }
    }

    /// The next word that is due, of at most `changes_max` changes and about `bytes_max` bytes; none when the others
    /// know everything. Whoever takes it has to bring it to them, or begin anew.
    pub fn next(&mut self, changes_max: usize, bytes_max: usize) -> Option<(K, Word)> {
        while let Some(key) = self.due.pop_front() {
            let Some(page) = self.pages.get_mut(&key) else { continue };
            let changes = page.changes(changes_max.clamp(1, Word::CHANGES_MAX), bytes_max);
            let more = !page.changed.is_empty();
            // Not before the last of its members is told to be gone.
            let subscriptions = if more { page.subscribers().max(1) } else { page.subscribers() };
            page.is_due = more;
            let is_news = !changes.is_empty() || subscriptions != page.subscriptions_told;
            let word = is_news.then(|| {
                self.seq += 1;
                let prev = std::mem::replace(&mut page.prev, self.seq);
                page.subscriptions_told = subscriptions;
                Word { lease: self.lease, prev, seq: self.seq, subscriptions, changes }
            });
            if more {
                self.due.push_back(key.clone());
            } else if subscriptions == 0 {
                self.pages.remove(&key);
            }
            if let Some(word) = word {
                return Some((key, word));
            }
        }
        None
    }
}

impl Page {
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

    fn note((key, word): (&'static str, Word)) -> String {
        let change = |change: &Change| match change {
            Change::Joined(member) => format!(" +{}", member.user_id),
            Change::Left(user_id) => format!(" -{user_id}"),
        };
        let changes: String = word.changes.iter().map(change).collect();
        format!("{key} {}: {}>{} {}{changes}", word.lease.0, word.prev, word.seq, word.subscriptions)
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
        ledger.begin(LeaseId(2));
        assert_eq!(said(&mut ledger, 9), ["a 2: 0>3 1 +1 +2"]);
        assert_eq!((ledger.len(), ledger.lease()), (1, LeaseId(2)));
    }
}
