//! Prometheus metrics. The handles of a request's labels are resolved once per
//! route and status, not per request.

mod admission;
mod agents;
mod events;
mod families;
mod log;
mod operations;
mod process;
mod reloads;
mod traces;
mod vault;

pub use admission::ConnectionMetrics;
pub(super) use log::{LogMetrics, lost};
pub(super) use traces::SpanCounters;
pub use vault::{LoginCounts, LoginFacts};

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use prometheus::{Encoder as _, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder};

use super::audit::AuditCounters;
use super::sink::{Record, Sink};
use admission::{FailedAuthentications, JwksCounters, LimitMetrics};
use agents::AgentMetrics;
use events::EventMetrics;
use families::{BUCKETS, Families};
use log::LogsMetrics;
use operations::OperationMetrics;
use process::ProcessMetrics;
use reloads::ReloadMetrics;
use vault::VaultMetrics;

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
    /// Held while facts are read and told, so that what is told is of one moment.
    rendering: Mutex<()>,
    process: ProcessMetrics,
    requests: IntCounterVec,
    durations: HistogramVec,
    /// Method and template of each route.
    routes: Vec<(&'static str, &'static str)>,
    handles: Vec<OnceLock<(IntCounter, Histogram)>>,
    operations: OperationMetrics,
    /// Requests of each agent, where they are asked for.
    pub agents: AgentMetrics,
    /// Connections.
    pub connections: Arc<ConnectionMetrics>,
    /// Credentials that did not hold.
    pub failed_authentications: FailedAuthentications,
    /// Fetches of issuers' keys.
    pub jwks: JwksCounters,
    /// Limits.
    pub limits: LimitMetrics,
    /// Vault.
    pub vault: VaultMetrics,
    /// Events and their streams.
    pub events: EventMetrics,
    /// The configuration and its reloads.
    pub reloads: ReloadMetrics,
    /// 1 while requests can be served.
    pub ready: IntGauge,
    /// Suspended agents.
    pub suspended: IntGauge,
    /// Answers without a turn that were given up before they were written.
    pub undismissed: IntCounter,
    /// Requests and duties of the background that ended in a panic.
    pub panics: IntCounter,
    /// Duties of the background that do not run.
    pub duties_down: IntGauge,
    /// Requests under way.
    pub in_progress: IntGauge,
    /// Requests that carry or received a correlation id.
    pub correlated: IntCounter,
    /// The logs.
    pub logs: LogsMetrics,
    /// Records of the audit.
    pub audit: AuditCounters,
    /// Spans of traces.
    pub spans: SpanCounters,
}

impl Metrics {
    /// Registers everything; `routes` are methods and templates, by whose places requests are told apart.
    ///
    /// # Errors
    /// Never in practice: every name stands once here.
    pub fn new(routes: Vec<(&'static str, &'static str)>) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let families = Families(&registry);
        let labels = ["method", "route", "status"];
        let build = families.gauges("portcullis_build_info", "1, with the version of the gate.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            rendering: Mutex::default(),
            process: ProcessMetrics::new(families)?,
            requests: families.counters("http_requests_total", "Requests by method, route and status.", &labels)?,
            durations: families.histograms(
                ("http_request_duration_seconds", "From head to answer; of a stream of events to its beginning."),
                &BUCKETS,
                &labels,
            )?,
            handles: (0..routes.len() * STATUSES.len()).map(|_| OnceLock::new()).collect(),
            routes,
            operations: OperationMetrics::new(families)?,
            agents: AgentMetrics::new(families)?,
            connections: Arc::new(ConnectionMetrics::new(families)?),
            failed_authentications: FailedAuthentications::new(families)?,
            jwks: JwksCounters::new(families)?,
            limits: LimitMetrics::new(families)?,
            vault: VaultMetrics::new(families)?,
            events: EventMetrics::new(families)?,
            reloads: ReloadMetrics::new(families)?,
            ready: families.gauge("portcullis_ready", "1 while requests can be served, as /readyz tells.")?,
            suspended: families.gauge("portcullis_suspended_agents", "Agents that are suspended.")?,
            undismissed: families.counter(
                "portcullis_answers_given_up_total",
                "Refusals and answers to the anonymous that were given up before they were written.",
            )?,
            panics: families.counter(
                "portcullis_panics_total",
                "Requests and background duties that ended in a panic: each is a defect.",
            )?,
            duties_down: families.gauge("portcullis_duties_down", "Background duties that do not run now.")?,
            in_progress: families.gauge("http_requests_in_progress", "Requests under way.")?,
            correlated: families
                .counter("http_requests_with_correlation_total", "Requests that carry or received a correlation id.")?,
            logs: LogsMetrics::new(families)?,
            audit: log::of_audit(families)?,
            spans: SpanCounters::new(families)?,
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

    /// Everything, in Prometheus' text format, once `read` has set what is known elsewhere.
    pub fn render(&self, read: impl FnOnce(&Self)) -> Vec<u8> {
        let _told = self.rendering.lock().unwrap_or_else(PoisonError::into_inner);
        self.process.read();
        read(self);
        let mut out = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            tracing::error!(%error, "the metrics cannot be rendered");
        }
        out
    }
}

impl Sink for Metrics {
    fn finish(&self, record: &Record<'_>) {
        self.operations.count(record);
        self.agents.count(record.agent, record.decision);
    }
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
        let text = String::from_utf8(metrics.render(|_| ())).unwrap();
        assert!(
            text.contains("http_requests_total{method=\"GET\",route=\"/secrets/{path}\",status=\"200\"} 2"),
            "{text}"
        );
        assert!(text.contains("status=\"other\"} 1"));
    }

    #[test]
    fn ten_thousand_agents_make_no_more_series() {
        let metrics = Metrics::new(vec![("GET", "/whoami")]).unwrap();
        let ask = |agents: usize| {
            for number in 0..agents {
                let agent = format!("agent-{number}");
                for decision in ["allow", "forbidden"] {
                    metrics.finish(&Record { agent: &agent, decision, ..Record::default() });
                }
                metrics.answered(RouteId::new(0), 200, 0.001);
            }
            metrics.render(|_| ()).iter().filter(|byte| **byte == b'\n').count()
        };
        assert_eq!(ask(1), ask(10_000));
        metrics.agents.follow(Some(["agent-7"].into_iter()));
        assert_eq!(ask(1), ask(10_000), "others are counted together");
    }
}
