//! The reading half of a WebSocket: bytes in, messages out, without a socket.
//!
//! Owns the use of tungstenite, which unmasks, puts messages together and checks their UTF-8; the frames' headers
//! are judged before it sees them ([`super::headers`]). What tungstenite wants to write (pongs, the answer to a
//! close) is dropped: the outbox is the only writer of a socket, and answers belong between the other frames in the
//! order in which they are due. Frames going out are not its business ([`crate::frame`]).
//!
//! tungstenite knows nothing of compression: it refuses the bit that announces it, and would look for UTF-8 in what is
//! none yet. A compressed message is therefore shown to it as a plain binary one, by another first byte, and what comes
//! out is given to whoever can take it apart ([`Heard::Deflated`]).
//!
//! Bytes are read into a buffer that all connections of a shard share, and what tungstenite keeps of a connection, 700
//! bytes, is kept while a message is under way only: nearly all connections are between two messages nearly all the time.

use std::io::{self, Read, Write};

use bytes::Bytes;
use tungstenite::Utf8Bytes;
use tungstenite::error::Error;
use tungstenite::protocol::frame::CloseFrame;
use tungstenite::protocol::{Message, Role, WebSocketConfig, WebSocketContext};

use super::headers::{Breach, Headers, Stop};
use crate::frame;
use crate::pusher::Code;

/// What tungstenite reads at a time, and the least that it keeps of a message under way.
const READ_BYTES: usize = 256;

/// In a frame's first byte: that it is the last one of its message, and what kind of message it begins.
const FIN: u8 = 0x80;
const OPCODE: u8 = 0x0F;
const TEXT: u8 = 1;
const BINARY: u8 = 2;

/// Something that a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// A text message.
    Text(Utf8Bytes),
    /// The same, compressed, not inflated yet: who does that keeps to `message_bytes_max`.
    Deflated(Bytes),
    /// A binary message; what is in it does not matter.
    Binary,
    /// A ping, to be answered with what it holds.
    Ping(Bytes),
    /// A pong: the client lives.
    Pong,
    /// A close frame, and the one that answers it. Nothing that comes later matters.
    Close(Bytes),
    /// The client broke the protocol. Nothing can be made of what comes later.
    Broken(Breach),
}

/// The state of reading one WebSocket.
#[derive(Debug, Default)]
pub(super) struct Reader {
    headers: Headers,
    /// None between two messages.
    context: Option<Box<WebSocketContext>>,
    /// Whether the message that is being read is a compressed text.
    is_deflated_text: bool,
}

/// Bytes that came.
struct Feed<'a>(&'a [u8]);

impl Read for Feed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.read(buf)
    }
}

impl Write for Feed<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Reader {
    /// A WebSocket whose handshake is done; whether its messages may be compressed.
    pub(super) fn new(deflates: bool) -> Self {
        Self { headers: Headers::new(deflates), ..Self::default() }
    }

    /// Reads all of `input`, and tells `hear` what was in it. Stops early when `hear` says so or nothing more can
    /// be read; it must not be called again after [`Heard::Close`] or [`Heard::Broken`].
    pub(super) fn feed(
        &mut self,
        mut input: &[u8],
        message_bytes_max: usize,
        mut hear: impl FnMut(Heard) -> Next,
    ) {
        loop {
            let (sound, stop) = self.headers.follow(input, message_bytes_max);
            if self.read(&input[..sound], &mut hear) == Next::Stop {
                return;
            }
            match stop {
                None => {
                    if self.headers.is_between_messages() {
                        self.context = None;
                    }
                    return;
                }
                Some(Stop::Broken(breach)) => {
                    hear(Heard::Broken(breach));
                    return;
                }
                Some(Stop::Deflated) => {
                    let first = input[sound];
                    // Whatever message came before is whole by now.
                    self.is_deflated_text = first & OPCODE == TEXT;
                    if self.read(&[first & FIN | BINARY], &mut hear) == Next::Stop {
                        return;
                    }
                    input = &input[sound + 1..];
                }
            }
        }
    }

