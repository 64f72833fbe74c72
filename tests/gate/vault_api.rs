//! Vault's own API at `/v1`: clients of Vault's as they are.

pub(super) mod cli;
mod engines;
mod namespaces;
mod secrets;

use std::fs;

use serde_json::{Value, json};
use tests::process::AGENTS;
use tests::{API_KEY, Gate, Plan, wait_for};

use crate::{Case, Shared};

use cli::Cli;
use secrets::{uses_metadata, uses_secrets};

pub const CASES: &[Case] = &[
    ("the_command_line_works_with_a_certificate", certificate),
    ("the_command_line_works_with_a_key", key),
    ("the_command_line_reads_and_writes_by_path", engines::paths),
    ("the_command_line_works_with_keys", engines::keys),
    ("the_command_line_has_certificates_and_keys_signed", engines::certificates),
    ("the_command_line_tells_of_its_token", engines::tokens),
    ("status_is_told_while_vault_is_sealed_and_away", engines::status),
    ("a_token_makes_others_that_end_with_it", created),
    ("a_login_gives_a_token_of_the_gates_own", logins),
    ("what_is_not_granted_is_refused_in_vaults_words", refused),
    ("answers_are_wrapped_and_unwrapped", wrapping),
    ("leases_are_handles_of_the_agents", leases),
    ("capabilities_are_what_grants_say", capabilities),
    ("the_surface_may_be_off_and_logins_elsewhere", switched),
    ("tokens_of_vaults_own_are_never_used", foreign),
    ("another_namespace_than_the_agents_is_refused", namespaced),
    ("an_agent_names_its_own_namespace_and_no_other", namespaces::named),
    ("a_path_is_the_agents_own_however_it_is_spelled", spelled),
    ("answers_are_vaults_but_for_what_is_the_gates", answers),
];

fn certificate(shared: &Shared) {
    let cli = Cli::of(shared.gate(), "agent_mtls");
    let status = cli.json(&["status", "-format=json"]);
    assert_eq!((&status["sealed"], &status["initialized"]), (&json!(false), &json!(true)));
    uses_secrets(&cli, "v1-cert/apps/db");
    uses_metadata(&cli, "v1-cert/apps/described");
    // A token that an earlier login has left is nobody's business.
    let cli = cli.with("hvs.CAESIJsomething");
    assert_eq!(cli.json(&["kv", "list", "-format=json", "secret/v1-cert"]), json!(["apps/"]));
}

fn key(shared: &Shared) {
    let cli = Cli::new(shared.gate()).with(API_KEY);
    uses_secrets(&cli, "v1-key/apps/db");
    // It is the agent's own secret, on every surface.
    let read = shared.gate().keyed().get("/secrets/v1-key/apps/db").json();
    assert_eq!(read["data"]["password"], "one");
}

fn refused(shared: &Shared) {
    let gate = shared.gate();
    let nobody = Cli::new(gate).with("hvs.CAESIJsomething");
    let told = nobody.error(&["kv", "get", "secret/apps/db"]);
    assert!(told.contains("Code: 403") && told.contains("permission denied"), "{told}");
    let client = gate.keyed();
    for (method, path, status) in [
        ("GET", "/v1/sys/mounts", 403),
        ("GET", "/v1/sys/policies/acl/portcullis-gate", 403),
        ("GET", "/v1/auth/token/lookup", 403),
        ("GET", "/v1/cubbyhole/a", 403),
        ("GET", "/v1/", 403),
        ("GET", "/v1/secretdata/x", 403),
        ("GET", "/v1/secret/config", 403),
        ("GET", "/v1/secret/data", 400),
        ("GET", "/v1/secret/data/a//b", 400),
        ("GET", "/v1/secret/undelete/a", 405),
        ("GET", "/v1/secret/data/v1-none", 404),
        ("POST", "/v1/sys/internal/ui/mounts", 405),
        ("GET", "/v1/sys/internal/ui/mounts/nowhere/at/all", 403),
    ] {
        let answer = client.send(method, path, &[], b"");
        let told = answer.json();
        assert_eq!(answer.status, status, "{method} {path}: {told}");
        let errors = told["errors"].as_array().unwrap_or_else(|| panic!("{method} {path}: {told}"));
        assert_eq!(errors.is_empty(), status == 404, "{method} {path}: {told}");
        assert_eq!(told["request_id"].as_str(), answer.header("x-request-id"), "{method} {path}: {told}");
    }
}

