//! What signals ask for.
//!
//! Owns which signals are listened for and their meaning. What is done about a wish is [`super`]'s.

use std::future;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::ECHO_MAX;
use super::terminal::Terminal;

/// What somebody outside asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// To leave, because of this.
    Leave(&'static str),
    /// To read the configuration again.
    Reload,
}

/// The signals that are listened for.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    terminal: Terminal,
    /// When to look once more whether a SIGHUP was the terminal's end: the kernel may send it before it takes the
    /// terminal away.
    look_again_at: Option<Instant>,
}

impl Signals {
    /// Listens, from now on. Until then a signal does what the kernel does by default, which is to kill.
    pub(super) fn listen(terminal: Terminal) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            // Ctrl-\: it too should lose nothing.
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            terminal,
            look_again_at: None,
        })
    }

    /// The next wish. May be dropped and asked for again.
    pub(super) async fn next(&mut self) -> Wish {
        const CLOSED: Wish = Wish::Leave("SIGHUP, and the terminal is closed");
        loop {
            let look_again_at = self.look_again_at;
            let look_again = async {
                match look_again_at {
                    Some(at) => sleep_until(at).await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                _ = self.terminate.recv() => return Wish::Leave("SIGTERM"),
                _ = self.interrupt.recv() => return Wish::Leave("SIGINT"),
                _ = self.quit.recv() => return Wish::Leave("SIGQUIT"),
                _ = self.hangup.recv() => {
                    if self.terminal.is_gone() {
                        return CLOSED;
                    }
                    self.look_again_at = Some(Instant::now() + ECHO_MAX);
                    return Wish::Reload;
                }
                () = look_again => {
                    self.look_again_at = None;
                    if self.terminal.is_gone() {
                        return CLOSED;
                    }
                }
            }
        }
    }
}
