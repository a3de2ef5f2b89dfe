//! Reading the configuration again while everything goes on.
//!
//! Owns what may change in a running server (apps with their limits, certificate and key, trusted proxies) and
//! what is said about the rest. A new configuration is taken as a whole or, when it has a mistake, not at all.
//! What a change does to connections is [`Node::configure`]'s.

use std::sync::Arc;

use tracing::{error, info, warn};

use crate::config::{Configuration, LoadError, Loaded, Mistake, Source};
use crate::limits::{Limits, Scope};
use crate::node::Node;
use crate::tls;

/// The way back to the configuration.
#[derive(Debug)]
pub(super) struct Reload {
    source: Source,
    /// What the server was started with, and what of it is still in force if it cannot change.
    started: Configuration,
    node: Arc<Node>,
}

impl Reload {
    pub(super) fn new(source: Source, started: Configuration, node: Arc<Node>) -> Self {
        Self { source, started, node }
    }

    /// Reads again, and takes what can be taken.
    pub(super) fn reload(&self) {
        match &self.source {
            Source::StandardInput => self.reload_files(),
            Source::File(_) => self.reload_all(),
        }
    }

    fn reload_all(&self) {
        let Loaded { configuration, tls } = match self.source.load(self.started.shards) {
            Ok(loaded) => loaded,
            Err(LoadError::Mistaken { mistakes, .. }) => return self.refuse(&mistakes),
            Err(error @ LoadError::Unreadable { .. }) => {
                self.node.metrics.reloads_refused_total.increment();
                return error!(%error, "the configuration cannot be read again; everything stays as it was");
            }
        };
        let fixed = needs_restart(&self.started, &configuration);
        let encrypted = tls.is_some();
        self.node.tls.store(tls);
        self.node.proxies.store(Arc::new(configuration.trusted_proxies));
        let changes = self.node.configure(configuration.apps);
        self.node.metrics.reloads_total.increment();
        info!(
            apps_added = changes.added,
            apps_changed = changes.changed,
            apps_removed = changes.removed,
            tls = encrypted,
            "the configuration is read again and taken"
        );
        if !fixed.is_empty() {
            let fields = fixed.join(", ");
            warn!(
                fields,
                "changed, but needs a restart; until then the server keeps what it was started with"
            );
        }
    }

    /// Of a configuration that came on standard input, only the files that it names can be read again.
    fn reload_files(&self) {
        warn!(
            "the configuration came on standard input and cannot be read again; to change apps or anything else in it, \
             restart the server (php artisan fanfare:start: restart the command)"
        );
        let Some(files) = &self.started.tls else { return };
        match tls::read(files) {
            Ok(tls) => {
                self.node.tls.store(Some(tls));
                self.node.metrics.reloads_total.increment();
                info!("certificate and key are read again and taken");
            }
            Err(mistakes) => self.refuse(&mistakes),
        }
    }

    fn refuse(&self, mistakes: &[Mistake]) {
        self.node.metrics.reloads_refused_total.increment();
        for mistake in mistakes {
            error!(%mistake, "a mistake in what was read again; everything stays as it was");
        }
    }
}

/// The fields that differ and cannot change in a running server.
fn needs_restart(started: &Configuration, found: &Configuration) -> Vec<String> {
    // By name, so that whoever adds a field has to say here which kind it is.
    let Configuration {
        listen,
        path,
        tls: _,
        trusted_proxies: _,
        socket,
        socket_mode,
        socket_uids,
        shards,
        log,
        redis,
        limits,
        webhook_ca_file,
        apps: _,
    } = started;
    let fields = [
        ("listen", *listen == found.listen),
        ("path", *path == found.path),
        ("socket", *socket == found.socket),
        ("socket_mode", *socket_mode == found.socket_mode),
        ("socket_uids", *socket_uids == found.socket_uids),
        ("shards", *shards == found.shards),
        ("log.level", log.level == found.log.level),
        ("log.format", log.format == found.log.format),
        ("redis", *redis == found.redis),
        ("webhook_ca_file", *webhook_ca_file == found.webhook_ca_file),
    ];
    let differing = fields.into_iter().filter(|(_, same)| !same).map(|(name, _)| name.to_owned());
    differing.chain(fixed_limits(limits, &found.limits)).collect()
}

/// The limits that differ and that all apps share. The others are taken anew with the apps.
fn fixed_limits(started: &Limits, found: &Limits) -> impl Iterator<Item = String> {
    let (mut started, mut found) = (started.clone(), found.clone());
    let shared = Limits::CATALOGUE.iter().filter(|limit| limit.scope == Scope::Node);
    let differing = shared.filter(move |limit| started.entry(limit.name) != found.entry(limit.name));
    differing.map(|limit| format!("limits.{}", limit.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// The smallest configuration, with `fields` in place of its own or beside them.
    fn configuration(fields: Value) -> Configuration {
        let mut all = json!({"listen": "127.0.0.1:1", "socket": "/s", "apps": [{"id": "1", "key": "a", "secret": "x"}]});
        for (name, value) in fields.as_object().unwrap() {
            all[name] = value.clone();
        }
        Configuration::parse(all.to_string(), 2).unwrap()
    }

    #[test]
    fn what_cannot_change_is_named_and_what_can_is_not() {
        let started = configuration(json!({}));
        let found = configuration(json!({
            "listen": "127.0.0.1:2", "path": "/ws", "socket": "/t", "socket_mode": "0600", "socket_uids": [1],
            "shards": 3, "log": {"level": "trace", "format": "json"}, "redis": {"url": "redis://r"},
            "webhook_ca_file": "/ca", "limits": {"outbox_bytes_max": 2048, "message_bytes_max": 2048},
        }));
        let fields = [
            "listen",
            "path",
            "socket",
            "socket_mode",
            "socket_uids",
            "shards",
            "log.level",
            "log.format",
            "redis",
            "webhook_ca_file",
            "limits.outbox_bytes_max",
        ];
        assert_eq!(needs_restart(&started, &found), fields);
        let other = configuration(json!({
            "trusted_proxies": ["*"], "tls": {"certificate": "/c", "key": "/k"},
            "limits": {"message_bytes_max": 2048}, "apps": [{"id": "2", "key": "b", "secret": "y"}],
        }));
        assert_eq!(needs_restart(&started, &other), Vec::<String>::new());
    }
}
