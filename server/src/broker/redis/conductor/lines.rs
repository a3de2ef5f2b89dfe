//! The lines, one per primary, and the slots of each.
//!
//! Owns what is on its way on each: one batch of frames and one of wishes at a time, so that their order holds. The
//! next batch is whatever has come meanwhile: under load batches grow, and the round trip costs less per frame.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use redis::aio::ConnectionLike as _;
use redis::{Pipeline, Value};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::layout::{self, Layout};
use super::super::link::{Gate, Link, LinkError, Way, ask};
use super::super::outbound::Parcel;
use super::super::topics::Wish;
use super::Event;
use crate::config;
use crate::config::redis::Place;

/// Frames and bytes of one batch; a single frame may be larger.
const BATCH_FRAMES_MAX: usize = 512;
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Wishes of one batch.
const WISHES_MAX: usize = 1_024;

/// Which line, for as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LineId(u64);

/// One primary.
pub(super) struct Line {
    id: LineId,
    link: Link,
    cluster: bool,
    /// What is to be published, in order.
    pub(super) waiting: VecDeque<Parcel>,
    /// What is being published.
    sent: Vec<Parcel>,
    /// What Redis is to be told.
    pub(super) wishes: VecDeque<Wish>,
    /// Whether it is being told something.
    pub(super) telling: bool,
    pub(super) probing: bool,
    /// Nothing is published before this.
    held_until: Option<Instant>,
}

/// What became of a batch.
pub(super) struct Sent {
    /// Redis has it.
    pub(super) taken: Vec<Parcel>,
    /// Redis will never take it.
    pub(super) refused: Vec<Parcel>,
    /// Why the last of them was refused.
    pub(super) reason: String,
    /// Whether this line is not the one any more.
    pub(super) moved: bool,
}

/// Whether an error of Redis says that somebody else, or the same at another time, would answer otherwise.
pub(super) fn is_passing(code: &str) -> bool {
    matches!(
        code,
        "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN" | "LOADING" | "READONLY" | "BUSY"
    )
}

impl Line {
    pub(super) fn place(&self) -> &Place {
        &self.link.place
    }

    pub(super) fn gate(&self) -> &Arc<Gate> {
        &self.link.gate
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty()
    }

    /// Whether frames are held back.
    pub(super) fn is_held(&self) -> bool {
        self.held_until.is_some_and(|until| Instant::now() < until)
    }

    /// Holds nothing back any more.
    pub(super) fn let_go(&mut self) {
        self.held_until = None;
    }

    /// All frames that Redis has not taken, as far as it is known, in order.
    pub(super) fn into_parcels(self) -> impl Iterator<Item = Parcel> {
        self.sent.into_iter().chain(self.waiting)
    }

    /// Publishes the next batch, unless one is on its way.
    pub(super) fn publish(&mut self, hurry: bool, events: &mpsc::UnboundedSender<Event>) {
        if !self.sent.is_empty() || self.waiting.is_empty() || (self.is_held() && !hurry) {
            return;
        }
        let command = if self.cluster { "SPUBLISH" } else { "PUBLISH" };
        let mut pipeline = Pipeline::new();
        let mut bytes = 0;
        while self.sent.len() < BATCH_FRAMES_MAX
            && bytes < BATCH_BYTES_MAX
            && let Some(parcel) = self.waiting.pop_front()
        {
            bytes += parcel.frame.len();
            pipeline.cmd(command).arg(parcel.key.as_str()).arg(&parcel.frame[..]);
            self.sent.push(parcel);
        }
        let (id, count) = (self.id, self.sent.len());
        let (mut connection, events) = (self.link.publishing.connection.clone(), events.clone());
        tokio::task::spawn_local(async move {
            let outcome = connection.req_packed_commands(&pipeline, 0, count).await;
            // Nobody listening means that the thread is ending.
            let _ = events.send(Event::Published(id, outcome));
        });
    }

