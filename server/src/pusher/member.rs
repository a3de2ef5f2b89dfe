//! Who a subscriber or a signed-in user is: `channel_data` and `user_data`, as the application signed them.
//!
//! Owns which of them make sense and are not too large. Whether they are signed is judged before
//! ([`super::signature`]).

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::object;
use crate::hub::Member;
use crate::limits::Limits;

/// Why `channel_data` or `user_data` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberError {
    /// Not the JSON that it has to be.
    Form(&'static str),
    /// Larger than it may be.
    Large(String),
}

/// A user that a connection is signed in as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// Names the user; never empty.
    pub user_id: Arc<str>,
    /// What a presence channel tells the others, unless the subscription says it.
    pub user_info: Option<Arc<str>>,
    /// Whom the user watches; no id twice.
    pub watchlist: Vec<Arc<str>>,
}

/// What signing in comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserData {
    /// The user.
    pub user: SignedIn,
    /// What the client is told, with an id that is a string, for pusher-js takes no other.
    pub user_data: String,
    /// How many ids the watchlist had more than it may have.
    pub watchlist_surplus: usize,
}

#[derive(Deserialize)]
struct ChannelData<'a> {
    #[serde(borrow)]
    user_id: &'a RawValue,
    #[serde(borrow, default)]
    user_info: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct UserFields<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow, default)]
    user_info: Option<&'a RawValue>,
    #[serde(borrow, default)]
    watchlist: Option<Vec<&'a RawValue>>,
}

/// The member that `channel_data` describes.
///
/// # Errors
/// [`MemberError`], which refuses the subscription.
pub fn member(channel_data: &str, limits: &Limits) -> Result<Member, MemberError> {
    const EXPECTED: &str = "expected channel_data to be a JSON object with user_id, a string or a number, and user_info; check what the application's authorization endpoint answers";
    let data: ChannelData<'_> =
        object::read(channel_data, limits.json_depth_max).ok_or(MemberError::Form(EXPECTED))?;
    let user_id = user_id(data.user_id).ok_or(MemberError::Form(EXPECTED))?;
    Ok(Member { user_id: fitting_id(user_id, limits)?, user_info: fitting_info(data.user_info, limits)? })
}

/// The user that `user_data` describes.
///
/// # Errors
/// [`MemberError`], which refuses the sign-in.
pub fn user(user_data: &str, limits: &Limits) -> Result<UserData, MemberError> {
    const EXPECTED: &str = "expected user_data to be a JSON object with id, a string that is not empty; check what the application's user authentication endpoint answers";
    let fields: UserFields<'_> =
        object::read(user_data, limits.json_depth_max).ok_or(MemberError::Form(EXPECTED))?;
    let id = user_id(fields.id).ok_or(MemberError::Form(EXPECTED))?;
    let mut watchlist: Vec<Arc<str>> = Vec::new();
    let mut surplus = 0;
    for watched in fields.watchlist.unwrap_or_default() {
        let watched = user_id(watched).ok_or(MemberError::Form(
            "expected the watchlist of user_data to be a list of user ids; check what the application's user authentication endpoint answers",
        ))?;
        if watchlist.len() >= limits.watchlist_users_max {
            surplus += 1;
        } else if !watchlist.iter().any(|other| **other == *watched) {
            watchlist.push(fitting_id(watched, limits)?);
        }
    }
    let user = SignedIn {
        user_id: fitting_id(id, limits)?,
        user_info: fitting_info(fields.user_info, limits)?,
        watchlist,
    };
    let user_data =
        if fields.id.get().starts_with('"') { user_data.to_owned() } else { with_text_id(user_data) };
    Ok(UserData { user, user_data, watchlist_surplus: surplus })
}

/// An id as text: applications send numbers as well, and everything that goes out is a string.
fn user_id(raw: &RawValue) -> Option<String> {
    let id = match raw.get().as_bytes().first()? {
        b'"' => serde_json::from_str(raw.get()).ok()?,
        b'-' | b'0'..=b'9' => raw.get().to_owned(),
        _ => return None,
    };
    Some(id).filter(|id: &String| !id.is_empty())
}

