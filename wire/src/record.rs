//! The bytes of one publication, the same in the ring and in a socket message.
//!
//! ```text
//! offset  size  field
//!      0     1  version        1
//!      1     1  flags          bit 0: an excluded socket id follows the event; the others are 0
//!      2     2  channels       how many, 1 to CHANNELS_MAX
//!      4     2  event bytes    1 to NAME_BYTES_MAX
//!      6     2  except bytes   0 when flag bit 0 is not set
//!      8     4  data bytes
//!     12   …    each channel: 2 bytes of length, then the name
//!      …   …    event, except, data; nothing after it
//! ```
//!
//! Integers are little-endian. Owns the layout and its bounds; whether a name is one that Pusher allows and
//! whether text is UTF-8 is the server's to judge, because the extension of another version may not know.
//! The app is not in the record: it follows from the attachment that carries it.

use thiserror::Error;

use crate::cursor::{Cursor, Short};

/// Version of the layout above, the first byte of every record.
pub const VERSION: u8 = 1;
/// Channels of one publication (Pusher's own limit).
pub const CHANNELS_MAX: usize = 100;
/// Bytes of one channel name, event name or socket id (Pusher: 200 for events, 164 and a prefix for channels).
pub const NAME_BYTES_MAX: usize = 200;
/// Bytes of a record that any version may write. A ring or a server may allow less.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

const HEADER_BYTES: usize = 12;
const FLAG_EXCEPT: u8 = 1;

const _: () = assert!(NAME_BYTES_MAX <= u16::MAX as usize);
const _: () = assert!(CHANNELS_MAX <= u16::MAX as usize);
const _: () = assert!(RECORD_BYTES_MAX <= u32::MAX as usize);

/// What one server takes of a publication. Its limits may be lower than the format's, never higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicationLimits {
    /// Bytes of the data.
    pub data_bytes_max: u32,
    /// Bytes of a channel's name.
    pub channel_bytes_max: u16,
    /// Bytes of the event's name.
    pub event_bytes_max: u16,
}

/// Where the bytes of a record are put: a span of the ring, or a buffer.
pub trait Sink {
    /// Appends bytes.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// What a publication may not be, found before anything is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unfit {
    /// No channel at all.
    #[error("expected at least one channel, but found none")]
    NoChannels,
    /// More channels than [`CHANNELS_MAX`].
    #[error("expected at most {CHANNELS_MAX} channels, but found {found}; broadcast in several calls")]
    TooManyChannels {
        /// Channels that were given.
        found: usize,
    },
    /// A name without a character.
    #[error("expected {field} of 1 to {NAME_BYTES_MAX} bytes, but found an empty one")]
    EmptyName {
        /// Which name.
        field: Field,
    },
    /// A name of more than [`NAME_BYTES_MAX`] bytes.
    #[error("expected {field} of 1 to {max} bytes, but found {found} bytes")]
    LongName {
        /// Which name.
        field: Field,
        /// Bytes that it may have.
        max: usize,
        /// Its bytes.
        found: usize,
    },
    /// More data than this server takes.
    #[error(
        "expected data of at most {max} bytes, but found {found} bytes; send less, for example an id that the client fetches, or raise the server's data_bytes_max"
    )]
    LongData {
        /// Bytes that it may have.
        max: usize,
        /// Its bytes.
        found: usize,
    },
    /// A record of more than [`RECORD_BYTES_MAX`] bytes.
    #[error("expected a publication of at most {RECORD_BYTES_MAX} bytes, but found {found} bytes")]
    TooLarge {
        /// Bytes that the record would have.
        found: usize,
    },
}

/// The names in a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// A channel name.
    Channel,
    /// The event name.
    Event,
    /// The excluded socket id.
    Except,
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Channel => "a channel name",
            Self::Event => "an event name",
            Self::Except => "a socket id to leave out",
        })
    }
}

