//! Inputs as people send them: a right one is asked of Vault, a wrong one is answered with what is
//! wrong, and where, where Vault would only say that it failed.

use serde_json::{Value, json};
use tests::process::AGENTS;
use tests::{Client, Gate, Plan, Response};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("json_that_vault_cannot_read_is_refused_with_its_place", unreadable),
    ("json_at_its_bounds_is_written_and_read_back", at_the_bounds),
    ("the_bounds_of_json_are_configured", configured),
    ("a_bad_item_of_a_batch_fails_alone", bad_items),
    ("a_path_that_ends_in_a_verb_is_the_verbs_alone", verbs),
    ("what_is_absent_deleted_or_destroyed_says_so_and_what_brings_it", absent),
    ("a_tools_error_says_what_a_model_needs", actionable),
    ("a_refusal_names_what_the_caller_may_use_and_nobody_elses", granted),
    ("vaults_reasons_reach_the_caller_and_the_log_without_a_value", reasons),
];

const JSON: [(&str, &str); 1] = [("Content-Type", "application/json")];

/// The value of `data` by each way to write it: the answer's status, pointer and what was expected.
fn write(client: &Client, path: &str, data: &str) -> Vec<(u16, Value, Value)> {
    let body = format!("{{\"data\":{data}}}");
    let target = format!("/secrets/{path}");
    let rest = ["PUT", "PATCH"].map(|method| client.send(method, &target, &JSON, body.as_bytes()));
    let tools = ["kv.write", "kv.patch"].map(|tool| {
        let call = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{{\"name\":\"{tool}\",\
             \"arguments\":{{\"path\":\"{path}\",\"data\":{data}}}}}}}"
        );
        client.send("POST", "/mcp", &JSON, call.as_bytes())
    });
    let told =
        |response: &Response, place: &Value| (response.status, place["pointer"].clone(), place["expected"].clone());
    let rest = rest.iter().map(|response| told(response, &response.json()));
    rest.chain(tools.iter().map(|response| told(response, &response.json()["error"]["data"]))).collect()
}

fn members(count: usize) -> String {
    let members: Vec<String> = (0..count).map(|at| format!("\"m{at}\":{at}")).collect();
    format!("{{{}}}", members.join(","))
}

fn nested(levels: usize) -> String {
    format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels))
}

