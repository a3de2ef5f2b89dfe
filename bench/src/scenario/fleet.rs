//! What several servers cost: a delivery on another server, the time that Redis adds, and what a server receives of
//! channels that none of its clients listens to. And what follows from it for many servers.

use std::time::{Duration, Instant};

use serde_json::json;

use super::field::events;
use super::{Scenario, Stage, calculation};
use crate::chart::{Axis, Chart, Scale, Series};
use crate::crowd::{Audience, Crowd, Receipt};
use crate::failure::Failure;
use crate::fleet::{Fleet, Traffic};
use crate::measurement::{Goal, Line, Samples, Section, Table, Unit};
use crate::page::{figure as amount, grid};
use crate::publisher::{Job, Publisher};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "fleet",
    about: "CPU, bytes and µs of an event that reaches another server over Redis; the same for many servers, calculated",
    run,
};

const SUBSCRIBERS: [usize; 3] = [1, 10, 1_000];
/// Channels that are published to, of which the far server's clients listen to the first ones.
const CHANNELS: [usize; 4] = [10, 100, 1_000, 10_000];
const HEARD_CHANNELS: usize = 10;
/// At any number of subscribers, but for few: then so many events.
const DELIVERIES_PER_S: usize = 40_000;
const EVENTS_PER_S: usize = 1_000;
/// For each number of channels, so that what servers say all the time is the same.
const TRAFFIC_NS: u64 = 1_000_000_000;
/// Under load, what is done once for a batch is shared by many events.
const LOAD_INTERVAL_NS: u64 = 50_000;
/// So long nothing is published, to see what servers say of themselves.
const IDLE: Duration = Duration::from_secs(2);
/// So many leases more are then where those of living servers are.
const LEASES: u64 = 1_000;
const SERVERS: f64 = 2.0;
/// How long Redis may take for what was published.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is flat may differ by what servers say of themselves in between.
const FLAT: f64 = 1.1;

fn run(stage: &Stage) -> Result<Section, Failure> {
    let fleet = Fleet::start(&stage.places, &json!({}), false)?;
    let mut publisher = Publisher::beside(&stage.php, &fleet.near)?;
    let mut samples = Samples::default();
    stage.repeat(SCENARIO.name, || {
        for subscribers in SUBSCRIBERS {
            deliver(stage, &fleet, &mut publisher, subscribers, &mut samples)?;
        }
        unheard(stage, &fleet, &mut publisher, &mut samples)?;
        heard(stage, &fleet, &mut publisher, &mut samples)?;
        idle(&fleet, "idle", &mut samples)?;
        let pretended = fleet.pretend(LEASES)?;
        idle(&fleet, "idle many", &mut samples)?;
        fleet.pretend_no_longer(pretended)
    })?;
    drop(publisher);
    fleet.stop()?;
    let fleet = Fleet::start(&stage.places, &json!({}), true)?;
    let mut publisher = Publisher::beside(&stage.php, &fleet.near)?;
    stage.repeat("fleet, traffic", || {
        CHANNELS.iter().try_for_each(|&channels| traffic(&fleet, &mut publisher, channels, &mut samples))
    })?;
    drop(publisher);
    fleet.stop()?;
    section(&samples)
}

/// The same events to subscribers of the server that is published to, then of the other one.
fn deliver(
    stage: &Stage,
    fleet: &Fleet,
    publisher: &mut Publisher,
    subscribers: usize,
    samples: &mut Samples,
) -> Result<(), Failure> {
    let count = stage.amount(5_000, 1_000, 200).min(stage.amount(200_000, 50_000, 20_000) / subscribers);
    let interval_ns = 1_000_000_000 / EVENTS_PER_S.min(DELIVERIES_PER_S / subscribers) as u64;
    let audience = Audience::new(subscribers, subscribers);
    for (place, server) in [("near", &fleet.near), ("far", &fleet.far)] {
        let mut crowd = Crowd::gather(server.address, audience)?;
        // The first event finds everything cold.
        received(&mut crowd, publisher, &events(audience, 10, interval_ns))?;
        let accounts = fleet.account()?;
        let receipt = received(&mut crowd, publisher, &events(audience, count, interval_ns))?;
        let Traffic { near_ns, far_ns, redis_ns, in_bytes, out_bytes, .. } = fleet.since(&accounts)?;
        let mut add =
            |figure: &str, value: f64| samples.add(&format!("{place} {figure} {subscribers}"), value);
        add("publisher", near_ns / count as f64);
        add("subscribers", far_ns / receipt.events as f64);
        add("delivery", (near_ns + far_ns) / receipt.events as f64);
        add("redis", redis_ns / count as f64);
        add("in", in_bytes / count as f64);
        add("out", out_bytes / count as f64);
        if subscribers == 1 {
            for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
                samples.add(&format!("{place} {name}"), receipt.latencies.percentile(share));
            }
        }
        drop(crowd);
        fleet.quiet()?;
    }
    Ok(())
}

