//! What the command line does besides `kv`.

use std::fs;

use serde_json::{Value, json};
use tests::servers::{Identity, csr};
use tests::{API_KEY, Gate, Plan, World, wait_for};

use super::Cli;
use crate::Shared;

/// The text of a member of an answer's data.
fn text(answer: &Value, name: &str) -> String {
    answer["data"][name].as_str().unwrap_or_else(|| panic!("{name}: {answer}")).to_owned()
}

impl Cli<'_> {
    /// Writes these to a path, and gives the answer.
    fn write(&self, path: &str, data: &[&str]) -> Value {
        self.json(&[&["write", "-format=json", path], data].concat())
    }

    /// The argument that names a file with this text.
    fn file(&self, argument: &str, name: &str, text: &str) -> String {
        fs::write(self.home.path().join(name), text).expect("a file");
        format!("{argument}@{name}")
    }
}

pub(super) fn paths(shared: &Shared) {
    let cli = Cli::of(shared.gate(), "agent_mtls");
    let file = cli.file("", "data.json", r#"{"data": {"user": "app"}, "options": {"cas": 0}}"#);
    assert_eq!(cli.write("secret/data/v1-paths/a", &[&file])["data"]["version"], 1);
    let again = cli.error(&["write", "secret/data/v1-paths/a", &file]);
    assert!(again.contains("Code: 400") && again.contains("current version"), "{again}");
    let read = cli.json(&["read", "-format=json", "secret/data/v1-paths/a"]);
    assert_eq!(read["data"]["data"], json!({"user": "app"}), "{read}");
    let versioned = cli.json(&["read", "-format=json", "secret/data/v1-paths/a", "version=1"]);
    assert_eq!(versioned["data"]["metadata"]["version"], 1, "{versioned}");
    assert_eq!(cli.json(&["list", "-format=json", "secret/metadata/v1-paths"]), json!(["a"]));
    let table = cli.said(&["kv", "get", "-format=table", "secret/v1-paths/a"]);
    assert!(table.contains("secret/data/v1-paths/a") && table.contains("user    app"), "{table}");
    let table = cli.said(&["kv", "metadata", "get", "secret/v1-paths/a"]);
    assert!(table.contains("Version 1") && table.contains("max_versions"), "{table}");
    let listed = cli.said(&["list", "secret/metadata/v1-paths"]);
    assert!(listed.contains("Keys") && listed.lines().any(|line| line == "a"), "{listed}");
    cli.said(&["write", "secret/destroy/v1-paths/a", "versions=1"]);
    cli.said(&["delete", "secret/data/v1-paths/a"]);
    let gone = cli.error(&["read", "secret/data/v1-paths/none"]);
    assert!(gone.contains("No value found"), "{gone}");
    cli.error(&["read", "sys/mounts"]);
}

pub(super) fn keys(shared: &Shared) {
    let cli = Cli::of(shared.gate(), "agent_mtls");
    let sealed = text(&cli.write("transit/encrypt/agents-key", &["plaintext=aGk=", "key_version=1"]), "ciphertext");
    let sealed = text(&cli.write("transit/rewrap/agents-key", &[&format!("ciphertext={sealed}")]), "ciphertext");
    let opened = cli.write("transit/decrypt/agents-key", &[&format!("ciphertext={sealed}")]);
    assert_eq!(text(&opened, "plaintext"), "aGk=");
    let key = cli.write("transit/datakey/plaintext/agents-key", &["bits=128"]);
    assert_eq!(text(&key, "plaintext").len(), 24);
    let signed = cli.write("transit/sign/agents-signing-key", &["input=aGk="]);
    let signature = format!("signature={}", text(&signed, "signature"));
    for (input, valid) in [("input=aGk=", true), ("input=aGo=", false)] {
        let verified = cli.write("transit/verify/agents-signing-key", &[input, &signature]);
        assert_eq!(verified["data"]["valid"], valid, "{verified}");
    }
    for hmac in ["transit/hmac/agents-key", "transit/hmac/agents-key/sha2-512"] {
        let code = format!("hmac={}", text(&cli.write(hmac, &["input=aGk="]), "hmac"));
        let verify = hmac.replace("hmac/", "verify/");
        assert_eq!(cli.write(&verify, &["input=aGk=", &code])["data"]["valid"], true, "{hmac}");
    }
    assert_eq!(text(&cli.write("transit/random/16", &["format=hex"]), "random_bytes").len(), 32);
    assert_eq!(text(&cli.write("transit/random", &["bytes=16", "format=hex"]), "random_bytes").len(), 32);
    assert_eq!(text(&cli.json(&["write", "-force", "-format=json", "transit/random/32"]), "random_bytes").len(), 44);
    // For this kind of key OpenBao takes a hash, and Vault does not.
    let (client, input) = (shared.gate().keyed(), json!({"input": "aGk="}));
    let (status, _) = shared.world().ask("POST", "transit/sign/agents-signing-key/sha2-512", &input);
    assert_eq!(client.post("/v1/transit/sign/agents-signing-key/sha2-512", &input).status, status);
    // A name that the path has may stand in the body again, and no other.
    let asked = |name: &str| client.post("/v1/transit/encrypt/agents-key", &json!({"name": name, "plaintext": "aGk="}));
    assert_eq!(asked("agents-key").status, 200);
    assert_eq!(asked("agents-signing-key").status, 400);
    let told = cli.error(&["write", "transit/encrypt/none", "plaintext=aGk="]);
    assert!(told.contains("Code: 403"), "{told}");
}

pub(super) fn certificates(shared: &Shared) {
    let cli = Cli::of(shared.gate(), "agent_mtls");
    let name = "common_name=v1.agents.internal";
    let issued = cli.write("pki/issue/service", &[name, "ttl=1h", "alt_names=w.agents.internal"]);
    assert!(text(&issued, "certificate").starts_with("-----BEGIN CERTIFICATE"), "{issued}");
    assert!(issued["data"]["serial_number"].is_string() && issued["data"]["ca_chain"].is_array(), "{issued}");
    let request = cli.file("csr=", "request.csr", &csr("v1.agents.internal"));
    let signed = cli.write("pki/sign/service", &[name, &request, "ttl=1h"]);
    assert!(text(&signed, "certificate").starts_with("-----BEGIN CERTIFICATE"), "{signed}");
    let key = cli.file("public_key=", "key.pub", &Identity::new().public_key());
    let signed = cli.write("ssh/sign/ops", &[&key, "valid_principals=ops"]);
    assert!(text(&signed, "signed_key").contains("-cert-v01@openssh.com "), "{signed}");
    let printed = cli.said(&["write", "-field=signed_key", "ssh/sign/ops", &key, "valid_principals=ops"]);
    assert!(printed.contains("-cert-v01@openssh.com "), "{printed}");
    let told = cli.error(&["write", "pki/issue/none", name]);
    assert!(told.contains("Code: 403"), "{told}");
}

pub(super) fn tokens(shared: &Shared) {
    let cli = Cli::of(shared.gate(), "agent_mtls");
    let said = cli.said(&["login", "-method=cert"]);
    assert!(said.contains("Success!") && said.contains("token_duration"), "{said}");
    let table = cli.said(&["token", "lookup"]);
    assert!(table.contains("display_name") && table.contains("agent_mtls"), "{table}");
    let told = cli.error(&["token", "renew"]);
    assert!(told.contains("Code: 400") && told.contains("log in again"), "{told}");
    let told = cli.json(&["token", "capabilities", "-format=json", "secret/data/a"]);
    assert!(told.as_array().is_some_and(|names| names.contains(&json!("read"))), "{told}");
    let made = cli.json(&["token", "create", "-format=json", "-ttl=10m"]);
    assert_eq!(made["auth"]["lease_duration"], 600, "{made}");
    cli.said(&["token", "revoke", "-self"]);
    let told = cli.error(&["kv", "list", "secret/"]);
    assert!(told.contains("Code: 403"), "{told}");
    let cli = Cli::new(shared.gate());
    cli.said(&["login", API_KEY]);
    assert_eq!(cli.json(&["token", "lookup", "-format=json"])["data"]["display_name"], "agent_api");
    let told = cli.error(&["login", "hvs.CAESIJsomething"]);
    assert!(told.contains("Code: 403"), "{told}");
    let told = cli.error(&["login", "-method=approle", "role_id=agent_api", "secret_id=wrong"]);
    assert!(!told.contains("wrong"), "{told}");
}

pub(super) fn status(_: &Shared) {
    let mut world = World::start(true);
    let gate = Gate::start(&world, &Plan::default());
    let cli = Cli::new(&gate);
    let table = cli.said(&["status"]);
    assert!(table.contains("Sealed") && table.contains("Version"), "{table}");
    world.vault.seal().expect("sealed");
    // The command line's exit code of a sealed Vault is 2, that of an error 1.
    wait_for("it is told", 10, || cli.run(&["status"]).status.code() == Some(2));
    assert_eq!(cli.json_of(&["status", "-format=json"])["sealed"], true);
    assert_eq!(gate.local().get("/v1/sys/health").status, 503);
    assert_eq!(gate.local().get("/v1/sys/health?sealedcode=299").status, 299);
    let told = Cli::of(&gate, "agent_mtls").error(&["kv", "get", "secret/a"]);
    assert!(told.contains("Code: 503"), "{told}");
    world.vault.stop();
    wait_for("it is told", 10, || cli.run(&["status"]).status.code() == Some(1));
    assert!(matches!(gate.local().get("/v1/sys/health").status, 502 | 503));
}
