//! Traces: spans of requests at a receiver that speaks OTLP, their parents from callers and to Vault.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tests::front::Verdict;
use tests::mcp::{STATELESS, meta, request};
use tests::process::AGENTS;
use tests::servers::Otelcol;
use tests::servers::collector::{Collector, Told};
use tests::{Client, Front, Gate, Plan, Response, free_port, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("a_trace_is_named_to_its_caller_also_where_none_is_recorded", off),
    ("a_request_is_a_tree_of_spans_up_to_vault", tree),
    ("an_exchange_without_an_answer_has_failed", unanswered),
    ("messages_are_spans_of_their_own", messages),
    ("an_opentelemetry_collector_takes_what_is_sent", real),
    ("a_trace_goes_from_process_to_process_only_by_its_propagator", propagators),
    ("callers_decide_only_where_the_sampler_lets_them", samplers),
    ("a_collector_that_is_away_is_in_nobodys_way", away),
];

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const OTHER: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "00f067aa0ba902b7";

fn parent(trace: &str, flags: &str) -> String {
    format!("00-{trace}-{SPAN}-{flags}")
}

/// A gate that sends its spans to this collector, soon.
fn plan(endpoint: String, more: &[(&'static str, String)]) -> Plan {
    let own = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned())];
    Plan { environment: own.into_iter().chain(more.iter().cloned()).collect(), ..Plan::default() }
}

/// The spans of a trace, once there are as many.
fn spans(collector: &Collector, trace: &str, count: usize) -> Vec<Told> {
    arrived(count, || collector.spans(trace))
}

fn arrived(count: usize, so_far: impl Fn() -> Vec<Told>) -> Vec<Told> {
    wait_for("the spans", 10, || so_far().len() >= count);
    let spans = so_far();
    assert_eq!(spans.len(), count, "{spans:#?}");
    spans
}

/// A call of `kv.list`, whose `_meta` has `own` beside what it must have.
fn call(client: &Client, headers: &[(&str, &str)], own: &[(&str, &str)]) -> Response {
    let mut message = request("tools/call", &json!({"name": "kv_list", "arguments": {}, "_meta": meta()}));
    for (name, value) in own {
        message["params"]["_meta"][*name] = json!(value);
    }
    let known = [("MCP-Protocol-Version", STATELESS), ("Mcp-Method", "tools/call"), ("Mcp-Name", "kv_list")];
    client.mcp_with(&[headers, &known].concat(), &message)
}

fn facts(span: &Told, wanted: &[(&str, &str)]) {
    for (name, value) in wanted {
        assert_eq!(span.attributes.get(*name).map(String::as_str), Some(*value), "{name} of {span:#?}");
    }
}

/// The head that Vault was asked with as a part of a trace; it holds `lines`.
fn asked_with(heads: &Mutex<Vec<String>>, trace: &str, lines: &[String]) {
    let heads = heads.lock().expect("heads");
    let of_trace = |head: &&String| head.contains(&format!("traceparent: 00-{trace}-"));
    let head = heads.iter().find(of_trace).unwrap_or_else(|| panic!("{trace} in {heads:?}"));
    for line in lines {
        assert!(head.lines().any(|other| other.trim_end() == line), "{line}: {head}");
    }
    assert!(!head.contains("baggage"), "{head}");
}

fn named<'s>(spans: &'s [Told], name: &str) -> &'s Told {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}

/// The heads of requests that Vault was asked with.
fn heads(front: &Front) -> Arc<Mutex<Vec<String>>> {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&heads);
    front.rule(move |head| {
        theirs.lock().expect("heads").push(head.to_lowercase());
        Verdict::Pass
    });
    heads
}

