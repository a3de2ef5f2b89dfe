//! Logs: structured events on standard error, as text or JSON.
//!
//! Owns where they go and which are let through. Every event is one write, made before the call returns: there
//! is no background writer, so that what was logged has been written even when the next instruction is the last.
//! Operators who set the level to trace see every publication (target `fanfare::publication`), written before
//! its records are given back to PHP.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Log, LogFormat};

/// Target of the journal of publications.
pub const PUBLICATION: &str = "fanfare::publication";

/// Starts logging, for the whole process. A second call changes nothing.
pub fn start(log: Log) {
    // Our own targets all begin with this; libraries are heard from `warn` up, at whatever level we are.
    let own = Targets::new()
        .with_target("fanfare", LevelFilter::from_level(log.level))
        .with_default(LevelFilter::from_level(log.level.min(Level::WARN)));
    let registry = tracing_subscriber::registry().with(own);
    // Internal errors would be printed to standard error, which panics when that is what is broken.
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    let started = match log.format {
        LogFormat::Text => registry.with(layer.with_ansi(false)).try_init(),
        LogFormat::Json => registry.with(layer.json()).try_init(),
    };
    drop(started);
    // A panic ends one task, not the process; it must not end up between the lines of a JSON log.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(%panic, "a task ended because of a mistake in this program; please report it");
    }));
}

/// Keeps something that a stranger can cause at will from filling the log: a few of a kind, then a count.
#[derive(Debug)]
pub struct Sparingly {
    state: Mutex<Quota>,
}

#[derive(Debug)]
struct Quota {
    since: Option<Instant>,
    spent: u32,
    left_out: u64,
}

/// Events of one kind that are logged within [`PERIOD`].
const BURST: u32 = 20;
const PERIOD: Duration = Duration::from_secs(10);

impl Sparingly {
    /// A full quota.
    pub const fn new() -> Self {
        Self { state: Mutex::new(Quota { since: None, spent: 0, left_out: 0 }) }
    }

    /// Whether to log now, and if so how many were left out since the last time.
    pub fn permit(&self, now: Instant) -> Option<u64> {
        let mut quota = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if quota.since.is_none_or(|since| now.duration_since(since) >= PERIOD) {
            quota.since = Some(now);
            quota.spent = 0;
        }
        if quota.spent < BURST {
            quota.spent += 1;
            return Some(std::mem::take(&mut quota.left_out));
        }
        quota.left_out += 1;
        None
    }
}

impl Default for Sparingly {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_instead_of_written() {
        let (sparingly, start) = (Sparingly::new(), Instant::now());
        for _ in 0..BURST {
            assert_eq!(sparingly.permit(start), Some(0));
        }
        assert_eq!(sparingly.permit(start), None);
        assert_eq!(sparingly.permit(start), None);
        assert_eq!(sparingly.permit(start + PERIOD), Some(2));
        assert_eq!(sparingly.permit(start + PERIOD), Some(0));
    }
}
