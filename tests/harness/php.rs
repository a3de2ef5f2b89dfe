//! PHP processes.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{APP_KEY, APP_SECRET, Lines, Scene, patient};

/// A running `php`. Killed when dropped.
#[derive(Debug)]
pub struct Php {
    child: Child,
    stdin: Option<ChildStdin>,
    /// Standard output.
    pub out: Lines,
    /// Standard error.
    pub err: Lines,
}

impl Php {
    /// Runs a script of `tests/fixtures` with one JSON argument.
    pub fn run(script: &str, argument: &Value) -> Self {
        let script = Scene::repository().join("tests/fixtures").join(script);
        Self::spawn(Command::new("php").arg(script).arg(argument.to_string()))
    }

    /// Runs a command, whose output is collected.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; tests run through tests/run"));
        let out = Lines::collect("php's output", child.stdout.take().unwrap());
        let err = Lines::collect("php's errors", child.stderr.take().unwrap());
        Self { stdin: child.stdin.take(), child, out, err }
    }

    /// Writes a line to its standard input.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// kill -9; gives what it had written.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.out.all()
    }

    /// Closes its input and waits for its end; gives status, output and errors.
    pub fn wait(mut self) -> (ExitStatus, Vec<String>, Vec<String>) {
        drop(self.stdin.take());
        let status = self.child.wait().unwrap();
        (status, self.out.all(), self.err.all())
    }

    /// Waits for its end and asserts that it ended well; gives its output.
    pub fn succeed(self) -> Vec<String> {
        let (status, out, err) = self.wait();
        assert!(status.success(), "php: {status}\n{}\n{}", out.join("\n"), err.join("\n"));
        out
    }
}

impl Drop for Php {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `tests/fixtures/broadcast.php` is to do: numbered publications from one worker.
#[derive(Debug, Clone)]
pub struct Broadcasts(Value);

impl Broadcasts {
    /// `count` publications of `worker` through the scene's socket.
    pub fn new(scene: &Scene, worker: &str, count: usize) -> Self {
        Self(json!({
            "socket": scene.socket(), "key": APP_KEY, "secret": APP_SECRET,
            "worker": worker, "count": count, "channel": "numbers", "options": patient(),
        }))
    }

    /// Sets a field of the script's argument.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0[name] = value.into();
        self
    }

    /// Sets one of the `Sidecar`'s options.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0["options"][name] = value.into();
        self
    }

    /// Starts it.
    pub fn start(&self) -> Php {
        Php::run("broadcast.php", &self.0)
    }
}
