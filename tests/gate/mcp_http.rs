//! MCP as HTTP: methods, media types, origins, paths.

use serde_json::json;
use tests::mcp::{hello, request};
use tests::{Gate, Plan};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("only_post_and_streams_are_served", methods),
    ("what_is_no_json_and_no_json_wanted_is_refused", media),
    ("a_foreign_page_is_refused", origins),
    ("both_paths_are_the_same", paths),
];

fn methods(shared: &Shared) {
    let client = shared.gate().keyed();
    let whole = "GET, HEAD, POST, DELETE";
    for (path, allowed) in [("/mcp", whole), ("/mcp/rpc", whole), ("/mcp/sse", "GET, HEAD, POST")] {
        for method in ["PUT", "PATCH"] {
            let response = client.send(method, path, &[("Accept", "text/event-stream")], b"");
            assert_eq!((response.status, response.header("allow")), (405, Some(allowed)), "{method} {path}");
        }
    }
}

fn media(shared: &Shared) {
    let client = shared.gate().keyed();
    let body = request("ping", &json!({})).to_string();
    let send = |headers: &[(&str, &str)]| client.send("POST", "/mcp", headers, body.as_bytes());
    for media in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx", ""] {
        let response = send(&[("Content-Type", media)]);
        assert_eq!((response.status, response.code().as_str()), (415, "unsupported_media_type"), "{media}");
    }
    assert_eq!(send(&[]).status, 415);
    for accept in ["text/event-stream", "text/html", "application/json;q=0"] {
        let response = send(&[("Content-Type", "application/json"), ("Accept", accept)]);
        assert_eq!((response.status, response.code().as_str()), (406, "not_acceptable"), "{accept}");
    }
    for accept in ["application/json", "*/*", "text/event-stream, application/json"] {
        let response = send(&[("Content-Type", "application/json; charset=utf-8"), ("Accept", accept)]);
        assert_eq!(response.status, 200, "{accept}");
        assert_eq!(response.header("content-type"), Some("application/json"));
    }
    assert_eq!(send(&[("Content-Type", "application/json")]).status, 200);
}

fn origins(shared: &Shared) {
    let client = shared.gate().keyed();
    for origin in ["https://evil.example", "null", "https://localhost", "http://127.0.0.1:8089", ""] {
        let response = client.mcp_with(&[("Origin", origin)], &request("ping", &json!({})));
        assert_eq!((response.status, response.code().as_str()), (403, "origin_not_allowed"), "{origin}");
        assert!(response.header("access-control-allow-origin").is_none(), "{origin}");
    }
    let top = "rate_limit_enabled = false\ncors_allow_origins = [\"https://page.example\"]\n".to_owned();
    let gate = Gate::start(shared.world(), &Plan { top, ..Plan::default() });
    let from = |origin: &str| gate.keyed().mcp_with(&[("Origin", origin)], &request("ping", &json!({})));
    let allowed = from("https://page.example");
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://page.example"));
    for origin in ["https://page.example.evil", "https://page.example:444", "http://page.example", "https://PAGE"] {
        assert_eq!(from(origin).status, 403, "{origin}");
    }
}

fn paths(shared: &Shared) {
    let client = shared.gate().keyed();
    for message in [
        hello("2025-06-18"),
        request("ping", &json!({})),
        request("tools/list", &json!({})),
        request("tools/call", &json!({"name": "whoami", "arguments": {}})),
        request("no/such", &json!({})),
    ] {
        let there = client.post("/mcp/rpc", &message);
        let here = client.post("/mcp", &message);
        assert_eq!((there.status, there.json()), (here.status, here.json()), "{message}");
    }
    for path in ["/mcp/", "/mcp/rpc/", "/MCP", "/mcp//rpc", "/mcp/other"] {
        assert_eq!(client.post(path, &request("ping", &json!({}))).status, 404, "{path}");
    }
}
