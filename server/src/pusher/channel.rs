//! Channel names, parsed once at the border.
//!
//! Owns which names are legal (Pusher: `[A-Za-z0-9_\-=@,.;]`, and `#` only for `#server-to-user-<id>`) and the
//! kind that follows from a prefix. Leaves to others who may subscribe. A name is only as long as
//! `channel_bytes_max` says, because the parser is told.

use std::sync::Arc;

use fanfare_wire::record::NAME_BYTES_MAX;
use thiserror::Error;

/// What a subscriber needs and gets, by the anchored prefix of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Anyone may subscribe.
    Public,
    /// Needs the app's signature.
    Private,
    /// Private, with data that only the subscribers can read.
    Encrypted,
    /// Needs the app's signature and has members.
    Presence,
    /// `#server-to-user-<id>`: the connections that are signed in as one user.
    User,
}

/// Kind and attributes of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Traits {
    /// What a subscriber needs.
    pub kind: Kind,
    /// Whether the channel remembers its last event. An attribute, not a kind: `private-cache-x` is private.
    pub cache: bool,
}

/// The prefix of the channel of one user's connections.
pub const USER_PREFIX: &str = "#server-to-user-";

impl Traits {
    /// Reads the anchored prefix of a legal name, the longest that fits.
    fn of(name: &str) -> Self {
        const PREFIXES: [(&str, Kind, bool); 8] = [
            ("private-encrypted-cache-", Kind::Encrypted, true),
            ("private-cache-", Kind::Private, true),
            ("presence-cache-", Kind::Presence, true),
            ("cache-", Kind::Public, true),
            ("private-encrypted-", Kind::Encrypted, false),
            ("private-", Kind::Private, false),
            ("presence-", Kind::Presence, false),
            (USER_PREFIX, Kind::User, false),
        ];
        let found = PREFIXES.iter().find(|(prefix, _, _)| name.starts_with(prefix));
        let (kind, cache) = found.map_or((Kind::Public, false), |&(_, kind, cache)| (kind, cache));
        Self { kind, cache }
    }

    /// Whether a subscriber is told a state: members, or the last event.
    pub fn has_state(self) -> bool {
        self.cache || self.kind == Kind::Presence
    }

    /// Whether clients may publish here.
    pub fn takes_client_events(self) -> bool {
        matches!(self.kind, Kind::Private | Kind::Presence)
    }

    /// Whether a subscription must carry the app's signature.
    pub fn needs_signature(self) -> bool {
        matches!(self.kind, Kind::Private | Kind::Encrypted | Kind::Presence)
    }
}

/// Why a text is not a channel name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("expected a channel name, but found an empty one")]
    Empty,
    /// Too long.
    #[error("expected a channel name of at most {max} bytes, but found {found}")]
    Long {
        /// `channel_bytes_max`.
        max: usize,
        /// Bytes of the name.
        found: usize,
    },
    /// A character that Pusher does not allow.
    #[error("expected a channel name of A-Z a-z 0-9 _ - = @ , . ; but found {found:?} in it")]
    Character {
        /// The first such character.
        found: char,
    },
}

/// What a subscriber of the channel with this legal name needs.
pub fn kind(name: &str) -> Kind {
    Traits::of(name).kind
}

/// Whether a channel with this legal name remembers its last event.
pub fn is_cache(name: &str) -> bool {
    Traits::of(name).cache
}

/// Judges a name without keeping it: what a publication needs.
///
/// # Errors
/// [`NameError`] names the first rule that is broken.
pub fn judge(name: &str, bytes_max: usize) -> Result<Traits, NameError> {
    if name.len() > bytes_max {
        return Err(NameError::Long { max: bytes_max, found: name.len() });
    }
    // The rule is the one that PHP has applied before it accepted the publication.
    if fanfare_wire::names::is_channel(name.as_bytes()) { Ok(Traits::of(name)) } else { Err(explain(name)) }
}

/// What is wrong with a name that is not legal.
fn explain(name: &str) -> NameError {
    let rest = name.strip_prefix(USER_PREFIX).unwrap_or(name);
    match rest.chars().find(|c| !fanfare_wire::names::is_channel(&[*c as u8]) || !c.is_ascii()) {
        Some(found) => NameError::Character { found },
        None if rest.is_empty() => NameError::Empty,
        None => NameError::Long { max: NAME_BYTES_MAX, found: name.len() },
    }
}

/// A legal channel name and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelName(Arc<str>);

impl ChannelName {
    /// Parses a name.
    ///
    /// # Errors
    /// As [`judge`].
    pub fn parse(name: &str, bytes_max: usize) -> Result<Self, NameError> {
        judge(name, bytes_max).map(|_| Self(name.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Kind and attributes; read off the prefix, so that a subscription costs no more than its name.
    pub fn traits(&self) -> Traits {
        Traits::of(&self.0)
    }

    /// The user of `#server-to-user-<id>`; `None` on other channels.
    pub fn user_id(&self) -> Option<&str> {
        self.0.strip_prefix(USER_PREFIX)
    }

    /// The shared text, for maps that outlive the subscription.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl std::borrow::Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_follow_from_the_anchored_prefix() {
        for (name, kind, cache) in [
            ("news", Kind::Public, false),
            ("cache-news", Kind::Public, true),
            ("my-private-x", Kind::Public, false),
            ("private-x", Kind::Private, false),
            ("private-cache-x", Kind::Private, true),
            ("private-encrypted-x", Kind::Encrypted, false),
            ("private-encrypted-cache-x", Kind::Encrypted, true),
            ("presence-x", Kind::Presence, false),
            ("presence-cache-x", Kind::Presence, true),
            ("#server-to-user-7", Kind::User, false),
        ] {
            assert_eq!(judge(name, 200), Ok(Traits { kind, cache }), "{name}");
        }
    }

    #[test]
    fn the_rule_is_the_one_that_php_checks() {
        let every_byte = (0..=127_u8).map(|byte| format!("a{}b", char::from(byte)));
        let others =
            ["", "#", "#server-to-user-", "#server-to-user-1", "x#server-to-user-1", "é"].map(str::to_owned);
        for name in every_byte.chain(others).chain([200, 201].map(|len| "x".repeat(len))) {
            assert_eq!(
                judge(&name, 200).is_ok(),
                fanfare_wire::names::is_channel(name.as_bytes()),
                "{name:?}"
            );
        }
    }

    #[test]
    fn names_outside_the_alphabet_are_refused() {
        for name in ["a b", "a/b", "ä", "#news", "a#b", "new\nline", "x\0"] {
            assert!(matches!(judge(name, 200), Err(NameError::Character { .. })), "{name:?}");
        }
        assert_eq!(judge("", 200), Err(NameError::Empty));
        assert_eq!(judge(USER_PREFIX, 200), Err(NameError::Empty));
        assert_eq!(judge("abcd", 3), Err(NameError::Long { max: 3, found: 4 }));
        assert!(judge("A-z_0=@,.;", 200).is_ok());
    }
}
