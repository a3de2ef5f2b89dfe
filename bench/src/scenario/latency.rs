//! How long an event takes from PHP to a subscribed client, when events are few: everybody sleeps in between.
//!
//! One subscriber, which waits in a thread of its own; the clock is the machine's.

use serde::Deserialize;
use serde_json::json;

use super::{Scenario, Stage};
use crate::failure::Failure;
use crate::measurement::{Line, Samples, Section, Unit, percentile};
use crate::server::{KEY, Server};
use crate::subscriber::{Arrival, Subscriber};

pub(super) const SCENARIO: Scenario =
    Scenario { name: "latency", about: "µs from broadcast() in PHP to a subscribed client", run };

const CHANNEL: &str = "ticks";
const INTERVAL_US: u32 = 1_000;
/// Events of each repetition that come first and are not counted.
const WARM_UP: usize = 200;

/// What an event carries.
#[derive(Debug, Deserialize)]
struct Tick {
    number: usize,
    at_ns: u64,
}

fn run(stage: &Stage) -> Result<Section, Failure> {
    let count = stage.amount(2_000, 1_000, 300);
    let mut samples = Samples::default();
    let server = stage.server(&json!({}))?;
    stage.repeat("latency", || {
        let latencies = one_run(stage, &server, count + WARM_UP)?;
        samples.add("p50", percentile(&latencies, 0.5));
        samples.add("p99", percentile(&latencies, 0.99));
        samples.add("max", percentile(&latencies, 1.0));
        Ok(())
    })?;
    server.stop()?;
    let line = |what: &str, name: &str| -> Result<Line, Failure> {
        Ok(Line::new(what, Unit::Microseconds, samples.take(name, 1_000.0)?))
    };
    let lines = vec![
        line("half of the events within", "p50")?,
        line("99 of 100 events within", "p99")?,
        line("all events within", "max")?,
    ];
    let remarks = vec![format!(
        "{count} events of 200 B per repetition, one every {INTERVAL_US} µs, from just before `broadcast()` until one \
         subscriber has read it from its WebSocket. All arrived, in order. Publisher, server and subscriber sleep in \
         between: a figure holds two wake-ups, and the timer's lateness is not in it."
    )];
    Ok(Section { name: SCENARIO.name, title: "From PHP to a client", lines, remarks, charts: Vec::new() })
}

/// Sorted latencies in nanoseconds.
fn one_run(stage: &Stage, server: &Server, count: usize) -> Result<Vec<f64>, Failure> {
    let mut subscriber = Subscriber::subscribe(server.address, KEY, CHANNEL)?;
    let receiving = std::thread::spawn(move || subscriber.receive(count));
    let task = json!({"channel": CHANNEL, "interval_us": INTERVAL_US, "count": count});
    stage.script("latency.php", server, task)?;
    let arrivals = receiving
        .join()
        .unwrap_or_else(|_| Err(Failure::new("the subscriber's thread panicked; see above")))?;
    let mut latencies = latencies_ns(&arrivals)?.split_off(WARM_UP.min(count));
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}

/// In the order of arrival, which has to be the order of the broadcasts.
fn latencies_ns(arrivals: &[Arrival]) -> Result<Vec<f64>, Failure> {
    let latency = |(expected, arrival): (usize, &Arrival)| {
        let tick: Tick = serde_json::from_str(&arrival.data).map_err(|error| {
            Failure::new(format!("expected a tick, but found {:?} ({error})", arrival.data))
        })?;
        if tick.number != expected {
            let found = tick.number;
            return Err(Failure::new(format!("expected event {expected} next, but found event {found}")));
        }
        Ok(arrival.at_ns.saturating_sub(tick.at_ns) as f64)
    };
    arrivals.iter().enumerate().map(latency).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(number: usize, at_ns: u64) -> Arrival {
        Arrival { data: format!(r#"{{"number":{number},"at_ns":1000,"filling":"x"}}"#), at_ns }
    }

    #[test]
    fn latency_is_arrival_less_departure() {
        assert_eq!(latencies_ns(&[arrival(0, 1_500), arrival(1, 9_000)]).unwrap(), [500.0, 8_000.0]);
    }

    #[test]
    fn an_event_out_of_order_is_a_failure() {
        let failure = latencies_ns(&[arrival(0, 1_500), arrival(2, 9_000)]).unwrap_err();
        assert!(failure.to_string().contains("expected event 1 next, but found event 2"), "{failure}");
    }
}
