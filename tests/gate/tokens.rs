//! The agents' child tokens: minted once, replaced when Vault no longer knows
//! them, never another's, never the gate's.

use std::time::Instant;

use serde_json::{Value, json};
use tests::front::answer;
use tests::{Audit, Front, Gate, Plan, World, wait_for};

use super::provisioning::is_not_provisioned;
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("many_waiting_requests_mint_one_token", minted_once),
    ("a_token_revoked_behind_the_gates_back_is_replaced_once", revoked),
    ("the_gates_own_token_is_replaced_when_vault_no_longer_knows_it", gates_own),
    ("a_refusal_that_may_mean_a_dead_token_has_it_looked_up_once", doubtful),
    ("a_path_that_vault_denies_mints_no_new_token", denied),
    ("a_token_that_cannot_be_minted_fails_the_request", not_minted),
    ("switched_off_the_gates_own_token_serves", off),
    ("vaults_audit_names_the_agent", audit),
    ("what_is_held_is_dropped_at_the_end", dropped),
    ("a_service_token_that_makes_room_is_revoked", evicted),
];

const MINTED: &str = "portcullis_child_tokens_total{outcome=\"minted\"}";
const REPLACED: &str = "portcullis_child_tokens_total{outcome=\"replaced\"}";

fn service(more: &str) -> Plan {
    let sections = format!("{}\n[child_tokens]\ntype = \"service\"\n{more}", tests::process::AGENTS);
    Plan { sections, ..Plan::default() }
}

fn minted_once(shared: &Shared) {
    let gate = Gate::start(shared.world(), &Plan::default());
    let client = gate.keyed();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(client.get("/secrets/x/y").status, 404));
        }
    });
    assert_eq!(gate.metric(MINTED), 1.0);
    assert_eq!(gate.agent("agent_mtls").get("/secrets/x/y").status, 404);
    assert_eq!(gate.metric(MINTED), 2.0, "another agent has a token of its own");
}

/// The accessors of the service tokens whose display name names `agent`.
fn accessors(shared: &Shared, agent: &str) -> Vec<String> {
    let world = shared.world();
    let listed = world.ask("LIST", "auth/token/accessors", &Value::Null).1;
    let keys = listed["data"]["keys"].as_array().cloned().unwrap_or_default();
    keys.iter()
        .filter_map(Value::as_str)
        .filter(|accessor| {
            let found = world.ask("POST", "auth/token/lookup-accessor", &json!({"accessor": accessor})).1;
            found["data"]["meta"]["agent"] == agent
        })
        .map(str::to_owned)
        .collect()
}

fn revoked(shared: &Shared) {
    let gate = Gate::start(
        shared.world(),
        &Plan { sections: format!("{}\n[agents.alice]\nroles = [\"all\"]\n", service("").sections), ..Plan::default() },
    );
    let alice = gate.agent("alice");
    assert_eq!(alice.put("/secrets/revoked", &json!({"data": {"a": 1}})).status, 200);
    let found = accessors(shared, "alice");
    assert_eq!(found.len(), 1);
    let (status, _) = shared.world().ask("POST", "auth/token/revoke-accessor", &json!({"accessor": found[0]}));
    assert_eq!(status, 204);
    assert_eq!(alice.get("/secrets/revoked").json()["data"]["a"], 1);
    assert_eq!((gate.metric(MINTED), gate.metric(REPLACED)), (2.0, 1.0), "one new token, one retry");
    assert_eq!(alice.get("/secrets/revoked").status, 200);
    assert_eq!(gate.metric(MINTED), 2.0);
}

fn gates_own(_: &Shared) {
    let world = World::start(false);
    let logins = |gate: &Gate| gate.stderr().matches("the gate is logged in to Vault").count();
    let sections = format!("{}\n[agents.alice]\nroles = [\"all\"]\n", tests::process::AGENTS);
    let gate = Gate::start(&world, &Plan { sections, ..Plan::default() });
    assert_eq!((gate.keyed().get("/secrets/none").status, logins(&gate)), (404, 1));
    let accessors = world.ask("LIST", "auth/token/accessors", &Value::Null).1;
    for accessor in accessors["data"]["keys"].as_array().expect("accessors") {
        let accessor = json!({"accessor": accessor});
        let found = world.ask("POST", "auth/token/lookup-accessor", &accessor).1;
        if found["data"]["policies"] == json!(["portcullis-gate"]) {
            assert_eq!(world.ask("POST", "auth/token/revoke-accessor", &accessor).0, 204);
        }
    }
    // A new agent needs a token that the gate can no longer make.
    let alice = gate.agent("alice");
    tests::wait_for("a new agent is served", 5, || alice.get("/secrets/none").status == 404);
    assert_eq!((logins(&gate), gate.admin_client().get("/readyz").status), (2, 200));
}

