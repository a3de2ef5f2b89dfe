//! The last event of every cache channel of one app.
//!
//! Owns what is remembered, for how long and how much of it. A channel is remembered whether or not anybody is
//! subscribed, and after its last subscriber has left. Leaves to others which channels are cache channels.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ahash::RandomState;
use tokio::time::Instant;

use super::directory::Stamp;
use crate::limits::Limits;

/// What an app may have remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheBounds {
    /// For how long.
    pub ttl: Duration,
    /// How many channels.
    pub channels_max: usize,
    /// How many bytes of names, event names and data.
    pub bytes_max: usize,
}

impl From<&Limits> for CacheBounds {
    fn from(limits: &Limits) -> Self {
        Self {
            ttl: Duration::from_secs(limits.cache_ttl_s as u64),
            channels_max: limits.cached_channels_max,
            bytes_max: limits.cached_bytes_max,
        }
    }
}

/// An event that is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Its name.
    pub event: Arc<str>,
    /// Its data, as it was given.
    pub data: Arc<str>,
    /// When it is forgotten.
    pub expires: Instant,
    stamp: Stamp,
    /// When another node was asked for it, if it came in that way: then it may come once more by itself.
    borrowed: Option<Instant>,
}

/// How long after an event was borrowed from another node it may still be on its way from there.
const ON_ITS_WAY: Duration = Duration::from_secs(5);

/// The remembered events of one app.
#[derive(Debug)]
pub struct EventCache(Mutex<Events>);

#[derive(Debug)]
struct Events {
    bounds: CacheBounds,
    by_channel: HashMap<Arc<str>, Remembered, RandomState>,
    /// The same by age: what is remembered first is forgotten first.
    by_stamp: BTreeMap<Stamp, Arc<str>>,
    bytes: usize,
    stamp: Stamp,
}

impl Default for EventCache {
    fn default() -> Self {
        Self::new(CacheBounds::from(&Limits::default()))
    }
}

