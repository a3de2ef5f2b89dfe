//! The way from the shards to the webhooks' thread.
//!
//! Owns the bound on what is on its way or waits to settle: room is taken before an event is handed over, and given
//! back when its [`Share`] is dropped. Taking room is one atomic exchange, so that a shard never waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;
use tracing::warn;

use super::{AppHooks, Event};
use crate::logs::Sparingly;
use crate::metrics::Metrics;

/// An event, and the endpoints of its app at the moment at which it happened.
#[derive(Debug)]
pub(super) struct Notice {
    pub(super) hooks: Arc<AppHooks>,
    pub(super) event: Event,
    /// Its part of the queue, given back when it has passed.
    pub(super) _share: Share,
}

/// The shards' end.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    notices: mpsc::UnboundedSender<Notice>,
    room: Arc<Room>,
}

static FULL: Sparingly = Sparingly::new();

impl Queue {
    /// A queue of `bytes_max`, and its other end.
    pub(super) fn new(bytes_max: usize, metrics: Arc<Metrics>) -> (Self, mpsc::UnboundedReceiver<Notice>) {
        // The room is the bound.
        let (notices, receiver) = mpsc::unbounded_channel();
        (Self { notices, room: Room::new(bytes_max, metrics) }, receiver)
    }

    /// Hands an event over, or drops and counts it.
    pub(super) fn notify(&self, hooks: &Arc<AppHooks>, event: Event) {
        // None, when only the event's opposite is wanted: it still has to be known.
        let endpoints = hooks.endpoints.iter().filter(|endpoint| endpoint.wants(&event)).count();
        let dropped = &self.room.metrics.webhooks_dropped_total;
        let Some(share) = Room::take(&self.room, event.bytes(), endpoints as u64) else {
            dropped.add(endpoints as u64);
            if let Some(left_out) = FULL.permit(Instant::now()) {
                let max = self.room.bytes_max;
                warn!(
                    max,
                    left_out, "a webhook event is dropped: as many wait as may (webhook_queue_bytes_max)"
                );
            }
            return;
        };
        // An error is a thread that has ended, as it does while the server leaves.
        if self.notices.send(Notice { hooks: Arc::clone(hooks), event, _share: share }).is_err() {
            dropped.add(endpoints as u64);
        }
    }
}

/// Bytes that may be taken, and how many are.
#[derive(Debug)]
pub(super) struct Room {
    bytes_max: usize,
    bytes: AtomicUsize,
    metrics: Arc<Metrics>,
}

/// A part of the room, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    room: Arc<Room>,
    bytes: usize,
    /// Endpoints that the event waits for.
    endpoints: u64,
}

impl Room {
    pub(super) fn new(bytes_max: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { bytes_max, bytes: AtomicUsize::new(0), metrics })
    }

    /// Takes room for an event that `endpoints` endpoints want, if there is as much.
    pub(super) fn take(room: &Arc<Self>, bytes: usize, endpoints: u64) -> Option<Share> {
        let within = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= room.bytes_max);
        room.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).ok()?;
        room.metrics.webhooks_waiting.add(endpoints);
        Some(Share { room: Arc::clone(room), bytes, endpoints })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.room.metrics.webhooks_waiting.subtract(self.endpoints);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::webhooks::{Endpoint, EventKind, EventKinds, Url};

    #[test]
    fn w_a_full_queue_drops_and_counts_until_there_is_room() {
        let metrics = Arc::new(Metrics::default());
        let event = Event::ChannelVacated { channel: "a".into() };
        let (queue, mut notices) = Queue::new(2 * event.bytes(), Arc::clone(&metrics));
        let endpoints = vec![
            Endpoint::new(Url::parse("http://localhost/1").unwrap()),
            Endpoint::new(Url::parse("http://localhost/2").unwrap()),
        ];
        let hooks = Arc::new(AppHooks { key: "k".into(), secret: Secret::new("s"), endpoints });
        let numbers = || (metrics.webhooks_waiting.value(), metrics.webhooks_dropped_total.value());
        queue.notify(&hooks, event.clone());
        queue.notify(&hooks, event.clone());
        assert_eq!(numbers(), (4, 0));
        queue.notify(&hooks, event.clone());
        assert_eq!(numbers(), (4, 2), "each event counts once per endpoint");
        drop(notices.try_recv().unwrap());
        assert_eq!(numbers(), (2, 2));
        queue.notify(&hooks, event.clone());
        assert_eq!(numbers(), (4, 2));
        drop(notices);
        queue.notify(&hooks, event);
        assert_eq!(numbers(), (0, 4), "what waited is gone with its end of the queue");
    }

    #[test]
    fn w_an_event_of_which_only_the_opposite_is_wanted_comes_along_uncounted() {
        let metrics = Arc::new(Metrics::default());
        let (queue, mut notices) = Queue::new(1024, Arc::clone(&metrics));
        let mut endpoint = Endpoint::new(Url::parse("http://localhost/").unwrap());
        endpoint.events = EventKinds::from_iter([EventKind::ChannelVacated]);
        let hooks =
            Arc::new(AppHooks { key: "k".into(), secret: Secret::new("s"), endpoints: vec![endpoint] });
        queue.notify(&hooks, Event::ChannelOccupied { channel: "a".into() });
        assert_eq!(metrics.webhooks_waiting.value(), 0);
        assert_eq!(notices.try_recv().unwrap().event.kind(), EventKind::ChannelOccupied);
    }
}
