//! Which leases live.
//!
//! A node owns facts under a lease that it renews. Owns when the others take a lease for dead: when a roll call, asked
//! for after it was last heard of, does not have it. Nobody is found dead before the own link has been up for the span of a
//! lease: until then a lease may have run out because nobody could renew it. Dead is for ever; a node whose lease has died,
//! or that was cut off, takes another, so no message under the old one can bring anything back. Leaves to others how leases are kept
//! and the roll is called; the time is given.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::time::{Duration, Instant};

/// A lease: random, drawn by the node that takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

/// As it stands in keys: always 16 hexadecimal digits.
impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl LeaseId {
    /// Reads what [`Display`](fmt::Display) writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let is_ours = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_ours.then(|| u64::from_str_radix(text, 16).ok().map(Self))?
    }
}

/// What a node knows of the others' leases.
#[derive(Debug)]
pub struct Leases {
    /// How long a lease lives that is not renewed.
    span: Duration,
    known: BTreeMap<LeaseId, Known>,
    /// Since when the link is up; a moment before anything when it never was.
    up_since: Option<Instant>,
    /// Whether everything was read since then.
    caught_up: bool,
    /// Given back by their nodes, and the number of roll calls that had been asked for by then.
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

impl Leases {
    /// None are known; each lives for `span` when it is not renewed.
    pub fn new(span: Duration) -> Self {
        Self {
            span,
            known: BTreeMap::new(),
            up_since: None,
            caught_up: false,
            given_back: Vec::new(),
            call: 0,
        }
    }

    /// The link to the others is up again. For the span of a lease nobody is found dead: those who were cut off as well, or
    /// whose leases were lost with everything else, have that time to come back.
    pub fn link_is_up(&mut self, now: Instant) {
        self.up_since = Some(now);
        self.caught_up = false;
        for known in self.known.values_mut() {
            if let Known::Living { answered, .. } = known {
                *answered = false;
            }
        }
    }

    /// The link is lost: nobody can be told dead from cut off.
    pub fn link_is_down(&mut self) {
        self.up_since = None;
        self.caught_up = false;
    }

    /// Everything was read since the link is up.
    pub fn has_caught_up(&mut self) {
        self.caught_up = true;
    }

    /// Whether the link has been up for long enough to tell dead from cut off.
    pub fn is_settled(&self, now: Instant) -> bool {
        self.up_since.is_some_and(|since| now.saturating_duration_since(since) >= self.span)
    }

