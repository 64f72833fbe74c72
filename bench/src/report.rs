//! The figures of a run: a table for people, a file for programs.

use crate::decide::Cost;
use crate::load::Round;
use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::fs;
use std::path::Path;
use std::time::Duration;

#[derive(Default, Serialize)]
pub(crate) struct Report {
    pub(crate) scenarios: Vec<Row>,
    pub(crate) skipped: Vec<Skipped>,
    /// Of decision and translation alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) decisions: Vec<Cost>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gate_idle_mib: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idle: Option<Idle>,
    pub(crate) subscribers: Option<Subscribers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verified: Option<Verified>,
}

#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) requests_per_second: f64,
    pub(crate) cpu_us_per_request: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) failed: u64,
    pub(crate) ratio: Ratio,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vault_cpu_us_per_request: Option<f64>,
    /// The 99th percentile as a multiple of what it is without the disturbance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99_ratio: Option<f64>,
    /// CPU per request, as a multiple of that of a gate without what is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) off_ratio: Option<f64>,
}

/// CPU per request, as a multiple of a baseline's in the same rounds.
#[derive(Default, Serialize)]
pub(crate) struct Ratio {
    pub(crate) pingora: Option<f64>,
    pub(crate) nginx: Option<f64>,
}

/// A scenario that could not run here, and why.
#[derive(Serialize)]
pub(crate) struct Skipped {
    pub(crate) name: &'static str,
    pub(crate) reason: String,
    /// True where it should have run: false where a tool is missing on this machine.
    #[serde(skip)]
    fault: bool,
}

/// KiB of resident memory for each idle connection.
#[derive(Serialize)]
pub(crate) struct Idle {
    pub(crate) connections: usize,
    pub(crate) gate_kib: f64,
    pub(crate) pingora_kib: f64,
}

/// Streams of events: the KiB of resident memory that each takes beside its connection, and the
/// milliseconds from a write until the last of them is told.
#[derive(Serialize)]
pub(crate) struct Subscribers {
    pub(crate) streams: usize,
    pub(crate) stream_kib: f64,
    pub(crate) last_told_ms: f64,
}

/// A file of an audit, and the seconds that `audit verify` takes for it.
#[derive(Serialize)]
pub(crate) struct Verified {
    pub(crate) records: u64,
    pub(crate) mib: f64,
    pub(crate) seconds: f64,
}

/// The results of one contender's rounds: medians over rounds, latencies over all of them.
pub(crate) struct Figures {
    pub(crate) requests_per_second: f64,
    /// One for each metered process.
    pub(crate) cpu_us_per_request: Vec<f64>,
    /// Microseconds of CPU that the contender itself took for each request, round by round.
    cpu_by_round: Vec<f64>,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<String>,
}

impl Figures {
    pub(crate) fn of(rounds: &[Round]) -> Result<Self> {
        let Some(first) = rounds.first() else {
            bail!("no rounds");
        };
        let mut latency = Histogram::new_from(&first.latency);
        for round in rounds {
            latency.add(&round.latency)?;
        }
        let by_round = |metered: usize| {
            let rounds = rounds.iter().filter_map(move |round| Some((round.cpu.get(metered)?, round)));
            rounds.map(|(cpu, round)| micros(*cpu) / count(round.requests))
        };
        Ok(Self {
            requests_per_second: median(rounds.iter().map(|round| count(round.requests) / round.elapsed.as_secs_f64())),
            cpu_us_per_request: (0..first.cpu.len()).map(|metered| median(by_round(metered))).collect(),
            cpu_by_round: by_round(0).collect(),
            p50_ms: count(latency.value_at_quantile(0.50)) / 1000.0,
            p99_ms: count(latency.value_at_quantile(0.99)) / 1000.0,
            failed: rounds.iter().map(|round| round.failed).sum(),
            first_failure: rounds.iter().find_map(|round| round.first_failure.clone()),
        })
    }

    /// CPU of the first metered process: the contender itself.
    pub(crate) fn cpu(&self) -> f64 {
        self.cpu_us_per_request.first().copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn row(&self, name: &'static str, ratio: Ratio) -> Row {
        if let Some(failure) = &self.first_failure {
            eprintln!("{name}: {} failed, the first with {failure}", self.failed);
        }
        Row {
            name,
            requests_per_second: rounded(self.requests_per_second, 0),
            cpu_us_per_request: rounded(self.cpu(), 2),
            p50_ms: rounded(self.p50_ms, 3),
            p99_ms: rounded(self.p99_ms, 3),
            failed: self.failed,
            ratio,
            vault_cpu_us_per_request: None,
            p99_ratio: None,
            off_ratio: None,
        }
    }

    /// Its CPU per request as a multiple of a baseline's: the median over the pairs of rounds that were run one after
    /// the other, which the same things disturbed.
    pub(crate) fn against(&self, baseline: Option<&Self>) -> Option<f64> {
        let ratios = self.cpu_by_round.iter().zip(&baseline?.cpu_by_round).map(|(own, other)| own / other);
        Some(rounded(median(ratios), 3))
    }
}

impl Report {
    /// A scenario that has run, or should have.
    pub(crate) fn add(&mut self, name: &'static str, measured: Result<Row>) {
        match measured {
            Ok(row) => self.scenarios.push(row),
            Err(error) => self.skip(name, &error, true),
        }
    }

