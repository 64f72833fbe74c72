//! A receiver of OTLP over HTTP, which keeps what it is sent; it runs until the tests end.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// A collector.
pub struct Collector {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    spans: Mutex<Vec<Told>>,
    logs: Mutex<Vec<ToldLog>>,
    /// Heads of requests, and what was in their bodies.
    requests: Mutex<Vec<(String, Vec<u8>)>>,
    /// The status of every answer; 0 for 200.
    status: Mutex<u16>,
}

/// A span, as it was told.
#[derive(Clone, Debug)]
pub struct Told {
    pub name: String,
    pub trace: String,
    pub id: String,
    /// Empty for none.
    pub parent: String,
    pub kind: i32,
    pub failed: bool,
    pub state: String,
    pub attributes: BTreeMap<String, String>,
    /// Of the gate.
    pub resource: BTreeMap<String, String>,
    /// The traces that it is linked to.
    pub links: Vec<String>,
    /// Beginning and end, in nanoseconds since the epoch.
    pub time: (u64, u64),
}

/// A log record, as it was told.
#[derive(Clone, Debug)]
pub struct ToldLog {
    pub body: String,
    /// Number and text.
    pub severity: (i32, String),
    /// Empty for none.
    pub trace: String,
    /// Nanoseconds since the epoch.
    pub time: u64,
    pub attributes: BTreeMap<String, String>,
    /// Of the gate.
    pub resource: BTreeMap<String, String>,
}

impl Collector {
    /// Starts one.
    pub fn start() -> Self {
        Self::at(0)
    }

    /// Starts one at this port.
    pub fn at(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a port");
        let (address, shared) = (listener.local_addr().expect("an address"), Arc::new(Shared::default()));
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&theirs);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, shared }
    }

    /// Its base URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on every answer has this status.
    pub fn answer(&self, status: u16) {
        *self.shared.status.lock().expect("a status") = status;
    }

    /// The spans of a trace, or all.
    pub fn spans(&self, trace: &str) -> Vec<Told> {
        let spans = self.shared.spans.lock().expect("spans");
        spans.iter().filter(|span| trace.is_empty() || span.trace == trace).cloned().collect()
    }

    /// All log records.
    pub fn logs(&self) -> Vec<ToldLog> {
        self.shared.logs.lock().expect("logs").clone()
    }

    /// The heads of requests, and what was in their bodies.
    pub fn requests(&self) -> Vec<(String, Vec<u8>)> {
        self.shared.requests.lock().expect("requests").clone()
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).map_err(io::Error::other)?.to_lowercase();
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let mut body = vec![0; header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)];
        stream.read_exact(&mut body)?;
        if header("content-encoding") == Some("gzip") {
            let mut plain = Vec::new();
            GzDecoder::new(&body[..]).read_to_end(&mut plain)?;
            body = plain;
        }
        let traces = head.starts_with("post /v1/traces ");
        let status = match *shared.status.lock().expect("a status") {
            0 if !(traces || head.starts_with("post /v1/logs ")) => 404,
            0 if header("content-type") != Some("application/x-protobuf") => 415,
            0 => 200,
            status => status,
        };
        if status == 200 && traces {
            let request = ExportTraceServiceRequest::decode(&body[..]).map_err(io::Error::other)?;
            shared.spans.lock().expect("spans").extend(told(request));
        } else if status == 200 {
            let request = ExportLogsServiceRequest::decode(&body[..]).map_err(io::Error::other)?;
            shared.logs.lock().expect("logs").extend(told_logs(request));
        }
        shared.requests.lock().expect("requests").push((head, body));
        write!(stream, "HTTP/1.1 {status} S\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")?;
    }
}

fn told(request: ExportTraceServiceRequest) -> Vec<Told> {
    let mut all = Vec::new();
    for of_resource in request.resource_spans {
        let resource = attributes(of_resource.resource.map(|resource| resource.attributes).unwrap_or_default());
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            all.push(one(span, &resource));
        }
    }
    all
}

fn one(span: Span, resource: &BTreeMap<String, String>) -> Told {
    assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8), "{span:?}");
    assert!(span.end_time_unix_nano >= span.start_time_unix_nano && span.kind != 0, "{span:?}");
    Told {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        kind: span.kind,
        failed: span.status.is_some_and(|status| status.code == 2),
        state: span.trace_state,
        attributes: attributes(span.attributes),
        resource: resource.clone(),
        links: span.links.iter().map(|link| hex(&link.trace_id)).collect(),
        time: (span.start_time_unix_nano, span.end_time_unix_nano),
        name: span.name,
    }
}

fn told_logs(request: ExportLogsServiceRequest) -> Vec<ToldLog> {
    let mut all = Vec::new();
    for of_resource in request.resource_logs {
        let resource = attributes(of_resource.resource.map(|resource| resource.attributes).unwrap_or_default());
        let records = of_resource.scope_logs.into_iter().flat_map(|scope| scope.log_records);
        all.extend(records.map(|record| one_log(record, &resource)));
    }
    all
}

fn one_log(record: LogRecord, resource: &BTreeMap<String, String>) -> ToldLog {
    assert!([0, 16].contains(&record.trace_id.len()) && record.observed_time_unix_nano > 0, "{record:?}");
    let Some(Value::StringValue(body)) = record.body.and_then(|body| body.value) else { panic!("no text") };
    ToldLog {
        body,
        severity: (record.severity_number, record.severity_text),
        trace: hex(&record.trace_id),
        time: record.time_unix_nano,
        attributes: attributes(record.attributes),
        resource: resource.clone(),
    }
}

fn attributes(list: Vec<KeyValue>) -> BTreeMap<String, String> {
    let count = list.len();
    let value = |value: Value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let read = |pair: KeyValue| (pair.key, value(pair.value.and_then(|any| any.value).expect("a value")));
    let read: BTreeMap<_, _> = list.into_iter().map(read).collect();
    assert_eq!(read.len(), count, "an attribute stands twice: {read:?}");
    read
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
