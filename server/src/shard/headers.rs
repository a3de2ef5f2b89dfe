//! The headers of a client's WebSocket frames, judged as they come (RFC 6455 section 5.2).
//!
//! Owns what tungstenite leaves undone. It looks at a frame once all of it is there, so that a client who breaks
//! the rules in the first two bytes is waited for, and memory set aside for what it announces; it takes a length
//! that is longer than need be, or above 2^63, and it answers a close code that may not be sent with words of its
//! own. It also refuses the bit that says that a message is compressed (RFC 7692 section 6), so the beginning of one is
//! pointed out to the reader. Leaves to tungstenite what needs the payload: unmasking, putting messages together, and UTF-8.

use std::borrow::Cow;

use crate::deflate::Unsound;
use crate::pusher::Code;

/// Two bytes, eight of an extended length; a close frame has none of those, but a mask and its code.
const HEAD_BYTES_MAX: usize = 10;
/// What a control frame may hold (section 5.5).
const CONTROL_BYTES_MAX: u64 = 125;
/// Reserved bit 1: the message is compressed.
const RSV_DEFLATED: u8 = 0x40;
const MASK_BYTES: u64 = 4;

/// What a client did that it may not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Breach {
    /// What the connection is closed with.
    pub(super) code: Code,
    /// What was expected and what was found; at most 123 bytes.
    pub(super) reason: Cow<'static, str>,
}

impl Breach {
    pub(super) fn protocol(reason: &'static str) -> Self {
        Self { code: Code::Protocol, reason: reason.into() }
    }

    pub(super) fn text() -> Self {
        let reason = "expected UTF-8 in a text message or a close reason, but found other bytes";
        Self { code: Code::InvalidText, reason: reason.into() }
    }

    /// A compressed message that does not come to one of at most `bytes_max`.
    pub(super) fn of_deflated(unsound: Unsound, bytes_max: usize) -> Self {
        match unsound {
            Unsound::TooBig => Self {
                code: Code::TooBig,
                reason: format!("expected a message of at most {bytes_max} bytes (message_bytes_max), but found more, compressed").into(),
            },
            Unsound::Corrupt => Self {
                code: Code::InvalidText,
                reason: "expected a compressed message that can be inflated by itself, but found other bytes".into(),
            },
        }
    }
}

/// Why following has come to a stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// The next byte is the first of a compressed message. It has been judged, and what follows it can be followed.
    Deflated,
    /// The next frame is not sound. Nothing can be made of what comes later.
    Broken(Breach),
}

/// Where in its frames a client is.
#[derive(Debug, Default)]
pub(super) struct Headers {
    /// Whether messages may be compressed.
    deflates: bool,
    /// The beginning of a frame, as far as it has come.
    head: [u8; HEAD_BYTES_MAX],
    come: usize,
    /// Bytes of the present frame behind its head.
    rest: u64,
    /// Bytes of the message whose last fragment has not begun.
    message: Option<u64>,
}

impl Headers {
    pub(super) fn new(deflates: bool) -> Self {
        Self { deflates, ..Self::default() }
    }

    /// Whether what has come ends with the end of a message.
    pub(super) fn is_between_messages(&self) -> bool {
        self.come == 0 && self.rest == 0 && self.message.is_none()
    }

    /// Follows what comes. Gives how much of `input` is sound and plain, and what there is behind that if it is not
    /// all. The limit is the one of this moment: it may be configured anew while a client is connected.
    pub(super) fn follow(&mut self, input: &[u8], message_bytes_max: usize) -> (usize, Option<Stop>) {
        let mut at = 0;
        while at < input.len() {
            if self.rest > 0 {
                let skipped = usize::try_from(self.rest).unwrap_or(usize::MAX).min(input.len() - at);
                self.rest -= skipped as u64;
                at += skipped;
                continue;
            }
            self.head[self.come] = input[at];
            self.come += 1;
            at += 1;
            match self.judge(message_bytes_max as u64) {
                Ok(None) if self.come == 1 && self.head[0] & RSV_DEFLATED != 0 => {
                    return (at - 1, Some(Stop::Deflated));
                }
                Ok(None) => {}
                Ok(Some(rest)) => (self.rest, self.come) = (rest, 0),
                Err(breach) => return (at.saturating_sub(self.come), Some(Stop::Broken(breach))),
            }
        }
        (at, None)
    }

