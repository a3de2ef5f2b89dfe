//! What a process used, as the kernel accounts for it.
//!
//! Owns the reading of /proc. CPU is counted by thread in nanoseconds (schedstat): user, system, and what the kernel
//! does on the thread's time, which on the loopback interface is also the receiving half of TCP.

use std::fs;
use std::time::Duration;

use crate::failure::Failure;
use crate::tick::monotonic_ns;

/// A process that ran less than this between two looks is quiet.
const QUIET_NS: u64 = 1_000_000;
const LOOK: Duration = Duration::from_millis(40);
/// Some seconds: who is never quiet is measured as it is.
const LOOKS_MAX: usize = 100;

/// Nanoseconds that all threads of `process` ran.
///
/// # Errors
/// When it is gone, or the kernel keeps no such account.
pub(crate) fn cpu_ns(process: u32) -> Result<u64, Failure> {
    let mut total = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task")).map_err(gone(process))?.flatten() {
        // A thread may end in between; it takes its account with it, and contestants keep their threads.
        let Ok(account) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
        total += account.split(' ').next().and_then(|ran| ran.parse::<u64>().ok()).ok_or_else(|| {
            Failure::new(format!("expected the kernel to account for threads in ns, but found {account:?}"))
        })?;
    }
    Ok(total)
}

/// Waits until `process` has nothing to do: connections that left are still being taken down after the last has closed.
///
/// # Errors
/// When it is gone.
pub(crate) fn quiet(process: u32) -> Result<(), Failure> {
    let mut before = cpu_ns(process)?;
    for _ in 0..LOOKS_MAX {
        std::thread::sleep(LOOK);
        let now = cpu_ns(process)?;
        if now - before < QUIET_NS {
            break;
        }
        before = now;
    }
    Ok(())
}

/// Bytes of memory that `process` has resident.
///
/// # Errors
/// When it is gone.
pub(crate) fn resident_bytes(process: u32) -> Result<f64, Failure> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).map_err(gone(process))?;
    kibibytes(&text, "Rss:").map(|kibibytes| kibibytes * 1024.0).ok_or_else(|| {
        Failure::new(format!("expected the resident size of process {process}, but found {text:?}"))
    })
}

/// Connections that the kernel refused because nobody accepted them in time, on the whole machine since it started.
pub(crate) fn accepts_lost() -> u64 {
    listen_overflows(&fs::read_to_string("/proc/net/netstat").unwrap_or_default()).unwrap_or(0)
}

fn gone(process: u32) -> impl FnOnce(std::io::Error) -> Failure {
    Failure::system(format!("read what process {process} uses; has it ended?"))
}

fn kibibytes(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

fn listen_overflows(netstat: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let names = lines.next()?.split(' ');
    let figures = lines.next()?.split(' ');
    names.zip(figures).find(|(name, _)| *name == "ListenOverflows")?.1.parse().ok()
}

/// CPU of some processes over a time.
#[derive(Debug)]
pub(crate) struct Meter {
    processes: Vec<u32>,
    cpu_ns: u64,
    at_ns: u64,
}

/// What a [`Meter`] read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    /// CPU time of all of them.
    pub(crate) cpu_ns: f64,
    /// Of one processor, 0 to 1 for each.
    pub(crate) share: f64,
}

impl Meter {
    /// From now on.
    ///
    /// # Errors
    /// When one of them is gone.
    pub(crate) fn start(processes: &[u32]) -> Result<Self, Failure> {
        Ok(Self { processes: processes.to_vec(), cpu_ns: sum(processes)?, at_ns: monotonic_ns() })
    }

    /// Until now.
    ///
    /// # Errors
    /// When one of them is gone.
    pub(crate) fn read(&self) -> Result<Used, Failure> {
        let cpu_ns = sum(&self.processes)?.saturating_sub(self.cpu_ns) as f64;
        let passed_ns = monotonic_ns().saturating_sub(self.at_ns).max(1);
        Ok(Used { cpu_ns, share: cpu_ns / passed_ns as f64 })
    }
}

fn sum(processes: &[u32]) -> Result<u64, Failure> {
    processes.iter().map(|&process| cpu_ns(process)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something() {
        let meter = Meter { processes: vec![std::process::id()], cpu_ns: 0, at_ns: 0 };
        assert!(meter.read().unwrap().cpu_ns > 0.0);
        assert!(resident_bytes(std::process::id()).unwrap() > 100_000.0);
    }

    #[test]
    fn figures_are_found_by_their_names() {
        assert_eq!(kibibytes("Rss:    1234 kB\nPss:  1 kB\n", "Rss:"), Some(1234.0));
        let netstat =
            "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 22 333\nIpExt: a\nIpExt: 1\n";
        assert_eq!(listen_overflows(netstat), Some(22));
        assert_eq!(listen_overflows(""), None);
    }
}
