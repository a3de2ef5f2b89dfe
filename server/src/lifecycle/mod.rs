//! How the server starts, serves and leaves.
//!
//! Configuration (plain data) → [`bind`] (everything that can fail for want of the system) → serve → drain, with a
//! deadline. Owns signals, threads and the phases; what each phase means for connections and rings is theirs,
//! they watch [`Phase`]. While it serves, SIGHUP has the configuration read again.

pub mod bind;
mod reload;
mod signals;
mod terminal;

use std::future::Future;
use std::io;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::broker::memory::MemoryBroker;
use crate::broker::redis::{self, RedisBroker};
use crate::broker::{Broker, Listener, NodeId, Topic};
use crate::config::{Loaded, Source};
use crate::ending::Ending;
use crate::entropy;
use crate::fleet::{self, LeaseId, Part};
use crate::node::Node;
use crate::shard::{self, Equipment};
use crate::webhooks::{self, Webhooks};
use bind::{BindError, Bound};
use reload::Reload;
use signals::{Signals, Wish};
use terminal::Terminal;

/// Where the server is in its life. It only ever goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not all shards accept connections yet.
    Starting,
    /// Everything is as it should be.
    Serving,
    /// Nobody new is accepted; rings are drained once more and left to the successor.
    Draining,
    /// No ring is attached any more; clients are told to connect elsewhere.
    Closing,
    /// It is over.
    Stopped,
}

/// How long after the first signal a further one counts as its echo.
const ECHO_MAX: Duration = Duration::from_secs(1);