fn off(shared: &Shared) {
    let client = shared.gate().keyed();
    assert_eq!(client.get("/whoami").header("x-trace-id"), None);
    let own = [("Traceparent", &*parent(TRACE, "01")), ("X-Correlation-Id", "mine")];
    let response = client.send("GET", "/whoami", &own, b"");
    assert_eq!((response.header("x-trace-id"), response.header("x-correlation-id")), (Some(TRACE), Some("mine")));
    // One that stands twice is none.
    let twice = [parent(TRACE, "01"), parent(OTHER, "01")].map(|value| ("Traceparent", value));
    let twice = twice.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(client.send("GET", "/whoami", &twice, b"").header("x-trace-id"), None);
    let mut message = request("tools/call", &json!({"name": "whoami", "_meta": meta()}));
    message["params"]["_meta"]["traceparent"] = json!(parent(TRACE, "01"));
    let own = [("MCP-Protocol-Version", STATELESS), ("Mcp-Method", "tools/call"), ("Mcp-Name", "whoami")];
    assert_eq!(client.mcp_with(&own, &message).header("x-trace-id"), Some(TRACE));
}

fn tree(shared: &Shared) {
    let (collector, front) = (Collector::start(), Front::start(shared.world()));
    let attributes = "deployment.environment.name=test%20bed,service.name=other".to_owned();
    let more = [
        ("VAULT_ADDR", front.address.clone()),
        ("OTEL_SERVICE_NAME", "gate-7".to_owned()),
        ("OTEL_RESOURCE_ATTRIBUTES", attributes),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20a-key-of-the-collector".to_owned()),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip".to_owned()),
    ];
    let gate = Gate::start(shared.world(), &plan(collector.endpoint(), &more));
    let heads = heads(&front);
    let client = gate.agent("agent_mtls");
    assert_eq!(client.put("/secrets/traced", &json!({"data": {"a": "hidden"}})).status, 200);
    let response = client.get("/secrets/traced");
    let trace = response.header("x-trace-id").expect("an id");
    let spans = spans(&collector, trace, 6);
    let server = named(&spans, "GET /secrets/{path}");
    assert_eq!((server.parent.as_str(), server.kind, server.failed), ("", 2, false));
    let id = response.header("x-request-id").expect("an id");
    facts(
        server,
        &[
            ("http.request.method", "GET"),
            ("http.route", "/secrets/{path}"),
            ("url.path", "/secrets/{path}"),
            ("url.scheme", "https"),
            ("http.response.status_code", "200"),
            ("network.protocol.version", "1.1"),
            ("client.address", "127.0.0.1"),
            ("server.address", "127.0.0.1"),
            ("server.port", &gate.tls.to_string()),
            ("portcullis.request_id", id),
            ("portcullis.agent", "agent_mtls"),
            ("portcullis.operation", "kv.read"),
            ("portcullis.decision", "allow"),
        ],
    );
    let own = [("service.name", "gate-7"), ("deployment.environment.name", "test bed")];
    assert!(own.iter().all(|(name, value)| server.resource[*name] == *value), "{server:#?}");
    assert!(server.resource.contains_key("service.instance.id"), "{server:#?}");
    for name in ["handshake", "authenticate", "decide", "token", "exchange"] {
        assert_eq!(named(&spans, name).parent, server.id, "{name}");
    }
    let (shook, asked) = (named(&spans, "handshake"), named(&spans, "exchange"));
    assert!(shook.time.1 <= server.time.0, "before the request: {spans:#?}");
    assert!(asked.time.0 >= named(&spans, "decide").time.1 && asked.time.1 <= server.time.1, "{spans:#?}");
    let vault = front.address.trim_start_matches("http://127.0.0.1:");
    facts(
        asked,
        &[
            ("http.request.method", "GET"),
            ("url.template", "/v1/{kv}/data/{prefix}/{agent}/…"),
            ("server.address", "127.0.0.1"),
            ("server.port", vault),
            ("url.full", &format!("{}/v1/{{kv}}/data/{{prefix}}/{{agent}}/…", front.address)),
            ("http.response.status_code", "200"),
        ],
    );
    // Vault is asked as a part of it, with nothing else of the caller's.
    let more = [("Traceparent", &*parent(TRACE, "01")), ("Tracestate", "a=1,b=2"), ("Baggage", "who=me")];
    assert_eq!(client.send("GET", "/secrets/traced", &more, b"").header("x-trace-id"), Some(TRACE));
    let spans = self::spans(&collector, TRACE, 6);
    let (server, asked) = (named(&spans, "GET /secrets/{path}"), named(&spans, "exchange"));
    assert_eq!((server.parent.as_str(), server.state.as_str()), (SPAN, "a=1,b=2"));
    asked_with(&heads, TRACE, &[format!("traceparent: 00-{TRACE}-{}-01", asked.id), "tracestate: a=1,b=2".to_owned()]);
    // What is refused and what fails are told apart.
    let refused = client.get("/secrets/missing");
    let spans = self::spans(&collector, refused.header("x-trace-id").expect("an id"), 6);
    let (server, asked) = (named(&spans, "GET /secrets/{path}"), named(&spans, "exchange"));
    facts(server, &[("http.response.status_code", "404"), ("error.type", "not_found")]);
    facts(asked, &[("http.response.status_code", "404"), ("error.type", "404")]);
    assert!(!server.failed && asked.failed, "{spans:#?}");
    let refused = gate.local().get("/whoami");
    let spans = self::spans(&collector, refused.header("x-trace-id").expect("an id"), 2);
    facts(named(&spans, "authenticate"), &[("error.type", "unauthenticated")]);
    facts(named(&spans, "GET /whoami"), &[("url.scheme", "http")]);
    let watched = gate.local().get("/healthz");
    assert_eq!((watched.status, watched.header("x-trace-id")), (200, None));
    assert!(collector.spans("").iter().all(|span| !span.name.contains("healthz")), "nobody asked for that");
    // No secret's name is in any of it, and the collector's key in nothing else.
    let requests = collector.requests();
    assert!(requests.iter().all(|(head, _)| head.contains("\r\nauthorization: bearer a-key-of-the-collector\r\n")));
    let holds = |body: &[u8], text: &str| body.windows(text.len()).any(|part| part == text.as_bytes());
    for text in ["secrets/traced", "hidden", "missing", "portcullis/agent_mtls"] {
        assert!(requests.iter().all(|(_, body)| !holds(body, text)), "{text}");
    }
    let told = [gate.stderr(), gate.log(), gate.log_file("server.log"), gate.log_file("responses.log")].concat();
    assert!(!told.contains("a-key-of-the-collector"), "{told}");
    assert!(gate.metric("portcullis_spans_total{result=\"sent\"}") >= 20.0);
    assert!(gate.metric("portcullis_spans_total{result=\"lost\"}") < 1.0);
}

