//! Every text that the server sends, byte for byte as stock clients expect it.
//!
//! Owns the JSON of Pusher's events. `data` is a JSON-encoded **string** where Pusher sends a string, and an
//! object in `pusher:error` and `pusher:subscription_error`. Leaves to others the WebSocket frame around it.

use serde_json::json;

use super::{ChannelName, Code, SocketId};

/// The answer to `pusher:ping`.
pub const PONG: &str = r#"{"event":"pusher:pong","data":"{}"}"#;

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
