//! A program that is started for a scenario and ended after it: a contestant, whoever it is.
//!
//! Owns its process and the end of what it says, for the message when something fails. What it is told to do is its
//! starter's.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::Failure;

/// Lines that are kept.
const LINES_KEPT: usize = 20;
/// How long it may take until it serves, and until it is gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running program.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    said: Arc<Mutex<VecDeque<String>>>,
    lines: Option<Receiver<String>>,
}

impl Program {
    /// Starts it. All that it says is read from now on, so that it never waits for us.
    ///
    /// # Errors
    /// When the system does not start it; `hint` says what to do about it.
    pub(crate) fn start(command: &mut Command, hint: &str) -> Result<Self, Failure> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Failure::system(format!("start {name}; {hint}")))?;
        let said = Arc::default();
        let (sender, lines) = channel();
        if let Some(output) = child.stdout.take() {
            follow(output, &said, sender.clone());
        }
        if let Some(output) = child.stderr.take() {
            follow(output, &said, sender);
        }
        Ok(Self { child, said, lines: Some(lines) })
    }

    /// Its standard input, once.
    pub(crate) fn input(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last lines that it said.
    pub(crate) fn said(&self) -> String {
        let lines = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().fold(String::new(), |text, line| text + "\n  " + line)
    }

    /// Waits for the line in which `find` finds something.
    ///
    /// # Errors
    /// When it ends, or says nothing of the kind; with what it said.
    pub(crate) fn wait_for<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> Result<T, Failure> {
        let deadline = Instant::now() + PATIENCE;
        let lines = self.lines.take();
        while let Some(Ok(line)) =
            lines.as_ref().map(|lines| lines.recv_timeout(deadline.saturating_duration_since(Instant::now())))
        {
            if let Some(found) = find(&line) {
                return Ok(found);
            }
        }
        Err(self.not_serving())
    }

    /// Asks again and again until `serves` says so: for programs that do not say it themselves.
    ///
    /// # Errors
    /// When it ends, or time is up; with what it said.
    pub(crate) fn wait_until(&mut self, serves: impl Fn() -> bool) -> Result<(), Failure> {
        self.lines = None;
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            if serves() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(self.not_serving())
    }

    /// Ends it with SIGTERM.
    ///
    /// # Errors
    /// When the system cannot wait for it.
    pub(crate) fn stop(&mut self) -> Result<ExitStatus, Failure> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It fails when the program is gone, which `wait` tells.
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait().map_err(Failure::system("wait for a program"))? {
                Some(status) => return Ok(status),
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
                None => self.child.kill().map_err(Failure::system("end a program that does not leave"))?,
            }
        }
    }

    fn not_serving(&mut self) -> Failure {
        let state = match self.child.try_wait() {
            Ok(Some(status)) => format!("it ended with {status}"),
            _ => format!("it did not within {} s", PATIENCE.as_secs()),
        };
        Failure::new(format!("expected it to serve, but found that {state}; it said:{}", self.said()))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // After `stop` there is nothing left to end, and the standard library knows it.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.stop();
        }
    }
}

fn follow(output: impl Read + Send + 'static, said: &Arc<Mutex<VecDeque<String>>>, lines: Sender<String>) {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Nobody waits for a line any more: that is most of the time.
            let _ = lines.send(line.clone());
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            if said.len() == LINES_KEPT {
                said.pop_front();
            }
            said.push_back(line);
        }
    });
}
