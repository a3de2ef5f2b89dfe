//! Who is told: an app's endpoints and its listener, and what each of them wants to hear.
//!
//! Owns the rules for URLs and extra headers, parsed once, and the filters. The configuration ([`crate::config`])
//! builds these values; a reload builds new ones.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};

use super::event::{Event, EventKind, EventKinds};
use super::queue::Portion;
use crate::config::Secret;

/// What one app has configured.
#[derive(Debug, Clone)]
pub struct AppHooks {
    /// The app's id, which it keeps whatever is configured for it.
    pub app_id: Arc<str>,
    /// Larger than that of what was configured before.
    pub generation: u64,
    /// The app's key; sent as `X-Pusher-Key`.
    pub key: Arc<str>,
    /// Signs the body.
    pub secret: Secret,
    /// The URLs that are told. May be empty.
    pub endpoints: Vec<Endpoint>,
    /// What is kept for a listener; none, when nobody may listen.
    pub listener: Option<Filter>,
    /// What the app has of the queue.
    pub(super) portion: Arc<Portion>,
}

impl AppHooks {
    /// What is configured from now on.
    pub fn new(
        app_id: impl Into<Arc<str>>,
        key: impl Into<Arc<str>>,
        secret: Secret,
        endpoints: Vec<Endpoint>,
    ) -> Self {
        static GENERATIONS: AtomicU64 = AtomicU64::new(0);
        let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        let (app_id, key) = (app_id.into(), key.into());
        Self { app_id, generation, key, secret, endpoints, listener: None, portion: Arc::default() }
    }

    /// The same, of the app for which `before` was configured until now.
    pub fn following(self, before: &Self) -> Self {
        Self { portion: Arc::clone(&before.portion), ..self }
    }

    /// The same, and what is kept for a listener.
    pub fn with_listener(self, listener: Option<Filter>) -> Self {
        Self { listener, ..self }
    }

    /// What each of those wants to hear who are told.
    pub(super) fn filters(&self) -> impl Iterator<Item = &Filter> {
        self.endpoints.iter().map(|endpoint| &endpoint.filter).chain(&self.listener)
    }

    /// Whether both prove an app's identity in the same way.
    pub(super) fn has_credentials_of(&self, other: &Self) -> bool {
        self.key == other.key && self.secret == other.secret
    }

    /// Whether an event of this kind is worth building. An event's opposite is too, wanted or not: a channel that is
    /// occupied again within moments was not occupied anew, and only its vacation tells.
    pub fn wants(&self, kind: EventKind) -> bool {
        let wanted = |kind| self.filters().any(|filter| filter.events.contains(kind));
        wanted(kind) || kind.opposite().is_some_and(wanted)
    }
}

/// What somebody wants to hear. The default is everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only events of these kinds.
    pub events: EventKinds,
    /// Only of channels whose name begins with this.
    pub channel_prefix: Option<String>,
    /// Only of channels whose name ends with this.
    pub channel_suffix: Option<String>,
}

impl Filter {
    /// Whether `event` passes the filters.
    pub fn wants(&self, event: &Event) -> bool {
        self.events.contains(event.kind()) && self.covers(event.channel())
    }

    /// Whether `event` or its opposite passes.
    pub fn wants_to_know(&self, event: &Event) -> bool {
        let kind = event.kind();
        let wanted = |kind| self.events.contains(kind);
        (wanted(kind) || kind.opposite().is_some_and(wanted)) && self.covers(event.channel())
    }

    fn covers(&self, channel: &str) -> bool {
        self.channel_prefix.as_ref().is_none_or(|prefix| channel.starts_with(&**prefix))
            && self.channel_suffix.as_ref().is_none_or(|suffix| channel.ends_with(&**suffix))
    }
}

/// One URL and what it wants to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where to.
    pub url: Url,
    /// What it wants to hear.
    pub filter: Filter,
    /// Sent along with every request.
    pub headers: Vec<ExtraHeader>,
}

impl Endpoint {
    /// An endpoint that wants to hear everything.
    pub fn new(url: Url) -> Self {
        Self { url, filter: Filter::default(), headers: Vec::new() }
    }

    /// Whether both are the same place that wants to hear the same. What waits for one of them waits for the other,
    /// whose headers may be newer.
    pub fn is_same_place(&self, other: &Self) -> bool {
        self.url == other.url && self.filter == other.filter
    }
}

/// Why a URL or a header cannot be used, in the words of a configuration mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// What was expected.
    pub expected: &'static str,
    /// What was found. Shows neither passwords nor the values of headers.
    pub found: String,
    /// What to do.
    pub advice: &'static str,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, but found {}; {}", self.expected, self.found, self.advice)
    }
}

impl std::error::Error for Unusable {}

/// An absolute http or https URL without a user name.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(Uri);

impl Url {
    /// Parses a URL.
    ///
    /// # Errors
    /// When it is not one, is not absolute, has another scheme or no host, or names a user.
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        const EXPECTED: &str = "a URL such as \"https://example.com/pusher/webhook\"";
        let unusable = |found: String, advice| Unusable { expected: EXPECTED, found, advice };
        let Ok(uri) = text.parse::<Uri>() else {
            return Err(unusable("text that is not a URL".to_owned(), "percent-encode what is not ASCII"));
        };
        match uri.scheme_str() {
            Some("http" | "https") => {}
            Some(scheme) => return Err(unusable(format!("the scheme {scheme}"), "use http or https")),
            None => return Err(unusable("no scheme".to_owned(), "begin it with https://")),
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            let advice = "send an authorization header instead (headers)";
            return Err(unusable("a user name before the host".to_owned(), advice));
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(unusable("no host".to_owned(), "name the host after ://"));
        }
        Ok(Self(uri))
    }

    /// For a request.
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    /// Whether requests are encrypted.
    pub fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }
}

