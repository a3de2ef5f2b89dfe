//! The messages with which a PHP process and the server get to know each other on the server's Unix socket.
//!
//! ```text
//! PHP                                     server
//!  │ Hello { key, client }          ──────►│
//!  │◄────── Challenge { nonce }  or Refused│
//!  │ Attach { purpose, proof }      ──────►│   Ring: with the memfd and the doorbell's eventfd (SCM_RIGHTS)
//!  │◄─── Attached { limits }     or Refused│
//!  │                                       │   Ring: from here on the socket only tells that the other is gone
//!  │ Record { … } …                 ──────►│   Socket: each publication is a message,
//!  │◄──────────────────── Ack { records } …│           delivered ones are acknowledged by their count
//!  │ Ask { method, target, body }   ──────►│   Ask: one question at a time,
//!  │◄───────────── Answer { status, body } │        each with its answer
//!  │ Goodbye                        ──────►│
//! ```
//!
//! Every message starts with the same 8 bytes, in every version:
//!
//! ```text
//! offset  size  field
//!      0     1  0xFA      never the first byte of an HTTP request, which the same socket serves
//!      1     1  kind
//!      2     2  version   of the sender's protocol
//!      4     4  length    bytes that follow
//! ```
//!
//! `Refused` keeps its layout in every version too, so that a peer of another version learns why. Owns encoding,
//! decoding and the proof; does no I/O. The proof is an HMAC-SHA256 of the server's nonce and the app's key under
//! the app's secret: the secret itself never crosses the socket.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

use crate::cursor::{Cursor, Short};
use crate::record::{PublicationLimits, RECORD_BYTES_MAX};

/// Version of the handshake, the ring's layout and the record's layout together.
pub const VERSION: u16 = 1;
/// First byte of every message.
pub const MAGIC: u8 = 0xFA;
/// Bytes of a message's header.
pub const HEADER_BYTES: usize = 8;
/// Bytes of a message that may come before the peer has proved that it knows the secret, header included.
pub const HANDSHAKE_BYTES_MAX: usize = 1024;
/// Bytes of any message, header included.
pub const MESSAGE_BYTES_MAX: usize = HEADER_BYTES + RECORD_BYTES_MAX;
/// Bytes of a Unix socket's path that the kernel takes (unix(7): 108 with the NUL).
pub const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Bytes of the server's nonce.
pub const NONCE_BYTES: usize = 32;
/// Bytes of the proof.
pub const PROOF_BYTES: usize = 32;

/// How publications reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Through shared memory.
    Ring,
    /// As messages on the Unix socket.
    Socket,
}

/// What an attached connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Handing in publications.
    Publish(Transport),
    /// Asking what goes on, and having something done.
    Ask,
}

/// Why the server does not take a peer, as a number on the wire. Numbers are only ever added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum RefusalCode {
    /// The peer speaks another version.
    Version = 1,
    /// The key or the proof is wrong. Which of the two is not said.
    Credentials = 2,
    /// The peer's user may not attach.
    User = 3,
    /// The memory that was passed is not a ring that can be trusted.
    Ring = 4,
    /// A message is malformed or out of turn.
    Protocol = 5,
    /// The server has as many attachments as it may have.
    Capacity = 6,
    /// The server is about to stop; another one may take over.
    Draining = 7,
    /// A code of a later version.
    Unknown = u16::MAX,
}

impl From<u16> for RefusalCode {
    fn from(code: u16) -> Self {
        match code {
            1 => Self::Version,
            2 => Self::Credentials,
            3 => Self::User,
            4 => Self::Ring,
            5 => Self::Protocol,
            6 => Self::Capacity,
            7 => Self::Draining,
            _ => Self::Unknown,
        }
    }
}

