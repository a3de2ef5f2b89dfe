//! What a lease has left is removed: of a dead one by whichever node is first to claim it, of an own one when everything
//! is said again under another.
//!
//! A few channels at a time: the lease that this node holds is renewed in between, however much there is. What is to be
//! told of it waits under that lease, where it is found when this node dies as well.

use redis::RedisResult;
use redis::aio::ConnectionLike;
use tokio::time::Instant;

use super::{Conduct, LOADS_MAX};
use crate::broker::Topic;
use crate::fleet::LeaseId;
use crate::fleet::frames::Message;
use crate::fleet::store::{CLAIM, Key, Store, reaping_token};

/// A lease that is being reaped.
#[derive(Debug)]
pub(super) struct Reaping {
    lease: LeaseId,
    token: String,
    /// Where something of it is left, perhaps.
    keys: Vec<Key>,
    /// Since when it is claimed; an own one need not be.
    claimed: Option<Instant>,
}

impl Conduct<'_> {
    /// Removes what leases have left; whether that is all, or the lease is to be renewed first. Own ones are given back
    /// when everything is said.
    pub(super) async fn reap_some<C: ConnectionLike>(
        &mut self,
        store: &mut Store<C>,
        own: LeaseId,
        all_is_said: bool,
        began: Instant,
    ) -> RedisResult<bool> {
        loop {
            let Some(mut reaping) = self.take_up(store, own, all_is_said).await? else {
                if all_is_said && std::mem::take(&mut self.gives_back) {
                    self.ledger().given_back();
                }
                return Ok(true);
            };
            if reaping.keys.is_empty() {
                store.bury(reaping.lease).await?;
                self.publish(Topic::Fleet, &Message::LeaseEnded(reaping.lease));
                self.left_behind.remove(&reaping.lease);
                self.old.retain(|old| *old != reaping.lease);
                continue;
            }
            if let Some(claimed) = &mut reaping.claimed
                && claimed.elapsed() > CLAIM / 4
            {
                store.keep_claim(reaping.lease).await?;
                *claimed = Instant::now();
            }
            let from = reaping.keys.len().saturating_sub(LOADS_MAX);
            let keys = reaping.keys.split_off(from);
            self.remove(store, own, &reaping, &keys).await?;
            self.reaping = Some(reaping);
            if self.is_time_to_look(began) {
                return Ok(false);
            }
        }
    }

    /// Removes everything that a lease has left, and does not bury it.
    pub(super) async fn reap_all<C: ConnectionLike>(
        &mut self,
        store: &mut Store<C>,
        own: LeaseId,
        lease: LeaseId,
    ) -> RedisResult<()> {
        let reaping = self.begin_to_reap(store, own, lease, [], None).await?;
        for keys in reaping.keys.chunks(LOADS_MAX) {
            self.remove(store, own, &reaping, keys).await?;
        }
        Ok(())
    }

    /// What is being reaped, or is to be reaped next.
    async fn take_up<C: ConnectionLike>(
        &mut self,
        store: &mut Store<C>,
        own: LeaseId,
        all_is_said: bool,
    ) -> RedisResult<Option<Reaping>> {
        if let Some(reaping) = self.reaping.take() {
            return Ok(Some(reaping));
        }
        let now = Instant::now();
        for (_, lease, keys) in self.leftovers.extract_if(.., |(due, ..)| *due <= now) {
            self.left_behind.entry(lease).or_default().extend(keys);
        }
        // Before that, their nodes may be about to come back.
        while self.part.is_settled() {
            let Some((lease, seen)) = self.left_behind.pop_first() else { break };
            if lease != own && !self.old.contains(&lease) && store.claim(lease).await? {
                return self.begin_to_reap(store, own, lease, seen, Some(Instant::now())).await.map(Some);
            }
        }
        match self.old.last().filter(|_| all_is_said) {
            Some(&lease) => self.begin_to_reap(store, own, lease, [], None).await.map(Some),
            None => Ok(None),
        }
    }

    /// What was written under a lease since it was certainly held may be written after it is reaped, and stay. So it is
    /// reaped once more where that may be, when nothing can be written any more.
    pub(super) fn is_in_doubt(&mut self, lease: LeaseId, due: Instant) {
        let keys = std::mem::take(&mut self.uncertain);
        if !keys.is_empty() {
            self.leftovers.push((due, lease, keys));
        }
    }

    async fn begin_to_reap<C: ConnectionLike>(
        &mut self,
        store: &mut Store<C>,
        own: LeaseId,
        lease: LeaseId,
        seen: impl IntoIterator<Item = Key>,
        claimed: Option<Instant>,
    ) -> RedisResult<Reaping> {
        self.reaped += 1;
        let mut keys = store.left_by(lease).await?;
        keys.extend(seen);
        Ok(Reaping { lease, token: reaping_token(own, self.reaped), keys, claimed })
    }

    /// Removes what is left of some channels.
    async fn remove<C: ConnectionLike>(
        &mut self,
        store: &mut Store<C>,
        own: LeaseId,
        Reaping { lease, token, .. }: &Reaping,
        keys: &[Key],
    ) -> RedisResult<()> {
        let told: Vec<&Key> = keys.iter().filter(|key| self.tells_webhooks(key)).collect();
        self.uncertain.extend(told.iter().copied().cloned());
        store.find(own, told.iter().copied()).await?;
        let effects = store.reap(*lease, keys, token, &self.holding.epoch, |key| told.contains(&key)).await?;
        let mut failed = Ok(());
        for (key, effect) in keys.iter().zip(effects) {
            match effect {
                Ok(effect) if told.contains(&key) => drop(self.tell(key, effect, token)),
                Ok(_) => {}
                Err(error) => failed = Err(error),
            }
        }
        failed?;
        self.forget(store, own, told.into_iter()).await
    }
}