/// Without its query, which may hold a token: as logs show it.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        write!(f, "{}://{authority}{}", self.0.scheme_str().unwrap_or_default(), self.0.path())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

/// A header that the operator adds to the requests; no log shows its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraHeader {
    /// Its name.
    pub name: HeaderName,
    /// Its value.
    pub value: HeaderValue,
}

impl ExtraHeader {
    /// Parses a name and a value.
    ///
    /// # Errors
    /// When one of them is not legal in HTTP, or the header is one that every webhook has already.
    pub fn parse(name: &str, value: &str) -> Result<Self, Unusable> {
        const OURS: [&str; 6] =
            ["content-type", "content-length", "transfer-encoding", "connection", "host", "user-agent"];
        let unusable = |expected, found: String, advice| Unusable { expected, found, advice };
        let Ok(header) = name.parse::<HeaderName>() else {
            let expected = "a header's name, such as \"authorization\"";
            return Err(unusable(expected, format!("{name:?}"), "use letters, digits and -"));
        };
        if header.as_str().starts_with("x-pusher-") || OURS.contains(&header.as_str()) {
            let expected = "a header that a webhook does not have already";
            return Err(unusable(expected, header.to_string(), "leave it out"));
        }
        let Ok(mut value) = HeaderValue::from_str(value) else {
            let expected = "a header's value of visible ASCII characters and spaces";
            return Err(unusable(expected, "other characters".to_owned(), "encode it"));
        };
        value.set_sensitive(true);
        Ok(Self { name: header, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w_filters_select_by_kind_prefix_and_suffix() {
        let mut filter = Filter::default();
        let occupied = |channel: &str| Event::ChannelOccupied { channel: channel.into() };
        assert!(filter.wants(&occupied("a")));
        filter.events = EventKinds::from_iter([EventKind::ChannelOccupied, EventKind::CacheMiss]);
        assert!(filter.wants(&occupied("a")));
        assert!(filter.wants(&Event::CacheMiss { channel: "a".into() }));
        assert!(!filter.wants(&Event::ChannelVacated { channel: "a".into() }));
        filter.channel_prefix = Some("private-".to_owned());
        assert!(filter.wants(&occupied("private-a")));
        assert!(!filter.wants(&occupied("a-private-")));
        filter.channel_suffix = Some("-eu".to_owned());
        assert!(filter.wants(&occupied("private-a-eu")));
        assert!(!filter.wants(&occupied("private-a")));
        assert!(!filter.wants(&occupied("a-eu")));
    }

    #[test]
    fn w_an_event_is_worth_building_when_it_or_its_opposite_is_wanted() {
        let secret = crate::config::Configuration::parse(
            r#"{"listen":"127.0.0.1:0","socket":"/s","apps":[{"id":"a","key":"k","secret":"s"}]}"#,
            1,
        );
        let secret = secret.unwrap().apps[0].secret.clone();
        let mut endpoint = Endpoint::new(Url::parse("http://localhost/").unwrap());
        endpoint.filter.events = EventKinds::from_iter([EventKind::MemberAdded]);
        let events = EventKinds::from_iter([EventKind::ClientEvent]);
        let hooks = AppHooks::new("1", "k", secret, vec![endpoint]);
        let hooks = hooks.with_listener(Some(Filter { events, ..Filter::default() }));
        let wanted: Vec<_> = EventKind::ALL.into_iter().filter(|kind| hooks.wants(*kind)).collect();
        assert_eq!(wanted, [EventKind::MemberAdded, EventKind::MemberRemoved, EventKind::ClientEvent]);
    }

    #[test]
    fn urls_are_absolute_http_without_a_user_and_shown_without_their_query() {
        let url = Url::parse("https://example.com:8443/hook?token=abc#part").unwrap();
        assert_eq!(url.to_string(), "https://example.com:8443/hook");
        assert_eq!(format!("{url:?}"), "Url(https://example.com:8443/hook)");
        assert_eq!(url.uri().query(), Some("token=abc"));
        assert!(url.is_https());
        assert!(!Url::parse("HTTP://[::1]").unwrap().is_https());
        for (text, found) in [
            ("", "text that is not a URL"),
            ("http://a b/", "text that is not a URL"),
            ("/hook", "no scheme"),
            ("example.com/hook", "text that is not a URL"),
            ("ftp://example.com/", "the scheme ftp"),
            ("https://user:pass@example.com/", "a user name before the host"),
        ] {
            assert_eq!(Url::parse(text).unwrap_err().found, found, "{text:?}");
        }
    }

    #[test]
    fn extra_headers_are_legal_and_not_our_own_and_never_shown() {
        let header = ExtraHeader::parse("Authorization", "Bearer abc").unwrap();
        assert_eq!((header.name.as_str(), header.value.to_str().unwrap()), ("authorization", "Bearer abc"));
        assert!(!format!("{header:?}").contains("abc"));
        for (name, value) in
            [("", "a"), ("a b", "a"), ("X-Pusher-Key", "a"), ("Content-Type", "a"), ("a", "a\r\nb: c")]
        {
            assert!(ExtraHeader::parse(name, value).is_err(), "{name:?}: {value:?}");
        }
    }
}