fn unanswered(shared: &Shared) {
    let (collector, front) = (Collector::start(), Front::start(shared.world()));
    let own = [("VAULT_ADDR", front.address.clone()), ("PUBLIC_URL", "https://gate.example".to_owned())];
    let gate = Gate::start(shared.world(), &plan(collector.endpoint(), &own));
    let client = gate.keyed();
    // It has its token.
    assert_eq!(client.get("/secrets").status, 200);
    front.rule(|_| Verdict::Answer(b"nonsense".to_vec()));
    let response = client.get("/secrets");
    assert_eq!(response.status, 503, "{response:?}");
    let trace = response.header("x-trace-id").expect("an id");
    wait_for("the spans", 10, || collector.spans(trace).iter().any(|span| span.name == "GET /secrets"));
    let spans = collector.spans(trace);
    let (server, asked) = (named(&spans, "GET /secrets"), named(&spans, "exchange"));
    let error = ("error.type", "upstream_unavailable");
    facts(server, &[error, ("server.address", "gate.example"), ("server.port", "443")]);
    facts(asked, &[error]);
    assert!(server.failed && asked.failed && !asked.attributes.contains_key("http.response.status_code"), "{asked:#?}");
    assert!(!named(&spans, "decide").failed);
}

fn messages(shared: &Shared) {
    let (collector, front) = (Collector::start(), Front::start(shared.world()));
    let gate = Gate::start(shared.world(), &plan(collector.endpoint(), &[("VAULT_ADDR", front.address.clone())]));
    let (client, heads) = (gate.keyed(), heads(&front));
    let of = |trace: &str| [("traceparent", parent(trace, "01")), ("tracestate", "a=\\,b=2".to_owned())];
    let ask = |headers: &[(&str, &str)], own: &[(&str, String)]| {
        let own: Vec<_> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
        call(&client, headers, &own).header("x-trace-id").expect("an id").to_owned()
    };
    // The body's trace, where the head names none.
    assert_eq!(ask(&[], &of(TRACE)), TRACE);
    let spans = self::spans(&collector, TRACE, 6);
    let (server, message) = (named(&spans, "POST /mcp"), named(&spans, "tools/call kv.list"));
    assert_eq!((server.parent.as_str(), message.parent.as_str(), message.kind), (SPAN, SPAN, 2));
    assert_eq!((message.links.as_slice(), message.failed), (&[TRACE.to_owned()][..], false), "to the request's span");
    facts(
        message,
        &[
            ("mcp.method.name", "tools/call"),
            ("mcp.protocol.version", STATELESS),
            ("gen_ai.tool.name", "kv.list"),
            ("gen_ai.operation.name", "execute_tool"),
            ("network.transport", "tcp"),
            ("network.protocol.version", "1.1"),
        ],
    );
    assert_eq!(named(&spans, "authenticate").parent, server.id);
    for name in ["decide", "token", "exchange"] {
        assert_eq!(named(&spans, name).parent, message.id, "{name}");
    }
    let asked = named(&spans, "exchange");
    assert_eq!(asked.attributes["http.request.method_original"], "LIST");
    asked_with(&heads, TRACE, &[format!("traceparent: 00-{TRACE}-{}-01", asked.id), "tracestate: a=\\,b=2".to_owned()]);
    // The head's goes first; the message is linked to its own.
    assert_eq!(ask(&[("Traceparent", &parent(OTHER, "01"))], &of(TRACE)), OTHER);
    let spans = self::spans(&collector, OTHER, 6);
    let (server, message) = (named(&spans, "POST /mcp"), named(&spans, "tools/call kv.list"));
    assert_eq!((message.parent.as_str(), message.links.as_slice()), (server.id.as_str(), &[TRACE.to_owned()][..]));
    // A caller's body says as well that nothing is to be recorded.
    let unrecorded = OTHER.replace('0', "1");
    assert_eq!(ask(&[], &[("traceparent", parent(&unrecorded, "00"))]), unrecorded);
    asked_with(&heads, &unrecorded, &[]);
    // Each message of a batch has its own, and the refusal of one is its own.
    let call = |name: &str| request("tools/call", &json!({"name": name, "arguments": {"path": "absent"}}));
    let batch = json!([call("kv_read"), call("kv_metadata"), request("ping", &json!({}))]);
    let response = client.mcp_with(&[("MCP-Protocol-Version", "2025-03-26")], &batch);
    assert_eq!(response.status, 200, "{response:?}");
    let spans = self::spans(&collector, response.header("x-trace-id").expect("an id"), 11);
    let server = named(&spans, "POST /mcp");
    for (name, below) in [("tools/call kv.read", 3), ("tools/call kv.metadata", 3), ("ping", 0)] {
        let message = named(&spans, name);
        assert_eq!(message.parent, server.id, "{name}");
        assert_eq!(spans.iter().filter(|span| span.parent == message.id).count(), below, "{name}: {spans:#?}");
        assert_eq!(
            (message.attributes.contains_key("error.type"), message.failed),
            (below > 0, below > 0),
            "{message:#?}"
        );
    }
    assert!(collector.spans(&unrecorded).is_empty());
}

