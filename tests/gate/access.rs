//! `access.list` and `whoami`: an agent is told what it may use, all of it, as of now.

use std::fs;

use serde_json::{Value, json};
use tests::mcp::{HANDSHAKEN, STATELESS, ask, fits};
use tests::process::AGENTS;
use tests::{Client, Gate, Plan, Response, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("an_agent_is_told_its_own_grants_and_nobody_elses", own),
    ("both_surfaces_tell_the_same_as_their_schemas_say", surfaces),
    ("a_credential_is_told_what_it_may_and_when_it_ends", credentials),
    ("a_reload_changes_what_is_told", reload),
    ("a_suspended_agent_is_told_nothing", suspended),
];

/// Two agents, each with something that the other is not to hear of.
const TWO: &str = r#"
[roles.releases]
about = "publishes releases"
scopes = ["read", "write"]
kv = ["apps/**", { name = "keys/*", about = "tokens of registries" }]
shared = [{ name = "team/**" }]
transit = [{ name = "deploy-*", about = "signs release manifests 🔑" }]
ssh = ["ops"]
ssh_principals = ["deploy"]
max_ttl = "1h"
wrap = "required"
deny = ["apps/prod/**"]
rate = { requests = 100, per = "10s" }

[roles.audits]
scopes = ["list"]
database = ["ledger-ro"]
kv = ["books/**"]

[agents.alice]
roles = ["releases", "reader"]
concurrent = 3

[agents.bob]
roles = ["audits"]
rate = { requests = 6, per = "1h", burst = 2 }

[leases]
per_agent = 7
ttl = "2h"

[limits.operations."db.issue_creds"]
requests = 30
per = "1h"
"#;

fn plan() -> Plan {
    Plan { top: Plan::default().top.replace("false", "true"), sections: format!("{AGENTS}{TWO}"), ..Plan::default() }
}

/// The answer over REST.
fn told(client: &Client) -> Value {
    let response = client.get("/access");
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("cache-control"), Some("no-store"));
    response.json()
}

fn own(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan());
    let (alice, bob) = (told(&gate.agent("alice")), told(&gate.agent("bob")));
    let bounds = json!(["wrapped only"]);
    let about = "publishes releases";
    let grant = |engine: &str, name: &str, about: &str| json!({"engine": engine, "name": name, "scopes": ["read", "write"], "role": "releases", "about": about, "bounds": bounds});
    let path = |shared: bool, name: &str, about: &str| {
        let mut grant = grant("kv", name, about);
        grant["shared"] = shared.into();
        grant
    };
    let mut ssh = grant("ssh", "ops", about);
    ssh["bounds"] = json!(["wrapped only", "for 3600s at most", "users [deploy]"]);
    let random =
        |role: &str| json!({"engine": "transit", "operation": "transit.random", "scopes": ["read"], "role": role});
    let mut own_random = random("releases");
    (own_random["about"], own_random["bounds"]) = (about.into(), bounds.clone());
    assert_eq!(
        alice["grants"],
        json!([
            path(false, "apps/**", about),
            path(false, "keys/*", "tokens of registries"),
            path(true, "team/**", about),
            grant("transit", "deploy-*", "signs release manifests 🔑"),
            ssh,
            own_random,
            {"engine": "kv", "shared": false, "name": "public/**", "scopes": ["read", "list"], "role": "reader"},
            random("reader"),
        ])
    );
    let rates = json!([
        {"requests_per_minute": 600.0, "at_once": 100},
        {"role": "releases", "requests_per_minute": 600.0, "at_once": 100},
        {"operation": "db.issue_creds", "requests_per_minute": 0.5, "at_once": 30},
    ]);
    assert_eq!(alice["denied"], json!(["apps/prod/**"]));
    assert_eq!(
        alice["limits"],
        json!({"rates": rates, "concurrent": 3, "leases": 7, "lease_seconds": 7200, "token_seconds": 90})
    );
    assert_eq!((&alice["agent"], &alice["roles"]), (&json!("alice"), &json!(["releases", "reader"])));
    assert_eq!(bob["grants"].as_array().map(Vec::len), Some(2), "{bob}");
    assert_eq!(
        bob["grants"][1],
        json!({"engine": "database", "name": "ledger-ro", "scopes": ["list"], "role": "audits"})
    );
    assert_eq!(bob["limits"]["rates"][0], json!({"requests_per_minute": 0.1, "at_once": 2}));
    assert_eq!(bob["denied"], json!([]));
    let top = format!("{}child_token_enabled = false\n", plan().top);
    let gate = Gate::start(shared.world(), &Plan { top, ..plan() });
    assert!(told(&gate.agent("alice"))["limits"].get("token_seconds").is_none(), "it has no token of its own");
    // Nobody hears of another, nor of what is the gate's alone.
    for (who, told, others) in [
        ("alice", &alice, &["bob", "audits", "ledger", "books"][..]),
        ("bob", &bob, &["alice", "releases", "deploy", "apps", "registries", "public"]),
    ] {
        let told = told.to_string();
        for word in others.iter().chain(&["agent_api", "secret/", "mcp/", "portcullis"]) {
            assert!(!told.contains(word), "{who} is told of {word}: {told}");
        }
    }
}

