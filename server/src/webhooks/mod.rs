//! Webhooks: what happens in an app is told to its URLs, as Pusher does, and to its listener on this host.
//!
//! Owns the way from a shard's notice to an HTTP request or a listener's connection, all of it on one thread of its own:
//! [`Webhooks::notify`] puts an event into a bounded queue and returns at once, whatever the endpoints do. Leaves to
//! the callers when something is worth telling, and that it is told once, not once per shard or node.
//!
//! `queue` takes events from the shards, `settle` holds those that may be undone within moments, `backlog` is
//! what waits for one endpoint and makes batches of it, `deliver` tries until they are accepted, and `sender` is
//! one attempt; `inbox` is what waits for a listener, and `listener` the conversation with it. `engine` is the thread.

mod backlog;
mod deliver;
mod endpoint;
mod engine;
mod event;
mod inbox;
mod listener;
mod queue;
mod sender;
mod settle;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use endpoint::{AppHooks, Endpoint, ExtraHeader, Filter, Unusable, Url};
pub use event::{Event, EventKind, EventKinds};
pub(crate) use listener::Newcomer;
pub use sender::CaError;
pub(crate) use sender::read_authorities;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::ending::Ending;
use crate::limits::Limits;
use crate::metrics::Metrics;
use engine::{Equipment, Word};
use queue::Queue;

/// The sending side that shards use. Cheap to clone; never blocks.
#[derive(Debug, Clone)]
pub struct Webhooks {
    queue: Queue,
    words: mpsc::UnboundedSender<Word>,
}

/// Why the thread does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The file of certificates.
    #[error(transparent)]
    Authorities(#[from] CaError),
    /// The system refuses a thread or its descriptors.
    #[error("cannot start the webhooks' thread (see also ulimit -n): {0}")]
    System(#[from] io::Error),
}

impl Webhooks {
    /// Starts the thread. Https endpoints may have a certificate of an authority in `ca_file` (PEM), beside those of
    /// the system. At its end it sends what waits, for its opposite or for company too.
    ///
    /// # Errors
    /// [`StartError`] says what to do.
    pub fn start(
        limits: &Limits,
        ca_file: Option<&Path>,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Ending), StartError> {
        let authorities =
            ca_file.map(|path| read_authorities(path, "webhook_ca_file")).transpose()?.unwrap_or_default();
        let (queue, notices) = Queue::new(limits.webhook_queue_bytes_max, Arc::clone(&metrics));
        let (finish, finishing) = oneshot::channel();
        let (words, heard) = mpsc::unbounded_channel();
        let limits = limits.clone();
        let thread = engine::start(Equipment {
            limits,
            metrics,
            authorities,
            notices,
            words: heard,
            finish: finishing,
        })?;
        Ok((Self { queue, words }, Ending::new(finish, thread)))
    }

    /// Without a thread: what is told, nobody hears.
    pub(crate) fn unheard(limits: &Limits, metrics: Arc<Metrics>) -> Self {
        let (queue, _) = Queue::new(limits.webhook_queue_bytes_max, metrics);
        Self { queue, words: mpsc::unbounded_channel().0 }
    }

    /// Tells `event` to those of the app's endpoints that want it. When the queue is full the event is dropped and
    /// counted.
    pub fn notify(&self, hooks: &Arc<AppHooks>, event: Event) {
        if hooks.wants(event.kind()) {
            self.queue.notify(hooks, event, false);
        }
    }

    /// The same with an event that has settled already: it is not held for its opposite, nor undoes it.
    pub fn notify_settled(&self, hooks: &Arc<AppHooks>, event: Event) {
        if hooks.wants(event.kind()) {
            self.queue.notify(hooks, event, true);
        }
    }

    /// Takes over a connection of somebody who may listen. Once the server leaves it is closed.
    pub(crate) fn attend(&self, newcomer: Newcomer) {
        // An error is a thread that has ended; the connection is closed with it.
        let _ = self.words.send(Word::Newcomer(newcomer));
    }

    /// Tells what is configured for the apps that are served, so that who may not listen any more is told so.
    pub(crate) fn configured(&self, served: Vec<Arc<AppHooks>>) {
        let _ = self.words.send(Word::Configured(served));
    }
}
