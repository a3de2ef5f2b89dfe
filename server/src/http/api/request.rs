//! Judging a request, without I/O: method, path, query and body in, what is to be done or why not out.
//!
//! Owns the order in which rules count: which app, who asks, whether the app is served, and only then what is asked.
//! All but the last needs the head alone ([`authorise`]); the body is read for those who have proved themselves
//! ([`Authorised::judge`]).

use std::sync::Arc;

use super::channels::{self, Enquiry, Listing};
use super::listen;
use super::parameters::Parameters;
use super::publish::{self, Submission};
use super::rejection::{Code, Rejection};
use super::route::{self, Endpoint};
use super::signature;
use crate::apps::{App, Apps, Standing};
use crate::limits::Limits;

/// A request's head, as it came.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// In upper case, as HTTP has them.
    pub method: &'a str,
    /// Percent-encoded.
    pub path: &'a str,
    /// Percent-encoded, without the question mark.
    pub query: Option<&'a str>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Publish.
    Publish(Submission),
    /// Publish all of these.
    PublishBatch(Vec<Submission>),
    /// Tell which channels are occupied.
    Channels(Listing),
    /// Tell about one.
    Channel(Enquiry),
    /// Tell who is on this presence channel.
    Users(String),
    /// Close the connections of this user.
    Terminate(String),
    /// Tell how many connections there are.
    Connections,
}

/// A request whose sender has proved who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorised {
    endpoint: Endpoint,
    parameters: Parameters,
}

/// Judges a head: which of `apps` it is about, and whether that app has signed it. `prefix` is the configured path,
/// `now_s` the time in seconds since 1970.
///
/// # Errors
/// 404 and 405 for the path, then 404, 401 and 403 for the app, in this order; 400 for a query that cannot be read.
pub fn authorise(
    head: Head<'_>,
    prefix: &str,
    apps: &Apps,
    now_s: u64,
) -> Result<(Arc<App>, Authorised), Rejection> {
    let route = route::find(head.method, head.path, prefix)?;
    let known = apps.by_id(&route.app_id).map(|app| (app.settings(), app));
    let Some((settings, app)) = known.filter(|(settings, _)| settings.standing != Standing::Removed) else {
        return Err(Rejection::new(
            Code::AppUnknown,
            "expected the id of a configured app in the path, but found another; compare the sender's app id with the server's",
        ));
    };
    let parameters = Parameters::parse(head.query)?;
    signature::judge(head, prefix, &parameters, &settings.app, now_s)?;
    if settings.standing == Standing::Disabled {
        return Err(Rejection::new(
            Code::AppDisabled,
            "this app is switched off; set its `enabled` to true in the server's configuration",
        ));
    }
    Ok((app, Authorised { endpoint: route.endpoint, parameters }))
}

impl Authorised {
    /// Whether it asks for what happens, which is not answered but told over the upgraded connection.
    pub fn is_to_listen(&self) -> bool {
        self.endpoint == Endpoint::Listen
    }

    /// What PHP asks over its attached connection, where it has proved its app before: `target` is what would stand
    /// behind `/apps/{id}`.
    ///
    /// # Errors
    /// 404 and 405 for the path, 400 for a query that cannot be read.
    pub fn attached(method: &str, target: &str) -> Result<Self, Rejection> {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let endpoint = route::find(method, &format!("/apps/-{path}"), "")?.endpoint;
        Ok(Self { endpoint, parameters: Parameters::parse(query)? })
    }

    /// Judges the rest of a signed request.
    ///
    /// # Errors
    /// 401 when it is not the body that was signed, otherwise as [`Authorised::judge_body`].
    pub fn judge(self, body: &[u8], limits: &Limits) -> Result<Request, Rejection> {
        signature::judge_body(body, self.parameters.value("body_md5"))?;
        self.judge_body(body, limits)
    }

