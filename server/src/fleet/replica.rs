//! What one node knows of the others' facts about one channel.
//!
//! Owns how far each owner has been heard, and that what comes twice, or late, or does not follow on what is known,
//! changes nothing: the last of these is a [gap](Heard::Gap), to be filled by a snapshot. From the moment at which a
//! snapshot is asked for until it is there, words are only held: the snapshot may or may not have them, and each says
//! by its number which it is. Leaves to [`Members`] who is a member by all of this, the local connections included; to
//! others whose words count (living leases, not the node's own).
//!
//! May assume that the words of one owner come in their order, or not at all: those are the words of one publisher on
//! one topic. When they do not, that is a gap too.

use std::collections::HashSet;
use std::sync::Arc;

use super::LeaseId;
use super::word::{Change, Word};
use crate::hub::Member;
use crate::hub::members::Members;

/// Words that are held while a snapshot is on its way. With more, they are let go and a further snapshot is asked for.
const HELD_WORDS_MAX: usize = 4_096;

/// The others' facts about one channel.
#[derive(Debug, Default)]
pub struct Replica {
    /// Few: one for each node with subscribers.
    owners: Vec<Owner>,
    held: Option<Held>,
}

/// How far an owner has been heard, and how many subscribe there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Under which lease.
    pub lease: LeaseId,
    /// The number of its last word.
    pub seq: u64,
    /// How many subscribe there.
    pub subscriptions: u32,
}

#[derive(Debug, Default)]
struct Held {
    words: Vec<Word>,
    /// Whether some were let go.
    overflowed: bool,
}

/// All facts about one channel at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Everybody who has subscribers.
    pub owners: Vec<Owner>,
    /// Who is a member on whose node.
    pub members: Vec<(LeaseId, Member)>,
}

/// A user has come to or gone from the channel, wherever in the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Was nowhere before.
    Added(Member),
    /// Is nowhere now.
    Removed(Arc<str>),
}

/// What became of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a gap is to be filled"]
pub enum Heard {
    /// It is heard.
    Taken,
    /// It has been heard before.
    Known,
    /// It is held until the snapshot is there.
    Held,
    /// A word before it was missed: a snapshot is to be asked for.
    Gap,
}

impl Replica {
    /// Nothing is known yet; a snapshot will be asked for.
    pub fn unread() -> Self {
        Self { owners: Vec::new(), held: Some(Held::default()) }
    }

    /// A snapshot is asked for now: whoever was waited for before does not matter any more.
    pub fn load(&mut self) {
        self.held = Some(Held::default());
    }

    /// Whether a snapshot is waited for.
    pub fn is_loading(&self) -> bool {
        self.held.is_some()
    }

    /// How many subscribe on the other nodes.
    pub fn subscriptions(&self) -> u64 {
        self.owners.iter().map(|owner| u64::from(owner.subscriptions)).sum()
    }

    /// Hears a word of a living owner.
    pub fn hear(&mut self, members: &mut Members, word: Word, turns: &mut Vec<Turn>) -> Heard {
        if let Some(held) = &mut self.held {
            if held.words.len() < HELD_WORDS_MAX {
                held.words.push(word);
            } else {
                held.overflowed = true;
            }
            return Heard::Held;
        }
        let at = self.owners.iter().position(|owner| owner.lease == word.lease);
        let last = at.map(|at| self.owners[at].seq);
        if last.is_some_and(|last| word.seq <= last) {
            return Heard::Known;
        }
        if word.prev != 0 && last != Some(word.prev) {
            return Heard::Gap;
        }
        let owner = Owner { lease: word.lease, seq: word.seq, subscriptions: word.subscriptions };
        match at {
            Some(at) => self.owners[at] = owner,
            None => self.owners.push(owner),
        }
        self.count_once(word.lease);
        take(members, &word, turns);
        Heard::Taken
    }

    /// Takes the snapshot that was asked for last, and then what was held. `living` are the leases that lived when it was
    /// taken or later: what it has under another was left behind, what it does not have under one of them has been
    /// taken back, and what it does not have under another stays as it is until that is found dead. Of all of these
    /// only what `counts` says is taken. Whether another snapshot is to be asked for.
    pub fn take(
        &mut self,
        members: &mut Members,
        mut snapshot: Snapshot,
        living: &HashSet<LeaseId>,
        mut counts: impl FnMut(LeaseId) -> bool,
        turns: &mut Vec<Turn>,
    ) -> bool {
        let held = self.held.take().unwrap_or_default();
        snapshot.owners.retain(|owner| living.contains(&owner.lease) && counts(owner.lease));
        let said: HashSet<LeaseId> = snapshot.owners.iter().map(|owner| owner.lease).collect();
        // Those first who come, so that nobody who only moved is gone for a moment.
        let mut places: HashSet<(LeaseId, Arc<str>)> = HashSet::new();
        for (lease, member) in snapshot.members {
            if said.contains(&lease) {
                places.insert((lease, Arc::clone(&member.user_id)));
                turns.extend(members.place(&member, lease).then_some(Turn::Added(member)));
            }
        }
        let stays = |lease: LeaseId| !said.contains(&lease) && !living.contains(&lease);
        let gone = members
            .retain_places(|user_id, lease| stays(lease) || places.contains(&(lease, Arc::clone(user_id))));
        turns.extend(gone.into_iter().map(Turn::Removed));
        self.owners.retain_mut(|owner| {
            // How far an owner was heard is still known when it has nobody any more.
            owner.subscriptions *= u32::from(stays(owner.lease));
            !said.contains(&owner.lease)
        });
        self.owners.extend(snapshot.owners);
        said.into_iter().for_each(|lease| self.count_once(lease));
        let mut again = held.overflowed;
        for word in held.words {
            again |= counts(word.lease) && self.hear(members, word, turns) == Heard::Gap;
        }
        again
    }

