//! Agent A never sees, lists, writes, or learns of agent B's secrets.

use filters::catalog::CATALOG;
use serde_json::{Value, json};
use tests::process::AGENTS;
use tests::{Client, Gate, Plan};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("anybody_may_ask_whether_the_gate_can_serve", probes),
    ("no_spelling_reaches_another_agents_secrets", spellings),
    ("no_spelling_reaches_another_agents_secrets_with_templated_policies", templated),
    ("tricks_that_get_past_vaults_own_acl_do_not_get_past_the_gate", tricks),
    ("identity_headers_of_anyone_but_a_trusted_proxy_are_ignored", forged_headers),
    ("a_trusted_proxys_verified_name_is_believed", trusted_proxy),
    ("nobody_comes_by_his_own_name_to_somebody_elses", impersonation),
    ("two_credentials_that_disagree_are_refused", two_credentials),
    ("anonymous_callers_reach_health_and_nothing_else", anonymous),
];

const SECRET: &str = "bobs-own-secret";

/// Every spelling of bob's secret that alice may come up with.
const SPELLINGS: [&str; 22] = [
    "../bob/x",
    "..%2fbob%2fx",
    "%2e%2e/bob/x",
    "%2e%2e%2fbob%2fx",
    "%252e%252e/bob/x",
    "a/../../bob/x",
    "a/%2e%2e/%2e%2e/bob/x",
    "./../bob/x",
    "..\\bob\\x",
    "..%5cbob%5cx",
    "..;/bob/x",
    "/bob/x",
    "//bob/x",
    "..%00/bob/x",
    "..%c0%afbob/x",
    "%c0%ae%c0%ae/bob/x",
    "..%ef%bc%8fbob/x",
    "%ef%bc%8e%ef%bc%8e/bob/x",
    "bob/x",
    "mcp/bob/x",
    "secret/data/mcp/bob/x",
    "..//bob/x",
];

fn denied(response: &tests::Response, what: &str) {
    assert!(matches!(response.status, 400 | 403 | 404 | 422), "{what}: {response:?}");
    assert!(!String::from_utf8_lossy(&response.body).contains(SECRET), "{what}");
}

fn harmless(response: &tests::Response, what: &str) {
    assert!(matches!(response.status, 200 | 204 | 400 | 404 | 422), "{what}: {response:?}");
}

fn attack(alice: &Client, bob: &Client) {
    assert_eq!(bob.put("/secrets/x", &json!({"data": {"v": SECRET}})).status, 200);
    for spelling in SPELLINGS {
        denied(&alice.get(&format!("/secrets/{spelling}")), spelling);
        denied(&alice.get(&format!("/secrets/{spelling}?version=1")), spelling);
        // What is a plain path is one in alice's own namespace, where she may delete.
        harmless(&alice.delete(&format!("/secrets/{spelling}")), spelling);
        harmless(&alice.post(&format!("/secrets/{spelling}:destroy"), &json!({"versions": [1]})), spelling);
        let listed = alice.get(&format!("/secrets?prefix={}", spelling.trim_end_matches("/x")));
        assert!(matches!(listed.status, 200 | 400 | 422), "{spelling}: {listed:?}");
        assert!(listed.status != 200 || listed.json() == json!({"keys": []}), "{spelling}: {listed:?}");
        for api in ["data", "metadata"] {
            denied(&alice.get(&format!("/v1/secret/{api}/{spelling}")), spelling);
            denied(&alice.get(&format!("/v1/secret/{api}/a/../{spelling}")), spelling);
        }
        harmless(&alice.delete(&format!("/v1/secret/data/{spelling}")), spelling);
        harmless(&alice.post(&format!("/v1/secret/destroy/{spelling}"), &json!({"versions": ["1"]})), spelling);
        for tool in ["kv.read", "kv.delete"] {
            let reply = alice.call(tool, &json!({"path": spelling})).json();
            let told = reply.to_string();
            let failed = reply["result"]["isError"] == true || reply["error"].is_object();
            assert!(failed || tool == "kv.delete", "{spelling}: {told}");
            assert!(!told.contains(SECRET), "{spelling}");
        }
    }
    assert_eq!(bob.get("/secrets/x").json()["data"]["v"], SECRET, "bob's secret is untouched");
    assert!(!String::from_utf8_lossy(&alice.get("/secrets").body).contains("bob"));
}

