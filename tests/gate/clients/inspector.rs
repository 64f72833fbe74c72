//! The Inspector's command line, as the documents have it started.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::API_KEY;
use tests::process::{binary, root};

use super::carried::{Carried, DESK, EDITOR};
use super::{every_tool, installed};
use crate::Shared;
use crate::gate::documents::markdown;

/// The servers of each file of settings that the documents show, ready to be started here.
fn documented(carried: &Carried) -> Vec<Value> {
    let text = std::fs::read_to_string(root().join("docs/guides/stdio.md")).expect("the page");
    let blocks = markdown::blocks(&text).into_iter().filter(|block| block.language() == "json");
    let here = |text: String| {
        text.replace("https://gate.corp.example:8443", &format!("https://localhost:{}", carried.gate.tls))
            .replace("/home/me/.config/portcullis", &carried.folder().display().to_string())
            .replace("${input:gate-key}", API_KEY)
    };
    let server = |settings: Value| {
        let servers = ["mcpServers", "servers", "context_servers"].iter().find_map(|name| settings.get(*name));
        let mut server = servers.expect("servers")["vault"].clone();
        assert_eq!(server["command"], "portcullis", "{server}");
        server["command"] = json!(binary());
        server["env"]["GATE_CA_FILE"] = json!(carried.at("ca.crt"));
        server
    };
    blocks.map(|block| server(serde_json::from_str(&here(block.text)).expect("JSON"))).collect()
}

pub(super) fn over_stdio(shared: &Shared) {
    let carried = Carried::start(shared, "all");
    let servers = documented(&carried);
    assert_eq!(servers.len(), 3, "{servers:?}");
    for server in servers {
        let agent = if server["env"].get("GATE_API_KEY").is_some() { EDITOR } else { DESK };
        inspect(&carried, &server, agent);
    }
}

/// The Inspector cannot present a client certificate.
pub(super) fn over_http(shared: &Shared) {
    let carried = Carried::start(shared, "all");
    let [_, token, key] = carried.http();
    for (way, agent) in [(token, DESK), (key, EDITOR)] {
        let server = json!({"type": "streamable-http", "url": way["url"], "headers": way["headers"]});
        inspect(&carried, &server, agent);
    }
}

/// Asks a server of a file of settings for its tools and who calls.
fn inspect(carried: &Carried, server: &Value, agent: &str) {
    let program = installed("target/node/node_modules/.bin/mcp-inspector");
    let file = carried.at("settings.json");
    std::fs::write(&file, json!({"mcpServers": {"vault": server}}).to_string()).expect("a file");
    let ask = |arguments: &[&str]| -> Value {
        let mut command = Command::new("node");
        command.arg(&program).args(["--cli", "--config", &file, "--server", "vault"]).args(arguments);
        // What it keeps of its own.
        let output = command.env("HOME", carried.folder()).stdin(Stdio::null()).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{server}: {said}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {said}"))
    };
    // It fails where a schema is not understood everywhere.
    let listed = ask(&["--method", "tools/list", "--strict"]);
    let names: Vec<_> = listed["tools"].as_array().expect("tools").iter().map(|tool| tool["name"].clone()).collect();
    assert_eq!(json!(names), json!(every_tool()));
    let told = ask(&["--method", "tools/call", "--tool-name", "whoami"]);
    assert_eq!(told["structuredContent"]["agent"], agent, "{told}");
}