fn unreadable(shared: &Shared) {
    let client = shared.gate().keyed();
    let broken = shared.gate().metric("portcullis_upstream_broken_total");
    let items = format!("{{\"a\":[{}]}}", vec!["1"; 12_000].join(","));
    for (data, expected) in [
        (r#"{"a":1,"a":2}"#, "each name once in its object"),
        (r#"{"x":{"a":1,"\u0061":2}}"#, "(see byte 12 of the value)"),
        (r#"{"\ud83d\ude00":1,"\ud83d\ude01":2}"#, "characters above U+FFFF not as \\u escapes"),
        (r#"{"a":"\ud83d"}"#, "no \\u escape of half a surrogate pair (see byte 6 of the value)"),
        (r#"{"a":1e309}"#, "numbers that a double holds"),
        (&format!("{{\"a\":{}}}", "9".repeat(500)), "numbers that a double holds"),
        (&nested(300), "at most 100 levels"),
        (&nested(126), "at most 100 levels"),
        (&members(12_000), "at most 10000 members"),
        (&items, "at most 10000 members"),
        (&format!("{{\"a\":[{}]}}", vec![format!("[{}]", vec!["1"; 9_000].join(",")); 30].join(",")), "at most 499000"),
    ] {
        for (way, (status, pointer, told)) in write(&client, "unreadable", data).into_iter().enumerate() {
            assert_eq!(status, if way < 2 { 422 } else { 200 }, "{expected}, way {way}: {told}");
            assert_eq!(pointer, "/data", "{expected}, way {way}");
            assert!(told.as_str().is_some_and(|told| told.contains(expected)), "way {way}: {told}");
        }
    }
    assert_eq!(shared.gate().metric("portcullis_upstream_broken_total"), broken);
    // Of other engines too: their texts are no less a caller's.
    let sign = br#"{"role":"ops","public_key":"x","extensions":{"permit-pty":"","permit-pty":""}}"#;
    let signed = client.send("POST", "/ssh/sign", &JSON, sign);
    assert_eq!((signed.status, signed.json()["pointer"].as_str()), (422, Some("/extensions")), "{signed:?}");
}

fn at_the_bounds(shared: &Shared) {
    let client = shared.gate().keyed();
    let most = shared.world().dialect().most_members();
    for (data, path) in [
        (nested(99), "bounds/deep"),
        (members(most), "bounds/wide"),
        (format!("{{\"a\":[{}]}}", vec!["1"; 10_000].join(",")), "bounds/long"),
        (format!("{{\"a\":\"{}\"}}", "x".repeat((1 << 20) - 200)), "bounds/text"),
        (format!("{{\"a\":{}}}", "9".repeat(300)), "bounds/number"),
        (format!("{{\"a\":[{}]}}", vec![format!("[{}]", vec!["1"; 9_000].join(",")); 27].join(",")), "bounds/tokens"),
    ] {
        let ways = write(&client, path, &data);
        assert!(ways.iter().all(|(status, pointer, _)| *status == 200 && pointer.is_null()), "{path}: {ways:?}");
        let read = client.get(&format!("/secrets/{path}"));
        assert_eq!(read.status, 200, "{path}");
        let tool = client.call("kv.read", &json!({"path": path}));
        assert_eq!(tool.json()["result"]["structuredContent"]["data"], read.json()["data"], "{path}");
        if path != "bounds/number" {
            assert_eq!(read.json()["data"], serde_json::from_str::<Value>(&data).expect("JSON"), "{path}");
        }
    }
    // A backend whose bounds are lower says so itself.
    if most < 10_000 {
        let body = format!("{{\"data\":{}}}", members(10_000));
        let refused = client.send("PUT", "/secrets/bounds/wider", &JSON, body.as_bytes());
        assert_eq!((refused.status, refused.code().as_str()), (400, "rejected_by_vault"), "{refused:?}");
        assert_eq!(refused.json()["detail"], "The JSON holds more names and texts than Vault takes.");
    }
}

fn configured(shared: &Shared) {
    let sections = format!("{AGENTS}\n[limits]\njson_depth = 3\njson_members = 2\njson_text = \"1KiB\"\n");
    let gate = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
    let client = gate.keyed();
    for (data, expected) in [
        (nested(3), "at most 3 levels"),
        (members(3), "at most 2 members"),
        (format!("{{\"a\":\"{}\"}}", "x".repeat(1025)), "at most 1024 bytes"),
    ] {
        for (_, pointer, told) in write(&client, "configured", &data) {
            assert!(pointer == "/data" && told.as_str().is_some_and(|told| told.contains(expected)), "{told}");
        }
    }
    assert_eq!(write(&client, "configured", &nested(2))[0].0, 200);
}

fn bad_items(shared: &Shared) {
    let client = shared.gate().keyed();
    let post = |path: &str, batch: Value| {
        let response = client.post(&format!("/transit/{path}"), &json!({"key": "agents-key", "batch_input": batch}));
        assert_eq!(response.status, 200, "{path}: {response:?}");
        response.json()["batch_results"].clone()
    };
    let sealed = post("encrypt", json!([{"plaintext": "!"}, {"plaintext": "eA=="}]));
    assert!(sealed[0]["error"].is_string() && sealed[0]["ciphertext"].as_str().unwrap_or("").is_empty(), "{sealed}");
    let good = &sealed[1]["ciphertext"];
    assert!(good.as_str().is_some_and(|text| text.starts_with("vault:v")), "{sealed}");
    let batch = json!([{"ciphertext": good}, {"ciphertext": "vault:v1:AAAA"}]);
    let opened = post("decrypt", batch.clone());
    assert_eq!((&opened[0]["plaintext"], opened[1]["error"].is_string()), (&json!("eA=="), true), "{opened}");
    assert!(post("rewrap", batch.clone())[1]["error"].is_string());
    for (path, batch) in
        [("encrypt", json!([{"plaintext": "!"}])), ("decrypt", json!([{"ciphertext": "vault:v1:AAAA"}]))]
    {
        assert!(post(path, batch)[0]["error"].is_string(), "{path}: all of them are bad");
    }
    let tool = client.call("transit.decrypt", &json!({"key": "agents-key", "batch_input": batch})).json();
    assert_eq!(tool["result"]["structuredContent"]["batch_results"], opened, "{tool}");
    // The same, wrapped.
    let body = json!({"key": "agents-key", "batch_input": batch, "wrap_ttl": "1m"});
    let wrapped = client.post("/transit/decrypt", &body).json();
    let unwrapped = client.post("/wrap/unwrap", &json!({"handle": wrapped["wrapped"]["handle"]}));
    assert_eq!(unwrapped.json()["answer"]["batch_results"], opened, "{wrapped} {unwrapped:?}");
    // What is alone is no item.
    let alone = client.post("/transit/decrypt", &json!({"key": "agents-key", "ciphertext": "vault:v1:AAAA"}));
    assert_eq!((alone.status, alone.code().as_str()), (400, "rejected_by_vault"));
}

/// Requests that Vault rejects, each with a value of its own, and what is told of them.
fn rejected() -> Vec<(&'static str, Value, &'static str)> {
    let issue = |more: Value| {
        let mut asked = json!({"role": "service", "common_name": "a.agents.internal"});
        asked.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        asked
    };
    let sign = |key: &str, principals: &str| json!({"role": "ops", "public_key": key, "valid_principals": principals});
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFGSG5Wwe9bVUpbQWsuQ2lNCKQXPKKDEsqBDUGqqVwAn";
    vec![
        (
            "/pki/issue",
            issue(json!({"common_name": "canary.example.com"})),
            "The role does not allow this common name.",
        ),
        (
            "/pki/issue",
            issue(json!({"alt_names": "canary.example.com"})),
            "The role does not allow one of the alternative names.",
        ),
        ("/pki/issue", issue(json!({"ip_sans": "127.0.0.1"})), "The role allows no IP addresses."),
        ("/ssh/sign", sign(key, "canary"), "The role does not allow one of the principals."),
        ("/ssh/sign", sign("canary", "ops"), "The public key is not one of SSH's."),
        (
            "/ssh/sign",
            json!({"role": "ops", "public_key": key, "extensions": {"canary": ""}}),
            "The role does not allow one of the extensions.",
        ),
        (
            "/ssh/otp",
            json!({"role": "otp", "ip": "127.0.0.1", "username": "canary"}),
            "The role does not allow this user name.",
        ),
        (
            "/ssh/otp",
            json!({"role": "otp", "ip": "192.0.2.1", "username": "ops"}),
            "The role does not allow this address.",
        ),
        ("/transit/encrypt", json!({"key": "agents-key", "plaintext": "canary!"}), "A text is not base64."),
        ("/transit/sign", json!({"key": "agents-signing-key", "input": "canary!"}), "A text is not base64."),
        (
            "/transit/encrypt",
            json!({"key": "agents-key", "plaintext": "eA==", "key_version": 99}),
            "The key has no such version.",
        ),
        (
            "/transit/decrypt",
            json!({"key": "agents-key", "ciphertext": "canary"}),
            "The ciphertext is none that transit.encrypt or transit.rewrap has answered.",
        ),
        (
            "/transit/decrypt",
            json!({"key": "agents-key", "ciphertext": format!("vault:v1:{}", "AAAA".repeat(12))}),
            "The ciphertext was made with another key or context, or was changed.",
        ),
        (
            "/transit/verify",
            json!({"key": "agents-signing-key", "input": "eA==", "signature": "canary"}),
            "The signature is none that transit.sign has answered.",
        ),
    ]
}

fn reasons(shared: &Shared) {
    let environment = vec![("LOG_LEVEL", "debug".to_owned())];
    let gate = Gate::start(shared.world(), &Plan { environment, ..Plan::default() });
    let client = gate.keyed();
    let mut others = Vec::new();
    for (path, asked, reason) in rejected() {
        let refused = client.post(path, &asked);
        let told = (refused.status, refused.code(), refused.json()["detail"].clone());
        if told != (400, "rejected_by_vault".to_owned(), json!(reason)) {
            others.push((path, asked, told));
        }
    }
    assert!(others.is_empty(), "{others:#?}");
    let tool = client.call("transit.encrypt", &json!({"key": "agents-key", "plaintext": "!"})).json();
    assert_eq!(tool["result"]["content"][0]["text"], "A text is not base64.");
    let log = gate.stderr();
    for (_, _, reason) in rejected() {
        assert!(log.contains(reason), "the log has no word of: {reason}\n{log}");
    }
    let of_the_gate = |line: &&str| line.contains("Vault rejected a caller's request");
    let lines: Vec<&str> = log.lines().filter(of_the_gate).collect();
    assert!(lines.len() >= rejected().len(), "{log}");
    assert!(lines.iter().any(|line| line.contains("common name * not allowed by this role")), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains("canary") && !line.contains("192.0.2.1")), "{lines:?}");
    let warnings = lines.iter().filter(|line| line.contains("\"lvl\":\"warn\"")).count();
    assert!(lines[0].contains("\"lvl\":\"warn\"") && warnings < lines.len(), "{lines:?}");
}

fn verbs(shared: &Shared) {
    let client = shared.gate().keyed();
    let body = json!({"data": {"a": 1}}).to_string();
    for verb in [":metadata", ":delete", ":undelete", ":destroy"] {
        let (bare, escaped) = (format!("/secrets/ftp{verb}"), format!("/secrets/ftp{}", verb.replace(':', "%3A")));
        let meant = if verb == ":metadata" { "GET, HEAD, PATCH, PUT" } else { "POST" };
        for method in ["GET", "PUT", "PATCH", "POST", "DELETE"].into_iter().filter(|method| !meant.contains(method)) {
            let refused = client.send(method, &bare, &JSON, body.as_bytes());
            assert_eq!((refused.status, refused.header("allow")), (405, Some(meant)), "{method} {bare}");
            assert!(refused.json()["detail"].as_str().is_some_and(|text| text.contains("%3A")), "{refused:?}");
        }
        assert_eq!(client.put(&escaped, &json!({"data": {"verb": verb}})).status, 200);
        assert_eq!(client.get(&escaped).json()["data"]["verb"], verb);
        let path = format!("ftp{verb}");
        let tool = client.call("kv.read", &json!({"path": path})).json();
        assert_eq!(tool["result"]["structuredContent"]["data"]["verb"], verb);
        assert_eq!(client.get(&format!("{escaped}:metadata")).json()["current_version"], 1);
        assert_eq!(client.delete(&escaped).status, 204);
        assert_eq!(client.get(&escaped).status, 404);
    }
}

fn absent(shared: &Shared) {
    let client = shared.gate().keyed();
    let path = format!("gone/{}", std::process::id());
    let target = format!("/secrets/{path}");
    let told = |tool: &str, arguments: Value| {
        let result = client.call(tool, &arguments).json()["result"].clone();
        assert_eq!(result["structuredContent"]["error"], "not_found", "{tool}: {result}");
        assert_eq!(result["structuredContent"]["detail"], result["content"][0]["text"], "{tool}");
        result["content"][0]["text"].as_str().expect("text").to_owned()
    };
    let says =
        |text: String, words: &[&str]| assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {text}");
    let data = json!({"path": path, "data": {"a": 1}});
    says(told("kv.read", json!({"path": path})), &["no such secret"]);
    says(told("kv.metadata", json!({"path": path})), &["no such secret"]);
    says(told("kv.patch", data.clone()), &["no such secret", "kv.write"]);
    assert_eq!(client.put(&target, &json!({"data": {"a": 1}})).status, 200);
    says(told("kv.read", json!({"path": path, "version": 7})), &["no such version"]);
    assert_eq!(client.delete(&target).status, 204);
    says(told("kv.read", json!({"path": path})), &["deleted", "kv.undelete", "kv.metadata"]);
    says(told("kv.patch", data.clone()), &["deleted", "kv.undelete"]);
    let by_rest = client.get(&target);
    assert_eq!((by_rest.status, by_rest.code().as_str()), (404, "not_found"));
    says(by_rest.json()["detail"].to_string(), &["deleted", "kv.undelete"]);
    assert_eq!(client.post(&format!("{target}:undelete"), &json!({"versions": [1]})).status, 200);
    assert_eq!(client.get(&target).status, 200, "the operation that was named brings it back");
    assert_eq!(client.post(&format!("{target}:destroy"), &json!({"versions": [1]})).status, 200);
    says(told("kv.read", json!({"path": path})), &["destroyed, for good"]);
    says(told("kv.patch", data), &["destroyed, for good"]);
}

fn actionable(shared: &Shared) {
    let client = shared.gate().keyed();
    for (tool, arguments, words) in [
        ("kv.read", json!({"path": 7}), &["/path", "a string"][..]),
        ("kv.write", json!({"path": "x", "data": "hunter2"}), &["/data", "an object"]),
        ("kv.read", json!({"pathh": "hunter2"}), &["Expected: ", "`path`"]),
        ("kv.read", json!({}), &["the field `path`"]),
        ("kv.write", json!({"path": "x", "data": {"a": "\u{1f600}"}, "cas": -1}), &["/cas", "a whole number from 0"]),
        ("transit.random", json!({"bytes": 0}), &["/bytes"]),
    ] {
        let result = client.call_stateless(tool, &arguments).json()["result"].clone();
        let older = client.call(tool, &arguments).json()["error"].clone();
        for text in [&result["content"][0]["text"], &older["message"]] {
            let text = text.as_str().expect("text");
            assert!(words.iter().all(|word| text.contains(word)), "{tool} {words:?}: {text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert_eq!(result["structuredContent"]["error"], "invalid_arguments");
    }
}

fn granted(shared: &Shared) {
    let sections = format!(
        "{AGENTS}\n[roles.deployer]\nscopes = [\"read\", \"write\"]\ntransit = [\"deploy-*\", \"release\"]\n\
         kv = [\"builds/**\", \"apps/*\"]\nshared = [\"team/x\"]\ndeny = [\"builds/keys/**\"]\nssh = [\"ops\"]\n\
         [roles.night]\nscopes = [\"write\"]\ntransit = [\"night-*\"]\nsources = [\"192.0.2.0/24\"]\n\
         [roles.viewer]\nscopes = [\"read\"]\ntransit = [\"seen\"]\n\
         [roles.else]\nscopes = [\"write\"]\ntransit = [\"canary-*\"]\n\
         [agents.alice]\nroles = [\"deployer\", \"viewer\", \"night\"]\n[agents.bob]\nroles = [\"else\"]\n"
    );
    let gate = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
    let alice = gate.agent("alice");
    let encrypt = json!({"key": "canary-1", "plaintext": "eA=="});
    for (tool, arguments, names) in [
        ("transit.encrypt", encrypt.clone(), "Granted keys: deploy-*, release."),
        ("transit.decrypt", json!({"key": "canary-1", "ciphertext": "x"}), "Granted keys: deploy-*, release, seen."),
        (
            "kv.read",
            json!({"path": "other"}),
            "Granted paths, but for what is denied: apps/*, builds/**. Granted shared paths: team/x.",
        ),
        (
            "kv.delete",
            json!({"path": "builds/1"}),
            "Granted paths, but for what is denied: none. Granted shared paths: none.",
        ),
        ("db.issue_creds", json!({"role": "canary"}), "Granted roles: none."),
        ("ssh.sign", json!({"role": "canary", "public_key": "x"}), "Granted roles, each within its bounds: ops."),
    ] {
        let result = alice.call(tool, &arguments).json()["result"].clone();
        assert_eq!(result["structuredContent"]["error"], "forbidden", "{tool}: {result}");
        assert_eq!(result["structuredContent"]["granted"], names, "{tool}");
        let text = result["content"][0]["text"].as_str().expect("text");
        assert!(text.ends_with(names), "{tool}: {text}");
        assert!(!result.to_string().contains("canary"), "neither what was asked nor another's: {result}");
    }
    let by_rest = alice.post("/transit/encrypt", &encrypt);
    assert_eq!((by_rest.status, by_rest.json()["granted"].as_str()), (403, Some("Granted keys: deploy-*, release.")));
    // What is about a handle has no name to be granted.
    let foreign = alice.post("/db/renew", &json!({"lease_id": "pch1_none"}));
    assert!(foreign.status == 403 && foreign.json().get("granted").is_none(), "{foreign:?}");
}
