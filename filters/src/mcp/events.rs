//! Streams of server-sent events: what each kind of stream says, and how.
//!
//! Sources: <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports>,
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::message::revision_of;
use super::resources::{resource_uri, uri_of};
use super::subscription::{Changed, Messages, Wanted, Watched, closed};
use super::{Failure, ToolNames, tools};
use crate::catalog::CATALOG;
use crate::event::{Event, EventId, EventKind};
use crate::identity::Identity;
use crate::names::AgentId;

/// A comment: it says nothing, and whoever is in between sees that the stream is used.
pub const KEEP_ALIVE: &str = ": keepalive\n\n";

/// True where the revision in `MCP-Protocol-Version` has streams that a `GET` opens.
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
    /// For each operation of the catalog, in its order.
    operations: Box<[bool]>,
}

impl Shown {
    /// The tools that `identity` is shown.
    #[must_use]
    pub fn to(identity: &Identity, names: ToolNames) -> Self {
        Self { names, operations: CATALOG.iter().map(|entry| tools::shows(identity, entry)).collect() }
    }
}

/// A kind of stream, by which its client is told.
#[derive(Debug)]
pub enum Feed {
    /// A `GET` of the revisions with a handshake: told of these.
    Handshaken(Wanted),
    /// `subscriptions/listen`: the id of the request, and what of it was granted.
    Subscription(Box<RawValue>, Wanted),
    /// `GET /mcp/sse`, as older bridges have it: told of all, and of each tool that was done. Messages
    /// may be sent to this path, as revision 2024-11-05 has it; they are answered on the stream.
    Bridge(Option<String>),
    /// `GET /events`, for those who speak no MCP.
    Plain,
}

impl Feed {
    /// The first thing said on it.
    #[must_use]
    pub fn opening(&self) -> String {
        match self {
            Self::Subscription(_, wanted) => framed(&self.messages().acknowledged(wanted), None),
            Self::Bridge(Some(path)) => format!("{KEEP_ALIVE}{}", named("endpoint", path, None)),
            Self::Handshaken(_) | Self::Bridge(None) | Self::Plain => KEEP_ALIVE.to_owned(),
        }
    }

    /// Said where the client is shown other tools than before.
    #[must_use]
    pub fn tools_changed(&self) -> String {
        let (tools, prompts) = match self {
            Self::Subscription(_, Wanted { tools, prompts, .. }) => (*tools, *prompts),
            Self::Handshaken(_) | Self::Bridge(_) => (true, true),
            Self::Plain => (false, false),
        };
        // Prompts are about tools.
        let lists = [tools.then_some(Changed::Tools), prompts.then_some(Changed::Prompts)];
        lists.into_iter().flatten().map(|list| framed(&self.messages().changed(list), None)).collect()
    }

    /// True for a stream that tells of what changes nothing, too.
    #[must_use]
    pub const fn is_curious(&self) -> bool {
        matches!(self, Self::Bridge(_))
    }

    /// Said of an event that `subject` may see; empty where the client does not want to hear of it.
    #[must_use]
    pub fn told(&self, id: EventId, event: &Event, subject: &AgentId) -> String {
        match self {
            Self::Handshaken(wanted) | Self::Subscription(_, wanted) => {
                frames(&self.messages().of(event, wanted, subject), id)
            }
            Self::Bridge(_) => {
                let everything = Wanted { resources: true, ..Wanted::default() };
                let mut text = match event.secret() {
                    Some((space, path)) => {
                        let mut messages = vec![self.messages().updated(uri_of(subject, space, path))];
                        messages.extend(self.messages().of(event, &everything, subject));
                        frames(&messages, id)
                    }
                    None => String::new(),
                };
                if event.agent == *subject && !event.operation.is_empty() {
                    text.push_str(&named(COMPLETED, &completed(id, event), None));
                }
                text
            }
            Self::Plain if event.kind == EventKind::Completed => String::new(),
            Self::Plain => named(event.kind.name(), &plain(id, event), Some(id)),
        }
    }

    /// Said to answer a message of the client's.
    #[must_use]
    pub fn answered(&self, message: &str) -> String {
        message_event(message)
    }

