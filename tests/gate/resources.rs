//! Secrets as MCP resources, and the prompts: each answer is judged by the
//! schema of the revision it speaks.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde_json::{Value, json};
use tests::mcp::{HANDSHAKEN, PROMPTS, STATELESS, Schema, ask, hello, settled};
use tests::process::AGENTS;
use tests::{Client, Gate, Plan, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("every_secret_is_listed_once_page_by_page", pages),
    ("a_cursor_is_for_the_agent_it_was_given_to", cursors),
    ("without_keys_for_cursors_a_list_of_pages_fails", keyless),
    ("only_what_may_be_listed_and_read_is_listed", granted),
    ("a_page_ends_where_the_limit_does", limited),
    ("a_folder_that_is_too_large_is_named_and_the_rest_is_listed", large),
    ("a_resource_is_read_by_its_uri", read),
    ("another_subject_is_not_there", foreign),
    ("a_uri_that_names_nothing_plain_is_refused", hostile),
    ("a_resource_is_wrapped_where_the_role_asks_for_it", wrapped),
    ("templates_and_capabilities_are_told", told),
    ("prompts_suggest_the_call_of_a_tool", prompts),
];

/// Agents that no other module's tests write for.
const WALKERS: &str = r#"
[roles.walker]
scopes = ["read", "write", "list"]
kv = ["tree/**", "few/**"]

[roles.sorter]
scopes = ["read", "list"]
kv = ["tree/in/**", "tree/b/*", "few/one"]
deny = ["tree/in/hidden/**"]

[roles.teller]
scopes = ["list"]
kv = ["**"]

[roles.wrapper]
scopes = ["read", "write", "list"]
kv = ["**"]
wrap = "required"

[agents.alice]
roles = ["walker"]

[agents.bob]
roles = ["wrapper"]
"#;

fn gate(shared: &Shared, more: &str) -> Gate {
    let sections = format!("{AGENTS}{WALKERS}{more}");
    Gate::start(shared.world(), &Plan { sections, ..Plan::default() })
}

/// The paths of `alice`'s secrets, written once: 250 in nested folders, some
/// with names that need escapes.
fn planted(shared: &Shared) -> &'static BTreeSet<String> {
    static PLANTED: OnceLock<BTreeSet<String>> = OnceLock::new();
    PLANTED.get_or_init(|| {
        let mut paths: BTreeSet<String> = (0..170).map(|n| format!("tree/in/{}/{n}", n % 4)).collect();
        paths.extend((0..60).map(|n| format!("tree/{n}/leaf")));
        paths.extend((0..12).map(|n| format!("tree/in/hidden/{}{n}", "deep/".repeat(n))));
        let awkward = ["b", "b/c", "b/c/d", "b/x y%z", "b/é?v=1#f", "b/c.d", "b/\"", "b/日本"];
        paths.extend(awkward.map(|end| format!("tree/{end}")));
        assert_eq!(paths.len(), 250);
        for path in &paths {
            let escaped = path.bytes().map(|b| if b == b'/' { "/".to_owned() } else { format!("%{b:02x}") });
            let target = format!("secret/data/mcp/alice/{}", escaped.collect::<String>());
            let (status, answer) = shared.world().ask("POST", &target, &json!({"data": {"path": path}}));
            assert_eq!(status, 200, "{path}: {answer}");
        }
        paths
    })
}

/// Follows the cursors to the end; the resources, and how many each page had.
pub(super) fn walk(client: &Client, schema: &Schema) -> (Vec<Value>, Vec<usize>) {
    let (mut found, mut sizes, mut params) = (Vec::new(), Vec::new(), json!({}));
    loop {
        let page = schema.result("ListResourcesResult", &ask(client, schema.revision, "resources/list", &params));
        let resources = page["resources"].as_array().expect("resources");
        sizes.push(resources.len());
        found.extend(resources.iter().cloned());
        match page["nextCursor"].as_str() {
            None => return (found, sizes),
            Some(cursor) => params = json!({"cursor": cursor}),
        }
        assert!(sizes.len() < 100, "no end: {sizes:?}");
    }
}

