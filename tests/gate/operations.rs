//! Each operation, on each surface, as each kind of caller.

use serde_json::{Value, json};
use tests::{Client, Gate, Plan};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("a_secret_is_written_read_and_listed_on_every_surface_by_every_caller", every_surface),
    ("a_deleted_secret_is_gone_until_undeleted_and_for_good_when_destroyed", deletion),
    ("check_and_set_conflicts_are_conflicts", check_and_set),
    ("an_empty_prefix_is_an_empty_list", empty_prefix),
    ("random_bytes_come_in_both_formats", random),
    ("transit_encrypts_signs_and_authenticates_with_keys_by_grant", transit),
    ("a_patch_changes_what_it_names", patch),
    ("metadata_tells_versions_and_never_values", metadata),
    ("variables_alone_grant_transit_by_key", by_variables),
    ("whoami_tells_agent_proof_scopes_and_roles", whoami),
    ("values_of_one_byte_and_of_900_kb_pass_everywhere", sizes),
    ("metadata_is_written_and_patched", described),
    ("a_role_allows_only_what_it_holds", reader),
    ("arguments_that_do_not_fit_are_422", misfits),
];

/// The agents of the shared gate, by each kind of credential.
fn callers(shared: &Shared) -> Vec<(&'static str, Client)> {
    let gate = shared.gate();
    vec![
        ("certificate", gate.agent("agent_mtls")),
        ("api key, plain", gate.keyed()),
        ("api key, TLS", gate.stranger().with("X-API-Key", tests::API_KEY)),
    ]
}

/// The structured content of a tool's result, which must say the same as text.
fn structured(response: &tests::Response) -> Value {
    let reply = response.json();
    let result = &reply["result"];
    assert_eq!(result["isError"], false, "{reply}");
    let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().expect("text")).expect("JSON");
    assert_eq!(text, result["structuredContent"]);
    text
}

fn every_surface(shared: &Shared) {
    for (who, client) in callers(shared) {
        let path = format!("surface/{}", who.replace([',', ' '], "-"));
        let target = format!("/secrets/{path}");
        let written = client.put(&target, &json!({"data": {"foo": "bar", "n": [1, null, "é\u{1f511}"]}}));
        assert_eq!(written.status, 200, "{who}: {written:?}");
        assert!(written.json()["version"].as_u64().is_some_and(|version| version >= 1));
        assert!(written.json()["created_time"].is_string());
        let read = client.get(&target);
        assert_eq!(read.status, 200, "{who}: {read:?}");
        assert_eq!(read.header("cache-control"), Some("no-store"));
        assert_eq!(read.json()["data"], json!({"foo": "bar", "n": [1, null, "é\u{1f511}"]}));
        let by_tool = structured(&client.call("kv.read", &json!({"path": path})));
        assert_eq!(by_tool, read.json(), "{who}");
        assert_eq!(structured(&client.call_stateless("kv.read", &json!({"path": path}))), read.json());
        let second = structured(&client.call("kv.write", &json!({"path": path, "data": {"foo": "baz"}})));
        assert_eq!(second["version"].as_u64(), written.json()["version"].as_u64().map(|version| version + 1));
        let first = client.get(&format!("{target}?version={}", written.json()["version"]));
        assert_eq!(first.json()["data"]["foo"], "bar");
        assert_eq!(client.get(&target).json()["data"]["foo"], "baz");
        let name = path.split('/').next_back().expect("a name");
        let listed = client.get("/secrets?prefix=surface/");
        assert!(listed.json()["keys"].as_array().expect("keys").contains(&json!(name)), "{listed:?}");
        assert_eq!(structured(&client.call("kv.list", &json!({"prefix": "surface"}))), listed.json());
        assert_eq!(client.delete(&target).status, 204);
        assert_eq!(client.get(&target).status, 404);
    }
}

