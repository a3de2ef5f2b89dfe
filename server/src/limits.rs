//! The catalogue of limits: everything that could grow has a bound, and here it stands.
//!
//! Every row gives the name under `"limits"` in the configuration (unit last), the default, the range that is
//! accepted, what happens at the limit, and which metric counts it. A row with `: App` behind its name may also
//! stand in an app's own `"limits"`, where it replaces the node's value for that app, be it smaller or larger;
//! the other rows bound what all apps share. The wire format's own bounds (100 channels in one publication, 200
//! bytes in one name) are `fanfare_wire::record`'s and cannot be configured.

/// Whose limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The node's alone: what it bounds is shared by all apps.
    Node,
    /// An app may have its own; the node's value is what the others have.
    App,
}

/// One row of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Its name in the configuration; the unit is the last word before `_max` or `_min`, or the last word.
    pub name: &'static str,
    /// Whose it is.
    pub scope: Scope,
    /// What it bounds, in one or a few sentences.
    pub meaning: &'static str,
    /// The value when nothing is configured.
    pub default: usize,
    /// The smallest value that is accepted.
    pub at_least: usize,
    /// The largest value that is accepted.
    pub at_most: usize,
    /// What happens at the limit.
    pub outcome: &'static str,
    /// The metric that counts it, if one does.
    pub metric: Option<&'static str>,
}

macro_rules! scope {
    () => {
        Scope::Node
    };
    (App) => {
        Scope::App
    };
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])* $name:ident $(: $scope:ident)? =
        $default:expr, $range:expr, $outcome:literal, $metric:expr;)*) => {
        /// The limits in force.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Limits { $($(#[doc = $doc])* pub $name: usize,)* }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Limits {
            /// All limits, in the order of this file.
            pub const CATALOGUE: &'static [Limit] = &[$(Limit {
                name: stringify!($name),
                scope: scope!($($scope)?),
                meaning: concat!($($doc),*).trim_ascii(),
                default: $default,
                at_least: *$range.start(),
                at_most: *$range.end(),
                outcome: $outcome,
                metric: $metric,
            },)*];

            /// The value of the limit called `name`, to be changed; `None` when there is no such limit.
            pub fn entry(&mut self, name: &str) -> Option<&mut usize> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)*
                    _ => None,
                }
            }
        }
    };
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

