//! What the fuzzer calls, and what `tests/corpus.rs` replays: any bytes give a value or a typed error.

use fanfare_wire::attach::Message;
use fanfare_wire::record::{self, Draft};
use fanfare_wire::ring::{Batch, Consumer, Producer};

/// A record that decodes encodes to the same bytes again.
pub fn record(bytes: &[u8]) {
    if let Ok(record) = record::decode(bytes) {
        let channels: Vec<&[u8]> = record.channels().collect();
        assert_eq!(channels.len(), record.channels_len());
        let draft = Draft::new(channels.into_iter(), record.event, record.data, record.except).unwrap();
        let mut again = Vec::new();
        draft.encode(&mut again);
        assert_eq!(again.len(), draft.encoded_len());
        assert_eq!(again, bytes);
    }
}

/// A message that decodes encodes to the same bytes again; decoding takes no more than is there.
pub fn attach(bytes: &[u8]) {
    if let Ok(Some((message, len))) = Message::decode(bytes) {
        assert!(len <= bytes.len());
        let mut again = Vec::new();
        message.encode(&mut again);
        assert_eq!(Message::decode(&again).unwrap(), Some((message, again.len())));
    }
}

/// A ring with any bytes in its header and its first frames gives records or an error, and always an end.
pub fn ring(bytes: &[u8]) {
    let (_producer, memfd) = Producer::create(4096).unwrap();
    let (header, frames) = bytes.split_at(bytes.len().min(16));
    // tail, then head: the rest of the header is checked for equality and has tests of its own.
    let (tail, head) = header.split_at(header.len().min(8));
    rustix::io::pwrite(&memfd, tail, 128).unwrap();
    rustix::io::pwrite(&memfd, head, 256).unwrap();
    rustix::io::pwrite(&memfd, &frames[..frames.len().min(4096)], 4096).unwrap();
    let Ok(mut consumer) = Consumer::open(memfd) else { return };
    let mut batch = Batch::new(64, 1 << 16);
    let mut drained = 0;
    loop {
        let outcome = consumer.drain(&mut batch);
        drained += batch.records().map(|record| record.len() + 8).sum::<usize>();
        assert!(drained <= 4096, "more was drained than the ring holds");
        for bytes in batch.records() {
            record(bytes);
        }
        if outcome.is_err() || batch.is_empty() {
            return;
        }
        consumer.release(&batch);
    }
}
