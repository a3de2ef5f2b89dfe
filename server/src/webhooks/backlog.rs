//! What waits for one endpoint, and the batches that are made of it.
//!
//! Owns the order, the bound in bytes, when a batch has had enough company, and how old an event becomes. Events are
//! JSON text here, made once for all endpoints. Of the numbers of one channel's subscribers only the latest waits, in
//! the place of the first. Knows neither the network nor the clock: the time is given.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use tokio::time::Instant;

use crate::limits::Limits;
use crate::metrics::{Metric, Metrics};

/// Which metric counts what waits.
pub(super) type Gauge = fn(&Metrics) -> &Metric;

/// What an event costs beside its text, about.
const FIXED_BYTES: usize = 96;

/// When a batch goes out, and what may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// How long a batch's first event waits for company.
    pub(super) batch: Duration,
    /// Events of one batch.
    pub(super) batch_events_max: usize,
    /// Bytes of one batch's events.
    pub(super) batch_bytes_max: usize,
    /// How old an event becomes.
    pub(super) age_max: Duration,
    /// Bytes that wait.
    pub(super) bytes_max: usize,
}

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Self {
        Self {
            batch: Duration::from_millis(limits.webhook_batch_ms as u64),
            batch_events_max: limits.webhook_batch_events_max,
            batch_bytes_max: limits.webhook_batch_bytes_max,
            age_max: Duration::from_secs(limits.webhook_retry_s as u64),
            bytes_max: limits.webhook_queue_bytes_max,
        }
    }
}

/// An event on its way to an endpoint.
#[derive(Debug)]
struct Item {
    place: u64,
    text: Rc<str>,
    /// The channel whose subscribers it counts.
    count_of: Option<Arc<str>>,
    /// When it was first heard of: what a batch waits by.
    since: Instant,
    /// When what it says came to be: what its age is counted from.
    born: Instant,
    _waiting: Waiting,
}

impl Item {
    fn bytes(&self) -> usize {
        FIXED_BYTES + self.text.len()
    }

    fn is_older(&self, age_max: Duration, now: Instant) -> bool {
        now.duration_since(self.born) >= age_max
    }
}

/// One that the gauge counts.
#[derive(Debug)]
struct Waiting {
    metrics: Arc<Metrics>,
    gauge: Gauge,
}

impl Waiting {
    fn new(metrics: &Arc<Metrics>, gauge: Gauge) -> Self {
        gauge(metrics).increment();
        Self { metrics: Arc::clone(metrics), gauge }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        (self.gauge)(&self.metrics).decrement();
    }
}

/// There is no room for one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// The events that wait.
#[derive(Debug)]
pub(super) struct Backlog {
    bounds: Bounds,
    metrics: Arc<Metrics>,
    gauge: Gauge,
    /// `place` grows from front to back.
    items: VecDeque<Item>,
    /// What [`Item::bytes`] comes to.
    bytes: usize,
    /// What the texts alone come to.
    text_bytes: usize,
    next: u64,
    counts: HashMap<Arc<str>, u64, RandomState>,
}

