//! Leftovers end in Vault: things that an agent was given and did not get, and the
//! logins of commands and of gates that have ended.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tests::front::{Door, Verdict, page};
use tests::process::{AGENTS, binary};
use tests::{API_KEY, Front, Gate, Plan, World, wait_for};

use super::configuration::{run, said};
use super::suspension::command;
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("callers_that_hang_up_use_up_no_budget", hung_up),
    ("whatever_is_not_handed_over_goes_back", every_kind),
    ("what_was_given_out_for_an_error_goes_back", wrapped_in_vain),
    ("a_caller_that_has_sent_more_gets_its_answer", pipelined),
    ("the_login_of_a_command_ends_with_it", commands),
    ("the_login_of_a_gate_ends_with_it", gates),
];

/// A world with a database, and a gate that reaches it through a front.
fn start(shared: &Shared, more: &str) -> (World, Front, Gate) {
    let world = World::start(false);
    shared.postgres().introduce(&world);
    let front = Front::start(&world);
    let plan = Plan { sections: format!("{AGENTS}{more}"), environment: front.environment(), ..Plan::default() };
    let gate = Gate::start(&world, &plan);
    (world, front, gate)
}

/// The tokens that Vault knows and `fits` says yes to.
fn tokens(world: &World, fits: impl Fn(&Value) -> bool) -> usize {
    let listed = world.ask("LIST", "auth/token/accessors", &Value::Null).1;
    let keys = listed["data"]["keys"].as_array().cloned().unwrap_or_default();
    let found = |accessor: &Value| world.ask("POST", "auth/token/lookup-accessor", &json!({"accessor": accessor})).1;
    keys.iter().filter(|accessor| fits(&found(accessor)["data"])).count()
}

/// The number of tokens that leases and one-time passwords hang on.
fn held(world: &World) -> usize {
    tokens(world, |token| token["role"] == "portcullis-leases")
}

/// The leases on the record of `agent_api`.
fn recorded(world: &World) -> usize {
    let (_, record) = world.ask("GET", "secret/data/portcullis/leases/agent_api", &Value::Null);
    record["data"]["data"]["leases"].as_object().map_or(0, serde_json::Map::len)
}

/// A way in which a caller asks and goes.
#[derive(Clone, Copy, Debug)]
enum Way {
    Plain,
    Tls,
    Http2,
}

/// Sends a request that stands before a door at `path`, hangs up, and opens the door.
fn hang_up(gate: &Gate, front: &Front, way: Way, path: &'static str, (target, wrap, body): (&str, bool, &Value)) {
    let door = Arc::new(Door::default());
    front.treat(path, Verdict::Behind(Arc::clone(&door)));
    let wrap = if wrap { "X-Vault-Wrap-TTL: 5m\r\n" } else { "" };
    let (body, url) = (body.to_string(), format!("https://localhost:{}{target}", gate.tls));
    let at_the_door = || wait_for("it is asked", 20, || door.waiting() == 1);
    match way {
        Way::Plain | Way::Tls => {
            let client = if matches!(way, Way::Tls) { gate.stranger() } else { gate.local() };
            let mut stream = client.connect().expect("a connection");
            let length = body.len();
            let head = format!(
                "POST {target} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {API_KEY}\r\n{wrap}\
                 Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            stream.write_all(head.as_bytes()).and_then(|()| stream.flush()).expect("asked");
            at_the_door();
            drop(stream);
        }
        Way::Http2 => {
            let authority = reqwest::Certificate::from_pem(gate.authority().as_bytes()).expect("a certificate");
            let client = reqwest::blocking::Client::builder().tls_certs_only([authority]).build().expect("a client");
            let request = client.post(url).header("x-api-key", API_KEY).header("content-type", "application/json");
            let request = if wrap.is_empty() { request } else { request.header("x-vault-wrap-ttl", "5m") };
            let given_up = request.timeout(Duration::from_secs(1)).body(body).send();
            assert!(given_up.is_err_and(|error| error.is_timeout()));
            at_the_door();
        }
    }
    door.open();
}

fn hung_up(shared: &Shared) {
    let (world, front, gate) = start(shared, "\n[leases]\nper_agent = 2\n");
    let target = ("/db/creds/readonly", false, &json!({}));
    for way in [Way::Plain, Way::Tls, Way::Http2, Way::Plain] {
        hang_up(&gate, &front, way, "/database/creds/", target);
        wait_for("nothing is left", 20, || held(&world) == 0 && recorded(&world) == 0);
    }
    front.pass();
    let login = gate.keyed().post("/db/creds/readonly", &json!({}));
    assert_eq!(login.status, 200, "{login:?}");
    // By a tool too; and what was handed over stays.
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "db.issue_creds", "arguments": {"role": "readonly"}}});
    hang_up(&gate, &front, Way::Plain, "/database/creds/", ("/mcp", false, &message));
    wait_for("the one that was not handed over is gone", 20, || held(&world) == 1 && recorded(&world) == 1);
    let login = login.json();
    let text = |member: &str| login[member].as_str().expect("text").to_owned();
    assert!(shared.postgres().can_log_in(&text("username"), &text("password")));
    assert!(gate.stderr().contains("was given back to Vault"));
}

