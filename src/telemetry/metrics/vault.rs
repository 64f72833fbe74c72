//! Metrics of Vault, as the gate uses it.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::{Error, Gauge, IntCounter, IntGauge, IntGaugeVec};

use super::families::Families;

/// Counters of child tokens.
pub struct ChildTokenCounters {
    /// Minted.
    pub minted: IntCounter,
    /// Not minted.
    pub failed: IntCounter,
    /// Found in the cache.
    pub cached: IntCounter,
    /// Minted again because Vault no longer knew the one before.
    pub replaced: IntCounter,
}

/// Counts of the gate's own logins, kept by whoever logs in.
#[derive(Debug, Default)]
pub struct LoginCounts {
    /// Logins that were made.
    pub made: AtomicU64,
    /// Logins that were not.
    pub failed: AtomicU64,
    /// Renewals that were made.
    pub renewed: AtomicU64,
    /// Renewals that were not.
    pub unrenewed: AtomicU64,
}

/// The facts about the gate's own login at one moment.
pub struct LoginFacts<'a> {
    /// True where there is one.
    pub is_in: bool,
    /// The end of its token, in seconds since the epoch; 0 where it never ends, or there is none.
    pub ends: u64,
    /// Its counts.
    pub counts: &'a LoginCounts,
}

/// Metrics of Vault.
pub struct VaultMetrics {
    /// Agents' tokens in Vault, by what became of the wish for one.
    pub child_tokens: ChildTokenCounters,
    /// Agents' tokens that are held.
    pub held_tokens: IntGauge,
    /// Live leases on the records that this gate has seen.
    pub leases: IntGauge,
    /// The largest share of its budget of leases that an agent has used, from 0 to 1.
    pub lease_budget: Gauge,
    /// Agents' requests that Vault did not answer.
    pub broken: IntCounter,
    /// 1 while requests are refused at once, because Vault is away.
    pub circuit_open: IntGauge,
    health: IntGaugeVec,
    login: LoginMetrics,
    ends: IntGaugeVec,
}

struct LoginMetrics {
    up: IntGauge,
    ends: IntGauge,
    made: IntCounter,
    failed: IntCounter,
    renewed: IntCounter,
    unrenewed: IntCounter,
}

impl VaultMetrics {
    pub(super) fn new(families: Families<'_>) -> Result<Self, Error> {
        let tokens = families.counters(
            "portcullis_child_tokens_total",
            "Agents' tokens in Vault by what became of the wish for one.",
            &["outcome"],
        )?;
        let budget = Gauge::new(
            "portcullis_lease_budget_used_ratio",
            "The largest share of its budget of leases that an agent has used, as this gate has seen it.",
        )?;
        Ok(Self {
            child_tokens: ChildTokenCounters {
                minted: tokens.with_label_values(&["minted"]),
                failed: tokens.with_label_values(&["failed"]),
                cached: tokens.with_label_values(&["cached"]),
                replaced: tokens.with_label_values(&["replaced"]),
            },
            held_tokens: families.gauge("portcullis_child_tokens", "Agents' tokens that are held.")?,
            leases: families.gauge(
                "portcullis_leases",
                "Live leases of the agents for whom this gate has read or changed the record of leases.",
            )?,
            lease_budget: families.add(budget)?,
            broken: families
                .counter("portcullis_upstream_broken_total", "Agents' requests that Vault did not answer.")?,
            circuit_open: families.gauge(
                "portcullis_circuit_open",
                "1 while requests are refused at once, because Vault is known to be away.",
            )?,
            health: families.gauges(
                "portcullis_vault_health",
                "1 for the state that Vault told of itself last.",
                &["state"],
            )?,
            login: LoginMetrics::new(families)?,
            ends: families.gauges(
                "portcullis_certificate_expiry_timestamp_seconds",
                "When the first certificate or revocation list of a file in use expires, in seconds since the epoch.",
                &["of", "file"],
            )?,
        })
    }

    /// Shows which of all states Vault is in.
    pub fn show_health<'a>(&self, states: impl Iterator<Item = &'a str>, current: &str) {
        for state in states {
            self.health.with_label_values(&[state]).set(i64::from(state == current));
        }
    }

    /// Shows the facts about the login.
    pub fn show_login(&self, LoginFacts { is_in, ends, counts }: LoginFacts<'_>) {
        let login = &self.login;
        login.up.set(i64::from(is_in));
        login.ends.set(i64::try_from(ends).unwrap_or(i64::MAX));
        for (counter, count) in [
            (&login.made, &counts.made),
            (&login.failed, &counts.failed),
            (&login.renewed, &counts.renewed),
            (&login.unrenewed, &counts.unrenewed),
        ] {
            counter.inc_by(count.load(Ordering::Relaxed).saturating_sub(counter.get()));
        }
    }

    /// Shows when certificates and revocation lists end, in seconds since the epoch: for each kind and file
    /// the soonest. Those shown before are forgotten.
    pub fn show_ends(&self, ends: impl Iterator<Item = (&'static str, String, i64)>) {
        self.ends.reset();
        for (of, file, end) in ends {
            let shown = self.ends.with_label_values(&[of, file.as_str()]);
            if shown.get() == 0 || end < shown.get() {
                shown.set(end);
            }
        }
    }
}

impl LoginMetrics {
    fn new(families: Families<'_>) -> Result<Self, Error> {
        let logins = families.counters(
            "portcullis_vault_logins_total",
            "The gate's own logins to Vault by outcome.",
            &["outcome"],
        )?;
        let renewals = families.counters(
            "portcullis_vault_login_renewals_total",
            "Renewals of the gate's own login by outcome.",
            &["outcome"],
        )?;
        Ok(Self {
            up: families.gauge("portcullis_vault_login_up", "1 while the gate is logged in to Vault.")?,
            ends: families.gauge(
                "portcullis_vault_login_expiry_timestamp_seconds",
                "When the gate's own login ends unless it is renewed, in seconds since the epoch; 0 where it never \
                 ends, or there is none.",
            )?,
            made: logins.with_label_values(&["made"]),
            failed: logins.with_label_values(&["failed"]),
            renewed: renewals.with_label_values(&["renewed"]),
            unrenewed: renewals.with_label_values(&["failed"]),
        })
    }
}
