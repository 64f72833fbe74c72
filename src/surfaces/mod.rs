//! The surfaces: each parses what it is asked into operations, has the service do them, and shapes
//! the answers in its own form. None of them decides, asks Vault, counts or logs, and none knows the
//! framework that requests come by.

pub mod docs;
pub mod events;
mod json;
pub mod listen;
pub mod mcp;
pub mod metadata;
pub mod progress;
mod reply;
mod resources;
pub mod rest;
pub mod sessions;
pub mod vault_api;

pub use json::Json;
pub use reply::{Body, Reply};

use bytes::Bytes;
use filters::refusal::Refusal;
use http::HeaderMap;
use http::header::{ACCEPT, HeaderName};

use crate::service::{Caller, Context, Outcome, Outcomes};

use progress::Progress;

/// A request of an admitted caller.
pub struct Asked<'a> {
    /// The context it is served in.
    pub context: &'a Context<'a>,
    /// Its caller.
    pub caller: &'a Caller<'a>,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its path, as it came.
    pub path: &'a str,
    /// Its query, without the question mark.
    pub query: &'a str,
    /// The time for which the caller lets the answer be wrapped.
    pub wrap_ttl: Option<&'a str>,
    /// Its body; empty where the surface takes none.
    pub body: Bytes,
    /// The wish of its client to be told that it goes on.
    pub progress: Progress,
}

/// The answer of a surface, and the outcome of each operation that it was asked for.
pub struct Served {
    /// The answer.
    pub reply: Result<Reply, Refusal>,
    /// The outcomes, for log and metrics.
    pub outcomes: Outcomes,
}

impl Served {
    /// A request that asks for no operation, and is allowed where it has an answer.
    #[must_use]
    pub fn decided(reply: Result<Reply, Refusal>) -> Self {
        let outcome = match &reply {
            Ok(_) => Outcome::allowed(),
            Err(refusal) => Outcome::refused("", refusal),
        };
        Self { reply, outcomes: outcome.into() }
    }

    /// A request for `operation` that is refused before the operation is read.
    #[must_use]
    pub fn refused(operation: &'static str, refusal: Refusal) -> Self {
        Self { outcomes: Outcome::refused(operation, &refusal).into(), reply: Err(refusal) }
    }
}

/// Tells if the caller takes JSON (RFC 9110 section 12.5.1); without the header it takes anything.
fn accepts_json(headers: &HeaderMap) -> bool {
    match headers.get(ACCEPT) {
        None => true,
        // As MCP's clients have it.
        Some(value) if value.as_bytes().starts_with(b"application/json,") => true,
        Some(_) => accepts(headers, &["application/json", "application/*", "*/*"]),
    }
}

/// Tells if the caller takes events; without the header it takes anything.
fn accepts_events(headers: &HeaderMap) -> bool {
    !headers.contains_key(ACCEPT) || accepts(headers, &["text/event-stream", "text/*", "*/*"])
}

/// Tells if the caller lists events among what it takes, as MCP asks it to: what is opened by chance,
/// such as by a page's picture, takes anything.
fn lists_events(headers: &HeaderMap) -> bool {
    accepts(headers, &["text/event-stream"])
}

fn accepts(headers: &HeaderMap, media: &[&str]) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| {
        let mut parts = part.split(';').map(str::trim);
        let accepted = parts.next().unwrap_or_default();
        let refused = parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        !refused && media.iter().any(|media| media.eq_ignore_ascii_case(accepted))
    })
}

/// The one value of a header, as text.
pub(crate) fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, value.parse().unwrap())])
    }

    #[test]
    fn json_may_be_excluded_by_accept() {
        for (value, expected) in [
            ("application/json, text/event-stream", true),
            ("*/*", true),
            ("text/html, application/*;q=0.8", true),
            ("text/event-stream", false),
            ("application/json;q=0", false),
        ] {
            assert_eq!(accepts_json(&accept(value)), expected, "{value}");
        }
        assert!(accepts_json(&HeaderMap::new()));
    }

    #[test]
    fn events_must_be_listed_by_accept() {
        for (value, expected) in [
            ("text/event-stream", true),
            ("application/json, Text/Event-Stream;q=0.5", true),
            ("*/*", false),
            ("text/*", false),
            ("text/event-stream;q=0", false),
            ("image/avif,image/webp,*/*;q=0.8", false),
        ] {
            assert_eq!(lists_events(&accept(value)), expected, "{value}");
        }
        assert!(!lists_events(&HeaderMap::new()));
    }
}
