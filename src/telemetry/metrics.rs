//! Prometheus metrics. The handles of a request's labels are resolved once per
//! route and status, not per request.

mod admission;
mod agents;
mod events;
mod exemplars;
mod families;
mod log;
mod openmetrics;
mod operations;
mod process;
mod reloads;
mod traces;
mod vault;

pub use admission::ConnectionMetrics;
pub(super) use log::{LogMetrics, lost};
pub(super) use traces::SpanCounters;
pub use vault::{LoginCounts, LoginFacts};

use std::borrow::Cow;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use filters::trace::TraceId;
use prometheus::{Encoder as _, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder};

use super::audit::AuditCounters;
use super::sink::{Record, Sink};
use admission::{FailedAuthentications, JwksCounters, LimitMetrics};
use agents::AgentMetrics;
use events::EventMetrics;
use exemplars::{Exemplars, Latest};
use families::{BUCKETS, Families};
use log::LogsMetrics;
use operations::OperationMetrics;
use process::ProcessMetrics;
use reloads::ReloadMetrics;
use vault::VaultMetrics;

/// Every status the gate answers with; the last place is for any other.
const STATUSES: [u16; 21] =
    [200, 202, 204, 400, 401, 403, 404, 405, 406, 408, 409, 413, 415, 422, 429, 431, 500, 502, 503, 504, 0];

/// The family of the durations of requests.
const DURATIONS: &str = "http_request_duration_seconds";

/// The text form of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsForm {
    /// Prometheus' own, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0, which has exemplars.
    OpenMetrics,
}

impl MetricsForm {
    /// The form that an `Accept` header asks for; Prometheus' own where it names no OpenMetrics.
    #[must_use]
    pub fn wanted(accept: &str) -> Self {
        let named = accept.split(',').map(str::trim).any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let open = parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/openmetrics-text"));
            let zero = |part: &str| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
            open && !parts.any(zero)
        });
        if named { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Its media type.
    #[must_use]
    pub const fn media(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

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
    /// The last recorded traces of each handle.
    latest: Vec<Latest>,
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
                (DURATIONS, "From head to answer; of a stream of events to its beginning."),
                &BUCKETS,
                &labels,
            )?,
            handles: (0..routes.len() * STATUSES.len()).map(|_| OnceLock::new()).collect(),
            latest: (0..routes.len() * STATUSES.len()).map(|_| Latest::default()).collect(),
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
        let Some(slot) = self.handles.get(place(route, status)) else { return };
        let (count, duration) = slot.get_or_init(|| {
            let (method, template) = self.label(route);
            let labels = [method, template, &status_label(status)];
            (self.requests.with_label_values(&labels), self.durations.with_label_values(&labels))
        });
        count.inc();
        duration.observe(seconds);
    }

    /// Notes the trace of an answer that is recorded.
    pub fn recorded(&self, route: RouteId, status: u16, seconds: f64, trace: TraceId) {
        if let Some(latest) = self.latest.get(place(route, status)) {
            latest.note(trace, seconds);
        }
    }

    /// The template of a route.
    #[must_use]
    pub fn template(&self, route: RouteId) -> &'static str {
        self.label(route).1
    }

    fn label(&self, route: RouteId) -> (&'static str, &'static str) {
        self.routes.get(route.0).copied().unwrap_or(("OTHER", "unmatched"))
    }

    /// Everything in this form, once `read` has set what is known elsewhere.
    pub fn render(&self, form: MetricsForm, read: impl FnOnce(&Self)) -> Vec<u8> {
        let _told = self.rendering.lock().unwrap_or_else(PoisonError::into_inner);
        self.process.read();
        read(self);
        if let MetricsForm::OpenMetrics = form {
            return openmetrics::encode(&self.registry.gather(), DURATIONS, &self.exemplars()).into_bytes();
        }
        let mut out = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            tracing::error!(%error, "the metrics cannot be rendered");
        }
        out
    }
}

impl Metrics {
    /// The exemplars of the durations of requests.
    fn exemplars(&self) -> Exemplars {
        let mut exemplars = Exemplars::default();
        for (place, latest) in self.latest.iter().enumerate() {
            let all = latest.all();
            if let Some(status) = STATUSES.get(place % STATUSES.len()).filter(|_| !all.is_empty()) {
                let (method, template) = self.label(RouteId(place / STATUSES.len()));
                exemplars.add([method, template, &status_label(*status)], all);
            }
        }
        exemplars
    }
}

/// The place of an answer's handles.
fn place(route: RouteId, status: u16) -> usize {
    let place = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1);
    route.0 * STATUSES.len() + place
}

/// The value of the label `status`; zero stands for what is not known beforehand.
fn status_label(status: u16) -> Cow<'static, str> {
    if status > 0 && STATUSES.contains(&status) { status.to_string().into() } else { "other".into() }
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
        let text = String::from_utf8(metrics.render(MetricsForm::Prometheus, |_| ())).unwrap();
        assert!(
            text.contains("http_requests_total{method=\"GET\",route=\"/secrets/{path}\",status=\"200\"} 2"),
            "{text}"
        );
        assert!(text.contains("status=\"other\"} 1"));
    }

    #[test]
    fn openmetrics_is_for_those_who_ask_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
        assert_eq!(MetricsForm::wanted(prometheus), MetricsForm::OpenMetrics);
        for accept in ["", "*/*", "text/plain", "application/openmetrics-text;q=0.0"] {
            assert_eq!(MetricsForm::wanted(accept), MetricsForm::Prometheus, "{accept}");
        }
    }

    #[test]
    fn a_recorded_answer_is_the_exemplar_of_its_bucket() {
        let metrics = Metrics::new(vec![("GET", "/whoami"), ("GET", "/whoami")]).unwrap();
        for (route, seconds) in [(0, 0.001), (1, 0.0011), (1, 0.002)] {
            metrics.answered(RouteId::new(route), 418, seconds);
            metrics.recorded(RouteId::new(route), 418, seconds, TraceId::of([1, (seconds * 1e6) as u64]));
        }
        let text = String::from_utf8(metrics.render(MetricsForm::OpenMetrics, |_| ())).unwrap();
        let bucket = |bound: &str| {
            let line = format!(
                "http_request_duration_seconds_bucket{{method=\"GET\",route=\"/whoami\",status=\"other\",le=\"{bound}\"}}"
            );
            text.lines().find(|other| other.starts_with(&line)).unwrap().to_owned()
        };
        assert!(bucket("0.001").contains("} 1 # {trace_id=\"") && bucket("0.001").contains("\"} 0.001 "), "{text}");
        assert!(bucket("0.0025").contains("} 3 # {trace_id=\"") && bucket("0.0025").contains("\"} 0.002 "), "{text}");
        assert!(!bucket("0.005").contains('#') && text.ends_with("# EOF\n"), "{text}");
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
            metrics.render(MetricsForm::Prometheus, |_| ()).iter().filter(|byte| **byte == b'\n').count()
        };
        assert_eq!(ask(1), ask(10_000));
        metrics.agents.follow(Some(["agent-7"].into_iter()));
        assert_eq!(ask(1), ask(10_000), "others are counted together");
    }
}
