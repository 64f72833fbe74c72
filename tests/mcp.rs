//! MCP as a client speaks it: messages of each revision, and the published
//! schema by which the answers are judged.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::process::root;
use crate::{Client, Response, wait_for};

/// The revisions with a handshake.
pub const HANDSHAKEN: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
/// The revision without one.
pub const STATELESS: &str = "2026-07-28";

/// The prompts of an agent that may use everything.
pub const PROMPTS: [&str; 8] = [
    "kv_read",
    "kv_write",
    "transit_encrypt",
    "transit_sign",
    "db_issue_creds",
    "ssh_sign",
    "pki_issue",
    "kms_encrypt",
];

/// A revision's published schema.
pub struct Schema {
    pub revision: &'static str,
    document: Value,
}

impl Schema {
    /// The schema of that revision; for the first, which is not at hand, the next one's.
    pub fn of(revision: &'static str) -> Self {
        let nearest = if revision == "2024-11-05" { "2025-03-26" } else { revision };
        let path = root().join(format!("tests/schema/{nearest}.json"));
        let text = std::fs::read_to_string(path).expect("the schema");
        Self { revision, document: serde_json::from_str(&text).expect("JSON") }
    }

    /// Every schema.
    pub fn all() -> impl Iterator<Item = Self> {
        HANDSHAKEN.into_iter().chain([STATELESS]).map(Self::of)
    }

    /// Fails where `instance` is not what `definition` says.
    pub fn check(&self, definition: &str, instance: &Value) {
        let place = if self.document.get("$defs").is_some() { "$defs" } else { "definitions" };
        assert!(self.document[place].get(definition).is_some(), "no {definition} in {}", self.revision);
        let mut document = self.document.clone();
        document["$ref"] = json!(format!("#/{place}/{definition}"));
        fits(&document, instance, &format!("{definition} of {}", self.revision));
    }

    /// The result of an answer, where it fits.
    pub fn result(&self, definition: &str, response: &Response) -> Value {
        let message = response.json();
        assert_eq!(response.status, 200, "{message}");
        assert!(message["result"].is_object(), "{message}");
        self.check("JSONRPCResponse", &message);
        self.check(definition, &message["result"]);
        message["result"].clone()
    }

    /// The error of an answer, where it fits.
    pub fn error(&self, response: &Response) -> Value {
        let message = response.json();
        let definition = if self.revision < "2025-11-25" { "JSONRPCError" } else { "JSONRPCErrorResponse" };
        self.check(definition, &message);
        if self.revision == STATELESS {
            let kind = named(&message["error"]["code"]);
            kind.into_iter().for_each(|kind| self.check(kind, described(&message)));
        }
        message["error"].clone()
    }
}

/// The definition of an error in the revision that has one for each but those
/// that a server may make up.
fn named(code: &Value) -> Option<&'static str> {
    match code.as_i64() {
        Some(-32700) => Some("ParseError"),
        Some(-32600) => Some("InvalidRequestError"),
        Some(-32601) => Some("MethodNotFoundError"),
        Some(-32602) => Some("InvalidParamsError"),
        Some(-32603) => Some("InternalError"),
        Some(-32020) => Some("HeaderMismatchError"),
        Some(-32021) => Some("MissingRequiredClientCapabilityError"),
        Some(-32022) => Some("UnsupportedProtocolVersionError"),
        Some(-32000) => None,
        _ => panic!("an error of no kind: {code}"),
    }
}

/// The messages that the definition describes: JSON-RPC's own errors by themselves, those
/// of MCP with the message around them.
fn described(message: &Value) -> &Value {
    match message["error"]["code"].as_i64() {
        Some(-32700..=-32600) => &message["error"],
        _ => message,
    }
}

/// Fails where `instance` is not what `schema` says.
pub fn fits(schema: &Value, instance: &Value, what: &str) {
    let validator = jsonschema::validator_for(schema).unwrap_or_else(|error| panic!("{what}: {error}"));
    let problems: Vec<String> =
        validator.iter_errors(instance).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(problems.is_empty(), "{what}: {problems:#?} in {instance}");
}

/// A request with an id.
pub fn request(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
}

/// The members of `_meta` that a stateless request has.
pub fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": STATELESS,
        "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

/// Sends a request as `revision` has it.
pub fn ask(client: &Client, revision: &str, method: &str, params: &Value) -> Response {
    let mut params = params.clone();
    let mut headers = vec![("MCP-Protocol-Version", revision)];
    let name = params["name"].as_str().or(params["uri"].as_str()).map(str::to_owned);
    if revision == STATELESS {
        params["_meta"] = meta();
        headers.push(("Mcp-Method", method));
        headers.extend(name.iter().map(|name| ("Mcp-Name", name.as_str())));
    }
    let repeated = if revision == STATELESS { repeated(&params["arguments"]) } else { Vec::new() };
    headers.extend(repeated.iter().map(|(name, value)| (*name, value.as_str())));
    client.mcp_with(&headers, &request(method, &params))
}

/// The headers that repeat arguments of a tool; those that it does not mark say nothing.
pub fn repeated(arguments: &Value) -> Vec<(&'static str, String)> {
    let headers = [("Mcp-Param-Key", "key"), ("Mcp-Param-Path", "path"), ("Mcp-Param-Role", "role")];
    let value = |(header, name)| Some((header, in_header(arguments[name].as_str()?)));
    headers.into_iter().filter_map(value).collect()
}

/// The value as a header has it: what could not stand there is base64.
fn in_header(value: &str) -> String {
    let plain = value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && value.trim() == value;
    if plain && !value.starts_with("=?") { value.to_owned() } else { format!("=?base64?{}?=", STANDARD.encode(value)) }
}

/// Waits until the gate can seal and open cursors.
pub fn settled(client: &Client) {
    wait_for("cursors can be sealed", 20, || {
        let refused = ask(client, "2025-06-18", "resources/list", &json!({"cursor": "none"})).json();
        refused["error"]["code"] == -32602
    });
}

/// The handshake.
pub fn hello(revision: &str) -> Value {
    let client = json!({"name": "tests", "version": "1"});
    request("initialize", &json!({"protocolVersion": revision, "capabilities": {}, "clientInfo": client}))
}
