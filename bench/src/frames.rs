//! WebSocket frames as plain bytes: as much of RFC 6455 as a load generator and a floor need.
//!
//! Owns the header of a frame. Fragmented messages are not put together: no contestant sends them.

/// Operation codes of RFC 6455, section 5.2.
pub(crate) const TEXT: u8 = 1;
/// The peer leaves.
pub(crate) const CLOSE: u8 = 8;
/// The peer wants a pong.
pub(crate) const PING: u8 = 9;
/// The answer to a ping.
pub(crate) const PONG: u8 = 10;

const FINAL: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
const MASKED: u8 = 0x80;

/// The first frame of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// What it is.
    pub(crate) operation: u8,
    /// Whether permessage-deflate was applied (RSV1).
    pub(crate) compressed: bool,
    /// What the payload was masked with, when it was.
    pub(crate) mask: Option<[u8; 4]>,
    /// As received: masked when there is a mask.
    pub(crate) payload: &'a [u8],
    /// Header and payload.
    pub(crate) bytes: usize,
}

impl Frame<'_> {
    /// The payload, unmasked.
    pub(crate) fn content(&self) -> Vec<u8> {
        let mask = self.mask.unwrap_or_default();
        self.payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
    }
}

/// The first frame of `received`; `None` while it is not complete.
pub(crate) fn first(received: &[u8]) -> Option<Frame<'_>> {
    let &[control, length, ..] = received else { return None };
    let (payload_bytes, mut header_bytes) = match length & !MASKED {
        126 => (u16::from_be_bytes(array(received, 2)?).into(), 4),
        127 => (usize::try_from(u64::from_be_bytes(array(received, 2)?)).ok()?, 10),
        short => (usize::from(short), 2),
    };
    let mut mask = None;
    if length & MASKED != 0 {
        mask = Some(array(received, header_bytes)?);
        header_bytes += 4;
    }
    let bytes = payload_bytes.checked_add(header_bytes)?;
    let payload = received.get(header_bytes..bytes)?;
    Some(Frame { operation: control & 0x0f, compressed: control & COMPRESSED != 0, mask, payload, bytes })
}

/// A frame as servers send it.
pub(crate) fn from_server(operation: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(operation, payload.len(), 0);
    frame.extend_from_slice(payload);
    frame
}

/// A frame as clients send it. The mask is zero: it is there, and costs nobody anything.
pub(crate) fn from_client(operation: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(operation, payload.len(), MASKED);
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

fn header(operation: u8, payload_bytes: usize, masked: u8) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload_bytes + 14);
    frame.push(FINAL | operation);
    match (u8::try_from(payload_bytes), u16::try_from(payload_bytes)) {
        (Ok(length @ ..126), _) => frame.push(masked | length),
        (_, Ok(length)) => {
            frame.push(masked | 126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            frame.push(masked | 127);
            frame.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
        }
    }
    frame
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for payload_bytes in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; payload_bytes];
            for frame in [from_server(TEXT, &payload), from_client(TEXT, &payload)] {
                let read = first(&frame).unwrap();
                assert_eq!((read.operation, read.compressed, read.bytes), (TEXT, false, frame.len()));
                assert_eq!(read.content(), payload);
                assert_eq!(first(&frame[..frame.len() - 1]), None);
            }
        }
    }

    #[test]
    fn a_mask_is_taken_off() {
        // RFC 6455, section 5.7: a masked "Hello".
        let frame = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(first(&frame).unwrap().content(), b"Hello");
    }
}