fn deletion(shared: &Shared) {
    let client = shared.gate().keyed();
    let write = || client.put("/secrets/gone/x", &json!({"data": {"a": 1}})).json()["version"].clone();
    let version = write();
    let versions = json!({"versions": [version]});
    assert_eq!(client.delete("/secrets/gone/x").status, 204);
    let gone = client.get("/secrets/gone/x");
    assert_eq!((gone.status, gone.code().as_str()), (404, "not_found"));
    let undeleted = client.post("/secrets/gone/x:undelete", &versions);
    assert_eq!((undeleted.status, undeleted.json()), (200, json!({"ok": true})));
    assert_eq!(client.get("/secrets/gone/x").status, 200);
    assert_eq!(client.post("/secrets/gone/x:destroy", &versions).json(), json!({"ok": true}));
    assert_eq!(client.get("/secrets/gone/x").status, 404);
    assert_eq!(client.post("/secrets/gone/x:undelete", &versions).status, 200);
    assert_eq!(client.get("/secrets/gone/x").status, 404, "destroyed is for good");
    let again = write();
    assert_eq!(client.post("/secrets/gone/x:delete", &json!({"versions": [again]})).json(), json!({"ok": true}));
    assert_eq!(client.get("/secrets/gone/x").status, 404);
    assert_eq!(client.post("/secrets/gone/x:undelete", &json!({"versions": [again]})).status, 200);
    assert_eq!(structured(&client.call("kv.delete", &json!({"path": "gone/x"}))), json!({"ok": true}));
    let arguments = json!({"path": "gone/x", "versions": [again]});
    assert_eq!(structured(&client.call("kv.undelete", &arguments)), json!({"ok": true}));
    assert_eq!(client.get("/secrets/gone/x").status, 200);
    assert_eq!(structured(&client.call("kv.destroy", &arguments)), json!({"ok": true}));
    assert_eq!(client.get("/secrets/gone/x").status, 404);
}

fn described(shared: &Shared) {
    let (client, target) = (shared.gate().keyed(), "/secrets/described/x:metadata");
    let patch = |target: &str, body: Value| {
        let body = body.to_string();
        client.send("PATCH", target, &[("Content-Type", "application/json")], body.as_bytes()).status
    };
    let written = client.put(target, &json!({"max_versions": 3, "custom_metadata": {"owner": "a", "team": "b"}}));
    assert_eq!((written.status, written.json()), (200, json!({"ok": true})));
    assert_eq!(patch(target, json!({"cas_required": true, "custom_metadata": {"owner": null}})), 200);
    let told = client.get(target).json();
    assert_eq!((&told["max_versions"], &told["cas_required"]), (&json!(3), &json!(true)), "{told}");
    assert_eq!(told["custom_metadata"], json!({"team": "b"}), "{told}");
    assert_eq!(client.put("/secrets/described/x", &json!({"data": {}})).status, 409);
    assert_eq!(patch("/secrets/described/none:metadata", json!({"max_versions": 3})), 404);
    for unfit in [json!({"custom_metadata": {"a": null}}), json!({"delete_version_after": "soon"}), json!({"data": {}})]
    {
        assert_eq!(client.put(target, &unfit).status, 422, "{unfit}");
    }
    let reader = shared.gate().agent("agent_jwt");
    assert_eq!(reader.put("/secrets/public/x:metadata", &json!({"max_versions": 3})).status, 403);
    assert_eq!(reader.post("/secrets/public/x:delete", &json!({"versions": [1]})).status, 403);
}

fn check_and_set(shared: &Shared) {
    let client = shared.gate().keyed();
    let path = format!("/secrets/cas/{}", std::process::id());
    let write = |cas: u64| client.put(&path, &json!({"data": {"a": 1}, "cas": cas}));
    assert_eq!(write(0).status, 200);
    let refused = write(0);
    assert_eq!((refused.status, refused.code().as_str()), (409, "check_and_set_failed"));
    assert_eq!(write(1).json()["version"], 2);
    let tool = client.call("kv.write", &json!({"path": &path[9..], "data": {}, "cas": 1})).json();
    assert_eq!(tool["result"]["isError"], true);
    assert_eq!(tool["result"]["structuredContent"]["error"], "check_and_set_failed");
}

fn empty_prefix(shared: &Shared) {
    let client = shared.gate().keyed();
    let listed = client.get("/secrets?prefix=nothing/here");
    assert_eq!((listed.status, listed.json()), (200, json!({"keys": []})));
    assert_eq!(structured(&client.call("kv.list", &json!({"prefix": "nothing/here/"}))), json!({"keys": []}));
}

fn random(shared: &Shared) {
    let client = shared.gate().keyed();
    let hex = client.get("/transit/random?bytes=16&format=hex").json();
    let bytes = hex["random_bytes"].as_str().expect("text");
    assert!(bytes.len() == 32 && bytes.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hex}");
    let base64 = client.get("/transit/random").json();
    assert_eq!(base64["random_bytes"].as_str().map(str::len), Some(44));
    let tool = structured(&client.call("transit.random", &json!({"bytes": 4, "format": "hex"})));
    assert_eq!(tool["random_bytes"].as_str().map(str::len), Some(8));
    assert_eq!(client.get("/transit/random?bytes=0").status, 422);
    assert_eq!(client.get("/transit/random?bytes=65537").status, 422);
}

