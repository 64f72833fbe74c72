//! Namespaces of Vault's (OpenBao's, and Vault Enterprise's): the gate's own, and those of agents.

use std::fs;
use std::process::Command;

use certs::Signer;
use local_vault::Product;
use serde_json::{Value, json};
use tests::process::{AGENTS, root};
use tests::{Client, Gate, Plan, World, wait_for};

use super::configuration::{run, said};
use super::jwt::{bearer, claims};
use super::suspension::{command, suspend_by_file};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("a_gate_in_a_namespace_is_ready_and_serves", ready),
    ("two_teams_have_the_same_names_and_see_only_their_own", teams),
    ("what_was_given_out_in_one_namespace_is_nothing_in_another", moved),
    ("an_agent_is_where_the_roles_of_its_token_are", by_group),
    ("the_kill_switch_ends_leases_in_every_namespace", killed),
    ("policies_are_kept_in_each_namespace", synced),
    ("a_vault_without_namespaces_is_not_asked_as_if_it_had_them", without),
];

/// Namespaces by the family, by a role and by an entry.
const TEAMS: &str = r#"
[[identity.families]]
spiffe = "spiffe://portcullis.dev/agent/{name}"
namespace = "team-a"

[roles.all]
scopes = ["read", "write", "delete", "list"]
kv = ["**"]
transit = ["*"]
database = ["*"]
ssh = ["*"]
pki = ["*"]

[roles.b]
scopes = ["read"]
namespace = "team-a/sub"

[agents.alice]
roles = ["all"]

[agents.bob]
roles = ["all", "b"]

[agents.archive]
roles = ["all", "b"]
namespace = "team-c"

[agents.agent_api]
roles = ["all"]
api_keys = [{ sha256 = "KEY" }]

[child_tokens]
type = "service"
"#;

/// Subjects of two groups, each in a namespace of its own.
const GROUPS: &str = r#"
[[identity.issuers]]
name = "issuer"
audiences = ["mcp-agents"]
jwks_file = "JWKS"
roles = [{ value = "one", roles = ["one"] }, { value = "two", roles = ["two"] }]

[[identity.families]]
jwt = "{name}"

[roles.one]
scopes = ["read", "write"]
kv = ["**"]
namespace = "team-a"

[roles.two]
scopes = ["read", "write"]
kv = ["**"]
namespace = "team-a/sub"
"#;

/// True where the Vault of this run has namespaces; HashiCorp's own edition for all has none.
pub(super) fn has_namespaces(world: &World) -> bool {
    world.vault.product() == Product::OpenBao
}

fn make(world: &World, namespace: &str) {
    let (parent, name) =
        namespace.rsplit_once('/').map_or((String::new(), namespace), |(parent, name)| (format!("{parent}/"), name));
    let (status, told) = world.ask("POST", &format!("{parent}sys/namespaces/{name}"), &json!({}));
    assert_eq!(status, 200, "{told}");
}

/// Makes a namespace and provisions it; what a gate logs in with there.
fn provision(world: &World, namespace: &str) -> [(&'static str, String); 3] {
    make(world, namespace);
    let binary = local_vault::binary(&root()).expect("a Vault").path;
    let mut script = Command::new("sh");
    script.arg(root().join("local-vault/provision.sh")).env("VAULT_BINARY", binary);
    script.env("VAULT_ADDR", world.vault_address()).env("VAULT_TOKEN", world.vault.root_token());
    script.env("VAULT_NAMESPACE", namespace).env("AGENTS", tests::world::AGENTS.join(","));
    let output = script.output().expect("a shell");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = |name: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {name}: {printed}{}", String::from_utf8_lossy(&output.stderr))).to_owned()
    };
    [
        ("VAULT_NAMESPACE", namespace.to_owned()),
        ("VAULT_ROLE_ID", told("VAULT_ROLE_ID")),
        ("VAULT_SECRET_ID", told("VAULT_SECRET_ID")),
    ]
}

