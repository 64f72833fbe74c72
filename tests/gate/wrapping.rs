//! Wrapped answers: the caller's context gets a handle, and the secret is
//! given out once, over REST, to the same agent.

use serde_json::{Value, json};
use tests::process::AGENTS;
use tests::{Client, Gate, Plan, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("a_wrapped_answer_is_given_out_once_to_its_agent", once),
    ("every_secret_can_be_wrapped_on_every_surface", every),
    ("a_role_that_requires_wrapping_shows_no_secret", required),
    ("wrapping_is_asked_for_rightly_or_refused", misuse),
    ("a_wrapped_answer_ends", ends),
    ("handles_follow_their_key", rotation),
];

fn handle(wrapped: &Value) -> Value {
    let inner = wrapped["wrapped"].as_object().unwrap_or_else(|| panic!("not wrapped: {wrapped}"));
    assert_eq!(wrapped.as_object().map(serde_json::Map::len), Some(1), "nothing else is told: {wrapped}");
    let text = inner["handle"].as_str().expect("a handle");
    assert!(text.starts_with("pch1_"), "{text}");
    json!({"handle": text})
}

fn once(shared: &Shared) {
    let gate = shared.gate();
    let (mine, theirs) = (gate.agent("agent_mtls"), gate.keyed());
    let secret = json!({"password": "wrapped <&> \u{1f511}", "n": [1.50, 12345678901234567890_u64]});
    assert_eq!(mine.put("/secrets/wrapped", &json!({"data": secret})).status, 200);
    let clear = mine.get("/secrets/wrapped").json();
    let response = mine.send("GET", "/secrets/wrapped", &[("X-Vault-Wrap-TTL", "90")], b"");
    assert_eq!(response.status, 200, "{response:?}");
    let wrapped = response.json();
    assert_eq!((&wrapped["wrapped"]["operation"], &wrapped["wrapped"]["ttl"]), (&json!("kv.read"), &json!(90)));
    let first = handle(&wrapped);
    assert_eq!(theirs.post("/wrap/rewrap", &first).status, 403);
    let again = mine.post("/wrap/rewrap", &first);
    assert_eq!(again.status, 200, "{again:?}");
    let again = again.json();
    assert_eq!((&again["wrapped"]["operation"], &again["wrapped"]["ttl"]), (&json!("kv.read"), &json!(90)));
    for target in ["/wrap/unwrap", "/wrap/rewrap", "/wrap/lookup"] {
        assert_eq!(mine.post(target, &first).status, 404, "{target}: it is void");
    }
    let handle = handle(&again);
    for target in ["/wrap/unwrap", "/wrap/lookup"] {
        let refused = theirs.post(target, &handle);
        assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"), "{target}");
    }
    let looked = mine.post("/wrap/lookup", &handle);
    assert_eq!((looked.status, &looked.json()["creation_ttl"]), (200, &json!(90)));
    let looked = mine.call("wrap.lookup", &handle).json();
    assert_eq!(looked["result"]["structuredContent"]["creation_ttl"], 90, "{looked}");
    // A tool cannot: the model would read it.
    let by_tool = mine.call("wrap.unwrap", &handle).json();
    assert_eq!(by_tool["error"]["code"], -32602, "{by_tool}");
    let unwrapped = mine.post("/wrap/unwrap", &handle);
    assert_eq!((unwrapped.status, unwrapped.json()), (200, json!({"answer": clear})));
    for target in ["/wrap/unwrap", "/wrap/lookup"] {
        let gone = mine.post(target, &handle);
        assert_eq!((gone.status, gone.code().as_str()), (404, "not_found"), "{target}");
    }
}