fn doubtful(shared: &Shared) {
    let front = Front::start(shared.world());
    let denied = || answer(403, "application/json", r#"{"errors":["permission denied"]}"#);
    front.treat("/mcp/agent_api/doubtful", denied());
    let gate = Gate::start(shared.world(), &Plan { environment: front.environment(), ..Plan::default() });
    let (client, began) = (gate.keyed(), Instant::now());
    let looks = || front.asked("GET /v1/auth/token/lookup-self");
    let before = looks();
    for _ in 0..20 {
        let response = client.get("/secrets/doubtful");
        assert_eq!((response.status, response.code().as_str()), (403, "denied_by_vault"));
    }
    let looked = looks() - before;
    assert!((1..=1 + began.elapsed().as_secs() as usize).contains(&looked), "{looked} looks");
    assert_eq!((gate.metric(MINTED), gate.metric(REPLACED)), (1.0, 0.0));
}

fn denied(shared: &Shared) {
    // Agents without a policy in Vault may do nothing there, whatever the gate says.
    let sections = format!("{}\n[agents.unprovisioned]\nroles = [\"all\"]\n", tests::process::AGENTS);
    let gate = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
    let client = gate.agent("unprovisioned");
    for _ in 0..3 {
        let response = client.get("/secrets/x");
        assert_eq!((response.status, response.code().as_str()), (403, "denied_by_vault"));
        let detail = response.json()["detail"].clone();
        assert!(
            detail.as_str().is_some_and(|detail| detail.contains("`portcullis policy --sync` was not run")),
            "{detail}"
        );
    }
    assert!(gate.stderr().contains("`portcullis policy --sync` was most likely not run"), "{}", gate.stderr());
    assert_eq!((gate.metric(MINTED), gate.metric(REPLACED)), (1.0, 0.0));
}

fn not_minted(shared: &Shared) {
    let sections = format!("{}\n[child_tokens]\nrole = \"no-such-role\"\n", tests::process::AGENTS);
    let gate = Gate::start_unready(shared.world(), &Plan { sections, ..Plan::default() });
    let why = "does not allow `auth/token/create/no-such-role`";
    wait_for("it says why", 20, || is_not_provisioned(&gate, why) && gate.stderr().contains(why));
    let response = gate.keyed().get("/secrets/x");
    assert_eq!((response.status, response.code().as_str()), (503, "vault_not_provisioned"));
    assert!(gate.metric("portcullis_child_tokens_total{outcome=\"failed\"}") >= 1.0);
    assert!(gate.stderr().contains("does not give the agent a token"));
}

fn off(shared: &Shared) {
    let top = format!(
        "rate_limit_enabled = false\nchild_token_enabled = false\nvault_token = \"{}\"\n",
        shared.world().vault.root_token()
    );
    // The AppRole would win over the token.
    let environment = vec![("VAULT_ROLE_ID", String::new()), ("VAULT_SECRET_ID", String::new())];
    let gate = Gate::start(shared.world(), &Plan { top, environment, ..Plan::default() });
    assert_eq!(gate.keyed().put("/secrets/off", &json!({"data": {"a": 1}})).status, 200);
    assert_eq!(gate.metric(MINTED), 0.0);
    assert!(gate.stderr().contains("child tokens are off"), "a warning in {}", gate.stderr());
}

fn audit(shared: &Shared) {
    let audit = Audit::start(shared.world(), "tests");
    let client = shared.gate().agent("agent_mtls").with("X-Correlation-Id", "audit-me");
    assert_eq!(client.get("/secrets/audited").status, 404);
    let lines = audit.answers("secret/data/mcp/agent_mtls/audited");
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(line["auth"]["metadata"], json!({"agent": "agent_mtls"}));
    assert!(line.to_string().contains("audit-me"), "{line}");
}

fn dropped(shared: &Shared) {
    let mut gate = Gate::start(
        shared.world(),
        &Plan { sections: format!("{}\n[agents.bob]\nroles = [\"all\"]\n", service("").sections), ..Plan::default() },
    );
    assert_eq!(gate.agent("bob").get("/secrets/none").status, 404);
    assert_eq!(accessors(shared, "bob").len(), 1);
    assert_eq!(gate.terminate(), Some(0));
    assert!(accessors(shared, "bob").is_empty());
}

fn evicted(shared: &Shared) {
    let sections = format!("{}\n[agents.archive]\nroles = [\"all\"]\n", service("capacity = 1\n").sections);
    let gate = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
    assert_eq!(gate.agent("archive").get("/secrets/none").status, 404);
    assert_eq!(accessors(shared, "archive").len(), 1);
    assert_eq!(gate.keyed().get("/secrets/none").status, 404);
    wait_for("the older token is revoked", 20, || accessors(shared, "archive").is_empty());
}