fn real(shared: &Shared) {
    let collector = Otelcol::start();
    let gate = Gate::start(shared.world(), &plan(collector.endpoint(), &[]));
    let client = gate.agent("agent_mtls");
    let head = [("Traceparent", &*parent(TRACE, "01")), ("Tracestate", "a=1"), ("Tracestate", "b=2")];
    assert_eq!(client.send("GET", "/secrets", &head, b"").header("x-trace-id"), Some(TRACE));
    assert_eq!(call(&client, &[], &[("traceparent", &parent(OTHER, "01"))]).header("x-trace-id"), Some(OTHER));
    let port = gate.tls.to_string();
    let at = [("server.address", "127.0.0.1"), ("server.port", port.as_str()), ("url.scheme", "https")];
    // The spans, each with its parent's name and its kind: 1 internal, 2 of a server, 3 of a client.
    let (rest, own) = ("GET /secrets", "tools/call kv.list");
    for (trace, server, steps) in [
        (TRACE, rest, &[("decide", rest, 1), ("token", rest, 1), ("exchange", rest, 3)][..]),
        (OTHER, "POST /mcp", &[(own, "", 2), ("decide", own, 1), ("token", own, 1), ("exchange", own, 3)]),
    ] {
        let spans = arrived(steps.len() + 3, || collector.spans(trace));
        let of_all = [(server, "", 2), ("handshake", server, 1), ("authenticate", server, 1)];
        for (name, parent, kind) in of_all.iter().chain(steps) {
            let span = named(&spans, name);
            let parent = if parent.is_empty() { SPAN } else { &named(&spans, parent).id };
            assert_eq!((span.parent.as_str(), span.kind, span.failed), (parent, *kind, false), "{span:#?}");
            assert!(span.time.0 <= span.time.1 && span.resource["service.name"] == "vault-mcp", "{span:#?}");
            assert_eq!(span.state, if trace == TRACE { "a=1,b=2" } else { "" });
        }
        facts(named(&spans, server), &at);
        facts(named(&spans, server), &[("http.response.status_code", "200"), ("portcullis.agent", "agent_mtls")]);
        facts(
            named(&spans, "exchange"),
            &[("http.request.method_original", "LIST"), ("http.response.status_code", "200")],
        );
    }
    let spans = collector.spans(OTHER);
    facts(named(&spans, own), &[("mcp.method.name", "tools/call"), ("gen_ai.tool.name", "kv.list")]);
    assert_eq!(named(&spans, own).links, [OTHER]);
    wait_for("they are counted", 10, || gate.metric("portcullis_spans_total{result=\"sent\"}") >= 12.0);
    assert!(gate.metric("portcullis_spans_total{result=\"lost\"}") < 1.0);
}

