//! What an app can be told by webhook: Pusher's events, their names and their JSON.
//!
//! Owns the words and the shape of one element of a webhook's `events`. When something is worth telling is the
//! callers'; who wants to hear it is [`super::Endpoint`]'s.

use std::fmt;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::pusher::socket_id::SocketId;

/// A kind of event; configuration and JSON use [`EventKind::name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A channel has its first subscriber.
    ChannelOccupied,
    /// A channel has lost its last subscriber.
    ChannelVacated,
    /// A user has come to a presence channel.
    MemberAdded,
    /// A user has left a presence channel.
    MemberRemoved,
    /// A client has sent an event.
    ClientEvent,
    /// Somebody has subscribed to a cache channel that remembers nothing.
    CacheMiss,
    /// The number of a channel's subscribers has changed.
    SubscriptionCount,
}

impl EventKind {
    /// All kinds, as documentation lists them.
    pub const ALL: [Self; 7] = [
        Self::ChannelOccupied,
        Self::ChannelVacated,
        Self::MemberAdded,
        Self::MemberRemoved,
        Self::ClientEvent,
        Self::CacheMiss,
        Self::SubscriptionCount,
    ];

    /// Pusher's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChannelOccupied => "channel_occupied",
            Self::ChannelVacated => "channel_vacated",
            Self::MemberAdded => "member_added",
            Self::MemberRemoved => "member_removed",
            Self::ClientEvent => "client_event",
            Self::CacheMiss => "cache_miss",
            Self::SubscriptionCount => "subscription_count",
        }
    }

    /// The kind that Pusher calls `name`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind that undoes this one, or is undone by it.
    pub fn opposite(self) -> Option<Self> {
        match self {
            Self::ChannelOccupied => Some(Self::ChannelVacated),
            Self::ChannelVacated => Some(Self::ChannelOccupied),
            Self::MemberAdded => Some(Self::MemberRemoved),
            Self::MemberRemoved => Some(Self::MemberAdded),
            Self::ClientEvent | Self::CacheMiss | Self::SubscriptionCount => None,
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of kinds. The default is all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventKinds(u8);

impl EventKinds {
    /// Every kind.
    pub const ALL: Self = Self((1 << EventKind::ALL.len()) - 1);

    /// Whether `kind` is in the set.
    pub fn contains(self, kind: EventKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }
}

impl Default for EventKinds {
    fn default() -> Self {
        Self::ALL
    }
}

impl FromIterator<EventKind> for EventKinds {
    fn from_iter<I: IntoIterator<Item = EventKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |set, kind| set | 1 << kind as u8))
    }
}

/// Something that happened in an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A channel has its first subscriber.
    ChannelOccupied {
        /// Which channel.
        channel: Arc<str>,
    },
    /// A channel has lost its last subscriber.
    ChannelVacated {
        /// Which channel.
        channel: Arc<str>,
    },
    /// A user has come to a presence channel with a first connection.
    MemberAdded {
        /// Which channel.
        channel: Arc<str>,
        /// Who.
        user_id: Arc<str>,
    },
    /// A user has left a presence channel with the last connection.
    MemberRemoved {
        /// Which channel.
        channel: Arc<str>,
        /// Who.
        user_id: Arc<str>,
    },
    /// A client has sent an event, and it was let through.
    ClientEvent {
        /// Which channel.
        channel: Arc<str>,
        /// Its name, `client-` included.
        event: String,
        /// A string: JSON text when the client sent something else.
        data: String,
        /// The sender.
        socket_id: SocketId,
        /// The sender's user, on a presence channel.
        user_id: Option<Arc<str>>,
        /// The user that the sender is signed in as. Pusher's webhooks do not tell it; listeners are told.
        signed_in: Option<Arc<str>>,
    },
    /// Somebody has subscribed to a cache channel that remembers nothing.
    CacheMiss {
        /// Which channel.
        channel: Arc<str>,
    },
    /// The number of a channel's subscribers has changed.
    SubscriptionCount {
        /// Which channel.
        channel: Arc<str>,
        /// The number now.
        subscription_count: u64,
    },
}

impl Event {
    /// What kind it is.
    pub fn kind(&self) -> EventKind {
        match self {
            Self::ChannelOccupied { .. } => EventKind::ChannelOccupied,
            Self::ChannelVacated { .. } => EventKind::ChannelVacated,
            Self::MemberAdded { .. } => EventKind::MemberAdded,
            Self::MemberRemoved { .. } => EventKind::MemberRemoved,
            Self::ClientEvent { .. } => EventKind::ClientEvent,
            Self::CacheMiss { .. } => EventKind::CacheMiss,
            Self::SubscriptionCount { .. } => EventKind::SubscriptionCount,
        }
    }

    /// The channel in which it happened.
    pub fn channel(&self) -> &Arc<str> {
        match self {
            Self::ChannelOccupied { channel }
            | Self::ChannelVacated { channel }
            | Self::MemberAdded { channel, .. }
            | Self::MemberRemoved { channel, .. }
            | Self::ClientEvent { channel, .. }
            | Self::CacheMiss { channel }
            | Self::SubscriptionCount { channel, .. } => channel,
        }
    }

    /// The user whom it concerns, if it concerns one.
    pub fn user_id(&self) -> Option<&Arc<str>> {
        match self {
            Self::MemberAdded { user_id, .. } | Self::MemberRemoved { user_id, .. } => Some(user_id),
            Self::ClientEvent { user_id, .. } => user_id.as_ref(),
            _ => None,
        }
    }

