//! Reading `"redis"`: how several nodes hear each other.
//!
//! Owns the shape and what is said about it. A password may stand in a URL, in `password`, or in a file; no message
//! shows any of them. What is in the files is read when the configuration is (`source`).

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use redis::{ConnectionAddr, IntoConnectionInfo as _};
use serde_json::Value;

use super::Secret;
use super::reading::{Field, Mistake, Mistakes, Object};
use crate::webhooks::read_authorities;

/// Where Redis is, and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// The server; or some of a cluster's; or the Sentinels. At least one.
    pub places: Vec<Place>,
    /// How several of them belong together.
    pub topology: Topology,
    /// What every name in Redis begins with.
    pub prefix: String,
    /// Who this server is to Redis.
    pub credentials: Credentials,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Authorities that Redis may have a certificate of, beside those of the system: a PEM file.
    pub ca_file: Option<PathBuf>,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Host and port.
    Tcp(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// How several servers belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    Standalone,
    /// The server that Sentinels say is the primary.
    Sentinel {
        /// The primary's name.
        master: String,
        /// Who this server is to the Sentinels.
        credentials: Credentials,
    },
    /// A cluster, with sharded pub/sub.
    Cluster,
}

/// A name and a password.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Credentials {
    /// Of Redis' access control; the default user without one.
    pub username: Option<String>,
    /// None where Redis asks for none.
    pub password: Option<Secret>,
    /// Where the password is, in place of the one above.
    pub password_file: Option<PathBuf>,
}

impl Redis {
    /// Reads what is in the files: the passwords, which are kept, and the authorities, for their mistakes alone.
    pub(super) fn read_files(&mut self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let mut all = vec![("redis.password_file", &mut self.credentials)];
        if let Topology::Sentinel { credentials, .. } = &mut self.topology {
            all.push(("redis.sentinel.password_file", credentials));
        }
        for (field, credentials) in all {
            let Some(path) = &credentials.password_file else { continue };
            match read_password(path) {
                Ok(password) => credentials.password = Some(password),
                Err(found) => {
                    let found = format!("{}: {found}", path.display());
                    let advice =
                        "put the password into the first line, and let the server's user read the file";
                    mistakes.push(Mistake::new(field, "a file with a password", found, advice));
                }
            }
        }
        if let Some(Err(error)) = self.ca_file.as_deref().map(|path| read_authorities(path, "redis.ca_file"))
        {
            mistakes.push(Mistake { path: "redis.ca_file".to_owned(), message: error.to_string() });
        }
        mistakes
    }
}

/// The first line of a file, which may be its last.
fn read_password(path: &Path) -> Result<Secret, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(PASSWORD_FILE_BYTES_MAX).read_to_string(&mut text).map_err(|error| error.to_string())?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Secret::new(line)),
        _ => Err("an empty first line".to_owned()),
    }
}

/// Far more than any password, and less than what a wrong file might be.
const PASSWORD_FILE_BYTES_MAX: u64 = 64 * 1024;

const URL: &str = "a URL such as \"redis://127.0.0.1:6379\", \"rediss://redis.example.com:6379\" or \"unix:/run/redis.sock\"";