fn propagators(shared: &Shared) {
    let (collector, front) = (Collector::start(), Front::start(shared.world()));
    let more = [("VAULT_ADDR", front.address.clone()), ("OTEL_PROPAGATORS", "baggage,b3".to_owned())];
    let gate = Gate::start(shared.world(), &plan(collector.endpoint(), &more));
    assert!(gate.stderr().contains("it has `tracecontext`, `baggage`, `none`"), "{}", gate.stderr());
    let (client, heads) = (gate.keyed(), heads(&front));
    let named = parent(TRACE, "00");
    for response in [
        client.send("GET", "/secrets", &[("Traceparent", &named), ("Tracestate", "a=1")], b""),
        call(&client, &[], &[("traceparent", &named), ("tracestate", "a=1")]),
    ] {
        let (trace, correlation) = (response.header("x-trace-id").expect("an id"), response.header("x-correlation-id"));
        assert!(trace != TRACE && correlation == response.header("x-request-id"), "{response:?}");
        wait_for("it is recorded all the same", 10, || {
            collector.spans(trace).iter().any(|span| span.name == "exchange")
        });
    }
    let heads = heads.lock().expect("heads");
    assert!(!heads.is_empty() && heads.iter().all(|head| !head.contains("\r\ntrace")), "{heads:?}");
}

