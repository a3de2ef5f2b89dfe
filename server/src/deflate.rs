//! Compressed payloads of messages (RFC 7692 section 7.2): DEFLATE that remembers nothing from one message to the next.
//!
//! Owns the two machines, one of each per shard, which are made when they are first needed and used for one message
//! after the other: what compression costs in memory does not depend on how many clients take part in it. That
//! is why neither side may refer to earlier messages (`server_no_context_takeover`, `client_no_context_takeover`), and what
//! makes a compressed event the same bytes for everybody. Leaves to [`crate::http`] what is agreed upon in the
//! handshake, to [`crate::frame`] what is worth it, and to the shard what a client is told.

use std::sync::Arc;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::metrics::Metrics;

/// An empty block, with which a flush ends; the sender leaves it out and the receiver puts it back.
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// Where many share the cost: a fifth of 4 KB of JSON, in some 50 µs. Levels above it take longer for a percent.
const LEVEL_FOR_MANY: u32 = 6;

/// Where few do: a quarter of it in some 10 µs, so that no delivery costs more than twice what it does without.
const LEVEL_FOR_FEW: u32 = 1;

/// From how many on the former costs each of them little: 50 µs among eight is about what it takes to send them 4 KB.
const MANY: usize = 8;

/// What an inflated message has room for at first; twice as much whenever that is full.
const ROOM_BYTES: usize = 1024;

/// Compresses.
#[derive(Debug, Default)]
pub struct Deflater {
    machine: Option<Compress>,
    level: u32,
    metrics: Arc<Metrics>,
}

/// Takes what was compressed apart.
#[derive(Debug, Default)]
pub struct Inflater(Option<Decompress>);

/// Why nothing can be made of a compressed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsound {
    /// It comes to more bytes than a message may have.
    TooBig,
    /// It is not DEFLATE.
    Corrupt,
}

impl Deflater {
    /// One that counts what it has compressed.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..Self::default() }
    }

    /// Appends `payload` compressed for so many readers, if that makes it smaller; whether it does. If not, what was
    /// appended is of no use.
    pub fn append(&mut self, payload: &[u8], readers: usize, to: &mut Vec<u8>) -> bool {
        let level = if readers < MANY { LEVEL_FOR_FEW } else { LEVEL_FOR_MANY };
        let machine = self.machine.get_or_insert_with(|| Compress::new(Compression::new(level), false));
        machine.reset();
        if std::mem::replace(&mut self.level, level) != level
            && machine.set_level(Compression::new(level)).is_err()
        {
            return false;
        }
        let start = to.len();
        // What does not fit is not smaller; a flush is done when it leaves room.
        to.reserve_exact(payload.len());
        let is_sound = machine.compress_vec(payload, to, FlushCompress::Sync).is_ok();
        let is_done = machine.total_in() == payload.len() as u64 && to.len() < to.capacity();
        if !(is_sound && is_done && to[start..].ends_with(&TAIL)) {
            return false;
        }
        to.truncate(to.len() - TAIL.len());
        let is_smaller = to.len() - start < payload.len();
        self.metrics.events_deflated_total.add(u64::from(is_smaller));
        is_smaller
    }
}

