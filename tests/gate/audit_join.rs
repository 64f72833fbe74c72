//! The gate's audit beside Vault's: both know a call by its correlation id.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use local_vault::Options;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::process::{AGENTS, binary};
use tests::{Gate, Plan, World, wait_for};

use super::audit::keyed;
use super::configuration::{run, said};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[("a_call_is_followed_from_the_client_through_the_gates_record_to_vaults", followed)];

/// A Vault that keeps an audit, and a gate in front that keeps its own, with names as HMACs.
struct Audited {
    gate: Gate,
    world: World,
    keys: TempDir,
}

impl Audited {
    fn start() -> Self {
        let (keys, _, options) = keyed();
        let audit = Some(keys.path().join("vault.log"));
        let world = World::with(Options { audit, ..Options::default() });
        let sections = format!("{AGENTS}\n[audit]\nfile = \"audit.log\"\nrequired = true\n{options}");
        let gate = Gate::start(&world, &Plan { sections, ..Plan::default() });
        Self { gate, world, keys }
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
    assert_eq!(client.put(&format!("/secrets/{path}"), &json!({"data": {"a": 1}})).status, 200);
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
    audited.fits();
    audited.tampered();
    audited.bypassed();
    audited.hashed();
}

impl Audited {
    /// Joins both files, by the key of names.
    fn join(&self, more: &[&str]) -> (Option<i32>, String) {
        self.join_files(&self.of_gate(), &self.of_vault(), more)
    }

    fn join_files(&self, gate: &Path, vault: &Path, more: &[&str]) -> (Option<i32>, String) {
        let key = self.keys.path().join("names.key").display().to_string();
        let [gate, vault] = [gate, vault].map(|file| file.display().to_string());
        let arguments = ["audit", "join", "--name-key", &key, "--vault-log", &vault];
        said(&run(self.gate.folder(), &[&arguments, more, &[&gate]].concat(), &[]))
    }

    /// A call of the gate's, so that there are later lines in both.
    fn go_on(&self) {
        assert_eq!(self.gate.keyed().get("/secrets/none").status, 404);
    }

    fn fits(&self) {
        self.go_on();
        let (code, told) = self.join(&[]);
        let joined = |operation: &str, request: &str| {
            let of = |line: &&str| line.starts_with("joined ") && line.contains(operation) && line.contains(request);
            assert!(told.lines().any(|line| of(&line)), "{operation} {request}: {told}");
        };
        joined("follow-me: agent_mtls kv.read allow 200", "= read secret/data/mcp/agent_mtls/followed/db");
        joined("follow-me: agent_mtls ssh.otp allow 200", "= update ssh/creds/otp");
        assert!(told.contains("= update auth/token/create/portcullis-leases"), "{told}");
        assert!(code == Some(0) && told.contains("amiss: 0 requests without a record, 0 records"), "{told}");
        assert!(!told.contains("by their ids alone") && !told.contains("cannot be read"), "{told}");
        let (code, told) = self.join(&["--json", "--correlation-id", "follow-me", "--path", "followed/db"]);
        let found: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let summary = &found.last().expect("a summary")["summary"];
        assert_eq!((code, &summary["fits"], &summary["calls"]), (Some(0), &json!(true), &json!(2)), "{told}");
        assert_eq!(found[0]["gate"]["agent"], "agent_mtls");
        // Without the key the id alone is left.
        let (gate, vault) = (self.of_gate().display().to_string(), File::open(self.of_vault()).expect("a log"));
        let mut command = Command::new(binary());
        command.args(["audit", "join", "--vault-log", "-", &gate, "--missing"]).stdin(vault);
        let (code, told) = said(&command.output().expect("the verb"));
        assert!(code == Some(0) && told.contains("by their ids alone: ") && !told.contains("joined  "), "{told}");
    }

