//! Requests of MCP clients beside tools: values for arguments, the end of a call; and what goes with a call: its trace,
//! and headers that repeat its arguments.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tests::front::{Door, Verdict};
use tests::mcp::{HANDSHAKEN, STATELESS, Schema, ask, hello, meta, request, settled};
use tests::process::AGENTS;
use tests::{API_KEY, Client, Front, Gate, Plan, Response, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("paths_are_completed_as_far_as_the_agent_may_use_them", completions),
    ("keys_and_roles_are_completed_as_far_as_the_agent_may_use_them", named),
    ("what_cannot_be_completed_is_refused", incomplete),
    ("a_level_of_records_is_taken_where_the_revision_has_it", levels),
    ("a_call_is_cancelled_by_its_client_only", cancelled),
    ("what_a_cancelled_call_was_given_goes_back", cancelled_late),
    ("a_client_that_resets_its_stream_has_cancelled_its_call", reset),
    ("a_trace_in_the_body_is_the_correlation", traces),
    ("headers_repeat_the_arguments_that_name_something", params),
];

const ROLES: &str = r#"
[roles.walker]
scopes = ["read", "write", "list"]
kv = ["names/**", "few/one"]
deny = ["names/c/denied"]

[roles.writer]
scopes = ["write", "list"]
kv = ["names/**"]

[agents.alice]
roles = ["walker"]

[agents.bob]
roles = ["writer"]
"#;

/// Roles that hold keys and roles; `KEYS` are many.
const NAMES: &str = r#"
[roles.signer]
scopes = ["write"]
transit = ["orders", "deploy-*", "deploy-eu", "portcullis-handles"]
database = ["read*", "writer", "readonly"]

[roles.releases]
scopes = ["write"]
ssh = ["ops"]
pki = ["agents", "web-*"]
kms = ["alias/agents-*"]
ssh_principals = ["ubuntu"]
max_ttl = "1h"

[roles.verifier]
scopes = ["read"]
transit = ["audit"]
database = ["reports"]

[roles.elsewhere]
scopes = ["write"]
database = ["nightly"]
sources = ["203.0.113.0/24"]

[roles.many]
scopes = ["write"]
transit = [KEYS]

[agents.alice]
roles = ["signer", "releases", "verifier", "elsewhere"]

[agents.bob]
roles = ["many", "verifier"]
"#;

/// Asks for the values of the argument `path`.
fn complete(client: &Client, schema: &Schema, reference: &Value, typed: &str) -> Value {
    complete_argument(client, schema, reference, ("path", typed))
}

fn complete_argument(client: &Client, schema: &Schema, reference: &Value, (name, typed): (&str, &str)) -> Value {
    let params = json!({"ref": reference, "argument": {"name": name, "value": typed}});
    let result = schema.result("CompleteResult", &ask(client, schema.revision, "completion/complete", &params));
    result["completion"].clone()
}

