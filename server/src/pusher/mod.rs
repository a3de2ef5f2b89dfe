//! The Pusher Channels protocol, version 7, without I/O: messages in, effects out.
//!
//! Owns what the messages mean and the exact text that goes out: [`session`] (one client's conversation),
//! [`admission`] and [`origin`] (who is let in, and from which pages), [`signature`] and [`member`] (who a client is),
//! [`object`] (JSON from strangers), [`channel`] (names and kinds), [`socket_id`], [`events`] (every text the server
//! sends) and [`codes`] (what each close or error code means and what a client does on it).
//!
//! Leaves to others: WebSocket frames and sockets ([`crate::shard`]), who is subscribed to what
//! ([`crate::hub`]). May assume that a text is UTF-8 and no longer than `message_bytes_max`, because the
//! WebSocket layer has refused anything else.

pub mod admission;
pub mod channel;
pub mod codes;
pub mod events;
pub mod member;
pub mod object;
pub mod origin;
pub mod session;
pub mod signature;
pub mod socket_id;

pub use channel::ChannelName;
pub use codes::Code;
pub use session::{ClientEvent, Effect, Session, Setting};
pub use socket_id::SocketId;
