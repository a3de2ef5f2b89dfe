//! What permessage-deflate saves on the wire, and what it costs the server.
//!
//! The same events to the same number of clients, which do not offer compression, and then do. A server that does not
//! negotiate it sends the same bytes both times, and is said not to offer it.

use serde_json::json;

use super::field::{Field, Figures, Side, events};
use super::{Scenario, Stage};
use crate::contestant::Kind;
use crate::crowd::Audience;
use crate::failure::Failure;
use crate::measurement::{Goal, Line, Samples, Section, Unit};
use crate::publisher::{Filling, Job};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "deflate",
    about: "bytes on the wire and CPU at 4 KB of JSON, with and without compression",
    run,
};

const SUBSCRIBERS: usize = 1_000;
const BYTES: usize = 4_096;
const INTERVAL_MS: u64 = 50;
const WARM_UP: usize = 3;

fn run(stage: &Stage) -> Result<Section, Failure> {
    let count = stage.amount(100, 30, 10);
    let mut field = Field::start(stage, &Kind::ALL, &json!({}), 1)?;
    field.compete(stage, SCENARIO.name, |side, samples| {
        measure(side, samples, count, false)?;
        measure(side, samples, count, true)
    })?;
    let figures = field.finish()?;
    let ratio = |name: &str, over: &str, under: &str| {
        figures.samples.pair(
            &Kind::Fanfare.of(&format!("{name} {over}")),
            &Kind::Fanfare.of(&format!("{name} {under}")),
            |a, b| a / b,
        )
    };
    let mut lines = vec![
        Line::new(
            "4 KB of JSON, bytes on the wire: without ÷ with compression",
            Unit::Times,
            ratio("bytes", "plain", "deflated")?,
        )
        .goal(Goal::AtLeast(5.0))
        .claim(9, figures.beside("bytes deflated", Unit::Bytes, 1.0)?),
    ];
    let cpu = Line::new(
        "4 KB of JSON, CPU per delivery: with ÷ without compression",
        Unit::Times,
        ratio("cpu", "deflated", "plain")?,
    );
    lines.push(if agreed(&figures, Kind::Fanfare)? {
        cpu.goal(Goal::AtMost(2.0)).claim(9, figures.beside("cpu deflated", Unit::Microseconds, 1_000.0)?)
    } else {
        // Nothing was compressed: what it costs is not known.
        cpu
    });
    for (what, name) in [("not offered", "plain"), ("offered", "deflated")] {
        lines.extend(figures.lines(
            &format!("bytes per event, compression {what}"),
            &format!("bytes {name}"),
            Unit::Bytes,
            1.0,
        )?);
        lines.extend(figures.lines(
            &format!("CPU per delivery, compression {what}"),
            &format!("cpu {name}"),
            Unit::Microseconds,
            1_000.0,
        )?);
    }
    lines.extend(figures.lines(
        "bytes per event of 200 B, compression offered",
        "bytes small",
        Unit::Bytes,
        1.0,
    )?);
    let mut remarks = vec![format!(
        "{count} events of some {BYTES} B of JSON (a list of records) per repetition, one every {INTERVAL_MS} ms, to \
         {SUBSCRIBERS} subscribers that offer `permessage-deflate; client_max_window_bits` as Chromium does, or nothing. \
         Compressed events are counted, and not inflated here."
    )];
    for kind in &figures.kinds {
        if !agreed(&figures, *kind)? {
            remarks.push(format!(
                "{}: compression is not offered: it sends the same bytes to everybody.",
                kind.name()
            ));
        }
    }
    remarks.extend(figures.remarks());
    Ok(Section {
        name: SCENARIO.name,
        title: "Compression",
        lines,
        remarks,
        charts: Vec::new(),
        tables: Vec::new(),
    })
}

/// Whether the server negotiated compression, each time.
fn agreed(figures: &Figures, kind: Kind) -> Result<bool, Failure> {
    Ok(figures.samples.take(&kind.of("agreed"), 1.0)?.iter().all(|share| *share > 0.0))
}

fn measure(side: &mut Side, samples: &mut Samples, count: usize, deflate: bool) -> Result<(), Failure> {
    let audience = Audience { deflate, ..Audience::new(SUBSCRIBERS, SUBSCRIBERS) };
    let joined = side.join(audience)?;
    let job =
        |count| Job { filling: Filling::json(BYTES), ..events(audience, count, INTERVAL_MS * 1_000_000) };
    side.deliver(&job(WARM_UP))?.0.complete()?;
    let (receipt, used) = side.deliver(&job(count))?;
    let receipt = receipt.complete()?;
    let name = if deflate { "deflated" } else { "plain" };
    side.add(samples, &format!("bytes {name}"), receipt.bytes as f64 / receipt.events as f64);
    side.add(samples, &format!("cpu {name}"), used.cpu_ns / receipt.events as f64);
    if deflate {
        side.add(samples, "agreed", joined.deflated as f64 / SUBSCRIBERS as f64);
        let small = side.deliver(&events(audience, WARM_UP, INTERVAL_MS * 1_000_000))?.0.complete()?;
        side.add(samples, "bytes small", small.bytes as f64 / small.events as f64);
    }
    side.leave(0)
}
