//! The broker of several nodes: Redis or Valkey, as a single server, behind Sentinels, or as a cluster.
//!
//! Owns a thread with a runtime of its own, the only one that talks to Redis. Shards hand it frames through
//! `outbound`, bounded in bytes and in time, and set which `topics` are wanted; both take a lock for a moment and
//! never wait for Redis. `conductor` is the thread: it keeps one `link` per primary, tells Redis what is wanted,
//! publishes in batches, and hears through `intake`. `keys` is what things are called, `layout` which server
//! has what.
//!
//! Topics are classic channels (PUBLISH, SUBSCRIBE) on a single server, and sharded ones (SPUBLISH, SSUBSCRIBE) in a
//! cluster, where every other way would send everything to every server.
//!
//! Delivery to other nodes is at most once. A frame of which it is not certain that Redis has taken it is published
//! again, and heard once by its number. While Redis is away nothing of others is heard, and what this node has to
//! tell waits; after that it is held back for a moment, until the other nodes are there again too.

mod commands;
mod conductor;
mod intake;
mod keys;
mod layout;
mod link;
mod outbound;
mod topics;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::oneshot;
use tokio_rustls::rustls;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{Broker, Listener, NodeId, Readiness, Standing, Topic};
use crate::config;
use crate::ending::Ending;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::webhooks::{CaError, read_authorities};
pub use commands::Commander;
use conductor::Equipment;
use keys::Keys;
use outbound::Outbound;
use topics::Topics;

/// The shards' end.
#[derive(Debug)]
pub struct RedisBroker {
    id: NodeId,
    keys: Keys,
    shared: Arc<Shared>,
}

/// What the shards and the thread share.
#[derive(Debug)]
struct Shared {
    outbound: Outbound,
    topics: Mutex<Topics>,
    standing: Mutex<Standing>,
    /// When it became connected, or stopped being so.
    turned: Mutex<Instant>,
}

impl Shared {
    fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turned(&self) -> MutexGuard<'_, Instant> {
        self.turned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread before it has somebody to tell.
#[derive(Debug)]
pub struct Unstarted {
    equipment: Equipment,
}

/// Why there is no broker.
#[derive(Debug, Error)]
pub enum StartError {
    /// The file of certificates.
    #[error(transparent)]
    Authorities(#[from] CaError),
    /// TLS cannot be had at all.
    #[error("TLS to Redis cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The system refuses a thread or its descriptors.
    #[error("cannot start the broker's thread (see also ulimit -n): {0}")]
    System(#[from] io::Error),
}

impl RedisBroker {
    /// A broker, whose thread is to be started.
    ///
    /// # Errors
    /// [`StartError`] says what to do. That Redis cannot be reached is none: it is tried for as long as it takes.
    pub fn new(
        id: NodeId,
        redis: config::Redis,
        limits: &Limits,
        metrics: &Arc<Metrics>,
    ) -> Result<(Self, Unstarted), StartError> {
        let keys = Keys::new(&redis.prefix, redis.topology == config::redis::Topology::Cluster);
        let tls = if redis.tls { Some(Arc::new(tls(&redis)?)) } else { None };
        let shared = Arc::new(Shared {
            outbound: Outbound::new(limits.redis_buffer_bytes_max, Arc::clone(metrics)),
            topics: Mutex::new(Topics::new(keys.clone())),
            standing: Mutex::new(Standing::Connecting),
            turned: Mutex::new(Instant::now()),
        });
        let equipment = Equipment {
            id,
            redis,
            tls,
            keys: keys.clone(),
            limits: limits.clone(),
            metrics: Arc::clone(metrics),
            shared: Arc::clone(&shared),
        };
        Ok((Self { id, keys, shared }, Unstarted { equipment }))
    }

    fn news(&self, is_new: bool) {
        if is_new {
            self.shared.outbound.news.notify_one();
        }
    }
}

fn tls(redis: &config::Redis) -> Result<ClientConfig, StartError> {
    let mut roots = RootCertStore::empty();
    // Those that the system has and that cannot be read are nobody's here; without any, the handshake says so.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let authorities: Vec<CertificateDer<'static>> = redis
        .ca_file
        .as_deref()
        .map(|path| read_authorities(path, "redis.ca_file"))
        .transpose()?
        .unwrap_or_default();
    roots.add_parsable_certificates(authorities);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

impl Unstarted {
    /// The way to Redis for whoever keeps something there.
    pub fn commander(&self) -> Commander {
        let Equipment { redis, tls, limits, keys, .. } = &self.equipment;
        let within = Duration::from_millis(limits.redis_timeout_ms as u64);
        Commander::new(redis.clone(), tls.clone(), within, keys.clone())
    }

    /// Starts the thread, which tells `listener` for as long as that lives; at its end it publishes what waits, and holds
    /// nothing back any more.
    ///
    /// # Errors
    /// The system refuses a thread or its descriptors.
    pub fn start(self, listener: Weak<dyn Listener>) -> Result<Ending, StartError> {
        let (finish, finishing) = oneshot::channel();
        let thread = conductor::start(self.equipment, listener, finishing)?;
        Ok(Ending::new(finish, thread))
    }
}

impl Broker for RedisBroker {
    fn node_id(&self) -> NodeId {
        self.id
    }

    fn reaches_others(&self) -> bool {
        true
    }

    fn publish(&self, topic: Topic, frame: Vec<u8>) {
        let key = self.keys.key(&topic);
        let slot = self.keys.slot(&key);
        self.shared.outbound.push(key, slot, frame);
    }

    fn listen(&self, topic: Topic) -> Readiness {
        let (readiness, is_new) = self.shared.topics().listen(topic);
        self.news(is_new);
        readiness
    }

    fn leave(&self, topic: &Topic) {
        let is_new = self.shared.topics().leave(topic);
        self.news(is_new);
    }

    fn standing(&self) -> Standing {
        self.shared.standing().clone()
    }

    fn standing_since(&self) -> Option<Instant> {
        Some(*self.shared.turned())
    }
}
