//! Which leases live.
//!
//! A node owns facts under a lease that it renews. Owns when the others take a lease for dead: when a roll call, asked
//! for after it was last heard of, does not have it. Nobody is found dead while that may be due to Redis: each who could
//! be cut off has the span of a lease to come back, from the moment at which this node had an answer again after it had
//! none for a quarter of that, or at which data was lost. A link that is made anew in less time changes nothing: who
//! does not come back meanwhile has had nearly all of a span to do so. Dead is for ever; a node whose lease has died, or
//! that was cut off, takes another, so no message under the old one can bring anything back. Leaves to others how leases
//! are kept and the roll is called; the time is given.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::time::{Duration, Instant};

/// A lease: 48 random bits, which the node that takes it draws once, and 16 by which it counts its leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

const COUNTED: u64 = 0xffff;

/// As it stands in keys: always 16 hexadecimal digits.
impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl LeaseId {
    /// The first one of a node, which has drawn these random bits.
    pub fn first(random: u64) -> Self {
        Self(random & !COUNTED)
    }

    /// The next one of the same node. Another than this one for so long that nothing of this one is left.
    pub fn next(self) -> Self {
        Self(self.0 & !COUNTED | self.0.wrapping_add(1) & COUNTED)
    }

    /// What all leases of a node have in common.
    pub fn node(self) -> u64 {
        self.0 & !COUNTED
    }

    /// Whether the same node has taken the other one after it.
    pub fn is_before(self, other: Self) -> bool {
        let ahead = other.0.wrapping_sub(self.0) & COUNTED;
        self.node() == other.node() && (1..=COUNTED / 2).contains(&ahead)
    }

    /// Reads what [`Display`](fmt::Display) writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let is_ours = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_ours.then(|| u64::from_str_radix(text, 16).ok().map(Self))?
    }
}

/// How often a lease is renewed that lives for `span`.
pub fn renewal(span: Duration) -> Duration {
    (span / 15).clamp(Duration::from_millis(100), Duration::from_secs(1))
}

/// What a node knows of the others' leases.
#[derive(Debug)]
pub struct Leases {
    /// How long a lease lives that is not renewed.
    span: Duration,
    known: BTreeMap<LeaseId, Known>,
    /// Whether there is a link over which the roll is called.
    is_up: bool,
    /// When the roll was answered last.
    answered: Option<Instant>,
    /// Since when who does not answer is to blame for it; none before the first answer.
    judges_since: Option<Instant>,
    /// Whether everything was read since the link is up.
    caught_up: bool,
    /// Given back by their nodes or reaped, and the number of roll calls that had been asked for by then.
    given_back: Vec<(LeaseId, u64)>,
    /// Counts roll calls: what is heard after one was asked for is not judged by it.
    call: u64,
}

#[derive(Debug)]
enum Known {
    /// Living, or not yet found dead.
    Living {
        /// The number of roll calls that had been asked for when it was last heard of.
        heard: u64,
        /// Whether the last roll call had it.
        answered: bool,
    },
    /// Dead; forgotten when nothing under it can be on its way any more.
    Dead { since: Instant },
}

/// A roll call that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "without its answer nobody is found dead"]
pub struct RollCall(u64);

/// Leases under which nothing is held any more, by a roll call.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use = "what was held under them is to be dropped"]
pub struct Gone {
    /// Their nodes did not renew them in time.
    pub dead: Vec<LeaseId>,
    /// Their nodes have given them back, or somebody has reaped them before they were found dead here.
    pub given_back: Vec<LeaseId>,
}

impl Gone {
    /// Both.
    pub fn all(&self) -> Vec<LeaseId> {
        self.dead.iter().chain(&self.given_back).copied().collect()
    }
}