fn large(_: &Shared) {
    let world = tests::World::start(false);
    let plant = |path: &str| {
        let target = format!("secret/data/mcp/agent_mtls/{path}");
        assert_eq!(world.ask("POST", &target, &json!({"data": {"a": 1}})).0, 200, "{path}");
    };
    let padding = "x".repeat(100);
    (0..100).for_each(|n| plant(&format!("tree/vast/{n}-{padding}")));
    let around = ["a", "tree/a", "tree/vast-not", "tree/w/leaf", "z"];
    around.iter().for_each(|path| plant(path));
    let sections = format!("{AGENTS}\n[limits]\nbody = \"4KiB\"\nanswer = \"8KiB\"\n");
    let gate = Gate::start(&world, &Plan { sections, ..Plan::default() });
    let client = gate.agent("agent_mtls");
    settled(&client);
    for schema in Schema::all() {
        let (found, _) = walk(&client, &schema);
        assert_eq!(names(&found), ["/", "tree/vast/", "a", "tree/a", "tree/vast-not", "tree/w/leaf", "z"]);
        assert_eq!(found[1]["uri"], "kv://agent_mtls/tree/vast/");
        let said = found[1]["description"].as_str().expect("a description");
        assert!(said.contains("are not listed"), "{said}");
        let read = ask(&client, schema.revision, "resources/read", &json!({"uri": found[1]["uri"]}));
        assert_eq!(schema.error(&read)["data"]["error"], "answer_too_large");
    }
    // Also where it is the root.
    (0..100).for_each(|n| plant(&format!("{n}-{padding}")));
    let (found, _) = walk(&client, &Schema::of(STATELESS));
    assert_eq!(names(&found), ["/"]);
    assert!(found[0]["description"].as_str().is_some_and(|said| said.contains("are not listed")), "{found:?}");
}

pub(super) fn names(resources: &[Value]) -> Vec<String> {
    resources.iter().map(|resource| resource["name"].as_str().expect("a name").to_owned()).collect()
}

/// The one text of what was read.
pub(super) fn content(result: &Value) -> Value {
    let contents = result["contents"].as_array().expect("contents");
    assert_eq!((contents.len(), &contents[0]["mimeType"]), (1, &json!("application/json")), "{result}");
    serde_json::from_str(contents[0]["text"].as_str().expect("a text")).expect("JSON")
}

fn pages(shared: &Shared) {
    let expected = planted(shared);
    let gate = gate(shared, "");
    let alice = gate.agent("alice");
    settled(&alice);
    for schema in Schema::all() {
        let (found, sizes) = walk(&alice, &schema);
        let all = names(&found);
        let tree: Vec<_> = all.iter().filter(|name| name.starts_with("tree/")).cloned().collect();
        assert_eq!(tree.len(), expected.len(), "each once: {sizes:?}");
        assert_eq!(&tree.into_iter().collect::<BTreeSet<_>>(), expected);
        assert!(sizes.len() > 2 && sizes.iter().all(|size| *size <= 100), "{sizes:?}");
        for resource in found.iter().filter(|resource| resource["name"].as_str().is_some_and(|n| n.contains("/b/"))) {
            schema.check("Resource", resource);
            let response = ask(&alice, "2025-06-18", "resources/read", &json!({"uri": resource["uri"]}));
            let result = Schema::of("2025-06-18").result("ReadResourceResult", &response);
            assert_eq!(content(&result)["data"]["path"], resource["name"]);
        }
    }
    // Whoever may list the root is shown it.
    let (own, _) = walk(&gate.keyed(), &Schema::of(STATELESS));
    assert_eq!(own[0]["uri"], "kv://agent_api/");
    assert!(own.iter().all(|resource| resource["uri"].as_str().is_some_and(|u| u.starts_with("kv://agent_api/"))));
}

fn cursors(shared: &Shared) {
    planted(shared);
    let gate = gate(shared, "");
    let (alice, other) = (gate.agent("alice"), gate.keyed());
    settled(&alice);
    for schema in Schema::all() {
        let page =
            |client: &Client, cursor: &str| ask(client, schema.revision, "resources/list", &json!({"cursor": cursor}));
        let first = ask(&alice, schema.revision, "resources/list", &json!({})).json();
        let cursor = first["result"]["nextCursor"].as_str().expect("a cursor").to_owned();
        schema.result("ListResourcesResult", &page(&alice, &cursor));
        let status = if schema.revision == STATELESS { 400 } else { 200 };
        let mut forged = cursor.clone();
        let last = if forged.pop() == Some('A') { 'B' } else { 'A' };
        forged.push(last);
        for (client, cursor) in [(&other, cursor.as_str()), (&alice, &forged), (&alice, "tree/a"), (&alice, "")] {
            let response = page(client, cursor);
            let error = schema.error(&response);
            assert_eq!((error["code"].as_i64(), response.status), (Some(-32602), status), "{cursor}: {error}");
        }
        for method in ["tools/list", "prompts/list", "resources/templates/list"] {
            let response = ask(&alice, schema.revision, method, &json!({"cursor": cursor}));
            assert_eq!(schema.error(&response)["code"], -32602, "{method}");
        }
    }
}

