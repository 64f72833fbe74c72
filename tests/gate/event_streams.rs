//! Open streams of events: what is said on them, and that whatever would end
//! the next request ends them too.

use std::fs;
use std::io::{Read as _, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use certs::{Leaf, Signer};
use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};
use tests::events::{self, Events, Http, WAYS};
use tests::mcp::{HANDSHAKEN, STATELESS, Schema};
use tests::process::{AGENTS, API_KEY};
use tests::provider::Provider;
use tests::{Gate, Plan, World, wait_for};

use super::configuration::{run, said};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("a_stream_is_kept_alive_on_every_kind_of_connection", kept_alive),
    ("what_opens_no_stream", refused),
    ("an_agent_is_told_when_its_tools_change_and_no_other_is", told),
    ("what_a_reload_takes_away_ends_the_streams_of_whom_it_was", taken_away),
    ("a_suspension_ends_streams_at_once", suspended),
    ("a_stream_ends_with_its_token_and_with_its_issuers_keys", tokens),
    ("a_stream_ends_with_its_api_key", api_key),
    ("streams_end_whole_when_the_gate_does", drained),
    ("streams_are_bounded_and_in_nobodys_way", bounded),
    ("opening_a_stream_is_charged", charged),
    ("whoever_goes_or_takes_nothing_gives_its_place_back", gone),
];

/// Seconds that a token or key lives.
const SHORT: u64 = 4;

/// Settings by which nothing but a change or time wakes a stream.
const SILENT: (&str, &str) = ("keep_alive = \"1s\"", "keep_alive = \"5m\"");

const MORE: &str = "\n[agents.alice]\nroles = [\"all\"]\n[agents.bob]\nroles = [\"reader\"]\n[agents.carol]\nroles = []\n\
                    [mcp]\nkeep_alive = \"1s\"\n";

fn plan(more: &str) -> Plan {
    Plan { sections: format!("{AGENTS}{MORE}{more}"), ..Plan::default() }
}

fn open(gate: &Gate) -> f64 {
    gate.metric("portcullis_event_streams")
}

fn at(gate: &Gate, path: &str) -> String {
    format!("https://localhost:{}{path}", gate.tls)
}

/// A stream of this agent's for each way to connect.
fn streams(gate: &Gate, agent: &str) -> [Events; 4] {
    Events::everywhere(gate.tls, gate.authority(), &gate.issue(&Leaf::agent(agent)))
}

/// A client over plain HTTP.
fn local() -> Client {
    Client::builder().timeout(None).build().expect("a client")
}

/// A stream over plain HTTP.
fn plain(gate: &Gate, headers: &[(&str, &str)]) -> Events {
    Events::open(&local(), &format!("http://127.0.0.1:{}/mcp", gate.plain), headers)
}

/// A client over TLS.
fn client(gate: &Gate, agent: &str) -> Client {
    let issued = gate.issue(&Leaf::agent(agent));
    events::builder(gate.authority(), Some(&issued), WAYS[3]).build().expect("a client")
}

/// The status and code of what must not be a stream.
fn refusal(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    // A stream would be read for ever.
    assert_ne!(status, 200);
    let told: Value = response.json().expect("JSON");
    (status, told["error"].as_str().unwrap_or_default().to_owned())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Replaces a part of the gate's file, and has it read.
fn configure(gate: &Gate, from: &str, to: &str) {
    let file = gate.folder().join("config.toml");
    let text = fs::read_to_string(&file).expect("a file");
    assert!(text.contains(from), "{from}");
    fs::write(&file, text.replace(from, to)).expect("a file");
    let before = gate.metric("portcullis_reloads_total");
    gate.signal("HUP");
    wait_for("it is read", 10, || gate.metric("portcullis_reloads_total") > before);
}

fn kept_alive(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan(""));
    let issued = gate.issue(&Leaf::agent("alice"));
    for way in WAYS {
        let client = events::builder(gate.authority(), Some(&issued), way).build().expect("a client");
        for path in ["/mcp", "/mcp/sse"] {
            let events = Events::open(&client, &at(&gate, path), &[]);
            for (name, value) in [
                ("content-type", "text/event-stream"),
                ("cache-control", "no-store"),
                ("x-accel-buffering", "no"),
                ("x-content-type-options", "nosniff"),
            ] {
                assert_eq!(events.header.get(name).expect(name), value, "{way:?} {path}");
            }
            assert_eq!(open(&gate), 1.0);
            drop(events);
            wait_for("its client has gone", 10, || open(&gate) == 0.0);
        }
    }
    let line = json!({"method": "GET", "path": "/mcp", "agent": "alice", "proof": "certificate", "decision": "allow"});
    wait_for("the log has a line for each", 10, || gate.logged(&line).len() == 2 * WAYS.len());
    // Before HTTP/1.1 it ends with the connection.
    let mut old = gate.agent("alice").connect().expect("a connection");
    old.write_all(b"GET /mcp HTTP/1.0\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n").expect("asked");
    old.flush().expect("asked");
    let mut begin = Vec::new();
    while !begin.ends_with(b"\r\n\r\n: keepalive\n\n: keepalive\n\n") {
        let mut byte = [0];
        old.read_exact(&mut byte).expect("comments");
        begin.push(byte[0]);
    }
}