impl Leases {
    /// None are known; each lives for `span` when it is not renewed.
    pub fn new(span: Duration) -> Self {
        Self {
            span,
            known: BTreeMap::new(),
            is_up: false,
            answered: None,
            judges_since: None,
            caught_up: false,
            given_back: Vec::new(),
            call: 0,
        }
    }

    /// A link is there again. What others said meanwhile was missed.
    pub fn link_is_up(&mut self) {
        self.is_up = true;
        self.caught_up = false;
        for known in self.known.values_mut() {
            if let Known::Living { answered, .. } = known {
                *answered = false;
            }
        }
    }

    /// The link is lost.
    pub fn link_is_down(&mut self) {
        self.is_up = false;
        self.caught_up = false;
    }

    /// Everything was read since the link is up.
    pub fn has_caught_up(&mut self) {
        self.caught_up = true;
    }

    /// For the span of a lease from now nobody is found dead: leases may have run out, or be missing, though their nodes
    /// live.
    pub fn spare_all(&mut self, now: Instant) {
        self.judges_since = Some(now);
    }

    /// Without an answer for so long, Redis may have been away for everybody. Short, so that the others are back within
    /// the rest of the span: they look for it at pauses that are not longer than it has been away.
    fn gap(&self) -> Duration {
        self.span / 4
    }

    /// Whether who does not answer is dead, and not only cut off as this node was.
    pub fn is_settled(&self, now: Instant) -> bool {
        self.judges_since.is_some_and(|since| now.saturating_duration_since(since) >= self.span)
    }

    /// A word or a snapshot came under this lease; whether it counts.
    pub fn hear(&mut self, lease: LeaseId) -> bool {
        let call = self.call;
        match self.known.entry(lease).or_insert(Known::Living { heard: call, answered: false }) {
            Known::Living { heard, .. } => {
                *heard = call;
                true
            }
            Known::Dead { .. } => false,
        }
    }

    /// Whether the last roll call had this lease: then what a snapshot does not have under it is not there.
    pub fn is_living(&self, lease: LeaseId) -> bool {
        matches!(self.known.get(&lease), Some(Known::Living { answered: true, .. }))
    }

    /// Those that the last roll call had.
    fn living(&self) -> impl Iterator<Item = LeaseId> {
        self.known
            .iter()
            .filter(|(_, known)| matches!(known, Known::Living { answered: true, .. }))
            .map(|(lease, _)| *lease)
    }

    /// Whether the link is up and the roll was read over it, which has this node too: whoever lives is known.
    pub fn is_up(&self) -> bool {
        self.is_up && self.living().next().is_some()
    }

    /// The nodes that the last roll call had, but for that of `own` and those that have left since. One that has just taken
    /// another lease has two.
    pub fn other_nodes(&self, own: LeaseId) -> HashSet<u64> {
        let stays = |lease: &LeaseId| self.given_back.iter().all(|(other, _)| other != lease);
        self.living().filter(stays).map(LeaseId::node).filter(|node| *node != own.node()).collect()
    }

    /// A roll call is asked for now.
    pub fn call_roll(&mut self) -> RollCall {
        self.call += 1;
        RollCall(self.call)
    }

