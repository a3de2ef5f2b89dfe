//! Which shards have a subscriber of a channel, and what each shard is to deliver.
//!
//! Behind one read-mostly lock per app: every publication reads it, but only a shard's first or last subscriber
//! of a channel changes it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use ahash::RandomState;
use bytes::Bytes;

use crate::frame;
use crate::node::AppIndex;
use crate::publication::Publication;
use crate::pusher::SocketId;

/// Which shard, from 0.
pub type ShardIndex = usize;

/// Shards as bits; `config::SHARDS_MAX` keeps them within 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct ShardSet(u64);

impl ShardSet {
    fn iter(self) -> impl Iterator<Item = ShardIndex> {
        let mut bits = self.0;
        std::iter::from_fn(move || {
            let index = bits.trailing_zeros();
            bits &= bits.wrapping_sub(1);
            (index < u64::BITS).then_some(index as ShardIndex)
        })
    }
}

type ShardsByChannel = HashMap<Arc<str>, ShardSet, RandomState>;

/// The node-wide map.
#[derive(Debug)]
pub struct Directory {
    apps: Vec<RwLock<ShardsByChannel>>,
}

/// One event for the subscribers that one shard has of one channel.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Whose channel.
    pub app: AppIndex,
    /// The channel's name.
    pub channel: Arc<str>,
    /// The encoded frame, shared by all shards and outboxes.
    pub frame: Bytes,
    /// The connection that does not receive it.
    pub except: Option<SocketId>,
}

/// What a batch of publications comes to, shard by shard, in order.
#[derive(Debug)]
pub struct Round {
    /// The deliveries of each shard.
    pub shards: Vec<Vec<Delivery>>,
}

impl Round {
    /// Nothing yet, for `shards` shards.
    pub fn new(shards: usize) -> Self {
        Self { shards: (0..shards).map(|_| Vec::new()).collect() }
    }
}

impl Directory {
    /// An empty directory for `apps` apps.
    pub fn new(apps: usize) -> Self {
        Self { apps: (0..apps).map(|_| RwLock::default()).collect() }
    }

    /// Shard `shard` has its first subscriber of `channel`.
    pub fn add(&self, app: AppIndex, channel: &Arc<str>, shard: ShardIndex) {
        // The map is whole after every statement that changes it, so a panic elsewhere does not spoil it.
        let mut map = self.apps[app.0].write().unwrap_or_else(PoisonError::into_inner);
        map.entry(Arc::clone(channel)).or_default().0 |= 1 << shard;
    }

    /// Shard `shard` has lost its last subscriber of `channel`.
    pub fn remove(&self, app: AppIndex, channel: &str, shard: ShardIndex) {
        let mut map = self.apps[app.0].write().unwrap_or_else(PoisonError::into_inner);
        if let Some(shards) = map.get_mut(channel) {
            shards.0 &= !(1 << shard);
            if shards.0 == 0 {
                map.remove(channel);
                // What a flood of channels made room for is given back when it has passed.
                if map.capacity() > 1024 && map.len() * 8 < map.capacity() {
                    map.shrink_to_fit();
                }
            }
        }
    }

    /// Delivers a publication: encodes one frame per channel that anybody here listens to, and puts it into the
    /// round of every shard with a subscriber.
    pub fn deliver(&self, app: AppIndex, publication: &Publication<'_>, round: &mut Round) {
        for &channel in &publication.channels {
            let Some((name, shards)) = self.find(app, channel) else { continue };
            let frame = frame::event(publication.event, channel, publication.data);
            for shard in shards.iter() {
                if let Some(deliveries) = round.shards.get_mut(shard) {
                    deliveries.push(Delivery {
                        app,
                        channel: Arc::clone(&name),
                        frame: frame.clone(),
                        except: publication.except,
                    });
                }
            }
        }
    }

    fn find(&self, app: AppIndex, channel: &str) -> Option<(Arc<str>, ShardSet)> {
        let map = self.apps[app.0].read().unwrap_or_else(PoisonError::into_inner);
        map.get_key_value(channel).map(|(name, shards)| (Arc::clone(name), *shards))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_encoded_once_for_all_shards_and_only_for_those_that_listen() {
        let directory = Directory::new(2);
        let name: Arc<str> = "news".into();
        directory.add(AppIndex(0), &name, 0);
        directory.add(AppIndex(0), &name, 63);
        let publication =
            Publication { channels: vec!["news", "quiet"], event: "e", data: "{}", except: None };
        let mut round = Round::new(64);
        directory.deliver(AppIndex(0), &publication, &mut round);
        let counts: Vec<usize> = round.shards.iter().map(Vec::len).collect();
        assert_eq!((counts[0], counts[63], counts.iter().sum::<usize>()), (1, 1, 2));
        assert_eq!(round.shards[0][0].frame.as_ptr(), round.shards[63][0].frame.as_ptr());

        let mut other = Round::new(64);
        directory.deliver(AppIndex(1), &publication, &mut other);
        assert!(other.shards.iter().all(Vec::is_empty), "another app's channel of the same name");

        directory.remove(AppIndex(0), "news", 0);
        directory.remove(AppIndex(0), "news", 63);
        assert_eq!(directory.find(AppIndex(0), "news"), None);
    }
}
