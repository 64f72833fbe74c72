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
    add(&mut paths, "/mcp/sse", "POST", on_stream());
    for (path, id) in [("/mcp", "mcp.end"), ("/mcp/rpc", "mcp.rpc.end")] {
        add(&mut paths, path, "DELETE", end_of_session(id));
    }
    for (path, id, text) in [
        ("/mcp", "mcp.events", "As the Model Context Protocol has them from revision 2025-03-26 to 2025-11-25."),
        (
            "/mcp/rpc",
            "mcp.rpc.events",
            "As the Model Context Protocol has them from revision 2025-03-26 to 2025-11-25.",
        ),
        ("/mcp/sse", "mcp.sse", "As revision 2024-11-05 of the Model Context Protocol has them, and older bridges."),
        ("/events", "events", "One JSON object for each event: what was done to which resource, never a value."),
    ] {
        add(&mut paths, path, "GET", events(id, text));
    }
    add(&mut paths, "/mcp/events", "GET", recent_events());
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

/// Messages of MCP that are answered on a stream of events.
fn on_stream() -> Value {
    let message = json!({"anyOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]});
    let accepted = json!({"description": "The message was taken; its answer comes on the stream."});
    let statuses = [401, 404, 405, 406, 413, 415, 429];
    json!({
        "operationId": "mcp.sse.send",
        "summary": "Model Context Protocol, answered on a stream",
        "description": "JSON-RPC 2.0 messages of revision 2024-11-05, for the stream that `GET /mcp/sse` has opened.",
        "tags": ["gate"],
        "security": credentials(&[]),
        "parameters": [{"name": "session", "in": "query", "required": true, "schema": {"type": "string"},
                        "description": "The stream, as its event `endpoint` names it."}],
        "requestBody": {"required": true, "content": {"application/json": {"schema": message}}},
        "responses": answers::responses((202, accepted), answers::ANY.into_iter().chain(statuses)),
    })
}

/// The end of a session of MCP.
fn end_of_session(id: &str) -> Value {
    let ended = json!({"description": "The session has ended."});
    json!({
        "operationId": id,
        "summary": "End a session of the Model Context Protocol",
        "tags": ["gate"],
        "security": credentials(&[]),
        "parameters": [{"name": "Mcp-Session-Id", "in": "header", "required": true, "schema": {"type": "string"}}],
        "responses": answers::responses((204, ended), answers::ANY.into_iter().chain([401, 404, 405, 429])),
    })
}

/// The events of late.
fn recent_events() -> Value {
    let event = json!({"type": "object", "required": ["id", "type", "time", "agent"]});
    let events = json!({"type": "object", "properties": {"events": {"type": "array", "items": event}},
                        "required": ["events"]});
    let success = answers::json_body("The last events that the agent may see, the oldest first.", events);
    json!({
        "operationId": "mcp.events.recent",
        "summary": "Recent events",
        "tags": ["gate"],
        "security": credentials(&[]),
        "responses": answers::responses((200, success), answers::ANY.into_iter().chain([401, 405, 429])),
    })
}

/// A stream of events.
fn events(id: &str, text: &str) -> Value {
    // A body without an end is described by no type: some readers take it whole, and some event by event.
    let stream = json!({"description": "A stream of events.", "content": {"text/event-stream": {
        "schema": {"anyOf": [{"type": "string"}, {"type": "object"}]},
    }}});
    json!({
        "operationId": id,
        "summary": "Server-sent events",
        "description": text,
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
