//! Clients that are slow to fetch: `make vault-clients`.

use std::fs;
use std::process::Command;

use serde_json::json;
use tests::API_KEY;

use super::agent::Running;
use super::{Library, Served, works};
use crate::Shared;
use crate::gate::clients::installed;

/// Starts consul-template with a template of the secret at a path below `secret/data`, and these settings for Vault.
fn start(served: &Served, path: &str, more: &str) -> Running {
    let text = format!(
        "vault {{\n address = \"{}\"\n renew_token = false\n default_lease_duration = \"1s\"\n \
         retry {{ enabled = false }}\n {more}\n}}\n\
         template {{\n contents = \"{{{{ with secret \\\"secret/data/{path}\\\" }}}}{{{{ .Data.data.password }}}}{{{{ end }}}}\"\n \
         destination = \"{}\"\n}}\n",
        served.address(),
        served.at("rendered"),
    );
    Running::run(served, &mut Command::new(installed("target/vault-clients/consul-template")), "template", &text)
}

/// The settings of a caller with a key, and of one with the certificate of this agent.
fn credentials(served: &Served, agent: &str) -> [String; 2] {
    let ca = served.at("ca.crt");
    let [certificate, key] = ["crt", "key"].map(|part| served.at(&format!("{agent}.{part}")));
    [
        format!("token = \"{API_KEY}\"\n ssl {{ ca_cert = \"{ca}\" }}"),
        format!("ssl {{\n ca_cert = \"{ca}\"\n cert = \"{certificate}\"\n key = \"{key}\"\n}}"),
    ]
}

pub(super) fn consul_template(shared: &Shared) {
    let served = Served::start(shared.world());
    let owners = [served.gate.keyed(), served.gate.holder(&served.issued)];
    for (owner, settings) in owners.iter().zip(credentials(&served, "agent_mtls")) {
        let write = |password: &str| {
            let written = owner.put("/secrets/v1-template", &json!({"data": {"password": password}}));
            assert_eq!(written.status, 200, "{written:?}");
        };
        let is = |text: &str| fs::read_to_string(served.at("rendered")).is_ok_and(|found| found == text);
        write("one");
        let mut running = start(&served, "v1-template", &settings);
        running.until("the secret is rendered", || is("one"));
        write("two");
        running.until("the new version is rendered", || is("two"));
    }
}

pub(super) fn refused(shared: &Shared) {
    let served = Served::start(shared.world());
    let [_, settings] = credentials(&served, "agent_jwt");
    let said = start(&served, "v1-template", &settings).gives_up();
    assert!(said.contains("Code: 403"), "{said}");
    assert!(!fs::exists(served.at("rendered")).expect("a folder"), "{said}");
}

pub(super) fn spring(shared: &Shared) {
    let served = Served::start(shared.world());
    works(Library::Spring, &served);
    Library::Spring.sees(&served.plan(&json!({"token": served.token("agent_jwt")})), &super::forbidden());
}
