//! Vault stopped, sealed, slow, restarted, behind TLS, and without credentials.

use std::io::Write;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tests::interim::Balancer;
use tests::stub;
use tests::{Client, Gate, Plan, World, wait_for};

use super::configuration::{run, said};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("stopped_and_restarted_under_traffic", restarted),
    ("sealed_and_unsealed", sealed),
    ("slow_is_503_and_over_when_it_is_over", slow),
    ("without_credentials_the_gate_starts_and_says_why", no_credentials),
    ("vault_behind_tls_is_verified_by_name", tls),
    ("vault_is_found_by_name", by_name),
    ("a_redirect_of_vaults_is_neither_followed_nor_passed_on", redirect),
    ("interim_answers_are_skipped_and_the_kill_switch_works", interim),
    ("what_is_no_answer_ends_its_request_alone", no_answer),
];

/// Nothing but an answer, or a 503 that says when to try again.
fn served_or_unavailable(client: &Client) -> bool {
    let response = client.get("/secrets/kept");
    match response.status {
        200 => true,
        503 => {
            assert!(matches!(response.code().as_str(), "upstream_unavailable" | "upstream_timeout"), "{response:?}");
            assert!(response.header("retry-after").is_some(), "{response:?}");
            false
        }
        _ => panic!("{response:?}"),
    }
}

/// A gate before a Vault that keeps its data, with one secret.
fn kept(world: &World) -> (Gate, Client) {
    let more = "[upstream]\ntimeout = \"3s\"\nconnect_timeout = \"1s\"\n";
    let sections = format!("{}\n{more}", tests::process::AGENTS);
    let gate = Gate::start(world, &Plan { sections, ..Plan::default() });
    let client = gate.keyed();
    assert_eq!(client.put("/secrets/kept", &json!({"data": {"a": 1}})).status, 200);
    (gate, client)
}

fn ready(gate: &Gate) -> bool {
    gate.admin_client().get("/readyz").status == 200
}

fn restarted(_: &Shared) {
    let mut world = World::start(true);
    let (gate, client) = kept(&world);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            let mut counts = [0_u32; 2];
            while !done.load(Ordering::Relaxed) {
                counts[usize::from(served_or_unavailable(&client))] += 1;
            }
            counts
        });
        world.vault.stop();
        wait_for("the gate notices", 10, || !ready(&gate));
        assert_eq!(client.get("/livez").status, 200, "the gate itself stays alive");
        let detail = gate.admin_client().get("/readyz").json();
        assert_eq!(detail["vault"]["health"], "unreachable", "{detail}");
        world.vault.restart().expect("Vault restarts");
        wait_for("the gate serves again", 10, || served_or_unavailable(&client));
        done.store(true, Ordering::Relaxed);
        let [unavailable, served] = traffic.join().expect("traffic");
        assert!(unavailable > 0 && served > 0, "{unavailable} {served}");
    });
}

fn sealed(_: &Shared) {
    let mut world = World::start(true);
    let (gate, client) = kept(&world);
    world.vault.seal().expect("sealed");
    wait_for("the gate notices", 10, || !served_or_unavailable(&client));
    wait_for("it says why", 10, || gate.admin_client().get("/readyz").json()["vault"]["health"] == "sealed");
    wait_for("anyone is told within a second", 10, || gate.local().get("/readyz").status == 503);
    assert_eq!(gate.local().get("/readyz").json(), json!({"ok": false}), "details are for operators");
    world.vault.unseal().expect("unsealed");
    wait_for("the gate serves again", 10, || served_or_unavailable(&client));
}

fn slow(_: &Shared) {
    let world = World::start(true);
    let (_gate, client) = kept(&world);
    world.vault.pause().expect("paused");
    wait_for("Vault stands still", 20, || !served_or_unavailable(&client));
    let tool = client.call("kv.read", &json!({"path": "kept"})).json();
    assert_eq!(tool["result"]["isError"], true, "{tool}");
    world.vault.resume().expect("resumed");
    wait_for("the gate serves again", 10, || served_or_unavailable(&client));
}

fn no_credentials(shared: &Shared) {
    let environment = vec![("VAULT_ROLE_ID", String::new()), ("VAULT_SECRET_ID", String::new())];
    let gate = Gate::start_unready(shared.world(), &Plan { environment, ..Plan::default() });
    let response = gate.keyed().get("/secrets/x");
    assert_eq!((response.status, response.code().as_str()), (503, "upstream_unavailable"));
    assert_eq!(gate.keyed().get("/whoami").status, 200);
    wait_for("it says why", 10, || {
        let detail = gate.admin_client().get("/readyz").json();
        detail["vault"]["detail"].as_str().is_some_and(|detail| detail.contains("VAULT_ROLE_ID"))
    });
}

