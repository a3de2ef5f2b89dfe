//! The command `fanfare`.
//!
//! Owns the command line and the exit codes: 0 after leaving in good order, 64 for mistakes in the command line
//! or the configuration (EX_USAGE), 1 when the system refuses something.

#![forbid(unsafe_code)]

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use fanfare_server::config::Configuration;
use fanfare_server::{lifecycle, logs};
use rustix::process::{Pid, Signal};

const USAGE: u8 = 64;
/// Far more than any configuration, and less than what a wrong file might be.
const CONFIGURATION_BYTES_MAX: u64 = 4 << 20;

/// A real-time sidecar for Laravel: drains local PHP processes' broadcasts and serves Pusher clients.
#[derive(Debug, Parser)]
#[command(name = "fanfare", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM, SIGINT, SIGHUP or SIGQUIT
    Serve {
        #[command(flatten)]
        source: Source,
        /// Leave, as on SIGTERM, when the process that started this one ends, however it ends
        #[arg(long)]
        stop_with_parent: bool,
    },
    /// Read the configuration, tell all its mistakes, and exit
    Check(Source),
}

#[derive(Debug, Args)]
struct Source {
    /// The configuration, a JSON file; - is standard input
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(message) => {
            // Help and version are no mistakes and go to standard output.
            let _ = message.print();
            return if message.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let (source, serve, stop_with_parent) = match cli.command {
        Command::Serve { source, stop_with_parent } => (source, true, stop_with_parent),
        Command::Check(source) => (source, false, false),
    };
    let parent = rustix::process::getppid();
    if stop_with_parent && let Err(code) = follow_parent(parent) {
        return code;
    }
    let configuration = match configure(&source.config) {
        Ok(configuration) => configuration,
        Err(code) => return code,
    };
    if !serve {
        let _ = writeln!(io::stdout(), "the configuration is sound");
        return ExitCode::SUCCESS;
    }
    logs::start(configuration.log);
    match lifecycle::serve(configuration) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "cannot serve");
            ExitCode::FAILURE
        }
    }
}

/// Has the kernel send SIGTERM when the parent ends. A parent that is gone already will not end again.
fn follow_parent(parent: Option<Pid>) -> Result<(), ExitCode> {
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::TERM)) {
        complain(&format!("cannot follow the parent process: {error}; leave --stop-with-parent out"));
        return Err(ExitCode::FAILURE);
    }
    if rustix::process::getppid() != parent {
        complain("the process that started this one has ended already");
        return Err(ExitCode::FAILURE);
    }
    Ok(())
}

fn configure(path: &Path) -> Result<Configuration, ExitCode> {
    let text = read(path).map_err(|error| {
        complain(&format!("cannot read the configuration {}: {error}; name a JSON file", path.display()));
        ExitCode::FAILURE
    })?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Configuration::parse(&text, cores).map_err(|mistakes| {
        let plural = if mistakes.len() == 1 { "mistake" } else { "mistakes" };
        let mut message = format!("{} {plural} in the configuration {}", mistakes.len(), path.display());
        for mistake in mistakes {
            message.push_str(&format!("\n  {mistake}"));
        }
        complain(&message);
        ExitCode::from(USAGE)
    })
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    if path == Path::new("-") {
        io::stdin().take(CONFIGURATION_BYTES_MAX).read_to_string(&mut text)?;
    } else {
        std::fs::File::open(path)?.take(CONFIGURATION_BYTES_MAX).read_to_string(&mut text)?;
    }
    Ok(text)
}

fn complain(message: &str) {
    // When standard error is gone there is nobody to tell; the exit code says it.
    let _ = writeln!(io::stderr(), "fanfare: {message}");
}
