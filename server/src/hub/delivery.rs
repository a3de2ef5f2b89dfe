//! What each shard is to deliver.

use std::sync::Arc;

use super::directory::Stamp;
use super::shards::ShardIndex;
use crate::apps::{App, AppIndex};
use crate::frame;
use crate::publication::Publication;
use crate::pusher::{SocketId, channel};

/// One event for the subscribers that one shard has of one channel.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Whose channel.
    pub app: AppIndex,
    /// The channel's name.
    pub channel: Arc<str>,
    /// The encoded frame, shared by all shards and outboxes.
    pub frame: frame::Shared,
    /// The connection that does not receive it.
    pub except: Option<SocketId>,
    /// Which subscribers it is new to.
    pub unheard: Unheard,
}

/// Which subscribers a delivery is new to. One who has just subscribed was told the state of the channel, which
/// may hold what is still on its way to its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unheard {
    /// All of them.
    ByAll,
    /// Those who were told the members as of an earlier change.
    AsMembership(Stamp),
    /// Those who were told the channel's last event as of an earlier one.
    AsLastEvent(Stamp),
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

    fn add(&mut self, shard: ShardIndex, delivery: Delivery) {
        if let Some(deliveries) = self.shards.get_mut(shard) {
            deliveries.push(delivery);
        }
    }
}

/// Delivers a publication of an app: remembers it for cache channels, encodes one frame per channel that anybody
/// here listens to, and puts it into the round of every shard with a subscriber.
pub fn deliver(app: &App, publication: &Publication<'_>, round: &mut Round) {
    for &name in &publication.channels {
        // Remembered first: who subscribes in between finds it there, and its stamp keeps it from coming twice.
        let unheard = match publication.data.to_be_remembered() {
            Some(data) if channel::is_cache(name) => {
                Unheard::AsLastEvent(app.cache.remember(name, publication.event, data))
            }
            _ => Unheard::ByAll,
        };
        let Some((channel, shards, readers)) = app.directory.shards(name) else { continue };
        let frame = app.shared(frame::event(publication.event, name, &publication.data), readers);
        for shard in shards.iter() {
            let (channel, frame) = (Arc::clone(&channel), frame.clone());
            let except = publication.except;
            round.add(shard, Delivery { app: app.index, channel, frame, except, unheard });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::Apps;
    use crate::config::Configuration;
    use crate::deflate::Deflater;
    use crate::publication::Data;

    #[test]
    fn a_frame_is_encoded_once_for_all_shards_and_only_for_those_that_listen() {
        let configured =
            r#"{"listen":"127.0.0.1:0","socket":"/s","apps":[{"id":"1","key":"a","secret":"x"}]}"#;
        let apps = Apps::new(Configuration::parse(configured, 1).unwrap().apps);
        let app = apps.by_id("1").unwrap();
        let name: Arc<str> = "news".into();
        for shard in [0, 63] {
            app.directory.subscribe(&name, shard, None, 0, false, |_| ()).unwrap();
        }
        let large = "x".repeat(2_000);
        let publication = Publication {
            channels: vec!["news", "quiet"],
            event: "e",
            data: Data::Text(&large),
            except: None,
        };
        let mut round = Round::new(64);
        deliver(&app, &publication, &mut round);
        let counts: Vec<usize> = round.shards.iter().map(Vec::len).collect();
        assert_eq!((counts[0], counts[63], counts.iter().sum::<usize>()), (1, 1, 2));
        let [here, there] = [0, 63].map(|shard| &round.shards[shard][0].frame);
        assert_eq!(here.plain().as_ptr(), there.plain().as_ptr());
        let deflated = here.deflated(&mut Deflater::default());
        assert_eq!(deflated.as_ptr(), there.deflated(&mut Deflater::default()).as_ptr());
        assert!(deflated.len() < here.plain().len());
        assert_eq!(round.shards[0][0].unheard, Unheard::ByAll);
    }
}
