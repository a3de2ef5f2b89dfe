//! Where the figures were made, and how quiet it was there.
//!
//! Owns the description of the machine. A figure means little without it: on a shared machine others take the
//! processor away, and the page has to say how much.

use std::fs;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::php::Php;

/// What is written above the results.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// The processor, as it calls itself.
    pub(crate) cpu: String,
    /// How many of them there are for us.
    pub(crate) cores: usize,
    /// Kernel and its version.
    pub(crate) kernel: String,
    /// Bytes of memory, in GiB.
    pub(crate) memory_gib: f64,
    /// PHP's version and build.
    pub(crate) php: String,
    /// Whether opcache is on, whether its JIT is.
    pub(crate) opcache: String,
    /// Laravel's version.
    pub(crate) laravel: String,
    /// Guzzle's version.
    pub(crate) guzzle: String,
    /// The extension's version.
    pub(crate) extension: String,
    /// What was measured.
    pub(crate) commit: String,
    /// When.
    pub(crate) date: String,
}

impl Machine {
    /// Asks the kernel and PHP.
    ///
    /// # Errors
    /// When PHP does not answer.
    pub(crate) fn describe(php: &Php, commit: String) -> Result<Self, Failure> {
        let answer = php.run("machine.php", &json!({}))?;
        let said = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or("unknown").to_owned();
        let cpu =
            field(&file("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        let memory_kib = field(&file("/proc/meminfo"), "MemTotal")
            .and_then(|text| text.split(' ').next()?.parse::<f64>().ok())
            .unwrap_or(f64::NAN);
        Ok(Self {
            cpu,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: format!("Linux {}", file("/proc/sys/kernel/osrelease").trim()),
            memory_gib: memory_kib / f64::from(1 << 20),
            php: said("php"),
            opcache: format!("{}, JIT {}", said("opcache"), said("jit")),
            laravel: said("laravel"),
            guzzle: said("guzzle"),
            extension: said("extension"),
            commit,
            date: said("date"),
        })
    }
}

/// How much others used the machine: just before, just after, and what the hypervisor took in between.
#[derive(Debug, Serialize)]
pub(crate) struct Noise {
    /// Share of all processors that was busy in the half second before the first scenario, in percent.
    pub(crate) busy_before_percent: f64,
    /// The same after the last.
    pub(crate) busy_after_percent: f64,
    /// Share of the processors' time that the hypervisor gave to other machines during the run, in percent.
    pub(crate) stolen_percent: f64,
    /// Runnable tasks, averaged by the kernel over the minute before the run.
    pub(crate) load_before: f64,
}

/// How long the machine is looked at before and after.
const LOOK: Duration = Duration::from_millis(500);

/// A run whose noise is watched.
#[derive(Debug)]
pub(crate) struct Watch {
    busy_before_percent: f64,
    load_before: f64,
    start: Jiffies,
}

impl Watch {
    /// Looks at the machine, which this process leaves alone meanwhile.
    pub(crate) fn start() -> Self {
        let load = file("/proc/loadavg").split(' ').next().and_then(|text| text.parse().ok());
        let load_before = load.unwrap_or(f64::NAN);
        Self { busy_before_percent: busy_percent(), load_before, start: Jiffies::now() }
    }

    /// Looks at it again.
    pub(crate) fn finish(self) -> Noise {
        let end = Jiffies::now();
        Noise {
            busy_before_percent: self.busy_before_percent,
            busy_after_percent: busy_percent(),
            stolen_percent: end.since(&self.start, |jiffies| jiffies.stolen),
            load_before: self.load_before,
        }
    }
}

fn busy_percent() -> f64 {
    let before = Jiffies::now();
    std::thread::sleep(LOOK);
    100.0 - Jiffies::now().since(&before, |jiffies| jiffies.idle)
}

/// The kernel's accounting of all processors, in its own ticks.
#[derive(Debug)]
struct Jiffies {
    total: f64,
    idle: f64,
    stolen: f64,
}

impl Jiffies {
    fn now() -> Self {
        Self::parse(&file("/proc/stat"))
    }

    /// The first line: user, nice, system, idle, iowait, irq, softirq, steal; guest times are in user's already.
    fn parse(stat: &str) -> Self {
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<f64> =
            line.split_whitespace().skip(1).take(8).map(|word| word.parse().unwrap_or(0.0)).collect();
        let at = |index: usize| ticks.get(index).copied().unwrap_or(0.0);
        Self { total: ticks.iter().sum(), idle: at(3) + at(4), stolen: at(7) }
    }

    /// The share of `part` in all that passed since `earlier`, in percent.
    fn since(&self, earlier: &Self, part: impl Fn(&Self) -> f64) -> f64 {
        let total = self.total - earlier.total;
        if total > 0.0 { (part(self) - part(earlier)) / total * 100.0 } else { 0.0 }
    }
}

fn file(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The first `name : value` of a file of such lines.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(found, _)| found.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_time_that_passed() {
        let earlier = Jiffies::parse("cpu  10 0 10 100 0 0 0 0 0 0\ncpu0 …");
        let later = Jiffies::parse("cpu  30 0 20 150 10 0 0 10 0 0\n");
        assert_eq!(later.since(&earlier, |jiffies| jiffies.idle), 60.0);
        assert_eq!(later.since(&earlier, |jiffies| jiffies.stolen), 10.0);
        assert_eq!(later.since(&later, |jiffies| jiffies.idle), 0.0);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t\t: 1\nmodel name\t: AMD EPYC\n";
        assert_eq!(field(text, "model name").as_deref(), Some("AMD EPYC"));
        assert_eq!(field(text, "name"), None);
    }
}
