//! This node's part in the fleet: what it owns, whom it hears, what it is asked.
//!
//! Owns what is decided at the moment at which something happens, under a lock and without waiting: a fact goes into the
//! ledger, a word of another node into the channel that it is about. Leaves to [`super::conduct`] everything that Redis
//! has to be asked for, and to the broker how frames get to and fro.
//!
//! Two locks, `leases` before a channel's before `ledger`: words are heard under the first, so that none can come in
//! after its lease was found dead.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};
use tracing::{debug, warn};

use super::asking::{Gathered, Questions, Told};
use super::frames::{About, Answer, Message, Question, Terminate};
use super::lease::{Gone, RollCall};
use super::replica::Heard;
use super::store::{self, Key, Roll};
use super::{LeaseId, Leases, Ledger, Snapshot, Word};
use crate::apps::App;
use crate::broker::frame::Header;
use crate::broker::{Standing, Topic};
use crate::hub::{Change, Herald, Member, UserChange};
use crate::node::Node;

/// What a node knows and owns.
#[derive(Debug)]
pub struct Part {
    pub(super) ledger: Mutex<Ledger<Key>>,
    leases: Mutex<Leases>,
    /// How long a lease lives that is not renewed.
    pub(super) span: Duration,
    /// There is something to be said.
    pub(super) due: Notify,
    /// Channels of which a snapshot is wanted; none while there is nobody to ask.
    loads: Mutex<Option<mpsc::UnboundedSender<Key>>>,
    /// Counts the times that the broker came to be connected; even while it is not.
    standing: watch::Sender<u64>,
    /// How the store of facts stands, which Redis may refuse though others are heard.
    store: Mutex<Standing>,
    /// Other nodes that lived when it was certain last.
    others: Mutex<HashSet<u64>>,
    /// Whether the store has been away.
    was_away: AtomicBool,
    /// Whether it is away though the others are heard: then they are there, and can be asked.
    is_refused: AtomicBool,
    questions: Questions,
}

