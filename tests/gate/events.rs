//! Events: every change that is done is told to those who may see it, on whichever stream they listen.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use certs::Leaf;
use reqwest::blocking::Client;
use serde_json::{Value, json};
use tests::events::{self, Events, WAYS};
use tests::mcp::{STATELESS, Schema};
use tests::process::{AGENTS, API_KEY, binary};
use tests::{Gate, Plan, World, wait_for};

use super::configuration::{run, said};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("a_subscriber_is_told_of_its_own_changes_and_of_nobody_elses", own),
    ("a_shared_secret_is_told_to_all_who_may_read_it", shared),
    ("every_change_is_told_and_no_value", every_change),
    ("who_comes_back_is_told_of_what_it_has_missed", resumed),
    ("a_verb_prints_what_is_told", watched),
    ("older_bridges_hear_of_each_tool_that_is_done", bridge),
    ("what_may_be_read_no_longer_is_told_no_longer", revoked),
    ("a_suspension_is_told_to_its_agent", suspended),
    ("a_subscription_is_closed_by_its_result", closed),
];

const MORE: &str = "\n[agents.alice]\nroles = [\"all\"]\n[agents.bob]\nroles = [\"all\"]\n[agents.carol]\nroles = []\n";

fn start(shared: &Shared) -> Gate {
    Gate::start(shared.world(), &Plan { sections: format!("{AGENTS}{MORE}"), ..Plan::default() })
}

fn client(gate: &Gate, agent: &str) -> Client {
    let issued = gate.issue(&Leaf::agent(agent));
    events::builder(gate.authority(), Some(&issued), WAYS[3]).build().expect("a client")
}

fn at(gate: &Gate, path: &str) -> String {
    format!("https://localhost:{}{path}", gate.tls)
}

fn subscribe(gate: &Gate, agent: &str, notifications: &Value) -> Events {
    Events::subscribe(&client(gate, agent), &at(gate, "/mcp"), notifications)
}

/// A secret of this name, written once more.
fn write(gate: &Gate, agent: &str, path: &str) {
    let written = gate.agent(agent).put(&format!("/secrets/{path}"), &json!({"data": {"value": "hush-hush"}}));
    assert_eq!(written.status, 200, "{written:?}");
}

/// A message of a subscription, by the published schema.
fn notification(events: &Events, kind: &str) -> Value {
    let message = events.message();
    let schema = Schema::of(STATELESS);
    schema.check(kind, &message);
    schema.check("JSONRPCNotification", &message);
    assert_eq!(message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 7, "{message}");
    message
}

fn own(shared: &Shared) {
    let gate = start(shared);
    let wanted = json!({
        "toolsListChanged": true,
        "resourcesListChanged": true,
        "resourceSubscriptions": ["kv://alice/events/a", "kv://alice/events/folder/", "kv://bob/events/a", "file:///a"],
    });
    let alice = subscribe(&gate, "alice", &wanted);
    let acknowledged = notification(&alice, "SubscriptionsAcknowledgedNotification");
    let granted = &acknowledged["params"]["notifications"];
    assert_eq!(granted["resourceSubscriptions"], json!(["kv://alice/events/a", "kv://alice/events/folder/"]));
    assert_eq!((&granted["toolsListChanged"], &granted["promptsListChanged"]), (&json!(true), &Value::Null));
    write(&gate, "bob", "events/a");
    write(&gate, "alice", "events/a");
    let updated = |uri: &str| {
        let message = notification(&alice, "ResourceUpdatedNotification");
        assert_eq!(message["params"]["uri"], uri, "{message}");
    };
    let listed = || drop(notification(&alice, "ResourceListChangedNotification"));
    updated("kv://alice/events/a");
    listed();
    // A second version adds no name; what nobody watches is no more than a name.
    write(&gate, "alice", "events/a");
    write(&gate, "alice", "events/b");
    write(&gate, "alice", "events/folder/deep/c d");
    updated("kv://alice/events/a");
    listed();
    updated("kv://alice/events/folder/deep/c%20d");
    listed();
    for (tool, arguments) in [
        ("kv.delete", json!({"path": "events/a"})),
        ("kv.undelete", json!({"path": "events/a", "versions": [2]})),
        ("kv.destroy", json!({"path": "events/a", "versions": [1]})),
    ] {
        let done = gate.agent("alice").call(tool, &arguments).json();
        assert_eq!(done["result"]["isError"], false, "{done}");
        updated("kv://alice/events/a");
        listed();
    }
    let refused = events::ask(&client(&gate, "carol"), &at(&gate, "/events"), &[]);
    assert_eq!(refused.status(), 403, "an agent without a role has nothing to be told of");
}

