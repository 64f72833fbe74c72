//! A Vault in use is moved behind the gate: its policies become roles, a role observes, and grants are proposed from
//! what was seen.

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
    ("grants_are_proposed_from_what_was_observed_and_allow_just_that", suggested),
    ("a_path_of_vaults_that_was_observed_is_granted_with_what_was_done_there", absolute),
    ("without_names_in_the_log_no_grant_is_proposed", untold),
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
    for (log, whose) in [("responses.log", "subject"), ("requests.log", "agent")] {
        wait_for("the log is written", 20, || lines(&gate, log, &json!({whose: "alice"})).len() == 3);
    }
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

fn suggested(shared: &Shared) {
    let names: Vec<String> = (0..7).map(|place| format!("many/{place}")).collect();
    names.iter().map(String::as_str).chain(["known/a", "one/x", "listed/y"]).for_each(|path| write(shared, path));
    let gate = observing(shared, "");
    let client = gate.agent("alice");
    let get = |path: &str| client.get(&format!("/secrets/{path}")).status;
    names.iter().map(String::as_str).chain(["known/a", "one/x", "one/x"]).for_each(|path| assert_eq!(get(path), 200));
    assert_eq!(client.put("/secrets/one/x", &json!({"data": {"n": 1}})).status, 200);
    assert_eq!(client.get("/secrets?prefix=listed").status, 200);
    assert_eq!(client.get("/secrets/never/x").status, 403);
    let count = || lines(&gate, "responses.log", &json!({"subject": "alice"})).len();
    wait_for("the log is written", 20, || count() == 13);
    let suggest = |more: &[&str]| {
        let arguments = [&["suggest-grants", "--config", "config.toml"], more].concat();
        let output = run(gate.folder(), &arguments, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let told = suggest(&[]);
    let grants: toml::Table = told.parse().expect("TOML");
    let roles = grants["roles"].as_table().expect("roles");
    let role = |name: &str| (roles[name]["scopes"].to_string(), roles[name]["kv"].to_string());
    assert_eq!(role("alice-read"), ("[\"read\"]".into(), "[\"many/*\"]".into()), "{told}");
    assert_eq!(role("alice-list"), ("[\"list\"]".into(), "[\"listed/*\"]".into()), "{told}");
    assert_eq!(role("alice-read-write"), ("[\"read\", \"write\"]".into(), "[\"one/x\"]".into()), "{told}");
    assert!(told.contains("\"one/x\", # 3") && told.contains("\"many/*\", # 7") && roles.len() == 3, "{told}");
    assert!(suggest(&["--fold", "9"]).contains("\"many/6\", # 1"));
    assert!(suggest(&["--all"]).contains("\"known/a\", # 1"));
    // In place of the role that observes they allow what was seen, and nothing else.
    let of_agent = told.lines().find_map(|line| line.strip_prefix("# roles = ")).expect("roles");
    let observing = "[roles.wide]";
    let (before, _) = OBSERVING.split_once(observing).expect("the role");
    let sections = format!("{before}{told}\n[agents.alice]\nroles = {of_agent}\n");
    let gate = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
    let client = gate.agent("alice");
    for (path, status) in [("many/3", 200), ("one/x", 200), ("one/y", 403), ("listed/y", 403), ("known/a", 403)] {
        assert_eq!(client.get(&format!("/secrets/{path}")).status, status, "{path}");
    }
    assert_eq!(client.get("/secrets?prefix=listed").status, 200);
    assert_eq!(client.put("/secrets/one/x", &json!({"data": {"n": 2}})).status, 200);
    assert_eq!(client.put("/secrets/many/3", &json!({"data": {"n": 2}})).status, 403);
}

/// A gate with this configuration, whose agent alice has the policy in Vault that belongs to it.
fn provided(world: &World, sections: String) -> Gate {
    let gate = Gate::start(world, &Plan { sections, ..Plan::default() });
    let output = run(gate.folder(), &["policy", "--config", "config.toml", "alice"], &[]);
    let policy = String::from_utf8(output.stdout).expect("text");
    let (status, told) = world.ask("PUT", "sys/policies/acl/mcp-agent-alice", &json!({"policy": policy}));
    assert_eq!(status, 204, "{policy}{told}");
    gate
}

fn absolute(_: &Shared) {
    let world = World::start(false);
    for name in ["a", "b"] {
        let path = format!("secret/data/billing/{name}");
        assert_eq!(world.ask("POST", &path, &json!({"data": {"of": name}})).0, 200);
    }
    let family = "[[identity.families]]\nspiffe = \"spiffe://portcullis.dev/agent/{name}\"\n";
    let wide = "[roles.wide]\nmode = \"observe\"\nscopes = [\"read\", \"write\", \"list\"]\nvault = [{ path = \"secret/*\", \
                capabilities = [\"read\", \"update\", \"list\"], dangerous = true }]\n[agents.alice]\nroles = [\"wide\"]\n";
    let gate = provided(&world, format!("{family}{wide}"));
    let ask = |gate: &Gate, method: &str, path: &str| {
        gate.agent("alice").send(method, &format!("/v1/secret/{path}"), &[], b"").status
    };
    let asked = [("GET", "data/billing/a"), ("LIST", "metadata/billing")];
    asked.iter().for_each(|(method, path)| assert_eq!(ask(&gate, method, path), 200, "{path}"));
    wait_for("the log is written", 20, || lines(&gate, "responses.log", &json!({"observed": true})).len() == 2);
    let output = run(gate.folder(), &["suggest-grants", "--config", "config.toml"], &[]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{told}{}", String::from_utf8_lossy(&output.stderr));
    for grant in [
        "{ path = \"secret/data/billing/a\", capabilities = [\"read\"] }, # 1",
        "{ path = \"secret/metadata/billing\", capabilities = [\"list\"] }, # 1",
    ] {
        assert!(told.contains(grant), "{grant}: {told}");
    }
    let gate = provided(&world, format!("{family}{told}\n[agents.alice]\nroles = [\"alice-vault\"]\n"));
    asked.iter().for_each(|(method, path)| assert_eq!(ask(&gate, method, path), 200, "{path}: {told}"));
    assert_eq!(ask(&gate, "GET", "data/billing/b"), 403);
}

fn untold(_: &Shared) {
    let line = |rest: &str| {
        format!(
            "{{\"ts\":\"2026-01-01T00:00:00Z\",\"msg\":\"kv_read\",\"subject\":\"a\",\"decision\":\"allow\",\"observed\":true{rest}}}\n"
        )
    };
    for (text, told) in [
        (String::new(), "no call that was observed is in there"),
        ("none\n".to_owned(), "lines that are none: 1"),
        (line(""), "`logging.names = \"clear\"`"),
        (line(",\"path\":\"hmac-sha256:00\""), "`logging.names = \"clear\"`"),
    ] {
        let folder = folder_with("responses.log", &text);
        let (code, text) = said(&run(folder.path(), &["suggest-grants", "responses.log"], &[]));
        assert!(code == Some(1) && text.contains(told), "{code:?} {text}");
    }
}
