//! What other nodes say about the channels that are shared with them.
//!
//! Owns that subscribers here are told of it just as of what happens here, in the same order and under the same lock.
//! Leaves to [`Replica`](crate::fleet::Replica) what it amounts to, and to others whose words come in at all.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use super::{Change, Channel, Directory, Stamp};
use crate::fleet::replica::Heard;
use crate::fleet::{LeaseId, Snapshot, Turn, Word};

impl Directory {
    /// Hears another node's word about a channel; `None` when nobody here is subscribed to it, or it is not shared.
    pub fn hear(&self, name: &str, word: Word, tell: impl FnMut(Change<'_>)) -> Option<Heard> {
        let mut stripe = self.write(name);
        let stripe = &mut *stripe;
        let channel = stripe.channels.get_mut(name)?;
        channel.learn(&mut stripe.stamp, tell, |channel, turns| {
            let replica = channel.replica.as_mut()?;
            Some(replica.hear(&mut channel.members, word, turns))
        })
    }

    /// A snapshot of a channel is asked for; whether there is a use for it.
    pub fn load(&self, name: &str) -> bool {
        let mut stripe = self.write(name);
        let replica = stripe.channels.get_mut(name).and_then(|channel| channel.replica.as_mut());
        replica.map(|replica| replica.load()).is_some()
    }

    /// Takes the snapshot that was asked for; whether another one is to be. See [`Replica::take`](crate::fleet::Replica::take).
    pub fn take(
        &self,
        name: &str,
        snapshot: Snapshot,
        living: &HashSet<LeaseId>,
        counts: impl FnMut(LeaseId) -> bool,
        tell: impl FnMut(Change<'_>),
    ) -> bool {
        let mut stripe = self.write(name);
        let stripe = &mut *stripe;
        let Some(channel) = stripe.channels.get_mut(name) else { return false };
        channel.learn(&mut stripe.stamp, tell, |channel, turns| {
            let replica = channel.replica.as_mut().filter(|replica| replica.is_loading());
            replica.is_some_and(|replica| replica.take(&mut channel.members, snapshot, living, counts, turns))
        })
    }

    /// Drops what was held under leases that are dead or given back, in all channels.
    pub fn drop_leases(&self, leases: &[LeaseId], mut tell: impl FnMut(&Arc<str>, Change<'_>)) {
        for stripe in &self.stripes {
            let mut stripe = stripe.write().unwrap_or_else(PoisonError::into_inner);
            let stripe = &mut *stripe;
            for (name, channel) in &mut stripe.channels {
                channel.learn(
                    &mut stripe.stamp,
                    |change| tell(name, change),
                    |channel, turns| {
                        let Some(replica) = channel.replica.as_mut() else { return };
                        leases
                            .iter()
                            .for_each(|lease| replica.drop_lease(&mut channel.members, *lease, turns));
                    },
                );
            }
        }
    }

    /// The channels that are shared with other nodes.
    pub fn shared(&self) -> Vec<Arc<str>> {
        let mut names = Vec::new();
        for stripe in &self.stripes {
            let stripe = stripe.read().unwrap_or_else(PoisonError::into_inner);
            let shared = stripe.channels.iter().filter(|(_, channel)| channel.replica.is_some());
            names.extend(shared.map(|(name, _)| Arc::clone(name)));
        }
        names
    }
}

impl Channel {
    /// Lets `learn` change what is known, and tells what that means to those who subscribe here.
    fn learn<T>(
        &mut self,
        last: &mut Stamp,
        mut tell: impl FnMut(Change<'_>),
        learn: impl FnOnce(&mut Self, &mut Vec<Turn>) -> T,
    ) -> T {
        let (mut turns, before) = (Vec::new(), self.subscriptions_everywhere());
        let learned = learn(self, &mut turns);
        for turn in turns {
            self.stamp = last.next();
            let (shards, stamp) = (self.shards, self.stamp);
            match turn {
                Turn::Added(member) => tell(Change::MemberAdded { member: &member, shards, stamp }),
                Turn::Removed(user_id) => tell(Change::MemberRemoved { user_id: &user_id, shards, stamp }),
            }
        }
        if self.subscriptions_everywhere() != before {
            tell(self.counted());
        }
        learned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Change as Said;
    use crate::fleet::replica::Owner;
    use crate::hub::Member;

    fn member(user_id: &str) -> Member {
        Member { user_id: user_id.into(), user_info: None }
    }

    fn note(change: &Change<'_>) -> String {
        match change {
            Change::MemberAdded { member, stamp, .. } => format!("+{}@{}", member.user_id, stamp.0),
            Change::MemberRemoved { user_id, stamp, .. } => format!("-{user_id}@{}", stamp.0),
            Change::Counted { subscriptions, here, .. } => format!("{here} of {subscriptions}"),
            Change::Arrived { member } => format!("{} arrived", member.user_id),
            Change::Departed { user_id } => format!("{user_id} departed"),
            Change::Occupied { .. } => "occupied".into(),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    fn word(lease: u64, prev: u64, subscriptions: u32, changes: Vec<Said>) -> Word {
        Word { lease: LeaseId(lease), prev, seq: prev + 1, subscriptions, changes }
    }

    #[test]
    fn what_others_say_is_told_as_what_happens_here() {
        let (directory, mut told) = (Directory::default(), Vec::new());
        let name: Arc<str> = "presence-a".into();
        let joined = |user_id| Said::Joined(member(user_id));
        directory
            .subscribe(&name, 0, Some(&member("1")), 9, true, |change| told.push(note(&change)))
            .unwrap();
        assert_eq!(std::mem::take(&mut told), ["occupied", "1 arrived", "+1@1", "1 of 1"]);
        assert_eq!(directory.shared(), [Arc::clone(&name)]);

        let owner = Owner { lease: LeaseId(7), seq: 1, subscriptions: 3 };
        let members = [("1", 7), ("2", 7)].map(|(user_id, lease)| (LeaseId(lease), member(user_id)));
        let snapshot = Snapshot { owners: vec![owner], members: members.into() };
        let living = HashSet::from([LeaseId(7)]);
        let mut again = false;
        again |= directory.hear(&name, word(7, 1, 4, vec![joined("3")]), |_| ()) != Some(Heard::Held);
        again |=
            directory.take(&name, snapshot.clone(), &living, |_| true, |change| told.push(note(&change)));
        assert!(!again);
        assert_eq!(std::mem::take(&mut told), ["+2@2", "+3@3", "1 of 5"]);
        let state = directory.state(&name);
        assert_eq!((state.stamp, state.members.len()), (Stamp(3), 3));

        directory.unsubscribe(&name, 0, true, Some("1"), |change| told.push(note(&change)));
        assert_eq!(std::mem::take(&mut told), ["1 departed", "vacated"]);
        assert_eq!(directory.hear(&name, word(7, 2, 4, vec![]), |_| ()), None);

        directory.subscribe(&name, 0, Some(&member("2")), 9, true, |_| ()).unwrap();
        directory.take(&name, snapshot, &living, |_| true, |_| ());
        directory.drop_leases(&[LeaseId(7)], |_, change| told.push(note(&change)));
        assert_eq!(told, ["-1@6", "1 of 1"]);
        assert!(directory.load(&name) && !directory.load("news"));
    }
}