fn by_variables(shared: &Shared) {
    let sections = "[identity]\ncertificate = [\"cn\"]\nunknown_agents = \"own-namespace\"\n";
    let plan = |environment| Plan { sections: sections.into(), environment, ..Plan::default() };
    let arguments = json!({"key": "agents-key", "plaintext": "eA=="});
    for (keys, expected) in [(None, 403), (Some("agents-*"), 200), (Some("others-*"), 403)] {
        let environment = keys.map(|keys| ("DEFAULT_ROLE_TRANSIT", keys.to_owned())).into_iter().collect();
        let gate = Gate::start(shared.world(), &plan(environment));
        assert_eq!(gate.agent("agent_mtls").post("/transit/encrypt", &arguments).status, expected, "{keys:?}");
        assert_eq!(gate.stderr().contains("DEFAULT_ROLE_TRANSIT"), keys.is_some(), "said at the start");
    }
}

fn whoami(shared: &Shared) {
    let gate = shared.gate();
    let me = gate.agent("agent_mtls").get("/whoami").json();
    let scopes = json!(["read", "write", "delete", "list"]);
    let expected = json!({"agent": "agent_mtls", "subject": "agent_mtls", "proof": "certificate", "scopes": scopes,
        "roles": ["all"], "namespace": ""});
    for (name, value) in expected.as_object().expect("members") {
        assert_eq!(&me[name], value, "{me}");
    }
    assert_eq!(gate.keyed().get("/whoami").json()["proof"], "api_key");
    assert_eq!(structured(&gate.keyed().call("whoami", &json!({})))["agent"], "agent_api");
}

fn sizes(shared: &Shared) {
    let client = shared.gate().agent("agent_mtls");
    for length in [1, 900_000] {
        let value = "v".repeat(length);
        let target = format!("/secrets/size/{length}");
        assert_eq!(client.put(&target, &json!({"data": {"v": value}})).status, 200, "{length}");
        assert_eq!(client.get(&target).json()["data"]["v"], json!(value));
        let path = format!("size/mcp-{length}");
        structured(&client.call("kv.write", &json!({"path": path, "data": {"v": value}})));
        let read = structured(&client.call("kv.read", &json!({"path": path})));
        assert_eq!(read["data"]["v"], json!(value));
    }
}

fn reader(shared: &Shared) {
    let gate = shared.gate();
    let reader = gate.agent("agent_jwt");
    assert_eq!(reader.get("/secrets/public/x").status, 404);
    assert_eq!(reader.get("/secrets?prefix=public").status, 200);
    for response in [
        reader.get("/secrets/private/x"),
        reader.get("/secrets?prefix="),
        reader.put("/secrets/public/x", &json!({"data": {}})),
        reader.delete("/secrets/public/x"),
    ] {
        assert_eq!((response.status, response.code().as_str()), (403, "forbidden"));
        assert!(response.header("www-authenticate").is_none(), "a client must not ask for consent in a loop");
    }
    let tool = reader.call("kv.read", &json!({"path": "private/x"})).json();
    assert_eq!(tool["result"]["structuredContent"]["error"], "forbidden");
}

fn misfits(shared: &Shared) {
    let client = shared.gate().keyed();
    let response = client.put("/secrets/x", &json!({"data": "hunter2"}));
    assert_eq!(response.status, 422);
    assert_eq!(response.json()["pointer"], "/data");
    let tool = client.call("kv.read", &json!({"path": 7}));
    assert_eq!(tool.json()["error"]["code"], -32602);
    assert_eq!(tool.json()["error"]["data"]["pointer"], "/path");
    let stateless = client.call_stateless("kv.read", &json!({"path": 7})).json();
    assert_eq!(stateless["result"]["isError"], true, "since 2025-11-25 it is a result");
    assert_eq!(stateless["result"]["structuredContent"]["error"], "invalid_arguments");
}

