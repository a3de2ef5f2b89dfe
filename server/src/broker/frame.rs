//! The bytes that one node publishes to others.
//!
//! ```text
//! offset  size  field
//!      0     1  version        1
//!      1     1  kind           see below
//!      2     2  flags          of the kind; those that it does not know are 0
//!      4     8  origin         the node that published it
//!     12     8  serial         grows with every frame of that node
//!     20     …  the body, of its kind; nothing after it
//! ```
//!
//! Integers are little-endian. The kinds:
//!
//! ```text
//!    0          never used
//!    1          a publication, whose body is below
//!    2 to  15   more about events of channels
//!   16 to  31   members, users and occupancy of channels
//!   32 to  47   commands to nodes, questions and their answers
//!   48 to  63   nodes: that they are there, and that they leave
//!   64 to 255   not given out
//! ```
//!
//! A publication (flags: bit 0 a socket id is excluded, bit 1 the data is a client's JSON, bit 2 the client sent
//! none, bit 3 the client's user is named):
//!
//! ```text
//!      0     1  app bytes      1 to 200
//!      1     1  channel bytes  1 to 200
//!      2     1  event bytes    0 to 200
//!      3     2  user bytes     0 without flag bit 3
//!      5     4  data bytes
//!      9    16  the excluded socket id: two integers; only with flag bit 0
//!      …     …  app id, channel, event, user id, data: all of it UTF-8
//! ```
//!
//! Owns the layout and its bounds. A frame of another version, or of a kind that this version does not know, is not
//! a mistake: nodes of two releases share a fleet while one replaces the other. There is no secret in a frame, and
//! nothing of PHP's own format.

use fanfare_wire::cursor::{Cursor, Short};
use fanfare_wire::record::NAME_BYTES_MAX;
use thiserror::Error;

use super::NodeId;
use crate::publication::{Data, Publication};
use crate::pusher::SocketId;

/// Version of the layout above, the first byte of every frame.
pub const VERSION: u8 = 1;
/// The kind of a publication.
pub const PUBLICATION: u8 = 1;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 20;

const SERIAL_AT: usize = 12;
const FLAG_EXCEPT: u16 = 1;
const FLAG_CLIENT: u16 = 2;
const FLAG_WITHOUT_DATA: u16 = 4;
const FLAG_USER: u16 = 8;
const FLAGS: u16 = FLAG_EXCEPT | FLAG_CLIENT | FLAG_WITHOUT_DATA | FLAG_USER;

/// What every frame begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the body is.
    pub kind: u8,
    /// Bits whose meaning is the kind's.
    pub flags: u16,
    /// Who published it.
    pub origin: NodeId,
    /// Which of its frames it is: one that comes again, because it was not certain that it had been taken, has the
    /// same.
    pub serial: u64,
}

/// Why bytes are not a frame that this node reads.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// It ends too early.
    #[error(transparent)]
    Short(#[from] Short),
    /// Of another release.
    #[error(
        "expected frame version {VERSION}, but found {found}; nodes of two releases share this broker: upgrade the older ones"
    )]
    Version {
        /// The first byte.
        found: u8,
    },
    /// Of a later release, or of a part that is not there.
    #[error(
        "expected a kind of frame that this release knows, but found {found}; nodes of two releases share this broker: upgrade the older ones"
    )]
    Kind {
        /// The second byte.
        found: u8,
    },
    /// Flag bits that the kind does not have, or that contradict each other.
    #[error("expected flags of a frame of kind {kind}, but found {found:#06x}")]
    Flags {
        /// The kind.
        kind: u8,
        /// The flags.
        found: u16,
    },
    /// A name that is too long or empty.
    #[error("expected {field} of 1 to {NAME_BYTES_MAX} bytes, but found {found}")]
    Name {
        /// Which name.
        field: &'static str,
        /// Its bytes.
        found: usize,
    },
    /// Not text.
    #[error("expected {field} in UTF-8, but found other bytes")]
    Text {
        /// What is not text.
        field: &'static str,
    },
    /// Bytes after the end.
    #[error("expected the frame to end with its body, but found {found} more bytes")]
    Trailing {
        /// How many.
        found: usize,
    },
}

impl FrameError {
    /// Whether a frame that says this is sound in itself, and of another release.
    pub fn is_of_another_release(&self) -> bool {
        matches!(self, Self::Version { .. } | Self::Kind { .. })
    }
}

/// Begins a frame: its header, to which the body is appended. The broker that publishes it numbers it.
pub fn begin(kind: u8, flags: u16, origin: NodeId, body_bytes: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER_BYTES + body_bytes);
    frame.extend_from_slice(&[VERSION, kind]);
    frame.extend_from_slice(&flags.to_le_bytes());
    frame.extend_from_slice(&origin.0.to_le_bytes());
    frame.extend_from_slice(&[0; 8]);
    frame
}

