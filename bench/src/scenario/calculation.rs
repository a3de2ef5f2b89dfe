//! What many servers would carry, from what two of them were measured to: Fanfare, which listens per channel, against
//! one topic for all that every server listens to, as Reverb has it.
//!
//! Owns the formula, which the page and docs/scaling.md state. The firehose is given Fanfare's frames and Fanfare's
//! costs, so that what is compared is the design: Reverb's own messages are larger, and PHP reads each of them.

use crate::failure::Failure;
use crate::measurement::{Line, Samples, Unit};

/// Servers.
const SERVERS: [u32; 3] = [10, 100, 1_000];
/// Events that are published to each of them in a second.
const EVENTS_PER_S: f64 = 100.0;
/// Other servers on which a channel has subscribers.
const LISTENING: f64 = 3.0;

/// The constants, repetition by repetition.
struct Constants {
    in_bytes: Vec<f64>,
    out_bytes: Vec<f64>,
    publish_ns: Vec<f64>,
    pass_on_ns: Vec<f64>,
    hear_ns: Vec<f64>,
}

/// The calculated lines.
///
/// # Errors
/// When a constant was not measured.
pub(super) fn lines(samples: &Samples) -> Result<Vec<Line>, Failure> {
    let constants = Constants {
        in_bytes: samples.take("far in 1", 1.0)?,
        out_bytes: samples.take("far out 1", 1.0)?,
        publish_ns: samples.take("near redis 1", 1.0)?,
        pass_on_ns: samples.pair("far redis 1", "near redis 1", |both, publish| (both - publish).max(0.0))?,
        hear_ns: samples.take("far subscribers 1", 1.0)?,
    };
    let mut lines = Vec::new();
    for servers in SERVERS {
        for (who, listening) in [("Fanfare", LISTENING), ("one topic for all", f64::from(servers - 1))] {
            lines.extend(constants.of(servers, who, listening));
        }
    }
    Ok(lines)
}

/// What the lines rest on.
pub(super) fn remark() -> String {
    format!(
        "Calculated: {EVENTS_PER_S} events a second are published to each of n servers, each on a channel with subscribers on \
         k = {LISTENING} other servers; with one topic for all, k = n - 1. A server receives {EVENTS_PER_S} · k events a second and \
         as many bytes as Redis sends for each; Redis receives n · {EVENTS_PER_S} events, sends n · {EVENTS_PER_S} · k, and spends \
         on each what it was measured to spend when nobody listens, and for each server that listens what it was measured to \
         spend more. A server spends on an event that it hears at most what it was measured to spend on hearing and delivering \
         it to one client. One topic for all is given the same frames and costs."
    )
}

impl Constants {
    fn of(&self, servers: u32, who: &str, listening: f64) -> Vec<Line> {
        let published = EVENTS_PER_S * f64::from(servers);
        let heard = EVENTS_PER_S * listening;
        let line = |what: &str, unit, samples: Vec<f64>| {
            Line::new(format!("calculated, {servers} servers, {who}: {what}"), unit, samples)
        };
        let each =
            |constants: &[f64], factor: f64| constants.iter().map(|constant| constant * factor).collect();
        let redis = self.publish_ns.iter().zip(&self.pass_on_ns);
        let cores = redis.map(|(publish, pass_on)| published * (publish + listening * pass_on) / 1e9 * 100.0);
        let out = published * listening;
        vec![
            line("events that a server hears in a second", Unit::PerSecond, each(&[1.0], heard)),
            line("kB/s to a server", Unit::Count, each(&self.out_bytes, heard / 1e3)),
            line(
                "CPU of a server for them, of one processor",
                Unit::Percent,
                each(&self.hear_ns, heard / 1e7),
            ),
            line("MB/s into Redis", Unit::Count, each(&self.in_bytes, published / 1e6)),
            line("MB/s out of Redis", Unit::Count, each(&self.out_bytes, out / 1e6)),
            line("CPU of Redis, of one processor", Unit::Percent, cores.collect()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_hears_what_its_clients_listen_to_however_many_servers_there_are() {
        let mut samples = Samples::default();
        for (name, figure) in [
            ("far in 1", 300.0),
            ("far out 1", 250.0),
            ("near redis 1", 2_000.0),
            ("far redis 1", 3_000.0),
            ("far subscribers 1", 10_000.0),
        ] {
            samples.add(name, figure);
        }
        let lines = lines(&samples).unwrap();
        let find = |what: &str| lines.iter().find(|line| line.what.contains(what)).unwrap().median;
        assert_eq!(find("10 servers, Fanfare: kB/s to a server"), 75.0);
        assert_eq!(find("1000 servers, Fanfare: kB/s to a server"), 75.0);
        assert_eq!(find("1000 servers, one topic for all: kB/s to a server"), 24_975.0);
        assert_eq!(find("100 servers, Fanfare: MB/s out of Redis"), 7.5);
        // 10,000 events a second, 2 µs each, and 1 µs for each of three servers.
        assert_eq!(find("100 servers, Fanfare: CPU of Redis"), 5.0);
    }
}
