//! The server log: JSON lines on standard error.

use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts the log at `level`. The proxy framework speaks from warnings on, and
/// its HTTP parsers never: what they would say quotes the caller's bytes.
pub fn start(level: Level) {
    // Whoever only knocks would fill the log with failed handshakes, a pooled
    // connection that is busy being watched is no error, nor is waiting for the
    // gate that is replaced.
    let chatter = if level >= Level::DEBUG { LevelFilter::WARN } else { LevelFilter::OFF };
    let targets = Targets::new()
        .with_default(level.min(Level::WARN))
        .with_target("portcullis", level)
        .with_target("pingora_core::protocols::http", LevelFilter::OFF)
        .with_target("pingora_core::apps", LevelFilter::OFF)
        .with_target("pingora_core::services::listening", chatter)
        .with_target("pingora_core::server::transfer_fd", chatter)
        .with_target("pingora_core::connectors", chatter);
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
    // A second start, as in tests of one process, keeps the first.
    let _ = tracing_subscriber::registry().with(lines.with_filter(targets)).try_init();
}