/// Under load: nobody listens, so that it is Redis' own count that tells when all is there.
fn unheard(
    stage: &Stage,
    fleet: &Fleet,
    publisher: &mut Publisher,
    samples: &mut Samples,
) -> Result<(), Failure> {
    let job = load(stage);
    let taken = || Fleet::metric(&fleet.near, "broker_published_total");
    let due = taken()? + job.events as f64;
    let accounts = fleet.account()?;
    publisher.publish(&job)?;
    let deadline = Instant::now() + PATIENCE;
    while taken()? < due {
        if Instant::now() > deadline {
            return Err(Failure::new(format!("expected {due} events in Redis, but found {}", taken()?)));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let Traffic { redis_ns, near_ns, in_bytes, out_bytes, .. } = fleet.since(&accounts)?;
    for (figure, value) in [("near", near_ns), ("redis", redis_ns), ("in", in_bytes), ("out", out_bytes)] {
        samples.add(&format!("unheard {figure}"), value / job.events as f64);
    }
    Ok(())
}

/// Under load: one client of the far server listens.
fn heard(
    stage: &Stage,
    fleet: &Fleet,
    publisher: &mut Publisher,
    samples: &mut Samples,
) -> Result<(), Failure> {
    let job = load(stage);
    let mut crowd = Crowd::gather(fleet.far.address, Audience::new(1, 1))?;
    let accounts = fleet.account()?;
    received(&mut crowd, publisher, &job)?;
    let Traffic { redis_ns, far_ns, out_bytes, .. } = fleet.since(&accounts)?;
    for (figure, value) in [("far", far_ns), ("redis", redis_ns), ("out", out_bytes)] {
        samples.add(&format!("heard {figure}"), value / job.events as f64);
    }
    drop(crowd);
    fleet.quiet()
}

fn load(stage: &Stage) -> Job {
    events(Audience::new(1, 1), stage.amount(50_000, 20_000, 5_000), LOAD_INTERVAL_NS)
}

/// What is said when nothing is published and nobody comes or goes, for each server and second.
fn idle(fleet: &Fleet, name: &str, samples: &mut Samples) -> Result<(), Failure> {
    fleet.roll_calls()?;
    let accounts = fleet.account()?;
    std::thread::sleep(IDLE);
    let own_ns = fleet.redis_alone * IDLE.as_nanos() as f64;
    let Traffic { redis_ns, in_bytes, out_bytes, .. } = fleet.since(&accounts)?;
    for (figure, value) in [("redis", redis_ns - own_ns), ("in", in_bytes), ("out", out_bytes)] {
        samples.add(&format!("{name} {figure}"), value / SERVERS / IDLE.as_secs_f64());
    }
    Ok(())
}

/// The far server's clients listen to the first channels, and each channel is published to equally often.
fn traffic(
    fleet: &Fleet,
    publisher: &mut Publisher,
    channels: usize,
    samples: &mut Samples,
) -> Result<(), Failure> {
    const EACH: usize = 5;
    let audience = Audience::new(HEARD_CHANNELS, 1);
    let mut crowd = Crowd::gather(fleet.far.address, audience)?;
    let count = channels * EACH;
    let job = Job { channels, ..events(audience, count, TRAFFIC_NS / count as u64) };
    crowd.watch(EACH)?;
    let accounts = fleet.account()?;
    publisher.publish(&job)?;
    let heard = crowd.receive()?.complete()?.events as f64;
    let traffic = fleet.since(&accounts)?;
    samples.add(&format!("traffic bytes {channels}"), traffic.far_bytes / heard);
    samples.add(&format!("traffic cpu {channels}"), traffic.far_ns / heard);
    drop(crowd);
    fleet.quiet()
}

fn received(crowd: &mut Crowd, publisher: &mut Publisher, job: &Job) -> Result<Receipt, Failure> {
    crowd.watch(job.events / job.channels)?;
    publisher.publish(job)?;
    crowd.receive()?.complete()
}

/// What is shown by the number of subscribers: samples, what they are, unit and divisor.
const DELIVERIES: [(&str, &str, (Unit, f64)); 6] = [
    ("near delivery", "CPU per delivery, all on one server", MICROSECONDS),
    ("far delivery", "CPU per delivery, subscribers on the other server: both servers", MICROSECONDS),
    ("far subscribers", "CPU per delivery, subscribers on the other server: theirs", MICROSECONDS),
    ("far publisher", "CPU per event, subscribers on the other server: the one published to", MICROSECONDS),
    ("far redis", "CPU per event, subscribers on the other server: Redis", MICROSECONDS),
    ("near redis", "CPU per event that no other server listens to: Redis", MICROSECONDS),
];
/// The same by the number of channels.
const TRAFFIC: [(&str, &str, (Unit, f64)); 2] = [
    ("traffic bytes", "bytes from Redis per event that its clients listen to", (Unit::Bytes, 1.0)),
    ("traffic cpu", "CPU of the server per event that its clients listen to", MICROSECONDS),
];
const MICROSECONDS: (Unit, f64) = (Unit::Microseconds, 1_000.0);

/// The medians of the rows that come with a size, to be read across.
fn tables(samples: &Samples) -> Result<Vec<Table>, Failure> {
    let about = || "Medians of the rows above.".to_owned();
    let (by_subscribers, by_channels) = ("subscribers of the channel", "channels that are published to");
    Ok(vec![
        grid(("Events, by subscribers", about()), by_subscribers, &SUBSCRIBERS, &DELIVERIES, samples)?,
        grid(("Traffic, by channels", about()), by_channels, &CHANNELS, &TRAFFIC, samples)?,
        calculation::table(samples)?,
    ])
}

/// The constants of the calculation.
fn under_load(samples: &Samples) -> Result<Vec<Line>, Failure> {
    let line = |what: &str, unit, figure: &str, divisor| {
        Ok::<_, Failure>(Line::new(what, unit, samples.take(figure, divisor)?))
    };
    let more = |figure: &str, divisor: f64| {
        samples.pair(&format!("heard {figure}"), &format!("unheard {figure}"), |heard, unheard| {
            (heard - unheard).max(0.0) / divisor
        })
    };
    let us = Unit::Microseconds;
    let mut lines = vec![
        line("under load, per event: bytes into Redis", Unit::Bytes, "unheard in", 1.0)?,
        line("under load, per event: bytes of Redis' answer", Unit::Bytes, "unheard out", 1.0)?,
        Line::new(
            "under load, per event and server that listens: bytes out of Redis",
            Unit::Bytes,
            more("out", 1.0)?,
        ),
        line("under load, per event: CPU of Redis, when nobody listens", us, "unheard redis", 1e3)?,
        Line::new("under load, per server that listens: CPU of Redis besides", us, more("redis", 1e3)?),
        line("under load, per event: CPU of the server published to", us, "unheard near", 1e3)?,
        line("under load, per event: CPU of a server that hears and delivers it once", us, "heard far", 1e3)?,
    ];
    for (name, what) in [
        ("idle", "2 servers".to_owned()),
        ("idle many", format!("{} leases", amount(SERVERS + LEASES as f64))),
    ] {
        let of = |what_of: &str| format!("idle, {what}, per server and second: {what_of}");
        let rate = Unit::BytesPerSecond;
        lines.push(line(&of("bytes into Redis"), rate, &format!("{name} in"), 1.0)?);
        lines.push(line(&of("bytes out of Redis"), rate, &format!("{name} out"), 1.0)?);
        lines.push(line(&of("CPU of Redis"), us, &format!("{name} redis"), 1e3)?);
    }
    Ok(lines)
}

fn section(samples: &Samples) -> Result<Section, Failure> {
    let line = |what: String, figure: &str, (unit, divisor): (Unit, f64)| -> Result<Line, Failure> {
        Ok(Line::new(what, unit, samples.take(figure, divisor)?))
    };
    let mut lines = Vec::new();
    for subscribers in SUBSCRIBERS {
        for (figure, what, unit) in DELIVERIES {
            let what = format!("{what}, {} subscribers", amount(subscribers as f64));
            lines.push(line(what, &format!("{figure} {subscribers}"), unit)?);
        }
    }
    lines.extend(under_load(samples)?);
    for (place, what) in
        [("near", "subscriber of the same server"), ("far", "subscriber of the other server")]
    {
        for name in ["p50", "p99"] {
            lines.push(line(
                format!("publish → client, {what}, {name}"),
                &format!("{place} {name}"),
                MICROSECONDS,
            )?);
        }
    }
    for name in ["p50", "p99"] {
        let added = samples
            .pair(&format!("far {name}"), &format!("near {name}"), |far, near| (far - near) / 1_000.0)?;
        lines.push(Line::new(format!("added by Redis, {name}"), Unit::Microseconds, added));
    }
    for channels in CHANNELS {
        for (figure, what, unit) in TRAFFIC {
            let what = format!("{what}, of {} channels", amount(channels as f64));
            lines.push(line(what, &format!("{figure} {channels}"), unit)?);
        }
    }
    let (least, most) = (CHANNELS[0], CHANNELS[CHANNELS.len() - 1]);
    let growth =
        samples.pair(&format!("traffic bytes {most}"), &format!("traffic bytes {least}"), |a, b| a / b)?;
    let what = format!("bytes from Redis, {} ÷ {} channels", amount(most as f64), amount(least as f64));
    lines.push(Line::new(what, Unit::Times, growth).goal(Goal::AtMost(FLAT)));
    let mut remarks = vec![
        format!(
            "Two servers and one Redis; PHP publishes events of 200 B to one of them, natively. {} events a second, or \
             {} deliveries where that is less. CPU of Redis holds what the kernel does on its sockets.",
            amount(EVENTS_PER_S as f64),
            amount(DELIVERIES_PER_S as f64)
        ),
        format!(
            "Latency: {} events a second to one client; both servers, Redis, PHP and the client share this machine's processors.",
            amount(EVENTS_PER_S as f64)
        ),
        format!(
            "Traffic: the other server's clients listen to {HEARD_CHANNELS} channels. Each of so many channels is published to \
             equally often, within {} s; what servers say of themselves in this time is in the figures.",
            TRAFFIC_NS / 1_000_000_000
        ),
    ];
    remarks.push(format!(
        "Under load: one event every {} µs, on a channel that nobody listens to, then one to which one client of the other \
         server listens. Idle: nothing is published for {} s; with {} leases more in Redis, the roll calls, one a second \
         from each server, find as many as there would be of so many servers, which they all know already. What Redis spends \
         without servers is taken off.",
        LOAD_INTERVAL_NS / 1_000,
        IDLE.as_secs(),
        amount(LEASES as f64)
    ));
    let point = |&channels: &usize| {
        let line = Line::new("", Unit::Bytes, samples.take(&format!("traffic bytes {channels}"), 1.0)?);
        Ok((channels as f64, line.median))
    };
    let points = CHANNELS.iter().map(point).collect::<Result<_, Failure>>()?;
    let charts = vec![Chart {
        name: "fleet",
        title: "Bytes from Redis to a server whose clients listen to 10 channels",
        x: Axis { label: "channels that are published to", scale: Scale::Log },
        y: Axis { label: "bytes per event that they listen to", scale: Scale::Even },
        series: vec![Series { name: "Fanfare".to_owned(), points }],
    }];
    Ok(Section {
        name: SCENARIO.name,
        title: "Several servers",
        lines,
        remarks,
        charts,
        tables: tables(samples)?,
    })
}