/// Puts the serial into a frame that was begun.
pub(super) fn number(frame: &mut [u8], serial: u64) {
    if let Some(place) = frame.get_mut(SERIAL_AT..HEADER_BYTES) {
        place.copy_from_slice(&serial.to_le_bytes());
    }
}

/// Reads a frame's header; gives its body too, which is the kind's to read.
///
/// # Errors
/// [`FrameError`] names the first field that is not as the layout says.
pub fn decode(bytes: &[u8]) -> Result<(Header, &[u8]), FrameError> {
    let mut cursor = Cursor::new(bytes);
    let version = cursor.u8("the frame's version")?;
    if version != VERSION {
        return Err(FrameError::Version { found: version });
    }
    let kind = cursor.u8("the frame's kind")?;
    let flags = cursor.u16("the frame's flags")?;
    let origin = NodeId(cursor.u64("the frame's origin")?);
    let serial = cursor.u64("the frame's serial")?;
    let body = cursor.bytes(cursor.remaining(), "the frame's body")?;
    Ok((Header { kind, flags, origin, serial }, body))
}

/// A publication to one channel, as another node hears it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published<'a> {
    /// The app's id.
    pub app: &'a str,
    /// The channel. Whether its name is legal is not known yet.
    pub channel: &'a str,
    /// The event's name.
    pub event: &'a str,
    /// Its data.
    pub data: Data<'a>,
    /// The connection that does not receive it.
    pub except: Option<SocketId>,
}

impl<'a> Published<'a> {
    /// One channel's part of a publication.
    pub fn of(app: &'a str, channel: &'a str, publication: &Publication<'a>) -> Self {
        let Publication { event, data, except, .. } = *publication;
        Self { app, channel, event, data, except }
    }

    /// The frame, but for its serial.
    pub fn encode(&self, origin: NodeId) -> Vec<u8> {
        let (data, user_id, mut flags) = match self.data {
            Data::Text(text) => (text, None, 0),
            Data::Client { json: Some(json), user_id } => (json, user_id, FLAG_CLIENT),
            Data::Client { json: None, user_id } => ("", user_id, FLAG_CLIENT | FLAG_WITHOUT_DATA),
        };
        flags |= if user_id.is_some() { FLAG_USER } else { 0 };
        flags |= if self.except.is_some() { FLAG_EXCEPT } else { 0 };
        let user_id = user_id.unwrap_or_default();
        let texts = [self.app, self.channel, self.event, user_id, data];
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        let mut frame = begin(PUBLICATION, flags, origin, 9 + 16 + bytes);
        // Names have 200 bytes at most, a user id 1,024, data 15 MiB: what a node took on.
        frame.extend_from_slice(&[self.app.len() as u8, self.channel.len() as u8, self.event.len() as u8]);
        frame.extend_from_slice(&(user_id.len() as u16).to_le_bytes());
        frame.extend_from_slice(&(data.len() as u32).to_le_bytes());
        if let Some(except) = self.except {
            let (process, serial) = except.halves();
            frame.extend_from_slice(&process.to_le_bytes());
            frame.extend_from_slice(&serial.to_le_bytes());
        }
        texts.iter().for_each(|text| frame.extend_from_slice(text.as_bytes()));
        frame
    }

    /// Reads the body of a frame with this header.
    ///
    /// # Errors
    /// [`FrameError`] names the first field that is not as the layout says; a frame of another kind is
    /// [`FrameError::Kind`].
    pub fn decode(header: &Header, body: &'a [u8]) -> Result<Self, FrameError> {
        let Header { kind, flags, .. } = *header;
        if kind != PUBLICATION {
            return Err(FrameError::Kind { found: kind });
        }
        let is_set = |flag: u16| flags & flag != 0;
        let of_client = is_set(FLAG_WITHOUT_DATA) || is_set(FLAG_USER);
        if flags & !FLAGS != 0 || (of_client && !is_set(FLAG_CLIENT)) {
            return Err(FrameError::Flags { kind, found: flags });
        }
        let mut cursor = Cursor::new(body);
        let app_len = usize::from(cursor.u8("the app's length")?);
        let channel_len = usize::from(cursor.u8("the channel's length")?);
        let event_len = usize::from(cursor.u8("the event's length")?);
        let user_len = usize::from(cursor.u16("the user's length")?);
        let data_len = cursor.u32("the data's length")? as usize;
        let except = match is_set(FLAG_EXCEPT) {
            true => {
                let process = cursor.u64("the excluded socket id")?;
                Some(SocketId::of_halves(process, cursor.u64("the excluded socket id")?))
            }
            false => None,
        };
        let app = name(&mut cursor, app_len, "the app's id")?;
        let channel = name(&mut cursor, channel_len, "the channel's name")?;
        let event = text(&mut cursor, event_len, "the event's name")?;
        let user_id = text(&mut cursor, user_len, "the user's id")?;
        let data = text(&mut cursor, data_len, "the data")?;
        if cursor.remaining() > 0 {
            return Err(FrameError::Trailing { found: cursor.remaining() });
        }
        if (!is_set(FLAG_USER) && user_len > 0) || (is_set(FLAG_WITHOUT_DATA) && data_len > 0) {
            return Err(FrameError::Flags { kind, found: flags });
        }
        let data = match is_set(FLAG_CLIENT) {
            true => Data::Client {
                json: (!is_set(FLAG_WITHOUT_DATA)).then_some(data),
                user_id: is_set(FLAG_USER).then_some(user_id),
            },
            false => Data::Text(data),
        };
        Ok(Self { app, channel, event, data, except })
    }

