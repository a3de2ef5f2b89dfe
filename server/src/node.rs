//! One running server process: its apps, its hub, and the way from a publication to every shard.
//!
//! Owns step 5 of a broadcast: a node *publishes*. Ring, socket, and later the HTTP API and client events all
//! come in through [`Node::publish`]; nothing behind it can tell where a publication came from.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{Level, trace};

use crate::broker::memory::MemoryBroker;
use crate::config::{App, Configuration};
use crate::hub::{Directory, Round, ShardIndex};
use crate::lifecycle::Phase;
use crate::limits::Limits;
use crate::logs::{self, Sparingly};
use crate::metrics::Metrics;
use crate::publication::Publication;
use crate::shard::Post;

/// Which app of the configuration, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AppIndex(pub usize);

/// What all shards share.
#[derive(Debug)]
pub struct Node {
    /// The tenants.
    pub apps: Vec<App>,
    apps_by_key: HashMap<String, AppIndex>,
    /// What comes before `/app/{key}`.
    pub path: String,
    /// Users that may attach beside the server's own and root.
    pub socket_uids: Vec<u32>,
    /// The limits in force.
    pub limits: Limits,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Who is subscribed to what, shard by shard.
    pub directory: Arc<Directory>,
    broker: MemoryBroker,
    mailboxes: Vec<mpsc::UnboundedSender<Post>>,
    /// Where the server is in its life.
    pub phase: watch::Receiver<Phase>,
    /// The first half of this process' socket ids.
    pub process: u32,
    /// Keeps refused attachments from filling the log, one quota per refusal code.
    pub refusals: [Sparingly; 8],
    /// Keeps dropped publications from filling the log.
    pub rejections: Sparingly,
}

/// Held by every shard that a batch went to, and dropped when that shard has flushed it.
#[derive(Debug, Clone)]
pub struct Unflushed {
    /// Dropped with the last clone, which the other end of the channel notices.
    _sender: Arc<oneshot::Sender<()>>,
}

/// Resolves when every other shard has flushed the batch, or is gone.
#[derive(Debug)]
pub struct Flushed(oneshot::Receiver<()>);

impl Flushed {
    /// Waits.
    pub async fn wait(self) {
        // Nothing is ever sent: the error says that all senders are gone.
        let _ = self.0.await;
    }
}

impl Node {
    /// A node with one mailbox per shard.
    pub fn new(
        configuration: Configuration,
        mailboxes: Vec<mpsc::UnboundedSender<Post>>,
        phase: watch::Receiver<Phase>,
        process: u32,
    ) -> Self {
        let apps = configuration.apps;
        let indexed = apps.iter().enumerate();
        Self {
            apps_by_key: indexed.map(|(at, app)| (app.key.clone(), AppIndex(at))).collect(),
            directory: Arc::new(Directory::new(apps.len())),
            apps,
            path: configuration.path,
            socket_uids: configuration.socket_uids,
            limits: configuration.limits,
            metrics: Arc::default(),
            broker: MemoryBroker,
            mailboxes,
            phase,
            process,
            refusals: [const { Sparingly::new() }; 8],
            rejections: Sparingly::new(),
        }
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.mailboxes.len()
    }

    /// Finds the app that a client or a PHP process names.
    pub fn app_by_key(&self, key: &str) -> Option<AppIndex> {
        self.apps_by_key.get(key).copied()
    }

    /// The app at an index that [`Node::app_by_key`] gave.
    pub fn app(&self, index: AppIndex) -> &App {
        &self.apps[index.0]
    }

    /// Whether the server is on its way out.
    pub fn is_leaving(&self) -> bool {
        *self.phase.borrow() >= Phase::Draining
    }

    /// Publishes: writes the journal, tells the broker, and collects in `round` what is to be delivered here.
    pub fn publish(&self, app: AppIndex, publication: &Publication<'_>, round: &mut Round) {
        if tracing::enabled!(target: logs::PUBLICATION, Level::TRACE) {
            // Legal names hold no space.
            let channels = publication.channels.join(" ");
            trace!(
                target: logs::PUBLICATION,
                app = self.app(app).id,
                channels,
                event = publication.event,
                data = publication.data,
                "publication"
            );
        }
        self.broker.publish(&self.directory, app, publication, round);
    }

    /// Posts the round to every shard but `local`, whose deliveries stay in it. `None` when nothing was posted.
    pub fn post(&self, round: &mut Round, local: ShardIndex) -> Option<Flushed> {
        let mut pending: Option<(Unflushed, Flushed)> = None;
        for (shard, deliveries) in round.shards.iter_mut().enumerate() {
            if shard == local || deliveries.is_empty() {
                continue;
            }
            let (unflushed, _) = pending.get_or_insert_with(|| {
                let (sender, receiver) = oneshot::channel();
                (Unflushed { _sender: Arc::new(sender) }, Flushed(receiver))
            });
            // A shard that is gone has no connections left; the guard in the returned post is dropped with it.
            let post = Post::Deliver { deliveries: std::mem::take(deliveries), unflushed: unflushed.clone() };
            drop(self.mailboxes[shard].send(post));
        }
        pending.map(|(_, flushed)| flushed)
    }

    /// Hands something to a shard; whether it is still there.
    pub fn send(&self, shard: ShardIndex, post: Post) -> bool {
        self.mailboxes[shard].send(post).is_ok()
    }
}
