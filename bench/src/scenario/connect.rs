//! What it costs when clients come: connect, upgrade, subscribe. And how long it takes when all come at once, as after
//! a network failure.

use serde_json::json;

use super::field::{Field, Side};
use super::{Scenario, Stage};
use crate::accounting::{Meter, accepts_lost};
use crate::contestant::Kind;
use crate::crowd::Audience;
use crate::failure::Failure;
use crate::measurement::{Goal, Samples, Section, Unit};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "connect",
    about: "CPU per connect + subscribe, and 10,000 clients that come at once",
    run,
};

fn run(stage: &Stage) -> Result<Section, Failure> {
    let clients = stage.amount(10_000, 10_000, 1_000);
    let mut field = Field::start(stage, &Kind::ALL, &json!({}), 0)?;
    field.each(|side, _| {
        side.join(Audience::new(clients / 10, clients))?;
        side.leave(0)
    })?;
    field.compete(stage, SCENARIO.name, |side, samples| come_twice(side, samples, clients))?;
    let figures = field.finish()?;
    let rush = "all subscribed again, coming at once";
    let mut lines = vec![
        figures
            .line(Kind::Fanfare, "CPU per connect + subscribe", "cpu", Unit::Microseconds, 1_000.0)?
            .goal(Goal::AtMost(100.0))
            .claim(5, figures.beside("cpu", Unit::Microseconds, 1_000.0)?),
        figures.against_floor(5, rush, "took", (Unit::Microseconds, 1_000.0), Goal::AtMost(1.5))?,
        figures
            .line(Kind::Fanfare, "connections that the kernel had to refuse", "lost", Unit::Count, 1.0)?
            .goal(Goal::AtMost(0.0))
            .claim(5, figures.beside("lost", Unit::Count, 1.0)?),
    ];
    lines.extend(
        figures.lines("CPU per connect + subscribe", "cpu", Unit::Microseconds, 1_000.0)?.into_iter().skip(1),
    );
    lines.extend(figures.lines(rush, "took", Unit::Microseconds, 1_000.0)?);
    let mut remarks = vec![format!(
        "{clients} clients, one public channel. CPU: they come 64 at a time. At once: all connect before the first is \
         answered; the time is until the last is subscribed. A connection is refused when nobody accepts it in time \
         (the kernel's ListenOverflows, which counts the whole machine); the client's kernel then tries again a second later."
    )];
    remarks.extend(figures.remarks());
    Ok(Section {
        name: SCENARIO.name,
        title: "Clients that come",
        lines,
        remarks,
        charts: Vec::new(),
        tables: Vec::new(),
    })
}

fn come_twice(side: &mut Side, samples: &mut Samples, clients: usize) -> Result<(), Failure> {
    let audience = Audience::new(clients, clients);
    let meter = Meter::start(&[side.contestant.pid()])?;
    side.join(audience)?;
    side.add(samples, "cpu", meter.read()?.cpu_ns / clients as f64);
    side.leave(0)?;
    let lost = accepts_lost();
    let joined = side.join(Audience { at_once: clients, ..audience })?;
    side.add(samples, "took", joined.took_ns as f64);
    side.add(samples, "lost", accepts_lost().saturating_sub(lost) as f64);
    side.leave(0)
}
