//! The reading half of a WebSocket: bytes in, messages out, without a socket.
//!
//! Owns the use of tungstenite, which unmasks, puts messages together and checks their UTF-8; the frames' headers
//! are judged before it sees them ([`super::headers`]). What tungstenite wants to write (pongs, the answer to a
//! close) is dropped: the outbox is the only writer of a socket, and answers belong between the other frames in the
//! order in which they are due. Frames going out are not its business ([`crate::frame`]).
//!
//! Bytes are read into a buffer that all connections of a shard share; only an unfinished frame is kept here, so
//! an idle connection holds next to nothing.

use std::io::{self, Read, Write};

use bytes::Bytes;
use tungstenite::Utf8Bytes;
use tungstenite::error::Error;
use tungstenite::protocol::frame::CloseFrame;
use tungstenite::protocol::{Message, Role, WebSocketConfig, WebSocketContext};

use super::headers::{Breach, Headers};
use crate::frame;
use crate::limits::Limits;
use crate::pusher::Code;

/// What tungstenite reads at a time, and the buffer that an idle connection keeps.
const READ_BYTES: usize = 256;

/// Something that a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// A text message.
    Text(Utf8Bytes),
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
#[derive(Debug)]
pub(super) struct Reader {
    headers: Headers,
    context: WebSocketContext,
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
    /// A WebSocket whose handshake is done.
    pub(super) fn new(limits: &Limits) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(limits.message_bytes_max))
            .max_frame_size(Some(limits.message_bytes_max));
        Self {
            headers: Headers::new(limits.message_bytes_max),
            context: WebSocketContext::new(Role::Server, Some(config)),
        }
    }

    /// Reads all of `input`, and tells `hear` what was in it. Stops early when `hear` says so or nothing more can
    /// be read; it must not be called again after [`Heard::Close`] or [`Heard::Broken`].
    pub(super) fn feed(&mut self, input: &[u8], mut hear: impl FnMut(Heard) -> Next) {
        let (sound, breach) = self.headers.follow(input);
        let mut feed = Feed(&input[..sound]);
        loop {
            let heard = match self.context.read(&mut feed) {
                Ok(Message::Text(text)) => Heard::Text(text),
                Ok(Message::Binary(_)) => Heard::Binary,
                Ok(Message::Ping(payload)) => Heard::Ping(payload),
                Ok(Message::Pong(_) | Message::Frame(_)) => Heard::Pong,
                Ok(Message::Close(close)) => {
                    hear(Heard::Close(answer(close.as_ref())));
                    return;
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    hear(Heard::Broken(breach_of(&error)));
                    return;
                }
            };
            if hear(heard) == Next::Stop {
                return;
            }
        }
        if let Some(breach) = breach {
            hear(Heard::Broken(breach));
        }
    }
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
        Error::Utf8(_) => Breach {
            code: Code::InvalidText,
            reason: "expected UTF-8 in a text message or a close reason, but found other bytes".into(),
        },
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

    fn heard(reader: &mut Reader, input: &[u8]) -> Vec<Heard> {
        let mut all = Vec::new();
        reader.feed(input, |heard| {
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
            let mut reader = Reader::new(&Limits::default());
            let all: Vec<Heard> = bytes.chunks(step).flat_map(|chunk| heard(&mut reader, chunk)).collect();
            let text = |text: &str| Heard::Text(text.into());
            let ping = Heard::Ping(Bytes::from_static(b"ping"));
            assert_eq!(all, [text("one"), ping, text("two"), Heard::Binary], "{step}");
        }
    }

    #[test]
    fn a_close_is_answered_in_kind() {
        let mut reader = Reader::new(&Limits::default());
        let answer = Heard::Close(Bytes::from_static(b"\x88\x02\x0f\xa1"));
        assert_eq!(heard(&mut reader, &masked(0x88, &4001_u16.to_be_bytes())), [answer]);
    }

    /// The code of the breach that `bytes` end with, whatever the pieces in which they come.
    fn breach(limits: &Limits, bytes: &[u8]) -> Code {
        let mut codes = [bytes.len(), 1].map(|step| {
            let mut reader = Reader::new(limits);
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
        let limits = Limits { message_bytes_max: 1024, ..Limits::default() };
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
            assert_eq!(breach(&limits, &bytes), code, "{bytes:?}");
        }
        let mut pieces = masked(0x01, &[b'x'; 1000]);
        pieces.extend(masked(0x80, &[b'x'; 25]));
        assert_eq!(breach(&limits, &pieces), Code::TooBig);
    }

    #[test]
    fn what_came_before_a_broken_frame_is_heard() {
        let mut bytes = masked(0x81, b"one");
        bytes.extend(masked(0x89, b"ping"));
        bytes.extend(masked(0x83, b""));
        let all = heard(&mut Reader::new(&Limits::default()), &bytes);
        assert_eq!(all[..2], [Heard::Text("one".into()), Heard::Ping(Bytes::from_static(b"ping"))]);
        assert!(matches!(&all[2..], [Heard::Broken(breach)] if breach.code == Code::Protocol));
    }
}
