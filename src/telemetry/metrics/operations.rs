//! Metrics of operations and of what was decided. Handles of what is served are made once.

use std::sync::OnceLock;

use filters::catalog::CATALOG;
use filters::notes::OBSERVED;
use filters::operation::Entry;
use prometheus::{Error, Histogram, HistogramVec, IntCounter, IntCounterVec};

use super::super::sink::{Call, Calls, Record};
use super::families::{BUCKETS, Families};

const ALLOWED: &str = "allow";

/// Metrics of operations.
pub(super) struct OperationMetrics {
    outcomes: IntCounterVec,
    latencies: HistogramVec,
    /// The handles of each operation, in the order of the catalog.
    served: Vec<Served>,
    observed: IntCounterVec,
    decisions: IntCounterVec,
    allowed: IntCounter,
}

struct Served {
    count: IntCounter,
    /// Made once Vault was asked.
    latency: OnceLock<Histogram>,
}

impl OperationMetrics {
    pub(super) fn new(families: Families<'_>) -> Result<Self, Error> {
        let outcomes = families.counters(
            "portcullis_operations_total",
            "Operations by name and outcome.",
            &["operation", "outcome"],
        )?;
        let latencies = families.histograms(
            (
                "portcullis_upstream_duration_seconds",
                "How long Vault takes to answer an agent's request, by operation.",
            ),
            &BUCKETS,
            &["operation"],
        )?;
        let observed = families.counters(
            "portcullis_observed_total",
            "Operations that only a role with `mode = \"observe\"` allowed.",
            &["operation"],
        )?;
        let decisions = families.counters(
            "portcullis_decisions_total",
            "Requests, and messages of batches, by what was decided: allow, or the code of the refusal.",
            &["decision"],
        )?;
        let served = |entry: &Entry| Served {
            count: outcomes.with_label_values(&[entry.spec.name, "served"]),
            latency: OnceLock::new(),
        };
        // Those that alerts watch rise from zero.
        for refused in ["forbidden", "unauthenticated"] {
            decisions.with_label_values(&[refused]);
        }
        Ok(Self {
            served: CATALOG.all().map(served).collect(),
            allowed: decisions.with_label_values(&[ALLOWED]),
            outcomes,
            latencies,
            observed,
            decisions,
        })
    }

    pub(super) fn count(&self, record: &Record<'_>) {
        match record.decision {
            "" => {}
            ALLOWED => self.allowed.inc(),
            refused => self.decisions.with_label_values(&[refused]).inc(),
        }
        record.calls.into_iter().flat_map(Calls::iter).for_each(|call| self.called(call));
    }

    fn called(&self, Call { entry, concern, refused, upstream, .. }: &Call) {
        let place = CATALOG.all().position(|other| std::ptr::eq(other, *entry));
        let Some(served) = place.and_then(|place| self.served.get(place)) else { return };
        match refused {
            None => served.count.inc(),
            Some(code) => self.outcomes.with_label_values(&[entry.spec.name, code]).inc(),
        }
        if concern.notes.is_raised(OBSERVED) {
            self.observed.with_label_values(&[entry.spec.name]).inc();
        }
        if let Some(time) = upstream {
            let latency = || self.latencies.with_label_values(&[entry.spec.name]);
            served.latency.get_or_init(latency).observe(time.as_secs_f64());
        }
    }
}
