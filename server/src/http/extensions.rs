//! What a client and the server agree upon beside the WebSocket protocol itself: permessage-deflate or nothing
//! (RFC 6455 section 9.1, RFC 7692 sections 5 and 7.1).
//!
//! Owns the offers and the answer. The first offer that can be kept is accepted; an offer with a parameter that is
//! unknown, wrong or there twice is declined, as is everything from where the header's grammar is broken: a
//! client that asks for more than it gets is better served without compression than not at all.
//!
//! The answer always has both `no_context_takeover`: what is compressed once for many may not refer to what only some of
//! them were sent, and a client that refers to earlier messages would cost this server a window of 32 KiB. A
//! server may demand both whether or not they were offered (sections 7.1.1.1 and 7.1.1.2). For the same reason all that
//! is sent has one window, the largest: an offer that asks for a smaller one is declined. A client's window is
//! its own business.

use hyper::header::HeaderValue;

const NAME: &str = "permessage-deflate";
const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
/// The same for who wants to be told the window. Says the default; it must be in the answer when it is in the offer.
const AGREED_WITH_WINDOW: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15";
/// The largest window, which the server's compressor has.
const WINDOW_BITS_MAX: u8 = 15;
const WINDOW_BITS_MIN: u8 = 8;

/// The answer to a client's offers, in the order of its header lines; none when there is none to be accepted.
pub(super) fn agree<'a>(lines: impl Iterator<Item = &'a HeaderValue>) -> Option<HeaderValue> {
    let mut lines = lines.filter_map(|line| line.to_str().ok());
    lines.find_map(agree_to_one_of).map(HeaderValue::from_static)
}

/// The answer to the offers of one line.
fn agree_to_one_of(line: &str) -> Option<&'static str> {
    let mut rest = Cursor(line);
    loop {
        // A list may have empty elements (RFC 9110 section 5.6.1).
        while rest.skip(',') {}
        let name = rest.token()?;
        let mut offer = Offer::default();
        while rest.skip(';') {
            let parameter = rest.token()?;
            let value = if rest.skip('=') { Some(rest.value()?) } else { None };
            offer.take(parameter, value);
        }
        if !rest.is_at_element_end() {
            return None;
        }
        if name == NAME
            && let Some(answer) = offer.answer()
        {
            return Some(answer);
        }
    }
}

/// The parameters of one offer.
#[derive(Debug, Default)]
struct Offer<'a> {
    seen: Vec<&'a str>,
    server_window: Option<u8>,
    is_unacceptable: bool,
}

impl<'a> Offer<'a> {
    fn take(&mut self, parameter: &'a str, value: Option<&str>) {
        let is_known = match (parameter, value) {
            ("server_no_context_takeover" | "client_no_context_takeover", None) => true,
            ("client_max_window_bits", None) => true,
            ("client_max_window_bits", Some(value)) => window_bits(value).is_some(),
            ("server_max_window_bits", Some(value)) => {
                self.server_window = window_bits(value);
                self.server_window.is_some()
            }
            _ => false,
        };
        // More parameters than there are cannot all be different ones that are known.
        self.is_unacceptable |= !is_known || self.seen.contains(&parameter);
        if !self.is_unacceptable {
            self.seen.push(parameter);
        }
    }

    fn answer(&self) -> Option<&'static str> {
        match self.server_window {
            _ if self.is_unacceptable => None,
            None => Some(AGREED),
            Some(WINDOW_BITS_MAX) => Some(AGREED_WITH_WINDOW),
            Some(_) => None,
        }
    }
}

/// A decimal number of 8 to 15, without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    let is_decimal = value.bytes().all(|byte| byte.is_ascii_digit()) && !value.starts_with('0');
    let bits: u8 = value.parse().ok().filter(|_| is_decimal)?;
    (WINDOW_BITS_MIN..=WINDOW_BITS_MAX).contains(&bits).then_some(bits)
}