    /// A node counts under its last lease; it gives those before back when everything is said under that one.
    fn count_once(&mut self, heard: LeaseId) {
        let mut is_over = false;
        for Owner { lease, subscriptions, .. } in &mut self.owners {
            *subscriptions *= u32::from(!lease.is_before(heard));
            is_over |= heard.is_before(*lease);
        }
        if is_over {
            self.owners
                .iter_mut()
                .filter(|owner| owner.lease == heard)
                .for_each(|owner| owner.subscriptions = 0);
        }
    }

    /// Drops what was held under a lease that is dead or given back.
    pub fn drop_lease(&mut self, members: &mut Members, lease: LeaseId, turns: &mut Vec<Turn>) {
        if let Some(at) = self.owners.iter().position(|owner| owner.lease == lease) {
            self.owners.swap_remove(at);
            let gone = members.retain_places(|_, other| other != lease);
            turns.extend(gone.into_iter().map(Turn::Removed));
        }
        if let Some(held) = &mut self.held {
            held.words.retain(|word| word.lease != lease);
        }
    }
}

fn take(members: &mut Members, word: &Word, turns: &mut Vec<Turn>) {
    let mut joined: HashSet<&str> = HashSet::new();
    for change in &word.changes {
        match change {
            Change::Joined(member) => {
                joined.insert(&member.user_id);
                turns.extend(members.place(member, word.lease).then(|| Turn::Added(member.clone())));
            }
            Change::Left(user_id) => {
                turns.extend(
                    members.displace(user_id, word.lease).then(|| Turn::Removed(Arc::clone(user_id))),
                );
            }
        }
    }
    // A first word makes void what was said before; and with no subscriber there is no member.
    if word.prev == 0 || word.subscriptions == 0 {
        let is_nobody = word.subscriptions == 0;
        let stays =
            |user_id: &Arc<str>, lease| lease != word.lease || !is_nobody && joined.contains(&**user_id);
        turns.extend(members.retain_places(stays).into_iter().map(Turn::Removed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: LeaseId = LeaseId(0x1_0000);
    const TWO: LeaseId = LeaseId(0x2_0000);

    fn member(user_id: &str) -> Member {
        Member { user_id: user_id.into(), user_info: None }
    }

    fn word(lease: LeaseId, prev: u64, seq: u64, subscriptions: u32, changes: &[&str]) -> Word {
        let change = |text: &&str| match text.split_at(1) {
            ("+", user_id) => Change::Joined(member(user_id)),
            (_, user_id) => Change::Left(user_id.into()),
        };
        Word { lease, prev, seq, subscriptions, changes: changes.iter().map(change).collect() }
    }

    #[derive(Default)]
    struct Scene {
        replica: Replica,
        members: Members,
    }

    fn note(turns: Vec<Turn>) -> Vec<String> {
        let note = |turn| match turn {
            Turn::Added(member) => format!("+{}", member.user_id),
            Turn::Removed(user_id) => format!("-{user_id}"),
        };
        turns.into_iter().map(note).collect()
    }

    impl Scene {
        fn hear(&mut self, word: Word) -> (Heard, Vec<String>) {
            let mut turns = Vec::new();
            let heard = self.replica.hear(&mut self.members, word, &mut turns);
            (heard, note(turns))
        }

        fn take(
            &mut self,
            owners: &[(LeaseId, u64)],
            members: &[(LeaseId, &str)],
            living: &[LeaseId],
        ) -> (bool, Vec<String>) {
            let owner = |&(lease, seq): &(LeaseId, u64)| Owner { lease, seq, subscriptions: 1 };
            let members = members.iter().map(|(lease, user_id)| (*lease, member(user_id))).collect();
            let snapshot = Snapshot { owners: owners.iter().map(owner).collect(), members };
            let mut turns = Vec::new();
            let living = living.iter().copied().collect();
            let again = self.replica.take(&mut self.members, snapshot, &living, |_| true, &mut turns);
            (again, note(turns))
        }
    }

    fn taken(turns: &[&str]) -> (Heard, Vec<String>) {
        (Heard::Taken, turns.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_user_comes_with_the_first_place_and_goes_with_the_last_wherever_they_are() {
        let mut scene = Scene::default();
        assert_eq!(scene.hear(word(ONE, 0, 1, 1, &["+7"])), taken(&["+7"]));
        assert_eq!(scene.hear(word(TWO, 0, 1, 1, &["+7"])), taken(&[]));
        let added = scene.members.add(&member("7"), 9).unwrap();
        assert_eq!((added.first, added.first_here), (false, true));
        assert_eq!(scene.replica.subscriptions(), 2);
        assert_eq!(scene.hear(word(ONE, 1, 2, 0, &["-7"])), taken(&[]));
        assert_eq!(scene.members.remove("7").map(|gone| (gone.last, gone.last_here)), Some((false, true)));
        assert_eq!(scene.hear(word(TWO, 1, 2, 0, &["-7"])), taken(&["-7"]));
        assert!(scene.members.is_empty());
    }

    #[test]
    fn what_comes_twice_is_known_and_what_does_not_follow_is_a_gap() {
        let mut scene = Scene::default();
        let first = word(ONE, 0, 1, 1, &["+7"]);
        assert_eq!(scene.hear(first.clone()), taken(&["+7"]));
        assert_eq!(scene.hear(first.clone()).0, Heard::Known);
        assert_eq!(scene.hear(word(ONE, 2, 3, 1, &["+8"])), (Heard::Gap, vec![]));
        assert_eq!(scene.hear(word(TWO, 1, 2, 1, &["+8"])).0, Heard::Gap, "its beginning was missed");
        // Its end was missed, and here it begins anew.
        assert_eq!(scene.hear(word(ONE, 0, 9, 1, &["+8"])), taken(&["+8", "-7"]));
        assert_eq!(scene.hear(first).0, Heard::Known);
        assert_eq!(scene.hear(word(ONE, 9, 10, 0, &[])), taken(&["-8"]));
    }

    #[test]
    fn words_are_held_for_a_snapshot_and_those_that_it_has_are_known() {
        let mut scene = Scene::default();
        scene.replica.load();
        for word in
            [word(ONE, 0, 1, 1, &["+1"]), word(ONE, 1, 2, 1, &["-1", "+2"]), word(ONE, 2, 3, 1, &["+3"])]
        {
            assert_eq!(scene.hear(word), (Heard::Held, vec![]));
        }
        assert_eq!(scene.take(&[(ONE, 2)], &[(ONE, "2")], &[ONE]), (false, vec!["+2".into(), "+3".into()]));
        // One was missed before it was asked for, and another while it was on its way.
        scene.replica.load();
        assert_eq!(scene.hear(word(ONE, 5, 6, 1, &["+6"])).0, Heard::Held);
        assert_eq!(scene.take(&[(ONE, 4)], &[(ONE, "2"), (ONE, "3")], &[ONE]), (true, vec![]));
    }

    #[test]
    fn what_a_snapshot_does_not_have_is_gone_if_its_owner_lives_and_else_waits_for_the_roll_call() {
        let mut scene = Scene::default();
        let (_, _) = (scene.hear(word(ONE, 0, 1, 1, &["+1"])), scene.hear(word(TWO, 0, 1, 1, &["+1", "+2"])));
        scene.replica.load();
        assert_eq!(
            scene.take(&[(LeaseId(3), 1)], &[(LeaseId(3), "3")], &[ONE]),
            (false, vec![]),
            "3 was left behind"
        );
        assert_eq!(scene.replica.subscriptions(), 1);
        let mut turns = Vec::new();
        scene.replica.drop_lease(&mut scene.members, TWO, &mut turns);
        assert_eq!(note(turns), ["-1", "-2"]);
        assert_eq!(scene.replica.subscriptions(), 0);
    }

    #[test]
    fn who_is_said_again_under_another_lease_is_counted_once_and_is_a_member_throughout() {
        for is_held in [false, true] {
            let mut scene = Scene::default();
            assert_eq!(scene.hear(word(ONE, 0, 1, 2, &["+1", "+2"])), taken(&["+1", "+2"]));
            if is_held {
                scene.replica.load();
            }
            let (heard, turns) = scene.hear(word(ONE.next(), 0, 3, 1, &["+1"]));
            assert_eq!(heard, if is_held { Heard::Held } else { Heard::Taken });
            if is_held {
                scene.take(&[(ONE, 1)], &[(ONE, "1"), (ONE, "2")], &[ONE, ONE.next()]);
            }
            assert_eq!((scene.replica.subscriptions(), turns), (1, vec![]));
            let mut turns = Vec::new();
            scene.replica.drop_lease(&mut scene.members, ONE, &mut turns);
            assert_eq!((scene.replica.subscriptions(), note(turns)), (1, vec!["-2".to_owned()]));
        }
    }

    #[test]
    fn more_words_than_can_be_held_are_let_go_and_asked_for_again() {
        let mut scene = Scene::default();
        scene.replica.load();
        for seq in 0..=HELD_WORDS_MAX as u64 {
            assert_eq!(scene.hear(word(ONE, seq, seq + 1, 1, &[])).0, Heard::Held);
        }
        assert!(scene.take(&[], &[], &[]).0);
    }
}
