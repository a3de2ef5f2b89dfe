//! What one `Fanfare\Sidecar::broadcast()` costs: server awake, asleep, and without shared memory.
//!
//! The server sleeps only when its ring has been empty for `look_again_us` (50 µs). To wake it with every call,
//! back to back, a second server is started whose `look_again_us` is 0, and a call is made as soon as the ring's
//! header says that this server sleeps.

use serde_json::json;

use super::{Scenario, Stage};
use crate::contestant::Kind;
use crate::failure::Failure;
use crate::measurement::{Beside, Goal, Line, Samples, Section, Unit};
use crate::placement;

pub(super) const SCENARIO: Scenario =
    Scenario { name: "call", about: "ns per Fanfare\\Sidecar::broadcast(), without Laravel", run };

/// Sleeps of the server per call, from which on it is true that every call woke it. A few calls come when the
/// server has said that it sleeps and is about to.
const SLEEPS_PER_CALL_MIN: f64 = 0.95;

fn run(stage: &Stage) -> Result<Section, Failure> {
    let rounds = stage.amount(300, 100, 30);
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
    let asleep = |label: &str| {
        stage.script("call.php", &prompt, json!({"part": "asleep", "label": label, "rounds": rounds}))
    };
    stage.repeat("call, server asleep", || {
        samples.add_answer(&asleep("free")?)?;
        match placement::apart(prompt.pid(), || asleep("apart"))? {
            Some(answer) => samples.add_answer(&answer),
            None => Ok(()),
        }
    })?;
    prompt.stop()?;
    section(&samples)
}

fn section(samples: &Samples) -> Result<Section, Failure> {
    let line = |what: &str, name: &str| -> Result<Line, Failure> {
        Ok(Line::new(what, Unit::Nanoseconds, samples.take(name, 1.0)?))
    };
    let mut lines = vec![
        claimed(line("200 B, server awake, back to back", "awake_200")?, 250.0),
        line("2 KB, server awake, back to back", "awake_2048")?.goal(Goal::AtMost(400.0)),
        claimed(line("200 B, every call wakes the server, back to back", "free_200")?, 4_000.0),
        line("2 KB, every call wakes the server, back to back", "free_2048")?.goal(Goal::AtMost(4_000.0)),
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
    if samples.has("apart_200") {
        lines.insert(4, line("200 B, … with the server pinned to another core", "apart_200")?);
        lines.insert(5, line("2 KB, … with the server pinned to another core", "apart_2048")?);
    }
    let mut remarks: Vec<String> = REMARKS.map(str::to_owned).into();
    remarks.push(proof(samples)?);
    Ok(Section {
        name: SCENARIO.name,
        title: "One call of the extension",
        lines,
        remarks,
        charts: Vec::new(),
        tables: Vec::new(),
    })
}

/// Held against what the goals ask for.
fn claimed(line: Line, bound_ns: f64) -> Line {
    let beside = Beside { who: Kind::Fanfare.name(), unit: line.unit, median: line.median };
    line.goal(Goal::AtMost(bound_ns)).claim(7, vec![beside])
}

const REMARKS: [&str; 3] = [
    "One channel, no subscriber, a ring of 1 MiB. A figure is the median of many bursts (awake: of calls that fit into the \
     ring, so that none waits for room) or of many single calls; the loop and the clock are not subtracted.",
    "\"Every call wakes the server\": a server with `look_again_us` 0, called as soon as the ring says that it sleeps; with \
     the default of 50 µs that takes a pause, see the lines after 2 ms of idleness. Where the kernel puts the server on \
     PHP's own core, the call lasts until the server has done its work; pinned apart, it is the wake-up alone.",
    "The yardstick touches neither the extension nor the server: its spread is the machine's own, and the figures above \
     grow and shrink with it.",
];

/// That the calls which are said to have woken the server did.
fn proof(samples: &Samples) -> Result<String, Failure> {
    let mut fewest = f64::INFINITY;
    for label in ["free", "apart"].into_iter().filter(|label| samples.has(&format!("{label}_200"))) {
        for bytes in [200, 2_048] {
            let sleeps = samples.take(&format!("{label}_sleeps_per_call_{bytes}"), 1.0)?;
            fewest = sleeps.into_iter().fold(fewest, f64::min);
        }
    }
    let verdict = if fewest < SLEEPS_PER_CALL_MIN {
        "**so not every call woke it, and the true figure is higher**"
    } else {
        "so every call woke it"
    };
    Ok(format!(
        "The kernel counted at least {fewest:.2} sleeps of the server per call that was to wake it, {verdict}."
    ))
}
