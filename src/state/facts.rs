//! The facts that metrics tell and that are kept elsewhere, read when they are asked for.

use crate::telemetry::{Metrics, MetricsForm};
use crate::vault::{Health, epoch_seconds};

use super::State;

impl State {
    /// Every metric, in this form.
    #[must_use]
    pub fn metrics_text(&self, form: MetricsForm) -> Vec<u8> {
        self.metrics.render(form, |metrics| self.show_facts(metrics))
    }

    fn show_facts(&self, metrics: &Metrics) {
        let (snapshot, vault) = (self.snapshot(), &self.vault);
        metrics.ready.set(i64::from(self.is_ready()));
        metrics.suspended.set(count(vault.suspensions.agents().len()));
        metrics.events.streams.set(count(self.streams.held()));
        metrics.vault.held_tokens.set(count(vault.tokens.kept()));
        let (leases, most) = vault.leases.seen(epoch_seconds());
        metrics.vault.leases.set(count(leases));
        metrics.vault.lease_budget.set(most as f64 / snapshot.vault.leases.per_agent as f64);
        metrics.vault.circuit_open.set(i64::from(!vault.monitor.is_open()));
        metrics.vault.show_health(Health::EVERY.map(Health::name).into_iter(), vault.monitor.health().name());
        metrics.vault.show_login(vault.login.facts());
        let listeners = snapshot.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        let ends = listeners.flat_map(|material| material.ends().cloned()).chain(vault.upstream.ends());
        metrics.vault.show_ends(ends.map(|end| (end.of.name(), end.file.display().to_string(), end.at)));
    }
}

fn count(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
