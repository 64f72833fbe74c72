//! The time of a core that a process has used, by the kernel's own accounting, and the core's number.

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, hint, thread};

/// The measured server has one core to itself; generator and stub share the other.
#[derive(Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) measured: usize,
    pub(crate) rest: usize,
}

impl Cores {
    /// The first two cores this process may run on; `None` where there is only one.
    pub(crate) fn find() -> Result<Option<Self>> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).context("affinity of this process")?;
        let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or_default());
        Ok(cores.next().zip(cores.next()).map(|(measured, rest)| Self { measured, rest }))
    }
}

/// Binds the calling thread, and whatever it starts from now on, to one core.
pub(crate) fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("pin to core {core}"))
}

/// Keeps a core from idling, at the lowest priority, until it is dropped.
///
/// To wake an idle core costs whoever wakes it, here the measured server, and the more often the slower that is: what a
/// setting costs would be told as more than it is.
pub(crate) struct Awake(Arc<AtomicBool>);

impl Awake {
    pub(crate) fn keep(core: usize) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&ends);
        thread::spawn(move || {
            // On Linux a priority is the thread's own.
            if rustix::process::nice(19).is_err() || pin(core).is_err() {
                return eprintln!("core {core} cannot be kept from idling: ratios may be larger than they are");
            }
            while !theirs.load(Ordering::Relaxed) {
                hint::spin_loop();
            }
        });
        Self(ends)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// CPU time of a process and of its children so far: all threads, user and kernel.
///
/// `schedstat` counts nanoseconds, where `stat` counts ticks of 10 ms.
pub(crate) fn spent(pid: u32) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for member in family(pid)? {
        for task in fs::read_dir(format!("/proc/{member}/task"))? {
            // A thread may end between the listing and the reading.
            if let Ok(line) = fs::read_to_string(task?.path().join("schedstat")) {
                let on_core = line.split(' ').next().unwrap_or_default();
                total += Duration::from_nanos(on_core.parse().context("schedstat")?);
            }
        }
    }
    Ok(total)
}

/// Resident memory of a process and of its children, in KiB.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    let mut total = 0;
    for member in family(pid)? {
        let status = fs::read_to_string(format!("/proc/{member}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        total += line.trim().trim_end_matches(" kB").parse::<u64>().context("VmRSS")?;
    }
    Ok(total)
}

/// A process and its direct children: nginx works in a child of what was started.
fn family(pid: u32) -> Result<Vec<u32>> {
    let mut members = vec![pid];
    for entry in fs::read_dir("/proc")? {
        let Some(candidate) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if parent(candidate) == Some(pid) {
            members.push(candidate);
        }
    }
    Ok(members)
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name is in brackets and may hold anything, brackets included.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn time_on_a_core_is_counted() {
        let before = spent(std::process::id()).unwrap();
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(50) {}
        let used = spent(std::process::id()).unwrap() - before;
        assert!(used > Duration::from_millis(5), "{used:?}");
        assert!(resident(std::process::id()).unwrap() > 1000);
    }
}
