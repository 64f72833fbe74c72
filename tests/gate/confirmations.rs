//! Calls that a client's user confirms first: asked over MCP 2026-07-28, refused where there is no way to ask, and each
//! answer good for one call of one agent.

use serde_json::{Value, json};
use tests::mcp::{HANDSHAKEN, STATELESS, Schema, ask, meta, repeated, request, settled};
use tests::process::AGENTS;
use tests::servers::{REDIS_PASSWORD, Redis};
use tests::{Client, Gate, Plan, Response, wait_for};

use super::configuration::{folder_with, run, said};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("a_call_is_made_once_its_user_has_confirmed_it", confirmed),
    ("a_confirmation_is_good_for_one_call_of_one_agent", forged),
    ("gates_that_share_limits_take_a_confirmation_once", shared_marks),
    ("a_client_that_cannot_ask_is_told_what_it_takes", cannot_ask),
    ("rest_asks_nobody", rest),
    ("an_agent_is_told_of_it", told),
    ("the_verbs_tell_of_it", verbs),
];

const ROLES: &str = r#"
[roles.careful]
scopes = ["read", "write", "delete", "list"]
kv = ["**"]
transit = ["*"]
confirm = ["kv.destroy", "kv.undelete"]

[agents.alice]
roles = ["careful"]

[agents.bob]
roles = ["careful"]
"#;

fn plan() -> Plan {
    Plan { sections: format!("{AGENTS}{ROLES}"), ..Plan::default() }
}

/// Calls a tool with these capabilities, and with what a question was answered.
fn call(client: &Client, capabilities: &Value, tool: &str, arguments: &Value, answered: &Value) -> Response {
    let mut params = json!({"name": tool, "arguments": arguments, "_meta": meta()});
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities.clone();
    for (name, value) in answered.as_object().into_iter().flatten() {
        params[name] = value.clone();
    }
    let repeated = repeated(arguments);
    let mut headers = vec![("MCP-Protocol-Version", STATELESS), ("Mcp-Method", "tools/call"), ("Mcp-Name", tool)];
    headers.extend(repeated.iter().map(|(name, value)| (*name, value.as_str())));
    client.mcp_with(&headers, &request("tools/call", &params))
}

fn elicits() -> Value {
    json!({"elicitation": {"form": {}}})
}

/// Is asked to confirm; the message, and the state.
fn asked(client: &Client, tool: &str, arguments: &Value) -> (String, String) {
    let response = call(client, &elicits(), tool, arguments, &json!({}));
    let result = Schema::of(STATELESS).result("InputRequiredResult", &response);
    assert_eq!(result["resultType"], "input_required", "{result}");
    let question = &result["inputRequests"]["confirm"];
    Schema::of(STATELESS).check("ElicitRequest", question);
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    (text(&question["params"]["message"]), text(&result["requestState"]))
}

fn answer(action: &str, state: &str) -> Value {
    json!({"requestState": state, "inputResponses": {"confirm": {"action": action, "content": {}}}})
}

/// Makes the call with an answer; the code of its error, or nothing.
fn made(client: &Client, tool: &str, arguments: &Value, answered: &Value) -> Option<String> {
    let response = call(client, &elicits(), tool, arguments, answered);
    let result = Schema::of(STATELESS).result("CallToolResult", &response);
    assert_eq!(result["resultType"], "complete", "{result}");
    result["structuredContent"]["error"].as_str().map(str::to_owned)
}

fn write(client: &Client, path: &str) {
    assert_eq!(client.put(&format!("/secrets/{path}"), &json!({"data": {"a": 1}})).status, 200);
}

fn exists(client: &Client, path: &str) -> bool {
    client.get(&format!("/secrets/{path}")).status == 200
}

fn confirmed(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan());
    let client = gate.agent("alice");
    settled(&client);
    write(&client, "confirm/a");
    let arguments = json!({"path": "confirm/a", "versions": [1]});
    let (message, state) = asked(&client, "kv.destroy", &arguments);
    assert!(message.contains("kv.destroy") && message.contains("confirm/a"), "{message}");
    assert!(state.starts_with("pch1_") && !state.contains("confirm/a"), "{state}");
    assert!(exists(&client, "confirm/a"), "nothing was done");
    assert_eq!(made(&client, "kv.destroy", &arguments, &answer("decline", &state)).as_deref(), Some("not_confirmed"));
    assert!(exists(&client, "confirm/a"));
    assert_eq!(made(&client, "kv.destroy", &arguments, &answer("accept", &state)), None);
    assert!(!exists(&client, "confirm/a"));
    // A state without an answer, and an answer without a state, are asked again.
    for answered in [json!({"requestState": state}), json!({"inputResponses": answer("accept", "")["inputResponses"]})]
    {
        let response = call(&client, &elicits(), "kv.destroy", &arguments, &answered);
        assert_eq!(response.json()["result"]["resultType"], "input_required", "{response:?}");
    }
    // What is not named is not asked for, and what may not be done neither.
    assert_eq!(made(&client, "kv.write", &json!({"path": "confirm/b", "data": {}}), &json!({})), None);
    let refused = made(&client, "kv.destroy", &json!({"path": "../b", "versions": [1]}), &json!({}));
    assert_eq!(refused.as_deref(), Some("invalid_path"));
    let asked_for =
        || !gate.logged(&json!({"operation": "kv.destroy", "decision": "confirmation_required"})).is_empty();
    wait_for("its line", 10, asked_for);
}

