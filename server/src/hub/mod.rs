//! Who is subscribed to what on this node, who is a member of what, and who is signed in.
//!
//! Two levels: [`directory`] knows, for the whole node, which *shards* have a subscriber of a channel and who its
//! members are; [`subscribers`] knows, within one shard and without a lock, which *connections* they are. Beside
//! them, for the whole node: [`cache`] (the last events of cache channels) and [`users`] (who is signed in, and
//! who watches whom). [`delivery`] is step 6 of a broadcast: the hub *delivers*.
//!
//! Leaves to others what a connection is ([`ConnectionKey`] is all that the hub knows of one) and how bytes reach
//! it. May assume that channel names are legal.

pub mod cache;
pub mod delivery;
pub mod directory;
pub mod members;
pub mod shards;
pub mod subscribers;
pub mod users;

pub use delivery::{Delivery, Round, Unheard};
pub use directory::{Change, Directory, Stamp};
pub use members::{Full, Member};
pub use shards::{ShardIndex, ShardSet};
pub use subscribers::Subscribers;
pub use users::{Turn, UserChange, Users};

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use crate::apps::App;

/// Gives back the room that a flood has left in a map. A map at a quarter of its room keeps twice what it has, so that
/// it grows and shrinks rarely.
fn give_back<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    if map.capacity() > 64 && map.len() * 4 < map.capacity() {
        map.shrink_to(map.len() * 2);
    }
}

/// Tells others what has changed. Called while what has changed is locked: it must not call back into the hub, nor
/// wait for anything.
pub trait Herald: std::fmt::Debug {
    /// A channel of `app` has changed.
    fn changed(&self, app: &App, channel: &Arc<str>, change: Change<'_>);

    /// Whether a channel's members and subscriptions are shared with other nodes.
    fn shares(&self, _app: &App, _channel: &str) -> bool {
        false
    }

    /// Something about a user of `app` has changed.
    fn user_changed(&self, app: &App, change: UserChange<'_>);
}

slotmap::new_key_type! {
    /// A connection within its shard. A key of a connection that is gone finds nothing.
    pub struct ConnectionKey;
}
