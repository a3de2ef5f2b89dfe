//! The facts of the fleet as Redis has them.
//!
//! Owns the form of keys and values, and the scripts, each of which changes one key at once: a word is written whole,
//! and whoever makes a user or a channel come or go is told so, nobody else. Leaves to others when to do what, and
//! what to do when Redis fails: every error ends the link.
//!
//! ```text
//! <prefix>leases                    every lease, by the time at which it runs out, and the epoch, see hold.lua
//! <prefix>lease:<lease>             the channels that have facts under it: what is to be removed with it
//! <prefix>reaping:<lease>           somebody does so
//! <prefix>{<app>:<channel>}:facts   the facts about one channel, see say.lua
//! ```
//! Each key stands for itself, so all of it works in a Redis Cluster. Needs Redis 6 or Valkey.

mod batch;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, cmd};

use self::batch::{Call, Lua};
use super::lease::renewal;
use super::ledger::Again;
use super::replica::{Owner, Snapshot};
use super::{Change, LeaseId, Word};
use crate::hub::Member;

/// How long one node may take to remove what a dead lease has left before another one does.
pub const CLAIM: Duration = Duration::from_secs(10);

/// A channel of an app, as all nodes know it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The app's id.
    pub app: Arc<str>,
    /// The channel's name.
    pub channel: Arc<str>,
}

/// Under what name what is said about a user is kept, as if it were a channel: no channel can have it.
pub fn user_channel(user_id: &str) -> Arc<str> {
    format!("#user:{user_id}").into()
}

/// The user of such a name.
pub fn user_of(channel: &str) -> Option<&str> {
    channel.strip_prefix("#user:")
}

/// Apps' ids have no colon.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.app, self.channel)
    }
}

impl Key {
    fn parse(text: &str) -> Option<Self> {
        let (app, channel) = text.split_once(':')?;
        Some(Self { app: app.into(), channel: channel.into() })
    }
}

/// What a roll call answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roll {
    /// Whether the own lease is held.
    pub held: bool,
    /// Those that have run out and are still to be reaped.
    pub run_out: Vec<LeaseId>,
    /// What is held, if it is.
    pub holding: Holding,
    /// Whether Redis has lost data since the epoch that was known.
    pub lost: bool,
    /// Whether all regroup after that: nodes may still say again what was told before.
    pub regroups: bool,
}

impl Roll {
    /// All that live, the own one among them.
    pub fn living(&self) -> &[LeaseId] {
        self.holding.living()
    }
}

/// What a node knows of the store, for as long as it runs: by this it sees that data was lost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holding {
    /// The present epoch; empty before Redis was reached.
    pub epoch: String,
    /// Until when the lease is held, in ms by Redis' clock.
    pub until_ms: u64,
    /// The state of the roll that was called last, and who lived then: it is told only when it has changed.
    roll: (String, Arc<[LeaseId]>),
}

impl Holding {
    /// All that lived when the roll was called last, the own lease among them.
    pub fn living(&self) -> &[LeaseId] {
        &self.roll.1
    }
}

/// A word, as it is to be written.
#[derive(Debug, Clone)]
pub struct Saying {
    /// About which channel.
    pub key: Key,
    /// What is said.
    pub word: Word,
    /// What of it webhooks have been told before data was lost.
    pub again: Again,
    /// The leases that its node will give back. Few.
    pub before: Arc<[LeaseId]>,
    /// Whether they are told of this app at all.
    pub is_told: bool,
}

/// What a change of the facts means for the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// How many subscribe to the channel in all, if another number than before.
    pub subscriptions: Option<u64>,
    /// What has changed by it, and by nothing else; and whether it waits to be [settled](Store::settle), as removals
    /// always do.
    pub turns: Vec<(FleetTurn, bool)>,
}

/// What has become of something that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is still so, and whoever asks is to tell it.
    Yes,
    /// It was undone, or another node tells it.
    No,
    /// Its opposite is being told, which comes first. To be asked again.
    NotYet,
}