/// What is left of a line.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn space(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    /// Goes past a separator and the space around it, if it is there.
    fn skip(&mut self, separator: char) -> bool {
        self.space();
        let Some(rest) = self.0.strip_prefix(separator) else { return false };
        self.0 = rest;
        self.space();
        true
    }

    fn token(&mut self) -> Option<&'a str> {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let end = self.0.find(|c| !is_token(c)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    /// A token, or one in quotation marks. One with a backslash in it is a value of no parameter that there is.
    fn value(&mut self) -> Option<&'a str> {
        let Some(rest) = self.0.strip_prefix('"') else { return self.token() };
        self.0 = rest;
        let token = self.token()?;
        self.0 = self.0.strip_prefix('"')?;
        Some(token)
    }

    fn is_at_element_end(&mut self) -> bool {
        self.space();
        self.0.is_empty() || self.0.starts_with(',')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(line: &str) -> Option<&'static str> {
        agree_to_one_of(line)
    }

    #[test]
    fn offers_that_are_accepted() {
        for line in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; client_max_window_bits=15",
            "permessage-deflate; client_max_window_bits=8",
            "permessage-deflate; client_max_window_bits=\"10\"",
            "permessage-deflate; server_no_context_takeover",
            "permessage-deflate; client_no_context_takeover",
            "permessage-deflate;client_no_context_takeover;server_no_context_takeover;client_max_window_bits",
            "\t permessage-deflate \t;\t client_max_window_bits = 9 ",
            ",, permessage-deflate,",
            "x-webkit-deflate-frame, permessage-deflate; client_max_window_bits",
            "mux; max-channels=4; flow-control, permessage-deflate",
            "mux; a=\"b\", permessage-deflate",
            "permessage-deflate; unknown, permessage-deflate",
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
            "permessage-deflate; server_max_window_bits=7, permessage-deflate; server_no_context_takeover",
            "permessage-deflate, permessage-deflate; server_max_window_bits=15",
        ] {
            assert_eq!(answer(line), Some(AGREED), "{line}");
        }
        for line in [
            "permessage-deflate; server_max_window_bits=15",
            "permessage-deflate; server_max_window_bits=\"15\"; client_max_window_bits",
            "permessage-deflate; server_max_window_bits=15, permessage-deflate",
        ] {
            assert_eq!(answer(line), Some(AGREED_WITH_WINDOW), "{line}");
        }
    }

    #[test]
    fn offers_that_are_declined() {
        for line in [
            "",
            " ",
            ",",
            "permessage-bzip2",
            "permessage-deflat",
            "permessage-deflatee",
            "Permessage-Deflate",
            "x-webkit-deflate-frame",
            "permessage-deflate; unknown",
            "permessage-deflate; unknown=1",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=\"\"",
            "permessage-deflate; client_no_context_takeover=true",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=15",
            "permessage-deflate; server_max_window_bits=15; server_max_window_bits=15",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=08",
            "permessage-deflate; client_max_window_bits=+9",
            "permessage-deflate; client_max_window_bits=-9",
            "permessage-deflate; client_max_window_bits=9x",
            "permessage-deflate; client_max_window_bits=256",
            "permessage-deflate; client_max_window_bits=99999999999999999999",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=14",
            "permessage-deflate; server_max_window_bits=16",
        ] {
            assert_eq!(answer(line), None, "{line}");
        }
    }

    #[test]
    fn nothing_is_read_behind_what_is_no_header() {
        for line in [
            ";",
            "; permessage-deflate",
            "permessage-deflate;",
            "permessage-deflate;; client_max_window_bits",
            "permessage-deflate; =15",
            "permessage-deflate; client_max_window_bits=\"15",
            "permessage-deflate; client_max_window_bits=\"1\"5",
            "permessage-deflate; client_max_window_bits=\"\\15\"",
            "permessage-deflate client_max_window_bits",
            "permessage-deflate=1",
            "permessage-deflate/1",
            "mux; a=(1), permessage-deflate",
            "é, permessage-deflate",
        ] {
            assert_eq!(answer(line), None, "{line}");
        }
    }

    #[test]
    fn the_first_line_that_can_be_agreed_to_counts() {
        let lines = [
            "mux",
            "permessage-deflate; x",
            "permessage-deflate; server_max_window_bits=15",
            "permessage-deflate",
        ];
        let lines = lines.map(HeaderValue::from_static);
        assert_eq!(agree(lines.iter()).unwrap(), AGREED_WITH_WINDOW);
        assert_eq!(agree(lines[..2].iter()), None);
        let not_text =
            [HeaderValue::from_bytes(b"\xff").unwrap(), HeaderValue::from_static("permessage-deflate")];
        assert_eq!(agree(not_text.iter()).unwrap(), AGREED);
    }

    proptest! {
        #[test]
        fn any_line_has_an_answer_or_none(line in "[a-z;=,\" \\\\0-9é-]{0,60}") {
            let offered = format!("permessage-deflate; {line}");
            for line in [line, offered] {
                prop_assert!(answer(&line).is_none_or(|answer| answer.starts_with(AGREED)));
            }
        }
    }
}