/// The value `v` of a secret, asked for with the root token.
fn kept(world: &World, namespace: &str, path: &str) -> Value {
    let below = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
    world.ask("GET", &format!("{below}secret/data/mcp/{path}"), &Value::Null).1["data"]["data"]["v"].clone()
}

/// Gives the gate's login in the root the rights that its configuration needs.
fn allow(world: &World, sections: &str) {
    allow_in(world, "", sections);
}

/// The same in a namespace, whose path ends in a slash.
fn allow_in(world: &World, namespace: &str, sections: &str) {
    let folder = super::configuration::folder_with("config.toml", &sections.replace("KEY", &"0".repeat(64)));
    let (code, policy) = said(&run(folder.path(), &["policy", "--gate", "--config", "config.toml"], &[]));
    assert_eq!(code, Some(0), "{policy}");
    let (status, told) =
        world.ask("POST", &format!("{namespace}sys/policies/acl/portcullis-gate"), &json!({"policy": policy}));
    assert_eq!(status, 204, "{told}");
}

/// A world with the teams' namespaces and a gate that serves them.
pub(super) fn teams_of(world: &World) -> Gate {
    for namespace in ["team-a", "team-a/sub", "team-c"] {
        provision(world, namespace);
    }
    allow(world, TEAMS);
    Gate::start(world, &Plan { sections: TEAMS.into(), ..Plan::default() })
}

fn ready(_: &Shared) {
    let world = World::start(false);
    if !has_namespaces(&world) {
        return;
    }
    let environment = provision(&world, "gates").into();
    provision(&world, "gates/team");
    let sections = format!("{AGENTS}\n[agents.alice]\nroles = [\"all\"]\nnamespace = \"gates/team\"\n");
    allow_in(&world, "gates/", &format!("vault_namespace = \"gates\"\n{sections}"));
    let gate = Gate::start(&world, &Plan { environment, sections, ..Plan::default() });
    let agent = gate.agent("agent_mtls");
    assert_eq!(agent.put("/secrets/x", &json!({"data": {"v": "in gates"}})).status, 200);
    assert_eq!(agent.get("/secrets/x").json()["data"]["v"], "in gates");
    assert_eq!(kept(&world, "gates", "agent_mtls/x"), "in gates");
    assert_eq!(kept(&world, "", "agent_mtls/x"), Value::Null);
    assert_eq!(gate.admin_client().get("/readyz").json()["vault"]["health"], "active");
    assert_eq!(agent.get("/whoami").json()["namespace"], "gates");
    // And an agent in one below it.
    let alice = gate.agent("alice");
    let put = alice.put("/secrets/x", &json!({"data": {"v": "below"}}));
    assert_eq!(put.status, 200, "{put:?}");
    assert_eq!(kept(&world, "gates/team", "alice/x"), "below");
    let wrapped = alice.send("GET", "/secrets/x", &[("X-Vault-Wrap-TTL", "5m")], b"").json();
    let unwrapped = alice.post("/wrap/unwrap", &json!({"handle": wrapped["wrapped"]["handle"]})).json();
    assert_eq!(unwrapped["answer"]["data"]["v"], "below", "{unwrapped}");
}