/// Something that waits to be [settled](Store::settle), or was.
#[derive(Debug, Clone)]
pub struct Pending {
    /// About which channel.
    pub key: Key,
    /// What is told of it.
    pub turn: FleetTurn,
    /// Who tells it.
    pub token: String,
}

/// Something that has changed for the whole fleet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FleetTurn {
    /// A user has come to the channel.
    Added(Arc<str>),
    /// A user has gone. Webhooks hear of it when it is [settled](Store::settle).
    Removed(Arc<str>),
    /// The channel has its first subscriber.
    Occupied,
    /// It has lost its last one. To be settled too.
    Vacated,
}

impl FleetTurn {
    /// Where it waits among the facts.
    fn field(&self) -> String {
        match self {
            Self::Added(user_id) => format!("n{user_id}"),
            Self::Removed(user_id) => format!("g{user_id}"),
            Self::Occupied => "w".to_owned(),
            Self::Vacated => "v".to_owned(),
        }
    }
}

/// One link to Redis. Dropped with the first error.
pub struct Store<C> {
    connection: C,
    prefix: String,
    hold: Lua,
    say: Lua,
    reap: Lua,
    settle: Lua,
    leave: Lua,
}

impl<C> fmt::Debug for Store<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl<C: ConnectionLike> Store<C> {
    /// Over a connection that is up; every key begins with `prefix`.
    pub fn new(connection: C, prefix: &str) -> Self {
        Self {
            connection,
            prefix: prefix.to_owned(),
            hold: Lua::new(include_str!("hold.lua")),
            say: Lua::new(include_str!("say.lua")),
            reap: Lua::new(include_str!("reap.lua")),
            settle: Lua::new(include_str!("settle.lua")),
            leave: Lua::new(include_str!("leave.lua")),
        }
    }

    fn leases(&self) -> String {
        format!("{}leases", self.prefix)
    }

    fn index(&self, lease: LeaseId) -> String {
        format!("{}lease:{lease}", self.prefix)
    }

    fn facts(&self, key: &Key) -> String {
        format!("{}{{{key}}}:facts", self.prefix)
    }

    /// Renews a lease, or takes one (`anew`) in place of the one that was held last, and calls the roll. `holding` is what
    /// the last roll call gave.
    ///
    /// # Errors
    /// What Redis says; so for everything below.
    pub async fn hold(
        &mut self,
        lease: LeaseId,
        before: LeaseId,
        span: Duration,
        holding: &Holding,
    ) -> RedisResult<Roll> {
        let mut call = self.hold.of(self.leases());
        let has_held = holding.until_ms > 0;
        call.arg(lease.to_string())
            .arg(span.as_millis() as u64)
            .arg(if lease == before { "renew" } else { "take" })
            .arg(&holding.epoch)
            // It is drawn at random and has never been one.
            .arg(format!("{:016x}", lease.0 ^ holding.until_ms))
            .arg(if has_held { before.to_string() } else { String::new() })
            .arg(holding.until_ms)
            .arg(&holding.roll.0)
            // Twice, since a call may be under way.
            .arg(2 * renewal(span).as_millis() as u64);
        let mut answers = batch::call(&mut self.connection, &self.hold, &[call]).await?;
        let (held, until_ms, living, run_out, epoch, lost, regroups, state): RawRoll =
            batch::read(answers.pop().unwrap_or_default())?;
        let read = |texts: Vec<String>| -> Vec<LeaseId> {
            texts.iter().filter_map(|text| LeaseId::parse(text)).collect()
        };
        let is_known = state == holding.roll.0;
        let living = if is_known { Arc::clone(&holding.roll.1) } else { read(living).into() };
        let holding = Holding { epoch, until_ms, roll: (state, living) };
        Ok(Roll { held, run_out: read(run_out), holding, lost, regroups })
    }

