//! From the notes of a request to its spans, by the semantic conventions. Names of secrets, keys and roles are in
//! none of them.

use std::time::Instant;

use filters::operation::Entry;
use filters::trace::{TraceId, TraceParent};
use http::Version;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, SpanFlags, Status};

use super::recording::{Note, Recording, Step};
use crate::telemetry::sink::Record;

/// A server, by its name and port.
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
    /// True where it is reached by TLS.
    pub(super) secure: bool,
}

/// The spans of a request that has ended: its own and those of its steps.
pub(super) fn of(recording: &Recording, record: &Record<'_>, vault: &Place) -> Vec<Span> {
    let notes = recording.steps();
    let mut spans = Vec::with_capacity(notes.len() + 1);
    spans.push(server(recording, record));
    spans.extend(notes.into_iter().map(|note| step(recording, note, vault)));
    spans
}

/// The span of the request itself (semantic conventions for HTTP, HTTP server span).
fn server(recording: &Recording, record: &Record<'_>) -> Span {
    let method = if record.method == "OTHER" { "_OTHER" } else { record.method };
    let named = if record.method == "OTHER" { "HTTP" } else { record.method };
    let route = if record.route.starts_with('/') { record.route } else { "" };
    let secure = recording.protocol.secure;
    let mut attributes = vec![
        text("http.request.method", method),
        text("url.scheme", if secure { "https" } else { "http" }),
        number("http.response.status_code", record.status.into()),
        text("network.protocol.version", version(recording.protocol.version)),
    ];
    let refused = if record.decision == "allow" { "" } else { record.decision };
    let client = record.client.map(|client| client.to_string()).unwrap_or_default();
    let known = [
        ("http.route", route),
        // The path itself names secrets.
        ("url.path", route),
        ("client.address", &client),
        ("error.type", refused),
        ("portcullis.request_id", record.request_id),
        ("portcullis.correlation_id", record.correlation_id),
        ("portcullis.agent", record.agent),
        ("portcullis.proof", record.proof),
        ("portcullis.operation", record.operation),
        ("portcullis.decision", record.decision),
        ("portcullis.role", record.role),
    ];
    attributes.extend(known.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| text(key, value)));
    let parent = recording.parent();
    let name = if route.is_empty() { named.to_owned() } else { format!("{named} {route}") };
    let begun = begun(recording, recording.began(), SpanKind::Server);
    Span {
        name,
        span_id: recording.id().bytes().to_vec(),
        parent_span_id: parent.map(|(parent, _)| parent.span.bytes().to_vec()).unwrap_or_default(),
        flags: flags(parent.is_some()),
        attributes,
        end_time_unix_nano: recording.nanoseconds(Instant::now()),
        status: failed(record.status >= 500),
        ..begun
    }
}

/// The span of a step.
fn step(recording: &Recording, note: Note, vault: &Place) -> Span {
    let (name, kind, mut attributes, links) = match note.step {
        Step::Handshake => ("handshake".to_owned(), SpanKind::Internal, Vec::new(), Vec::new()),
        Step::Authenticate => ("authenticate".to_owned(), SpanKind::Internal, Vec::new(), Vec::new()),
        Step::Decide => ("decide".to_owned(), SpanKind::Internal, Vec::new(), Vec::new()),
        Step::Token => ("token".to_owned(), SpanKind::Internal, Vec::new(), Vec::new()),
        Step::Kms => ("exchange".to_owned(), SpanKind::Client, vec![text("rpc.system", "aws-api")], Vec::new()),
        Step::Exchange { method, entry } => {
            let attributes = exchange(method, entry, note.status, vault);
            ("exchange".to_owned(), SpanKind::Client, attributes, Vec::new())
        }
        Step::Message { method, tool, revision, parent } => {
            let tool = tool.map(|tool| tool.spec.name);
            let name = tool.map_or_else(|| method.to_owned(), |tool| format!("{method} {tool}"));
            (name, SpanKind::Server, message(method, tool, revision), links(parent, recording.trace_id()))
        }
    };
    let error = match note.status {
        400.. => note.status.to_string(),
        _ => note.refused.to_owned(),
    };
    // What a caller may not have is no error of the gate's.
    let errs = note.status >= 400;
    if !error.is_empty() {
        attributes.push(text("error.type", &error));
    }
    Span {
        name,
        span_id: note.id.bytes().to_vec(),
        parent_span_id: note.parent.bytes().to_vec(),
        flags: flags(false),
        attributes,
        links,
        end_time_unix_nano: recording.nanoseconds(note.to.unwrap_or_else(Instant::now)),
        status: failed(errs),
        ..begun(recording, note.from, kind)
    }
}

/// A span of the recording's trace, as far as it is the same for all.
fn begun(recording: &Recording, at: Instant, kind: SpanKind) -> Span {
    Span {
        trace_id: recording.trace_id().bytes().to_vec(),
        trace_state: recording.parent().map(|(_, state)| state.to_owned()).unwrap_or_default(),
        kind: kind.into(),
        start_time_unix_nano: recording.nanoseconds(at),
        ..Span::default()
    }
}

/// The attributes of a request to Vault (semantic conventions for HTTP, HTTP client span).
fn exchange(method: &'static str, entry: Option<&'static Entry>, status: u16, vault: &Place) -> Vec<KeyValue> {
    let mut attributes = vec![
        text("server.address", &vault.host),
        number("server.port", vault.port.into()),
        text("url.scheme", if vault.secure { "https" } else { "http" }),
    ];
    // Vault's own method.
    if method == "LIST" {
        attributes.extend([text("http.request.method", "_OTHER"), text("http.request.method_original", method)]);
    } else {
        attributes.push(text("http.request.method", method));
    }
    if status > 0 {
        attributes.push(number("http.response.status_code", status.into()));
    }
    let template = entry.and_then(|entry| {
        let mut paths = entry.spec.vault_paths();
        // Of several it is not known which was asked.
        paths.next().filter(|_| paths.next().is_none())
    });
    attributes.extend(template.map(|template| text("url.template", &format!("/v1/{template}"))));
    attributes
}

/// The attributes of a message (semantic conventions for MCP, server span).
fn message(method: &str, tool: Option<&str>, revision: &str) -> Vec<KeyValue> {
    let mut attributes = vec![text("mcp.method.name", method), text("mcp.protocol.version", revision)];
    if let Some(tool) = tool {
        attributes.extend([text("gen_ai.operation.name", "execute_tool"), text("gen_ai.tool.name", tool)]);
    }
    attributes
}

/// A link to the span that a message says it belongs to, where its request is of another trace.
fn links(parent: Option<TraceParent>, trace: TraceId) -> Vec<Link> {
    let other = parent.filter(|parent| parent.trace != trace);
    let link = |parent: TraceParent| Link {
        trace_id: parent.trace.bytes().to_vec(),
        span_id: parent.span.bytes().to_vec(),
        flags: flags(true),
        ..Link::default()
    };
    other.map(link).into_iter().collect()
}

/// The flags of a span that is recorded; its parent is `remote` where another process has it.
const fn flags(remote: bool) -> u32 {
    let known = SpanFlags::ContextHasIsRemoteMask as u32 | 1;
    if remote { known | SpanFlags::ContextIsRemoteMask as u32 } else { known }
}

fn failed(failed: bool) -> Option<Status> {
    failed.then(|| Status { code: StatusCode::Error.into(), ..Status::default() })
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

/// A text as an attribute.
pub(in crate::telemetry) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
