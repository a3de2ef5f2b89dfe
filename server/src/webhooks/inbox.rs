//! What waits for an app's listener, and the batch that it has.
//!
//! Owns the order, the bound, and that nothing is forgotten before a listener says that it is done with it: one batch is
//! lent at a time, and lent again, the same with the same id, to whoever listens after the one that had it is gone.
//! Knows neither connections nor whose turn it is ([`super::listener`]).

use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::backlog::{Backlog, Batch, Bounds, Full};
use crate::entropy;
use crate::limits::Limits;
use crate::metrics::Metrics;

/// Events that wait, and the batch that is lent.
#[derive(Debug)]
pub(super) struct Inbox {
    backlog: Backlog,
    metrics: Arc<Metrics>,
    lent: Option<Lent>,
    /// What the ids of this inbox begin with: a batch of another server's life is never taken for one of this.
    epoch: String,
    /// The next batch's number.
    next: u64,
    /// Events that there was no room for, of which no batch tells yet.
    missed: u64,
}

/// A batch that a listener has, or had when it went away.
#[derive(Debug)]
struct Lent {
    id: String,
    batch: Batch,
    missed: u64,
    again: bool,
}

/// What a listener says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Word {
    done: String,
}

/// A listener has said something else than what was to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nonsense {
    pub(super) expected: String,
}

/// What may wait. How long it does is up to the listener: nobody who listens waits for company.
pub(super) fn bounds(limits: &Limits) -> Bounds {
    Bounds { batch: Duration::ZERO, bytes_max: limits.listener_queue_bytes_max, ..Bounds::from(limits) }
}

impl Inbox {
    /// Nothing waits yet.
    pub(super) fn new(bounds: Bounds, metrics: &Arc<Metrics>) -> Self {
        let epoch = u64::from_ne_bytes(entropy::bytes().unwrap_or_default());
        Self {
            backlog: Backlog::new(bounds, Arc::clone(metrics), |metrics| &metrics.listener_events_waiting),
            metrics: Arc::clone(metrics),
            lent: None,
            epoch: format!("{epoch:016x}"),
            next: 1,
            missed: 0,
        }
    }

    /// How many events wait, those that are lent included.
    pub(super) fn waiting(&self) -> usize {
        self.backlog.len() + self.lent.as_ref().map_or(0, |lent| lent.batch.len())
    }

    /// Puts an event behind the others, or counts it as missed.
    ///
    /// # Errors
    /// [`Full`]: too much waits.
    pub(super) fn push(
        &mut self,
        text: Rc<str>,
        count_of: Option<&Arc<str>>,
        now: Instant,
    ) -> Result<(), Full> {
        let pushed = self.backlog.push(text, count_of, now);
        if pushed.is_err() {
            self.missed += 1;
            self.metrics.listener_events_dropped_total.increment();
        }
        pushed
    }

