//! A Vault that lacks what the gate needs there is not one that is away: it is told what is missing
//! and what mends it, and the gate serves once that is done.

use serde_json::{Value, json};
use tests::process::AGENTS;
use tests::{Gate, Plan, World, wait_for};

use super::configuration::{run, said};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("what_tokens_are_made_by_is_missed_by_name_and_mended_while_the_gate_runs", roles),
    ("a_look_at_the_token_role_makes_no_token", looks),
    ("what_the_gate_needs_for_itself_is_missed_too", own),
    ("commands_say_what_vault_said_and_as_whom_it_was_asked", commands),
];

const ROLE: &str = "auth/token/roles/portcullis";
const GATES_POLICY: &str = "sys/policies/acl/portcullis-gate";

/// Nothing is said to be away, and all that a call asks for first has been read.
pub fn is_not_provisioned(gate: &Gate, problem: &str) -> bool {
    let detail = gate.admin_client().get("/readyz");
    let vault = &detail.json()["vault"];
    detail.status == 503
        && vault["health"] == "active"
        && vault["suspensions"]["ok"] == true
        && vault["provisioned"]["problem"].as_str().is_some_and(|told| told.contains(problem))
}

fn is_ready(gate: &Gate) -> bool {
    gate.admin_client().get("/readyz").status == 200
}

/// The policy of that name in Vault.
fn policy(world: &World, path: &str) -> String {
    let stands = world.ask("GET", path, &Value::Null).1;
    stands["data"]["policy"].as_str().unwrap_or_else(|| panic!("{stands}")).to_owned()
}

fn roles(_: &Shared) {
    let world = World::start(false);
    assert_eq!(world.ask("DELETE", ROLE, &Value::Null).0, 204);
    let gate = Gate::start_unready(&world, &Plan::default());
    wait_for("it says what is missing", 20, || is_not_provisioned(&gate, "Vault has no token role `portcullis`"));
    let mend = "`portcullis policy --sync --yes` with an operator's VAULT_TOKEN writes it";
    wait_for("the log says so", 5, || gate.stderr().contains(mend));
    assert_eq!(gate.local().get("/readyz").json(), json!({"ok": false}), "details are for operators");
    let missed = |when: &str| {
        let refused = gate.keyed().get("/secrets/x");
        assert_eq!((refused.status, refused.code().as_str()), (503, "vault_not_provisioned"), "{when}");
        assert_eq!(refused.header("retry-after"), Some("1"), "{when}");
        let tool = gate.keyed().call("kv.read", &json!({"path": "x"})).json();
        assert_eq!(tool["result"]["structuredContent"]["error"], "vault_not_provisioned", "{when}: {tool}");
        assert_eq!(gate.keyed().get("/whoami").status, 200, "{when}");
    };
    missed("without the role");
    let operator = [
        ("VAULT_TOKEN", world.vault.root_token()),
        ("VAULT_ADDR", &world.vault_address()),
        ("VAULT_ROLE_ID", ""),
        ("VAULT_SECRET_ID", ""),
    ];
    let sync = || run(gate.folder(), &["policy", "--config", "config.toml", "--sync", "--yes"], &operator);
    let (code, told) = said(&sync());
    assert_eq!(code, Some(0), "{told}");
    wait_for("it serves by itself", 10, || is_ready(&gate));
    assert_eq!(gate.keyed().get("/secrets/x").status, 404);

    // Agents whose tokens have not been made find what was taken away meanwhile.
    let other = json!({"orphan": true, "token_type": "default-batch", "allowed_policies_glob": "others-*"});
    assert_eq!(world.ask("POST", ROLE, &other).0, 204);
    let refused = gate.agent("agent_mtls").get("/secrets/x");
    assert_eq!(refused.code(), "vault_not_provisioned");
    wait_for("it says what is missing", 10, || is_not_provisioned(&gate, "does not allow the agents' policies"));
    let (code, told) = said(&sync());
    assert!(code == Some(0) && told.contains("~ token role portcullis\n"), "{told}");
    wait_for("it serves by itself", 10, || is_ready(&gate));

    let rights = policy(&world, GATES_POLICY);
    let less = rights.replace("auth/token/create/portcullis\"", "auth/token/create/no-such\"");
    assert_eq!(world.ask("PUT", GATES_POLICY, &json!({"policy": less})).0, 204);
    wait_for("it says what is missing", 10, || is_not_provisioned(&gate, "not allow `auth/token/create/portcullis`"));
    assert_eq!(gate.agent("agent_jwt").get("/secrets/public/x").code(), "vault_not_provisioned");
    assert_eq!(world.ask("PUT", GATES_POLICY, &json!({"policy": rights})).0, 204);
    wait_for("it serves by itself", 10, || is_ready(&gate));
    assert_eq!(gate.agent("agent_jwt").get("/secrets/public/x").status, 404);
    let broken = gate.metric("portcullis_upstream_broken_total");
    assert_eq!(broken, 0.0, "Vault has answered all along");
}

/// Accessors of the tokens that Vault keeps.
fn kept(world: &World) -> usize {
    let listed = world.ask("LIST", "auth/token/accessors", &Value::Null).1;
    listed["data"]["keys"].as_array().unwrap_or_else(|| panic!("{listed}")).len()
}

