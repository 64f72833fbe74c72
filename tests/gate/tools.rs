//! The tools: who sees which, and whether they keep to their own schemas.

use std::collections::BTreeMap;

use filters::catalog::{CATALOG, find};
use filters::openapi;
use serde_json::{Value, json};
use tests::mcp::{HANDSHAKEN, STATELESS, ask, fits, settled};
use tests::process::AGENTS;
use tests::servers::{Identity, csr};
use tests::{Client, Gate, Plan, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("an_agent_sees_only_the_tools_it_may_use", visible_tools),
    ("a_profile_cuts_what_is_shown_and_no_call", profiles),
    ("tools_keep_to_their_schemas", tool_schemas),
    ("tools_are_shown_as_configured_and_called_either_way", spellings),
];

/// Every tool, with arguments that it takes.
const EVERY: [(&str, &str); 32] = [
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
    ("kms.encrypt", r#"{"key_id": "alias/none", "plaintext": "eA=="}"#),
    ("kms.decrypt", r#"{"key_id": "alias/none", "ciphertext": "eA=="}"#),
    ("kms.generate_data_key", r#"{"key_id": "alias/none", "key_spec": "AES_256"}"#),
    ("kms.sign", r#"{"key_id": "alias/none", "message": "eA==", "signing_algorithm": "ECDSA_SHA_256"}"#),
    (
        "kms.verify",
        r#"{"key_id": "alias/none", "message": "eA==", "signature": "eA==", "signing_algorithm": "ECDSA_SHA_256"}"#,
    ),
    ("wrap.lookup", r#"{"handle": "pch1_none"}"#),
    ("whoami", r#"{}"#),
    ("access.list", r#"{}"#),
];

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
            &["kv.read", "kv.list", "kv.metadata", "transit.random", "wrap.lookup", "whoami", "access.list"][..],
        ),
        (other.agent("alice"), &["wrap.lookup", "whoami", "access.list"][..]),
    ] {
        for revision in HANDSHAKEN.into_iter().chain([STATELESS]) {
            let listed = ask(&client, revision, "tools/list", &json!({})).json();
            let names: Vec<_> =
                listed["result"]["tools"].as_array().expect("tools").iter().map(|t| &t["name"]).collect();
            assert_eq!(
                json!(names),
                json!(expected.iter().map(|name| underscored(name)).collect::<Vec<_>>()),
                "{revision}"
            );
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

fn profiles(shared: &Shared) {
    let roles = r#"
[roles.few]
scopes = ["read", "write", "list"]
kv = ["**"]
tools = ["kv.read", "kv_li*", "transit.*", "whoami"]
[roles.keys]
scopes = ["write"]
transit = ["agents-*"]
[roles.hidden]
scopes = ["read"]
kv = ["**"]
tools = []
[agents.alice]
roles = ["few"]
[agents.bob]
roles = ["hidden", "few", "keys"]
[agents.carol]
roles = ["hidden"]
"#;
    let gate = Gate::start(shared.world(), &Plan { sections: format!("{AGENTS}{roles}"), ..Plan::default() });
    settled(&gate.keyed());
    let names = |agent: &str, method: &str| {
        let client = gate.agent(agent);
        let listed = ask(&client, STATELESS, method, &json!({})).json();
        let listed = listed["result"][method.trim_end_matches("/list")].as_array().expect("a list").clone();
        listed.iter().map(|one| one["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    // Without a name, random bytes need the scope alone.
    assert_eq!(names("alice", "tools/list"), ["kv_read", "kv_list", "transit_random", "whoami"]);
    let keys =
        ["encrypt", "rewrap", "generate_data_key", "sign", "verify", "hmac"].map(|name| format!("transit_{name}"));
    let bobs = names("bob", "tools/list");
    // A role shows what it gives, and nothing that another role's profile keeps back.
    assert!(keys.iter().filter(|key| bobs.contains(key)).count() > 3, "{bobs:?}");
    assert!(bobs.contains(&"kv_read".to_owned()) && !bobs.contains(&"kv_write".to_owned()), "{bobs:?}");
    assert!(bobs.contains(&"access_list".to_owned()), "{bobs:?}");
    assert_eq!(names("carol", "tools/list"), Vec::<String>::new());
    assert_eq!(names("alice", "prompts/list"), ["kv_read"]);
    for (agent, name, arguments, error) in [
        ("alice", "kv_write", json!({"path": "profile", "data": {}}), Value::Null),
        // Nobody has provisioned her in Vault: the gate has let her pass.
        ("carol", "kv.metadata", json!({"path": "profile/none"}), json!("denied_by_vault")),
        ("carol", "whoami", json!({}), Value::Null),
        ("carol", "kv_list", json!({}), json!("forbidden")),
    ] {
        let called = gate.agent(agent).call(name, &arguments).json();
        assert_eq!(called["result"]["structuredContent"]["error"], error, "{agent} {name}: {called}");
    }
}

fn spellings(shared: &Shared) {
    let sections = format!("{AGENTS}\n[mcp]\ntool_names = \"dotted\"\n");
    let other = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
    let dotted = EVERY.map(|(name, _)| name.to_owned());
    let underscored = EVERY.map(|(name, _)| underscored(name));
    for (gate, shown) in [(shared.gate(), underscored), (&other, dotted)] {
        let client = gate.keyed();
        for revision in HANDSHAKEN.into_iter().chain([STATELESS]) {
            let listed = ask(&client, revision, "tools/list", &json!({})).json();
            let names: Vec<_> =
                listed["result"]["tools"].as_array().expect("tools").iter().map(|t| &t["name"]).collect();
            assert_eq!(json!(names), json!(shown), "{revision}");
            for name in ["transit.generate_data_key", "transit_generate_data_key"] {
                let call = json!({"name": name, "arguments": {"key": "agents-key"}});
                let called = ask(&client, revision, "tools/call", &call).json();
                assert_eq!(called["result"]["isError"], false, "{revision} {name}: {called}");
            }
            for name in ["kv-read", "transit.generate.data.key", "kv read", "kv_"] {
                let refused = ask(&client, revision, "tools/call", &json!({"name": name})).json();
                assert_eq!(refused["error"]["code"], -32602, "{revision} {name}: {refused}");
            }
        }
    }
    wait_for("the log names the operation", 10, || other.log().contains("transit.generate_data_key"));
    assert!(!other.log().contains("transit_generate"), "{}", other.log());
}

/// A tool's name as it is shown unless another spelling is configured.
fn underscored(name: &str) -> String {
    name.replace('.', "_")
}

/// Most bytes of `tools/list` for an agent that may use every tool.
const MOST: usize = 16 * 1024;

/// The schema of every tool's arguments, by the operation's name.
fn tools(client: &Client) -> BTreeMap<&'static str, Value> {
    let mut listed = Value::Null;
    for revision in HANDSHAKEN.into_iter().chain([STATELESS]) {
        let response = ask(client, revision, "tools/list", &json!({}));
        assert!(response.body.len() <= MOST, "{revision}: {}", response.body.len());
        listed = response.json();
    }
    let schema = |name: &str| {
        let tools = listed["result"]["tools"].as_array().expect("tools");
        let tool = tools.iter().find(|tool| tool["name"] == underscored(name)).expect("a tool");
        assert!(tool.get("outputSchema").is_none(), "answers would be judged by it: {tool}");
        tool["inputSchema"].clone()
    };
    EVERY.into_iter().map(|(name, _)| (name, schema(name))).collect()
}

fn tool_schemas(shared: &Shared) {
    let client = shared.gate().keyed();
    let tools = tools(&client);
    for (name, schema) in &tools {
        let judged = jsonschema::meta::validate(schema);
        assert!(judged.is_ok(), "{name}: {judged:?}");
    }
    let refusal = openapi::document(&CATALOG)["components"]["schemas"]["Error"].clone();
    let mut used = Vec::new();
    let key = "agents-key";
    let sealed = client.call("transit.encrypt", &json!({"key": key, "plaintext": "eA=="})).json();
    let sealed = &sealed["result"]["structuredContent"]["ciphertext"];
    let hmac = client.call("transit.hmac", &json!({"key": key, "input": "eA=="})).json();
    let hmac = &hmac["result"]["structuredContent"]["hmac"];
    shared.postgres();
    let lease = issued(&client, "db.issue_creds", &json!({"role": "readonly"}), "lease_id");
    let certificate = json!({"role": "service", "common_name": "t.agents.internal"});
    let certificate = issued(&client, "pki.issue", &certificate, "handle");
    let me = Identity::new().public_key();
    let wrapped = client.call("transit.random", &json!({"wrap_ttl": "60s"})).json();
    let wrapped = &wrapped["result"]["structuredContent"]["wrapped"]["handle"];
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
        ("kv.delete", json!({"path": "."}), "invalid_path"),
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
        ("transit.random", json!({"wrap_ttl": "5m"}), ""),
        ("db.issue_creds", json!({"role": "readonly"}), ""),
        ("db.issue_creds", json!({"role": "other"}), "denied_by_vault"),
        ("db.renew", json!({"lease_id": lease, "increment": "60"}), ""),
        ("db.renew", json!({"lease_id": "x"}), "forbidden"),
        ("db.revoke", json!({"lease_id": lease}), ""),
        ("db.revoke", json!({"lease_id": lease}), "not_found"),
        ("ssh.sign", json!({"role": "ops", "public_key": me, "ttl": "1m", "extensions": {"permit-pty": ""}}), ""),
        ("ssh.sign", json!({"role": "ops", "public_key": "x"}), "rejected_by_vault"),
        ("ssh.otp", json!({"role": "otp", "ip": "127.0.0.1", "username": "ops", "port": 22}), ""),
        ("pki.issue", json!({"role": "service", "common_name": "u.agents.internal", "ttl": "1h", "alt_names": ""}), ""),
        ("pki.sign", json!({"role": "service", "csr": csr("v.agents.internal")}), ""),
        ("pki.sign", json!({"role": "service", "csr": "x"}), "rejected_by_vault"),
        ("pki.revoke", json!({"handle": certificate}), ""),
        // Where there is a KMS, its own tests check the answers.
        ("kms.encrypt", json!({"key_id": "k", "plaintext": "eA=="}), "kms_unavailable"),
        ("kms.decrypt", json!({"key_id": "k", "ciphertext": "eA=="}), "kms_unavailable"),
        ("kms.generate_data_key", json!({"key_id": "k", "number_of_bytes": 32}), "kms_unavailable"),
        (
            "kms.sign",
            json!({"key_id": "k", "message": "eA==", "signing_algorithm": "ECDSA_SHA_256"}),
            "kms_unavailable",
        ),
        (
            "kms.verify",
            json!({"key_id": "k", "message": "eA==", "signature": "eA==", "signing_algorithm": "ECDSA_SHA_256"}),
            "kms_unavailable",
        ),
        ("wrap.lookup", json!({"handle": wrapped}), ""),
        ("wrap.lookup", json!({"handle": lease}), "forbidden"),
        ("whoami", json!({}), ""),
        ("access.list", json!({}), ""),
    ] {
        let entry = find(name).expect("an operation");
        for schema in [&tools[name], &entry.input_schema().to_value()] {
            fits(schema, &arguments, &format!("arguments of {name}"));
        }
        let result = client.call(name, &arguments).json()["result"].clone();
        assert_eq!(result["isError"], !fails.is_empty(), "{name} {arguments}: {result}");
        assert_eq!(result["structuredContent"]["error"].as_str().unwrap_or_default(), fails, "{name} {arguments}");
        let schema = if fails.is_empty() { entry.output_schema() } else { refusal.clone() };
        fits(&schema, &result["structuredContent"], &format!("answer of {name}"));
        used.push(name);
    }
    assert!(tools.keys().all(|name| used.contains(name)), "a tool is not tried");
    misfits(&client, &refusal);
}

/// The handle that a tool gives out.
fn issued(client: &Client, name: &str, arguments: &Value, member: &str) -> Value {
    let answer = client.call(name, arguments).json();
    let held = answer["result"]["structuredContent"][member].clone();
    assert!(held.is_string(), "{name}: {answer}");
    held
}

/// Arguments that the operation refuses are refused by its schema too.
fn misfits(client: &Client, refusal: &Value) {
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
        ("transit.random", json!({"format": 7})),
        ("transit.hmac", json!({"key": "k", "input": "", "hash_algorithm": {}})),
        ("kms.sign", json!({"message": "eA==", "signing_algorithm": null})),
        ("db.issue_creds", json!({})),
        ("db.renew", json!({"lease_id": "x", "increment": -1})),
        ("db.revoke", json!({"lease_id": 1})),
        ("ssh.sign", json!({"role": "ops"})),
        ("ssh.sign", json!({"role": "ops", "public_key": "x", "cert_type": "both"})),
        ("ssh.otp", json!({"role": "otp", "ip": "127.0.0.1", "username": "ops", "port": 65536})),
        ("pki.issue", json!({"role": "service", "common_name": "x", "ttl": 0})),
        ("pki.sign", json!({"role": "service"})),
        ("pki.revoke", json!({})),
        ("wrap.lookup", json!({"handle": "x", "wrap_ttl": 5})),
        ("whoami", json!({"a": 1})),
        ("access.list", json!({"agent": "bob"})),
    ] {
        let schema = find(name).expect("an operation").input_schema().to_value();
        assert!(!jsonschema::is_valid(&schema, &arguments), "{name} {arguments}: {schema}");
        let refused = client.call_stateless(name, &arguments).json();
        let content = &refused["result"]["structuredContent"];
        assert_eq!(content["error"], "invalid_arguments", "{name} {arguments}: {refused}");
        fits(refusal, content, &format!("refusal of {name}"));
    }
}
