//! How nodes hear each other.
//!
//! Owns the way of a [`frame`] from the node that publishes it to every node that listens to its [`Topic`], and the
//! order of what a node is told: a topic is *confirmed* before anything is heard of it, and nothing that another
//! node publishes after that is missed while the broker stands. Two implementations, one suite of tests for both:
//! [`memory`] (one node, or several in one process) and [`redis`].
//!
//! Leaves to others what is in a frame, and what is delivered here: local delivery never passes through a broker.
//! May assume that a node listens to a topic only while it has a use for it, and that whoever calls may hold a lock:
//! nothing here waits, and [`Broker::listen`] and [`Broker::leave`] call nobody back.

pub mod frame;
pub mod memory;
pub mod redis;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tracing::warn;

use crate::entropy;
use crate::logs::Sparingly;
use crate::metrics::Metrics;
use crate::node::Flushed;

static UNREADABLE: Sparingly = Sparingly::new();

/// Names a process among all that ever join the fleet: drawn at random when it starts, so that a node that is
/// started again is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl NodeId {
    /// Draws one.
    ///
    /// # Errors
    /// As [`entropy::bytes`].
    pub fn draw() -> std::io::Result<Self> {
        Ok(Self(u64::from_ne_bytes(entropy::bytes()?)))
    }

    /// The first half of this process' socket ids: 53 bits, which a reader that takes numbers for doubles keeps whole,
    /// and of which a thousand nodes share two with a probability of one in ten thousand million.
    pub fn socket_id_half(self) -> u64 {
        self.0 >> 11
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What frames are published to, and nodes listen to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// One channel of one app: nodes with subscribers listen.
    Channel {
        /// The app's id.
        app: Arc<str>,
        /// The channel's name.
        channel: Arc<str>,
    },
    /// What is said to one node: that node listens.
    Node(NodeId),
    /// What is said to all: every node listens.
    Fleet,
}

impl Topic {
    /// The topic of a channel.
    pub fn channel(app: &Arc<str>, channel: &Arc<str>) -> Self {
        Self::Channel { app: Arc::clone(app), channel: Arc::clone(channel) }
    }
}

/// Whether a node that begins to listen to a topic has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Everything that is published from now on is heard; or nothing can be, because the broker is away.
    Ready,
    /// [`Listener::ready`] says when.
    Pending,
}

/// How a broker stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It has not been reached yet, and may be at any moment.
    Connecting,
    /// The other nodes are heard.
    Connected,
    /// Some or all of the other nodes are not heard: why.
    Away {
        /// For people, without a secret.
        reason: String,
    },
}

/// A frame as it is heard: of another node, and for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Where.
    pub topic: Topic,
    /// Its bytes, of which the header has been read; [`frame::decode`] reads it once more, with the rest.
    pub frame: Bytes,
}

/// Passes frames between nodes.
pub trait Broker: fmt::Debug + Send + Sync {
    /// Which node this is.
    fn node_id(&self) -> NodeId;

    /// Whether there can be other nodes. Where there are none, nothing needs to be encoded for them.
    fn reaches_others(&self) -> bool;

    /// Hands a frame to every other node that listens to the topic. Frames to one topic are heard in the order in
    /// which they are published. `frame` is what [`frame::begin`] began; the broker numbers it.
    fn publish(&self, topic: Topic, frame: Vec<u8>);

    /// This node begins to listen. To do so again changes nothing. It holds until [`leave`](Self::leave), whatever
    /// becomes of the broker meanwhile.
    fn listen(&self, topic: Topic) -> Readiness;

    /// This node listens no longer.
    fn leave(&self, topic: &Topic);

    /// How it stands.
    fn standing(&self) -> Standing;

    /// Since when the other nodes are heard, or are not, the reasons aside; `None` where there are none.
    fn standing_since(&self) -> Option<Instant>;
}

/// The node, as its broker knows it. Called by one thread at a time, which holds no lock: a listener may call its
/// broker while it is told something.
pub trait Listener: fmt::Debug + Send + Sync {
    /// Takes what has come, in order. The next is taken when that is flushed, where there is anything to wait for.
    fn hear(&self, heard: &[Heard]) -> Option<Flushed>;

    /// These topics, for which [`Broker::listen`] answered [`Readiness::Pending`], have to wait no longer: they are
    /// confirmed, or the broker is away.
    fn ready(&self, topics: &[Topic]);

    /// The broker stands otherwise than before. `Connected` comes when all topics are listened to again, before
    /// anything that was published after that: what was published while it was away may have been missed.
    fn stands(&self, standing: &Standing);
}

/// Counts a frame that this node does not read, and says so sparingly: it may be one of a later release.
pub(crate) fn unreadable(metrics: &Metrics, topic: &Topic, error: &frame::FrameError) {
    metrics.broker_unreadable_total.increment();
    if let Some(left_out) = UNREADABLE.permit(Instant::now()) {
        warn!(?topic, %error, left_out, "a frame of another node is ignored");
    }
}