/// A publication on its way into a record: everything is borrowed, nothing is copied before [`Draft::encode`].
///
/// `channels` is walked twice and must yield the same names both times.
#[derive(Debug, Clone)]
pub struct Draft<'a, C> {
    channels: C,
    channels_len: u16,
    longest_channel: usize,
    event: &'a [u8],
    data: &'a [u8],
    except: Option<&'a [u8]>,
    encoded_len: usize,
}

impl<'a, C> Draft<'a, C>
where
    C: Iterator<Item = &'a [u8]> + Clone,
{
    /// Measures and checks a publication.
    ///
    /// # Errors
    /// [`Unfit`] names the first limit that is broken.
    pub fn new(
        channels: C,
        event: &'a [u8],
        data: &'a [u8],
        except: Option<&'a [u8]>,
    ) -> Result<Self, Unfit> {
        let mut encoded_len = HEADER_BYTES;
        let mut channels_len = 0_usize;
        let mut longest_channel = 0;
        for channel in channels.clone() {
            check_name(channel, Field::Channel)?;
            channels_len += 1;
            longest_channel = longest_channel.max(channel.len());
            encoded_len += 2 + channel.len();
        }
        match channels_len {
            0 => return Err(Unfit::NoChannels),
            1..=CHANNELS_MAX => {}
            found => return Err(Unfit::TooManyChannels { found }),
        }
        check_name(event, Field::Event)?;
        if let Some(except) = except {
            check_name(except, Field::Except)?;
        }
        encoded_len = encoded_len
            .saturating_add(event.len())
            .saturating_add(except.map_or(0, <[u8]>::len))
            .saturating_add(data.len());
        if encoded_len > RECORD_BYTES_MAX {
            return Err(Unfit::TooLarge { found: encoded_len });
        }
        Ok(Self {
            channels,
            channels_len: channels_len as u16,
            longest_channel,
            event,
            data,
            except,
            encoded_len,
        })
    }

    /// Whether a server with these limits takes it.
    ///
    /// # Errors
    /// [`Unfit`] names the first limit that is broken.
    #[inline]
    pub fn check(&self, limits: &PublicationLimits) -> Result<(), Unfit> {
        let (channel_max, event_max) = (limits.channel_bytes_max.into(), limits.event_bytes_max.into());
        let data_max = limits.data_bytes_max as usize;
        if self.longest_channel > channel_max {
            return Err(Unfit::LongName {
                field: Field::Channel,
                max: channel_max,
                found: self.longest_channel,
            });
        }
        if self.event.len() > event_max {
            return Err(Unfit::LongName { field: Field::Event, max: event_max, found: self.event.len() });
        }
        if self.data.len() > data_max {
            return Err(Unfit::LongData { max: data_max, found: self.data.len() });
        }
        Ok(())
    }

    /// Bytes that [`Draft::encode`] puts.
    pub fn encoded_len(&self) -> usize {
        self.encoded_len
    }

    /// Writes the record.
    pub fn encode(&self, sink: &mut impl Sink) {
        let except = self.except.unwrap_or_default();
        let mut header = [0_u8; HEADER_BYTES];
        header[0] = VERSION;
        header[1] = if self.except.is_some() { FLAG_EXCEPT } else { 0 };
        header[2..4].copy_from_slice(&self.channels_len.to_le_bytes());
        header[4..6].copy_from_slice(&(self.event.len() as u16).to_le_bytes());
        header[6..8].copy_from_slice(&(except.len() as u16).to_le_bytes());
        header[8..12].copy_from_slice(&(self.data.len() as u32).to_le_bytes());
        sink.put(&header);
        for channel in self.channels.clone() {
            sink.put(&(channel.len() as u16).to_le_bytes());
            sink.put(channel);
        }
        sink.put(self.event);
        sink.put(except);
        sink.put(self.data);
    }
}

