//! WebSocket frames that the server sends (RFC 6455 section 5.2): one frame a message, never masked.
//!
//! Owns the bytes. A frame is encoded once and shared by all outboxes that it is put into; so is what it is
//! compressed to, for those that take it so ([`Shared`]). Reading frames, and hearing pings and closes of clients, is
//! tungstenite's.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::deflate::Deflater;
use crate::publication::Data;
use crate::pusher::{Code, events};

const FIN_TEXT: u8 = 0x81;
const FIN_CLOSE: u8 = 0x88;
const FIN_PONG: u8 = 0x8A;
/// Reserved bit 1 of a message's first frame: it is compressed (RFC 7692 section 6).
const RSV_DEFLATED: u8 = 0x40;
/// A ping without a payload, which every WebSocket client answers by itself.
pub const PING: Bytes = Bytes::from_static(b"\x89\x00");
/// A close frame without a code.
pub const CLOSE: Bytes = Bytes::from_static(b"\x88\x00");
/// The longest header of an unmasked frame.
const HEADER_BYTES_MAX: usize = 10;
/// Bytes of a control frame's payload (section 5.5); a close frame has two of them for its code.
const CLOSE_REASON_BYTES_MAX: usize = 123;

/// A text message.
pub fn text(text: &str) -> Bytes {
    let mut buf = Vec::with_capacity(HEADER_BYTES_MAX + text.len());
    buf.extend_from_slice(&[0; HEADER_BYTES_MAX]);
    buf.extend_from_slice(text.as_bytes());
    finish(buf, FIN_TEXT)
}

/// An event for the subscribers of `channel`.
pub fn event(event: &str, channel: &str, data: &Data<'_>) -> Bytes {
    // Data is mostly JSON: an eighth of it more for escaped quotes saves most reallocations.
    let mut buf =
        Vec::with_capacity(HEADER_BYTES_MAX + 40 + event.len() + channel.len() + data.as_str().len() * 9 / 8);
    buf.extend_from_slice(&[0; HEADER_BYTES_MAX]);
    match *data {
        Data::Text(text) => events::put_event(&mut buf, event, channel, text),
        Data::Client { json, user_id } => events::put_client_event(&mut buf, event, channel, json, user_id),
    }
    finish(buf, FIN_TEXT)
}

/// The answer to a ping, with what that held.
pub fn pong(payload: &[u8]) -> Bytes {
    let mut buf = vec![0; HEADER_BYTES_MAX];
    buf.extend_from_slice(payload);
    finish(buf, FIN_PONG)
}

/// A close frame. A reason of more than 123 bytes is cut, between characters.
pub fn close(code: Code, reason: &str) -> Bytes {
    close_with(code.number(), reason)
}

/// A close frame with a number that may be a client's own, where that is answered in kind.
pub fn close_with(number: u16, reason: &str) -> Bytes {
    let cut = (0..=reason.len().min(CLOSE_REASON_BYTES_MAX)).rev().find(|&at| reason.is_char_boundary(at));
    let reason = &reason.as_bytes()[..cut.unwrap_or(0)];
    let mut buf = vec![0; HEADER_BYTES_MAX];
    buf.extend_from_slice(&number.to_be_bytes());
    buf.extend_from_slice(reason);
    finish(buf, FIN_CLOSE)
}

/// Where a frame ends that `written` bytes of these frames have begun; `written`, when they end with a frame.
pub fn end_of_begun(frames: &[u8], written: usize) -> usize {
    let mut end = 0;
    while end < written {
        end += frames.get(end..).and_then(len_of_first).unwrap_or(frames.len());
    }
    end.min(frames.len())
}

/// The length of the first of these frames, header included.
fn len_of_first(frames: &[u8]) -> Option<usize> {
    let extended = |bytes: &[u8]| bytes.iter().fold(0_usize, |len, &byte| len << 8 | usize::from(byte));
    Some(match frames.get(1)? {
        126 => 4 + extended(frames.get(2..4)?),
        127 => 10_usize.saturating_add(extended(frames.get(2..10)?)),
        len => 2 + usize::from(*len),
    })
}

/// A message for many, some of whom may have agreed to compression.
///
/// It is compressed when the first of those is met, by whichever shard that is; the others then find it, or wait for
/// the moment that it takes.
#[derive(Debug, Clone)]
pub struct Shared {
    plain: Bytes,
    /// None of a message that is too small.
    deflated: Option<Arc<Deflated>>,
}

#[derive(Debug)]
struct Deflated {
    /// How many share the cost.
    readers: usize,
    /// Nothing when compression does not make it smaller.
    frame: OnceLock<Option<Bytes>>,
}

impl Shared {
    /// A frame for about so many, which may be compressed if it has at least so many bytes; 0 is never.
    pub fn new(plain: Bytes, deflate_bytes_min: usize, readers: usize) -> Self {
        let is_large = deflate_bytes_min > 0 && plain.len() >= deflate_bytes_min;
        let deflated = is_large.then(|| Arc::new(Deflated { readers, frame: OnceLock::new() }));
        Self { plain, deflated }
    }

    /// For those that have not agreed to compression.
    pub fn plain(&self) -> &Bytes {
        &self.plain
    }

