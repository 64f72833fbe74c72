//! What operators see: metrics, one line per request, the server log.

mod chatter;
mod log_file;
mod metrics;
mod requests;
mod server;

pub use metrics::{Metrics, RouteId};
pub use requests::{Record, RequestLog};
pub use server::start as start_server_log;