fn completions(shared: &Shared) {
    let sections = format!("{AGENTS}{ROLES}");
    let gate = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
    let plant = |agent: &str, path: &str| {
        let target = format!("secret/data/mcp/{agent}/{path}");
        assert_eq!(shared.world().ask("POST", &target, &json!({"data": {"a": 1}})).0, 200, "{path}");
    };
    (0..120).for_each(|n| plant("alice", &format!("names/a/{n:03}")));
    for path in ["names/b/x", "names/b/xy/z", "names/c/denied", "few/one", "few/two", "other"] {
        plant("alice", path);
    }
    plant("bob", "names/only");
    let (alice, bob) = (gate.agent("alice"), gate.agent("bob"));
    let (read, write) =
        (json!({"type": "ref/prompt", "name": "kv_read"}), json!({"type": "ref/prompt", "name": "kv_write"}));
    for schema in Schema::all() {
        for template in ["kv://alice/{+path}{?version}", "kv://alice/{+path}/"] {
            let template = json!({"type": "ref/resource", "uri": template});
            for reference in [&read, &write, &template] {
                for (typed, values) in [
                    // The ways to what the roles name.
                    ("", json!(["few/", "names/"])),
                    ("f", json!(["few/"])),
                    // Where the agent may not list, names are not told.
                    ("few/", json!([])),
                    ("names/c/", json!([])),
                    ("names/b/", json!(["names/b/x", "names/b/xy/"])),
                    ("names/b/x", json!(["names/b/x", "names/b/xy/"])),
                    ("names/none/", json!([])),
                    ("../alice/", json!([])),
                ] {
                    let told = complete(&alice, &schema, reference, typed);
                    assert_eq!(told["values"], values, "{typed} {reference}");
                    assert_eq!(
                        (&told["total"], &told["hasMore"]),
                        (&json!(values.as_array().map(Vec::len)), &json!(false))
                    );
                }
            }
        }
        let many = complete(&alice, &schema, &read, "names/a/");
        assert_eq!(many["values"].as_array().map(Vec::len), Some(100));
        assert_eq!(
            (&many["values"][99], &many["total"], &many["hasMore"]),
            (&json!("names/a/099"), &json!(120), &json!(true))
        );
        // A path is completed for what it is used for.
        assert_eq!(complete(&bob, &schema, &read, "names/")["values"], json!([]));
        assert_eq!(complete(&bob, &schema, &write, "names/")["values"], json!(["names/only"]));
        let version = json!({"ref": read, "argument": {"name": "version", "value": "1"}});
        let none = schema.result("CompleteResult", &ask(&alice, schema.revision, "completion/complete", &version));
        assert_eq!(none["completion"], json!({"values": [], "total": 0, "hasMore": false}));
        let shown = match schema.revision {
            STATELESS => ask(&alice, STATELESS, "server/discover", &json!({})),
            revision => alice.mcp_with(&[], &hello(revision)),
        };
        assert_eq!(shown.json()["result"]["capabilities"]["completions"], json!({}), "{}", schema.revision);
    }
}

fn named(shared: &Shared) {
    let keys = (0..120).map(|n| format!("\"key-{n:03}\"")).collect::<Vec<_>>().join(", ");
    let sections = format!("{AGENTS}{}", NAMES.replace("KEYS", &keys));
    let gate = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
    let (alice, bob) = (gate.agent("alice"), gate.agent("bob"));
    for schema in Schema::all() {
        let told = |client: &Client, prompt: &str, argument: &str, typed: &str| {
            let reference = json!({"type": "ref/prompt", "name": prompt});
            complete_argument(client, &schema, &reference, (argument, typed))
        };
        for (prompt, argument, typed, alices, bobs) in [
            // The key behind handles is nobody's, and `audit` may only be verified with.
            ("transit_encrypt", "key", "", json!(["deploy-", "deploy-eu", "orders"]), None),
            ("transit_sign", "key", "deploy-", json!(["deploy-eu"]), Some(json!([]))),
            ("transit_sign", "key", "deploy-us", json!([]), Some(json!([]))),
            ("transit_sign", "key", "portcullis-", json!([]), Some(json!([]))),
            ("transit_sign", "key", "../", json!([]), Some(json!([]))),
            (
                "transit_sign",
                "key",
                "key-11",
                json!([]),
                Some(json!((110..120).map(|n| format!("key-{n}")).collect::<Vec<_>>())),
            ),
            ("transit_sign", "input", "", json!([]), Some(json!([]))),
            // One that may only be read with, and one that is for elsewhere, are not told.
            ("db_issue_creds", "role", "", json!(["read", "readonly", "writer"]), Some(json!([]))),
            ("db_issue_creds", "role", "re", json!(["read", "readonly"]), Some(json!([]))),
            ("db_issue_creds", "role", "night", json!([]), Some(json!([]))),
            ("ssh_sign", "role", "", json!(["ops"]), Some(json!([]))),
            ("pki_issue", "role", "", json!(["agents", "web-"]), Some(json!([]))),
            ("kms_encrypt", "key_id", "alias/", json!(["alias/agents-"]), Some(json!([]))),
        ] {
            for (client, values) in [(&alice, Some(alices)), (&bob, bobs)] {
                let Some(values) = values else { continue };
                let told = told(client, prompt, argument, typed);
                let expected = json!({"values": values, "total": values.as_array().map(Vec::len), "hasMore": false});
                assert_eq!(told, expected, "{prompt} {typed}");
            }
        }
        let many = told(&bob, "transit_encrypt", "key", "");
        assert_eq!(many["values"].as_array().map(Vec::len), Some(100));
        assert_eq!(
            (&many["values"][99], &many["total"], &many["hasMore"]),
            (&json!("key-099"), &json!(120), &json!(true))
        );
        let listed = schema.result("ListPromptsResult", &ask(&bob, schema.revision, "prompts/list", &json!({})));
        let names: Vec<_> = listed["prompts"].as_array().expect("prompts").iter().map(|one| &one["name"]).collect();
        assert_eq!(json!(names), json!(["transit_encrypt", "transit_sign"]));
    }
    let listed = gate.logged(&json!({"operation": "kv.list"}));
    assert!(listed.is_empty(), "{listed:?}");
}