/// Every operation whose answer is secret, as a tool and as a route.
fn secrets(client: &Client) -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let sealed = client.call("transit.encrypt", &json!({"key": "agents-key", "plaintext": "eA=="})).json();
    let sealed = sealed["result"]["structuredContent"]["ciphertext"].clone();
    vec![
        ("kv.read", json!({"path": "wrap/each"}), "GET", "/secrets/wrap/each"),
        ("transit.decrypt", json!({"key": "agents-key", "ciphertext": sealed}), "POST", "/transit/decrypt"),
        ("transit.generate_data_key", json!({"key": "agents-key"}), "POST", "/transit/data-key"),
        ("transit.random", json!({}), "GET", "/transit/random"),
        ("db.issue_creds", json!({"role": "readonly"}), "POST", "/db/creds/readonly"),
        ("ssh.otp", json!({"role": "otp", "ip": "127.0.0.1", "username": "ops"}), "POST", "/ssh/otp"),
        ("pki.issue", json!({"role": "service", "common_name": "w.agents.internal"}), "POST", "/pki/issue"),
    ]
}

fn every(shared: &Shared) {
    shared.postgres();
    let client = shared.gate().agent("agent_mtls");
    assert_eq!(client.put("/secrets/wrap/each", &json!({"data": {"a": 1}})).status, 200);
    let secrets = secrets(&client);
    let catalog = filters::catalog::CATALOG.iter().map(|entry| entry.spec);
    let all: Vec<_> =
        catalog.filter(|spec| spec.secret && !spec.name.starts_with("kms.")).map(|spec| spec.name).collect();
    assert_eq!(secrets.iter().map(|(name, ..)| *name).collect::<Vec<_>>(), all);
    for (name, mut arguments, method, target) in secrets {
        let body = match method {
            "GET" => Vec::new(),
            _ if name == "db.issue_creds" => b"{}".to_vec(),
            _ => arguments.to_string().into_bytes(),
        };
        let headers = [("Content-Type", "application/json"), ("X-Vault-Wrap-TTL", "5m")];
        let headers = if method == "GET" { &headers[1..] } else { &headers[..] };
        let by_route = client.send(method, target, headers, &body);
        assert_eq!(by_route.status, 200, "{name}: {by_route:?}");
        arguments["wrap_ttl"] = json!(300);
        let by_tool = client.call(name, &arguments).json();
        let by_tool = by_tool["result"]["structuredContent"].clone();
        for wrapped in [by_route.json(), by_tool] {
            assert_eq!((&wrapped["wrapped"]["operation"], &wrapped["wrapped"]["ttl"]), (&json!(name), &json!(300)));
            let unwrapped = client.post("/wrap/unwrap", &handle(&wrapped)).json();
            let kind = filters::catalog::find(name).expect("an operation");
            let required = kind.shape.members.iter().filter(|member| !member.optional);
            for member in required {
                assert!(!unwrapped["answer"][member.name].is_null(), "{name}: {unwrapped}");
            }
        }
    }
}

fn required(shared: &Shared) {
    let sections = format!(
        "{AGENTS}\n[roles.blind]\nscopes = [\"read\", \"write\"]\nkv = [\"**\"]\ntransit = [\"agents-key\"]\n\
         wrap = \"required\"\n[agents.alice]\nroles = [\"blind\"]\n[wrapping]\ndefault_ttl = \"70s\"\n"
    );
    let gate = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
    let alice = gate.agent("alice");
    let written = alice.put("/secrets/blind", &json!({"data": {"password": "UNSEEN"}}));
    assert_eq!((written.status, written.json()["version"].is_number()), (200, true), "what is no secret is told");
    let by_tool = alice.call("kv.read", &json!({"path": "blind"}));
    let by_route = alice.get("/secrets/blind");
    for response in [&by_tool, &by_route] {
        assert!(!String::from_utf8_lossy(&response.body).contains("UNSEEN"), "{response:?}");
    }
    let by_tool = by_tool.json();
    for wrapped in [by_tool["result"]["structuredContent"].clone(), by_route.json()] {
        assert_eq!(wrapped["wrapped"]["ttl"], 70);
        let unwrapped = alice.post("/wrap/unwrap", &handle(&wrapped)).json();
        assert_eq!(unwrapped["answer"]["data"]["password"], "UNSEEN");
    }
}

