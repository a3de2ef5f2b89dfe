//! Pairs of events that cancel each other: a page that is loaded again leaves and comes back within moments.
//!
//! Owns how long `channel_vacated` and `member_removed` are held, and that their opposite, should it come meanwhile,
//! is told as little as they are; nor are they where there was no room for their opposite. All other events pass. Knows neither endpoints nor the clock: the time is given.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use tokio::time::Instant;

use super::EventKind;
use super::queue::Notice;

/// What is held.
#[derive(Debug)]
pub(super) struct Settling {
    window: Duration,
    /// In the order in which they came, which is that in which they are due.
    held: BTreeMap<u64, (Instant, Notice)>,
    by_subject: HashMap<Subject, u64, RandomState>,
    next: u64,
}

/// What an event and its opposite have in common: a channel of an app, or a user there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Subject {
    app_id: Arc<str>,
    channel: Arc<str>,
    user_id: Option<Arc<str>>,
}

impl Subject {
    fn of(notice: &Notice) -> Self {
        Self {
            app_id: Arc::clone(&notice.hooks.app_id),
            channel: Arc::clone(notice.event.channel()),
            user_id: notice.event.user_id().cloned(),
        }
    }
}

impl Settling {
    /// Nothing is held yet; what will be is for `window`.
    pub(super) fn new(window: Duration) -> Self {
        Self { window, held: BTreeMap::new(), by_subject: HashMap::default(), next: 0 }
    }

    /// Takes an event; gives it back when it is to be told now.
    pub(super) fn take(&mut self, notice: Notice, now: Instant) -> Option<Notice> {
        if notice.is_settled {
            return Some(notice);
        }
        match notice.event.kind() {
            EventKind::ChannelVacated | EventKind::MemberRemoved if !self.window.is_zero() => {
                let place = *self.by_subject.entry(Subject::of(&notice)).or_insert(self.next);
                match self.held.get_mut(&place) {
                    // It says the same, and is due earlier; but what undid it may have been lost in between.
                    Some((_, held)) => *held = notice,
                    None => {
                        self.held.insert(place, (now + self.window, notice));
                        self.next += 1;
                    }
                }
                None
            }
            EventKind::ChannelOccupied | EventKind::MemberAdded => {
                match self.by_subject.remove(&Subject::of(&notice)) {
                    Some(place) => {
                        self.held.remove(&place);
                        None
                    }
                    None => Some(notice),
                }
            }
            _ => Some(notice),
        }
    }

    /// When the next one has been held for long enough.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.held.first_key_value().map(|(_, (due, _))| *due)
    }

    /// One that has been held for long enough.
    pub(super) fn due(&mut self, now: Instant) -> Option<Notice> {
        while self.next_due()? <= now {
            let notice = self.pop()?;
            if let Some(notice) = certain(notice) {
                return Some(notice);
            }
        }
        None
    }

    /// The oldest one, however short it was held.
    pub(super) fn release(&mut self) -> Option<Notice> {
        loop {
            let notice = self.pop()?;
            if let Some(notice) = certain(notice) {
                return Some(notice);
            }
        }
    }

    fn pop(&mut self) -> Option<Notice> {
        let (_, (_, notice)) = self.held.pop_first()?;
        self.by_subject.remove(&Subject::of(&notice));
        Some(notice)
    }
}

/// Drops and counts a notice that there was no room for the opposite of.
fn certain(notice: Notice) -> Option<Notice> {
    if notice.share.is_in_doubt() {
        notice.share.miss();
        return None;
    }
    Some(notice)
}

#[cfg(test)]
mod tests {
    use super::super::queue::{Hearers, Queue, Room};
    use super::super::{AppHooks, Endpoint, Event, Url};
    use super::*;
    use crate::config::Secret;
    use crate::metrics::Metrics;

    const WINDOW: Duration = Duration::from_millis(3_000);

    struct Scene {
        settling: Settling,
        start: Instant,
        metrics: Arc<Metrics>,
        room: Arc<Room>,
    }

    impl Scene {
        fn new() -> Self {
            let metrics = Arc::new(Metrics::default());
            let room = Room::new(1 << 20, Arc::clone(&metrics));
            Self { settling: Settling::new(WINDOW), start: Instant::now(), metrics, room }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn take_of(&mut self, app: &str, ms: u64, event: Event) -> Option<Event> {
            let endpoints = vec![Endpoint::new(Url::parse("http://localhost/").unwrap())];
            let hooks = Arc::new(AppHooks::new(app, "k", Secret::new("s"), endpoints));
            let hearers = Hearers::of(&hooks, &event);
            let share = Room::take(&self.room, &hooks.portion, event.bytes(), hearers).unwrap();
            let now = self.at(ms);
            self.settling
                .take(Notice { hooks, event, is_settled: false, share }, now)
                .map(|notice| notice.event)
        }

        /// Whether it is told at once.
        fn take(&mut self, ms: u64, event: &Event) -> bool {
            self.take_of("app", ms, event.clone()).is_some()
        }

        fn due(&mut self, ms: u64) -> Vec<Event> {
            let now = self.at(ms);
            std::iter::from_fn(|| self.settling.due(now)).map(|notice| notice.event).collect()
        }

        fn waiting(&self) -> u64 {
            self.metrics.webhooks_waiting.value()
        }
    }

    fn occupied(channel: &str) -> Event {
        Event::ChannelOccupied { channel: channel.into() }
    }

