//! Every interleaving of one producer, one consumer and the doorbell, explored by loom.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p fanfare-wire model`

use loom::sync::Arc as LoomArc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use std::sync::Arc;

use crate::record::Sink;
use crate::ring::{Batch, Consumer, HeapMemory, Memory, Producer, ReserveError};

fn commit(producer: &mut Producer<Arc<HeapMemory>>, record: u64) -> Result<bool, ReserveError> {
    let mut span = producer.reserve(8)?;
    span.put(&record.to_le_bytes());
    Ok(span.commit().unwrap().ring_doorbell)
}

fn take(consumer: &mut Consumer<impl Memory>, batch: &mut Batch, next: &mut u64) {
    consumer.drain(batch).unwrap();
    for record in batch.records() {
        assert_eq!(record, next.to_le_bytes(), "a record is not the one that was committed");
        *next += 1;
    }
    consumer.release(batch);
}

/// The eventfd: level-triggered. Reading and writing it are read-modify-writes under the kernel's lock.
struct Doorbell(AtomicU32);

impl Doorbell {
    fn ring(&self) {
        self.0.swap(1, Ordering::AcqRel);
    }

    fn take(&self) -> bool {
        self.0.swap(0, Ordering::AcqRel) == 1
    }
}

/// A PHP that commits two records, and rings, on a thread of its own; and the consumer of its ring.
fn php_that_commits_two() -> (thread::JoinHandle<()>, Consumer<Arc<HeapMemory>>, LoomArc<Doorbell>) {
    let memory = Arc::new(HeapMemory::new(16));
    let doorbell = LoomArc::new(Doorbell(AtomicU32::new(0)));
    let mut producer = Producer::new(Arc::clone(&memory));
    let consumer = Consumer::new(memory).unwrap();
    let bell = LoomArc::clone(&doorbell);
    let php = thread::spawn(move || {
        for record in 0..2 {
            if commit(&mut producer, record).unwrap() {
                bell.ring();
            }
        }
    });
    (php, consumer, doorbell)
}

/// A consumer that goes to sleep is woken by a record: if the doorbell never rang, it never slept on one.
#[test]
fn model_no_wake_up_is_lost() {
    loom::model(|| {
        let (php, mut consumer, doorbell) = php_that_commits_two();
        let mut batch = Batch::new(8, 1024);
        let mut next = 0;
        take(&mut consumer, &mut batch, &mut next);
        let asleep = consumer.announce_sleep().unwrap();
        php.join().unwrap();
        // Everything is committed now. Asleep with records unread and a silent doorbell would be for ever.
        if asleep {
            let rang = doorbell.take();
            assert!(rang || next == 2, "asleep on {} records, and nobody rang", 2 - next);
        }
        consumer.announce_awake();
        take(&mut consumer, &mut batch, &mut next);
        assert_eq!(next, 2);
    });
}

/// The same over two sleeps, which covers the flag's way back to 0 on both sides.
#[test]
fn model_a_second_sleep_is_woken_too() {
    loom::model(|| {
        let (php, mut consumer, doorbell) = php_that_commits_two();
        let mut batch = Batch::new(8, 1024);
        let mut next = 0;
        let mut asleep = consumer.announce_sleep().unwrap();
        if asleep && doorbell.take() {
            consumer.announce_awake();
            take(&mut consumer, &mut batch, &mut next);
            asleep = consumer.announce_sleep().unwrap();
        }
        php.join().unwrap();
        if asleep {
            assert!(doorbell.take() || next == 2, "asleep on {} records, and nobody rang", 2 - next);
        }
        take(&mut consumer, &mut batch, &mut next);
        assert_eq!(next, 2);
    });
}

/// Frames are read after they are written, and overwritten after they are read: with room for two frames, the
/// third record reuses the first one's words.
#[test]
fn model_words_are_reused_only_when_released() {
    loom::model(|| {
        let memory = Arc::new(HeapMemory::new(4));
        let mut producer = Producer::new(Arc::clone(&memory));
        let mut consumer = Consumer::new(memory).unwrap();

        let php = thread::spawn(move || {
            let mut committed = 0;
            for _ in 0..4 {
                match commit(&mut producer, committed) {
                    Ok(_) => committed += 1,
                    Err(ReserveError::Full { .. }) => thread::yield_now(),
                    Err(error) => panic!("{error}"),
                }
            }
            committed
        });

        let mut batch = Batch::new(8, 1024);
        let mut next = 0;
        take(&mut consumer, &mut batch, &mut next);
        take(&mut consumer, &mut batch, &mut next);
        let committed = php.join().unwrap();
        while next < committed {
            take(&mut consumer, &mut batch, &mut next);
        }
    });
}

/// A consumer dies after draining and before releasing; its successor sees those records again, and no other.
#[test]
fn model_a_successor_repeats_the_last_batch() {
    loom::model(|| {
        let memory = Arc::new(HeapMemory::new(16));
        let mut producer = Producer::new(Arc::clone(&memory));
        let mut consumer = Consumer::new(Arc::clone(&memory)).unwrap();

        let php = thread::spawn(move || {
            for record in 0..3 {
                let _doorbell = commit(&mut producer, record).unwrap();
            }
        });

        let mut batch = Batch::new(1, 1024);
        let mut next = 0;
        take(&mut consumer, &mut batch, &mut next);
        let released = next;
        consumer.drain(&mut batch).unwrap();
        drop(consumer);

        let mut successor = Consumer::new(memory).unwrap();
        php.join().unwrap();
        let mut batch = Batch::new(8, 1024);
        let mut next = released;
        take(&mut successor, &mut batch, &mut next);
        assert_eq!(next, 3);
    });
}
