//! The gate's records in Vault, where what answers is not Vault's engine, or what stands there was
//! not written by a gate: what was known stays, and nothing is made up.

use serde_json::{Value, json};
use tests::front::{Verdict, answer, page};
use tests::process::AGENTS;
use tests::{Client, Front, Gate, Plan, World, wait_for};

use super::configuration::{run, said};
use super::suspension::command;
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("what_is_no_answer_of_vaults_ends_no_suspension", foreign),
    ("a_mount_that_moves_ends_no_suspension", moved),
    ("an_entry_that_cannot_be_read_suspends_whom_it_names", malformed),
    ("leases_end_although_their_record_was_away", leases),
    ("what_is_no_answer_of_vaults_makes_no_key_and_no_gate_ready", key),
    ("what_is_no_answer_of_vaults_is_no_empty_list", lists),
    ("policies_are_not_written_over_what_cannot_be_read", policies),
];

const MORE: &str = "\n[agents.alice]\nroles = [\"all\"]\n[agents.bob]\nroles = [\"all\"]\n";
const RECORD: &str = "secret/data/portcullis/suspended";

fn plan(front: &Front) -> Plan {
    Plan { sections: format!("{AGENTS}{MORE}"), environment: front.environment(), ..Plan::default() }
}

/// Vault's own record, written by somebody else than a gate.
fn write(world: &World, data: &Value) {
    let (status, told) = world.ask("POST", RECORD, &json!({"data": data}));
    assert_eq!(status, 200, "{told}");
}

fn is_suspended(client: &Client) -> bool {
    client.get("/whoami").code() == "suspended"
}

/// The status of readiness, and its words about the record.
fn problems(gate: &Gate) -> (u16, String) {
    let response = gate.admin_client().get("/readyz");
    (response.status, response.json()["vault"]["suspensions"]["problems"].to_string())
}

/// Has the gate look at the record, and tells whether it could read it.
fn looks(gate: &Gate) -> bool {
    gate.operator().post("/admin/suspensions", &Value::Null).status == 200
}

fn no_handler() -> Verdict {
    let text =
        "{\"errors\":[\"no handler for route \\\"secret/data/portcullis/suspended\\\". route entry not found.\"]}";
    answer(404, "application/json", text)
}

fn foreign(_: &Shared) {
    let world = World::start(false);
    let front = Front::start(&world);
    write(&world, &json!({"agents": {"alice": {"since": 1, "reason": ""}}}));
    let gate = Gate::start(&world, &plan(&front));
    let (alice, bob) = (gate.agent("alice"), gate.agent("bob"));
    assert!(is_suspended(&alice) && !is_suspended(&bob));
    for (name, verdict) in [
        ("a page that is not there", page(404)),
        ("a page", page(200)),
        ("nothing at all", answer(404, "text/plain", "")),
        ("no mount", no_handler()),
        ("another API", answer(404, "application/json", "{\"error\":\"not_found\"}")),
        ("an empty object", answer(200, "application/json", "{}")),
        ("no metadata", answer(200, "application/json", "{\"data\":{}}")),
        ("no record", answer(200, "application/json", "{\"data\":{\"data\":null,\"metadata\":{\"version\":3}}}")),
        (
            "another record",
            answer(200, "application/json", "{\"data\":{\"data\":{\"a\":1},\"metadata\":{\"version\":3}}}"),
        ),
        ("a redirect", answer(302, "text/html", "")),
    ] {
        front.treat(RECORD, verdict);
        assert!(!looks(&gate), "{name}");
        assert!(is_suspended(&alice), "{name}");
        assert!(!is_suspended(&bob), "{name}");
    }
    wait_for("the gate is not ready", 20, || problems(&gate).0 == 503);
    let (_, told) = problems(&gate);
    assert!(told.contains("the answer (302) is not one of Vault's KV engine"), "{told}");
    let log = gate.stderr();
    assert!(log.contains("those known stay suspended"), "{log}");

    // Vault's own word that there is nothing is one, unless a node that lags behind says it.
    let nothing = answer(404, "application/json", "{\"errors\":[]}");
    front.treat(RECORD, nothing.clone());
    assert!(looks(&gate) && is_suspended(&alice));
    front.pass();
    write(&world, &json!({"agents": {"alice": {"since": 1}, "bob": {"since": 1}}}));
    assert!(looks(&gate) && is_suspended(&alice) && is_suspended(&bob));
    let before = json!({"data": {"data": {"agents": {"alice": {"since": 1}, "agent_mtls": {"since": 1}}}, "metadata": {"version": 1}}});
    front.treat(RECORD, answer(200, "application/json", &before.to_string()));
    assert!(looks(&gate) && is_suspended(&bob) && is_suspended(&gate.agent("agent_mtls")), "either version counts");
    let (status, told) = problems(&gate);
    assert!(status == 200 && told.contains("an earlier version"), "{told}");
    front.treat(RECORD, nothing);
    wait_for("it is believed in time", 30, || !is_suspended(&alice) && !is_suspended(&bob));
    wait_for("nothing is wrong with it", 20, || problems(&gate) == (200, "[]".to_owned()));
    front.pass();
    assert!(looks(&gate) && is_suspended(&alice));
    let (status, _) = world.ask("DELETE", RECORD, &Value::Null);
    assert_eq!(status, 204);
    assert!(looks(&gate) && !is_suspended(&alice), "a record that was deleted names nobody");
}

