//! What is asked of all nodes, and how their answers come together.
//!
//! Owns the questions that are not answered by all yet, and what this node says to one. Leaves to [`super::part`] who is to
//! be asked, and how many of them are missing.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::LeaseId;
use super::frames::{About, Answer};
use crate::apps::App;
use crate::pusher::channel;

/// What the fleet says, and how many nodes have not said anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// All answers together.
    pub answer: Answer,
    /// Nodes that are missing in it: at least so many, for a node that is cut off cannot know.
    pub missing: usize,
}

/// The questions of this node.
#[derive(Debug, Default)]
pub(super) struct Questions {
    asked: Mutex<HashMap<u64, Asked>>,
    last_token: AtomicU64,
}

/// A question that is not answered by all yet.
#[derive(Debug)]
struct Asked {
    answer: Answer,
    heard: HashSet<u64>,
    /// Who is to answer, and has not. Another may answer too: one that has only come now.
    silent: HashSet<u64>,
    done: Option<oneshot::Sender<()>>,
}

/// What has come of a question.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// All answers together.
    pub(super) answer: Answer,
    /// Nodes that have answered.
    pub(super) heard: usize,
    /// Nodes that were to answer, and have not.
    pub(super) silent: usize,
}

/// A question, for as long as somebody waits for answers.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    pub(super) token: u64,
    questions: &'a Questions,
    done: oneshot::Receiver<()>,
}

impl Questions {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is asked of these other nodes, to which this one says `own`.
    pub(super) fn ask(&self, own: Answer, nodes: HashSet<u64>) -> Asking<'_> {
        let token = 1 + self.last_token.fetch_add(1, Ordering::Relaxed);
        let (sender, done) = oneshot::channel();
        let asked = Asked { answer: own, heard: HashSet::new(), silent: nodes, done: Some(sender) };
        self.lock().insert(token, asked);
        Asking { token, questions: self, done }
    }

    /// A node has answered, which holds this lease.
    pub(super) fn take(&self, token: u64, lease: LeaseId, answer: Answer) {
        let mut asked = self.lock();
        let Some(question) = asked.get_mut(&token) else { return };
        if !question.heard.insert(lease.node()) {
            return;
        }
        question.answer.add(answer);
        question.silent.remove(&lease.node());
        if question.silent.is_empty()
            && let Some(done) = question.done.take()
        {
            // Nobody waiting means that time is up.
            let _ = done.send(());
        }
    }
}

impl Asking<'_> {
    /// Waits until all have answered.
    pub(super) async fn by_all(&mut self) {
        // An error is a sender that is dropped, after which nobody answers.
        let _ = (&mut self.done).await;
    }

    /// All that has come of it.
    pub(super) fn so_far(self) -> Gathered {
        let asked = self.questions.lock().remove(&self.token);
        let gathered = |Asked { answer, heard, silent, .. }| Gathered {
            answer,
            heard: heard.len(),
            silent: silent.len(),
        };
        asked.map(gathered).unwrap_or_default()
    }
}

/// Whatever becomes of whoever waits, nothing is left of the question.
impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.questions.lock().remove(&self.token);
    }
}

impl Answer {
    /// What this node says to a question.
    pub fn of(app: &App, about: &About) -> Self {
        let described = |occupancy: crate::hub::directory::Occupancy| {
            (occupancy.name.to_string(), occupancy.subscriptions as u64, occupancy.users as u64)
        };
        let mut answer = Self::default();
        match about {
            About::Channels(prefix) => {
                answer.channels = app.directory.occupancies(prefix).into_iter().map(described).collect()
            }
            About::Channel(name) => {
                answer.channels = app.directory.occupancy(name).into_iter().map(described).collect();
                let last = channel::is_cache(name).then(|| app.cache.recall(name).1).flatten();
                answer.last = last.map(|last| {
                    // Rounded up: what is there has some time left.
                    let left = last.expires.saturating_duration_since(tokio::time::Instant::now());
                    let left_ms = u64::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
                    (last.event.to_string(), last.data.to_string(), left_ms)
                });
            }
            About::Users(name) => {
                answer.users = app.directory.user_ids(name).iter().map(ToString::to_string).collect()
            }
            About::Connections => answer.connections = app.connections.value(),
        }
        answer
    }

    /// What another node says too.
    fn add(&mut self, other: Self) {
        let mut places: HashMap<String, usize> =
            self.channels.iter().enumerate().map(|(at, (name, ..))| (name.clone(), at)).collect();
        for (name, subscriptions, users) in other.channels {
            match places.get(&name) {
                Some(&at) => {
                    let (_, all, most) = &mut self.channels[at];
                    *all = all.saturating_add(subscriptions);
                    // Who has a member knows of all members.
                    *most = users.max(*most);
                }
                None => {
                    places.insert(name.clone(), self.channels.len());
                    self.channels.push((name, subscriptions, users));
                }
            }
        }
        self.users.extend(other.users);
        self.users.sort_unstable();
        self.users.dedup();
        self.connections = self.connections.saturating_add(other.connections);
        // What is remembered for longest was said last.
        let left_ms =
            |last: &Option<(String, String, u64)>| last.as_ref().map_or(0, |(_, _, left_ms)| *left_ms);
        if left_ms(&other.last) > left_ms(&self.last) {
            self.last = other.last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_only_come_now_does_not_answer_for_another() {
        let questions = Questions::default();
        let [known, new] = [LeaseId(0x1_0000), LeaseId(0x2_0000)];
        let mut asking = questions.ask(Answer::default(), HashSet::from([known.node()]));
        let answer = || Answer { connections: 1, ..Answer::default() };
        questions.take(asking.token, new, answer());
        questions.take(asking.token, new.next(), answer());
        assert!(asking.done.try_recv().is_err(), "one that was asked is silent");
        questions.take(asking.token, known.next(), answer());
        assert!(asking.done.try_recv().is_ok());
        let Gathered { answer, heard, silent } = asking.so_far();
        assert_eq!((answer.connections, heard, silent), (2, 2, 0));
        assert!(questions.lock().is_empty());
    }

    #[test]
    fn answers_are_put_together() {
        let mut all = Answer {
            channels: vec![("a".into(), 1, 2)],
            users: vec!["2".into()],
            connections: 1,
            last: None,
        };
        let other = Answer {
            channels: vec![("b".into(), 1, 0), ("a".into(), 2, 1)],
            users: vec!["2".into(), "1".into()],
            connections: 2,
            last: Some(("e".into(), "1".into(), 5)),
        };
        all.add(other);
        assert_eq!(all.channels, [("a".into(), 3, 2), ("b".into(), 1, 0)]);
        assert_eq!((all.users.clone(), all.connections), (vec!["1".into(), "2".into()], 3));
        all.add(Answer { last: Some(("e".into(), "0".into(), 4)), ..Answer::default() });
        assert_eq!(all.last, Some(("e".into(), "1".into(), 5)));
    }
}