    /// The answer to a roll call: every lease that lives, and those known to have run out, which cannot live again. Gives
    /// those that were not known to be gone. Not before everything was read: a node that has taken another lease may have
    /// said so meanwhile.
    pub fn take_roll(
        &mut self,
        now: Instant,
        call: RollCall,
        living: &[LeaseId],
        run_out: &[LeaseId],
    ) -> Gone {
        if self.answered.is_none_or(|last| now.saturating_duration_since(last) > self.gap()) {
            self.spare_all(now);
        }
        self.answered = Some(now);
        for lease in living {
            let unheard = Known::Living { heard: 0, answered: true };
            if let Known::Living { answered, .. } = self.known.entry(*lease).or_insert(unheard) {
                *answered = true;
            }
        }
        let (living, run_out): (HashSet<_>, HashSet<_>) = (living.iter().collect(), run_out.iter().collect());
        let (is_settled, caught_up) = (self.is_settled(now), self.caught_up);
        let mut gone = Gone::default();
        for (lease, known) in &mut self.known {
            let Known::Living { heard, answered, .. } = known else { continue };
            if living.contains(lease) {
                continue;
            }
            *answered = false;
            let is_given_back = self.given_back.iter().any(|(other, _)| other == lease);
            if is_given_back || !is_settled {
                continue;
            }
            if run_out.contains(lease) {
                gone.dead.extend(caught_up.then_some(*lease));
            } else if *heard < call.0 {
                // The news of it is still on its way, or was missed.
                self.given_back.push((*lease, call.0));
            }
        }
        gone.dead.iter().for_each(|lease| self.end(now, *lease));
        if is_settled {
            // Of these nothing was heard; what comes under one later does not count.
            for lease in run_out {
                self.known.entry(*lease).or_insert(Known::Dead { since: now });
            }
        }
        if caught_up {
            let due: Vec<_> = self.given_back.extract_if(.., |(_, noted)| *noted < call.0).collect();
            for (lease, _) in due {
                if !matches!(self.known.get(&lease), Some(Known::Dead { .. })) {
                    gone.given_back.push(lease);
                    self.end(now, lease);
                }
            }
        }
        let remembered = self.span * 4;
        self.known.retain(|_, known| match known {
            Known::Living { .. } => true,
            Known::Dead { since } => now.saturating_duration_since(*since) < remembered,
        });
        gone
    }

    /// A lease was given back or reaped: its node, if it lives, holds everything under another by now. It is dropped with the
    /// next roll call, when everything was read that was said meanwhile: the news may be here before what it is about.
    pub fn give_back(&mut self, lease: LeaseId) {
        self.given_back.push((lease, self.call));
    }

