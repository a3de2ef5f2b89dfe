//! The real server, started for a scenario and stopped after it.
//!
//! Owns its configuration (defaults but for what the scenario says). Assumes a directory that it may put the socket
//! into.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::program::Program;

/// The tenant that everything here publishes for.
pub(crate) const APP: &str = "bench";
/// Its public key.
pub(crate) const KEY: &str = "bench-key";
/// Its secret, good for the length of a run on the loopback interface.
pub(crate) const SECRET: &str = "bench-secret";

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    program: Program,
    /// Where PHP meets it.
    pub(crate) socket: PathBuf,
    /// Where clients connect.
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `binary` and waits until it says that it serves.
    ///
    /// # Errors
    /// When it does not start; with what it said.
    pub(crate) fn start(binary: &Path, scratch: &Path, limits: &Value) -> Result<Self, Failure> {
        Self::serve(binary, scratch.join("fanfare.sock"), limits, None)
    }

    /// The same with `socket` for PHP; as one of those that share the Redis at `redis`, an URL, if there is one.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub(crate) fn serve(
        binary: &Path,
        socket: PathBuf,
        limits: &Value,
        redis: Option<&str>,
    ) -> Result<Self, Failure> {
        let mut configuration = json!({
            "listen": "127.0.0.1:0",
            "socket": socket,
            "limits": limits,
            "log": {"level": "info", "format": "json"},
            "apps": [{"id": APP, "key": KEY, "secret": SECRET}],
        });
        if let (Some(url), Some(configuration)) = (redis, configuration.as_object_mut()) {
            configuration.insert("redis".to_owned(), json!({"url": url}));
        }
        let mut command = Command::new(binary);
        let mut program = Program::start(command.args(["serve", "--config", "-"]), "run `make build`")?;
        // Given up at once: the end of the configuration is the end of the pipe.
        if let Some(mut input) = program.input() {
            input
                .write_all(configuration.to_string().as_bytes())
                .map_err(Failure::system("hand the server its configuration"))?;
        }
        let address = program.wait_for(serving_address)?;
        Ok(Self { program, socket, address })
    }

    /// The server's process.
    pub(crate) fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// The last lines of its log.
    pub(crate) fn log(&self) -> String {
        self.program.said()
    }

    /// Ends it in good order.
    ///
    /// # Errors
    /// When it does not leave with exit code 0: then what it was measured doing is not to be trusted.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        let status = self.program.stop()?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::new(format!(
            "expected the server to leave with exit code 0, but found {status}; it said:{}",
            self.log()
        )))
    }
}

/// The address in the event `serving`; `None` for every other line.
fn serving_address(line: &str) -> Option<SocketAddr> {
    let event: Value = serde_json::from_str(line).ok()?;
    let fields = event.get("fields")?;
    if fields.get("message")? != "serving" {
        return None;
    }
    fields.get("listen")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_the_event_that_tells_it() {
        let line = r#"{"level":"INFO","fields":{"message":"serving","listen":"127.0.0.1:4711","shards":2}}"#;
        assert_eq!(serving_address(line), Some(([127, 0, 0, 1], 4711).into()));
        assert_eq!(serving_address(r#"{"fields":{"message":"leaving","listen":"127.0.0.1:4711"}}"#), None);
        assert_eq!(serving_address("thread main panicked"), None);
    }
}
