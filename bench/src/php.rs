//! PHP as it runs in production: one process per task, opcache on.
//!
//! Owns the command line of PHP and the talk with a script (one JSON object to it, one back). What the scripts do
//! is theirs, in bench/php.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

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
        let autoloader = self.application.join("vendor/autoload.php");
        let mut command = Command::new("php");
        for setting in SETTINGS {
            command.args(["-d", setting]);
        }
        let mut child = command
            .args(["-d", &format!("auto_prepend_file={}", autoloader.display())])
            .arg(self.scripts.join(script))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Failure::system("start php; start the bench through bench/run"))?;
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
}
