//! The broker's thread: what comes, what goes, and what is done when a server is gone.
//!
//! Owns the order of things: [`lines`] is what there is to each primary, and [`attempts`] how they come and go. Everything that happens comes through one queue of
//! events and is dealt with one after the other, so that a confirmation stands where it stood among the messages.
//! Attempts, batches and probes are tasks, which report back as events of their own; a report about a line that is
//! gone changes nothing.

mod attempts;
mod lines;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use redis::{PushInfo, PushKind, RedisError, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::rustls::ClientConfig;
use tracing::{info, warn};

use super::Shared;
use super::intake::Intake;
use super::keys::Keys;
use super::layout::Layout;
use super::link::{Link, LinkError, Way, pushed_bytes, text};
use super::outbound::Parcel;
use crate::broker::{Heard, Listener, NodeId, Standing, Topic};
use crate::config;
use crate::config::redis::{Place, Topology};
use crate::ending::Finish;
use crate::limits::Limits;
use crate::logs::Sparingly;
use crate::metrics::Metrics;
use crate::pause::Pause;
use lines::{Line, LineId, Lines, Sent};

/// How often a connection that says nothing is asked whether it is there.
const PROBE: Duration = Duration::from_secs(1);
/// How often it is asked whether the other nodes are there again.
const LOOK: Duration = Duration::from_millis(100);
/// The first pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);
/// Events that are dealt with before anything is sent.
const EVENTS_MAX: usize = 1_024;
/// Topics that Redis is told about at a time.
const WISHES_MAX: usize = 1_024;

static DROPPED: Sparingly = Sparingly::new();
static DEAF: Sparingly = Sparingly::new();

/// What the thread starts with.
#[derive(Debug)]
pub(super) struct Equipment {
    pub(super) id: NodeId,
    pub(super) redis: config::Redis,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) keys: Keys,
    pub(super) limits: Limits,
    pub(super) metrics: Arc<Metrics>,
    pub(super) shared: Arc<Shared>,
}

/// What has happened.
enum Event {
    /// Redis has sent something on a line's listening connection.
    Pushed(LineId, PushInfo),
    /// A batch was published, or not.
    Published(LineId, Result<Vec<Value>, RedisError>),
    /// Wishes were answered, or not. What was confirmed has come as [`Event::Pushed`].
    Told(LineId, Vec<String>, Result<Vec<Value>, RedisError>),
    /// A line was asked whether it is there; how many nodes listen to all, if that was asked too.
    Probed(LineId, Result<Option<u64>, LinkError>),
    /// An attempt has come to something.
    Found(Result<Layout, LinkError>, Vec<(LineId, Place, Result<Link, LinkError>)>),
}

pub(super) fn start(
    equipment: Equipment,
    listener: Weak<dyn Listener>,
    finish: oneshot::Receiver<Finish>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("broker".to_owned()).spawn(move || {
        let (events, coming) = mpsc::unbounded_channel();
        let conductor = Conductor::new(equipment, listener, events);
        LocalSet::new().block_on(&runtime, conductor.run(coming, finish));
    })
}

struct Conductor {
    redis: config::Redis,
    way: Way,
    mode: &'static str,
    keys: Keys,
    limits: Limits,
    metrics: Arc<Metrics>,
    shared: Arc<Shared>,
    listener: Weak<dyn Listener>,
    events: mpsc::UnboundedSender<Event>,
    intake: Intake,
    lines: Lines,
    /// Frames for slots that no line has.
    stranded: VecDeque<Parcel>,
    /// Whether an attempt is being made.
    attempting: bool,
    /// When the next one is due; none while everything is as it should be.
    attempt_at: Option<Instant>,
    pause: Pause,
    probe_at: Instant,
    /// What was heard, and is not told yet.
    heard: Vec<Heard>,
    /// Topics that wait no longer, and have not been told so yet.
    ready: Vec<Topic>,
    /// Whether all that was wanted has been confirmed since slots came within reach, and every slot is.
    whole: bool,
    /// Why not, as far as it is known.
    reason: String,
    /// Whether Redis has been away since it was connected for the first time.
    was_connected: bool,
    /// Nodes that listened to all when they were counted last.
    nodes: u64,
    finishing: bool,
}

