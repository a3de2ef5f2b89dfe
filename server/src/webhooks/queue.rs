//! The way from the shards to the webhooks' thread.
//!
//! Owns the bound on what is on its way or waits to settle: room is taken before an event is handed over, and given
//! back when its [`Share`] is dropped. Taking room is one atomic exchange, so that a shard never waits. Owns too that a
//! flood of one app leaves room to the others ([`Portion`]), and what is known of what there was no room for: a channel
//! that was vacated and is occupied again must not be told vacated because its occupation was dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::{AppHooks, Event, EventKind};
use crate::metrics::Metrics;

/// An app may hold so many times what is free: three quarters of the queue when it is alone, and with others that flood it
/// too as much as each of them, while a part always stays free for those that do not.
const FREE_TIMES_MAX: usize = 3;

/// An event, and the endpoints of its app at the moment at which it happened.
#[derive(Debug)]
pub(super) struct Notice {
    pub(super) hooks: Arc<AppHooks>,
    pub(super) event: Event,
    /// Whether it is told whatever comes.
    pub(super) is_settled: bool,
    /// Its part of the queue, given back when it has passed.
    pub(super) share: Share,
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
        let Some(share) = Room::take(&self.room, &hooks.portion, event.bytes(), hearers) else {
            if matches!(event.kind(), EventKind::ChannelOccupied | EventKind::MemberAdded) {
                hooks.portion.untold.fetch_add(1, Ordering::Relaxed);
            }
            self.room.refused.fetch_add(1, Ordering::Relaxed);
            return hearers.miss_it(&self.room.metrics);
        };
        // An error is a thread that has ended, as it does while the server leaves.
        if self.notices.send(Notice { hooks: Arc::clone(hooks), event, is_settled, share }).is_err() {
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

/// What one app has of the room, whatever is configured for it meanwhile.
#[derive(Debug, Default)]
pub(super) struct Portion {
    bytes: AtomicUsize,
    /// Occupations and additions that there was no room for.
    untold: AtomicU64,
}

/// A part of the room, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    room: Arc<Room>,
    portion: Arc<Portion>,
    /// [`Portion::untold`] when it was taken.
    untold: u64,
    bytes: usize,
    hearers: Hearers,
}

impl Room {
    pub(super) fn new(bytes_max: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { bytes_max, bytes: AtomicUsize::new(0), refused: AtomicU64::new(0), metrics })
    }

    /// Takes room for an event of an app, if there is as much for it.
    pub(super) fn take(
        room: &Arc<Self>,
        portion: &Arc<Portion>,
        bytes: usize,
        hearers: Hearers,
    ) -> Option<Share> {
        let free = room.bytes_max.saturating_sub(room.bytes.load(Ordering::Relaxed));
        let held = portion.bytes.load(Ordering::Relaxed);
        if held.saturating_add(bytes) > free.saturating_mul(FREE_TIMES_MAX) {
            return None;
        }
        let within = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= room.bytes_max);
        room.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).ok()?;
        portion.bytes.fetch_add(bytes, Ordering::Relaxed);
        hearers.wait_for_it(&room.metrics);
        let untold = portion.untold.load(Ordering::Relaxed);
        Some(Share { room: Arc::clone(room), portion: Arc::clone(portion), untold, bytes, hearers })
    }
}

impl Share {
    /// Whether the event may have been undone since, by what there was no room for: then neither is told.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.portion.untold.load(Ordering::Relaxed) != self.untold
    }

    /// The event is dropped, and counted.
    pub(super) fn miss(self) {
        self.hearers.miss_it(&self.room.metrics);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.portion.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
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

    #[test]
    fn w_a_flood_of_one_app_leaves_room_to_the_others() {
        let metrics = Arc::new(Metrics::default());
        let event = Event::CacheMiss { channel: "a".into() };
        let (queue, mut notices) = Queue::new(64 * event.bytes(), Arc::clone(&metrics));
        let hooks = ["1", "2", "3"].map(|app| {
            let endpoint = Endpoint::new(Url::parse("http://localhost/").unwrap());
            Arc::new(AppHooks::new(app, "k", Secret::new("s"), vec![endpoint]))
        });
        let flood = |hooks| {
            let before = metrics.webhooks_waiting.value();
            (0..100).for_each(|_| queue.notify(hooks, event.clone(), false));
            metrics.webhooks_waiting.value() - before
        };
        assert_eq!([flood(&hooks[0]), flood(&hooks[1]), flood(&hooks[2])], [48, 12, 3]);
        // What is given back is for everybody.
        for _ in 0..40 {
            drop(notices.receiver.try_recv().unwrap());
        }
        assert_eq!([flood(&hooks[2]), flood(&hooks[0])], [30, 7]);
    }

    #[test]
    fn w_what_was_vacated_is_in_doubt_once_there_was_no_room_for_an_occupation() {
        let metrics = Arc::new(Metrics::default());
        let (vacated, occupied) =
            (Event::ChannelVacated { channel: "a".into() }, Event::ChannelOccupied { channel: "a".into() });
        let (queue, mut notices) = Queue::new(2 * vacated.bytes(), Arc::clone(&metrics));
        let endpoints = vec![Endpoint::new(Url::parse("http://localhost/").unwrap())];
        let hooks = Arc::new(AppHooks::new("1", "k", Secret::new("s"), endpoints.clone()));
        let reloaded = Arc::new(AppHooks::new("1", "k", Secret::new("s"), endpoints).following(&hooks));
        queue.notify(&hooks, vacated.clone(), false);
        queue.notify(&hooks, vacated.clone(), false);
        queue.notify(&hooks, Event::CacheMiss { channel: "a".into() }, false);
        let [first, second] = [(); 2].map(|()| notices.receiver.try_recv().unwrap());
        assert!(!first.share.is_in_doubt(), "a miss undoes nothing");
        queue.notify(&reloaded, occupied, false);
        assert!(first.share.is_in_doubt() && second.share.is_in_doubt(), "also after a reload");
        first.share.miss();
        assert_eq!(metrics.webhooks_dropped_total.value(), 3);
        queue.notify(&hooks, vacated, false);
        assert!(!notices.receiver.try_recv().unwrap().share.is_in_doubt(), "it came later");
    }
}
