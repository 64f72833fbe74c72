//! Everything that any HTTP service is asked for: routes, methods, media types, origins,
//! ids, bodies, and connections that stay usable.

use std::io::{Read, Write};

use serde_json::json;
use tests::{API_KEY, Client, Gate, Plan};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("unknown_routes_and_methods_are_refused", routes),
    ("a_change_needs_a_json_content_type", content_type),
    ("a_page_may_call_from_configured_origins_only", origins),
    ("the_gates_own_pages_may_call_it", own_pages),
    ("a_page_may_send_what_callers_send", preflights),
    ("every_answer_carries_its_ids", ids),
    ("a_connection_serves_many_requests", keep_alive),
    ("a_body_left_unread_is_never_read_as_a_request", smuggling),
    ("malformed_heads_are_refused_and_harm_nobody", malformed),
    ("a_request_names_its_host", host),
    ("the_query_and_the_path_are_decoded_once", decoding),
];

fn routes(shared: &Shared) {
    let client = shared.gate().keyed();
    let response = client.get("/nothing");
    assert_eq!((response.status, response.code().as_str()), (404, "not_found"));
    let response = client.send("POST", "/secrets/x", &[], b"");
    assert_eq!((response.status, response.header("allow")), (405, Some("DELETE, GET, HEAD, PATCH, PUT")));
    assert_eq!(client.send("PUT", "/mcp", &[], b"").header("allow"), Some("GET, HEAD, POST, DELETE"));
    assert_eq!(client.send("GET", "/secrets/x", &[("Accept", "text/html")], b"").status, 406);
    assert_eq!(client.send("TRACE", "/secrets/x", &[], b"").status, 405);
    let response = client.get("/secrets/x?unknown=1");
    assert_eq!(response.status, 422);
    let response = client.get("/nothing");
    assert_eq!(response.json()["request_id"].as_str(), response.header("x-request-id"));
}

fn content_type(shared: &Shared) {
    let client = shared.gate().keyed();
    let body = br#"{"data":{"a":1}}"#;
    for declared in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
        for (method, path) in [("PUT", "/secrets/x"), ("POST", "/secrets/x:undelete"), ("POST", "/mcp")] {
            let headers: &[(&str, &str)] = if declared.is_empty() { &[] } else { &[("Content-Type", declared)] };
            let response = client.send(method, path, headers, body);
            assert_eq!(
                (response.status, response.code().as_str()),
                (415, "unsupported_media_type"),
                "{method} {path} {declared}"
            );
        }
    }
    let charset = client.send("PUT", "/secrets/x", &[("Content-Type", "application/json; charset=utf-8")], body);
    assert_eq!(charset.status, 200);
}

fn origins(shared: &Shared) {
    let plan =
        Plan { environment: vec![("CORS_ALLOW_ORIGINS", "https://inspector.example".to_owned())], ..Plan::default() };
    let gate = Gate::start(shared.world(), &plan);
    let client = gate.keyed();
    for path in ["/whoami", "/healthz", "/secrets/x"] {
        let foreign = client.send("GET", path, &[("Origin", "https://evil.example")], b"");
        assert_eq!((foreign.status, foreign.code().as_str()), (403, "origin_not_allowed"), "{path}");
        assert!(foreign.header("access-control-allow-origin").is_none());
    }
    assert_eq!(client.send("GET", "/whoami", &[("Origin", "null")], b"").status, 403);
    let allowed = client.send("GET", "/whoami", &[("Origin", "https://inspector.example")], b"");
    assert_eq!(
        (allowed.status, allowed.header("access-control-allow-origin")),
        (200, Some("https://inspector.example"))
    );
    let asked = [("Origin", "https://inspector.example"), ("Access-Control-Request-Method", "POST")];
    let preflight = gate.local().send("OPTIONS", "/mcp", &asked, b"");
    assert_eq!(preflight.status, 204);
    let headers = preflight.header("access-control-allow-headers").unwrap_or_default();
    assert!(["mcp-protocol-version", "x-vault-wrap-ttl"].iter().all(|header| headers.contains(header)), "{headers}");
}