    /// A line for a listener that has nothing: the batch that nobody is done with, or else the next one.
    pub(super) fn lend(&mut self) -> Option<String> {
        if let Some(lent) = &mut self.lent {
            lent.again = true;
        } else if self.backlog.len() > 0 {
            let id = format!("{}-{}", self.epoch, self.next);
            let (batch, missed) = (self.backlog.take(), std::mem::take(&mut self.missed));
            self.next += 1;
            self.lent = Some(Lent { id, batch, missed, again: false });
        }
        let Lent { id, batch, missed, again } = self.lent.as_ref()?;
        let mut line = String::new();
        // Writing to a String cannot fail.
        let _ = write!(line, r#"{{"batch":"{id}","again":{again},"missed":{missed},"events":"#);
        batch.write_events(&mut line);
        line.push_str("}\n");
        Some(line)
    }

    /// Hears a line of a listener. Gives how many events it is done with.
    ///
    /// # Errors
    /// [`Nonsense`], when it is not that it is done with the batch that is lent.
    pub(super) fn hear(&mut self, line: &[u8]) -> Result<usize, Nonsense> {
        let word: Option<Word> = serde_json::from_slice(line).ok();
        match self.lent.take_if(|lent| word.is_some_and(|word| word.done == lent.id)) {
            Some(lent) => {
                self.metrics.listener_events_taken_total.add(lent.batch.len() as u64);
                Ok(lent.batch.len())
            }
            None => Err(Nonsense {
                expected: match &self.lent {
                    Some(Lent { id, .. }) => format!(r#"{{"done":"{id}"}}"#),
                    None => "nothing before there is a batch".to_owned(),
                },
            }),
        }
    }
}

/// What is still there is lost.
impl Drop for Inbox {
    fn drop(&mut self) {
        self.metrics.listener_events_dropped_total.add(self.waiting() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    struct Scene {
        inbox: Inbox,
        metrics: Arc<Metrics>,
    }

    impl Scene {
        fn new(limits: &Limits) -> Self {
            let metrics = Arc::new(Metrics::default());
            Self { inbox: Inbox::new(bounds(limits), &metrics), metrics }
        }

        fn push(&mut self, text: &str) -> bool {
            self.inbox.push(text.into(), None, Instant::now()).is_ok()
        }

        /// Id, whether again, how many were missed, and the events.
        fn lend(&mut self) -> Option<(String, bool, u64, Value)> {
            let line = self.inbox.lend()?;
            let line: Value = serde_json::from_str(line.strip_suffix('\n').unwrap()).unwrap();
            let id = line["batch"].as_str().unwrap().to_owned();
            Some((
                id,
                line["again"].as_bool().unwrap(),
                line["missed"].as_u64().unwrap(),
                line["events"].clone(),
            ))
        }

        fn done(&mut self, id: &str) -> Result<usize, Nonsense> {
            self.inbox.hear(format!(r#"{{"done":"{id}"}}"#).as_bytes())
        }

        fn numbers(&self) -> [u64; 3] {
            let metrics = &self.metrics;
            [
                &metrics.listener_events_waiting,
                &metrics.listener_events_taken_total,
                &metrics.listener_events_dropped_total,
            ]
            .map(crate::metrics::Metric::value)
        }
    }

    #[test]
    fn l_a_batch_is_lent_until_somebody_is_done_with_it_and_then_the_next() {
        let limits = Limits { webhook_batch_events_max: 2, ..Limits::default() };
        let mut scene = Scene::new(&limits);
        assert_eq!(scene.lend(), None);
        assert!(["1", "2", "3"].into_iter().all(|text| scene.push(text)));
        let (first, again, missed, events) = scene.lend().unwrap();
        assert_eq!((again, missed, events), (false, 0, serde_json::json!([1, 2])));
        assert_eq!(scene.lend().unwrap(), (first.clone(), true, 0, serde_json::json!([1, 2])));
        assert_eq!(scene.numbers(), [3, 0, 0]);
        assert_eq!(scene.done(&first), Ok(2));
        let (second, again, _, events) = scene.lend().unwrap();
        assert_eq!((again, events), (false, serde_json::json!([3])));
        assert_ne!(first, second);
        assert_eq!(scene.done(&first).unwrap_err().expected, format!(r#"{{"done":"{second}"}}"#));
        assert_eq!(scene.done(&second), Ok(1));
        assert_eq!((scene.inbox.waiting(), scene.numbers()), (0, [0, 3, 0]));
    }

    #[test]
    fn l_what_there_is_no_room_for_is_counted_and_told_with_the_next_batch() {
        let limits = Limits { listener_queue_bytes_max: 1_024, ..Limits::default() };
        let mut scene = Scene::new(&limits);
        let text = format!("{:?}", "x".repeat(700));
        assert!(scene.push(&text) && !scene.push(&text) && !scene.push(&text));
        let (id, _, missed, _) = scene.lend().unwrap();
        assert_eq!(missed, 2);
        assert!(scene.push(&text), "what is lent takes no room of what waits");
        assert_eq!(scene.lend().unwrap().2, 2, "the same again");
        scene.done(&id).unwrap();
        assert_eq!(scene.lend().unwrap().2, 0);
        assert_eq!(scene.numbers(), [1, 1, 2]);
        drop(scene.inbox);
        assert_eq!(scene.metrics.listener_events_dropped_total.value(), 3, "what is left is lost");
    }

    #[test]
    fn l_nothing_else_than_done_is_understood() {
        let mut scene = Scene::new(&Limits::default());
        assert_eq!(scene.done("x").unwrap_err().expected, "nothing before there is a batch");
        scene.push("1");
        let (id, ..) = scene.lend().unwrap();
        for line in
            ["", "done", "[]", r#"{"done":1}"#, r#"{"done":"x"}"#, &format!(r#"{{"done":"{id}","a":1}}"#)]
        {
            assert!(scene.inbox.hear(line.as_bytes()).is_err(), "{line}");
        }
        assert_eq!(scene.done(&id), Ok(1));
    }

    #[test]
    fn l_no_two_inboxes_have_the_same_ids() {
        let ids = [(); 2].map(|()| {
            let mut scene = Scene::new(&Limits::default());
            scene.push("1");
            scene.lend().unwrap().0
        });
        assert_ne!(ids[0], ids[1]);
    }
}