fn incomplete(shared: &Shared) {
    let client = shared.gate().keyed();
    let argument = json!({"name": "path", "value": ""});
    for schema in Schema::all() {
        for params in [
            json!({}),
            json!({"ref": {"type": "ref/prompt", "name": "none"}, "argument": argument}),
            json!({"ref": {"type": "ref/tool", "name": "kv_read"}, "argument": argument}),
            json!({"ref": {"type": "ref/prompt", "name": "kv_read"}, "argument": {"name": "data", "value": ""}}),
            json!({"ref": {"type": "ref/prompt", "name": "ssh_sign"}, "argument": {"name": "key", "value": ""}}),
        ] {
            let error = schema.error(&ask(&client, schema.revision, "completion/complete", &params));
            assert_eq!(error["code"], -32602, "{params}");
        }
        let foreign = json!({"ref": {"type": "ref/resource", "uri": "kv://bob/{+path}/"}, "argument": argument});
        let error = schema.error(&ask(&client, schema.revision, "completion/complete", &foreign));
        assert_eq!(error["data"]["error"], "not_found");
    }
}

fn levels(shared: &Shared) {
    let client = shared.gate().keyed();
    for revision in HANDSHAKEN {
        let schema = Schema::of(revision);
        let met = schema.result("InitializeResult", &client.mcp_with(&[], &hello(revision)));
        assert_eq!(met["capabilities"]["logging"], json!({}));
        let set = ask(&client, revision, "logging/setLevel", &json!({"level": "warning"}));
        assert_eq!(schema.result("EmptyResult", &set), json!({}));
        let error = schema.error(&ask(&client, revision, "logging/setLevel", &json!({"level": "loud"})));
        assert_eq!(error["code"], -32602);
    }
    let found = ask(&client, STATELESS, "server/discover", &json!({})).json();
    assert!(found["result"]["capabilities"]["logging"].is_null(), "{found}");
    let response = ask(&client, STATELESS, "logging/setLevel", &json!({"level": "warning"}));
    assert_eq!(response.json()["error"]["code"], -32601);
}

/// A call with this id, in this session.
fn call(client: &Client, id: &Value, session: &str, tool: &str, arguments: &Value) -> Response {
    let params = json!({"name": tool, "arguments": arguments});
    let message = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
    client.mcp_with(&within(session), &message)
}

/// The headers of a message in this session, or in none.
fn within(session: &str) -> Vec<(&str, &str)> {
    let session = Some(("Mcp-Session-Id", session)).filter(|(_, id)| !id.is_empty());
    [("MCP-Protocol-Version", "2025-06-18")].into_iter().chain(session).collect()
}

fn cancel(client: &Client, id: &Value, session: &str) {
    let params = json!({"requestId": id, "reason": "enough"});
    let message = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
    assert_eq!(client.mcp_with(&within(session), &message).status, 202);
}

/// A session of the client's.
fn session(client: &Client) -> String {
    client.mcp_with(&[], &hello("2025-06-18")).header("mcp-session-id").expect("a session").to_owned()
}

