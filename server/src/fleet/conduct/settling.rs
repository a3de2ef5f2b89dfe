//! Webhooks are told what has changed for the whole fleet.
//!
//! Who comes is told at once, who goes when it has settled: not if they are back meanwhile, wherever that is. What waits
//! stands among the facts, in a channel that is found under this node's lease, until it is told. So whoever reaps that
//! lease tells it when this node does not, and an answer that is lost is asked for once more. How many subscribe is read
//! a moment after it has changed: nodes that change it together tell the same number, in whichever order they are heard.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use redis::RedisResult;
use redis::aio::ConnectionLike;
use tokio::time::Instant;

use super::{Conduct, LOADS_MAX};
use crate::fleet::LeaseId;
use crate::fleet::lease::renewal;
use crate::fleet::ledger::Again;
use crate::fleet::store::{Effect, FleetTurn, Key, Pending, Settled, Store, user_of};
use crate::webhooks::AppHooks;

/// What waits to be told: a removal, or while all regroup whatever it is.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// With those who are told when the app is gone meanwhile, or tells nobody any more.
    queue: VecDeque<(Instant, Pending, Arc<AppHooks>)>,
    /// How many are about each channel, the told ones among them.
    about: HashMap<Key, usize>,
    /// Told, and still among the facts.
    told: Vec<Pending>,
    /// Channels of which the number of subscribers is to be told, each once.
    counts: VecDeque<(Instant, Key)>,
    counted: HashSet<Key>,
}

/// How long after it has changed the number of subscribers is read. Longer than a webhook takes.
const COUNT_AFTER: Duration = Duration::from_millis(500);

impl Waiting {
    fn push(&mut self, due: Instant, pending: Pending, hooks: Arc<AppHooks>) {
        *self.about.entry(pending.key.clone()).or_default() += 1;
        self.queue.push_back((due, pending, hooks));
    }

    fn count(&mut self, due: Instant, key: &Key) {
        if self.counted.insert(key.clone()) {
            self.counts.push_back((due, key.clone()));
        }
    }

    /// When the next one is due.
    pub(super) fn next_is_due(&self) -> Option<Instant> {
        let (queue, counts) =
            (self.queue.front().map(|(due, ..)| *due), self.counts.front().map(|(due, _)| *due));
        queue.into_iter().chain(counts).min()
    }

    /// All are due now.
    pub(super) fn is_due_now(&mut self) {
        let now = Instant::now();
        self.queue.iter_mut().for_each(|(due, ..)| *due = now);
    }

    /// Whether anything about a channel waits, or is still among its facts.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.about.contains_key(key)
    }

    /// Whether nothing waits any more.
    pub(super) fn is_settled(&self) -> bool {
        self.queue.is_empty()
    }

    fn is_done(&mut self, key: &Key) {
        if let Some(count) = self.about.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.about.remove(key);
            }
        }
    }
}

