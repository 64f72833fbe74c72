//! The official conformance suite of MCP judges the gate, at each revision that it has a set of
//! requirements for; and with samples of its own, which the gate does not have, the gate's layer of messages.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;
use std::process::Command;
use std::thread::scope;

use serde_json::Value;
use tests::mcp::settled;
use tests::process::{AGENTS, root};
use tests::{API_KEY, Forwarder, Gate, Plan, Samples, free_port};

use super::clients::installed;
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("the_suite_finds_what_the_baseline_says", gate),
    ("the_suite_finds_what_the_baseline_says_of_its_samples", samples),
];

const REVISIONS: [&str; 2] = ["2025-11-25", "2026-07-28"];

/// The checks that are not passed, as `scenario:check`, each with what the suite says of it.
type Failed = BTreeMap<String, String>;

fn gate(shared: &Shared) {
    // It asks from a page of its own address, too.
    let port = free_port();
    let top = format!("{}cors_allow_origins = \"http://127.0.0.1:{port}\"\n", Plan::default().top);
    // Each of its clients opens a stream of events, and closes it when it pleases.
    let sections = AGENTS.replace("[agents.agent_api]", "[agents.archive]") + "\n[limits]\nstreams_per_agent = 1000\n";
    let gate = Gate::start(shared.world(), &Plan { top, sections, ..Plan::default() });
    settled(&gate.keyed());
    let _forwarder = Forwarder::start(port, gate.plain, &format!("X-API-Key: {API_KEY}"));
    let found = judged(&format!("http://127.0.0.1:{port}/mcp"));
    compare("gate", &found);
}

/// Judged by the scenarios alone that the gate cannot show.
fn samples(_: &Shared) {
    let samples = Samples::start();
    let mut found = judged(&samples.url());
    for (revision, found) in REVISIONS.into_iter().zip(&mut found) {
        let left = baseline("gate", revision, |group| group.get("samples").is_some());
        let scenario = |check: &str| check.split(':').next().map(str::to_owned);
        found.retain(|check, _| left.keys().any(|other| scenario(other) == scenario(check)));
    }
    compare("samples", &found);
}

/// Runs the suite against a server, at both revisions at once.
fn judged(url: &str) -> [Failed; 2] {
    let folder = tempfile::tempdir().expect("a folder");
    scope(|threads| {
        let running = REVISIONS.map(|revision| threads.spawn(|| run(url, revision, folder.path())));
        running.map(|run| run.join().expect("its end"))
    })
}

/// Fails where a server does not pass what its baseline does not name, or passes what it names.
fn compare(server: &str, found: &[Failed; 2]) {
    let mut wrong = Vec::new();
    for (revision, found) in REVISIONS.into_iter().zip(found) {
        let expected = baseline(server, revision, |_| true);
        let news = found.iter().filter(|(check, _)| !expected.contains_key(*check));
        wrong.extend(news.map(|(check, told)| format!("{revision} {check} is not passed: {told}")));
        let stale = expected.keys().filter(|check| !found.contains_key(*check));
        wrong.extend(stale.map(|check| format!("{revision} {check} is passed, or no check: the baseline has it")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs every scenario that the revision has for servers, required or not.
fn run(url: &str, revision: &str, folder: &Path) -> Failed {
    let programs = installed("target/node/node_modules/.bin");
    // What it needs of Node may be there alone.
    let path = format!("{}:{}", programs.display(), env::var("PATH").expect("a path"));
    let results = folder.join(revision);
    let mut command = Command::new(installed("target/node/node_modules/.bin/conformance"));
    command.args(["server", "--url", url, "--requirements", revision, "--output-dir"]).arg(&results);
    let output = command.env("PATH", path).output().expect("the suite runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("=== SUMMARY ==="), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let folders = std::fs::read_dir(results).expect("its results");
    folders.flat_map(|folder| not_passed(&folder.expect("a folder").path())).collect()
}

/// The checks of a scenario's folder of results that failed, warned, or were left out.
fn not_passed(folder: &Path) -> Vec<(String, String)> {
    // `server-SCENARIO-2026-11-28T15-05-11-022Z`
    const STAMP: usize = "-2026-11-28T15-05-11-022Z".len();
    let name = folder.file_name().and_then(|name| name.to_str()).expect("a name");
    let scenario = name.strip_prefix("server-").and_then(|name| name.get(..name.len() - STAMP)).expect("a scenario");
    let text = std::fs::read_to_string(folder.join("checks.json")).expect("its checks");
    let checks: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let failed = checks.iter().filter(|check| !["SUCCESS", "INFO"].map(Value::from).contains(&check["status"]));
    let named = |check: &Value| {
        let told = format!("{} {} {}", check["status"], check["errorMessage"], check["details"]);
        (format!("{scenario}:{}", check["id"].as_str().expect("an id")), told)
    };
    failed.map(named).collect()
}

/// The checks that a server is known not to pass, each with the reason, of the groups that are chosen.
fn baseline(server: &str, revision: &str, chosen: impl Fn(&toml::Value) -> bool) -> Failed {
    let text = std::fs::read_to_string(root().join("tests/conformance.toml")).expect("the baseline");
    let read: toml::Table = text.parse().expect("TOML");
    let mut known = Failed::new();
    for group in read[server].as_array().expect("groups").iter().filter(|group| chosen(group)) {
        let reason = group["reason"].as_str().filter(|reason| !reason.is_empty()).expect("a reason");
        for check in group.get(revision).and_then(toml::Value::as_array).into_iter().flatten() {
            let check = check.as_str().expect("a check");
            let before = known.insert(check.to_owned(), reason.to_owned());
            assert!(before.is_none(), "{revision} {check} stands twice in the baseline of {server}");
        }
    }
    known
}