    /// Judges what is asked for, whoever has vouched for the body.
    ///
    /// # Errors
    /// 400 for what it says, 413 for too much data.
    pub fn judge_body(self, body: &[u8], limits: &Limits) -> Result<Request, Rejection> {
        Ok(match self.endpoint {
            Endpoint::Events => Request::Publish(publish::event(body, limits)?),
            Endpoint::BatchEvents => Request::PublishBatch(publish::batch(body, limits)?),
            Endpoint::Channels => Request::Channels(Listing::judge(&self.parameters)?),
            Endpoint::Channel(name) => Request::Channel(Enquiry::judge(name, &self.parameters, limits)?),
            Endpoint::Users(name) => {
                channels::judge_presence(&name, limits)?;
                Request::Users(name)
            }
            // Whatever the body says: libraries send `{}`, or nothing.
            Endpoint::Terminate(user_id) => Request::Terminate(user_id),
            Endpoint::Connections => Request::Connections,
            // A request that is upgraded does not come here.
            Endpoint::Listen => return Err(listen::needs_upgrade()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Configuration;
    use crate::pusher::signature::sign;

    const NOW_S: u64 = 1_700_000_000;

    fn configured(apps: &str) -> Vec<crate::config::App> {
        let text = format!(r#"{{"listen":"127.0.0.1:0","socket":"/s","apps":{apps}}}"#);
        Configuration::parse(&text, 1).unwrap().apps
    }

    fn apps() -> Apps {
        Apps::new(configured(
            r#"[{"id":"1","key":"key","secret":"secret"},{"id":"2","key":"off","secret":"secret","enabled":false}]"#,
        ))
    }

    fn judged(method: &str, path: &str, query: &str, body: &str) -> Result<Request, Code> {
        judged_for(&apps(), method, path, query, body)
    }

    fn judged_for(apps: &Apps, method: &str, path: &str, query: &str, body: &str) -> Result<Request, Code> {
        let head = Head { method, path, query: Some(query) };
        let judged = authorise(head, "", apps, NOW_S)
            .and_then(|(_, authorised)| authorised.judge(body.as_bytes(), &Limits::default()));
        judged.map_err(|rejection| rejection.code)
    }

    /// The query of a request that is signed with `key`; `parameters` begin with an ampersand and sort behind auth_.
    fn signed(method: &str, path: &str, key: &str, parameters: &str, body: &str) -> String {
        let digest = match body {
            "" => String::new(),
            body => format!("&body_md5={}", signature::hex_md5(body.as_bytes())),
        };
        let query = format!("auth_key={key}&auth_timestamp={NOW_S}&auth_version=1.0{digest}{parameters}");
        let secret = crate::config::Secret::new("secret");
        let signature = sign(&secret, &[method, "\n", path, "\n", &query]);
        format!("{query}&auth_signature={signature}")
    }

    fn asked(method: &str, path: &str, parameters: &str, body: &str) -> Result<Request, Code> {
        judged(method, path, &signed(method, path, "key", parameters, body), body)
    }

    #[test]
    fn h4_to_h10_every_endpoint() {
        let event = r#"{"name":"e","data":"{}","channel":"a"}"#;
        assert!(matches!(asked("POST", "/apps/1/events", "", event), Ok(Request::Publish(_))));
        let batch = format!(r#"{{"batch":[{event}]}}"#);
        assert!(
            matches!(asked("POST", "/apps/1/batch_events", "", &batch), Ok(Request::PublishBatch(all)) if all.len() == 1)
        );
        let prefixed = asked("GET", "/apps/1/channels", "&filter_by_prefix=presence-&info=user_count", "");
        assert!(matches!(prefixed, Ok(Request::Channels(listing)) if listing.prefix == "presence-"));
        assert!(
            matches!(asked("GET", "/apps/1/channels/a", "&info=cache", ""), Ok(Request::Channel(one)) if one.wanted.cache)
        );
        assert_eq!(
            asked("GET", "/apps/1/channels/presence-a/users", "", ""),
            Ok(Request::Users("presence-a".into()))
        );
        for body in ["{}", "", "no JSON"] {
            let path = "/apps/1/users/7/terminate_connections";
            assert_eq!(asked("POST", path, "", body), Ok(Request::Terminate("7".into())));
        }
        assert_eq!(asked("GET", "/apps/1/connections", "", ""), Ok(Request::Connections));
    }

    #[test]
    fn h11_which_app_then_who_then_whether_then_what() {
        let path = "/apps/9/events";
        assert_eq!(judged("POST", path, "", "x"), Err(Code::AppUnknown), "whoever asks");
        assert_eq!(
            judged("POST", "/apps/2/events", "", "x"),
            Err(Code::AuthMissing),
            "although it is switched off"
        );
        let query = signed("POST", "/apps/2/events", "key", "", "x");
        assert_eq!(judged("POST", "/apps/2/events", &query, "x"), Err(Code::AuthKey));
        let query = signed("POST", "/apps/2/events", "off", "", "x");
        assert_eq!(
            judged("POST", "/apps/2/events", &query, "x"),
            Err(Code::AppDisabled),
            "although it is no JSON"
        );
        assert_eq!(asked("POST", "/apps/1/events", "", "x"), Err(Code::Body));
        assert_eq!(asked("POST", "/apps/1/events", "", ""), Err(Code::Body));
        let query = signed("POST", "/apps/1/events", "key", "", "x");
        assert_eq!(judged("POST", "/apps/1/events", &query, "y"), Err(Code::BodyDigest));
        assert_eq!(judged("POST", "/apps/1/events", "a=1&a=2", "x"), Err(Code::Query));
    }

    #[test]
    fn an_attached_process_asks_without_a_signature() {
        let limits = Limits::default();
        let asked = |method: &str, target: &str, body: &[u8]| {
            let judged =
                Authorised::attached(method, target).and_then(|asked| asked.judge_body(body, &limits));
            judged.map_err(|rejection| rejection.code)
        };
        assert!(matches!(asked("GET", "/channels?info=subscription_count", b""), Ok(Request::Channels(_))));
        assert_eq!(asked("GET", "/channels/presence-a/users", b""), Ok(Request::Users("presence-a".into())));
        assert_eq!(asked("GET", "/connections", b""), Ok(Request::Connections));
        assert_eq!(asked("POST", "/users/7/terminate_connections", b""), Ok(Request::Terminate("7".into())));
        for target in ["", "/", "channels", "?x", "/apps/7/channels", "//channels"] {
            assert_eq!(asked("GET", target, b""), Err(Code::NotFound), "{target}");
        }
        assert_eq!(asked("PUT", "/events", b"{}"), Err(Code::MethodNotAllowed));
        assert_eq!(asked("POST", "/events", b"x"), Err(Code::Body));
    }

    #[test]
    fn a_signature_holds_for_one_method_and_path() {
        let query = signed("GET", "/apps/1/channels", "key", "", "");
        assert!(judged("GET", "/apps/1/channels", &query, "").is_ok());
        assert_eq!(judged("HEAD", "/apps/1/channels", &query, ""), Err(Code::AuthSignature));
        assert_eq!(judged("GET", "/apps/1/connections", &query, ""), Err(Code::AuthSignature));
        assert_eq!(judged("GET", "/apps/1/channels/users", &query, ""), Err(Code::AuthSignature));
    }

    #[test]
    fn h11_an_app_that_is_configured_anew_is_served_accordingly() {
        let apps = apps();
        let query = signed("GET", "/apps/1/channels", "key", "", "");
        let judged_with = |app: &str| {
            apps.configure(configured(&format!(r#"[{{"id":"3","key":"three","secret":"secret"}}{app}]"#)));
            judged_for(&apps, "GET", "/apps/1/channels", &query, "").map(|_| ())
        };
        let one = r#",{"id":"1","key":"key","secret":"secret"}"#;
        let disabled = r#",{"id":"1","key":"key","secret":"secret","enabled":false}"#;
        let other_secret = r#",{"id":"1","key":"key","secret":"another"}"#;
        assert_eq!(judged_with(one), Ok(()));
        assert_eq!(judged_with(disabled), Err(Code::AppDisabled));
        assert_eq!(judged_with(""), Err(Code::AppUnknown));
        assert_eq!(judged_with(other_secret), Err(Code::AuthSignature));
        assert_eq!(judged_with(one), Ok(()));
    }
}
