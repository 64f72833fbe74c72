//! The official MCP clients, from their packages, use secrets through the gate.

mod calls;
mod carried;
mod inspector;
mod rust;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Lines, Read as _, Seek as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::scope;

use serde_json::{Value, json};
use tests::mcp::STATELESS;
use tests::process::root;
use tests::{Gate, wait_for};

use crate::{Case, Shared};

use calls::{Call, with};
use carried::{COLLEAGUE, Carried, DESK, Visit};

pub const CASES: &[Case] = &[
    ("the_official_clients_work_over_http", over_http),
    ("the_official_clients_work_over_stdio", over_stdio),
    ("the_official_clients_are_told_when_their_tools_change", told),
    ("frameworks_work_over_http_and_stdio", frameworks),
    ("the_typescript_client_finds_its_way_to_a_token", typescript_without_a_token),
    ("the_inspector_works_over_stdio_by_the_files_of_the_documents", inspector::over_stdio),
    ("the_inspector_works_over_http", inspector::over_http),
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
    /// For Rust.
    Rust,
}

/// Each client with the modes in which it settles on a revision, and that revision.
const CLIENTS: [(Client, &[(&str, &str)]); 6] = [
    (Client::Python1("mcp-oldest"), &[("legacy", "2024-11-05")]),
    (Client::Python1("mcp-1"), &[("legacy", "2025-11-25")]),
    (Client::Python, &[("legacy", "2025-11-25"), ("auto", STATELESS), (STATELESS, STATELESS)]),
    (Client::TypeScript("sdk"), &[("legacy", "2025-11-25")]),
    (Client::TypeScript("client"), &[("legacy", "2025-11-25"), ("auto", STATELESS)]),
    (Client::Rust, &[("legacy", "2025-11-25"), ("auto", STATELESS), (STATELESS, STATELESS)]),
];

/// The tools, in the order of the catalog.
fn every_tool() -> Vec<String> {
    let tools = filters::catalog::CATALOG.iter().filter(|entry| !entry.spec.rest_only);
    tools.map(|entry| entry.spec.name.replace('.', "_")).collect()
}

fn over_http(shared: &Shared) {
    let carried = Carried::start(shared, "all");
    everywhere(&carried, &carried.http());
}

fn over_stdio(shared: &Shared) {
    let carried = Carried::start(shared, "all");
    everywhere(&carried, &carried.stdio());
}

/// Every client in every mode takes every way; clients beside each other, since each mostly starts.
fn everywhere(carried: &Carried, ways: &[Value]) {
    scope(|threads| {
        for (client, modes) in CLIENTS {
            threads.spawn(move || {
                let mut running = client.start();
                for (way, (mode, revision)) in ways.iter().flat_map(|way| modes.iter().map(move |mode| (way, mode))) {
                    let visit = carried.visit(way, &json!({"mode": mode}));
                    check(&running.follow(&visit.plan, &carried.gate), &visit, revision);
                }
            });
        }
    });
}

fn frameworks(shared: &Shared) {
    let carried = Carried::start(shared, "all");
    let [certificate, token, key] = carried.http();
    let [bridge, ..] = carried.stdio();
    // LangChain's has the text of an error alone.
    for (client, structured) in [(Client::FastMcp, [true, true]), (Client::LangChain, [true, false])] {
        let mut running = client.start();
        for way in [&certificate, &token, &key, &bridge] {
            let visit = carried.visit(way, &json!({}));
            let seen = running.follow(&visit.plan, &carried.gate);
            called(&seen, &visit, structured);
            prompted(&seen, &visit);
            assert_eq!(text(&seen, "resource")["data"], visit.data, "{seen}");
        }
    }
}

fn typescript_without_a_token(shared: &Shared) {
    let carried = Carried::start(shared, "all");
    carried.provider.give(&carried.token);
    let oauth = json!({"client": "tests", "issuer": carried.provider.issuer()});
    let visit = carried.visit(&carried.bare(), &oauth);
    check(&Client::TypeScript("sdk").start().follow(&visit.plan, &carried.gate), &visit, "2025-11-25");
    let form = carried.provider.form();
    let resource = format!("resource=http%3A%2F%2F127.0.0.1%3A{}%2Fmcp", carried.gate.plain);
    assert!(form.contains("grant_type=client_credentials") && form.contains(&resource), "{form}");
}

