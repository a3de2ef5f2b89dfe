//! Who is silent, and who has been for too long.
//!
//! Owns the rule: a client that has said nothing for `activity_timeout_s` is asked whether it is there, in the two
//! ways that there are (a WebSocket ping, which browsers answer by themselves, and `pusher:ping`); when it says
//! nothing for `pong_timeout_s` more it is closed with 4201. A client on a busy channel never pings by itself, so
//! silence alone says nothing. All connections are looked at once a second: a timer for each would cost more
//! memory than the connection.

use std::time::Duration;

use tokio::time::Instant;

use super::connections::{Connections, Departing, Fate};
use crate::frame;
use crate::hub::ConnectionKey;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::pusher::{Code, events};

/// How often connections are looked at.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// When a client was heard, in seconds since its shard began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Silence {
    opened_s: u32,
    heard_s: u32,
    /// When it was asked; it has said nothing since.
    asked_s: Option<u32>,
}

/// What a look at a connection comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Fine,
    Ask,
    Gone,
    NotSignedIn,
}

impl Silence {
    /// Of a connection that begins.
    pub(super) fn since(now_s: u32) -> Self {
        Self { opened_s: now_s, heard_s: now_s, asked_s: None }
    }

    /// The client has said something, whatever it is.
    pub(super) fn hear(&mut self, now_s: u32) {
        self.heard_s = now_s;
        self.asked_s = None;
    }

    fn judge(&self, now_s: u32, limits: &Limits, signed_in: bool) -> Verdict {
        let since = |then: u32| now_s.saturating_sub(then) as usize;
        if limits.signin_timeout_s > 0 && !signed_in && since(self.opened_s) > limits.signin_timeout_s {
            return Verdict::NotSignedIn;
        }
        match self.asked_s {
            Some(asked_s) if since(asked_s) > limits.pong_timeout_s => Verdict::Gone,
            None if since(self.heard_s) > limits.activity_timeout_s => Verdict::Ask,
            _ => Verdict::Fine,
        }
    }
}

impl Connections {
    /// A client has said something.
    pub(super) fn hear(&mut self, key: ConnectionKey) {
        let now_s = self.now_s;
        if let Some(connection) = self.connections.get_mut(key) {
            connection.silence.hear(now_s);
        }
    }

    /// Looks at all connections: asks those that have been silent, closes those that are gone, and tells of the
    /// users who have left for good. [`Connections::flush_touched`] writes it.
    pub(super) fn look(&mut self, now_s: u32, metrics: &Metrics) {
        self.now_s = now_s;
        let open = self.connections.iter().filter(|(_, connection)| connection.fate == Fate::Open);
        let judged = open.filter_map(|(key, connection)| {
            let settings = connection.app.as_ref()?.settings();
            let verdict = connection.silence.judge(now_s, settings.limits(), connection.user.is_some());
            (verdict != Verdict::Fine).then_some((key, verdict))
        });
        for (key, verdict) in judged.collect::<Vec<_>>() {
            match verdict {
                Verdict::Fine => {}
                Verdict::Ask => {
                    self.enqueue(key, frame::PING);
                    self.enqueue(key, frame::text(events::PING));
                    if let Some(connection) = self.connections.get_mut(key) {
                        connection.silence.asked_s = Some(now_s);
                    }
                }
                Verdict::Gone => {
                    metrics.connections_silent_total.increment();
                    self.turn_away(key, Code::PongMissing, Code::PongMissing.meaning());
                }
                Verdict::NotSignedIn => {
                    let reason = "expected the client to sign in in time (signin_timeout_s), but it did not";
                    self.turn_away(key, Code::Unauthorised, reason);
                }
            }
        }
        self.settle(Instant::now());
    }

    fn settle(&mut self, now: Instant) {
        let herald = &self.herald;
        self.departing.retain(|Departing { app, user_id, since }| {
            let wait = Duration::from_millis(app.settings().limits().user_settle_ms as u64);
            let keep = now.duration_since(*since) < wait;
            if !keep {
                app.users.settle(user_id, *since, |change| herald.user_changed(app, change));
            }
            keep
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t2_silence_is_asked_about_and_then_ended() {
        let limits = Limits { activity_timeout_s: 10, pong_timeout_s: 5, ..Limits::default() };
        let mut silence = Silence::since(100);
        assert_eq!(silence.judge(110, &limits, false), Verdict::Fine);
        assert_eq!(silence.judge(111, &limits, false), Verdict::Ask);
        silence.asked_s = Some(111);
        assert_eq!(silence.judge(116, &limits, false), Verdict::Fine);
        assert_eq!(silence.judge(117, &limits, false), Verdict::Gone);
        silence.hear(117);
        assert_eq!(silence.judge(127, &limits, false), Verdict::Fine);
        assert_eq!(silence.judge(128, &limits, false), Verdict::Ask);
    }

    #[test]
    fn u4_a_connection_may_have_to_sign_in_in_time() {
        let limits = Limits { signin_timeout_s: 3, ..Limits::default() };
        let silence = Silence::since(1);
        assert_eq!(silence.judge(4, &limits, false), Verdict::Fine);
        assert_eq!(silence.judge(5, &limits, false), Verdict::NotSignedIn);
        assert_eq!(silence.judge(5, &limits, true), Verdict::Fine);
    }
}
