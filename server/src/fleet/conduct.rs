//! The thread of the fleet: keeps the lease, says what is due, asks for what is wanted, and reaps what the dead leave.
//!
//! Owns the link to Redis over which facts are kept, and that it is made anew whenever it fails or the broker was away:
//! then another lease is taken, everything is said again under it, and the one before is given back. Facts are written
//! first and published afterwards, so a snapshot that was asked for after a word was heard has that word. One thing at
//! a time, in order; only the words of one round may be many.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{ErrorKind, RedisError, RedisResult};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};

use super::frames::{About, Message};
use super::ledger::Again;
use super::part::Part;
use super::store::{Effect, FleetTurn, Holding, Key, Saying, Store, reaping_token, token, user_of};
use super::{LeaseId, Ledger};
use crate::apps::App;
use crate::broker::{Standing, Topic};
use crate::entropy;
use crate::node::Node;
use crate::pusher::channel;

/// Words of one round, and what one of them holds at most.
const WORDS_MAX: usize = 64;
const CHANGES_MAX: usize = 256;
const WORD_BYTES_MAX: usize = 64 * 1024;
/// Channels that are read, reaped or settled in one round.
const LOADS_MAX: usize = 64;
/// Between two attempts to reach Redis.
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Reaches Redis.
pub trait Dial: fmt::Debug {
    /// A connection for commands.
    type Connection: ConnectionLike;

    /// Connects.
    fn dial(&self) -> impl Future<Output = RedisResult<Self::Connection>>;

    /// What every key begins with.
    fn prefix(&self) -> &str;
}

/// Something that waits to be told to webhooks: a removal, or while all regroup whatever it is.
#[derive(Debug)]
struct Settling {
    due: Instant,
    key: Key,
    turn: FleetTurn,
    token: String,
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
    lease: LeaseId,
    holding: Holding,
    /// Whether all say again what they know, because data was lost.
    regroups: bool,
    /// Leases of this node that are to be given back when everything is said.
    old: Vec<LeaseId>,
    /// Leases of others that have left something, which is to be removed.
    left_behind: BTreeSet<LeaseId>,
    settling: VecDeque<Settling>,
    /// Tells tokens of one lease apart.
    reaped: u64,
}

/// Draws the number of a lease.
///
/// # Errors
/// As [`entropy::bytes`].
pub fn draw_lease() -> io::Result<LeaseId> {
    Ok(LeaseId(u64::from_ne_bytes(entropy::bytes()?)))
}

/// The thread's end: held by [`crate::lifecycle`].
#[derive(Debug)]
#[must_use = "dropped, it ends the thread at once, and the others find out by the lease"]
pub struct Ending(oneshot::Sender<oneshot::Sender<()>>);

impl Ending {
    /// Says what is still to be said, and gives the lease back: for at most `within`.
    pub async fn finish(self, within: Duration) {
        let (done, finished) = oneshot::channel();
        // An error is a thread that has ended.
        if self.0.send(done).is_ok() {
            let _ = tokio::time::timeout(within, finished).await;
        }
    }
}

/// Starts the thread.
///
/// # Errors
/// When the system refuses it, or descriptors for its runtime.
pub fn start(part: Arc<Part>, node: Arc<Node>, dial: impl Dial + Send + 'static) -> io::Result<Ending> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (finish, mut finishing) = oneshot::channel();
    std::thread::Builder::new().name("fleet".to_owned()).spawn(move || {
        // The thread ends with the process; whoever waits for its end hears of it by what is dropped.
        runtime.block_on(conduct(&part, &node, dial, &mut finishing));
        runtime.shutdown_background();
    })?;
    Ok(Ending(finish))
}

