//! What many servers would carry, from what two of them were measured to: Fanfare, which listens per channel, against
//! one topic for all that every server listens to, as Reverb has it.
//!
//! Owns the formula, which the page and docs/scaling.md state. The firehose is given Fanfare's frames and Fanfare's
//! costs, and nothing for what its servers say of themselves, so that what is compared is the design: Reverb's own
//! messages are larger, and PHP reads each of them.

use crate::failure::Failure;
use crate::measurement::{Line, Samples, Table, Unit};
use crate::page::figure;

/// Servers.
const SERVERS: [u32; 3] = [10, 100, 1_000];
/// Events that are published to each of them in a second.
const EVENTS_PER_S: f64 = 100.0;
/// Other servers on which a channel has subscribers.
const LISTENING: f64 = 3.0;
/// Between how many leases what is idle was measured.
const LEASES: [f64; 2] = [2.0, 1_002.0];

/// What was measured, medians.
struct Constants {
    in_bytes: f64,
    answer_bytes: f64,
    out_bytes: f64,
    publish_ns: f64,
    pass_on_ns: f64,
    hear_ns: f64,
    idle_in: Straight,
    idle_out: Straight,
    idle_ns: Straight,
}

/// What grows evenly with the number of leases.
struct Straight {
    at_none: f64,
    each: f64,
}

impl Straight {
    fn through(few: f64, many: f64) -> Self {
        let [least, most] = LEASES;
        let each = ((many - few) / (most - least)).max(0.0);
        Self { at_none: (few - each * least).max(0.0), each }
    }

    fn at(&self, leases: f64) -> f64 {
        self.at_none + self.each * leases
    }
}

impl Constants {
    fn of(samples: &Samples) -> Result<Self, Failure> {
        let median = |figures: Vec<f64>| Line::new("", Unit::Count, figures).median;
        let one = |name: &str| samples.take(name, 1.0).map(median);
        let more = |name: &str| {
            let (heard, unheard) = (format!("heard {name}"), format!("unheard {name}"));
            samples.pair(&heard, &unheard, |heard, unheard| (heard - unheard).max(0.0)).map(median)
        };
        let idle = |name: &str| {
            Ok::<_, Failure>(Straight::through(
                one(&format!("idle {name}"))?,
                one(&format!("idle many {name}"))?,
            ))
        };
        Ok(Self {
            in_bytes: one("unheard in")?,
            answer_bytes: one("unheard out")?,
            out_bytes: more("out")?,
            publish_ns: one("unheard redis")?,
            pass_on_ns: more("redis")?,
            hear_ns: one("heard far")?,
            idle_in: idle("in")?,
            idle_out: idle("out")?,
            idle_ns: idle("redis")?,
        })
    }

    /// With `idle` 0 nothing is said but events.
    fn load(&self, servers: f64, listening: f64, idle: f64) -> Load {
        let heard = EVENTS_PER_S * listening;
        let to_server =
            heard * self.out_bytes + EVENTS_PER_S * self.answer_bytes + idle * self.idle_out.at(servers);
        let from_server = EVENTS_PER_S * self.in_bytes + idle * self.idle_in.at(servers);
        let ns =
            EVENTS_PER_S * (self.publish_ns + listening * self.pass_on_ns) + idle * self.idle_ns.at(servers);
        Load {
            heard,
            to_server,
            hearing: heard * self.hear_ns / 1e9,
            into_redis: servers * from_server,
            out_of_redis: servers * to_server,
            redis: servers * ns / 1e9,
        }
    }
}

/// In a second.
struct Load {
    heard: f64,
    to_server: f64,
    /// Processors.
    hearing: f64,
    into_redis: f64,
    out_of_redis: f64,
    /// Processors.
    redis: f64,
}

/// The calculation.
///
/// # Errors
/// When a constant was not measured.
pub(super) fn table(samples: &Samples) -> Result<Table, Failure> {
    let constants = Constants::of(samples)?;
    let mut rows = Vec::new();
    for servers in SERVERS.map(f64::from) {
        let contestants = [("Fanfare", LISTENING, 1.0), ("one topic for all", servers - 1.0, 0.0)];
        for (who, listening, idle) in contestants {
            let load = constants.load(servers, listening, idle);
            rows.push(vec![
                figure(servers),
                who.to_owned(),
                figure(load.heard),
                figure(load.to_server / 1e3),
                figure(load.hearing * 100.0),
                figure(load.into_redis / 1e6),
                figure(load.out_of_redis / 1e6),
                figure(load.redis * 100.0),
            ]);
        }
    }
    let columns = [
        "servers",
        "",
        "a server hears, events/s",
        "to a server, kB/s",
        "CPU of a server for it, %",
        "into Redis, MB/s",
        "out of Redis, MB/s",
        "CPU of Redis, %",
    ];
    Ok(Table {
        title: "Calculated: many servers",
        about: about(&constants),
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    })
}

