//! What is true here is written, and then published.

use std::sync::Arc;

use redis::RedisResult;
use redis::aio::ConnectionLike;
use tokio::time::Instant;

use super::Conduct;
use crate::broker::Topic;
use crate::fleet::LeaseId;
use crate::fleet::frames::Message;
use crate::fleet::store::{Effect, Key, Saying, Store, token};

/// Words of one round, and what one of them holds at most.
const WORDS_MAX: usize = 64;
const CHANGES_MAX: usize = 256;
const WORD_BYTES_MAX: usize = 64 * 1024;

impl Conduct<'_> {
    /// Says what is due; whether that is all, or the lease is to be renewed first.
    pub(super) async fn speak<C: ConnectionLike>(
        &mut self,
        store: &mut Store<C>,
        lease: LeaseId,
        began: Instant,
    ) -> RedisResult<bool> {
        loop {
            let sayings = self.sayings();
            if sayings.is_empty() {
                return Ok(true);
            }
            let first = sayings.iter().filter(|saying| saying.word.prev == 0);
            store.find(lease, first.map(|saying| &saying.key)).await?;
            let was_blank = std::mem::take(&mut self.lease_is_blank);
            self.uncertain.extend(sayings.iter().map(|saying| saying.key.clone()));
            let effects = store.say(&sayings, &self.holding, self.regroups, self.part.span).await?;
            // Each is refused: nothing is written under it yet.
            self.lease_is_blank = was_blank && effects.iter().all(Result::is_err);
            let mut failed = Ok(());
            for (saying, effect) in sayings.iter().zip(effects) {
                match effect {
                    Ok(effect) => self.said(saying, effect),
                    Err(error) => failed = Err(error),
                }
            }
            // What is certain is told before the link is given up for the rest.
            failed?;
            let last = sayings.iter().filter(|saying| saying.word.subscriptions == 0);
            self.forget(store, lease, last.map(|saying| &saying.key)).await?;
            if self.is_time_to_look(began) {
                return Ok(false);
            }
        }
    }

    /// Whether what began then has gone on for so long that the lease is to be renewed; if so, there is more to do after
    /// that.
    pub(super) fn is_time_to_look(&self, began: Instant) -> bool {
        let is_time = began.elapsed() > self.part.span / 10;
        if is_time {
            self.part.due.notify_one();
        }
        is_time
    }

    /// A word is written: the others hear it.
    fn said(&mut self, Saying { key, word, is_told, .. }: &Saying, effect: Effect) {
        self.node.metrics.fleet_words_total.increment();
        let topic = Topic::Channel { app: Arc::clone(&key.app), channel: Arc::clone(&key.channel) };
        self.publish(topic, &Message::Word(word.clone()));
        if *is_told {
            let waits = self.tell(key, effect, &token(word));
            self.ledger().said(key, word, &waits);
        } else {
            self.ledger().is_not_told(key);
        }
    }

    /// The words of the next round.
    fn sayings(&self) -> Vec<Saying> {
        let mut ledger = self.ledger();
        let next = || ledger.next(CHANGES_MAX, WORD_BYTES_MAX);
        let words: Vec<_> = std::iter::from_fn(next).take(WORDS_MAX).collect();
        drop(ledger);
        let before: Arc<[LeaseId]> = self.old.as_slice().into();
        let saying = |(key, word, again)| Saying {
            is_told: self.tells_webhooks(&key),
            before: Arc::clone(&before),
            key,
            word,
            again,
        };
        words.into_iter().map(saying).collect()
    }

    /// Of these channels nothing is written, or waits to be told, under this lease any more, but for those of which it is
    /// not so.
    pub(super) async fn forget<'k, C: ConnectionLike>(
        &mut self,
        store: &mut Store<C>,
        lease: LeaseId,
        keys: impl Iterator<Item = &'k Key>,
    ) -> RedisResult<()> {
        let nothing_is_left = |key: &&Key| !self.waiting.has(key) && !self.ledger().has_said(key);
        let keys: Vec<&Key> = keys.filter(nothing_is_left).collect();
        store.forget(lease, keys).await
    }
}
