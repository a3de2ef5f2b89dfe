//! What the constructor's `$options` may say, with its defaults.
//!
//! Owns the names, types and bounds. All mistakes of one array are reported at once.

use std::time::Duration;

use ext_php_rs::types::{ArrayKey, ZendHashTable, Zval};
use fanfare_wire::ring::{CAPACITY_MAX, CAPACITY_MIN};

use crate::outcome::Outcome;

/// How publications may reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransportChoice {
    /// The ring, or the socket where a ring cannot be had.
    Auto,
    /// The ring or nothing.
    Ring,
    /// The socket.
    Socket,
}

/// The checked options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Options {
    /// `transport`.
    pub(crate) transport: TransportChoice,
    /// `ring_bytes`: bytes that may wait for the server, on either transport.
    pub(crate) ring_bytes: usize,
    /// `publish_timeout_ms`: how long one broadcast waits for room.
    pub(crate) publish_timeout: Duration,
    /// `connect_timeout_ms`: how long connecting and the handshake may take.
    pub(crate) connect_timeout: Duration,
    /// `ask_timeout_ms`: how long an answer may take.
    pub(crate) ask_timeout: Duration,
    /// `exit_timeout_ms`: how long the end of the process waits for unread records.
    pub(crate) exit_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            transport: TransportChoice::Auto,
            ring_bytes: 1 << 20,
            publish_timeout: Duration::from_millis(250),
            // A living server answers in well under a millisecond, but on a busy machine it first has to have its turn.
            connect_timeout: Duration::from_millis(500),
            ask_timeout: Duration::from_millis(1000),
            exit_timeout: Duration::from_millis(1000),
        }
    }
}

const TIMEOUT_MS_MAX: i64 = 60_000;

impl Options {
    /// Reads `$options`.
    ///
    /// # Errors
    /// One `ValueError` that lists every unknown name and every value out of its bounds.
    pub(crate) fn parse(array: &ZendHashTable) -> Result<Self, Outcome> {
        let mut options = Self::default();
        let mut mistakes = Vec::new();
        for (key, value) in crate::zend::entries(array) {
            if let Err(mistake) = options.set(&key, value) {
                mistakes.push(mistake);
            }
        }
        if mistakes.is_empty() {
            return Ok(options);
        }
        Err(Outcome::Value(format!(
            "Fanfare\\Sidecar::__construct(): Argument #4 ($options): {}",
            mistakes.join("; ")
        )))
    }

    fn set(&mut self, key: &ArrayKey<'_>, value: &Zval) -> Result<(), String> {
        let key = match key {
            ArrayKey::Str(name) => *name,
            ArrayKey::String(name) => name,
            other => return Err(format!("expected names as keys, but found {other}")),
        };
        match key {
            "transport" => {
                self.transport = match value.zend_str().map(|text| text.as_bytes()) {
                    Some(b"auto") => TransportChoice::Auto,
                    Some(b"ring") => TransportChoice::Ring,
                    Some(b"socket") => TransportChoice::Socket,
                    _ => return Err(wrong(key, "'auto', 'ring' or 'socket'", value)),
                }
            }
            "ring_bytes" => {
                let expected = || format!("a power of two from {CAPACITY_MIN} to {CAPACITY_MAX}");
                self.ring_bytes = value
                    .long()
                    .and_then(|bytes| usize::try_from(bytes).ok())
                    .filter(|bytes| bytes.is_power_of_two() && (CAPACITY_MIN..=CAPACITY_MAX).contains(bytes))
                    .ok_or_else(|| wrong(key, &expected(), value))?;
            }
            "publish_timeout_ms" => self.publish_timeout = milliseconds(key, value, 0)?,
            "connect_timeout_ms" => self.connect_timeout = milliseconds(key, value, 1)?,
            "ask_timeout_ms" => self.ask_timeout = milliseconds(key, value, 1)?,
            "exit_timeout_ms" => self.exit_timeout = milliseconds(key, value, 0)?,
            _ => {
                return Err(format!(
                    "expected transport, ring_bytes, publish_timeout_ms, connect_timeout_ms, ask_timeout_ms or exit_timeout_ms, but found {key:?}"
                ));
            }
        }
        Ok(())
    }
}

fn milliseconds(key: &str, value: &Zval, min: i64) -> Result<Duration, String> {
    value
        .long()
        .filter(|ms| (min..=TIMEOUT_MS_MAX).contains(ms))
        .map(|ms| Duration::from_millis(ms.unsigned_abs()))
        .ok_or_else(|| wrong(key, &format!("milliseconds as an int from {min} to {TIMEOUT_MS_MAX}"), value))
}

fn wrong(key: &str, expected: &str, value: &Zval) -> String {
    let found = match (value.long(), value.zend_str()) {
        (Some(number), _) => number.to_string(),
        (_, Some(text)) => format!("{:?}", String::from_utf8_lossy(text.as_bytes())),
        _ => crate::zend::type_name(value).to_owned(),
    };
    format!("{key}: expected {expected}, but found {found}")
}
