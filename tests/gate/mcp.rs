//! MCP, message by message: each is judged by the published schema of the
//! revision it speaks.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::process::{AGENTS, root};
use tests::{Client, Gate, Plan, Response};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("every_answer_fits_the_schema_of_its_revision", answers),
    ("every_error_fits_the_schema_of_its_revision", errors),
    ("the_handshake_settles_on_a_revision_both_speak", handshake),
    ("a_stateless_request_says_the_same_in_header_and_body", stateless_headers),
    ("a_revision_that_is_not_spoken_is_told_which_are", unsupported),
    ("batches_are_answered_in_the_first_revision_only", batches),
    ("a_batch_over_the_limit_is_refused_message_by_message", batches_over_the_limit),
    ("notifications_are_taken_and_not_answered", notifications),
    ("only_post_is_served", methods),
    ("what_is_no_json_and_no_json_wanted_is_refused", media),
    ("a_foreign_page_is_refused", origins),
    ("ids_come_back_as_they_went_out", ids),
    ("both_paths_are_the_same", paths),
    ("an_agent_sees_only_the_tools_it_may_use", visible_tools),
    ("tools_keep_to_their_schemas", tool_schemas),
];

/// The revisions with a handshake.
const HANDSHAKEN: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];
const STATELESS: &str = "2026-07-28";

