//! An OpenTelemetry collector of the project of that name, which takes spans and log records and writes
//! each kind to a file.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::process::{Command, Stdio};

use local_vault::Guarded;
use serde_json::Value;
use tempfile::TempDir;

use super::collector::{Told, ToldLog};
use crate::process::root;
use crate::{free_port, wait_for};

/// The files of its folder.
const SPANS: &str = "spans.json";
const LOGS: &str = "logs.json";

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
             exporters:\n\
             \x20 file/traces: {{path: {SPANS}, flush_interval: 20ms}}\n\
             \x20 file/logs: {{path: {LOGS}, flush_interval: 20ms}}\n\
             service:\n\
             \x20 telemetry: {{metrics: {{level: none}}}}\n\
             \x20 pipelines:\n\
             \x20   traces: {{receivers: [otlp], exporters: [file/traces]}}\n\
             \x20   logs: {{receivers: [otlp], exporters: [file/logs]}}\n"
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
        let told = self.messages(SPANS).into_iter().flat_map(|message| told(&message));
        told.filter(|span| span.trace == trace).collect()
    }

    /// The log records that it has written, in their order.
    pub fn logs(&self) -> Vec<ToldLog> {
        self.messages(LOGS).into_iter().flat_map(|message| told_logs(&message)).collect()
    }

    fn messages(&self, file: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join(file)).unwrap_or_default();
        // The last line may be written still.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| serde_json::from_str(line).expect("JSON")).collect()
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

fn told_logs(message: &Value) -> Vec<ToldLog> {
    let mut all = Vec::new();
    for of_resource in list(&message["resourceLogs"]) {
        let resource = attributes(&of_resource["resource"]["attributes"]);
        let records = list(&of_resource["scopeLogs"]).iter().flat_map(|scope| list(&scope["logRecords"]));
        all.extend(records.map(|record| one_log(record, resource.clone())));
    }
    all
}

fn one_log(record: &Value, resource: BTreeMap<String, String>) -> ToldLog {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let number = record["severityNumber"].as_i64().and_then(|number| i32::try_from(number).ok());
    ToldLog {
        body: text(&record["body"]["stringValue"]),
        severity: (number.unwrap_or_else(|| panic!("{record}")), text(&record["severityText"])),
        trace: text(&record["traceId"]),
        time: text(&record["timeUnixNano"]).parse().unwrap_or_else(|_| panic!("{record}")),
        attributes: attributes(&record["attributes"]),
        resource,
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
