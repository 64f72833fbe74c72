//! The official MCP clients, from their packages, use secrets through the gate.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::scope;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::mcp::{STATELESS, settled};
use tests::process::{AGENTS, binary, root};
use tests::provider::Provider;
use tests::{API_KEY, Gate, Plan, wait_for};

use super::documents::markdown;
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("the_official_clients_work_over_http", over_http),
    ("the_official_clients_work_over_stdio", over_stdio),
    ("the_official_clients_are_told_when_their_tools_change", told),
    ("frameworks_work_over_http_and_stdio", frameworks),
    ("the_typescript_client_finds_its_way_to_a_token", typescript_without_a_token),
    ("the_inspector_works_over_stdio_by_the_files_of_the_documents", inspector),
];

/// An official client, as its package installs it.
#[derive(Clone, Copy)]
enum Client {
    /// For Python, from version 2 on.
    Python,
    /// Before version 2, by the folder of its environment.
    Python1(&'static str),
    /// For TypeScript, by the name of its package.
    TypeScript(&'static str),
    /// FastMCP's, which has the official one within.
    FastMcp,
    /// LangChain's adapters, which have the official one of version 1 within.
    LangChain,
}

/// Each client with the modes in which it settles on a revision, and that revision.
const CLIENTS: [(Client, &[(&str, &str)]); 5] = [
    (Client::Python1("mcp-oldest"), &[("legacy", "2024-11-05")]),
    (Client::Python1("mcp-1"), &[("legacy", "2025-11-25")]),
    (Client::Python, &[("legacy", "2025-11-25"), ("auto", STATELESS), (STATELESS, STATELESS)]),
    (Client::TypeScript("sdk"), &[("legacy", "2025-11-25")]),
    (Client::TypeScript("client"), &[("legacy", "2025-11-25"), ("auto", STATELESS)]),
];

/// The tools, in the order of the catalog.
fn every_tool() -> Vec<String> {
    let tools = filters::catalog::CATALOG.iter().filter(|entry| !entry.spec.rest_only);
    tools.map(|entry| entry.spec.name.replace('.', "_")).collect()
}

fn over_http(shared: &Shared) {
    let bridged = Carried::start(shared);
    everywhere(&bridged.http());
}

fn over_stdio(shared: &Shared) {
    let bridged = Carried::start(shared);
    everywhere(&bridged.stdio());
}

/// Every client in every mode takes every way; clients beside each other, since each mostly starts.
fn everywhere(ways: &[Value]) {
    scope(|threads| {
        for (client, modes) in CLIENTS {
            threads.spawn(move || {
                for (way, (mode, revision)) in ways.iter().flat_map(|way| modes.iter().map(move |mode| (way, mode))) {
                    let plan = plan(way, &json!({"mode": mode}));
                    check(&client.run(&plan), &plan, revision);
                }
            });
        }
    });
}

fn frameworks(shared: &Shared) {
    let bridged = Carried::start(shared);
    let [certificate, token, key] = bridged.http();
    let [bridge, ..] = bridged.stdio();
    for client in [Client::FastMcp, Client::LangChain] {
        for way in [&certificate, &token, &key, &bridge] {
            let plan = plan(way, &json!({}));
            let seen = client.run(&plan);
            called(&seen, &plan, STATELESS);
            let text = seen["resource"][0].as_str().expect("text");
            let read: Value = serde_json::from_str(text).expect("JSON");
            assert_eq!(read["data"], json!({"value": plan["value"]}), "{seen}");
            let prompt = seen["prompt"].as_str().expect("a text");
            assert!(prompt.contains(plan["path"].as_str().expect("a path")), "{prompt}");
        }
    }
}

fn typescript_without_a_token(shared: &Shared) {
    let key = certs::Signer::p256("one").expect("a key");
    let provider = Provider::start(&[&key], None);
    let issuer = provider.issuer();
    let claims = json!({"iss": issuer, "sub": "svc:agent_mtls", "scope": "read write delete list"});
    provider.give(&key.token(&super::jwt::claims(&claims)).expect("a token"));
    let gate = Gate::start(shared.world(), &super::issuers::discovered(&issuer));
    let way = json!({
        "url": format!("http://127.0.0.1:{}/mcp", gate.plain),
        "headers": {},
        "agent": "agent_mtls",
        "client": "tests",
        "issuer": issuer,
    });
    let plan = plan(&way, &json!({}));
    check(&Client::TypeScript("sdk").run(&plan), &plan, "2025-11-25");
    let form = provider.form();
    let resource = format!("resource=http%3A%2F%2F127.0.0.1%3A{}%2Fmcp", gate.plain);
    assert!(form.contains("grant_type=client_credentials") && form.contains(&resource), "{form}");
}

fn told(shared: &Shared) {
    let sections = AGENTS.replace("[agents.agent_api]\nroles = [\"all\"]", "[agents.agent_api]\nroles = [\"reader\"]");
    let gate = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
    let folder = tempfile::tempdir().expect("a folder");
    let env = json!({"GATE_API_KEY": API_KEY});
    let args = json!(["stdio", "--gate", format!("http://127.0.0.1:{}", gate.plain)]);
    let stdio = json!({"command": binary(), "args": args, "env": env, "agent": "agent_api"});
    let reads = json!(["kv_read", "kv_list", "kv_metadata", "transit_random", "wrap_lookup", "whoami", "access_list"]);
    let every = json!(every_tool());
    let ways = [(with_key(&gate), &every), (with_certificate(&gate, folder.path()), &reads), (stdio, &every)];
    // Each client takes one of the ways, and each way is taken.
    let modes = CLIENTS.iter().flat_map(|(client, modes)| modes.iter().map(move |(mode, _)| (client, mode)));
    let waiting: Vec<_> = modes.zip(ways.iter().cycle()).collect();
    scope(|threads| {
        for ((client, mode), (way, tools)) in &waiting {
            threads.spawn(move || {
                let plan = plan(way, &json!({"mode": mode, "waits": true}));
                assert_eq!(&client.run(&plan)["changed"], *tools, "{plan}");
            });
        }
        let open = || gate.metric("portcullis_event_streams") >= waiting.len() as f64;
        wait_for("each has opened a stream", 60, open);
        let file = gate.folder().join("config.toml");
        let text = std::fs::read_to_string(&file).expect("a file").replace("[\"reader\"]", "[\"all\"]");
        let text = text.replace("[agents.agent_mtls]\nroles = [\"all\"]", "[agents.agent_mtls]\nroles = [\"reader\"]");
        std::fs::write(&file, text).expect("a file");
        gate.signal("HUP");
    });
    wait_for("they have gone", 10, || gate.metric("portcullis_event_streams") == 0.0);
}

/// A gate that believes certificates, keys and tokens, and the files of an agent.
struct Carried {
    gate: Gate,
    folder: TempDir,
}

impl Carried {
    fn start(shared: &Shared) -> Self {
        let key = certs::Signer::p256("one").expect("a key");
        let provider = Provider::start(&[&key], None);
        let gate = Gate::start(shared.world(), &super::issuers::discovered(&provider.issuer()));
        settled(&gate.keyed());
        let folder = tempfile::tempdir().expect("a folder");
        let claims = json!({"iss": provider.issuer(), "sub": "svc:agent_mtls"});
        let token = key.token(&super::jwt::claims(&claims)).expect("a token");
        std::fs::write(folder.path().join("token"), token).expect("a file");
        std::fs::write(folder.path().join("ca.crt"), gate.authority()).expect("a file");
        gate.issue(&certs::Leaf::agent("agent_mtls")).write(folder.path(), "agent").expect("files");
        Self { gate, folder }
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The gate itself, with a certificate, a token and a key.
    fn http(&self) -> [Value; 3] {
        let token = std::fs::read_to_string(self.at("token")).expect("a file");
        let headers = json!({"Authorization": format!("Bearer {token}")});
        let url = format!("http://127.0.0.1:{}/mcp", self.gate.plain);
        let token = json!({"url": url, "headers": headers, "agent": "agent_mtls"});
        [with_certificate(&self.gate, self.folder.path()), token, with_key(&self.gate)]
    }

    /// The process that carries, with a certificate, a token and a key.
    fn stdio(&self) -> [Value; 3] {
        let gate = format!("https://localhost:{}", self.gate.tls);
        let args = json!(["stdio", "--gate", gate, "--ca", self.at("ca.crt")]);
        let files = json!({"GATE_CERT_FILE": self.at("agent.crt"), "GATE_KEY_FILE": self.at("agent.key")});
        let token = json!({"GATE_TOKEN_FILE": self.at("token")});
        let key = json!({"GATE_API_KEY": API_KEY});
        [("agent_mtls", files), ("agent_mtls", token), ("agent_api", key)]
            .map(|(agent, env)| json!({"command": binary(), "args": args, "env": env, "agent": agent}))
    }
}

/// The servers of each file of settings that the documents show, ready to be started here.
fn documented(carried: &Carried) -> Vec<Value> {
    let text = std::fs::read_to_string(root().join("docs/guides/stdio.md")).expect("the page");
    let blocks = markdown::blocks(&text).into_iter().filter(|block| block.language() == "json");
    let here = |text: String| {
        text.replace("https://gate.corp.example:8443", &format!("https://localhost:{}", carried.gate.tls))
            .replace("/home/me/.config/portcullis", &carried.folder.path().display().to_string())
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

fn inspector(shared: &Shared) {
    let carried = Carried::start(shared);
    let servers = documented(&carried);
    assert_eq!(servers.len(), 3, "{servers:?}");
    let program = installed("target/node/node_modules/.bin/mcp-inspector");
    for server in servers {
        let file = carried.at("settings.json");
        std::fs::write(&file, json!({"mcpServers": {"vault": server}}).to_string()).expect("a file");
        let ask = |arguments: &[&str]| -> Value {
            let mut command = Command::new("node");
            command.arg(&program).args(["--cli", "--config", &file, "--server", "vault"]).args(arguments);
            // What it keeps of its own.
            let output = command.env("HOME", carried.folder.path()).stdin(Stdio::null()).output().expect("it runs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{server}: {said}");
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {said}"))
        };
        // It fails where a schema is not understood everywhere.
        let listed = ask(&["--method", "tools/list", "--strict"]);
        let names: Vec<_> =
            listed["tools"].as_array().expect("tools").iter().map(|tool| tool["name"].clone()).collect();
        assert_eq!(json!(names), json!(every_tool()));
        let told = ask(&["--method", "tools/call", "--tool-name", "whoami"]);
        let agent = if server["env"].get("GATE_API_KEY").is_some() { "agent_api" } else { "agent_mtls" };
        assert_eq!(told["structuredContent"]["agent"], agent, "{told}");
    }
}

fn with_key(gate: &Gate) -> Value {
    settled(&gate.keyed());
    json!({"url": format!("http://127.0.0.1:{}/mcp", gate.plain), "headers": {"X-API-Key": API_KEY}, "agent": "agent_api"})
}

fn with_certificate(gate: &Gate, folder: &Path) -> Value {
    settled(&gate.keyed());
    let at = |name: &str| folder.join(name);
    std::fs::write(at("ca.crt"), gate.authority()).expect("a file");
    gate.issue(&certs::Leaf::agent("agent_mtls")).write(folder, "agent").expect("files");
    json!({
        "url": format!("https://localhost:{}/mcp", gate.tls),
        "headers": {},
        "agent": "agent_mtls",
        "ca": at("ca.crt"),
        "certificate": at("agent.crt"),
        "key": at("agent.key"),
    })
}

/// The plan for a client: the way in, `more`, and a secret of its own.
fn plan(way: &Value, more: &Value) -> Value {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let path = format!("clients/{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let uri = format!("kv://{}/{path}", way["agent"].as_str().expect("an agent"));
    let mut plan = json!({"path": path, "uri": uri, "value": "päss\u{1f511}\"\\\n"});
    for part in [way, more] {
        let part = part.as_object().expect("an object").clone();
        plan.as_object_mut().expect("an object").extend(part);
    }
    plan
}

/// Checks what the client saw of a revision.
fn check(seen: &Value, plan: &Value, revision: &str) {
    assert_eq!(seen["revision"], revision, "{seen}");
    called(seen, plan, revision);
    assert!(revision < "2025-06-18" || seen["missing"]["structured"]["error"] == "not_found", "{seen}");
    resources(seen, plan, revision);
}

/// Checks what the client saw of tools.
fn called(seen: &Value, plan: &Value, revision: &str) {
    assert_eq!(seen["tools"], json!(every_tool()), "{seen}");
    let answer = |call: &str| {
        let call = &seen[call];
        assert_eq!(call["error"], false, "{seen}");
        let text = call["texts"][0].as_str().expect("text");
        let answer: Value = serde_json::from_str(text).expect("JSON");
        // The first ones know of text alone.
        assert!(call["structured"] == answer || revision < "2025-06-18", "{seen}");
        answer
    };
    assert!(answer("write")["version"].is_u64(), "{seen}");
    assert_eq!(answer("read")["data"], json!({"value": plan["value"]}), "{seen}");
    assert_eq!(seen["missing"]["error"], true, "{seen}");
}

/// Checks what the client saw of resources and prompts.
fn resources(seen: &Value, plan: &Value, revision: &str) {
    let uri = &plan["uri"];
    let listed = seen["resources"].as_array().expect("resources");
    // The oldest client cannot send a cursor.
    let times = listed.iter().filter(|listed| *listed == uri).count();
    assert!(times == 1 || times == 0 && revision == "2024-11-05", "{seen}");
    assert_eq!(&seen["updated"], uri, "{seen}");
    let text = |name: &str| -> Value {
        serde_json::from_str(seen[name][0].as_str().unwrap_or_else(|| panic!("{name}: {seen}"))).expect("JSON")
    };
    assert_eq!(text("resource")["data"], json!({"value": plan["value"]}));
    assert_eq!(text("folder"), json!({"keys": []}));
    assert_eq!(seen["nothing"], if revision == "2026-07-28" { -32602 } else { -32002 }, "{seen}");
    assert_eq!(seen["templates"].as_array().map(Vec::len), Some(2), "{seen}");
    assert_eq!(seen["prompts"], json!(tests::mcp::PROMPTS), "{seen}");
    let prompt = seen["prompt"].as_str().expect("a text");
    assert!(prompt.contains("`kv_read`") && prompt.contains(plan["path"].as_str().expect("a path")), "{prompt}");
}

impl Client {
    /// Has it do what the plan says; what it saw.
    fn run(self, plan: &Value) -> Value {
        let mut plan = plan.clone();
        let script = |name: &str| root().join("tests/clients").join(name);
        let mut command = match self {
            Self::Python => Command::new(installed("target/venv/bin/python")),
            Self::Python1(folder) => Command::new(installed(&format!("target/venvs/{folder}/bin/python"))),
            Self::LangChain => Command::new(installed("target/venvs/mcp-1/bin/python")),
            Self::FastMcp => Command::new(installed("target/venvs/fastmcp/bin/python")),
            Self::TypeScript(_) => Command::new("node"),
        };
        match self {
            Self::Python => command.arg(script("client.py")),
            Self::Python1(_) => command.arg(script("client1.py")),
            Self::LangChain => command.arg(script("langchain_client.py")),
            Self::FastMcp => command.arg(script("fastmcp_client.py")),
            Self::TypeScript(package) => {
                plan["package"] = json!(package);
                plan["modules"] = json!(installed("target/node/node_modules").parent());
                command.arg(script("client.mjs"))
            }
        };
        run(&mut command, &plan)
    }
}

/// The path of a file that `make test` puts in place.
pub fn installed(path: &str) -> PathBuf {
    let path = root().join(path);
    assert!(path.exists(), "{} is missing: `make test` installs the clients", path.display());
    path
}

fn run(command: &mut Command, plan: &Value) -> Value {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut input = child.stdin.take().expect("its input");
    input.write_all(plan.to_string().as_bytes()).expect("it reads its plan");
    drop(input);
    let output = child.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} with {plan}: {said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON from {command:?}: {said}"))
}
