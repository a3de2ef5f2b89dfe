//! The catalogue of metrics.
//!
//! Every number that the server counts stands here with its meaning; `GET /metrics` on the Unix socket gives
//! them in Prometheus' text format (version 0.0.4). Counters are relaxed atomics: they order nothing. Hot paths
//! add once per batch, not once per event.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Movement {
    /// Only ever up.
    Counter,
    /// Up and down.
    Gauge,
}

/// One row of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Description {
    /// Its name, without the prefix `fanfare_`.
    pub name: &'static str,
    /// How it moves.
    pub movement: Movement,
    /// What it counts.
    pub meaning: &'static str,
}

/// A number that any shard changes.
#[derive(Debug, Default)]
pub struct Metric(AtomicU64);

impl Metric {
    /// Counts one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts several.
    pub fn add(&self, n: u64) {
        if n > 0 {
            self.0.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Another number, of a gauge that one thread sets.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// One fewer, of a gauge.
    pub fn decrement(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Several fewer, of a gauge.
    pub fn subtract(&self, n: u64) {
        if n > 0 {
            self.0.fetch_sub(n, Ordering::Relaxed);
        }
    }

    /// The number now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one unless that would be more than `max`; whether it did.
    pub fn increment_up_to(&self, max: u64) -> bool {
        let within = |n: u64| (n < max).then_some(n + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok()
    }
}

macro_rules! metrics {
    ($($movement:ident $name:ident = $meaning:literal;)*) => {
        /// The numbers of one node.
        #[derive(Debug, Default)]
        pub struct Metrics { $(#[doc = $meaning] pub $name: Metric,)* }

        impl Metrics {
            /// All metrics, in the order of this file.
            pub const CATALOGUE: &'static [Description] = &[$(Description {
                name: stringify!($name),
                movement: Movement::$movement,
                meaning: $meaning,
            },)*];

            /// The numbers now, in the catalogue's order.
            fn values(&self) -> Vec<u64> {
                vec![$(self.$name.value(),)*]
            }
        }
    };
}

metrics! {
    Gauge connections = "WebSocket connections that are open, refused ones not counted.";
    Gauge connections_deflating = "Those of them that have agreed to compression.";
    Counter connections_opened_total = "WebSocket connections that were let in.";
    Counter connections_refused_total = "WebSocket requests that were answered by an error and a close.";
    Gauge http_connections = "Connections of the port that are not WebSocket clients: not yet, never, or refused.";
    Counter http_connections_turned_out_total = "Those that were closed to make room for others.";
    Counter http_connections_refused_total = "Connections of the port that were answered 503, because there was no room for them.";
    Counter messages_total = "Text messages from clients.";
    Counter messages_deflated_total = "Those of them that came compressed.";
    Counter messages_too_large_total = "Messages from clients over message_bytes_max.";
    Counter client_events_total = "Events that clients sent to each other, refused ones not counted.";
    Counter connections_silent_total = "Connections that were closed because nothing was heard of their clients.";
    Counter protocol_errors_total = "Connections that broke the WebSocket protocol.";
    Counter outbox_overflows_total = "Clients that were closed because they did not keep up.";
    Counter accept_errors_total = "Connections that could not be accepted, mostly for want of descriptors.";
    Counter api_requests_total = "Requests of the HTTP API.";
    Counter api_requests_rejected_total = "Requests of the HTTP API that were answered by an error.";
    Counter tls_handshakes_failed_total = "TLS handshakes that failed or took longer than tls_handshake_timeout_ms.";
    Counter reloads_total = "Times that the configuration was read again and taken.";
    Counter reloads_refused_total = "Times that it was read again and had mistakes, so that everything stayed as it was.";
    Gauge channels = "Channels with a subscriber, each counted once per shard that has one.";
    Gauge attachments = "Connections over which PHP processes are attached: one for publishing, and one for asking where a process asks.";
    Gauge attachments_ring = "Those of them that publish by a ring.";
    Gauge attachments_asking = "Those of them that ask.";
    Counter attachments_total = "Attachments that were accepted.";
    Counter attachments_refused_total = "Attachments that were refused.";
    Counter attachments_broken_total = "Attachments that ended because what came over them was not sound.";
    Counter publications_total = "Publications that this node took on.";
    Counter publications_rejected_total = "Publications that were dropped because of a name, a limit or text that is not UTF-8.";
    Gauge broker_away = "Whether other nodes are not heard, wholly or in part: 1 while Redis is away, else 0.";
    Gauge broker_nodes = "Servers that listen to what is said to all, this one included, as Redis counted them last; 0 where it is not asked or does not say: with a cluster, without the right to ask, or without Redis.";
    Gauge broker_waiting_bytes = "Bytes of frames for other nodes that Redis has not taken yet.";
    Counter broker_published_total = "Frames for other nodes that Redis has taken.";
    Counter broker_heard_total = "Frames of other nodes that were heard.";
    Counter broker_dropped_total = "Frames for other nodes that were dropped: too many waited, they became too old, or Redis refused them.";
    Counter broker_repeats_total = "Frames of other nodes that came again, and were heard once.";
    Counter broker_unreadable_total = "Frames of other nodes that this release does not read.";
    Counter broker_connections_total = "Times that a server of Redis was connected to.";
    Counter deliveries_total = "Events that were put into an outbox.";
    Counter events_deflated_total = "Events that were compressed, each counted once however many receive it.";
    Gauge fleet_away = "Whether what this node knows is not kept in Redis: 1 while Redis refuses it or is away, and until it is written again, else 0.";
    Gauge fleet_nodes = "Nodes of the fleet that live, this one included, as this one knew them last; 0 where there is no fleet, or it was never reached.";
    Counter fleet_words_total = "Words by which this node told the others who subscribes and who is a member.";
    Counter fleet_gaps_total = "Words of other nodes that were missed, so that everything about the channel was read again.";
    Counter fleet_leases_lost_total = "Times that this node was taken for dead and came back.";
    Counter fleet_answers_missing_total = "Answers of other nodes to this node's questions that did not come in time.";
    Gauge webhooks_waiting = "Webhook events that wait to settle or for their endpoint, each counted once per endpoint.";
    Counter webhooks_sent_total = "Webhook events that an endpoint accepted.";
    Counter webhook_attempts_failed_total = "Webhook requests that were not answered by a 2xx.";
    Counter webhooks_dropped_total = "Webhook events that were dropped because too many waited or their endpoint failed too long.";
    Gauge listeners = "Connections of listeners, those included that wait for their turn.";
    Gauge listener_events_waiting = "Events that wait to settle or for an app's listener to be done with them.";
    Counter listener_events_taken_total = "Events that a listener said it was done with.";
    Counter listener_events_dropped_total = "Events that no listener heard, because too many waited, or because none came before the server left or the app had no listener any more.";
}

impl Metrics {
    /// Names and numbers now, in the order of this file.
    pub fn numbers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Self::CATALOGUE.iter().map(|metric| metric.name).zip(self.values())
    }

    /// Prometheus' text format.
    pub fn render(&self) -> String {
        let mut out = String::new();
        for (metric, value) in Self::CATALOGUE.iter().zip(self.values()) {
            let Description { name, movement, meaning } = metric;
            let movement = match movement {
                Movement::Counter => "counter",
                Movement::Gauge => "gauge",
            };
            // Writing to a String cannot fail.
            let _ = write!(
                out,
                "# HELP fanfare_{name} {meaning}\n# TYPE fanfare_{name} {movement}\nfanfare_{name} {value}\n"
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_every_metric_with_its_kind() {
        let metrics = Metrics::default();
        metrics.publications_total.add(3);
        metrics.connections.increment();
        let text = metrics.render();
        assert!(text.contains("# TYPE fanfare_publications_total counter\nfanfare_publications_total 3\n"));
        assert!(text.contains("# TYPE fanfare_connections gauge\nfanfare_connections 1\n"));
        for metric in Metrics::CATALOGUE {
            let is_counter = metric.movement == Movement::Counter;
            assert_eq!(metric.name.ends_with("_total"), is_counter, "{}", metric.name);
        }
    }

    #[test]
    fn docs_operations_md_has_every_row_and_no_other() {
        let row = |metric: &Description| {
            let Description { name, movement, meaning } = metric;
            let movement = if *movement == Movement::Counter { "counter" } else { "gauge" };
            format!("| `fanfare_{name}` | {movement} | {meaning} |")
        };
        let rows: Vec<String> = Metrics::CATALOGUE.iter().map(row).collect();
        let documented = include_str!("../../docs/operations.md");
        let found: Vec<&str> = documented.lines().filter(|line| line.starts_with("| `fanfare_")).collect();
        assert!(
            found == rows,
            "expected these rows in docs/operations.md, and only these:\n{}",
            rows.join("\n")
        );
    }

    #[test]
    fn a_bounded_gauge_stops_at_its_bound() {
        let metric = Metric::default();
        assert!(metric.increment_up_to(1));
        assert!(!metric.increment_up_to(1));
        metric.decrement();
        assert!(metric.increment_up_to(1));
    }
}
