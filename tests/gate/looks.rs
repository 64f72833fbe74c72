//! Looks of the background, again and again, where a connection or a path hangs; and the numbers that
//! gates tell of what they have seen.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::front::Verdict;
use tests::process::AGENTS;
use tests::{Client, Front, Gate, Plan, World, wait_for};

use super::suspension::command;
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("a_connection_that_is_swallowed_delays_no_suspension", swallowed),
    ("a_gate_that_cannot_look_is_not_ready_and_says_why", blind),
    ("a_handle_of_a_later_key_is_asked_for_again", later),
    ("suspend_says_which_gates_know_it", confirmed),
];

const MORE: &str = "\n[agents.alice]\nroles = [\"all\"]\n[agents.bob]\nroles = [\"all\"]\n";

fn plan(front: &Front) -> Plan {
    Plan { sections: format!("{AGENTS}{MORE}"), environment: front.environment(), ..Plan::default() }
}

fn is_suspended(client: &Client) -> bool {
    client.get("/whoami").code() == "suspended"
}

fn suspend(world: &World, agents: &Value) {
    let (status, told) = world.ask("POST", "secret/data/portcullis/suspended", &json!({"data": {"agents": agents}}));
    assert_eq!(status, 200, "{told}");
}

fn readiness(gate: &Gate) -> (u16, Value) {
    let response = gate.admin_client().get("/readyz");
    (response.status, response.json()["vault"].clone())
}

