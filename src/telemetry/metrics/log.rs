//! Metrics of the request log.

use prometheus::{Error, IntCounter, IntGauge};

use super::families::Families;

/// Metrics of the request log.
#[derive(Clone)]
pub struct LogMetrics {
    /// Lines that were written.
    pub written: IntCounter,
    /// Lines that were lost.
    pub dropped: IntCounter,
    /// Bytes that wait because they cannot be written.
    pub waiting: IntGauge,
}

impl LogMetrics {
    pub(super) fn new(families: Families<'_>) -> Result<Self, Error> {
        Ok(Self {
            written: families.counter("portcullis_request_log_lines_total", "Lines of the request log that were written.")?,
            dropped: families.counter(
                "portcullis_request_log_dropped_total",
                "Lines of the request log that were lost: more waited than may, or the gate ended without room for them.",
            )?,
            waiting: families.gauge(
                "portcullis_request_log_waiting_bytes",
                "Bytes of the request log that wait because they cannot be written, as on a full disk.",
            )?,
        })
    }
}
