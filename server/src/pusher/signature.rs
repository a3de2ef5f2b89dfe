//! Pusher's signatures: HMAC-SHA256 with the app's secret, in lower-case hex.
//!
//! Owns what is signed for a subscription and for a user, and that comparing takes the same time however much of a
//! signature is right. What is signed of an HTTP request is [`crate::http`]'s. Source: Pusher's "Generating the
//! authentication string" and "Authenticating users".

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::SocketId;
use crate::config::Secret;

const DIGEST_BYTES: usize = 32;

/// Why `auth` proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthError {
    /// There is none.
    Missing,
    /// It is not `KEY:SIGNATURE`.
    Form,
    /// It is made with another app's key.
    Key,
    /// It is not the signature of what is asked for.
    Signature,
}

impl AuthError {
    /// What was expected, what was found, what to do.
    pub fn message(self) -> &'static str {
        match self {
            Self::Missing => {
                "expected auth from the application's authorization endpoint, but found none; check channelAuthorization (authEndpoint) in the client"
            }
            Self::Form => {
                "expected auth of the form KEY:SIGNATURE, but found another; check what the application's authorization endpoint answers"
            }
            Self::Key => {
                "expected auth with this app's key, but found another key; give the application and the client the same app"
            }
            Self::Signature => {
                "expected auth signed with this app's secret for this socket id, channel and channel_data, but found another signature; compare the application's secret with the server's"
            }
        }
    }
}

/// The keyed hash of `parts`, one after the other.
fn mac(secret: &Secret, parts: &[&str]) -> Option<Hmac<Sha256>> {
    // A key of any length is one; there is no error to be had.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    parts.iter().for_each(|part| mac.update(part.as_bytes()));
    Some(mac)
}

/// Whether `signature` is the one of `parts`, in time that does not depend on where it is wrong.
pub fn verify(secret: &Secret, parts: &[&str], signature: &str) -> bool {
    let Some(digest) = decode_hex(signature) else { return false };
    mac(secret, parts).is_some_and(|mac| mac.verify_slice(&digest).is_ok())
}

/// The signature of `parts`.
pub fn sign(secret: &Secret, parts: &[&str]) -> String {
    use std::fmt::Write as _;
    let digest = mac(secret, parts).map(|mac| mac.finalize().into_bytes());
    let mut hex = String::with_capacity(2 * DIGEST_BYTES);
    for byte in digest.into_iter().flatten() {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// Judges the `auth` of a subscription; `channel_data` as it was sent, if it was.
///
/// # Errors
/// [`AuthError`] names the first rule that is broken.
pub fn judge_subscription(
    (key, secret): (&str, &Secret),
    socket_id: SocketId,
    channel: &str,
    channel_data: Option<&str>,
    auth: Option<&str>,
) -> Result<(), AuthError> {
    let socket_id = socket_id.to_string();
    match channel_data {
        Some(data) => judge((key, secret), &[&socket_id, ":", channel, ":", data], auth),
        None => judge((key, secret), &[&socket_id, ":", channel], auth),
    }
}

/// Judges the `auth` of a user; `user_data` as it was sent.
///
/// # Errors
/// As [`judge_subscription`].
pub fn judge_user(
    (key, secret): (&str, &Secret),
    socket_id: SocketId,
    user_data: &str,
    auth: Option<&str>,
) -> Result<(), AuthError> {
    judge((key, secret), &[&socket_id.to_string(), "::user::", user_data], auth)
}

fn judge((key, secret): (&str, &Secret), parts: &[&str], auth: Option<&str>) -> Result<(), AuthError> {
    let auth = auth.filter(|auth| !auth.is_empty()).ok_or(AuthError::Missing)?;
    let (found, signature) = auth.split_once(':').ok_or(AuthError::Form)?;
    if found != key {
        return Err(AuthError::Key);
    }
    if verify(secret, parts, signature) { Ok(()) } else { Err(AuthError::Signature) }
}

/// Lower-case hex of a digest: what every Pusher library writes.
fn decode_hex(hex: &str) -> Option<[u8; DIGEST_BYTES]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if hex.len() != 2 * DIGEST_BYTES {
        return None;
    }
    let mut digest = [0; DIGEST_BYTES];
    for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "278d425bdf160c739803";

    fn secret() -> Secret {
        Secret::new("7ad3773142a6692b25b8")
    }

    fn socket_id() -> SocketId {
        SocketId::parse("1234.1234").unwrap()
    }

    #[test]
    fn a1_a4_the_vector_of_a_private_channel() {
        let signature = "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4";
        assert_eq!(sign(&secret(), &["1234.1234:private-foobar"]), signature);
        let judged = |auth: &str| {
            judge_subscription((KEY, &secret()), socket_id(), "private-foobar", None, Some(auth))
        };
        assert_eq!(judged(&format!("{KEY}:{signature}")), Ok(()));
        assert_eq!(judged(&format!("other:{signature}")), Err(AuthError::Key));
        assert_eq!(judged(signature), Err(AuthError::Form));
        assert_eq!(judged(""), Err(AuthError::Missing));
        for wrong in [
            signature.to_uppercase(),
            signature.replacen('5', "6", 1),
            signature[1..].to_owned(),
            format!("{signature}0"),
            String::new(),
            "é".repeat(32),
        ] {
            assert_eq!(judged(&format!("{KEY}:{wrong}")), Err(AuthError::Signature), "{wrong}");
        }
    }

    #[test]
    fn a2_a4_the_vectors_of_a_presence_channel() {
        for (name, signature) in [
            ("Mr. Pusher", "afaed3695da2ffd16931f457e338e6c9f2921fa133ce7dac49f529792be6304c"),
            ("Mr. Channels", "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80"),
        ] {
            let data = format!(r#"{{"user_id":10,"user_info":{{"name":"{name}"}}}}"#);
            let auth = format!("{KEY}:{signature}");
            let judged = judge_subscription(
                (KEY, &secret()),
                socket_id(),
                "presence-foobar",
                Some(&data),
                Some(&auth),
            );
            assert_eq!(judged, Ok(()), "{name}");
        }
    }

    #[test]
    fn a3_a4_the_vector_of_a_user() {
        let auth = format!("{KEY}:4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba");
        let judged = |data| judge_user((KEY, &secret()), socket_id(), data, Some(&auth));
        assert_eq!(judged(r#"{"id":"12345"}"#), Ok(()));
        assert_eq!(judged(r#"{"id":"12346"}"#), Err(AuthError::Signature));
    }
}
