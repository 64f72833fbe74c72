//! The record of gates: each gate writes there which version of the record of suspended agents it
//! has seen, so that whoever suspends an agent is told which gates know it.
//!
//! A gate writes when it has seen another version, and once a minute to show that it runs. A gate
//! that ends strikes itself out.

use std::collections::BTreeMap;
use std::time::Duration;

use filters::path::PathProblem;
use filters::refusal::Refusal;
use filters::vault::{Layout, VaultRequest, control};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::exchange::Envelope;

use super::clock::epoch_seconds;
use super::own::OwnCalls;
use super::record::{self, SharedRecord, Unread, Unwritten};

/// Seconds between two reports of a gate that sees no change.
const HEARTBEAT: u64 = 60;
/// Oldest report of a gate that still runs, in seconds.
pub const LIVELY: u64 = 3 * HEARTBEAT;
/// Age at which a report is forgotten, in seconds.
const FORGOTTEN: u64 = 15 * HEARTBEAT;
/// Most gates on the record; those with the latest reports stay.
const MOST: usize = 1_000;
/// Longest pause after a report that could not be written; the shortest is a hundredth of it.
const PAUSE: Duration = Duration::from_secs(60);

/// The gates of one Vault.
pub struct Gates {
    own: OwnCalls,
    /// This gate's name among them; no other gate has it, and each start makes a new one.
    name: Box<str>,
}

/// The report of one gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The version of the record of suspended agents that it has seen.
    pub version: u64,
    /// The time of the report by the gate's own clock, in seconds since the epoch.
    pub at: u64,
}

/// The reports of all gates, by name.
pub type Reports = BTreeMap<String, Report>;

impl Gates {
    /// The gate `name` among those of this Vault.
    #[must_use]
    pub fn new(own: OwnCalls, name: impl Into<Box<str>>) -> Self {
        Self { own, name: name.into() }
    }

    /// Reads the reports of all gates.
    ///
    /// # Errors
    /// [`Unread`].
    pub async fn read(&self, layout: &Layout) -> Result<Reports, Unread> {
        record::read(&self.own, &GateRecord(layout), Envelope::look()).await.map(|read| read.entries)
    }

    /// Reports, for ever, which version the looks have `seen`.
    pub(super) async fn run<L: Clone>(
        &self,
        mut looks: watch::Receiver<L>,
        seen: impl Fn(&L) -> Option<u64>,
        layout: &impl Fn() -> Layout,
    ) {
        let (mut told, mut due) = (None, Instant::now());
        let mut failed = FailedReports::default();
        while looks.changed().await.is_ok() {
            let Some(version) = seen(&looks.borrow_and_update()) else { continue };
            let now = Instant::now();
            if told == Some(version) && now < due || now < failed.until {
                continue;
            }
            match self.tell(&layout(), version).await {
                Ok(()) => {
                    told = Some(version);
                    due = Instant::now() + Duration::from_secs(HEARTBEAT);
                    failed = FailedReports::default();
                }
                Err(unwritten) => failed.again(&unwritten.into()),
            }
        }
    }

    /// Strikes this gate out; what cannot be written is forgotten in time.
    pub(super) async fn leave(&self, layout: &Layout) {
        let strike = |reports: &mut Reports| {
            reports.remove(&*self.name);
            Ok(())
        };
        let _ = record::update(&self.own, &GateRecord(layout), None, strike).await;
    }

    async fn tell(&self, layout: &Layout, version: u64) -> Result<(), Unwritten> {
        let now = epoch_seconds();
        let tell = |reports: &mut Reports| {
            reports.insert(self.name.to_string(), Report { version, at: now });
            prune(reports, now);
            Ok(())
        };
        record::update(&self.own, &GateRecord(layout), None, tell).await.map(drop)
    }
}

/// The record of gates.
struct GateRecord<'a>(&'a Layout);

impl SharedRecord for GateRecord<'_> {
    type Stored = Value;
    type Entries = Reports;

    fn reading(&self) -> Result<VaultRequest, PathProblem> {
        control::read_gates(self.0)
    }

    fn writing(&self, version: u64, reports: &Reports) -> Result<VaultRequest, PathProblem> {
        control::write_gates(self.0, version, reports)
    }

    /// An entry that cannot be read is left out: nothing is kept from anybody by it.
    fn entries(&self, stored: Option<Value>) -> Reports {
        stored.as_ref().map(reports).unwrap_or_default()
    }

    fn envelopes(&self) -> (Envelope<'_>, Envelope<'_>) {
        (Envelope::look(), Envelope::soon())
    }
}

/// The entries that are reports.
fn reports(data: &Value) -> Reports {
    let entries = data.get("gates").and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(name, entry)| Some((name.clone(), Report::deserialize(entry).ok()?))).collect()
}

/// Forgets reports that are too old, and the oldest of too many.
fn prune(reports: &mut Reports, now: u64) {
    reports.retain(|_, seen| seen.at.saturating_add(FORGOTTEN) > now);
    while reports.len() > MOST {
        let eldest = reports.iter().min_by_key(|(_, seen)| seen.at).map(|(name, _)| name.clone());
        eldest.map(|name| reports.remove(&name));
    }
}

/// Failed attempts of this gate to report, in a row.
struct FailedReports {
    until: Instant,
    pause: Duration,
    told: bool,
}

impl Default for FailedReports {
    fn default() -> Self {
        Self { until: Instant::now(), pause: PAUSE / 100, told: false }
    }
}

impl FailedReports {
    fn again(&mut self, refusal: &Refusal) {
        if !self.told && !matches!(refusal, Refusal::UpstreamUnavailable | Refusal::UpstreamTimeout) {
            self.told = true;
            let code = refusal.public().code;
            tracing::warn!(code, "the gate cannot tell what it has seen of suspensions; see `portcullis-gate.hcl`");
        }
        self.until = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_gates_word_is_read_and_it_is_forgotten_in_time() {
        let data = serde_json::json!({"gates": {"a": {"version": 3, "at": 1_000}, "b": {"version": "x"}, "c": 7,
            "d": {"version": 4, "at": 1_500}}});
        let mut reports = reports(&data);
        assert_eq!(reports.keys().collect::<Vec<_>>(), ["a", "d"]);
        prune(&mut reports, 1_000 + FORGOTTEN);
        assert_eq!(reports.keys().collect::<Vec<_>>(), ["d"]);
        for data in [serde_json::json!(null), serde_json::json!({"gates": []}), serde_json::json!([1])] {
            assert!(super::reports(&data).is_empty(), "{data}");
        }
        let mut many: Reports =
            (0..=MOST as u64).map(|n| (n.to_string(), Report { version: 1, at: 1_000 + n })).collect();
        prune(&mut many, 1_000);
        assert!(many.len() == MOST && !many.contains_key("0"));
    }
}