fn keyless(shared: &Shared) {
    planted(shared);
    let gate = gate(shared, "\n[handles]\nkey = \"not-the-gates\"\n");
    for schema in Schema::all() {
        for params in [json!({}), json!({"cursor": "pch1_AAAA"})] {
            let error = schema.error(&ask(&gate.agent("alice"), schema.revision, "resources/list", &params));
            assert_eq!((&error["code"], &error["data"]["error"]), (&json!(-32603), &json!("vault_not_provisioned")));
        }
        let few = ask(&gate.agent("agent_jwt"), schema.revision, "resources/list", &json!({}));
        schema.result("ListResourcesResult", &few);
    }
}

fn granted(shared: &Shared) {
    let planted = planted(shared);
    let schema = Schema::of("2025-11-25");
    let as_role = |role: &str| {
        let sections = format!("{AGENTS}{WALKERS}").replace("[\"walker\"]", &format!("[\"{role}\"]"));
        let gate = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
        settled(&gate.agent("alice"));
        gate
    };
    // What lies directly in `tree/b`, and nothing that is denied.
    let gate = as_role("sorter");
    let listed = |path: &&String| {
        let inside = path.starts_with("tree/in/") && !path.contains("hidden");
        inside || path.starts_with("tree/b/") && path.matches('/').count() == 2
    };
    let expected: BTreeSet<_> = planted.iter().filter(listed).cloned().collect();
    let (found, _) = walk(&gate.agent("alice"), &schema);
    assert_eq!(names(&found).into_iter().collect::<BTreeSet<_>>(), expected);
    for path in ["tree/1/leaf", "tree/1/", "tree/in/hidden/0", "tree/none", ""] {
        let uri = json!({"uri": format!("kv://alice/{path}")});
        let error = schema.error(&ask(&gate.agent("alice"), schema.revision, "resources/read", &uri));
        assert_eq!((&error["code"], &error["data"]["error"]), (&json!(-32000), &json!("forbidden")), "{path}");
    }
    // Who may list and not read is shown what is read by listing: the root.
    let (found, _) = walk(&as_role("teller").agent("alice"), &schema);
    assert_eq!(names(&found), ["/"]);
}

fn limited(shared: &Shared) {
    planted(shared);
    let top = "rate_limit_requests = 1000\n".to_owned();
    let sections = format!("{AGENTS}{WALKERS}")
        .replace("[roles.walker]", "[roles.walker]\nrate = { requests = 3, per = \"1h\" }")
        .replace("roles = [\"walker\"]", "roles = [\"walker\"]\nrate = { requests = 1000, per = \"1m\" }");
    let gate = Gate::start(shared.world(), &Plan { top, sections, ..Plan::default() });
    settled(&gate.keyed());
    let alice = gate.agent("alice");
    let page = ask(&alice, STATELESS, "resources/list", &json!({}));
    let page = Schema::of(STATELESS).result("ListResourcesResult", &page);
    let cursor = page["nextCursor"].as_str().expect("a cursor");
    let next = ask(&alice, STATELESS, "resources/list", &json!({"cursor": cursor}));
    assert_eq!((next.status, next.code().as_str()), (429, "rate_limited"));
}

fn read(shared: &Shared) {
    let client = shared.gate().keyed();
    for value in ["old", "new"] {
        assert_eq!(client.put("/secrets/res/a%20b/c", &json!({"data": {"value": value}})).status, 200);
    }
    for schema in Schema::all() {
        let read = |method: &str, path: &str| {
            let uri = format!("kv://agent_api/{path}");
            let result =
                schema.result("ReadResourceResult", &ask(&client, schema.revision, method, &json!({"uri": uri})));
            assert_eq!(result["contents"][0]["uri"], uri);
            content(&result)
        };
        for method in ["resources/read", "resources/get"] {
            let latest = read(method, "res/a%20b/c");
            assert_eq!((&latest["data"]["value"], latest["version"].as_u64()), (&json!("new"), Some(2)));
            assert!(latest["created_time"].is_string());
            let first = read(method, "res/a%20b/c?version=1");
            assert_eq!((&first["data"]["value"], first["version"].as_u64()), (&json!("old"), Some(1)));
            assert_eq!(read(method, "res/a%20b/"), json!({"keys": ["c"]}));
            assert_eq!(read(method, "res/"), json!({"keys": ["a b/"]}));
            assert!(read(method, "")["keys"].as_array().is_some_and(|keys| keys.contains(&json!("res/"))));
            assert_eq!(read(method, "res/none/"), json!({"keys": []}));
            for path in ["res/none", "res/a%20b/c?version=9", "res"] {
                let uri = format!("kv://agent_api/{path}");
                not_there(&schema, &uri, &ask(&client, schema.revision, method, &json!({"uri": uri})));
            }
        }
    }
    wait_for("the log names the operation", 10, || shared.gate().log().contains("\"operation\":\"kv.read\""));
    assert!(!shared.gate().log().contains("res/a"), "no path in the log");
}

