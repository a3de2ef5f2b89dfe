//! How fast a server gets many events to many subscribers when they come without pause.
//!
//! PHP broadcasts into shared memory. The floor is handed the burst as pipelined requests, so that it waits for nobody
//! either. Rivals are published to as Laravel does it: one request after the other, each answered.

use serde_json::json;

use super::field::{Field, Side, events};
use super::{Scenario, Size, Stage};
use crate::contestant::Kind;
use crate::crowd::Audience;
use crate::failure::Failure;
use crate::measurement::{Goal, Line, Samples, Section, Unit};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "burst",
    about: "deliveries/s: bursts of 200 and 5,000 events to 1,000 subscribers",
    run,
};

const SUBSCRIBERS: usize = 1_000;
const BURSTS: [(usize, &str); 2] = [(200, "200"), (5_000, "5,000")];
/// So many of the 5,000 are given to the others in the short form; they would take most of it with all.
const CUT: usize = 500;

fn run(stage: &Stage) -> Result<Section, Failure> {
    let audience = Audience::new(SUBSCRIBERS, SUBSCRIBERS);
    let mut field = Field::start(stage, &Kind::ALL, &json!({}), 1)?;
    field.each(|side, _| {
        side.join(audience)?;
        side.deliver(&events(audience, BURSTS[0].0, 0)).map(drop)
    })?;
    for (count, name) in BURSTS {
        field.compete(stage, &format!("burst of {name} events"), |side, samples| {
            let cut = stage.size != Size::Full && side.contestant.kind != Kind::Fanfare;
            one_burst(side, samples, audience, if cut { count.min(CUT) } else { count }, name)
        })?;
    }
    let figures = field.finish()?;
    let mut lines = Vec::new();
    for (_, name) in BURSTS {
        let of = |figure: &str| format!("{figure} {name}");
        let rate = format!("bursts of {name}: deliveries/s");
        let p99 = format!("bursts of {name}: p99 latency");
        lines.push(figures.against_floor(
            2,
            &rate,
            &of("rate"),
            (Unit::PerSecond, 1.0),
            Goal::AtLeast(10.0),
        )?);
        lines.push(figures.against_floor(
            2,
            &p99,
            &of("p99"),
            (Unit::Microseconds, 1_000.0),
            Goal::AtMost(1.0),
        )?);
        let wrong = figures.samples.take(&Kind::Fanfare.of(&of("wrong")), 1.0)?;
        lines.push(
            Line::new(format!("bursts of {name}: events lost, out of order or twice"), Unit::Count, wrong)
                .goal(Goal::AtMost(0.0))
                .claim(2, figures.beside(&of("wrong"), Unit::Count, 1.0)?),
        );
        lines.extend(figures.lines(&rate, &of("rate"), Unit::PerSecond, 1.0)?);
        lines.extend(figures.lines(&p99, &of("p99"), Unit::Microseconds, 1_000.0)?);
        let cpu = format!("bursts of {name}: CPU per delivery");
        lines.extend(figures.lines(&cpu, &of("cpu"), Unit::Nanoseconds, 1.0)?);
    }
    let mut remarks = vec![format!(
        "Events of 200 B to {SUBSCRIBERS} subscribers of one channel, from the first `broadcast()` or request until the \
         last event has been read from the last socket. Fanfare: one PHP process, without pause. The floor: all requests \
         are written without waiting for an answer. Rivals: one request after the other, as Laravel's driver makes them."
    )];
    if stage.size != Size::Full {
        remarks.push(format!(
            "Of the 5,000 events the floor and the rivals get the first {CUT} only: that is their rate, and their latency would \
             be ten times as high with all. `make bench-full` gives them all."
        ));
    }
    remarks.extend(figures.remarks());
    Ok(Section {
        name: SCENARIO.name,
        title: "Fan-out in bursts",
        lines,
        remarks,
        charts: Vec::new(),
        tables: Vec::new(),
    })
}

fn one_burst(
    side: &mut Side,
    samples: &mut Samples,
    audience: Audience,
    count: usize,
    name: &str,
) -> Result<(), Failure> {
    let (receipt, used) = side.deliver(&events(audience, count, 0))?;
    let wrong = receipt.missing + receipt.disordered;
    side.add(samples, &format!("wrong {name}"), wrong as f64);
    side.add(samples, &format!("rate {name}"), receipt.events as f64 / (receipt.took_ns() / 1e9));
    side.add(samples, &format!("cpu {name}"), used.cpu_ns / receipt.events as f64);
    side.add(samples, &format!("p99 {name}"), receipt.latencies.percentile(0.99));
    if receipt.closed > 0 {
        // Whoever was closed comes back, as a client would; what it missed has been counted.
        side.leave(0)?;
        side.join(audience)?;
    }
    Ok(())
}
