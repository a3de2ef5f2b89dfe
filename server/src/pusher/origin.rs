//! Which pages may connect (checklist C6): the patterns of an app's `allowed_origins`, and judging an `Origin`.
//!
//! Owns the meaning of a pattern and of the header (RFC 6454 section 7). A browser says truthfully where a script
//! comes from, so this keeps other people's pages from using an app's key in their visitors' browsers; it keeps
//! nobody out who writes the header himself. Leaves to others what a refused client is told.

use std::net::Ipv6Addr;

/// The patterns of one app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origins(Vec<Pattern>);

/// One pattern: `*`, `null`, or `[scheme://]host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// `*`: anything, even what is no origin.
    Any,
    /// `null`: what a browser sends for a page without an origin of its own (a file, a sandboxed frame).
    Null,
    Place {
        scheme: Option<String>,
        host: HostPattern,
        port: PortPattern,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    Is(Host),
    /// `*.example.com`, kept as `.example.com`.
    Below(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PortPattern {
    Any,
    /// `None` is the port of a scheme that has no default, such as `capacitor://localhost`.
    Is(Option<u16>),
}

/// A host, in the one form in which it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    /// A name or an IPv4 address, lower case.
    Name(String),
    V6(Ipv6Addr),
}

impl Origins {
    /// The given patterns.
    pub fn new(patterns: Vec<Pattern>) -> Self {
        Self(patterns)
    }

    /// `["*"]`.
    pub fn any() -> Self {
        Self(vec![Pattern(Kind::Any)])
    }

    /// Whether a client is let in that sent this `Origin`, or none: that is decided by `missing` alone, for no
    /// pattern can say anything about it.
    pub fn allows(&self, origin: Option<&[u8]>, missing: bool) -> bool {
        let Some(origin) = origin else { return missing };
        let origin = std::str::from_utf8(origin).ok().and_then(Origin::parse);
        self.0.iter().any(|pattern| pattern.matches(origin.as_ref()))
    }
}

impl Pattern {
    /// Reads a pattern; `None` when it is not one.
    ///
    /// Without a scheme any scheme will do; without a port and a scheme any port; with a scheme but without a
    /// port the scheme's default port.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self(Kind::Any));
        }
        if text.eq_ignore_ascii_case("null") {
            return Some(Self(Kind::Null));
        }
        let (scheme, place) = match text.split_once("://") {
            Some((scheme, place)) => (Some(parse_scheme(scheme)?), place),
            None => (None, text),
        };
        let (host, port) = split_port(place)?;
        let host = match host.strip_prefix("*.") {
            Some(domain) => match parse_host(domain)? {
                Host::Name(name) => HostPattern::Below(format!(".{name}")),
                Host::V6(_) => return None,
            },
            None => HostPattern::Is(parse_host(host)?),
        };
        let port = match (port, &scheme) {
            (Some(port), _) => PortPattern::Is(Some(port)),
            (None, Some(scheme)) => PortPattern::Is(default_port(scheme)),
            (None, None) => PortPattern::Any,
        };
        Some(Self(Kind::Place { scheme, host, port }))
    }

    fn matches(&self, origin: Option<&Origin>) -> bool {
        match (&self.0, origin) {
            (Kind::Any, _) | (Kind::Null, Some(Origin::Null)) => true,
            (Kind::Place { scheme, host, port }, Some(Origin::Place(place))) => {
                scheme.as_ref().is_none_or(|scheme| *scheme == place.scheme)
                    && host.matches(&place.host)
                    && (*port == PortPattern::Any || *port == PortPattern::Is(place.port))
            }
            _ => false,
        }
    }
}

impl HostPattern {
    fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Is(wanted), host) => wanted == host,
            // A name has no empty label, so what stands before the suffix is a subdomain.
            (Self::Below(suffix), Host::Name(name)) => name.ends_with(suffix.as_str()),
            (Self::Below(_), Host::V6(_)) => false,
        }
    }
}

/// What an `Origin` header says.
#[derive(Debug)]
enum Origin {
    Null,
    Place(Place),
}

#[derive(Debug)]
struct Place {
    scheme: String,
    host: Host,
    /// The scheme's default when none is written; `None` when it has none.
    port: Option<u16>,
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        if text == "null" {
            return Some(Self::Null);
        }
        let (scheme, place) = text.split_once("://")?;
        let scheme = parse_scheme(scheme)?;
        let (host, port) = split_port(place)?;
        let (host, port) = (parse_host(host)?, port.or_else(|| default_port(&scheme)));
        Some(Self::Place(Place { scheme, host, port }))
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// RFC 3986 section 3.1, in lower case.
fn parse_scheme(text: &str) -> Option<String> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
    (begins && text.bytes().all(legal)).then(|| text.to_ascii_lowercase())
}

/// Host, brackets included, and port. A colon without a port after it is no origin.
fn split_port(place: &str) -> Option<(&str, Option<u16>)> {
    let host_ends =
        if place.starts_with('[') { place.find(']')? + 1 } else { place.find(':').unwrap_or(place.len()) };
    let (host, rest) = place.split_at(host_ends);
    if rest.is_empty() {
        return Some((host, None));
    }
    let digits = rest.strip_prefix(':')?;
    // `parse` alone would take a sign.
    let port = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u16>().ok())??;
    Some((host, Some(port)))
}

