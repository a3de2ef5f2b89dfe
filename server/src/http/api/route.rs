//! Which endpoint a method and a path name.
//!
//! Owns the paths: `{path}/apps/{id}/…` below the configured path and `/apps/{id}/…` without it, because a proxy may
//! or may not take the path away, and under which of them a library signs what it asks for.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::rejection::{Code, Rejection};

const APPS: &str = "/apps/";

/// What is asked for, of which app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route<'a> {
    /// The app's id.
    pub app_id: Cow<'a, str>,
    /// What is asked for.
    pub endpoint: Endpoint,
}

/// What there is to be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST …/events`: publish.
    Events,
    /// `POST …/batch_events`: publish several.
    BatchEvents,
    /// `GET …/channels`: which channels are occupied.
    Channels,
    /// `GET …/channels/{name}`: one of them.
    Channel(String),
    /// `GET …/channels/{name}/users`: who is on it.
    Users(String),
    /// `POST …/users/{id}/terminate_connections`.
    Terminate(String),
    /// `GET …/connections`: how many there are.
    Connections,
    /// `GET …/listen`: to be told what happens, over the upgraded connection.
    Listen,
}

/// The path below the configured one, which is the same when it does not stand there; `None` when it is not the API's.
fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let stripped = path.strip_prefix(prefix).filter(|rest| rest.starts_with(APPS));
    stripped.or(Some(path)).filter(|path| path.starts_with(APPS))
}

/// Whether a path is the API's, whatever may be below it.
pub fn is_api(path: &str, prefix: &str) -> bool {
    below(path, prefix).is_some()
}

/// Finds the endpoint.
///
/// # Errors
/// [`Code::NotFound`] or [`Code::MethodNotAllowed`].
pub fn find<'a>(method: &str, path: &'a str, prefix: &str) -> Result<Route<'a>, Rejection> {
    let unknown = || {
        Rejection::new(
            Code::NotFound,
            "expected /apps/{id}/ and then events, batch_events, channels, channels/{name}, channels/{name}/users, users/{id}/terminate_connections, connections or listen, but found another path",
        )
    };
    let rest = below(path, prefix).and_then(|path| path.strip_prefix(APPS)).ok_or_else(unknown)?;
    let segments: Vec<&str> = rest.split('/').collect();
    let (app_id, endpoint) = match segments.as_slice() {
        [app_id, "events"] => (app_id, Endpoint::Events),
        [app_id, "batch_events"] => (app_id, Endpoint::BatchEvents),
        [app_id, "channels"] => (app_id, Endpoint::Channels),
        [app_id, "channels", name] => (app_id, Endpoint::Channel(decoded(name)?.into_owned())),
        [app_id, "channels", name, "users"] => (app_id, Endpoint::Users(decoded(name)?.into_owned())),
        [app_id, "connections"] => (app_id, Endpoint::Connections),
        [app_id, "listen"] => (app_id, Endpoint::Listen),
        // An id may be any text, and not every library encodes the slashes in it.
        [app_id, "users", user_id @ .., "terminate_connections"]
            if user_id.iter().any(|id| !id.is_empty()) =>
        {
            (app_id, Endpoint::Terminate(decoded(&user_id.join("/"))?.into_owned()))
        }
        _ => return Err(unknown()),
    };
    let (methods, allow): (&[&str], _) = match endpoint {
        Endpoint::Events | Endpoint::BatchEvents | Endpoint::Terminate(_) => (&["POST"], "POST"),
        _ => (&["GET", "HEAD"], "GET, HEAD"),
    };
    if !methods.contains(&method) {
        let message = format!("expected {} at this path, but found {method}", methods.join(" or "));
        return Err(Rejection { allow: Some(allow), ..Rejection::new(Code::MethodNotAllowed, message) });
    }
    Ok(Route { app_id: decoded(app_id)?, endpoint })
}

