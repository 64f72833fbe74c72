//! MCP, message by message: each is judged by the published schema of the
//! revision it speaks.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::mcp::{HANDSHAKEN, STATELESS, Schema, ask, hello, meta, request};
use tests::{Client, Gate, Plan, Response, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("every_answer_fits_the_schema_of_its_revision", answers),
    ("every_error_fits_the_schema_of_its_revision", errors),
    ("the_handshake_settles_on_a_revision_both_speak", handshake),
    ("a_stateless_request_says_the_same_in_header_and_body", stateless_headers),
    ("a_revision_that_is_not_spoken_is_told_which_are", unsupported),
    ("batches_are_answered_in_the_first_two_revisions_only", batches),
    ("each_message_of_a_batch_leaves_a_line_of_its_own", batch_lines),
    ("a_batch_over_the_limit_is_refused_message_by_message", batches_over_the_limit),
    ("notifications_are_taken_and_not_answered", notifications),
    ("ids_come_back_as_they_went_out", ids),
    ("a_request_with_null_for_an_id_is_told_so", null_ids),
    ("null_is_as_good_as_absent", nulls),
];

fn answers(shared: &Shared) {
    let client = shared.gate().keyed();
    assert_eq!(client.put("/secrets/mcp/answers", &json!({"data": {"a": [1, "\u{1f511}"]}})).status, 200);
    for schema in Schema::all() {
        if schema.revision == STATELESS {
            let found = schema.result("DiscoverResult", &ask(&client, STATELESS, "server/discover", &json!({})));
            assert_eq!(found["capabilities"]["resources"], json!({"subscribe": true, "listChanged": true}));
            assert_eq!(
                found["supportedVersions"],
                json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"])
            );
        } else {
            let met = schema.result("InitializeResult", &client.mcp_with(&[], &hello(schema.revision)));
            assert_eq!(met["protocolVersion"], schema.revision);
            assert_eq!(met["capabilities"]["tools"], json!({"listChanged": true}));
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
            (
                if stateless { "resources/subscribe" } else { "subscriptions/listen" },
                json!({}),
                -32601,
                either(404, 200),
            ),
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

/// The error where no id can be repeated: there is none, and before 2025-11-25, whose schemas know no such message,
/// it is null.
fn without_id(response: &Response, revision: &str) -> Value {
    let mut message = response.json();
    let id = message.as_object_mut().expect("a message").remove("id");
    assert_eq!(id, (revision < "2025-11-25").then_some(Value::Null), "{revision}: {message}");
    let body = message.to_string().into_bytes();
    Schema::of(STATELESS).error(&Response { status: response.status, headers: Vec::new(), body })
}

/// Bodies that are no message.
fn broken(client: &Client, revision: &str) {
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
        let error = match response.json()["id"].as_i64() {
            Some(1) => Schema::of(STATELESS).error(&response),
            _ => without_id(&response, revision),
        };
        assert_eq!((error["code"].as_i64(), response.status), (Some(code), 400), "{revision} {body}: {error}");
    }
}

fn handshake(shared: &Shared) {
    let client = shared.gate().keyed();
    for (wanted, settled) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        // The one without a handshake, and those that are not spoken.
        ("2026-07-28", "2025-11-25"),
        ("2024-10-07", "2025-11-25"),
        ("1.0.0", "2025-11-25"),
    ] {
        let schema = HANDSHAKEN.into_iter().find(|revision| *revision == settled).map(Schema::of).expect("a schema");
        let met = schema.result("InitializeResult", &client.mcp_with(&[], &hello(wanted)));
        assert_eq!(met["protocolVersion"], settled, "{wanted}");
        // What a client sends before it knows, or has from elsewhere, decides nothing.
        for header in HANDSHAKEN.into_iter().chain([STATELESS, "2099-01-01", "none", ""]) {
            let met = client.mcp_with(&[("MCP-Protocol-Version", header)], &hello(wanted));
            assert_eq!(schema.result("InitializeResult", &met)["protocolVersion"], settled, "{header} {wanted}");
        }
    }
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let response = client.mcp_with(&[("MCP-Protocol-Version", "2099-01-01")], &initialized);
    assert_eq!(response.status, 400, "whatever comes after it says what they settled on");
    for params in [json!({"capabilities": {}}), json!({"protocolVersion": null}), Value::Null] {
        let met = client.mcp_with(&[], &request("initialize", &params));
        assert_eq!(Schema::of("2025-11-25").result("InitializeResult", &met)["protocolVersion"], "2025-11-25");
    }
    let response = client.mcp_with(&[], &request("initialize", &json!({"protocolVersion": 1})));
    assert_eq!(Schema::of("2025-03-26").error(&response)["code"], -32602);
}

/// A change to a stateless call.
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
    let long = "x".repeat(300);
    for (version, told) in
        [("1900-01-01", "1900-01-01"), ("v2027.1.0", "v2027.1.0"), ("<a>", "<a>"), ("", ""), (&long, &long[..256])]
    {
        let response = client.mcp_with(&[("MCP-Protocol-Version", version)], &request("tools/list", &json!({})));
        let error = schema.error(&response);
        assert_eq!((error["code"].as_i64(), response.status), (Some(-32022), 400), "{version}: {error}");
        assert_eq!(error["data"]["requested"], told);
        assert_eq!(
            error["data"]["supported"],
            json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"])
        );
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
    for headers in [&[][..], &[("MCP-Protocol-Version", "2024-11-05")], &[("MCP-Protocol-Version", "2025-03-26")]] {
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
        let error = without_id(&response, revision);
        assert_eq!((error["code"].as_i64(), response.status), (Some(-32600), 400), "{revision}: {error}");
    }
    let response = client.mcp_with(&[("MCP-Protocol-Version", "2099-01-01")], &batch());
    assert_eq!((without_id(&response, STATELESS)["code"].as_i64(), response.status), (Some(-32022), 400));
}

fn batch_lines(shared: &Shared) {
    let gate = Gate::start(shared.world(), &Plan::default());
    let client = gate.keyed();
    let call = |id: u32, tool: &str, arguments: Value| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}});
    let batch = json!([
        call(1, "kv.write", json!({"path": "line/a", "data": {"a": 1}})),
        call(2, "kv.read", json!({"path": "line/none"})),
        call(3, "kv.list", json!({"prefix": "line"})),
    ]);
    let response = client.mcp_with(&[("MCP-Protocol-Version", "2025-03-26")], &batch);
    assert_eq!(response.status, 200, "{response:?}");
    let id = response.header("x-request-id").expect("an id").to_owned();
    let lines = || gate.logged(&json!({"request_id": id}));
    wait_for("the lines are written", 10, || lines().len() == 3);
    for (place, (line, (operation, decision, role))) in lines()
        .iter()
        .zip([("kv.write", "allow", "all"), ("kv.read", "not_found", "all"), ("kv.list", "allow", "all")])
        .enumerate()
    {
        let told = (&line["operation"], &line["decision"], &line["role"], &line["message"]);
        assert_eq!(told, (&json!(operation), &json!(decision), &json!(role), &json!(place)), "{line}");
        assert!(line["vault_ms"].as_f64().is_some_and(|time| time > 0.0), "{line}");
    }
    // What is asked for alone is no message of a batch.
    let alone = client.call("kv.read", &json!({"path": "line/a"}));
    let id = alone.header("x-request-id").expect("an id").to_owned();
    wait_for("its line", 10, || !gate.logged(&json!({"request_id": id})).is_empty());
    assert!(gate.logged(&json!({"request_id": id})).iter().all(|line| line.get("message").is_none()));
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
    // The message that was stopped names its operation in the log.
    let id = response.header("x-request-id").expect("an id");
    let stopped = json!({"request_id": id, "message": 4, "operation": "whoami", "decision": "rate_limited"});
    wait_for("its line", 10, || !gate.logged(&stopped).is_empty());
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
        for revision in HANDSHAKEN.into_iter().chain([STATELESS]) {
            let message = json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
            let answer = client.mcp_with(&[("MCP-Protocol-Version", revision)], &message);
            assert_eq!((without_id(&answer, revision)["code"].as_i64(), answer.status), (Some(-32600), 400), "{id}");
        }
    }
}

