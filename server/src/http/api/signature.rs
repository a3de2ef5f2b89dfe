//! Who sends a request: the signature over its method, path and parameters.
//!
//! Owns what is signed and for how long that holds. Of a body its digest is signed, which stands in the parameters:
//! so a request can be judged before its body is read, and strangers make nobody read one. Leaves the keyed hash to
//! [`crate::pusher::signature`]. Source: Pusher's "Generating authentication signatures".

use std::fmt::Write as _;

use md5::{Digest as _, Md5};

use super::Head;
use super::parameters::Parameters;
use super::rejection::{Code, Rejection};
use super::route;
use crate::config::App;
use crate::pusher::signature;

/// How far a request's clock may be from ours, either way.
pub const TIMESTAMP_TOLERANCE_S: u64 = 600;

const AUTH_VERSION: &str = "1.0";

/// Judges whether `app` has signed a request, and just now. `prefix` is the configured path, `now_s` the time in
/// seconds since 1970.
///
/// # Errors
/// What is missing or wrong, always with status 401.
pub fn judge(
    head: Head<'_>,
    prefix: &str,
    parameters: &Parameters,
    app: &App,
    now_s: u64,
) -> Result<(), Rejection> {
    let required = |name: &'static str| {
        parameters.value(name).ok_or_else(|| {
            let message = format!(
                "expected auth_key, auth_timestamp, auth_version and auth_signature in the query, but found no {name}; sign the request, as Pusher's libraries do"
            );
            Rejection::new(Code::AuthMissing, message)
        })
    };
    let (key, timestamp) = (required("auth_key")?, required("auth_timestamp")?);
    let (version, found) = (required("auth_version")?, required("auth_signature")?);
    if key != app.key {
        return Err(Rejection::new(
            Code::AuthKey,
            "expected auth_key to be the key of the app in the path, but found another; compare the sender's key and app id with the server's",
        ));
    }
    if version != AUTH_VERSION {
        let message = format!("expected auth_version to be {AUTH_VERSION}, but found another");
        return Err(Rejection::new(Code::AuthVersion, message));
    }
    let query = parameters.signed_form();
    let is_signed =
        |path: &String| signature::verify(&app.secret, &[head.method, "\n", path, "\n", &query], found);
    if !route::signed_forms(head.path, prefix).iter().any(is_signed) {
        return Err(Rejection::new(
            Code::AuthSignature,
            "expected auth_signature to be the HMAC-SHA256 of method, path and sorted parameters with the app's secret, but found another; compare the sender's secret with the server's",
        ));
    }
    judge_timestamp(timestamp, now_s)
}

fn judge_timestamp(timestamp: &str, now_s: u64) -> Result<(), Rejection> {
    let rejection = |found: &str| {
        let message = format!(
            "expected auth_timestamp within {TIMESTAMP_TOLERANCE_S} s of {now_s}, this server's time in seconds since 1970, but found {found}; set the clocks"
        );
        Rejection::new(Code::AuthTimestamp, message)
    };
    let digits = timestamp.bytes().all(|byte| byte.is_ascii_digit());
    match timestamp.parse::<u64>() {
        Ok(then) if digits && then.abs_diff(now_s) <= TIMESTAMP_TOLERANCE_S => Ok(()),
        Ok(then) if digits => Err(rejection(&then.to_string())),
        _ => Err(rejection("something that is not a number")),
    }
}

/// Judges whether a body is the one that was signed; `digest` is the request's `body_md5`.
///
/// # Errors
/// [`Code::AuthMissing`] or [`Code::BodyDigest`], both with status 401.
pub fn judge_body(body: &[u8], digest: Option<&str>) -> Result<(), Rejection> {
    match digest {
        // Some libraries send the digest of nothing along with a GET, others send none.
        None if body.is_empty() => Ok(()),
        None => Err(Rejection::new(
            Code::AuthMissing,
            "expected body_md5 in the query, since there is a body, but found none; sign the body's MD5, as Pusher's libraries do",
        )),
        Some(digest) if digest == hex_md5(body) => Ok(()),
        Some(_) => {
            let message = format!(
                "expected body_md5 to be the MD5 of the body of {} bytes that came, in lower-case hex, but found another; something in between may have changed the body",
                body.len()
            );
            Err(Rejection::new(Code::BodyDigest, message))
        }
    }
}

