//! How cost grows: a delivery with the number of subscribers, a subscription with the number of members and channels.

use serde_json::json;

use super::field::{Field, Figures, Side, events};
use super::{Scenario, Size, Stage};
use crate::accounting::Meter;
use crate::chart::{Axis, Chart, Scale, Series};
use crate::contestant::Kind;
use crate::crowd::{Audience, Crowd, channel};
use crate::failure::Failure;
use crate::measurement::{Goal, Line, Samples, Section, Unit};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "growth",
    about: "CPU per delivery from 10 to 15,000 subscribers; per subscription against members and channels",
    run,
};

const SIZES: [usize; 4] = [10, 100, 1_000, 15_000];
const MORE_SIZES: [usize; 7] = [10, 30, 100, 300, 1_000, 5_000, 15_000];
const FEWER_SIZES: [usize; 3] = [10, 100, 1_000];
/// At any size, so that the machine is as busy with all of them.
const DELIVERIES_PER_S: usize = 40_000;
/// ± 20 % is this from the smallest to the largest.
const STRAIGHT: f64 = 1.5;
/// With 1,500 times as many; what does not depend on them still finds colder caches.
const CONSTANT: f64 = 2.0;

fn run(stage: &Stage) -> Result<Section, Failure> {
    let sizes: &[usize] = match stage.size {
        Size::Quick => &FEWER_SIZES,
        Size::Short => &SIZES,
        Size::Full => &MORE_SIZES,
    };
    let deliveries = stage.amount(100_000, 20_000, 10_000);
    let rounds = stage.amount(50_000, 20_000, 2_000);
    // A client that subscribes as often as it can is not what the limit is for. And where a process may open 20,000 files,
    // what the default keeps free for PHP processes leaves no more than 15,000 for clients.
    let limits = json!({"subscriptions_per_s": 1_000_000, "attachments_max": 250});
    let mut field = Field::start(stage, &Kind::ALL, &limits, 1)?;
    field.compete(stage, SCENARIO.name, |side, samples| {
        for &size in sizes {
            one_size(side, samples, size, deliveries)?;
            if !side.contestant.kind.is_rival() {
                churn(side, samples, &format!("members {size}"), rounds, &channel(0, false))?;
            }
            side.leave(0)?;
        }
        if side.contestant.kind.is_rival() {
            return Ok(());
        }
        for &size in sizes {
            side.join(Audience::new(size, 1))?;
            churn(side, samples, &format!("channels {size}"), rounds, &channel(size, false))?;
            side.leave(0)?;
        }
        Ok(())
    })?;
    section(&field.finish()?, sizes)
}

fn one_size(side: &mut Side, samples: &mut Samples, size: usize, deliveries: usize) -> Result<(), Failure> {
    let audience = Audience::new(size, size);
    side.join(audience)?;
    let interval_ns = (1_000_000_000 * size / DELIVERIES_PER_S) as u64;
    // The first event finds everything cold.
    side.deliver(&events(audience, 2, interval_ns))?.0.complete()?;
    let (receipt, used) = side.deliver(&events(audience, (deliveries / size).max(3), interval_ns))?;
    let receipt = receipt.complete()?;
    side.add(samples, &format!("cpu {size}"), used.cpu_ns / receipt.events as f64);
    Ok(())
}

/// One more client subscribes to `channel` and leaves it, again and again.
fn churn(
    side: &mut Side,
    samples: &mut Samples,
    name: &str,
    rounds: usize,
    channel: &str,
) -> Result<(), Failure> {
    let own = Audience { first: 1_000_000 - 1, ..Audience::new(1, 1) };
    let mut visitor = Crowd::gather(side.contestant.address(), own)?;
    visitor.churn(rounds / 10, channel)?;
    let meter = Meter::start(&[side.contestant.pid()])?;
    visitor.churn(rounds, channel)?;
    side.add(samples, name, meter.read()?.cpu_ns / rounds as f64);
    Ok(())
}

