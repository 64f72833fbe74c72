//! `docs/reference/` is written from the code, and a gate says the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Duration;

use filters::catalog::CATALOG;
use filters::decide::Concern;
use filters::notes::{Note, Notes, OBSERVED};
use filters::openapi::document;
use filters::reference;
use portcullis::http::routes;
use portcullis::telemetry::{Call, Calls, Metrics, MetricsForm, Record, RouteId, Sink as _};
use portcullis::tls::UsedAs;
use portcullis::vault::Health;
use serde_json::Value;
use tests::process::{binary, root};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("the_options_are_those_of_the_binary", options),
    ("the_operations_are_those_of_the_catalog", operations),
    ("the_errors_are_those_of_the_core", errors),
    ("the_metrics_are_those_that_a_gate_counts", metrics),
    ("the_command_line_is_that_of_the_binary", command_line),
    ("the_folder_has_no_other_pages", folder),
    ("the_openapi_document_is_the_one_that_a_gate_serves", openapi),
];

/// One page: its file and heading, what stands above its tables, and those.
struct Page {
    file: &'static str,
    title: &'static str,
    about: &'static str,
}

impl Page {
    fn check(&self, tables: &str) -> bool {
        let Self { file, title, about } = self;
        let note = "<!-- `make docs` writes this page from the code: what is changed here is lost. -->";
        check(file, &format!("# {title}\n\n{note}\n\n{about}\n{tables}"))
    }
}

/// Compares a file with what the code says; `BLESS=1`, as `make docs` has it, writes it.
/// Tells whether it was compared.
fn check(file: &str, told: &str) -> bool {
    let path = root().join("docs/reference").join(file);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, told).expect("written");
        return false;
    }
    let now = fs::read_to_string(&path).unwrap_or_default();
    assert!(now == told, "docs/reference/{file} is not what the code says: `make docs` writes it anew");
    true
}

fn folder(_: &Shared) {
    let files = fs::read_dir(root().join("docs/reference")).expect("the folder");
    let names = files.flatten().map(|file| file.file_name().to_string_lossy().into_owned());
    let written = ["command-line.md", "errors.md", "metrics.md", "openapi.json", "operations.md", "options.md"];
    assert_eq!(names.collect::<BTreeSet<_>>(), written.map(str::to_owned).into());
}

/// The binary's output.
fn printed(arguments: &[&str]) -> String {
    let output = Command::new(binary()).args(arguments).env_clear().output().expect("the gate's binary runs");
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn options(_: &Shared) {
    let about = "Every option of the configuration; `portcullis options` prints the same. The headings are the \
                 sections of a\nTOML file, and [the guides](../SUMMARY.md) say what the options are for.\n";
    Page { file: "options.md", title: "Options", about }.check(&printed(&["options"]));
}

fn operations(_: &Shared) {
    let about = "Every operation that an agent may be granted. Each is a route of the REST API and, by the same name \
                 and with the same\narguments, an MCP tool. [`openapi.json`](openapi.json) has the arguments and \
                 answers of each,\n[the guide to REST](../guides/rest.md) and [the one to MCP](../guides/mcp.md) tell \
                 how they are called.\n\nThe *scope* is what a credential and a role must have, the column *Vault* \
                 the capability that\n[the agent's policy](../guides/policies.md) must give: `{kv}` and the like are \
                 the mounts that the options name.\n";
    Page { file: "operations.md", title: "Operations", about }.check(&reference::operations(&CATALOG));
}

fn errors(_: &Shared) {
    let about = "Every refusal is answered in one form,\n\n\
                 ```json\n{\"error\": \"forbidden\", \"detail\": \"This agent may not do that.\", \
                 \"request_id\": \"…\"}\n```\n\n\
                 with a stable code, one sentence, and the id of the request in the gate's log. `Retry-After` tells \
                 after how many\nseconds another try may succeed. [Over MCP](../guides/mcp.md#errors) the codes are \
                 the same.\n";
    Page { file: "errors.md", title: "Errors", about }.check(&reference::errors());
}

/// A metric as Prometheus' text tells it.
#[derive(Default)]
struct Metric {
    name: String,
    kind: String,
    help: String,
    /// Each label's name, with the values that were counted so far.
    labels: BTreeMap<String, BTreeSet<String>>,
}

impl Metric {
    /// The row of a table.
    fn row(&self) -> String {
        let Self { name, kind, help, labels } = self;
        let labels: Vec<_> = labels.iter().map(|(label, values)| described(label, values)).collect();
        format!("| `{name}` | {kind} | {} | {help} |", labels.join(", "))
    }
}

/// A label, with its values where they are a few words that are known from the start.
fn described(label: &str, values: &BTreeSet<String>) -> String {
    if !(2..=6).contains(&values.len()) {
        return format!("`{label}`");
    }
    let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
    format!("`{label}`: {}", values.join(", "))
}

/// The metrics of a text.
fn read(text: &str) -> Vec<Metric> {
    let mut all: Vec<Metric> = Vec::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            all.push(Metric { name: name.to_owned(), help: help.to_owned(), ..Metric::default() });
            continue;
        }
        let metric = all.last_mut().expect("a metric begins with its help");
        if let Some((_, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kind.clone_into(&mut metric.kind);
        } else if let Some((_, labels)) = line.split_once('{') {
            let (labels, _) = labels.rsplit_once('}').expect("their end");
            for (name, value) in labels.split("\",").filter_map(|label| label.split_once("=\"")) {
                // The bound of a histogram's bucket is no label of the metric's.
                if name != "le" {
                    metric.labels.entry(name.to_owned()).or_default().insert(value.trim_end_matches('"').to_owned());
                }
            }
        }
    }
    all
}

