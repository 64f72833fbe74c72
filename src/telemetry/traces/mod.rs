//! Traces: spans of requests, sent to a collector by OTLP over HTTP.
//!
//! A request is noted in its [`Recording`], which costs little until it is known to be recorded; spans are made of the
//! notes when it ends, and sent by a thread of their own, so that no collector is in a request's way.
//!
//! Sources: OpenTelemetry's specifications 1.45 of the protocol and of the SDK's variables; its semantic conventions
//! of HTTP (stable) and of MCP (in development).

mod exporter;
pub(super) mod otlp;
mod recording;
pub(super) mod spans;

pub use recording::{Recording, Step, Timed};

use filters::trace::Sampler;

use super::metrics::SpanCounters;
use super::sink::Record;
use crate::config;
use exporter::Exporter;
use recording::Protocol;
use spans::Place;

/// The recorder of traces.
pub struct Traces {
    sampler: Sampler,
    vault: Place,
    exporter: Exporter,
}

impl Traces {
    /// Begins to send spans.
    ///
    /// # Errors
    /// Why it cannot: the certificates cannot be used, or no thread can be started.
    pub fn begin(settings: &config::Traces, vault: &config::Upstream, counters: SpanCounters) -> Result<Self, String> {
        Ok(Self {
            sampler: settings.sampler,
            vault: Place { host: vault.host.clone(), port: vault.port, secure: vault.tls },
            exporter: Exporter::begin(settings, counters)?,
        })
    }

    /// The recording of a request that begins now, over TLS where it is `secure`.
    #[must_use]
    pub fn record(&self, version: http::Version, secure: bool) -> Box<Recording> {
        Box::new(Recording::begin(self.sampler, Protocol { version, secure }))
    }

    /// Makes spans of a request that has ended, where it is recorded.
    pub fn finish(&self, recording: &Recording, record: &Record<'_>) {
        if recording.is_sampled() {
            self.exporter.add(spans::of(recording, record, &self.vault));
        }
    }

    /// Sends what waits, within two seconds.
    pub(super) fn close(&self) {
        self.exporter.close();
    }
}
