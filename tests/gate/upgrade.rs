//! A gate that runs is replaced by another, and nobody notices.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tests::client::tls_config;
use tests::process::AGENTS;
use tests::{Client, Gate, Plan, free_port, wait_for};

use super::configuration::{folder_with, run, said};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("no_request_fails_while_a_gate_is_replaced", under_load),
    ("the_new_gate_has_the_listeners_of_its_own_configuration", changed),
    ("a_gate_that_is_not_ready_replaces_nobody", unready),
    ("of_two_successors_one_takes_over_and_the_other_ends", two),
    ("a_successor_that_cannot_listen_leaves_the_gate_as_it_was", taken),
    ("a_successor_that_is_killed_before_it_served_leaves_the_gate_as_it_was", killed),
    ("without_an_upgrade_socket_sigquit_is_as_sigterm", no_socket),
    ("sockets_are_handed_over_in_a_private_folder_only", private),
];

/// The new gate's words when it can take over.
const READY: &str = "ready to take over";

/// A gate that can be replaced, and the folder in which it meets the other.
fn gate(shared: &Shared, more: &str) -> (Gate, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).expect("set");
    let sections = format!("upgrade_socket = \"{}\"\n{AGENTS}{more}", folder.path().join("upgrade").display());
    (Gate::start(shared.world(), &Plan { sections, ..Plan::default() }), folder)
}

/// Callers that ask all the time.
#[derive(Default)]
struct Load {
    done: AtomicBool,
    served: AtomicUsize,
}

impl Load {
    /// Asks until the load is done; gives what failed.
    fn ask(&self, mut ask: impl FnMut() -> Result<(), String>) -> Vec<String> {
        let mut failed = Vec::new();
        while !self.done.load(Ordering::Relaxed) {
            match ask() {
                Ok(()) => _ = self.served.fetch_add(1, Ordering::Relaxed),
                Err(problem) => failed.push(problem),
            }
        }
        failed
    }

    /// Waits for so many more requests.
    fn goes_on(&self, requests: usize) {
        let from = self.served.load(Ordering::Relaxed);
        wait_for("the load goes on", 60, || self.served.load(Ordering::Relaxed) >= from + requests);
    }
}

/// Ends the load, also where the test fails meanwhile.
struct Until<'a>(&'a Load);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.done.store(true, Ordering::Relaxed);
    }
}

fn judge(what: &str, status: io::Result<u16>) -> Result<(), String> {
    match status {
        Ok(200) => Ok(()),
        other => Err(format!("{what}: {other:?}")),
    }
}

/// Asks on one connection for as long as the gate keeps it, with `pause` in between.
fn on_kept(
    what: &'static str,
    client: Client,
    target: &'static str,
    pause: Duration,
) -> impl FnMut() -> Result<(), String> {
    let mut kept = None;
    move || {
        let ask = |kept: &mut Option<_>| {
            let mut stream = kept.take().map_or_else(|| client.connect(), Ok)?;
            let answer = client.exchange(&mut stream, "GET", target, &[], b"")?;
            let closes = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
            *kept = (!closes).then_some(stream);
            Ok(answer.status)
        };
        thread::sleep(pause);
        judge(what, ask(&mut kept))
    }
}

/// Asks on a connection of its own each time; not as fast as it can, since each takes a port.
fn on_new(client: Client) -> impl FnMut() -> Result<(), String> {
    move || {
        thread::sleep(Duration::from_millis(5));
        judge("new", client.try_send("GET", "/whoami", &[], b"").map(|answer| answer.status))
    }
}