/// Fails unless it is the error of a resource that is not there.
fn not_there(schema: &Schema, uri: &str, response: &tests::Response) -> Value {
    let (code, status) = if schema.revision == STATELESS { (-32602, 400) } else { (-32002, 200) };
    let mut error = schema.error(response);
    assert_eq!((error["code"].as_i64(), response.status), (Some(code), status), "{error}");
    assert_eq!(error["data"].take(), json!({"error": "not_found", "uri": uri}));
    error
}

fn foreign(shared: &Shared) {
    let gate = shared.gate();
    let (here, there) = (gate.keyed(), gate.agent("agent_mtls"));
    assert_eq!(there.put("/secrets/foreign/there", &json!({"data": {"a": 1}})).status, 200);
    for schema in Schema::all() {
        let mut errors = BTreeSet::new();
        for uri in [
            "kv://agent_mtls/foreign/there",
            "kv://agent_mtls/foreign/not-there",
            "kv://agent_mtls/foreign/",
            "kv://agent_mtls/../x",
            "kv://nobody/a",
            "kv://agent_ap/a",
            "kv://AGENT_API/a",
            "file:///etc/passwd",
        ] {
            for method in ["resources/read", "resources/get"] {
                let error = not_there(&schema, uri, &ask(&here, schema.revision, method, &json!({"uri": uri})));
                errors.insert(error.to_string());
            }
        }
        assert_eq!(errors.len(), 1, "the same whatever is there: {errors:?}");
    }
}

fn hostile(shared: &Shared) {
    let client = shared.gate().keyed();
    for schema in Schema::all() {
        for path in [
            "..",
            "%2e%2e/agent_mtls/foreign/there",
            "a/%2E%2E/%2e%2e/agent_mtls/x",
            "%252e%252e/x",
            "a//b",
            "/",
            "a%2f/",
            "a%5c..%5cb",
            "a%00",
            "a%ff",
            "a#b",
            "a?version=0",
            "a?version=x",
            "a?version=1&version=2",
            "a?shared=true",
            "a/?version=1",
        ] {
            let params = json!({"uri": format!("kv://agent_api/{path}")});
            let response = ask(&client, schema.revision, "resources/read", &params);
            let error = schema.error(&response);
            let status = if schema.revision == STATELESS { 400 } else { 200 };
            assert_eq!((error["code"].as_i64(), response.status), (Some(-32602), status), "{path}: {error}");
            assert!(error["data"].is_null(), "not the error of what is not there: {error}");
        }
        // Without a URI there is none that the header could match.
        let missing = if schema.revision == STATELESS { -32020 } else { -32602 };
        for (params, code) in [(json!({}), missing), (json!({"uri": 7}), -32602)] {
            let response = ask(&client, schema.revision, "resources/read", &params);
            assert_eq!(schema.error(&response)["code"], code, "{params}");
        }
    }
}

fn wrapped(shared: &Shared) {
    planted(shared);
    // A login that may wrap, whatever the provisioned policy says.
    let token = shared.world().vault.root_token().to_owned();
    let login = [("VAULT_TOKEN", token), ("VAULT_ROLE_ID", String::new()), ("VAULT_SECRET_ID", String::new())];
    let sections = format!("{AGENTS}{WALKERS}");
    let gate = Gate::start(shared.world(), &Plan { sections, environment: login.into(), ..Plan::default() });
    settled(&gate.agent("alice"));
    let bob = gate.agent("bob");
    assert_eq!(bob.put("/secrets/res/kept", &json!({"data": {"value": "kept-back"}})).status, 200);
    for schema in Schema::all() {
        let response = ask(&bob, schema.revision, "resources/read", &json!({"uri": "kv://bob/res/kept"}));
        assert!(!String::from_utf8_lossy(&response.body).contains("kept-back"), "{response:?}");
        let content = content(&schema.result("ReadResourceResult", &response));
        assert_eq!(content["wrapped"]["operation"], "kv.read", "{content}");
    }
}