fn refused(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan(""));
    let alice = client(&gate, "alice");
    let stranger = events::builder(gate.authority(), None, WAYS[3]).build().expect("a client");
    let accept = ("Accept", "text/event-stream");
    for (client, headers, status, code) in [
        (&stranger, vec![accept], 401, "unauthenticated"),
        (&client(&gate, "nobody"), vec![accept], 401, "unauthenticated"),
        (&client(&gate, "carol"), vec![accept], 403, "forbidden"),
        (&alice, vec![accept, ("Origin", "https://evil.example")], 403, "origin_not_allowed"),
        (&alice, vec![], 406, "not_acceptable"),
        (&alice, vec![("Accept", "*/*")], 406, "not_acceptable"),
        (&alice, vec![("Accept", "application/json, text/event-stream;q=0")], 406, "not_acceptable"),
        (&alice, vec![accept, ("MCP-Protocol-Version", STATELESS)], 405, "method_not_allowed"),
    ] {
        // Older bridges say neither what they take nor which revision they speak.
        let on_bridge = status == 406 && !headers.iter().any(|(_, value)| value.ends_with("q=0"))
            || headers.iter().any(|(name, _)| *name == "MCP-Protocol-Version");
        for path in ["/mcp", "/mcp/rpc", "/mcp/sse"].into_iter().take(if on_bridge { 2 } else { 3 }) {
            let request = headers.iter().fold(client.get(at(&gate, path)), |request, (k, v)| request.header(*k, *v));
            let refused = refusal(request.send().expect("an answer"));
            assert_eq!(refused, (status, code.to_owned()), "{headers:?} {path}");
        }
    }
    let unknown = gate.agent("alice").send("GET", "/mcp", &[accept, ("MCP-Protocol-Version", "1900-01-01")], b"");
    assert_eq!((unknown.status, Schema::of("2025-11-25").error(&unknown)["code"].as_i64()), (400, Some(-32022)));
    assert_eq!(open(&gate), 0.0);
}

fn told(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan(""));
    let (bobs, alices) = (streams(&gate, "bob"), streams(&gate, "alice"));
    let tools = |agent: &str| {
        let listed = gate.agent(agent).mcp(&tests::mcp::request("tools/list", &json!({}))).json();
        listed["result"]["tools"].as_array().expect("tools").iter().any(|tool| tool["name"] == "kv_write")
    };
    // Other paths, the same tools.
    configure(&gate, "kv = [\"public/**\"]", "kv = [\"public/**\", \"more/**\"]");
    bobs.iter().chain(&alices).for_each(|events| events.is_kept_alive("after a reload that changes no tool"));
    assert!(!tools("bob"));
    configure(&gate, "scopes = [\"read\", \"list\"]", "scopes = [\"read\", \"list\", \"write\"]");
    let changed = |events: &Events| {
        for (list, definition) in
            [("tools", "ToolListChangedNotification"), ("prompts", "PromptListChangedNotification")]
        {
            let message = events.message();
            assert_eq!(message["method"], format!("notifications/{list}/list_changed"));
            for revision in HANDSHAKEN {
                let schema = Schema::of(revision);
                schema.check(definition, &message);
                schema.check("ServerNotification", &message);
            }
        }
    };
    bobs.iter().for_each(changed);
    assert!(tools("bob"));
    alices.iter().for_each(|events| events.is_kept_alive("after a reload that changes another's tools"));
    configure(&gate, "[roles.reader]\n", "[roles.reader]\ntools = [\"kv.read\", \"kv.list\"]\n");
    bobs.iter().for_each(changed);
    assert!(!tools("bob"));
    alices.iter().for_each(|events| events.is_kept_alive("after a reload that shows another fewer tools"));
    configure(&gate, "keep_alive = \"1s\"", "keep_alive = \"1s\"\ntool_names = \"dotted\"");
    bobs.iter().chain(&alices).for_each(changed);
    assert_eq!(open(&gate), 8.0);
}

