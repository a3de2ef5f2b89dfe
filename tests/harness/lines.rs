//! The lines that a process writes, collected by a thread, so that a test can wait for one.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};

use crate::PATIENCE;

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

/// Lines in the order in which they came. Clones see the same lines.
#[derive(Debug, Clone)]
pub struct Lines {
    what: String,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Lines {
    /// Collects what `source` gives until it ends.
    pub fn collect(what: impl Into<String>, source: impl Read + Send + 'static) -> Self {
        let lines = Self { what: what.into(), shared: Arc::default() };
        let shared = Arc::clone(&lines.shared);
        std::thread::spawn(move || {
            let mut reader = BufReader::new(source);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                line.clear();
                shared.0.lock().unwrap().lines.push(text);
                shared.1.notify_all();
            }
            shared.0.lock().unwrap().ended = true;
            shared.1.notify_all();
        });
        lines
    }

    /// Waits until `found` gives something for a line at or after `from`; also gives the index after that line.
    pub fn wait_from<T>(
        &self,
        from: usize,
        what: &str,
        mut found: impl FnMut(&str) -> Option<T>,
    ) -> (T, usize) {
        let mut next = from;
        let mut state = self.shared.0.lock().unwrap();
        loop {
            while let Some(line) = state.lines.get(next) {
                next += 1;
                if let Some(value) = found(line) {
                    return (value, next);
                }
            }
            assert!(!state.ended, "{}: ended without {what}:\n{}", self.what, tail(&state.lines));
            let (again, timeout) = self.shared.1.wait_timeout(state, PATIENCE).unwrap();
            state = again;
            assert!(
                !timeout.timed_out(),
                "{}: no {what} within {PATIENCE:?}:\n{}",
                self.what,
                tail(&state.lines)
            );
        }
    }

    /// Waits until `found` gives something for any line.
    pub fn wait<T>(&self, what: &str, found: impl FnMut(&str) -> Option<T>) -> T {
        self.wait_from(0, what, found).0
    }

    /// Waits until there are `count` lines.
    pub fn wait_for_count(&self, count: usize) {
        let mut seen = 0;
        if count > 0 {
            self.wait(&format!("{count} lines"), |_| {
                seen += 1;
                (seen == count).then_some(())
            });
        }
    }

    /// Waits for the end, then gives all lines.
    pub fn all(&self) -> Vec<String> {
        let mut state = self.shared.0.lock().unwrap();
        while !state.ended {
            let (again, timeout) = self.shared.1.wait_timeout(state, PATIENCE).unwrap();
            state = again;
            assert!(
                !timeout.timed_out(),
                "{}: no end within {PATIENCE:?}:\n{}",
                self.what,
                tail(&state.lines)
            );
        }
        state.lines.clone()
    }

    /// The lines so far.
    pub fn so_far(&self) -> Vec<String> {
        self.shared.0.lock().unwrap().lines.clone()
    }
}

fn tail(lines: &[String]) -> String {
    let short = |line: &String| line.chars().take(400).collect::<String>();
    lines[lines.len().saturating_sub(20)..].iter().map(short).collect::<Vec<_>>().join("\n")
}
