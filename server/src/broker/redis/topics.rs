//! What this node listens to, and how far Redis knows of it.
//!
//! Owns that a topic is asked for when it is wanted and given up when it is not, however quickly that changes: what is
//! wanted is a fact that others set at any time, and the changes that Redis is to be told are found by comparing. Owns
//! who waits for a topic, and that nobody waits for one that cannot be reached. No I/O; slots are reached or not as
//! [`Topics::reach`] is told.

use std::collections::{HashMap, VecDeque};

use ahash::RandomState;

use super::keys::Keys;
use crate::broker::{Readiness, Topic};

/// The topics of one node.
#[derive(Debug)]
pub(super) struct Topics {
    keys: Keys,
    by_topic: HashMap<Topic, State, RandomState>,
    /// Those that Redis may have to be told about, each at most once.
    changed: VecDeque<Topic>,
    /// Which slots can be reached; none before the first attempt has come to something.
    reached: Option<Vec<bool>>,
    /// Topics that were wanted when slots came within reach, and are not confirmed since.
    restoring: usize,
}

#[derive(Debug)]
struct State {
    slot: usize,
    wanted: bool,
    held: Held,
    /// Whether somebody waits for it.
    awaited: bool,
    /// Whether it stands among those that have changed.
    queued: bool,
    restoring: bool,
}

/// What Redis knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Not,
    Asked,
    Confirmed,
    GivenUp,
}

/// What Redis is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) key: String,
    pub(super) slot: usize,
    /// Whether it is to be listened to, or no longer.
    pub(super) listen: bool,
}

impl Topics {
    pub(super) fn new(keys: Keys) -> Self {
        Self { keys, by_topic: HashMap::default(), changed: VecDeque::new(), reached: None, restoring: 0 }
    }

    /// It is wanted. Says whether Redis may have to be told, too.
    pub(super) fn listen(&mut self, topic: Topic) -> (Readiness, bool) {
        let Self { keys, by_topic, changed, reached, .. } = self;
        let state = by_topic.entry(topic.clone()).or_insert_with(|| State {
            slot: keys.slot(&keys.key(&topic)),
            wanted: false,
            held: Held::Not,
            awaited: false,
            queued: false,
            restoring: false,
        });
        state.wanted = true;
        match reached {
            // What it will be asked for with everything else, when Redis is reached.
            None => {
                state.awaited = true;
                return (Readiness::Pending, false);
            }
            Some(reached) if !reached[state.slot] => return (Readiness::Ready, false),
            Some(_) => {}
        }
        if state.held == Held::Confirmed {
            return (Readiness::Ready, false);
        }
        state.awaited = true;
        (Readiness::Pending, queue(state, topic, changed))
    }

    /// It is wanted no longer. Says whether Redis may have to be told.
    pub(super) fn leave(&mut self, topic: &Topic) -> bool {
        let Some(state) = self.by_topic.get_mut(topic) else { return false };
        state.wanted = false;
        state.awaited = false;
        if std::mem::take(&mut state.restoring) {
            self.restoring -= 1;
        }
        match state.held {
            Held::Not if !state.queued => {
                self.by_topic.remove(topic);
                false
            }
            Held::Confirmed => queue(state, topic.clone(), &mut self.changed),
            Held::Not | Held::Asked | Held::GivenUp => false,
        }
    }

    /// Takes what Redis is to be told now, at most `max`.
    pub(super) fn wishes(&mut self, max: usize) -> Vec<Wish> {
        let mut wishes = Vec::new();
        while wishes.len() < max
            && let Some(topic) = self.changed.pop_front()
        {
            let Some(state) = self.by_topic.get_mut(&topic) else { continue };
            state.queued = false;
            let listen = match (state.wanted, state.held) {
                (true, Held::Not) => true,
                (false, Held::Confirmed) => false,
                (false, Held::Not) => {
                    self.by_topic.remove(&topic);
                    continue;
                }
                _ => continue,
            };
            state.held = if listen { Held::Asked } else { Held::GivenUp };
            wishes.push(Wish { key: self.keys.key(&topic), slot: state.slot, listen });
        }
        wishes
    }

