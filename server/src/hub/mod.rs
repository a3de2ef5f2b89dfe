//! Who is subscribed to what on this node.
//!
//! Two levels: [`directory`] knows, for the whole node, which *shards* have a subscriber of a channel;
//! [`subscribers`] knows, within one shard and without a lock, which *connections* they are. The directory
//! changes only when a shard gets its first or loses its last subscriber of a channel.
//!
//! Leaves to others what a connection is ([`ConnectionKey`] is all that the hub knows of one) and how bytes reach
//! it. May assume that channel names are legal.

pub mod directory;
pub mod subscribers;

pub use directory::{Delivery, Directory, Round, ShardIndex};
pub use subscribers::Subscribers;

slotmap::new_key_type! {
    /// A connection within its shard. A key of a connection that is gone finds nothing.
    pub struct ConnectionKey;
}