fn samplers(shared: &Shared) {
    let (collector, front) = (Collector::start(), Front::start(shared.world()));
    // What waits is sent at the end.
    let more = [
        ("VAULT_ADDR", front.address.clone()),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio".to_owned()),
        ("OTEL_TRACES_SAMPLER_ARG", "0".to_owned()),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("{}/v1/traces", collector.endpoint())),
    ];
    let mut plan = plan(collector.endpoint(), &more);
    plan.environment.iter_mut().filter(|(name, _)| *name == "OTEL_BSP_SCHEDULE_DELAY").for_each(|(_, delay)| {
        *delay = "600000".to_owned();
    });
    let mut gate = Gate::start(shared.world(), &plan);
    let heads = heads(&front);
    let client = gate.keyed();
    let ask = |headers: &[(&str, &str)]| {
        let response = client.send("GET", "/secrets", headers, b"");
        response.header("x-trace-id").expect("an id").to_owned()
    };
    let own = ask(&[]);
    assert_eq!(ask(&[("Traceparent", &parent(TRACE, "00"))]), TRACE);
    assert_eq!(ask(&[("Traceparent", &parent(OTHER, "01"))]), OTHER);
    for (trace, flags) in [(own.as_str(), "00"), (TRACE, "00"), (OTHER, "01")] {
        let heads = heads.lock().expect("heads");
        let asked = |head: &&String| head.contains(&format!("traceparent: 00-{trace}-"));
        let head = heads.iter().find(asked).unwrap_or_else(|| panic!("{trace} in {heads:?}"));
        assert!(head.lines().any(|line| line.starts_with("traceparent: ") && line.trim_end().ends_with(flags)));
    }
    // A trace that the body names, or nobody, is left out too.
    assert_eq!(call(&client, &[], &[]).status, 200);
    assert_eq!(call(&client, &[], &[("traceparent", &parent(TRACE, "00"))]).status, 200);
    assert!(collector.spans("").is_empty(), "they wait");
    assert_eq!(gate.terminate(), Some(0));
    let told = collector.spans("");
    assert!(!told.is_empty() && told.iter().all(|span| span.trace == OTHER), "{told:#?}");
}

fn away(shared: &Shared) {
    let port = free_port();
    let more = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{port}/v1/traces")),
        ("OTEL_BSP_SCHEDULE_DELAY", "20".to_owned()),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "60".to_owned()),
    ];
    let plan = Plan { sections: AGENTS.to_owned(), environment: more.to_vec(), ..Plan::default() };
    let mut gate = Gate::start(shared.world(), &plan);
    let client = gate.keyed();
    let first = client.get("/whoami").header("x-trace-id").expect("an id").to_owned();
    let lines = |text: &str| gate.stderr().matches(text).count();
    wait_for("it is told", 10, || lines("the collector takes no spans") == 1);
    for _ in 0..40 {
        assert_eq!(client.get("/whoami").status, 200);
    }
    assert!(gate.metric("portcullis_spans_total{result=\"lost\"}") > 0.0, "more than may wait");
    let collector = Collector::at(port);
    wait_for("what waited is sent", 10, || collector.spans(&first).len() == 3);
    wait_for("that is told", 10, || lines("the collector takes spans again") == 1);
    // One that cannot take them now is asked again; what one never takes is lost.
    collector.answer(503);
    let held = client.get("/whoami").header("x-trace-id").expect("an id").to_owned();
    wait_for("it is asked", 10, || lines("the collector takes no spans") == 2);
    collector.answer(400);
    let lost = gate.metric("portcullis_spans_total{result=\"lost\"}");
    wait_for("it is lost", 10, || gate.metric("portcullis_spans_total{result=\"lost\"}") > lost);
    collector.answer(0);
    let sent = client.get("/whoami").header("x-trace-id").expect("an id").to_owned();
    wait_for("the next is sent", 10, || !collector.spans(&sent).is_empty());
    assert!(collector.spans(&held).is_empty());
    // The end does not wait for it for long.
    collector.answer(503);
    client.get("/whoami");
    assert_eq!(gate.terminate(), Some(0));
}
