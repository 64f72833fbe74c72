//! Files that the gate reads while it runs may be anything, be written slowly, or be large: neither
//! the kill switch nor a request waits for them, and nothing is published in parts.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Client, Gate, World, wait_for};

use super::configuration::{folder_with, run, said, watched};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("what_is_no_file_is_refused_at_once_by_check", checked),
    ("what_is_no_file_stops_neither_reload_nor_kill_switch", running),
    ("a_large_configuration_holds_up_no_suspension", large),
    ("a_file_that_is_written_slowly_is_read_whole", slowly),
    ("a_certificate_and_its_key_are_read_together", pair),
];

/// Words of the report, and a function that makes such a thing.
type Kind = (&'static str, fn(&Path));

/// Each way in which a file is none that can be read.
const KINDS: [Kind; 4] = [
    ("not a regular file", pipe),
    ("not a regular file", |path| symlink("/dev/zero", path).expect("a link")),
    ("not a regular file", |path| fs::create_dir(path).expect("a folder")),
    ("larger", |path| File::create(path).and_then(|file| file.set_len(5 << 30)).expect("a file")),
];

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().is_ok_and(|status| status.success()), "mkfifo");
}

fn remove(path: &Path) {
    if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) }.expect("removed");
}

fn checked(_: &Shared) {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let authority = certs::Authority::new("here").expect("an authority");
    authority.issue(&certs::Leaf::server()).expect("a certificate").write(folder.path(), "server").expect("files");
    fs::write(at("ca.crt"), authority.pem()).expect("a file");
    fs::write(at("keys.json"), "{\"keys\": []}").expect("a file");
    fs::create_dir(at("agents.d")).expect("a folder");
    let tls = "address = \"127.0.0.1:0\"\ntls = { certificate = \"server.crt\", key = \"server.key\" }\n";
    let texts = [
        ("config.toml", "port = 8089\n".to_owned()),
        ("agents.d/a.toml", "include = [\"agents.d\"]\n".to_owned()),
        ("server.crt", format!("[[listeners]]\n{tls}")),
        ("server.key", format!("[[listeners]]\n{tls}")),
        ("ca.crt", format!("[[listeners]]\n{tls}client_certificates = \"required\"\nclient_ca = [\"ca.crt\"]\n")),
        (
            "crl.pem",
            format!(
                "[[listeners]]\n{tls}client_certificates = \"required\"\nclient_ca = [\"authority.crt\"]\n\
                 client_crl = [\"crl.pem\"]\n"
            ),
        ),
        ("keys.json", "jwt_jwks_file = \"keys.json\"\n".to_owned()),
        (
            "ca.crt",
            "[[identity.issuers]]\nname = \"x\"\naudiences = [\"y\"]\njwks_url = \"https://x.example/\"\nca = \"ca.crt\"\n"
                .to_owned(),
        ),
        ("ca.crt", "[rate_limit]\nbackend = \"redis\"\nurl = \"rediss://127.0.0.1:1\"\nca = \"ca.crt\"\n".to_owned()),
        ("ca.crt", "vault_addr = \"https://127.0.0.1:1\"\n[upstream]\nca_file = \"ca.crt\"\n".to_owned()),
        (
            "server.key",
            "vault_addr = \"https://127.0.0.1:1\"\n[upstream]\nclient_certificate = \"server.crt\"\n\
             client_key = \"server.key\"\n"
                .to_owned(),
        ),
    ];
    fs::copy(at("ca.crt"), at("authority.crt")).expect("a file");
    for (name, text) in texts {
        fs::write(at("config.toml"), text).expect("a file");
        let kept = at(name).exists().then(|| fs::rename(at(name), at("kept")).expect("aside"));
        for (words, make) in KINDS {
            make(&at(name));
            let (code, text) = said(&run(folder.path(), &["check", "--config", "config.toml"], &[]));
            assert!(code == Some(2) && text.contains(words), "{name}: {code:?} {text}");
            remove(&at(name));
        }
        if kept.is_some() {
            fs::rename(at("kept"), at(name)).expect("in its place");
        }
    }
}

/// A gate that watches its files, in front of a Vault of its own, with an agent to be suspended.
fn watching(world: &World) -> Gate {
    Gate::start(world, &watched("\n[agents.alice]\nroles = [\"all\"]\n"))
}

/// Has alice suspended, or resumed.
fn have(world: &World, gate: &Gate, verb: &str) {
    let environment = [("VAULT_ROLE_ID", world.role_id()), ("VAULT_SECRET_ID", world.secret_id())];
    let (code, told) = said(&run(gate.folder(), &[verb, "alice", "--config", "config.toml"], &environment));
    assert_eq!(code, Some(0), "{told}");
}

fn status(client: &Client) -> u16 {
    client.get("/whoami").status
}

fn reloads(gate: &Gate) -> (f64, f64) {
    (gate.metric("portcullis_reloads_total"), gate.metric("portcullis_reload_failures_total"))
}