fn spellings(shared: &Shared) {
    let gate = Gate::start(shared.world(), &two_agents(""));
    attack(&gate.agent("alice"), &gate.agent("bob"));
}

fn templated(shared: &Shared) {
    let gate = Gate::start(shared.world(), &two_agents("[child_tokens]\npolicies = \"templated\"\n"));
    attack(&gate.agent("alice"), &gate.agent("bob"));
    assert!(gate.metric("portcullis_child_tokens_total{outcome=\"minted\"}") >= 2.0);
}

fn two_agents(more: &str) -> Plan {
    let sections = format!(
        "{}\n[agents.alice]\nroles = [\"all\"]\n[agents.bob]\nroles = [\"all\"]\n{more}",
        tests::process::AGENTS
    );
    Plan { sections, ..Plan::default() }
}

/// Requests that Vault itself lets through and the gate does not.
fn tricks(shared: &Shared) {
    let world = shared.world();
    let put =
        |path: &str, value: &str| world.ask("POST", &format!("secret/data/{path}"), &json!({"data": {"v": value}}));
    put("trick/victim/x", SECRET);
    let allowed = "{ capabilities = [\"create\", \"update\", \"read\", \"list\"] }";
    let paths = ["data", "metadata"].map(|api| format!("path \"secret/{api}/trick/mine/*\" {allowed}"));
    let policy = json!({"policy": paths.join("\n")});
    world.ask("POST", "sys/policies/acl/trick", &policy);
    let token = token(world.ask("POST", "auth/token/create", &json!({"policies": ["trick"]})).1);
    let (status, answer) = world.ask_as(&token, "GET", "secret/metadata/trick/mine/%2e%2e/victim/x", &Value::Null);
    // Where Vault refuses it there is no trick to guard against.
    let follows = world.dialect().follows_dots();
    assert!(if follows { answer["data"]["current_version"] == 1 } else { status == 400 }, "{status} {answer}");
    let body = json!({"data": {"v": "overwritten"}});
    let (status, answer) = world.ask_as(&token, "POST", "secret/data/trick/mine/%2e%2e/victim/x", &body);
    assert_eq!(status, if follows { 200 } else { 400 }, "{answer}");
    let now = world.ask("GET", "secret/metadata/trick/victim/x", &Value::Null).1;
    assert_eq!(now["data"]["current_version"], if follows { 2 } else { 1 }, "{now}");

    // A subject '+' is a wildcard once it is an alias in a templated policy, and 'CAROL' is
    // the same as 'carol' where that was there first.
    put("mcp/bob/tricks", SECRET);
    put("mcp/carol/tricks", SECRET);
    for (alias, name) in [("+", "bob"), ("carol", "carol"), ("CAROL", "carol")] {
        let path = &format!("secret/data/mcp/{name}/tricks");
        let body = json!({"policies": ["portcullis-agent"], "entity_alias": alias, "no_default_policy": true, "type": "batch"});
        let (status, created) = world.ask("POST", "auth/token/create/portcullis-templated", &body);
        assert_eq!(status, 200, "{created}");
        let token = created["auth"]["client_token"].as_str().expect("a token").to_owned();
        let (status, answer) = world.ask_as(&token, "GET", path, &Value::Null);
        match alias {
            "+" if !world.dialect().takes_wildcards() => assert_eq!(answer["errors"], json!(["Forbidden"])),
            _ => assert_eq!(status, 200, "{alias}: {answer}"),
        }
    }
    let gate = Gate::start(world, &by_common_name());
    for name in ["+", "*", "..", "BOB", "a/b", "bob\0x"] {
        let leaf = certs::Leaf { common_names: vec![name.to_owned()], uris: Vec::new(), ..certs::Leaf::agent("x") };
        let client = gate.holder(&gate.issue(&leaf));
        let response = client.get("/secrets/tricks");
        assert_eq!((response.status, response.code().as_str()), (401, "unauthenticated"), "{name:?}");
    }
    let bob = certs::Leaf { uris: Vec::new(), ..certs::Leaf::agent("bob") };
    assert_eq!(gate.holder(&gate.issue(&bob)).get("/secrets/tricks").json()["data"]["v"], SECRET);
}

