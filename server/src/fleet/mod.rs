//! What several nodes know together: who is a member where, how many subscribe, and which nodes live.
//!
//! Every fact has exactly one owner, the node on which it is true: "this user is a member of this channel here", "so
//! many subscribe to this channel here". The truth of the fleet is the union of what all owners say, so nodes never have
//! to agree about anything; each hears the others and draws its own conclusions, the same ones.
//!
//! A fact is held under a [`lease`]: a number that a node draws and keeps alive. When it is not renewed in time it is dead
//! for good, and everything held under it with it; a node that was only cut off draws another and says everything
//! again. An owner speaks of a channel in [`word`]s, each naming the one before it: whoever misses one notices at the
//! next. [`ledger`] is the owner's side, [`replica`] that of the others.
//!
//! These four are pure: no I/O, no clock but what is handed in. `simulation` holds them against every order in which
//! messages can come, be lost or be doubled.
//!
//! [`part`] joins them with the hub, [`store`] is where Redis keeps all facts for whoever comes later, [`frames`] how
//! nodes tell and ask each other, [`asking`] how their answers come together, and [`conduct`] the thread that does all
//! of it.

pub mod asking;
pub mod conduct;
pub mod frames;
pub mod lease;
pub mod ledger;
pub mod part;
pub mod replica;
pub mod store;
pub mod word;

#[cfg(test)]
mod simulation;

pub use lease::{LeaseId, Leases};
pub use ledger::Ledger;
pub use part::Part;
pub use replica::{Replica, Snapshot, Turn};
pub use word::{Change, Word};
