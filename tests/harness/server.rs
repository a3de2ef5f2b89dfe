//! The real server, and what its journal says.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{Lines, Scene, eventually};

/// A running server. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    log: Lines,
    address: String,
}

/// One publication as the server's journal has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Its channels.
    pub channels: String,
    /// Its event name.
    pub event: String,
    /// Its data.
    pub data: String,
}

/// What a server has published, in order.
pub type Journal = Vec<Publication>;

impl Server {
    /// Starts the scene's server on a free port.
    pub fn start(scene: &Scene) -> Self {
        Self::start_with(&scene.configuration("127.0.0.1:0"))
    }

    /// Starts a server on the port that `predecessor` had.
    pub fn succeed(scene: &Scene, predecessor: &Self) -> Self {
        Self::start_with(&scene.configuration(&predecessor.address))
    }

    /// Starts a server and waits until it serves.
    pub fn start_with(configuration: &Value) -> Self {
        let binary = Scene::repository().join("target/release/fanfare");
        let mut child = Command::new(&binary)
            .args(["serve", "--config", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run `make build`", binary.display()));
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(configuration.to_string().as_bytes()).unwrap();
        drop(stdin);
        let log = Lines::collect("server", child.stderr.take().unwrap());
        let address = log.wait("`serving` in the log", |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            let fields = &event["fields"];
            (fields["message"] == "serving").then(|| fields["listen"].as_str().unwrap().to_owned())
        });
        Self { child, log, address }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// SIGSTOP, and waits until every thread of it stands still: until then one of them may go on reading.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.child.id());
        eventually("all threads stand still", || {
            let mut tasks = std::fs::read_dir(&tasks).unwrap().flatten();
            tasks
                .all(|task| {
                    let stat = std::fs::read_to_string(task.path().join("stat")).unwrap();
                    // After the name in parentheses, which may hold anything: the state.
                    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
                })
                .then_some(())
        });
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// kill -9; gives what it had published.
    pub fn kill(mut self) -> Journal {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        journal(&self.log.all())
    }

    /// SIGTERM; asserts that it ends in good order and gives what it has published.
    pub fn stop(self) -> Journal {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Waits for its end, which somebody has asked for; asserts that it is in good order and gives the journal.
    pub fn ended(mut self) -> Journal {
        let status = self.child.wait().unwrap();
        let log = self.log.all();
        assert!(status.success(), "server: {status}:\n{}", log[log.len().saturating_sub(10)..].join("\n"));
        journal(&log)
    }

    /// Goes through the publications in the journal, and waits for further ones, until `found` gives something.
    pub fn wait_for<T>(&self, what: &str, mut found: impl FnMut(&Publication) -> Option<T>) -> T {
        self.log.wait(what, |line| publication(line).and_then(|publication| found(&publication)))
    }

    /// Log lines that are not publications, at `level`.
    pub fn logged(&self, level: &str) -> Vec<String> {
        let events = self.log.so_far();
        let at_level = |line: &String| {
            serde_json::from_str::<Value>(line).is_ok_and(|event| event["level"] == level)
                && publication(line).is_none()
        };
        events.into_iter().filter(at_level).collect()
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Rings that it has mapped.
    pub fn rings(&self) -> usize {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.child.id())).unwrap();
        maps.lines().filter(|line| line.contains("fanfare-ring")).count()
    }

    /// Resident memory, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn journal(log: &[String]) -> Journal {
    log.iter().filter_map(|line| publication(line)).collect()
}

fn publication(line: &str) -> Option<Publication> {
    // Cheap test first: a journal has many lines, and a line cut off by a kill is not JSON.
    if !line.contains("fanfare::publication") {
        return None;
    }
    let event: Value = serde_json::from_str(line).ok()?;
    let field = |name: &str| event["fields"][name].as_str().map(str::to_owned);
    Some(Publication { channels: field("channels")?, event: field("event")?, data: field("data")? })
}
