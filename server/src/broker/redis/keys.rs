//! What topics are called in Redis, and which slot of a cluster has them.
//!
//! ```text
//! {prefix}{APP:CHANNEL}      a channel of an app
//! {prefix}node:HEX           one node
//! {prefix}fleet              all nodes
//! ```
//!
//! The braces around app and channel are there, as Redis Cluster's hash tag: whatever else is kept for a channel,
//! under a name that has the same tag, is in the slot of its topic. An app's id has no colon and no brace; a prefix
//! must have no brace.

use std::sync::Arc;

use crate::broker::{NodeId, Topic};

/// Slots of a cluster.
pub(super) const SLOTS: usize = 16_384;

/// How topics are called.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
    cluster: bool,
}

impl Keys {
    pub(super) fn new(prefix: &str, cluster: bool) -> Self {
        Self { prefix: prefix.to_owned(), cluster }
    }

    /// A topic's name.
    pub(super) fn key(&self, topic: &Topic) -> String {
        let prefix = &self.prefix;
        match topic {
            Topic::Channel { app, channel } => format!("{prefix}{{{app}:{channel}}}"),
            Topic::Node(id) => format!("{prefix}node:{id}"),
            Topic::Fleet => format!("{prefix}fleet"),
        }
    }

    /// The topic with this name; `None` for a name that is not one of ours.
    pub(super) fn topic(&self, key: &[u8]) -> Option<Topic> {
        let rest = std::str::from_utf8(key).ok()?.strip_prefix(&self.prefix)?;
        if let Some(tag) = rest.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            let (app, channel) = tag.split_once(':')?;
            return Some(Topic::Channel { app: Arc::from(app), channel: Arc::from(channel) });
        }
        match rest.strip_prefix("node:") {
            Some(id) => u64::from_str_radix(id, 16).ok().map(|id| Topic::Node(NodeId(id))),
            None => (rest == "fleet").then_some(Topic::Fleet),
        }
    }

    /// How many slots there are: one, where there is no cluster.
    pub(super) fn slots(&self) -> usize {
        if self.cluster { SLOTS } else { 1 }
    }

    /// The slot of a name.
    pub(super) fn slot(&self, key: &str) -> usize {
        if self.cluster { usize::from(crc16(tag(key.as_bytes()))) % SLOTS } else { 0 }
    }
}

/// The part of a name that decides about its slot (Redis Cluster specification, "Hash tags").
fn tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else { return key };
    let inside = &key[open + 1..];
    match inside.iter().position(|byte| *byte == b'}') {
        Some(len) if len > 0 => &inside[..len],
        _ => key,
    }
}

/// CRC16 of the same specification (XMODEM).
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_survives_its_name() {
        let keys = Keys::new("fanfare:", false);
        let channel =
            |app: &str, channel: &str| Topic::Channel { app: Arc::from(app), channel: Arc::from(channel) };
        for topic in [
            channel("1", "news"),
            channel("a.b~c", "#server-to-user-}{:"),
            Topic::Node(NodeId(7)),
            Topic::Fleet,
        ] {
            assert_eq!(keys.topic(keys.key(&topic).as_bytes()), Some(topic));
        }
        for foreign in [&b"fanfare:x"[..], b"other:fleet", b"fanfare:node:x", b"fanfare:{x}", b"\xff"] {
            assert_eq!(keys.topic(foreign), None);
        }
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        let keys = Keys::new("f:", true);
        assert_eq!(keys.slot("foo{bar}"), keys.slot("bar"));
        assert_eq!(keys.slot("f:{1:news}"), keys.slot("f:{1:news}:members"));
        assert_eq!(keys.slot("foo{}{bar}"), usize::from(crc16(b"foo{}{bar}")) % SLOTS);
        assert_eq!(Keys::new("f:", false).slot("foo"), 0);
    }
}