fn taken_away(shared: &Shared) {
    let spiffe = "spiffe = \"spiffe://portcullis.dev/agent/{name}\"";
    let alice = "[agents.alice]\nroles = [\"all\"]";
    for (when, from, to, others) in [
        ("it is suspended", alice, "[agents.alice]\nsuspended = true\nroles = [\"all\"]", true),
        ("its last role is gone", alice, "[agents.alice]\nroles = []", true),
        ("its entry is gone", alice, "", true),
        ("its name is somebody else's", alice, "[agents.alice]\ngeneration = 2\nroles = [\"all\"]", true),
        ("nobody's principal is mapped", spiffe, "spiffe = \"spiffe://elsewhere.dev/agent/{name}\"", false),
        ("certificates are not believed", "client_certificates = \"optional\"", "client_certificates = \"off\"", false),
    ] {
        let gate = Gate::start(shared.world(), &plan(""));
        let (alices, bobs) = (streams(&gate, "alice"), streams(&gate, "bob"));
        let failed = gate.metric("portcullis_failed_authentications_total");
        configure(&gate, from, to);
        alices.iter().for_each(|events| events.ends(when));
        for events in &bobs {
            if others { events.is_kept_alive(when) } else { events.ends(when) }
        }
        wait_for(when, 10, || open(&gate) == if others { 4.0 } else { 0.0 });
        assert_eq!(gate.metric("portcullis_failed_authentications_total"), failed, "{when}: nobody has tried anything");
    }
}

fn suspended(_: &Shared) {
    // What is on the record is so for every gate of this Vault.
    let world = World::start(false);
    let gates = [Gate::start(&world, &plan("")), Gate::start(&world, &plan(""))];
    let [first, second] = &gates;
    let (alices, elsewhere, bobs) = (streams(first, "alice"), streams(second, "alice"), streams(first, "bob"));
    let environment = [("VAULT_ROLE_ID", world.role_id()), ("VAULT_SECRET_ID", world.secret_id())];
    let command = ["suspend", "alice", "--reason", "test", "--config", "config.toml"];
    let (code, told) = said(&run(first.folder(), &command, &environment));
    assert_eq!(code, Some(0), "{told}");
    alices.iter().chain(&elsewhere).for_each(|events| events.ends("its agent is suspended"));
    bobs.iter().for_each(|events| events.is_kept_alive("another is suspended"));
    let again = refusal(events::ask(&client(first, "alice"), &at(first, "/mcp"), &[]));
    assert_eq!(again, (403, "suspended".into()));
    wait_for("the log tells why", 10, || first.logged(&json!({"decision": "suspended"})).len() >= 4);
}

fn tokens(shared: &Shared) {
    let key = Signer::p256("one").expect("a key");
    let provider = Provider::start(&[&key], None);
    let issuer = provider.issuer();
    let sections = format!(
        "{AGENTS}{MORE}[[identity.issuers]]\nname = \"{issuer}\"\naudiences = [\"mcp-agents\"]\ndiscovery = true\n\
         refresh = \"1s\"\nleeway = \"0s\"\n[[identity.families]]\njwt = \"svc:{{name}}\"\nagent = \"{{name}}\"\n"
    );
    let gate = Gate::start(shared.world(), &Plan { sections: sections.replace(SILENT.0, SILENT.1), ..Plan::default() });
    let token = |seconds: u64| {
        let claims = json!({"iss": issuer, "sub": "svc:alice", "exp": now() + seconds});
        format!("Bearer {}", key.token(&super::jwt::claims(&claims)).expect("a token"))
    };
    let brief = plain(&gate, &[("Authorization", &token(SHORT))]);
    let long = plain(&gate, &[("Authorization", &token(600))]);
    let failed = gate.metric("portcullis_failed_authentications_total");
    brief.ends("its token has expired");
    wait_for("another token holds", 10, || open(&gate) == 1.0);
    provider.publish(&[&Signer::p256("two").expect("a key")]);
    long.ends("its issuer has other keys");
    assert_eq!(gate.metric("portcullis_failed_authentications_total"), failed);
}

fn api_key(shared: &Shared) {
    let key = "api_keys = [{ sha256 = \"KEY\" }]";
    let expires = |seconds| {
        let at = time_of(now() + seconds);
        let sections = plan("").sections.replace(SILENT.0, SILENT.1);
        sections.replace(key, &format!("api_keys = [{{ sha256 = \"KEY\", expires = \"{at}\" }}]"))
    };
    let gate = Gate::start(shared.world(), &Plan { sections: expires(SHORT * 3), ..Plan::default() });
    plain(&gate, &[("X-API-Key", API_KEY)]).ends("its key has expired");
    let gate = Gate::start(shared.world(), &plan(""));
    let events = plain(&gate, &[("X-API-Key", API_KEY)]);
    configure(&gate, &tests::process::sha256(API_KEY), &tests::process::sha256("another"));
    events.ends("its key is another");
}