pub(super) fn read(field: Option<Field<'_>>, mistakes: &mut Mistakes) -> Option<Redis> {
    let field = field?;
    let mut object = Object::open(&field.path, field.value, "an object with url", mistakes)?;
    let url = object.required("url", mistakes);
    let servers = url.map(|field| read_urls(field, mistakes)).unwrap_or_default();
    let of_object = read_credentials(&mut object, mistakes);
    let cluster = object.optional("cluster").and_then(|field| field.boolean(mistakes)).unwrap_or(false);
    let sentinel = object.optional("sentinel").and_then(|field| read_sentinel(&field, mistakes));
    let prefix = read_prefix(object.optional("prefix"), mistakes);
    let ca_file = super::webhooks::read_ca_file(object.optional("ca_file"), mistakes);
    object.close("url, cluster, sentinel, prefix, username, password, password_file or ca_file", mistakes);
    let topology = match (sentinel, cluster) {
        (Some(_), true) => {
            let expected = "one of sentinel and cluster";
            mistakes.add(&field.path, expected, "both", "a cluster does without Sentinels: leave one out");
            Topology::Cluster
        }
        (Some((master, credentials)), false) => Topology::Sentinel { master, credentials },
        (None, true) => Topology::Cluster,
        (None, false) => {
            if servers.len() > 1 {
                let advice = "name one, or set redis.sentinel or redis.cluster";
                mistakes.add(&format!("{}.url", field.path), "one server", "several", advice);
            }
            Topology::Standalone
        }
    };
    let tls = servers.first().is_some_and(|server| server.tls);
    if servers.iter().any(|server| server.tls != tls) {
        let advice = "write all of them with rediss://, or none";
        mistakes.add(&format!("{}.url", field.path), "servers with TLS or without", "both", advice);
    }
    let of_url = servers.iter().find_map(|server| server.credentials.clone());
    if of_url.is_some() && of_object != Credentials::default() {
        let advice = "write username and password in one place";
        mistakes.add(&field.path, "a password in the url or beside it", "both", advice);
    }
    Some(Redis {
        places: servers.into_iter().map(|server| server.place).collect(),
        topology,
        prefix,
        credentials: of_url.unwrap_or(of_object),
        tls,
        ca_file,
    })
}

struct Server {
    place: Place,
    tls: bool,
    credentials: Option<Credentials>,
}

fn read_urls(field: Field<'_>, mistakes: &mut Mistakes) -> Vec<Server> {
    let fields = match field.value {
        Value::Array(_) => field.items(mistakes),
        _ => vec![field.clone()],
    };
    if fields.is_empty() && field.value.is_array() {
        mistakes.add(&field.path, URL, "an empty list", "name at least one server");
    }
    fields.iter().filter_map(|field| read_url(field, mistakes)).collect()
}

fn read_url(field: &Field<'_>, mistakes: &mut Mistakes) -> Option<Server> {
    let text = field.secret(URL, mistakes)?;
    // TLS is ours: to the library, which is built without it, such a URL would be a mistake.
    let encrypted = [("rediss:", "redis:"), ("valkeys:", "valkey:")];
    let encrypted =
        encrypted.iter().find_map(|(tls, plain)| Some(format!("{plain}{}", text.strip_prefix(tls)?)));
    let tls = encrypted.is_some();
    // What the library says about a URL may show the password in it.
    let Ok(info) = encrypted.as_deref().unwrap_or(text).into_connection_info() else {
        let advice = "write scheme, host and port; encode : / @ in a password, or write it in redis.password";
        mistakes.add(&field.path, URL, "another text", advice);
        return None;
    };
    let place = match info.addr() {
        ConnectionAddr::Tcp(host, port) => Place::Tcp(host.clone(), *port),
        ConnectionAddr::Unix(path) => Place::Unix(path.clone()),
        _ => {
            mistakes.add(&field.path, URL, "another kind of address", "write one of these");
            return None;
        }
    };
    let settings = info.redis_settings();
    let credentials = settings.password().map(|password| Credentials {
        username: settings.username().map(str::to_owned),
        password: Some(Secret::new(password)),
        password_file: None,
    });
    Some(Server { place, tls, credentials })
}

fn read_credentials(object: &mut Object<'_>, mistakes: &mut Mistakes) -> Credentials {
    let username = object.optional("username").and_then(|field| field.text("a user's name", mistakes));
    let password = object.optional("password").and_then(|field| field.secret("a password", mistakes));
    let file = object.optional("password_file");
    if let Some(file) = &file
        && password.is_some()
    {
        mistakes.add(&file.path, "a password or a file with it", "both", "leave one of them out");
    }
    let password_file = super::webhooks::read_ca_file(file, mistakes);
    Credentials { username: username.map(str::to_owned), password: password.map(Secret::new), password_file }
}

fn read_sentinel(field: &Field<'_>, mistakes: &mut Mistakes) -> Option<(String, Credentials)> {
    let mut object = Object::open(&field.path, field.value, "an object with master", mistakes)?;
    let master = object.required("master", mistakes).and_then(|field| {
        field.text("the primary's name, as the Sentinels have it", mistakes).map(str::to_owned)
    });
    let credentials = read_credentials(&mut object, mistakes);
    object.close("master, username, password or password_file", mistakes);
    Some((master?, credentials))
}