fn on_http2(gate: &Gate) -> impl FnMut() -> Result<(), String> + use<> {
    let mut config = tls_config(gate.authority(), None, rustls::DEFAULT_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let client = reqwest::blocking::Client::builder().tls_backend_preconfigured(config).http2_prior_knowledge();
    let client = client.timeout(Duration::from_secs(30)).build().expect("a client");
    let url = format!("https://localhost:{}/whoami", gate.tls);
    move || {
        let answer = client.get(&url).header("X-API-Key", tests::API_KEY).send();
        judge("HTTP/2", answer.map(|answer| answer.status().as_u16()).map_err(io::Error::other))
    }
}

fn under_load(shared: &Shared) {
    let (mut gate, _folder) = gate(shared, "");
    let load = Load::default();
    let before = gate.pid();
    thread::scope(|scope| {
        let seldom = Duration::from_millis(700);
        let asks: [Box<dyn FnMut() -> Result<(), String> + Send>; 7] = [
            Box::new(on_new(gate.agent("agent_mtls"))),
            Box::new(on_new(gate.keyed())),
            Box::new(on_kept("kept, TLS", gate.agent("agent_mtls"), "/whoami", Duration::ZERO)),
            Box::new(on_kept("kept, plain", gate.keyed(), "/whoami", Duration::ZERO)),
            Box::new(on_kept("kept, seldom used", gate.agent("agent_mtls"), "/whoami", seldom)),
            Box::new(on_kept("kept, readiness", gate.keyed(), "/readyz", seldom)),
            Box::new(on_http2(&gate)),
        ];
        let asking = asks.map(|ask| scope.spawn(|| load.ask(ask)));
        let until = Until(&load);
        load.goes_on(100);
        let successor = gate.start_successor();
        // At once: it waits until the other is ready.
        gate.signal("QUIT");
        assert_eq!(gate.replaced_by(successor), Some(0), "{}", gate.stderr());
        load.goes_on(100);
        drop(until);
        let failed: Vec<_> = asking.into_iter().flat_map(|thread| thread.join().expect("a load")).collect();
        assert!(failed.is_empty(), "{} failed: {failed:?}\n{}", failed.len(), gate.stderr());
    });
    assert_ne!(gate.pid(), before);
    assert_eq!(gate.admin_client().get("/readyz").status, 200, "operators reach the new one");
    let ids = |log: &str| log.lines().filter_map(process_of).collect::<BTreeSet<_>>();
    wait_for("both have served", 10, || ids(&gate.log()).len() == 2);
    assert_eq!(gate.terminate(), Some(0));
}

/// Which process a line of the request log is of.
fn process_of(line: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(line["request_id"].as_str()?.split_once('-')?.0.to_owned())
}

fn is_open(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn changed(shared: &Shared) {
    let (leaves, comes) = (free_port(), free_port());
    let listener = |port: u16| format!("[[listeners]]\naddress = \"127.0.0.1:{port}\"\n");
    let (mut gate, folder) = gate(shared, &listener(leaves));
    wait_for("the listener", 20, || is_open(leaves));
    let config = gate.folder().join("config.toml");
    let text = fs::read_to_string(&config).expect("the configuration");
    let text = text.replace(&listener(leaves), &listener(comes));
    fs::write(&config, text.replace("roles = [\"all\"]\napi_keys", "roles = [\"reader\"]\napi_keys")).expect("written");
    let allowed = |gate: &Gate| gate.keyed().get("/secrets/upgrade/none").status;
    assert_eq!(allowed(&gate), 404);
    let successor = gate.start_successor();
    wait_for("the new gate is ready", 30, || gate.stderr().contains(READY));
    assert!(gate.is_running() && !is_open(comes), "nothing changes before the signal");
    assert_eq!(allowed(&gate), 404);
    gate.signal("QUIT");
    assert_eq!(gate.replaced_by(successor), Some(0));
    assert_eq!(allowed(&gate), 403, "by the new configuration");
    wait_for("the new listener", 20, || is_open(comes));
    assert!(!is_open(leaves), "the one that is no longer configured is closed");
    let mut socket = UnixStream::connect(gate.folder().join("admin.sock")).expect("the operators' socket");
    socket.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("written");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "the operators' socket is the new gate's: {answer}");
    assert!(!folder.path().join("upgrade").exists(), "nothing is left behind");
    // And once more, by the one that was handed them.
    let successor = gate.start_successor();
    gate.signal("QUIT");
    assert_eq!(gate.replaced_by(successor), Some(0));
    assert_eq!(allowed(&gate), 403);
}

fn unready(shared: &Shared) {
    let (mut gate, folder) = gate(shared, "");
    let config = gate.folder().join("config.toml");
    let good = fs::read_to_string(&config).expect("the configuration");
    let met = folder.path().join("upgrade");
    gate.signal("QUIT");
    for (bad, told) in [
        (good.replace(&shared.world().vault_address(), "http://127.0.0.1:1"), "Vault"),
        (format!("jwt_jwks_url = \"http://127.0.0.1:1/keys\"\n{good}"), "the issuer's keys cannot be fetched"),
    ] {
        let before = gate.stderr().len();
        fs::write(&config, bad).expect("written");
        let unready = gate.start_successor();
        wait_for(told, 20, || gate.stderr().split_at(before).1.contains(told));
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            assert!(gate.is_running() && !met.exists(), "{told}");
            assert_eq!(gate.keyed().get("/whoami").status, 200);
        }
        drop(unready);
    }
    fs::write(&config, good).expect("written");
    let successor = gate.start_successor();
    assert_eq!(gate.replaced_by(successor), Some(0), "the signal still counts: {}", gate.stderr());
    assert_eq!(gate.keyed().get("/whoami").status, 200);
}

