//! From the notes of a request that has ended to its spans, by the semantic conventions. Names of secrets, keys and
//! roles are in none of them.

use std::iter::once;
use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use filters::operation::Entry;
use filters::trace::{SpanId, TraceId, TraceParent};
use http::{Uri, Version};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, SpanFlags, Status};

use super::recording::{Inbound, Note, Recording, Step, Steps, Trace};
use crate::config::Listener;
use crate::telemetry::sink::Record;

/// A server, by its name and port.
pub(super) struct Place {
    /// A name or an address; one of IPv6 without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// True where it is reached by TLS.
    pub(super) secure: bool,
}

impl Place {
    /// The place where a listener listens; `None` for all addresses.
    pub(super) fn of_listener(listener: &Listener) -> Option<Self> {
        let (address, port) = (listener.address.ip(), listener.address.port());
        let one = Some(address).filter(|address| !address.is_unspecified());
        one.map(|address| Self { host: address.to_string(), port, secure: listener.tls.is_some() })
    }

    /// The place that a URL names.
    pub(super) fn of_url(url: &str) -> Option<Self> {
        let url: Uri = url.parse().ok()?;
        let secure = url.scheme_str()? == "https";
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Some(Self { host: url.host()?.trim_matches(['[', ']']).to_owned(), port, secure })
    }

    fn attributes(&self) -> [KeyValue; 2] {
        [text("server.address", &self.host), number("server.port", self.port.into())]
    }

    /// The URL of a path there.
    fn url(&self, path: &str) -> String {
        let Self { host, port, secure } = self;
        let (scheme, host) = (scheme(*secure), if host.contains(':') { format!("[{host}]") } else { host.clone() });
        format!("{scheme}://{host}:{port}{path}")
    }
}

/// The servers that spans name.
pub(super) struct Places {
    pub(super) vault: Place,
    /// The listeners, in the order of the configuration; `None` for one that listens on all addresses.
    pub(super) listeners: Vec<Option<Place>>,
}

/// A request that has ended, with all that its spans are made of later, in the thread that sends them.
pub(super) struct Ended {
    trace: Trace,
    id: SpanId,
    inbound: Inbound,
    steps: Steps,
    /// The same moment by both clocks.
    now: (SystemTime, Instant),
    /// The address by which callers reach the gate, where that is told.
    public_url: Option<Box<str>>,
    client: Option<IpAddr>,
    method: &'static str,
    route: &'static str,
    status: u16,
    proof: &'static str,
    operation: &'static str,
    decision: &'static str,
    request_id: Box<str>,
    correlation_id: Box<str>,
    agent: Box<str>,
    role: Box<str>,
}

impl Ended {
    pub(super) fn of(recording: &Recording, record: &Record<'_>, public_url: Option<&str>) -> Self {
        Self {
            trace: recording.trace().clone(),
            id: recording.id(),
            inbound: recording.inbound,
            steps: recording.steps(),
            now: (SystemTime::now(), Instant::now()),
            public_url: public_url.map(Into::into),
            client: record.client,
            method: record.method,
            route: record.route,
            status: record.status,
            proof: record.proof,
            operation: record.operation,
            decision: record.decision,
            request_id: record.request_id.into(),
            correlation_id: record.correlation_id.into(),
            agent: record.agent.into(),
            role: record.role.into(),
        }
    }

    /// The number of its spans.
    pub(super) fn count(&self) -> usize {
        self.steps.len() + 1
    }

    /// Its spans: its own and those of its steps.
    pub(super) fn spans(mut self, places: &Places) -> impl Iterator<Item = Span> {
        let steps = std::mem::take(&mut self.steps);
        let own = self.server(places);
        once(own).chain(steps.into_iter().map(move |note| self.step(note, &places.vault)))
    }

