//! An OpenTelemetry collector of the project of that name, which takes spans and writes them to a file.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::process::{Command, Stdio};

use local_vault::Guarded;
use serde_json::Value;
use tempfile::TempDir;

use super::collector::Told;
use crate::process::root;
use crate::{free_port, wait_for};

/// A collector; ended when dropped.
pub struct Otelcol {
    port: u16,
    folder: TempDir,
    _process: Guarded,
}

impl Otelcol {
    /// Starts one, and waits until it listens.
    pub fn start() -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().expect("a folder"));
        let configuration = format!(
            "receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{port}'}}}}}}}}\n\
             exporters: {{file: {{path: spans.json, flush_interval: 20ms}}}}\n\
             service: {{telemetry: {{metrics: {{level: none}}}}, pipelines: {{traces: {{receivers: [otlp], exporters: [file]}}}}}}\n"
        );
        std::fs::write(folder.path().join("config.yaml"), configuration).expect("a file");
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        let program = root().join("target/otelcol/otelcol");
        assert!(program.is_file(), "there is no collector; `make servers` builds it");
        let mut command = Command::new(program);
        command.args(["--config", "config.yaml"]).current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        let process = Guarded::spawn(&mut command, Some(folder.path())).expect("a collector");
        wait_for("the collector listens", 30, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { port, folder, _process: process }
    }

    /// Its base URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The spans of a trace that it has written, in the JSON of OTLP.
    pub fn spans(&self, trace: &str) -> Vec<Told> {
        let text = std::fs::read_to_string(self.folder.path().join("spans.json")).unwrap_or_default();
        // The last line may be written still.
        let messages = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let told = messages.flat_map(|line| told(&serde_json::from_str(line).expect("JSON")));
        told.filter(|span| span.trace == trace).collect()
    }
}

fn told(message: &Value) -> Vec<Told> {
    let mut all = Vec::new();
    for of_resource in list(&message["resourceSpans"]) {
        let resource = attributes(&of_resource["resource"]["attributes"]);
        for span in list(&of_resource["scopeSpans"]).iter().flat_map(|scope| list(&scope["spans"])) {
            all.push(one(span, resource.clone()));
        }
    }
    all
}

fn one(span: &Value, resource: BTreeMap<String, String>) -> Told {
    let text = |name: &str| span[name].as_str().unwrap_or_default().to_owned();
    let time = |name: &str| text(name).parse().unwrap_or_else(|_| panic!("{name} of {span}"));
    Told {
        name: text("name"),
        trace: text("traceId"),
        id: text("spanId"),
        parent: text("parentSpanId"),
        kind: span["kind"].as_i64().and_then(|kind| i32::try_from(kind).ok()).expect("a kind"),
        failed: span["status"]["code"] == 2,
        state: text("traceState"),
        attributes: attributes(&span["attributes"]),
        resource,
        links: list(&span["links"]).iter().map(|link| link["traceId"].as_str().expect("an id").to_owned()).collect(),
        time: (time("startTimeUnixNano"), time("endTimeUnixNano")),
    }
}

fn attributes(pairs: &Value) -> BTreeMap<String, String> {
    let value = |value: &Value| match (value["stringValue"].as_str(), value["intValue"].as_str()) {
        (Some(text), _) | (None, Some(text)) => text.to_owned(),
        (None, None) => panic!("{value}"),
    };
    let read = |pair: &Value| (pair["key"].as_str().expect("a key").to_owned(), value(&pair["value"]));
    list(pairs).iter().map(read).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
