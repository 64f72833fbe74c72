//! The kill switch: a suspended agent is refused at its next request, on every
//! connection and every gate, and what it holds ends.

use std::fs;
use std::io::{Read as _, Write as _};

use certs::Leaf;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};
use tests::process::AGENTS;
use tests::{Caller, Client, Gate, Plan, World, stub, wait_for};

use super::configuration::{run, said};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("a_suspended_agent_is_refused_everywhere_and_what_it_holds_ends", everywhere),
    ("the_configuration_suspends_too", configured),
    ("the_stream_of_a_suspended_agent_is_cut", stream),
    ("until_the_record_can_be_read_nobody_is_served", unknown),
    ("a_suspension_that_cannot_be_recorded_is_an_error", unrecorded),
    ("a_name_without_an_entry_may_be_a_slip", slips),
];

const MORE: &str = "\n[agents.alice]\nroles = [\"all\"]\n[agents.bob]\nroles = [\"all\"]\n";

fn plan() -> Plan {
    Plan { sections: format!("{AGENTS}{MORE}"), ..Plan::default() }
}

/// Runs a command with the configuration and credentials of the gate.
pub(super) fn command(world: &World, gate: &Gate, line: &[&str]) -> (Option<i32>, String) {
    let environment = [("VAULT_ROLE_ID", world.role_id()), ("VAULT_SECRET_ID", world.secret_id())];
    let line: Vec<&str> = line.iter().copied().chain(["--config", "config.toml"]).collect();
    said(&run(gate.folder(), &line, &environment))
}

