//! Everything that operators see: metrics, one line per request, the server log; and the sinks by which
//! records are kept.

mod audit;
mod chatter;
mod log_file;
mod metrics;
mod requests;
mod seldom;
mod server;
mod sink;

pub use audit::{Audit, AuditCounters, AuditFileTerms, AuditTerms, Outward, StandardOutput, Syslog};
pub use metrics::{ConnectionMetrics, InProgress, Metrics, RouteId};
pub use requests::RequestLog;
pub use seldom::Seldom;
pub use server::{start as start_server_log, tell_panics};
pub use sink::{Call, Calls, Kept, Record, Sink, Sinks};