impl Conductor {
    fn new(equipment: Equipment, listener: Weak<dyn Listener>, events: mpsc::UnboundedSender<Event>) -> Self {
        let Equipment { id, redis, tls, keys, limits, metrics, shared } = equipment;
        let within = Duration::from_millis(limits.redis_timeout_ms as u64);
        let pause_max = Duration::from_millis(limits.redis_reconnect_ms as u64);
        let cluster = redis.topology == Topology::Cluster;
        let now = Instant::now();
        Self {
            way: Way { tls, within },
            mode: if cluster { "cluster" } else { "standalone" },
            lines: Lines::new(keys.slots(), cluster),
            intake: Intake::new(id, Arc::clone(&metrics)),
            redis,
            keys,
            limits,
            metrics,
            shared,
            listener,
            events,
            stranded: VecDeque::new(),
            attempting: false,
            attempt_at: Some(now),
            pause: Pause::new(PAUSE, pause_max),
            probe_at: now + PROBE,
            heard: Vec::new(),
            ready: Vec::new(),
            whole: false,
            reason: String::new(),
            was_connected: false,
            nodes: 0,
            finishing: false,
        }
    }

    async fn run(
        mut self,
        mut coming: mpsc::UnboundedReceiver<Event>,
        mut finish: oneshot::Receiver<Finish>,
    ) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let Finish { within, done } = loop {
            self.pump();
            let due = self.due();
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                biased;
                finish = &mut finish => match finish {
                    Ok(finish) => break finish,
                    Err(_) => return,
                },
                _ = coming.recv_many(&mut events, EVENTS_MAX) => self.take(&mut events).await,
                () = shared.outbound.news.notified() => {}
                () = sleep_until(due) => self.look(),
            }
        };
        self.finishing = true;
        let all_out = async {
            loop {
                self.pump();
                if self.is_done() {
                    return;
                }
                let due = self.due();
                tokio::select! {
                    _ = coming.recv_many(&mut events, EVENTS_MAX) => self.take(&mut events).await,
                    () = sleep_until(due) => self.look(),
                }
            }
        };
        if timeout(within, all_out).await.is_err() {
            warn!("frames for other nodes that Redis did not take in time are lost");
        }
        // Nobody waiting means that the process is ending.
        let _ = done.send(());
    }

    /// Whether there is nothing more to be done before the end: nobody waits for a Redis that is away.
    fn is_done(&self) -> bool {
        let is_empty = self.stranded.is_empty() && self.lines.iter().all(Line::is_empty);
        is_empty || self.lines.iter().next().is_none()
    }

    /// When something is due though nothing happens.
    fn due(&self) -> Instant {
        let attempt = self.attempt_at.filter(|_| !self.attempting);
        attempt.into_iter().fold(self.probe_at, Instant::min)
    }

    /// Does what is due.
    fn look(&mut self) {
        let now = Instant::now();
        if !self.attempting && self.attempt_at.is_some_and(|at| at <= now) {
            self.attempt();
        }
        if self.probe_at <= now {
            self.drop_old(now);
            let sentinel = matches!(self.redis.topology, Topology::Sentinel { .. });
            let fleet = self.keys.key(&Topic::Fleet);
            for line in self.lines.iter_mut() {
                let primary_of = sentinel.then(|| self.redis.clone());
                line.probe(&self.way, primary_of, &fleet, &self.events);
            }
            let holding = self.lines.iter().any(Line::is_held);
            self.probe_at = now + if holding { LOOK } else { PROBE };
        }
    }

    /// Deals with what has happened. What was heard is flushed before it returns: that is what keeps a server that sends
    /// faster than clients take from filling the memory.
    async fn take(&mut self, events: &mut Vec<Event>) {
        for event in events.drain(..) {
            match event {
                Event::Pushed(id, info) => self.pushed(id, info),
                Event::Published(id, outcome) => self.published(id, outcome),
                Event::Told(id, keys, outcome) => self.told(id, &keys, outcome),
                Event::Probed(id, outcome) => self.probed(id, outcome),
                Event::Found(layout, links) => self.found(layout, links),
            }
        }
        self.tell_ready();
        self.settle();
        if let Some(flushed) = self.tell_heard() {
            flushed.wait().await;
        }
    }

    /// Sends what can be sent.
    fn pump(&mut self) {
        for parcel in self.shared.outbound.take() {
            match self.lines.of_slot_mut(parcel.slot) {
                Some(line) => line.waiting.push_back(parcel),
                None => self.stranded.push_back(parcel),
            }
        }
        let refused = self.shared.outbound.refused();
        if refused > 0 {
            self.warn_of_dropped(refused, "as many bytes wait for Redis as may (redis_buffer_bytes_max)");
        }
        let wishes = self.shared.topics().wishes(WISHES_MAX);
        let more = wishes.len() == WISHES_MAX;
        for wish in wishes {
            // A slot that came out of reach meanwhile is asked for again when it is back.
            if let Some(line) = self.lines.of_slot_mut(wish.slot) {
                line.wishes.push_back(wish);
            }
        }
        if more {
            self.shared.outbound.news.notify_one();
        }
        let hurry = self.finishing;
        for line in self.lines.iter_mut() {
            line.tell(&self.events);
            line.publish(hurry, &self.events);
        }
    }

    fn pushed(&mut self, id: LineId, info: PushInfo) {
        let Some(line) = self.lines.get(id) else { return };
        line.gate().subtract(pushed_bytes(&info));
        let PushInfo { kind, data } = info;
        if kind == PushKind::Disconnection {
            return self.lose(id, "the connection was closed");
        }
        let mut data = data.into_iter();
        let topic = match data.next() {
            Some(Value::BulkString(key)) => self.keys.topic(&key),
            _ => None,
        };
        let Some(topic) = topic else { return };
        match kind {
            PushKind::Message | PushKind::SMessage => {
                let Some(Value::BulkString(bytes)) = data.next() else { return };
                if let Some(heard) = self.intake.judge(topic, bytes) {
                    // Those that are ready are told before they hear anything.
                    self.tell_ready();
                    self.heard.push(heard);
                }
            }
            PushKind::Subscribe | PushKind::SSubscribe => {
                let is_awaited = self.shared.topics().confirmed(&topic);
                self.ready.extend(is_awaited.then_some(topic));
            }
            PushKind::Unsubscribe | PushKind::SUnsubscribe => {
                self.intake.forget(&topic);
                let expected = self.shared.topics().ended(&topic);
                if !expected {
                    // A cluster has moved the slot.
                    self.lose(id, "the server ended a subscription");
                }
            }
            _ => {}
        }
    }

    fn published(&mut self, id: LineId, outcome: Result<Vec<Value>, RedisError>) {
        let Some(line) = self.lines.get_mut(id) else { return };
        match outcome.map(|answers| line.published(answers)) {
            Err(error) => self.lose(id, &error.to_string()),
            Ok(Sent { taken, refused, reason, moved }) => {
                self.metrics.broker_published_total.add(taken.len() as u64);
                taken.iter().chain(&refused).for_each(|parcel| self.shared.outbound.release(parcel));
                if !refused.is_empty() {
                    self.metrics.broker_dropped_total.add(refused.len() as u64);
                    self.warn_of_dropped(refused.len() as u64, &reason);
                }
                if moved {
                    self.lose(id, &reason);
                }
            }
        }
    }

    fn told(&mut self, id: LineId, keys: &[String], outcome: Result<Vec<Value>, RedisError>) {
        let Some(line) = self.lines.get_mut(id) else { return };
        line.telling = false;
        let answers = match outcome {
            Ok(answers) => answers,
            Err(error) => return self.lose(id, &error.to_string()),
        };
        for (key, answer) in keys.iter().zip(answers) {
            let Value::ServerError(error) = answer else { continue };
            if lines::is_passing(error.code()) {
                return self.lose(id, &error.to_string());
            }
            if let Some(left_out) = DEAF.permit(std::time::Instant::now()) {
                warn!(topic = key, %error, left_out, "Redis does not let this node listen; what other nodes publish there is missed");
            }
            if let Some(topic) = self.keys.topic(key.as_bytes())
                && self.shared.topics().refused(&topic)
            {
                self.ready.push(topic);
            }
        }
    }

    fn probed(&mut self, id: LineId, outcome: Result<Option<u64>, LinkError>) {
        let Some(line) = self.lines.get_mut(id) else { return };
        line.probing = false;
        match outcome {
            Err(error) => return self.give_up(id, error.to_string()),
            Ok(None) => {}
            Ok(Some(nodes)) if line.is_held() => {
                if self.nodes > 0 && nodes >= self.nodes && self.shared.topics().are_restored() {
                    line.let_go();
                }
            }
            Ok(Some(nodes)) => {
                self.nodes = nodes;
                self.metrics.broker_nodes.set(nodes);
            }
        }
        // One that takes connections and ends them at once is not tried again at once.
        self.pause.reset();
    }

    /// Says how it stands, when that has changed.
    fn settle(&mut self) {
        if !self.whole {
            if !self.reason.is_empty() {
                self.stand_away();
            }
            return;
        }
        if self.shared.topics().are_restored() && *self.shared.standing() != Standing::Connected {
            info!(redis = ?self.lines.places().iter().map(ToString::to_string).collect::<Vec<_>>(), "Redis is connected; other nodes are heard");
            self.was_connected = true;
            self.reason.clear();
            self.stand(Standing::Connected);
        }
    }

    fn stand_away(&mut self) {
        let reason = self.reason.clone();
        self.stand(Standing::Away { reason });
    }

    fn stand(&mut self, standing: Standing) {
        let was = std::mem::replace(&mut *self.shared.standing(), standing.clone());
        let is_away = |standing: &Standing| u64::from(matches!(standing, Standing::Away { .. }));
        match (is_away(&was), is_away(&standing)) {
            (0, 1) => self.metrics.broker_away.increment(),
            (1, 0) => self.metrics.broker_away.decrement(),
            _ => {}
        }
        if (was == Standing::Connected) != (standing == Standing::Connected) {
            *self.shared.turned() = std::time::Instant::now();
        }
        if was != standing
            && let Some(listener) = self.listener.upgrade()
        {
            self.tell_ready();
            listener.stands(&standing);
        }
    }

    fn tell_ready(&mut self) {
        if self.ready.is_empty() {
            return;
        }
        // What was heard before comes first. Nobody waits for it twice: the next batch does.
        drop(self.tell_heard());
        let ready = std::mem::take(&mut self.ready);
        if let Some(listener) = self.listener.upgrade() {
            listener.ready(&ready);
        }
    }

    fn tell_heard(&mut self) -> Option<crate::node::Flushed> {
        if self.heard.is_empty() {
            return None;
        }
        let heard = std::mem::take(&mut self.heard);
        self.listener.upgrade().and_then(|listener| listener.hear(&heard))
    }

    /// Drops what has waited for too long.
    fn drop_old(&mut self, now: Instant) {
        let most = Duration::from_millis(self.limits.redis_buffer_ms as u64);
        let mut old = Vec::new();
        let queues = self.lines.iter_mut().map(|line| &mut line.waiting).chain([&mut self.stranded]);
        for queue in queues {
            let is_old = |parcel: &Parcel| now.duration_since(parcel.since) > most;
            while queue.front().is_some_and(is_old) {
                old.extend(queue.pop_front());
            }
        }
        if old.is_empty() {
            return;
        }
        old.iter().for_each(|parcel| self.shared.outbound.release(parcel));
        self.metrics.broker_dropped_total.add(old.len() as u64);
        self.warn_of_dropped(
            old.len() as u64,
            "they have waited for Redis as long as they may (redis_buffer_ms)",
        );
    }

    fn warn_of_dropped(&self, frames: u64, reason: &str) {
        if let Some(left_out) = DROPPED.permit(std::time::Instant::now()) {
            warn!(frames, reason, left_out, "frames for other nodes are dropped");
        }
    }
}

impl Drop for Conductor {
    /// A thread that ends by a mistake of its own leaves a node that hears nobody, and nobody may wait for it.
    fn drop(&mut self) {
        if self.finishing {
            return;
        }
        self.reason = "the broker's thread has ended, see the log; restart this server".to_owned();
        let reached = vec![false; self.keys.slots()];
        let released = self.shared.topics().reach(reached, |_| true);
        self.ready.extend(released);
        self.tell_ready();
        self.stand_away();
    }
}

/// How many connections listen to a topic, as PUBSUB NUMSUB answers.
pub(super) fn listeners(answer: &Value) -> Option<u64> {
    let count = |value: &Value| match value {
        Value::Int(count) => u64::try_from(*count).ok(),
        value => text(value)?.parse().ok(),
    };
    match answer {
        Value::Array(parts) => parts.get(1).and_then(count),
        Value::Map(parts) => parts.first().and_then(|(_, value)| count(value)),
        _ => None,
    }
}
