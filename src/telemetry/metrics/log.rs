//! Metrics of the logs, and of the audit.

use std::sync::LazyLock;

use prometheus::{Error, IntCounter, IntGauge};

use super::super::audit::AuditCounters;
use super::families::Families;

/// The server log is there before all metrics.
static LOST: LazyLock<Option<IntCounter>> = LazyLock::new(|| {
    IntCounter::new("portcullis_server_log_dropped_total", "Lines of the server log that could not be written.").ok()
});

/// Lines of this process's server log that could not be written.
pub(in crate::telemetry) fn lost() -> Option<&'static IntCounter> {
    LOST.as_ref()
}

/// Metrics of each log.
pub struct LogsMetrics {
    /// Of the request log.
    pub requests: LogMetrics,
    /// Of the log of operations.
    pub responses: LogMetrics,
    /// Of the server log's file.
    pub server: LogMetrics,
}

/// Metrics of one log.
#[derive(Clone)]
pub struct LogMetrics {
    /// Lines that were written.
    pub written: IntCounter,
    /// Lines that were lost.
    pub dropped: IntCounter,
    /// Bytes that wait because they cannot be written.
    pub waiting: IntGauge,
}

impl LogsMetrics {
    pub(super) fn new(families: Families<'_>) -> Result<Self, Error> {
        const LOG: &[&str] = &["log"];
        if let Some(lost) = lost() {
            families.add(lost.clone())?;
        }
        let written = families.counters("portcullis_log_lines_total", "Lines of the log that were written.", LOG)?;
        let dropped = families.counters(
            "portcullis_log_dropped_total",
            "Lines of the log that were lost: more waited than may, or the gate ended without room for them.",
            LOG,
        )?;
        let waiting = families.gauges(
            "portcullis_log_waiting_bytes",
            "Bytes of the log that wait because they cannot be written, as on a full disk.",
            LOG,
        )?;
        let of = |log: &str| {
            let log = &[log];
            Ok::<_, Error>(LogMetrics {
                written: written.get_metric_with_label_values(log)?,
                dropped: dropped.get_metric_with_label_values(log)?,
                waiting: waiting.get_metric_with_label_values(log)?,
            })
        };
        Ok(Self { requests: of("requests")?, responses: of("responses")?, server: of("server")? })
    }
}

pub(super) fn of_audit(families: Families<'_>) -> Result<AuditCounters, Error> {
    let help = "Records of the audit by what became of them.";
    let records = families.counters("portcullis_audit_records_total", help, &["result"])?;
    let of = |result: &str| records.get_metric_with_label_values(&[result]);
    Ok(AuditCounters { written: of("written")?, lost: of("lost")?, unsent: of("unsent")? })
}
