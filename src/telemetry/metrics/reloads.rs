//! Metrics of the configuration.

use prometheus::{Error, IntCounter, IntGauge};

use super::families::Families;

/// Metrics of the configuration and its reloads.
pub struct ReloadMetrics {
    /// The version of the active snapshot.
    pub snapshot: IntGauge,
    /// Reloads that were published.
    pub published: IntCounter,
    /// Reloads that were refused.
    pub failed: IntCounter,
    /// 1 while the configuration that was read last is refused, and the one before it is in force.
    pub refused: IntGauge,
    /// Names that are new.
    pub added: IntCounter,
    /// Names that are gone.
    pub removed: IntCounter,
    /// Names whose content is another.
    pub changed: IntCounter,
}

impl ReloadMetrics {
    pub(super) fn new(families: Families<'_>) -> Result<Self, Error> {
        let changes = families.counters(
            "portcullis_reload_changes_total",
            "Options, agents, roles and files that a reload changed.",
            &["change"],
        )?;
        Ok(Self {
            snapshot: families.gauge("portcullis_snapshot_version", "The version of the active configuration.")?,
            published: families
                .counter("portcullis_reloads_total", "Configurations that were published while running.")?,
            failed: families
                .counter("portcullis_reload_failures_total", "Configurations that were refused while running.")?,
            refused: families.gauge(
                "portcullis_reload_refused",
                "1 while the configuration that was read last is refused, and the one before it is in force.",
            )?,
            added: changes.with_label_values(&["added"]),
            removed: changes.with_label_values(&["removed"]),
            changed: changes.with_label_values(&["changed"]),
        })
    }
}
