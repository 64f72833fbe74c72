//! Prometheus metrics. The handles of a request's labels are resolved once per
//! route and status, not per request.

use std::sync::{Arc, OnceLock};

use filters::catalog::CATALOG;
use filters::operation::Entry;
use prometheus::{
    Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

use super::audit::AuditCounters;
use super::sink::{Calls, Record, Sink};

/// Upper bounds of the duration's buckets, in seconds.
const BUCKETS: [f64; 13] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0];

/// Every status the gate answers with; the last place is for any other.
const STATUSES: [u16; 21] =
    [200, 202, 204, 400, 401, 403, 404, 405, 406, 408, 409, 413, 415, 422, 429, 431, 500, 502, 503, 504, 0];

/// A method and route template whose handles are kept: its place among those that [`Metrics::new`]
/// was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteId(usize);

impl RouteId {
    /// The route at this place.
    #[must_use]
    pub const fn new(place: usize) -> Self {
        Self(place)
    }

    /// Its place.
    #[must_use]
    pub const fn place(self) -> usize {
        self.0
    }
}

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

/// Fetches of issuers' keys.
pub struct JwksCounters {
    /// Gave keys.
    pub fetched: IntCounter,
    /// Gave none.
    pub failed: IntCounter,
}

/// Metrics of limits that are shared with other gates.
pub struct SharedLimitMetrics {
    /// 1 while they are.
    pub up: IntGauge,
    /// Charges to this gate's own count alone, because the shared one was away.
    pub local: IntCounter,
}

/// Counters of what reloads changed, by names.
pub struct ReloadCounters {
    /// Names that are new.
    pub added: IntCounter,
    /// Names that are gone.
    pub removed: IntCounter,
    /// Names whose content is another.
    pub changed: IntCounter,
}

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
}

/// Counts a request as under way until it is dropped.
pub struct InProgress(IntGauge);

