//! Nodes of one process: mostly a single one, which has nobody to tell.
//!
//! Owns the [`Exchange`] over which the nodes of one process hear each other, which tests hold against Redis. There is
//! no thread: whoever publishes carries to the others what waits, unless somebody is doing so already. So a listener
//! may publish while it hears, and all listeners hear one order.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use bytes::Bytes;

use super::{Broker, Heard, Listener, NodeId, Readiness, Standing, Topic, frame};

/// Where the nodes of one process meet.
#[derive(Debug, Default)]
pub struct Exchange(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    nodes: HashMap<NodeId, Member>,
    waiting: VecDeque<(NodeId, Heard)>,
    /// Whether somebody carries what waits to those who listen.
    carried: bool,
}

#[derive(Debug)]
struct Member {
    listener: Weak<dyn Listener>,
    topics: HashSet<Topic>,
    serial: u64,
}

/// One node's end of it.
#[derive(Debug)]
pub struct MemoryBroker {
    id: NodeId,
    /// None of a node that is alone.
    exchange: Option<Arc<Exchange>>,
}

impl Exchange {
    /// A further node, which hears what comes after this.
    pub fn join(self: &Arc<Self>, id: NodeId, listener: Weak<dyn Listener>) -> MemoryBroker {
        let member = Member { listener, topics: HashSet::new(), serial: 0 };
        self.lock().nodes.insert(id, member);
        MemoryBroker { id, exchange: Some(Arc::clone(self)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next one that waits, and who listens to it. None, and nobody carries any more, when nothing waits.
    fn next(&self) -> Option<(Heard, Vec<Arc<dyn Listener>>)> {
        let mut state = self.lock();
        let Some((origin, heard)) = state.waiting.pop_front() else {
            state.carried = false;
            return None;
        };
        let listens =
            |(id, member): &(&NodeId, &Member)| **id != origin && member.topics.contains(&heard.topic);
        let members = state.nodes.iter().filter(listens);
        let listeners = members.filter_map(|(_, member)| member.listener.upgrade()).collect();
        Some((heard, listeners))
    }
}

impl MemoryBroker {
    /// The broker of a node that is the only one.
    pub fn alone(id: NodeId) -> Self {
        Self { id, exchange: None }
    }

    fn change(&self, change: impl FnOnce(&mut HashSet<Topic>)) {
        if let Some(exchange) = &self.exchange
            && let Some(member) = exchange.lock().nodes.get_mut(&self.id)
        {
            change(&mut member.topics);
        }
    }
}

impl Broker for MemoryBroker {
    fn node_id(&self) -> NodeId {
        self.id
    }

    fn reaches_others(&self) -> bool {
        self.exchange.is_some()
    }

    fn publish(&self, topic: Topic, mut frame: Vec<u8>) {
        let Some(exchange) = &self.exchange else { return };
        {
            let mut state = exchange.lock();
            let Some(sender) = state.nodes.get_mut(&self.id) else { return };
            sender.serial += 1;
            frame::number(&mut frame, sender.serial);
            state.waiting.push_back((self.id, Heard { topic, frame: Bytes::from(frame) }));
            if std::mem::replace(&mut state.carried, true) {
                return;
            }
        }
        while let Some((heard, listeners)) = exchange.next() {
            for listener in listeners {
                // Nobody waits for another node.
                drop(listener.hear(std::slice::from_ref(&heard)));
            }
        }
    }

    fn listen(&self, topic: Topic) -> Readiness {
        self.change(|topics| {
            topics.insert(topic);
        });
        Readiness::Ready
    }

    fn leave(&self, topic: &Topic) {
        self.change(|topics| {
            topics.remove(topic);
        });
    }

    fn standing(&self) -> Standing {
        Standing::Connected
    }

    fn standing_since(&self) -> Option<Instant> {
        None
    }
}

impl Drop for MemoryBroker {
    fn drop(&mut self) {
        if let Some(exchange) = &self.exchange {
            exchange.lock().nodes.remove(&self.id);
        }
    }
}
