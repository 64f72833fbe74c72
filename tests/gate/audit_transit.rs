//! The audit's keys in Vault: of names' HMACs, and of checkpoints.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tests::front::Verdict;
use tests::process::AGENTS;
use tests::{Front, Gate, Plan, World, wait_for};

use super::audit::{awaited, noted, read, verb};
use super::configuration::{run, said};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("names_and_checkpoints_go_by_keys_that_vault_has", keys),
    ("checkpoints_wait_for_a_vault_that_is_away", away),
    ("a_file_is_set_aside_behind_a_checkpoint_that_vault_has_signed", rotated),
];

/// A gate with its keys in Vault, which asks that by a token with this policy.
fn gate(world: &World, name: &str, vault: &str, more: &str) -> Gate {
    let (status, answer) = world.ask("POST", "auth/token/create", &json!({"policies": [name], "no_parent": true}));
    assert_eq!(status, 200, "{answer}");
    let token = answer["auth"]["client_token"].as_str().expect("a token").to_owned();
    let environment = [
        ("VAULT_ROLE_ID", String::new()),
        ("VAULT_SECRET_ID", String::new()),
        ("VAULT_TOKEN", token),
        ("VAULT_ADDR", vault.to_owned()),
    ];
    let audit = format!("[audit]\nfile = \"audit.log\"\n{}{more}", options(name));
    let plan = Plan { sections: format!("{AGENTS}\n{audit}"), environment: environment.to_vec(), ..Plan::default() };
    Gate::start_unready(world, &plan)
}

/// Options that name transit keys, which no other test has.
fn options(name: &str) -> String {
    format!("name_transit_key = \"{name}-names\"\ncheckpoint_transit_key = \"{name}-notes\"\n")
}

fn write_policy(world: &World, name: &str, policy: &str) {
    assert_eq!(world.ask("PUT", &format!("sys/policies/acl/{name}"), &json!({"policy": policy})).0, 204);
}

/// The policy that `portcullis policy --gate` prints for these options.
fn printed(name: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("config.toml"), format!("[audit]\nstdout = true\n{}", options(name))).expect("a file");
    let (code, policy) = verb(folder.path(), &["policy", "--gate", "--config", "config.toml"]);
    assert_eq!(code, Some(0), "{policy}");
    policy
}

/// Runs a verb as an operator.
fn as_operator(world: &World, folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let (address, token) = (world.vault_address(), world.vault.root_token());
    said(&run(folder, arguments, &[("VAULT_ADDR", &address), ("VAULT_TOKEN", token)]))
}

/// The keys that verify checkpoints, a line each.
fn verifiers(world: &World, gate: &Gate) -> String {
    let (code, told) = as_operator(world, gate.folder(), &["audit", "verifier", "--config", "config.toml"]);
    assert_eq!(code, Some(0), "{told}");
    told
}

/// The name that the last record of a read has.
fn name_of_last(file: &Path) -> String {
    let reads = read(file).into_iter().rfind(|record| record["api"]["operation"] == "kv.read").expect("a record");
    reads["resources"][0]["name"].as_str().expect("a name").to_owned()
}

fn is_checkpoint(record: &Value) -> bool {
    record["unmapped"]["event"] == "checkpoint"
}