    /// Reads what is sound and has no compressed message's first byte in it.
    fn read(&mut self, input: &[u8], hear: &mut impl FnMut(Heard) -> Next) -> Next {
        let mut feed = Feed(input);
        let context = self.context.get_or_insert_with(begin);
        loop {
            let heard = match context.read(&mut feed) {
                Ok(Message::Text(text)) => Heard::Text(text),
                Ok(Message::Binary(bytes)) if std::mem::take(&mut self.is_deflated_text) => {
                    Heard::Deflated(bytes)
                }
                Ok(Message::Binary(_)) => Heard::Binary,
                Ok(Message::Ping(payload)) => Heard::Ping(payload),
                Ok(Message::Pong(_) | Message::Frame(_)) => Heard::Pong,
                Ok(Message::Close(close)) => {
                    hear(Heard::Close(answer(close.as_ref())));
                    return Next::Stop;
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Next::Continue,
                Err(error) => {
                    hear(Heard::Broken(breach_of(&error)));
                    return Next::Stop;
                }
            };
            if hear(heard) == Next::Stop {
                return Next::Stop;
            }
        }
    }
}

/// A WebSocket between two messages. Sizes are judged by their headers already.
fn begin() -> Box<WebSocketContext> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_message_size(None)
        .max_frame_size(None);
    Box::new(WebSocketContext::new(Role::Server, Some(config)))
}

/// Whether to go on reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Go on.
    Continue,
    /// The connection is closing.
    Stop,
}

/// A close is answered in kind (section 5.5.1).
fn answer(close: Option<&CloseFrame>) -> Bytes {
    match close {
        None => frame::CLOSE,
        Some(CloseFrame { code, reason }) => frame::close_with((*code).into(), reason),
    }
}

