//! Draining one ring.
//!
//! Owns the rhythm: a batch is copied out, published, flushed to every subscriber's socket on every shard, and
//! only then given back to PHP. A server that is killed in between leaves the batch in the ring, and its
//! successor drains it again: repeated at worst, never skipped.
//!
//! While records flow, the ring is looked at again for up to `look_again_us` before its doorbell is waited for,
//! since being woken costs PHP a system call. They flow when the last ones came that soon after those before: a
//! process that publishes once a millisecond would never be caught by looking, and each look would cost more than its
//! delivery. An idle ring costs nothing.

use std::io;
use std::pin::pin;
use std::time::{Duration, Instant};

use fanfare_wire::attach::{HANDSHAKE_BYTES_MAX, Message, RefusalCode};
use fanfare_wire::ring::{Batch, Consumer, RingError, SharedMemory};

use super::edge::Edge;
use super::{Attachment, End, Refusal, handshake, intake};
use crate::lifecycle::Phase;

/// A batch buffer larger than this is given back when its ring falls asleep.
const KEPT_BATCH_BYTES: usize = 16 * 1024;

/// Drains a ring until its process or the server leaves. `said` is what came over the socket already.
pub(super) async fn drain(
    attachment: &Attachment,
    mut consumer: Consumer<SharedMemory>,
    doorbell: &Edge,
    said: Vec<u8>,
) -> End {
    let limits = &attachment.shard.node.limits;
    let new_batch = || Batch::new(limits.batch_records_max, limits.batch_bytes_max);
    let mut batch = new_batch();
    let mut largest = 0;
    let look_again = Duration::from_micros(limits.look_again_us as u64);
    let is_soon = |since: Option<Instant>| since.is_some_and(|since| since.elapsed() < look_again);
    let may_look = || attachment.shard.looking.len() < limits.look_again_rings_max;
    let mut drained_at: Option<Instant> = None;
    let mut flows = false;
    let mut looking = None;
    let mut last: Option<u64> = None;
    let mut end: Option<End> = None;
    // Waited for all along, and not anew with every sleep: to begin and to give up five waits costs as much as to
    // drain a record.
    let mut ended = pin!(ended(attachment, said));
    loop {
        let drained = consumer.drain(&mut batch);
        if !batch.is_empty() {
            flows = is_soon(drained_at);
            largest = largest.max(batch.records().map(<[u8]>::len).sum());
            let delivered = deliver(attachment, &batch).await;
            // Also when its last record is unsound: what came before it is not to be delivered again.
            consumer.release(&batch);
            // A process that commits without pause is never waited for, so a withdrawn app is looked for here too.
            if let Err(refusal) = delivered.and_then(|()| handshake::withdrawn(&attachment.app)) {
                return End::Broken(refusal);
            }
            drained_at = Some(Instant::now());
            // A server that leaves takes what is committed by now: of a process that has ended, that is all there
            // is, and nobody else would ever deliver it. What a living one goes on to commit is the successor's.
            if attachment.shard.node.is_leaving()
                && consumer.position() >= *last.get_or_insert(consumer.position() + consumer.pending_bytes())
            {
                return End::ServerLeaves;
            }
            // Other rings and connections have their turn.
            tokio::task::yield_now().await;
            continue;
        }
        if let Err(error) = drained {
            return broken(&error);
        }
        if let Some(end) = end {
            return end;
        }
        if flows && is_soon(drained_at) && (looking.is_some() || may_look()) {
            looking.get_or_insert_with(|| attachment.shard.looking.count());
            // On a busy machine this thread shares its core with the PHP that it waits for: without giving the core
            // away, a call of 250 ns took ten times as long there. On an idle one it makes no difference.
            std::thread::yield_now();
            tokio::task::yield_now().await;
            continue;
        }
        looking = None;
        if largest > KEPT_BATCH_BYTES {
            batch = new_batch();
            largest = 0;
        }
        match consumer.announce_sleep() {
            // What was committed before the process ended is still drained: the loop comes round once more.
            Ok(true) => {
                end = tokio::select! {
                    biased;
                    rung = doorbell.next() => rung.err().map(|_| End::ServerLeaves),
                    end = &mut ended => Some(end),
                }
            }
            Ok(false) => {}
            Err(error) => return broken(&error),
        }
        consumer.announce_awake();
    }
}

fn broken(error: &RingError) -> End {
    End::Broken(Refusal::new(RefusalCode::Ring, error.to_string()))
}

/// Publishes a batch and waits until it is flushed everywhere. What comes before an unsound record is delivered.
async fn deliver(attachment: &Attachment, batch: &Batch) -> Result<(), Refusal> {
    let mut taken = Ok(());
    let flushed = attachment.shard.deliver(|round| {
        taken = batch.records().try_for_each(|record| intake::take(attachment, record, round));
    });
    if let Some(flushed) = flushed {
        flushed.wait().await;
    }
    taken
}

/// Until one side leaves.
async fn ended(attachment: &Attachment, said: Vec<u8>) -> End {
    tokio::select! {
        biased;
        end = farewell(attachment, said) => end,
        () = attachment.process_ended() => End::Left,
        refusal = attachment.app_withdrawn() => End::Broken(refusal),
        () = attachment.shard.reached(Phase::Draining) => End::ServerLeaves,
    }
}

/// Over the socket of a ring nothing comes but a goodbye or the end.
async fn farewell(attachment: &Attachment, mut said: Vec<u8>) -> End {
    let stream = &attachment.stream;
    loop {
        match Message::decode_within(&said, HANDSHAKE_BYTES_MAX) {
            Ok(None) => {}
            Ok(Some((Message::Goodbye, _))) => return End::Left,
            Ok(Some(_)) => {
                let message =
                    "expected nothing but Goodbye on the socket of a ring, but found another message";
                return End::Broken(Refusal::new(RefusalCode::Protocol, message));
            }
            Err(error) => return End::Broken(error.into()),
        }
        let mut buf = [0; 64];
        match stream.readable().await.and_then(|()| stream.try_read(&mut buf)) {
            Ok(0) => return End::Left,
            Ok(n) => said.extend_from_slice(&buf[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return End::Left,
        }
    }
}