/// Browsers send names in their ASCII form (`xn--…`), so nothing else is a name.
fn parse_host(text: &str) -> Option<Host> {
    if let Some(inner) = text.strip_prefix('[') {
        return inner.strip_suffix(']')?.parse().ok().map(Host::V6);
    }
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    let label = |label: &str| !label.is_empty() && label.bytes().all(legal);
    text.split('.').all(label).then(|| Host::Name(text.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(pattern: &str, origin: &str) -> bool {
        let pattern = Pattern::parse(pattern).unwrap_or_else(|| panic!("{pattern} is a pattern"));
        Origins::new(vec![pattern]).allows(Some(origin.as_bytes()), false)
    }

    #[test]
    fn c6_a_pattern_allows_what_it_names() {
        for (pattern, origins) in [
            ("*", &["https://a.example", "null", "", "no origin", "https://x/path", "http://a http://b"][..]),
            ("null", &["null"]),
            ("example.com", &["http://example.com", "https://EXAMPLE.com:8443", "capacitor://example.com"]),
            (
                "*.example.com",
                &["http://a.example.com", "https://A.B.example.COM:1", "https://x_y.example.com"],
            ),
            (
                "https://example.com",
                &["https://example.com", "https://example.com:443", "HTTPS://example.com"],
            ),
            ("http://example.com:80", &["http://example.com", "http://example.com:80"]),
            ("https://*.example.com:8443", &["https://a.example.com:8443", "https://a.b.example.com:8443"]),
            ("localhost:3000", &["http://localhost:3000", "https://localhost:3000"]),
            ("example.com:443", &["https://example.com", "http://example.com:443"]),
            ("http://[::1]:3000", &["http://[::1]:3000", "http://[0:0:0:0:0:0:0:1]:3000"]),
            ("[::1]", &["http://[::1]", "https://[::1]:1"]),
            ("127.0.0.1", &["http://127.0.0.1:8000"]),
            ("capacitor://localhost", &["capacitor://localhost"]),
            ("chrome-extension://abcdefgh", &["chrome-extension://abcdefgh"]),
            ("HTTP://Example.COM", &["http://example.com"]),
        ] {
            for origin in origins {
                assert!(allows(pattern, origin), "{pattern} allows {origin}");
            }
        }
    }

    #[test]
    fn c6_a_pattern_refuses_what_it_does_not_name() {
        for (pattern, origins) in [
            ("null", &["https://null", "NULL", ""][..]),
            (
                "example.com",
                &["https://a.example.com", "https://notexample.com", "https://example.com.evil.test"],
            ),
            ("example.com", &["null", "example.com", "https://", "//example.com", "https:example.com"]),
            ("example.com", &["https://example.com/", "https://example.com/x", "https://u@example.com"]),
            (
                "example.com",
                &["https://evil.test http://example.com", " https://example.com", "https://example.com "],
            ),
            ("example.com", &["https://example.com:", "https://example.com:x", "https://example.com:+1"]),
            ("example.com", &["https://example.com:65536", "https://example.com.", "1s://example.com"]),
            (
                "example.com",
                &["https://example.com#", "https://example.com\\@evil.test", "https://example.com\0"],
            ),
            ("*.example.com", &["https://example.com", "https://.example.com", "https://aexample.com"]),
            (
                "*.example.com",
                &["https://a..example.com", "https://*.example.com", "https://a.example.com.evil.test"],
            ),
            (
                "https://example.com",
                &["http://example.com", "https://example.com:8443", "http://example.com:443"],
            ),
            ("http://example.com", &["http://example.com:443", "https://example.com:80"]),
            ("https://*.example.com:8443", &["https://a.example.com", "http://a.example.com:8443"]),
            (
                "localhost:3000",
                &["http://localhost", "http://localhost:3001", "http://localhost.evil.test:3000"],
            ),
            ("http://[::1]:3000", &["http://[::2]:3000", "http://[::1]", "http://::1:3000", "http://[::1"]),
            ("*.1.1.1", &["http://[::1]"]),
            ("capacitor://localhost", &["capacitor://localhost:80", "http://localhost"]),
        ] {
            for origin in origins {
                assert!(!allows(pattern, origin), "{pattern} refuses {origin}");
            }
        }
        let patterns = Origins::new(vec![]);
        assert!(!patterns.allows(Some(b"https://example.com"), true));
        let not_text = b"https://example.com\xff";
        assert!(!Origins::new(vec![Pattern::parse("example.com").unwrap()]).allows(Some(not_text), true));
        assert!(Origins::any().allows(Some(not_text), false));
    }

    #[test]
    fn c6_several_patterns_allow_what_any_of_them_does() {
        let patterns = ["https://example.com", "localhost:3000"].map(|text| Pattern::parse(text).unwrap());
        let origins = Origins::new(patterns.to_vec());
        assert!(origins.allows(Some(b"http://localhost:3000"), false));
        assert!(origins.allows(Some(b"https://example.com"), false));
        assert!(!origins.allows(Some(b"http://example.com"), false));
    }

    #[test]
    fn c6_a_missing_origin_is_judged_by_the_policy_alone() {
        for (origins, missing) in
            [(Origins::any(), false), (Origins::any(), true), (Origins::new(vec![]), true)]
        {
            assert_eq!(origins.allows(None, missing), missing);
        }
    }

    #[test]
    fn c6_what_is_no_pattern_is_refused() {
        for text in [
            "",
            " ",
            "https://",
            "://example.com",
            "https://example.com/",
            "https://example.com/path",
            "example.com/path",
            "user@example.com",
            "*example.com",
            "a.*.example.com",
            "*.",
            "*.*.example.com",
            "*.[::1]",
            "example.com:",
            "example.com:*",
            "example.com:0x50",
            "example.com:99999",
            "::1",
            "[::1",
            "[::1]3000",
            "[example.com]",
            "bücher.example",
            "example..com",
            ".example.com",
            "a b.example",
            "https://*",
            "/regex/",
        ] {
            assert_eq!(Pattern::parse(text), None, "{text}");
        }
    }
}
