//! A publication: what PHP hands in, checked.
//!
//! Owns which names and sizes are acceptable. Made from a decoded record, from a request of the HTTP API, or from a
//! client event, which has been checked by [`crate::pusher`]. Borrows everything: nothing of it is kept.

use fanfare_wire::record::Record;
use thiserror::Error;

use crate::limits::Limits;
use crate::pusher::SocketId;
use crate::pusher::channel::{self, NameError};

/// What is to be delivered to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication<'a> {
    /// Legal names, at least one.
    pub channels: Vec<&'a str>,
    /// The event's name.
    pub event: &'a str,
    /// Its data, passed through byte for byte.
    pub data: Data<'a>,
    /// The connection that does not receive it.
    pub except: Option<SocketId>,
}

/// What an event carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data<'a> {
    /// A text, which clients receive as a JSON string: what the application publishes.
    Text(&'a str),
    /// JSON as a client sent it, which clients receive as it is; none when it sent none.
    Client {
        /// Any JSON value.
        json: Option<&'a str>,
        /// The sender, on a presence channel.
        user_id: Option<&'a str>,
    },
}

impl Data<'_> {
    /// What a cache channel remembers: what the application says, and nothing of what clients do.
    pub fn to_be_remembered(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Client { .. } => None,
        }
    }

    /// For the journal.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Client { json, .. } => json.unwrap_or_default(),
        }
    }
}

/// Why a publication is dropped. Whoever sent it can only be told through the log: the ring has no way back.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unacceptable {
    /// A channel's name.
    #[error(transparent)]
    Channel(#[from] NameError),
    /// The event's name is too long.
    #[error("expected an event name of at most {max} bytes, but found {found}")]
    Event {
        /// `event_bytes_max`.
        max: usize,
        /// Its bytes.
        found: usize,
    },
    /// Too much data.
    #[error(
        "expected data of at most {max} bytes, but found {found}; send a reference, or raise data_bytes_max"
    )]
    Data {
        /// `data_bytes_max`.
        max: usize,
        /// Its bytes.
        found: usize,
    },
    /// Not text.
    #[error("expected {field} in UTF-8, but found other bytes")]
    Text {
        /// What is not text.
        field: &'static str,
    },
}

impl<'a> Publication<'a> {
    /// Checks a record. An excluded socket id that is not one of ours names no connection, and so excludes none:
    /// it comes from a browser's header, which must not be able to suppress a broadcast.
    ///
    /// # Errors
    /// [`Unacceptable`] names the first rule that is broken; nothing of the publication is delivered then.
    pub fn from_record(record: &Record<'a>, limits: &Limits) -> Result<Self, Unacceptable> {
        let mut channels = Vec::with_capacity(record.channels_len());
        for name in record.channels() {
            channels.push(utf8(name, "a channel name")?);
        }
        let event = utf8(record.event, "the event name")?;
        let data = utf8(record.data, "the data")?;
        let except = record.except.and_then(|id| std::str::from_utf8(id).ok()).and_then(SocketId::parse);
        Self::of_application(channels, event, data, except, limits)
    }

    /// Checks what the application publishes.
    ///
    /// # Errors
    /// As [`Publication::from_record`].
    pub fn of_application(
        channels: Vec<&'a str>,
        event: &'a str,
        data: &'a str,
        except: Option<SocketId>,
        limits: &Limits,
    ) -> Result<Self, Unacceptable> {
        for name in &channels {
            channel::judge(name, limits.channel_bytes_max)?;
        }
        if event.len() > limits.event_bytes_max {
            return Err(Unacceptable::Event { max: limits.event_bytes_max, found: event.len() });
        }
        if data.len() > limits.data_bytes_max {
            return Err(Unacceptable::Data { max: limits.data_bytes_max, found: data.len() });
        }
        Ok(Self { channels, event, data: Data::Text(data), except })
    }
}

fn utf8<'a>(bytes: &'a [u8], field: &'static str) -> Result<&'a str, Unacceptable> {
    std::str::from_utf8(bytes).map_err(|_| Unacceptable::Text { field })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_wire::record::{Draft, decode};

    fn checked(
        channels: &[&[u8]],
        event: &[u8],
        data: &[u8],
        except: Option<&[u8]>,
    ) -> Result<usize, Unacceptable> {
        let mut bytes = Vec::new();
        Draft::new(channels.iter().copied(), event, data, except).unwrap().encode(&mut bytes);
        let limits = Limits { data_bytes_max: 10, ..Limits::default() };
        let record = decode(&bytes).unwrap();
        Publication::from_record(&record, &limits).map(|publication| publication.channels.len())
    }

    #[test]
    fn one_bad_name_drops_the_whole_publication() {
        assert_eq!(checked(&[b"a", b"b"], b"e", b"{}", None), Ok(2));
        assert!(matches!(checked(&[b"a", b"b c"], b"e", b"{}", None), Err(Unacceptable::Channel(_))));
        assert_eq!(
            checked(&[b"\xff"], b"e", b"{}", None),
            Err(Unacceptable::Text { field: "a channel name" })
        );
        assert_eq!(
            checked(&[b"a"], b"\xff", b"{}", None),
            Err(Unacceptable::Text { field: "the event name" })
        );
        assert_eq!(checked(&[b"a"], b"e", b"\xff", None), Err(Unacceptable::Text { field: "the data" }));
        assert_eq!(
            checked(&[b"a"], b"e", b"12345678901", None),
            Err(Unacceptable::Data { max: 10, found: 11 })
        );
    }

    #[test]
    fn a_foreign_socket_id_excludes_nobody() {
        assert_eq!(checked(&[b"a"], b"e", b"{}", Some(b"not one")), Ok(1));
        assert_eq!(checked(&[b"a"], b"e", b"{}", Some(b"\xff")), Ok(1));
    }
}
