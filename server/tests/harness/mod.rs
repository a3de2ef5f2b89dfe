//! Builders for tests of the real binary over real sockets: a server process, Pusher clients, PHP processes.
//!
//! Nothing here sleeps to synchronise: everything waits for the thing itself. [`PATIENCE`] only turns a hang into
//! a failure.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "every test binary uses another part of the harness"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "what is needed to repeat a failure stands with it")]

pub mod client;
pub mod fleet;
pub mod http;
pub mod php;
pub mod raw;
pub mod receiver;
pub mod redis;
pub mod tls;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// How long something may take that happens at once on an idle machine. No assertion depends on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const KEY: &str = "app-key";
pub const SECRET: &str = "app-secret";

/// Waits for `done`, giving the processor away meanwhile.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "gave up waiting until {what}");
        std::thread::yield_now();
    }
}

/// A configuration on an address and a socket of its own.
pub fn configuration(directory: &Path) -> Value {
    json!({
        "listen": "127.0.0.1:0",
        "socket": directory.join("f.sock"),
        "shards": 2,
        "log": {"level": "trace", "format": "json"},
        "apps": [
            {"id": "app", "key": KEY, "secret": SECRET},
            {"id": "other", "key": "other-key", "secret": "other-secret"},
        ],
    })
}

/// A running server.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    pub socket: PathBuf,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

/// A temporary directory for the sockets of one test.
pub fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// The binary with `arguments`, its configuration on standard input, run to its end. Gives status and stderr.
pub fn run_to_end(arguments: &[&str], input: &str) -> (ExitStatus, String) {
    let mut child = spawn(arguments);
    // It may end without having read everything.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    (child.wait().unwrap(), stderr)
}

fn spawn(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_fanfare"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

impl Server {
    /// Starts a server and waits until it serves.
    pub fn start(configuration: &Value) -> Self {
        Self::serving(spawn(&["serve", "--config", "-"]), configuration)
    }

    /// The same, with so many open files at most.
    pub fn start_with_descriptors(configuration: &Value, descriptors: usize) -> Self {
        let script = format!("ulimit -n {descriptors} && exec \"$0\" serve --config -");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_fanfare")]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        Self::serving(command.spawn().unwrap(), configuration)
    }

    fn serving(mut child: Child, configuration: &Value) -> Self {
        let stdin: ChildStdin = child.stdin.take().unwrap();
        serde_json::to_writer(stdin, configuration).unwrap();
        Self::started(child)
    }

    /// The same with its configuration in a file.
    pub fn start_from(file: &Path) -> Self {
        Self::started(spawn(&["serve", "--config", file.to_str().unwrap()]))
    }

    /// Waits until a process that logs to its standard error serves.
    pub fn started(mut child: Child) -> Self {
        let log = Arc::new(Log::default());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let writing = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in stderr.lines() {
                writing.lines.lock().unwrap().0.push(line.unwrap());
                writing.changed.notify_all();
            }
            writing.lines.lock().unwrap().1 = true;
            writing.changed.notify_all();
        });
        let mut server = Self { child, address: "127.0.0.1:1".parse().unwrap(), socket: PathBuf::new(), log };
        let serving = server.logged("\"serving\"");
        let serving: Value = serde_json::from_str(&serving).unwrap();
        let listen = serving["fields"]["listen"].as_str().unwrap();
        server.address = listen.split(',').next().unwrap().parse().unwrap();
        server.socket = serving["fields"]["socket"].as_str().unwrap().into();
        server
    }

    /// Waits for a log line that holds `text`, from the first line on.
    pub fn logged(&self, text: &str) -> String {
        let start = Instant::now();
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.0.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            assert!(!lines.1, "the server ended without logging {text}: {:#?}", lines.0);
            assert!(start.elapsed() < PATIENCE, "gave up waiting for {text} in {:#?}", lines.0);
            lines = self.log.changed.wait_timeout(lines, PATIENCE).unwrap().0;
        }
    }

    /// Waits until `n` log lines hold `text`, and gives the last of them.
    pub fn logged_times(&self, n: usize, text: &str) -> String {
        wait_until(&format!("{text} is logged {n} times"), || self.log_lines(text).len() >= n);
        self.log_lines(text).pop().unwrap()
    }

    /// All log lines so far that hold `text`.
    pub fn log_lines(&self, text: &str) -> Vec<String> {
        let lines = self.log.lines.lock().unwrap();
        lines.0.iter().filter(|line| line.contains(text)).cloned().collect()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops the server, and waits until all of its threads have stopped: the signal alone is only a request.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.pid());
        wait_until("all threads have stopped", || {
            std::fs::read_dir(&tasks).unwrap().all(|task| {
                let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
                stat.rsplit_once(") ").unwrap().1.starts_with('T')
            })
        });
    }

    /// Its exit status, once it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Ends the server as a kill -9 does, waits until it is gone, and gives everything that it had logged.
    pub fn kill(mut self) -> Vec<String> {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
        wait_until("the log is read to its end", || self.log.lines.lock().unwrap().1);
        std::mem::take(&mut self.log.lines.lock().unwrap().0)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// One metric, over the Unix socket.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.get_local("/metrics");
        let prefix = format!("fanfare_{name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// A GET over the Unix socket, head and all.
    pub fn get_local(&self, path: &str) -> String {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        exchange(&mut stream, path)
    }

    /// A GET over the port, head and all.
    pub fn get(&self, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(self.address).unwrap();
        exchange(&mut stream, path)
    }

    /// Open descriptors of the server's process.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }
}

/// A GET over any stream, head and all.
pub fn exchange(stream: &mut (impl Read + Write), path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