/// The same object with its `id` as a string.
fn with_text_id(user_data: &str) -> String {
    let mut value: serde_json::Value = serde_json::from_str(user_data).unwrap_or_default();
    let id = value["id"].to_string();
    value["id"] = id.into();
    value.to_string()
}

fn fitting_id(user_id: String, limits: &Limits) -> Result<Arc<str>, MemberError> {
    let max = limits.user_id_bytes_max;
    if user_id.len() > max {
        let found = user_id.len();
        return Err(MemberError::Large(format!(
            "expected a user id of at most {max} bytes, but found {found}; shorten it, or raise user_id_bytes_max"
        )));
    }
    Ok(user_id.into())
}

fn fitting_info(info: Option<&RawValue>, limits: &Limits) -> Result<Option<Arc<str>>, MemberError> {
    let Some(info) = info.map(RawValue::get) else { return Ok(None) };
    let max = limits.member_info_bytes_max;
    if info.len() > max {
        let found = info.len();
        return Err(MemberError::Large(format!(
            "expected user_info of at most {max} bytes, but found {found}; send less, or raise member_info_bytes_max"
        )));
    }
    Ok(Some(info.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u3_ids_become_strings() {
        let limits = Limits::default();
        let id = |data: &str| member(data, &limits).map(|member| member.user_id.to_string());
        assert_eq!(id(r#"{"user_id":10,"user_info":{"name":"Mr. Pusher"}}"#).as_deref(), Ok("10"));
        assert_eq!(id(r#"{"user_id":"10"}"#).as_deref(), Ok("10"));
        assert_eq!(id(r#"{"user_id":"é\"x"}"#).as_deref(), Ok("é\"x"));
        for wrong in ["", "{}", "[]", r#"{"user_id":""}"#, r#"{"user_id":null}"#, r#"{"user_id":[1]}"#] {
            assert!(matches!(id(wrong), Err(MemberError::Form(_))), "{wrong}");
        }
        assert!(matches!(id(&"[".repeat(50_000)), Err(MemberError::Form(_))));
    }

    #[test]
    fn u2_what_is_said_about_a_member_has_a_bound() {
        let limits = Limits { member_info_bytes_max: 4, user_id_bytes_max: 2, ..Limits::default() };
        let judged = |data: &str| member(data, &limits);
        assert_eq!(
            judged(r#"{"user_id":"1","user_info":"ab"}"#).unwrap().user_info.as_deref(),
            Some(r#""ab""#)
        );
        assert!(matches!(judged(r#"{"user_id":"1","user_info":"abc"}"#), Err(MemberError::Large(_))));
        assert!(matches!(judged(r#"{"user_id":"123"}"#), Err(MemberError::Large(_))));
    }

    #[test]
    fn s11_the_id_of_a_signed_in_user_is_told_as_a_string() {
        let limits = Limits::default();
        let text = r#"{"id":"1", "user_info":{"a":1}}"#;
        assert_eq!(user(text, &limits).unwrap().user_data, text);
        let number: serde_json::Value =
            serde_json::from_str(&user(r#"{"id":7,"name":"x"}"#, &limits).unwrap().user_data).unwrap();
        assert_eq!(number, serde_json::json!({"id": "7", "name": "x"}));
        for wrong in ["", "{}", r#"{"id":""}"#, r#"{"id":null}"#, r#"{"id":"1","watchlist":[null]}"#] {
            assert!(matches!(user(wrong, &limits), Err(MemberError::Form(_))), "{wrong}");
        }
    }

    #[test]
    fn u5_the_first_ids_of_a_long_watchlist_count() {
        let limits = Limits { watchlist_users_max: 2, ..Limits::default() };
        let data = user(r#"{"id":"1","watchlist":["a",2,"a","b"]}"#, &limits).unwrap();
        assert_eq!(data.user.watchlist, ["a", "2"].map(Arc::<str>::from));
        assert_eq!(data.watchlist_surplus, 2);
    }
}