/// MD5 in lower-case hex. It is no protection by itself: it stands in what is signed.
pub fn hex_md5(body: &[u8]) -> String {
    Md5::digest(body).iter().fold(String::with_capacity(32), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Configuration;

    const NOW_S: u64 = 1_353_088_179;
    const BODY: &str = r#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
    const SIGNATURE: &str = "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c";

    fn app() -> App {
        let text = r#"{"listen":"127.0.0.1:0","socket":"/s","apps":[{"id":"3","key":"278d425bdf160c739803","secret":"7ad3773142a6692b25b8"}]}"#;
        Configuration::parse(text, 1).unwrap().apps.remove(0)
    }

    /// Pusher's own example.
    fn query() -> String {
        format!(
            "auth_key=278d425bdf160c739803&auth_timestamp={NOW_S}&auth_version=1.0&body_md5=ec365a775a4cd0599faeb73354201b6f&auth_signature={SIGNATURE}"
        )
    }

    fn judged_at(path: &str, prefix: &str, query: &str, now_s: u64) -> Result<(), Code> {
        let parameters = Parameters::parse(Some(query)).unwrap();
        let head = Head { method: "POST", path, query: Some(query) };
        judge(head, prefix, &parameters, &app(), now_s).map_err(|rejection| {
            assert_eq!(rejection.code.status(), 401);
            rejection.code
        })
    }

    fn judged(query: &str) -> Result<(), Code> {
        judged_at("/apps/3/events", "", query, NOW_S)
    }

    #[test]
    fn h2_the_documented_example_is_signed() {
        assert_eq!(judged(&query()), Ok(()));
        assert_eq!(hex_md5(BODY.as_bytes()), "ec365a775a4cd0599faeb73354201b6f");
        assert_eq!(judge_body(BODY.as_bytes(), Some("ec365a775a4cd0599faeb73354201b6f")), Ok(()));
    }

    #[test]
    fn h3_the_configured_path_may_be_signed_or_not() {
        for path in ["/ws/apps/3/events", "/apps/3/events"] {
            assert_eq!(judged_at(path, "/ws", &query(), NOW_S), Ok(()), "signed without it, sent to {path}");
        }
        assert_eq!(judged_at("/wx/apps/3/events", "/ws", &query(), NOW_S), Err(Code::AuthSignature));
        let signed = signature::sign(
            &app().secret,
            &["POST\n/ws/apps/3/events\n", &query().replace(&format!("&auth_signature={SIGNATURE}"), "")],
        );
        for path in ["/ws/apps/3/events", "/apps/3/events"] {
            let query = query().replace(SIGNATURE, &signed);
            assert_eq!(judged_at(path, "/ws", &query, NOW_S), Ok(()), "signed with it, sent to {path}");
        }
    }

    #[test]
    fn h11_what_is_missing_or_wrong_is_not_authorised() {
        for name in ["auth_key", "auth_timestamp", "auth_version", "auth_signature"] {
            assert_eq!(judged(&query().replace(name, "x")), Err(Code::AuthMissing), "{name}");
        }
        assert_eq!(judged(""), Err(Code::AuthMissing));
        assert_eq!(judged(&query().replace("278d", "278e")), Err(Code::AuthKey));
        assert_eq!(judged(&query().replace("version=1.0", "version=1.1")), Err(Code::AuthVersion));
        assert_eq!(judged(&query().replace("ec365", "ec366")), Err(Code::AuthSignature));
        assert_eq!(judged(&format!("{}&info=user_count", query())), Err(Code::AuthSignature));
        assert_eq!(judged(&query().replace(SIGNATURE, "")), Err(Code::AuthSignature));
        assert_eq!(judged(&query().replace(SIGNATURE, &SIGNATURE.to_uppercase())), Err(Code::AuthSignature));
    }

    #[test]
    fn h1_a_timestamp_holds_for_ten_minutes_either_way() {
        for (offset, outcome) in
            [(-601, Err(Code::AuthTimestamp)), (-600, Ok(())), (600, Ok(())), (601, Err(Code::AuthTimestamp))]
        {
            let now_s = NOW_S.checked_add_signed(offset).unwrap();
            assert_eq!(judged_at("/apps/3/events", "", &query(), now_s), outcome, "{offset}");
        }
        for timestamp in ["", "+1353088179", "-1", "x", "1353088179.5", "99999999999999999999999"] {
            assert_eq!(
                judge_timestamp(timestamp, NOW_S).unwrap_err().code,
                Code::AuthTimestamp,
                "{timestamp}"
            );
        }
    }

    #[test]
    fn h1_a_body_is_the_one_that_was_signed() {
        let judged =
            |body: &str, digest| judge_body(body.as_bytes(), digest).map_err(|rejection| rejection.code);
        assert_eq!(judged("", None), Ok(()));
        assert_eq!(judged("", Some("d41d8cd98f00b204e9800998ecf8427e")), Ok(()));
        assert_eq!(judged("{}", None), Err(Code::AuthMissing));
        assert_eq!(judged(BODY, Some("ec365a775a4cd0599faeb73354201b6e")), Err(Code::BodyDigest));
        assert_eq!(judged("", Some("ec365a775a4cd0599faeb73354201b6f")), Err(Code::BodyDigest));
    }
}
