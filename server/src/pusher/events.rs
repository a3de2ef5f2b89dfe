//! Every text that the server sends, byte for byte as stock clients expect it.
//!
//! Owns the JSON of Pusher's events. `data` is a JSON-encoded **string** where Pusher sends a string, and an
//! object in `pusher:error` and `pusher:subscription_error`. Leaves to others the WebSocket frame around it.

use std::sync::Arc;

use serde_json::json;

use super::{ChannelName, Code, SocketId};
use crate::hub::Member;
use crate::hub::users::Attendance;

/// The answer to `pusher:ping`.
pub const PONG: &str = r#"{"event":"pusher:pong","data":"{}"}"#;

/// Asks a client that has said nothing for a while whether it is there.
pub const PING: &str = r#"{"event":"pusher:ping","data":"{}"}"#;

/// The first text on a connection that is let in.
pub fn connection_established(socket_id: SocketId, activity_timeout_s: u64) -> String {
    format!(
        r#"{{"event":"pusher:connection_established","data":"{{\"socket_id\":\"{socket_id}\",\"activity_timeout\":{activity_timeout_s}}}"}}"#
    )
}

/// What went wrong, on a connection that lives on or just before its close frame.
pub fn error(code: Code, message: &str) -> String {
    format!(r#"{{"event":"pusher:error","data":{{"code":{},"message":{}}}}}"#, code.number(), json!(message))
}

/// A subscription to a channel without members holds.
pub fn subscription_succeeded(channel: &ChannelName) -> String {
    // A legal name needs no escaping.
    format!(
        r#"{{"event":"pusher_internal:subscription_succeeded","channel":"{}","data":"{{}}"}}"#,
        channel.as_str()
    )
}

/// A subscription to a channel with `members` holds; the joiner is one of them.
pub fn presence_succeeded(channel: &ChannelName, members: &[Member]) -> String {
    let mut data = Vec::from(format!(r#"{{"presence":{{"count":{},"ids":["#, members.len()));
    put_list(&mut data, members, |out, member| put_string(out, &member.user_id));
    data.extend_from_slice(br#"],"hash":{"#);
    put_list(&mut data, members, |out, member| {
        put_string(out, &member.user_id);
        out.push(b':');
        put_info(out, member);
    });
    data.extend_from_slice(b"}}}");
    internal("subscription_succeeded", channel.as_str(), &data)
}

/// To the others: a user has become a member.
pub fn member_added(channel: &str, member: &Member) -> String {
    let mut data = br#"{"user_id":"#.to_vec();
    put_string(&mut data, &member.user_id);
    data.extend_from_slice(br#","user_info":"#);
    put_info(&mut data, member);
    data.push(b'}');
    internal("member_added", channel, &data)
}

/// To the others: a user is a member no longer.
pub fn member_removed(channel: &str, user_id: &str) -> String {
    let mut data = br#"{"user_id":"#.to_vec();
    put_string(&mut data, user_id);
    data.push(b'}');
    internal("member_removed", channel, &data)
}

/// How many connections are subscribed to a channel.
pub fn subscription_count(channel: &str, subscriptions: usize) -> String {
    let data = format!(r#"{{"subscription_count":{subscriptions}}}"#);
    internal("subscription_count", channel, data.as_bytes())
}

/// A cache channel has nothing to tell.
pub fn cache_miss(channel: &ChannelName) -> String {
    format!(r#"{{"event":"pusher:cache_miss","channel":"{}","data":"{{}}"}}"#, channel.as_str())
}

/// A user is signed in; `user_data` as clients are to see it, with an id that is a string.
pub fn signin_success(user_data: &str) -> String {
    let mut out = br#"{"event":"pusher:signin_success","data":{"user_data":"#.to_vec();
    put_string(&mut out, user_data);
    out.extend_from_slice(b"}}");
    text(out)
}

/// Who of a watchlist is online or offline; the one event whose `data` is an object and which has no channel.
pub fn watchlist_events(attendance: &Attendance) -> String {
    let mut out = br#"{"event":"pusher_internal:watchlist_events","data":{"events":["#.to_vec();
    let lists = [("online", &attendance.online), ("offline", &attendance.offline)];
    let lists: Vec<_> = lists.into_iter().filter(|(_, user_ids)| !user_ids.is_empty()).collect();
    put_list(&mut out, &lists, |out, (name, user_ids)| put_turn(out, name, user_ids));
    out.extend_from_slice(b"]}}");
    text(out)
}

fn put_turn(out: &mut Vec<u8>, name: &str, user_ids: &[Arc<str>]) {
    out.extend_from_slice(format!(r#"{{"name":"{name}","user_ids":["#).as_bytes());
    put_list(out, user_ids, |out, user_id| put_string(out, user_id));
    out.extend_from_slice(b"]}");
}

/// An event of the protocol itself: `data` is JSON that goes out as a string.
fn internal(event: &str, channel: &str, data: &[u8]) -> String {
    let mut out = Vec::with_capacity(64 + data.len() * 9 / 8);
    out.extend_from_slice(br#"{"event":"pusher_internal:"#);
    out.extend_from_slice(event.as_bytes());
    out.extend_from_slice(br#"","channel":"#);
    put_string(&mut out, channel);
    out.extend_from_slice(br#","data":"#);
    put_string(&mut out, &String::from_utf8_lossy(data));
    out.push(b'}');
    text(out)
}

/// Everything that is put together here is made of texts.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_default()
}

fn put_list<T>(out: &mut Vec<u8>, items: &[T], mut put: impl FnMut(&mut Vec<u8>, &T)) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        put(out, item);
    }
}

fn put_info(out: &mut Vec<u8>, member: &Member) {
    out.extend_from_slice(member.user_info.as_deref().unwrap_or("null").as_bytes());
}

/// A subscription was refused: Echo's `.error()` hears this and nothing else. `kind` is what went wrong in one
/// word (`AuthError`), `status` the HTTP status that says the same.
pub fn subscription_error(channel: &str, kind: &str, message: &str, status: u16) -> String {
    format!(
        r#"{{"event":"pusher:subscription_error","channel":{},"data":{{"type":{},"error":{},"status":{status}}}}}"#,
        json!(channel),
        json!(kind),
        json!(message)
    )
}

/// Appends an event for the subscribers of a channel; `data` goes out as the string that it came in as.
pub fn put_event(out: &mut Vec<u8>, event: &str, channel: &str, data: &str) {
    out.extend_from_slice(br#"{"event":"#);
    put_string(out, event);
    out.extend_from_slice(br#","channel":"#);
    put_string(out, channel);
    out.extend_from_slice(br#","data":"#);
    put_string(out, data);
    out.push(b'}');
}

/// Appends an event that a client sent: `json` goes out as it came in, and nothing else that the client sent.
pub fn put_client_event(
    out: &mut Vec<u8>,
    event: &str,
    channel: &str,
    json: Option<&str>,
    user_id: Option<&str>,
) {
    out.extend_from_slice(br#"{"event":"#);
    put_string(out, event);
    out.extend_from_slice(br#","channel":"#);
    put_string(out, channel);
    if let Some(json) = json {
        out.extend_from_slice(br#","data":"#);
        out.extend_from_slice(json.as_bytes());
    }
    if let Some(user_id) = user_id {
        out.extend_from_slice(br#","user_id":"#);
        put_string(out, user_id);
    }
    out.push(b'}');
}

/// Appends a JSON string (RFC 8259 section 7): runs without anything to escape are copied whole.
fn put_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if !ESCAPED[usize::from(byte)] {
            continue;
        }
        out.extend_from_slice(&bytes[copied..at]);
        copied = at + 1;
        match byte {
            b'"' => out.extend_from_slice(br#"\""#),
            b'\\' => out.extend_from_slice(br"\\"),
            b'\n' => out.extend_from_slice(br"\n"),
            b'\r' => out.extend_from_slice(br"\r"),
            b'\t' => out.extend_from_slice(br"\t"),
            _ => {
                out.extend_from_slice(br"\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

static ESCAPED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pusher::socket_id::SocketIds;

    #[test]
    fn texts_are_exactly_what_clients_parse() {
        let id = SocketIds::new(122, 455, 1).draw();
        assert_eq!(
            connection_established(id, 120),
            r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"123.456\",\"activity_timeout\":120}"}"#
        );
        assert_eq!(
            error(Code::AppUnknown, "no \"x\""),
            r#"{"event":"pusher:error","data":{"code":4001,"message":"no \"x\""}}"#
        );
        assert_eq!(
            subscription_succeeded(&ChannelName::parse("x", 200).unwrap()),
            r#"{"event":"pusher_internal:subscription_succeeded","channel":"x","data":"{}"}"#
        );
    }

    #[test]
    fn data_passes_through_byte_for_byte() {
        let all: String = (0..0x120).filter_map(char::from_u32).chain("😀\u{2028}".chars()).collect();
        for data in ["", "{}", r#"{"a":"b\\\"c"}"#, &all] {
            let mut out = Vec::new();
            put_event(&mut out, r"App\Events\X", "news", data);
            let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(value["event"], r"App\Events\X");
            assert_eq!(value["channel"], "news");
            assert_eq!(value["data"], data);
        }
    }
}
