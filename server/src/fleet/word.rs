//! What an owner says about one channel, and its bytes.
//!
//! Words of one lease about one channel form a chain: each names the one before it. The first has no predecessor, and
//! everything said before it is void. Decodes what strangers may have sent: every read is bounded.
//!
//! ```text
//! u64 lease   u64 prev   u64 seq   u32 subscriptions   u16 changes
//! each change:   u8 kind (0 left, 1 joined, 2 joined with user_info)   u16 len, user_id   [u32 len, user_info]
//! ```
//! Integers are little-endian.

use std::str;
use std::sync::Arc;

use fanfare_wire::cursor::{Cursor, Short};
use thiserror::Error;

use super::LeaseId;
use crate::hub::Member;

/// One word: what has changed since the word before it, and how many subscribe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Under which lease it is true.
    pub lease: LeaseId,
    /// The number of the word before it; 0 when this is the first.
    pub prev: u64,
    /// Its own number, which is larger than any before of this lease and channel.
    pub seq: u64,
    /// How many connections subscribe on the owner's node. With none, there are no members either.
    pub subscriptions: u32,
    /// Who has come and gone there.
    pub changes: Vec<Change>,
}

/// A change of the members on the owner's node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A user has come.
    Joined(Member),
    /// A user has gone.
    Left(Arc<str>),
}

/// Why bytes are not a word.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WordError {
    /// Too few.
    #[error(transparent)]
    Short(#[from] Short),
    /// Something else in a place.
    #[error("expected {field} to be {expected}, but found something else")]
    Field {
        /// Where.
        field: &'static str,
        /// What it would be.
        expected: &'static str,
    },
}

const LEFT: u8 = 0;
const JOINED: u8 = 1;
const JOINED_WITH_INFO: u8 = 2;

impl Word {
    /// Changes that one word holds at most.
    pub const CHANGES_MAX: usize = u16::MAX as usize;

    /// Appends its bytes. Ids longer than 64 KiB do not exist: limits keep them below.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for number in [self.lease.0, self.prev, self.seq] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.subscriptions.to_le_bytes());
        out.extend_from_slice(&(self.changes.len() as u16).to_le_bytes());
        for change in &self.changes {
            let (kind, user_id, user_info) = match change {
                Change::Left(user_id) => (LEFT, user_id, None),
                Change::Joined(Member { user_id, user_info: None }) => (JOINED, user_id, None),
                Change::Joined(Member { user_id, user_info }) => {
                    (JOINED_WITH_INFO, user_id, user_info.as_ref())
                }
            };
            out.push(kind);
            out.extend_from_slice(&(user_id.len() as u16).to_le_bytes());
            out.extend_from_slice(user_id.as_bytes());
            if let Some(user_info) = user_info {
                out.extend_from_slice(&(user_info.len() as u32).to_le_bytes());
                out.extend_from_slice(user_info.as_bytes());
            }
        }
    }

    /// Reads a word, which must be all that there is.
    ///
    /// # Errors
    /// [`WordError`] names the first place that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, WordError> {
        let mut cursor = Cursor::new(bytes);
        let number = |cursor: &mut Cursor<'_>, field| cursor.array(field).map(u64::from_le_bytes);
        let lease = LeaseId(number(&mut cursor, "the lease")?);
        let (prev, seq) = (number(&mut cursor, "prev")?, number(&mut cursor, "seq")?);
        if seq <= prev {
            return Err(WordError::Field { field: "seq", expected: "larger than prev" });
        }
        let subscriptions = cursor.u32("subscriptions")?;
        let len = cursor.u16("the number of changes")?;
        // What the rest can hold bounds what is reserved: the number is a stranger's.
        let mut changes = Vec::with_capacity(usize::from(len).min(cursor.remaining() / 3));
        for _ in 0..len {
            let kind = cursor.u8("the kind of a change")?;
            let id_len = cursor.u16("the length of a user id")?;
            let user_id = text(&mut cursor, usize::from(id_len), "a user id")?;
            changes.push(match kind {
                LEFT => Change::Left(user_id),
                JOINED => Change::Joined(Member { user_id, user_info: None }),
                JOINED_WITH_INFO => {
                    let info_len = cursor.u32("the length of user_info")?;
                    let user_info = Some(text(&mut cursor, info_len as usize, "user_info")?);
                    Change::Joined(Member { user_id, user_info })
                }
                _ => return Err(WordError::Field { field: "the kind of a change", expected: "0, 1 or 2" }),
            });
        }
        if cursor.remaining() > 0 {
            return Err(WordError::Field { field: "what follows the last change", expected: "nothing" });
        }
        Ok(Self { lease, prev, seq, subscriptions, changes })
    }
}

fn text(cursor: &mut Cursor<'_>, len: usize, field: &'static str) -> Result<Arc<str>, WordError> {
    let bytes = cursor.bytes(len, field)?;
    str::from_utf8(bytes).map(Into::into).map_err(|_| WordError::Field { field, expected: "UTF-8" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn change() -> impl Strategy<Value = Change> {
        let user_id = "\\PC{0,20}".prop_map(|id| id.as_str().into());
        (user_id, proptest::option::of("\\PC{0,40}"), any::<bool>()).prop_map(
            |(user_id, info, joined): (Arc<str>, _, _)| {
                let user_info = info.map(|info| info.as_str().into());
                if joined { Change::Joined(Member { user_id, user_info }) } else { Change::Left(user_id) }
            },
        )
    }

    proptest! {
        #[test]
        fn words_are_read_as_they_are_written_and_no_shorter(
            changes in proptest::collection::vec(change(), 0..6), prev in 0..9_u64, subscriptions: u32,
        ) {
            let word = Word { lease: LeaseId(u64::MAX), prev, seq: prev + 1, subscriptions, changes };
            let mut bytes = Vec::new();
            word.encode(&mut bytes);
            for len in 0..bytes.len() {
                prop_assert!(Word::decode(&bytes[..len]).is_err());
            }
            prop_assert_eq!(Word::decode(&bytes), Ok(word));
            bytes.push(0);
            prop_assert!(Word::decode(&bytes).is_err());
        }

        #[test]
        fn any_bytes_at_all_are_a_word_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Word::decode(&bytes);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut bytes = Vec::new();
        Word { lease: LeaseId(1), prev: 1, seq: 2, subscriptions: 0, changes: vec![] }.encode(&mut bytes);
        bytes[16] = 1;
        let error = Word::decode(&bytes).unwrap_err().to_string();
        assert_eq!(error, "expected seq to be larger than prev, but found something else");
    }
}
