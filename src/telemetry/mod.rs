//! Everything that operators see: metrics, traces, the logs of requests, of operations and of the server; and the sinks
//! by which records are kept.

mod audit;
mod chatter;
mod ending;
mod lines;
mod log_file;
mod metrics;
mod requests;
mod responses;
mod seldom;
mod server;
mod sink;
mod sinks;
mod tail;
mod traces;

pub use audit::{
    Audit, AuditCounters, AuditFileTerms, AuditTerms, CheckpointSigner, OtlpLogs, Outward, RemoteSigner, SharedNaming,
    StandardOutput, Syslog, VaultKeys,
};
pub use lines::Destination;
pub use metrics::{ConnectionMetrics, InProgress, LoginCounts, LoginFacts, Metrics, MetricsForm, RouteId};
pub use requests::RequestLog;
pub use responses::ResponseLog;
pub use seldom::Seldom;
pub use server::{
    close as close_server_log, keep as keep_server_log, set_level, start as start_server_log, tell_panics,
};
pub use sink::{Call, Calls, Kept, Record, Sink};
pub use sinks::Sinks;
pub use tail::{Tail, tail};
pub use traces::{Inbound, Recording, Step, Timed, Traces};
