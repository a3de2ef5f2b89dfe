//! The sockets of the clients' port that are not WebSocket clients: not yet, never, or refused.
//!
//! Owns their bound. There may be `http_connections_max` of them, and together with the WebSocket clients no more
//! than leaves descriptors for PHP processes to attach with. When there are too many, whoever has waited longest for
//! a request's head (or, refused, for its client to go) is turned out for the newcomer: a client that means to
//! connect is through within a round trip, a client that means to keep others out is not. One whose request is being
//! answered is left alone; where nobody waits, it is the newcomer who is turned away.
//!
//! Each shard knows those that wait in it; how many there are is counted for the node.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustix::process::{Resource, getrlimit};
use tokio::sync::Notify;

use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::node::Node;

/// Descriptors of one attached PHP process: its socket, its ring, its doorbell, and the process itself.
const ATTACHMENT_DESCRIPTORS: u64 = 4;
/// Listeners, runtimes, files.
const OTHER_DESCRIPTORS: u64 = 64;

/// Who is there, in one shard.
#[derive(Debug)]
pub(super) struct Lobby {
    metrics: Arc<Metrics>,
    visitors_max: u64,
    sockets_max: u64,
    /// Those that may be turned out, in the order in which they began to wait.
    waiting: RefCell<BTreeMap<u64, Rc<Notify>>>,
    next: Cell<u64>,
}

/// A socket that is not a WebSocket client, until it is dropped.
#[derive(Debug)]
pub(crate) struct Visitor {
    lobby: Rc<Lobby>,
    /// Its address, which may be a proxy's.
    peer: IpAddr,
    turned_out: Rc<Notify>,
    /// Where it stands among those that wait.
    place: Cell<Option<u64>>,
}

impl Lobby {
    /// Nobody yet.
    pub(super) fn new(node: &Node) -> Rc<Self> {
        Self::bounded(Arc::clone(&node.metrics), &node.limits, getrlimit(Resource::Nofile).current)
    }

    fn bounded(metrics: Arc<Metrics>, limits: &Limits, descriptors: Option<u64>) -> Rc<Self> {
        Rc::new(Self {
            metrics,
            visitors_max: limits.http_connections_max as u64,
            sockets_max: sockets_max(limits, descriptors),
            waiting: RefCell::default(),
            next: Cell::default(),
        })
    }

    /// Takes somebody in; `None` when there are too many, and nobody whom to turn out instead.
    pub(super) fn enter(self: &Rc<Self>, peer: IpAddr) -> Option<Visitor> {
        let metrics = &self.metrics;
        if self.is_full() && !self.turn_out_one() {
            metrics.http_connections_refused_total.increment();
            return None;
        }
        metrics.http_connections.increment();
        let visitor =
            Visitor { lobby: Rc::clone(self), peer, turned_out: Rc::default(), place: Cell::default() };
        visitor.waits();
        Some(visitor)
    }

    /// Lets those that were turned out go, before the next newcomer is seen to: a listener gives a hundred in a row.
    pub(super) async fn make_way(&self) {
        if self.is_full() {
            tokio::task::yield_now().await;
        }
    }

    fn is_full(&self) -> bool {
        let visitors = self.metrics.http_connections.value();
        visitors >= self.visitors_max || visitors + self.metrics.connections.value() >= self.sockets_max
    }

    fn turn_out_one(&self) -> bool {
        let Some((_, longest)) = self.waiting.borrow_mut().pop_first() else { return false };
        longest.notify_one();
        self.metrics.http_connections_turned_out_total.increment();
        true
    }
}

impl Visitor {
    /// Its address, which may be a proxy's.
    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// It has nothing to be answered: it may be turned out.
    pub(crate) fn waits(&self) {
        self.is_answered();
        let place = self.lobby.next.get();
        self.lobby.next.set(place + 1);
        self.lobby.waiting.borrow_mut().insert(place, Rc::clone(&self.turned_out));
        self.place.set(Some(place));
    }

    /// A request has come and is answered.
    pub(crate) fn is_answered(&self) {
        if let Some(place) = self.place.take() {
            self.lobby.waiting.borrow_mut().remove(&place);
        }
    }

    /// Resolves when it is to be dropped. To be waited for by one task at a time.
    pub(crate) async fn turned_out(&self) {
        self.turned_out.notified().await;
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.is_answered();
        self.lobby.metrics.http_connections.decrement();
    }
}

/// How many sockets the port may have: what PHP processes need is left, but at least three quarters are taken, for a
/// small limit of open files would leave nothing else.
fn sockets_max(limits: &Limits, descriptors: Option<u64>) -> u64 {
    let Some(descriptors) = descriptors else { return u64::MAX };
    let others = OTHER_DESCRIPTORS + ATTACHMENT_DESCRIPTORS * limits.attachments_max as u64;
    descriptors - others.min(descriptors / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn lobby(visitors_max: usize, descriptors: u64) -> Rc<Lobby> {
        let limits = Limits { http_connections_max: visitors_max, attachments_max: 1, ..Limits::default() };
        Lobby::bounded(Arc::default(), &limits, Some(descriptors))
    }

    async fn is_turned_out(visitor: &Visitor) -> bool {
        tokio::select! {
            biased;
            () = visitor.turned_out() => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn who_has_waited_longest_makes_room() {
        let lobby = lobby(3, 1_000_000);
        let mut visitors: Vec<Visitor> = (0..3).map(|_| lobby.enter(PEER).unwrap()).collect();
        // The first has asked for something since, the second is being answered.
        visitors[0].waits();
        visitors[1].is_answered();
        visitors.push(lobby.enter(PEER).unwrap());
        let mut turned_out = Vec::new();
        for visitor in &visitors {
            turned_out.push(is_turned_out(visitor).await);
        }
        assert_eq!(turned_out, [false, false, true, false]);
        assert_eq!(lobby.metrics.http_connections_turned_out_total.value(), 1);
        visitors.clear();
        assert_eq!((lobby.metrics.http_connections.value(), lobby.waiting.borrow().len()), (0, 0));
    }

    #[test]
    fn where_nobody_waits_the_newcomer_is_turned_away() {
        let lobby = lobby(1, 1_000_000);
        let visitor = lobby.enter(PEER).unwrap();
        visitor.is_answered();
        assert!(lobby.enter(PEER).is_none());
        assert_eq!(lobby.metrics.http_connections_refused_total.value(), 1);
        visitor.waits();
        assert!(lobby.enter(PEER).is_some());
    }

    #[test]
    fn descriptors_are_left_for_php() {
        let lobby = lobby(1_000, 1_000);
        assert_eq!(lobby.sockets_max, 1_000 - 68);
        lobby.metrics.connections.add(1_000 - 68);
        assert!(lobby.enter(PEER).is_none());
        lobby.metrics.connections.decrement();
        let visitor = lobby.enter(PEER).unwrap();
        visitor.is_answered();
        assert!(lobby.enter(PEER).is_none());
        let few = Limits { attachments_max: 4_096, ..Limits::default() };
        assert_eq!((sockets_max(&few, Some(1_024)), sockets_max(&few, None)), (768, u64::MAX));
    }
}