fn told(shared: &Shared) {
    let carried = Carried::start(shared, "reader");
    let gate = &carried.gate;
    let reads = json!(["kv_read", "kv_list", "kv_metadata", "transit_random", "wrap_lookup", "whoami", "access_list"]);
    let every = json!(every_tool());
    let [certificate, _, key] = carried.http();
    let [.., stdio] = carried.stdio();
    let ways = [(key, &every), (certificate, &reads), (stdio, &every)];
    // Each client takes one of the ways, and each way is taken.
    let modes = CLIENTS.iter().flat_map(|(client, modes)| modes.iter().map(move |(mode, _)| (client, mode)));
    let waiting: Vec<_> = modes.zip(ways.iter().cycle()).collect();
    scope(|threads| {
        for ((client, mode), (way, tools)) in &waiting {
            threads.spawn(move || {
                let plan = with(way, &json!({"mode": mode, "waits": true}));
                assert_eq!(&client.start().follow(&plan, gate)["changed"], *tools, "{plan}");
            });
        }
        let open = || gate.metric("portcullis_event_streams") >= waiting.len() as f64;
        wait_for("each has opened a stream", 60, open);
        let file = gate.folder().join("config.toml");
        let text = std::fs::read_to_string(&file).expect("a file").replace("[\"reader\"]", "[\"all\"]");
        let desk = format!("[agents.{DESK}]\nroles = ");
        let text = text.replace(&format!("{desk}[\"all\"]"), &format!("{desk}[\"reader\"]"));
        std::fs::write(&file, text).expect("a file");
        gate.signal("HUP");
    });
    wait_for("they have gone", 10, || gate.metric("portcullis_event_streams") == 0.0);
}

/// Checks what the client saw of a revision.
fn check(seen: &Value, visit: &Visit, revision: &str) {
    assert_eq!(seen["revision"], revision, "{seen}");
    // The first ones know of text alone.
    called(seen, visit, [revision >= "2025-06-18"; 2]);
    prompted(seen, visit);
    resources(seen, visit, revision);
}

/// Checks what the client saw of tools; true where it sees the structured content of answers, of errors.
fn called(seen: &Value, visit: &Visit, structured: [bool; 2]) {
    let every = every_tool();
    assert_eq!(seen["tools"], json!(every), "{seen}");
    let tools: BTreeSet<_> = visit.calls.iter().map(|call| call.tool.to_owned()).collect();
    assert_eq!(tools, every.into_iter().collect(), "a tool is not called");
    let results = seen["calls"].as_array().expect("results");
    assert_eq!(results.len(), visit.calls.len(), "{seen}");
    for (Call { tool, tells, .. }, result) in visit.calls.iter().zip(results) {
        let fails = tells.get("error").is_some();
        assert_eq!(result["error"], fails, "{tool}: {result}");
        let mut answer = result["structured"].clone();
        if !fails {
            let text = serde_json::from_str(result["texts"][0].as_str().expect("text")).expect("JSON");
            assert!(answer == text || !structured[0], "{tool}: {result}");
            answer = text;
        }
        let told = |(member, value): (&String, &Value)| answer[member] == *value;
        let as_told = tells.as_object().is_some_and(|tells| tells.iter().all(told));
        assert!(as_told || fails && !structured[1], "{tool}: {result}");
    }
}

/// Checks what the client saw of prompts.
fn prompted(seen: &Value, visit: &Visit) {
    let prompt = seen["prompt"].as_str().expect("a text");
    let path = visit.plan["path"].as_str().expect("a path");
    assert!(prompt.contains("`kv_read`") && prompt.contains(path), "{prompt}");
}