/// A client that names another namespace than its agent's is not answered from that.
fn namespaced(shared: &Shared) {
    let (client, login) = (shared.gate().keyed(), json!({"role_id": "agent_api", "secret_id": API_KEY}).to_string());
    assert_eq!(client.put("/secrets/v1-namespaced", &json!({"data": {}})).status, 200);
    for (namespace, status) in [("other", 403), ("root/other", 403), ("\u{fc}", 403), ("root", 200), ("/", 200)] {
        let asked = |client: &tests::Client, method: &str, path: &str, body: &str| {
            client.send(method, path, &[("X-Vault-Namespace", namespace)], body.as_bytes()).status
        };
        assert_eq!(asked(&client, "LIST", "/v1/secret/metadata/", ""), status, "{namespace}");
        assert_eq!(asked(&client, "GET", "/v1/sys/internal/ui/mounts", ""), status, "{namespace}");
        let stranger = shared.gate().stranger();
        assert_eq!(asked(&stranger, "POST", "/v1/auth/approle/login", &login), status, "{namespace}");
    }
}

fn spelled(shared: &Shared) {
    let client = shared.gate().keyed();
    assert_eq!(client.put("/secrets/v1-spelled/a%20b", &json!({"data": {"a": 1}})).status, 200);
    assert_eq!(client.get("/v1/secret/data/v1-spelled/a%20b").json()["data"]["data"], json!({"a": 1}));
    assert_eq!(client.get("/v1/secret%2fdata%2Fv1-spelled%2fa%20b").json()["data"]["data"], json!({"a": 1}));
    for path in [
        "secret/data/../x",
        "secret/data/%2e%2e/agent_mtls/x",
        "secret/data/..%2fagent_mtls/x",
        "secret/data/%252e%252e/agent_mtls/x",
        "secret/data/x/.",
        "secret/./data/x",
        "secret/data//x",
        "secret//data/x",
        "../v1/secret/data/x",
        "secret/data/a%00b",
        "secret/metadata/../../sys/mounts",
    ] {
        let answer = client.get(&format!("/v1/{path}"));
        assert!(matches!(answer.status, 400 | 403), "{path}: {} {:?}", answer.status, answer.json());
    }
}