fn cancelled(shared: &Shared) {
    let front = Front::start(shared.world());
    let gate = Gate::start(shared.world(), &Plan { environment: front.environment(), ..Plan::default() });
    let client = gate.keyed();
    assert_eq!(client.put("/secrets/cancel/me", &json!({"data": {"a": 1}})).status, 200);
    let door = Arc::new(Door::default());
    front.treat("cancel/me", Verdict::Behind(Arc::clone(&door)));
    settled(&client);
    let (one, two) = (session(&client), session(&client));
    let started = |id: Value, session: &str| {
        let (client, session) = (client.clone(), session.to_owned());
        thread::spawn(move || call(&client, &id, &session, "kv.read", &json!({"path": "cancel/me"})).json())
    };
    let (first, other) = (started(json!(7), &one), started(json!(7), &two));
    let (twin, twins) = (started(json!("x"), &one), started(json!("x"), &one));
    wait_for("all are asked", 20, || door.waiting() == 4);
    // Another agent, another session, another id, one that two calls have.
    let stranger = gate.agent("agent_mtls");
    cancel(&stranger, &json!(7), &session(&stranger));
    cancel(&client, &json!(7), &session(&client));
    cancel(&client, &json!("7"), &one);
    cancel(&client, &json!("x"), &one);
    cancel(&client, &json!(7), &one);
    let told = first.join().expect("an answer")["result"]["structuredContent"].clone();
    assert_eq!((door.waiting(), &told["error"]), (4, &json!("cancelled")), "while Vault has it: {told}");
    door.open();
    for call in [other, twin, twins] {
        let answer = call.join().expect("an answer");
        assert_eq!(answer["result"]["structuredContent"]["data"], json!({"a": 1}), "{answer}");
    }
    let line = || !gate.logged(&json!({"operation": "kv.read", "decision": "cancelled"})).is_empty();
    wait_for("its line", 10, line);
    // Nothing is kept: the id may be used again.
    cancel(&client, &json!(7), &one);
    let again = call(&client, &json!(7), &one, "kv.read", &json!({"path": "cancel/me"})).json();
    assert_eq!(again["result"]["isError"], false, "{again}");
}

fn cancelled_late(_: &Shared) {
    let world = tests::World::start(false);
    let front = Front::start(&world);
    let gate = Gate::start(&world, &Plan { environment: front.environment(), ..Plan::default() });
    let client = gate.keyed();
    let wrapped = || {
        let listed = world.ask("LIST", "auth/token/accessors", &Value::Null).1;
        let keys = listed["data"]["keys"].as_array().cloned().unwrap_or_default();
        let found =
            |accessor: &Value| world.ask("POST", "auth/token/lookup-accessor", &json!({"accessor": accessor})).1;
        keys.iter().filter(|accessor| found(accessor)["data"]["policies"] == json!(["response-wrapping"])).count()
    };
    let door = Arc::new(Door::default());
    front.treat("/sys/wrapping/wrap", Verdict::Behind(Arc::clone(&door)));
    let caller = client.clone();
    let wrapping =
        thread::spawn(move || call(&caller, &json!(1), "", "transit.random", &json!({"wrap_ttl": 300})).json());
    wait_for("it is asked", 20, || door.waiting() == 1);
    cancel(&client, &json!(1), "");
    door.open();
    let told = wrapping.join().expect("an answer");
    assert_eq!(told["result"]["structuredContent"]["error"], "cancelled", "{told}");
    wait_for("nothing is left", 20, || wrapped() == 0);
    front.pass();
    let kept = call(&client, &json!(1), "", "transit.random", &json!({"wrap_ttl": 300})).json();
    assert_eq!((&kept["result"]["isError"], wrapped()), (&json!(false), 1), "{kept}");
}

fn reset(shared: &Shared) {
    let front = Front::start(shared.world());
    let gate = Gate::start(shared.world(), &Plan { environment: front.environment(), ..Plan::default() });
    assert_eq!(gate.keyed().put("/secrets/cancel/gone", &json!({"data": {"a": 1}})).status, 200);
    let door = Arc::new(Door::default());
    front.treat("cancel/gone", Verdict::Behind(Arc::clone(&door)));
    let authority = reqwest::Certificate::from_pem(gate.authority().as_bytes()).expect("a certificate");
    let client = reqwest::blocking::Client::builder().tls_certs_only([authority]).build().expect("a client");
    let message = request("tools/call", &json!({"name": "kv.read", "arguments": {"path": "cancel/gone"}}));
    let asking = client.post(format!("https://localhost:{}/mcp", gate.tls)).header("x-api-key", API_KEY);
    let asking = asking.header("content-type", "application/json").body(message.to_string());
    let given_up = asking.timeout(Duration::from_secs(2)).send();
    assert!(given_up.is_err_and(|error| error.is_timeout()));
    wait_for("it is ended", 20, || !gate.logged(&json!({"operation": "kv.read", "decision": "cancelled"})).is_empty());
    assert_eq!(door.waiting(), 1, "while Vault has it");
    door.open();
}