fn shared(shared: &Shared) {
    let roles = "\n[roles.writers]\nscopes = [\"write\"]\nshared = [\"events/**\"]\n\
                 [roles.readers]\nscopes = [\"read\", \"list\"]\nshared = [\"events/**\"]\n\
                 [agents.alice]\nroles = [\"readers\"]\n[agents.bob]\nroles = [\"writers\"]\n\
                 [agents.carol]\nroles = [\"all\"]\n";
    // By the root token and without tokens of agents' own: Vault has no policies for these roles.
    let token = shared.world().vault.root_token().to_owned();
    let none = String::new();
    let environment = vec![("VAULT_TOKEN", token), ("VAULT_ROLE_ID", none.clone()), ("VAULT_SECRET_ID", none)];
    let top = "child_token_enabled = false\n".to_owned();
    let plan = Plan { top, sections: format!("{AGENTS}{roles}"), environment, ..Plan::default() };
    let gate = Gate::start(shared.world(), &plan);
    let watched = json!({"resourceSubscriptions": ["kv://~shared/events/a", "kv://~shared/events/deep/"]});
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|agent| subscribe(&gate, agent, &watched));
    let granted = |events: &Events| {
        let acknowledged = notification(events, "SubscriptionsAcknowledgedNotification");
        acknowledged["params"]["notifications"].clone()
    };
    assert_eq!([&alice, &bob, &carol].map(granted), [watched, json!({}), json!({})]);
    let plain = ["alice", "bob", "carol"].map(|agent| Events::open(&client(&gate, agent), &at(&gate, "/events"), &[]));
    for path in ["a", "b", "deep/c"] {
        let secret = json!({"path": format!("events/{path}"), "data": {"value": "hush-hush"}, "shared": true});
        assert_eq!(gate.agent("bob").call("kv_write", &secret).json()["result"]["isError"], false);
    }
    for path in ["a", "deep/c"] {
        let message = notification(&alice, "ResourceUpdatedNotification");
        assert_eq!(message["params"]["uri"], format!("kv://~shared/events/{path}"));
    }
    let [alice, bob, carol] = plain;
    for path in ["a", "b", "deep/c"] {
        let data = alice.sent().data;
        assert_eq!((&data["agent"], &data["resource"]), (&json!("bob"), &json!(format!("kv://~shared/events/{path}"))));
    }
    // Who may write it may not read it; who shares nothing hears of its own alone.
    write(&gate, "carol", "events/own");
    assert_eq!(carol.sent().data["resource"], "kv://carol/events/own");
    let mut gate = gate;
    assert_eq!(gate.terminate(), Some(0));
    assert!(!bob.rest("the gate ends").concat().contains("resource.changed"));
}

