//! Who is on one presence channel.
//!
//! Owns that a member is a **user**, however many connections it has: the first one adds it, the last one removes
//! it. Leaves to others who is told.

use std::collections::BTreeMap;
use std::sync::Arc;

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
    connections: usize,
}

/// The channel has as many members as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Members {
    /// How many users there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One more connection of a user; whether it is the user's first. What is said about a user is what its first
    /// connection said, for that is what the others were told.
    ///
    /// # Errors
    /// [`Full`]: the user would be one more than `members_max`.
    pub fn add(&mut self, member: &Member, members_max: usize) -> Result<bool, Full> {
        if let Some(presence) = self.0.get_mut(&member.user_id) {
            presence.connections += 1;
            return Ok(false);
        }
        if self.0.len() >= members_max {
            return Err(Full);
        }
        let presence = Presence { user_info: member.user_info.clone(), connections: 1 };
        self.0.insert(Arc::clone(&member.user_id), presence);
        Ok(true)
    }

    /// One connection of a user fewer; whether it was the last.
    pub fn remove(&mut self, user_id: &str) -> bool {
        let Some(presence) = self.0.get_mut(user_id) else { return false };
        presence.connections -= 1;
        let last = presence.connections == 0;
        if last {
            self.0.remove(user_id);
        }
        last
    }

    /// All of them, in the order of their ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, Option<&Arc<str>>)> {
        self.0.iter().map(|(user_id, presence)| (user_id, presence.user_info.as_ref()))
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
        assert_eq!(members.add(&member("1", "first"), 2), Ok(true));
        assert_eq!(members.add(&member("1", "second"), 2), Ok(false));
        assert_eq!(members.iter().collect::<Vec<_>>(), [(&"1".into(), Some(&"first".into()))]);
        assert!(!members.remove("1"));
        assert!(members.remove("1"));
        assert!(!members.remove("1"));
        assert!(members.is_empty());
    }

    #[test]
    fn u2_a_further_connection_of_a_member_is_let_in_when_the_channel_is_full() {
        let mut members = Members::default();
        assert_eq!(members.add(&member("1", ""), 1), Ok(true));
        assert_eq!(members.add(&member("2", ""), 1), Err(Full));
        assert_eq!(members.add(&member("1", ""), 1), Ok(false));
        assert_eq!(members.len(), 1);
    }
}