fn check_name(name: &[u8], field: Field) -> Result<(), Unfit> {
    match name.len() {
        0 => Err(Unfit::EmptyName { field }),
        1..=NAME_BYTES_MAX => Ok(()),
        found => Err(Unfit::LongName { field, max: NAME_BYTES_MAX, found }),
    }
}

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError {
    /// It ends too early.
    #[error(transparent)]
    Short(#[from] Short),
    /// A version that this build does not read.
    #[error(
        "expected record version {VERSION}, but found {found}; the extension and the server differ: restart the older one"
    )]
    Version {
        /// The first byte.
        found: u8,
    },
    /// Flag bits that version 1 does not have.
    #[error("expected flags of record version {VERSION}, but found {found:#04x}")]
    Flags {
        /// The second byte.
        found: u8,
    },
    /// A count or length outside of its bounds.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// An excluded socket id without its flag.
    #[error("expected no excluded socket id, since its flag is not set, but found one of {found} bytes")]
    UnflaggedExcept {
        /// Its length.
        found: usize,
    },
    /// Bytes after the data.
    #[error("expected the record to end with its data, but found {found} more bytes")]
    Trailing {
        /// How many.
        found: usize,
    },
}

/// A decoded record, borrowing the bytes that it was decoded from.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    channels: Cursor<'a>,
    channels_len: usize,
    /// The event name, 1 to [`NAME_BYTES_MAX`] bytes.
    pub event: &'a [u8],
    /// The event's data, untouched.
    pub data: &'a [u8],
    /// The socket id that does not receive the event.
    pub except: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    /// How many channels there are, 1 to [`CHANNELS_MAX`].
    pub fn channels_len(&self) -> usize {
        self.channels_len
    }

    /// The channel names, in the order in which they were given.
    pub fn channels(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut cursor = self.channels.clone();
        std::iter::from_fn(move || {
            let len = cursor.u16("a channel's length").ok()?;
            cursor.bytes(usize::from(len), "a channel name").ok()
        })
    }
}

/// Reads one record.
///
/// # Errors
/// [`RecordError`] names the first field that is not as the layout says.
pub fn decode(bytes: &[u8]) -> Result<Record<'_>, RecordError> {
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(Unfit::TooLarge { found: bytes.len() }.into());
    }
    let mut cursor = Cursor::new(bytes);
    let version = cursor.u8("the record's version")?;
    if version != VERSION {
        return Err(RecordError::Version { found: version });
    }
    let flags = cursor.u8("the record's flags")?;
    if flags & !FLAG_EXCEPT != 0 {
        return Err(RecordError::Flags { found: flags });
    }
    let channels_len = usize::from(cursor.u16("the channel count")?);
    let event_len = usize::from(cursor.u16("the event's length")?);
    let except_len = usize::from(cursor.u16("the excluded socket id's length")?);
    let data_len = cursor.u32("the data's length")? as usize;
    match channels_len {
        0 => return Err(Unfit::NoChannels.into()),
        1..=CHANNELS_MAX => {}
        found => return Err(Unfit::TooManyChannels { found }.into()),
    }

    let channels = cursor.clone();
    for _ in 0..channels_len {
        let len = usize::from(cursor.u16("a channel's length")?);
        check_name(cursor.bytes(len, "a channel name")?, Field::Channel)?;
    }
    let names =
        Cursor::new(channels.clone().bytes(channels.remaining() - cursor.remaining(), "the channel names")?);

    let event = cursor.bytes(event_len, "the event name")?;
    check_name(event, Field::Event)?;
    let except = cursor.bytes(except_len, "the excluded socket id")?;
    let except = if flags & FLAG_EXCEPT != 0 {
        check_name(except, Field::Except)?;
        Some(except)
    } else if except.is_empty() {
        None
    } else {
        return Err(RecordError::UnflaggedExcept { found: except.len() });
    };
    let data = cursor.bytes(data_len, "the data")?;
    match cursor.remaining() {
        0 => Ok(Record { channels: names, channels_len, event, data, except }),
        found => Err(RecordError::Trailing { found }),
    }
}