fn swallowed(_: &Shared) {
    let world = World::start(false);
    let front = Front::start(&world);
    let gate = Gate::start(&world, &plan(&front));
    let alice = gate.agent("alice");
    assert_eq!(alice.get("/whoami").status, 200);
    // Again and again, as connections go back to the pool and are swallowed there.
    for suspended in [true, false, true, false, true] {
        front.swallow_open();
        let begun = Instant::now();
        suspend(&world, &if suspended { json!({"alice": {"since": 1}}) } else { json!({}) });
        wait_for("the gate knows it", 20, || is_suspended(&alice) == suspended);
        // With the patience for agents' requests it would be half a minute.
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
    wait_for("the gate is ready", 20, || readiness(&gate).0 == 200);
}

fn blind(_: &Shared) {
    let world = World::start(false);
    let front = Front::start(&world);
    let gate = Gate::start(&world, &plan(&front));
    let alice = gate.agent("alice");
    for path in ["/portcullis/suspended", "/transit/keys/", "/sys/health"] {
        front.treat(path, Verdict::Swallow);
        wait_for("the gate is not ready", 30, || readiness(&gate).0 == 503);
        if path == "/portcullis/suspended" {
            wait_for("it says why", 20, || {
                let told = readiness(&gate).1["suspensions"].to_string();
                told.contains("\"ok\":false") && told.contains("Vault did not answer in time.")
            });
            assert_eq!(alice.get("/secrets/none").status, 404, "who is suspended is known still");
            assert_eq!(gate.operator().post("/admin/suspensions", &Value::Null).status, 503, "it has not looked");
        }
        front.pass();
        wait_for("the gate is ready", 30, || readiness(&gate).0 == 200);
    }
}

fn later(_: &Shared) {
    let world = World::start(false);
    let front = Front::start(&world);
    let (seen, blind) = (Gate::start(&world, &Plan::default()), Gate::start(&world, &plan(&front)));
    let wrap = |gate: &Gate| {
        let wrapped = gate.agent("agent_mtls").send("GET", "/transit/random", &[("X-Vault-Wrap-TTL", "10m")], b"");
        json!({"handle": wrapped.json()["wrapped"]["handle"]})
    };
    let look = |handle: &Value| blind.agent("agent_mtls").post("/wrap/lookup", handle);
    let first = wrap(&seen);
    assert_eq!(look(&first).status, 200);
    front.treat("/transit/keys/", Verdict::Swallow);
    assert_eq!(world.ask("POST", "transit/keys/portcullis-handles/rotate", &json!({})).0, 200);
    let mut handle = first.clone();
    wait_for("the new version seals, and is not known everywhere", 60, || {
        handle = wrap(&seen);
        look(&handle).status != 200
    });
    let refused = look(&handle);
    assert_eq!((refused.status, refused.code().as_str()), (503, "handle_key_unknown"), "{refused:?}");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let by_tool = blind.agent("agent_mtls").call("wrap.lookup", &handle).json();
    assert_eq!(by_tool["result"]["structuredContent"]["error"], "handle_key_unknown", "{by_tool}");
    assert_eq!(look(&first).status, 200, "what is known opens");
    let foreign = blind.agent("agent_jwt").post("/wrap/lookup", &first);
    assert_eq!(foreign.status, 403, "another's stays forbidden");
    front.pass();
    wait_for("it has looked", 20, || look(&handle).status == 200);
    // The next version is known before anybody asks; a forged one is not looked for at every request.
    let asked = front.asked("GET /v1/transit/keys/");
    let begun = Instant::now();
    for _ in 0..40 {
        let forged =
            blind.agent("agent_mtls").post("/wrap/lookup", &json!({"handle": format!("pch1_{}", "f".repeat(60))}));
        assert_eq!(forged.code(), "handle_key_unknown", "{forged:?}");
    }
    let most = 2 + begun.elapsed().as_millis() / 250;
    assert!(((front.asked("GET /v1/transit/keys/") - asked) as u128) <= most, "one look for each request");
}

fn confirmed(_: &Shared) {
    let world = World::start(false);
    let front = Front::start(&world);
    let (first, mut second) = (Gate::start(&world, &Plan::default()), Gate::start(&world, &plan(&front)));
    let told = |line: &[&str]| command(&world, &first, line);
    let (code, text) = told(&["suspend", "agent_jwt"]);
    assert!(code == Some(0) && text.contains("confirmed by 2 of 2 gates\n"), "{text}");
    assert!(is_suspended(&second.agent("agent_jwt")), "what is confirmed is so");

    front.treat("/portcullis/suspended", Verdict::Swallow);
    let (code, text) = told(&["suspend", "agent_mtls"]);
    assert!(code == Some(3) && text.contains("confirmed by 1 of 2 gates") && text.contains("NOT CONFIRMED"), "{text}");
    assert!(is_suspended(&first.agent("agent_mtls")) && !is_suspended(&second.agent("agent_mtls")), "it is as it says");
    front.pass();
    let (code, text) = told(&["suspend", "agent_mtls"]);
    assert!(code == Some(0) && text.contains("confirmed by 2 of 2 gates"), "{text}");
    assert!(is_suspended(&second.agent("agent_mtls")));

    // Who has ended is not waited for, who was killed is, and is named.
    assert_eq!(second.terminate(), Some(0));
    let (code, text) = told(&["resume", "agent_mtls"]);
    assert!(code == Some(0) && text.contains("confirmed by 1 of 1 gates"), "{text}");
    let killed = Gate::start(&world, &plan(&front));
    wait_for("it has told", 20, || gates(&world) == 2);
    drop(killed);
    let (code, text) = told(&["suspend", "agent_mtls"]);
    assert!(code == Some(3) && text.contains("confirmed by 1 of 2 gates") && text.contains("NOT CONFIRMED"), "{text}");

    // A word that nobody wrote changes nothing; without a gate nobody has confirmed.
    let (status, _) = world.ask("POST", GATES, &json!({"data": {"gates": {"x": 7, "y": {"version": "z"}}}}));
    assert_eq!(status, 200);
    let (code, text) = told(&["suspend", "agent_jwt", "--reason", "again"]);
    assert!(code == Some(0) && text.contains("confirmed by 1 of 1 gates"), "{text}");
    let folder = first.folder().to_owned();
    let config = std::fs::read(folder.join("config.toml")).expect("a file");
    let mut first = first;
    assert_eq!(first.terminate(), Some(0));
    wait_for("its word is gone", 10, || gates(&world) == 0);
    let elsewhere = tempfile::tempdir().expect("a folder");
    std::fs::write(elsewhere.path().join("config.toml"), config).expect("a file");
    let environment = [("VAULT_ROLE_ID", world.role_id()), ("VAULT_SECRET_ID", world.secret_id())];
    let line = ["suspend", "agent_api", "--config", "config.toml"];
    let (code, text) = super::configuration::said(&super::configuration::run(elsewhere.path(), &line, &environment));
    assert!(code == Some(3) && text.contains("no gate has been heard of lately"), "{text}");
}

const GATES: &str = "secret/data/portcullis/gates";

/// The number of gates that have told what they have seen.
fn gates(world: &World) -> usize {
    let (_, record) = world.ask("GET", GATES, &Value::Null);
    let entries = record["data"]["data"]["gates"].as_object();
    entries.map_or(0, |gates| gates.values().filter(|seen| seen["at"].is_u64()).count())
}
