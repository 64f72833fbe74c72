//! A client's message, as far as its way to the gate depends on it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use filters::headers::{MCP_METHOD, MCP_NAME, MCP_PROTOCOL_VERSION};
use filters::mcp::Failure;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The headers that repeat arguments of a tool, in the order of [`Repeated`].
const MCP_PARAMS: [HeaderName; 3] = [
    HeaderName::from_static("mcp-param-key"),
    HeaderName::from_static("mcp-param-path"),
    HeaderName::from_static("mcp-param-role"),
];
/// The mark of a value that no header can hold as it is (MCP 2026-07-28, Streamable HTTP).
const ENCODED: &str = "=?base64?";

/// The id of a request, as it stood there.
pub(super) type Id = Box<RawValue>;

/// One line of a client's.
#[derive(Debug)]
pub(super) struct Message {
    /// The line.
    pub(super) text: Bytes,
    /// The ids of the requests in it, in their order.
    pub(super) ids: Vec<Id>,
    /// True where it is a list of messages (revision 2025-03-26).
    pub(super) is_batch: bool,
    /// True where nothing in it is to be answered.
    pub(super) is_silent: bool,
    /// The method; empty for an answer and for a batch.
    pub(super) method: String,
    /// The resource that it names.
    pub(super) uri: Option<String>,
    /// The request that it cancels.
    pub(super) cancels: Option<Id>,
    /// The revision that it says itself, where that has no handshake.
    revision: Option<String>,
    /// The tool or prompt that it names.
    name: Option<String>,
    repeated: Repeated,
}

/// The arguments of a tool that headers repeat. A gate looks at the headers of those that it has marked.
#[derive(Debug, Default, Deserialize)]
struct Repeated {
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    role: Option<String>,
}

/// The members of a message that are read; the gate judges the rest.
#[derive(Deserialize)]
struct Members<'a> {
    /// `null` too, where it is given.
    #[serde(borrow, default, deserialize_with = "given")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Parameters {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    uri: Option<String>,
    #[serde(default)]
    arguments: Option<Id>,
    #[serde(default, rename = "requestId")]
    request: Option<Id>,
    #[serde(default, rename = "_meta")]
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default, rename = "io.modelcontextprotocol/protocolVersion")]
    revision: Option<String>,
}

impl Message {
    /// Reads a line.
    ///
    /// # Errors
    /// [`Failure::Parse`] for what is not JSON, [`Failure::Invalid`] for what is no message.
    pub(super) fn read(text: Bytes) -> Result<Self, Failure> {
        let line = std::str::from_utf8(&text).map_err(|_| Failure::Parse)?;
        let invalid = |error: serde_json::Error| {
            if error.is_data() { Failure::Invalid("The line is not a JSON-RPC 2.0 message") } else { Failure::Parse }
        };
        let is_batch = line.starts_with('[');
        let members: Vec<Members<'_>> = if is_batch {
            serde_json::from_str(line).map_err(invalid)?
        } else {
            vec![serde_json::from_str(line).map_err(invalid)?]
        };
        let asked: Vec<_> = members.iter().filter_map(|one| one.id.filter(|_| one.method.is_some())).collect();
        let is_silent = asked.is_empty();
        // One with `null` for an id is answered without one.
        let ids = asked.into_iter().filter(|id| id.get() != "null").map(ToOwned::to_owned).collect();
        let (mut method, mut parameters) = (String::new(), Parameters::default());
        if let ([one], false) = (members.as_slice(), is_batch) {
            method = one.method.as_deref().unwrap_or_default().to_owned();
            // The gate says what is wrong with others.
            parameters = one.params.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        }
        let Parameters { name, uri, arguments, request, meta } = parameters;
        let repeated =
            arguments.filter(|_| method == "tools/call").and_then(|raw| serde_json::from_str(raw.get()).ok());
        let cancels = request.filter(|_| method == "notifications/cancelled");
        let revision = meta.and_then(|meta| meta.revision);
        Ok(Self {
            ids,
            is_batch,
            is_silent,
            method,
            uri,
            cancels,
            revision,
            name,
            repeated: repeated.unwrap_or_default(),
            text,
        })
    }

    /// The headers that repeat the message, in a revision without a handshake; `None` in others.
    pub(super) fn own_headers(&self) -> Option<HeaderMap> {
        let revision = self.revision.as_deref()?;
        let named = match self.method.as_str() {
            "tools/call" | "prompts/get" => self.name.as_deref(),
            "resources/read" => self.uri.as_deref(),
            _ => None,
        };
        let own = [Some(revision), Some(self.method.as_str()), named];
        let Repeated { key, path, role } = &self.repeated;
        let params = MCP_PARAMS.into_iter().zip([key, path, role].map(Option::as_deref));
        let fields = [MCP_PROTOCOL_VERSION, MCP_METHOD, MCP_NAME].into_iter().zip(own).chain(params);
        Some(fields.filter_map(|(name, value)| Some((name, encoded(value?)?))).collect())
    }
}