/// Checks what the client saw of resources, and of what a client sees there is.
fn resources(seen: &Value, Visit { plan, data, .. }: &Visit, revision: &str) {
    let listed = seen["resources"].as_array().expect("resources");
    // The oldest client cannot send a cursor.
    let times = listed.iter().filter(|listed| **listed == plan["uri"]).count();
    assert!(times == 1 || times == 0 && revision == "2024-11-05", "{seen}");
    assert_eq!(&text(seen, "resource")["data"], data);
    assert_eq!(text(seen, "folder"), json!({"keys": []}));
    assert_eq!(seen["nothing"], if revision == STATELESS { -32602 } else { -32002 }, "{seen}");
    assert_eq!(seen["templates"], 4, "{seen}");
    assert_eq!(seen["prompts"], json!(tests::mcp::PROMPTS), "{seen}");
    assert_eq!(seen["updated"], plan["shared"], "{seen}");
    assert_eq!(text(seen, "shared")["data"], news());
}

/// The JSON of a resource that the client saw.
fn text(seen: &Value, name: &str) -> Value {
    let text = seen[name][0].as_str().unwrap_or_else(|| panic!("{name}: {seen}"));
    serde_json::from_str(text).expect("JSON")
}

/// The text that a colleague writes where the client is to see it.
fn news() -> Value {
    json!({"by": COLLEAGUE})
}

impl Client {
    /// Starts it; it waits for plans.
    fn start(self) -> Running {
        let python = |environment: &str, script: &str| {
            let mut command = Command::new(installed(&format!("target/{environment}/bin/python")));
            // It leaves nothing beside the scripts.
            command.arg("-B").arg(root().join("tests/clients").join(script));
            command
        };
        let mut command = match self {
            Self::Python => python("venv", "client.py"),
            Self::Python1(folder) => python(&format!("venvs/{folder}"), "client1.py"),
            Self::LangChain => python("venvs/mcp-1", "langchain_client.py"),
            Self::FastMcp => python("venvs/fastmcp", "fastmcp_client.py"),
            Self::Rust => return Running::Here,
            Self::TypeScript(package) => {
                let mut command = Command::new("node");
                command.arg(root().join("tests/clients/client.mjs")).arg(package);
                command.args(installed("target/node/node_modules").parent());
                command
            }
        };
        let errors = tempfile::tempfile().expect("a file");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors.try_clone().expect("a file"));
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        Running::Script(Script { process, lines, errors })
    }
}

/// A client that follows plans.
enum Running {
    Here,
    Script(Script),
}

impl Running {
    /// Has it do what the plan says; what it saw.
    fn follow(&mut self, plan: &Value, gate: &Gate) -> Value {
        match self {
            Self::Here => rust::follow(plan, gate),
            Self::Script(script) => script.follow(plan, gate),
        }
    }
}

/// A client's process; ended when dropped.
struct Script {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    errors: File,
}

impl Script {
    fn follow(&mut self, plan: &Value, gate: &Gate) -> Value {
        let input = self.process.stdin.as_mut().expect("its input");
        input.write_all(format!("{plan}\n").as_bytes()).expect("it reads its plans");
        let mut next = || self.lines.next().and_then(Result::ok).unwrap_or_default();
        let mut line = next();
        if line == "subscribed" {
            line = while_shared_changes(plan, gate, next);
        }
        serde_json::from_str(&line).unwrap_or_else(|_| {
            let mut said = String::new();
            self.errors.rewind().and_then(|()| self.errors.read_to_string(&mut said)).expect("text");
            panic!("{plan}: {line} {said}")
        })
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The path of a file that `make test` puts in place.
pub fn installed(path: &str) -> PathBuf {
    let path = root().join(path);
    assert!(path.exists(), "{} is missing: `make test` installs the clients", path.display());
    path
}

/// Does `work` while a colleague changes what is shared: again and again, since the stream of a client that has
/// subscribed may not be open yet.
fn while_shared_changes<T: Send>(plan: &Value, gate: &Gate, work: impl FnOnce() -> T + Send) -> T {
    let colleague = gate.agent(COLLEAGUE);
    let target = format!("/secrets/{}?shared=true", plan["path"].as_str().expect("a path"));
    scope(|threads| {
        let work = threads.spawn(work);
        wait_for("a client is told of what is shared", 60, || {
            let written = colleague.put(&target, &json!({"data": news()}));
            assert_eq!(written.status, 200, "{written:?}");
            work.is_finished()
        });
        work.join().expect("no panic")
    })
}