    /// The publication to deliver.
    pub fn publication(&self) -> Publication<'a> {
        let Self { channel, event, data, except, .. } = *self;
        Publication { channels: vec![channel], event, data, except }
    }
}

fn text<'a>(cursor: &mut Cursor<'a>, len: usize, field: &'static str) -> Result<&'a str, FrameError> {
    std::str::from_utf8(cursor.bytes(len, field)?).map_err(|_| FrameError::Text { field })
}

fn name<'a>(cursor: &mut Cursor<'a>, len: usize, field: &'static str) -> Result<&'a str, FrameError> {
    if !(1..=NAME_BYTES_MAX).contains(&len) {
        return Err(FrameError::Name { field, found: len });
    }
    text(cursor, len, field)
}

const _: () = assert!(NAME_BYTES_MAX <= u8::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Published<'static>> {
        let text = Published {
            app: "app",
            channel: "presence-a",
            event: "e",
            data: Data::Text("{\"é\":1}"),
            except: SocketId::parse("9007199254740992.18446744073709551615"),
        };
        let client = |json, user_id| Published {
            data: Data::Client { json, user_id },
            except: SocketId::parse("1.2"),
            ..text.clone()
        };
        vec![
            Published { data: Data::Text(""), except: None, ..text.clone() },
            client(Some("[1]"), Some("7")),
            client(Some(""), None),
            client(None, Some("")),
            client(None, None),
            text,
        ]
    }

    #[test]
    fn a_publication_survives_its_frame() {
        for published in samples() {
            let mut frame = published.encode(NodeId(7));
            number(&mut frame, 42);
            let (header, body) = decode(&frame).unwrap();
            assert_eq!((header.origin, header.serial, header.kind), (NodeId(7), 42, PUBLICATION));
            assert_eq!(Published::decode(&header, body).unwrap(), published);
        }
    }

    #[test]
    fn every_frame_that_is_cut_or_longer_says_so() {
        for published in samples() {
            let mut frame = published.encode(NodeId(7));
            for len in 0..frame.len() {
                let judged = decode(&frame[..len]).and_then(|(head, body)| Published::decode(&head, body));
                assert!(matches!(judged, Err(FrameError::Short(_))), "{len}: {judged:?}");
            }
            frame.push(0);
            let (header, body) = decode(&frame).unwrap();
            assert_eq!(Published::decode(&header, body), Err(FrameError::Trailing { found: 1 }));
        }
    }

    #[test]
    fn another_release_is_told_from_a_mistake() {
        let frame = samples()[0].encode(NodeId(7));
        let changed = |at: usize, byte: u8| {
            let mut frame = frame.clone();
            frame[at] = byte;
            let (header, body) = decode(&frame)?;
            Published::decode(&header, body).map(|_| ())
        };
        assert_eq!(changed(0, 2), Err(FrameError::Version { found: 2 }));
        assert_eq!(changed(1, 16), Err(FrameError::Kind { found: 16 }));
        assert!(changed(0, 2).unwrap_err().is_of_another_release());
        assert_eq!(changed(2, 16), Err(FrameError::Flags { kind: 1, found: 16 }));
        assert_eq!(changed(2, FLAG_USER as u8), Err(FrameError::Flags { kind: 1, found: FLAG_USER }));
        let name = FrameError::Name { field: "the app's id", found: 0 };
        assert_eq!(changed(HEADER_BYTES, 0), Err(name));
        let not_text = FrameError::Text { field: "the app's id" };
        assert_eq!(changed(HEADER_BYTES + 9, 0xFF), Err(not_text.clone()));
        assert!(!not_text.is_of_another_release());
    }
}
