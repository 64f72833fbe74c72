//! Traces: spans of requests, sent to a collector by OTLP over HTTP.
//!
//! A request is noted in its [`Recording`], which costs little until it is known to be recorded and nothing where it is
//! not; when it has ended a thread of their own makes spans of the notes and sends them, so that no collector is in a
//! request's way.
//!
//! Sources: OpenTelemetry's specifications 1.45 of the protocol and of the SDK's variables; its semantic conventions
//! of HTTP (stable) and of MCP (in development).

mod exporter;
pub(super) mod otlp;
mod recording;
pub(super) mod spans;

pub use recording::{Inbound, Recording, Step, Timed};

use filters::trace::Sampler;

use super::metrics::SpanCounters;
use super::sink::Record;
use crate::config;
use exporter::Exporter;
use spans::{Ended, Place, Places};

/// The recorder of traces.
pub struct Traces {
    sampler: Sampler,
    exporter: Exporter,
}

impl Traces {
    /// Begins to send spans.
    ///
    /// # Errors
    /// Why it cannot: the certificates cannot be used, or no thread can be started.
    pub fn begin(
        settings: &config::Traces,
        vault: &config::Upstream,
        listeners: &[config::Listener],
        counters: SpanCounters,
    ) -> Result<Self, String> {
        let places = Places {
            vault: Place { host: vault.host.clone(), port: vault.port, secure: vault.tls },
            listeners: listeners.iter().map(Place::of_listener).collect(),
        };
        Ok(Self { sampler: settings.sampler, exporter: Exporter::begin(settings, places, counters)? })
    }

    /// The recording of a request that came in so. Its trace is still to be settled.
    #[must_use]
    pub fn record(&self, inbound: Inbound) -> Box<Recording> {
        Box::new(Recording::begin(self.sampler, inbound))
    }

    /// Has spans made of a request that is recorded and has ended. `public_url` is the address by which callers reach
    /// the gate, where that is told.
    pub fn finish(&self, recording: &Recording, record: &Record<'_>, public_url: Option<&str>) {
        self.exporter.add(Ended::of(recording, record, public_url));
    }

    /// Sends what waits, within two seconds.
    pub(super) fn close(&self) {
        self.exporter.close();
    }
}