fn answers(shared: &Shared) {
    let (client, world) = (shared.gate().keyed(), shared.world());
    assert_eq!(client.put("/secrets/v1-answers", &json!({"data": {"a": {"b": [1, 2.50, "ü"]}}})).status, 200);
    let answer = client.get("/v1/secret/data/v1-answers").json();
    let (status, vaults) = world.ask("GET", "secret/data/mcp/agent_api/v1-answers", &Value::Null);
    assert_eq!(status, 200);
    for member in ["data", "renewable", "lease_id", "lease_duration", "wrap_info", "warnings", "auth"] {
        assert_eq!(answer[member], vaults[member], "{member}: {answer}");
    }
    let mounts = client.get("/v1/sys/internal/ui/mounts").json();
    assert_eq!(mounts["data"]["secret"]["secret/"]["options"]["version"], "2", "{mounts}");
    for (method, body) in [("POST", json!({"plaintext": "aGk="})), ("PUT", json!({"plaintext": "aGk="}))] {
        let answer = client.send(method, "/v1/transit/encrypt/agents-key", &[], body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{:?}", answer.json());
        assert!(answer.json()["data"]["ciphertext"].as_str().is_some_and(|text| text.starts_with("vault:v1:")));
    }
}

/// What a login gives.
fn logged_in(client: &tests::Client, path: &str, body: &Value) -> Value {
    let answer = client.send("PUT", &format!("/v1/auth/{path}"), &[], body.to_string().as_bytes());
    let told = answer.json();
    assert_eq!(answer.status, 200, "{path}: {told}");
    told["auth"].clone()
}

fn logins(shared: &Shared) {
    let gate = shared.gate();
    let cli = Cli::of(gate, "agent_mtls");
    cli.said(&["login", "-method=cert"]);
    let token = fs::read_to_string(cli.home.path().join(".vault-token")).expect("a token");
    let look = cli.json(&["token", "lookup", "-format=json"]);
    assert_eq!((&look["data"]["display_name"], &look["data"]["id"]), (&json!("agent_mtls"), &json!(token.trim())));
    cli.said(&["kv", "put", "secret/v1-login/a", "b=c"]);
    // The token is the certificate's: without that it is nothing.
    let told = Cli::new(gate).with(token.trim()).error(&["kv", "get", "secret/v1-login/a"]);
    assert!(told.contains("Code: 403"), "{told}");
    let other = gate.agent("alice").with("X-Vault-Token", token.trim());
    assert_eq!(other.get("/v1/secret/data/v1-login/a").status, 403);

    let login = json!({"role_id": "agent_api", "secret_id": API_KEY});
    let auth = logged_in(&gate.stranger(), "approle/login", &login);
    let token = auth["client_token"].as_str().expect("a token");
    assert!(!token.contains(API_KEY) && auth["lease_duration"] == 3600 && auth["token_type"] == "service", "{auth}");
    let caller = gate.local().with("X-Vault-Token", token);
    assert_eq!(caller.put("/v1/secret/data/v1-login/b", &json!({"data": {"d": "e"}})).status, 200);
    // It is a token of this surface alone.
    assert_eq!(caller.get("/secrets/v1-login/b").status, 401);
    assert_eq!(caller.send("POST", "/v1/auth/token/renew-self", &[], b"").status, 400);
    assert_eq!(caller.send("POST", "/v1/auth/token/revoke-self", &[], b"").status, 204);
    assert_eq!(caller.get("/v1/secret/data/v1-login/b").status, 403);
    let told = json!({"why": "the token of the gate's own was revoked", "principal": "agent_api"});
    wait_for("why is told", 10, || !gate.logged(&told).is_empty());
    for (path, body, status) in [
        ("approle/login", json!({"role_id": "agent_mtls", "secret_id": API_KEY}), 403),
        ("approle/login", json!({"role_id": "agent_api", "secret_id": "pck_none"}), 403),
        ("approle/login", json!({"role_id": "agent_api"}), 400),
        ("jwt/login", json!({"jwt": "ey.ey.ey"}), 403),
        ("jwt/login", json!({"jwt": "x".repeat(17_000)}), 413),
        ("cert/login", json!({}), 400),
        ("userpass/login/x", json!({"password": "x"}), 403),
    ] {
        let answer = gate.stranger().send("POST", &format!("/v1/auth/{path}"), &[], body.to_string().as_bytes());
        assert_eq!(answer.status, status, "{path} {:?}", answer.json());
    }
}

fn created(shared: &Shared) {
    let gate = shared.gate();
    let create = |client: &tests::Client, body: &Value| client.post("/v1/auth/token/create", body);
    let orphan = |client: &tests::Client| client.post("/v1/auth/token/create-orphan", &json!({"ttl": "1m"}));
    let made = |client: &tests::Client, body: &Value| {
        let answer = create(client, body);
        assert_eq!(answer.status, 200, "{body}: {:?}", answer.json());
        answer.json()["auth"].clone()
    };
    let bearer = |auth: &Value| gate.local().with("X-Vault-Token", auth["client_token"].as_str().expect("a token"));
    let status = |client: &tests::Client| client.get("/v1/sys/internal/ui/mounts").status;
    let first =
        made(&gate.keyed(), &json!({"ttl": "1200s", "explicit_max_ttl": "0s", "renewable": false, "policies": []}));
    assert_eq!((&first["lease_duration"], &first["orphan"]), (&json!(1200), &json!(true)), "{first}");
    let second = made(&bearer(&first), &json!({"ttl": "2h", "display_name": "terraform", "num_uses": 0}));
    // It lasts as long as the one that it was made with.
    assert!(second["lease_duration"].as_u64().is_some_and(|seconds| (1190..=1200).contains(&seconds)), "{second}");
    let third = made(&bearer(&second), &json!({"ttl": 60}));
    assert_eq!((&third["lease_duration"], &third["orphan"]), (&json!(60), &json!(false)), "{third}");
    let look = bearer(&third).get("/v1/auth/token/lookup-self").json();
    assert_eq!(
        (&look["data"]["path"], &look["data"]["orphan"]),
        (&json!("auth/token/create"), &json!(false)),
        "{look}"
    );
    // It is no orphan, however it is asked for.
    let fourth = orphan(&bearer(&second)).json()["auth"].clone();
    assert_eq!((&fourth["lease_duration"], &fourth["orphan"]), (&json!(60), &json!(false)), "{fourth}");
    assert_eq!((status(&bearer(&third)), status(&bearer(&fourth))), (200, 200));
    assert_eq!(bearer(&second).post("/v1/auth/token/revoke-self", &json!({})).status, 204);
    let statuses = [&first, &second, &third, &fourth].map(|auth| status(&bearer(auth)));
    assert_eq!(statuses, [200, 403, 403, 403]);
    // That of a certificate is nothing without it.
    let agent = gate.agent("agent_mtls");
    let bound = made(&agent, &json!({"explicit_max_ttl": "10m"}));
    assert_eq!(bound["lease_duration"], 600, "{bound}");
    let token = bound["client_token"].as_str().expect("a token");
    assert_eq!(status(&agent.with("X-Vault-Token", token)), 200);
    assert_eq!(status(&bearer(&bound)), 403);
    for body in [
        json!({"policies": ["root"]}),
        json!({"num_uses": 1}),
        json!({"id": "mine"}),
        json!({"entity_alias": "other"}),
        json!({"ttl": "soon"}),
        json!({"ttl": -1}),
    ] {
        assert_eq!(create(&gate.keyed(), &body).status, 400, "{body}");
    }
    let mut deep = first;
    for _ in 0..8 {
        deep = made(&bearer(&deep), &json!({}));
    }
    assert_eq!(create(&bearer(&deep), &json!({})).status, 400);
    assert_eq!(create(&gate.stranger(), &json!({})).status, 403);
}

fn wrapping(shared: &Shared) {
    let gate = shared.gate();
    let cli = Cli::of(gate, "agent_mtls");
    cli.said(&["kv", "put", "secret/v1-wrapped", "a=b"]);
    let wrapped = cli.json(&["kv", "get", "-format=json", "-wrap-ttl=60s", "secret/v1-wrapped"]);
    let token = wrapped["wrap_info"]["token"].as_str().unwrap_or_else(|| panic!("{wrapped}"));
    assert_eq!((&wrapped["wrap_info"]["ttl"], &wrapped["data"]), (&json!(60), &Value::Null), "{wrapped}");
    let waits = cli.json(&["write", "-format=json", "sys/wrapping/lookup", &format!("token={token}")]);
    assert_eq!(waits["data"]["creation_ttl"], 60, "{waits}");
    // It is the agent's, whoever has it.
    let other = gate.keyed().post("/v1/sys/wrapping/unwrap", &json!({"token": token}));
    assert_eq!(other.status, 403, "{:?}", other.json());
    // Wrapped anew it waits as long as at first, under another handle.
    let again = cli.json(&["write", "-format=json", "sys/wrapping/rewrap", &format!("token={token}")]);
    let anew = again["wrap_info"]["token"].as_str().unwrap_or_else(|| panic!("{again}"));
    assert_eq!((&again["wrap_info"]["ttl"], &again["data"]), (&json!(60), &Value::Null), "{again}");
    assert_ne!(anew, token);
    for path in ["unwrap", "rewrap", "lookup"] {
        let void = cli.error(&["write", &format!("sys/wrapping/{path}"), &format!("token={token}")]);
        assert!(void.contains("Code: 404"), "{path}: {void}");
    }
    let other = gate.keyed().post("/v1/sys/wrapping/rewrap", &json!({"token": anew}));
    assert_eq!(other.status, 403, "{:?}", other.json());
    let token = anew;
    let unwrapped = cli.json(&["unwrap", "-format=json", token]);
    assert_eq!(unwrapped["data"]["data"], json!({"a": "b"}), "{unwrapped}");
    cli.error(&["unwrap", token]);
    // What REST has wrapped is unwrapped here too.
    let client = gate.agent("agent_mtls");
    let answer = client.send("GET", "/secrets/v1-wrapped", &[("X-Vault-Wrap-TTL", "60s")], b"").json();
    let handle = answer["wrapped"]["handle"].as_str().expect("a handle").to_owned();
    let unwrapped = client.post("/v1/sys/wrapping/unwrap", &json!({"token": handle})).json();
    assert_eq!(unwrapped["data"]["data"], json!({"a": "b"}), "{unwrapped}");
    let metadata = client.send("GET", "/v1/secret/metadata/v1-wrapped", &[("X-Vault-Wrap-TTL", "60s")], b"");
    assert_eq!(metadata.status, 400, "{:?}", metadata.json());
}

fn leases(shared: &Shared) {
    shared.postgres();
    let gate = shared.gate();
    let cli = Cli::of(gate, "agent_mtls");
    let issued = cli.json(&["read", "-format=json", "database/creds/readonly"]);
    let lease = issued["lease_id"].as_str().expect("a lease").to_owned();
    assert!(lease.starts_with("pch1_") && issued["data"]["username"].is_string(), "{issued}");
    assert!(issued["lease_duration"].as_u64().is_some_and(|seconds| seconds > 0), "{issued}");
    let renewed = cli.json(&["lease", "renew", "-format=json", &lease]);
    assert_eq!(renewed["lease_id"].as_str(), Some(&*lease), "{renewed}");
    cli.json(&["lease", "renew", "-format=json", "-increment=60", &lease]);
    let looked_up = cli.json(&["lease", "lookup", "-format=json", &lease]);
    // Its own end is told, which is long before the handle's.
    let times = &looked_up["data"];
    assert!(times["ttl"].as_u64().is_some_and(|ttl| (1..=60).contains(&ttl)), "{looked_up}");
    assert_eq!((&times["id"], &times["renewable"]), (&json!(lease), &json!(true)), "{looked_up}");
    assert!(["issue_time", "expire_time", "last_renewal"].iter().all(|time| times[time].is_string()), "{looked_up}");
    // Another agent's lease is nothing.
    for path in ["sys/leases/renew", "sys/leases/revoke", "sys/leases/lookup"] {
        let answer = gate.keyed().post(&format!("/v1/{path}"), &json!({"lease_id": lease}));
        assert!(matches!(answer.status, 403 | 404), "{path}: {} {:?}", answer.status, answer.json());
        let vaults = gate.keyed().post(&format!("/v1/{path}"), &json!({"lease_id": "database/creds/readonly/abc"}));
        assert!(matches!(vaults.status, 400 | 403 | 404), "{path}: {} {:?}", vaults.status, vaults.json());
    }
    cli.said(&["lease", "revoke", &lease]);
    for about in ["renew", "lookup"] {
        let gone = cli.error(&["lease", about, &lease]);
        assert!(gone.contains("Code: 404"), "{about}: {gone}");
    }
    let certificate =
        cli.json(&["write", "-format=json", "pki/issue/service", "common_name=a.agents.internal", "ttl=1h"]);
    let handle = certificate["lease_id"].as_str().expect("a handle").to_owned();
    assert!(certificate["data"]["private_key"].is_string(), "{certificate}");
    cli.said(&["lease", "revoke", &handle]);
}

fn capabilities(shared: &Shared) {
    let client = shared.gate().agent("agent_mtls");
    let paths = ["secret/data/a", "secret/metadata/a", "transit/encrypt/k", "sys/mounts", "secret/data/../x"];
    let told = client.post("/v1/sys/capabilities-self", &json!({ "paths": paths })).json();
    let names = paths.map(|path| told["data"][path].clone());
    assert_eq!(
        names,
        [
            json!(["create", "read", "update", "patch", "delete"]),
            json!(["create", "read", "update", "patch", "list"]),
            json!(["update"]),
            json!(["deny"]),
            json!(["deny"]),
        ],
        "{told}"
    );
    let one = client.post("/v1/sys/capabilities-self", &json!({"path": "secret/metadata/a"})).json();
    assert_eq!(one["data"]["capabilities"], told["data"]["secret/metadata/a"], "{one}");
    assert_eq!(client.post("/v1/sys/capabilities-self", &json!({})).status, 400);
    // Those of a token are told to whoever shows it.
    let cli = Cli::of(shared.gate(), "agent_mtls");
    cli.said(&["login", "-method=cert"]);
    let own = fs::read_to_string(cli.home.path().join(".vault-token")).expect("a token");
    let told = cli.json(&["token", "capabilities", "-format=json", own.trim(), "secret/metadata/a"]);
    assert_eq!(told, one["data"]["capabilities"]);
    let other = cli.error(&["token", "capabilities", API_KEY, "secret/metadata/a"]);
    assert!(other.contains("Code: 403"), "{other}");
    for body in [json!({"paths": paths}), json!({"token": own.trim(), "paths": paths})] {
        assert_eq!(client.post("/v1/sys/capabilities", &body).status, 403, "{body}");
    }
}

fn switched(shared: &Shared) {
    let off = Gate::start(shared.world(), &Plan { top: "expose_vault_api = false\n".to_owned(), ..Plan::default() });
    for path in ["/v1/secret/data/x", "/v1/sys/health", "/v1/auth/cert/login"] {
        let answer = off.keyed().get(path);
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{path}");
    }
    let sections =
        format!("{AGENTS}\n[vault_api]\ncert_logins = [\"corp/tls\"]\njwt_logins = []\ntoken_ttl = \"5m\"\n");
    let gate = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
    let agent = gate.agent("agent_mtls");
    assert_eq!(logged_in(&agent, "corp/tls/login", &json!({}))["lease_duration"], 300);
    for path in ["cert/login", "jwt/login"] {
        assert_eq!(agent.post(&format!("/v1/auth/{path}"), &json!({"jwt": "a.b.c"})).status, 403, "{path}");
    }
}

fn foreign(shared: &Shared) {
    let (gate, world) = (shared.gate(), shared.world());
    let root = world.vault.root_token();
    // Of no use alone, and of none beside a certificate.
    assert_eq!(gate.stranger().with("X-Vault-Token", root).get("/v1/sys/mounts").status, 403);
    let agent = gate.agent("agent_mtls").with("X-Vault-Token", root);
    assert_eq!(agent.get("/v1/sys/mounts").status, 403);
    assert_eq!(agent.get("/v1/secret/data/mcp/agent_api/x").status, 404);
    assert_eq!(agent.get("/v1/auth/token/lookup-self").json()["data"]["display_name"], "agent_mtls");
    let agent = gate.agent("agent_mtls");
    for path in ["team-a/secret/data/x", "sys/%6dounts", "SYS/mounts", "sys//mounts", "auth/token/lookup"] {
        let answer = agent.get(&format!("/v1/{path}"));
        assert!(matches!(answer.status, 403 | 404), "{path}: {} {:?}", answer.status, answer.json());
    }
}