fn every_change(shared: &Shared) {
    shared.postgres();
    let gate = start(shared);
    let url = at(&gate, "/events");
    let alice = Events::open(&client(&gate, "alice"), &url, &[("Accept", "*/*")]);
    let bob = Events::open(&client(&gate, "bob"), &url, &[]);
    let mut last = String::new();
    let mut told = |kind: &str, operation: &str, resource: Value, version: Value| {
        let sent = alice.sent();
        let data = &sent.data;
        assert_eq!((&*sent.event, &data["type"]), (kind, &json!(kind)), "{data}");
        assert_eq!((&data["agent"], &data["operation"]), (&json!("alice"), &json!(operation)), "{data}");
        assert_eq!((&data["resource"], &data["version"]), (&resource, &version), "{data}");
        assert_eq!(data["id"].as_str(), sent.id.as_deref(), "{data}");
        let members: BTreeSet<&str> = data.as_object().expect("an object").keys().map(String::as_str).collect();
        let known = BTreeSet::from(["id", "type", "time", "agent", "operation", "resource", "version"]);
        assert!(members.is_subset(&known), "{data}");
        let id = sent.id.expect("an id");
        assert!(id > last, "{id} {last}");
        last = id;
    };
    let agent = gate.agent("alice");
    let secret = json!("kv://alice/events/every");
    write(&gate, "alice", "events/every");
    told("resource.changed", "kv.write", secret.clone(), json!(1));
    let patched = agent.call("kv.patch", &json!({"path": "events/every", "data": {"more": "hush-hush"}}));
    assert_eq!(patched.status, 200);
    told("resource.changed", "kv.patch", secret.clone(), json!(2));
    // Nothing is told of what was refused or changes nothing.
    assert_eq!(agent.get("/secrets/events/every").status, 200);
    let refused = agent.put("/secrets/events/every", &json!({"data": {}, "cas": 77}));
    assert_eq!(refused.status, 409);
    let wrapped = agent.call("kv.read", &json!({"path": "events/every", "wrap_ttl": 60})).json();
    told("answer.wrapped", "kv.read", secret.clone(), Value::Null);
    let handle = wrapped["result"]["structuredContent"]["wrapped"]["handle"].clone();
    assert_eq!(agent.post("/wrap/unwrap", &json!({"handle": handle})).status, 200);
    told("answer.unwrapped", "wrap.unwrap", secret, Value::Null);
    let database = json!("database://readonly");
    let issued = agent.call("db.issue_creds", &json!({"role": "readonly"})).json();
    told("credential.issued", "db.issue_creds", database.clone(), Value::Null);
    let lease = issued["result"]["structuredContent"]["lease_id"].clone();
    for (tool, kind) in [("db.renew", "credential.renewed"), ("db.revoke", "credential.revoked")] {
        let done = agent.call(tool, &json!({"lease_id": lease})).json();
        assert_eq!(done["result"]["isError"], false, "{done}");
        told(kind, tool, database.clone(), Value::Null);
    }
    // Of another's own it hears nothing: its next event is its own.
    write(&gate, "bob", "events/other");
    assert_eq!(bob.sent().data["agent"], "bob");
    let recent = agent.get("/mcp/events").json();
    let recent = recent["events"].as_array().expect("events");
    let operations: Vec<_> = recent.iter().map(|event| event["operation"].as_str().expect("an operation")).collect();
    let all = ["kv.write", "kv.patch", "kv.read", "wrap.unwrap", "db.issue_creds", "db.renew", "db.revoke"];
    assert_eq!(operations, all);
    assert!(!format!("{recent:?}").contains("hush"), "{recent:?}");
}

fn resumed(shared: &Shared) {
    let gate = start(shared);
    let (alice, url) = (client(&gate, "alice"), at(&gate, "/events"));
    let first = Events::open(&alice, &url, &[]);
    write(&gate, "alice", "events/first");
    let last = first.sent().id.expect("an id");
    drop(first);
    write(&gate, "alice", "events/second");
    write(&gate, "bob", "events/second");
    write(&gate, "alice", "events/third");
    let back = Events::open(&alice, &url, &[("Last-Event-ID", &last)]);
    for path in ["kv://alice/events/second", "kv://alice/events/third"] {
        assert_eq!(back.sent().data["resource"], path);
    }
    // What is kept no longer is told to be missing.
    let ancient = Events::open(&alice, &url, &[("Last-Event-ID", "0000000000000001-00000001")]);
    assert_eq!(ancient.sent().event, "gap");
}

fn watched(shared: &Shared) {
    let gate = start(shared);
    let key = gate.folder().join("watch.key");
    fs::write(&key, API_KEY).expect("a file");
    let mut watch = Command::new(binary());
    watch.args(["watch", "--gate", &format!("http://127.0.0.1:{}", gate.plain), "--api-key-file"]).arg(&key);
    let mut watch = watch.stdout(Stdio::piped()).spawn().expect("the verb starts");
    let mut lines = BufReader::new(watch.stdout.take().expect("its output")).lines();
    wait_for("it listens", 20, || gate.metric("portcullis_event_streams") == 1.0);
    let written = gate.keyed().put("/secrets/events/watched", &json!({"data": {"value": "hush-hush"}}));
    assert_eq!(written.status, 200);
    let line = lines.next().expect("a line").expect("text");
    let told: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        (&told["type"], &told["resource"]),
        (&json!("resource.changed"), &json!("kv://agent_api/events/watched"))
    );
    watch.kill().and_then(|()| watch.wait()).expect("it is ended");
    fs::write(&key, "another").expect("a file");
    let refused = Command::new(binary())
        .args(["watch", "--gate", &format!("http://127.0.0.1:{}", gate.plain), "--api-key-file"])
        .arg(&key)
        .output()
        .expect("the verb starts");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stdout.is_empty() && !refused.stderr.is_empty(), "{refused:?}");
}

