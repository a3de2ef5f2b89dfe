//! The terminal that the server was started from, and whether it is still there.
//!
//! SIGHUP has two meanings: a person asks for the configuration to be read again, or the terminal is closed. The
//! signal itself does not tell them apart, since shells pass on the latter; that the terminal is gone does. Who
//! starts a program with SIGHUP ignored (`nohup`) wants it to outlive its terminal. A server that follows its
//! parent leaves the terminal to it: PHP, for one, does not pass an ignored signal on to its children.

use std::fs::{self, File};

/// The terminal whose end ends the server.
#[derive(Debug)]
pub(super) struct Terminal {
    followed: bool,
}

impl Terminal {
    /// Looks for it. To be called before SIGHUP is listened for.
    pub(super) fn of_this_process() -> Self {
        Self { followed: is_there() && !is_hangup_ignored() }
    }

    /// No terminal is followed.
    pub(super) fn left_to_parent() -> Self {
        Self { followed: false }
    }

    /// Whether it was there and is gone.
    pub(super) fn is_gone(&self) -> bool {
        self.followed && !is_there()
    }
}

/// The kernel lets nobody open it who has none.
fn is_there() -> bool {
    File::open("/dev/tty").is_ok()
}

fn is_hangup_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Its last bit is the signal of number 1, SIGHUP.
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