fn surfaces(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan());
    let alice = gate.agent("alice");
    let document = gate.keyed().get("/openapi.json").json();
    for (path, name) in [("/access", "access.list"), ("/whoami", "whoami")] {
        let rest = alice.get(path);
        let described = &document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        fits(described, &rest.json(), path);
        for revision in HANDSHAKEN.into_iter().chain([STATELESS]) {
            let answer = ask(&alice, revision, "tools/call", &json!({"name": name, "arguments": {}})).json();
            let content = &answer["result"]["structuredContent"];
            assert_eq!(content, &rest.json(), "{revision} {name}");
        }
        // A schema that takes anything would fit too.
        let mut broken = rest.json();
        broken["grants"][0]["scopes"] = json!("read");
        assert!(!jsonschema::is_valid(described, &broken), "{described}");
    }
    assert_eq!(alice.get("/access").json(), alice.get("/whoami").json());
    let lines = || gate.logged(&json!({"operation": "access.list"}));
    wait_for("the log tells", 10, || !lines().is_empty());
    for line in lines() {
        assert_eq!(line["vault_ms"], 0.0, "Vault is not asked: {line}");
    }
}

fn credentials(shared: &Shared) {
    let secret = "a-shared-secret-of-the-tests-that-is-long-enough";
    let sections = AGENTS
        .replace("[{ sha256 = \"KEY\" }]", "[{ sha256 = \"KEY\", expires = \"2037-01-31T12:00:00Z\" }]")
        .replace("[agents.agent_mtls]\n", "[agents.agent_mtls]\njwt = { subject = \"svc:agent_mtls\" }\n");
    let environment = vec![("JWT_HS256_SECRET", secret.to_owned())];
    let gate = Gate::start(shared.world(), &Plan { sections, environment, ..Plan::default() });
    assert_eq!(told(&gate.keyed())["expires"], "2037-01-31T12:00:00Z");
    let key = certs::Signer::shared(secret.as_bytes());
    let token = |changes: &Value| key.token(&super::jwt::claims(changes)).expect("a token");
    let bearer = |client: Client, changes: &Value| told(&super::jwt::bearer(client, &token(changes)));
    // Leeway is a minute.
    let until = json!({"exp": 2_114_380_740, "scope": "read list"});
    let reads = bearer(gate.local(), &until);
    assert_eq!((&reads["expires"], &reads["scopes"]), (&json!("2037-01-01T00:00:00Z"), &json!(["read", "list"])));
    for grant in reads["grants"].as_array().expect("grants") {
        let scopes = if grant["operation"].is_null() { json!(["read", "list"]) } else { json!(["read"]) };
        assert_eq!(grant["scopes"], scopes, "{grant}");
    }
    // The certificate beside it ends first.
    let holder = gate.agent("agent_mtls");
    let certificate = told(&holder)["expires"].clone();
    assert!(certificate.as_str().is_some_and(|end| end < "2037"), "{certificate}");
    assert_eq!(bearer(holder, &until)["expires"], certificate);
    let nothing = bearer(gate.local(), &json!({"scope": ""}));
    assert_eq!((&nothing["grants"], &nothing["agent"]), (&json!([]), &json!("agent_mtls")), "it needs no scope");
    let anonymous: Response = gate.local().get("/access");
    assert_eq!((anonymous.status, anonymous.code().as_str()), (401, "unauthenticated"));
}

/// Changes the configuration and has the gate read it.
fn rewrite(gate: &Gate, from: &str, to: &str) {
    let file = gate.folder().join("config.toml");
    let text = fs::read_to_string(&file).expect("a file");
    assert!(text.contains(from), "{from}");
    fs::write(&file, text.replace(from, to)).expect("a file");
    gate.signal("HUP");
}

fn reload(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan());
    let alice = gate.agent("alice");
    let about = |told: &Value| told["grants"][3]["about"].clone();
    assert_eq!(about(&told(&alice)), "signs release manifests 🔑");
    let bob = gate.agent("bob");
    let before = told(&bob);
    rewrite(&gate, "signs release manifests 🔑", "signs nothing any more");
    wait_for("another description", 20, || about(&told(&alice)) == "signs nothing any more");
    rewrite(&gate, "roles = [\"releases\", \"reader\"]\nconcurrent = 3", "roles = [\"reader\"]\nconcurrent = 5");
    wait_for("other roles", 20, || told(&alice)["roles"] == json!(["reader"]));
    let now = told(&alice);
    assert_eq!((now["grants"].as_array().map(Vec::len), &now["limits"]["concurrent"]), (Some(2), &json!(5)), "{now}");
    assert_eq!(told(&bob), before);
}

fn suspended(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan());
    let (alice, bob) = (gate.agent("alice"), gate.agent("bob"));
    assert_eq!(alice.get("/access").status, 200);
    rewrite(&gate, "[agents.alice]\n", "[agents.alice]\nsuspended = true\n");
    wait_for("it is suspended", 20, || alice.get("/access").status == 403);
    for refused in [alice.get("/access"), alice.get("/whoami"), alice.call("access.list", &json!({}))] {
        assert_eq!((refused.status, refused.code().as_str()), (403, "suspended"));
        assert!(!String::from_utf8_lossy(&refused.body).contains("apps"), "{refused:?}");
    }
    assert_eq!(bob.get("/access").status, 200);
}
