//! What one `Fanfare\Sidecar::broadcast()` costs: server awake, asleep, and without shared memory.
//!
//! The server sleeps only when its ring has been empty for `look_again_us` (50 µs). To wake it with every call,
//! back to back, a second server is started whose `look_again_us` is 0, and a call is made as soon as the ring's
//! header says that this server sleeps.

use serde_json::json;

use super::{Scenario, Stage};
use crate::failure::Failure;
use crate::measurement::{Goal, Line, Samples, Section, Unit};

pub(super) const SCENARIO: Scenario =
    Scenario { name: "call", about: "ns per Fanfare\\Sidecar::broadcast(), without Laravel", run };

/// Sleeps of the server per call, from which on it is true that every call woke it. A few calls come when the
/// server has said that it sleeps and is about to.
const SLEEPS_PER_CALL_MIN: f64 = 0.95;

fn run(stage: &Stage) -> Result<Section, Failure> {
    let rounds = stage.amount(300, 30);
    let mut samples = Samples::default();
    let server = stage.server(&json!({}))?;
    stage.repeat("call, server awake, and over the socket", || {
        for part in ["awake", "socket"] {
            samples.add_answer(&stage.script(
                "call.php",
                &server,
                json!({"part": part, "rounds": rounds}),
            )?)?;
        }
        Ok(())
    })?;
    server.stop()?;
    let prompt = stage.server(&json!({"look_again_us": 0}))?;
    stage.repeat("call, server asleep", || {
        samples.add_answer(&stage.script("call.php", &prompt, json!({"part": "asleep", "rounds": rounds}))?)
    })?;
    prompt.stop()?;
    section(&samples)
}

fn section(samples: &Samples) -> Result<Section, Failure> {
    let line = |what: &str, name: &str| -> Result<Line, Failure> {
        Ok(Line::new(what, Unit::Nanoseconds, samples.take(name, 1.0)?))
    };
    let lines = vec![
        line("200 B, server awake, back to back", "awake_200")?.goal(Goal::AtMost(250.0)),
        line("2 KB, server awake, back to back", "awake_2048")?.goal(Goal::AtMost(400.0)),
        line("200 B, every call wakes the server, back to back", "asleep_200")?.goal(Goal::AtMost(4_000.0)),
        line("2 KB, every call wakes the server, back to back", "asleep_2048")?.goal(Goal::AtMost(4_000.0)),
        line("200 B, after 2 ms of idleness", "idle_200")?,
        line("2 KB, after 2 ms of idleness", "idle_2048")?,
        line("200 B, over the socket, back to back", "socket_200")?,
        line("2 KB, over the socket, back to back", "socket_2048")?,
        line("200 B, over the socket, after 2 ms of idleness", "socket_idle_200")?,
        line("2 KB, over the socket, after 2 ms of idleness", "socket_idle_2048")?,
        line("200 B, without end: as fast as the server publishes", "sustained_200")?,
        line("2 KB, without end: as fast as the server publishes", "sustained_2048")?,
        line("yardstick: one turn of an empty PHP loop", "yardstick")?,
    ];
    let mut remarks = vec![
        "One channel, no subscriber, a ring of 1 MiB. A figure is the median of many bursts (awake: of calls that fit \
         into the ring, so that none waits for room) or of many single calls; the loop and the clock are not subtracted."
            .to_owned(),
        "\"Every call wakes the server\": a server with `look_again_us` 0, called as soon as the ring says that it sleeps. \
         With the default of 50 µs that takes a pause; see the lines after 2 ms of idleness."
            .to_owned(),
        "The yardstick touches neither the extension nor the server: its spread is the machine's own, and the figures above \
         grow and shrink with it."
            .to_owned(),
    ];
    for bytes in [200, 2_048] {
        let sleeps = Line::new("", Unit::Times, samples.take(&format!("sleeps_per_call_{bytes}"), 1.0)?);
        remarks.push(format!(
            "The kernel counted {:.2} sleeps of the server per call at {bytes} B{}.",
            sleeps.median,
            if sleeps.min < SLEEPS_PER_CALL_MIN {
                ": **not every call woke it**, so the true figure is higher"
            } else {
                ", so that every call woke it"
            }
        ));
    }
    Ok(Section { name: SCENARIO.name, title: "One call of the extension", lines, remarks })
}