    /// What it costs to keep, about: its texts and a fixed part for what surrounds them.
    pub fn bytes(&self) -> usize {
        const FIXED: usize = 128;
        let texts = match self {
            Self::ClientEvent { event, data, signed_in, .. } => {
                event.len() + data.len() + signed_in.as_ref().map_or(0, |user_id| user_id.len())
            }
            _ => 0,
        };
        FIXED + texts + self.channel().len() + self.user_id().map_or(0, |user_id| user_id.len())
    }
}

/// As it stands in a webhook's `events`.
impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize_about(self.user_id(), serializer)
    }
}

/// As a listener is told: a client's event with the user that its sender is signed in as, where it is not a member's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told<'a>(pub(super) &'a Event);

impl Told<'_> {
    /// Whether it differs from what a webhook tells.
    pub(super) fn is_other(self) -> bool {
        matches!(self.0, Event::ClientEvent { user_id: None, signed_in: Some(_), .. })
    }
}

impl Serialize for Told<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let signed_in = match self.0 {
            Event::ClientEvent { signed_in, .. } => signed_in.as_ref(),
            _ => None,
        };
        self.0.serialize_about(self.0.user_id().or(signed_in), serializer)
    }
}

impl Event {
    fn serialize_about<S: Serializer>(
        &self,
        user_id: Option<&Arc<str>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", self.kind().name())?;
        map.serialize_entry("channel", &**self.channel())?;
        if let Self::ClientEvent { event, data, socket_id, .. } = self {
            map.serialize_entry("event", event)?;
            map.serialize_entry("data", data)?;
            map.serialize_entry("socket_id", &socket_id.to_string())?;
        }
        if let Some(user_id) = user_id {
            map.serialize_entry("user_id", &**user_id)?;
        }
        if let Self::SubscriptionCount { subscription_count, .. } = self {
            map.serialize_entry("subscription_count", subscription_count)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(event: &Event) -> String {
        serde_json::to_string(event).unwrap()
    }

    #[test]
    fn w_events_have_pushers_json() {
        let (channel, user_id): (Arc<str>, Arc<str>) = ("presence-a".into(), "7".into());
        let socket_id = SocketId::parse("1.2").unwrap();
        let occupied = Event::ChannelOccupied { channel: channel.clone() };
        assert_eq!(json(&occupied), r#"{"name":"channel_occupied","channel":"presence-a"}"#);
        let vacated = Event::ChannelVacated { channel: channel.clone() };
        assert_eq!(json(&vacated), r#"{"name":"channel_vacated","channel":"presence-a"}"#);
        let added = Event::MemberAdded { channel: channel.clone(), user_id: user_id.clone() };
        assert_eq!(json(&added), r#"{"name":"member_added","channel":"presence-a","user_id":"7"}"#);
        let removed = Event::MemberRemoved { channel: channel.clone(), user_id: user_id.clone() };
        assert_eq!(json(&removed), r#"{"name":"member_removed","channel":"presence-a","user_id":"7"}"#);
        let miss = Event::CacheMiss { channel: channel.clone() };
        assert_eq!(json(&miss), r#"{"name":"cache_miss","channel":"presence-a"}"#);
        let count = Event::SubscriptionCount { channel: channel.clone(), subscription_count: 3 };
        assert_eq!(
            json(&count),
            r#"{"name":"subscription_count","channel":"presence-a","subscription_count":3}"#
        );
        let (event, data) = ("client-x".to_owned(), r#"{"a":1}"#.to_owned());
        let (signed_in, user_id) = (Some("8".into()), Some(user_id));
        let client =
            Event::ClientEvent { channel: channel.clone(), event, data, socket_id, user_id, signed_in };
        assert_eq!(
            serde_json::to_string(&Told(&client)).unwrap(),
            json(&client),
            "a member is who it is there"
        );
        assert!(!Told(&client).is_other());
        assert_eq!(
            json(&client),
            r#"{"name":"client_event","channel":"presence-a","event":"client-x","data":"{\"a\":1}","socket_id":"1.2","user_id":"7"}"#
        );
        let (event, data) = ("client-x".to_owned(), String::new());
        let signed_in = Some("8".into());
        let client = Event::ClientEvent { channel, event, data, socket_id, user_id: None, signed_in };
        assert_eq!(
            serde_json::to_string(&Told(&client)).unwrap(),
            r#"{"name":"client_event","channel":"presence-a","event":"client-x","data":"","socket_id":"1.2","user_id":"8"}"#
        );
        assert!(Told(&client).is_other() && !Told(&count).is_other());
        assert_eq!(
            json(&client),
            r#"{"name":"client_event","channel":"presence-a","event":"client-x","data":"","socket_id":"1.2"}"#
        );
    }

    #[test]
    fn every_kind_is_found_by_its_name_and_is_in_the_default_set_once() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::parse(kind.name()), Some(kind));
            assert!(EventKinds::default().contains(kind));
            assert!(!EventKinds::from_iter([]).contains(kind));
            let alone = EventKinds::from_iter([kind]);
            assert_eq!(EventKind::ALL.into_iter().filter(|other| alone.contains(*other)).count(), 1);
            if let Some(opposite) = kind.opposite() {
                assert_eq!(opposite.opposite(), Some(kind));
            }
        }
        assert_eq!(EventKind::parse("Channel_Occupied"), None);
    }
}
