//! Connections for commands about keys: one per primary, each command to the server that has its key.
//!
//! Apart from those that frames go over: a script that takes its time holds up no publication. Owns which argument of a
//! command is its key. What a server refuses, a slot that has moved included, is an error of the whole: whoever uses
//! them makes them anew.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Arg, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use tokio_rustls::rustls::ClientConfig;

use super::keys::Keys;
use super::layout;
use super::link::{Connection, LinkError, Way};
use crate::config;
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
    servers: Vec<Connection>,
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
            servers.push(connection);
        }
        Ok(Commands { keys: self.keys.clone(), servers, by_slot })
    }

    fn prefix(&self) -> &str {
        &self.redis.prefix
    }
}

fn failed(error: LinkError) -> RedisError {
    RedisError::from((ErrorKind::Io, "no connection for commands", error.to_string()))
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
    fn of(&mut self, key: &[u8]) -> RedisResult<&mut Connection> {
        let slot = self.keys.slot(&String::from_utf8_lossy(key));
        let server = self.by_slot.get(slot).copied().flatten();
        server.and_then(|at| self.servers.get_mut(at)).ok_or_else(|| {
            RedisError::from((ErrorKind::Io, "expected the cluster to have this slot, but it does not"))
        })
    }
}

impl ConnectionLike for Commands {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            if let Some(key) = key(command) {
                return self.of(key)?.connection.req_packed_command(command).await;
            }
            let mut answer = Value::Nil;
            for server in &mut self.servers {
                answer = server.connection.req_packed_command(command).await?;
            }
            Ok(answer)
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        _: &'a Pipeline,
        _: usize,
        _: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        // Those of one pipeline would be of several servers.
        let error = RedisError::from((ErrorKind::Client, "expected single commands, but found a pipeline"));
        Box::pin(async move { Err(error) })
    }

    fn get_db(&self) -> i64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_every_command_is_found() {
        let key = |command: &Cmd| key(command).map(|key| String::from_utf8_lossy(key).into_owned());
        assert_eq!(key(redis::cmd("HGETALL").arg("k")), Some("k".into()));
        assert_eq!(key(redis::cmd("EVALSHA").arg("sha").arg(1).arg("k").arg("v")), Some("k".into()));
        assert_eq!(key(redis::cmd("SCRIPT").arg("LOAD").arg("return 1")), None);
    }
}
