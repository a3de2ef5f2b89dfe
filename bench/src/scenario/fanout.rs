//! What one delivery costs a server when events come one by one: nothing can be put together.
//!
//! The floor spends it on one `send`, which on the loopback interface is the receiving half of TCP too.

use serde_json::json;

use super::field::{Field, events};
use super::{Scenario, Stage};
use crate::contestant::Kind;
use crate::crowd::Audience;
use crate::failure::Failure;
use crate::measurement::{Goal, Section, Unit};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "fanout",
    about: "CPU per delivery: paced events to 1,000 subscribers of one channel",
    run,
};

const SUBSCRIBERS: usize = 1_000;
/// 20 events in a second are 20,000 deliveries: the slowest of the rivals keeps up.
const INTERVAL_MS: u64 = 50;
const WARM_UP: usize = 10;

fn run(stage: &Stage) -> Result<Section, Failure> {
    let count = stage.amount(200, 60, 20);
    let audience = Audience::new(SUBSCRIBERS, SUBSCRIBERS);
    let interval_ns = INTERVAL_MS * 1_000_000;
    let mut field = Field::start(stage, &Kind::ALL, &json!({}), 1)?;
    field.each(|side, _| {
        side.join(audience)?;
        side.deliver(&events(audience, WARM_UP, interval_ns))?.0.complete().map(drop)
    })?;
    field.compete(stage, SCENARIO.name, |side, samples| {
        let (receipt, used) = side.deliver(&events(audience, count, interval_ns))?;
        let receipt = receipt.complete()?;
        side.add(samples, "cpu", used.cpu_ns / receipt.events as f64);
        side.add(samples, "p50", receipt.latencies.percentile(0.5));
        side.add(samples, "p99", receipt.latencies.percentile(0.99));
        Ok(())
    })?;
    let figures = field.finish()?;
    let cpu = (Unit::Microseconds, 1_000.0);
    let mut lines =
        vec![figures.against_floor(1, "CPU per delivery, paced", "cpu", cpu, Goal::AtMost(1.15))?];
    for (what, figure) in
        [("CPU per delivery", "cpu"), ("half of the deliveries within", "p50"), ("99 of 100 within", "p99")]
    {
        lines.extend(figures.lines(what, figure, Unit::Microseconds, 1_000.0)?);
    }
    let mut remarks = vec![format!(
        "{count} events of 200 B per repetition, one every {INTERVAL_MS} ms, to {SUBSCRIBERS} subscribers of one channel. \
         CPU is what the kernel accounts to the threads of the server, publications included. All events arrived, in order."
    )];
    remarks.extend(figures.remarks());
    Ok(Section {
        name: SCENARIO.name,
        title: "Fan-out, event by event",
        lines,
        remarks,
        charts: Vec::new(),
        tables: Vec::new(),
    })
}