    /// Writes words, all under one lease, those about one channel in their order; `holding` as the last roll call gave it.
    /// Where a word is the first of a channel, this is to be [found](Self::find) before. Gives what each means, or why it
    /// is not certain that it is written.
    pub async fn say(
        &mut self,
        sayings: &[Saying],
        holding: &Holding,
        regroups: bool,
        span: Duration,
    ) -> RedisResult<Vec<RedisResult<Effect>>> {
        // Not at once: servers of a cluster have clocks of their own.
        let too_late_ms = holding.until_ms.saturating_add(span.as_millis() as u64);
        let calls: Vec<Call> =
            sayings.iter().map(|saying| self.saying(saying, holding, regroups, too_late_ms)).collect();
        let answers = batch::call(&mut self.connection, &self.say, &calls).await?;
        Ok(answers.into_iter().map(|answer| effect(batch::read(answer)?)).collect())
    }

    /// What is about to be written of some channels is found, and so removed, when the lease is dead: on whichever server
    /// it is.
    pub async fn find<'a>(
        &mut self,
        lease: LeaseId,
        keys: impl IntoIterator<Item = &'a Key>,
    ) -> RedisResult<()> {
        self.index_all("SADD", lease, keys).await
    }

    /// Nothing of some channels has to be found any more.
    pub async fn forget<'a>(
        &mut self,
        lease: LeaseId,
        keys: impl IntoIterator<Item = &'a Key>,
    ) -> RedisResult<()> {
        self.index_all("SREM", lease, keys).await
    }

    async fn index_all<'a>(
        &mut self,
        command: &str,
        lease: LeaseId,
        keys: impl IntoIterator<Item = &'a Key>,
    ) -> RedisResult<()> {
        let mut keys = keys.into_iter().peekable();
        if keys.peek().is_none() {
            return Ok(());
        }
        let mut command = cmd(command);
        command.arg(self.index(lease));
        for key in keys {
            command.arg(key.to_string());
        }
        command.exec_async(&mut self.connection).await
    }

    fn saying(
        &self,
        Saying { key, word, again, before, is_told }: &Saying,
        holding: &Holding,
        regroups: bool,
        too_late_ms: u64,
    ) -> Call {
        let mut call = self.say.of(self.facts(key));
        call.arg(word.lease.to_string())
            .arg(word.prev)
            .arg(word.seq)
            .arg(word.subscriptions)
            .arg(u8::from(*is_told))
            .arg(u8::from(again.occupied))
            .arg(u8::from(regroups))
            .arg(before.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
            .arg(too_late_ms)
            .arg(&holding.epoch);
        for change in &word.changes {
            match change {
                Change::Joined(Member { user_id, user_info }) => {
                    let kind = if again.users.contains(user_id) { "*" } else { "+" };
                    let info = user_info.as_ref().map_or_else(String::new, |info| format!("+{info}"));
                    call.arg(kind).arg(&**user_id).arg(info);
                }
                Change::Left(user_id) => {
                    let kind = if again.users.contains(user_id) { "~" } else { "-" };
                    call.arg(kind).arg(&**user_id);
                }
            }
        }
        call
    }

    /// Everything about some channels, and the leases that lived when it was read, or later.
    pub async fn snapshots(
        &mut self,
        keys: &[Key],
        own: LeaseId,
        span: Duration,
        holding: &Holding,
    ) -> RedisResult<(Vec<Snapshot>, Roll)> {
        let commands: Vec<Cmd> =
            keys.iter().map(|key| cmd("HGETALL").arg(self.facts(key)).to_owned()).collect();
        let answers = batch::send(&mut self.connection, commands).await?;
        let snapshots = answers
            .into_iter()
            .map(|answer| batch::read(answer).map(|facts| snapshot(facts, &holding.epoch)))
            .collect::<RedisResult<_>>()?;
        let roll = self.hold(own, own, span, holding).await?;
        Ok((snapshots, roll))
    }

    /// How many subscribe to each of some channels in all.
    pub async fn subscriptions(&mut self, keys: &[Key]) -> RedisResult<Vec<u64>> {
        let commands: Vec<Cmd> =
            keys.iter().map(|key| cmd("HGET").arg(self.facts(key)).arg("t").to_owned()).collect();
        let answers = batch::send(&mut self.connection, commands).await?;
        answers
            .into_iter()
            .map(|answer| batch::read::<Option<u64>>(answer).map(Option::unwrap_or_default))
            .collect()
    }

    /// Whether this node is the one that removes what a dead lease has left, for as long as [`CLAIM`] says.
    pub async fn claim(&mut self, lease: LeaseId) -> RedisResult<bool> {
        self.set_claim(lease, "NX").await
    }

    /// This node goes on doing so.
    pub async fn keep_claim(&mut self, lease: LeaseId) -> RedisResult<()> {
        // When it is not there any more, another may have begun: nothing is done twice.
        self.set_claim(lease, "XX").await.map(drop)
    }

    async fn set_claim(&mut self, lease: LeaseId, when: &str) -> RedisResult<bool> {
        let key = format!("{}reaping:{lease}", self.prefix);
        let mut claim: Cmd = cmd("SET");
        claim.arg(key).arg(1).arg(when).arg("PX").arg(CLAIM.as_millis() as u64);
        let claimed: Option<String> = claim.query_async(&mut self.connection).await?;
        Ok(claimed.is_some())
    }

    /// The channels of which a lease has left something, perhaps.
    pub async fn left_by(&mut self, lease: LeaseId) -> RedisResult<Vec<Key>> {
        let channels: Vec<String> =
            cmd("SMEMBERS").arg(self.index(lease)).query_async(&mut self.connection).await?;
        Ok(channels.iter().filter_map(|text| Key::parse(text)).collect())
    }

    /// Removes what a lease has left of some channels, `token` naming who tells webhooks of it. Gives what that means,
    /// channel by channel, or why it is not certain that it is done. To do so again changes nothing.
    pub async fn reap(
        &mut self,
        lease: LeaseId,
        keys: &[Key],
        token: &str,
        epoch: &str,
        is_told: impl Fn(&Key) -> bool,
    ) -> RedisResult<Vec<RedisResult<Effect>>> {
        let reaping = |key: &Key| {
            let mut call = self.reap.of(self.facts(key));
            call.arg(lease.to_string()).arg(token).arg(u8::from(is_told(key))).arg(epoch);
            call
        };
        let calls: Vec<Call> = keys.iter().map(reaping).collect();
        let answers = batch::call(&mut self.connection, &self.reap, &calls).await?;
        Ok(answers.into_iter().map(|answer| effect(batch::read(answer)?)).collect())
    }

    /// Nothing of a lease is left.
    pub async fn bury(&mut self, lease: LeaseId) -> RedisResult<()> {
        // In this order: a lease that is known is reaped again.
        cmd("DEL").arg(self.index(lease)).exec_async(&mut self.connection).await?;
        cmd("ZREM").arg(self.leases()).arg(lease.to_string()).exec_async(&mut self.connection).await
    }

    /// Leaves a lease to the other nodes, if there are any at this moment: it has run out from now on, and they reap it.
    /// Where there are none, gives the leases that have run out and that nobody but the caller will reap.
    pub async fn leave(&mut self, lease: LeaseId) -> RedisResult<Option<Vec<LeaseId>>> {
        let mut call = self.leave.of(self.leases());
        call.arg(lease.to_string());
        let mut answers = batch::call(&mut self.connection, &self.leave, &[call]).await?;
        let (has_others, run_out): (bool, Vec<String>) = batch::read(answers.pop().unwrap_or_default())?;
        let run_out = run_out.iter().filter_map(|text| LeaseId::parse(text)).collect();
        Ok((!has_others).then_some(run_out))
    }

    /// Whether what waits to be told is still so; this node tells it then. Asked again, it is so still, until it is
    /// [told](Self::told).
    pub async fn settle(
        &mut self,
        pending: &[&Pending],
        epoch: &str,
    ) -> RedisResult<Vec<RedisResult<Settled>>> {
        let settled = |answer: RedisResult<u8>| match answer? {
            0 => Ok(Settled::No),
            1 => Ok(Settled::Yes),
            _ => Ok(Settled::NotYet),
        };
        Ok(self.settling(pending, "ask", epoch).await?.into_iter().map(settled).collect())
    }

    /// What was settled is told.
    pub async fn told(&mut self, pending: &[&Pending], epoch: &str) -> RedisResult<()> {
        self.settling(pending, "told", epoch).await?.into_iter().try_for_each(|answer| answer.map(drop))
    }

    async fn settling(
        &mut self,
        pending: &[&Pending],
        what: &str,
        epoch: &str,
    ) -> RedisResult<Vec<RedisResult<u8>>> {
        let settling = |Pending { key, turn, token }: &&Pending| {
            let mut call = self.settle.of(self.facts(key));
            call.arg(token).arg(turn.field()).arg(what).arg(epoch);
            call
        };
        let calls: Vec<Call> = pending.iter().map(settling).collect();
        let answers = batch::call(&mut self.connection, &self.settle, &calls).await?;
        Ok(answers.into_iter().map(batch::read).collect())
    }
}