fn null_ids(shared: &Shared) {
    let client = shared.gate().keyed();
    let message = |method: &str| json!({"jsonrpc": "2.0", "id": null, "method": method, "params": null});
    let none: [(&str, &str); 0] = [];
    let ask = |headers: &[(&str, &str)], method: &str| client.mcp_with(headers, &message(method));
    for revision in HANDSHAKEN.into_iter().chain([STATELESS]) {
        let headers = [("MCP-Protocol-Version", revision)];
        for method in ["ping", "tools/list", "tools/call", "initialize", "no/such", "notifications/initialized"] {
            let response = ask(&headers, method);
            // The handshake is in the revision that it settles on.
            let spoken = if method == "initialize" { "2025-11-25" } else { revision };
            let error = without_id(&response, spoken);
            assert_eq!((error["code"].as_i64(), response.status), (Some(-32600), 400), "{revision} {method}: {error}");
            assert!(error["message"].as_str().is_some_and(|text| text.contains("null")), "{error}");
        }
    }
    assert_eq!(without_id(&ask(&none, "ping"), "2025-03-26")["code"], -32600);
    let batch = json!([message("ping"), {"jsonrpc": "2.0", "id": 2, "method": "ping"}, message("notifications/x")]);
    let response = client.mcp_with(&none, &batch);
    let told = |answer: &Value| json!([answer["id"], answer["error"]["code"]]);
    let answers = |response: &Response| response.json().as_array().expect("answers").iter().map(told).collect();
    let wrong = json!([null, -32600]);
    assert_eq!((response.status, answers(&response)), (200, json!([wrong, [2, null], wrong])));
    // Nothing in it could be served.
    let response = client.mcp_with(&none, &json!([message("ping"), message("notifications/x")]));
    assert_eq!((response.status, answers(&response)), (400, json!([wrong, wrong])));
}