    /// Redis has confirmed it; whether somebody waits for it.
    pub(super) fn confirmed(&mut self, topic: &Topic) -> bool {
        let Some(state) = self.by_topic.get_mut(topic).filter(|state| state.held == Held::Asked) else {
            return false;
        };
        state.held = Held::Confirmed;
        if std::mem::take(&mut state.restoring) {
            self.restoring -= 1;
        }
        if !state.wanted {
            queue(state, topic.clone(), &mut self.changed);
        }
        std::mem::take(&mut state.awaited)
    }

    /// Redis sends nothing of it any more; whether that was asked for.
    pub(super) fn ended(&mut self, topic: &Topic) -> bool {
        let Some(state) = self.by_topic.get_mut(topic) else { return true };
        let expected = state.held == Held::GivenUp;
        state.held = Held::Not;
        if state.wanted {
            queue(state, topic.clone(), &mut self.changed);
        } else if !state.queued {
            self.by_topic.remove(topic);
        }
        expected
    }

    /// Redis does not let this node listen to it, which nothing but a person changes. Whether somebody waits for it.
    pub(super) fn refused(&mut self, topic: &Topic) -> bool {
        let Some(state) = self.by_topic.get_mut(topic) else { return false };
        if std::mem::take(&mut state.restoring) {
            self.restoring -= 1;
        }
        // Asked for again when it is next reached; until then nobody waits.
        state.held = Held::Not;
        std::mem::take(&mut state.awaited)
    }

    /// Which slots can be reached from now on, and in which of them everything is to be asked for again. Gives those
    /// that have to wait no longer.
    pub(super) fn reach(&mut self, reached: Vec<bool>, anew: impl Fn(usize) -> bool) -> Vec<Topic> {
        let mut released = Vec::new();
        self.by_topic.retain(|topic, state| {
            let is_reached = reached[state.slot];
            if !is_reached || anew(state.slot) {
                state.held = Held::Not;
            }
            if !is_reached {
                if std::mem::take(&mut state.restoring) {
                    self.restoring -= 1;
                }
                if std::mem::take(&mut state.awaited) {
                    released.push(topic.clone());
                }
                return state.wanted || state.queued;
            }
            if state.wanted && state.held == Held::Not {
                if !std::mem::replace(&mut state.restoring, true) {
                    self.restoring += 1;
                }
                queue(state, topic.clone(), &mut self.changed);
            }
            state.wanted || state.queued || state.held != Held::Not
        });
        // Last, so that who is heard there hears everything else.
        if let Some(at) = self.changed.iter().position(|topic| *topic == Topic::Fleet) {
            let fleet = self.changed.remove(at);
            self.changed.extend(fleet);
        }
        self.reached = Some(reached);
        released
    }

    /// Whether everything that was wanted when Redis was reached is confirmed.
    pub(super) fn are_restored(&self) -> bool {
        self.restoring == 0
    }

    /// How many are wanted.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.by_topic.values().filter(|state| state.wanted).count()
    }
}

