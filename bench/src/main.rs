//! Measures Fanfare, with real PHP, the real extension and the real server, and writes one page.
//!
//! Owns the command line, the order of things and where the results go. What is measured, and how, is in
//! [`scenario`]; a figure that misses its goal is reported and changes no exit code.
//!
//! Started by bench/run, which builds what is needed and knows where it is.

#![forbid(unsafe_code)]

mod accounting;
mod chart;
mod contestant;
mod crowd;
mod failure;
mod fleet;
mod floor;
mod frames;
mod histogram;
mod http;
mod machine;
mod measurement;
mod page;
mod php;
mod pipe;
mod placement;
mod program;
mod publisher;
mod scenario;
mod server;
mod tick;

use std::cell::RefCell;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use clap::builder::PossibleValuesParser;

use contestant::Places;
use failure::Failure;
use machine::{Machine, Watch};
use page::{Page, Unmeasured};
use php::Php;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use scenario::{Scenario, Size, Stage};

/// Measures Fanfare and prints one page of results.
///
/// Results also go to target/bench: result.md, result.json, which has every sample, and plots.
/// The exit code says whether it could be measured, not whether the goals were met.
#[derive(Debug, Parser)]
#[command(name = "bench/run", override_usage = "bench/run [OPTIONS]", after_help = scenarios())]
struct Cli {
    /// Measure this scenario alone; may be given more than once
    #[arg(long, value_name = "SCENARIO", value_parser = PossibleValuesParser::new(names()))]
    only: Vec<String>,
    /// Measure less of everything: to try the bench, not to compare
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Measure more of everything: an hour instead of some fifteen minutes
    #[arg(long)]
    full: bool,
    /// Build the rivals that are not there yet: sockudo, once (10 to 30 minutes)
    #[arg(long)]
    rivals: bool,
    /// A Laravel application that has laravel/reverb, to be compared with
    #[arg(long, value_name = "PATH")]
    reverb: Option<PathBuf>,
    /// Where sockudo's binary is, or would be
    #[arg(long, value_name = "PATH", hide = true)]
    sockudo: PathBuf,
    /// Samples per line [default: 5, quick: 2, full: 9]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..))]
    repetitions: Option<u8>,
    /// The server's binary
    #[arg(long, hide = true)]
    server: PathBuf,
    /// Directory of the PHP scripts
    #[arg(long, hide = true)]
    scripts: PathBuf,
    /// Directory with Composer's vendor/
    #[arg(long, hide = true)]
    application: PathBuf,
    /// Directory for sockets
    #[arg(long, hide = true)]
    scratch: PathBuf,
    /// Directory for the results
    #[arg(long, hide = true)]
    results: PathBuf,
    /// What is measured
    #[arg(long, hide = true)]
    commit: String,
}

fn names() -> Vec<&'static str> {
    scenario::ALL.iter().map(|scenario| scenario.name).collect()
}

fn scenarios() -> String {
    let rows = scenario::ALL.iter().map(|Scenario { name, about, .. }| format!("\n  {name:<10} {about}"));
    format!("Scenarios:{}", rows.collect::<String>())
}

fn main() -> ExitCode {
    // The bench starts itself as those that must not share a process with it.
    let role = std::env::args().nth(1);
    let outcome = match role.as_deref() {
        Some(contestant::FLOOR) => floor::serve(),
        Some(crowd::SUBCOMMAND) => crowd::run(),
        _ => return bench(),
    };
    report(outcome)
}

fn bench() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(message) => {
            let _ = message.print();
            // 64 is EX_USAGE.
            return if message.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS };
        }
    };
    report(measure(cli))
}

fn report(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn measure(cli: Cli) -> Result<(), Failure> {
    allow_open_files();
    let (size, repetitions) = match (cli.quick, cli.full) {
        (true, _) => (Size::Quick, 2),
        (_, true) => (Size::Full, 9),
        _ => (Size::Short, 5),
    };
    let repetitions = cli.repetitions.map_or(repetitions, usize::from);
    let sockudo = match (cli.sockudo.exists(), cli.rivals) {
        (true, _) => Ok(cli.sockudo),
        (false, true) => Err("it could not be built; `bench/rivals` says why"),
        (false, false) => Err("not installed; `bench/run --rivals` builds it, once"),
    };
    let stage = Stage {
        places: Places { server: cli.server, scratch: cli.scratch, sockudo, reverb: cli.reverb },
        php: Php { scripts: cli.scripts, application: cli.application },
        repetitions,
        size,
        excused: RefCell::default(),
    };
    let machine = Machine::describe(&stage.php, cli.commit)?;
    let watch = Watch::start();
    let chosen =
        |scenario: &&Scenario| cli.only.is_empty() || cli.only.iter().any(|only| only == scenario.name);
    let mut sections = Vec::new();
    let mut failures = Vec::new();
    for scenario in scenario::ALL.iter().filter(chosen) {
        let start = Instant::now();
        match (scenario.run)(&stage) {
            Ok(section) => sections.push(section),
            // The others are still worth their time.
            Err(failure) => {
                progress(&format!("{}: {failure}", scenario.name));
                failures.push(Unmeasured { name: scenario.name, why: failure.to_string() });
            }
        }
        progress(&format!("{}: took {} s", scenario.name, start.elapsed().as_secs()));
    }
    let failed = failures.len();
    let page = Page { machine, noise: watch.finish(), repetitions, size, sections, failures };
    let text = page.markdown();
    let json = serde_json::to_string_pretty(&page)
        .map_err(|error| Failure::new(format!("cannot write the result as JSON: {error}")))?;
    let mut files = vec![("result.md".to_owned(), text.clone()), ("result.json".to_owned(), json)];
    let charts = page.sections.iter().flat_map(|section| &section.charts);
    files.extend(charts.map(|chart| (chart.file(), chart.svg())));
    for (name, content) in files {
        let path = cli.results.join(name);
        fs::write(&path, content).map_err(Failure::system(format!("write {}", path.display())))?;
    }
    print(&text)?;
    if failed > 0 {
        return Err(Failure::new(format!("{failed} scenarios could not be measured; the page says why")));
    }
    Ok(())
}

fn print(text: &str) -> Result<(), Failure> {
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(Failure::system("print the page; it is in target/bench/result.md"))
}

/// One line for the person who waits.
fn progress(text: &str) {
    // When standard error is gone nobody waits.
    let _ = writeln!(io::stderr(), "bench: {text}");
}

/// As many as there may be, for all that is started too. That it is enough is seen when it is needed.
fn allow_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Refused only to those who ask for more than they may have.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
