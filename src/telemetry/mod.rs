//! Everything that operators see: metrics, one line per request, the server log; and the sinks by which
//! records are kept.

mod chatter;
mod log_file;
mod metrics;
mod requests;
mod seldom;
mod server;
mod sink;

pub use metrics::{ConnectionMetrics, InProgress, LoginCounts, LoginFacts, Metrics, RouteId};
pub use requests::RequestLog;
pub use seldom::Seldom;
pub use server::{start as start_server_log, tell_panics};
pub use sink::{Call, Calls, Record, Sink, Sinks};