/// One message, borrowing the bytes that it was decoded from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Who wants to attach.
    Hello {
        /// The app's key.
        key: &'a [u8],
        /// What the peer is, for the server's log, such as `php-8.4 fanfare-0.1.0`.
        client: &'a str,
    },
    /// What the peer has to prove itself with.
    Challenge {
        /// Random, used once.
        nonce: [u8; NONCE_BYTES],
    },
    /// The proof, and what the connection is for.
    Attach {
        /// Publishing, or asking.
        purpose: Purpose,
        /// [`prove`] of the nonce.
        proof: [u8; PROOF_BYTES],
    },
    /// The peer may publish.
    Attached {
        /// What this server takes.
        limits: PublicationLimits,
        /// What the server is, such as `fanfare-0.1.0`.
        server: &'a str,
    },
    /// The peer may not publish; the server closes the socket.
    Refused {
        /// For the program.
        code: RefusalCode,
        /// For the person: what was expected, what was found, what to do.
        message: &'a str,
    },
    /// One publication, see [`crate::record`]. Socket transport only.
    Record(&'a [u8]),
    /// Publications delivered since the attachment. Socket transport only.
    Ack {
        /// Their total number.
        records: u64,
    },
    /// A request of Pusher's HTTP API, without HTTP: the handshake has named and proved the app.
    Ask {
        /// `GET` or `POST`.
        method: &'a str,
        /// Path and query below `/apps/{id}`, such as `/channels?info=user_count`.
        target: &'a str,
        /// JSON, or nothing.
        body: &'a [u8],
    },
    /// What became of the last `Ask`.
    Answer {
        /// What HTTP would say.
        status: u16,
        /// JSON.
        body: &'a [u8],
    },
    /// The peer leaves in good order.
    Goodbye,
}

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AttachError {
    /// The first byte is another protocol's.
    #[error("expected a Fanfare message, which starts with {MAGIC:#04x}, but found {found:#04x}")]
    Magic {
        /// The first byte.
        found: u8,
    },
    /// The peer speaks another version.
    #[error(
        "expected protocol version {VERSION}, but found {found}; install the same version of extension and server, then restart both"
    )]
    Version {
        /// What its header says.
        found: u16,
    },
    /// A kind that version 1 does not have.
    #[error("expected a message of a known kind, but found kind {found}")]
    Kind {
        /// The second byte.
        found: u8,
    },
    /// Longer than allowed.
    #[error("expected a message of at most {max} bytes, but found {found}")]
    TooLong {
        /// Bytes allowed here.
        max: usize,
        /// Bytes announced.
        found: usize,
    },
    /// A payload that ends too early.
    #[error(transparent)]
    Short(#[from] Short),
    /// A payload with bytes left over.
    #[error("expected the message to end, but found {found} more bytes")]
    Trailing {
        /// How many.
        found: usize,
    },
    /// Text that is not UTF-8.
    #[error("expected UTF-8 text in {field}, but found other bytes")]
    Text {
        /// Which text.
        field: &'static str,
    },
    /// A purpose that version 1 does not have.
    #[error("expected purpose 1 (ring), 2 (socket) or 3 (ask), but found {found}")]
    Purpose {
        /// The byte.
        found: u8,
    },
}

const KIND_HELLO: u8 = 1;
const KIND_CHALLENGE: u8 = 2;
const KIND_ATTACH: u8 = 3;
const KIND_ATTACHED: u8 = 4;
const KIND_REFUSED: u8 = 5;
const KIND_RECORD: u8 = 6;
const KIND_ACK: u8 = 7;
const KIND_GOODBYE: u8 = 8;
const KIND_ASK: u8 = 9;
const KIND_ANSWER: u8 = 10;

impl<'a> Message<'a> {
    /// Reads the message at the start of `buf`, with the number of bytes that it took; `None` when more must come.
    ///
    /// # Errors
    /// [`AttachError`]: the stream cannot be read on, since it is not known where the next message starts.
    pub fn decode(buf: &'a [u8]) -> Result<Option<(Self, usize)>, AttachError> {
        Self::decode_within(buf, MESSAGE_BYTES_MAX)
    }

    /// [`Message::decode`] for messages of at most `bytes_max` bytes, header included: before a peer has proved
    /// itself it is not trusted with more than [`HANDSHAKE_BYTES_MAX`] of buffer.
    ///
    /// # Errors
    /// As [`Message::decode`].
    pub fn decode_within(buf: &'a [u8], bytes_max: usize) -> Result<Option<(Self, usize)>, AttachError> {
        if let Some(&found) = buf.first()
            && found != MAGIC
        {
            return Err(AttachError::Magic { found });
        }
        let mut cursor = Cursor::new(buf);
        let (Ok(_), Ok(kind), Ok(version), Ok(len)) =
            (cursor.u8("magic"), cursor.u8("kind"), cursor.u16("version"), cursor.u32("length"))
        else {
            return Ok(None);
        };
        let len = len as usize;
        if version != VERSION && kind != KIND_REFUSED {
            return Err(AttachError::Version { found: version });
        }
        let total = len.saturating_add(HEADER_BYTES);
        if total > bytes_max {
            return Err(AttachError::TooLong { max: bytes_max, found: total });
        }
        let Ok(payload) = cursor.bytes(len, "payload") else { return Ok(None) };
        Self::parse(kind, Cursor::new(payload)).map(|message| Some((message, total)))
    }

