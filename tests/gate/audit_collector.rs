//! The audit on its way to a collector, by OTLP.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::process::AGENTS;
use tests::servers::Otelcol;
use tests::servers::collector::{Collector, ToldLog};
use tests::{Gate, Plan, free_port, wait_for};

use super::configuration::{run, said};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("records_reach_a_collector_once_it_is_there", reached),
    ("records_reach_opentelemetrys_own_collector_whole", real),
    ("where_no_collector_is_named_none_is_asked", named),
];

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const UNSENT: &str = "portcullis_audit_records_total{result=\"unsent\"}";

/// A gate whose audit goes to a file, where it is required, and to a collector at this address.
fn gate(shared: &Shared, endpoint: String) -> Gate {
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20of-traces".to_owned()),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "authorization=Bearer%20of-the-audit".to_owned()),
        ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "gzip".to_owned()),
        ("OTEL_SERVICE_NAME", "gate-7".to_owned()),
    ];
    let audit = "[audit]\nfile = \"audit.log\"\nnames = \"clear\"\nrequired = true\notlp = true\n";
    let sections = format!("{AGENTS}\n{audit}");
    Gate::start(shared.world(), &Plan { sections, environment: environment.to_vec(), ..Plan::default() })
}

/// Waits until the collector has each record of the file, once and in its order.
fn all(logs: impl Fn() -> Vec<ToldLog>, file: &Path) -> Vec<ToldLog> {
    let written = || fs::read_to_string(file).expect("the audit").lines().map(str::to_owned).collect::<Vec<_>>();
    let told = || logs().into_iter().map(|log| log.body).collect::<Vec<_>>();
    wait_for("the collector has every record", 10, || !written().is_empty() && told() == written());
    logs()
}

/// Checks that each log tells of its record what a collector sorts by.
fn check(logs: &[ToldLog]) {
    for log in logs {
        let record: Value = serde_json::from_str(&log.body).expect("a record");
        assert_eq!(log.attributes["log.record.uid"], record["metadata"]["uid"], "{log:?}");
        assert_eq!(Some(log.time / 1_000_000), record["time"].as_u64(), "{log:?}");
        let severity = if record["severity_id"] == 1 { (9, "Informational") } else { (13, "Low") };
        assert_eq!((log.severity.0, log.severity.1.as_str()), severity, "{log:?}");
        assert_eq!(log.trace, record["unmapped"]["trace_id"].as_str().unwrap_or_default(), "{log:?}");
        assert_eq!(log.resource["service.name"], "gate-7");
    }
}

fn real(shared: &Shared) {
    let collector = Otelcol::start();
    let mut gate = gate(shared, collector.endpoint());
    let (client, file) = (gate.keyed(), gate.folder().join("audit.log"));
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-00");
    assert_eq!(client.send("GET", "/secrets/traced", &[("Traceparent", &parent)], b"").status, 404);
    assert_eq!(gate.local().with("X-API-Key", "no-such-key").get("/whoami").status, 401);
    assert_eq!(gate.terminate(), Some(0));
    let logs = all(|| collector.logs(), &file);
    assert!(logs.last().is_some_and(|log| log.body.contains("\"event\":\"stop\"")), "{logs:#?}");
    assert_eq!(logs.iter().filter(|log| log.trace == TRACE).count(), 2, "permitted, and ended: {logs:#?}");
    check(&logs);
}

fn reached(shared: &Shared) {
    let port = free_port();
    let mut gate = gate(shared, format!("http://127.0.0.1:{port}/"));
    let (client, file) = (gate.keyed(), gate.folder().join("audit.log"));
    let ask = || assert_eq!(client.get("/secrets/none").status, 404, "no request waits for a collector");
    let lines = |text: &str| gate.stderr().matches(text).count();
    ask();
    wait_for("it is told that nobody listens", 10, || lines("audit records cannot be sent") == 1);
    (0..20).for_each(|_| ask());
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-00");
    assert_eq!(client.send("GET", "/secrets/traced", &[("Traceparent", &parent)], b"").status, 404);
    assert_eq!(gate.local().with("X-API-Key", "no-such-key").get("/whoami").status, 401);

    let collector = Collector::at(port);
    let logs = all(|| collector.logs(), &file);
    check(&logs);
    assert_eq!(logs.iter().filter(|log| log.severity.0 == 13).count(), 23, "refusals, and a login: {logs:#?}");
    assert_eq!(logs.iter().filter(|log| log.trace == TRACE).count(), 2, "permitted, and ended");
    assert!(logs.iter().filter(|log| log.body.contains("\"api\"")).all(|log| log.trace.len() == 32), "{logs:#?}");
    let bearer = |path: &str, key: &str| {
        let requests = collector.requests();
        let mut to = requests.iter().filter(|(head, _)| head.starts_with(path)).peekable();
        to.peek().is_some() && to.all(|(head, _)| head.contains(&format!("\r\nauthorization: bearer {key}\r\n")))
    };
    assert!(bearer("post /v1/logs ", "of-the-audit"));
    wait_for("spans are there too", 10, || bearer("post /v1/traces ", "of-traces"));
    wait_for("the end of it is told", 10, || lines("audit records are sent again") == 1);

    // One that cannot take them now is asked again; what one never takes is counted.
    collector.answer(503);
    ask();
    wait_for("it is told", 10, || lines("audit records cannot be sent") == 2);
    let asked = || collector.requests().iter().filter(|(head, _)| head.starts_with("post /v1/logs ")).count();
    let before = asked();
    wait_for("it is asked again", 10, || asked() > before + 2);
    assert_eq!(lines("audit records cannot be sent"), 2, "each time once");
    collector.answer(0);
    all(|| collector.logs(), &file);
    assert_eq!(gate.metric(UNSENT), 0.0);
    collector.answer(400);
    ask();
    wait_for("they are counted", 10, || gate.metric(UNSENT) == 2.0);
    collector.answer(0);
    ask();
    assert_eq!(gate.terminate(), Some(0));
    let written = fs::read_to_string(&file).expect("the audit").lines().count();
    let told = collector.logs();
    assert_eq!(told.len() + 2, written, "what waits at the end is sent");
    assert!(told.last().is_some_and(|log| log.body.contains("\"event\":\"stop\"")), "{told:#?}");
}

fn named(_: &Shared) {
    let folder = tempfile::tempdir().expect("a folder");
    let audit = "plain = true\n[audit]\notlp = true\nnames = \"clear\"\n";
    fs::write(folder.path().join("config.toml"), audit).expect("a file");
    let check = |environment: &[(&str, &str)]| said(&run(folder.path(), &["check"], environment));
    let (code, told) = check(&[]);
    assert!(code == Some(2) && told.contains("`audit.otlp` needs a collector"), "{told}");
    let own = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://localhost:4318/v1/logs");
    assert_eq!(check(&[own]).0, Some(0));
    let (code, told) = check(&[own, ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc")]);
    assert!(code == Some(2) && told.contains("a protocol that the gate does not speak"), "{told}");
    let (code, told) = check(&[own, ("OTEL_SDK_DISABLED", "true")]);
    assert!(code == Some(0) && told.contains("`audit.otlp` sends nothing"), "{told}");
}
