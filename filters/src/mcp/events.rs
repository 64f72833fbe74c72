//! Streams of events, which the revisions before 2026-07-28 have: a `GET` is
//! answered with what the server says unasked.
//!
//! Sources: <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports>,
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use super::message::revision_of;
use super::{Failure, ToolNames, tools};
use crate::catalog::CATALOG;
use crate::identity::Identity;

/// A comment: it says nothing, and whoever is in between sees that the stream is used.
pub const KEEP_ALIVE: &str = ": keepalive\n\n";

/// `notifications/tools/list_changed`, as an event.
pub const TOOLS_CHANGED: &str =
    "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n";

/// True where the revision in `MCP-Protocol-Version` has such streams.
///
/// # Errors
/// [`Failure::UnsupportedVersion`].
pub fn has_streams(version: Option<&str>) -> Result<bool, Failure> {
    revision_of(version).map(|revision| !revision.is_stateless())
}

/// The tools that a caller is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    names: ToolNames,
    operations: Vec<&'static str>,
}

impl Shown {
    /// The tools that `identity` is shown.
    #[must_use]
    pub fn to(identity: &Identity, names: ToolNames) -> Self {
        let shown = CATALOG.iter().filter(|entry| tools::shows(identity, entry));
        Self { names, operations: shown.map(|entry| entry.spec.name).collect() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_revisions_with_a_handshake_have_streams() {
        for version in [None, Some("2025-03-26"), Some("2025-06-18"), Some("2025-11-25")] {
            assert_eq!(has_streams(version), Ok(true), "{version:?}");
        }
        assert_eq!(has_streams(Some("2026-07-28")), Ok(false));
        assert!(has_streams(Some("1900-01-01")).is_err());
    }

    #[test]
    fn an_event_is_one_line_of_data_and_ends_with_an_empty_one() {
        let data = TOOLS_CHANGED.strip_prefix("event: message\ndata: ").unwrap().strip_suffix("\n\n").unwrap();
        assert!(!data.contains('\n'));
        let message: Value = serde_json::from_str(data).unwrap();
        assert_eq!(message, json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
        assert!(KEEP_ALIVE.starts_with(':') && KEEP_ALIVE.ends_with("\n\n"));
    }
}