/// The token under which the removals of a word are settled, as say.lua makes it.
pub fn token(word: &Word) -> String {
    format!("{} {}", word.lease, word.seq)
}

/// The token of what is reaped by the holder of a lease, as that of a word begins: when it dies before it has told webhooks,
/// whoever reaps it tells them.
pub fn reaping_token(own: LeaseId, count: u64) -> String {
    format!("{own} r{count}")
}

type RawEffect = (i64, Vec<String>);
type RawRoll = (bool, u64, Vec<String>, Vec<String>, String, bool, bool, String);

fn effect((subscriptions, told): RawEffect) -> RedisResult<Effect> {
    let turn = |text: &String| match text.split_at_checked(1) {
        Some((kind @ ("+" | "*"), user_id)) => Ok((FleetTurn::Added(user_id.into()), kind == "*")),
        Some(("-", user_id)) => Ok((FleetTurn::Removed(user_id.into()), true)),
        Some((kind @ ("o" | "w"), "")) => Ok((FleetTurn::Occupied, kind == "w")),
        Some(("v", "")) => Ok((FleetTurn::Vacated, true)),
        _ => Err(RedisError::from((
            ErrorKind::Client,
            "expected a script to answer +, *, -, o, w or v, but found something else",
        ))),
    };
    let turns = told.iter().map(turn).collect::<RedisResult<_>>()?;
    Ok(Effect { subscriptions: u64::try_from(subscriptions).ok(), turns })
}

/// Reads a channel's facts. What is not ours is left out: a later version may write more. What is of another epoch
/// counts no more.
fn snapshot(facts: HashMap<String, String>, epoch: &str) -> Snapshot {
    let mut snapshot = Snapshot::default();
    if facts.get("e").is_none_or(|written| written != epoch) {
        return snapshot;
    }
    for (field, value) in facts {
        let Some((kind, rest)) = field.split_at_checked(1) else { continue };
        let lease = rest.split_at_checked(16).and_then(|(lease, rest)| Some((LeaseId::parse(lease)?, rest)));
        match (kind, lease) {
            ("s", Some((lease, ""))) => {
                let numbers =
                    value.split_once(' ').map(|(seq, subscriptions)| (seq.parse(), subscriptions.parse()));
                if let Some((Ok(seq), Ok(subscriptions))) = numbers {
                    snapshot.owners.push(Owner { lease, seq, subscriptions });
                }
            }
            ("m", Some((lease, user_id))) => {
                let user_info = value.strip_prefix('+').map(Into::into);
                snapshot.members.push((lease, Member { user_id: user_id.into(), user_info }));
            }
            _ => {}
        }
    }
    snapshot
}
