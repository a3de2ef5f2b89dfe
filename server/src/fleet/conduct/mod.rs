//! The thread of the fleet: keeps the lease, says what is due, asks for what is wanted, and reaps what the dead leave.
//!
//! Owns the link to Redis over which facts are kept, and that it is made anew whenever it fails or the broker was away:
//! then another lease is taken, everything is said again under it, and the one before is given back. One thing at a
//! time, in order, and none of them for so long that the lease is not renewed meanwhile. Three things it leaves to:
//!
//! `saying`: what is true here is written, and published afterwards, so a snapshot that was asked for after a word was
//! heard has that word. `reaping`: what a lease has left is removed. `settling`: webhooks are told what that means.

mod reaping;
mod saying;
mod settling;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{ErrorKind, RedisError, RedisResult};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tracing::{debug, info, warn};

use self::reaping::Reaping;
use self::settling::Waiting;
use super::frames::{About, Message};
use super::lease::{RollCall, renewal};
use super::part::Part;
use super::store::{Holding, Key, Roll, Store, user_of};
use super::{LeaseId, Ledger};
use crate::apps::App;
use crate::broker::{Standing, Topic};
use crate::ending::{Ending, Finish};
use crate::node::Node;
use crate::pause::Pause;
use crate::pusher::channel;

/// Channels that are read, reaped or settled in one round.
const LOADS_MAX: usize = 64;
/// Between the first two attempts to reach Redis.
const PAUSE: Duration = Duration::from_millis(100);

/// Reaches Redis.
pub trait Dial: fmt::Debug {
    /// A connection for commands.
    type Connection: ConnectionLike;

    /// Connects.
    fn dial(&self) -> impl Future<Output = RedisResult<Self::Connection>>;

    /// What every key begins with.
    fn prefix(&self) -> &str;
}

/// Why a link is no longer served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The broker was away.
    Away,
    /// The node leaves.
    Finished,
}

/// What outlives a link.
#[derive(Debug)]
struct Conduct<'a> {
    part: &'a Arc<Part>,
    node: &'a Arc<Node>,
    /// None at first.
    lease: Option<LeaseId>,
    /// The last one that this node has tried to take. None is tried twice: it may have run out meanwhile.
    tried: LeaseId,
    /// Whether nothing can have been written under it: then it is kept when the link is made anew.
    lease_is_blank: bool,
    holding: Holding,
    /// Whether all say again what they know, because data was lost.
    regroups: bool,
    /// Leases of this node that are to be given back when everything is said.
    old: Vec<LeaseId>,
    /// Whether there were such leases, and the ledger was not told that they are given back.
    gives_back: bool,
    /// Whether everything was said and read over the present link.
    all_was_said: bool,
    /// Leases of others that have left something, which is to be removed, and channels where it was seen.
    left_behind: BTreeMap<LeaseId, BTreeSet<Key>>,
    /// Where something was written since the lease was certainly held.
    uncertain: BTreeSet<Key>,
    /// The same of leases before, and when they are to be reaped for it.
    leftovers: Vec<(Instant, LeaseId, BTreeSet<Key>)>,
    reaping: Option<Reaping>,
    waiting: Waiting,
    /// Tells tokens of one lease apart.
    reaped: u64,
}

/// Starts the thread. At its end it says what is still to be said, and gives the lease back.
///
/// # Errors
/// When the system refuses it, or descriptors for its runtime.
pub fn start(part: Arc<Part>, node: Arc<Node>, dial: impl Dial + Send + 'static) -> io::Result<Ending> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (finish, mut finishing) = oneshot::channel();
    let thread = std::thread::Builder::new().name("fleet".to_owned()).spawn(move || {
        runtime.block_on(conduct(&part, &node, dial, &mut finishing));
        runtime.shutdown_background();
    })?;
    Ok(Ending::new(finish, thread))
}

