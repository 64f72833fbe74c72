//! The audit: one record for each decision, as a line of JSON in the form of OCSF, chained to the line before it
//! (DESIGN section 15). A record names who did what to which resource and by which role, never a value.
//!
//! A line is made in two steps: whoever has the facts writes a *body*, and the chain, which is one for each
//! process, *seals* it with its number and the digest of the line before.
//!
//! OCSF: <https://schema.ocsf.io/1.3.0>

mod activity;
mod backlog;
mod chain;
mod correlation;
mod join;
mod login;
mod naming;
mod note;
mod occurrence;
mod walk;

pub use activity::{Activity, Stage};
pub use backlog::Backlog;
pub use chain::{Chain, ChainId, Position};
pub use correlation::OwnId;
pub use join::{Difference, Fit, HeardRequest, RecordedCall};
pub use login::Login;
pub use naming::Naming;
pub use note::{Checkpoint, NoteSigner, NoteVerifier};
pub use occurrence::Occurrence;
pub use walk::{BEHIND, Broken, Fault, Found, Walk};

use std::net::IpAddr;

use crate::json::plain;
use crate::trace::TraceId;

/// The version of OCSF that records are in.
const SCHEMA: &str = "1.3.0";

/// Writes a member whose value is a text, unless that is empty; `before` is all up to the value.
fn member(before: &str, value: &str, out: &mut Vec<u8>) {
    if !value.is_empty() {
        out.extend_from_slice(before.as_bytes());
        text(value, out);
    }
}

/// Writes a member as [`member`] does, whose value has nothing in it that JSON escapes: a name of the gate's own, or one
/// that is made of few characters.
fn closed(before: &str, value: &str, out: &mut Vec<u8>) {
    debug_assert_eq!(plain(value.as_bytes()), value.len(), "{value}");
    if !value.is_empty() {
        out.extend_from_slice(before.as_bytes());
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    }
}

/// Writes a JSON string.
fn text(value: &str, out: &mut Vec<u8>) {
    // Mostly nothing in it needs an escape.
    if plain(value.as_bytes()) == value.len() {
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    } else {
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(out, value);
    }
}

/// Writes the client's address, where it is known.
fn source(client: Option<IpAddr>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"src_endpoint\":{");
    match client {
        None => {}
        Some(IpAddr::V4(client)) => {
            let [a, b, c, d] = client.octets();
            for (before, part) in [("\"ip\":\"", a), (".", b), (".", c), (".", d)] {
                number(before, part.into(), out);
            }
            out.push(b'"');
        }
        Some(IpAddr::V6(client)) => member("\"ip\":", &client.to_string(), out),
    }
    out.push(b'}');
}

/// Writes the id of a trace, where there is one.
fn of_trace(trace: Option<TraceId>, out: &mut Vec<u8>) {
    if let Some(trace) = trace {
        member(",\"trace_id\":", &trace.to_string(), out);
    }
}

fn number(before: &str, number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests;
