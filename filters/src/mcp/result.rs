//! Results: the answers to calls, each in the revision that the call speaks.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use serde_json::value::RawValue;

use super::tools::{self, ToolNames};
use super::{Call, Features, Revision};
use crate::identity::Identity;
use crate::refusal::Refusal;

const INSTRUCTIONS: &str = "Secrets and cryptography of HashiCorp Vault, each agent in its own namespace. \
     Paths are relative to that namespace. Call whoami to see what you may use, and up to what.";
/// Milliseconds for which a client may keep a list that only a configuration changes.
pub const TTL: u32 = 60_000;

/// A result of a revision without a handshake: its own members, and those that every one has.
#[derive(Serialize)]
struct Complete<R> {
    #[serde(flatten)]
    stateless: Stateless,
    #[serde(flatten)]
    keep: Option<Keep>,
    #[serde(flatten)]
    own: R,
}

/// The members of every result of a revision without a handshake.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stateless {
    result_type: &'static str,
    #[serde(rename = "_meta")]
    meta: Meta,
}

#[derive(Serialize)]
pub(super) struct Meta {
    #[serde(rename = "io.modelcontextprotocol/serverInfo")]
    pub(super) server: Server,
}

/// The time for which a client may keep a result, and for whom.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Keep {
    ttl_ms: u32,
    cache_scope: &'static str,
}

#[derive(Clone, Copy, Serialize)]
pub(super) struct Server {
    name: &'static str,
    title: &'static str,
    version: &'static str,
}

pub(super) const SERVER: Server =
    Server { name: "portcullis", title: "Portcullis", version: env!("CARGO_PKG_VERSION") };

/// The features that the gate has.
#[derive(Serialize)]
struct Capabilities {
    tools: Listing,
    resources: Resources,
    prompts: Listing,
    completions: Empty,
    /// In revisions that can set a level.
    #[serde(skip_serializing_if = "Option::is_none")]
    logging: Option<Empty>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    list_changed: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resources {
    subscribe: bool,
    list_changed: bool,
}

const CAPABILITIES: Capabilities = Capabilities {
    tools: Listing { list_changed: true },
    resources: Resources { subscribe: true, list_changed: true },
    prompts: Listing { list_changed: true },
    completions: Empty {},
    logging: None,
};

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Initialized {
    protocol_version: &'static str,
    capabilities: Capabilities,
    server_info: Server,
    instructions: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Discovered {
    supported_versions: [&'static str; Revision::ALL.len()],
    capabilities: Capabilities,
    instructions: &'static str,
}

#[derive(Serialize)]
struct Listed<'a> {
    tools: Vec<&'a RawValue>,
}

/// The result of a tool. Its value is there twice: structured, and as text for clients that read no
/// structured content.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolResult<'a, S> {
    content: [Text<'a>; 1],
    structured_content: S,
    is_error: bool,
}

/// Writes a JSON text in the place of the one unit of a value, without reading it again.
struct InPlaceOfUnit<'a>(&'a str);

impl Formatter for InPlaceOfUnit<'_> {
    fn write_null<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(self.0.as_bytes())
    }
}

/// A piece of text content.
#[derive(Serialize)]
pub(super) struct Text<'a> {
    r#type: &'static str,
    text: &'a str,
}

impl<'a> Text<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { r#type: "text", text }
    }
}

/// The members of a complete result.
const COMPLETE: Stateless = Stateless { result_type: "complete", meta: Meta { server: SERVER } };

/// Writes a result with these members, an object.
pub fn write(call: &Call<'_, impl Features>, own: impl Serialize, out: &mut Vec<u8>) {
    respond(call, (COMPLETE, None), own, (out, CompactFormatter));
}

/// Writes what stands for a result until its client has given more: its members are `inputRequests` and, where there
/// is any, `requestState`.
/// Source: <https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/mrtr>.
pub fn write_input_required(call: &Call<'_, impl Features>, own: impl Serialize, out: &mut Vec<u8>) {
    let stateless = Stateless { result_type: "input_required", ..COMPLETE };
    respond(call, (stateless, None), own, (out, CompactFormatter));
}

/// Writes a result with these members, an object, that a client may keep for `ttl` milliseconds, where its revision can
/// say so.
pub fn write_kept(call: &Call<'_, impl Features>, ttl: u32, own: impl Serialize, out: &mut Vec<u8>) {
    let keep = Keep { ttl_ms: ttl, cache_scope: "private" };
    respond(call, (COMPLETE, Some(keep)), own, (out, CompactFormatter));
}

/// Writes a JSON-RPC response: the frame that all have, and in it the result.
fn respond<F: Formatter>(
    call: &Call<'_, impl Features>,
    (stateless, keep): (Stateless, Option<Keep>),
    own: impl Serialize,
    (out, formatter): (&mut Vec<u8>, F),
) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(call.id.get().as_bytes());
    out.extend_from_slice(b",\"result\":");
    let mut result = Serializer::with_formatter(&mut *out, formatter);
    // Writing to a vector cannot fail, and no type here has a map with odd keys.
    let _ = if call.revision.is_stateless() {
        Complete { stateless, keep, own }.serialize(&mut result)
    } else {
        own.serialize(&mut result)
    };
    out.push(b'}');
}

/// Answers `initialize` with the revision it settled on.
pub fn initialized(call: &Call<'_, impl Features>, out: &mut Vec<u8>) {
    let initialized = Initialized {
        protocol_version: call.revision.name(),
        capabilities: Capabilities { logging: Some(Empty {}), ..CAPABILITIES },
        server_info: SERVER,
        instructions: INSTRUCTIONS,
    };
    write(call, initialized, out);
}

/// Answers `server/discover`.
pub fn discovered(call: &Call<'_, impl Features>, out: &mut Vec<u8>) {
    let discovered = Discovered {
        supported_versions: Revision::ALL.map(Revision::name),
        capabilities: CAPABILITIES,
        instructions: INSTRUCTIONS,
    };
    write_kept(call, TTL, discovered, out);
}

/// Answers `ping`, `shutdown` and `logging/setLevel`, which need no more than an answer.
pub fn done(call: &Call<'_, impl Features>, out: &mut Vec<u8>) {
    write(call, Empty {}, out);
}

/// Answers `tools/list` with the tools that `identity` is shown.
pub fn listed(call: &Call<'_>, identity: &Identity, names: ToolNames, out: &mut Vec<u8>) {
    write_kept(call, TTL, Listed { tools: tools::shown(identity, names).collect() }, out);
}

/// Answers `tools/call` with `json`, one JSON value, as structured content and as text.
pub fn answer(call: &Call<'_>, json: &str, out: &mut Vec<u8>) {
    out.reserve(json.len() * 2 + json.len() / 4 + 256);
    let result = ToolResult { content: [Text::new(json)], structured_content: (), is_error: false };
    respond(call, (COMPLETE, None), result, (out, InPlaceOfUnit(json)));
}

/// Answers `tools/call` with a refusal, as a result that says it is an error.
pub fn refused(call: &Call<'_>, refusal: &Refusal, request_id: &str, out: &mut Vec<u8>) {
    let text = refusal.text();
    let structured_content = refusal.told(request_id);
    write(call, ToolResult { content: [Text::new(&text)], structured_content, is_error: true }, out);
}