limits! {
    // Clients.

    /// WebSocket connections of this node.
    connections_max = 100_000, 1..=10_000_000,
        "the client is told 4100 and comes back after a second or more", Some("connections_refused_total");
    /// WebSocket connections of one app.
    app_connections_max: App = 10_000_000, 1..=10_000_000,
        "the client is told 4004 and does not come back by itself", Some("connections_refused_total");
    /// Channels that one connection holds.
    connection_channels_max: App = 1_000, 1..=100_000,
        "the subscription is refused: subscription_error LimitReached and error 4100", None;
    /// Subscriptions of one connection in one second, beside as many at once as `connection_channels_max`: who connects again subscribes to all of its channels. Each of them may be told to others.
    subscriptions_per_s: App = 100, 1..=1_000_000,
        "the subscription is refused: subscription_error LimitReached and error 4100", None;
    /// Bytes of one message from a client.
    message_bytes_max: App = 100_000, KIB..=16 * MIB,
        "the connection is closed with 1009", Some("messages_too_large_total");
    /// How deep arrays and objects nest in a message from a client.
    json_depth_max = 32, 4..=120,
        "the message is answered by error 4300", None;
    /// Bytes that wait for one connection. A single event always fits into an empty outbox.
    outbox_bytes_max = MIB, KIB..=1024 * MIB,
        "the client does not keep up: it is closed with 4100, others are not delayed", Some("outbox_overflows_total");
    /// Bytes from which on an event is compressed for the clients that have agreed to it (permessage-deflate); 0 agrees with none, and compresses nothing. Below about this size the headers of TCP and IP outweigh what is saved.
    deflate_bytes_min: App = 1_024, 0..=16 * MIB,
        "the event is compressed, once for all who receive it so", Some("events_deflated_total");
    /// How long nothing may come: clients are told to ping after it, and the server pings after it.
    activity_timeout_s: App = 120, 1..=86_400,
        "each side pings", None;
    /// How long after the server's ping nothing may come.
    pong_timeout_s: App = 30, 1..=3_600,
        "the connection is closed with 4201, upon which pusher-js connects again at once", None;
    /// How long the other side may take to answer a close frame and read what waits.
    close_timeout_ms = 3_000, 1..=60_000,
        "the socket is closed", None;

    // Users.

    /// How long a connection may go without signing in; 0 does not ask for it.
    signin_timeout_s: App = 0, 0..=3_600,
        "the connection is closed with 4009, and the client does not come back by itself", None;
    /// Bytes of a user's id.
    user_id_bytes_max: App = 128, 1..=1_024,
        "signing in is answered by error 4009, a subscription by subscription_error LimitReached and error 4100", None;
    /// Users on one presence channel. A user counts once however many connections there are, so a member's further ones always fit.
    presence_members_max: App = 100, 1..=100_000,
        "the subscription is refused: subscription_error LimitReached and error 4100", None;
    /// Bytes of what a presence channel tells about a member (`user_info`, as JSON).
    member_info_bytes_max: App = 2_048, 4..=MIB,
        "the subscription is refused: subscription_error LimitReached and error 4100", None;
    /// Users that one user watches.
    watchlist_users_max: App = 100, 1..=10_000,
        "the first ones are watched, and error 4302 says so", None;
    /// How long the last connection of a user may be gone before the watchers are told. A page that is loaded again is back within it.
    user_settle_ms: App = 2_000, 0..=60_000,
        "the watchers are told that the user is offline", None;

    // Client events.

    /// Client events of one connection in one second.
    client_events_per_s: App = 10, 1..=1_000_000,
        "the event is dropped and answered by error 4301", None;
    /// Bytes of a client event's data. The default is that of `message_bytes_max`, which also has to hold the names and so is met first: one limit to explain instead of two. Pusher's is 10240.
    client_event_bytes_max: App = 100_000, 1..=16 * MIB,
        "the event is dropped and answered by error 4301", None;

    // HTTP.

    /// Connections of the port that are not WebSocket clients: before the upgrade, kept alive between requests, or refused. Together with the WebSocket clients they also leave descriptors for PHP processes: four for each of `attachments_max`, but no more than a quarter of the limit of open files.
    http_connections_max = 16_384, 1..=10_000_000,
        "the one that has waited longest for a request is closed; where all are being answered, the new one is answered 503", Some("http_connections_turned_out_total");
    /// How long a client may take for the TLS handshake.
    tls_handshake_timeout_ms = 10_000, 1..=600_000,
        "the connection is closed", Some("tls_handshakes_failed_total");
    /// Bytes of a request's head.
    request_head_bytes_max = 16 * KIB, 8 * KIB..=MIB,
        "the request is answered 431", None;
    /// How long a client may take to send a request's head, or keep an idle connection.
    request_head_timeout_ms = 10_000, 1..=600_000,
        "the connection is closed", None;
    /// Bytes of a request's body. A batch of ten publications with the most data fits, quotation marks escaped.
    http_body_bytes_max = 6 * MIB, KIB..=64 * MIB,
        "the request is answered 413", Some("api_requests_rejected_total");
    /// How long a client may take to send a request's body.
    request_body_timeout_ms = 30_000, 10..=600_000,
        "the request is answered 408", Some("api_requests_rejected_total");
    /// Channels that one request publishes to. PHP's own way, without HTTP, always has 100.
    publication_channels_max: App = 100, 1..=100,
        "the request is answered 400 and nothing is delivered", Some("api_requests_rejected_total");
    /// Publications of one batch request.
    batch_publications_max: App = 10, 1..=1_000,
        "the request is answered 400 and nothing is delivered", Some("api_requests_rejected_total");

    // Publications.

    /// Bytes of a channel's name.
    channel_bytes_max: App = 200, 1..=200,
        "the subscription is refused; PHP is told when it attaches and throws ValueError; what comes anyway is dropped; an HTTP request is answered 400", Some("publications_rejected_total");
    /// Bytes of an event's name.
    event_bytes_max: App = 200, 1..=200,
        "PHP is told when it attaches and throws ValueError; what comes anyway is dropped; an HTTP request is answered 400", Some("publications_rejected_total");
    /// Bytes of an event's data. Pusher allows 10 KiB; applications that outgrow it are why this is larger.
    data_bytes_max: App = 256 * KIB, 1..=15 * MIB,
        "PHP is told when it attaches and throws TooLarge; what comes anyway is dropped; an HTTP request is answered 413",
        Some("publications_rejected_total");

    // Channels.

    /// How long a cache channel remembers its last event. Pusher's is half an hour.
    cache_ttl_s: App = 1_800, 1..=86_400,
        "the event is forgotten, and who subscribes is told of a cache miss", None;
    /// Events that an app's cache channels remember.
    cached_channels_max: App = 10_000, 1..=10_000_000,
        "the one that would expire first is forgotten", None;
    /// Bytes of the same, names and data.
    cached_bytes_max: App = 64 * MIB, KIB..=16 * 1024 * MIB,
        "the ones that would expire first are forgotten; an event that is larger by itself is not remembered", None;
    /// How often a channel of 100 or more subscribers is told how many there are, where `subscription_count` is on. Smaller ones are told at once.
    subscription_count_ms: App = 5_000, 100..=600_000,
        "the changes in between are told together", None;

    // PHP processes.

    /// PHP processes attached at a time.
    attachments_max = 4_096, 1..=1_000_000,
        "the attachment is refused", Some("attachments_refused_total");
    /// Connections of the Unix socket that have not finished their handshake.
    attach_pending_max = 256, 1..=65_536,
        "further ones wait in the socket's queue", None;
    /// How long a peer may take for the handshake.
    attach_timeout_ms = 2_000, 1..=60_000,
        "the attachment is refused", Some("attachments_refused_total");
    /// Records that one ring or socket hands over before others have their turn.
    batch_records_max = 256, 1..=65_536,
        "the rest is taken in the next turn", None;
    /// Bytes of the same.
    batch_bytes_max = 256 * KIB, KIB..=64 * MIB,
        "the rest is taken in the next turn", None;
    /// How long a ring whose records come faster than this is looked at again before its doorbell is waited for.
    look_again_us = 50, 0..=10_000,
        "the server sleeps and PHP wakes it with the next record", None;
    /// Rings of one shard that are looked at again at a time: each look costs the others.
    look_again_rings_max = 8, 0..=4_096,
        "further ones wait for their doorbell, and PHP wakes the server with the next record", None;

    // Several nodes.

    /// How long a node that is not heard of lives on for the others. It renews its lease fifteen times as often, at least once a second.
    lease_ms = 15_000, 1_000..=600_000,
        "its members are removed and its subscribers count no longer", Some("fleet_leases_lost_total");
    /// How long the HTTP API waits for the answers of the other nodes.
    fleet_answer_timeout_ms = 1_000, 10..=60_000,
        "the answer has what came until then, and says how many nodes are missing", Some("fleet_answers_missing_total");

    // Webhooks.

    /// Bytes of events that wait to settle, and, apart from these, bytes that wait for any one endpoint.
    webhook_queue_bytes_max = 32 * MIB, KIB..=1024 * MIB,
        "further events are dropped until there is room", Some("webhooks_dropped_total");
    /// How long channel_vacated and member_removed wait for their opposite.
    webhook_settle_ms = 3_000, 0..=60_000,
        "the event is sent; had its opposite come in time, neither would be", None;
    /// How long the first event of a batch waits for company. What one page's load causes comes within that time; more
    /// would only be later, since whatever happens during a request goes out with the next one anyway.
    webhook_batch_ms = 50, 0..=60_000,
        "the batch is sent", None;
    /// Events in one request.
    webhook_batch_events_max = 250, 1..=10_000,
        "the rest goes out with the next request", None;
    /// Bytes of one request's events; an event that is larger goes alone. Common receivers accept 100 KB unconfigured.
    webhook_batch_bytes_max = 64 * KIB, KIB..=16 * MIB,
        "the rest goes out with the next request", None;
    /// How long an endpoint may take to answer.
    webhook_timeout_ms = 10_000, 10..=600_000,
        "the attempt has failed", Some("webhook_attempts_failed_total");
    /// How long to wait after a first failed attempt; every further one in a row doubles it, up to 30 s.
    webhook_backoff_ms = 1_000, 1..=30_000,
        "the endpoint is tried again", None;
    /// How old an event becomes while its endpoint fails.
    webhook_retry_s = 300, 0..=86_400,
        "the event is dropped", Some("webhooks_dropped_total");

    // Listeners.

    /// Bytes of events that wait for one app's listener, beside the batch that it has. A batch is bounded as that of a webhook.
    listener_queue_bytes_max = 32 * MIB, KIB..=1024 * MIB,
        "further events are dropped until there is room", Some("listener_events_dropped_total");
    /// Listeners of one app: one that listens, and those that wait for their turn.
    listeners_max = 16, 1..=1_000,
        "a further one is told so and its connection is closed", None;
    // Other nodes.

    /// How long Redis may take to answer.
    redis_timeout_ms = 3_000, 10..=600_000,
        "the connection is given up, and made again", None;
    /// The longest pause between two attempts to reach Redis; the first ones are shorter, and all are of random length.
    redis_reconnect_ms = 1_000, 10..=600_000,
        "the next attempt is made", None;
    /// Bytes of frames for other nodes that wait for Redis.
    redis_buffer_bytes_max = 16 * MIB, KIB..=1024 * MIB,
        "further frames are dropped; this node's own clients are served", Some("broker_dropped_total");
    /// How long such a frame waits while Redis is away.
    redis_buffer_ms = 10_000, 0..=600_000,
        "it is dropped", Some("broker_dropped_total");
    /// How long frames are held back after Redis was away, so that the other nodes are there again too. Where they all are before that, it ends earlier.
    redis_regroup_ms = 2_000, 0..=60_000,
        "the frames are published", None;

    // Watching.

    /// Readers of `GET /tail` at a time.
    tails_max = 16, 1..=1_000,
        "a further one is answered 503", None;
    /// Lines that wait for one of them.
    tail_lines_max = 256, 1..=65_536,
        "lines are lost, and the reader is told how many", None;
    /// Bytes of an event's data in one line.
    tail_data_bytes_max = 16 * KIB, 0..=MIB,
        "the line has the beginning, and says so", None;

    // Leaving.

    /// How long leaving in good order may take.
    drain_timeout_ms = 8_000, 1..=3_600_000,
        "what is still connected is cut off", None;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn defaults_are_within_their_own_ranges_and_names_end_in_a_unit() {
        for limit in Limits::CATALOGUE {
            assert!((limit.at_least..=limit.at_most).contains(&limit.default), "{}", limit.name);
            let (name, last) = limit.name.rsplit_once('_').unwrap();
            assert!(["max", "min", "ms", "us", "s"].contains(&last), "{name}_{last}");
        }
    }

    #[test]
    fn l_docs_configuration_md_has_every_row_and_no_other() {
        let rows = Limits::CATALOGUE.iter().map(|limit| {
            let Limit { name, scope, meaning, default, at_least, at_most, outcome, metric } = limit;
            let own = if *scope == Scope::App { " *" } else { "" };
            let metric = metric.map_or("–".to_owned(), |metric| format!("`{metric}`"));
            let text = format!("{meaning} At the limit: {outcome}");
            format!("| `{name}`{own} | {default} | {at_least} to {at_most} | {text} | {metric} |")
        });
        let documented = include_str!("../../docs/configuration.md");
        let (_, table) = documented.split_once("### Limits\n").unwrap();
        let found: Vec<&str> = table.lines().take_while(|line| !line.starts_with('#')).collect();
        let found: Vec<&str> = found.into_iter().filter(|line| line.starts_with("| `")).collect();
        let rows: Vec<String> = rows.collect();
        assert!(
            found == rows,
            "expected these rows in docs/configuration.md, and only these:\n{}",
            rows.join("\n")
        );
    }

    #[test]
    fn every_metric_of_the_catalogue_exists() {
        let known: Vec<&str> = Metrics::CATALOGUE.iter().map(|metric| metric.name).collect();
        for metric in Limits::CATALOGUE.iter().filter_map(|limit| limit.metric) {
            assert!(known.contains(&metric), "{metric}");
        }
    }
}
