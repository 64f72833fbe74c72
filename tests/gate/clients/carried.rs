//! The gate that clients use, the files and settings by which they reach it, and what they do there.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::mcp::settled;
use tests::process::{binary, root};
use tests::provider::Provider;
use tests::{API_KEY, Gate, Plan, World};

use super::calls::{Call, Subjects, with};
use crate::Shared;
use crate::gate::{issuers, jwt};

/// Who shows a certificate or a token, who shows a key, and who changes what is shared with them; agents that no
/// other module's tests know.
pub const DESK: &str = "desk";
pub const EDITOR: &str = "editor";
pub const COLLEAGUE: &str = "colleague";

/// A gate in front of what every tool needs, and the files of an agent.
pub struct Carried {
    pub gate: Gate,
    pub provider: Provider,
    /// A token of the provider's.
    pub token: String,
    folder: TempDir,
    subjects: Subjects,
}

impl Carried {
    /// Starts the gate; the editor has one role, `all` or `reader`, and the others have all.
    pub fn start(shared: &Shared, role: &str) -> Self {
        shared.postgres();
        [DESK, EDITOR, COLLEAGUE].iter().for_each(|agent| provision(shared.world(), agent));
        let key = certs::Signer::p256("one").expect("a key");
        let provider = Provider::start(&[&key], None);
        let Plan { top, sections, .. } = issuers::discovered(&provider.issuer());
        let top = top.replace("http://127.0.0.1:1", &shared.kms().endpoint());
        let sections = sections.replace("agent_api", EDITOR).replace("agent_mtls", DESK);
        let sections = sections.replace("kv = [\"**\"]\n", "kv = [\"**\"]\nshared = [\"clients/**\"]\n");
        let editor = |role: &str| format!("[agents.{EDITOR}]\nroles = [\"{role}\"]\n");
        let sections = sections.replace(&editor("all"), &editor(role));
        let sections = format!("{sections}\n[agents.{COLLEAGUE}]\nroles = [\"all\"]\n");
        let gate = Gate::start(shared.world(), &Plan { top, sections, ..Plan::default() });
        settled(&gate.keyed());
        let claims = json!({"iss": provider.issuer(), "sub": format!("svc:{DESK}"), "scope": "read write delete list"});
        let token = key.token(&jwt::claims(&claims)).expect("a token");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("token"), &token).expect("a file");
        std::fs::write(folder.path().join("ca.crt"), gate.authority()).expect("a file");
        gate.issue(&certs::Leaf::agent(DESK)).write(folder.path(), "agent").expect("files");
        Self { gate, provider, token, folder, subjects: Subjects::new(shared.kms()) }
    }

    /// Where the files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The path of a file of this name.
    pub fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The gate itself, without a credential.
    pub fn bare(&self) -> Value {
        json!({"url": format!("http://127.0.0.1:{}/mcp", self.gate.plain), "headers": {}, "agent": DESK})
    }

    /// The gate itself, with a certificate, a token and a key.
    pub fn http(&self) -> [Value; 3] {
        let certificate = json!({
            "url": format!("https://localhost:{}/mcp", self.gate.tls),
            "headers": {},
            "agent": DESK,
            "ca": self.at("ca.crt"),
            "certificate": self.at("agent.crt"),
            "key": self.at("agent.key"),
        });
        let token = json!({"headers": {"Authorization": format!("Bearer {}", self.token)}});
        let key = json!({"headers": {"X-API-Key": API_KEY}, "agent": EDITOR});
        [certificate, with(&self.bare(), &token), with(&self.bare(), &key)]
    }

    /// The process that carries, with a certificate, a token and a key.
    pub fn stdio(&self) -> [Value; 3] {
        let gate = format!("https://localhost:{}", self.gate.tls);
        let args = json!(["stdio", "--gate", gate, "--ca", self.at("ca.crt")]);
        let files = json!({"GATE_CERT_FILE": self.at("agent.crt"), "GATE_KEY_FILE": self.at("agent.key")});
        let token = json!({"GATE_TOKEN_FILE": self.at("token")});
        let key = json!({"GATE_API_KEY": API_KEY});
        [(DESK, files), (DESK, token), (EDITOR, key)]
            .map(|(agent, env)| json!({"command": binary(), "args": args, "env": env, "agent": agent}))
    }

    /// A visit by this way, with secrets of its own, and `more` of the plan.
    pub fn visit(&self, way: &Value, more: &Value) -> Visit {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let path = format!("clients/{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let agent = way["agent"].as_str().expect("an agent");
        let data = json!({"value": "päss\u{1f511}\"\\\n"});
        let calls = self.subjects.calls(agent, &path, &data);
        let pairs: Vec<_> = calls.iter().map(|call| (call.tool, &call.arguments)).collect();
        let uri = format!("kv://{agent}/{path}");
        let shared = format!("kv://~shared/{path}");
        let plan = json!({"path": path, "uri": uri, "shared": shared, "calls": pairs});
        Visit { plan: with(&with(way, &plan), more), data, calls }
    }
}

/// The visit of one client by one way.
pub struct Visit {
    /// As the client gets it.
    pub plan: Value,
    /// The data of its secret after the calls.
    pub data: Value,
    /// The plan's calls.
    pub calls: Vec<Call>,
}

/// Lets an agent do in Vault what the others may, and with the secrets that are shared with clients.
fn provision(world: &World, agent: &str) {
    let policy = std::fs::read_to_string(root().join("local-vault/policies/agent.hcl")).expect("a policy");
    let shared = "path \"secret/data/shared/clients/*\" { capabilities = [\"create\", \"read\", \"update\"] }\n\
                  path \"secret/metadata/shared/clients/*\" { capabilities = [\"read\", \"list\"] }\n";
    let policy = json!({"policy": format!("{}\n{shared}", policy.replace("@AGENT@", agent))});
    assert_eq!(world.ask("PUT", &format!("sys/policies/acl/mcp-agent-{agent}"), &policy).0, 204);
}