/// The other nodes, as this one knows them.
#[derive(Debug)]
struct Others {
    /// Those whose answers can come, by what their leases have in common.
    to_ask: HashSet<u64>,
    /// So many are known, or were when it was certain last.
    known: usize,
    /// So many are missing even if all that are known answer: one where it cannot be known who lives.
    missing_min: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Part {
    /// A part that has not begun: nothing is owned under `lease` yet.
    pub fn new(lease: LeaseId, span: Duration) -> Self {
        Self {
            ledger: Mutex::new(Ledger::new(lease)),
            leases: Mutex::new(Leases::new(span)),
            span,
            due: Notify::new(),
            loads: Mutex::default(),
            standing: watch::Sender::new(0),
            store: Mutex::new(Standing::Connecting),
            others: Mutex::default(),
            was_away: AtomicBool::new(false),
            is_refused: AtomicBool::new(false),
            questions: Questions::default(),
        }
    }

    /// So many connections subscribe to a channel here.
    pub fn count(&self, app: &App, channel: &Arc<str>, subscriptions: usize) {
        self.note(app, channel, |ledger, key| ledger.count(key, subscriptions));
    }

    /// A user is a member here now.
    pub fn join(&self, app: &App, channel: &Arc<str>, member: &Member) {
        self.note(app, channel, |ledger, key| ledger.join(key, member));
    }

    /// A user is a member here no longer.
    pub fn leave(&self, app: &App, channel: &Arc<str>, user_id: &str) {
        self.note(app, channel, |ledger, key| ledger.leave(key, user_id));
    }

    fn note(&self, app: &App, channel: &Arc<str>, note: impl FnOnce(&mut Ledger<Key>, &Key)) {
        let key = Key { app: Arc::clone(&app.id), channel: Arc::clone(channel) };
        note(&mut lock(&self.ledger), &key);
        self.due.notify_one();
    }

    /// A channel that somebody here wants to know everything about; whether it will be asked for. Whoever waits for it
    /// is told by [`Node::make_ready`].
    pub fn load(&self, app: &App, channel: &Arc<str>) -> bool {
        self.want(Key { app: Arc::clone(&app.id), channel: Arc::clone(channel) })
    }

    pub(super) fn want(&self, key: Key) -> bool {
        lock(&self.loads).as_ref().is_some_and(|loads| loads.send(key).is_ok())
    }

    /// From now on snapshots are asked for through this; `None`: there is nobody to ask.
    pub(super) fn ask_through(&self, loads: Option<mpsc::UnboundedSender<Key>>) {
        *lock(&self.loads) = loads;
    }

    /// The broker stands otherwise than before.
    pub fn stands(&self, standing: &Standing) {
        let connected = *standing == Standing::Connected;
        // Odd while it is connected; once more when it has been away for a moment that nobody saw.
        self.standing.send_modify(|count| {
            *count += match (connected, *count % 2 == 1) {
                (true, true) => 2,
                (true, false) | (false, true) => 1,
                (false, false) => 0,
            };
        });
    }

    /// How the store of facts stands: connected when all that is true here is written there.
    pub fn store_standing(&self) -> Standing {
        lock(&self.store).clone()
    }

    /// The store stands so from now on, unless the broker is away: it cannot be connected then.
    pub(super) fn store_stands(&self, node: &Node, standing: Standing) {
        let is_connected = standing == Standing::Connected;
        if is_connected {
            let leases = lock(&self.leases);
            if self.is_certain(&leases) || lock(&self.others).is_empty() {
                let own = lock(&self.ledger).lease();
                *lock(&self.others) = leases.other_nodes(own);
            }
        }
        let mut store = lock(&self.store);
        // Looked at under the lock, so that the news of a broker that goes away now come after this.
        let is_heard = node.broker.standing() == Standing::Connected;
        if is_heard || !is_connected {
            self.is_refused.store(is_heard && !is_connected, Ordering::Relaxed);
            self.turn_store(node, &mut store, standing);
        }
    }

    fn turn_store(&self, node: &Node, store: &mut Standing, standing: Standing) {
        let is_away = matches!(standing, Standing::Away { .. });
        self.was_away.fetch_or(is_away, Ordering::Relaxed);
        node.metrics.fleet_away.set(u64::from(is_away));
        *store = standing;
    }

    /// The broker stands otherwise than before: while it is away nothing is kept, for its reason; when it is back, not
    /// before everything is said again.
    pub fn store_follows(&self, node: &Node, broker: &Standing) {
        let mut store = lock(&self.store);
        let standing = match (broker, &*store) {
            (Standing::Away { .. }, _) => broker.clone(),
            (Standing::Connected, Standing::Away { .. }) => Standing::Away {
                reason: "it has just been away, and this server is about to write it again".to_owned(),
            },
            _ => return,
        };
        self.is_refused.store(false, Ordering::Relaxed);
        self.turn_store(node, &mut store, standing);
    }

    pub(super) fn standing(&self) -> watch::Receiver<u64> {
        self.standing.subscribe()
    }

    /// Hears a frame of another node.
    pub fn hear(&self, node: &Node, topic: &Topic, header: &Header, body: &[u8]) {
        match Message::decode(header, body) {
            Ok(Message::Word(word)) => {
                if let Topic::Channel { app, channel } = topic {
                    self.hear_word(node, app, channel, word);
                }
            }
            Ok(Message::Question(token, question)) => {
                let Some(app) = node.apps.by_id(&question.app) else { return };
                let lease = lock(&self.ledger).lease();
                let answer = Message::Answer(token, lease, Answer::of(&app, &question.about));
                node.broker.publish(Topic::Node(header.origin), answer.encode(node.broker.node_id()));
            }
            Ok(Message::Answer(token, lease, answer)) => self.questions.take(token, lease, answer),
            Ok(Message::Terminate(Terminate { app, user_id })) => {
                if let Some(app) = node.apps.by_id(&app) {
                    node.terminate_here(&app, &user_id);
                }
            }
            Ok(Message::LeaseEnded(lease)) => {
                let mut leases = lock(&self.leases);
                if lease != lock(&self.ledger).lease() {
                    leases.give_back(lease);
                }
            }
            Err(error) => debug!(%error, "a frame of another node is left out"),
        }
    }

    fn hear_word(&self, node: &Node, app: &str, channel: &Arc<str>, word: Word) {
        let Some(app) = node.apps.by_id(app) else { return };
        let own = lock(&self.ledger).lease();
        let mut leases = lock(&self.leases);
        if word.lease == own || !leases.hear(word.lease) {
            return;
        }
        let heard = match store::user_of(channel) {
            Some(user_id) => app.users.hear(user_id, word, |change| node.user_changed(&app, change)),
            None => app.directory.hear(channel, word, |change| node.changed(&app, channel, change)),
        };
        drop(leases);
        if heard == Some(Heard::Gap) {
            node.metrics.fleet_gaps_total.increment();
            self.load(&app, channel);
        }
    }

    /// A link to where facts are kept is there.
    pub(super) fn link_is_up(&self) {
        lock(&self.leases).link_is_up();
    }

    /// Everything will be said under this lease, and the one before given back after that.
    pub(super) fn begin(&self, lease: LeaseId, lost: bool) {
        let mut leases = lock(&self.leases);
        let mut ledger = lock(&self.ledger);
        if lease != ledger.lease() {
            leases.end(Instant::now(), ledger.lease());
        }
        ledger.begin(lease, lost);
    }

    /// Nobody is found dead for a while: see [`Leases::spare_all`].
    pub(super) fn spare_all(&self) {
        lock(&self.leases).spare_all(Instant::now());
    }

    /// The link is lost: who cannot be heard is not dead for that.
    pub(super) fn link_is_down(&self) {
        lock(&self.leases).link_is_down();
    }

    /// Everything was read since the link is there.
    pub(super) fn has_caught_up(&self) {
        lock(&self.leases).has_caught_up();
    }

    /// Whether who does not answer is dead, and not only cut off as this node was.
    pub(super) fn is_settled(&self) -> bool {
        lock(&self.leases).is_settled(Instant::now())
    }

    pub(super) fn call_roll(&self) -> RollCall {
        lock(&self.leases).call_roll()
    }

    /// Takes the answer to a roll call. Gives how many leases have died.
    pub(super) fn take_roll(&self, node: &Node, call: RollCall, roll: &Roll) -> usize {
        let mut leases = lock(&self.leases);
        let gone: Gone = leases.take_roll(Instant::now(), call, roll.living(), &roll.run_out);
        let all = gone.all();
        if !all.is_empty() {
            drop_leases(node, &all);
        }
        let own = lock(&self.ledger).lease();
        node.metrics.fleet_nodes.set(1 + leases.other_nodes(own).len() as u64);
        gone.dead.len()
    }

    /// Takes a snapshot; whether another one is to be asked for.
    pub(super) fn take(&self, node: &Node, key: &Key, snapshot: Snapshot, living: &HashSet<LeaseId>) -> bool {
        let Some(app) = node.apps.by_id(&key.app) else { return false };
        let own = lock(&self.ledger).lease();
        let mut leases = lock(&self.leases);
        let counts = |lease| lease != own && leases.hear(lease);
        match store::user_of(&key.channel) {
            Some(user_id) => {
                let tell = |change: UserChange<'_>| node.user_changed(&app, change);
                app.users.take(user_id, snapshot, living, counts, tell)
            }
            None => {
                let tell = |change: Change<'_>| node.changed(&app, &key.channel, change);
                app.directory.take(&key.channel, snapshot, living, counts, tell)
            }
        }
    }

    /// Everything here that other nodes say something about: channels, and users that are watched.
    pub(super) fn all(app: &App) -> Vec<Arc<str>> {
        let mut all = app.directory.shared();
        all.extend(app.users.watched().iter().map(|user_id| store::user_channel(user_id)));
        all
    }

    /// From here on words about it are held; whether there is a use for a snapshot.
    pub(super) fn begin_to_load(app: &App, channel: &str) -> bool {
        match store::user_of(channel) {
            Some(user_id) => app.users.load(user_id),
            None => app.directory.load(channel),
        }
    }

    /// Whether the roll has everybody. For a lease's span after the link was lost, whoever was there before may come back;
    /// over the first link there is nobody to come back.
    fn is_certain(&self, leases: &Leases) -> bool {
        let is_first = *self.standing.borrow() == 1 && !self.was_away.load(Ordering::Relaxed);
        is_first || leases.is_settled(Instant::now())
    }

    /// Who else there is.
    fn others(&self, node: &Node) -> Others {
        let is_heard = node.broker.standing() == Standing::Connected;
        let own = lock(&self.ledger).lease();
        let leases = lock(&self.leases);
        let living = leases.other_nodes(own);
        let before = lock(&self.others).clone();
        let known = living.len().max(before.len());
        match (is_heard, leases.is_up()) {
            (false, _) => Others { to_ask: HashSet::new(), known, missing_min: 1 },
            (true, false) => {
                // Who has just been away itself does not know who is back to answer.
                let is_refused = self.is_refused.load(Ordering::Relaxed);
                let to_ask = if is_refused { &before | &living } else { HashSet::new() };
                Others { to_ask, known, missing_min: 1 }
            }
            (true, true) => {
                let known = if self.is_certain(&leases) { living.len() } else { known };
                Others { to_ask: living, known, missing_min: 0 }
            }
        }
    }

    /// Asks all nodes, and waits for their answers, but no longer than `within`, nor for what cannot come.
    pub async fn ask(&self, node: &Node, app: &App, about: About, within: Duration) -> Told {
        let own = Answer::of(app, &about);
        let Others { to_ask, known, missing_min } = self.others(node);
        if to_ask.is_empty() {
            return Told { answer: own, missing: known.max(missing_min) };
        }
        let mut asked = self.questions.ask(own, to_ask);
        let question = Message::Question(asked.token, Question { app: app.id.to_string(), about });
        node.broker.publish(Topic::Fleet, question.encode(node.broker.node_id()));
        let mut standing = self.standing();
        // All ways of ending are looked at below.
        tokio::select! {
            () = asked.by_all() => {}
            () = tokio::time::sleep(within) => {}
            // The broker is away.
            _ = standing.wait_for(|count| count % 2 == 0) => {}
        }
        let Gathered { answer, heard, silent } = asked.so_far();
        if silent > 0 {
            node.metrics.fleet_answers_missing_total.add(silent as u64);
            warn!(missing = silent, "nodes of the fleet did not answer in time (fleet_answer_timeout_ms)");
        }
        Told { answer, missing: known.saturating_sub(heard).max(missing_min) }
    }
}

fn drop_leases(node: &Node, dead: &[LeaseId]) {
    for app in node.apps.known() {
        app.directory.drop_leases(dead, |channel, change| node.changed(&app, channel, change));
        app.users.drop_leases(dead, |change| node.user_changed(&app, change));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_that_the_broker_is_connected_counts() {
        let part = Part::new(LeaseId(1), Duration::from_secs(15));
        let away = Standing::Away { reason: String::new() };
        let mut counts = Vec::new();
        for standing in [
            &Standing::Connecting,
            &Standing::Connected,
            &Standing::Connected,
            &away,
            &away,
            &Standing::Connected,
        ] {
            part.stands(standing);
            counts.push(*part.standing().borrow());
        }
        assert_eq!(counts, [0, 1, 3, 4, 4, 5]);
    }
}