/// Plays the node's part in the fleet, until it is to end.
async fn conduct(
    part: &Arc<Part>,
    node: &Arc<Node>,
    dial: impl Dial,
    finishing: &mut oneshot::Receiver<oneshot::Sender<()>>,
) {
    let mut conduct = Conduct {
        part,
        node,
        lease: LeaseId(0),
        holding: Holding::default(),
        regroups: false,
        old: Vec::new(),
        left_behind: BTreeSet::new(),
        settling: VecDeque::new(),
        reaped: 0,
    };
    let mut standing = part.standing();
    let mut backoff = BACKOFF;
    loop {
        tokio::select! {
            // The sender is the part's, which outlives this.
            _ = standing.wait_for(|count| count % 2 == 1) => {}
            // There is nobody to tell.
            _ = &mut *finishing => return,
        }
        let ended = match dial.dial().await {
            Ok(connection) => {
                backoff = BACKOFF;
                conduct.serve(Store::new(connection, dial.prefix()), &mut standing, finishing).await
            }
            Err(error) => Err(error),
        };
        conduct.let_go();
        match ended {
            Ok(Ended::Away) => {}
            Ok(Ended::Finished) => return,
            Err(error) => {
                let reason = in_its_words(&error);
                warn!(error = reason, "the facts of the fleet cannot be kept in Redis; trying again");
                part.store_stands(node, Standing::Away { reason });
                tokio::select! {
                    () = tokio::time::sleep(backoff.mul_f64(jitter())) => {}
                    _ = &mut *finishing => return,
                }
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
    }
}

/// Between one half and one, so that a fleet that was cut off together does not come back in one moment.
fn jitter() -> f64 {
    let byte = entropy::bytes::<1>().map_or(0, |[byte]| byte);
    0.5 + f64::from(byte) / 512.0
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

fn system(error: io::Error) -> RedisError {
    RedisError::from(error)
}

impl Conduct<'_> {
    /// There is no link any more: nobody waits for it.
    fn let_go(&mut self) {
        self.part.link_is_down();
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
        finishing: &mut oneshot::Receiver<oneshot::Sender<()>>,
    ) -> RedisResult<Ended> {
        standing.mark_unchanged();
        let (loads, mut loading) = mpsc::unbounded_channel();
        self.take_lease(&mut store, true).await?;
        self.part.ask_through(Some(loads));
        let ended = self.keep_up(&mut store, standing, finishing, &mut loading).await;
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
        standing: &mut watch::Receiver<u64>,
        finishing: &mut oneshot::Receiver<oneshot::Sender<()>>,
        loading: &mut mpsc::UnboundedReceiver<Key>,
    ) -> RedisResult<Ended> {
        for app in self.node.apps.known() {
            for channel in Part::all(&app) {
                self.part.load(&app, &channel);
            }
        }
        info!(lease = %self.lease, "this node has its place in the fleet");
        let look = (self.part.span / 15).clamp(Duration::from_millis(100), Duration::from_secs(1));
        let mut looks = tokio::time::interval(look);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wanted = Vec::new();
        loop {
            // Not before all are heard again: what was told before may still hold.
            let settled = self.settling.front().filter(|_| !self.regroups).map(|next| next.due);
            tokio::select! {
                biased;
                done = &mut *finishing => {
                    self.finish(store).await?;
                    // Nobody waiting means that time is up.
                    let _ = done.map(|done| done.send(()));
                    return Ok(Ended::Finished);
                }
                _ = standing.changed() => return Ok(Ended::Away),
                _ = looks.tick() => self.look(store).await?,
                _ = loading.recv_many(&mut wanted, LOADS_MAX) => self.read(store, &mut wanted).await?,
                () = self.part.due.notified() => {}
                () = tokio::time::sleep_until(settled.unwrap_or_else(Instant::now)), if settled.is_some() => {
                    self.settle(store).await?;
                }
            }
            let all_is_said = self.speak(store).await?;
            if loading.is_empty() {
                self.part.has_caught_up();
                // Not before everything is said and read: until then there is something that Redis may refuse.
                if all_is_said {
                    self.part.store_stands(self.node, Standing::Connected);
                }
            }
        }
    }

    /// The last that this node says: nobody is left here. What waits to settle is told, for nobody is there later.
    async fn finish<C: ConnectionLike>(&mut self, store: &mut Store<C>) -> RedisResult<()> {
        while !self.speak(store).await? {}
        self.settling.iter_mut().for_each(|settling| settling.due = Instant::now());
        self.settle(store).await?;
        self.reap(store, self.lease).await
    }

    async fn take_lease<C: ConnectionLike>(
        &mut self,
        store: &mut Store<C>,
        link_is_new: bool,
    ) -> RedisResult<()> {
        let lease = draw_lease().map_err(system)?;
        // Held before anything is said under it.
        let call = self.part.call_roll();
        let roll = store.hold(lease, self.lease, self.part.span, &self.holding).await?;
        if roll.lost {
            warn!("Redis has lost its data; this node says again what it knows");
            self.grieve();
        }
        let old = self.part.begin(lease, link_is_new, roll.lost);
        if self.lease != LeaseId(0) {
            self.old.push(old);
        }
        self.lease = lease;
        self.hold(&roll);
        self.take_roll(store, call, &roll).await?;
        self.part.due.notify_one();
        Ok(())
    }

    /// Renews the lease, and looks who else lives.
    async fn look<C: ConnectionLike>(&mut self, store: &mut Store<C>) -> RedisResult<()> {
        let call = self.part.call_roll();
        let roll = store.hold(self.lease, self.lease, self.part.span, &self.holding).await?;
        if roll.lost {
            return Err(lost());
        }
        if roll.held {
            self.hold(&roll);
        }
        self.take_roll(store, call, &roll).await?;
        if !roll.held {
            warn!(lease = %self.lease, "this node's lease ran out: the others took it for dead; it comes back under another");
            self.node.metrics.fleet_leases_lost_total.increment();
            self.take_lease(store, false).await?;
        }
        Ok(())
    }

    fn hold(&mut self, roll: &super::store::Roll) {
        self.holding = roll.holding.clone();
        self.regroups = roll.regroups;
    }

    /// What waited to be told is lost with everything else. Who was to be gone is said to be once more; who had come and
    /// was not told yet comes again.
    fn grieve(&mut self) {
        let waited = std::mem::take(&mut self.settling);
        let mut ledger = self.ledger();
        for Settling { key, turn, .. } in waited {
            match turn {
                FleetTurn::Removed(user_id) => ledger.is_to_be_gone(&key, Some(&user_id)),
                FleetTurn::Vacated => ledger.is_to_be_gone(&key, None),
                FleetTurn::Added(_) | FleetTurn::Occupied => {}
            }
        }
    }

    async fn take_roll<C: ConnectionLike>(
        &mut self,
        store: &mut Store<C>,
        call: super::lease::RollCall,
        roll: &super::store::Roll,
    ) -> RedisResult<()> {
        let dead = self.part.take_roll(self.node, call, roll);
        if !dead.is_empty() {
            info!(leases = dead.len(), "nodes are dead: their members are removed");
        }
        self.left_behind.extend(&roll.run_out);
        if !self.part.is_settled() {
            // Their nodes may be about to come back, as this one is.
            return Ok(());
        }
        while let Some(&lease) = self.left_behind.first() {
            if lease != self.lease && !self.old.contains(&lease) {
                self.reap(store, lease).await?;
            }
            self.left_behind.remove(&lease);
        }
        Ok(())
    }

    /// Removes what a lease has left, unless another node does.
    async fn reap<C: ConnectionLike>(&mut self, store: &mut Store<C>, lease: LeaseId) -> RedisResult<()> {
        if !store.claim(lease).await? {
            return Ok(());
        }
        self.reaped += 1;
        let token = reaping_token(lease, self.lease, self.reaped);
        for keys in store.left_by(lease).await?.chunks(LOADS_MAX) {
            let effects = store.reap(lease, keys, &token, |key| self.tells_webhooks(key)).await?;
            let mut failed = Ok(());
            for (key, effect) in keys.iter().zip(effects) {
                match effect {
                    Ok(effect) => drop(self.tell(key, effect, &token, true)),
                    Err(error) => failed = Err(error),
                }
            }
            failed?;
        }
        store.bury(lease).await?;
        self.publish(Topic::Fleet, &Message::LeaseEnded(lease));
        Ok(())
    }

    /// Says what is due, and gives the leases before back when everything is said; whether it is.
    async fn speak<C: ConnectionLike>(&mut self, store: &mut Store<C>) -> RedisResult<bool> {
        let began = Instant::now();
        loop {
            let sayings = self.sayings();
            if sayings.is_empty() {
                break;
            }
            let effects = store.say(&sayings, self.regroups).await?;
            let mut failed = Ok(());
            for (saying, effect) in sayings.iter().zip(effects) {
                match effect {
                    Ok(effect) => self.said(saying, effect),
                    Err(error) => failed = Err(error),
                }
            }
            // What is certain is told before the link is given up for the rest.
            failed?;
            store.forget(&sayings).await?;
            // The lease is to be renewed meanwhile.
            if began.elapsed() > self.part.span / 6 {
                self.part.due.notify_one();
                return Ok(false);
            }
        }
        if !self.old.is_empty() {
            while let Some(old) = self.old.last() {
                self.reap(store, *old).await?;
                self.old.pop();
            }
            self.ledger().given_back();
        }
        Ok(true)
    }

    /// A word is written: the others hear it.
    fn said(&mut self, Saying { key, word, is_told, .. }: &Saying, effect: Effect) {
        self.node.metrics.fleet_words_total.increment();
        let topic = Topic::Channel { app: Arc::clone(&key.app), channel: Arc::clone(&key.channel) };
        self.publish(topic, &Message::Word(word.clone()));
        let waits = self.tell(key, effect, &token(word), self.regroups);
        if *is_told {
            self.ledger().said(key, word, &waits);
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger<Key>> {
        self.part.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The words of the next round.
    fn sayings(&self) -> Vec<Saying> {
        let mut ledger = self.ledger();
        let next = || ledger.next(CHANGES_MAX, WORD_BYTES_MAX);
        let words: Vec<_> = std::iter::from_fn(next).take(WORDS_MAX).collect();
        drop(ledger);
        let saying = |(key, word, again)| Saying { is_told: self.tells_webhooks(&key), key, word, again };
        words.into_iter().map(saying).collect()
    }

    /// Reads what is wanted, and lets go whoever waits for it.
    async fn read<C: ConnectionLike>(
        &mut self,
        store: &mut Store<C>,
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
        let (snapshots, roll) = store.snapshots(&names, self.lease, self.part.span, &self.holding).await?;
        if roll.lost {
            return Err(lost());
        }
        let living: HashSet<LeaseId> = roll.living().iter().copied().collect();
        for ((key, app), snapshot) in keys.into_iter().zip(snapshots) {
            self.left_behind.extend(
                snapshot.owners.iter().map(|owner| owner.lease).filter(|lease| !living.contains(lease)),
            );
            if self.part.take(self.node, &key, snapshot, &living) {
                self.part.want(key.clone());
            }
            if channel::is_cache(&key.channel) {
                self.borrow(app, key.channel);
                continue;
            }
            self.go_on(&app, key.channel);
        }
        self.take_roll(store, call, &roll).await
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

    /// Whether webhooks are told of a channel; they are not of who is signed in.
    fn tells_webhooks(&self, key: &Key) -> bool {
        user_of(&key.channel).is_none() && self.node.tells_webhooks(&key.app)
    }

    /// Tells webhooks what has changed for the fleet; removals wait for their opposite first, and so does who comes if
    /// all `wait`. Gives who that is.
    fn tell(&mut self, key: &Key, effect: Effect, token: &str, wait: bool) -> Again {
        let mut waits = Again::default();
        let Some(app) = self.node.apps.by_id(&key.app).filter(|_| user_of(&key.channel).is_none()) else {
            return waits;
        };
        // Until the lease before is given back, all that is under it counts twice; and those who are not back do not.
        if self.old.is_empty() && !self.regroups {
            self.node.tell_webhooks_of_fleet_count(&app, &key.channel, effect.subscriptions);
        }
        let due = Instant::now() + Duration::from_millis(self.node.limits.webhook_settle_ms as u64);
        for turn in effect.turns {
            match &turn {
                FleetTurn::Added(_) | FleetTurn::Occupied if !wait => {
                    self.node.tell_webhooks_of_fleet(&app, &key.channel, &turn);
                    continue;
                }
                FleetTurn::Added(user_id) => drop(waits.users.insert(Arc::clone(user_id))),
                FleetTurn::Occupied => waits.occupied = true,
                FleetTurn::Removed(_) | FleetTurn::Vacated => {}
            }
            self.settling.push_back(Settling { due, key: key.clone(), turn, token: token.to_owned() });
        }
        waits
    }

    /// Tells what has waited, if nobody has undone it in time.
    async fn settle<C: ConnectionLike>(&mut self, store: &mut Store<C>) -> RedisResult<()> {
        let now = Instant::now();
        loop {
            let due = self.settling.iter().take_while(|next| next.due <= now).take(LOADS_MAX);
            let turns: Vec<_> = due.map(|next| (&next.key, &next.turn, next.token.as_str())).collect();
            if turns.is_empty() {
                return Ok(());
            }
            for settled in store.settle(&turns).await? {
                // What is not certain is asked again.
                let settled = settled?;
                let Some(Settling { key, turn, .. }) = self.settling.pop_front() else { break };
                if settled && let Some(app) = self.node.apps.by_id(&key.app) {
                    self.node.tell_webhooks_of_fleet(&app, &key.channel, &turn);
                }
                match turn {
                    FleetTurn::Added(user_id) => self.ledger().told(&key, Some(&user_id)),
                    FleetTurn::Occupied => self.ledger().told(&key, None),
                    FleetTurn::Removed(user_id) if settled => self.ledger().told_gone(&key, Some(&user_id)),
                    FleetTurn::Vacated if settled => self.ledger().told_gone(&key, None),
                    FleetTurn::Removed(_) | FleetTurn::Vacated => {}
                }
            }
        }
    }

    fn publish(&self, topic: Topic, message: &Message) {
        self.node.broker.publish(topic, message.encode(self.node.broker.node_id()));
    }
}