impl Conduct<'_> {
    /// Whether webhooks are told of a channel; they are not of who is signed in.
    pub(super) fn tells_webhooks(&self, key: &Key) -> bool {
        user_of(&key.channel).is_none() && self.node.tells_webhooks(&key.app)
    }

    /// Tells webhooks what has changed for the fleet, but for what waits: removals for their opposite. Gives who has come
    /// and waits.
    pub(super) fn tell(&mut self, key: &Key, effect: Effect, token: &str) -> Again {
        let mut waits = Again::default();
        let Some(app) = self.node.apps.by_id(&key.app) else { return waits };
        let now = Instant::now();
        if effect.subscriptions.is_some() && self.node.tells_webhooks_of_count(&app, &key.channel) {
            self.waiting.count(now + COUNT_AFTER, key);
        }
        let settled = now + Duration::from_millis(self.node.limits.webhook_settle_ms as u64);
        let Some(hooks) = app.settings().hooks.clone() else { return waits };
        for (turn, waits_to_be_told) in effect.turns {
            if !waits_to_be_told {
                self.node.tell_webhooks_of_fleet(&hooks, &key.channel, &turn);
                continue;
            }
            // Who comes waits for what waited before, and not for an opposite.
            let mut due = now;
            match &turn {
                FleetTurn::Added(user_id) => drop(waits.users.insert(Arc::clone(user_id))),
                FleetTurn::Occupied => waits.occupied = true,
                FleetTurn::Removed(_) | FleetTurn::Vacated => due = settled,
            }
            let pending = Pending { key: key.clone(), turn, token: token.to_owned() };
            self.waiting.push(due, pending, Arc::clone(&hooks));
        }
        waits
    }

    /// The same at the end of this node, when it does not wait.
    pub(super) async fn tell_all_counts<C: ConnectionLike>(
        &mut self,
        store: &mut Store<C>,
    ) -> RedisResult<()> {
        while let Some((last, _)) = self.waiting.counts.back() {
            self.tell_counts(store, *last).await?;
        }
        Ok(())
    }

    /// Tells how many subscribe, where that has changed a moment ago.
    async fn tell_counts<C: ConnectionLike>(
        &mut self,
        store: &mut Store<C>,
        now: Instant,
    ) -> RedisResult<()> {
        let due = self.waiting.counts.iter().take_while(|(due, _)| *due <= now).take(LOADS_MAX);
        let keys: Vec<Key> = due.map(|(_, key)| key.clone()).collect();
        let counts = store.subscriptions(&keys).await?;
        for (key, subscriptions) in keys.iter().zip(counts) {
            self.waiting.counts.pop_front();
            self.waiting.counted.remove(key);
            if let Some(app) = self.node.apps.by_id(&key.app) {
                self.node.tell_webhooks_of_fleet_count(&app, &key.channel, subscriptions);
            }
        }
        Ok(())
    }

    /// Tells what has waited, if nobody has undone it in time.
    pub(super) async fn settle<C: ConnectionLike>(
        &mut self,
        store: &mut Store<C>,
        lease: LeaseId,
        began: Instant,
    ) -> RedisResult<()> {
        let now = Instant::now();
        loop {
            let due = self.waiting.queue.iter().take_while(|(due, ..)| *due <= now).take(LOADS_MAX);
            let due: Vec<&Pending> = due.map(|(_, pending, _)| pending).collect();
            if due.is_empty() {
                return self.tell_counts(store, now).await;
            }
            let mut undone = Vec::new();
            for settled in store.settle(&due, &self.holding.epoch).await? {
                // What is not certain is asked again.
                let settled = settled?;
                let Some((_, pending, hooks)) = self.waiting.queue.pop_front() else { break };
                match settled {
                    Settled::NotYet => {
                        let later = now + renewal(self.part.span);
                        self.waiting.queue.push_back((later, pending, hooks));
                        continue;
                    }
                    Settled::Yes => {
                        self.conclude(&pending, Some(&hooks));
                        self.waiting.told.push(pending);
                    }
                    Settled::No => {
                        self.conclude(&pending, None);
                        self.waiting.is_done(&pending.key);
                        undone.push(pending.key);
                    }
                }
            }
            self.clear(store, lease).await?;
            self.forget(store, lease, undone.iter()).await?;
            if self.is_time_to_look(began) {
                return Ok(());
            }
        }
    }

    /// It is still so, and this node is who tells it, to these if the app has no others now; or it is not.
    fn conclude(&mut self, Pending { key, turn, .. }: &Pending, hooks: Option<&Arc<AppHooks>>) {
        let is_so = hooks.is_some();
        if let Some(hooks) = hooks {
            let now = self.node.apps.by_id(&key.app).and_then(|app| app.settings().hooks.clone());
            self.node.tell_webhooks_of_fleet(now.as_ref().unwrap_or(hooks), &key.channel, turn);
        }
        let mut ledger = self.ledger();
        match turn {
            FleetTurn::Added(user_id) => ledger.told(key, Some(user_id)),
            FleetTurn::Occupied => ledger.told(key, None),
            FleetTurn::Removed(user_id) if is_so => ledger.told_gone(key, Some(user_id)),
            FleetTurn::Vacated if is_so => ledger.told_gone(key, None),
            FleetTurn::Removed(_) | FleetTurn::Vacated => {}
        }
    }

    /// Takes what is told out of the facts.
    pub(super) async fn clear<C: ConnectionLike>(
        &mut self,
        store: &mut Store<C>,
        lease: LeaseId,
    ) -> RedisResult<()> {
        store.told(&self.waiting.told.iter().collect::<Vec<_>>(), &self.holding.epoch).await?;
        let told = std::mem::take(&mut self.waiting.told);
        told.iter().for_each(|pending| self.waiting.is_done(&pending.key));
        self.forget(store, lease, told.iter().map(|pending| &pending.key)).await
    }

    /// What waited to be told is lost with everything else. Who was to be gone is said to be once more; who had come and
    /// was not told yet comes again.
    pub(super) fn grieve(&mut self) {
        let waited = std::mem::take(&mut self.waiting);
        let mut ledger = self.ledger();
        for (_, Pending { key, turn, .. }, _) in waited.queue {
            match turn {
                FleetTurn::Removed(user_id) => ledger.is_to_be_gone(&key, Some(&user_id)),
                FleetTurn::Vacated => ledger.is_to_be_gone(&key, None),
                FleetTurn::Added(_) | FleetTurn::Occupied => {}
            }
        }
    }
}
