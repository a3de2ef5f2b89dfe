//! What a scene leaves open: socket ids, signatures, long texts, and messages whose wording is not the protocol.
//!
//! In what is sent and in what is expected:
//!
//! | written | stands for |
//! |---|---|
//! | `{{key}}` | the app's key |
//! | `{{a.socket_id}}` | the socket id that client `a` was given |
//! | `{{sign:a:private-x}}` | the hex of HMAC-SHA256 over `<a's socket id>:private-x`; it reaches to the last `}}` of the string |
//! | `{{x*300}}` | `x`, 300 times |
//! | `{{auth}}` | in `auth` of a message: what the application's endpoint answers for this very message and client |
//! | `{{…}}` | in what is expected: any text, but not none |
//!
//! The signatures are made here anew and not with the server's own code, which they are to check.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use super::{KEY, SECRET};

/// Any text, but not none.
pub const ANY: &str = "{{…}}";

/// The socket id of each client that was let in.
pub type SocketIds = BTreeMap<String, String>;

/// Fills in every string of `value`.
pub fn fill_in(value: &mut Value, socket_ids: &SocketIds) -> Result<(), String> {
    match value {
        Value::String(text) => *text = filled(text, socket_ids)?,
        Value::Array(items) => items.iter_mut().try_for_each(|item| fill_in(item, socket_ids))?,
        Value::Object(fields) => fields.values_mut().try_for_each(|field| fill_in(field, socket_ids))?,
        _ => {}
    }
    Ok(())
}

/// `text` with its placeholders filled in; [`ANY`] and [`AUTH`] stay.
pub fn filled(text: &str, socket_ids: &SocketIds) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        // What is signed may be JSON, which ends in braces too.
        let end = if after.starts_with("sign:") { after.rfind("}}") } else { after.find("}}") };
        let end = end.ok_or_else(|| format!("expected }}}} after {{{{ in {text:?}"))?;
        out.push_str(&stands_for(&after[..end], socket_ids)?);
        rest = &after[end + 2..];
    }
    Ok(out + rest)
}

/// Put in place of by [`sign_message`], once the rest of the message is known.
const AUTH: &str = "{{auth}}";

fn stands_for(word: &str, socket_ids: &SocketIds) -> Result<String, String> {
    let socket_id = |client: &str| {
        socket_ids.get(client).ok_or_else(|| format!("expected {client:?} to be a client that was let in"))
    };
    if word == "key" {
        return Ok(KEY.to_owned());
    }
    if word == "…" || word == "auth" {
        return Ok(format!("{{{{{word}}}}}"));
    }
    if let Some(signed) = word.strip_prefix("sign:") {
        let (client, text) = signed.split_once(':').ok_or("expected {{sign:CLIENT:TEXT}}")?;
        return Ok(sign(SECRET, &format!("{}:{text}", socket_id(client)?)));
    }
    if let Some(client) = word.strip_suffix(".socket_id") {
        return socket_id(client).cloned();
    }
    if let Some((text, times)) = word.rsplit_once('*')
        && let Ok(times) = times.parse()
    {
        return Ok(text.repeat(times));
    }
    Err(format!("no such placeholder: {{{{{word}}}}}"))
}

/// The hex of HMAC-SHA256.
pub fn sign(secret: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Puts `KEY:SIGNATURE` in place of `{{auth}}` in a message that `socket_id` sends, all else being filled in: as
/// Pusher's "Generating the authentication string" and "Authenticating users" have it.
pub fn sign_message(message: &mut Value, socket_id: Option<&String>) -> Result<(), String> {
    if message["data"]["auth"] != AUTH {
        return Ok(());
    }
    let socket_id = socket_id.ok_or("expected {{auth}} in what a client sends that was let in")?;
    let field = |name: &str| message["data"][name].as_str();
    let signed = match (message["event"].as_str(), field("channel"), field("user_data")) {
        (Some("pusher:subscribe"), Some(channel), _) => match field("channel_data") {
            Some(channel_data) => format!("{socket_id}:{channel}:{channel_data}"),
            None => format!("{socket_id}:{channel}"),
        },
        (Some("pusher:signin"), _, Some(user_data)) => format!("{socket_id}::user::{user_data}"),
        _ => return Err("expected {{auth}} in pusher:subscribe or pusher:signin".to_owned()),
    };
    message["data"]["auth"] = format!("{KEY}:{}", sign(SECRET, &signed)).into();
    Ok(())
}

/// Whether `found` is what `expected` says.
pub fn is_as_expected(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::String(expected), Value::String(found)) => is_text_as_expected(expected, found),
        (Value::Array(expected), Value::Array(found)) => {
            expected.len() == found.len() && expected.iter().zip(found).all(|(e, f)| is_as_expected(e, f))
        }
        (Value::Object(expected), Value::Object(found)) => {
            expected.len() == found.len()
                && expected
                    .iter()
                    .all(|(name, value)| found.get(name).is_some_and(|found| is_as_expected(value, found)))
        }
        _ => expected == found,
    }
}

/// Whether `found` is `expected`, in which [`ANY`] may stand several times.
pub fn is_text_as_expected(expected: &str, found: &str) -> bool {
    let Some((before, after)) = expected.split_once(ANY) else { return expected == found };
    let Some(rest) = found.strip_prefix(before) else { return false };
    let ends = rest.char_indices().map(|(at, character)| at + character.len_utf8());
    ends.into_iter().any(|end| is_text_as_expected(after, &rest[end..]))
}
