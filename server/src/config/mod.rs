//! The configuration: JSON to plain typed data.
//!
//! Owns the shape of the file, its defaults and what is said about its mistakes: **all** of them at once, each
//! with the JSON path where it stands. Unknown fields are mistakes, because a misspelt limit that is silently
//! ignored is worse than an error. Leaves to others what needs the system: whether an address can be bound
//! ([`crate::lifecycle::bind`]).

mod apps;
mod json;
mod limits;
mod proxies;
mod reading;
pub mod redis;
mod source;
mod tls;
mod webhooks;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Value;
use tracing::Level;

pub use apps::{App, Secret};
pub use reading::Mistake;
use reading::{Field, Mistakes, Object};
pub use redis::Redis;
pub use source::{LoadError, Loaded, Source};
pub use tls::Tls;

use crate::http::Proxies;
use crate::limits::Limits;

/// Bytes of a Unix socket's path that the kernel takes (`sun_path` less its end).
use fanfare_wire::attach::SOCKET_PATH_BYTES_MAX;
/// Shards that a node can have: the hub keeps one bit for each.
pub const SHARDS_MAX: usize = 64;

/// Everything that a server is told.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// Addresses of the port(s) for clients.
    pub listen: Vec<SocketAddr>,
    /// What comes before `/app/{key}`; empty, or begins with a slash and does not end with one.
    pub path: String,
    /// Where certificate and key are; without it, nothing is encrypted.
    pub tls: Option<Tls>,
    /// Whose word about a client's address counts.
    pub trusted_proxies: Proxies,
    /// The Unix socket for PHP.
    pub socket: PathBuf,
    /// Its permission bits.
    pub socket_mode: u32,
    /// Users that may attach beside the server's own and root.
    pub socket_uids: Vec<u32>,
    /// Threads that serve clients.
    pub shards: usize,
    /// What is logged, and how.
    pub log: Log,
    /// How other nodes are heard; none where this is the only one.
    pub redis: Option<Redis>,
    /// The limits in force.
    pub limits: Limits,
    /// Authorities that https webhooks may have a certificate of, beside those of the system: a PEM file.
    pub webhook_ca_file: Option<PathBuf>,
    /// At least one; ids and keys are unique.
    pub apps: Vec<App>,
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// Less important events are left out.
    pub level: Level,
    /// Text for people or JSON for programs.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Configuration {
    /// Reads a configuration. `cores` is the default number of shards.
    ///
    /// # Errors
    /// Every mistake that was found, in the order of the fields below; a text that is not JSON is one mistake.
    pub fn parse(text: impl AsRef<[u8]>, cores: usize) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Mistakes::default();
        match parse(text.as_ref(), cores, &mut mistakes) {
            Some(configuration) if mistakes.is_empty() => Ok(configuration),
            _ => Err(mistakes.into_vec()),
        }
    }
}

/// What could be read, in spite of the mistakes.
fn parse(text: &[u8], cores: usize, mistakes: &mut Mistakes) -> Option<Configuration> {
    match json::parse(text) {
        Ok(value) => read(&value, cores, mistakes),
        Err(error) => {
            let found = format!("text that is not JSON ({error})");
            mistakes.add("$", "a JSON object", found, "correct it there");
            None
        }
    }
}

fn read(value: &Value, cores: usize, mistakes: &mut Mistakes) -> Option<Configuration> {
    let mut root = Object::open("", value, "a JSON object with listen, socket and apps", mistakes)?;
    let mut configuration = Configuration {
        listen: read_listen(root.required("listen", mistakes), mistakes),
        path: read_path(root.optional("path"), mistakes),
        tls: tls::read(root.optional("tls"), mistakes),
        trusted_proxies: proxies::read(root.optional("trusted_proxies"), mistakes),
        socket: read_socket(root.required("socket", mistakes), mistakes),
        socket_mode: read_mode(root.optional("socket_mode"), mistakes),
        socket_uids: read_uids(root.optional("socket_uids"), mistakes),
        shards: match root.optional("shards") {
            Some(field) => field.integer(1..=SHARDS_MAX, mistakes).unwrap_or(1),
            None => cores.clamp(1, SHARDS_MAX),
        },
        log: read_log(root.optional("log"), mistakes),
        redis: redis::read(root.optional("redis"), mistakes),
        limits: limits::read(root.optional("limits"), None, mistakes),
        webhook_ca_file: webhooks::read_ca_file(root.optional("webhook_ca_file"), mistakes),
        apps: Vec::new(),
    };
    configuration.apps = apps::read(root.required("apps", mistakes), &configuration.limits, mistakes);
    root.close(
        "listen, path, tls, trusted_proxies, socket, socket_mode, socket_uids, shards, log, redis, limits, webhook_ca_file or apps",
        mistakes,
    );
    Some(configuration)
}