fn section(figures: &Figures, sizes: &[usize]) -> Result<Section, Failure> {
    let mut lines = Vec::new();
    let curves = [
        ("cpu", "CPU per delivery", "subscribers"),
        ("members", "CPU per subscribe + leave", "members on the channel"),
        ("channels", "CPU per subscribe + leave", "channels"),
    ];
    let (Some(smallest), Some(largest)) = (sizes.first(), sizes.last()) else {
        return Err(Failure::new("no sizes"));
    };
    for (name, what, by) in curves {
        let beside = figures.beside(&format!("{name} {largest}"), Unit::Microseconds, 1_000.0)?;
        for kind in [Kind::Fanfare, Kind::Floor] {
            let figure = |size: &usize| kind.of(&format!("{name} {size}"));
            let line = if name == "cpu" {
                let names: Vec<String> = sizes.iter().map(figure).collect();
                let what = format!("{what}, most ÷ least of {smallest} to {largest} {by}: {}", kind.name());
                Line::new(what, Unit::Times, spread(&figures.samples, &names)?)
            } else {
                let ratio =
                    figures.samples.pair(&figure(largest), &figure(smallest), |many, few| many / few)?;
                Line::new(format!("{what}, {largest} ÷ {smallest} {by}: {}", kind.name()), Unit::Times, ratio)
            };
            lines.push(match kind {
                Kind::Fanfare => line
                    .goal(Goal::AtMost(if name == "cpu" { STRAIGHT } else { CONSTANT }))
                    .claim(8, beside.clone()),
                _ => line,
            });
        }
        for size in sizes {
            let name = format!("{name} {size}");
            lines.extend(figures.lines(
                &format!("{what}, {size} {by}"),
                &name,
                Unit::Microseconds,
                1_000.0,
            )?);
        }
    }
    let mut remarks = vec![format!(
        "{DELIVERIES_PER_S} deliveries a second of 200 B at every size: an event to 10 subscribers comes every 0.25 ms, one to \
         15,000 every 375 ms. With few subscribers a delivery bears much of the publication and of the wake-ups. Subscribing: \
         a client subscribes to a public channel and leaves it, 50 times in one go. The figures of contestants in the first \
         table are those of the largest size. ± 20 % is a factor of {STRAIGHT} from the least to the most; what is independent of a number may cost {CONSTANT} times as much with the largest as with the smallest."
    )];
    remarks.extend(figures.remarks());
    let charts = vec![
        chart(figures, sizes, "cpu", "CPU per delivery against subscribers", "subscribers of the channel")?,
        chart(
            figures,
            sizes,
            "members",
            "CPU per subscribe + leave against members",
            "members of the channel",
        )?,
        chart(
            figures,
            sizes,
            "channels",
            "CPU per subscribe + leave against channels",
            "channels of the server",
        )?,
    ];
    Ok(Section { name: SCENARIO.name, title: "How cost grows", lines, remarks, charts, tables: Vec::new() })
}

/// In each repetition, the largest of the figures divided by the smallest.
fn spread(samples: &Samples, names: &[String]) -> Result<Vec<f64>, Failure> {
    let figures: Vec<Vec<f64>> =
        names.iter().map(|name| samples.take(name, 1.0)).collect::<Result<_, _>>()?;
    let repetitions = figures.iter().map(Vec::len).min().unwrap_or(0);
    let of = |repetition: usize| {
        let all = || figures.iter().map(|figures| figures[repetition]);
        all().fold(0.0, f64::max) / all().fold(f64::INFINITY, f64::min)
    };
    Ok((0..repetitions).map(of).collect())
}

fn chart(
    figures: &Figures,
    sizes: &[usize],
    name: &'static str,
    title: &'static str,
    label: &'static str,
) -> Result<Chart, Failure> {
    let kinds =
        figures.kinds.iter().filter(|kind| figures.samples.has(&kind.of(&format!("{name} {}", sizes[0]))));
    let of = |&kind: &Kind| {
        let point = |&size: &usize| {
            let line = figures.line(kind, "", &format!("{name} {size}"), Unit::Microseconds, 1_000.0)?;
            Ok((size as f64, line.median))
        };
        Ok(Series {
            name: kind.name().to_owned(),
            points: sizes.iter().map(point).collect::<Result<_, _>>()?,
        })
    };
    Ok(Chart {
        name,
        title,
        x: Axis { label, scale: Scale::Log },
        y: Axis { label: "CPU, µs", scale: Scale::Even },
        series: kinds.map(of).collect::<Result<_, Failure>>()?,
    })
}
