//! Traces and collectors, as configured.

use std::path::PathBuf;
use std::time::Duration;

use filters::trace::Sampler;
use http::HeaderMap;

/// The traces that are recorded, and the bounds of what waits to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces {
    /// The place that they are sent to.
    pub otlp: Otlp,
    /// Which are recorded.
    pub sampler: Sampler,
    /// Longest time that a span waits for others to be sent with.
    pub schedule_delay: Duration,
    /// Longest time that is tried to send spans.
    pub export_timeout: Duration,
    /// Most spans that wait.
    pub queue: usize,
    /// Most spans of one request.
    pub batch: usize,
}

/// A collector that takes OTLP over HTTP, and whose telemetry it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// The URL that is posted to.
    pub url: String,
    /// Headers of each request; their values are sensitive.
    pub headers: HeaderMap,
    /// Longest time for one request.
    pub timeout: Duration,
    /// Authorities (DER) of its certificate; the system's where absent.
    pub authorities: Option<Vec<Vec<u8>>>,
    /// PEM files of the certificate that the gate presents, and of its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// True where requests are compressed.
    pub gzip: bool,
    /// Attributes of the gate (semantic conventions for resources).
    pub resource: Vec<(String, String)>,
}