/// Why a server does not start, or ends without having been told to.
#[derive(Debug, Error)]
pub enum ServeError {
    /// An address or the socket cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system refused something else.
    #[error("cannot {action}: {source}")]
    System {
        /// What was attempted.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// Nobody could be told by webhook.
    #[error(transparent)]
    Webhooks(#[from] webhooks::StartError),
    /// Other nodes could not be heard.
    #[error(transparent)]
    Broker(#[from] redis::StartError),
    /// A shard ended on its own.
    #[error("shard {index} ended unexpectedly, see the log above; the others were stopped in good order")]
    Shard {
        /// Which one.
        index: usize,
    },
}

fn system(action: &'static str) -> impl FnOnce(io::Error) -> ServeError {
    move |source| ServeError::System { action, source }
}

/// One shard's thread, and what it tells.
struct Running {
    thread: JoinHandle<io::Result<()>>,
    ready: oneshot::Receiver<()>,
    detached: oneshot::Receiver<()>,
}

/// Serves until SIGTERM, SIGINT or SIGQUIT, then leaves in good order; a further signal, a second later or more,
/// ends it at once. On SIGHUP the configuration is read again from `source`, unless the terminal is closed, which
/// is a reason to leave; a server that follows its parent waits for the parent to leave.
///
/// # Errors
/// [`ServeError`] says what to do.
pub fn serve(loaded: Loaded, source: Source, follows_parent: bool) -> Result<(), ServeError> {
    let bound = bind::bind(&loaded.configuration)?;
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("set up the main thread"))?;
    // Before anything is served, so that an early signal is not the default's, which kills.
    let _guard = runtime.enter();
    let terminal = if follows_parent { Terminal::left_to_parent() } else { Terminal::of_this_process() };
    let signals = Signals::listen(terminal).map_err(system("listen for signals"))?;
    runtime.block_on(conduct(loaded, source, bound, signals))
}

async fn conduct(
    mut loaded: Loaded,
    source: Source,
    bound: Bound,
    mut signals: Signals,
) -> Result<(), ServeError> {
    let configuration = loaded.configuration.clone();
    let shards = configuration.shards;
    let apps = configuration.apps.len();
    let deadline = Duration::from_millis(configuration.limits.drain_timeout_ms as u64);
    let (phase, watching) = watch::channel(Phase::Starting);
    let (ended, mut endings) = mpsc::unbounded_channel();
    let Bound { listeners, addresses, socket } = bound;
    let (socket_listener, socket_file) = socket.split();
    // With the ports that the system chose; what is configured stays what a reload is compared with.
    loaded.configuration.listen.clone_from(&addresses);
    let tls = loaded.tls.is_some();
    let Started { node, mut running, telling, taking_part, publishing } =
        start_shards(loaded, listeners, socket_listener, watching, &ended)?;
    let reload = Reload::new(source, configuration, node);
    for index in 0..running.len() {
        if (&mut running[index].ready).await.is_err() {
            return Err(match running.swap_remove(index).thread.join() {
                // Mostly for want of descriptors: each shard needs a few of its own.
                Ok(Err(source)) => {
                    ServeError::System { action: "start a shard (see also ulimit -n)", source }
                }
                _ => ServeError::Shard { index },
            });
        }
    }
    phase.send_replace(Phase::Serving);
    let listen = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    info!(listen, tls, socket = %socket_file.path().display(), shards, apps, pid = std::process::id(), "serving");

    let failed = loop {
        tokio::select! {
            wish = signals.next() => match wish {
                Wish::Reload => reload.reload(),
                Wish::Leave(signal) => {
                    info!(signal, "leaving");
                    break None;
                }
            },
            Some(index) = endings.recv() => {
                error!(shard = index, "a shard ended unexpectedly; leaving");
                break Some(index);
            }
        }
    };
    // From here on PHP processes and a successor find nobody at the path.
    phase.send_replace(Phase::Draining);
    socket_file.remove();
    let told_at = Instant::now();
    let leave = async {
        let detached = running.iter_mut().map(|shard| &mut shard.detached);
        if !within(deadline, all(detached)).await {
            warn!(
                "PHP processes that did not detach in time are cut off; what they committed is the successor's"
            );
        }
        phase.send_replace(Phase::Closing);
        for _ in 0..shards - usize::from(failed.is_some()) {
            endings.recv().await;
        }
    };
    tokio::select! {
        // The shards keep the deadline for their clients; this one is for a shard that does not answer at all.
        () = async {
            within(deadline * 3, leave).await;
            // What it means for the others that everybody has left, and then for webhooks.
            if let Some(taking_part) = taking_part {
                taking_part.finish(deadline).await;
            }
            // That everybody has left is the last that there is to tell.
            telling.finish(deadline).await;
            if let Some(publishing) = publishing {
                publishing.finish(deadline).await;
            }
        } => {}
        signal = told_again(told_at, &mut signals) => warn!(signal, "told again; ending at once"),
    }
    for shard in running.into_iter().filter(|shard| shard.thread.is_finished()) {
        if let Ok(Err(error)) = shard.thread.join() {
            error!(%error, "a shard ended with an error");
        }
    }
    phase.send_replace(Phase::Stopped);
    info!("stopped");
    failed.map_or(Ok(()), |index| Err(ServeError::Shard { index }))
}

/// What serves from now on.
struct Started {
    node: Arc<Node>,
    running: Vec<Running>,
    telling: Ending,
    taking_part: Option<Ending>,
    publishing: Option<Ending>,
}

fn start_shards(
    loaded: Loaded,
    listeners: Vec<Vec<std::net::TcpListener>>,
    socket: std::os::unix::net::UnixListener,
    phase: watch::Receiver<Phase>,
    ended: &mpsc::UnboundedSender<usize>,
) -> Result<Started, ServeError> {
    let id = NodeId::draw().map_err(system("draw random bytes"))?;
    let (senders, mailboxes): (Vec<_>, Vec<_>) = listeners.iter().map(|_| mpsc::unbounded_channel()).unzip();
    let metrics = Arc::default();
    let configuration = loaded.configuration;
    let ca_file = configuration.webhook_ca_file.as_deref();
    let (webhooks, telling) = Webhooks::start(&configuration.limits, ca_file, Arc::clone(&metrics))?;
    let (broker, unstarted): (Arc<dyn Broker>, _) = match configuration.redis.clone() {
        None => (Arc::new(MemoryBroker::alone(id)), None),
        Some(redis) => {
            let (broker, unstarted) = RedisBroker::new(id, redis, &configuration.limits, &metrics)?;
            (Arc::new(broker), Some(unstarted))
        }
    };
    let node = Arc::new(Node::new(configuration, senders, phase, metrics, webhooks, broker));
    node.broker.listen(Topic::Fleet);
    node.broker.listen(Topic::Node(id));
    let listener: Weak<dyn Listener> = Arc::downgrade(&(Arc::clone(&node) as Arc<dyn Listener>));
    let mut taking_part = None;
    if let Some(unstarted) = &unstarted {
        let random = entropy::bytes().map_err(system("draw random bytes"))?;
        let lease = LeaseId::first(u64::from_ne_bytes(random));
        let span = Duration::from_millis(node.limits.lease_ms as u64);
        // Before anybody subscribes, and before the broker tells anything.
        let part = Arc::clone(node.part.get_or_init(|| Arc::new(Part::new(lease, span))));
        let started = fleet::conduct::start(part, Arc::clone(&node), unstarted.commander());
        taking_part = Some(started.map_err(system("start the fleet's thread (see also ulimit -n)"))?);
    }
    let publishing = unstarted.map(|unstarted| unstarted.start(listener)).transpose()?;
    node.tls.store(loaded.tls);
    let mut socket = Some(socket);
    let equipped = listeners.into_iter().zip(mailboxes).enumerate();
    let running = equipped
        .map(|(index, (listeners, mailbox))| {
            let (ready_sender, ready) = oneshot::channel();
            let (detached_sender, detached) = oneshot::channel();
            let equipment = Equipment {
                index,
                node: Arc::clone(&node),
                listeners,
                socket: socket.take(),
                mailbox,
                ready: ready_sender,
                detached: detached_sender,
            };
            let leaving = Leaving { index, ended: ended.clone() };
            let thread = std::thread::Builder::new()
                .name(format!("shard-{index}"))
                .spawn(move || {
                    let _leaving = leaving;
                    shard::run(equipment)
                })
                .map_err(system("start a shard's thread"))?;
            Ok(Running { thread, ready, detached })
        })
        .collect::<Result<_, ServeError>>()?;
    Ok(Started { node, running, telling, taking_part, publishing })
}

/// Says that a shard's thread has ended, by a panic too.
struct Leaving {
    index: usize,
    ended: mpsc::UnboundedSender<usize>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        // Nobody listening means that the process is ending.
        let _ = self.ended.send(self.index);
    }
}

async fn all<'a>(detached: impl Iterator<Item = &'a mut oneshot::Receiver<()>>) {
    for shard in detached {
        // An error is a shard that has ended, which is as detached as can be.
        let _ = shard.await;
    }
}

/// The next signal that is not an echo of the first. A supervisor signals a whole process group, and what started
/// the server passes its own signal on: that is one wish, heard twice.
async fn told_again(told_at: Instant, signals: &mut Signals) -> &'static str {
    loop {
        match signals.next().await {
            Wish::Leave(signal) if told_at.elapsed() >= ECHO_MAX => return signal,
            // Who is leaving has no use for another configuration.
            Wish::Leave(_) | Wish::Reload => {}
        }
    }
}

/// Whether something was done in time.
async fn within(deadline: Duration, done: impl Future<Output = ()>) -> bool {
    tokio::time::timeout(deadline, done).await.is_ok()
}

/// Every connection is a descriptor, and the soft limit is mostly 1,024 for programs that cannot bear more.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) =
            setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        warn!(%error, current = limit.current, "cannot raise the limit of open files; raise it with ulimit -n");
    }
}
