//! PHP as it runs in production, opcache on: one process per task, or one that stays and is given task after task.
//!
//! Owns the command line of PHP and the talk with a script (one JSON object to it, one back). What the scripts do
//! is theirs, in bench/php.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Map, Value};

use crate::failure::Failure;

/// Where the scripts and the Laravel application are.
#[derive(Debug)]
pub(crate) struct Php {
    /// bench/php.
    pub(crate) scripts: PathBuf,
    /// The directory with Composer's vendor/.
    pub(crate) application: PathBuf,
}

/// As php-fpm has them by default; the command line alone switches opcache off.
const SETTINGS: [&str; 3] = ["opcache.enable_cli=1", "opcache.jit=disable", "memory_limit=512M"];

impl Php {
    /// Runs `script` with `task` and gives back its answer.
    ///
    /// # Errors
    /// When PHP does not start, the script fails, or its answer is not a JSON object. What PHP says about it goes
    /// to standard error.
    pub(crate) fn run(&self, script: &str, task: &Value) -> Result<Map<String, Value>, Failure> {
        let mut child = self.spawn(script)?;
        if let Some(mut stdin) = child.stdin.take() {
            // It fails when the script ended early, which its exit status tells.
            let _ = stdin.write_all(task.to_string().as_bytes());
        }
        let output = child.wait_with_output().map_err(Failure::system(format!("read what {script} says")))?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let status = output.status;
            return Err(Failure::new(format!("expected {script} to succeed, but found {status}: {said}")));
        }
        serde_json::from_str(&said).map_err(|error| {
            Failure::new(format!("expected one JSON object from {script}, but found {said:?} ({error})"))
        })
    }

    /// Starts `script`, which stays, with its first task. The answer to that is the sign that it is ready.
    ///
    /// # Errors
    /// As [`Php::run`].
    pub(crate) fn start(&self, script: &'static str, task: &Value) -> Result<Script, Failure> {
        let mut child = self.spawn(script)?;
        let (Some(tasks), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::new("php has no pipes"));
        };
        let mut running =
            Script { name: script, child, tasks: Some(tasks), answers: BufReader::new(answers) };
        running.ask(task)?;
        Ok(running)
    }

    fn spawn(&self, script: &str) -> Result<Child, Failure> {
        let autoloader = self.application.join("vendor/autoload.php");
        let mut command = Command::new("php");
        for setting in SETTINGS {
            command.args(["-d", setting]);
        }
        command
            .args(["-d", &format!("auto_prepend_file={}", autoloader.display())])
            .arg(self.scripts.join(script))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Failure::system("start php; start the bench through bench/run"))
    }
}

/// A script that stays. It is waited for when it is dropped.
#[derive(Debug)]
pub(crate) struct Script {
    name: &'static str,
    child: Child,
    tasks: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Script {
    /// Gives it a task, and waits for the answer.
    ///
    /// # Errors
    /// When it fails. What PHP says about it goes to standard error.
    pub(crate) fn ask(&mut self, task: &Value) -> Result<Map<String, Value>, Failure> {
        let name = self.name;
        if let Some(tasks) = &mut self.tasks {
            writeln!(tasks, "{task}").map_err(Failure::system(format!("give {name} a task")))?;
        }
        let mut said = String::new();
        self.answers.read_line(&mut said).map_err(Failure::system(format!("read what {name} says")))?;
        serde_json::from_str(&said).map_err(|error| {
            Failure::new(format!("expected one JSON object from {name}, but found {said:?} ({error})"))
        })
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // Its input ends, and so does it; waited for, it is ours in the account of the machine.
        self.tasks = None;
        let _ = self.child.wait();
    }
}