fn teams(_: &Shared) {
    let world = World::start(false);
    if !has_namespaces(&world) {
        return;
    }
    let gate = teams_of(&world);
    let all = [
        (gate.agent("alice"), "alice", "team-a"),
        (gate.agent("bob"), "bob", "team-a/sub"),
        (gate.agent("archive"), "archive", "team-c"),
        (gate.keyed(), "agent_api", "team-a"),
    ];
    for (client, name, namespace) in &all {
        assert_eq!(client.get("/whoami").json()["namespace"], *namespace, "{name}");
        assert_eq!(client.put("/secrets/apps/db", &json!({"data": {"v": name}})).status, 200, "{name}");
        assert_eq!(kept(&world, namespace, &format!("{name}/apps/db")), *name);
        assert_eq!(kept(&world, "", &format!("{name}/apps/db")), Value::Null);
    }
    let [(alice, ..), (bob, ..), (archive, ..), (api, ..)] = &all;
    let encrypted = |client: &Client| {
        let asked = client.post("/transit/encrypt", &json!({"key": "agents-key", "plaintext": "eA=="}));
        assert_eq!(asked.status, 200, "{asked:?}");
        json!({"key": "agents-key", "ciphertext": asked.json()["ciphertext"]})
    };
    for (one, other) in [(alice, bob), (bob, alice), (alice, archive), (archive, api)] {
        assert_eq!(other.post("/transit/decrypt", &encrypted(one)).status, 400, "a key of that name is another there");
        assert_eq!(one.post("/transit/decrypt", &encrypted(one)).status, 200);
    }
    // Within one namespace a key is one.
    assert_eq!(api.post("/transit/decrypt", &encrypted(alice)).status, 200);
    wait_for("the log tells the namespace", 5, || {
        !gate.logged(&json!({"agent": "bob", "namespace": "team-a/sub"})).is_empty()
    });
}

/// The accessors of a namespace's tokens.
fn accessors(world: &World, namespace: &str) -> Vec<Value> {
    let listed = world.ask("LIST", &format!("{namespace}/auth/token/accessors"), &Value::Null).1;
    listed["data"]["keys"].as_array().cloned().unwrap_or_default()
}

/// The number of an agent's tokens in a namespace.
fn tokens(world: &World, namespace: &str, agent: &str) -> usize {
    let keys = accessors(world, namespace);
    let of_agent = |accessor: &&Value| {
        let path = format!("{namespace}/auth/token/lookup-accessor");
        world.ask("POST", &path, &json!({"accessor": accessor})).1["data"]["meta"]["agent"] == agent
    };
    keys.iter().filter(of_agent).count()
}

/// Has the gate read a file in which alice is elsewhere.
fn move_alice(gate: &Gate, from: &str, to: &str) {
    let file = gate.folder().join("config.toml");
    let text = fs::read_to_string(&file).expect("a file");
    let entry = |namespace: &str| match namespace {
        "" => "[agents.alice]\n".to_owned(),
        namespace => format!("[agents.alice]\nnamespace = {namespace:?}\n"),
    };
    fs::write(&file, text.replace(&entry(from), &entry(to))).expect("a file");
    let before = gate.metric("portcullis_reloads_total");
    gate.signal("HUP");
    wait_for("it is read", 10, || gate.metric("portcullis_reloads_total") > before);
}

fn moved(shared: &Shared) {
    let world = World::start(false);
    if !has_namespaces(&world) {
        return;
    }
    let gate = teams_of(&world);
    let server = shared.postgres();
    server.introduce_in(&world, "team-a/");
    let alice = gate.agent("alice");
    let login = alice.post("/db/creds/readonly", &json!({})).json();
    let text = |member: &str| login[member].as_str().unwrap_or_else(|| panic!("{login}")).to_owned();
    assert!(server.can_log_in(&text("username"), &text("password")));
    let issued = alice.post("/pki/issue", &json!({"role": "service", "common_name": "a.agents.internal"})).json();
    assert_eq!(alice.put("/secrets/x", &json!({"data": {"v": 1}})).status, 200);
    let wrapped = alice.send("GET", "/secrets/x", &[("X-Vault-Wrap-TTL", "5m")], b"").json();
    let wrapped = json!({"handle": wrapped["wrapped"]["handle"]});
    let handles = [
        ("/db/renew", json!({"lease_id": login["lease_id"]})),
        ("/db/revoke", json!({"lease_id": login["lease_id"]})),
        ("/pki/revoke", json!({"handle": issued["handle"]})),
        ("/wrap/lookup", wrapped.clone()),
        ("/wrap/unwrap", wrapped),
    ];
    // One of the lease, one of her own; the wrapping token is nobody's.
    assert_eq!(tokens(&world, "team-a", "alice"), 2);

    move_alice(&gate, "", "team-c");
    assert_eq!(alice.get("/whoami").json()["namespace"], "team-c");
    for (target, handle) in &handles {
        let refused = alice.post(target, handle);
        assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"), "{target}");
    }
    assert_eq!(alice.get("/secrets/x").status, 404, "the secret stays where it is");
    assert_eq!(tokens(&world, "team-c", "alice"), 1);
    wait_for("her former token has ended", 10, || tokens(&world, "team-a", "alice") == 1);

    move_alice(&gate, "team-c", "team-a");
    for (target, handle) in &handles {
        let done = alice.post(target, handle);
        assert_eq!(done.status, 200, "{target}: {done:?}");
    }
    assert!(!server.can_log_in(&text("username"), &text("password")), "its lease was revoked");
    assert_eq!(alice.get("/secrets/x").json()["data"]["v"], 1);
}