/// Seconds since the epoch, as RFC 3339 has them.
fn time_of(seconds: u64) -> String {
    let output = std::process::Command::new("date").args(["-u", "-d", &format!("@{seconds}"), "+%FT%TZ"]).output();
    String::from_utf8(output.expect("date").stdout).expect("text").trim().to_owned()
}

fn drained(shared: &Shared) {
    let mut gate = Gate::start(shared.world(), &plan(""));
    let (alices, bobs) = (streams(&gate, "alice"), streams(&gate, "bob"));
    let unread = unread(&gate);
    assert_eq!(gate.terminate(), Some(0));
    alices.iter().chain(&bobs).for_each(|events| events.ends("the gate ends"));
    drop(unread);
    let said = gate.stderr();
    assert!(said.contains("\"left\":0"), "{said}");
    assert_eq!(gate.logged(&json!({"method": "GET", "path": "/mcp"})).len(), 9);
}

fn bounded(shared: &Shared) {
    let limits = "[limits]\nstreams = 3\nstreams_per_agent = 2\nconcurrent = 1\nqueue = 0\nrequests = 3\n";
    let gate = Gate::start(shared.world(), &plan(limits));
    let alice = client(&gate, "alice");
    let held = [(); 2].map(|()| Events::open(&alice, &at(&gate, "/mcp"), &[]));
    let over = refusal(events::ask(&alice, &at(&gate, "/mcp"), &[]));
    assert_eq!(over, (429, "too_many_streams".into()));
    let key = plain(&gate, &[("X-API-Key", API_KEY)]);
    let full = refusal(events::ask(&client(&gate, "bob"), &at(&gate, "/mcp"), &[]));
    assert_eq!(full, (503, "overloaded".into()));
    assert_eq!(gate.agent("alice").get("/whoami").status, 200, "no turn is held, and no request is under way");
    drop(held);
    wait_for("places are given back", 10, || open(&gate) == 1.0);
    drop(Events::open(&alice, &at(&gate, "/mcp"), &[]));
    drop(key);
    wait_for("all of them", 10, || open(&gate) == 0.0);
}

fn charged(shared: &Shared) {
    let top = "rate_limit_requests = 2\nrate_limit_window_seconds = 3600\n".to_owned();
    let gate = Gate::start(shared.world(), &Plan { top, ..plan("") });
    let events = plain(&gate, &[("X-API-Key", API_KEY)]);
    assert_eq!(gate.keyed().get("/whoami").status, 200);
    let url = format!("http://127.0.0.1:{}/mcp", gate.plain);
    let refused = refusal(events::ask(&local(), &url, &[("X-API-Key", API_KEY)]));
    assert_eq!(refused, (429, "rate_limited".into()));
    events.is_kept_alive("it is charged once");
    assert_eq!(open(&gate), 1.0);
}

/// A client over HTTP/2 that takes one comment and no more.
fn unread(gate: &Gate) -> reqwest::blocking::Response {
    let issued = gate.issue(&Leaf::agent("agent_mtls"));
    let builder = events::builder(gate.authority(), Some(&issued), (&rustls::version::TLS13, Http::Two));
    let window = u32::try_from(": keepalive\n\n".len()).expect("a few");
    let client = builder.http2_initial_stream_window_size(window).build().expect("a client");
    let response = events::ask(&client, &at(gate, "/mcp"), &[]);
    assert_eq!(response.status(), 200);
    response
}

fn gone(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan(""));
    let unread = unread(&gate);
    assert_eq!(open(&gate), 1.0);
    wait_for("a client that takes nothing is given up", 20, || open(&gate) == 0.0);
    drop(unread);
    // Between two comments: that it has gone is seen at once, not when it is written to.
    configure(&gate, SILENT.0, SILENT.1);
    let mut stream = gate.agent("alice").connect().expect("a connection");
    stream.write_all(b"GET /mcp HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n").expect("asked");
    stream.flush().expect("asked");
    let mut begin = [0; 64];
    stream.read_exact(&mut begin).expect("a head");
    wait_for("it is open", 10, || open(&gate) == 1.0);
    drop(stream);
    wait_for("it has gone", 10, || open(&gate) == 0.0);
    let client = client(&gate, "alice");
    let response = events::ask(&client, &at(&gate, "/mcp"), &[]);
    wait_for("it is open", 10, || open(&gate) == 1.0);
    drop(response);
    wait_for("it has gone, and its connection has not", 10, || open(&gate) == 0.0);
    let whoami = client.get(at(&gate, "/whoami")).timeout(Duration::from_secs(20)).send().expect("an answer");
    assert_eq!(whoami.status(), 200);
}
