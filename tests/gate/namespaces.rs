//! Namespaces of Vault's (OpenBao's, and Vault Enterprise's): the gate's own, and agents'.

use std::process::Command;

use serde_json::{Value, json};
use tests::process::root;
use tests::{Gate, Plan, World};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[("a_gate_in_a_namespace_is_ready_and_serves", ready)];

/// Makes a namespace and provisions it; what a gate logs in with there.
fn provision(world: &World, namespace: &str) -> [(&'static str, String); 3] {
    let (parent, name) = namespace.rsplit_once('/').map_or(("", namespace), |(parent, name)| (parent, name));
    let parent = if parent.is_empty() { String::new() } else { format!("{parent}/") };
    let (status, told) = world.ask("POST", &format!("{parent}sys/namespaces/{name}"), &json!({}));
    assert_eq!(status, 200, "{told}");
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

/// The value `v` of a secret of an agent's, asked for with the root token.
fn kept(world: &World, namespace: &str, path: &str) -> Value {
    let below = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
    world.ask("GET", &format!("{below}secret/data/mcp/{path}"), &Value::Null).1["data"]["data"]["v"].clone()
}

fn ready(_: &Shared) {
    let world = World::start(false);
    let environment = provision(&world, "gates").into();
    let gate = Gate::start(&world, &Plan { environment, ..Plan::default() });
    let agent = gate.agent("agent_mtls");
    assert_eq!(agent.put("/secrets/x", &json!({"data": {"v": "in gates"}})).status, 200);
    assert_eq!(agent.get("/secrets/x").json()["data"]["v"], "in gates");
    assert_eq!(kept(&world, "gates", "agent_mtls/x"), "in gates");
    assert_eq!(kept(&world, "", "agent_mtls/x"), Value::Null);
    assert_eq!(gate.admin_client().get("/readyz").json()["vault"]["health"], "active");
}