impl Backlog {
    /// Nothing waits.
    pub(super) fn new(bounds: Bounds, metrics: Arc<Metrics>, gauge: Gauge) -> Self {
        Self {
            bounds,
            metrics,
            gauge,
            items: VecDeque::new(),
            bytes: 0,
            text_bytes: 0,
            next: 0,
            counts: HashMap::default(),
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Puts an event behind the others; or, when a number of the same channel's subscribers waits, in its place.
    ///
    /// # Errors
    /// [`Full`]: too much waits, and nothing has changed.
    pub(super) fn push(
        &mut self,
        text: Rc<str>,
        count_of: Option<&Arc<str>>,
        now: Instant,
    ) -> Result<(), Full> {
        let earlier = count_of.and_then(|channel| self.counts.get(channel));
        let earlier =
            earlier.and_then(|place| self.items.binary_search_by_key(place, |item| item.place).ok());
        if let Some(item) = earlier.and_then(|at| self.items.get_mut(at)) {
            // A digit more or less: not worth a bound.
            self.bytes = self.bytes + text.len() - item.text.len();
            self.text_bytes = self.text_bytes + text.len() - item.text.len();
            (item.text, item.born) = (text, now);
            return Ok(());
        }
        let (place, count_of) = (self.next, count_of.cloned());
        let waiting = Waiting::new(&self.metrics, self.gauge);
        let item = Item { place, text, count_of, since: now, born: now, _waiting: waiting };
        if self.bytes + item.bytes() > self.bounds.bytes_max {
            return Err(Full);
        }
        self.next += 1;
        self.bytes += item.bytes();
        self.text_bytes += item.text.len();
        if let Some(channel) = &item.count_of {
            self.counts.insert(Arc::clone(channel), place);
        }
        self.items.push_back(item);
        Ok(())
    }

    /// When the next batch goes out; none when nothing waits. A batch that is full has been ready for long.
    pub(super) fn ready_at(&self) -> Option<Instant> {
        let first = self.items.front()?;
        let full = self.items.len() >= self.bounds.batch_events_max
            || self.text_bytes + self.items.len() > self.bounds.batch_bytes_max;
        Some(if full { first.since } else { first.since + self.bounds.batch })
    }

    /// The next batch: as much as one may hold, and at least one event if any waits.
    pub(super) fn take(&mut self) -> Batch {
        let mut batch = Batch { items: Vec::new() };
        let mut bytes = 0;
        while let Some(first) = self.items.front() {
            // With its comma.
            bytes += first.text.len() + 1;
            let fits =
                batch.items.len() < self.bounds.batch_events_max && bytes <= self.bounds.batch_bytes_max;
            if !fits && !batch.items.is_empty() {
                break;
            }
            let Some(item) = self.items.pop_front() else { break };
            self.bytes -= item.bytes();
            self.text_bytes -= item.text.len();
            if let Some(channel) = &item.count_of {
                self.counts.remove(channel);
            }
            batch.items.push(item);
        }
        if self.items.is_empty() {
            // What a flood made room for is given back when it has passed.
            self.items.shrink_to(64);
        }
        batch
    }

    /// Drops what is too old. Gives how many.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        let (before, Self { items, counts, bytes, text_bytes, bounds, .. }) = (self.items.len(), self);
        items.retain(|item| {
            let keep = !item.is_older(bounds.age_max, now);
            if !keep {
                *bytes -= item.bytes();
                *text_bytes -= item.text.len();
                if let Some(channel) = &item.count_of {
                    counts.remove(channel);
                }
            }
            keep
        });
        before - items.len()
    }
}

/// The events of one request.
#[derive(Debug)]
pub(super) struct Batch {
    items: Vec<Item>,
}

impl Batch {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// The request's body. `time_ms` since 1970.
    pub(super) fn body(&self, time_ms: u128) -> String {
        let texts: usize = self.items.iter().map(|item| item.text.len() + 1).sum();
        let mut body = String::with_capacity(64 + texts);
        body.push_str(&format!(r#"{{"time_ms":{time_ms},"events":"#));
        self.write_events(&mut body);
        body.push('}');
        body
    }

    /// The events, as a JSON list.
    pub(super) fn write_events(&self, body: &mut String) {
        body.push('[');
        for (at, item) in self.items.iter().enumerate() {
            if at > 0 {
                body.push(',');
            }
            body.push_str(&item.text);
        }
        body.push(']');
    }

    /// Drops what is too old. Gives how many.
    pub(super) fn expire(&mut self, age_max: Duration, now: Instant) -> usize {
        let before = self.items.len();
        self.items.retain(|item| !item.is_older(age_max, now));
        before - self.items.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        batch: Duration::from_millis(50),
        batch_events_max: 3,
        batch_bytes_max: 20,
        age_max: Duration::from_secs(300),
        bytes_max: 1_000,
    };

    struct Scene {
        backlog: Backlog,
        start: Instant,
        metrics: Arc<Metrics>,
    }

    impl Scene {
        fn new() -> Self {
            let metrics = Arc::new(Metrics::default());
            let backlog = Backlog::new(BOUNDS, Arc::clone(&metrics), |metrics| &metrics.webhooks_waiting);
            Self { backlog, start: Instant::now(), metrics }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn push(&mut self, ms: u64, text: &str) -> bool {
            let now = self.at(ms);
            self.backlog.push(text.into(), None, now).is_ok()
        }

        fn count(&mut self, ms: u64, channel: &str, number: u64) {
            let now = self.at(ms);
            self.backlog.push(format!("{channel}{number}").into(), Some(&channel.into()), now).unwrap();
        }

        fn ready_ms(&self) -> Option<u128> {
            self.backlog.ready_at().map(|at| at.duration_since(self.start).as_millis())
        }

        /// The next batch, as a receiver reads it.
        fn take(&mut self) -> String {
            let body = self.backlog.take().body(7);
            let events = body.strip_prefix(r#"{"time_ms":7,"events":["#).unwrap();
            events.strip_suffix("]}").unwrap().to_owned()
        }

        fn waiting(&self) -> u64 {
            self.metrics.webhooks_waiting.value()
        }
    }

    #[test]
    fn w_a_batch_waits_for_company_from_its_first_event_on() {
        let mut scene = Scene::new();
        assert_eq!(scene.ready_ms(), None);
        scene.push(10, "a");
        scene.push(40, "b");
        assert_eq!((scene.ready_ms(), scene.waiting()), (Some(60), 2));
        assert_eq!(scene.take(), "a,b");
        assert_eq!((scene.ready_ms(), scene.waiting()), (None, 0));
        assert_eq!(scene.take(), "");
    }

    #[test]
    fn w_a_full_batch_goes_at_once_and_the_rest_with_the_next_in_order() {
        let mut scene = Scene::new();
        for (ms, text) in [(0, "a"), (1, "b"), (2, "c"), (3, "d")] {
            scene.push(ms, text);
        }
        assert_eq!(scene.ready_ms(), Some(0));
        assert_eq!(scene.take(), "a,b,c");
        assert_eq!(scene.ready_ms(), Some(53));
        assert_eq!(scene.take(), "d");
    }

    #[test]
    fn w_a_batch_is_bounded_in_bytes_and_a_larger_event_goes_alone() {
        let mut scene = Scene::new();
        let large = "x".repeat(30);
        for text in ["eight888", "eight999", "abc", &large, "d"] {
            scene.push(0, text);
        }
        assert_eq!(scene.ready_ms(), Some(0));
        assert_eq!(scene.take(), "eight888,eight999");
        assert_eq!(scene.ready_ms(), Some(0));
        assert_eq!(scene.take(), "abc");
        assert_eq!(scene.take(), large);
        assert_eq!(scene.ready_ms(), Some(50));
        assert_eq!(scene.take(), "d");
        assert_eq!((scene.backlog.bytes, scene.backlog.text_bytes), (0, 0));
    }

    #[test]
    fn w_of_a_channels_numbers_the_latest_waits() {
        let mut scene = Scene::new();
        scene.count(0, "n", 1);
        scene.push(1, "x");
        scene.count(10, "n", 12);
        scene.count(10, "m", 5);
        assert_eq!(scene.waiting(), 3);
        assert_eq!(scene.ready_ms(), Some(0), "it is full, and a number that changes does not put it off");
        assert_eq!(scene.take(), "n12,x,m5");
        scene.count(20, "n", 3);
        assert_eq!(scene.take(), "n3", "what is on its way is not changed any more");
        assert_eq!((scene.backlog.bytes, scene.backlog.text_bytes), (0, 0));
    }

    #[test]
    fn w_what_is_too_old_is_dropped_and_a_new_number_is_young() {
        let mut scene = Scene::new();
        scene.count(0, "n", 1);
        scene.push(0, "a");
        scene.push(1_000, "b");
        scene.count(2_000, "n", 2);
        assert_eq!(scene.backlog.expire(scene.at(299_999)), 0);
        assert_eq!(scene.backlog.expire(scene.at(300_999)), 1);
        let mut batch = scene.backlog.take();
        assert_eq!(batch.body(0), r#"{"time_ms":0,"events":[n2,b]}"#);
        assert_eq!(batch.expire(BOUNDS.age_max, scene.at(301_000)), 1);
        assert_eq!((batch.len(), scene.waiting()), (1, 1));
        assert_eq!(batch.body(0), r#"{"time_ms":0,"events":[n2]}"#);
        drop(batch);
        scene.count(400_000, "n", 4);
        assert_eq!(scene.backlog.expire(scene.at(700_000)), 1);
        scene.count(700_000, "n", 5);
        assert_eq!(scene.take(), "n5", "a number that was dropped has no place left");
        assert_eq!((scene.backlog.bytes, scene.waiting()), (0, 0));
    }

    #[test]
    fn w_what_waits_for_an_endpoint_is_bounded() {
        let mut scene = Scene::new();
        let text = "x".repeat(1_000 / 4 - FIXED_BYTES);
        for _ in 0..4 {
            assert!(scene.push(0, &text));
        }
        assert!(!scene.push(0, "y"));
        assert_eq!((scene.backlog.len(), scene.waiting()), (4, 4));
        scene.take();
        assert!(scene.push(0, "y"));
    }
}
