//! Where the figures were made, and how quiet it was there.
//!
//! Owns the description of the machine. A figure means little without it: on a shared machine others take the
//! processor away, and the page has to say how much.

use std::fs;

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

/// How much of the machine was not ours while we measured.
#[derive(Debug, Serialize)]
pub(crate) struct Noise {
    /// Share of the processors' time that other processes and the kernel's own work took, in percent.
    pub(crate) others_percent: f64,
    /// Share that the hypervisor gave to other machines, in percent.
    pub(crate) stolen_percent: f64,
    /// Runnable tasks, averaged by the kernel over the minute before the run.
    pub(crate) load_before: f64,
}

/// A run whose noise is watched.
#[derive(Debug)]
pub(crate) struct Watch {
    load_before: f64,
    start: Jiffies,
}

impl Watch {
    /// From now on.
    pub(crate) fn start() -> Self {
        let load = file("/proc/loadavg").split(' ').next().and_then(|text| text.parse().ok());
        Self { load_before: load.unwrap_or(f64::NAN), start: Jiffies::now() }
    }

    /// Until now. All processes that were started meanwhile have to be waited for: only then are they ours.
    pub(crate) fn finish(self) -> Noise {
        let end = Jiffies::now();
        Noise {
            others_percent: end.since(&self.start, |jiffies| jiffies.busy - jiffies.ours),
            stolen_percent: end.since(&self.start, |jiffies| jiffies.stolen),
            load_before: self.load_before,
        }
    }
}

/// The kernel's accounting, in its own ticks.
#[derive(Debug)]
struct Jiffies {
    total: f64,
    busy: f64,
    stolen: f64,
    ours: f64,
}

impl Jiffies {
    fn now() -> Self {
        Self::parse(&file("/proc/stat"), &file("/proc/self/stat"))
    }

    /// Of the machine, the first line: user, nice, system, idle, iowait, irq, softirq, steal; guest times are in
    /// user's already. Of this process, fields 14 to 17: user and system, its own and its children's.
    fn parse(machine: &str, process: &str) -> Self {
        let numbers = |text: &str, skip: usize, take: usize| -> Vec<f64> {
            text.split_whitespace().skip(skip).take(take).map(|word| word.parse().unwrap_or(0.0)).collect()
        };
        let ticks = numbers(machine.lines().next().unwrap_or_default(), 1, 8);
        let at = |index: usize| ticks.get(index).copied().unwrap_or(0.0);
        let total: f64 = ticks.iter().sum();
        // The name in field 2 may hold anything, a parenthesis too; field 3 comes after the last one.
        let fields = process.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ours = numbers(fields, 11, 4).iter().sum();
        Self { total, busy: total - at(3) - at(4) - at(7), stolen: at(7), ours }
    }

    /// The share of `part` in all that passed since `earlier`, in percent.
    fn since(&self, earlier: &Self, part: impl Fn(&Self) -> f64) -> f64 {
        let total = self.total - earlier.total;
        if total > 0.0 { (part(self) - part(earlier)).max(0.0) / total * 100.0 } else { 0.0 }
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
        let before = "4711 (a) b) S 1 1 1 0 -1 0 0 0 0 0 5 1 4 0 20";
        let after = "4711 (a) b) S 1 1 1 0 -1 0 0 0 0 0 7 2 10 1 20";
        let earlier = Jiffies::parse("cpu  10 0 10 100 0 0 0 0 0 0\ncpu0 …", before);
        let later = Jiffies::parse("cpu  30 0 20 150 10 0 0 10 0 0\n", after);
        assert_eq!(later.since(&earlier, |jiffies| jiffies.busy), 30.0);
        assert_eq!(later.since(&earlier, |jiffies| jiffies.ours), 10.0);
        assert_eq!(later.since(&earlier, |jiffies| jiffies.stolen), 10.0);
        assert_eq!(later.since(&later, |jiffies| jiffies.busy), 0.0);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t\t: 1\nmodel name\t: AMD EPYC\n";
        assert_eq!(field(text, "model name").as_deref(), Some("AMD EPYC"));
        assert_eq!(field(text, "name"), None);
    }
}