fn killed(shared: &Shared) {
    let world = World::start(false);
    if !has_namespaces(&world) {
        return;
    }
    let gate = teams_of(&world);
    let server = shared.postgres();
    let alice = gate.agent("alice");
    let login_in = |namespace: &str| {
        server.introduce_in(&world, &format!("{namespace}/"));
        let login = alice.post("/db/creds/readonly", &json!({})).json();
        let text = |member: &str| login[member].as_str().unwrap_or_else(|| panic!("{login}")).to_owned();
        let login = (text("username"), text("password"));
        assert!(server.can_log_in(&login.0, &login.1));
        login
    };
    let first = login_in("team-a");
    move_alice(&gate, "", "team-c");
    let second = login_in("team-c");
    // A lease of a namespace that is no more is in nobody's way.
    let record = "secret/data/portcullis/leases/alice";
    let mut leases = world.ask("GET", record, &Value::Null).1["data"]["data"]["leases"].clone();
    let gone = json!({"expires": 4_000_000_000_u64, "generation": 1, "namespace": "team-z"});
    leases.as_object_mut().expect("leases").insert("0.gone".to_owned(), gone);
    assert_eq!(world.ask("POST", record, &json!({"data": {"leases": leases}})).0, 200);

    let (code, told) = command(&world, &gate, &["suspend", "alice", "--reason", "key leaked"]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(alice.get("/whoami").code(), "suspended");
    wait_for("both logins have ended", 10, || {
        !server.can_log_in(&first.0, &first.1) && !server.can_log_in(&second.0, &second.1)
    });
    for namespace in ["team-a", "team-c"] {
        wait_for("her tokens have ended", 10, || tokens(&world, namespace, "alice") == 0);
    }
    wait_for("nothing is on the record", 10, || {
        world.ask("GET", record, &Value::Null).1["data"]["data"]["leases"] == json!({})
    });
    suspend_by_file(&gate, "bob", true);
    assert_eq!(gate.agent("bob").get("/whoami").code(), "suspended");
}

fn synced(_: &Shared) {
    let world = World::start(false);
    if !has_namespaces(&world) {
        return;
    }
    for namespace in ["team-a", "team-c"] {
        make(&world, namespace);
        let mount = json!({"type": "kv", "options": {"version": "2"}});
        assert_eq!(world.ask("POST", &format!("{namespace}/sys/mounts/secret"), &mount).0, 204);
    }
    let gate = Gate::start_unready(&world, &Plan { sections: TEAMS.into(), ..Plan::default() });
    let operator = [("VAULT_TOKEN", world.vault.root_token()), ("VAULT_ROLE_ID", ""), ("VAULT_SECRET_ID", "")];
    let sync = |more: &[&str]| {
        let line = [&["policy", "--sync", "--config", "config.toml"], more].concat();
        said(&run(gate.folder(), &line, &operator))
    };
    let (code, told) = sync(&["--yes"]);
    assert!(code == Some(1) && told.contains("Vault has no namespace team-a/sub"), "{told}");
    make(&world, "team-a/sub");
    assert_eq!(world.ask("POST", "team-a/sub/sys/mounts/secret", &json!({"type": "kv-v2"})).0, 204);
    let (code, told) = sync(&[]);
    assert_eq!(code, Some(3), "{told}");
    for line in [
        "+ policy mcp-agent-alice in team-a\n",
        "+ policy mcp-agent-bob in team-a/sub\n",
        "+ policy mcp-agent-archive in team-c\n",
        "+ policy mcp-agent-agent_api in team-a\n",
        "~ token role portcullis in team-c\n",
        "~ token role portcullis-leases in team-a/sub\n",
    ] {
        assert!(told.contains(line), "no {line}: {told}");
    }
    let (code, told) = sync(&["--yes"]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(sync(&[]), (Some(0), "Vault is as the configuration has it\n".to_owned()));
    let ready = || gate.admin_client().get("/readyz");
    let lacks = |what: &str| ready().json()["vault"]["provisioned"]["problem"].to_string().contains(what);
    wait_for("it tells what it lacks", 10, || {
        ["team-a", "team-a/sub", "team-c"]
            .iter()
            .all(|namespace| lacks(&format!("does not allow `{namespace}/auth/token/create/portcullis`, with `sudo`")))
    });
    assert_eq!(ready().status, 503, "nobody can be given a token");
    allow(&world, TEAMS);
    wait_for("it is ready", 10, || ready().status == 200);
    for name in ["alice", "bob", "archive"] {
        let put = gate.agent(name).put("/secrets/x", &json!({"data": {"v": name}}));
        assert_eq!(put.status, 200, "{name}: {put:?}");
    }
    let (code, told) = said(&run(gate.folder(), &["policy", "bob", "--config", "config.toml"], &[]));
    assert!(code == Some(0) && told.contains("Agent bob in team-a/sub, roles: all, b."), "{told}");
    let asked = ["explain", "--agent", "bob", "--operation", "kv.read", "--resource", "x", "--config", "config.toml"];
    let (code, told) = said(&run(gate.folder(), &asked, &[]));
    assert!(code == Some(0) && told.contains("in Vault's namespace `team-a/sub`"), "{told}");

    // What one namespace lacks is in no other's way.
    let role = "team-c/auth/token/roles/portcullis";
    assert_eq!(world.ask("DELETE", role, &Value::Null).0, 204);
    wait_for("it is told", 20, || lacks("Vault has no token role `portcullis` in team-c"));
    assert_eq!(ready().status, 200);
    assert_eq!(gate.agent("alice").get("/secrets/x").status, 200);
    let (code, told) = sync(&["--yes"]);
    assert!(code == Some(0) && told.contains("~ token role portcullis in team-c\n"), "{told}");

    // A templated policy goes by the aliases of its own namespace.
    let file = gate.folder().join("config.toml");
    let before = fs::read_to_string(&file).expect("a file");
    let templated = "[child_tokens]\npolicies = \"templated\"\n";
    fs::write(&file, before.replace("[child_tokens]\n", templated)).expect("a file");
    let (code, told) = sync(&["--yes"]);
    assert!(code == Some(0) && told.contains("+ policy portcullis-roles-all:b in team-c\n"), "{told}");
    allow(&world, &TEAMS.replace("[child_tokens]\n", templated));
    let reloads = gate.metric("portcullis_reloads_total");
    gate.signal("HUP");
    wait_for("it is read", 10, || gate.metric("portcullis_reloads_total") > reloads);
    for name in ["alice", "bob", "archive"] {
        let read = gate.agent(name).get("/secrets/x");
        assert_eq!((read.status, &read.json()["data"]["v"]), (200, &json!(name)), "{read:?}");
    }

    // Whoever leaves a namespace leaves no policy there.
    fs::write(gate.folder().join("before.toml"), &before).expect("a file");
    fs::write(&file, before.replace("[agents.alice]\n", "[agents.alice]\nnamespace = \"team-c\"\n")).expect("a file");
    let (code, told) = sync(&["--yes"]);
    assert!(code == Some(0) && told.contains("- policy mcp-agent-alice in team-a\n"), "{told}");
    assert_eq!(world.ask("GET", "team-a/sys/policies/acl/mcp-agent-alice", &Value::Null).0, 404);
    let (_, told) = said(&run(gate.folder(), &["diff", "before.toml", "config.toml"], &[]));
    assert!(told.contains("in Vault's namespace team-c") && told.contains("in Vault's namespace team-a"), "{told}");
}

/// It would take no notice of the namespace, and answer from its root.
fn without(_: &Shared) {
    let world = World::start(false);
    if has_namespaces(&world) {
        return;
    }
    let sections = format!("{AGENTS}\n[agents.alice]\nroles = [\"all\"]\nnamespace = \"team-a\"\n");
    let gate = Gate::start(&world, &Plan { sections, ..Plan::default() });
    let refused = gate.agent("alice").put("/secrets/x", &json!({"data": {"v": 1}}));
    assert_eq!((refused.status, refused.code().as_str()), (503, "upstream_unavailable"));
    assert_eq!(kept(&world, "", "alice/x"), Value::Null);
    assert!(gate.stderr().contains("this Vault has none"), "{}", gate.stderr());
    assert_eq!(gate.agent("agent_mtls").put("/secrets/x", &json!({"data": {"v": 1}})).status, 200);
}

/// By tokens of two groups she is in two namespaces, be Vault asked by tokens of the gate's or by hers.
fn by_group(_: &Shared) {
    let world = World::start(false);
    if !has_namespaces(&world) {
        return;
    }
    let key = Signer::p256("issuer").expect("a key");
    let folder = tempfile::tempdir().expect("a folder");
    let jwks = folder.path().join("jwks.json");
    fs::write(&jwks, json!({"keys": [key.jwk()]}).to_string()).expect("a file");
    for namespace in ["team-a", "team-a/sub"] {
        provision(&world, namespace);
        let config = json!({"jwt_validation_pubkeys": [key.pem().expect("a public key")], "bound_issuer": "issuer"});
        let role = json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["mcp-agents"],
            "token_policies": ["mcp-agent-alice"], "token_no_default_policy": true, "token_ttl": "1h"});
        for (path, body) in
            [("sys/auth/jwt", json!({"type": "jwt"})), ("auth/jwt/config", config), ("auth/jwt/role/agents", role)]
        {
            let (status, told) = world.ask("POST", &format!("{namespace}/{path}"), &body);
            assert!((200..300).contains(&status), "{path}: {status} {told}");
        }
    }
    let sections = GROUPS.replace("JWKS", &jwks.display().to_string());
    let by_token = "[vault]\nidentity = \"jwt\"\n[vault.jwt]\nrole = \"agents\"\n";
    for (way, more) in [("child", "[child_tokens]\ntype = \"service\"\n"), ("jwt", by_token)] {
        let sections = format!("{sections}{more}");
        allow(&world, &sections);
        let mut gate = Gate::start(&world, &Plan { sections, ..Plan::default() });
        let caller = |group: &str| {
            let iat = portcullis::vault::epoch_seconds();
            let all = claims(&json!({"iss": "issuer", "sub": "alice", "iat": iat, "groups": [group]}));
            bearer(gate.local(), &key.token(&all).expect("a token"))
        };
        for (group, namespace) in [("one", "team-a"), ("two", "team-a/sub")] {
            let (alice, v) = (caller(group), format!("{group} by {way}"));
            assert_eq!(alice.get("/whoami").json()["namespace"], namespace);
            let put = alice.put("/secrets/x", &json!({"data": {"v": v}}));
            assert_eq!(put.status, 200, "{v}: {put:?}");
            assert_eq!(kept(&world, namespace, "alice/x"), v);
            assert_eq!(accessors(&world, namespace).len(), 1);
        }
        assert_eq!(caller("one").get("/secrets/x").json()["data"]["v"], format!("one by {way}"));
        assert_eq!(gate.terminate(), Some(0));
        for namespace in ["team-a", "team-a/sub"] {
            assert_eq!(accessors(&world, namespace), [Value::Null; 0], "her tokens end with the gate");
        }
    }
}