impl Inflater {
    /// What a compressed payload holds. Neither memory nor time is spent on more than `bytes_max` of it.
    ///
    /// # Errors
    /// [`Unsound`] says why there is nothing.
    pub fn inflate(&mut self, payload: &[u8], bytes_max: usize) -> Result<Vec<u8>, Unsound> {
        let machine = self.0.get_or_insert_with(|| Decompress::new(false));
        machine.reset(false);
        let mut inflated = Vec::new();
        for mut input in [payload, &TAIL] {
            // A full buffer may have something to come though all input is taken.
            while !input.is_empty() || inflated.len() == inflated.capacity() {
                if inflated.len() > bytes_max {
                    return Err(Unsound::TooBig);
                }
                if inflated.len() == inflated.capacity() {
                    let more = inflated.len().max(ROOM_BYTES).min(bytes_max + 1 - inflated.len());
                    inflated.reserve_exact(more);
                }
                let (taken, made) = (machine.total_in(), inflated.len());
                let status = machine
                    .decompress_vec(input, &mut inflated, FlushDecompress::None)
                    .map_err(|_| Unsound::Corrupt)?;
                let taken = (machine.total_in() - taken) as usize;
                input = &input[taken..];
                if status == Status::StreamEnd {
                    // A last block, which some senders end each flush with; what follows begins anew.
                    machine.reset(false);
                } else if taken == 0 && made == inflated.len() {
                    break;
                }
            }
        }
        if inflated.len() > bytes_max { Err(Unsound::TooBig) } else { Ok(inflated) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn deflated(payload: &[u8]) -> Option<Vec<u8>> {
        let mut out = b"head".to_vec();
        Deflater::default().append(payload, MANY, &mut out).then(|| out.split_off(4))
    }

    /// By a machine that is not ours: miniz_oxide.
    fn independently(deflated: &[u8]) -> Vec<u8> {
        miniz_oxide::inflate::decompress_to_vec(&[deflated, &TAIL, &[3, 0]].concat()).unwrap()
    }

    #[test]
    fn what_is_compressed_is_smaller_and_reads_the_same_whoever_reads_it() {
        let mut deflater = Deflater::default();
        let mut inflater = Inflater::default();
        for len in [400, 401, 1_000, 4_096, 32_768, 65_535, 65_536, 300_000] {
            let text: String =
                (0..).flat_map(|n: u32| n.to_string().into_bytes()).map(char::from).take(len).collect();
            for readers in [1, MANY, MANY + 1, 1] {
                let mut out = Vec::new();
                assert!(deflater.append(text.as_bytes(), readers, &mut out), "{len}");
                assert!(out.len() < len);
                assert_eq!(independently(&out), text.as_bytes(), "{len}");
                assert_eq!(inflater.inflate(&out, len).unwrap(), text.as_bytes(), "{len}");
            }
        }
    }

    #[test]
    fn a_message_is_compressed_the_same_whatever_came_before() {
        let mut deflater = Deflater::default();
        let text = include_bytes!("limits.rs");
        let mut deflate = |readers| {
            let mut out = Vec::new();
            assert!(deflater.append(text, readers, &mut out));
            assert!(deflater.append(&text[500..1_000], 1, &mut Vec::new()));
            out
        };
        let (many, few) = (deflate(MANY), deflate(1));
        assert_eq!((deflate(MANY), deflate(1)), (many.clone(), few.clone()));
        assert!(many.len() < few.len());
    }

    #[test]
    fn what_does_not_become_smaller_is_left_alone() {
        let mut state = 1_u64;
        let mut noise = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        let noise: Vec<u8> = (0..4_096).map(|_| noise()).collect();
        for payload in [&b""[..], b"x", b"ab", &noise] {
            assert_eq!(deflated(payload), None, "{} bytes", payload.len());
        }
        assert!(deflated(&[b'x'; 100]).is_some(), "the machine is as good as before");
    }

    /// The examples of section 7.2.3.
    #[test]
    fn what_others_make_is_understood() {
        for (bytes, text) in [
            (&b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..], "Hello"),
            (b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello"),
            (b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello"),
            (b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello"),
            (b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "HelloHello"),
            (b"\x00", ""),
            (b"\x02\x00", ""),
        ] {
            assert_eq!(Inflater::default().inflate(bytes, 100).unwrap(), text.as_bytes(), "{bytes:?}");
        }
    }

    #[test]
    fn a_bomb_costs_no_more_than_a_message_may_have() {
        let bomb = deflated(&vec![0; 16 * 1024 * 1024]).unwrap();
        let mut inflater = Inflater::default();
        assert!(bomb.len() < 20_000);
        for bytes_max in [1_024, 100_000, 16 * 1024 * 1024 - 1] {
            assert_eq!(inflater.inflate(&bomb, bytes_max), Err(Unsound::TooBig), "{bytes_max}");
        }
        let whole = inflater.inflate(&bomb, 16 * 1024 * 1024).unwrap();
        assert!(whole.capacity() <= 16 * 1024 * 1024 + 1 && whole.len() == 16 * 1024 * 1024);
    }

    #[test]
    fn what_is_not_deflate_is_told_apart() {
        let mut inflater = Inflater::default();
        for bytes in [&b"\x07"[..], b"\xff\xff\xff", b"\x01\x05\x00\x00\x00Hello"] {
            assert_eq!(inflater.inflate(bytes, 100), Err(Unsound::Corrupt), "{bytes:?}");
        }
        // A message that refers to one before it.
        let mut machine = Compress::new(Compression::new(9), false);
        let mut out = Vec::with_capacity(1_000);
        let text = b"a text that stands here twice";
        machine.compress_vec(text, &mut out, FlushCompress::Sync).unwrap();
        let first = out.len();
        machine.compress_vec(text, &mut out, FlushCompress::Sync).unwrap();
        assert_eq!(inflater.inflate(&out[first..out.len() - 4], 100), Err(Unsound::Corrupt));
        assert_eq!(
            inflater.inflate(&out[..first - 4], 100).unwrap(),
            text,
            "the machine is as good as before"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_inflate_to_something_bounded_or_nothing(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            bytes_max in 0_usize..5_000,
        ) {
            if let Ok(inflated) = Inflater::default().inflate(&bytes, bytes_max) {
                prop_assert!(inflated.len() <= bytes_max);
            }
        }

        #[test]
        fn any_text_comes_back(text in ".{0,300}", times in 1_usize..20) {
            let text = text.repeat(times);
            if let Some(out) = deflated(text.as_bytes()) {
                prop_assert_eq!(independently(&out), text.as_bytes());
                prop_assert_eq!(Inflater::default().inflate(&out, text.len()).unwrap(), text.as_bytes());
            }
        }
    }
}