fn traces(shared: &Shared) {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let gate = shared.gate();
    let client = gate.keyed();
    let asked = |headers: &[(&str, &str)], traceparent: &Value| {
        let mut message = request("tools/call", &json!({"name": "whoami", "_meta": meta()}));
        message["params"]["_meta"]["traceparent"] = traceparent.clone();
        let own = [("MCP-Protocol-Version", STATELESS), ("Mcp-Method", "tools/call"), ("Mcp-Name", "whoami")];
        let response = client.mcp_with(&[headers, &own].concat(), &message);
        assert_eq!(response.status, 200, "{response:?}");
        let said = |name: &str| response.header(name).expect("an id").to_owned();
        let (request_id, correlation) = (said("x-request-id"), said("x-correlation-id"));
        wait_for("its line", 10, || {
            !gate.logged(&json!({"request_id": request_id, "correlation_id": correlation})).is_empty()
        });
        (correlation == request_id, correlation)
    };
    assert_eq!(asked(&[], &json!(parent)).1, TRACE);
    assert_eq!(asked(&[("X-Correlation-Id", "mine")], &json!(parent)).1, "mine");
    let other = parent.replace('4', "5");
    assert_eq!(asked(&[("Traceparent", &other)], &json!(parent)).1, TRACE.replace('4', "5"));
    assert_eq!(asked(&[("Traceparent", "none")], &json!(parent)).1, TRACE);
    for invalid in [json!("none"), json!(parent.to_uppercase()), json!(7), Value::Null, json!(format!("{parent}-x"))] {
        assert!(asked(&[], &invalid).0, "{invalid}");
    }
    // On REST by the header.
    let response = client.send("GET", "/whoami", &[("Traceparent", &parent)], b"");
    assert_eq!(response.header("x-correlation-id"), Some(TRACE));
}

fn params(shared: &Shared) {
    let client = shared.gate().keyed();
    let schema = Schema::of(STATELESS);
    let listed = schema.result("ListToolsResult", &ask(&client, STATELESS, "tools/list", &json!({})));
    let tool =
        |name: &str| listed["tools"].as_array().expect("tools").iter().find(|tool| tool["name"] == name).cloned();
    let marked = |name: &str, argument: &str| {
        tool(name).expect("a tool")["inputSchema"]["properties"][argument]["x-mcp-header"].clone()
    };
    assert_eq!((marked("kv_read", "path"), marked("transit_sign", "key")), (json!("Path"), json!("Key")));
    assert!(marked("kv_read", "version").is_null() && marked("kv_list", "prefix").is_null());
    let path = "params/é";
    assert_eq!(client.call("kv.write", &json!({"path": path, "data": {"a": 1}})).json()["result"]["isError"], false);
    let read = |headers: &[(&str, &str)]| {
        let params = json!({"name": "kv.read", "arguments": {"path": path}, "_meta": meta()});
        let own = [("MCP-Protocol-Version", STATELESS), ("Mcp-Method", "tools/call"), ("Mcp-Name", "kv.read")];
        client.mcp_with(&[headers, &own].concat(), &request("tools/call", &params))
    };
    let encoded = "=?base64?cGFyYW1zL8Op?=";
    let found = schema.result("CallToolResult", &read(&[("Mcp-Param-Path", encoded)]));
    assert_eq!(found["structuredContent"]["data"], json!({"a": 1}));
    // What a tool does not mark says nothing.
    let found = read(&[("Mcp-Param-Path", encoded), ("Mcp-Param-Version", "9"), ("Mcp-Param-Role", "x")]);
    assert_eq!(schema.result("CallToolResult", &found)["isError"], false);
    for headers in [
        &[][..],
        &[("Mcp-Param-Path", "params/e")],
        &[("Mcp-Param-Path", "")],
        &[("Mcp-Param-Path", "=?base64?!?=")],
        &[("Mcp-Param-Path", encoded), ("Mcp-Param-Path", encoded)],
    ] {
        let response = read(headers);
        assert_eq!((&schema.error(&response)["code"], response.status), (&json!(-32020), 400), "{headers:?}");
    }
    // A header does not allow what the argument may not: the argument is what is judged.
    let response = ask(&client, STATELESS, "tools/call", &json!({"name": "kv.read", "arguments": {"path": "../x"}}));
    assert_eq!(schema.result("CallToolResult", &response)["structuredContent"]["error"], "invalid_path");
}