    /// How much follows the head; `None` when it is not all there.
    fn judge(&mut self, message_bytes_max: u64) -> Result<Option<u64>, Breach> {
        let [first, second, ..] = self.head;
        let opcode = first & 0x0F;
        let (is_last, is_control) = (first & 0x80 != 0, opcode & 0x08 != 0);
        if self.come == 1 {
            return self.judge_first(opcode, is_last).map(|()| None);
        }
        if second & 0x80 == 0 {
            return Err(Breach::protocol("expected a masked frame, but found one without a mask"));
        }
        let short = u64::from(second & 0x7F);
        if is_control {
            return self.judge_control(opcode, short);
        }
        let extended = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if self.come < 2 + extended {
            return Ok(None);
        }
        let big_endian = |bytes: &[u8]| bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
        let (len, least) = match extended {
            0 => (short, 0),
            2 => (big_endian(&self.head[2..4]), 126),
            _ => (big_endian(&self.head[2..10]), 0x1_0000),
        };
        if len < least {
            return Err(Breach::protocol("expected a length in its shortest form, but found a longer form"));
        }
        if len >> 63 != 0 {
            return Err(Breach::protocol("expected a length below 2^63, but found its highest bit set"));
        }
        self.grow(len, is_last, message_bytes_max)?;
        Ok(Some(MASK_BYTES + len))
    }

    /// What the first byte alone tells.
    fn judge_first(&self, opcode: u8, is_last: bool) -> Result<(), Breach> {
        let may_be_deflated = self.deflates && matches!((opcode, self.message), (1 | 2, None));
        let reserved = if may_be_deflated { 0x70 & !RSV_DEFLATED } else { 0x70 };
        let reason = match (opcode, self.message) {
            _ if self.head[0] & reserved != 0 => "expected reserved bits of 0, but found one that is 1",
            (3..=7 | 11.., _) => "expected an opcode of 0, 1, 2, 8, 9 or 10, but found another",
            (8.., _) if !is_last => "expected a control frame in one piece, but found a fragment",
            (0, None) => "expected the start of a message, but found a continuation",
            (1 | 2, Some(_)) => "expected the continuation of a message, but found another's start",
            _ => return Ok(()),
        };
        Err(Breach::protocol(reason))
    }

    /// A control frame, whose length is in its second byte. A close frame has its code told as well.
    fn judge_control(&self, opcode: u8, len: u64) -> Result<Option<u64>, Breach> {
        const CLOSE: u8 = 8;
        if len > CONTROL_BYTES_MAX {
            return Err(Breach::protocol(
                "expected a control frame of at most 125 bytes, but found a longer one",
            ));
        }
        if opcode != CLOSE || len == 0 {
            return Ok(Some(MASK_BYTES + len));
        }
        if len == 1 {
            return Err(Breach::protocol("expected a close code of two bytes, but found one byte"));
        }
        if self.come < 8 {
            return Ok(None);
        }
        let [_, _, mask_1, mask_2, _, _, high, low, ..] = self.head;
        if may_be_sent(u16::from_be_bytes([high ^ mask_1, low ^ mask_2])) {
            return Ok(Some(len - 2));
        }
        Err(Breach::protocol("expected a close code that may be sent, but found another"))
    }

    /// A message has one more frame, of `len` bytes.
    fn grow(&mut self, len: u64, is_last: bool, max: u64) -> Result<(), Breach> {
        let message = self.message.unwrap_or_default() + len;
        if message > max {
            let and_more = if is_last { "" } else { " and more" };
            let reason = format!(
                "expected a message of at most {max} bytes (message_bytes_max), but found {message}{and_more}"
            );
            return Err(Breach { code: Code::TooBig, reason: reason.into() });
        }
        self.message = (!is_last).then_some(message);
        Ok(())
    }
}

/// Whether a close frame may have this code (sections 7.4.1 and 7.4.2, and what IANA has registered since).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999)
}