/// Every text that a library may have signed for `path`: with the configured path or without, encoded or as its
/// caller wrote it.
pub fn signed_forms(path: &str, prefix: &str) -> Vec<String> {
    let bare = below(path, prefix).unwrap_or(path);
    let mut forms = vec![bare.to_owned()];
    let mut add = |form: String| {
        if !forms.contains(&form) {
            forms.push(form);
        }
    };
    add(format!("{prefix}{bare}"));
    if let Ok(decoded) = decoded(bare) {
        add(decoded.to_string());
        add(format!("{prefix}{decoded}"));
    }
    forms
}

fn decoded(text: &str) -> Result<Cow<'_, str>, Rejection> {
    percent_decode_str(text).decode_utf8().map_err(|_| {
        Rejection::new(
            Code::NotFound,
            "expected a path in UTF-8, percent-encoded, but found other bytes in it",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(method: &str, path: &str) -> Result<Endpoint, Code> {
        find(method, path, "/ws").map(|route| route.endpoint).map_err(|rejection| rejection.code)
    }

    #[test]
    fn h3_paths_are_served_with_and_without_the_configured_path() {
        for path in ["/apps/7/events", "/ws/apps/7/events"] {
            let route = find("POST", path, "/ws").unwrap();
            assert_eq!((route.app_id.as_ref(), route.endpoint), ("7", Endpoint::Events), "{path}");
            assert_eq!(signed_forms(path, "/ws"), ["/apps/7/events", "/ws/apps/7/events"], "{path}");
        }
        assert_eq!(signed_forms("/apps/7/events", ""), ["/apps/7/events"]);
        assert!(!is_api("/x/apps/7/events", "/ws") && !is_api("/apps", "") && !is_api("/app/key", ""));
        // A configured path that looks like the API's does not hide it.
        assert_eq!(find("GET", "/apps/apps/7/channels", "/apps").unwrap().app_id, "7");
        assert_eq!(find("GET", "/apps/7/channels", "/apps").unwrap().app_id, "7");
    }

    #[test]
    fn names_and_ids_in_paths_are_decoded() {
        let user = Endpoint::Channel("#server-to-user-1".into());
        assert_eq!(endpoint("GET", "/apps/7/channels/%23server-to-user-1"), Ok(user));
        assert_eq!(endpoint("GET", "/apps/7/channels/a=@,.;/users"), Ok(Endpoint::Users("a=@,.;".into())));
        for path in
            ["/apps/7/users/a%2Fb%20c/terminate_connections", "/apps/7/users/a/b%20c/terminate_connections"]
        {
            assert_eq!(endpoint("POST", path), Ok(Endpoint::Terminate("a/b c".into())), "{path}");
        }
        assert!(
            signed_forms("/apps/7/users/a%20b/terminate_connections", "")
                .contains(&"/apps/7/users/a b/terminate_connections".to_owned()),
            "as the PHP library signs it"
        );
    }

    #[test]
    fn other_paths_and_methods_have_their_own_errors() {
        for path in [
            "/apps/",
            "/apps/7",
            "/apps/7/",
            "/apps/7/event",
            "/apps/7/events/",
            "/apps/7/channels/x/y",
            "/apps/7/users//terminate_connections",
            "/apps/7/users/terminate_connections",
            "/apps/7/channels/%ff",
        ] {
            assert_eq!(endpoint("GET", path), Err(Code::NotFound), "{path}");
        }
        assert_eq!(endpoint("GET", "/apps/7/events"), Err(Code::MethodNotAllowed));
        assert_eq!(endpoint("post", "/apps/7/events"), Err(Code::MethodNotAllowed));
        assert_eq!(endpoint("POST", "/apps/7/channels"), Err(Code::MethodNotAllowed));
        assert_eq!(endpoint("HEAD", "/apps/7/channels"), Ok(Endpoint::Channels));
        assert_eq!(find("PUT", "/apps/7/events", "").unwrap_err().allow, Some("POST"));
    }
}
