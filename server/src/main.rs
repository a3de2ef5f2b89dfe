//! The command `fanfare`.
//!
//! Owns the command line and the exit codes: 0 after leaving in good order, 64 for mistakes in the command line,
//! the configuration or the files that it names (EX_USAGE), 1 when the system refuses something.

#![forbid(unsafe_code)]

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use fanfare_server::config::{LoadError, Source};
use fanfare_server::{lifecycle, logs};
use rustix::process::{Pid, Signal};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const USAGE: u8 = 64;

/// A real-time sidecar for Laravel: drains local PHP processes' broadcasts and serves Pusher clients.
#[derive(Debug, Parser)]
#[command(name = "fanfare", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM, SIGINT or SIGQUIT; on SIGHUP, read the configuration again
    Serve {
        #[command(flatten)]
        named: Named,
        /// Leave, as on SIGTERM, when the process that started this one ends, however it ends
        #[arg(long)]
        stop_with_parent: bool,
    },
    /// Read the configuration and the files that it names, tell all their mistakes, and exit
    Check(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// The configuration, a JSON file; - is standard input, which SIGHUP cannot read again
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
    let (Named { config }, serve, stop_with_parent) = match cli.command {
        Command::Serve { named, stop_with_parent } => (named, true, stop_with_parent),
        Command::Check(named) => (named, false, false),
    };
    let parent = rustix::process::getppid();
    if stop_with_parent && let Err(code) = follow_parent(parent) {
        return code;
    }
    let source = Source::named(config);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let loaded = match source.load(cores) {
        Ok(loaded) => loaded,
        Err(error) => {
            complain(&error.to_string());
            return match error {
                LoadError::Mistaken { .. } => ExitCode::from(USAGE),
                LoadError::Unreadable { .. } => ExitCode::FAILURE,
            };
        }
    };
    if !serve {
        let _ = writeln!(io::stdout(), "the configuration is sound");
        return ExitCode::SUCCESS;
    }
    logs::start(loaded.configuration.log);
    match lifecycle::serve(loaded, source, stop_with_parent) {
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

fn complain(message: &str) {
    // When standard error is gone there is nobody to tell; the exit code says it.
    let _ = writeln!(io::stderr(), "fanfare: {message}");
}