fn nulls(shared: &Shared) {
    let client = shared.gate().keyed();
    let all = json!({"path": "mcp/nulls", "data": {"a": null}, "cas": null, "shared": null});
    for schema in Schema::all() {
        let call = |name: &str, arguments: &Value| {
            let params = json!({"name": name, "arguments": arguments});
            schema.result("CallToolResult", &ask(&client, schema.revision, "tools/call", &params))
        };
        let content = |name: &str, arguments: &Value| {
            let result = call(name, arguments);
            assert_eq!(result["isError"], false, "{name} {arguments}: {result}");
            result["structuredContent"].clone()
        };
        assert!(content("kv.write", &all)["version"].is_u64());
        let read = json!({"path": "mcp/nulls", "version": null, "shared": null, "wrap_ttl": null});
        assert_eq!(content("kv.read", &read)["data"], json!({"a": null}), "what is kept is not touched");
        // A whole number is one however it is written; a double of JavaScript's may come as 1.0.
        let read = json!({"path": "mcp/nulls", "version": 1.0, "wrap_ttl": null});
        assert_eq!(content("kv.read", &read)["version"], 1);
        // Other cases write beside it meanwhile.
        for all in [json!({"prefix": null, "shared": null}), json!({}), Value::Null] {
            let listed = content("kv.list", &all)["keys"].clone();
            assert!(listed.as_array().is_some_and(|names| names.contains(&json!("mcp/"))), "{all}: {listed}");
        }
        let nothing = json!({"bytes": null, "format": null, "wrap_ttl": null});
        assert_eq!(content("transit.random", &nothing)["random_bytes"].as_str().map(str::len), Some(44));
        let prompt = json!({"name": "kv_read", "arguments": {"path": "mcp/nulls", "version": null}});
        let prompt = schema.result("GetPromptResult", &ask(&client, schema.revision, "prompts/get", &prompt));
        assert_eq!(prompt["suggested_tool"]["arguments"], json!({"path": "mcp/nulls"}), "{prompt}");
        schema.result("ListToolsResult", &ask(&client, schema.revision, "tools/list", &json!({"cursor": null})));
        // What is needed is not there by being null.
        let refused = client.call_stateless("kv.read", &json!({"path": null})).json()["result"].clone();
        let told = refused["content"][0]["text"].as_str().expect("text");
        assert!(refused["isError"] == true && told.contains("/path"), "{refused}");
    }
    for revision in HANDSHAKEN {
        for params in [Value::Null, json!({"_meta": null}), json!({"cursor": null, "_meta": null})] {
            let response = client.mcp_with(&[("MCP-Protocol-Version", revision)], &request("tools/list", &params));
            Schema::of(revision).result("ListToolsResult", &response);
        }
    }
    // The same on REST, where a body has them.
    let body = |body: Value| client.put("/secrets/mcp/nulls", &body);
    assert_eq!(body(json!({"data": {"a": 1}, "cas": null, "shared": null})).status, 200);
    let refused = body(json!({"data": null}));
    assert_eq!((refused.status, refused.code().as_str()), (422, "invalid_arguments"));
    assert_eq!(refused.json()["pointer"], "/data");
    let batch =
        json!({"key": "agents-key", "plaintext": null, "batch_input": [{"plaintext": "eA==", "context": null}]});
    assert_eq!(client.post("/transit/encrypt", &batch).status, 200);
    let sign = json!({"role": "none", "public_key": "x", "cert_type": null, "ttl": null, "extensions": null});
    assert_ne!(client.post("/ssh/sign", &sign).status, 422);
}