fn two(shared: &Shared) {
    let (mut gate, _folder) = gate(shared, "");
    let first = gate.start_successor();
    wait_for("the first is ready", 30, || gate.stderr().contains(READY));
    let mut second = gate.start_successor();
    assert_eq!(second.ended(), Some(1), "{}", gate.stderr());
    assert!(gate.stderr().contains("another gate waits"), "{}", gate.stderr());
    gate.signal("QUIT");
    assert_eq!(gate.replaced_by(first), Some(0), "{}", gate.stderr());
    assert_eq!(gate.keyed().get("/whoami").status, 200);
}

fn taken(shared: &Shared) {
    let (mut gate, _folder) = gate(shared, "");
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = other.local_addr().expect("its address");
    let config = gate.folder().join("config.toml");
    let text = fs::read_to_string(&config).expect("the configuration");
    fs::write(&config, format!("{text}\n[[listeners]]\naddress = \"{address}\"\n")).expect("written");
    let mut successor = gate.start_successor();
    wait_for("it is ready", 30, || gate.stderr().contains(READY));
    gate.signal("QUIT");
    assert_eq!(successor.ended(), Some(1), "{}", gate.stderr());
    wait_for("both say why", 10, || gate.stderr().matches(&address.to_string()).count() >= 2);
    for _ in 0..20 {
        assert_eq!(gate.keyed().get("/whoami").status, 200);
    }
    assert!(gate.is_running());
    fs::write(&config, text).expect("written");
    let successor = gate.start_successor();
    gate.signal("QUIT");
    assert_eq!(gate.replaced_by(successor), Some(0), "it can still be replaced: {}", gate.stderr());
}

fn killed(shared: &Shared) {
    let comes = free_port();
    let (mut gate, _folder) = gate(shared, "");
    let config = gate.folder().join("config.toml");
    let text = fs::read_to_string(&config).expect("the configuration");
    fs::write(&config, format!("{text}\n[[listeners]]\naddress = \"127.0.0.1:{comes}\"\n")).expect("written");
    let successor = gate.start_successor();
    wait_for("it is ready", 30, || gate.stderr().contains(READY));
    gate.signal("QUIT");
    wait_for("it accepts", 20, || is_open(comes));
    drop(successor);
    wait_for("the gate goes on", 20, || gate.stderr().contains("before it served"));
    for _ in 0..20 {
        assert_eq!(gate.keyed().get("/whoami").status, 200);
        assert_eq!(gate.agent("agent_mtls").get("/whoami").status, 200);
    }
    assert!(gate.is_running() && !is_open(comes));
}

fn no_socket(shared: &Shared) {
    let mut gate = Gate::start(shared.world(), &Plan::default());
    gate.signal("QUIT");
    assert_eq!(gate.ended(), Some(0));
    let (code, text) = said(&run(folder_with("config.toml", "").path(), &["--upgrade"], &[]));
    assert!(code == Some(2) && text.contains("server.upgrade_socket"), "{code:?} {text}");
}

fn private(_: &Shared) {
    let start = |folder: &Path, mode: u32| {
        fs::set_permissions(folder, Permissions::from_mode(mode)).expect("set");
        let text = format!("[server]\nupgrade_socket = \"{}/upgrade\"\n", folder.display());
        // What it says next, where nothing is wrong with the folder.
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = taken.local_addr().expect("its address").port().to_string();
        said(&run(folder_with("config.toml", &text).path(), &["--port", &port], &[]))
    };
    let folder = tempfile::tempdir().expect("a folder");
    for mode in [0o755, 0o770, 0o701, 0o1777] {
        let (code, text) = start(folder.path(), mode);
        assert!(code == Some(2) && text.contains("mode 0700"), "{mode:o}: {code:?} {text}");
    }
    let (code, text) = start(folder.path(), 0o700);
    assert!(code == Some(2) && text.contains("cannot listen on"), "{code:?} {text}");
}
