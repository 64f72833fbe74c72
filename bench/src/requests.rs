//! The requests that are repeated, rendered once, and what counts as a failed answer to them.

use crate::pki::AGENT;
use serde_json::{Value, json};
use std::cell::Cell;

/// A secret's.
pub(crate) const PATH: &str = "configs/demo";

/// One request as it goes over the wire.
pub(crate) struct Request {
    /// Taken in turns.
    variants: Vec<Vec<u8>>,
    next: Cell<usize>,
    kind: Kind,
}

impl Request {
    fn new(bytes: Vec<u8>, kind: Kind) -> Self {
        Self { variants: vec![bytes], next: Cell::new(0), kind }
    }

    /// The first of its variants alone.
    pub(crate) fn first(&self) -> Self {
        Self::new(self.variants.first().cloned().unwrap_or_default(), self.kind)
    }

    /// The bytes to send next.
    pub(crate) fn bytes(&self) -> &[u8] {
        let next = self.next.get();
        self.next.set(if next + 1 < self.variants.len() { next + 1 } else { 0 });
        self.variants.get(next).map_or(&[], Vec::as_slice)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rest,
    Mcp,
}

pub(crate) fn rest_read() -> Request {
    rest("GET", None)
}

pub(crate) fn whoami() -> Request {
    Request::new(rendered("GET /whoami", "", None), Kind::Rest)
}

pub(crate) fn rest_write() -> Request {
    rest("PUT", Some(&json!({ "data": secret() })))
}

pub(crate) fn mcp_read() -> Request {
    tool("kv.read", &json!({ "path": PATH }))
}

pub(crate) fn mcp_write() -> Request {
    tool("kv.write", &json!({ "path": PATH, "data": secret() }))
}

/// The call of a tool.
pub(crate) fn tool(name: &str, arguments: &Value) -> Request {
    let params = json!({ "name": name, "arguments": arguments });
    mcp("MCP-Protocol-Version: 2025-06-18\r\n", &params)
}

/// The same call in the revision that has no session: what the server needs is in every request.
pub(crate) fn mcp_read_stateless() -> Request {
    let params = json!({
        "name": "kv.read",
        "arguments": { "path": PATH },
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "bench", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    });
    let own = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: kv.read\r\n";
    mcp(&format!("{own}Mcp-Param-Path: {PATH}\r\n"), &params)
}

/// A read with one of these credentials, in turns.
pub(crate) fn rest_read_with(header: &str, credentials: &[String]) -> Request {
    let line = format!("GET /secrets/{PATH}");
    let variants = credentials.iter().map(|credential| rendered(&line, &format!("{header}{credential}\r\n"), None));
    Request { variants: variants.collect(), next: Cell::new(0), kind: Kind::Rest }
}

/// Vault's own API, for the very secret that the agent's `rest_read` is about.
pub(crate) fn vault_read(token: &str) -> Request {
    vault("GET", token, None)
}

/// The same through the gate, as an unchanged client of Vault's asks.
pub(crate) fn vault_api_read() -> Request {
    Request::new(rendered(&format!("GET /v1/secret/data/{PATH}"), "", None), Kind::Rest)
}

/// Such a client's login with its certificate.
pub(crate) fn vault_api_login() -> Request {
    Request::new(rendered("PUT /v1/auth/cert/login", "", Some(&json!({}))), Kind::Rest)
}

pub(crate) fn vault_write(token: &str) -> Request {
    vault("POST", token, Some(&json!({ "data": secret() })))
}

/// Why an answer is a failed one. Bodies are looked into only when `sampled`.
pub(crate) fn failure(request: &Request, status: u16, body: &[u8], sampled: bool) -> Option<String> {
    let quoted = || format!("{status}: {}", String::from_utf8_lossy(body));
    if !(200..300).contains(&status) {
        return Some(quoted());
    }
    if !sampled || request.kind == Kind::Rest {
        return None;
    }
    let Some(answer) = json(body) else {
        return Some(quoted());
    };
    let failed_tool = answer.pointer("/result/isError") == Some(&Value::Bool(true));
    (failed_tool || answer.get("error").is_some()).then(quoted)
}

/// The JSON object in a body: a chunked one still has its sizes around it.
pub(crate) fn json(body: &[u8]) -> Option<Value> {
    let from = body.iter().position(|byte| *byte == b'{')?;
    let to = body.iter().rposition(|byte| *byte == b'}')?;
    serde_json::from_slice(body.get(from..=to)?).ok()
}

/// The contents of the secret.
pub(crate) fn secret() -> Value {
    json!({ "username": "demo", "password": "correct-horse-battery" })
}

/// A route that takes JSON.
pub(crate) fn post(route: &str, body: &Value) -> Request {
    Request::new(rendered(&format!("POST {route}"), "", Some(body)), Kind::Rest)
}

fn rest(method: &str, body: Option<&Value>) -> Request {
    let line = format!("{method} /secrets/{PATH}");
    Request::new(rendered(&line, "", body), Kind::Rest)
}

fn vault(method: &str, token: &str, body: Option<&Value>) -> Request {
    let line = format!("{method} /v1/secret/data/mcp/{AGENT}/{PATH}");
    let headers = format!("X-Vault-Request: true\r\nX-Vault-Token: {token}\r\n");
    Request::new(rendered(&line, &headers, body), Kind::Rest)
}

fn mcp(headers: &str, params: &Value) -> Request {
    let headers = format!("Accept: application/json, text/event-stream\r\n{headers}");
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    Request::new(rendered("POST /mcp", &headers, Some(&body)), Kind::Mcp)
}

fn rendered(line: &str, headers: &str, body: Option<&Value>) -> Vec<u8> {
    let head = format!("{line} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\n{headers}");
    let Some(body) = body.map(Value::to_string) else {
        return format!("{head}\r\n").into_bytes();
    };
    let length = body.len();
    format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    #[test]
    fn every_request_is_one_whole_message() {
        for request in [rest_read(), rest_write(), mcp_read(), mcp_write(), mcp_read_stateless()] {
            let end = wire::request(request.bytes()).unwrap().unwrap().end;
            assert_eq!(end, request.bytes().len());
        }
    }

    #[test]
    fn refusals_are_counted() {
        let ok = br#"{"jsonrpc":"2.0","id":1,"result":{"isError":false}}"#;
        let tool = br#"{"jsonrpc":"2.0","id":1,"result":{"isError":true}}"#;
        let protocol = br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602}}"#;
        let chunked = b"2\r\n{}\r\n0\r\n\r\n";
        assert_eq!(failure(&mcp_read(), 200, ok, true), None);
        assert_eq!(failure(&mcp_read(), 200, chunked, true), None);
        assert_eq!(failure(&rest_read(), 204, b"", true), None);
        assert!(failure(&mcp_read(), 200, tool, true).is_some());
        assert!(failure(&mcp_read(), 200, protocol, true).is_some());
        assert!(failure(&rest_read(), 429, b"", false).is_some());
    }
}
