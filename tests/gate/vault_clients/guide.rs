//! What `docs/guides/vault-clients.md` has for each client, run as it is written.

use std::fs;
use std::process::Command;

use serde_json::json;
use tests::API_KEY;
use tests::process::root;

use super::Served;
use super::agent::Running;
use crate::Shared;
use crate::gate::clients::installed;
use crate::gate::documents::markdown;

pub(super) fn lines(shared: &Shared) {
    let served = Served::start(shared.world());
    for part in ["crt", "key"] {
        fs::copy(served.at(&format!("agent_mtls.{part}")), served.at(&format!("agent.{part}"))).expect("a file");
    }
    served.write("api-key", API_KEY);
    let text = fs::read_to_string(root().join("docs/guides/vault-clients.md")).expect("the page");
    let blocks = markdown::blocks(&text);
    let block = |language: &str| {
        let block = blocks.iter().find(|block| block.language() == language).unwrap_or_else(|| panic!("{language}"));
        block.text.replace("https://gate.corp.example:8443", &served.address()).replace("/etc/app/", &served.at(""))
    };
    let run = |command: &mut Command, text: &str, expected: &str| {
        let output = command.arg(text).current_dir(root().join("target")).output().expect("it starts");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains(expected), "{text}{told}{}", String::from_utf8_lossy(&output.stderr));
    };
    run(Command::new(installed("target/venv/bin/python")).arg("-c"), &block("python"), "{'password': 'one'}");
    let modules = installed("target/node/node_modules");
    run(Command::new("node").env("NODE_PATH", modules).arg("-e"), &block("js"), "{ password: 'one' }");
    let mut running = Running::start(&served, "agent", "guide", &block("hcl"));
    let is = |text: &str| fs::read_to_string(served.at("password")).is_ok_and(|found| found == text);
    running.until("the secret is rendered", || is("one"));
    let owner = served.gate.agent("agent_mtls");
    assert_eq!(owner.put("/secrets/apps/db", &json!({"data": {"password": "two"}})).status, 200);
    running.until("the new version is rendered", || is("two"));
}
