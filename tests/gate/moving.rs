//! A Vault in use is moved behind the gate: its policies become roles, and a role observes.

use std::fs;

use filters::vault_policy::MARK;
use serde_json::{Value, json};
use tests::{Gate, Plan, World, wait_for};

use super::configuration::{folder_with, run, said};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("policies_of_a_vault_become_roles_that_give_no_more", imported),
    ("policies_of_files_become_roles_and_what_is_none_is_told", files),
    ("what_only_an_observing_role_allows_is_let_through_and_recorded", observed),
];

/// The environment in which a verb asks this Vault as an operator.
fn operator(world: &World) -> [(&'static str, String); 2] {
    [("VAULT_TOKEN", world.vault.root_token().to_owned()), ("VAULT_ADDR", world.vault_address())]
}

const BILLING: &str = r#"
path "secret/data/billing/*" { capabilities = ["read", "create", "update"] }
path "secret/metadata/billing/*" { capabilities = ["list"] }
path "secret/data/billing/limits" {
  capabilities = ["update"]
  denied_parameters = { "options" = [] }
}
path "secret/data/people/{{identity.entity.name}}/*" { capabilities = ["read"] }
path "sys/mounts" { policy = "read" }
path "sys/raw/*" { capabilities = ["read", "sudo"] }
"#;

fn imported(_: &Shared) {
    let world = World::start(false);
    let write = |name: &str, text: &str| {
        let (status, told) = world.ask("PUT", &format!("sys/policies/acl/{name}"), &json!({"policy": text}));
        assert_eq!(status, 204, "{told}");
    };
    write("billing", BILLING);
    write("mcp-agent-billing", &format!("{MARK}\n"));
    write("team+a", "path \"secret/data/team/+/x\" { capabilities = [\"delete\", \"deny\"] }");
    let gate = Gate::start(&world, &Plan::default());
    let environment = operator(&world);
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let arguments = ["import", "vault-policies", "--from-vault", "--config", "config.toml"];
    let output =
        run(gate.folder(), &arguments, &[&environment[..], &[("VAULT_ROLE_ID", ""), ("VAULT_SECRET_ID", "")]].concat());
    let [printed, told] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_eq!(output.status.code(), Some(0), "{told}");
    for words in [
        "\"billing\": 3 of 6 paths are not carried over",
        "\"team+a\" becomes the role `team-a-",
        "not taken: \"default\"",
        "not taken: \"mcp-agent-billing\": `portcullis policy` has written it",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    for words in [
        "{ path = \"secret/data/billing/*\", capabilities = [\"create\", \"read\", \"update\"] }",
        "{ path = \"secret/data/billing/limits\", capabilities = [\"deny\"] }",
        "# { path = \"secret/data/people/{{identity.entity.name}}/*\"",
        "{ path = \"sys/mounts\", capabilities = [\"read\", \"list\"], dangerous = true }",
        "# No grant has the capability `sudo`.",
    ] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
    assert!(!printed.contains("[roles.default]") && !printed.contains("Written by"), "{printed}");
    let folder = folder_with("config.toml", &printed);
    let (code, text) = said(&run(folder.path(), &["check"], &[]));
    assert_eq!(code, Some(0), "{text}{printed}");
}

fn files(_: &Shared) {
    let folder = folder_with("billing.hcl", BILLING);
    fs::write(folder.path().join("bad.hcl"), "path \"x\" {").expect("a file");
    fs::write(folder.path().join("json.json"), r#"{"path": {"kv2/x": {"capabilities": ["read"]}}}"#).expect("a file");
    let import = |line: &str| {
        let arguments: Vec<&str> = ["import", "vault-policies"].into_iter().chain(line.split_whitespace()).collect();
        said(&run(folder.path(), &arguments, &[]))
    };
    let (code, text) = import("billing.hcl json.json");
    assert!(code == Some(0) && text.contains("[roles.billing]") && text.contains("[roles.json]"), "{text}");
    let (code, text) = import("bad.hcl json.json");
    assert!(code == Some(2) && text.contains("\"bad\": line 1") && text.contains("[roles.json]"), "{text}");
    for (line, code, told) in [
        ("missing.hcl", 1, "missing.hcl cannot be read"),
        ("", 2, "<FILE>"),
        ("--from-vault billing.hcl", 2, "--from-vault"),
        ("--from-vault", 1, "credentials"),
    ] {
        let (status, text) = import(line);
        assert!(status == Some(code) && text.contains(told), "{line}: {status:?} {text}");
    }
}

const OBSERVING: &str = r#"
[[identity.families]]
spiffe = "spiffe://portcullis.dev/agent/{name}"
agent = "{name}"

[roles.narrow]
scopes = ["read"]
kv = ["known/*"]

[roles.wide]
mode = "observe"
scopes = ["read", "write", "list"]
kv = ["**"]
transit = ["*"]
deny = ["never/**"]

[agents.alice]
roles = ["wide", "narrow"]
"#;

fn observing(shared: &Shared, more: &str) -> Gate {
    let plan = Plan { sections: format!("{OBSERVING}{more}"), ..Plan::default() };
    Gate::start(shared.world(), &plan)
}

fn write(shared: &Shared, path: &str) {
    let (status, told) =
        shared.world().ask("POST", &format!("secret/data/mcp/alice/{path}"), &json!({"data": {"of": path}}));
    assert_eq!(status, 200, "{told}");
}

/// The lines of a log whose members are these.
fn lines(gate: &Gate, log: &str, members: &Value) -> Vec<Value> {
    let fits = |line: &Value| members.as_object().into_iter().flatten().all(|(name, value)| line[name] == *value);
    let text = gate.log_file(log);
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(fits).collect()
}

fn observed(shared: &Shared) {
    ["known/a", "new/b"].into_iter().for_each(|path| write(shared, path));
    let gate = observing(shared, "[audit]\nfile = \"audit.log\"\nnames = \"clear\"\n");
    assert!(
        gate.stderr().contains("what only the role `wide` allows is let through and recorded"),
        "{}",
        gate.stderr()
    );
    let client = gate.agent("alice");
    for (path, status) in [("known/a", 200), ("new/b", 200), ("never/c", 403)] {
        assert_eq!(client.get(&format!("/secrets/{path}")).status, status, "{path}");
    }
    wait_for("the logs are written", 20, || lines(&gate, "responses.log", &json!({"subject": "alice"})).len() == 3);
    let seen = lines(&gate, "responses.log", &json!({"observed": true}));
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0]["path"], "new/b");
    assert_eq!(seen[0]["why"], "no role grants it: narrow lacks a grant");
    let requests = lines(&gate, "requests.log", &json!({"observed": true}));
    assert!(requests.len() == 1 && requests[0]["role"] == "wide" && requests[0]["decision"] == "allow", "{requests:?}");
    assert_eq!(lines(&gate, "requests.log", &json!({"role": "narrow"})).len(), 1);
    assert_eq!(gate.metric("portcullis_observed_total{operation=\"kv.read\"}"), 1.0);
    let audit = || fs::read_to_string(gate.folder().join("audit.log")).unwrap_or_default();
    wait_for("the audit is written", 20, || audit().contains("\"observed\":true"));
    let audit = audit();
    let records: Vec<&str> = audit.lines().filter(|line| line.contains("\"observed\":true")).collect();
    assert!(records.len() == 1 && records[0].contains("new/b") && records[0].contains("no role grants it"), "{audit}");
    let explain = |resource: &str| {
        let question =
            ["explain", "--config", "config.toml", "--agent", "alice", "--operation", "kv.read", "--resource"];
        said(&run(gate.folder(), &[&question[..], &[resource]].concat(), &[]))
    };
    let (code, text) = explain("new/b");
    assert!(code == Some(0) && text.contains("only observed"), "{text}");
    let (code, text) = explain("known/a");
    assert!(code == Some(0) && text.contains("by role `narrow`") && !text.contains("observed"), "{text}");
    let (_, text) = said(&run(gate.folder(), &["check", "--config", "config.toml"], &[]));
    assert!(text.contains("what only the role `wide` allows"), "{text}");
}