/// Headers are judged already: what is left is text.
fn breach_of(error: &Error) -> Breach {
    match error {
        Error::Utf8(_) => Breach::text(),
        _ => Breach::protocol(Code::Protocol.meaning()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A masked frame, as a client sends it.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        const MASK: [u8; 4] = [1, 2, 3, 4];
        let mut frame = vec![first];
        match payload.len() {
            len @ 0..=125 => frame.push(0x80 | len as u8),
            len => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(len as u16).to_be_bytes());
            }
        }
        frame.extend_from_slice(&MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    const MESSAGE_BYTES_MAX: usize = 1024;

    fn heard(reader: &mut Reader, input: &[u8]) -> Vec<Heard> {
        let mut all = Vec::new();
        reader.feed(input, MESSAGE_BYTES_MAX, |heard| {
            all.push(heard);
            Next::Continue
        });
        all
    }

    #[test]
    fn messages_arrive_whatever_the_pieces() {
        let mut bytes = masked(0x81, b"one");
        bytes.extend(masked(0x01, b"t"));
        bytes.extend(masked(0x89, b"ping"));
        bytes.extend(masked(0x80, b"wo"));
        bytes.extend(masked(0x82, b"\0"));
        for step in 1..bytes.len() {
            let mut reader = Reader::new(false);
            let all: Vec<Heard> = bytes.chunks(step).flat_map(|chunk| heard(&mut reader, chunk)).collect();
            let text = |text: &str| Heard::Text(text.into());
            let ping = Heard::Ping(Bytes::from_static(b"ping"));
            assert_eq!(all, [text("one"), ping, text("two"), Heard::Binary], "{step}");
            assert!(reader.context.is_none(), "{step}: nothing is kept between two messages");
        }
    }

    #[test]
    fn compressed_messages_arrive_between_others_whatever_the_pieces() {
        let mut bytes = masked(0x81, b"one");
        bytes.extend(masked(0xC1, b"\xff\xfe two"));
        bytes.extend(masked(0x41, b"\x80"));
        bytes.extend(masked(0x89, b"ping"));
        bytes.extend(masked(0x00, b""));
        bytes.extend(masked(0x80, b"\x81"));
        bytes.extend(masked(0xC2, b"\xff"));
        bytes.extend(masked(0x82, b"\0"));
        bytes.extend(masked(0xC1, b""));
        bytes.extend(masked(0x01, b"o"));
        bytes.extend(masked(0x80, b"ne"));
        let expected = [
            Heard::Text("one".into()),
            Heard::Deflated(Bytes::from_static(b"\xff\xfe two")),
            Heard::Ping(Bytes::from_static(b"ping")),
            Heard::Deflated(Bytes::from_static(b"\x80\x81")),
            Heard::Binary,
            Heard::Binary,
            Heard::Deflated(Bytes::new()),
            Heard::Text("one".into()),
        ];
        for step in 1..bytes.len() {
            let mut reader = Reader::new(true);
            let all: Vec<Heard> = bytes.chunks(step).flat_map(|chunk| heard(&mut reader, chunk)).collect();
            assert_eq!(all, expected, "{step}");
            assert!(reader.context.is_none(), "{step}: nothing is kept between two messages");
        }
    }

    #[test]
    fn only_the_first_frame_of_a_message_says_that_it_is_compressed() {
        let start = masked(0x41, b"x");
        for (before, first) in [
            (&b""[..], 0xA1),
            (b"", 0x91),
            (b"", 0xF1),
            (b"", 0xC9),
            (b"", 0xCA),
            (b"", 0xC8),
            (b"", 0xC0),
            (b"", 0xC3),
            (&start, 0xC0),
            (&start, 0xC1),
            (&start, 0x81),
            (&start, 0xC9),
        ] {
            let bytes = [before, &masked(first, b"")].concat();
            for step in [bytes.len(), 1] {
                let mut reader = Reader::new(true);
                let all: Vec<Heard> =
                    bytes.chunks(step).flat_map(|chunk| heard(&mut reader, chunk)).collect();
                let is_refused =
                    matches!(&all[..], [Heard::Broken(breach), ..] if breach.code == Code::Protocol);
                assert!(is_refused, "{first:x}: {all:?}");
            }
        }
    }

    #[test]
    fn a_close_is_answered_in_kind() {
        let mut reader = Reader::new(false);
        let answer = Heard::Close(Bytes::from_static(b"\x88\x02\x0f\xa1"));
        assert_eq!(heard(&mut reader, &masked(0x88, &4001_u16.to_be_bytes())), [answer]);
    }

    /// The code of the breach that `bytes` end with, whatever the pieces in which they come.
    fn breach(bytes: &[u8]) -> Code {
        let mut codes = [bytes.len(), 1].map(|step| {
            let mut reader = Reader::new(false);
            let all = bytes.chunks(step).map(|chunk| heard(&mut reader, chunk)).find(|all| !all.is_empty());
            match all.unwrap().pop() {
                Some(Heard::Broken(breach)) => breach.code,
                other => panic!("{other:?} of {bytes:?}"),
            }
        });
        codes.sort_by_key(|code| code.number());
        assert_eq!(codes[0], codes[1]);
        codes[0]
    }

    #[test]
    fn broken_frames_have_their_codes() {
        for (bytes, code) in [
            (b"\x81\x01x".to_vec(), Code::Protocol),
            (masked(0xF1, b""), Code::Protocol),
            (masked(0x83, b""), Code::Protocol),
            (masked(0x80, b""), Code::Protocol),
            (masked(0x09, b""), Code::Protocol),
            (masked(0x88, &1005_u16.to_be_bytes()), Code::Protocol),
            (masked(0x81, b"\xff"), Code::InvalidText),
            (masked(0x81, &[b'x'; 1025]), Code::TooBig),
        ] {
            assert_eq!(breach(&bytes), code, "{bytes:?}");
        }
        let mut pieces = masked(0x01, &[b'x'; 1000]);
        pieces.extend(masked(0x80, &[b'x'; 25]));
        assert_eq!(breach(&pieces), Code::TooBig);
    }

    #[test]
    fn what_came_before_a_broken_frame_is_heard() {
        let mut bytes = masked(0x81, b"one");
        bytes.extend(masked(0x89, b"ping"));
        bytes.extend(masked(0x83, b""));
        let all = heard(&mut Reader::new(false), &bytes);
        assert_eq!(all[..2], [Heard::Text("one".into()), Heard::Ping(Bytes::from_static(b"ping"))]);
        assert!(matches!(&all[2..], [Heard::Broken(breach)] if breach.code == Code::Protocol));
    }
}
