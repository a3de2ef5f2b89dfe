//! What waits to be published: bounded in bytes and in time.
//!
//! Owns the numbering of frames, and the way from the shards to the broker's thread: whoever publishes takes a lock
//! for a moment, whatever Redis does. What is on its way counts until Redis has taken it. A frame that there is no
//! room for is dropped and counted: those that wait are older, and nearer to their turn.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::frame;
use crate::metrics::Metrics;

/// What a waiting frame costs beside its bytes.
const PARCEL_BYTES: usize = 128;

/// A frame on its way to a topic.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) key: String,
    pub(super) slot: usize,
    pub(super) frame: Bytes,
    /// The place in which it was published.
    pub(super) serial: u64,
    pub(super) since: Instant,
}

impl Parcel {
    fn bytes(&self) -> usize {
        PARCEL_BYTES + self.key.len() + self.frame.len()
    }
}

/// The shards' end and the thread's.
#[derive(Debug)]
pub(super) struct Outbound {
    waiting: Mutex<Waiting>,
    /// Tells the thread that there is something new, here or among the topics.
    pub(super) news: Notify,
    bytes_max: usize,
    /// Frames that there was no room for since this was asked the last time.
    refused: AtomicU64,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Waiting {
    parcels: VecDeque<Parcel>,
    serial: u64,
    /// Of all that wait, those that the thread has taken included.
    bytes: usize,
}

impl Outbound {
    pub(super) fn new(bytes_max: usize, metrics: Arc<Metrics>) -> Self {
        let (waiting, news, refused) = (Mutex::default(), Notify::new(), AtomicU64::new(0));
        Self { waiting, news, bytes_max, refused, metrics }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers a frame and lets it wait, if there is room for it.
    pub(super) fn push(&self, key: String, slot: usize, mut frame: Vec<u8>) {
        let bytes = PARCEL_BYTES + key.len() + frame.len();
        let mut waiting = self.lock();
        if waiting.bytes + bytes > self.bytes_max {
            drop(waiting);
            self.refused.fetch_add(1, Ordering::Relaxed);
            return self.metrics.broker_dropped_total.increment();
        }
        waiting.bytes += bytes;
        waiting.serial += 1;
        let serial = waiting.serial;
        frame::number(&mut frame, serial);
        waiting.parcels.push_back(Parcel { key, slot, frame: frame.into(), serial, since: Instant::now() });
        drop(waiting);
        self.metrics.broker_waiting_bytes.add(bytes as u64);
        self.news.notify_one();
    }

    /// Takes all that is new.
    pub(super) fn take(&self) -> VecDeque<Parcel> {
        std::mem::take(&mut self.lock().parcels)
    }

    /// A parcel waits no longer.
    pub(super) fn release(&self, parcel: &Parcel) {
        self.lock().bytes -= parcel.bytes();
        self.metrics.broker_waiting_bytes.subtract(parcel.bytes() as u64);
    }

    /// How many frames there was no room for since this was asked the last time.
    pub(super) fn refused(&self) -> u64 {
        match self.refused.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.refused.swap(0, Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::NodeId;

    #[test]
    fn frames_are_numbered_in_their_order_and_bounded() {
        let metrics: Arc<Metrics> = Arc::default();
        let outbound = Outbound::new(2 * (PARCEL_BYTES + 1 + frame::HEADER_BYTES), Arc::clone(&metrics));
        for _ in 0..3 {
            outbound.push("k".to_owned(), 0, frame::begin(frame::PUBLICATION, 0, NodeId(1), 0));
        }
        let parcels = outbound.take();
        let serials = parcels.iter().map(|parcel| frame::decode(&parcel.frame).unwrap().0.serial);
        assert_eq!(serials.collect::<Vec<_>>(), [1, 2]);
        assert_eq!((outbound.refused(), metrics.broker_dropped_total.value()), (1, 1));
        outbound.push("k".to_owned(), 0, frame::begin(frame::PUBLICATION, 0, NodeId(1), 0));
        assert!(outbound.take().is_empty(), "what was taken has not been published yet");
        parcels.iter().for_each(|parcel| outbound.release(parcel));
        assert_eq!(metrics.broker_waiting_bytes.value(), 0);
        outbound.push("k".to_owned(), 0, frame::begin(frame::PUBLICATION, 0, NodeId(1), 0));
        assert_eq!(outbound.take().len(), 1);
    }
}
