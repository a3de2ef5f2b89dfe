//! The real server, started for a scenario and stopped after it.
//!
//! Owns its process, its configuration (defaults but for what the scenario says) and its log. Assumes a directory
//! that it may put the socket into.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::failure::Failure;

/// The tenant that everything here publishes for.
pub(crate) const APP: &str = "bench";
/// Its public key.
pub(crate) const KEY: &str = "bench-key";
/// Its secret, good for the length of a run on the loopback interface.
pub(crate) const SECRET: &str = "bench-secret";

/// Lines of the log that are kept, for the message when something fails.
const LOG_LINES_KEPT: usize = 20;

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Where PHP meets it.
    pub(crate) socket: PathBuf,
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<VecDeque<String>>>,
}

impl Server {
    /// Starts `binary` and waits until it says that it serves.
    ///
    /// # Errors
    /// When it does not start; with what it said.
    pub(crate) fn start(binary: &Path, scratch: &Path, limits: &Value) -> Result<Self, Failure> {
        let socket = scratch.join("fanfare.sock");
        let configuration = json!({
            "listen": "127.0.0.1:0",
            "socket": socket,
            "limits": limits,
            "log": {"level": "info", "format": "json"},
            "apps": [{"id": APP, "key": KEY, "secret": SECRET}],
        });
        let mut child = Command::new(binary)
            .args(["serve", "--config", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Failure::system(format!("start the server {}; run `make build`", binary.display())))?;
        // Given up at once: the end of the configuration is the end of the pipe.
        if let Some(mut stdin) = child.stdin.take() {
            stdin
                .write_all(configuration.to_string().as_bytes())
                .map_err(Failure::system("hand the server its configuration"))?;
        }
        let stderr = child.stderr.take().ok_or_else(|| Failure::new("the server has no standard error"))?;
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let unserved: SocketAddr = ([0, 0, 0, 0], 0).into();
        let mut server = Self { child, socket, address: unserved, log };
        server.address = server.follow_log(stderr)?;
        Ok(server)
    }

    /// The server's process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last lines of its log.
    pub(crate) fn log(&self) -> String {
        let lines = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().fold(String::new(), |text, line| text + "\n  " + line)
    }

    /// Ends it in good order.
    ///
    /// # Errors
    /// When it does not leave with exit code 0: then what it was measured doing is not to be trusted.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        self.terminate();
        let status = self.child.wait().map_err(Failure::system("wait for the server"))?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::new(format!(
            "expected the server to leave with exit code 0, but found {status}; it said:{}",
            self.log()
        )))
    }

    /// Reads the log up to the address; a thread reads the rest, so that the server never waits for us.
    fn follow_log(&self, stderr: ChildStderr) -> Result<SocketAddr, Failure> {
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let kept = Arc::clone(&self.log);
        let keep = move |line: String| {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == LOG_LINES_KEPT {
                kept.pop_front();
            }
            kept.push_back(line);
        };
        for line in lines.by_ref() {
            let serving = serving_address(&line);
            keep(line);
            if let Some(address) = serving {
                std::thread::spawn(move || lines.for_each(keep));
                return Ok(address);
            }
        }
        Err(Failure::new(format!(
            "expected the server to serve, but found that it ended; it said:{}",
            self.log()
        )))
    }

    fn terminate(&self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It fails when the server is gone, which `wait` tells.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After `stop` there is nothing left to end, and the standard library knows it.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.terminate();
            let _ = self.child.wait();
        }
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
