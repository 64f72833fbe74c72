//! Metrics of what is let in: connections, credentials, limits.

use filters::quota::LimitKind;
use prometheus::{Error, IntCounter, IntGauge};

use super::families::Families;

/// Connections.
pub struct ConnectionMetrics {
    /// Open connections of callers.
    pub open: IntGauge,
    /// Operators' that are open.
    pub operators: IntGauge,
    /// Closed while idle, for a new one.
    pub gave_way: IntCounter,
    /// Closed at once, since none could give way.
    pub refused: IntCounter,
    /// Could not be accepted.
    pub accept_failures: IntCounter,
    /// TLS handshakes that failed or took too long.
    pub handshakes_failed: IntCounter,
    /// Connections of balancers that did not begin as they must.
    pub bad_proxy_headers: IntCounter,
}

/// Credentials that did not hold, by kind.
pub struct FailedAuthentications {
    /// Client certificates.
    pub certificate: IntCounter,
    /// API keys.
    pub api_key: IntCounter,
    /// Bearer tokens.
    pub jwt: IntCounter,
    /// Bound tokens, or their proofs.
    pub dpop: IntCounter,
    /// Names that a trusted proxy forwarded.
    pub trusted_proxy: IntCounter,
    /// Agents that a process speaks for.
    pub process: IntCounter,
}

/// Fetches of issuers' keys.
pub struct JwksCounters {
    /// Gave keys.
    pub fetched: IntCounter,
    /// Gave none.
    pub failed: IntCounter,
}

/// Limits.
pub struct LimitMetrics {
    /// Requests that wait for others of the same agent.
    pub waiting: IntGauge,
    /// 1 while limits are shared with other gates.
    pub shared: IntGauge,
    /// Charges to this gate's own count alone, because the shared one was away.
    pub local: IntCounter,
    /// Requests that a limit refused, by its kind.
    refused: [IntCounter; LimitKind::EVERY.len()],
}

impl ConnectionMetrics {
    pub(super) fn new(families: Families<'_>) -> Result<Self, Error> {
        Ok(Self {
            open: families.gauge("portcullis_connections", "Open connections of callers.")?,
            operators: families.gauge("portcullis_admin_connections", "Open connections of operators.")?,
            gave_way: families.counter(
                "portcullis_connections_gave_way_total",
                "Idle connections that were closed because there were too many.",
            )?,
            refused: families.counter(
                "portcullis_connections_refused_total",
                "Connections that were closed at once because there were too many.",
            )?,
            accept_failures: families.counter(
                "portcullis_accept_failures_total",
                "Connections that the system did not let the gate accept.",
            )?,
            handshakes_failed: families
                .counter("portcullis_tls_handshakes_failed_total", "TLS handshakes that failed or took too long.")?,
            bad_proxy_headers: families.counter(
                "portcullis_proxy_headers_refused_total",
                "Connections of balancers whose PROXY protocol header was missing, bad or late.",
            )?,
        })
    }
}

impl FailedAuthentications {
    pub(super) fn new(families: Families<'_>) -> Result<Self, Error> {
        let failed = families.counters(
            "portcullis_failed_authentications_total",
            "Credentials that did not hold, by kind.",
            &["kind"],
        )?;
        let of = |kind| failed.with_label_values(&[kind]);
        Ok(Self {
            certificate: of("certificate"),
            api_key: of("api_key"),
            jwt: of("jwt"),
            dpop: of("dpop"),
            trusted_proxy: of("trusted_proxy"),
            process: of("process"),
        })
    }
}

impl JwksCounters {
    pub(super) fn new(families: Families<'_>) -> Result<Self, Error> {
        let fetches = families.counters(
            "portcullis_jwks_fetches_total",
            "Fetches of issuers' public keys by outcome.",
            &["outcome"],
        )?;
        Ok(Self { fetched: fetches.with_label_values(&["fetched"]), failed: fetches.with_label_values(&["failed"]) })
    }
}

impl LimitMetrics {
    pub(super) fn new(families: Families<'_>) -> Result<Self, Error> {
        let refused = families.counters(
            "portcullis_rate_limited_total",
            "Requests that a rate limit refused, by which.",
            &["limit"],
        )?;
        Ok(Self {
            waiting: families
                .gauge("portcullis_requests_waiting", "Requests that wait for others of the same agent.")?,
            shared: families
                .gauge("portcullis_shared_limits_up", "1 while rate limits are shared with other gates.")?,
            local: families.counter(
                "portcullis_shared_limits_local_total",
                "Charges to this gate's own count alone, because the shared one was away.",
            )?,
            refused: LimitKind::EVERY.map(|kind| refused.with_label_values(&[kind.name()])),
        })
    }

    /// Counts a request that a limit of this kind refused.
    pub fn refused(&self, kind: LimitKind) {
        if let Some(counter) = self.refused.get(kind as usize) {
            counter.inc();
        }
    }
}
