//! The frames by which nodes tell each other of members, of leases, and what they ask each other.
//!
//! Owns the bodies of these kinds (the header is [`crate::broker::frame`]'s):
//!
//! ```text
//! 16  a word about the channel of the topic: its bytes
//! 32  a question to all nodes: u64 token, then JSON
//! 33  an answer to the node that asked: u64 token, u64 the lease of who answers, then JSON
//! 34  the connections of a user are to be closed: JSON
//! 48  a lease is dead or given back: u64
//! ```
//! JSON where it is rare and small, and later releases may add to it.

use fanfare_wire::cursor::Cursor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::word::WordError;
use super::{LeaseId, Word};
use crate::broker::NodeId;
use crate::broker::frame::{self, Header};

const WORD: u8 = 16;
const QUESTION: u8 = 32;
const ANSWER: u8 = 33;
const TERMINATE: u8 = 34;
const LEASE_ENDED: u8 = 48;

/// What a node says to others.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// About the channel of the topic.
    Word(Word),
    /// To all nodes.
    Question(u64, Question),
    /// To the node that asked.
    Answer(u64, LeaseId, Answer),
    /// To all nodes.
    Terminate(Terminate),
    /// To all nodes.
    LeaseEnded(LeaseId),
}

/// Close the connections of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminate {
    /// The app's id.
    pub app: String,
    /// Who.
    pub user_id: String,
}

/// What is asked about an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The app's id.
    pub app: String,
    /// What about it.
    pub about: About,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// The channels whose names begin so.
    Channels(String),
    /// One channel.
    Channel(String),
    /// Who is on one presence channel.
    Users(String),
    /// How many connections there are.
    Connections,
}

/// What one node says to a question; all of it together is what the fleet says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// Channels with subscribers on the node: their names, how many subscribe there, and how many users there are on
    /// all nodes.
    pub channels: Vec<(String, u64, u64)>,
    /// Ids of users, of all nodes.
    pub users: Vec<String>,
    /// Connections of the app on the node.
    pub connections: u64,
    /// The last event of the cache channel that was asked about, and for how many ms it is still remembered.
    pub last: Option<(String, String, u64)>,
}

/// Why a body is not what its kind says.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MessageError {
    /// Of a kind that is another part's, or a later release's.
    #[error("expected a frame about the fleet, but found one of kind {0}")]
    Kind(u8),
    /// Not a word.
    #[error(transparent)]
    Word(#[from] WordError),
    /// Not the JSON that the kind has.
    #[error("expected the JSON of a frame of kind {kind}, but found something else: {error}")]
    Json {
        /// The kind.
        kind: u8,
        /// What is wrong with it.
        error: String,
    },
}

impl Message {
    /// Whether frames of this kind are this module's.
    pub fn has_kind(kind: u8) -> bool {
        matches!(kind, WORD | QUESTION | ANSWER | TERMINATE | LEASE_ENDED)
    }

    /// The frame, to be published.
    pub fn encode(&self, origin: NodeId) -> Vec<u8> {
        let kind = match self {
            Self::Word(_) => WORD,
            Self::Question(..) => QUESTION,
            Self::Answer(..) => ANSWER,
            Self::Terminate(_) => TERMINATE,
            Self::LeaseEnded(_) => LEASE_ENDED,
        };
        let mut out = frame::begin(kind, 0, origin, 64);
        match self {
            Self::Word(word) => word.encode(&mut out),
            Self::Question(token, question) => {
                out.extend_from_slice(&token.to_le_bytes());
                json(&mut out, question);
            }
            Self::Answer(token, lease, answer) => {
                out.extend_from_slice(&token.to_le_bytes());
                out.extend_from_slice(&lease.0.to_le_bytes());
                json(&mut out, answer);
            }
            Self::Terminate(terminate) => json(&mut out, terminate),
            Self::LeaseEnded(lease) => out.extend_from_slice(&lease.0.to_le_bytes()),
        }
        out
    }

    /// Reads the body of a frame.
    ///
    /// # Errors
    /// [`MessageError`] says what is wrong with it.
    pub fn decode(header: &Header, body: &[u8]) -> Result<Self, MessageError> {
        let mut cursor = Cursor::new(body);
        let number = |cursor: &mut Cursor<'_>, field| {
            cursor.u64(field).map_err(|short| MessageError::Word(short.into()))
        };
        let rest = |cursor: &mut Cursor<'_>| {
            let len = cursor.remaining();
            cursor.bytes(len, "JSON").unwrap_or_default().to_vec()
        };
        match header.kind {
            WORD => Ok(Self::Word(Word::decode(body)?)),
            QUESTION => {
                Ok(Self::Question(number(&mut cursor, "the token")?, read(header.kind, &rest(&mut cursor))?))
            }
            ANSWER => {
                let (token, lease) = (number(&mut cursor, "the token")?, number(&mut cursor, "the lease")?);
                Ok(Self::Answer(token, LeaseId(lease), read(header.kind, &rest(&mut cursor))?))
            }
            TERMINATE => Ok(Self::Terminate(read(header.kind, body)?)),
            LEASE_ENDED => Ok(Self::LeaseEnded(LeaseId(number(&mut cursor, "the lease")?))),
            kind => Err(MessageError::Kind(kind)),
        }
    }
}

fn json(out: &mut Vec<u8>, value: &impl Serialize) {
    // Strings and numbers: there is no error to be had, and writing to a Vec has none.
    let _ = serde_json::to_writer(out, value);
}

fn read<T: DeserializeOwned>(kind: u8, body: &[u8]) -> Result<T, MessageError> {
    serde_json::from_slice(body).map_err(|error| MessageError::Json { kind, error: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Member;

    #[test]
    fn messages_survive_their_frames_and_half_of_one_is_an_error() {
        let member = Member { user_id: "7".into(), user_info: Some("{}".into()) };
        let changes = vec![super::super::Change::Joined(member)];
        let word = Word { lease: LeaseId(1), prev: 0, seq: 1, subscriptions: 2, changes };
        let question = |about| Message::Question(9, Question { app: "a".into(), about });
        let answer = Answer {
            channels: vec![("a".into(), 1, 2)],
            users: vec!["7".into()],
            connections: 3,
            last: None,
        };
        for message in [
            Message::Word(word),
            question(About::Channels("presence-".into())),
            question(About::Channel("a".into())),
            question(About::Users("presence-a".into())),
            question(About::Connections),
            Message::Answer(9, LeaseId(8), answer),
            Message::Terminate(Terminate { app: "a".into(), user_id: "7".into() }),
            Message::LeaseEnded(LeaseId(7)),
        ] {
            let frame = message.encode(NodeId(3));
            let (header, body) = frame::decode(&frame).unwrap();
            assert!(Message::has_kind(header.kind));
            for len in 0..body.len() {
                assert!(Message::decode(&header, &body[..len]).is_err(), "{message:?} cut to {len}");
            }
            assert_eq!(Message::decode(&header, body), Ok(message));
        }
    }
}