    /// Takes the answers to the batch. What Redis would take elsewhere or later waits again, before all others.
    pub(super) fn published(&mut self, answers: Vec<Value>) -> Sent {
        let mut sent = Sent { taken: Vec::new(), refused: Vec::new(), reason: String::new(), moved: false };
        let mut again = Vec::new();
        let mut answers = answers.into_iter();
        for parcel in std::mem::take(&mut self.sent) {
            match answers.next() {
                Some(Value::ServerError(error)) => {
                    sent.reason = error.to_string();
                    if is_passing(error.code()) {
                        sent.moved = true;
                        again.push(parcel);
                    } else {
                        sent.refused.push(parcel);
                    }
                }
                Some(_) => sent.taken.push(parcel),
                None => again.push(parcel),
            }
        }
        again.into_iter().rev().for_each(|parcel| self.waiting.push_front(parcel));
        sent
    }

    /// Tells Redis the next wishes, unless some are on their way.
    pub(super) fn tell(&mut self, events: &mpsc::UnboundedSender<Event>) {
        if self.telling || self.wishes.is_empty() {
            return;
        }
        self.telling = true;
        let (listen, leave) =
            if self.cluster { ("SSUBSCRIBE", "SUNSUBSCRIBE") } else { ("SUBSCRIBE", "UNSUBSCRIBE") };
        let mut pipeline = Pipeline::new();
        let mut keys = Vec::new();
        for wish in self.wishes.drain(..self.wishes.len().min(WISHES_MAX)) {
            // One command each, for in a cluster those of one command must share a slot.
            pipeline.cmd(if wish.listen { listen } else { leave }).arg(wish.key.as_str());
            keys.push(wish.key);
        }
        let id = self.id;
        let (mut connection, events) = (self.link.listening.connection.clone(), events.clone());
        tokio::task::spawn_local(async move {
            let outcome = connection.req_packed_commands(&pipeline, 0, keys.len()).await;
            let _ = events.send(Event::Told(id, keys, outcome));
        });
    }

    /// Asks whether it is there, and is still the primary: of what the Sentinels say too, if they are given.
    pub(super) fn probe(
        &mut self,
        way: &Way,
        sentinels: Option<config::Redis>,
        fleet: &str,
        events: &mpsc::UnboundedSender<Event>,
    ) {
        if std::mem::replace(&mut self.probing, true) {
            return;
        }
        let (id, place, way) = (self.id, self.place().clone(), way.clone());
        let mut publishing = self.link.publishing.connection.clone();
        let mut listening = self.link.listening.connection.clone();
        let counting = (!self.cluster).then(|| redis::cmd("PUBSUB").arg("NUMSUB").arg(fleet).to_owned());
        let events = events.clone();
        tokio::task::spawn_local(async move {
            let probed = async {
                let hello = way.hello(&place, &mut publishing).await?;
                if hello.role != "master" {
                    return Err(LinkError::Role { place: place.clone(), found: hello.role });
                }
                ask(&place, &mut listening, &redis::cmd("PING")).await?;
                if let Some(redis) = &sentinels
                    // Sentinels that do not answer say nothing about the primary.
                    && let Ok(primary) = layout::primary(redis, &way).await
                    && primary != place
                {
                    let found = format!("server that is not the primary any more, which is {primary}");
                    return Err(LinkError::Role { place: place.clone(), found });
                }
                match counting {
                    // Not every user may ask; then time alone decides.
                    Some(command) => {
                        let counted = ask(&place, &mut publishing, &command).await;
                        Ok(counted.ok().as_ref().and_then(super::listeners))
                    }
                    None => Ok(None),
                }
            };
            let _ = events.send(Event::Probed(id, probed.await));
        });
    }
}

/// All lines.
pub(super) struct Lines {
    by_id: HashMap<LineId, Line>,
    by_slot: Vec<Option<LineId>>,
    cluster: bool,
    next_id: u64,
}

/// Gives out the ids of an attempt's lines.
pub(super) struct Ids(u64);