/// Plays the node's part in the fleet, until it is to end.
async fn conduct(
    part: &Arc<Part>,
    node: &Arc<Node>,
    dial: impl Dial,
    finishing: &mut oneshot::Receiver<Finish>,
) {
    let mut conduct = Conduct {
        part,
        node,
        lease: None,
        tried: part.ledger.lock().unwrap_or_else(PoisonError::into_inner).lease(),
        lease_is_blank: false,
        holding: Holding::default(),
        regroups: false,
        old: Vec::new(),
        gives_back: false,
        all_was_said: false,
        left_behind: BTreeMap::new(),
        uncertain: BTreeSet::new(),
        leftovers: Vec::new(),
        reaping: None,
        waiting: Waiting::default(),
        reaped: 0,
    };
    let most = Duration::from_millis(node.limits.redis_reconnect_ms as u64);
    let mut standing = part.standing();
    let mut pause = Pause::new(PAUSE, most);
    let mut complaint = String::new();
    loop {
        tokio::select! {
            // The sender is the part's, which outlives this.
            _ = standing.wait_for(|count| count % 2 == 1) => {}
            // There is nobody to tell.
            _ = &mut *finishing => return,
        }
        let ended = match dial.dial().await {
            Ok(connection) => {
                conduct.serve(Store::new(connection, dial.prefix()), &mut standing, finishing).await
            }
            Err(error) => Err(error),
        };
        conduct.let_go();
        if std::mem::take(&mut conduct.all_was_said) {
            pause.reset();
            complaint.clear();
        }
        match ended {
            Ok(Ended::Away) => {}
            Ok(Ended::Finished) => return,
            Err(error) => {
                let reason = in_its_words(&error);
                // Once, and not with every attempt.
                if reason == complaint {
                    debug!(error = reason, "the facts of the fleet still cannot be kept in Redis");
                } else {
                    warn!(error = reason, "the facts of the fleet cannot be kept in Redis; trying again");
                    complaint.clone_from(&reason);
                }
                part.store_stands(node, Standing::Away { reason });
                tokio::select! {
                    () = tokio::time::sleep(pause.draw()) => {}
                    _ = &mut *finishing => return,
                }
            }
        }
    }
}

