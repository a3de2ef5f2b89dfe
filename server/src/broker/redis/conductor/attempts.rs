//! How lines come and go: one is lost, and an attempt finds what is there instead.
//!
//! Owns the pauses between attempts, which never end, and what waits while there is nowhere to send it. One attempt is
//! made at a time, as a task of its own, so that a server that does not answer holds up nothing else.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::super::layout::{self, Layout};
use super::super::link::{Link, LinkError};
use super::lines::LineId;
use super::{Conductor, Event, LOOK};
use crate::config::redis::Place;
use crate::logs::Sparingly;

static LOST: Sparingly = Sparingly::new();

impl Conductor {
    /// Gives a line up for what has become of it.
    pub(super) fn lose(&mut self, id: LineId, reason: &str) {
        let Some(line) = self.lines.get(id) else { return };
        let reason = format!("Redis at {}: {reason}", line.place());
        self.give_up(id, reason);
    }

    /// Gives a line up, and looks for what is there instead. The reason names the server.
    pub(super) fn give_up(&mut self, id: LineId, reason: String) {
        let Some(line) = self.lines.remove(id) else { return };
        if let Some(left_out) = LOST.permit(std::time::Instant::now()) {
            warn!(
                reason,
                left_out, "Redis is away; this node's own clients are served, others are not heard"
            );
        }
        self.reason = reason;
        // What waits there goes where its slot goes.
        self.stranded.extend(line.into_parcels());
        self.stranded.make_contiguous().sort_unstable_by_key(|parcel| parcel.serial);
        self.whole = false;
        self.reach(|_| false);
        self.attempt_soon();
    }

    /// Tells the topics which slots can be reached now, and tells those who waited for others.
    fn reach(&mut self, anew: impl Fn(usize) -> bool) {
        let reached = self.lines.reached();
        let released = self.shared.topics().reach(reached, anew);
        self.ready.extend(released);
        self.shared.outbound.news.notify_one();
    }

    /// An attempt after a pause of random length, each time a longer one: nodes that have lost the same server do not
    /// all come back in the same moment.
    fn attempt_soon(&mut self) {
        if self.attempt_at.is_some() {
            return;
        }
        self.attempt_at = Some(Instant::now() + self.pause.draw());
    }

    /// Makes an attempt, which reports as [`Event::Found`].
    pub(super) fn attempt(&mut self) {
        self.attempting = true;
        let (redis, way, mode) = (self.redis.clone(), self.way.clone(), self.mode);
        let known = self.lines.places();
        let mut next_id = self.lines.next_ids();
        let events = self.events.clone();
        tokio::task::spawn_local(async move {
            let found = layout::find(&redis, &way, &known).await;
            let mut links = Vec::new();
            let new = found.iter().flatten().filter(|(place, _)| !known.contains(place));
            for (place, _) in new {
                let (id, pushed) = (next_id.draw(), events.clone());
                let push = move |info| {
                    // Nobody listening means that the thread is ending.
                    let _ = pushed.send(Event::Pushed(id, info));
                };
                links.push((id, place.clone(), way.link(place, &redis.credentials, mode, push).await));
            }
            let _ = events.send(Event::Found(found, links));
        });
    }

    /// Takes what an attempt has come to.
    pub(super) fn found(
        &mut self,
        layout: Result<Layout, LinkError>,
        links: Vec<(LineId, Place, Result<Link, LinkError>)>,
    ) {
        self.attempting = false;
        self.attempt_at = None;
        let layout = match layout {
            Ok(layout) => layout,
            Err(error) => return self.attempt_failed(&error),
        };
        let mut failed = None;
        let mut opened = HashMap::new();
        for (id, place, link) in links {
            match link {
                Ok(link) => {
                    self.metrics.broker_connections_total.increment();
                    opened.insert(place, (id, link));
                }
                Err(error) => failed = Some(error),
            }
        }
        // Where others may have been away too, they are given time to come back.
        let regroup = Duration::from_millis(self.limits.redis_regroup_ms as u64);
        let held_until = self.was_connected.then(|| Instant::now() + regroup);
        let changed = self.lines.lay_out(&layout, opened, held_until);
        let mut waiting = std::mem::take(&mut self.stranded);
        waiting.extend(changed.parcels);
        waiting.make_contiguous().sort_unstable_by_key(|parcel| parcel.serial);
        for parcel in waiting {
            match self.lines.of_slot_mut(parcel.slot) {
                Some(line) => line.waiting.push_back(parcel),
                None => self.stranded.push_back(parcel),
            }
        }
        self.reach(|slot| changed.slots[slot]);
        if let Some(error) = failed {
            return self.attempt_failed(&error);
        }
        if !self.lines.are_whole() {
            self.reason = "some slots of the cluster have no primary".to_owned();
            self.attempt_soon();
            return self.stand_away();
        }
        self.whole = true;
        self.probe_at = Instant::now() + LOOK;
    }

    fn attempt_failed(&mut self, error: &LinkError) {
        debug!(%error, "Redis is not reached; it is tried again");
        let first = self.reason.is_empty();
        self.reason = error.to_string();
        if first {
            warn!(%error, "Redis is not reached; this node's own clients are served, others are not heard");
        }
        self.whole = false;
        self.reach(|_| false);
        self.attempt_soon();
        self.stand_away();
    }
}