fn transit(shared: &Shared) {
    let client = shared.gate().keyed();
    let post = |path: &str, body: &Value| {
        let response = client.post(&format!("/transit/{path}"), body);
        assert_eq!(response.status, 200, "{path}: {response:?}");
        response.json()
    };
    let (key, plaintext) = ("agents-key", "aGVsbG8=");
    let sealed = post("encrypt", &json!({"key": key, "plaintext": plaintext}));
    assert!(sealed["ciphertext"].as_str().is_some_and(|text| text.starts_with("vault:v1:")), "{sealed}");
    let opened = structured(&client.call("transit.decrypt", &json!({"key": key, "ciphertext": sealed["ciphertext"]})));
    assert_eq!(opened["plaintext"], plaintext);
    let anew = post("rewrap", &json!({"key": key, "ciphertext": sealed["ciphertext"]}));
    assert_ne!(anew["ciphertext"], sealed["ciphertext"]);
    let batch = post("encrypt", &json!({"key": key, "batch_input": [{"plaintext": plaintext}, {"plaintext": "eA=="}]}));
    assert_eq!(batch["batch_results"].as_array().map(Vec::len), Some(2), "{batch}");
    let opened =
        post("decrypt", &json!({"key": key, "batch_input": [{"ciphertext": batch["batch_results"][1]["ciphertext"]}]}));
    assert_eq!(opened["batch_results"][0]["plaintext"], "eA==");
    let data_key = post("data-key", &json!({"key": key, "bits": 128}));
    let opened = post("decrypt", &json!({"key": key, "ciphertext": data_key["ciphertext"]}));
    assert_eq!(opened["plaintext"], data_key["plaintext"]);
    let hmac = post("hmac", &json!({"key": key, "input": plaintext, "hash_algorithm": "sha2-512"}));
    let checked = json!({"key": key, "input": plaintext, "hmac": hmac["hmac"], "hash_algorithm": "sha2-512"});
    assert_eq!(post("verify", &checked), json!({"valid": true}));
    let signed = post("sign", &json!({"key": "agents-signing-key", "input": plaintext}));
    let verify = |input: &str| json!({"key": "agents-signing-key", "input": input, "signature": signed["signature"]});
    assert_eq!(structured(&client.call("transit.verify", &verify(plaintext))), json!({"valid": true}));
    assert_eq!(post("verify", &verify("eA==")), json!({"valid": false}));
    for (body, status) in [
        (json!({"key": key}), 422),
        (json!({"key": key, "plaintext": plaintext, "batch_input": []}), 422),
        (json!({"key": "../agents-key", "plaintext": plaintext}), 400),
        (json!({"key": key, "plaintext": "not base64"}), 400),
        (json!({"key": "another-key", "plaintext": plaintext}), 403),
    ] {
        assert_eq!(client.post("/transit/encrypt", &body).status, status, "{body}");
    }
    // The role `reader` names no key.
    let reader = shared.gate().agent("agent_jwt");
    let refused = reader.post("/transit/decrypt", &json!({"key": key, "ciphertext": sealed["ciphertext"]}));
    assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"));
}

fn patch(shared: &Shared) {
    let client = shared.gate().keyed();
    let path = format!("/secrets/patch/{}", std::process::id());
    let json = [("Content-Type", "application/json")];
    let patch = |body: Value| client.send("PATCH", &path, &json, body.to_string().as_bytes());
    assert_eq!(patch(json!({"data": {"a": 1}})).status, 404, "there is nothing to patch");
    assert_eq!(client.put(&path, &json!({"data": {"a": 1, "b": 2}})).status, 200);
    assert_eq!(patch(json!({"data": {"b": null, "c": 3}})).json()["version"], 2);
    assert_eq!(client.get(&path).json()["data"], json!({"a": 1, "c": 3}));
    let stale = patch(json!({"data": {"a": 9}, "cas": 1}));
    assert_eq!((stale.status, stale.code().as_str()), (409, "check_and_set_failed"));
    let arguments = json!({"path": &path[9..], "data": {"d": 4}, "cas": 2});
    assert_eq!(structured(&client.call("kv.patch", &arguments))["version"], 3);
    assert_eq!(client.get(&path).json()["data"], json!({"a": 1, "c": 3, "d": 4}));
}

fn metadata(shared: &Shared) {
    let client = shared.gate().keyed();
    let path = format!("/secrets/known/{}", std::process::id());
    for value in ["first-value", "second-value"] {
        assert_eq!(client.put(&path, &json!({"data": {"v": value}})).status, 200);
    }
    let known = client.get(&format!("{path}:metadata"));
    assert_eq!(known.status, 200, "{known:?}");
    assert_eq!(known.json()["current_version"], 2);
    assert_eq!(known.json()["versions"].as_object().map(serde_json::Map::len), Some(2));
    assert!(!String::from_utf8_lossy(&known.body).contains("-value"), "never values");
    assert_eq!(structured(&client.call("kv.metadata", &json!({"path": &path[9..]}))), known.json());
    assert_eq!(client.get("/secrets/known/nothing:metadata").status, 404);
}