fn forged(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan());
    let (alice, bob) = (gate.agent("alice"), gate.agent("bob"));
    settled(&alice);
    for (client, path) in [(&alice, "forge/a"), (&alice, "forge/b"), (&bob, "forge/a")] {
        write(client, path);
    }
    let arguments = json!({"path": "forge/a", "versions": [1]});
    let (_, state) = asked(&alice, "kv.destroy", &arguments);
    let refused = |client: &Client, tool: &str, arguments: &Value, state: &str| {
        let told = made(client, tool, arguments, &answer("accept", state));
        assert_eq!(told.as_deref(), Some("not_confirmed"), "{tool} {arguments} {state}");
    };
    let (head, tail) = state.split_at(state.len() / 2);
    let changed = format!("{head}{}{}", if tail.starts_with('A') { 'B' } else { 'A' }, &tail[1..]);
    let cursor = ask(&alice, "2025-06-18", "resources/list", &json!({})).json()["result"]["nextCursor"].clone();
    for forged in ["", "none", "pch1_", &changed, &state[..state.len() - 4], cursor.as_str().unwrap_or("pch1_AAAA")] {
        refused(&alice, "kv.destroy", &arguments, forged);
    }
    // Another agent's, other arguments, another tool.
    refused(&bob, "kv.destroy", &arguments, &state);
    refused(&alice, "kv.destroy", &json!({"path": "forge/b", "versions": [1]}), &state);
    refused(&alice, "kv.destroy", &json!({"path": "forge/a", "versions": [1, 2]}), &state);
    refused(&alice, "kv.undelete", &arguments, &state);
    assert!(exists(&alice, "forge/a") && exists(&alice, "forge/b") && exists(&bob, "forge/a"));
    assert_eq!(made(&alice, "kv.destroy", &arguments, &answer("accept", &state)), None);
    write(&alice, "forge/a");
    refused(&alice, "kv.destroy", &arguments, &state);
}

fn shared_marks(shared: &Shared) {
    let server = Redis::start();
    let start = || {
        let top = "rate_limit_requests = 1000\nrate_limit_window_seconds = 60\n".to_owned();
        let sections = format!("{AGENTS}{ROLES}\n[rate_limit]\nbackend = \"redis\"\ntimeout = \"2s\"\n");
        let environment = vec![("REDIS_URL", server.url()), ("REDIS_PASSWORD", REDIS_PASSWORD.to_owned())];
        let gate = Gate::start(shared.world(), &Plan { top, sections, environment, ..Plan::default() });
        wait_for("limits are shared", 10, || gate.metric("portcullis_shared_limits_up") == 1.0);
        settled(&gate.agent("alice"));
        gate
    };
    let (one, other) = (start(), start());
    let (here, there) = (one.agent("alice"), other.agent("alice"));
    write(&here, "gates/a");
    let arguments = json!({"path": "gates/a", "versions": [1]});
    let (_, state) = asked(&here, "kv.destroy", &arguments);
    assert_eq!(made(&there, "kv.destroy", &arguments, &answer("accept", &state)), None, "another gate takes it");
    let again = made(&here, "kv.destroy", &arguments, &answer("accept", &state));
    assert_eq!(again.as_deref(), Some("not_confirmed"), "once");
}

fn cannot_ask(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan());
    let client = gate.agent("alice");
    settled(&client);
    write(&client, "cannot/a");
    let arguments = json!({"path": "cannot/a", "versions": [1]});
    for capabilities in [json!({}), json!({"elicitation": {"url": {}}}), json!({"roots": {}})] {
        let response = call(&client, &capabilities, "kv.destroy", &arguments, &json!({}));
        let error = Schema::of(STATELESS).error(&response);
        assert_eq!((&error["code"], response.status), (&json!(-32021), 400), "{error}");
        assert_eq!(error["data"]["requiredCapabilities"], json!({"elicitation": {}}));
    }
    for revision in HANDSHAKEN {
        let params = json!({"name": "kv.destroy", "arguments": arguments});
        let response = ask(&client, revision, "tools/call", &params);
        let result = Schema::of(revision).result("CallToolResult", &response);
        let told = (&result["isError"], &result["structuredContent"]["error"]);
        assert_eq!(told, (&json!(true), &json!("confirmation_required")), "{result}");
        assert!(result["content"][0]["text"].as_str().is_some_and(|text| text.contains("elicitation")), "{result}");
    }
    assert!(exists(&client, "cannot/a"));
}

fn rest(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan());
    let client = gate.agent("alice");
    write(&client, "rest/a");
    let destroyed = client.post("/secrets/rest/a:destroy", &json!({"versions": [1]}));
    assert!(destroyed.status < 300, "{destroyed:?}");
}

fn told(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan());
    let access = gate.agent("alice").get("/access").json().to_string();
    assert!(access.contains("confirmed first over MCP [kv.destroy kv.undelete]"), "{access}");
}

fn verbs(_: &Shared) {
    let text = ROLES.replace("[agents.bob]\nroles = [\"careful\"]\n", "");
    let folder = folder_with("config.toml", &text);
    let ask = |line: &str| said(&run(folder.path(), &line.split(' ').collect::<Vec<_>>(), &[]));
    let (code, text) = ask("explain --agent alice --operation kv.destroy --resource a");
    assert!(code == Some(0) && text.contains("`confirm = [\"kv.destroy\"]`"), "{code:?} {text}");
    let (_, text) = ask("explain --agent alice --operation kv.write --resource a");
    assert!(!text.contains("confirm"), "{text}");
    let (_, policy) = ask("policy alice");
    assert!(policy.contains("careful: over MCP, kv.destroy, kv.undelete is confirmed first"), "{policy}");
    let less = ROLES.replace("\"kv.destroy\", ", "");
    std::fs::write(folder.path().join("new.toml"), less).expect("a file");
    let (code, text) = ask("diff config.toml new.toml");
    assert!(code == Some(1) && text.contains("confirmed first over MCP [kv.undelete]"), "{code:?} {text}");
}
