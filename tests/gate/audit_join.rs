//! The gate's audit beside Vault's: both know a call by its correlation id.

use std::fs;
use std::path::{Path, PathBuf};

use local_vault::Options;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::process::AGENTS;
use tests::{Gate, Plan, World, wait_for};

use super::audit::keyed;
use crate::{Case, Shared};

pub const CASES: &[Case] = &[("a_call_is_followed_from_the_client_through_the_gates_record_to_vaults", followed)];

/// A Vault that keeps an audit, and a gate in front that keeps its own, with names as HMACs.
struct Audited {
    gate: Gate,
    _world: World,
    keys: TempDir,
}

impl Audited {
    fn start() -> Self {
        let (keys, _, options) = keyed();
        let audit = Some(keys.path().join("vault.log"));
        let world = World::with(Options { audit, ..Options::default() });
        let sections = format!("{AGENTS}\n[audit]\nfile = \"audit.log\"\nrequired = true\n{options}");
        let gate = Gate::start(&world, &Plan { sections, ..Plan::default() });
        Self { gate, _world: world, keys }
    }

    /// The file of Vault's audit.
    fn of_vault(&self) -> PathBuf {
        self.keys.path().join("vault.log")
    }

    /// The file of the gate's.
    fn of_gate(&self) -> PathBuf {
        self.gate.folder().join("audit.log")
    }
}

/// The lines of a file that are JSON.
fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn id(line: &Value) -> &str {
    line["request"]["headers"]["x-correlation-id"][0].as_str().unwrap_or_default()
}

fn call(tool: &str, arguments: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

fn followed(_: &Shared) {
    let audited = Audited::start();
    let (gate, path) = (&audited.gate, "followed/db");
    let client = gate.agent("agent_mtls").with("X-Correlation-Id", "follow-me");
    let read = client.mcp(&call("kv_read", &json!({"path": path})));
    assert_eq!((read.status, read.header("x-correlation-id")), (200, Some("follow-me")));
    assert_eq!(client.post("/ssh/otp", &json!({"role": "otp", "ip": "127.0.0.1", "username": "ops"})).status, 200);

    let recorded: Vec<_> =
        lines(&audited.of_gate()).into_iter().filter(|r| r["metadata"]["correlation_uid"] == "follow-me").collect();
    assert!(recorded.iter().any(|record| record["api"]["operation"] == "kv.read"), "{recorded:#?}");
    let of_vault = lines(&audited.of_vault());
    let asked: Vec<_> = of_vault
        .iter()
        .filter(|line| line["type"] == "response" && id(line) == "follow-me")
        .filter_map(|line| line["request"]["path"].as_str())
        .collect();
    let wanted = [
        "auth/token/create/portcullis",
        "secret/data/mcp/agent_mtls/followed/db",
        "auth/token/create/portcullis-leases",
        "ssh/creds/otp",
    ];
    assert!(wanted.iter().all(|path| asked.contains(path)), "tokens are made for the call too: {asked:?}");
    // What no agent's call caused has the id of the process.
    let start = &lines(&audited.of_gate())[0]["metadata"]["uid"];
    let own = format!("gate:{}", start.as_str().and_then(|uid| uid.rsplit_once('-')).expect("a chain").0);
    for path in ["auth/approle/login", "secret/data/portcullis/suspended"] {
        let of = |line: &&Value| line["request"]["path"] == path && id(line) == own;
        wait_for(path, 20, || lines(&audited.of_vault()).iter().any(|line| of(&line)));
    }
    let without = of_vault.iter().filter(|line| line["auth"]["metadata"]["role_name"] == "portcullis");
    assert!(without.clone().count() > 3 && without.clone().all(|line| !id(line).is_empty()), "each has an id");
}