fn tls(_: &Shared) {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = certs::Authority::new("vault").expect("an authority");
    let server = authority.issue(&certs::Leaf::server()).expect("a certificate");
    server.write(folder.path(), "vault").expect("files");
    std::fs::write(folder.path().join("ca.crt"), authority.pem()).expect("a file");
    let file = |name: &str| folder.path().join(name);
    let at = |name: &str| file(name).display().to_string();
    let world = World::start_tls(&file("vault.crt"), &file("vault.key"), &file("ca.crt"));
    let upstream =
        |lines: &str| Plan { sections: format!("{}\n[upstream]\n{lines}", tests::process::AGENTS), ..Plan::default() };
    let gate = Gate::start(&world, &upstream(&format!("ca_file = \"{}\"\n", at("ca.crt"))));
    assert_eq!(gate.keyed().put("/secrets/tls", &json!({"data": {"a": 1}})).status, 200);
    assert_eq!(gate.keyed().get("/secrets/tls").json()["data"]["a"], 1);
    let wrong = format!("ca_file = \"{}\"\nserver_name = \"vault.example\"\n", at("ca.crt"));
    for lines in [wrong.as_str(), ""] {
        let gate = Gate::start_unready(&world, &upstream(lines));
        assert_eq!(gate.keyed().get("/secrets/tls").status, 503, "{lines}");
        assert_eq!(gate.admin_client().get("/readyz").status, 503);
    }
}

/// `localhost` may have two addresses, at one of which nobody listens.
fn by_name(shared: &Shared) {
    let address = shared.world().vault_address().replace("127.0.0.1", "localhost");
    let environment = vec![("VAULT_ADDR", address)];
    let gate = Gate::start(shared.world(), &Plan { environment, ..Plan::default() });
    assert_eq!(gate.keyed().put("/secrets/named", &json!({"data": {"a": 1}})).status, 200);
}

/// Vault redirects only what the gate never sends, so a stand-in that answers
/// as Vault would, and redirects every secret.
fn redirect(shared: &Shared) {
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a port");
    elsewhere.set_nonblocking(true).expect("a mode");
    let location = format!("http://{}/v1/stolen", elsewhere.local_addr().expect("an address"));
    let head = format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
    let address = stub::start(move |stream| stream.write_all(head.as_bytes()));
    let environment = vec![("VAULT_ADDR", address)];
    let gate = Gate::start(shared.world(), &Plan { environment, ..Plan::default() });
    let response = gate.keyed().get("/secrets/x");
    assert_eq!((response.status, response.code().as_str()), (502, "upstream_nonsense"));
    assert!(response.header("location").is_none());
    assert!(elsewhere.accept().is_err(), "nobody followed");
}

/// A gate whose Vault is behind a balancer that may send interim answers.
fn behind_balancer(world: &World) -> (Gate, Balancer) {
    let balancer = Balancer::start(&world.vault_address());
    let environment = vec![("VAULT_ADDR", balancer.address.clone())];
    let sections = format!("{}\n[agents.bob]\nroles = [\"all\"]\n", tests::process::AGENTS);
    (Gate::start(world, &Plan { environment, sections, ..Plan::default() }), balancer)
}

fn interim(_: &Shared) {
    let world = World::start(false);
    let (gate, balancer) = behind_balancer(&world);
    let (client, bob) = (gate.keyed(), gate.agent("bob"));
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
    for (name, before) in [
        ("103", hints.to_owned()),
        ("102", "HTTP/1.1 102 Processing\r\n\r\n".to_owned()),
        ("100", "HTTP/1.1 100 Continue\r\n\r\n".to_owned()),
        ("many", hints.repeat(5)),
    ] {
        balancer.sends(before);
        assert_eq!(client.put("/secrets/kept", &json!({"data": {"a": name}})).status, 200, "{name}");
        assert_eq!(client.get("/secrets/kept").json()["data"]["a"], *name);
        assert_eq!(client.call("kv.read", &json!({"path": "kept"})).json()["result"]["isError"], false);
    }
    let environment = [("VAULT_ROLE_ID", world.role_id()), ("VAULT_SECRET_ID", world.secret_id())];
    let suspend = ["suspend", "bob", "--config", "config.toml"];
    assert_eq!(bob.get("/secrets/none").status, 404);
    let (_, told) = said(&run(gate.folder(), &suspend, &environment));
    wait_for("bob is suspended", 10, || bob.get("/whoami").code() == "suspended");
    assert!(ready(&gate), "{told}");
    assert_eq!(gate.metric("portcullis_panics_total"), 0.0);
}

fn no_answer(shared: &Shared) {
    let (gate, balancer) = behind_balancer(shared.world());
    let client = gate.keyed();
    for (before, expected) in [
        ("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20), "upstream_nonsense"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: none\r\nConnection: upgrade\r\n\r\n".into(),
            "upstream_nonsense",
        ),
        ("HTTP/1.1 099 Nothing\r\n\r\n".into(), "upstream"),
        ("\0\0\0\0".into(), "upstream"),
    ] {
        balancer.sends(before.clone());
        let answer = client.put("/secrets/kept", &json!({"data": {"a": 1}}));
        assert!(matches!(answer.status, 502 | 503) && answer.code().starts_with(expected), "{before:?}: {answer:?}");
    }
    balancer.sends("");
    wait_for("the gate serves again", 20, || client.put("/secrets/kept", &json!({"data": {"a": 1}})).status == 200);
    wait_for("it is ready", 20, || ready(&gate));
    assert_eq!(gate.metric("http_requests_in_progress"), 1.0, "but for the one that asks");
    assert_eq!(gate.metric("portcullis_panics_total"), 0.0, "{}", gate.stderr());
}
