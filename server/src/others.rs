//! What a node hears of other nodes, and when its own subscribers may hear it.
//!
//! Owns what becomes of a [`frame`] here: a publication is delivered to this node's subscribers, as if it had come in
//! here, but told to no other node. Owns too that a channel is *ready*: its first subscribers on this node are told that
//! they are subscribed when the broker has confirmed the channel's topic, so that they miss nothing afterwards. Where there is
//! more to say to a subscriber than the broker knows (who is a member elsewhere), the channel is ready when the node's
//! part in the fleet has read it.

use std::collections::BTreeMap;
use std::sync::Arc;

use fanfare_wire::record::NAME_BYTES_MAX;
use tracing::debug;

use crate::apps::{App, Standing as AppStanding};
use crate::broker::frame::{self, FrameError, Published};
use crate::broker::{Heard, Listener, Readiness, Standing, Topic, unreadable};
use crate::fleet::frames::Message;
use crate::fleet::store;
use crate::hub::delivery;
use crate::hub::{Herald as _, Round, ShardIndex};
use crate::node::{Flushed, Node};
use crate::pusher::channel;
use crate::shard::Post;

impl Node {
    /// The first subscriber of a channel is here: the node listens to its topic. Whether subscribers have to wait until
    /// the channel is ready.
    pub(crate) fn listen(&self, app: &App, channel: &Arc<str>) -> Readiness {
        if !self.broker.reaches_others() {
            return Readiness::Ready;
        }
        match self.broker.listen(Topic::channel(&app.id, channel)) {
            // What others say of it is to be read first, if there is somebody to ask.
            Readiness::Ready if self.reads(app, channel) => Readiness::Pending,
            readiness => readiness,
        }
    }

    /// Whether what other nodes say of a channel is going to be read; it is [ready](Self::make_ready) after that.
    fn reads(&self, app: &App, channel: &Arc<str>) -> bool {
        let has_more = self.shares(app, channel) || channel::is_cache(channel);
        has_more && self.part.get().is_some_and(|part| part.load(app, channel))
    }

    /// Somebody here watches a user: the node listens to what others say of it. Whether that is going to be read now;
    /// `None` where there are no others.
    pub(crate) fn listen_to_user(&self, app: &App, user_id: &Arc<str>) -> Option<bool> {
        let part = self.part.get()?;
        let channel = store::user_channel(user_id);
        match self.broker.listen(Topic::channel(&app.id, &channel)) {
            Readiness::Pending => Some(true),
            Readiness::Ready => Some(part.load(app, &channel)),
        }
    }

    /// Channels that do not wait for the broker any more, and are ready if there is nothing to be read about them.
    fn do_not_wait(&self, app: &App, channels: Vec<Arc<str>>) {
        let (users, channels): (Vec<_>, Vec<_>) =
            channels.into_iter().partition(|channel| store::user_of(channel).is_some());
        for channel in users {
            if !self.part.get().is_some_and(|part| part.load(app, &channel)) {
                self.answer_watchers(app, &channel);
            }
        }
        let ready: Vec<_> = channels.into_iter().filter(|channel| !self.reads(app, channel)).collect();
        self.make_ready(app, &ready);
    }

    /// Whoever waits to hear of a user that is watched is told what is known here.
    pub(crate) fn answer_watchers(&self, app: &App, channel: &str) {
        if let Some(user_id) = store::user_of(channel) {
            app.users.answer(user_id, |change| self.user_changed(app, change));
        }
    }

    /// The last one is gone.
    pub(crate) fn listen_no_longer(&self, app: &App, channel: &Arc<str>) {
        if self.broker.reaches_others() {
            self.broker.leave(&Topic::channel(&app.id, channel));
        }
    }

    /// Channels of an app have to wait no longer: those who have subscribed are told so, with the state as it is now.
    pub fn make_ready(&self, app: &App, channels: &[Arc<str>]) {
        let mut by_shard: BTreeMap<ShardIndex, Vec<Arc<str>>> = BTreeMap::new();
        let mut waited = Vec::new();
        for channel in channels {
            let shards = app.directory.make_ready(channel);
            if !shards.is_empty() {
                waited.push(channel);
            }
            for shard in shards.iter() {
                by_shard.entry(shard).or_default().push(Arc::clone(channel));
            }
        }
        for (shard, channels) in by_shard {
            self.send(shard, Post::Ready { app: app.index, channels });
        }
        // Only who waited was not told yet: a link that comes and goes is no news for the others.
        for channel in waited {
            self.tell_count_again(app, channel);
        }
    }

    /// Collects what a frame of another node comes to here.
    fn take_in(&self, heard: &Heard, round: &mut Round) -> Result<(), FrameError> {
        let (header, body) = frame::decode(&heard.frame)?;
        match header.kind {
            frame::PUBLICATION => self.deliver_of_other(&Published::decode(&header, body)?, round),
            kind if Message::has_kind(kind) => {
                if let Some(part) = self.part.get() {
                    part.hear(self, &heard.topic, &header, body);
                }
            }
            found => return Err(FrameError::Kind { found }),
        }
        Ok(())
    }

    fn deliver_of_other(&self, published: &Published<'_>, round: &mut Round) {
        // What the hub may assume is not another node's to break.
        if channel::judge(published.channel, NAME_BYTES_MAX).is_err() {
            return;
        }
        // An app that only others serve, because they were configured before this node.
        let Some(app) = self.apps.by_id(published.app) else { return };
        if app.settings().standing == AppStanding::Served {
            delivery::deliver(&app, &published.publication(), round);
        }
    }
}

impl Listener for Node {
    fn hear(&self, heard: &[Heard]) -> Option<Flushed> {
        let mut round = Round::new(self.shards());
        for heard in heard {
            if let Err(error) = self.take_in(heard, &mut round) {
                unreadable(&self.metrics, &heard.topic, &error);
            }
        }
        // No shard is the local one.
        self.post(&mut round, ShardIndex::MAX)
    }

    fn ready(&self, topics: &[Topic]) {
        let mut by_app: BTreeMap<&Arc<str>, Vec<Arc<str>>> = BTreeMap::new();
        for topic in topics {
            if let Topic::Channel { app, channel } = topic {
                by_app.entry(app).or_default().push(Arc::clone(channel));
            }
        }
        for (app, channels) in by_app {
            if let Some(app) = self.apps.by_id(app) {
                self.do_not_wait(&app, channels);
            }
        }
    }

    fn stands(&self, standing: &Standing) {
        debug!(?standing, "the broker");
        if let Some(part) = self.part.get() {
            // First, so that what is kept after this news is news itself.
            part.store_follows(self, standing);
            part.stands(standing);
        }
    }
}