impl InProgress {
    /// Counts one more.
    #[must_use]
    pub fn begin(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Every metric of the gate.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    /// Method and template of each route.
    routes: Vec<(&'static str, &'static str)>,
    handles: Vec<OnceLock<(IntCounter, Histogram)>>,
    operations: IntCounterVec,
    served: Vec<IntCounter>,
    /// Connections.
    pub connections: Arc<ConnectionMetrics>,
    /// Answers without a turn that were given up before they were written.
    pub undismissed: IntCounter,
    /// Requests and duties of the background that ended in a panic.
    pub panics: IntCounter,
    /// Duties of the background that do not run.
    pub duties_down: IntGauge,
    /// Connections of balancers that did not begin as they must.
    pub bad_proxy_headers: IntCounter,
    /// Requests under way.
    pub in_progress: IntGauge,
    /// Requests that wait for others of the same agent.
    pub waiting: IntGauge,
    /// Open streams of events.
    pub streams: IntGauge,
    /// Events that were made here.
    pub events: IntCounter,
    /// 1 while events are shared with other gates.
    pub events_shared: IntGauge,
    /// Events that other gates were never told of, because what they share was away for too long.
    pub events_unshared: IntCounter,
    /// Streams of events that were cut off because they were read too slowly.
    pub slow_streams: IntCounter,
    /// Requests that carry or received a correlation id.
    pub correlated: IntCounter,
    /// Agents' tokens in Vault.
    pub child_tokens: ChildTokenCounters,
    upstream: Histogram,
    /// Agents' requests that Vault did not answer.
    pub upstream_broken: IntCounter,
    /// Credentials that did not hold.
    pub failed_authentications: IntCounter,
    /// Lines of the request log that were lost.
    pub dropped_lines: IntCounter,
    /// Records of the audit.
    pub audit: AuditCounters,
    /// Reloads that were published.
    pub reloads: IntCounter,
    /// Reloads that were refused.
    pub reload_failures: IntCounter,
    /// Changes by the reloads that were published.
    pub reload_changes: ReloadCounters,
    /// Fetches of issuers' keys.
    pub jwks: JwksCounters,
    /// Limits that are shared with other gates.
    pub shared_limits: SharedLimitMetrics,
    /// The version of the active snapshot.
    pub snapshot: IntGauge,
    /// When the first revocation list ends, in seconds since the epoch.
    pub crl_end: IntGauge,
}

impl Metrics {
    /// Registers everything; `routes` are methods and templates, by whose places requests are told apart.
    ///
    /// # Errors
    /// Never in practice: every name stands once here.
    pub fn new(routes: Vec<(&'static str, &'static str)>) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| register(&registry, IntCounter::new(name, help)?);
        let gauge = |name: &str, help: &str| register(&registry, IntGauge::new(name, help)?);
        let labels = ["method", "route", "status"];
        let requests =
            IntCounterVec::new(Opts::new("http_requests_total", "Requests by method, route and status."), &labels)?;
        let durations =
            HistogramOpts::new("http_request_duration_seconds", "From head to answer.").buckets(BUCKETS.to_vec());
        let upstream = HistogramOpts::new(
            "portcullis_upstream_duration_seconds",
            "How long Vault takes to answer an agent's request.",
        )
        .buckets(BUCKETS.to_vec());
        let operations = IntCounterVec::new(
            Opts::new("portcullis_operations_total", "Operations by name and outcome."),
            &["operation", "outcome"],
        )?;
        let children = IntCounterVec::new(
            Opts::new("portcullis_child_tokens_total", "Agents' tokens in Vault by what became of the wish for one."),
            &["outcome"],
        )?;
        register(&registry, children.clone())?;
        let fetches = IntCounterVec::new(
            Opts::new("portcullis_jwks_fetches_total", "Fetches of issuers' public keys by outcome."),
            &["outcome"],
        )?;
        register(&registry, fetches.clone())?;
        let changes = IntCounterVec::new(
            Opts::new("portcullis_reload_changes_total", "Options, agents, roles and files that a reload changed."),
            &["change"],
        )?;
        register(&registry, changes.clone())?;
        let audit = IntCounterVec::new(
            Opts::new("portcullis_audit_records_total", "Records of the audit by what became of them."),
            &["result"],
        )?;
        register(&registry, audit.clone())?;
        if let Some(lost) = super::server::lost() {
            register(&registry, lost)?;
        }
        Ok(Self {
            requests: register(&registry, requests)?,
            durations: register(&registry, HistogramVec::new(durations, &labels)?)?,
            handles: (0..routes.len() * STATUSES.len()).map(|_| OnceLock::new()).collect(),
            routes,
            served: CATALOG.iter().map(|entry| operations.with_label_values(&[entry.spec.name, "served"])).collect(),
            operations: register(&registry, operations)?,
            connections: Arc::new(ConnectionMetrics {
                open: gauge("portcullis_connections", "Open connections of callers.")?,
                operators: gauge("portcullis_admin_connections", "Open connections of operators.")?,
                gave_way: counter(
                    "portcullis_connections_gave_way_total",
                    "Idle connections that were closed because there were too many.",
                )?,
                refused: counter(
                    "portcullis_connections_refused_total",
                    "Connections that were closed at once because there were too many.",
                )?,
                accept_failures: counter(
                    "portcullis_accept_failures_total",
                    "Connections that the system did not let the gate accept.",
                )?,
                handshakes_failed: counter(
                    "portcullis_tls_handshakes_failed_total",
                    "TLS handshakes that failed or took too long.",
                )?,
            }),
            undismissed: counter(
                "portcullis_answers_given_up_total",
                "Refusals and answers to the anonymous that were given up before they were written.",
            )?,
            panics: counter(
                "portcullis_panics_total",
                "Requests and background duties that ended in a panic: each is a defect.",
            )?,
            duties_down: gauge("portcullis_duties_down", "Background duties that do not run now.")?,
            bad_proxy_headers: counter(
                "portcullis_proxy_headers_refused_total",
                "Connections of balancers whose PROXY protocol header was missing, bad or late.",
            )?,
            in_progress: gauge("http_requests_in_progress", "Requests under way.")?,
            waiting: gauge("portcullis_requests_waiting", "Requests that wait for others of the same agent.")?,
            streams: gauge("portcullis_event_streams", "Open streams of events.")?,
            events: counter("portcullis_events_total", "Changes that were done through this gate.")?,
            events_shared: gauge("portcullis_events_shared", "1 while events are shared with other gates.")?,
            events_unshared: counter(
                "portcullis_events_unshared_total",
                "Events that other gates were never told of, because Redis was away for too long.",
            )?,
            slow_streams: counter(
                "portcullis_slow_event_streams_total",
                "Streams of events that were cut off because they were read too slowly.",
            )?,
            correlated: counter(
                "http_requests_with_correlation_total",
                "Requests that carry or received a correlation id.",
            )?,
            child_tokens: ChildTokenCounters {
                minted: children.with_label_values(&["minted"]),
                failed: children.with_label_values(&["failed"]),
                cached: children.with_label_values(&["cached"]),
                replaced: children.with_label_values(&["replaced"]),
            },
            upstream: register(&registry, Histogram::with_opts(upstream)?)?,
            upstream_broken: counter(
                "portcullis_upstream_broken_total",
                "Agents' requests that Vault did not answer.",
            )?,
            failed_authentications: counter(
                "portcullis_failed_authentications_total",
                "Credentials that did not hold.",
            )?,
            dropped_lines: counter(
                "portcullis_request_log_dropped_total",
                "Lines of the request log that were lost: more waited than may, or the gate ended without room for them.",
            )?,
            audit: AuditCounters {
                written: audit.with_label_values(&["written"]),
                lost: audit.with_label_values(&["lost"]),
                unsent: audit.with_label_values(&["unsent"]),
            },
            reloads: counter("portcullis_reloads_total", "Configurations that were published while running.")?,
            reload_failures: counter(
                "portcullis_reload_failures_total",
                "Configurations that were refused while running.",
            )?,
            reload_changes: ReloadCounters {
                added: changes.with_label_values(&["added"]),
                removed: changes.with_label_values(&["removed"]),
                changed: changes.with_label_values(&["changed"]),
            },
            jwks: JwksCounters {
                fetched: fetches.with_label_values(&["fetched"]),
                failed: fetches.with_label_values(&["failed"]),
            },
            shared_limits: SharedLimitMetrics {
                up: gauge("portcullis_shared_limits_up", "1 while rate limits are shared with other gates.")?,
                local: counter(
                    "portcullis_shared_limits_local_total",
                    "Charges to this gate's own count alone, because the shared one was away.",
                )?,
            },
            snapshot: gauge("portcullis_snapshot_version", "The version of the active configuration.")?,
            crl_end: gauge(
                "portcullis_crl_next_update_timestamp_seconds",
                "When the first certificate revocation list expires; 0 without any.",
            )?,
            registry,
        })
    }