fn own_pages(shared: &Shared) {
    let gate = Gate::start(shared.world(), &Plan::default());
    let from = |client: &Client, host: &str, origin: &str| {
        let mut stream = client.connect().expect("a connection");
        let head = format!("GET /whoami HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nX-API-Key: {API_KEY}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        Client::read(&mut stream).expect("an answer").status
    };
    let (tls, plain) = (gate.stranger(), gate.local());
    for (client, host, origin, status) in [
        (&tls, "localhost", "https://localhost", 200),
        (&tls, "gate.example:8443", "https://gate.example:8443", 200),
        (&tls, "localhost", "http://localhost", 403),
        (&tls, "localhost", "https://localhost:8443", 403),
        (&tls, "localhost", "https://gate.example", 403),
        (&plain, "localhost", "http://localhost", 200),
        (&plain, "127.0.0.1:8080", "http://127.0.0.1:8080", 200),
        (&plain, "localhost", "https://localhost", 403),
        // A name that anybody may point at the gate.
        (&plain, "evil.example", "http://evil.example", 403),
    ] {
        assert_eq!(from(client, host, origin), status, "{host} {origin}");
    }
    let top = "rate_limit_enabled = false\npublic_url = \"https://gate.example\"\n".to_owned();
    let gate = Gate::start(shared.world(), &Plan { top, ..Plan::default() });
    assert_eq!(from(&gate.local(), "localhost", "https://gate.example"), 200);
    assert_eq!(from(&gate.local(), "localhost", "https://localhost"), 403);
}

fn preflights(shared: &Shared) {
    let top = "rate_limit_enabled = false\ncors_allow_origins = [\"https://page.example\"]\n".to_owned();
    let gate = Gate::start(shared.world(), &Plan { top, ..Plan::default() });
    let allowed = |asked: &str| {
        let headers = [
            ("Origin", "https://page.example"),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", asked),
        ];
        let preflight = gate.local().send("OPTIONS", "/mcp", &headers, b"");
        assert_eq!(preflight.status, 204);
        preflight.header("access-control-allow-headers").unwrap_or_default().to_owned()
    };
    let headers = allowed("Mcp-Param-Region,mcp-param-key, x-vault-token, mcp-param-a b, mcp-paramount");
    let named: Vec<_> = headers.split(", ").collect();
    for expected in [
        "authorization",
        "x-api-key",
        "dpop",
        "content-type",
        "traceparent",
        "mcp-method",
        "mcp-name",
        "mcp-protocol-version",
        "mcp-session-id",
        "last-event-id",
        "mcp-param-region",
        "mcp-param-key",
    ] {
        assert!(named.contains(&expected), "{expected}: {headers}");
    }
    assert!(!headers.contains("vault-token") && !headers.contains("a b") && !headers.contains("mount"), "{headers}");
    assert!(!allowed("").contains("mcp-param"));
}

fn ids(shared: &Shared) {
    let client = shared.gate().keyed();
    for path in ["/whoami", "/secrets/x", "/nothing", "/healthz"] {
        let response = client.send("GET", path, &[("X-Correlation-Id", "order-17_a.b")], b"");
        assert!(response.header("x-request-id").is_some_and(|id| !id.is_empty()), "{path}");
        assert_eq!(response.header("x-correlation-id"), Some("order-17_a.b"), "{path}");
    }
    for bad in ["a b", "a\u{e9}", &"x".repeat(129), "a;b"] {
        let response = client.send("GET", "/whoami", &[("X-Correlation-Id", bad)], b"");
        assert_eq!(response.header("x-correlation-id"), response.header("x-request-id"), "{bad}");
    }
}

fn keep_alive(shared: &Shared) {
    let client = shared.gate().agent("agent_mtls");
    let mut stream = client.connect().expect("a connection");
    let json = [("Content-Type", "application/json")];
    for turn in 0..20 {
        let body = json!({"data": {"turn": turn}}).to_string();
        let put = client.exchange(&mut stream, "PUT", "/secrets/kept/x", &json, body.as_bytes()).expect("an answer");
        assert_eq!(put.status, 200);
        let read = client.exchange(&mut stream, "GET", "/secrets/kept/x", &[], b"").expect("an answer");
        assert_eq!(read.json()["data"]["turn"], turn);
        let delete = client.exchange(&mut stream, "DELETE", "/secrets/kept/x", &[], b"").expect("an answer");
        assert_eq!(delete.status, 204);
    }
}

fn smuggling(shared: &Shared) {
    let gate = shared.gate();
    let client = gate.keyed();
    // The body of a refused request looks like a request of its own.
    let inner = b"GET /secrets/kept/x HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (method, target) in [("GET", "/whoami"), ("PUT", "/secrets/x"), ("GET", "/nothing"), ("GET", "/healthz")] {
        let mut stream = client.connect().expect("a connection");
        let first = client.exchange(&mut stream, method, target, &[], inner).expect("an answer");
        assert_eq!(first.header("connection"), Some("close"), "{method} {target}");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }
}