fn running(_: &Shared) {
    let world = World::start(false);
    let gate = watching(&world);
    let alice = gate.agent("alice");
    let at = |name: &str| gate.folder().join(name);
    for name in ["config.toml", "ca.crt"] {
        for (words, make) in KINDS {
            let (good, bad) = reloads(&gate);
            fs::rename(at(name), at("kept")).expect("aside");
            make(&at(name));
            wait_for("it is refused", 20, || reloads(&gate).1 > bad);
            assert!(gate.stderr().contains(words), "{name}: {}", gate.stderr());
            assert_eq!(status(&alice), 200, "the last good configuration stays");
            remove(&at(name));
            fs::rename(at("kept"), at(name)).expect("in its place");
            wait_for("its mending is noticed", 20, || reloads(&gate).0 > good);
        }
    }
    let (_, bad) = reloads(&gate);
    fs::rename(at("ca.crt"), at("kept")).expect("aside");
    pipe(&at("ca.crt"));
    wait_for("it is refused", 20, || reloads(&gate).1 > bad);
    have(&world, &gate, "suspend");
    wait_for("the suspension is noticed", 5, || status(&alice) == 403);
}

fn large(_: &Shared) {
    const MANY: usize = 200_000;
    const RECORD: &str = "secret/data/portcullis/suspended";
    let world = World::start(false);
    let gate = watching(&world);
    let (alice, operator) = (gate.agent("alice"), gate.operator());
    // What puts her on the record without a process that takes its time.
    have(&world, &gate, "suspend");
    let data = world.ask("GET", RECORD, &Value::Null).1["data"]["data"].clone();
    have(&world, &gate, "resume");
    wait_for("she goes on", 5, || status(&alice) == 200);
    let path = gate.folder().join("config.toml");
    let text = fs::read_to_string(&path).expect("the configuration");
    let many = (0..MANY).map(|number| format!("[agents.many{number}]\nroles = [\"reader\", \"all\"]\n"));
    fs::write(gate.folder().join("large.toml"), text + &many.collect::<String>()).expect("a file");
    fs::rename(gate.folder().join("large.toml"), &path).expect("in its place");
    let reloading = thread::spawn(move || operator.post("/admin/reload", &Value::Null).json());
    assert_eq!(world.ask("POST", RECORD, &json!({"data": data})).0, 200);
    wait_for("the suspension is noticed", 20, || status(&alice) == 403);
    assert!(!reloading.is_finished(), "the suspension has waited for the configuration");
    assert_eq!(reloading.join().expect("an answer")["error"], Value::Null);
    assert_eq!(gate.admin_client().get("/admin/config").json()["agents"], MANY + 4);
    assert_eq!(status(&alice), 403);
}

/// Asks for a while, and each time gets 200.
fn goes_on(client: &Client, milliseconds: u64) {
    let until = Instant::now() + Duration::from_millis(milliseconds);
    while Instant::now() < until {
        assert_eq!(status(client), 200, "a part of a file is in force");
        thread::sleep(Duration::from_millis(10));
    }
}

fn slowly(shared: &Shared) {
    let gate = Gate::start(shared.world(), &watched(""));
    let path = gate.folder().join("config.toml");
    let (client, alice) = (gate.agent("agent_mtls"), gate.agent("alice"));
    let good = fs::read_to_string(&path).expect("the configuration");
    let (begin, end) = good.split_once("[agents.agent_mtls]").expect("its entry");
    let text = |more: &str| [begin.to_owned(), format!("[agents.agent_mtls]{end}{more}")];
    // By one who has the file open meanwhile, for longer than files must be at rest.
    let mut file = File::create(&path).expect("a file");
    goes_on(&client, 300);
    let [first, rest] = text("\n[agents.alice]\nroles = [\"all\"]\n");
    file.write_all(first.as_bytes()).expect("written");
    goes_on(&client, 1500);
    file.write_all(rest.as_bytes()).expect("written");
    drop(file);
    wait_for("the whole of it is read", 20, || status(&alice) == 200);
    assert_eq!(reloads(&gate), (1.0, 0.0));
    // By one who opens it anew for each part.
    let [first, rest] = text("");
    fs::write(&path, &first).expect("written");
    for part in rest.as_bytes().chunks(rest.len().div_ceil(8)) {
        goes_on(&client, 150);
        OpenOptions::new().append(true).open(&path).and_then(|mut file| file.write_all(part)).expect("written");
    }
    wait_for("the whole of it is read", 20, || status(&alice) == 401);
    assert_eq!((status(&client), reloads(&gate)), (200, (2.0, 0.0)));
}

fn pair(shared: &Shared) {
    let gate = Gate::start(shared.world(), &watched(""));
    let next = certs::Authority::new("next").expect("an authority");
    let folder = folder_with("x", "");
    next.issue(&certs::Leaf::server()).expect("a certificate").write(folder.path(), "server").expect("files");
    let client = gate.agent("agent_mtls");
    for name in ["server.crt", "server.key"] {
        fs::copy(folder.path().join(name), gate.folder().join(name)).expect("a file");
        if name == "server.crt" {
            goes_on(&client, 250);
        }
    }
    let after = Client::tls(gate.tls, &next.pem(), None);
    wait_for("the pair is served", 20, || after.try_send("GET", "/healthz", &[], b"").is_ok());
    assert_eq!(reloads(&gate), (1.0, 0.0), "one of them was read without the other");
    assert_eq!(after.get("/healthz").json(), json!({"ok": true}));
}
