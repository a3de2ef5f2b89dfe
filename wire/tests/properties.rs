//! Any publication survives the round trip; any bytes at all give a value or a typed error.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test says what is wrong by panicking")]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use fanfare_wire::record::{self, Draft, Sink};
use fanfare_wire::ring::{Batch, Consumer, Producer, ReserveError};
use proptest::collection::vec;
use proptest::prelude::*;

fn name() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 1..=record::NAME_BYTES_MAX)
}

/// What a producer and its server may do in turn.
#[derive(Debug, Clone)]
enum Step {
    Commit(usize),
    Abandon(usize),
    Drain { records_max: usize, release: bool },
    Die,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0_usize..1200).prop_map(Step::Commit),
        1 => (0_usize..1200).prop_map(Step::Abandon),
        3 => (1_usize..5, any::<bool>()).prop_map(|(records_max, release)| Step::Drain { records_max, release }),
        1 => Just(Step::Die),
    ]
}

proptest! {
    #[test]
    fn a_publication_survives_the_round_trip(
        channels in vec(name(), 1..=record::CHANNELS_MAX),
        event in name(),
        data in vec(any::<u8>(), 0..5000),
        except in proptest::option::of(name()),
    ) {
        let draft =
            Draft::new(channels.iter().map(Vec::as_slice), &event, &data, except.as_deref()).unwrap();
        let mut bytes = Vec::new();
        draft.encode(&mut bytes);
        prop_assert_eq!(bytes.len(), draft.encoded_len());
        let record = record::decode(&bytes).unwrap();
        prop_assert_eq!(record.channels_len(), channels.len());
        prop_assert!(record.channels().eq(channels.iter().map(Vec::as_slice)));
        prop_assert_eq!(record.event, event.as_slice());
        prop_assert_eq!(record.data, data.as_slice());
        prop_assert_eq!(record.except, except.as_deref());
        for cut in 0..bytes.len() {
            prop_assert!(record::decode(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in vec(any::<u8>(), 0..600)) {
        fuzz::record(&bytes);
    }

    #[test]
    fn a_damaged_record_is_a_record_or_an_error(
        at in any::<prop::sample::Index>(), byte in any::<u8>(), data in vec(any::<u8>(), 0..50),
    ) {
        let draft = Draft::new([&b"a"[..], b"bc"].into_iter(), b"event", &data, Some(b"1.2")).unwrap();
        let mut bytes = Vec::new();
        draft.encode(&mut bytes);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        fuzz::record(&bytes);
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(mut bytes in vec(any::<u8>(), 0..100), kind in 0_u8..10) {
        fuzz::attach(&bytes);
        let mut message = vec![0xFA, kind, 1, 0];
        message.extend((bytes.len() as u32).to_le_bytes());
        message.append(&mut bytes);
        fuzz::attach(&message);
    }

    #[test]
    fn any_ring_gives_records_or_an_error(
        tail in 0_u64..5000, head in 0_u64..5000, frames in vec((0_u32..300, 0_u32..4), 0..400),
    ) {
        let mut bytes = [tail & !7, head & !7].map(u64::to_le_bytes).concat();
        for (len, kind) in frames {
            bytes.extend(len.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
        }
        fuzz::ring(&bytes);
    }

    /// Against the simplest ring there is, a list: what is committed is drained once, in order, except that a
    /// consumer that dies before releasing makes its successor repeat exactly what it had not released.
    #[test]
    fn a_ring_behaves_like_a_list(steps in vec(step(), 1..200)) {
        let (mut producer, memfd) = Producer::create(4096).unwrap();
        let mut consumer = Consumer::open(memfd.try_clone().unwrap()).unwrap();
        let mut unreleased = std::collections::VecDeque::new();
        let mut drained = 0;
        let mut next = 0_u8;
        for step in steps {
            match step {
                Step::Commit(len) => match producer.reserve(len) {
                    Ok(mut span) => {
                        span.put(&vec![next; len]);
                        let _ = span.commit().unwrap();
                        unreleased.push_back(vec![next; len]);
                        next = next.wrapping_add(1);
                    }
                    Err(ReserveError::Full { .. }) => prop_assert!(!unreleased.is_empty()),
                    Err(error) => return Err(TestCaseError::fail(error.to_string())),
                },
                Step::Abandon(len) => {
                    if let Ok(mut span) = producer.reserve(len) {
                        span.put(&vec![0xEE; len]);
                    }
                }
                Step::Drain { records_max, release } => {
                    let mut batch = Batch::new(records_max, 1 << 20);
                    consumer.drain(&mut batch).unwrap();
                    let expected = unreleased.iter().skip(drained).take(records_max);
                    prop_assert!(batch.records().eq(expected.map(Vec::as_slice)));
                    drained += batch.len();
                    if release {
                        // An empty batch gives back what was drained before it as well.
                        consumer.release(&batch);
                        unreleased.drain(..drained);
                        drained = 0;
                    }
                }
                Step::Die => {
                    consumer = Consumer::open(memfd.try_clone().unwrap()).unwrap();
                    drained = 0;
                }
            }
            prop_assert_eq!(producer.unread().records, unreleased.len() as u64);
        }
    }
}