    fn parse(kind: u8, mut payload: Cursor<'a>) -> Result<Self, AttachError> {
        let message = match kind {
            KIND_HELLO => {
                let key_len = usize::from(payload.u16("the key's length")?);
                let key = payload.bytes(key_len, "the key")?;
                Self::Hello { key, client: text(&mut payload, "the client's name")? }
            }
            KIND_CHALLENGE => Self::Challenge { nonce: payload.array("the nonce")? },
            KIND_ATTACH => {
                let purpose = match payload.u8("the purpose")? {
                    1 => Purpose::Publish(Transport::Ring),
                    2 => Purpose::Publish(Transport::Socket),
                    3 => Purpose::Ask,
                    found => return Err(AttachError::Purpose { found }),
                };
                Self::Attach { purpose, proof: payload.array("the proof")? }
            }
            KIND_ATTACHED => Self::Attached {
                limits: PublicationLimits {
                    data_bytes_max: payload.u32("the data limit")?,
                    channel_bytes_max: payload.u16("the channel limit")?,
                    event_bytes_max: payload.u16("the event limit")?,
                },
                server: text(&mut payload, "the server's name")?,
            },
            KIND_REFUSED => Self::Refused {
                code: payload.u16("the refusal's code")?.into(),
                message: text(&mut payload, "the refusal's message")?,
            },
            KIND_RECORD => Self::Record(payload.bytes(payload.remaining(), "the record")?),
            KIND_ACK => Self::Ack { records: payload.u64("the count")? },
            KIND_GOODBYE => Self::Goodbye,
            KIND_ASK => Self::Ask {
                method: text(&mut payload, "the method")?,
                target: text(&mut payload, "the target")?,
                body: payload.bytes(payload.remaining(), "the body")?,
            },
            KIND_ANSWER => Self::Answer {
                status: payload.u16("the status")?,
                body: payload.bytes(payload.remaining(), "the body")?,
            },
            found => return Err(AttachError::Kind { found }),
        };
        match payload.remaining() {
            0 => Ok(message),
            found => Err(AttachError::Trailing { found }),
        }
    }

    /// Appends the message. A key or text of more than 65,535 bytes is cut to that length.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        let kind = match *self {
            Self::Hello { key, client } => {
                put_counted(out, key);
                put_counted(out, client.as_bytes());
                KIND_HELLO
            }
            Self::Challenge { nonce } => {
                out.extend_from_slice(&nonce);
                KIND_CHALLENGE
            }
            Self::Attach { purpose, proof } => {
                out.push(match purpose {
                    Purpose::Publish(Transport::Ring) => 1,
                    Purpose::Publish(Transport::Socket) => 2,
                    Purpose::Ask => 3,
                });
                out.extend_from_slice(&proof);
                KIND_ATTACH
            }
            Self::Attached { limits, server } => {
                out.extend_from_slice(&limits.data_bytes_max.to_le_bytes());
                out.extend_from_slice(&limits.channel_bytes_max.to_le_bytes());
                out.extend_from_slice(&limits.event_bytes_max.to_le_bytes());
                put_counted(out, server.as_bytes());
                KIND_ATTACHED
            }
            Self::Refused { code, message } => {
                out.extend_from_slice(&(code as u16).to_le_bytes());
                put_counted(out, message.as_bytes());
                KIND_REFUSED
            }
            Self::Record(record) => {
                out.extend_from_slice(record);
                KIND_RECORD
            }
            Self::Ack { records } => {
                out.extend_from_slice(&records.to_le_bytes());
                KIND_ACK
            }
            Self::Goodbye => KIND_GOODBYE,
            Self::Ask { method, target, body } => {
                put_counted(out, method.as_bytes());
                put_counted(out, target.as_bytes());
                out.extend_from_slice(body);
                KIND_ASK
            }
            Self::Answer { status, body } => {
                out.extend_from_slice(&status.to_le_bytes());
                out.extend_from_slice(body);
                KIND_ANSWER
            }
        };
        let len = out.len() - start - HEADER_BYTES;
        out[start..start + HEADER_BYTES].copy_from_slice(&header(kind, len));
    }
}

/// The header of a [`Message::Record`] whose payload of `record_len` bytes the caller appends itself.
pub fn record_header(record_len: usize) -> [u8; HEADER_BYTES] {
    header(KIND_RECORD, record_len)
}

fn header(kind: u8, len: usize) -> [u8; HEADER_BYTES] {
    let [version_low, version_high] = VERSION.to_le_bytes();
    let [a, b, c, d] = (len as u32).to_le_bytes();
    [MAGIC, kind, version_low, version_high, a, b, c, d]
}

fn text<'a>(payload: &mut Cursor<'a>, field: &'static str) -> Result<&'a str, AttachError> {
    let len = usize::from(payload.u16(field)?);
    let bytes = payload.bytes(len, field)?;
    std::str::from_utf8(bytes).map_err(|_| AttachError::Text { field })
}

fn put_counted(out: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(usize::from(u16::MAX))];
    out.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// The proof that the peer knows the app's secret: HMAC-SHA256 over a label, the nonce and the key.
pub fn prove(secret: &[u8], nonce: &[u8; NONCE_BYTES], key: &[u8]) -> [u8; PROOF_BYTES] {
    mac(secret, nonce, key).map_or([0; PROOF_BYTES], |mac| mac.finalize().into_bytes().into())
}

/// Whether `proof` was made with `secret`, in constant time.
pub fn verify(secret: &[u8], nonce: &[u8; NONCE_BYTES], key: &[u8], proof: &[u8; PROOF_BYTES]) -> bool {
    mac(secret, nonce, key).is_some_and(|mac| mac.verify_slice(proof).is_ok())
}

fn mac(secret: &[u8], nonce: &[u8], key: &[u8]) -> Option<Hmac<Sha256>> {
    // HMAC takes keys of every length; the library's signature says otherwise because other MACs do not.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(b"fanfare attach 1\0");
    mac.update(nonce);
    mac.update(key);
    Some(mac)
}

#[cfg(test)]
mod tests;
