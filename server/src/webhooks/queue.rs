//! The way from the shards to the webhooks' thread.
//!
//! Owns the bound on what is on its way or waits to settle: room is taken before an event is handed over, and given
//! back when its [`Share`] is dropped. Taking room is one atomic exchange, so that a shard never waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::{AppHooks, Event};
use crate::metrics::Metrics;

/// An event, and the endpoints of its app at the moment at which it happened.
#[derive(Debug)]
pub(super) struct Notice {
    pub(super) hooks: Arc<AppHooks>,
    pub(super) event: Event,
    /// Whether it is told whatever comes.
    pub(super) is_settled: bool,
    /// Its part of the queue, given back when it has passed.
    pub(super) _share: Share,
}

/// The shards' end.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    notices: mpsc::UnboundedSender<Notice>,
    room: Arc<Room>,
}

/// The thread's end.
#[derive(Debug)]
pub(super) struct Notices {
    receiver: mpsc::UnboundedReceiver<Notice>,
    room: Arc<Room>,
}

impl Queue {
    /// A queue of `bytes_max`, and its other end.
    pub(super) fn new(bytes_max: usize, metrics: Arc<Metrics>) -> (Self, Notices) {
        // The room is the bound.
        let (notices, receiver) = mpsc::unbounded_channel();
        let room = Room::new(bytes_max, metrics);
        (Self { notices, room: Arc::clone(&room) }, Notices { receiver, room })
    }

    /// Hands an event over, or drops and counts it. Whoever calls may hold a lock, so nothing is logged here: the
    /// thread does it ([`Notices::refused`]).
    pub(super) fn notify(&self, hooks: &Arc<AppHooks>, event: Event, is_settled: bool) {
        if !hooks.filters().any(|filter| filter.wants_to_know(&event)) {
            return;
        }
        let hearers = Hearers::of(hooks, &event);
        let Some(share) = Room::take(&self.room, event.bytes(), hearers) else {
            self.room.refused.fetch_add(1, Ordering::Relaxed);
            return hearers.miss_it(&self.room.metrics);
        };
        // An error is a thread that has ended, as it does while the server leaves.
        if self.notices.send(Notice { hooks: Arc::clone(hooks), event, is_settled, _share: share }).is_err() {
            hearers.miss_it(&self.room.metrics);
        }
    }
}

/// Those who want an event. None, when only its opposite is wanted: it still has to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hearers {
    endpoints: u64,
    listeners: u64,
}

impl Hearers {
    pub(super) fn of(hooks: &AppHooks, event: &Event) -> Self {
        let endpoints = hooks.endpoints.iter().filter(|endpoint| endpoint.filter.wants(event)).count();
        let listeners = hooks.listener.iter().filter(|filter| filter.wants(event)).count();
        Self { endpoints: endpoints as u64, listeners: listeners as u64 }
    }

    fn wait_for_it(self, metrics: &Metrics) {
        metrics.webhooks_waiting.add(self.endpoints);
        metrics.listener_events_waiting.add(self.listeners);
    }

    fn wait_no_longer(self, metrics: &Metrics) {
        metrics.webhooks_waiting.subtract(self.endpoints);
        metrics.listener_events_waiting.subtract(self.listeners);
    }

    fn miss_it(self, metrics: &Metrics) {
        metrics.webhooks_dropped_total.add(self.endpoints);
        metrics.listener_events_dropped_total.add(self.listeners);
    }
}

impl Notices {
    /// Waits for notices. Gives how many were put into `taken`, at most `max`: 0 when nobody can notify any more.
    pub(super) async fn take(&mut self, taken: &mut Vec<Notice>, max: usize) -> usize {
        self.receiver.recv_many(taken, max).await
    }

    /// Whether nobody can notify any more and nothing is left.
    pub(super) fn are_over(&self) -> bool {
        self.receiver.is_closed() && self.receiver.is_empty()
    }

    /// Takes no further ones: whoever notifies from now on drops and counts.
    pub(super) fn close(&mut self) {
        self.receiver.close();
    }

    /// How many there was no room for since this was asked the last time.
    pub(super) fn refused(&self) -> u64 {
        match self.room.refused.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.room.refused.swap(0, Ordering::Relaxed),
        }
    }
}

/// Bytes that may be taken, and how many are.
#[derive(Debug)]
pub(super) struct Room {
    bytes_max: usize,
    bytes: AtomicUsize,
    /// Events that there was no room for.
    refused: AtomicU64,
    metrics: Arc<Metrics>,
}