fn metrics(shared: &Shared) {
    let metrics = Metrics::new(routes::labels()).expect("metrics");
    // A metric with labels is told once something was counted.
    metrics.answered(RouteId::new(0), 200, 0.001);
    let mut calls = Calls::default();
    let (entry, upstream) = (CATALOG.iter().next().expect("an operation"), Some(Duration::ZERO));
    let concern = Concern { notes: Notes::default().with(OBSERVED, Note::Flag(true)), ..Concern::default() };
    calls.add(Call { entry, concern, refused: None, upstream, event: None });
    metrics.finish(&Record { calls: Some(&calls), ..Record::default() });
    metrics.agents.follow(Some(["ci"].into_iter()));
    for decision in ["allow", "bad_request", "not_found", "overloaded", "rate_limited", "suspended"] {
        metrics.finish(&Record { agent: "ci", decision, ..Record::default() });
    }
    let told = metrics.render(MetricsForm::Prometheus, |metrics| {
        metrics.vault.show_health(Health::EVERY.map(Health::name).into_iter(), Health::Active.name());
        metrics.vault.show_ends(UsedAs::EVERY.iter().map(|of| (of.name(), "server.crt".to_owned(), 0)));
    });
    let known = read(&String::from_utf8(told).expect("text"));
    let mut tables = String::from("| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n");
    for metric in &known {
        writeln!(tables, "{}", metric.row()).expect("text");
    }
    let about = "Every metric of the gate, in Prometheus' text format at `/metrics` of \
                 [the operators' listener](../deploy/production.md#the-operators-side).\nA \
                 histogram has `_bucket`, `_sum` and `_count`, in seconds. The `outcome` of an operation is `served` \
                 or the code of [its error](errors.md), a\n`decision` is `allow` or such a code.\n\
                 [Observing a gate](../guides/observing.md) has the dashboard and the alerts.\n";
    if (Page { file: "metrics.md", title: "Metrics", about }).check(&tables) {
        let counted = shared.gate().admin_client().get("/metrics");
        let counted = read(&String::from_utf8(counted.body).expect("text"));
        assert!(counted.len() > 20, "{}", counted.len());
        for Metric { name, kind, help, .. } in counted {
            assert!(tables.contains(&format!("| `{name}` | {kind} | ")) && tables.contains(&help), "{name}");
        }
    }
}

/// The verbs that a help text lists.
fn verbs(help: &str) -> Vec<&str> {
    let list = help.split_once("\nCommands:\n").map(|(_, rest)| rest.split("\n\n").next().unwrap_or(rest));
    let rows = list.into_iter().flat_map(str::lines).filter_map(|line| line.strip_prefix("  "));
    let names = rows.filter(|row| !row.starts_with(' ')).filter_map(|row| row.split(' ').next());
    names.filter(|name| *name != "help").collect()
}

/// The help of a verb and of those below it, each below a heading of its own.
fn describe(verb: &[&str], text: &mut String) {
    let help = printed(&[verb, &["--help"]].concat());
    let name = [&["portcullis"], verb].concat().join(" ");
    writeln!(text, "## {name}\n\n```text\n{}\n```\n", help.trim_end()).expect("text");
    for below in verbs(&help) {
        describe(&[verb, &[below]].concat(), text);
    }
}

fn command_line(_: &Shared) {
    let mut tables = String::new();
    describe(&[], &mut tables);
    assert!(tables.matches("\n## ").count() > 15 && tables.contains("\n## portcullis key new\n"), "{tables}");
    let about = "What `--help` prints, for the gate itself and for each verb.\n";
    Page { file: "command-line.md", title: "Command line", about }.check(&format!("{}\n", tables.trim_end()));
}

fn openapi(shared: &Shared) {
    let document = document(&CATALOG);
    if check("openapi.json", &format!("{document:#}\n")) {
        let served: Value = shared.gate().keyed().get("/openapi.json").json();
        assert_eq!(served, document);
    }
}