fn looks(_: &Shared) {
    let world = World::start(false);
    let sections = format!("{AGENTS}[child_tokens]\ntype = \"service\"\n");
    let gate = Gate::start(&world, &Plan { sections, ..Plan::default() });
    let before = kept(&world);
    // Each turn is a look that finds something and one that finds nothing.
    for _ in 0..2 {
        let role = world.ask("GET", ROLE, &Value::Null).1["data"].clone();
        assert_eq!(world.ask("DELETE", ROLE, &Value::Null).0, 204);
        wait_for("it is missed", 10, || !is_ready(&gate));
        assert!(matches!(world.ask("POST", ROLE, &role).0, 200 | 204));
        wait_for("it is there", 10, || is_ready(&gate));
    }
    assert_eq!(kept(&world), before);
    assert_eq!(gate.metric("portcullis_child_tokens_total{outcome=\"minted\"}"), 0.0);
}

fn own(_: &Shared) {
    let world = World::start(false);
    // The records of leases, and what answers are wrapped by.
    let rights = policy(&world, GATES_POLICY);
    let less = rights.replace("/leases/*\"", "/no-such/*\"").replace("sys/wrapping/wrap\"", "sys/wrapping/no-such\"");
    assert_eq!(world.ask("PUT", GATES_POLICY, &json!({"policy": less})).0, 204);
    let gate = Gate::start(&world, &Plan::default());
    let client = gate.keyed();
    let otp = || client.post("/ssh/otp", &json!({"role": "otp", "ip": "127.0.0.1", "username": "ops"}));
    assert_eq!(otp().status, 200);
    // An engine that is not mounted.
    assert_eq!(world.ask("DELETE", "sys/mounts/ssh", &Value::Null).0, 204);
    let refused = client.post("/ssh/sign", &json!({"role": "ops", "public_key": "x"}));
    assert_eq!((refused.status, refused.code().as_str()), (503, "vault_not_provisioned"));
    wait_for("the log says so", 10, || gate.stderr().contains("nothing is mounted there, or another engine"));
    // The role of what has a token of its own.
    assert_eq!(world.ask("DELETE", "auth/token/roles/portcullis-leases", &Value::Null).0, 204);
    assert_eq!((otp().status, otp().code().as_str()), (503, "vault_not_provisioned"));
    wait_for("the log says so", 10, || gate.stderr().contains("Vault has no token role `portcullis-leases`"));
    assert_eq!(client.put("/secrets/own", &json!({"data": {"a": 1}})).status, 200);
    let wrapped = client.send("GET", "/secrets/own", &[("X-Vault-Wrap-TTL", "60")], b"");
    let leased = client.post("/db/creds/readonly", &json!({}));
    for refused in [wrapped, leased] {
        assert_eq!((refused.status, refused.code().as_str()), (503, "vault_not_provisioned"));
    }
    assert!(gate.stderr().contains("see `portcullis-gate.hcl`"));
    assert!(is_ready(&gate), "others are served");
}

fn commands(shared: &Shared) {
    let world = shared.world();
    let gate = shared.gate();
    let address = world.vault_address();
    let weak = json!({"policies": ["mcp-agent-alice"], "no_default_policy": false, "ttl": "10m"});
    let weak = world.ask("POST", "auth/token/create", &weak).1;
    let weak = weak["auth"]["client_token"].as_str().unwrap_or_else(|| panic!("{weak}"));
    let (role_id, secret_id) = (world.role_id(), world.secret_id());
    let gates = [("VAULT_ROLE_ID", role_id), ("VAULT_SECRET_ID", secret_id)];
    let beside = [gates[0], gates[1], ("VAULT_TOKEN", weak)];
    let alone = [("VAULT_ROLE_ID", ""), ("VAULT_SECRET_ID", ""), ("VAULT_TOKEN", weak)];
    let by_gate = "it was asked by the gate's own login (AppRole): give VAULT_TOKEN of an operator";
    let by_token = "Vault is asked by VAULT_TOKEN, and not by the gate's own login (AppRole)";
    for (verb, environment, told_by) in [
        (&["policy", "--sync"][..], &gates[..], by_gate),
        (&["policy", "--sync"], &beside, by_token),
        (&["policy", "--sync", "--yes"], &alone, "it was asked by VAULT_TOKEN, which must be an operator's"),
        (&["suspended"], &alone, "Vault was asked by the gate's own login (token)"),
        (&["suspend", "alice", "--yes"], &alone, "Vault was asked by the gate's own login (token)"),
    ] {
        let verb = [verb, &["--config", "config.toml"]].concat();
        let environment = [environment, &[("VAULT_ADDR", address.as_str())]].concat();
        let (code, told) = said(&run(gate.folder(), &verb, &environment));
        let denied = told.contains("Vault answers 403, permission denied") || told.contains("Vault's policy denies it");
        assert!(code == Some(1) && denied && told.contains(told_by), "{verb:?}: {told}");
        assert!(!told.contains("not available"), "{verb:?}: {told}");
    }
}
