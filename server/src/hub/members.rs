//! Who is on one presence channel.
//!
//! Owns that a member is a **user**, however many connections it has and on however many nodes: the first place adds it,
//! the last one removes it. A place is a connection of this node, or another node's word that the user is there. Leaves
//! to others who is told, and whose word counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::fleet::LeaseId;

/// A user as a member of a presence channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Names the user; never empty.
    pub user_id: Arc<str>,
    /// What the application says about the user: JSON as it was signed, or nothing.
    pub user_info: Option<Arc<str>>,
}

/// The members of one channel, by user id.
#[derive(Debug, Default)]
pub struct Members(BTreeMap<Arc<str>, Presence>);

#[derive(Debug)]
struct Presence {
    user_info: Option<Arc<str>>,
    /// Of this node.
    connections: usize,
    /// Under which leases other nodes have the user.
    elsewhere: Vec<LeaseId>,
}

impl Presence {
    fn is_nowhere(&self) -> bool {
        self.connections == 0 && self.elsewhere.is_empty()
    }
}

/// The channel has as many members as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// One more connection of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Added {
    /// Whether the user was nowhere before.
    pub first: bool,
    /// Whether the user was not on this node before.
    pub first_here: bool,
}

/// One connection of a user fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// Whether the user is nowhere now.
    pub last: bool,
    /// Whether the user is not on this node any more.
    pub last_here: bool,
}

impl Members {
    /// How many users there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One more connection of a user. What is said about a user is what its first place said, for that is what the
    /// others were told.
    ///
    /// # Errors
    /// [`Full`]: the user would be one more than `members_max`.
    pub fn add(&mut self, member: &Member, members_max: usize) -> Result<Added, Full> {
        if let Some(presence) = self.0.get_mut(&member.user_id) {
            presence.connections += 1;
            return Ok(Added { first: false, first_here: presence.connections == 1 });
        }
        if self.0.len() >= members_max {
            return Err(Full);
        }
        let user_info = member.user_info.clone();
        self.0.insert(
            Arc::clone(&member.user_id),
            Presence { user_info, connections: 1, elsewhere: Vec::new() },
        );
        Ok(Added { first: true, first_here: true })
    }

    /// One connection of a user fewer; `None` when there was none.
    pub fn remove(&mut self, user_id: &str) -> Option<Removed> {
        let presence = self.0.get_mut(user_id).filter(|presence| presence.connections > 0)?;
        presence.connections -= 1;
        let removed = Removed { last: presence.is_nowhere(), last_here: presence.connections == 0 };
        if removed.last {
            self.0.remove(user_id);
        }
        Some(removed)
    }

    /// Another node has a user under `lease`; whether the user was nowhere before.
    pub fn place(&mut self, member: &Member, lease: LeaseId) -> bool {
        let mut first = false;
        let presence = self.0.entry(Arc::clone(&member.user_id)).or_insert_with(|| {
            first = true;
            Presence { user_info: member.user_info.clone(), connections: 0, elsewhere: Vec::with_capacity(1) }
        });
        if !presence.elsewhere.contains(&lease) {
            presence.elsewhere.push(lease);
        }
        first
    }

    /// Another node does not have a user under `lease` any more; whether the user is nowhere now.
    pub fn displace(&mut self, user_id: &str, lease: LeaseId) -> bool {
        let Some(presence) = self.0.get_mut(user_id) else { return false };
        presence.elsewhere.retain(|other| *other != lease);
        let last = presence.is_nowhere();
        if last {
            self.0.remove(user_id);
        }
        last
    }

    /// Keeps those places on other nodes that `keep` says. Gives the users that are nowhere now.
    pub fn retain_places(&mut self, mut keep: impl FnMut(&Arc<str>, LeaseId) -> bool) -> Vec<Arc<str>> {
        let mut gone = Vec::new();
        self.0.retain(|user_id, presence| {
            presence.elsewhere.retain(|lease| keep(user_id, *lease));
            let stays = !presence.is_nowhere();
            if !stays {
                gone.push(Arc::clone(user_id));
            }
            stays
        });
        gone
    }

    /// All of them, in the order of their ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, Option<&Arc<str>>)> {
        self.0.iter().map(|(user_id, presence)| (user_id, presence.user_info.as_ref()))
    }

    /// Those who are on this node.
    pub fn here(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter().filter(|(_, presence)| presence.connections > 0).map(|(user_id, _)| user_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(user_id: &str, user_info: &str) -> Member {
        Member { user_id: user_id.into(), user_info: Some(user_info.into()) }
    }

    #[test]
    fn a_user_is_one_member_however_many_connections_it_has() {
        let mut members = Members::default();
        assert_eq!(members.add(&member("1", "first"), 2), Ok(Added { first: true, first_here: true }));
        assert_eq!(members.add(&member("1", "second"), 2), Ok(Added { first: false, first_here: false }));
        assert_eq!(members.iter().collect::<Vec<_>>(), [(&"1".into(), Some(&"first".into()))]);
        assert_eq!(members.remove("1"), Some(Removed { last: false, last_here: false }));
        assert_eq!(members.remove("1"), Some(Removed { last: true, last_here: true }));
        assert_eq!(members.remove("1"), None);
        assert!(members.is_empty());
    }

    #[test]
    fn u2_a_further_connection_of_a_member_is_let_in_when_the_channel_is_full() {
        let mut members = Members::default();
        assert!(members.add(&member("1", ""), 1).is_ok());
        assert_eq!(members.add(&member("2", ""), 1), Err(Full));
        assert!(members.add(&member("1", ""), 1).is_ok());
        assert_eq!(members.len(), 1);
    }
}