fn bridge(shared: &Shared) {
    let gate = start(shared);
    let alice = Events::open(&client(&gate, "alice"), &at(&gate, "/mcp/sse"), &[("Accept", "*/*")]);
    assert_eq!(alice.sent().event, "endpoint");
    let agent = gate.agent("alice");
    let read = || agent.call("kv.read", &json!({"path": "events/bridge"}));
    write(&gate, "alice", "events/bridge");
    assert_eq!(read().status, 200);
    gate.agent("bob").call("whoami", &json!({}));
    assert_eq!(agent.call("whoami", &json!({})).status, 200);
    for method in ["notifications/resources/updated", "notifications/resources/list_changed"] {
        assert_eq!(alice.message()["method"], method);
    }
    for tool in ["kv.write", "kv.read", "whoami"] {
        let done = alice.sent();
        assert_eq!((&*done.event, &done.data["type"]), ("tool.completed", &json!("tool.completed")));
        assert_eq!((&done.data["tool"], &done.data["subject"]), (&json!(tool), &json!("alice")));
        assert!(done.data["ts"].as_str().is_some_and(|time| time.ends_with('Z')), "{done:?}");
    }
}

fn revoked(shared: &Shared) {
    let gate = start(shared);
    let alice = Events::open(&client(&gate, "alice"), &at(&gate, "/events"), &[]);
    let file = gate.folder().join("config.toml");
    let text = fs::read_to_string(&file).expect("a file");
    fs::write(&file, text.replace("kv = [\"**\"]", "kv = [\"open/**\"]\ndeny = [\"open/closed/**\"]")).expect("a file");
    write(&gate, "alice", "events/before");
    assert_eq!(alice.sent().data["resource"], "kv://alice/events/before");
    let before = gate.metric("portcullis_reloads_total");
    gate.signal("HUP");
    wait_for("it is read", 10, || gate.metric("portcullis_reloads_total") > before);
    let recent = || gate.agent("alice").get("/mcp/events").json();
    assert_eq!(recent(), json!({"events": []}), "judged when it is told");
    let back = Events::open(&client(&gate, "alice"), &at(&gate, "/events"), &[("Last-Event-ID", &"0".repeat(16))]);
    write(&gate, "alice", "open/after");
    for events in [alice, back] {
        assert_eq!(events.sent().data["resource"], "kv://alice/open/after");
    }
}

fn suspended(_: &Shared) {
    // What is on the record is so for every gate of this Vault.
    let world = World::start(false);
    let gate = Gate::start(&world, &Plan { sections: format!("{AGENTS}{MORE}"), ..Plan::default() });
    let (alice, url) = (client(&gate, "alice"), at(&gate, "/events"));
    let first = Events::open(&alice, &url, &[]);
    write(&gate, "alice", "events/before");
    let last = first.sent().id.expect("an id");
    let environment = [("VAULT_ROLE_ID", world.role_id()), ("VAULT_SECRET_ID", world.secret_id())];
    let change = |verb: &[&str]| {
        let (code, told) = said(&run(gate.folder(), &[verb, &["--config", "config.toml"]].concat(), &environment));
        assert_eq!(code, Some(0), "{told}");
    };
    change(&["suspend", "alice", "--reason", "test"]);
    let said = first.rest("it is suspended").concat();
    assert!(said.contains("\"reason\":\"suspended\""), "{said}");
    change(&["resume", "alice"]);
    wait_for("it is served again", 10, || gate.agent("alice").get("/whoami").status == 200);
    let back = Events::open(&alice, &url, &[("Last-Event-ID", &last)]);
    for kind in ["agent.suspended", "agent.resumed"] {
        let sent = back.sent();
        assert_eq!((&*sent.event, &sent.data["agent"]), (kind, &json!("alice")));
    }
}

fn closed(shared: &Shared) {
    let mut gate = start(shared);
    let alice = subscribe(&gate, "alice", &json!({}));
    let acknowledged = notification(&alice, "SubscriptionsAcknowledgedNotification");
    assert_eq!(acknowledged["params"]["notifications"], json!({}));
    assert_eq!(gate.terminate(), Some(0));
    let message = alice.message();
    Schema::of(STATELESS).check("SubscriptionsListenResultResponse", &message);
    alice.ends("the gate ends");
}