    /// Copies of both files, changed, do not fit, which is told.
    fn tampered(&self) {
        type Change = fn(String) -> Option<String>;
        const KEEP: Change = Some;
        const DROP: Change = |line| (!line.contains("follow-me")).then_some(line);
        const MOVE: Change = |line| Some(line.replace("agent_mtls/followed/db\"", "agent_mtls/followed/other\""));
        const LEND: Change = |line| Some(line.replace("{\"agent\":\"agent_mtls\"}", "{\"agent\":\"agent_api\"}"));
        const CUT: Change = |line| Some(if line.contains("ssh/creds/otp") { line[..90].to_owned() } else { line });
        let folder = tempfile::tempdir().expect("a folder");
        let changed = |file: &Path, name: &str, change: Change| {
            let text = fs::read_to_string(file).expect("a log");
            let path = folder.path().join(name);
            let lines = text.lines().filter_map(|line| Some(change(line.to_owned())? + "\n"));
            fs::write(&path, lines.collect::<String>()).expect("a file");
            path
        };
        for (of_gate, of_vault, wanted) in [
            (KEEP, KEEP, "amiss: 0 requests without a record, 0 records without a request, 0 that differ"),
            (DROP, KEEP, "unrecorded "),
            (KEEP, DROP, "amiss: 0 requests without a record, 3 records without a request"),
            (KEEP, MOVE, "followed/other by token-agent-mtls from 127.0.0.1: the path is another"),
            (KEEP, LEND, "the token is another agent's"),
            (KEEP, CUT, "lines that cannot be read: 2: "),
        ] {
            // Vault's first, so that what the gate asks meanwhile is not amiss.
            let of_vault = changed(&self.of_vault(), "vault.log", of_vault);
            let of_gate = changed(&self.of_gate(), "audit.log", of_gate);
            let (code, told) = self.join_files(&of_gate, &of_vault, &["--missing"]);
            let fits = wanted.starts_with("amiss: 0 requests without a record, 0 ");
            assert!(code == Some(i32::from(!fits)) && told.contains(wanted), "{wanted}: {told}");
            assert!(!told.contains("joined  "), "{told}");
        }
    }

    /// Requests straight to Vault: somebody else's, and one with an agent's token.
    fn bypassed(&self) {
        let path = "secret/data/mcp/agent_mtls/followed/db";
        assert_eq!(self.world.ask("GET", path, &Value::Null).0, 200);
        self.go_on();
        let (code, told) = self.join(&["--path", "followed/db"]);
        assert!(code == Some(0) && told.contains("other client "), "{told}");
        let token = json!({"policies": ["root"], "meta": {"agent": "agent_mtls"}, "display_name": "agent_mtls"});
        let (_, made) = self.world.ask("POST", "auth/token/create", &token);
        let token = made["auth"]["client_token"].as_str().unwrap_or_else(|| panic!("{made}"));
        assert_eq!(self.world.ask_as(token, "GET", path, &Value::Null).0, 200);
        self.go_on();
        let (code, told) = self.join(&["--missing"]);
        let of = |line: &&str| line.starts_with("unrecorded ") && line.contains("no id: read secret/data/mcp/agent_m");
        assert!(code == Some(1) && told.lines().filter(of).count() == 1, "{told}");
        assert!(told.contains("an agent's token without an id"), "{told}");
    }

    /// A Vault that writes HMACs of ids is asked for them.
    fn hashed(&self) {
        let header = "sys/config/auditing/request-headers/X-Correlation-Id";
        self.world.ask("PUT", header, &json!({"hmac": true}));
        let client = self.gate.agent("agent_mtls").with("X-Correlation-Id", "hide-me");
        assert_eq!(client.get("/secrets/followed/db").status, 200);
        wait_for("its end is recorded", 20, || {
            let hidden = lines(&self.of_gate());
            let mut hidden = hidden.iter().filter(|record| record["metadata"]["correlation_uid"] == "hide-me");
            hidden.any(|record| record["unmapped"]["stage"] == "ended")
        });
        let vault = self.of_vault().display().to_string();
        let arguments = ["audit", "join", "--correlation-id", "hide-me", "--vault-log", &vault];
        let join = |more: &[&str], token: &str| {
            let login = [("VAULT_TOKEN", token)];
            said(&run(self.gate.folder(), &[&arguments, more].concat(), &login))
        };
        let (code, told) = join(&[], "");
        assert!(code == Some(1) && told.contains("--audit-hash DEVICE") && told.contains("not in Vault's"), "{told}");
        let (code, told) = join(&["--audit-hash", "file"], self.world.vault.root_token());
        assert!(code == Some(0) && told.contains("hide-me: agent_mtls kv.read allow 200"), "{told}");
        let (code, told) = join(&["--audit-hash", "none"], self.world.vault.root_token());
        assert!(code == Some(1) && told.contains("sys/audit-hash/none: "), "{told}");
    }
}