fn read_listen(field: Option<Field<'_>>, mistakes: &mut Mistakes) -> Vec<SocketAddr> {
    const EXPECTED: &str = "an address with a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"";
    let Some(field) = field else { return Vec::new() };
    let fields = match field.value {
        Value::Array(_) => field.items(mistakes),
        _ => vec![field],
    };
    if fields.is_empty() {
        mistakes.add("listen", EXPECTED, "an empty list", "name at least one address");
    }
    let mut addresses = Vec::new();
    for field in fields {
        match field.value.as_str().and_then(|text| text.parse::<SocketAddr>().ok()) {
            Some(address) if addresses.contains(&address) && address.port() != 0 => {
                mistakes.add(
                    &field.path,
                    "an address that is not named above",
                    field.found(),
                    "leave it out",
                );
            }
            Some(address) => addresses.push(address),
            None => mistakes.add(&field.path, EXPECTED, field.found(), "write the host as a number"),
        }
    }
    addresses
}

fn read_path(field: Option<Field<'_>>, mistakes: &mut Mistakes) -> String {
    let Some(field) = field else { return String::new() };
    let text = field.text("a path such as \"/ws\"", mistakes).unwrap_or_default();
    let path = text.trim_end_matches('/');
    if !path.is_empty() && !path.starts_with('/') {
        mistakes.add(&field.path, "a path that begins with a slash", field.found(), "put a slash before it");
    }
    path.to_owned()
}

fn read_socket(field: Option<Field<'_>>, mistakes: &mut Mistakes) -> PathBuf {
    let Some(field) = field else { return PathBuf::new() };
    let Some(path) = field.text("the path of a Unix socket", mistakes) else { return PathBuf::new() };
    if path.len() > SOCKET_PATH_BYTES_MAX {
        let expected = format!("a path of at most {SOCKET_PATH_BYTES_MAX} bytes");
        mistakes.add(&field.path, &expected, format!("{} bytes", path.len()), "choose a shorter directory");
    }
    if !path.starts_with('/') {
        let advice = "PHP and the server start in different directories: write it from the root";
        mistakes.add(&field.path, "an absolute path", field.found(), advice);
    }
    if path.contains('\0') {
        mistakes.add(&field.path, "a path without a NUL", field.found(), "leave it out");
    }
    PathBuf::from(path)
}

fn read_mode(field: Option<Field<'_>>, mistakes: &mut Mistakes) -> u32 {
    const DEFAULT: u32 = 0o660;
    let Some(field) = field else { return DEFAULT };
    let digits = field.value.as_str().filter(|text| (3..=4).contains(&text.len()));
    match digits.and_then(|text| u32::from_str_radix(text, 8).ok()) {
        Some(mode) if mode <= 0o777 => mode,
        _ => {
            let expected = "permission bits as a string of octal digits, such as \"0660\"";
            mistakes.add(&field.path, expected, field.found(), "write them as chmod takes them");
            DEFAULT
        }
    }
}

fn read_uids(field: Option<Field<'_>>, mistakes: &mut Mistakes) -> Vec<u32> {
    let Some(field) = field else { return Vec::new() };
    let items = field.items(mistakes);
    let uids = items.iter().filter_map(|item| item.integer(0..=u32::MAX as usize, mistakes));
    uids.filter_map(|uid| u32::try_from(uid).ok()).collect()
}

fn read_log(field: Option<Field<'_>>, mistakes: &mut Mistakes) -> Log {
    let mut log = Log { level: Level::INFO, format: LogFormat::Text };
    let Some(field) = field else { return log };
    let Some(mut object) =
        Object::open(&field.path, field.value, "an object with level and format", mistakes)
    else {
        return log;
    };
    if let Some(field) = object.optional("level") {
        const LEVELS: [(&str, Level); 5] = [
            ("error", Level::ERROR),
            ("warn", Level::WARN),
            ("info", Level::INFO),
            ("debug", Level::DEBUG),
            ("trace", Level::TRACE),
        ];
        if let Some(level) = field.one_of(&LEVELS, "error, warn, info, debug or trace", mistakes) {
            log.level = level;
        }
    }
    if let Some(field) = object.optional("format") {
        const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        if let Some(format) = field.one_of(&FORMATS, "text or json", mistakes) {
            log.format = format;
        }
    }
    object.close("level or format", mistakes);
    log
}

#[cfg(test)]
mod tests;