    /// A word or a snapshot came under this lease; whether it counts.
    pub fn hear(&mut self, lease: LeaseId) -> bool {
        let call = self.call;
        let known = self.known.entry(lease).or_insert(Known::Living { heard: call, answered: false });
        match known {
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
    pub fn living(&self) -> impl Iterator<Item = LeaseId> {
        self.known
            .iter()
            .filter(|(_, known)| matches!(known, Known::Living { answered: true, .. }))
            .map(|(lease, _)| *lease)
    }

    /// A roll call is asked for now.
    pub fn call_roll(&mut self) -> RollCall {
        self.call += 1;
        RollCall(self.call)
    }

    /// The answer to a roll call: every lease that lives, and those known to have run out, which cannot live again. Gives
    /// those of them that were not known to be dead, those that are on neither list and should be, and those that were
    /// given back before it was asked for: what was held under them is to be dropped.
    pub fn take_roll(
        &mut self,
        now: Instant,
        call: RollCall,
        living: &[LeaseId],
        run_out: &[LeaseId],
    ) -> Vec<LeaseId> {
        for lease in living {
            let known = self.known.entry(*lease).or_insert(Known::Living { heard: 0, answered: true });
            if let Known::Living { answered, .. } = known {
                *answered = true;
            }
        }
        let mut dead: Vec<LeaseId> = Vec::new();
        let is_settled = self.is_settled(now);
        if is_settled {
            dead.extend(run_out.iter().filter(|lease| self.end(now, **lease)));
        }
        if self.caught_up {
            let due: Vec<_> = self.given_back.extract_if(.., |(_, heard)| *heard < call.0).collect();
            dead.extend(due.into_iter().map(|(lease, _)| lease).filter(|lease| self.end(now, *lease)));
        }
        let living: HashSet<LeaseId> = living.iter().copied().collect();
        for (lease, known) in &mut self.known {
            let Known::Living { heard, answered } = known else { continue };
            if living.contains(lease) {
                continue;
            }
            *answered = false;
            if is_settled && *heard < call.0 {
                dead.push(*lease);
                *known = Known::Dead { since: now };
            }
        }
        let remembered = self.span * 4;
        self.known.retain(|_, known| match known {
            Known::Living { .. } => true,
            Known::Dead { since } => now.saturating_duration_since(*since) < remembered,
        });
        dead
    }

    /// A lease was given back: its node holds everything under another by now. It is dropped with the next roll call, when
    /// everything was read that was said meanwhile: the news may be here before what it is about.
    pub fn give_back(&mut self, lease: LeaseId) {
        self.given_back.push((lease, self.call));
    }

    /// A lease has ended; whether that was news.
    pub fn end(&mut self, now: Instant, lease: LeaseId) -> bool {
        !matches!(self.known.insert(lease, Known::Dead { since: now }), Some(Known::Dead { .. }))
    }

    /// Whether the link is up and the roll was read over it, which has this node too: whoever lives is known.
    pub fn is_up(&self) -> bool {
        self.up_since.is_some() && self.living().next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(15);
    const ONE: LeaseId = LeaseId(1);
    const TWO: LeaseId = LeaseId(2);

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
    fn a_lease_that_does_not_answer_is_dead_for_ever_once_the_link_has_been_up_for_its_span() {
        let (start, mut leases) = (Instant::now(), Leases::new(SPAN));
        leases.link_is_up(start);
        assert!(leases.hear(ONE) && leases.hear(TWO));
        let call = leases.call_roll();
        assert_eq!(leases.take_roll(start, call, &[ONE], &[]), []);
        assert_eq!(leases.living().collect::<Vec<_>>(), [ONE]);
        let call = leases.call_roll();
        assert_eq!(leases.take_roll(start + SPAN, call, &[ONE], &[]), [TWO]);
        assert!(!leases.hear(TWO), "it may not come back");
        let call = leases.call_roll();
        assert_eq!(leases.take_roll(start + SPAN, call, &[ONE, TWO], &[]), []);
        assert!(!leases.is_living(TWO));
    }

    #[test]
    fn what_is_heard_after_the_roll_was_called_is_not_judged_by_it() {
        let (start, mut leases) = (Instant::now(), Leases::new(SPAN));
        leases.link_is_up(start);
        let call = leases.call_roll();
        assert!(leases.hear(ONE));
        assert_eq!(leases.take_roll(start + SPAN, call, &[], &[]), []);
        let call = leases.call_roll();
        assert_eq!(leases.take_roll(start + SPAN, call, &[], &[]), [ONE]);
    }

    #[test]
    fn after_a_cut_everybody_has_time_to_come_back_and_who_gives_a_lease_back_is_gone_at_once() {
        let (start, mut leases) = (Instant::now(), Leases::new(SPAN));
        leases.link_is_up(start);
        leases.hear(ONE);
        leases.hear(TWO);
        leases.link_is_down();
        let call = leases.call_roll();
        assert_eq!(leases.take_roll(start + SPAN * 2, call, &[], &[]), []);
        leases.link_is_up(start + SPAN * 2);
        assert!(leases.end(start + SPAN * 2, TWO));
        assert!(!leases.end(start + SPAN * 2, TWO));
        let call = leases.call_roll();
        assert_eq!(leases.take_roll(start + SPAN * 2, call, &[], &[]), []);
        let call = leases.call_roll();
        assert_eq!(leases.take_roll(start + SPAN * 3, call, &[], &[]), [ONE]);
    }

    #[test]
    fn a_lease_that_has_run_out_is_dead_whenever_it_was_heard_of_but_not_because_all_were_cut_off() {
        let (start, mut leases) = (Instant::now(), Leases::new(SPAN));
        leases.link_is_up(start);
        let call = leases.call_roll();
        assert!(leases.hear(ONE));
        assert_eq!(leases.take_roll(start, call, &[], &[ONE, TWO]), []);
        assert!(leases.hear(ONE));
        assert_eq!(leases.take_roll(start + SPAN, call, &[], &[ONE, TWO]), [ONE, TWO]);
        let call = leases.call_roll();
        assert_eq!(leases.take_roll(start + SPAN, call, &[], &[ONE]), [], "known");
        assert!(!leases.hear(ONE));
    }

    #[test]
    fn a_lease_that_is_given_back_is_dropped_with_the_next_roll_call_once_everything_was_read() {
        let (start, mut leases) = (Instant::now(), Leases::new(SPAN));
        leases.link_is_up(start);
        leases.hear(ONE);
        let before = leases.call_roll();
        leases.give_back(ONE);
        let call = leases.call_roll();
        assert_eq!(leases.take_roll(start, call, &[], &[]), []);
        leases.has_caught_up();
        assert_eq!(leases.take_roll(start, before, &[], &[]), []);
        assert_eq!(leases.take_roll(start, call, &[], &[]), [ONE]);
        assert!(!leases.hear(ONE));
    }
}