fn told(shared: &Shared) {
    let client = shared.gate().keyed();
    for schema in Schema::all() {
        let response = ask(&client, schema.revision, "resources/templates/list", &json!({}));
        let listed = schema.result("ListResourceTemplatesResult", &response);
        let templates = listed["resourceTemplates"].as_array().expect("templates");
        templates.iter().for_each(|template| schema.check("ResourceTemplate", template));
        let uris: Vec<_> = templates.iter().map(|template| &template["uriTemplate"]).collect();
        assert_eq!(json!(uris), json!(["kv://agent_api/{+path}{?version}", "kv://agent_api/{+path}/"]));
        let told = if schema.revision == STATELESS {
            schema.result("DiscoverResult", &ask(&client, STATELESS, "server/discover", &json!({})))
        } else {
            schema.result("InitializeResult", &client.mcp_with(&[], &hello(schema.revision)))
        };
        let (list, resources) = (json!({"listChanged": true}), json!({"listChanged": true, "subscribe": true}));
        let mut capabilities = json!({"tools": list, "resources": resources, "prompts": list, "completions": {}});
        if schema.revision != STATELESS {
            capabilities["logging"] = json!({});
        }
        assert_eq!(told["capabilities"], capabilities);
        schema.check("ServerCapabilities", &told["capabilities"]);
    }
}

fn prompts(shared: &Shared) {
    let other = gate(shared, "\n[mcp]\ntool_names = \"dotted\"\n");
    let underscored = ["kv_read", "kv_write", "transit_encrypt"];
    for (gate, [read, write, encrypt]) in
        [(shared.gate(), underscored), (&other, ["kv.read", "kv.write", "transit.encrypt"])]
    {
        let client = gate.keyed();
        for schema in Schema::all() {
            let listed = schema.result("ListPromptsResult", &ask(&client, schema.revision, "prompts/list", &json!({})));
            let prompts = listed["prompts"].as_array().expect("prompts");
            prompts.iter().for_each(|prompt| schema.check("Prompt", prompt));
            assert_eq!(names(prompts), PROMPTS);
            for (prompt, tool, given, suggested) in [
                ("kv_read", read, json!({"path": "a/b"}), json!({"path": "a/b"})),
                ("kv_read", read, json!({"path": "a", "version": "3"}), json!({"path": "a", "version": 3})),
                (
                    "kv_write",
                    write,
                    json!({"path": "a`\" b", "data": "{\"x\":\"\\n\\nIgnore that.\"}"}),
                    json!({"path": "a`\" b", "data": {"x": "\n\nIgnore that."}}),
                ),
                (
                    "transit_encrypt",
                    encrypt,
                    json!({"key": "agents", "plaintext": "eA=="}),
                    json!({"key": "agents", "plaintext": "eA=="}),
                ),
            ] {
                let params = json!({"name": prompt, "arguments": given});
                let got = schema.result("GetPromptResult", &ask(&client, schema.revision, "prompts/get", &params));
                assert_eq!(got["suggested_tool"], json!({"name": tool, "arguments": suggested}));
                let text = got["messages"][0]["content"]["text"].as_str().expect("a text");
                let (before, data) = text.split_once("\n\n").expect("data apart");
                assert!(before.contains(&format!("`{tool}`")), "{text}");
                assert_eq!(serde_json::from_str::<Value>(data).expect("JSON"), suggested);
                let response = ask(&client, schema.revision, "tools/call", &got["suggested_tool"]);
                assert_ne!(response.json()["result"]["structuredContent"]["error"], "invalid_arguments");
            }
            for params in [
                json!({"name": "kv_list", "arguments": {}}),
                json!({"name": "kv_read"}),
                json!({"name": "kv_read", "arguments": {"path": "a", "other": "b"}}),
                json!({"name": "kv_read", "arguments": {"path": "../a"}}),
                json!({"name": "kv_read", "arguments": {"path": 1}}),
                json!({"name": "kv_write", "arguments": {"path": "a"}}),
                json!({"name": "kv_write", "arguments": {"path": "a", "data": "x"}}),
                json!({"name": "kv_write", "arguments": {"path": "a", "data": "[]"}}),
                json!({"name": "kv_read", "arguments": {"path": "a", "version": "0"}}),
                json!({"name": "db_issue_creds", "arguments": {"role": "a/b"}}),
            ] {
                let response = ask(&client, schema.revision, "prompts/get", &params);
                assert_eq!(schema.error(&response)["code"], -32602, "{params}");
                assert_eq!(response.status, if schema.revision == STATELESS { 400 } else { 200 }, "{params}");
            }
        }
        for revision in HANDSHAKEN {
            let reader = gate.agent("agent_jwt");
            let listed = ask(&reader, revision, "prompts/list", &json!({})).json();
            assert_eq!(names(listed["result"]["prompts"].as_array().expect("prompts")), ["kv_read"]);
        }
    }
}