    /// For those that have. Not every message is compressed.
    pub fn deflated(&self, deflater: &mut Deflater) -> &Bytes {
        let Some(Deflated { readers, frame }) = self.deflated.as_deref() else { return &self.plain };
        frame.get_or_init(|| deflate(&self.plain, *readers, deflater)).as_ref().unwrap_or(&self.plain)
    }
}

/// The same message compressed, if that is smaller.
fn deflate(plain: &Bytes, readers: usize, deflater: &mut Deflater) -> Option<Bytes> {
    let header_len = match plain.get(1)? {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let mut buf = vec![0; HEADER_BYTES_MAX];
    deflater.append(plain.get(header_len..)?, readers, &mut buf).then(|| {
        // It may wait in an outbox, which counts what it holds and not what it has room for.
        buf.shrink_to_fit();
        finish(buf, FIN_TEXT | RSV_DEFLATED)
    })
}

/// Puts the header right before the payload, which starts at [`HEADER_BYTES_MAX`], so that it is not moved.
fn finish(mut buf: Vec<u8>, first: u8) -> Bytes {
    let len = buf.len() - HEADER_BYTES_MAX;
    let mut header = [0; HEADER_BYTES_MAX];
    header[0] = first;
    let header_len = match len {
        0..=125 => {
            header[1] = len as u8;
            2
        }
        126..=0xFFFF => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            4
        }
        _ => {
            header[1] = 127;
            header[2..10].copy_from_slice(&(len as u64).to_be_bytes());
            10
        }
    };
    let start = HEADER_BYTES_MAX - header_len;
    buf[start..HEADER_BYTES_MAX].copy_from_slice(&header[..header_len]);
    Bytes::from(buf).slice(start..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deflate::Inflater;
    use std::io::{Cursor, Read, Write};
    use tungstenite::protocol::{Message, Role, WebSocketContext};

    /// Bytes to read, and nowhere to write.
    struct Input(Cursor<Bytes>);

    impl Read for Input {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(buf)
        }
    }

    impl Write for Input {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            Ok(buf.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn decoded(frame: Bytes) -> Message {
        WebSocketContext::new(Role::Client, None).read(&mut Input(Cursor::new(frame))).unwrap()
    }

    #[test]
    fn every_header_length_is_read_by_a_client() {
        for len in [0, 1, 125, 126, 127, 0xFFFF, 0x1_0000, 300_000] {
            let payload = "x".repeat(len);
            assert_eq!(decoded(text(&payload)), Message::text(payload), "{len}");
        }
    }

    #[test]
    fn what_has_begun_ends_with_its_frame() {
        for lens in [[0, 5, 125], [126, 0xFFFF, 0x1_0000]] {
            let (mut all, mut starts) = (Vec::new(), vec![0]);
            for len in lens {
                all.extend_from_slice(&text(&"x".repeat(len)));
                starts.push(all.len());
            }
            for ends in starts.windows(2) {
                let (start, end) = (ends[0], ends[1]);
                assert_eq!(end_of_begun(&all, start), start);
                assert_eq!([start + 1, end - 1, end].map(|at| end_of_begun(&all, at)), [end; 3], "{lens:?}");
            }
        }
    }

    #[test]
    fn a_large_message_is_compressed_once_whoever_asks() {
        let text_of = |len: usize| "0123456789".repeat(len / 10);
        for (len, header_len) in [(1_000, 2), (20_000, 4), (3_000_000, 4)] {
            let message = text_of(len);
            let shared = Shared::new(text(&message), 1_000, 2);
            let other_shard = shared.clone();
            let deflated = shared.deflated(&mut Deflater::default());
            assert_eq!(deflated.as_ptr(), other_shard.deflated(&mut Deflater::default()).as_ptr());
            assert_eq!((deflated[0], shared.plain()), (0xC1, &text(&message)));
            let payload_len = match deflated[1] {
                126 => usize::from(u16::from_be_bytes([deflated[2], deflated[3]])),
                len => usize::from(len),
            };
            assert_eq!(deflated.len(), header_len + payload_len, "{len}");
            let inflated = Inflater::default().inflate(&deflated[header_len..], len).unwrap();
            assert!(inflated == message.as_bytes(), "{len}");
        }
    }

    #[test]
    fn small_messages_and_those_that_do_not_shrink_go_as_they_are() {
        let large = text(&"x".repeat(996));
        assert_eq!(large.len(), 1_000);
        for (frame, deflate_bytes_min, first) in
            [(&large, 1_000, 0xC1), (&large, 1_001, 0x81), (&large, 0, 0x81), (&text("abc"), 1, 0x81)]
        {
            let shared = Shared::new(frame.clone(), deflate_bytes_min, 2);
            assert_eq!(shared.deflated(&mut Deflater::default())[0], first, "{deflate_bytes_min}");
        }
    }

    #[test]
    fn a_close_frame_has_its_code_and_a_reason_that_fits() {
        let Message::Close(Some(close)) = decoded(close(Code::AppUnknown, &"é".repeat(100))) else {
            panic!()
        };
        assert_eq!(u16::from(close.code), 4001);
        assert_eq!(close.reason.as_str(), "é".repeat(61));
    }
}
