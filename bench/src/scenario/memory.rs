//! What a connection that has nothing to say takes of memory, and whether it is given back.
//!
//! Each repetition has servers of its own, since memory that was once used may be kept for the next connections.

use std::time::{Duration, Instant};

use serde_json::json;

use super::field::{Field, Figures, Side};
use super::{Scenario, Stage};
use crate::accounting::{quiet, resident_bytes};
use crate::chart::{Axis, Chart, Scale, Series};
use crate::contestant::Kind;
use crate::crowd::Audience;
use crate::failure::Failure;
use crate::measurement::{Goal, Samples, Section, Unit};

pub(super) const SCENARIO: Scenario =
    Scenario { name: "memory", about: "bytes per idle connection, and what is given back", run };

/// Connections after each step; the slope is from the first to the last.
const STEPS: [usize; 4] = [1_000, 5_000, 10_000, 15_000];
const FEWER_STEPS: [usize; 3] = [500, 1_000, 2_000];
const MEMBERS: usize = 10;
/// A server may look only now and then at what it can give back.
const PATIENCE: Duration = Duration::from_secs(2);
/// Presence is compared with nobody: what a rival holds of members is another promise.
const OURS: [Kind; 2] = [Kind::Fanfare, Kind::Floor];

fn run(stage: &Stage) -> Result<Section, Failure> {
    let steps: &[usize] = if stage.size == super::Size::Quick { &FEWER_STEPS } else { &STEPS };
    let mut figures: Option<Figures> = None;
    stage.repeat(SCENARIO.name, || {
        for presence in [false, true] {
            let kinds: &[Kind] = if presence { &OURS } else { &Kind::ALL };
            let mut field = Field::start(stage, kinds, &json!({}), 0)?;
            if let Some(earlier) = figures.take() {
                field.carry_on(earlier);
            }
            field.each(|side, samples| fill_and_empty(side, samples, steps, presence))?;
            figures = Some(field.finish()?);
        }
        Ok(())
    })?;
    let figures = figures.ok_or_else(|| Failure::new("expected at least one repetition, but found none"))?;
    section(&figures, steps)
}

fn fill_and_empty(
    side: &mut Side,
    samples: &mut Samples,
    steps: &[usize],
    presence: bool,
) -> Result<(), Failure> {
    let pid = side.contestant.pid();
    let kind = if presence { "presence" } else { "plain" };
    let mut joined = 0;
    let mut sizes = Vec::new();
    for &step in steps {
        // Everybody on one channel, or a presence channel for each ten.
        let per_channel = if presence { MEMBERS } else { usize::MAX };
        let audience = Audience { first: joined, presence, ..Audience::new(step - joined, per_channel) };
        side.join(audience)?;
        quiet(pid)?;
        joined = step;
        let size = resident_bytes(pid)?;
        side.add(samples, &format!("{kind} at {step}"), size);
        sizes.push(size);
    }
    let (Some(&first), Some(&last), Some(&keep)) = (sizes.first(), sizes.last(), steps.first()) else {
        return Ok(());
    };
    let grown = last - first;
    side.add(samples, &format!("{kind} slope"), grown / (joined - keep) as f64);
    side.leave(keep)?;
    let deadline = Instant::now() + PATIENCE;
    let mut kept = resident_bytes(pid)? - first;
    while kept > 0.1 * grown && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
        kept = resident_bytes(pid)? - first;
    }
    side.add(samples, &format!("{kind} kept"), kept / grown * 100.0);
    Ok(())
}

fn section(figures: &Figures, steps: &[usize]) -> Result<Section, Failure> {
    let mut lines = Vec::new();
    let mut charts = Vec::new();
    let goals = [
        ("plain", "idle subscribed connection", 3_072.0, "memory", "Memory of idle subscribed connections"),
        (
            "presence",
            "idle member of a presence channel",
            4_096.0,
            "memory-presence",
            "Memory of idle members of presence channels",
        ),
    ];
    for (name, what, bound, file, title) in goals {
        let slope = format!("{name} slope");
        let kept = format!("{name} kept");
        let bytes = format!("RSS per {what}");
        let rest = format!("RSS kept after they left, of what was added, {what}");
        lines.push(
            figures
                .line(Kind::Fanfare, &bytes, &slope, Unit::Bytes, 1.0)?
                .goal(Goal::AtMost(bound))
                .claim(4, figures.beside(&slope, Unit::Bytes, 1.0)?),
        );
        lines.push(
            figures
                .line(Kind::Fanfare, &rest, &kept, Unit::Percent, 1.0)?
                .goal(Goal::AtMost(10.0))
                .claim(4, figures.beside(&kept, Unit::Percent, 1.0)?),
        );
        lines.extend(figures.lines(&bytes, &slope, Unit::Bytes, 1.0)?.into_iter().skip(1));
        lines.extend(figures.lines(&rest, &kept, Unit::Percent, 1.0)?.into_iter().skip(1));
        charts.push(Chart {
            name: file,
            title,
            x: Axis { label: "connections", scale: Scale::Even },
            y: Axis { label: "RSS, MiB", scale: Scale::Even },
            series: series(figures, steps, name)?,
        });
    }
    let mut remarks = vec![format!(
        "RSS of the server's process (the kernel's socket buffers are not in it), as a slope from {} to {} connections. \
         Presence channels have {MEMBERS} members each. Then all leave but the first {}; what is still there after {} s at \
         most, in percent of what had been added, is kept.",
        steps.first().unwrap_or(&0),
        steps.last().unwrap_or(&0),
        steps.first().unwrap_or(&0),
        PATIENCE.as_secs()
    )];
    remarks.extend(figures.remarks());
    Ok(Section {
        name: SCENARIO.name,
        title: "Memory of idle connections",
        lines,
        remarks,
        charts,
        tables: Vec::new(),
    })
}

fn series(figures: &Figures, steps: &[usize], name: &str) -> Result<Vec<Series>, Failure> {
    let of = |&kind: &Kind| {
        let point = |&step: &usize| {
            let line =
                figures.line(kind, "", &format!("{name} at {step}"), Unit::Bytes, f64::from(1 << 20))?;
            Ok((step as f64, line.median))
        };
        Ok(Series {
            name: kind.name().to_owned(),
            points: steps.iter().map(point).collect::<Result<_, _>>()?,
        })
    };
    let first = format!("{name} at {}", steps.first().unwrap_or(&0));
    figures.kinds.iter().filter(|kind| figures.samples.has(&kind.of(&first))).map(of).collect()
}
