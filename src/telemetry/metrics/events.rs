//! Metrics of events and of their streams.

use prometheus::{Error, Histogram, IntCounter, IntGauge};

use super::families::Families;

/// Upper bounds of a stream's life, in seconds: from one that ends at once to a day.
const LIVES: [f64; 8] = [1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0];
/// Upper bounds of an event's lag, in seconds.
const LAGS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// Metrics of events.
pub struct EventMetrics {
    /// Open streams.
    pub streams: IntGauge,
    /// Seconds for which streams were open, once they have ended.
    pub lives: Histogram,
    /// Streams that were cut off because they were read too slowly.
    pub slow_streams: IntCounter,
    /// Events that were made here.
    pub made: IntCounter,
    /// Seconds from an event to the moment in which a stream takes it.
    pub lag: Histogram,
    /// 1 while events are shared with other gates.
    pub shared: IntGauge,
    /// Events that other gates were never told of, because what they share was away for too long.
    pub unshared: IntCounter,
}

impl EventMetrics {
    pub(super) fn new(families: Families<'_>) -> Result<Self, Error> {
        Ok(Self {
            streams: families.gauge("portcullis_event_streams", "Open streams of events.")?,
            lives: families.histogram(
                "portcullis_event_stream_duration_seconds",
                "How long streams of events were open, once they have ended.",
                &LIVES,
            )?,
            slow_streams: families.counter(
                "portcullis_slow_event_streams_total",
                "Streams of events that were cut off because they were read too slowly.",
            )?,
            made: families.counter("portcullis_events_total", "Changes that were done through this gate.")?,
            lag: families.histogram(
                "portcullis_event_lag_seconds",
                "How long after an event, on this gate or another, a stream takes it.",
                &LAGS,
            )?,
            shared: families.gauge("portcullis_events_shared", "1 while events are shared with other gates.")?,
            unshared: families.counter(
                "portcullis_events_unshared_total",
                "Events that other gates were never told of, because Redis was away for too long.",
            )?,
        })
    }
}
