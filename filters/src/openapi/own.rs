//! The gate's own routes.

use serde_json::{Map, Value, json};

use super::{add, answers, credentials};

/// The gate's own routes, in the order in which they are shown.
pub(super) fn paths() -> Map<String, Value> {
    let mut paths = Map::new();
    for (path, id, text) in [
        ("/healthz", "healthz", "Liveness: the gate answers requests."),
        ("/livez", "livez", "Liveness, under the name that orchestrators ask for."),
    ] {
        add(&mut paths, path, "GET", health(id, text));
    }
    add(&mut paths, "/readyz", "GET", readiness());
    for (path, id) in [("/mcp", "mcp"), ("/mcp/rpc", "mcp.rpc")] {
        add(&mut paths, path, "POST", mcp(id));
    }
    for (path, id) in [("/mcp", "mcp.events"), ("/mcp/rpc", "mcp.rpc.events"), ("/mcp/sse", "mcp.sse")] {
        add(&mut paths, path, "GET", events(id));
    }
    for (path, id, title, media) in [
        ("/openapi.json", "openapi", "This document", "application/json"),
        ("/docs", "docs", "This document in Swagger UI", "text/html; charset=utf-8"),
        ("/redoc", "redoc", "This document in ReDoc", "text/html; charset=utf-8"),
    ] {
        add(&mut paths, path, "GET", page(id, title, media));
    }
    paths
}

fn health(id: &str, text: &str) -> Value {
    let success = answers::json_body("The gate is alive.", ok_schema());
    json!({
        "operationId": id,
        "summary": text,
        "tags": ["gate"],
        "security": [],
        "responses": answers::responses((200, success), answers::ANY.into_iter().chain([405])),
    })
}

fn readiness() -> Value {
    let statuses = answers::ANY.into_iter().chain([405]);
    let mut responses = answers::responses((200, answers::json_body("The gate is ready.", ok_schema())), statuses);
    if let Some(all) = responses.as_object_mut() {
        all.insert(
            "503".into(),
            answers::json_body("The gate is not ready, or is at its limit of concurrent work.", ready_schema()),
        );
    }
    json!({
        "operationId": "readyz",
        "summary": "Readiness: the gate can serve requests.",
        "tags": ["gate"],
        "security": [],
        "responses": responses,
    })
}

fn ok_schema() -> Value {
    json!({"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]})
}

/// `{"ok": false}`, or a refusal.
fn ready_schema() -> Value {
    json!({"anyOf": [ok_schema(), {"$ref": "#/components/schemas/Error"}]})
}

/// The MCP endpoint. MCP itself describes its messages: the body is any message.
fn mcp(id: &str) -> Value {
    let one = json!({"type": "object", "additionalProperties": true});
    let message = json!({"anyOf": [one, {"type": "array", "items": one}]});
    let answer = answers::json_body("A JSON-RPC response, or a batch of them.", message.clone());
    let statuses = [401, 404, 405, 406, 413, 415, 429];
    let mut responses = answers::responses((200, answer.clone()), answers::ANY.into_iter().chain(statuses));
    if let Some(all) = responses.as_object_mut() {
        all.insert("202".into(), json!({"description": "The notification was accepted."}));
        // A message that is none is told in JSON-RPC's own form, everything else as on REST.
        for status in ["400", "404"] {
            all.insert(status.into(), answer.clone());
        }
    }
    json!({
        "operationId": id,
        "summary": "Model Context Protocol",
        "description": "JSON-RPC 2.0 messages, as the Model Context Protocol has them over Streamable HTTP.",
        "tags": ["gate"],
        "security": credentials(&[]),
        "requestBody": {"required": true, "content": {"application/json": {"schema": message}}},
        "responses": responses,
    })
}

/// The stream of events that the gate sends unasked.
fn events(id: &str) -> Value {
    let stream = json!({"description": "A stream of events.", "content": {"text/event-stream": {
        "schema": {"type": "string"},
    }}});
    json!({
        "operationId": id,
        "summary": "Events of the Model Context Protocol",
        "description": "Server-sent events, as the Model Context Protocol has them before its revision 2026-07-28, \
                        for callers whose Accept header lists text/event-stream.",
        "tags": ["gate"],
        "security": credentials(&[]),
        "responses": answers::responses((200, stream), answers::ANY.into_iter().chain([401, 405, 406, 429])),
    })
}

/// A route of the document itself.
fn page(id: &str, title: &str, media: &str) -> Value {
    let schema = if media.starts_with("text/") { json!({"type": "string"}) } else { json!({"type": "object"}) };
    let success = json!({"description": "The document.", "content": {media: {"schema": schema}}});
    json!({
        "operationId": id,
        "summary": title,
        "tags": ["gate"],
        "security": credentials(&[]),
        "responses": answers::responses((200, success), answers::ANY.into_iter().chain([401, 404, 405, 429])),
    })
}
