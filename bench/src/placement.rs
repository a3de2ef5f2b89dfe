//! Which processor runs what.
//!
//! Left to itself, the kernel decides anew with every wake-up whether the server runs beside PHP or takes PHP's own
//! processor, and then a call that wakes it takes as long as the server's work. Pinned apart, what is measured is
//! the wake-up.

use std::{fs, io};

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

use crate::failure::Failure;

/// Runs `measure` with all threads of the process `server` on one processor and this thread, with the processes
/// that it starts, on another. `None` when there is only one.
///
/// # Errors
/// What `measure` says, or the system when it refuses to pin.
pub(crate) fn apart<T>(
    server: u32,
    measure: impl FnOnce() -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    let all = sched_getaffinity(None).map_err(|errno| refused(errno.into()))?;
    let mut processors = (0..CpuSet::MAX_CPU).filter(|&processor| all.is_set(processor));
    let (Some(ours), Some(theirs)) = (processors.next(), processors.next()) else { return Ok(None) };
    place(&threads(server)?, &only(theirs))?;
    place(&[None], &only(ours))?;
    let measured = measure();
    place(&[None], &all)?;
    place(&threads(server)?, &all)?;
    measured.map(Some)
}

/// `None` is the thread that calls.
fn place(threads: &[Option<Pid>], processors: &CpuSet) -> Result<(), Failure> {
    threads
        .iter()
        .try_for_each(|&thread| sched_setaffinity(thread, processors))
        .map_err(|errno| refused(errno.into()))
}

fn threads(process: u32) -> Result<Vec<Option<Pid>>, Failure> {
    let number = |name: std::ffi::OsString| name.to_str()?.parse().ok().and_then(Pid::from_raw);
    let entries = fs::read_dir(format!("/proc/{process}/task")).map_err(refused)?;
    Ok(entries.flatten().filter_map(|entry| number(entry.file_name())).map(Some).collect())
}

fn only(processor: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(processor);
    set
}

fn refused(error: io::Error) -> Failure {
    Failure::system("pin the server and PHP to processors of their own")(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn afterwards_everything_runs_where_it_ran_before() {
        let all = sched_getaffinity(None).unwrap();
        let narrow = apart(std::process::id(), || Ok(sched_getaffinity(None).unwrap().count())).unwrap();
        assert_eq!(narrow, (all.count() > 1).then_some(1));
        assert_eq!(sched_getaffinity(None).unwrap(), all);
    }
}
