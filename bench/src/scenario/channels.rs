//! What a delivery costs when there are many channels with few subscribers, and many who publish.
//!
//! The publication weighs more here than the fan-out: each is written to two sockets.

use serde_json::json;

use super::field::{Field, events};
use super::{Scenario, Stage};
use crate::contestant::Kind;
use crate::crowd::Audience;
use crate::failure::Failure;
use crate::measurement::{Goal, Section, Unit};

pub(super) const SCENARIO: Scenario =
    Scenario { name: "channels", about: "CPU per delivery: 10,000 connections on 5,000 channels", run };

const PER_CHANNEL: usize = 2;
const PUBLISHERS: usize = 10;
/// Each publisher's.
const INTERVAL_MS: u64 = 2;

fn run(stage: &Stage) -> Result<Section, Failure> {
    let audience = Audience::new(stage.amount(10_000, 10_000, 1_000), PER_CHANNEL);
    let channels = audience.channels();
    let count = channels * stage.amount(8, 2, 2);
    let interval_ns = INTERVAL_MS * 1_000_000;
    let mut field = Field::start(stage, &Kind::ALL, &json!({}), PUBLISHERS)?;
    field.each(|side, _| {
        side.join(audience)?;
        side.deliver(&events(audience, channels, 0))?.0.complete().map(drop)
    })?;
    field.compete(stage, SCENARIO.name, |side, samples| {
        let (receipt, used) = side.deliver(&events(audience, count, interval_ns))?;
        let receipt = receipt.complete()?;
        side.add(samples, "cpu", used.cpu_ns / receipt.events as f64);
        side.add(samples, "p99", receipt.latencies.percentile(0.99));
        Ok(())
    })?;
    let figures = field.finish()?;
    let cpu = (Unit::Microseconds, 1_000.0);
    let mut lines = vec![figures.against_floor(
        3,
        "CPU per delivery, many small channels",
        "cpu",
        cpu,
        Goal::AtMost(1.5),
    )?];
    lines.extend(figures.lines("CPU per delivery", "cpu", Unit::Microseconds, 1_000.0)?);
    lines.extend(figures.lines("99 of 100 deliveries within", "p99", Unit::Microseconds, 1_000.0)?);
    let mut remarks = vec![format!(
        "{} connections, {PER_CHANNEL} on each of {channels} channels; {PUBLISHERS} publishers, one event of 200 B every \
         {INTERVAL_MS} ms each, {count} in all per repetition. A delivery bears its share of the publication: for Fanfare \
         from {PUBLISHERS} rings, for the others from {PUBLISHERS} kept HTTP connections. All events arrived, in order.",
        audience.count
    )];
    remarks.extend(figures.remarks());
    Ok(Section {
        name: SCENARIO.name,
        title: "Many small channels",
        lines,
        remarks,
        charts: Vec::new(),
        tables: Vec::new(),
    })
}