    /// A scenario that cannot run does not keep the others from running.
    pub(crate) fn skip(&mut self, name: &'static str, error: &anyhow::Error, fault: bool) {
        let reason = format!("{error:#}");
        eprintln!("{name}: {reason}");
        self.skipped.push(Skipped { name, reason, fault });
    }

    /// A scenario should have run and did not, some answers were not the expected ones, or there
    /// is nothing to show.
    pub(crate) fn is_incomplete(&self) -> bool {
        let nothing = self.scenarios.is_empty()
            && self.decisions.is_empty()
            && self.idle.is_none()
            && self.subscribers.is_none()
            && self.verified.is_none();
        let failed = self.scenarios.iter().any(|row| row.failed > 0);
        nothing || failed || self.skipped.iter().any(|skipped| skipped.fault)
    }

    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(file, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(())
    }

    pub(crate) fn print(&self) {
        if !self.scenarios.is_empty() {
            self.print_table();
        }
        for (row, ratio) in self.scenarios.iter().filter_map(|row| Some((row, row.p99_ratio?))) {
            println!("{}: its p99 is {ratio:.2} times that without the disturbance", row.name);
        }
        for (row, ratio) in self.scenarios.iter().filter_map(|row| Some((row, row.off_ratio?))) {
            println!("{}: CPU per request is {ratio:.3} times that of a gate without", row.name);
        }
        for cost in &self.decisions {
            println!(
                "{}: decision and translation among {} agents: {:.0} ns, {:.0} instructions, \
                 {:.1} allocations",
                cost.name, cost.agents, cost.nanoseconds, cost.instructions, cost.allocations
            );
        }
        if let Some(idle) = self.gate_idle_mib {
            println!("idle memory of the gate: {idle:.1} MiB");
        }
        if let Some(Idle { connections, gate_kib, pingora_kib }) = &self.idle {
            println!(
                "idle connection, one of {connections}: {gate_kib:.1} KiB, of the pass-through {pingora_kib:.1} KiB"
            );
        }
        if let Some(Subscribers { streams, stream_kib, last_told_ms }) = &self.subscribers {
            println!(
                "stream of events, one of {streams}: {stream_kib:.1} KiB; the last is told after {last_told_ms} ms"
            );
        }
        if let Some(Verified { records, mib, seconds }) = &self.verified {
            println!("audit verify: {records} records in {mib:.0} MiB within {seconds:.2} s");
        }
        for skipped in &self.skipped {
            println!("skipped {}: {}", skipped.name, skipped.reason);
        }
    }

    fn print_table(&self) {
        println!(
            "\n{:<24}{:>11}{:>13}{:>9}{:>9}{:>9}{:>11}{:>9}{:>15}",
            "scenario",
            "requests/s",
            "CPU µs/req",
            "p50 ms",
            "p99 ms",
            "failed",
            "× pingora",
            "× nginx",
            "Vault µs/req"
        );
        for row in &self.scenarios {
            println!(
                "{:<24}{:>11.0}{:>13.1}{:>9.2}{:>9.2}{:>9}{:>11}{:>9}{:>15}",
                row.name,
                row.requests_per_second,
                row.cpu_us_per_request,
                row.p50_ms,
                row.p99_ms,
                row.failed,
                cell(row.ratio.pingora, 2),
                cell(row.ratio.nginx, 2),
                cell(row.vault_cpu_us_per_request, 0),
            );
        }
    }
}

pub(crate) fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

fn cell(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.digits$}"))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.len() / 2;
    let lower = sorted.len().saturating_sub(1) / 2;
    match (sorted.get(lower), sorted.get(upper)) {
        (Some(lower), Some(upper)) => f64::midpoint(*lower, *upper),
        _ => f64::NAN,
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Counts here stay far below 2^53.
fn count(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middles() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 3.0, 2.0].into_iter()), 2.5);
        assert!(median([].into_iter()).is_nan());
    }
}