fn token(answer: Value) -> String {
    answer["auth"]["client_token"].as_str().expect("a token").to_owned()
}

/// Agents are known by their common name, and nobody has an entry.
fn by_common_name() -> Plan {
    Plan {
        sections: "[identity]\nunknown_agents = \"own-namespace\"\n[child_tokens]\npolicies = \"templated\"\n"
            .to_owned(),
        ..Plan::default()
    }
}

fn forged_headers(shared: &Shared) {
    let gate = Gate::start(
        shared.world(),
        &Plan { top: "rate_limit_enabled = false\nauth_mtls_enabled = true\n".into(), ..by_common_name() },
    );
    let forged = gate.local().with("X-SSL-Client-S-DN", "CN=bob").with("X-SSL-Client-Verify", "SUCCESS");
    assert_eq!(forged.get("/whoami").status, 401);
    let alice = gate.agent("alice").with("X-SSL-Client-S-DN", "CN=bob").with("X-SSL-Client-Verify", "SUCCESS");
    let response = alice.get("/whoami");
    assert_ne!(response.json()["agent"], "bob");
    for header in ["X-Vault-Token", "X-Vault-Namespace", "X-Forwarded-User", "X-Agent"] {
        let response = gate.local().with(header, "bob").get("/whoami");
        assert_eq!(response.status, 401, "{header}");
    }
}

fn trusted_proxy(shared: &Shared) {
    let top = "rate_limit_enabled = false\nauth_mtls_enabled = true\ntrusted_proxies = [\"127.0.0.0/8\"]\n";
    let gate = Gate::start(shared.world(), &Plan { top: top.into(), ..by_common_name() });
    let proxied = |name: &str, verify: &str| {
        gate.local().with("X-SSL-Client-S-DN", name).with("X-SSL-Client-Verify", verify).get("/whoami")
    };
    let known = proxied("CN=bob,O=corp", "SUCCESS");
    assert_eq!(
        (known.status, &known.json()["agent"], &known.json()["proof"]),
        (200, &json!("bob"), &json!("trusted_proxy"))
    );
    for (name, verify) in [
        ("CN=bob", "FAILED"),
        ("CN=bob", "NONE"),
        ("CN=bob,CN=eve", "SUCCESS"),
        ("CN=BOB", "SUCCESS"),
        ("CN=+", "SUCCESS"),
        ("O=x", "SUCCESS"),
    ] {
        assert_eq!(proxied(name, verify).status, 401, "{name} {verify}");
    }
    let twice = gate
        .local()
        .with("X-SSL-Client-S-DN", "CN=bob")
        .with("X-SSL-Client-S-DN", "CN=eve")
        .with("X-SSL-Client-Verify", "SUCCESS");
    assert_eq!(twice.get("/whoami").status, 400);
}

fn impersonation(shared: &Shared) {
    const TOKENS: &str = "a-shared-secret-of-more-than-32-bytes";
    let agents = format!(
        "[agents.ann]\napi_keys = [{{ sha256 = \"{}\" }}]\n[agents.dora]\ncertificate = {{ dns = \"dora.example\" }}\n\
         [agents.eve]\njwt = {{ subject = \"the other eve\" }}\n[[identity.families]]\nuri = \"urn:{{name}}\"\n\
         agent = \"ci-{{name}}\"\n",
        tests::process::sha256(tests::API_KEY)
    );
    let signer = certs::Signer::shared(TOKENS.as_bytes());
    for (source, free) in [("cn", "zed"), ("jwt", "yan")] {
        let own = format!("[identity]\nunknown_agents = \"own-namespace\"\nunknown_source = \"{source}\"\n");
        let plan = by_common_name();
        let sections = plan.sections.replace("[identity]\nunknown_agents = \"own-namespace\"\n", &own) + &agents;
        let environment =
            vec![("JWT_HS256_SECRET", TOKENS.to_owned()), ("API_KEYS_JSON", json!({"key-of-kim": "kim"}).to_string())];
        let gate = Gate::start(shared.world(), &Plan { sections, environment, ..plan });
        let ann = gate.keyed();
        assert_eq!(ann.put("/secrets/x", &json!({"data": {"v": SECRET}})).status, 200);
        assert_eq!(gate.local().with("X-API-Key", "key-of-kim").get("/whoami").json()["agent"], "kim");
        let by_name =
            |name: &str| gate.holder(&gate.issue(&certs::Leaf { uris: Vec::new(), ..certs::Leaf::agent(name) }));
        let by_subject = |name: &str| {
            let claims = json!({"iss": "mcp-auth", "aud": "mcp-agents", "sub": name, "exp": 4_102_444_800_u64,
                "scope": "read list"});
            gate.local().with("Authorization", &format!("Bearer {}", signer.token(&claims).expect("a token")))
        };
        // An entry without such a principal, an API key, a family, another source: each has the name for itself.
        for name in ["ann", "dora", "eve", "kim", "ci-7"] {
            for (how, client) in [("a certificate", by_name(name)), ("a token", by_subject(name))] {
                let refused = client.get("/secrets/x");
                assert_eq!((refused.status, refused.code().as_str()), (401, "unauthenticated"), "{name} by {how}");
            }
        }
        let (certificate, token) = (by_name(free), by_subject(free));
        let (itself, other) = if source == "cn" { (certificate, token) } else { (token, certificate) };
        assert_eq!(itself.get("/whoami").json()["agent"], free, "by {source}");
        assert_eq!(other.get("/whoami").status, 401, "names are of {source} alone");
        assert_eq!(by_subject("the other eve").get("/whoami").json()["agent"], "eve");
        assert_eq!(ann.get("/secrets/x").json()["data"]["v"], SECRET);
    }
}