    /// The span of the request itself (semantic conventions for HTTP, HTTP server span).
    fn server(&self, places: &Places) -> Span {
        let method = if self.method == "OTHER" { "_OTHER" } else { self.method };
        let named = if self.method == "OTHER" { "HTTP" } else { self.method };
        let route = if self.route.starts_with('/') { self.route } else { "" };
        let inbound = self.inbound;
        let public = self.public_url.as_deref().and_then(Place::of_url);
        let server = public.as_ref().or_else(|| places.listeners.get(inbound.listener)?.as_ref());
        let mut attributes = vec![
            text("http.request.method", method),
            text("url.scheme", scheme(inbound.secure)),
            number("http.response.status_code", self.status.into()),
            text("network.protocol.version", version(inbound.version)),
        ];
        let refused = if self.decision == "allow" { "" } else { self.decision };
        let client = self.client.map(|client| client.to_string()).unwrap_or_default();
        let known = [
            ("http.route", route),
            // The path itself names secrets.
            ("url.path", route),
            ("client.address", &client),
            ("error.type", refused),
            ("portcullis.request_id", &*self.request_id),
            ("portcullis.correlation_id", &self.correlation_id),
            ("portcullis.agent", &self.agent),
            ("portcullis.proof", self.proof),
            ("portcullis.operation", self.operation),
            ("portcullis.decision", self.decision),
            ("portcullis.role", &self.role),
        ];
        attributes
            .extend(known.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| text(key, value)));
        attributes.extend(server.into_iter().flat_map(Place::attributes));
        Span {
            name: if route.is_empty() { named.to_owned() } else { format!("{named} {route}") },
            span_id: self.id.bytes().to_vec(),
            parent_span_id: self.trace.parent.map(|parent| parent.bytes().to_vec()).unwrap_or_default(),
            flags: flags(self.trace.parent.is_some()),
            attributes,
            status: failed(self.status >= 500),
            ..self.span(SpanKind::Server, inbound.began, None)
        }
    }

    /// The span of a step.
    fn step(&self, note: Note, vault: &Place) -> Span {
        let own = |name: &str| (name.to_owned(), SpanKind::Internal, Vec::new());
        let (name, kind, mut attributes) = match note.step {
            Step::Handshake => own("handshake"),
            Step::Authenticate => own("authenticate"),
            Step::Decide => own("decide"),
            Step::Token => own("token"),
            Step::Kms => ("exchange".to_owned(), SpanKind::Client, vec![text("rpc.system", "aws-api")]),
            Step::Exchange { method, entry } => {
                ("exchange".to_owned(), SpanKind::Client, exchange(method, entry, note.status, vault))
            }
            Step::Message { method, tool, revision, .. } => {
                let tool = tool.map(|tool| tool.spec.name);
                let name = tool.map_or_else(|| method.to_owned(), |tool| format!("{method} {tool}"));
                (name, SpanKind::Server, message(method, tool, revision, self.inbound.version))
            }
        };
        let error = match note.status {
            400.. => note.status.to_string(),
            _ => note.refused.to_owned(),
        };
        // In a step of the gate's own a refusal is no error: it is what the step is for.
        let errs = kind != SpanKind::Internal && !error.is_empty();
        if !error.is_empty() {
            attributes.push(text("error.type", &error));
        }
        let caller = if let Step::Message { parent, .. } = note.step { parent } else { None };
        let (parent, links) = self.place(note.parent, caller);
        Span {
            name,
            span_id: note.id.bytes().to_vec(),
            parent_span_id: parent.bytes().to_vec(),
            flags: flags(parent != note.parent),
            attributes,
            links,
            status: failed(errs),
            ..self.span(kind, note.from, note.to)
        }
    }

    /// The parent of a step's span, and what that is linked to. A message belongs to its caller's span, and is linked
    /// to that of its request; a span of another trace it is only linked to, since a request is recorded in one.
    fn place(&self, own: SpanId, caller: Option<TraceParent>) -> (SpanId, Vec<Link>) {
        match caller {
            None => (own, Vec::new()),
            Some(caller) if caller.trace == self.trace.id => (caller.span, vec![link(caller.trace, own, false)]),
            Some(caller) => (own, vec![link(caller.trace, caller.span, true)]),
        }
    }

    /// A span of the trace, as far as it is the same for all.
    fn span(&self, kind: SpanKind, from: Instant, to: Option<Instant>) -> Span {
        Span {
            trace_id: self.trace.id.bytes().to_vec(),
            trace_state: self.trace.state.to_string(),
            kind: kind.into(),
            start_time_unix_nano: self.nanoseconds(from),
            end_time_unix_nano: self.nanoseconds(to.unwrap_or(self.now.1)),
            ..Span::default()
        }
    }

    /// A moment that is over by the wall clock, in nanoseconds since the epoch.
    fn nanoseconds(&self, at: Instant) -> u64 {
        let (wall, now) = self.now;
        let wall = wall.checked_sub(now.saturating_duration_since(at));
        let since = wall.and_then(|wall| wall.duration_since(SystemTime::UNIX_EPOCH).ok()).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The attributes of a request to Vault (semantic conventions for HTTP, HTTP client span).
fn exchange(method: &'static str, entry: Option<&'static Entry>, status: u16, vault: &Place) -> Vec<KeyValue> {
    let template = entry.and_then(|entry| {
        let mut paths = entry.spec.vault_paths();
        // Of several it is not known which was asked.
        paths.next().filter(|_| paths.next().is_none())
    });
    let path = format!("/v1/{}", template.as_deref().unwrap_or("…"));
    let mut attributes = Vec::from(vault.attributes());
    // The URL itself names secrets.
    attributes.extend([text("url.full", &vault.url(&path)), text("url.scheme", scheme(vault.secure))]);
    attributes.extend(template.map(|_| text("url.template", &path)));
    // Vault's own method.
    if method == "LIST" {
        attributes.extend([text("http.request.method", "_OTHER"), text("http.request.method_original", method)]);
    } else {
        attributes.push(text("http.request.method", method));
    }
    if status > 0 {
        attributes.push(number("http.response.status_code", status.into()));
    }
    attributes
}

/// The attributes of a message (semantic conventions for MCP, server span).
fn message(method: &str, tool: Option<&str>, revision: &str, by: Version) -> Vec<KeyValue> {
    let mut attributes = vec![
        text("mcp.method.name", method),
        text("mcp.protocol.version", revision),
        text("network.transport", "tcp"),
        text("network.protocol.name", "http"),
        text("network.protocol.version", version(by)),
    ];
    if let Some(tool) = tool {
        attributes.extend([text("gen_ai.operation.name", "execute_tool"), text("gen_ai.tool.name", tool)]);
    }
    attributes
}

/// A link to a span, which is `remote` where another process has it.
fn link(trace: TraceId, span: SpanId, remote: bool) -> Link {
    Link { trace_id: trace.bytes().to_vec(), span_id: span.bytes().to_vec(), flags: flags(remote), ..Link::default() }
}

/// The flags of a span that is recorded; its parent is `remote` where another process has it.
const fn flags(remote: bool) -> u32 {
    let known = SpanFlags::ContextHasIsRemoteMask as u32 | 1;
    if remote { known | SpanFlags::ContextIsRemoteMask as u32 } else { known }
}

fn failed(failed: bool) -> Option<Status> {
    failed.then(|| Status { code: StatusCode::Error.into(), ..Status::default() })
}

const fn scheme(secure: bool) -> &'static str {
    if secure { "https" } else { "http" }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_host_and_port() {
        for (url, host, port, again) in [
            ("https://gate.example", "gate.example", 443, "https://gate.example:443/v1"),
            ("http://gate.example:8080", "gate.example", 8080, "http://gate.example:8080/v1"),
            ("https://[2001:db8::1]:8443", "2001:db8::1", 8443, "https://[2001:db8::1]:8443/v1"),
        ] {
            let place = Place::of_url(url).unwrap();
            assert_eq!((place.host.as_str(), place.port, place.url("/v1").as_str()), (host, port, again));
        }
        let listens = |address: &str| {
            let address = address.parse().unwrap();
            Place::of_listener(&Listener { address, tls: None, metrics: false, vault_api: true, proxy_protocol: false })
        };
        assert_eq!(listens("[::1]:8443").map(|place| place.url("/")).as_deref(), Some("http://[::1]:8443/"));
        assert!(listens("0.0.0.0:8443").is_none() && listens("[::]:8443").is_none(), "all addresses");
    }
}
