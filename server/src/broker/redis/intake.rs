//! What comes from Redis, and what of it is heard.
//!
//! Owns that a node does not hear itself, and hears nothing twice: a frame of which it was not certain that Redis had
//! taken it is published again, with the same number. Knows of each topic how far each node has been heard there.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use bytes::Bytes;

use crate::broker::{Heard, NodeId, Topic, frame, unreadable};
use crate::metrics::Metrics;

/// Nodes that are remembered for one topic. Beyond it all are forgotten, and a frame that comes again is heard twice.
const ORIGINS_MAX: usize = 4_096;

#[derive(Debug)]
pub(super) struct Intake {
    id: NodeId,
    serials: HashMap<Topic, HashMap<NodeId, u64>, RandomState>,
    metrics: Arc<Metrics>,
}

impl Intake {
    pub(super) fn new(id: NodeId, metrics: Arc<Metrics>) -> Self {
        Self { id, serials: HashMap::default(), metrics }
    }

    /// What is heard of a message; `None` when it is this node's own, or has been heard, or is not a frame.
    pub(super) fn judge(&mut self, topic: Topic, bytes: Vec<u8>) -> Option<Heard> {
        let header = match frame::decode(&bytes) {
            Ok((header, _)) => header,
            Err(error) => {
                unreadable(&self.metrics, &topic, &error);
                return None;
            }
        };
        if header.origin == self.id {
            return None;
        }
        let serials = self.serials.entry(topic.clone()).or_default();
        if serials.len() >= ORIGINS_MAX && !serials.contains_key(&header.origin) {
            serials.clear();
        }
        let last = serials.entry(header.origin).or_insert(0);
        if header.serial <= *last {
            self.metrics.broker_repeats_total.increment();
            return None;
        }
        *last = header.serial;
        self.metrics.broker_heard_total.increment();
        Some(Heard { topic, frame: Bytes::from(bytes) })
    }

    /// Nothing is heard of a topic any more.
    pub(super) fn forget(&mut self, topic: &Topic) {
        self.serials.remove(topic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_another_node_is_heard_once() {
        let metrics: Arc<Metrics> = Arc::default();
        let mut intake = Intake::new(NodeId(1), Arc::clone(&metrics));
        let mut heard = |origin: u64, serial: u64, version: u8| {
            let mut frame = frame::begin(frame::PUBLICATION, 0, NodeId(origin), 0);
            frame::number(&mut frame, serial);
            frame[0] = version;
            intake.judge(Topic::Fleet, frame).is_some()
        };
        assert!(heard(2, 5, 1));
        assert!(!heard(2, 5, 1), "again");
        assert!(!heard(2, 4, 1), "again, with what was before it");
        assert!(heard(3, 1, 1));
        assert!(!heard(1, 9, 1), "its own");
        assert!(!heard(3, 2, 2), "of another release");
        assert!(heard(2, 6, 1));
        assert_eq!((metrics.broker_repeats_total.value(), metrics.broker_unreadable_total.value()), (2, 1));
    }
}
