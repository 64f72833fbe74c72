//! MCP over standard input and output: one JSON-RPC message a line, for clients that start a server
//! as a process of their own. Each message goes to a gate as an HTTP client's would, and each answer
//! and notification comes back as one line.
//!
//! ```text
//! stdin ─► lines ─► Message ─► courier ─► Gate: a POST each ─► Answer ─► lines ─► stdout
//!                                  └────► Gate: a GET, for what is said unasked ──┘
//! ```
//!
//! Source: <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports>.
#![deny(clippy::wildcard_enum_match_arm)]

mod courier;
mod credentials;
mod events;
mod gate;
mod lines;
mod message;
mod remote;
mod session;
mod streams;
mod trouble;
mod watch;

pub use courier::{Courier, Ended};
pub use credentials::{Credential, Files, Text};
pub use gate::{Answer, Body, Gate};
pub use lines::{Input, Output};
pub use remote::{Remote, endpoint, events_endpoint};
pub use trouble::Trouble;
pub use watch::watch;

#[cfg(test)]
mod tests;