/// A member that is there, be it `null`.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A header's value; in base64 where it would not arrive as it is.
fn encoded(text: &str) -> Option<HeaderValue> {
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if plain && !text.starts_with(ENCODED) && text.trim_ascii() == text {
        return HeaderValue::from_str(text).ok();
    }
    HeaderValue::try_from(format!("{ENCODED}{}?=", STANDARD.encode(text))).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(message: &serde_json::Value) -> Message {
        Message::read(message.to_string().into()).unwrap()
    }

    #[test]
    fn headers_repeat_a_message_without_a_handshake() {
        let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
        for (method, params, name) in [
            ("tools/call", json!({"name": "kv.read", "_meta": meta}), Some("kv.read")),
            ("prompts/get", json!({"name": "kv_read", "_meta": meta}), Some("kv_read")),
            ("resources/read", json!({"uri": "kv://a/b", "_meta": meta}), Some("kv://a/b")),
            ("resources/read", json!({"uri": "kv://a/ü", "_meta": meta}), Some("=?base64?a3Y6Ly9hL8O8?=")),
            ("tools/call", json!({"name": " a", "_meta": meta}), Some("=?base64?IGE=?=")),
            ("tools/call", json!({"name": "=?base64?YQ==?=", "_meta": meta}), Some("=?base64?PT9iYXNlNjQ/WVE9PT89?=")),
            ("tools/list", json!({"name": "no matter", "_meta": meta}), None),
        ] {
            let headers = read(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})).own_headers();
            let headers = headers.unwrap();
            assert_eq!(headers[MCP_PROTOCOL_VERSION], "2026-07-28");
            assert_eq!(headers[MCP_METHOD], method);
            assert_eq!(headers.get(MCP_NAME).map(|value| value.to_str().unwrap()), name, "{method} {params}");
        }
        let old = read(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "kv.read"}}));
        assert_eq!(old.own_headers(), None);
    }

    #[test]
    fn headers_repeat_the_arguments_that_say_what_is_touched() {
        let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
        for (arguments, expected) in [
            (json!({"path": "a/b", "data": {}}), [None, Some("a/b"), None]),
            (json!({"key": "ü", "role": "r"}), [Some("=?base64?w7w=?="), None, Some("r")]),
            (json!({"path": null}), [None; 3]),
            (json!({"path": 7}), [None; 3]),
        ] {
            let params = json!({"name": "any", "arguments": arguments, "_meta": meta});
            let message = read(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}));
            let headers = message.own_headers().unwrap();
            let found = MCP_PARAMS.map(|name| headers.get(name).map(|value| value.to_str().unwrap().to_owned()));
            assert_eq!(found, expected.map(|text| text.map(str::to_owned)), "{arguments}");
        }
    }

    #[test]
    fn only_requests_have_ids_to_answer() {
        let ids = |message: &serde_json::Value| -> Vec<String> {
            read(message).ids.iter().map(|id| id.get().to_owned()).collect()
        };
        assert_eq!(ids(&json!({"jsonrpc": "2.0", "id": "a\n", "method": "ping"})), [r#""a\n""#]);
        for silent in [
            json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
            json!({"jsonrpc": "2.0", "id": 1, "result": {}}),
            json!([{"method": "notifications/x"}]),
        ] {
            assert!(ids(&silent).is_empty() && read(&silent).is_silent, "{silent}");
        }
        let wrong = json!({"jsonrpc": "2.0", "id": null, "method": "ping"});
        assert!(ids(&wrong).is_empty() && !read(&wrong).is_silent, "it is answered, without an id");
        let batch = json!([{"id": 1, "method": "ping"}, {"method": "notifications/x"}, {"id": 2, "method": "ping"}]);
        assert_eq!(ids(&batch), ["1", "2"]);
    }

    #[test]
    fn a_line_that_is_no_message_is_told_apart() {
        for (line, failure) in [
            ("{", Failure::Parse),
            ("\u{fffd}", Failure::Parse),
            ("7", Failure::Invalid("The line is not a JSON-RPC 2.0 message")),
            ("[7]", Failure::Invalid("The line is not a JSON-RPC 2.0 message")),
        ] {
            assert_eq!(Message::read(line.as_bytes().to_vec().into()).unwrap_err(), failure, "{line}");
        }
        assert_eq!(Message::read(Bytes::from_static(b"\xff")).unwrap_err(), Failure::Parse);
    }
}