/// A part of the room, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    room: Arc<Room>,
    bytes: usize,
    hearers: Hearers,
}

impl Room {
    pub(super) fn new(bytes_max: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { bytes_max, bytes: AtomicUsize::new(0), refused: AtomicU64::new(0), metrics })
    }

    /// Takes room for an event, if there is as much.
    pub(super) fn take(room: &Arc<Self>, bytes: usize, hearers: Hearers) -> Option<Share> {
        let within = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= room.bytes_max);
        room.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).ok()?;
        hearers.wait_for_it(&room.metrics);
        Some(Share { room: Arc::clone(room), bytes, hearers })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.hearers.wait_no_longer(&self.room.metrics);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::webhooks::{Endpoint, EventKind, EventKinds, Filter, Url};

    #[test]
    fn w_a_full_queue_drops_and_counts_until_there_is_room() {
        let metrics = Arc::new(Metrics::default());
        let event = Event::ChannelVacated { channel: "a".into() };
        let (queue, mut notices) = Queue::new(2 * event.bytes(), Arc::clone(&metrics));
        let endpoints = vec![
            Endpoint::new(Url::parse("http://localhost/1").unwrap()),
            Endpoint::new(Url::parse("http://localhost/2").unwrap()),
        ];
        let hooks = Arc::new(AppHooks::new("1", "k", Secret::new("s"), endpoints));
        let numbers = || (metrics.webhooks_waiting.value(), metrics.webhooks_dropped_total.value());
        queue.notify(&hooks, event.clone(), false);
        queue.notify(&hooks, event.clone(), false);
        assert_eq!(numbers(), (4, 0));
        queue.notify(&hooks, event.clone(), false);
        assert_eq!(numbers(), (4, 2), "each event counts once per endpoint");
        assert_eq!((notices.refused(), notices.refused()), (1, 0));
        drop(notices.receiver.try_recv().unwrap());
        assert_eq!(numbers(), (2, 2));
        queue.notify(&hooks, event.clone(), false);
        assert_eq!(numbers(), (4, 2));
        drop(notices);
        queue.notify(&hooks, event, false);
        assert_eq!(numbers(), (0, 4), "what waited is gone with its end of the queue");
    }

    #[test]
    fn w_what_a_listener_misses_or_waits_for_is_counted_as_its_own() {
        let metrics = Arc::new(Metrics::default());
        let event = Event::ChannelVacated { channel: "a".into() };
        let (queue, mut notices) = Queue::new(event.bytes(), Arc::clone(&metrics));
        let hooks = AppHooks::new("1", "k", Secret::new("s"), Vec::new());
        let hooks = Arc::new(hooks.with_listener(Some(Filter::default())));
        queue.notify(&hooks, event.clone(), false);
        queue.notify(&hooks, event.clone(), false);
        let numbers =
            || (metrics.listener_events_waiting.value(), metrics.listener_events_dropped_total.value());
        assert_eq!(numbers(), (1, 1));
        drop(notices.receiver.try_recv().unwrap());
        assert_eq!(numbers(), (0, 1));
        assert_eq!((metrics.webhooks_waiting.value(), metrics.webhooks_dropped_total.value()), (0, 0));
    }

    #[test]
    fn w_an_event_of_which_only_the_opposite_is_wanted_comes_along_uncounted() {
        let metrics = Arc::new(Metrics::default());
        let (queue, mut notices) = Queue::new(1024, Arc::clone(&metrics));
        let mut endpoint = Endpoint::new(Url::parse("http://localhost/").unwrap());
        endpoint.filter.events = EventKinds::from_iter([EventKind::ChannelVacated]);
        endpoint.filter.channel_prefix = Some("a".to_owned());
        let hooks = Arc::new(AppHooks::new("1", "k", Secret::new("s"), vec![endpoint]));
        queue.notify(&hooks, Event::ChannelOccupied { channel: "a".into() }, false);
        assert_eq!(metrics.webhooks_waiting.value(), 0);
        assert_eq!(notices.receiver.try_recv().unwrap().event.kind(), EventKind::ChannelOccupied);
        queue.notify(&hooks, Event::CacheMiss { channel: "a".into() }, false);
        queue.notify(&hooks, Event::ChannelVacated { channel: "b".into() }, false);
        assert!(notices.receiver.try_recv().is_err(), "what nobody wants to know does not come at all");
    }
}
