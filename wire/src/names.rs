//! Which names Pusher allows, as both sides check them: PHP before it accepts a publication, when it can still say
//! so, and the server because it trusts nobody.
//!
//! Sources: Pusher's documentation ("Channel naming conventions"), the PHP SDK's checks.

use crate::record::NAME_BYTES_MAX;

/// The rule of [`is_channel`], for messages.
pub const CHANNEL_RULE: &str = "1 to 200 of A-Z a-z 0-9 _ - = @ , . ; and # for #server-to-user-…";

/// Digits of each half of a socket id.
const SOCKET_ID_DIGITS_MAX: usize = 19;

/// Whether this is a channel name: letters, digits and `_-=@,.;`, with a leading `#` for
/// `#server-to-user-{id}` alone. 164 characters and the longest prefix are within 200.
#[inline]
pub fn is_channel(name: &[u8]) -> bool {
    let rest = match name {
        [b'#', ..] => match name.strip_prefix(b"#server-to-user-") {
            Some(user) => user,
            None => return false,
        },
        _ => name,
    };
    !rest.is_empty() && name.len() <= NAME_BYTES_MAX && rest.iter().all(|byte| is_channel_byte(*byte))
}

fn is_channel_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'=' | b'@' | b',' | b'.' | b';')
}

/// Whether this is a socket id: digits, a dot, digits (`^\d+\.\d+\z`), each half an integer of 63 bits.
#[inline]
pub fn is_socket_id(id: &[u8]) -> bool {
    let mut halves = id.split(|byte| *byte == b'.');
    let is_number =
        |half: &[u8]| (1..=SOCKET_ID_DIGITS_MAX).contains(&half.len()) && half.iter().all(u8::is_ascii_digit);
    let two = halves.next().is_some_and(is_number) && halves.next().is_some_and(is_number);
    two && halves.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels() {
        let long = [b'a'; 200];
        for name in [&b"news"[..], b"private-App.Models.User.1", b"a_-=@,.;Z9", b"#server-to-user-12", &long]
        {
            assert!(is_channel(name), "{name:?}");
        }
        let longer = [b'a'; 201];
        for name in [
            &b""[..],
            b"#",
            b"#news",
            b"#server-to-user-",
            b"a b",
            b"a/b",
            b"a#b",
            "ä".as_bytes(),
            b"a\n",
            b"a\0",
            &longer,
        ] {
            assert!(!is_channel(name), "{name:?}");
        }
    }

    #[test]
    fn socket_ids() {
        for id in [&b"1.1"[..], b"123.456", b"9223372036854775807.0"] {
            assert!(is_socket_id(id), "{id:?}");
        }
        for id in [
            &b""[..],
            b".",
            b"1.",
            b".1",
            b"1",
            b"1.2.3",
            b"a.1",
            b"1.1\n",
            b"-1.1",
            b"10000000000000000000.1",
        ] {
            assert!(!is_socket_id(id), "{id:?}");
        }
    }
}