fn misuse(shared: &Shared) {
    let client = shared.gate().agent("agent_mtls");
    let wrap = |target: &str, headers: &[(&str, &str)]| client.send("GET", target, headers, b"");
    for (target, headers, status, code) in [
        ("/whoami", &[("X-Vault-Wrap-TTL", "60")][..], 400, "bad_request"),
        ("/secrets/x", &[("X-Vault-Wrap-TTL", "60"), ("x-vault-wrap-ttl", "60")], 400, "bad_request"),
        ("/secrets/x", &[("X-Vault-Wrap-TTL", "soon")], 422, "invalid_arguments"),
        ("/secrets/x", &[("X-Vault-Wrap-TTL", "0")], 422, "invalid_arguments"),
        ("/secrets/x", &[("X-Vault-Wrap-TTL", "25h")], 422, "invalid_arguments"),
        ("/secrets/x?wrap_ttl=60", &[("X-Vault-Wrap-TTL", "60")], 422, "invalid_arguments"),
        ("/secrets/none-such", &[("X-Vault-Wrap-TTL", "60")], 404, "not_found"),
    ] {
        let refused = wrap(target, headers);
        assert_eq!((refused.status, refused.code().as_str()), (status, code), "{target} {headers:?}");
    }
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "kv.read", "arguments": {"path": "x"}}});
    let headers = [("MCP-Protocol-Version", "2025-06-18"), ("X-Vault-Wrap-TTL", "60")];
    assert_eq!(client.mcp_with(&headers, &message).status, 400);
    for forged in ["", "pch1_", "pch1_AAAA", "hvs.CAESIJ", "x"] {
        let refused = client.post("/wrap/unwrap", &json!({"handle": forged}));
        let status = if forged.is_empty() { 422 } else { 403 };
        assert_eq!(refused.status, status, "{forged}: {refused:?}");
    }
}

fn ends(shared: &Shared) {
    let client = shared.gate().agent("agent_mtls");
    let wrapped = client.send("GET", "/transit/random", &[("X-Vault-Wrap-TTL", "1")], b"").json();
    let handle = handle(&wrapped);
    wait_for("the handle ends", 20, || client.post("/wrap/lookup", &handle).status == 404);
    assert_eq!(client.post("/wrap/unwrap", &handle).status, 404);
}

fn rotation(shared: &Shared) {
    let world = shared.world();
    let top = format!("rate_limit_enabled = false\nvault_token = \"{}\"\n", world.vault.root_token());
    // The AppRole would win over the token.
    let environment = vec![("VAULT_ROLE_ID", String::new()), ("VAULT_SECRET_ID", String::new())];
    let sections = format!("{AGENTS}\n[handles]\nkey = \"turned-handles\"\n");
    let gate = Gate::start(world, &Plan { top, sections, environment, ..Plan::default() });
    let client = gate.agent("agent_mtls");
    let wrap = || client.send("GET", "/transit/random", &[("X-Vault-Wrap-TTL", "10m")], b"");
    wait_for("the key is made", 20, || wrap().status == 200);
    let status = |handle: &Value| client.post("/wrap/lookup", handle).status;
    let old = handle(&wrap().json());
    assert_eq!(world.ask("POST", "transit/keys/turned-handles/rotate", &json!({})).0, 200);
    let mut new = old.clone();
    // The key's version stands in the first 32 bits: its last two are in the sixth digit of the base64.
    let version = |handle: &Value| match handle["handle"].as_str().expect("text").as_bytes()[10] {
        b'A'..=b'P' => 0,
        b'Q'..=b'Z' | b'a'..=b'f' => 1,
        _ => 2,
    };
    wait_for("the new version seals", 40, || {
        new = handle(&wrap().json());
        version(&new) != version(&old)
    });
    assert_eq!((status(&old), status(&new)), (200, 200));
    let withdrawn = json!({"min_decryption_version": 2});
    assert_eq!(world.ask("POST", "transit/keys/turned-handles/config", &withdrawn).0, 200);
    wait_for("the old version is withdrawn", 40, || status(&old) == 403);
    assert_eq!(status(&new), 200);
}