fn keys(shared: &Shared) {
    const NAME: &str = "audit-keys";
    let world = shared.world();
    let (_, own) = world.ask("GET", "sys/policies/acl/portcullis-gate", &Value::Null);
    write_policy(world, NAME, own["data"]["policy"].as_str().expect("a policy"));
    let mut gate = gate(world, NAME, &world.vault_address(), "required = true\ncheckpoint_every = \"1s\"\n");
    let (client, file) = (gate.keyed(), gate.folder().join("audit.log"));
    let ready = || gate.admin_client().get("/readyz");
    let lacks = || ready().json()["audit"]["problem"] == "Vault has not given the key of names yet";
    wait_for("it is told that there is no key", 20, || {
        lacks() && gate.stderr().contains("the transit key of names' HMACs cannot be used")
    });
    wait_for("it is logged in", 20, || ready().json()["vault"]["ok"] == true);
    let refused = client.get("/secrets/team/db");
    assert_eq!((refused.status, refused.code().as_str()), (503, "audit_unavailable"));
    let reads = awaited(&file, 1, |record| record["api"]["operation"] == "kv.read");
    assert_eq!(reads[0]["resources"][0]["name"], "hmac-sha256:untold", "never in clear");

    write_policy(world, NAME, &printed(NAME));
    wait_for("it is ready", 20, || ready().status == 200);
    let ask = || assert_eq!(client.get("/secrets/team/db").status, 404);
    ask();
    wait_for("Vault signs", 20, || read(&file).iter().any(is_checkpoint));
    let (first, first_verifier) = (name_of_last(&file), verifiers(world, &gate));
    assert!(
        first.len() == "hmac-sha256:".len() + 64 && first_verifier.lines().count() == 1,
        "{first} {first_verifier}"
    );
    for key in ["names", "notes"] {
        assert_eq!(world.ask("POST", &format!("transit/keys/{NAME}-{key}/rotate"), &json!({})).0 / 100, 2);
    }
    wait_for("names go by the new version", 20, || {
        ask();
        name_of_last(&file) != first
    });
    let both = verifiers(world, &gate);
    assert!(both.lines().count() == 2 && both.ends_with(&first_verifier), "the latest first: {both}");
    assert_eq!(gate.terminate(), Some(0));

    // Found by each version of the key.
    let search = |more: &[&str]| {
        let arguments = [&["audit", "search", "--path", "team/db"], more].concat();
        as_operator(world, gate.folder(), &arguments)
    };
    let named = read(&file).iter().filter(|record| !record["resources"].is_null()).count();
    let (code, found) = search(&["--name-transit-key", &format!("{NAME}-names"), "audit.log"]);
    assert_eq!((code, found.lines().count() + 1), (Some(0), named), "all but the one before the key: {found}");
    let (code, found) = search(&["--config", "config.toml"]);
    assert!(code == Some(0) && found.contains(&first), "by the configuration: {found}");
    let none =
        as_operator(world, gate.folder(), &["audit", "search", "--path", "team/other", "--config", "config.toml"]);
    assert!(none.0 == Some(1) && none.1.contains("no record fits"), "{}", none.1);

    let verify = |keys: &str| {
        fs::write(gate.folder().join("verifiers.txt"), keys).expect("a file");
        verb(gate.folder(), &["audit", "verify", "--key", "verifiers.txt", "audit.log"])
    };
    let (code, told) = verify(&both);
    assert!(
        code == Some(0) && told.contains("says that the gate ended") && told.contains("signed by the key"),
        "{told}"
    );
    let records = read(&file).len();
    assert!(told.contains(&format!("-{}, by the checkpoint", records - 1)), "the last one proves all: {told}");
    let (code, told) = verify(&first_verifier);
    assert!(code == Some(1) && told.contains(": checkpoint:"), "another version has signed: {told}");
    noted(&file, both.lines().next().expect("a key"));
}

fn away(shared: &Shared) {
    const NAME: &str = "audit-away";
    const TROUBLE: &str = "Vault signs no checkpoints of the audit";
    let world = shared.world();
    write_policy(world, NAME, &printed(NAME));
    let front = Front::start(world);
    let mut gate = gate(world, NAME, &front.address, "checkpoint_every = \"1s\"\n");
    let (client, file) = (gate.keyed(), gate.folder().join("audit.log"));
    let stderr = |text: &str| gate.stderr().matches(text).count();
    let checkpoints = || read(&file).iter().filter(|record| is_checkpoint(record)).count();
    wait_for("it is ready", 20, || gate.admin_client().get("/readyz").status == 200);
    let ask = || assert_eq!(client.get("/secrets/none").status, 404, "no request waits for a signature");
    ask();
    wait_for("Vault signs", 20, || checkpoints() > 0);
    front.treat("/transit/sign/", Verdict::Swallow);
    wait_for("it is told that Vault does not sign", 20, || {
        ask();
        stderr(TROUBLE) == 1
    });
    let before = checkpoints();
    (0..50).for_each(|_| ask());
    assert_eq!((checkpoints(), stderr(TROUBLE)), (before, 1));
    front.pass();
    wait_for("it is written later", 10, || {
        checkpoints() > before && stderr("Vault signs checkpoints of the audit again") == 1
    });
    let verifier = verifiers(world, &gate);
    // At the end it is not waited for without an end.
    front.treat("/transit/sign/", Verdict::Swallow);
    ask();
    assert_eq!(gate.terminate(), Some(0));
    let (code, told) = verb(gate.folder(), &["audit", "verify", "--key", verifier.trim(), "audit.log"]);
    assert!(
        code == Some(0) && told.contains("says that the gate ended") && told.contains("signed by the key"),
        "{told}"
    );
    awaited(&file, 1, |record| record["unmapped"]["event"] == "stop");
}

fn rotated(shared: &Shared) {
    const NAME: &str = "audit-rotated";
    let world = shared.world();
    write_policy(world, NAME, &printed(NAME));
    let mut gate = gate(world, NAME, &world.vault_address(), "rotate_size = \"64KiB\"\n");
    let client = gate.keyed();
    wait_for("it is ready", 20, || gate.admin_client().get("/readyz").status == 200);
    let aside = gate.folder().join("audit.log.1");
    wait_for("the file is set aside", 30, || {
        (0..50).for_each(|_| assert_eq!(client.get("/whoami").status, 200));
        aside.exists()
    });
    assert_eq!(gate.terminate(), Some(0));
    let last = read(&aside).pop().expect("a record");
    assert!(is_checkpoint(&last), "{last}");
    let verifier = verifiers(world, &gate);
    let (code, told) = verb(gate.folder(), &["audit", "verify", "--key", verifier.trim(), "audit.log"]);
    assert!(code == Some(0) && told.contains("in 2 files") && told.contains("signed by the key"), "{told}");
}
