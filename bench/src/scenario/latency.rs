//! How long an event takes from a publisher to a subscribed client, when events are few: everybody sleeps in between.

use std::collections::BTreeMap;

use serde_json::json;

use super::field::{Field, events};
use super::{Scenario, Stage};
use crate::chart::{Axis, Chart, Scale, Series};
use crate::contestant::Kind;
use crate::crowd::Audience;
use crate::failure::Failure;
use crate::histogram::Histogram;
use crate::measurement::{Goal, Section, Unit};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "latency",
    about: "µs from broadcast() in PHP, or an HTTP request, to a subscribed client",
    run,
};

const INTERVAL_US: u64 = 1_000;
const WARM_UP: usize = 200;

fn run(stage: &Stage) -> Result<Section, Failure> {
    let count = stage.amount(5_000, 2_000, 300);
    let audience = Audience::new(1, 1);
    let interval_ns = INTERVAL_US * 1_000;
    let mut all: BTreeMap<Kind, Histogram> = BTreeMap::new();
    let mut field = Field::start(stage, &Kind::ALL, &json!({}), 1)?;
    field.each(|side, _| side.join(audience).map(drop))?;
    field.compete(stage, SCENARIO.name, |side, samples| {
        side.deliver(&events(audience, WARM_UP, interval_ns))?.0.complete()?;
        let receipt = side.deliver(&events(audience, count, interval_ns))?.0.complete()?;
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
            side.add(samples, name, receipt.latencies.percentile(share));
        }
        all.entry(side.contestant.kind).or_default().add(&receipt.latencies);
        Ok(())
    })?;
    let figures = field.finish()?;
    let us = (Unit::Microseconds, 1_000.0);
    let mut lines = vec![
        figures.against_floor(6, "publish → client, p50", "p50", us, Goal::AtMost(1.3))?,
        figures.against_floor(6, "publish → client, p99", "p99", us, Goal::AtMost(2.0))?,
    ];
    for (what, figure) in [
        ("half of the events within", "p50"),
        ("99 of 100 events within", "p99"),
        ("all events within", "max"),
    ] {
        lines.extend(figures.lines(what, figure, Unit::Microseconds, 1_000.0)?);
    }
    let mut remarks = vec![format!(
        "{count} events of 200 B per repetition, one every {INTERVAL_US} µs, from just before `broadcast()` (Fanfare) or just \
         before the HTTP request is made (all others) until one subscriber has read it from its WebSocket. All arrived, in \
         order. Publisher, server and subscriber sleep in between: a figure holds two wake-ups at least, and the timer's \
         lateness is not in it."
    )];
    remarks.extend(figures.remarks());
    let charts = vec![distribution(&figures.kinds, &all)];
    Ok(Section {
        name: SCENARIO.name,
        title: "From a publisher to a client",
        lines,
        remarks,
        charts,
        tables: Vec::new(),
    })
}

/// The tail is what is looked for, so the axis is by how rare a latency is.
fn distribution(kinds: &[Kind], all: &BTreeMap<Kind, Histogram>) -> Chart {
    let series = |kind: &Kind| {
        let histogram = all.get(kind)?;
        let point = |step: u32| {
            let one_of = 10_f64.powf(f64::from(step) / 10.0);
            (one_of, histogram.percentile(1.0 - 1.0 / one_of) / 1_000.0)
        };
        Some(Series { name: kind.name().to_owned(), points: (0..=30).map(point).collect() })
    };
    Chart {
        name: "latency",
        title: "Latency of a paced event, one subscriber",
        x: Axis {
            label: "one event of so many is slower (2: median, 100: p99, 1,000: p99.9)",
            scale: Scale::Log,
        },
        y: Axis { label: "µs", scale: Scale::Log },
        series: kinds.iter().filter_map(series).collect(),
    }
}