fn moved(_: &Shared) {
    let world = World::start(false);
    let gate = Gate::start(&world, &Plan { sections: format!("{AGENTS}{MORE}"), ..Plan::default() });
    let alice = gate.agent("alice");
    let (code, told) = command(&world, &gate, &["suspend", "alice"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(is_suspended(&alice));
    let mount = |from: &str, to: &str| {
        let (status, told) = world.ask("POST", "sys/remount", &json!({"from": from, "to": to}));
        assert_eq!(status, 200, "{told}");
        wait_for("the mount has moved", 20, || {
            world.ask("GET", &format!("{to}/data/portcullis/suspended"), &Value::Null).0 == 200
        });
    };
    mount("secret", "elsewhere");
    wait_for("the gate is not ready", 20, || problems(&gate).0 == 503);
    assert!(is_suspended(&alice) && !looks(&gate));
    let (code, told) = command(&world, &gate, &["suspend", "bob"]);
    assert!(code == Some(1) && told.contains("is that engine mounted at `kv_mount`?"), "{told}");
    mount("elsewhere", "secret");
    wait_for("the gate is ready", 20, || problems(&gate).0 == 200);
    assert!(is_suspended(&alice));
}

fn malformed(_: &Shared) {
    let world = World::start(false);
    let front = Front::start(&world);
    let gate = Gate::start(&world, &plan(&front));
    let [alice, bob, other] = ["alice", "bob", "agent_mtls"].map(|name| gate.agent(name));
    let entries = json!({"alice": {"since": "yesterday"}, "bob": {"since": 1}, "No \u{1b}Name": {"since": 1}});
    write(&world, &json!({"agents": entries}));
    assert!(looks(&gate));
    assert!(is_suspended(&alice) && is_suspended(&bob) && !is_suspended(&other));
    let (status, told) = problems(&gate);
    assert!(status == 200 && told.contains("entry alice: ") && told.contains("no agent can have that name"), "{told}");
    assert!(gate.stderr().contains("there is something wrong with the record of suspended agents"));
    let (code, told) = command(&world, &gate, &["suspended"]);
    assert!(code == Some(0) && told.contains("alice  by an entry that cannot be read\n"), "{told}");
    assert!(told.contains("bob  since 1970-01-01") && !told.contains('\u{1b}'), "{told}");

    // What nobody can read is kept by whoever writes next.
    let (code, told) = command(&world, &gate, &["suspend", "agent_mtls"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(is_suspended(&alice) && is_suspended(&other));
    let (_, record) = world.ask("GET", RECORD, &Value::Null);
    assert_eq!(record["data"]["data"]["agents"]["alice"], json!({"since": "yesterday"}), "{record}");
    let (code, told) = command(&world, &gate, &["resume", "alice"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(!is_suspended(&alice));

    // Names alone will do; what names nobody changes nothing, and is not written over.
    for names in [json!(["bob", "alice"]), json!("alice,bob")] {
        write(&world, &json!({"agents": names}));
        assert!(looks(&gate) && is_suspended(&alice) && is_suspended(&bob) && !is_suspended(&other));
    }
    for data in [json!({"agents": 7}), json!({"agent": {}}), json!({"agents": ["No Name"]})] {
        write(&world, &data);
        assert!(!looks(&gate) && is_suspended(&alice), "{data}");
        let (code, told) = command(&world, &gate, &["suspend", "agent_mtls"]);
        assert!(code == Some(1) && told.contains("put an earlier version back"), "{told}");
    }
    wait_for("the gate is not ready", 20, || problems(&gate).0 == 503);
}

fn leases(shared: &Shared) {
    let world = World::start(false);
    let server = shared.postgres();
    server.introduce(&world);
    let front = Front::start(&world);
    let gate = Gate::start(&world, &plan(&front));
    let (alice, bob) = (gate.agent("alice"), gate.agent("bob"));
    let login = alice.post("/db/creds/readonly", &json!({})).json();
    let text = |member: &str| login[member].as_str().unwrap_or_else(|| panic!("{login}")).to_owned();
    assert!(server.can_log_in(&text("username"), &text("password")));
    // Without the record nothing is counted, and so nothing given out.
    front.treat("/portcullis/leases/", page(404));
    let refused = bob.post("/db/creds/readonly", &json!({}));
    assert_eq!((refused.status, refused.code().as_str()), (503, "upstream_unavailable"));
    let login =
        [("VAULT_ROLE_ID", world.role_id()), ("VAULT_SECRET_ID", world.secret_id()), ("VAULT_ADDR", &front.address)];
    let (code, told) = said(&run(gate.folder(), &["suspend", "alice", "--config", "config.toml"], &login));
    assert!(code == Some(1) && told.contains("alice is suspended; ITS LEASES HAVE NOT ENDED"), "{told}");
    assert!(is_suspended(&alice));
    let (code, told) = command(&world, &gate, &["suspend", "alice"]);
    assert_eq!(code, Some(0), "here the verb asks Vault itself: {told}");

    let (code, told) = command(&world, &gate, &["resume", "alice"]);
    assert_eq!(code, Some(0), "{told}");
    front.pass();
    let login = bob.post("/db/creds/readonly", &json!({})).json();
    // From here on its record is away.
    front.treat("/portcullis/leases/bob", page(404));
    let text = |member: &str| login[member].as_str().unwrap_or_else(|| panic!("{login}")).to_owned();
    write(&world, &json!({"agents": {"bob": {"since": 1}}}));
    let paths = ["GET /v1/secret/data/portcullis/leases/bob", "POST /v1/auth/token/revoke-accessor"];
    for away in paths {
        let (_, path) = away.split_once(' ').expect("a path");
        front.treat(path, page(404));
        let asked = front.asked(away);
        wait_for("it goes on trying", 20, || front.asked(away) > asked + 2);
        assert!(server.can_log_in(&text("username"), &text("password")));
    }
    assert!(gate.stderr().contains("leases cannot be ended yet"));
    front.pass();
    wait_for("its login has ended", 20, || !server.can_log_in(&text("username"), &text("password")));

    // An entry that cannot be read counts, and ends with the rest.
    let path = "secret/data/portcullis/leases/agent_mtls";
    let (status, told) =
        world.ask("POST", path, &json!({"data": {"leases": {"some-accessor": {"until": "tomorrow"}}}}));
    assert_eq!(status, 200, "{told}");
    assert_eq!(gate.agent("agent_mtls").post("/db/creds/readonly", &json!({})).status, 200);
    let (_, record) = world.ask("GET", path, &Value::Null);
    let leases = record["data"]["data"]["leases"].as_object().expect("leases");
    assert!(leases.len() == 2 && leases.contains_key("some-accessor"), "{record}");
    let (code, told) = command(&world, &gate, &["suspend", "agent_mtls"]);
    assert!(code == Some(0) && told.contains("2 leases have ended"), "{told}");
}

fn key(_: &Shared) {
    let world = World::start(false);
    let front = Front::start(&world);
    let gate = Gate::start(&world, &plan(&front));
    let alice = gate.agent("alice");
    let wrap = || alice.send("GET", "/transit/random", &[("X-Vault-Wrap-TTL", "5m")], b"");
    let wrapped = wrap().json()["wrapped"]["handle"].clone();
    front.treat("/transit/keys/", page(404));
    let fresh = Gate::start_unready(&world, &plan(&front));
    let asked = front.asked("GET /v1/transit/keys/");
    wait_for("both have looked", 20, || front.asked("GET /v1/transit/keys/") > asked + 4);
    assert_eq!(front.asked("POST /v1/transit/keys/"), 0, "a key was made");
    assert_eq!(fresh.admin_client().get("/readyz").status, 503);
    // Who knows the keys goes on with them.
    assert_eq!(alice.post("/wrap/lookup", &json!({"handle": wrapped})).status, 200);
    assert_eq!(wrap().status, 200);
    wait_for("the gate is not ready", 30, || gate.admin_client().get("/readyz").status == 503);
    front.pass();
    for gate in [&gate, &fresh] {
        wait_for("the gate is ready", 20, || gate.admin_client().get("/readyz").status == 200);
    }
    // A Vault without the engine says so itself: there are no handles then, and the rest is served.
    let text =
        "{\"errors\":[\"no handler for route \\\"transit/keys/portcullis-handles\\\". route entry not found.\"]}";
    front.treat("/transit/keys/", answer(404, "application/json", text));
    let without = Gate::start(&world, &plan(&front));
    assert_eq!(without.agent("alice").get("/secrets/none").status, 404);
    assert_eq!(front.asked("POST /v1/transit/keys/"), 0, "a key was made");
}

fn lists(shared: &Shared) {
    let front = Front::start(shared.world());
    let gate = Gate::start(shared.world(), &plan(&front));
    let alice = gate.agent("alice");
    assert_eq!(alice.get("/secrets?prefix=none").json(), json!({"keys": []}));
    assert_eq!(alice.get("/secrets/none").code(), "not_found");
    for (verdict, status, code) in [(page(404), 502, "upstream_nonsense"), (no_handler(), 503, "vault_not_provisioned")]
    {
        front.treat("/mcp/alice", verdict);
        for target in ["/secrets?prefix=none", "/secrets/none"] {
            let refused = alice.get(target);
            assert_eq!((refused.status, refused.code().as_str()), (status, code), "{target}");
        }
        let listed = alice.call("kv.list", &json!({})).json();
        assert_eq!(listed["result"]["structuredContent"]["error"], code, "{listed}");
    }
}

fn policies(_: &Shared) {
    let world = World::start(false);
    let front = Front::start(&world);
    let gate = Gate::start(&world, &plan(&front));
    let root = world.vault.root_token();
    let sync = || {
        let environment = [("VAULT_TOKEN", root), ("VAULT_ADDR", front.address.as_str())];
        let line = ["policy", "--sync", "--yes", "--config", "config.toml"];
        said(&run(gate.folder(), &line, &environment))
    };
    for path in ["/sys/policies/acl/", "/auth/token/roles/"] {
        for verdict in [page(404), page(200)] {
            front.rule(move |head| {
                let line = head.lines().next().unwrap_or_default();
                if line.starts_with("GET ") && line.contains(path) { verdict.clone() } else { Verdict::Pass }
            });
            let (code, told) = sync();
            assert!(code == Some(1), "{path}: {told}");
            assert_eq!(front.asked(&format!("POST /v1{path}")), 0, "{path}: {told}");
        }
    }
}
