//! What it costs to join and to leave a presence channel with many members, when there are several servers.

use serde_json::json;

use super::{Scenario, Stage};
use crate::accounting::quiet;
use crate::chart::{Axis, Chart, Scale, Series};
use crate::crowd::{Audience, Crowd};
use crate::failure::Failure;
use crate::fleet::{Fleet, Traffic};
use crate::histogram::Histogram;
use crate::measurement::{Goal, Line, Samples, Section, Unit};
use crate::page::{figure as amount, grid};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "presence",
    about: "CPU and bytes per join and leave of a presence channel with up to 10,000 members, over Redis",
    run,
};

/// More than there ever are, so that everybody is on one channel.
const ALL: usize = 1_000_000;
/// Each until a crowd is quiet: a minute and more for what it has to read.
const LOOKS_MAX: usize = 50;

fn run(stage: &Stage) -> Result<Section, Failure> {
    let sizes = [100, 1_000, stage.amount(10_000, 10_000, 2_000)];
    let joining = stage.amount(100, 100, 20);
    // Members come faster than people do, and there are more than the default lets in.
    let fleet = Fleet::start(&stage.places, &json!({"presence_members_max": 100_000}), false)?;
    let mut samples = Samples::default();
    let mut members = Crowd::start()?;
    let mut there = 0;
    for size in sizes {
        crate::progress(&format!("{}: {size} members", SCENARIO.name));
        let more = Audience { at_once: 1_000, ..audience(there, size - there) };
        members.join(fleet.near.address, more)?;
        there = size;
        fleet.quiet()?;
        stage.repeat(SCENARIO.name, || one_size(&fleet, &mut members, size, joining, &mut samples))?;
    }
    drop(members);
    fleet.stop()?;
    section(&samples, &sizes, joining)
}

fn audience(first: usize, count: usize) -> Audience {
    Audience { first, presence: true, at_once: 1, ..Audience::new(count, ALL) }
}

/// With nobody on the far server, then with somebody: the first one there has the list read from Redis.
fn one_size(
    fleet: &Fleet,
    members: &mut Crowd,
    size: usize,
    joining: usize,
    samples: &mut Samples,
) -> Result<(), Failure> {
    let mut add = |figure: &str, value: f64| samples.add(&format!("{figure} {size}"), value);
    let accounts = fleet.account()?;
    let mut first = Crowd::start()?;
    let waits = first.join(fleet.far.address, audience(size, 1))?.waits;
    add("first wait", waits.percentile(0.5));
    let traffic = fleet.since(&accounts)?;
    add("first far", traffic.far_ns);
    add("first redis", traffic.redis_ns);
    add("first bytes", traffic.out_bytes);
    fleet.quiet()?;

    let mut visitors = Crowd::start()?;
    let mut waits = Histogram::default();
    let joined = account(fleet, members, || {
        waits = visitors.join(fleet.far.address, audience(size + 1, joining))?.waits;
        Ok(())
    })?;
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        add(&format!("join {name}"), waits.percentile(share));
    }
    let left = account(fleet, members, || visitors.leave(0))?;
    for (what, (traffic, told)) in [("join", joined), ("leave", left)] {
        let count = joining as f64;
        add(&format!("{what} near"), traffic.near_ns / count);
        add(&format!("{what} far"), traffic.far_ns / count);
        add(&format!("{what} redis"), traffic.redis_ns / count);
        add(&format!("{what} bytes"), (traffic.in_bytes + traffic.out_bytes) / count);
        add(&format!("{what} told"), told as f64 / count / size as f64);
        add(&format!("{what} telling"), traffic.near_ns / told.max(1) as f64);
    }
    first.leave(0)?;
    fleet.quiet()
}

/// What `what` came to, and how often members were told of it.
fn account(
    fleet: &Fleet,
    members: &mut Crowd,
    what: impl FnOnce() -> Result<(), Failure>,
) -> Result<(Traffic, u64), Failure> {
    members.watch(0)?;
    read_up(members)?;
    let accounts = fleet.account()?;
    what()?;
    fleet.quiet()?;
    let told = read_up(members)?;
    Ok((fleet.since(&accounts)?, told))
}