fn every_kind(shared: &Shared) {
    let (world, front, gate) = start(shared, "");
    let otp = json!({"role": "otp", "ip": "127.0.0.1", "username": "ops"});
    let issue = json!({"role": "service", "common_name": "nobody.agents.internal"});
    let wrapping = |world: &World| tokens(world, |token| token["policies"] == json!(["response-wrapping"]));
    hang_up(&gate, &front, Way::Plain, "/ssh/creds/", ("/ssh/otp", false, &otp));
    wait_for("the password's token has ended", 20, || held(&world) == 0);

    hang_up(&gate, &front, Way::Plain, "/pki/issue/", ("/pki/issue", false, &issue));
    let revoked = || {
        let (_, listed) = world.ask("LIST", "pki/certs", &Value::Null);
        let serials = listed["data"]["keys"].as_array().cloned().unwrap_or_default();
        let time = |serial: &Value| {
            let (_, found) =
                world.ask("GET", &format!("pki/cert/{}", serial.as_str().unwrap_or_default()), &Value::Null);
            found["data"]["revocation_time"].as_u64().unwrap_or(0)
        };
        serials.len() == 2 && serials.iter().any(|serial| time(serial) > 0)
    };
    wait_for("the certificate is revoked", 20, revoked);

    let login = ("/db/creds/readonly", true, &json!({}));
    hang_up(&gate, &front, Way::Plain, "/sys/wrapping/wrap", login);
    wait_for("neither lease nor wrapped answer is left", 20, || {
        held(&world) == 0 && recorded(&world) == 0 && wrapping(&world) == 0
    });
    front.pass();
    let kept = gate.keyed().send("GET", "/transit/random", &[("X-Vault-Wrap-TTL", "5m")], b"");
    assert_eq!((kept.status, wrapping(&world)), (200, 1), "what is handed over stays");
}

fn wrapped_in_vain(shared: &Shared) {
    let (world, front, gate) = start(shared, "");
    front.treat("/sys/wrapping/wrap", page(404));
    let headers = [("Content-Type", "application/json"), ("X-Vault-Wrap-TTL", "5m")];
    let refused = gate.keyed().send("POST", "/db/creds/readonly", &headers, b"{}");
    assert_eq!(refused.status, 502, "{refused:?}");
    let by_tool = gate.keyed().call("db.issue_creds", &json!({"role": "readonly", "wrap_ttl": 300})).json();
    assert_eq!(by_tool["result"]["isError"], true, "{by_tool}");
    wait_for("nothing is left", 20, || held(&world) == 0 && recorded(&world) == 0);
}

