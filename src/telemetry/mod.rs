//! What operators see: metrics, one line per request, the server log.

mod chatter;
mod log_file;
mod metrics;
mod requests;
mod seldom;
mod server;

pub use metrics::{ConnectionMetrics, InProgress, Metrics, RouteId};
pub use requests::{Record, RequestLog};
pub use seldom::Seldom;
pub use server::{start as start_server_log, tell_panics};