/// A brace would make a hash tag of its own, and a channel's names would not share a slot.
fn read_prefix(field: Option<Field<'_>>, mistakes: &mut Mistakes) -> String {
    const DEFAULT: &str = "fanfare:";
    const EXPECTED: &str = "up to 100 characters without { } or a space";
    let Some(field) = field else { return DEFAULT.to_owned() };
    let Some(text) = field.text(EXPECTED, mistakes) else { return DEFAULT.to_owned() };
    let legal = |b: u8| b.is_ascii_graphic() && !b"{}".contains(&b);
    if text.len() > 100 || !text.bytes().all(legal) {
        mistakes.add(&field.path, EXPECTED, field.found(), "choose another");
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::{Configuration, Mistake};
    use super::*;

    fn parse(redis: &str) -> Result<Redis, Vec<Mistake>> {
        let text = format!(
            r#"{{"listen":"127.0.0.1:8080","socket":"/run/f.sock","redis":{redis},
                "apps":[{{"id":"app","key":"app-key","secret":"app-secret"}}]}}"#
        );
        Configuration::parse(&text, 1).map(|configuration| configuration.redis.unwrap())
    }

    #[test]
    fn every_topology_is_read() {
        let one = parse(r#"{"url":"redis://127.0.0.1:6379"}"#).unwrap();
        assert_eq!(one.places, [Place::Tcp("127.0.0.1".into(), 6379)]);
        assert_eq!((one.topology, one.prefix.as_str(), one.tls), (Topology::Standalone, "fanfare:", false));
        let cluster = parse(
            r#"{"url":["rediss://a:1","rediss://b:2"],"cluster":true,"username":"u","password":"p","ca_file":"/ca"}"#,
        );
        let cluster = cluster.unwrap();
        assert_eq!((cluster.topology, cluster.places.len(), cluster.tls), (Topology::Cluster, 2, true));
        assert_eq!(cluster.credentials.username.as_deref(), Some("u"));
        let sentinel = parse(
            r#"{"url":"redis://:secret@a:26379","sentinel":{"master":"m","password_file":"/p"},"prefix":"x:"}"#,
        );
        let sentinel = sentinel.unwrap();
        let Topology::Sentinel { master, credentials } = sentinel.topology else { panic!() };
        assert_eq!((master.as_str(), credentials.password_file.unwrap().to_str()), ("m", Some("/p")));
        assert_eq!(sentinel.credentials.password, Some(Secret::new("secret")));
        assert_eq!(parse(r#"{"url":"unix:/r.sock"}"#).unwrap().places, [Place::Unix("/r.sock".into())]);
    }

    #[test]
    fn mistakes_say_what_to_do_and_show_no_password() {
        for (redis, part) in [
            (r#"{}"#, "redis.url: expected this field"),
            (r#"{"url":"http://:hunter2@x"}"#, "redis.url: expected a URL such as"),
            (r#"{"url":["redis://a:1","redis://b:2"]}"#, "redis.url: expected one server"),
            (r#"{"url":["redis://a:1","rediss://b:2"],"cluster":true}"#, "with TLS or without"),
            (r#"{"url":"redis://:hunter2@a:1","password":"hunter2"}"#, "in the url or beside it"),
            (r#"{"url":"redis://a:1","password":"hunter2","password_file":"/p"}"#, "redis.password_file"),
            (r#"{"url":"redis://a:1","password":["hunter2"]}"#, "redis.password: expected a password"),
            (r#"{"url":"redis://a:1","prefix":"{x}"}"#, "redis.prefix: expected up to 100"),
            (
                r#"{"url":"redis://a:1","sentinel":{"master":"m"},"cluster":true}"#,
                "one of sentinel and cluster",
            ),
            (r#"{"url":"redis://a:1","sentinel":{}}"#, "redis.sentinel.master: expected this field"),
            (r#"{"url":"redis://a:1","master":"m"}"#, "redis.master: expected url, cluster"),
        ] {
            let mistakes: Vec<String> = parse(redis).unwrap_err().iter().map(ToString::to_string).collect();
            assert_eq!(mistakes.len(), 1, "{redis}: {mistakes:#?}");
            assert!(mistakes[0].contains(part) && !mistakes[0].contains("hunter2"), "{redis}: {mistakes:#?}");
        }
    }
}