fn malformed(shared: &Shared) {
    let gate = shared.gate();
    let long = format!("GET /whoami HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "x".repeat(20_000));
    for (raw, status) in [
        ("GET\r\n\r\n", "400"),
        ("GET /whoami HTTP/1.1\r\nHost: localhost\r\nbad header\r\n\r\n", "400"),
        ("GET http://evil.example/whoami HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"),
        ("GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"),
        (
            "PUT /secrets/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: x\r\n\r\n",
            "400",
        ),
        ("PUT /secrets/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "400"),
        (&long, "431"),
    ] {
        let mut stream = gate.local().connect().expect("a connection");
        stream.write_all(raw.as_bytes()).expect("written");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{:.60} -> {answer:.200}", raw);
    }
    assert_eq!(gate.keyed().get("/whoami").status, 200);
}

fn decoding(shared: &Shared) {
    let client = shared.gate().keyed();
    for (path, same) in [
        ("a%20b/c", "a b/c"),
        ("caf%C3%A9", "café"),
        ("100%25", "100%"),
        ("q%3Fx%23y", "q?x#y"),
        ("plus+plus", "plus+plus"),
    ] {
        assert_eq!(
            client.put(&format!("/secrets/decoding/{path}"), &json!({"data": {"at": same}})).status,
            200,
            "{path}"
        );
        let tool = client.call("kv.read", &json!({"path": format!("decoding/{same}")})).json();
        assert_eq!(tool["result"]["structuredContent"]["data"]["at"], same);
    }
    let listed = client.get("/secrets?prefix=decoding%2F").json();
    assert!(listed["keys"].as_array().is_some_and(|keys| keys.contains(&json!("q?x#y"))), "{listed}");
}

fn host(shared: &Shared) {
    let gate = shared.gate();
    for (head, expected) in [
        ("GET /healthz HTTP/1.1\r\nHost: localhost:1\r\n", "HTTP/1.1 200"),
        ("GET /healthz HTTP/1.0\r\n", "HTTP/1."),
        ("GET /healthz HTTP/1.1\r\n", "HTTP/1.1 400"),
        ("GET /healthz HTTP/1.1\r\nHost:\r\n", "HTTP/1.1 400"),
        ("GET /healthz HTTP/1.1\r\nHost: a b\r\n", "HTTP/1.1 400"),
        ("GET /healthz HTTP/1.1\r\nHost: gate/healthz\r\n", "HTTP/1.1 400"),
        ("GET /healthz HTTP/1.1\r\nHost: user@gate\r\n", "HTTP/1.1 400"),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n", "HTTP/1.1 400"),
    ] {
        let mut stream = gate.local().connect().expect("a connection");
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).expect("written");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.starts_with(expected), "{head}: {answer}");
    }
}