fn queue(state: &mut State, topic: Topic, changed: &mut VecDeque<Topic>) -> bool {
    let queued = !std::mem::replace(&mut state.queued, true);
    if queued {
        changed.push_back(topic);
    }
    queued
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn topic(channel: &str) -> Topic {
        Topic::Channel { app: Arc::from("1"), channel: Arc::from(channel) }
    }

    fn reached() -> Topics {
        let mut topics = Topics::new(Keys::new("f:", false));
        assert!(topics.reach(vec![true], |_| true).is_empty());
        topics
    }

    /// What Redis is told, `+` or `-` before each name.
    fn wishes(topics: &mut Topics) -> Vec<String> {
        let sign = |listen| if listen { '+' } else { '-' };
        topics.wishes(100).iter().map(|wish| format!("{}{}", sign(wish.listen), wish.key)).collect()
    }

    #[test]
    fn the_first_waits_and_those_after_the_confirmation_do_not() {
        let mut topics = reached();
        assert_eq!(topics.listen(topic("a")), (Readiness::Pending, true));
        assert_eq!(topics.listen(topic("a")), (Readiness::Pending, false));
        assert_eq!(wishes(&mut topics), ["+f:{1:a}"]);
        assert!(topics.confirmed(&topic("a")));
        assert_eq!(topics.listen(topic("a")), (Readiness::Ready, false));
        assert!(wishes(&mut topics).is_empty());
        assert!(topics.leave(&topic("a")));
        assert_eq!(wishes(&mut topics), ["-f:{1:a}"]);
        assert!(topics.ended(&topic("a")));
        assert_eq!(topics.len(), 0);
    }

    #[test]
    fn flapping_never_loses_a_subscription() {
        let mut topics = reached();
        topics.listen(topic("a"));
        topics.leave(&topic("a"));
        topics.listen(topic("a"));
        assert_eq!(wishes(&mut topics), ["+f:{1:a}"], "one wish, whatever came between");
        topics.leave(&topic("a"));
        topics.listen(topic("a"));
        assert!(topics.confirmed(&topic("a")), "the one who came last waits for the same confirmation");
        topics.leave(&topic("a"));
        assert_eq!(topics.listen(topic("a")), (Readiness::Ready, false), "it was not given up yet");
        assert!(wishes(&mut topics).is_empty());
        topics.leave(&topic("a"));
        assert_eq!(wishes(&mut topics), ["-f:{1:a}"]);
        assert_eq!(topics.listen(topic("a")).0, Readiness::Pending, "it is being given up");
        assert!(topics.ended(&topic("a")));
        assert_eq!(wishes(&mut topics), ["+f:{1:a}"]);
        topics.leave(&topic("a"));
        assert!(!topics.confirmed(&topic("a")), "nobody waits any more");
        assert_eq!(wishes(&mut topics), ["-f:{1:a}"]);
    }

    #[test]
    fn nobody_waits_for_what_is_away_and_everything_wanted_is_asked_for_again() {
        let mut topics = Topics::new(Keys::new("f:", false));
        assert_eq!(topics.listen(topic("a")), (Readiness::Pending, false), "it may be reached at any moment");
        assert_eq!(topics.reach(vec![false], |_| true), [topic("a")]);
        assert_eq!(topics.listen(topic("b")).0, Readiness::Ready);
        topics.listen(topic("c"));
        topics.leave(&topic("c"));
        topics.listen(Topic::Fleet);
        assert!(topics.reach(vec![true], |_| true).is_empty());
        assert!(!topics.are_restored());
        let mut told = wishes(&mut topics);
        assert_eq!(told.pop().unwrap(), "+f:fleet", "last");
        told.sort();
        assert_eq!(told, ["+f:{1:a}", "+f:{1:b}"]);
        for topic in [topic("a"), topic("b"), Topic::Fleet] {
            assert!(!topics.confirmed(&topic), "nobody waits");
        }
        assert!(topics.are_restored());
        topics.reach(vec![false], |_| true);
        topics.leave(&topic("b"));
        topics.reach(vec![true], |_| true);
        assert_eq!(wishes(&mut topics), ["+f:{1:a}", "+f:fleet"]);
    }

    #[test]
    fn what_ends_unasked_is_asked_for_again() {
        let mut topics = reached();
        topics.listen(topic("a"));
        wishes(&mut topics);
        topics.confirmed(&topic("a"));
        assert!(!topics.ended(&topic("a")));
        assert_eq!(wishes(&mut topics), ["+f:{1:a}"]);
    }
}
