//! The gate's own logins, each against Vault's own auth method.

use std::path::{Path, PathBuf};
use std::process::Command;

use certs::{Authority, Leaf, Signer};
use serde_json::{Value, json};
use tests::process::binary;
use tests::servers::Kubernetes;
use tests::{Gate, Plan, World, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("a_token_file_is_waited_for_and_followed", token_file),
    ("a_signed_token_is_read_anew_at_each_login", jwt),
    ("a_pod_logs_in_by_its_service_account", kubernetes),
    ("a_certificate_logs_in_and_is_replaced_while_running", certificate),
];

/// A gate that logs in by what these top-level lines and sections say.
fn start(world: &World, top: &str, sections: &str) -> Gate {
    let environment = vec![("VAULT_ROLE_ID", String::new()), ("VAULT_SECRET_ID", String::new())];
    let plan = Plan::default();
    let (top, sections) = (format!("{}{top}", plan.top), format!("{}{sections}", plan.sections));
    Gate::start_unready(world, &Plan { top, sections, environment, ..plan })
}

/// A token of the gate's policy, and its accessor.
fn token(world: &World) -> (String, String) {
    let body = json!({"policies": ["portcullis-gate"], "no_default_policy": true, "ttl": "1h"});
    let (status, answer) = world.ask("POST", "auth/token/create", &body);
    assert_eq!(status, 200, "{answer}");
    let text = |name: &str| answer["auth"][name].as_str().expect("a text").to_owned();
    (text("client_token"), text("accessor"))
}

/// Replaces a file as Vault Agent and Kubernetes do: at once.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).expect("a file");
    std::fs::rename(beside, path).expect("the same folder");
}

/// Waits until `/readyz` of the operators' listener says `what`.
fn says(gate: &Gate, status: u16, what: &str) {
    let client = gate.admin_client();
    let mut last = Value::Null;
    wait_for(what, 20, || {
        let response = client.get("/readyz");
        last = response.json();
        let detail = last["vault"]["detail"].as_str().unwrap_or_default();
        response.status == status && detail.contains(what)
    });
}

/// `portcullis` with these arguments and the gate's configuration: what it printed.
fn verb(gate: &Gate, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(binary());
    command.args(arguments).args(["--config", "config.toml"]).current_dir(gate.folder()).env_clear();
    let output = command.output().expect("portcullis");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).expect("text"))
}

/// Serves, at the latest when a login that is under way is done.
fn serves_itself(gate: &Gate) {
    let client = gate.keyed();
    wait_for("the gate serves", 20, || client.put("/secrets/login", &json!({"data": {"a": 1}})).status == 200);
}

/// Serves, and so do the commands of its configuration.
fn serves(gate: &Gate) {
    serves_itself(gate);
    let (good, text) = verb(gate, &["resume", "nobody-in-particular"]);
    assert!(good, "{text}");
}

fn token_file(shared: &Shared) {
    let world = shared.world();
    let folder = tempfile::tempdir().expect("a folder");
    let path: PathBuf = folder.path().join("token");
    let gate = start(world, &format!("vault_token_file = \"{}\"\n", path.display()), "");
    says(&gate, 503, "not logged in by token file: ");
    says(&gate, 503, "there is no such file");
    assert_eq!(gate.keyed().get("/secrets/login").status, 503);
    replace(&path, "");
    says(&gate, 503, "the file is empty");
    replace(&path, "hvs.nobody");
    says(&gate, 503, "Vault denies it (403): it is unknown or has ended");
    let (good, text) = verb(&gate, &["resume", "nobody-in-particular"]);
    assert!(!good && text.contains("not logged in by token file: Vault denies it (403)"), "{text}");

    let (first, accessor) = token(world);
    replace(&path, &format!("{first}\n"));
    says(&gate, 200, "logged in by token file");
    serves(&gate);
    // It is gone and back while the gate is logged in, which changes nothing.
    std::fs::remove_file(&path).expect("the file");
    assert_eq!(gate.keyed().get("/secrets/login").status, 200);
    replace(&path, &first);

    let (second, _) = token(world);
    replace(&path, &second);
    wait_for("the new token is used", 20, || gate.stderr().contains("\"generation\":2"));
    let (status, _) = world.ask("POST", "auth/token/revoke-accessor", &json!({"accessor": accessor}));
    assert_eq!(status, 204);
    serves(&gate);
    let log = gate.stderr();
    assert!(!log.contains("\"generation\":3"), "{log}");
    unseen(&gate, &[&first, &second, "hvs.nobody"]);
}

/// Waits until the gate is logged in once more than now.
fn logs_in_again(gate: &Gate) {
    let logins = || gate.stderr().matches("the gate is logged in to Vault").count();
    let before = logins();
    wait_for("the next login", 30, || logins() > before);
}

/// No log has any of these.
fn unseen(gate: &Gate, secrets: &[&str]) {
    let log = gate.stderr() + &gate.log();
    for secret in secrets {
        assert!(!log.contains(secret), "{log}");
    }
}

/// Asks Vault for a change, as root.
fn set(world: &World, path: &str, body: &Value) {
    let (status, answer) = world.ask("POST", path, body);
    assert!((200..300).contains(&status), "{path}: {status} {answer}");
}

/// The terms of every role: the gate's policy, for so short that it soon logs in anew.
fn rights() -> Value {
    json!({"token_policies": ["portcullis-gate"], "token_no_default_policy": true, "token_ttl": "4s", "token_max_ttl": "6s"})
}