/// What servers have sent to ten thousand members is not read yet when the servers are done with it.
fn read_up(members: &mut Crowd) -> Result<u64, Failure> {
    let mut told = 0;
    for _ in 0..LOOKS_MAX {
        members.processes().into_iter().try_for_each(quiet)?;
        let more = members.receive()?.told;
        if more == 0 {
            break;
        }
        told += more;
    }
    Ok(told)
}

fn section(samples: &Samples, sizes: &[usize], joining: usize) -> Result<Section, Failure> {
    let mut lines = Vec::new();
    let us = (Unit::Microseconds, 1_000.0);
    let rows = [
        ("join p50", "join: subscribe until subscription_succeeded, p50", us),
        ("join p99", "join: subscribe until subscription_succeeded, p99", us),
        ("join far", "join: CPU of the server of who joins", us),
        ("join redis", "join: CPU of Redis", us),
        ("join near", "join: CPU of the members' server", us),
        ("join telling", "join: the same for each member that is told", us),
        ("join told", "join: times that each member is told", (Unit::Count, 1.0)),
        ("join bytes", "join: bytes into and out of Redis", (Unit::Bytes, 1.0)),
        ("leave far", "leave: CPU of the server of who leaves", us),
        ("leave redis", "leave: CPU of Redis", us),
        ("leave near", "leave: CPU of the members' server", us),
        ("leave telling", "leave: the same for each member that is told", us),
        ("leave told", "leave: times that each member is told", (Unit::Count, 1.0)),
        ("leave bytes", "leave: bytes into and out of Redis", (Unit::Bytes, 1.0)),
        ("first wait", "first of a server: subscribe until subscription_succeeded", us),
        ("first far", "first of a server: its CPU", us),
        ("first redis", "first of a server: CPU of Redis", us),
        ("first bytes", "first of a server: bytes out of Redis", (Unit::Bytes, 1.0)),
    ];
    for (figure, what, (unit, divisor)) in rows {
        for size in sizes {
            let figures = samples.take(&format!("{figure} {size}"), divisor)?;
            let line = Line::new(format!("{what}, {} members", amount(*size as f64)), unit, figures);
            lines.push(if figure.ends_with("told") { line.goal(Goal::AtMost(1.0)) } else { line });
        }
    }
    let about = "Medians of the rows above.".to_owned();
    let table = grid(("Presence, by members", about), "members of the channel", sizes, &rows, samples)?;
    let remarks = vec![format!(
        "Two servers and one Redis. All members but one are on one server; {joining} more join on the other, one after the \
         other, and leave together. A join tells every member, and tells the one who joins all members: that is Pusher's \
         protocol. What the fleet adds is the CPU of Redis, the bytes, and what the server of who joins spends beyond connecting \
         and the list. Figures for a join or leave are those of all divided by their number."
    )];
    let series = |figure: &str, name: &str| -> Result<Series, Failure> {
        let point = |&size: &usize| {
            let line = Line::new("", Unit::Microseconds, samples.take(&format!("{figure} {size}"), 1_000.0)?);
            Ok((size as f64, line.median))
        };
        Ok(Series { name: name.to_owned(), points: sizes.iter().map(point).collect::<Result<_, Failure>>()? })
    };
    let charts = vec![Chart {
        name: "presence",
        title: "CPU per join against members",
        x: Axis { label: "members of the channel", scale: Scale::Log },
        y: Axis { label: "CPU, µs", scale: Scale::Log },
        series: vec![
            series("join far", "server of who joins")?,
            series("join redis", "Redis")?,
            series("join near", "server of the members")?,
        ],
    }];
    Ok(Section {
        name: SCENARIO.name,
        title: "Presence over Redis",
        lines,
        remarks,
        charts,
        tables: vec![table],
    })
}