fn two_credentials(shared: &Shared) {
    let gate = shared.gate();
    let same = gate.agent("agent_api").with("X-API-Key", tests::API_KEY);
    assert_eq!(same.get("/whoami").json()["agent"], "agent_api");
    for client in [
        gate.agent("agent_mtls").with("X-API-Key", tests::API_KEY),
        gate.agent("agent_mtls").with("X-API-Key", "wrong"),
        gate.agent("nobody-known").with("X-API-Key", tests::API_KEY),
        gate.keyed().with("Authorization", "Bearer x.y.z"),
    ] {
        assert_eq!(client.get("/whoami").status, 401);
    }
    for header in ["X-API-Key", "Authorization"] {
        let twice = gate.local().with(header, tests::API_KEY).with(header, tests::API_KEY);
        assert_eq!(twice.get("/whoami").status, 400, "{header}");
    }
}

fn anonymous(shared: &Shared) {
    let gate = shared.gate();
    for client in [gate.local(), gate.stranger()] {
        for path in ["/healthz", "/livez", "/readyz"] {
            let response = client.get(path);
            assert_eq!((response.status, response.json()), (200, json!({"ok": true})), "{path}");
        }
        let own = [
            "/metrics",
            "/mcp",
            "/mcp/rpc",
            "/mcp/sse",
            "/openapi.json",
            "/docs",
            "/redoc",
            "/docs/start.js",
            "/nothing",
        ];
        let operators = ["/admin/config", "/admin/reload", "/admin/suspensions"];
        let own = own.into_iter().chain(operators).map(|path| ("GET", path));
        let all = CATALOG.iter().map(|entry| (entry.spec.method, entry.spec.template));
        for (method, template) in own.chain(all) {
            let path = template.replace(['{', '}'], "");
            let response = client.send(method, &path, &[], b"");
            assert_eq!(response.status, 401, "{method} {path}");
            assert!(response.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Bearer")));
        }
        assert_eq!(client.call("kv.list", &json!({})).status, 401);
        assert_eq!(client.clone().with("X-API-Key", "wrong").get("/whoami").status, 401);
    }
}

fn probes(shared: &Shared) {
    let sections = format!("{AGENTS}\n[limits]\nfailed_authentications = {{ requests = 3, per = \"1h\" }}\n");
    let gate = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
    let wrong = gate.local().with("X-API-Key", "wrong");
    // Nothing that a probe carries is looked at, or counted.
    for _ in 0..10 {
        let ready = wrong.get("/readyz");
        assert_eq!((ready.status, ready.json()), (200, json!({"ok": true})));
    }
    assert_eq!(gate.metric("portcullis_failed_authentications_total"), 0.0);
    assert_eq!(wrong.get("/whoami").status, 401, "no address was counted");
    assert_eq!(gate.local().send("POST", "/readyz", &[], b"").header("allow"), Some("GET, HEAD"));
}