/// The formula, and what is in it.
fn about(constants: &Constants) -> String {
    let Constants { in_bytes, answer_bytes, out_bytes, publish_ns, pass_on_ns, hear_ns, .. } = constants;
    let Constants { idle_in, idle_out, idle_ns, .. } = constants;
    let us = |ns: &f64| figure(ns / 1e3);
    let straight = |line: &Straight, divisor: f64| {
        format!("{} + {} · n", figure(line.at_none / divisor), figure(line.each / divisor))
    };
    format!(
        "To each of n servers e = {} events of 200 B are published in a second, each on a channel with subscribers on k = {} other \
         servers; with one topic for all, k = n − 1. In a second,\n\n\
         - a server hears e · k events; Redis sends it e · k · {} B for them, e · {} B as answers to what it publishes, and \
         {} B for its roll calls;\n\
         - it spends up to {} µs of CPU on an event that it hears, one delivery included;\n\
         - Redis receives n · (e · {} + {}) B, and sends n times what a server receives;\n\
         - Redis spends n · (e · ({} + k · {}) + {}) µs of CPU.\n\n\
         The terms with n are the roll calls, one a second from each server, while nobody comes or goes: who lives is in the \
         answer only when it has changed, then all of them, once to each server. One topic for all is given the same frames and costs, and no roll calls. 100 % is one processor.",
        figure(EVENTS_PER_S),
        figure(LISTENING),
        figure(*out_bytes),
        figure(*answer_bytes),
        straight(idle_out, 1.0),
        us(hear_ns),
        figure(*in_bytes),
        straight(idle_in, 1.0),
        us(publish_ns),
        us(pass_on_ns),
        straight(idle_ns, 1e3),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Samples {
        let mut samples = Samples::default();
        for (name, figure) in [
            ("unheard in", 300.0),
            ("unheard out", 5.0),
            ("unheard redis", 2_000.0),
            ("heard out", 255.0),
            ("heard redis", 3_000.0),
            ("heard far", 10_000.0),
            ("idle in", 100.0),
            ("idle many in", 100.0),
            ("idle out", 50.0),
            ("idle many out", 23_050.0),
            ("idle redis", 100_000.0),
            ("idle many redis", 100_000.0),
        ] {
            samples.add(name, figure);
        }
        samples
    }

    #[test]
    fn what_a_server_hears_depends_on_who_listens_and_not_on_how_many_servers_there_are() {
        let constants = Constants::of(&samples()).unwrap();
        for servers in [10.0, 1_000.0] {
            let load = constants.load(servers, 3.0, 0.0);
            assert_eq!((load.heard, load.to_server), (300.0, 300.0 * 250.0 + 500.0));
        }
        let all = constants.load(1_000.0, 999.0, 0.0);
        assert_eq!((all.heard, all.out_of_redis), (99_900.0, 1_000.0 * (99_900.0 * 250.0 + 500.0)));
        // 10,000 events a second, 2 µs each, and 1 µs for each of three servers.
        assert!((constants.load(100.0, 3.0, 0.0).redis - 0.05).abs() < 1e-9);
    }

    #[test]
    fn roll_calls_grow_with_the_leases() {
        let constants = Constants::of(&samples()).unwrap();
        assert_eq!((constants.idle_out.each, constants.idle_out.at(1_002.0)), (23.0, 23_050.0));
        let more = |servers: f64| {
            constants.load(servers, 3.0, 1.0).to_server - constants.load(servers, 3.0, 0.0).to_server
        };
        assert!((more(1_000.0) - (4.0 + 23_000.0)).abs() < 1e-6);
    }

    #[test]
    fn the_table_has_two_rows_for_each_number_of_servers() {
        let table = table(&samples()).unwrap();
        assert_eq!(table.rows.len(), 2 * SERVERS.len());
        assert!(table.rows.iter().all(|row| row.len() == table.columns.len()));
    }
}
