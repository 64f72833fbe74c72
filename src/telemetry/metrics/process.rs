//! The process, as the kernel tells of it, by the names that every client library of Prometheus gives.
//! Source: <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>, proc(5)

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Counter, Error, IntGauge};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::families::Families;

/// Metrics of the process.
pub(super) struct ProcessMetrics {
    cpu: Counter,
    resident: IntGauge,
    virtual_size: IntGauge,
    threads: IntGauge,
    open_files: IntGauge,
    most_files: IntGauge,
}

/// The fields of `/proc/self/stat` that are told.
struct Stat {
    /// Seconds of processor time.
    cpu: f64,
    threads: i64,
    /// Bytes of address space, and of those that are in memory.
    virtual_size: i64,
    resident: i64,
}

impl ProcessMetrics {
    pub(super) fn new(families: Families<'_>) -> Result<Self, Error> {
        let started =
            families.gauge("process_start_time_seconds", "When the process began, in seconds since the epoch.")?;
        started.set(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| whole(since.as_secs())));
        Ok(Self {
            cpu: families
                .add(Counter::new("process_cpu_seconds_total", "Processor time that was used, in seconds.")?)?,
            resident: families.gauge("process_resident_memory_bytes", "Memory that is held, in bytes.")?,
            virtual_size: families.gauge("process_virtual_memory_bytes", "Address space that is used, in bytes.")?,
            threads: families.gauge("process_threads", "Threads.")?,
            open_files: families.gauge("process_open_fds", "Open files and connections.")?,
            most_files: families.gauge("process_max_fds", "Most files that may be open.")?,
        })
    }

    /// Reads what the kernel tells now; what cannot be read stays as it was.
    pub(super) fn read(&self) {
        if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().and_then(|text| Stat::parse(&text)) {
            self.cpu.inc_by((stat.cpu - self.cpu.get()).max(0.0));
            self.threads.set(stat.threads);
            self.virtual_size.set(stat.virtual_size);
            self.resident.set(stat.resident);
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            // Without the one that this takes.
            self.open_files.set(whole(files.count().saturating_sub(1)));
        }
        self.most_files.set(getrlimit(Resource::Nofile).current.map_or(i64::MAX, whole));
    }
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name of the program may hold anything.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // The first of these is the third of all.
        let field = |number: usize| fields.get(number.checked_sub(3)?)?.parse::<u64>().ok();
        Some(Self {
            cpu: (field(14)? + field(15)?) as f64 / clock_ticks_per_second() as f64,
            threads: whole(field(20)?),
            virtual_size: whole(field(23)?),
            resident: whole(field(24)?.saturating_mul(page_size() as u64)),
        })
    }
}

fn whole(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_after_the_name_of_the_program() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 3 0 99 8192 2 18446744073709551615";
        let stat = Stat::parse(text).unwrap();
        assert!((stat.cpu * clock_ticks_per_second() as f64 - 200.0).abs() < 1e-6);
        assert_eq!((stat.threads, stat.virtual_size, stat.resident), (3, 8192, 2 * page_size() as i64));
        assert!(Stat::parse("7 (a) S 1").is_none());
    }
}
