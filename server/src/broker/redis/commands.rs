//! Connections for commands about keys: one per primary, each command to the server that has its key.
//!
//! Apart from those that frames go over: a script that takes its time holds up no publication. Owns which argument of a
//! command is its key. What a server refuses, a slot that has moved included, is an error of the whole: whoever uses
//! them makes them anew.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Arg, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use tokio::task::JoinSet;
use tokio_rustls::rustls::ClientConfig;

use super::keys::Keys;
use super::layout;
use super::link::{Connection, LinkError, Way};
use crate::config;
use crate::config::redis::Place;
use crate::fleet::conduct::Dial;

/// How to reach all primaries.
pub struct Commander {
    redis: config::Redis,
    way: Way,
    keys: Keys,
}

impl fmt::Debug for Commander {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commander").field("places", &self.redis.places).finish_non_exhaustive()
    }
}

impl Commander {
    pub(super) fn new(
        redis: config::Redis,
        tls: Option<Arc<ClientConfig>>,
        within: Duration,
        keys: Keys,
    ) -> Self {
        Self { redis, way: Way { tls, within }, keys }
    }
}

/// A connection to every primary.
pub struct Commands {
    keys: Keys,
    servers: Vec<(Place, Connection)>,
    /// Which of them has a slot.
    by_slot: Vec<Option<usize>>,
}

impl Dial for Commander {
    type Connection = Commands;

    async fn dial(&self) -> RedisResult<Commands> {
        let layout = layout::find(&self.redis, &self.way, &[]).await.map_err(failed)?;
        let (mut servers, mut by_slot) = (Vec::new(), vec![None; self.keys.slots()]);
        for (place, ranges) in layout {
            let connection = self.way.connect(&place, &self.redis.credentials, None).await.map_err(failed)?;
            for slot in ranges.into_iter().flatten() {
                if let Some(entry) = by_slot.get_mut(slot) {
                    *entry = Some(servers.len());
                }
            }
            servers.push((place, connection));
        }
        Ok(Commands { keys: self.keys.clone(), servers, by_slot })
    }

    fn prefix(&self) -> &str {
        &self.redis.prefix
    }
}

fn failed(error: LinkError) -> RedisError {
    RedisError::from(io::Error::other(error))
}

/// What a server says stands for itself; that it does not answer says which.
fn at(place: &Place, error: RedisError) -> RedisError {
    if error.is_io_error() {
        failed(LinkError::Refused { place: place.clone(), source: error })
    } else {
        error
    }
}

/// The argument of a command that names its key; `None` of what every server has to know.
fn key(command: &Cmd) -> Option<&[u8]> {
    let mut arguments = command.args_iter().map(|argument| match argument {
        Arg::Simple(bytes) => bytes,
        _ => b"",
    });
    match arguments.next()? {
        b"SCRIPT" => None,
        b"EVALSHA" | b"EVAL" => arguments.nth(2),
        _ => arguments.next(),
    }
}

impl Commands {
    /// Which server has a key.
    fn by_key(&self, key: &[u8]) -> RedisResult<usize> {
        let slot = self.keys.slot(&String::from_utf8_lossy(key));
        self.by_slot.get(slot).copied().flatten().ok_or_else(|| {
            RedisError::from((ErrorKind::Io, "expected the cluster to have this slot, but it does not"))
        })
    }
}

impl ConnectionLike for Commands {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            if let Some(key) = key(command) {
                let by_key = self.by_key(key)?;
                let (place, server) = &mut self.servers[by_key];
                let answer = server.connection.req_packed_command(command).await;
                return answer.map_err(|error| at(place, error));
            }
            let mut answer = Value::Nil;
            for (place, server) in &mut self.servers {
                let answered = server.connection.req_packed_command(command).await;
                answer = answered.map_err(|error| at(place, error))?;
            }
            Ok(answer)
        })
    }

    /// What one server is to do goes to it in one piece and in its order; the servers are asked at the same time.
    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        _: usize,
        _: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let mut parts: BTreeMap<usize, (Vec<usize>, Pipeline)> = BTreeMap::new();
            for (at, command) in pipeline.cmd_iter().enumerate() {
                let key = key(command).ok_or_else(|| {
                    RedisError::from((ErrorKind::Client, "expected a command about a key in a pipeline"))
                })?;
                let (places, part) = parts.entry(self.by_key(key)?).or_default();
                places.push(at);
                part.add_command(command.clone());
            }
            let mut asked = JoinSet::new();
            for (server, (places, part)) in parts {
                let Some((place, server)) = self.servers.get(server) else { continue };
                let (place, mut connection) = (place.clone(), server.connection.clone());
                asked.spawn(async move {
                    let answers = connection.req_packed_commands(&part, 0, places.len()).await;
                    let answers = answers.map_err(|error| at(&place, error));
                    answers.map(|answers| places.into_iter().zip(answers).collect::<Vec<_>>())
                });
            }
            let mut answers = vec![Value::Nil; pipeline.len()];
            while let Some(answered) = asked.join_next().await {
                let answered = answered.map_err(|error| RedisError::from(io::Error::from(error)))?;
                for (at, answer) in answered? {
                    answers[at] = answer;
                }
            }
            Ok(answers)
        })
    }

    fn get_db(&self) -> i64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_does_not_answer_is_named_once_and_what_one_says_stays_as_it_is() {
        let place = Place::Tcp("redis.test".into(), 6379);
        let ended = || io::Error::from(io::ErrorKind::BrokenPipe);
        let said = |error: RedisError| error.to_string();
        assert_eq!(said(at(&place, ended().into())), "Redis at redis.test:6379: broken pipe");
        let unreached = LinkError::Connect { place: place.clone(), source: ended() };
        assert_eq!(said(failed(unreached)), "cannot connect to Redis at redis.test:6379: broken pipe");
        let refusal = || {
            let answer = redis::parse_redis_value(b"-NOPERM this user may not\r\n").unwrap();
            answer.extract_error().unwrap_err()
        };
        assert_eq!(at(&place, refusal()), refusal());
    }

    #[test]
    fn the_key_of_every_command_is_found() {
        let key = |command: &Cmd| key(command).map(|key| String::from_utf8_lossy(key).into_owned());
        assert_eq!(key(redis::cmd("HGETALL").arg("k")), Some("k".into()));
        assert_eq!(key(redis::cmd("EVALSHA").arg("sha").arg(1).arg("k").arg("v")), Some("k".into()));
        assert_eq!(key(redis::cmd("SCRIPT").arg("LOAD").arg("return 1")), None);
    }
}