/// Every tool, with arguments that it takes.
const EVERY: [(&str, &str); 26] = [
    ("kv.read", r#"{"path": "public/none"}"#),
    ("kv.write", r#"{"path": "public/visible", "data": {}}"#),
    ("kv.patch", r#"{"path": "public/visible", "data": {}}"#),
    ("kv.list", r#"{"prefix": "public"}"#),
    ("kv.metadata", r#"{"path": "public/none"}"#),
    ("kv.delete", r#"{"path": "public/visible"}"#),
    ("kv.undelete", r#"{"path": "public/visible", "versions": [1]}"#),
    ("kv.destroy", r#"{"path": "public/visible", "versions": [1]}"#),
    ("transit.encrypt", r#"{"key": "agents-key", "plaintext": "eA=="}"#),
    ("transit.decrypt", r#"{"key": "agents-key", "ciphertext": "vault:v1:eA=="}"#),
    ("transit.rewrap", r#"{"key": "agents-key", "ciphertext": "vault:v1:eA=="}"#),
    ("transit.generate_data_key", r#"{"key": "agents-key"}"#),
    ("transit.sign", r#"{"key": "agents-signing-key", "input": "eA=="}"#),
    ("transit.verify", r#"{"key": "agents-key", "input": "eA==", "hmac": "vault:v1:eA=="}"#),
    ("transit.hmac", r#"{"key": "agents-key", "input": "eA=="}"#),
    ("transit.random", r#"{}"#),
    ("db.issue_creds", r#"{"role": "none"}"#),
    ("db.renew", r#"{"lease_id": "pch1_none"}"#),
    ("db.revoke", r#"{"lease_id": "pch1_none"}"#),
    ("ssh.sign", r#"{"role": "none", "public_key": "x"}"#),
    ("ssh.otp", r#"{"role": "none", "ip": "127.0.0.1", "username": "ops"}"#),
    ("pki.issue", r#"{"role": "none", "common_name": "x"}"#),
    ("pki.sign", r#"{"role": "none", "csr": "x"}"#),
    ("pki.revoke", r#"{"handle": "pch1_none"}"#),
    ("wrap.lookup", r#"{"handle": "pch1_none"}"#),
    ("whoami", r#"{}"#),
];

/// A revision's published schema.
struct Schema {
    revision: &'static str,
    document: Value,
}

impl Schema {
    fn of(revision: &'static str) -> Self {
        let path = root().join(format!("tests/schema/{revision}.json"));
        let text = std::fs::read_to_string(path).expect("the schema");
        Self { revision, document: serde_json::from_str(&text).expect("JSON") }
    }

    fn all() -> impl Iterator<Item = Self> {
        HANDSHAKEN.into_iter().chain([STATELESS]).map(Self::of)
    }

    /// Fails where `instance` is not what `definition` says.
    fn check(&self, definition: &str, instance: &Value) {
        let place = if self.document.get("$defs").is_some() { "$defs" } else { "definitions" };
        assert!(self.document[place].get(definition).is_some(), "no {definition} in {}", self.revision);
        let mut document = self.document.clone();
        document["$ref"] = json!(format!("#/{place}/{definition}"));
        fits(&document, instance, &format!("{definition} of {}", self.revision));
    }

    /// The result of an answer, where it fits.
    fn result(&self, definition: &str, response: &Response) -> Value {
        let message = response.json();
        assert_eq!(response.status, 200, "{message}");
        assert!(message["result"].is_object(), "{message}");
        self.check("JSONRPCResponse", &message);
        self.check(definition, &message["result"]);
        message["result"].clone()
    }

    /// The error of an answer, where it fits.
    fn error(&self, response: &Response) -> Value {
        let message = response.json();
        let definition = if self.revision < "2025-11-25" { "JSONRPCError" } else { "JSONRPCErrorResponse" };
        self.check(definition, &message);
        if self.revision == STATELESS {
            self.check(named(&message["error"]["code"]), described(&message));
        }
        message["error"].clone()
    }
}

/// The definition of an error in the revision that has one for each.
fn named(code: &Value) -> &'static str {
    match code.as_i64() {
        Some(-32700) => "ParseError",
        Some(-32600) => "InvalidRequestError",
        Some(-32601) => "MethodNotFoundError",
        Some(-32602) => "InvalidParamsError",
        Some(-32020) => "HeaderMismatchError",
        Some(-32022) => "UnsupportedProtocolVersionError",
        _ => panic!("an error of no kind: {code}"),
    }
}

/// What that definition describes: JSON-RPC's own errors by themselves, those
/// of MCP with the message around them.
fn described(message: &Value) -> &Value {
    match message["error"]["code"].as_i64() {
        Some(-32700..=-32600) => &message["error"],
        _ => message,
    }
}

fn fits(schema: &Value, instance: &Value, what: &str) {
    let validator = jsonschema::validator_for(schema).unwrap_or_else(|error| panic!("{what}: {error}"));
    let problems: Vec<String> =
        validator.iter_errors(instance).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(problems.is_empty(), "{what}: {problems:#?} in {instance}");
}

fn request(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
}

/// The members of `_meta` that a stateless request has.
fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": STATELESS,
        "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

/// Sends a request as `revision` has it.
fn ask(client: &Client, revision: &str, method: &str, params: &Value) -> Response {
    let mut params = params.clone();
    let mut headers = vec![("MCP-Protocol-Version", revision)];
    let name = params["name"].as_str().map(str::to_owned);
    if revision == STATELESS {
        params["_meta"] = meta();
        headers.push(("Mcp-Method", method));
        headers.extend(name.iter().map(|name| ("Mcp-Name", name.as_str())));
    }
    client.mcp_with(&headers, &request(method, &params))
}

fn hello(revision: &str) -> Value {
    let client = json!({"name": "tests", "version": "1"});
    request("initialize", &json!({"protocolVersion": revision, "capabilities": {}, "clientInfo": client}))
}

fn answers(shared: &Shared) {
    let client = shared.gate().keyed();
    assert_eq!(client.put("/secrets/mcp/answers", &json!({"data": {"a": [1, "\u{1f511}"]}})).status, 200);
    for schema in Schema::all() {
        if schema.revision == STATELESS {
            let found = schema.result("DiscoverResult", &ask(&client, STATELESS, "server/discover", &json!({})));
            assert_eq!(found["supportedVersions"], json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]));
        } else {
            let met = schema.result("InitializeResult", &client.mcp_with(&[], &hello(schema.revision)));
            assert_eq!(met["protocolVersion"], schema.revision);
            assert_eq!(met["serverInfo"]["name"], "portcullis");
            for method in ["ping", "shutdown"] {
                let done = schema.result("EmptyResult", &ask(&client, schema.revision, method, &json!({})));
                assert_eq!(done, json!({}), "{method}");
            }
        }
        let listed = schema.result("ListToolsResult", &ask(&client, schema.revision, "tools/list", &json!({})));
        for tool in listed["tools"].as_array().expect("tools") {
            schema.check("Tool", tool);
        }
        let read = json!({"name": "kv.read", "arguments": {"path": "mcp/answers"}});
        let read = schema.result("CallToolResult", &ask(&client, schema.revision, "tools/call", &read));
        assert_eq!(read["isError"], false);
        assert_eq!(read["structuredContent"]["data"], json!({"a": [1, "\u{1f511}"]}));
        let missing = json!({"name": "kv.read", "arguments": {"path": "mcp/missing"}});
        let missing = schema.result("CallToolResult", &ask(&client, schema.revision, "tools/call", &missing));
        assert_eq!(missing["isError"], true);
        assert_eq!(missing["structuredContent"]["error"], "not_found");
    }
}

fn errors(shared: &Shared) {
    let client = shared.gate().keyed();
    let tool = |name: &str, arguments: &Value| json!({"name": name, "arguments": arguments});
    for schema in Schema::all() {
        let stateless = schema.revision == STATELESS;
        let either = |here: u16, there: u16| if stateless { here } else { there };
        for (method, params, code, status) in [
            ("kv.read", json!({}), -32601, either(404, 200)),
            ("resources/list", json!({}), -32601, either(404, 200)),
            ("tools/call", json!({}), -32602, either(400, 200)),
            ("tools/call", tool("kv.nothing", &json!({})), -32602, either(400, 200)),
            ("tools/call", tool("kv.read", &json!([])), -32602, either(400, 200)),
            ("tools/call", tool("kv.read", &json!("x")), -32602, either(400, 200)),
            (if stateless { "initialize" } else { "server/discover" }, json!({}), -32601, either(404, 200)),
        ] {
            let mut params = params;
            if stateless && method == "tools/call" && params["name"].is_null() {
                // Without a name in the body there is none that a header could match.
                params["name"] = json!("");
            }
            let response = ask(&client, schema.revision, method, &params);
            let error = schema.error(&response);
            assert_eq!((&error["code"], response.status), (&json!(code), status), "{method} {params}: {error}");
        }
        let response = ask(&client, schema.revision, "tools/call", &tool("kv.read", &json!({"path": 7})));
        if schema.revision < "2025-11-25" {
            let error = schema.error(&response);
            assert_eq!((error["code"].as_i64(), response.status), (Some(-32602), 200));
            assert_eq!(error["data"]["pointer"], "/path");
        } else {
            let result = schema.result("CallToolResult", &response);
            assert_eq!(result["structuredContent"]["error"], "invalid_arguments");
            assert_eq!(result["structuredContent"]["pointer"], "/path");
        }
        broken(&client, schema.revision);
    }
}

/// Bodies that are no message. Where the id cannot be known there is none, and
/// the schemas before 2025-11-25 have no such message.
fn broken(client: &Client, revision: &str) {
    let latest = Schema::of(STATELESS);
    let headers = [("MCP-Protocol-Version", revision), ("Mcp-Method", "ping"), ("Content-Type", "application/json")];
    for (body, code) in [
        ("", -32700),
        ("{", -32700),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,", -32700),
        ("\u{0}", -32700),
        ("nonsense", -32700),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}}", -32700),
        ("7", -32600),
        ("\"ping\"", -32600),
        ("{}", -32600),
        ("[]", -32600),
        ("{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"ping\"}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"ping\"}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}", -32600),
    ] {
        let response = client.send("POST", "/mcp", &headers, body.as_bytes());
        let error = latest.error(&response);
        assert_eq!((error["code"].as_i64(), response.status), (Some(code), 400), "{revision} {body}: {error}");
    }
}

fn handshake(shared: &Shared) {
    let client = shared.gate().keyed();
    for (wanted, settled) in [
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        // The one without a handshake, and those that are not spoken.
        ("2026-07-28", "2025-11-25"),
        ("2024-11-05", "2025-11-25"),
        ("1.0.0", "2025-11-25"),
    ] {
        let schema = HANDSHAKEN.into_iter().find(|revision| *revision == settled).map(Schema::of).expect("a schema");
        let met = schema.result("InitializeResult", &client.mcp_with(&[], &hello(wanted)));
        assert_eq!(met["protocolVersion"], settled, "{wanted}");
    }
    let response = client.mcp_with(&[], &request("initialize", &json!({"capabilities": {}})));
    assert_eq!(Schema::of("2025-03-26").error(&response)["code"], -32602);
}

/// What is changed in a stateless call.
enum Change {
    Nothing,
    /// A header is another, or missing.
    Header(&'static str, Option<&'static str>),
    /// A member of `_meta` is another, or missing.
    Meta(&'static str, Option<Value>),
    /// There is no `_meta`.
    NoMeta,
}

/// A stateless call of `kv.list`, changed.
fn stateless_call(client: &Client, change: &Change) -> Response {
    let mut headers =
        BTreeMap::from([("MCP-Protocol-Version", STATELESS), ("Mcp-Method", "tools/call"), ("Mcp-Name", "kv.list")]);
    let mut meta = meta();
    let members = meta.as_object_mut().expect("an object");
    match change {
        Change::Nothing | Change::NoMeta => {}
        Change::Header(name, None) => assert!(headers.remove(name).is_some()),
        Change::Header(name, Some(value)) => assert!(headers.insert(name, value).is_some()),
        Change::Meta(name, None) => assert!(members.remove(*name).is_some()),
        Change::Meta(name, Some(value)) => members[*name] = value.clone(),
    }
    let mut params = json!({"name": "kv.list", "arguments": {}});
    if !matches!(change, Change::NoMeta) {
        params["_meta"] = meta;
    }
    let headers: Vec<_> = headers.into_iter().collect();
    client.mcp_with(&headers, &request("tools/call", &params))
}

fn stateless_headers(shared: &Shared) {
    const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    let client = shared.gate().keyed();
    let schema = Schema::of(STATELESS);
    let header = |name, value| (Change::Header(name, value), -32020);
    for (number, (change, code)) in [
        header("MCP-Protocol-Version", None),
        header("MCP-Protocol-Version", Some("2025-06-18")),
        header("Mcp-Method", None),
        header("Mcp-Method", Some("tools/list")),
        header("Mcp-Method", Some("Tools/Call")),
        header("Mcp-Name", None),
        header("Mcp-Name", Some("kv.read")),
        header("Mcp-Name", Some("=?base64?!?=")),
        (Change::Meta(VERSION, Some(json!("2025-11-25"))), -32020),
        (Change::Meta(VERSION, None), -32602),
        (Change::Meta(CAPABILITIES, None), -32602),
        (Change::Meta(CAPABILITIES, Some(json!([]))), -32602),
        (Change::NoMeta, -32602),
    ]
    .into_iter()
    .enumerate()
    {
        let response = stateless_call(&client, &change);
        let error = schema.error(&response);
        assert_eq!((error["code"].as_i64(), response.status), (Some(code), 400), "row {number}: {error}");
        assert_eq!(response.json()["id"], 7, "row {number}");
    }
    for change in [
        Change::Nothing,
        Change::Header("Mcp-Name", Some("=?base64?a3YubGlzdA==?=")),
        Change::Meta("io.modelcontextprotocol/clientInfo", None),
    ] {
        let result = schema.result("CallToolResult", &stateless_call(&client, &change));
        assert_eq!(result["isError"], false);
    }
}

fn unsupported(shared: &Shared) {
    let client = shared.gate().keyed();
    let schema = Schema::of(STATELESS);
    for (version, told) in [("1900-01-01", "1900-01-01"), ("2027-01-01", "2027-01-01"), ("<script>", ""), ("", "")] {
        let response = client.mcp_with(&[("MCP-Protocol-Version", version)], &request("tools/list", &json!({})));
        let error = schema.error(&response);
        assert_eq!((error["code"].as_i64(), response.status), (Some(-32022), 400), "{version}: {error}");
        assert_eq!(error["data"]["requested"], told);
        assert_eq!(error["data"]["supported"], json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]));
    }
}

fn batch() -> Value {
    json!([
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": "two", "method": "tools/call", "params": {"name": "whoami"}},
        {"jsonrpc": "2.0", "id": 3, "method": "no/such"},
        {"jsonrpc": "2.0", "id": 4, "method": "tools/list"},
    ])
}

fn batches(shared: &Shared) {
    let client = shared.gate().keyed();
    let schema = Schema::of("2025-03-26");
    for headers in [&[][..], &[("MCP-Protocol-Version", "2025-03-26")]] {
        let response = client.mcp_with(headers, &batch());
        let answers = response.json();
        assert_eq!(response.status, 200, "{answers}");
        schema.check("JSONRPCBatchResponse", &answers);
        let ids: Vec<_> = answers.as_array().expect("a batch").iter().map(|answer| answer["id"].clone()).collect();
        assert_eq!(ids, [json!(1), json!("two"), json!(3), json!(4)]);
        assert_eq!(answers[1]["result"]["structuredContent"]["agent"], "agent_api");
        assert_eq!(answers[2]["error"]["code"], -32601);
        schema.check("ListToolsResult", &answers[3]["result"]);
    }
    let silent = json!([{"jsonrpc": "2.0", "method": "notifications/initialized"}]);
    let response = client.mcp_with(&[], &silent);
    assert_eq!((response.status, response.body.len()), (202, 0));
    for revision in ["2025-06-18", "2025-11-25", STATELESS] {
        let response = client.mcp_with(&[("MCP-Protocol-Version", revision)], &batch());
        let error = Schema::of(STATELESS).error(&response);
        assert_eq!((error["code"].as_i64(), response.status), (Some(-32600), 400), "{revision}: {error}");
    }
}

fn batches_over_the_limit(shared: &Shared) {
    let top = "rate_limit_requests = 2\nrate_limit_window_seconds = 3600\n".to_owned();
    let gate = Gate::start(shared.world(), &Plan { top, ..Plan::default() });
    let schema = Schema::of("2025-03-26");
    let messages: Vec<_> = ["ping", "ping", "ping", "tools/list"]
        .into_iter()
        .enumerate()
        .map(|(id, method)| json!({"jsonrpc": "2.0", "id": id, "method": method}))
        .chain([json!({"jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": {"name": "whoami"}})])
        .collect();
    let response = gate.keyed().mcp_with(&[], &json!(messages));
    let answers = response.json();
    schema.check("JSONRPCBatchResponse", &answers);
    assert_eq!(answers.as_array().map(Vec::len), Some(5), "{answers}");
    assert_eq!(answers[1]["result"], json!({}), "within the limit");
    for (place, definition) in [(2, "EmptyResult"), (3, "ListToolsResult"), (4, "CallToolResult")] {
        let answer = &answers[place];
        assert!(answer.to_string().contains("rate_limited"), "{answer}");
        if answer["error"].is_null() {
            schema.check(definition, &answer["result"]);
        }
    }
    assert_eq!(gate.keyed().mcp_with(&[], &json!([messages[0]])).status, 429);
}

fn notifications(shared: &Shared) {
    let client = shared.gate().keyed();
    for revision in HANDSHAKEN.into_iter().chain([STATELESS]) {
        for method in ["notifications/initialized", "notifications/cancelled", "notifications/no-such"] {
            let mut message = json!({"jsonrpc": "2.0", "method": method, "params": {"requestId": 1}});
            if revision == STATELESS {
                message["params"]["_meta"] = meta();
            }
            let headers = [("MCP-Protocol-Version", revision), ("Mcp-Method", method)];
            let response = client.mcp_with(&headers, &message);
            assert_eq!((response.status, response.body.len()), (202, 0), "{revision} {method}: {response:?}");
        }
    }
}

fn methods(shared: &Shared) {
    let client = shared.gate().keyed();
    for path in ["/mcp", "/mcp/rpc"] {
        for method in ["GET", "DELETE", "PUT", "PATCH"] {
            let response = client.send(method, path, &[("Accept", "text/event-stream")], b"");
            assert_eq!((response.status, response.header("allow")), (405, Some("POST")), "{method} {path}");
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
    for origin in ["https://evil.example", "null", "http://localhost", "http://127.0.0.1:8089", ""] {
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

fn ids(shared: &Shared) {
    let client = shared.gate().keyed();
    let long = "x".repeat(200);
    for id in [json!(0), json!(-1), json!(i64::MAX), json!(""), json!("a\"b\\\n\u{1f511}"), json!(long)] {
        for method in ["ping", "no/such"] {
            let answer = client.mcp(&json!({"jsonrpc": "2.0", "id": id, "method": method})).json();
            assert_eq!(answer["id"], id, "{answer}");
        }
    }
    for id in [json!(1.5), json!(true), json!([]), json!({"a": 1}), json!("x".repeat(10_000))] {
        let answer = client.mcp(&json!({"jsonrpc": "2.0", "id": id, "method": "ping"})).json();
        assert_eq!(answer["error"]["code"], -32600, "{id}");
        assert!(answer.get("id").is_none(), "{answer}");
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

fn visible_tools(shared: &Shared) {
    let gate = shared.gate();
    let sections =
        format!("{AGENTS}\n[roles.nothing]\nscopes = []\nkv = [\"**\"]\n[agents.alice]\nroles = [\"nothing\"]\n");
    let other = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
    let every = EVERY.map(|(name, _)| name);
    for (client, expected) in [
        (gate.agent("agent_mtls"), &every[..]),
        (gate.keyed(), &every[..]),
        // Random bytes touch nothing that has a name: the scope is enough.
        (
            gate.agent("agent_jwt"),
            &["kv.read", "kv.list", "kv.metadata", "transit.random", "wrap.lookup", "whoami"][..],
        ),
        (other.agent("alice"), &["wrap.lookup", "whoami"][..]),
    ] {
        for revision in HANDSHAKEN.into_iter().chain([STATELESS]) {
            let listed = ask(&client, revision, "tools/list", &json!({})).json();
            let names: Vec<_> =
                listed["result"]["tools"].as_array().expect("tools").iter().map(|t| &t["name"]).collect();
            assert_eq!(json!(names), json!(expected), "{revision}");
        }
        // What is asked by a handle is refused where the handle is not one.
        let by_name = |arguments: &&str| !arguments.contains("pch1_");
        for (name, arguments) in EVERY.into_iter().filter(|(_, arguments)| by_name(arguments)) {
            let arguments = serde_json::from_str(arguments).expect("JSON");
            let answer = client.call(name, &arguments).json();
            let refused = answer["result"]["structuredContent"]["error"] == "forbidden";
            assert_eq!(refused, !expected.contains(&name), "{name}: {answer}");
        }
    }
}

/// The schemas of every tool, by its name.
fn tools(client: &Client) -> BTreeMap<String, Value> {
    let listed = client.mcp(&request("tools/list", &json!({}))).json();
    let tools = listed["result"]["tools"].as_array().expect("tools").iter();
    tools.map(|tool| (tool["name"].as_str().expect("a name").to_owned(), tool.clone())).collect()
}

fn tool_schemas(shared: &Shared) {
    let client = shared.gate().keyed();
    let tools = tools(&client);
    for (name, tool) in &tools {
        for schema in ["inputSchema", "outputSchema"] {
            let judged = jsonschema::meta::validate(&tool[schema]);
            assert!(judged.is_ok(), "{name}: {judged:?}");
        }
    }
    let mut used = Vec::new();
    let key = "agents-key";
    let sealed = client.call("transit.encrypt", &json!({"key": key, "plaintext": "eA=="})).json();
    let sealed = &sealed["result"]["structuredContent"]["ciphertext"];
    let hmac = client.call("transit.hmac", &json!({"key": key, "input": "eA=="})).json();
    let hmac = &hmac["result"]["structuredContent"]["hmac"];
    for (name, arguments, fails) in [
        ("kv.write", json!({"path": "mcp/schema", "data": {"a": {"b": [1, null]}}}), ""),
        ("kv.write", json!({"path": "mcp/schema", "data": {}, "cas": 1, "shared": false}), ""),
        ("kv.write", json!({"path": "mcp/schema", "data": {}, "cas": 0}), "check_and_set_failed"),
        ("kv.read", json!({"path": "mcp/schema"}), ""),
        ("kv.read", json!({"path": "mcp/schema", "version": 1}), ""),
        ("kv.read", json!({"path": "mcp/schema", "version": 99}), "not_found"),
        ("kv.read", json!({"path": "mcp/schema", "shared": true}), "forbidden"),
        ("kv.read", json!({"path": "../mcp/schema"}), "invalid_path"),
        ("kv.patch", json!({"path": "mcp/schema", "data": {"b": 1}}), ""),
        ("kv.patch", json!({"path": "mcp/nothing", "data": {"b": 1}}), "not_found"),
        ("kv.metadata", json!({"path": "mcp/schema"}), ""),
        ("kv.metadata", json!({"path": "mcp/nothing"}), "not_found"),
        ("kv.list", json!({}), ""),
        ("kv.list", json!({"prefix": "mcp"}), ""),
        ("kv.list", json!({"prefix": "mcp", "shared": true}), "forbidden"),
        ("kv.delete", json!({"path": "mcp/schema"}), ""),
        ("kv.delete", json!({"path": "/"}), "invalid_path"),
        ("kv.undelete", json!({"path": "mcp/schema", "versions": [2]}), ""),
        ("kv.undelete", json!({"path": "..", "versions": [2]}), "invalid_path"),
        ("kv.destroy", json!({"path": "mcp/schema", "versions": [1, 2]}), ""),
        ("kv.destroy", json!({"path": "..", "versions": [1]}), "invalid_path"),
        ("transit.encrypt", json!({"key": key, "plaintext": "eA=="}), ""),
        ("transit.encrypt", json!({"key": key, "batch_input": [{"plaintext": "eA=="}]}), ""),
        ("transit.encrypt", json!({"key": "another", "plaintext": "eA=="}), "denied_by_vault"),
        ("transit.decrypt", json!({"key": key, "ciphertext": sealed}), ""),
        ("transit.decrypt", json!({"key": key, "batch_input": [{"ciphertext": sealed}]}), ""),
        ("transit.decrypt", json!({"key": key, "ciphertext": "vault:v1:eA=="}), "rejected_by_vault"),
        ("transit.rewrap", json!({"key": key, "ciphertext": sealed}), ""),
        ("transit.generate_data_key", json!({"key": key, "bits": 512}), ""),
        ("transit.sign", json!({"key": "agents-signing-key", "input": "eA=="}), ""),
        ("transit.verify", json!({"key": key, "input": "eA==", "hmac": hmac}), ""),
        ("transit.hmac", json!({"key": key, "input": "eA==", "hash_algorithm": "sha3-256"}), ""),
        ("transit.random", json!({}), ""),
        ("transit.random", json!({"bytes": 65536, "format": "hex"}), ""),
        ("whoami", json!({}), ""),
    ] {
        let tool = &tools[name];
        fits(&tool["inputSchema"], &arguments, &format!("arguments of {name}"));
        let result = client.call(name, &arguments).json()["result"].clone();
        assert_eq!(result["isError"], !fails.is_empty(), "{name} {arguments}: {result}");
        assert_eq!(result["structuredContent"]["error"].as_str().unwrap_or_default(), fails, "{name} {arguments}");
        fits(&tool["outputSchema"], &result["structuredContent"], &format!("answer of {name}"));
        used.push(name);
    }
    assert!(tools.keys().all(|name| used.contains(&name.as_str())), "a tool is not tried");
    misfits(&client, &tools);
}

/// What the operation does not take, its schema does not take either.
fn misfits(client: &Client, tools: &BTreeMap<String, Value>) {
    for (name, arguments) in [
        ("kv.read", json!({})),
        ("kv.read", json!({"path": 7})),
        ("kv.read", json!({"path": "a", "version": 0})),
        ("kv.read", json!({"path": "a", "other": 1})),
        ("kv.write", json!({"path": "a", "data": []})),
        ("kv.write", json!({"path": "a", "data": {}, "cas": -1})),
        ("kv.list", json!({"prefix": 1})),
        ("kv.delete", json!({"path": null})),
        ("kv.undelete", json!({"path": "a", "versions": []})),
        ("kv.destroy", json!({"path": "a", "versions": [0]})),
        ("kv.patch", json!({"path": "a", "data": 1})),
        ("kv.metadata", json!({"path": "a", "version": 1})),
        ("transit.encrypt", json!({"key": "k", "batch_input": []})),
        ("transit.decrypt", json!({"key": "k", "ciphertext": 1})),
        ("transit.sign", json!({"key": "k"})),
        ("transit.verify", json!({"key": "k", "input": "", "hash_algorithm": "md5"})),
        ("transit.hmac", json!({"input": ""})),
        ("transit.random", json!({"bytes": 65537})),
        ("transit.random", json!({"format": "HEX"})),
        ("whoami", json!({"a": 1})),
    ] {
        let schema = &tools[name]["inputSchema"];
        assert!(!jsonschema::is_valid(schema, &arguments), "{name} {arguments}: {schema}");
        let refused = client.call_stateless(name, &arguments).json();
        let content = &refused["result"]["structuredContent"];
        assert_eq!(content["error"], "invalid_arguments", "{name} {arguments}: {refused}");
        fits(&tools[name]["outputSchema"], content, &format!("refusal of {name}"));
    }
}
