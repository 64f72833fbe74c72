//! A Vault in use is moved behind the gate: a role observes.

use std::fs;

use serde_json::{Value, json};
use tests::{Gate, Plan, wait_for};

use super::configuration::{run, said};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[("what_only_an_observing_role_allows_is_let_through_and_recorded", observed)];

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