impl Ids {
    pub(super) fn draw(&mut self) -> LineId {
        self.0 += 1;
        LineId(self.0)
    }
}

/// What another layout has changed.
pub(super) struct Changed {
    /// Slots that another line has now, or none.
    pub(super) slots: Vec<bool>,
    /// Frames of lines that are gone, or whose slot is elsewhere now.
    pub(super) parcels: Vec<Parcel>,
}

impl Lines {
    pub(super) fn new(slots: usize, cluster: bool) -> Self {
        Self { by_id: HashMap::new(), by_slot: vec![None; slots], cluster, next_id: 0 }
    }

    pub(super) fn get(&self, id: LineId) -> Option<&Line> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: LineId) -> Option<&mut Line> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Line> {
        self.by_id.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Line> {
        self.by_id.values_mut()
    }

    pub(super) fn of_slot_mut(&mut self, slot: usize) -> Option<&mut Line> {
        self.by_slot[slot].and_then(|id| self.by_id.get_mut(&id))
    }

    pub(super) fn places(&self) -> Vec<Place> {
        self.iter().map(|line| line.place().clone()).collect()
    }

    /// Which slots have a line.
    pub(super) fn reached(&self) -> Vec<bool> {
        self.by_slot.iter().map(Option::is_some).collect()
    }

    /// Whether all of them have.
    pub(super) fn are_whole(&self) -> bool {
        self.by_slot.iter().all(Option::is_some)
    }

    /// Ids for an attempt: more than a cluster has servers.
    pub(super) fn next_ids(&mut self) -> Ids {
        let ids = Ids(self.next_id);
        self.next_id += super::super::keys::SLOTS as u64;
        ids
    }

    pub(super) fn remove(&mut self, id: LineId) -> Option<Line> {
        self.by_slot.iter_mut().filter(|slot| **slot == Some(id)).for_each(|slot| *slot = None);
        self.by_id.remove(&id)
    }

    /// Takes on what was opened, gives up what is not in the layout any more, and gives every slot to its line.
    pub(super) fn lay_out(
        &mut self,
        layout: &Layout,
        mut opened: HashMap<Place, (LineId, Link)>,
        held_until: Option<Instant>,
    ) -> Changed {
        let mut parcels = Vec::new();
        let gone: Vec<LineId> = self
            .iter()
            .filter(|line| !layout.iter().any(|(place, _)| place == line.place()))
            .map(|line| line.id)
            .collect();
        for id in gone {
            parcels.extend(self.by_id.remove(&id).into_iter().flat_map(Line::into_parcels));
        }
        for (place, _) in layout {
            if let Some((id, link)) = opened.remove(place) {
                let line = Line {
                    id,
                    link,
                    cluster: self.cluster,
                    waiting: VecDeque::new(),
                    sent: Vec::new(),
                    wishes: VecDeque::new(),
                    telling: false,
                    probing: false,
                    held_until,
                };
                self.by_id.insert(id, line);
            }
        }
        let mut by_slot = vec![None; self.by_slot.len()];
        for (place, ranges) in layout {
            let id = self.iter().find(|line| line.place() == place).map(|line| line.id);
            for slot in ranges.iter().cloned().flatten() {
                by_slot[slot] = id;
            }
        }
        let slots = by_slot.iter().zip(&self.by_slot).map(|(new, old)| new != old).collect();
        self.by_slot = by_slot;
        for line in self.by_id.values_mut() {
            let (stay, leave) = std::mem::take(&mut line.waiting)
                .into_iter()
                .partition(|parcel| self.by_slot[parcel.slot] == Some(line.id));
            line.waiting = stay;
            parcels.extend::<VecDeque<Parcel>>(leave);
            // Wishes for slots that are elsewhere now are found anew.
            line.wishes.retain(|wish| self.by_slot[wish.slot] == Some(line.id));
        }
        Changed { slots, parcels }
    }
}