fn everywhere(shared: &Shared) {
    // What is on the record is so for every gate of this Vault.
    let world = World::start(false);
    let server = shared.postgres();
    server.introduce(&world);
    let mut gates = [Gate::start(&world, &plan()), Gate::start(&world, &plan())];
    let [first, second] = &gates;
    let caller =
        |gate: &Gate, version| Caller::new(gate.tls, gate.authority(), &gate.issue(&Leaf::agent("alice")), version);
    let mut callers = [caller(first, &TLS12), caller(first, &TLS13)];
    let mut elsewhere = caller(second, &TLS13);
    let (alice, bob) = (first.agent("alice"), first.agent("bob"));
    let login = alice.post("/db/creds/readonly", &json!({})).json();
    let text = |member: &str| login[member].as_str().unwrap_or_else(|| panic!("{login}")).to_owned();
    assert!(server.can_log_in(&text("username"), &text("password")));

    let (code, told) = command(&world, first, &["suspend", "alice", "--reason", "key leaked\u{1b}[2J"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.starts_with("alice is suspended; ") && told.contains("the gate here has looked"), "{told}");
    assert!(told.contains("confirmed by 2 of 2 gates"), "{told}");
    for caller in &mut callers {
        assert_eq!(caller.everywhere(), [Some(403); 4]);
    }
    let call = alice.call("kv.read", &json!({"path": "x"}));
    assert_eq!((call.status, call.code().as_str()), (403, "suspended"));
    assert_eq!(bob.get("/whoami").status, 200);
    assert_eq!(second.agent("alice").get("/whoami").code(), "suspended", "what is confirmed is so");
    assert_eq!(elsewhere.everywhere(), [Some(403); 4]);
    wait_for("its login has ended", 5, || !server.can_log_in(&text("username"), &text("password")));
    let told = first.admin_client().get("/admin/suspensions").json();
    assert_eq!(told, json!({"suspended": ["alice"]}));
    assert_eq!(first.admin_client().get("/readyz").json()["vault"]["suspended"], json!(["alice"]));
    assert_eq!(first.local().get("/admin/suspensions").status, 401, "that is for operators");

    gates.iter_mut().for_each(|gate| assert_eq!(gate.terminate(), Some(0)));
    let gate = Gate::start(&world, &plan());
    assert_eq!(gate.agent("alice").get("/secrets/x").code(), "suspended", "it outlives the gates");
    let (code, told) = command(&world, &gate, &["suspended"]);
    assert!(code == Some(0) && told.starts_with("alice  since 20") && told.contains("key leaked"), "{told}");
    assert!(!told.contains('\u{1b}'), "a reason may not write to the terminal");
    let (code, told) = command(&world, &gate, &["resume", "alice"]);
    assert!(code == Some(0) && told.starts_with("alice is no longer on the record"), "{told}");
    assert_eq!(gate.agent("alice").get("/secrets/none").status, 404);
    let renewed = gate.agent("alice").post("/db/renew", &json!({"lease_id": login["lease_id"]}));
    assert_eq!(renewed.status, 404, "what has ended stays so");
    let (code, told) = command(&world, &gate, &["resume", "alice"]);
    assert!(code == Some(0) && told.starts_with("alice was not on the record"), "{told}");
    let (code, told) = command(&world, &gate, &["suspend", "No Name"]);
    assert!(code == Some(2) && told.contains("no agent can have that name"), "{told}");
}

/// Changes the gate's file, and has it read.
pub(super) fn suspend_by_file(gate: &Gate, agent: &str, suspended: bool) {
    let file = gate.folder().join("config.toml");
    let text = fs::read_to_string(&file).expect("a file");
    let (entry, mark) = (format!("[agents.{agent}]\n"), format!("[agents.{agent}]\nsuspended = true\n"));
    let text = if suspended { text.replace(&entry, &mark) } else { text.replace(&mark, &entry) };
    fs::write(&file, text).expect("a file");
    let before = gate.metric("portcullis_reloads_total");
    gate.signal("HUP");
    wait_for("it is read", 10, || gate.metric("portcullis_reloads_total") > before);
}

fn configured(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan());
    let client = gate.agent("agent_mtls");
    let mut open = client.connect().expect("a connection");
    let mut ask = || client.exchange(&mut open, "GET", "/whoami", &[], b"").expect("the connection stays");
    assert_eq!(ask().status, 200);
    suspend_by_file(&gate, "agent_mtls", true);
    let refused = ask();
    assert_eq!((refused.status, refused.code().as_str()), (403, "suspended"));
    assert_eq!(refused.header("connection"), Some("close"));
    let (code, told) = said(&run(
        gate.folder(),
        &["explain", "--config", "config.toml", "--agent", "agent_mtls", "--operation", "kv.read", "--resource", "x"],
        &[],
    ));
    assert!(code == Some(1) && told.contains("403 suspended"), "{told}");
    suspend_by_file(&gate, "agent_mtls", false);
    assert_eq!(client.get("/whoami").status, 200);
}

fn stream(shared: &Shared) {
    let endless = |stream: &mut std::net::TcpStream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n19\r\n{\"data\":{\"data\":{\"value\":\r\n1\r\n\"\r\n")?;
        loop {
            write!(stream, "{:x}\r\n{}\r\n", 16 << 10, "x".repeat(16 << 10))?;
        }
    };
    let environment = vec![("VAULT_ADDR", stub::start(endless))];
    let gate = Gate::start(shared.world(), &Plan { environment, ..plan() });
    let client = gate.agent("alice");
    let mut reader = client.connect().expect("a connection");
    reader.write_all(b"GET /secrets/x HTTP/1.1\r\nHost: x\r\n\r\n").expect("asked");
    let mut some = [0; 64 << 10];
    let count = reader.read(&mut some).expect("a part");
    assert!(some[..count].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&some[..count]));
    suspend_by_file(&gate, "alice", true);
    // What was under way is read; then there is no more, and no end either.
    let mut last = Vec::new();
    loop {
        match reader.read(&mut some) {
            Ok(0) | Err(_) => break,
            Ok(count) => last = some[..count].to_vec(),
        }
    }
    assert!(!last.ends_with(b"0\r\n\r\n"), "it looks as if all had come");
    wait_for("the log tells it", 10, || gate.log().contains("\"suspended\""));
}