    /// A lease has ended.
    pub fn end(&mut self, now: Instant, lease: LeaseId) {
        self.known.insert(lease, Known::Dead { since: now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(15);
    const STEP: Duration = Duration::from_secs(1);
    const ONE: LeaseId = LeaseId(1);
    const TWO: LeaseId = LeaseId(2);
    const NONE: &[LeaseId] = &[];

    /// The roll is called every second; everything is read.
    struct Scene {
        now: Instant,
        leases: Leases,
    }

    impl Scene {
        fn new() -> Self {
            let mut leases = Leases::new(SPAN);
            leases.link_is_up();
            leases.has_caught_up();
            Self { now: Instant::now(), leases }
        }

        fn hears(&mut self, lease: LeaseId) -> bool {
            self.leases.hear(lease)
        }

        /// The answer of the next roll call: who is dead, and who is gone otherwise.
        fn roll(&mut self, living: &[LeaseId], run_out: &[LeaseId]) -> [Vec<LeaseId>; 2] {
            self.now += STEP;
            let call = self.leases.call_roll();
            let Gone { dead, given_back } = self.leases.take_roll(self.now, call, living, run_out);
            [dead, given_back]
        }

        /// Until who does not answer is to blame for it.
        fn settle(&mut self, living: &[LeaseId], run_out: &[LeaseId]) {
            while !self.leases.is_settled(self.now + STEP) {
                assert_eq!(self.roll(living, run_out), [NONE, NONE]);
            }
        }
    }

    #[test]
    fn ids_are_read_as_they_are_written() {
        for id in [0, 1, u64::MAX] {
            assert_eq!(LeaseId::parse(&LeaseId(id).to_string()), Some(LeaseId(id)));
        }
        for text in ["", "1", "000000000000000g", "00000000000000001", "+000000000000001", "000000000000000A"]
        {
            assert_eq!(LeaseId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_lease_that_has_run_out_is_dead_for_ever_once_the_roll_was_answered_for_its_span() {
        let mut scene = Scene::new();
        assert!(scene.hears(ONE) && scene.hears(TWO));
        scene.settle(&[ONE], &[TWO]);
        assert_eq!(scene.leases.living().collect::<Vec<_>>(), [ONE]);
        assert!(scene.leases.other_nodes(TWO).is_empty());
        assert_eq!(scene.leases.other_nodes(LeaseId(0x1_0000)), HashSet::from([0]));
        assert_eq!(scene.roll(&[ONE], &[TWO]), [[TWO].as_slice(), NONE]);
        assert!(!scene.hears(TWO), "it may not come back");
        assert_eq!(scene.roll(&[ONE, TWO], &[]), [NONE, NONE]);
        assert!(!scene.leases.is_living(TWO));
        assert_eq!(scene.roll(&[ONE], &[LeaseId(3)]), [NONE, NONE]);
        assert!(!scene.hears(LeaseId(3)), "nothing was heard of it before");
    }

    #[test]
    fn a_lease_that_is_missing_is_dropped_with_the_next_roll_call_and_not_when_it_was_heard_since() {
        let mut scene = Scene::new();
        scene.settle(&[], &[]);
        let call = scene.leases.call_roll();
        assert!(scene.hears(ONE));
        assert_eq!(scene.leases.take_roll(scene.now, call, &[], &[]), Gone::default());
        assert_eq!(scene.roll(&[], &[]), [NONE, NONE]);
        assert_eq!(scene.roll(&[], &[]), [NONE, [ONE].as_slice()]);
    }

    #[test]
    fn a_link_that_is_back_soon_delays_nothing_but_until_everything_is_read() {
        let mut scene = Scene::new();
        scene.hears(ONE);
        scene.settle(&[ONE], &[]);
        scene.leases.link_is_down();
        scene.leases.link_is_up();
        assert_eq!(scene.roll(&[], &[ONE]), [NONE, NONE]);
        scene.leases.has_caught_up();
        assert_eq!(scene.roll(&[], &[ONE]), [[ONE].as_slice(), NONE]);
    }

    #[test]
    fn after_a_gap_everybody_has_time_to_come_back() {
        let mut scene = Scene::new();
        scene.hears(ONE);
        scene.settle(&[ONE], &[]);
        scene.now += SPAN;
        assert_eq!(scene.roll(&[], &[ONE]), [NONE, NONE]);
        scene.settle(&[], &[ONE]);
        assert_eq!(scene.roll(&[], &[ONE]), [[ONE].as_slice(), NONE]);
        scene.hears(TWO);
        scene.leases.spare_all(scene.now);
        scene.settle(&[], &[TWO]);
        assert_eq!(scene.roll(&[], &[TWO]), [[TWO].as_slice(), NONE]);
    }

    #[test]
    fn a_lease_that_is_given_back_is_dropped_with_the_next_roll_call_once_everything_was_read() {
        let mut scene = Scene::new();
        scene.leases.link_is_up();
        scene.hears(ONE);
        let before = scene.leases.call_roll();
        scene.leases.give_back(ONE);
        assert_eq!(scene.roll(&[], &[]), [NONE, NONE]);
        scene.leases.has_caught_up();
        assert_eq!(scene.leases.take_roll(scene.now, before, &[], &[]), Gone::default());
        assert_eq!(scene.roll(&[], &[ONE]), [NONE, [ONE].as_slice()]);
        assert!(!scene.hears(ONE));
    }

    #[test]
    fn the_leases_of_a_node_are_known_and_so_is_their_order() {
        let one = LeaseId::first(0x1234_5678_9abc_def0);
        let last = LeaseId(one.0 | COUNTED);
        assert!(one.is_before(one.next()) && !one.next().is_before(one) && !one.is_before(one));
        assert_eq!(last.next(), one, "it begins anew");
        assert!(last.is_before(one) && !one.is_before(last));
        assert!(!one.is_before(LeaseId((one.0 ^ 0x1_0000) + 1)));
    }
}
