//! Metrics of traces.

use prometheus::{Error, IntCounter};

use super::families::Families;

/// Spans by what became of them.
#[derive(Clone)]
pub struct SpanCounters {
    /// The collector took them.
    pub sent: IntCounter,
    /// They are nowhere.
    pub lost: IntCounter,
}

impl SpanCounters {
    pub(super) fn new(families: Families<'_>) -> Result<Self, Error> {
        let help = "Spans of traces by what became of them: sent, or lost because the collector did not take them in \
                    time or too many waited.";
        let spans = families.counters("portcullis_spans_total", help, &["result"])?;
        Ok(Self { sent: spans.with_label_values(&["sent"]), lost: spans.with_label_values(&["lost"]) })
    }
}