/// `one` and the members of `other`.
fn with(one: Value, other: Value) -> Value {
    let members = [one, other].into_iter().filter_map(|value| value.as_object().cloned()).flatten();
    Value::Object(members.collect())
}

fn soon() -> u64 {
    portcullis::vault::epoch_seconds() + 600
}

fn jwt(shared: &Shared) {
    let world = shared.world();
    let keys = ["one", "two"].map(|id| Signer::p256(id).expect("a key"));
    let trust = |key: &Signer| {
        let body = json!({"jwt_validation_pubkeys": [key.pem().expect("a public key")], "bound_issuer": "ci"});
        set(world, "auth/ci/jwt/config", &body);
    };
    set(world, "sys/auth/ci/jwt", &json!({"type": "jwt"}));
    trust(&keys[0]);
    let role = json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"]});
    set(world, "auth/ci/jwt/role/gate", &with(role, rights()));
    let token = |key: &Signer, audience: &str| {
        let claims = json!({"iss": "ci", "sub": "gate", "aud": audience, "exp": soon(), "iat": soon() - 700});
        key.token(&claims).expect("a token")
    };

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("jwt");
    let login = format!("[login.jwt]\nrole = \"gate\"\nmount = \"ci/jwt\"\ntoken_file = \"{}\"\n", path.display());
    let gate = start(world, "", &login);
    says(&gate, 503, "not logged in by JWT: ");
    says(&gate, 503, "there is no such file");
    let wrong = token(&keys[0], "somebody-else");
    replace(&path, &wrong);
    says(&gate, 503, "Vault does not accept it (400): its audience is not the one that is wanted");
    let first = token(&keys[0], "vault");
    replace(&path, &first);
    says(&gate, 200, "logged in by JWT");
    serves(&gate);

    // The issuer takes another key, and whoever holds the file has a token of it.
    let second = token(&keys[1], "vault");
    trust(&keys[1]);
    replace(&path, &second);
    logs_in_again(&gate);
    serves(&gate);
    unseen(&gate, &[&wrong, &first, &second]);
}

fn kubernetes(shared: &Shared) {
    let world = shared.world();
    let cluster = Kubernetes::start();
    set(world, "sys/auth/kubernetes", &json!({"type": "kubernetes"}));
    set(world, "auth/kubernetes/config", &cluster.config());
    let role = json!({"bound_service_account_names": ["portcullis"], "bound_service_account_namespaces": ["gates"],
        "audience": "https://kubernetes.default.svc"});
    set(world, "auth/kubernetes/role/gate", &with(role, rights()));

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    let login = format!("[login.kubernetes]\nrole = \"gate\"\ntoken_file = \"{}\"\n", path.display());
    let gate = start(world, "", &login);
    says(&gate, 503, "not logged in by Kubernetes: ");
    let other = cluster.token("default", "portcullis");
    replace(&path, &other);
    says(&gate, 503, "Vault denies it (403): the role is not for this namespace");
    let first = cluster.token("gates", "portcullis");
    replace(&path, &first);
    says(&gate, 200, "logged in by Kubernetes");
    serves(&gate);

    // The cluster no longer knows the first token, and has projected another.
    cluster.forget();
    let second = cluster.token("gates", "portcullis");
    replace(&path, &second);
    logs_in_again(&gate);
    serves(&gate);
    unseen(&gate, &[&other, &first, &second]);
}

fn certificate(_: &Shared) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    let [servers, first, second] = ["vault", "first", "second"].map(|name| Authority::new(name).expect("an authority"));
    servers.issue(&Leaf::server()).expect("a certificate").write(folder.path(), "vault").expect("files");
    std::fs::write(file("ca.crt"), servers.pem()).expect("a file");
    let world = World::start_tls(&file("vault.crt"), &file("vault.key"), &file("ca.crt"));
    let trust = |authority: &Authority| {
        let body = json!({"certificate": authority.pem(), "allowed_common_names": ["gate"]});
        set(&world, "auth/cert/certs/gate", &with(body, rights()));
    };
    set(&world, "sys/auth/cert", &json!({"type": "cert"}));
    trust(&first);
    let present = |authority: &Authority| {
        let issued = authority.issue(&Leaf::agent("gate")).expect("a certificate");
        replace(&file("gate.key"), &issued.key);
        replace(&file("gate.crt"), &issued.certificate);
        issued
    };

    let other = present(&second);
    let at = |name: &str| file(name).display().to_string();
    let sections = format!(
        "[upstream]\nca_file = \"{}\"\nclient_certificate = \"{}\"\nclient_key = \"{}\"\n\
         resolve_interval = \"1s\"\n[login.certificate]\nrole = \"gate\"\n",
        at("ca.crt"),
        at("gate.crt"),
        at("gate.key")
    );
    let gate = start(&world, "", &sections);
    says(&gate, 503, "not logged in by TLS certificate: ");
    says(&gate, 503, "no role fits the certificate");
    let one = present(&first);
    says(&gate, 200, "logged in by TLS certificate");
    serves(&gate);

    // A broken file leaves what was there; then another authority takes over.
    replace(&file("gate.crt"), "not a certificate");
    wait_for("it says so", 20, || gate.stderr().contains("gate.crt: holds no certificate in PEM"));
    serves_itself(&gate);
    trust(&second);
    let two = present(&second);
    logs_in_again(&gate);
    serves(&gate);
    unseen(&gate, &[other, one, two].each_ref().map(|issued| issued.key.lines().nth(1).expect("a line")));
}
