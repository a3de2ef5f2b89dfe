//! Who is let in: the path and query of a WebSocket request, judged before the conversation begins.
//!
//! Owns the rules for `GET {path}/app/{key}?protocol=7&…` and what a refused client is told. A refusal is sent
//! *inside* an accepted WebSocket (`pusher:error`, then a close frame with the same code and reason), because a
//! browser shows a script nothing of a refused HTTP upgrade. Leaves to others how a key finds its app.

use super::{Code, events};
use crate::apps::{Settings, Standing};

/// The oldest protocol version that is served; 1 to 3 differ in their close behaviour.
pub const PROTOCOL_MIN: u32 = 4;
/// The current protocol version.
pub const PROTOCOL_MAX: u32 = 7;

/// Why a client is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The code of error and close frame.
    pub code: Code,
    /// What was expected, what was found, what to do; at most 123 bytes, so that a close frame holds it.
    pub message: String,
}

impl Refusal {
    /// A refusal with `message`.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The `pusher:error` that goes before the close frame.
    pub fn error_text(&self) -> String {
        events::error(self.code, &self.message)
    }
}

/// Judges a WebSocket request. `prefix` is the configured path before `/app/`; `app_by_key` finds what the key
/// belongs to.
///
/// # Errors
/// [`Refusal`] with the code of the first rule that is broken: path, protocol version, key.
pub fn admit<App>(
    path: &str,
    query: Option<&str>,
    prefix: &str,
    app_by_key: impl FnOnce(&str) -> Option<App>,
) -> Result<App, Refusal> {
    let key = path
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix("/app/"))
        .filter(|key| !key.is_empty() && !key.contains('/'))
        .ok_or_else(|| {
            Refusal::new(
                Code::PathNotFound,
                "no WebSocket is served at this path; connect to /app/{key} below the configured path",
            )
        })?;
    judge_version(query)?;
    app_by_key(key).ok_or_else(|| {
        Refusal::new(
            Code::AppUnknown,
            "no app has this key; compare the key that the client uses with the server's configuration",
        )
    })
}

/// Judges whether an app takes clients now, and those of this `Origin` header.
///
/// # Errors
/// [`Refusal`]: the app is switched off, or the origin is not among those that may connect.
pub fn judge_app(settings: &Settings, origin: Option<&[u8]>) -> Result<(), Refusal> {
    if settings.standing != Standing::Served {
        let message = "this app is switched off; set its `enabled` to true in the server's configuration";
        return Err(Refusal::new(Code::AppDisabled, message));
    }
    let app = &settings.app;
    if app.allowed_origins.allows(origin, app.missing_origin) {
        return Ok(());
    }
    let message = match origin {
        Some(_) => "pages of this origin may not connect; add the origin to the app's allowed_origins",
        None => "expected an Origin header, but found none; set the app's missing_origin to allow",
    };
    Err(Refusal::new(Code::Unauthorised, message))
}

/// Unknown parameters are ignored; a missing version is taken as the current one, as every Pusher server does.
fn judge_version(query: Option<&str>) -> Result<(), Refusal> {
    let mut pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let Some((_, version)) = pairs.find(|(name, _)| *name == "protocol") else {
        return Ok(());
    };
    let number = version.parse::<u32>().map_err(|_| {
        Refusal::new(
            Code::VersionFormat,
            "expected protocol=4 to 7, but found something that is not a number",
        )
    })?;
    if (PROTOCOL_MIN..=PROTOCOL_MAX).contains(&number) {
        return Ok(());
    }
    Err(Refusal::new(
        Code::ProtocolUnsupported,
        format!("expected protocol=4 to 7, but found {number}; update the client"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(path: &str, query: Option<&str>) -> Result<u8, u16> {
        admit(path, query, "", |key| (key == "app-key").then_some(1)).map_err(|refusal| {
            assert!(refusal.message.len() <= 123, "{}", refusal.message);
            refusal.code.number()
        })
    }

    #[test]
    fn a_stock_client_is_let_in() {
        assert_eq!(judged("/app/app-key", Some("protocol=7&client=js&version=8.6.0&flash=false")), Ok(1));
        assert_eq!(judged("/app/app-key", Some("protocol=4")), Ok(1));
        assert_eq!(judged("/app/app-key", Some("what=ever")), Ok(1));
        assert_eq!(judged("/app/app-key", None), Ok(1));
        assert_eq!(admit("/ws/app/k", None, "/ws", |key| Some(key.to_owned())), Ok("k".to_owned()));
    }

    #[test]
    fn others_are_told_why_not() {
        assert_eq!(judged("/app/other", Some("protocol=7")), Err(4001));
        assert_eq!(judged("/app/app-key", Some("protocol=seven")), Err(4006));
        assert_eq!(judged("/app/app-key", Some("protocol=")), Err(4006));
        assert_eq!(judged("/app/app-key", Some("protocol=3")), Err(4007));
        assert_eq!(judged("/app/app-key", Some("protocol=99999999999")), Err(4006));
        assert_eq!(judged("/app/app-key", Some("protocol=8")), Err(4007));
        for path in ["/", "/app", "/app/", "/app/app-key/x", "/apps/app-key"] {
            assert_eq!(judged(path, None), Err(4005), "{path}");
        }
    }
}
