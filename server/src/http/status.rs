//! `GET /status` on the Unix socket: what this server is, and how it is.
//!
//! For `php artisan fanfare:status` and for people; programs that watch numbers over time have `/metrics`. Taking a
//! look costs a lock per stripe of every app's channels, no more. Nothing here is secret, but it is nobody else's
//! business, so it is on the Unix socket only.

use std::time::SystemTime;

use rustix::process::{Resource, getrlimit, getuid};
use serde_json::{Map, Value, json};

use crate::broker::Standing;
use crate::lifecycle::Phase;
use crate::node::Node;

/// The answer, JSON.
pub(super) fn render(node: &Node) -> String {
    let (started, running) = node.started;
    let started_at = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let apps: Vec<Value> = node
        .apps
        .configured()
        .iter()
        .map(|app| {
            let settings = app.settings();
            json!({
                "id": settings.app.id,
                "enabled": settings.app.enabled,
                "connections": app.connections.value(),
                "channels": app.directory.len(),
            })
        })
        .collect();
    let metrics: Map<String, Value> =
        node.metrics.numbers().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let (attachments, ring) = (node.metrics.attachments.value(), node.metrics.attachments_ring.value());
    let open_files = getrlimit(Resource::Nofile);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uid": getuid().as_raw(),
        "started_at": started_at,
        "uptime_s": running.elapsed().as_secs(),
        "phase": phase(*node.phase.borrow()),
        "shards": node.shards(),
        "listen": node.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "path": node.path,
        "tls": node.tls.load().is_some(),
        "apps": apps,
        // Read one after the other, so that the difference may be off by one, but never below nothing.
        "attachments": {"ring": ring, "socket": attachments.saturating_sub(ring)},
        "memory": {"rss_bytes": rss_bytes()},
        "open_files": {"open": open_files_open(), "max": open_files.current},
        "limits": {
            "connections_max": node.limits.connections_max,
            "http_connections_max": node.limits.http_connections_max,
            "attachments_max": node.limits.attachments_max,
        },
        "broker": broker(node),
        "tails": node.tails.len(),
        "metrics": metrics,
    })
    .to_string()
}

fn broker(node: &Node) -> Value {
    if !node.broker.reaches_others() {
        return json!({"kind": "memory"});
    }
    let described = |standing| match standing {
        Standing::Connecting => ("connecting", None),
        Standing::Connected => ("connected", None),
        Standing::Away { reason } => ("away", Some(reason)),
    };
    let (standing, reason) = described(node.broker.standing());
    let store = node.part.get().map(|part| {
        let (standing, reason) = described(part.store_standing());
        json!({"standing": standing, "reason": reason})
    });
    let node_id = node.broker.node_id().to_string();
    json!({
        "kind": "redis",
        "node_id": node_id,
        "standing": standing,
        "standing_s": node.broker.standing_since().map(|since| since.elapsed().as_secs()),
        "reason": reason,
        "store": store,
    })
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Serving => "serving",
        Phase::Draining => "draining",
        Phase::Closing => "closing",
        Phase::Stopped => "stopped",
    }
}

/// Memory of this process that is in RAM; `None` where /proc does not say it.
fn rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    kib.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

fn open_files_open() -> Option<usize> {
    std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count)
}