    fn vacated(channel: &str) -> Event {
        Event::ChannelVacated { channel: channel.into() }
    }

    fn added(channel: &str, user: &str) -> Event {
        Event::MemberAdded { channel: channel.into(), user_id: user.into() }
    }

    fn removed(channel: &str, user: &str) -> Event {
        Event::MemberRemoved { channel: channel.into(), user_id: user.into() }
    }

    #[test]
    fn w_who_comes_back_in_time_never_left() {
        let mut scene = Scene::new();
        assert!(scene.take(0, &occupied("presence-a")));
        assert!(scene.take(0, &added("presence-a", "1")));
        assert!(!scene.take(10, &removed("presence-a", "1")));
        assert!(!scene.take(10, &vacated("presence-a")));
        assert_eq!(scene.waiting(), 2);
        assert!(!scene.take(3_009, &occupied("presence-a")));
        assert!(!scene.take(3_009, &added("presence-a", "1")));
        assert_eq!(scene.due(100_000), []);
        assert_eq!((scene.settling.next_due(), scene.waiting()), (None, 0));
        // It may leave anew, for good.
        assert!(!scene.take(100_000, &vacated("presence-a")));
        assert_eq!(scene.due(103_000), [vacated("presence-a")]);
    }

    #[test]
    fn w_who_stays_away_is_told_in_order_after_the_window_and_coming_back_later_is_news() {
        let mut scene = Scene::new();
        assert!(!scene.take(0, &removed("presence-a", "1")));
        assert!(!scene.take(1, &vacated("presence-a")));
        assert!(!scene.take(2, &vacated("b")));
        assert_eq!(scene.settling.next_due(), Some(scene.at(3_000)));
        assert_eq!(scene.due(2_999), []);
        assert_eq!(scene.due(3_001), [removed("presence-a", "1"), vacated("presence-a")]);
        assert_eq!(scene.settling.next_due(), Some(scene.at(3_002)));
        assert!(scene.take(3_002, &occupied("presence-a")));
        assert!(scene.take(3_002, &added("presence-a", "1")));
        assert_eq!(scene.due(3_002), [vacated("b")]);
    }

    #[test]
    fn w_only_the_same_channel_user_and_app_cancel() {
        let mut scene = Scene::new();
        assert!(!scene.take(0, &removed("presence-a", "1")));
        assert!(scene.take(1, &added("presence-a", "2")));
        assert!(scene.take(1, &added("presence-b", "1")));
        assert!(scene.take(1, &occupied("presence-a")));
        assert!(scene.take_of("other", 1, added("presence-a", "1")).is_some());
        assert_eq!(scene.due(3_000), [removed("presence-a", "1")]);
    }

    #[test]
    fn w_a_removal_that_comes_twice_is_told_once_and_others_pass() {
        let mut scene = Scene::new();
        assert!(!scene.take(0, &vacated("a")));
        assert!(!scene.take(1_000, &vacated("a")));
        assert_eq!(scene.waiting(), 1);
        assert!(scene.take(1_000, &Event::CacheMiss { channel: "a".into() }));
        assert!(scene.take(1_000, &Event::SubscriptionCount { channel: "a".into(), subscription_count: 0 }));
        assert_eq!(scene.due(3_000), [vacated("a")]);
        assert_eq!(scene.due(9_000), []);
    }

    #[tokio::test]
    async fn w_what_may_have_been_undone_unheard_is_not_told_but_what_came_later_is() {
        let mut scene = Scene::new();
        let (queue, mut notices) = Queue::new(3 * vacated("a").bytes(), Arc::clone(&scene.metrics));
        let endpoints = vec![Endpoint::new(Url::parse("http://localhost/").unwrap())];
        let hooks = Arc::new(AppHooks::new("app", "k", Secret::new("s"), endpoints));
        for event in [vacated("a"), vacated("b"), Event::CacheMiss { channel: "c".into() }, occupied("a")] {
            queue.notify(&hooks, event, false);
        }
        assert_eq!(scene.metrics.webhooks_dropped_total.value(), 1, "a is occupied, and nobody hears of it");
        let mut taken = Vec::new();
        assert_eq!(notices.take(&mut taken, 9).await, 3);
        let told: Vec<_> =
            taken.drain(..).filter_map(|notice| scene.settling.take(notice, scene.start)).collect();
        assert_eq!(told.len(), 1, "the miss");
        drop(told);
        queue.notify(&hooks, vacated("a"), false);
        assert_eq!(notices.take(&mut taken, 9).await, 1);
        assert!(scene.settling.take(taken.remove(0), scene.at(1_000)).is_none());
        assert_eq!(scene.due(2_999), []);
        assert_eq!(scene.due(3_000), [vacated("a")]);
        let dropped = scene.metrics.webhooks_dropped_total.value();
        assert_eq!((dropped, scene.waiting()), (2, 0), "whether b is vacated nobody knows any more");
    }

    #[test]
    fn w_a_shutdown_releases_what_is_held_and_no_window_holds_nothing() {
        let mut scene = Scene::new();
        assert!(!scene.take(0, &vacated("a")));
        assert!(!scene.take(0, &vacated("b")));
        let released = std::iter::from_fn(|| scene.settling.release()).map(|notice| notice.event);
        assert_eq!(released.collect::<Vec<_>>(), [vacated("a"), vacated("b")]);
        scene.settling = Settling::new(Duration::ZERO);
        assert!(scene.take(0, &vacated("a")));
        assert!(scene.take(0, &occupied("a")));
    }
}