    /// Counts one answer.
    pub fn answered(&self, route: RouteId, status: u16, seconds: f64) {
        let place = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1);
        let Some(slot) = self.handles.get(route.0 * STATUSES.len() + place) else { return };
        let (count, duration) = slot.get_or_init(|| {
            let (method, template) = self.label(route);
            let known = STATUSES.contains(&status);
            let status = if known { status.to_string() } else { "other".to_owned() };
            let labels = [method, template, status.as_str()];
            (self.requests.with_label_values(&labels), self.durations.with_label_values(&labels))
        });
        count.inc();
        duration.observe(seconds);
    }

    /// The template of a route.
    #[must_use]
    pub fn template(&self, route: RouteId) -> &'static str {
        self.label(route).1
    }

    fn label(&self, route: RouteId) -> (&'static str, &'static str) {
        self.routes.get(route.0).copied().unwrap_or(("OTHER", "unmatched"))
    }

    fn served(&self, kind: &'static Entry) {
        let place = CATALOG.iter().position(|entry| std::ptr::eq(entry, kind));
        if let Some(counter) = place.and_then(|place| self.served.get(place)) {
            counter.inc();
        }
    }

    /// Everything, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            tracing::error!(%error, "the metrics cannot be rendered");
        }
        out
    }
}

impl Sink for Metrics {
    fn finish(&self, record: &Record<'_>) {
        for call in record.calls.into_iter().flat_map(Calls::iter) {
            match call.refused {
                None => self.served(call.entry),
                Some(code) => self.operations.with_label_values(&[call.entry.spec.name, code]).inc(),
            }
            if let Some(time) = call.upstream {
                self.upstream.observe(time.as_secs_f64());
            }
        }
    }
}

fn register<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    metric: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_method_route_and_status() {
        let metrics = Metrics::new(vec![("GET", "/secrets/{path}"), ("OTHER", "unmatched")]).unwrap();
        metrics.answered(RouteId::new(0), 200, 0.001);
        metrics.answered(RouteId::new(0), 200, 0.001);
        metrics.answered(RouteId::new(1), 418, 0.001);
        assert_eq!(
            (metrics.template(RouteId::new(0)), metrics.template(RouteId::new(7))),
            ("/secrets/{path}", "unmatched")
        );
        let text = String::from_utf8(metrics.render()).unwrap();
        assert!(
            text.contains("http_requests_total{method=\"GET\",route=\"/secrets/{path}\",status=\"200\"} 2"),
            "{text}"
        );
        assert!(text.contains("status=\"other\"} 1"));
    }
}