/// Bytes behind a request are no sign that its caller has gone.
fn pipelined(shared: &Shared) {
    let (world, front, gate) = start(shared, "");
    let door = Arc::new(Door::default());
    front.treat("/database/creds/", Verdict::Behind(Arc::clone(&door)));
    let mut stream = gate.local().connect().expect("a connection");
    let head = format!(
        "POST /db/creds/readonly HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {API_KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    stream.write_all(head.as_bytes()).expect("asked");
    wait_for("it is asked", 20, || door.waiting() == 1);
    stream.write_all(head.as_bytes()).expect("asked");
    door.open();
    for leases in 1..=2 {
        let answer = tests::Client::read(&mut stream).expect("an answer");
        assert_eq!(answer.status, 200, "{leases}: {answer:?}");
        let login = answer.json();
        let text = |member: &str| login[member].as_str().expect("text").to_owned();
        assert!(shared.postgres().can_log_in(&text("username"), &text("password")), "{leases}");
    }
    assert_eq!(held(&world), 2);
}

/// The logins of gates and commands.
fn logins(world: &World) -> usize {
    tokens(world, |token| token["path"] == "auth/approle/login")
}

fn commands(_: &Shared) {
    let world = World::start(false);
    let front = Front::start(&world);
    let gate = Gate::start(&world, &Plan { environment: front.environment(), ..Plan::default() });
    assert_eq!(logins(&world), 1, "the gate's");
    for (line, code) in [
        (&["suspended"][..], 0),
        (&["suspend", "agent_mtls"], 0),
        (&["resume", "agent_mtls"], 0),
        (&["policy", "--sync"], 1),
    ] {
        let (ended, told) = command(&world, &gate, line);
        assert_eq!((ended, logins(&world)), (Some(code), 1), "{line:?}: {told}");
    }
    let (status, _) = world.ask("POST", "secret/data/portcullis/suspended", &json!({"data": {"agents": 7}}));
    assert_eq!(status, 200);
    let (ended, told) = command(&world, &gate, &["suspend", "agent_mtls"]);
    assert_eq!((ended, logins(&world)), (Some(1), 1), "also where it fails: {told}");

    for signal in ["INT", "TERM", "HUP"] {
        interrupted(&world, &front, &gate, signal);
    }
    // An operator's own token is theirs.
    let policies = json!({"policies": ["portcullis-gate"], "no_default_policy": true, "ttl": "1h"});
    let (_, made) = world.ask("POST", "auth/token/create", &policies);
    let token = made["auth"]["client_token"].as_str().expect("a token");
    let file = gate.folder().join("token");
    std::fs::write(&file, token).expect("a file");
    let path = file.display().to_string();
    for variable in [("VAULT_TOKEN", token), ("VAULT_TOKEN_FILE", path.as_str())] {
        let (_, told) = said(&run(gate.folder(), &["suspended", "--config", "config.toml"], &[variable]));
        let (status, _) = world.ask_as(token, "GET", "auth/token/lookup-self", &Value::Null);
        assert_eq!(status, 200, "{told}");
    }
}

/// A command that hangs in the middle of its work is told to end.
fn interrupted(world: &World, front: &Front, gate: &Gate, signal: &str) {
    let asked = front.asked("GET /v1/secret/data/portcullis/suspended");
    front.treat("/portcullis/suspended", Verdict::Swallow);
    let mut verb = Command::new(binary());
    verb.args(["suspended", "--config", "config.toml"]).current_dir(gate.folder()).env_clear();
    verb.env("VAULT_ROLE_ID", world.role_id()).env("VAULT_SECRET_ID", world.secret_id());
    verb.env("VAULT_ADDR", &front.address).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut verb = verb.spawn().expect("portcullis");
    wait_for("it is logged in", 20, || {
        logins(world) == 2 && front.asked("GET /v1/secret/data/portcullis/suspended") > asked
    });
    let sent = Command::new("kill").args(["-s", signal, &verb.id().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()));
    let mut code = None;
    wait_for("it ends", 20, || {
        code = verb.try_wait().expect("its state");
        code.is_some()
    });
    front.pass();
    assert_eq!((code.and_then(|code| code.code()), logins(world)), (Some(1), 1), "{signal}");
}

fn gates(_: &Shared) {
    let world = World::start(false);
    let mut gate = Gate::start(&world, &Plan::default());
    assert_eq!(logins(&world), 1);
    assert_eq!(gate.terminate(), Some(0));
    assert_eq!(logins(&world), 0);
}