    /// Said where the client may have missed events: what it watches may have changed.
    #[must_use]
    pub fn gap(&self) -> String {
        let messages = self.messages();
        match self {
            Self::Plain => named("gap", "{\"type\":\"gap\"}", None),
            Self::Bridge(_) => framed(&messages.changed(Changed::Resources), None),
            Self::Handshaken(wanted) | Self::Subscription(_, wanted) => {
                let updated = wanted.watched.iter().map(|watched| messages.updated(watched.uri().to_owned()));
                let list = wanted.resources.then(|| messages.changed(Changed::Resources));
                updated.chain(list).map(|message| framed(&message, None)).collect()
            }
        }
    }

    /// Said last, before a stream that ends as a whole; `code` says why it ends.
    #[must_use]
    pub fn closing(&self, code: &str) -> String {
        match self {
            Self::Subscription(id, _) => format!(": {code}\n{}", framed(&closed(id), None)),
            Self::Plain => named("end", &format!("{{\"type\":\"end\",\"reason\":\"{code}\"}}"), None),
            Self::Handshaken(_) | Self::Bridge(_) => format!(": {code}\n\n"),
        }
    }

    /// From now on a client of the revisions with a handshake is told of these resources.
    pub fn watch(&mut self, resources: Arc<[Watched]>) {
        if let Self::Handshaken(wanted) = self {
            wanted.watched = resources;
        }
    }

    fn messages(&self) -> Messages<'_> {
        let subscription = match self {
            Self::Subscription(id, _) => Some(&**id),
            Self::Handshaken(_) | Self::Bridge(_) | Self::Plain => None,
        };
        Messages { subscription }
    }
}

/// The event by which older bridges tell of a tool that was done.
const COMPLETED: &str = "tool.completed";

/// An event, as those are told who speak no MCP: one JSON object.
#[must_use]
pub fn plain(id: EventId, event: &Event) -> String {
    #[derive(Serialize)]
    struct Plain<'a> {
        id: String,
        r#type: EventKind,
        time: String,
        agent: &'a AgentId,
        #[serde(skip_serializing_if = "str::is_empty")]
        operation: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        resource: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
    }
    written(&Plain {
        id: id.to_string(),
        r#type: event.kind,
        time: time(id),
        agent: &event.agent,
        operation: &event.operation,
        resource: event.resource.as_ref().map(|resource| resource_uri(resource, &event.agent)),
        version: event.version,
    })
}

fn completed(id: EventId, event: &Event) -> String {
    #[derive(Serialize)]
    struct Completed<'a> {
        r#type: &'static str,
        tool: &'a str,
        subject: &'a AgentId,
        ts: String,
    }
    written(&Completed { r#type: COMPLETED, tool: &event.operation, subject: &event.agent, ts: time(id) })
}

/// RFC 3339, in UTC.
fn time(id: EventId) -> String {
    let milliseconds = i64::try_from(id.milliseconds()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(milliseconds).map(|time| time.to_string()).unwrap_or_default()
}

pub(super) fn written(value: &impl Serialize) -> String {
    // No type here has a map with odd keys.
    serde_json::to_string(value).unwrap_or_default()
}

/// Messages of one event, of which the last has its id: whoever has had that has had all.
fn frames(messages: &[String], id: EventId) -> String {
    let last = messages.len().saturating_sub(1);
    messages.iter().enumerate().map(|(place, message)| framed(message, (place == last).then_some(id))).collect()
}

/// A message of MCP, as an event of a stream.
#[must_use]
pub fn message_event(message: &str) -> String {
    // Between the parts of a JSON text these two may stand, and mean nothing.
    framed(&message.replace(['\n', '\r'], " "), None)
}

fn framed(message: &str, id: Option<EventId>) -> String {
    named("message", message, id)
}

fn named(name: &str, data: &str, id: Option<EventId>) -> String {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("event: {name}\n{id}data: {data}\n\n")
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
        let event = Feed::Handshaken(Wanted::default()).tools_changed();
        let messages: Vec<Value> = event
            .split_terminator("\n\n")
            .map(|event| serde_json::from_str(event.strip_prefix("event: message\ndata: ").unwrap()).unwrap())
            .collect();
        let changed = |list: &str| json!({"jsonrpc": "2.0", "method": format!("notifications/{list}/list_changed")});
        assert_eq!(messages, ["tools", "prompts"].map(changed));
        assert!(KEEP_ALIVE.starts_with(':') && KEEP_ALIVE.ends_with("\n\n"));
    }
}
