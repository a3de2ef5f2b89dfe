//! Socket ids: Pusher's name for a connection, `\d+\.\d+`.
//!
//! Owns their text form and that no two connections share one, be they of different nodes. The first number is drawn
//! when the process starts ([`NodeId`](crate::broker::NodeId)), so that an id of another node, or of before a restart
//! (which a browser may still send along with a broadcast as the connection to leave out), does not name somebody
//! else's connection here.

use std::fmt;

/// A connection's Pusher name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketId {
    process: u64,
    serial: u64,
}

impl SocketId {
    /// Whether a text is `\d+\.\d+`, though it may name no connection.
    pub fn is_well_formed(text: &str) -> bool {
        let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        text.split_once('.').is_some_and(|(process, serial)| is_number(process) && is_number(serial))
    }

    /// Parses `\d+\.\d+`. A text of another form, or with a number beyond 64 bits, names no connection.
    pub fn parse(text: &str) -> Option<Self> {
        let (process, serial) = text.split_once('.').filter(|_| Self::is_well_formed(text))?;
        let id = Self { process: process.parse().ok()?, serial: serial.parse().ok()? };
        // "01.2" is not how any id of ours is written: it names nobody, rather than 1.2.
        (id.to_string() == text).then_some(id)
    }
}

impl SocketId {
    /// The two numbers, as nodes tell them each other.
    pub fn halves(self) -> (u64, u64) {
        (self.process, self.serial)
    }

    /// The id that another node has told.
    pub fn of_halves(process: u64, serial: u64) -> Self {
        Self { process, serial }
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.process, self.serial)
    }
}

/// Gives out the ids of one shard: serial numbers of its residue class, so that shards share no counter.
#[derive(Debug)]
pub struct SocketIds {
    process: u64,
    next: u64,
    stride: u64,
}

impl SocketIds {
    /// The ids of shard `shard` of `shards`, in the process that drew the number `process`, of 53 bits.
    pub fn new(process: u64, shard: usize, shards: usize) -> Self {
        // Never 0: a reader that takes the id as a number should not find a falsy one.
        Self { process: process + 1, next: shard as u64 + 1, stride: shards.max(1) as u64 }
    }

    /// The next id.
    pub fn draw(&mut self) -> SocketId {
        let serial = self.next;
        self.next += self.stride;
        SocketId { process: self.process, serial }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_all_shards_differ_and_survive_their_text_form() {
        let mut seen = std::collections::HashSet::new();
        for shard in 0..3 {
            let mut ids = SocketIds::new((1 << 53) - 1, shard, 3);
            for _ in 0..100 {
                let id = ids.draw();
                assert_eq!(SocketId::parse(&id.to_string()), Some(id));
                assert!(seen.insert(id));
            }
        }
    }

    #[test]
    fn other_texts_name_nobody() {
        assert!(SocketId::is_well_formed("01.2") && SocketId::is_well_formed("1.99999999999999999999999"));
        for text in ["", ".", "1", "1.", ".2", "1.2.3", "-1.2", "+1.2", "1.2\n", "a.b", "١.2"] {
            assert!(!SocketId::is_well_formed(text), "{text:?}");
        }
        for text in [
            "",
            ".",
            "1",
            "1.",
            ".2",
            "1.2.3",
            "-1.2",
            "+1.2",
            "1.2\n",
            "01.2",
            "1.99999999999999999999999",
            "a.b",
        ] {
            assert_eq!(SocketId::parse(text), None, "{text:?}");
        }
    }
}