impl EventCache {
    /// Nothing yet.
    pub fn new(bounds: CacheBounds) -> Self {
        Self(Mutex::new(Events {
            bounds,
            by_channel: HashMap::default(),
            by_stamp: BTreeMap::new(),
            bytes: 0,
            stamp: Stamp::default(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Events> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what has expired, which nobody is told of any more but which takes room.
    pub fn expire(&self) {
        self.lock().tidy(Instant::now());
    }

    /// Other bounds from now on; what is remembered already keeps its time.
    pub fn bound(&self, bounds: CacheBounds) {
        let mut events = self.lock();
        events.bounds = bounds;
        events.tidy(Instant::now());
    }

    /// Remembers an event in place of the channel's last one. Gives its stamp.
    pub fn remember(&self, channel: &str, event: &str, data: &str) -> Stamp {
        let now = Instant::now();
        let mut events = self.lock();
        let expires = now + events.bounds.ttl;
        if let Some(last) = events.by_channel.get_mut(channel)
            && last.borrowed.take().is_some_and(|since| now.duration_since(since) < ON_ITS_WAY)
            && (&*last.event, &*last.data) == (event, data)
        {
            // Who has been told of it is not told again.
            return last.stamp;
        }
        events.remember(channel, (event, data), expires, None, now)
    }

    /// Remembers what another node does, unless what is remembered here is as new.
    pub fn borrow(&self, channel: &str, event: &str, data: &str, left: Duration) {
        let now = Instant::now();
        let mut events = self.lock();
        let expires = now + left.min(events.bounds.ttl);
        if events.by_channel.get(channel).is_none_or(|last| last.expires < expires) {
            events.remember(channel, (event, data), expires, Some(now), now);
        }
    }

    /// The last event of a channel, and the stamp up to which a subscriber who is told it has heard everything.
    pub fn recall(&self, channel: &str) -> (Stamp, Option<Remembered>) {
        let events = self.lock();
        let found = events.by_channel.get(channel).filter(|found| found.expires > Instant::now());
        (events.stamp, found.cloned())
    }
}

fn weight(channel: &str, remembered: &Remembered) -> usize {
    channel.len() + remembered.event.len() + remembered.data.len()
}

impl Events {
    fn remember(
        &mut self,
        channel: &str,
        (event, data): (&str, &str),
        expires: Instant,
        borrowed: Option<Instant>,
        now: Instant,
    ) -> Stamp {
        let name = self.forget(channel).unwrap_or_else(|| channel.into());
        self.stamp.0 += 1;
        let stamp = self.stamp;
        let remembered = Remembered { event: event.into(), data: data.into(), expires, stamp, borrowed };
        self.bytes += weight(&name, &remembered);
        self.by_stamp.insert(stamp, Arc::clone(&name));
        self.by_channel.insert(name, remembered);
        self.tidy(now);
        stamp
    }

    fn forget(&mut self, channel: &str) -> Option<Arc<str>> {
        let (name, remembered) = self.by_channel.remove_entry(channel)?;
        self.bytes -= weight(&name, &remembered);
        self.by_stamp.remove(&remembered.stamp);
        Some(name)
    }

    /// Forgets what has expired and what is too much, the oldest first.
    fn tidy(&mut self, now: Instant) {
        while let Some((_, name)) = self.by_stamp.first_key_value() {
            let expired = self.by_channel.get(name).is_none_or(|found| found.expires <= now);
            let too_much =
                self.by_channel.len() > self.bounds.channels_max || self.bytes > self.bounds.bytes_max;
            if !expired && !too_much {
                return;
            }
            let name = Arc::clone(name);
            self.forget(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(cache: &EventCache, channel: &str) -> Option<String> {
        cache.recall(channel).1.map(|found| found.data.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn s9_the_last_event_is_remembered_until_it_expires() {
        let cache = EventCache::default();
        assert_eq!(data(&cache, "cache-a"), None);
        let first = cache.remember("cache-a", "e", "1");
        assert!(cache.remember("cache-a", "e", "2") > first);
        assert_eq!(data(&cache, "cache-a").as_deref(), Some("2"));
        tokio::time::advance(Duration::from_secs(1_799)).await;
        assert_eq!(data(&cache, "cache-a").as_deref(), Some("2"));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(data(&cache, "cache-a"), None);
        assert_eq!(cache.lock().by_channel.len(), 1);
        cache.expire();
        assert_eq!(cache.lock().bytes, 0);
        cache.remember("cache-b", "e", "3");
        let events = cache.lock();
        assert_eq!(
            (events.by_channel.len(), events.by_stamp.len(), events.bytes),
            (1, 1, "cache-b".len() + 2)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn s9_what_was_borrowed_from_another_node_and_comes_by_itself_is_the_same() {
        let cache = EventCache::default();
        let left = Duration::from_secs(60);
        cache.borrow("cache-a", "e", "1", left);
        let (told, last) = cache.recall("cache-a");
        assert_eq!(last.map(|last| last.expires - Instant::now()), Some(left));
        assert_eq!(cache.remember("cache-a", "e", "1"), told, "who was told of it is not told again");
        assert!(cache.remember("cache-a", "e", "1") > told, "the application says it twice");
        cache.borrow("cache-a", "e", "0", left);
        assert_eq!(data(&cache, "cache-a").as_deref(), Some("1"), "what is here is newer");
        cache.borrow("cache-b", "e", "1", left);
        tokio::time::advance(ON_ITS_WAY).await;
        let (told, _) = cache.recall("cache-b");
        assert!(cache.remember("cache-b", "e", "1") > told);
    }

    #[test]
    fn too_much_is_forgotten_oldest_first() {
        let bounds = CacheBounds { ttl: Duration::from_secs(60), channels_max: 2, bytes_max: 1_000 };
        let cache = EventCache::new(bounds);
        for channel in ["a", "b", "a", "c"] {
            cache.remember(channel, "e", "x");
        }
        assert_eq!((data(&cache, "a").is_some(), data(&cache, "b")), (true, None));
        cache.remember("big", "e", &"x".repeat(996));
        assert!(data(&cache, "big").is_some());
        assert_eq!((data(&cache, "a"), data(&cache, "c")), (None, None));
        cache.bound(CacheBounds { bytes_max: 1, ..bounds });
        assert_eq!((data(&cache, "big"), cache.lock().bytes), (None, 0));
    }
}