fn unknown(shared: &Shared) {
    let sections = format!("{AGENTS}[leases]\nprefix = \"elsewhere\"\n");
    let gate = Gate::start_unready(shared.world(), &Plan { sections, ..Plan::default() });
    wait_for("it says why", 20, || gate.stderr().contains("the record of suspended agents cannot be read"));
    assert_eq!(gate.admin_client().get("/readyz").status, 503);
    let refused = gate.agent("agent_mtls").get("/secrets/none");
    assert_eq!((refused.status, refused.code().as_str()), (503, "vault_not_provisioned"));
    assert_eq!(gate.operator().post("/admin/suspensions", &Value::Null).status, 503);
}

fn unrecorded(shared: &Shared) {
    let gate: &Gate = shared.gate();
    let line = ["suspend", "carol", "--yes", "--config", "config.toml"];
    let nobody = [("VAULT_ROLE_ID", "x"), ("VAULT_SECRET_ID", "x"), ("VAULT_ADDR", "http://127.0.0.1:1")];
    let (code, told) = said(&run(gate.folder(), &line, &nobody));
    assert!(code == Some(1) && told.contains("Vault has not accepted the credentials"), "{told}");
    let client: Client = gate.agent("agent_mtls");
    assert_eq!(client.get("/whoami").status, 200);
}

fn slips(_: &Shared) {
    let world = World::start(false);
    let gate = Gate::start(&world, &plan());
    let recorded = || world.ask("GET", "secret/data/portcullis/suspended", &Value::Null).1;
    let (code, told) = command(&world, &gate, &["suspend", "agent-mtls"]);
    assert_eq!(code, Some(2), "{told}");
    for part in
        ["no entry of the configuration is called `agent-mtls`", "only the family ", "did you mean `agent_mtls`?"]
    {
        assert!(told.contains(part), "{told}");
    }
    assert!(told.contains("nothing was written, repeat with --yes"), "{told}");
    assert_eq!(recorded(), json!({"errors": []}), "nothing was written");
    assert_eq!(gate.agent("agent_mtls").get("/whoami").status, 200);

    // Carol has no entry, but a certificate by which the family makes her an agent.
    let (code, told) = command(&world, &gate, &["suspend", "carol", "--yes"]);
    assert!(code == Some(0) && told.contains("carol is suspended"), "{told}");
    assert_eq!(recorded()["data"]["data"]["agents"]["carol"]["reason"], "");

    // Without a family nobody can come by such a name; a key's owner can, entry or not.
    let file = gate.folder().join("config.toml");
    let text = fs::read_to_string(&file).expect("a file");
    let (before, after) = text.split_once("[[identity.families]]").expect("a family");
    let (_, after) = after.split_once("\n\n").expect("its end");
    fs::write(&file, format!("{before}{after}")).expect("a file");
    let (code, told) = command(&world, &gate, &["suspend", "dave"]);
    assert!(code == Some(2) && told.contains("nobody can come by that name"), "{told}");
    let (code, told) = command(&world, &gate, &["suspend", "alice"]);
    assert_eq!(code, Some(0), "{told}");

    let folder = super::configuration::folder_with("none.toml", "");
    let keys = "{\"0123456789abcdef\":\"erin\"}";
    let environment = [
        ("VAULT_ADDR", world.vault_address()),
        ("VAULT_ROLE_ID", world.role_id().to_owned()),
        ("VAULT_SECRET_ID", world.secret_id().to_owned()),
        ("API_KEYS_JSON", keys.to_owned()),
        ("JWT_HS256_SECRET", "0123456789abcdef0123456789abcdef".to_owned()),
    ];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let ask = |name: &str| said(&run(folder.path(), &["suspend", name, "--config", "none.toml"], &environment));
    let (code, told) = ask("frank");
    assert!(code == Some(2) && told.contains("own-namespace"), "{told}");
    let (code, told) = ask("erin");
    assert_eq!(code, Some(0), "{told}");
}
