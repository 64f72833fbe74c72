//! Results: what a call is answered with, in the revision it speaks.

use serde_json::json;

use super::tools::{self, ToolNames};
use super::{Call, Revision};
use crate::identity::Identity;
use crate::refusal::Refusal;

/// What `serverInfo` says.
const SERVER: &str =
    concat!("{\"name\":\"portcullis\",\"title\":\"Portcullis\",\"version\":\"", env!("CARGO_PKG_VERSION"), "\"}");
const INSTRUCTIONS: &str = "Secrets and cryptography of HashiCorp Vault, each agent in its own namespace. \
     Paths are relative to that namespace. Call whoami to see what you may use, and up to what.";
/// What the gate has; it takes no subscriptions, by which alone a stateless
/// client is told of changes.
const CAPABILITIES: &str = "{\"tools\":{},\"resources\":{},\"prompts\":{}}";
/// The same for clients that may open a stream of events.
const WITH_EVENTS: &str = "{\"tools\":{\"listChanged\":true},\"resources\":{},\"prompts\":{}}";
/// How long a client may keep what only a configuration changes, in milliseconds.
pub(super) const TTL: u32 = 60_000;

/// Opens a result and closes it again around what `body` writes.
pub struct Reply<'b> {
    out: &'b mut Vec<u8>,
    revision: Revision,
}

impl<'b> Reply<'b> {
    pub(super) fn open(call: &Call<'_>, out: &'b mut Vec<u8>) -> Self {
        out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
        out.extend_from_slice(call.id.get().as_bytes());
        out.extend_from_slice(b",\"result\":{");
        if call.revision.is_stateless() {
            out.extend_from_slice(b"\"resultType\":\"complete\",\"_meta\":{\"io.modelcontextprotocol/serverInfo\":");
            out.extend_from_slice(SERVER.as_bytes());
            out.extend_from_slice(b"},");
        }
        Self { out, revision: call.revision }
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.out.extend_from_slice(text.as_bytes());
        self
    }

    pub(super) fn quoted(&mut self, text: &str) -> &mut Self {
        // Writing text to a vector cannot fail.
        let _ = serde_json::to_writer(&mut *self.out, text);
        self
    }

    /// How long, in milliseconds, and for whom a client may keep this.
    pub(super) fn cacheable(&mut self, ttl: u32) -> &mut Self {
        if self.revision.is_stateless() {
            self.text(&format!("\"ttlMs\":{ttl},\"cacheScope\":\"private\","));
        }
        self
    }

    pub(super) fn close(&mut self) {
        if self.out.last() == Some(&b',') {
            self.out.pop();
        }
        self.text("}}");
    }
}

/// Answers `initialize` with the revision it settled on.
pub fn initialized(call: &Call<'_>, out: &mut Vec<u8>) {
    let mut reply = Reply::open(call, out);
    reply.text("\"protocolVersion\":").quoted(call.revision.name());
    reply.text(",\"capabilities\":").text(WITH_EVENTS).text(",\"serverInfo\":").text(SERVER);
    reply.text(",\"instructions\":").quoted(INSTRUCTIONS).close();
}

/// Answers `server/discover`.
pub fn discovered(call: &Call<'_>, out: &mut Vec<u8>) {
    let versions = json!(Revision::ALL.map(Revision::name)).to_string();
    let mut reply = Reply::open(call, out);
    reply.cacheable(TTL).text("\"supportedVersions\":").text(&versions).text(",\"capabilities\":").text(CAPABILITIES);
    reply.text(",\"instructions\":").quoted(INSTRUCTIONS).close();
}

/// Answers what needs no more than an answer: `ping`, `shutdown`.
pub fn done(call: &Call<'_>, out: &mut Vec<u8>) {
    Reply::open(call, out).close();
}

/// Answers `tools/list` with the tools that `identity` may use.
pub fn listed(call: &Call<'_>, identity: &Identity, names: ToolNames, out: &mut Vec<u8>) {
    let mut reply = Reply::open(call, out);
    reply.cacheable(TTL).text("\"tools\":");
    tools::write(identity, names, reply.out);
    reply.close();
}

/// Answers `tools/call` with `json`, as structured content and as text.
pub fn answer(call: &Call<'_>, json: &str, out: &mut Vec<u8>) {
    out.reserve(json.len() * 2 + json.len() / 4 + 256);
    let mut reply = Reply::open(call, out);
    reply.text("\"content\":[{\"type\":\"text\",\"text\":").quoted(json);
    reply.text("}],\"structuredContent\":").text(json).text(",\"isError\":false").close();
}

/// Answers `tools/call` with a refusal, as a result that says it is an error.
pub fn refused(call: &Call<'_>, refusal: &Refusal, request_id: &str, out: &mut Vec<u8>) {
    let body = String::from_utf8_lossy(&refusal.body(request_id)).into_owned();
    let mut reply = Reply::open(call, out);
    reply.text("\"content\":[{\"type\":\"text\",\"text\":").quoted(&refusal.text());
    reply.text("}],\"structuredContent\":").text(&body).text(",\"isError\":true").close();
}
