//! The reading half of a WebSocket: bytes in, messages out, without a socket.
//!
//! Owns the use of tungstenite. What tungstenite wants to write (pongs, the answer to a close) is collected, for
//! the outbox is the only writer of a socket. Frames going out are not its business ([`crate::frame`]).
//!
//! Bytes are read into a buffer that all connections of a shard share; only an unfinished frame is kept here, so
//! an idle connection holds next to nothing.

use std::io::{self, Read, Write};

use tungstenite::Utf8Bytes;
use tungstenite::error::{CapacityError, Error};
use tungstenite::protocol::{Message, Role, WebSocketConfig, WebSocketContext};

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
    /// A ping or pong: the client lives.
    Sign,
    /// A close frame. The answer is in [`Reader::take_replies`].
    Close,
    /// The client broke the protocol: close with this code.
    Broken(Code),
}

/// The state of reading one WebSocket.
#[derive(Debug)]
pub(super) struct Reader {
    context: WebSocketContext,
    replies: Vec<u8>,
}

/// Bytes that came, and a place for replies.
struct Feed<'a> {
    input: &'a [u8],
    replies: &'a mut Vec<u8>,
}

impl Read for Feed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buf)
    }
}

impl Write for Feed<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.replies.extend_from_slice(buf);
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
        Self { context: WebSocketContext::new(Role::Server, Some(config)), replies: Vec::new() }
    }

    /// Reads all of `input`, and tells `hear` what was in it. Stops early when `hear` says so or nothing more can
    /// be read.
    pub(super) fn feed(&mut self, input: &[u8], mut hear: impl FnMut(Heard) -> Next) {
        let mut feed = Feed { input, replies: &mut self.replies };
        loop {
            let heard = match self.context.read(&mut feed) {
                Ok(Message::Text(text)) => Heard::Text(text),
                Ok(Message::Binary(_)) => Heard::Binary,
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => Heard::Sign,
                Ok(Message::Close(_)) => {
                    // The reply is written by the next read, which then says that the connection is closed.
                    drop(self.context.read(&mut feed));
                    hear(Heard::Close);
                    return;
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    hear(broken(&error));
                    return;
                }
            };
            if hear(heard) == Next::Stop {
                return;
            }
        }
    }

    /// Pongs and the answer to a close, in the order in which they are due.
    pub(super) fn take_replies(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.replies)
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

fn broken(error: &Error) -> Heard {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => Heard::Close,
        Error::Capacity(CapacityError::MessageTooLong { .. }) => Heard::Broken(Code::TooBig),
        Error::Utf8(_) => Heard::Broken(Code::InvalidText),
        _ => Heard::Broken(Code::Protocol),
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
            assert_eq!(all, [text("one"), Heard::Sign, text("two"), Heard::Binary], "{step}");
            assert_eq!(reader.take_replies(), b"\x8a\x04ping");
        }
    }

    #[test]
    fn a_close_is_answered_in_kind() {
        let mut reader = Reader::new(&Limits::default());
        assert_eq!(heard(&mut reader, &masked(0x88, &4001_u16.to_be_bytes())), [Heard::Close]);
        assert_eq!(reader.take_replies(), b"\x88\x02\x0f\xa1");
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
            (masked(0x81, b"\xff"), Code::InvalidText),
            (masked(0x81, &[b'x'; 1025]), Code::TooBig),
        ] {
            assert_eq!(heard(&mut Reader::new(&limits), &bytes), [Heard::Broken(code)], "{bytes:?}");
        }
        let mut pieces = masked(0x01, &[b'x'; 1000]);
        pieces.extend(masked(0x80, &[b'x'; 25]));
        assert_eq!(heard(&mut Reader::new(&limits), &pieces), [Heard::Broken(Code::TooBig)]);
    }
}
