//! What PHP processes cost that are attached: the calls of one when there are many, and the server when all are idle.

use serde_json::{Value, json};

use super::{Scenario, Stage};
use crate::accounting::{Meter, quiet};
use crate::contestant::{Contestant, Kind};
use crate::failure::Failure;
use crate::measurement::{Beside, Goal, Line, Samples, Section, Unit};
use crate::publisher::Publisher;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "attached",
    about: "ns per call, and an idle server, with many PHP processes attached",
    run,
};

const ATTACHED: [usize; 3] = [1, 8, 64];
/// What counts as flat: the spread of the same measurement with one process.
const FLAT: f64 = 1.25;
/// A timer that looks after connections every second is no load.
const IDLE_PERCENT: f64 = 0.1;
const IDLE: std::time::Duration = std::time::Duration::from_secs(2);

fn run(stage: &Stage) -> Result<Section, Failure> {
    let rounds = stage.amount(200, 60, 20);
    let idle = stage.amount(200, 200, 40);
    let mut samples = Samples::default();
    let contestant = Contestant::start(Kind::Fanfare, &stage.places, &json!({}))?;
    let server = contestant.server().ok_or_else(|| Failure::new("expected our own server"))?;
    stage.repeat("calls with 1 to 64 processes attached", || {
        let mut others: Vec<Publisher> = Vec::new();
        for attached in ATTACHED {
            attach(stage, &contestant, &mut others, attached - 1)?;
            let task = json!({"part": "awake", "rounds": rounds});
            let answer = stage.script("call.php", server, task)?;
            let figure = answer.get("awake_200").and_then(Value::as_f64).unwrap_or(f64::NAN);
            samples.add(&format!("call {attached}"), figure);
        }
        Ok(())
    })?;
    let mut others = Vec::new();
    attach(stage, &contestant, &mut others, idle)?;
    stage.repeat(&format!("an idle server with {idle} processes attached"), || {
        quiet(contestant.pid())?;
        let meter = Meter::start(&[contestant.pid()])?;
        std::thread::sleep(IDLE);
        samples.add("idle", meter.read()?.share * 100.0);
        Ok(())
    })?;
    drop(others);
    contestant.stop()?;
    section(&samples, idle)
}

fn attach(
    stage: &Stage,
    contestant: &Contestant,
    others: &mut Vec<Publisher>,
    count: usize,
) -> Result<(), Failure> {
    while others.len() < count {
        others.push(Publisher::new(&stage.php, contestant)?);
    }
    Ok(())
}

fn section(samples: &Samples, idle: usize) -> Result<Section, Failure> {
    let fanfare = |unit, median| vec![Beside { who: Kind::Fanfare.name(), unit, median }];
    let calls = ATTACHED.map(|attached| {
        let figures = samples.take(&format!("call {attached}"), 1.0)?;
        Ok(Line::new(format!("200 B, server awake, {attached} attached"), Unit::Nanoseconds, figures))
    });
    let calls: Vec<Line> = calls.into_iter().collect::<Result<_, Failure>>()?;
    let most = calls.last().map_or(f64::NAN, |line| line.median);
    let rise = samples.pair("call 64", "call 1", |many, one| many / one)?;
    let idle_cpu = Line::new(
        format!("CPU of an idle server with {idle} attached"),
        Unit::Percent,
        samples.take("idle", 1.0)?,
    );
    let idle_median = idle_cpu.median;
    let mut lines = vec![
        Line::new("a call with 64 processes attached ÷ with one", Unit::Times, rise)
            .goal(Goal::AtMost(FLAT))
            .claim(7, fanfare(Unit::Nanoseconds, most)),
        idle_cpu.goal(Goal::AtMost(IDLE_PERCENT)).claim(7, fanfare(Unit::Percent, idle_median)),
    ];
    lines.extend(calls);
    let remarks = vec![
        "All but one of the attached processes have published once and are idle, as workers are between requests; the one \
         is measured as in the scenario `call`: bursts that fit into its ring, with the server awake."
            .to_owned(),
        format!(
            "The idle server is watched for {} s; a percent is of one processor, and {IDLE_PERCENT} % is what timers may take.",
            IDLE.as_secs()
        ),
    ];
    Ok(Section {
        name: SCENARIO.name,
        title: "Many attached processes",
        lines,
        remarks,
        charts: Vec::new(),
        tables: Vec::new(),
    })
}