/// What Redis says, word by word: what to do is found by that.
fn in_its_words(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

/// Everything is said again over another link.
fn lost() -> RedisError {
    RedisError::from((ErrorKind::Io, "expected what was written before, but Redis has lost data"))
}

impl Conduct<'_> {
    /// There is no link any more: nobody waits for it.
    fn let_go(&mut self) {
        self.part.link_is_down();
        if let Some(lease) = self.lease {
            // What is on its way to Redis may arrive until the lease has run out, and as long after as a word may.
            self.is_in_doubt(lease, Instant::now() + self.part.span * 5 / 2);
        }
        // Somebody else goes on, or this node later.
        self.reaping = None;
        for app in self.node.apps.known() {
            for channel in Part::all(&app) {
                self.go_on(&app, channel);
            }
        }
    }

    /// Until the link fails, or the broker was away and may have missed something.
    async fn serve<C: ConnectionLike>(
        &mut self,
        mut store: Store<C>,
        standing: &mut watch::Receiver<u64>,
        finishing: &mut oneshot::Receiver<Finish>,
    ) -> RedisResult<Ended> {
        standing.mark_unchanged();
        let (loads, mut loading) = mpsc::unbounded_channel();
        self.part.link_is_up();
        let lease = self.begin(&mut store).await?;
        self.part.ask_through(Some(loads));
        let ended = self.keep_up(&mut store, lease, standing, finishing, &mut loading).await;
        self.part.ask_through(None);
        while let Ok(key) = loading.try_recv() {
            if let Some(app) = self.node.apps.by_id(&key.app) {
                self.go_on(&app, key.channel);
            }
        }
        ended
    }

    async fn keep_up<C: ConnectionLike>(
        &mut self,
        store: &mut Store<C>,
        mut lease: LeaseId,
        standing: &mut watch::Receiver<u64>,
        finishing: &mut oneshot::Receiver<Finish>,
        loading: &mut mpsc::UnboundedReceiver<Key>,
    ) -> RedisResult<Ended> {
        for app in self.node.apps.known() {
            for channel in Part::all(&app) {
                self.part.load(&app, &channel);
            }
        }
        // What was told over the link before is not told again.
        self.clear(store, lease).await?;
        let mut looks = tokio::time::interval(renewal(self.part.span));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wanted = Vec::new();
        loop {
            // Not before all are heard again: what was told before may still hold.
            let settled = self.waiting.next_is_due().filter(|_| !self.regroups);
            tokio::select! {
                biased;
                finish = &mut *finishing => {
                    if let Ok(Finish { within, done }) = finish {
                        match timeout(within, self.finish(store, lease)).await {
                            Ok(Ok(())) => {}
                            Ok(Err(error)) => {
                                let reason = in_its_words(&error);
                                warn!(error = reason, "what this node was to say last is left to the others");
                            }
                            Err(_) => warn!("what this node was to say last took too long; it is left to the others"),
                        }
                        // Nobody waiting means that time is up.
                        let _ = done.send(());
                    }
                    return Ok(Ended::Finished);
                }
                _ = standing.changed() => return Ok(Ended::Away),
                _ = looks.tick() => lease = self.look(store, lease).await?,
                _ = loading.recv_many(&mut wanted, LOADS_MAX) => self.read(store, lease, &mut wanted).await?,
                () = tokio::time::sleep_until(settled.unwrap_or_else(Instant::now)), if settled.is_some() => {}
                () = self.part.due.notified() => {}
            }
            // The lease is renewed when this has gone on for a while, whatever is left.
            let began = Instant::now();
            if !self.regroups {
                // Before what is said now: webhooks are told in the order in which it happened.
                self.settle(store, lease, began).await?;
            }
            let all_is_said = self.speak(store, lease, began).await?;
            self.reap_some(store, lease, all_is_said, began).await?;
            if loading.is_empty() {
                self.part.has_caught_up();
                // Not before everything is said and read: until then there is something that Redis may refuse.
                if all_is_said {
                    if !std::mem::replace(&mut self.all_was_said, true) {
                        info!(%lease, "this node has its place in the fleet");
                    }
                    self.part.store_stands(self.node, Standing::Connected);
                }
            }
        }
    }

    /// The last that this node says: nobody is left here. What waits to settle is left to the others, since clients may
    /// be coming back to them; the last of all tells it, with what those before it have left.
    async fn finish<C: ConnectionLike>(
        &mut self,
        store: &mut Store<C>,
        mut lease: LeaseId,
    ) -> RedisResult<()> {
        while !self.speak(store, lease, Instant::now()).await? {
            lease = self.look(store, lease).await?;
        }
        self.tell_all_counts(store).await?;
        self.publish(Topic::Fleet, &Message::LeaseEnded(lease));
        let Some(run_out) = store.leave(lease).await? else { return Ok(()) };
        // No words are sent any more, so that the lease need not be held.
        let mut reaped: Vec<LeaseId> = std::mem::take(&mut self.old);
        reaped.extend(run_out);
        reaped.push(lease);
        for dead in &reaped {
            self.reap_all(store, lease, *dead).await?;
        }
        while !self.waiting.is_settled() {
            self.waiting.is_due_now();
            self.settle(store, lease, Instant::now()).await?;
        }
        self.tell_all_counts(store).await?;
        // Not before everything is told: else nobody would find it.
        for dead in reaped {
            store.bury(dead).await?;
        }
        Ok(())
    }

    /// Over a new link: takes a lease, or keeps the one under which nothing was said.
    async fn begin<C: ConnectionLike>(&mut self, store: &mut Store<C>) -> RedisResult<LeaseId> {
        if let Some(lease) = self.lease.filter(|_| self.lease_is_blank) {
            let call = self.part.call_roll();
            let roll = store.hold(lease, lease, self.part.span, &self.holding).await?;
            if roll.held && !roll.lost {
                self.hold(&roll);
                self.part.begin(lease, false);
                self.take_roll(call, &roll);
                return Ok(lease);
            }
        }
        self.take_lease(store).await
    }

    async fn take_lease<C: ConnectionLike>(&mut self, store: &mut Store<C>) -> RedisResult<LeaseId> {
        self.tried = self.tried.next();
        let lease = self.tried;
        // Held before anything is said under it.
        let call = self.part.call_roll();
        let before = self.lease.unwrap_or(LeaseId(0));
        let roll = store.hold(lease, before, self.part.span, &self.holding).await?;
        if roll.lost {
            warn!("Redis has lost its data; this node says again what it knows");
            self.grieve();
        }
        // Those that have been reaped need not be given back.
        self.old.extend(self.lease);
        self.old.retain(|old| roll.living().contains(old) || roll.run_out.contains(old));
        if roll.lost || !roll.living().contains(&before) {
            // The others' leases may have run out, or be lost, as this one is.
            self.part.spare_all();
        }
        self.gives_back = true;
        self.lease = Some(lease);
        self.lease_is_blank = true;
        self.part.begin(lease, roll.lost);
        self.hold(&roll);
        self.take_roll(call, &roll);
        self.part.due.notify_one();
        Ok(lease)
    }

    /// Renews the lease, or takes another when it has run out, and looks who else lives.
    async fn look<C: ConnectionLike>(
        &mut self,
        store: &mut Store<C>,
        lease: LeaseId,
    ) -> RedisResult<LeaseId> {
        let call = self.part.call_roll();
        let roll = store.hold(lease, lease, self.part.span, &self.holding).await?;
        if roll.lost {
            return Err(lost());
        }
        if !roll.held {
            warn!(%lease, "this node's lease ran out: the others took it for dead; it comes back under another");
            self.node.metrics.fleet_leases_lost_total.increment();
            self.is_in_doubt(lease, Instant::now());
            return self.take_lease(store).await;
        }
        self.hold(&roll);
        self.take_roll(call, &roll);
        Ok(lease)
    }

    fn hold(&mut self, roll: &Roll) {
        self.uncertain.clear();
        self.holding = roll.holding.clone();
        self.regroups = roll.regroups;
    }

    fn take_roll(&mut self, call: RollCall, roll: &Roll) {
        let dead = self.part.take_roll(self.node, call, roll);
        if dead > 0 {
            info!(leases = dead, "nodes are dead: their members are removed");
        }
        for lease in &roll.run_out {
            self.left_behind.entry(*lease).or_default();
        }
    }

    /// Reads what is wanted, and lets go whoever waits for it.
    async fn read<C: ConnectionLike>(
        &mut self,
        store: &mut Store<C>,
        lease: LeaseId,
        wanted: &mut Vec<Key>,
    ) -> RedisResult<()> {
        let mut keys: Vec<(Key, Arc<App>)> = Vec::new();
        for key in wanted.drain(..) {
            let Some(app) = self.node.apps.by_id(&key.app) else { continue };
            if keys.iter().any(|(known, _)| *known == key) {
                continue;
            }
            // From here on words are held.
            if Part::begin_to_load(&app, &key.channel) {
                keys.push((key, app));
            } else if channel::is_cache(&key.channel) {
                self.borrow(app, key.channel);
            } else {
                self.go_on(&app, key.channel);
            }
        }
        if keys.is_empty() {
            return Ok(());
        }
        let call = self.part.call_roll();
        let names: Vec<Key> = keys.iter().map(|(key, _)| key.clone()).collect();
        let (snapshots, roll) = store.snapshots(&names, lease, self.part.span, &self.holding).await?;
        if roll.lost {
            return Err(lost());
        }
        let living: HashSet<LeaseId> = roll.living().iter().copied().collect();
        for ((key, app), snapshot) in keys.into_iter().zip(snapshots) {
            let dead =
                snapshot.owners.iter().map(|owner| owner.lease).filter(|lease| !living.contains(lease));
            for lease in dead {
                self.left_behind.entry(lease).or_default().insert(key.clone());
            }
            if self.part.take(self.node, &key, snapshot, &living) {
                self.part.want(key.clone());
            }
            if channel::is_cache(&key.channel) {
                self.borrow(app, key.channel);
                continue;
            }
            self.go_on(&app, key.channel);
        }
        if roll.held {
            // Else the next look takes another lease.
            self.hold(&roll);
            self.take_roll(call, &roll);
        }
        Ok(())
    }

    /// Whoever waits for a channel, or to hear of a user, waits no longer.
    fn go_on(&self, app: &App, channel: Arc<str>) {
        if user_of(&channel).is_some() {
            self.node.answer_watchers(app, &channel);
        } else {
            self.node.make_ready(app, &[channel]);
        }
    }

    /// Asks the others for the last event of a cache channel; whoever waits here is told after that.
    fn borrow(&self, app: Arc<App>, name: Arc<str>) {
        let (part, node) = (Arc::clone(self.part), Arc::clone(self.node));
        tokio::spawn(async move {
            let within = Duration::from_millis(node.limits.fleet_answer_timeout_ms as u64);
            let told = part.ask(&node, &app, About::Channel(name.to_string()), within).await;
            if let Some((event, data, left_ms)) = told.answer.last {
                app.cache.borrow(&name, &event, &data, Duration::from_millis(left_ms));
            }
            node.make_ready(&app, &[name]);
        });
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger<Key>> {
        self.part.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, topic: Topic, message: &Message) {
        self.node.broker.publish(topic, message.encode(self.node.broker.node_id()));
    }
}
