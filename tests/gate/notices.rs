//! Notifications that go before an answer: the progress of calls that take long, and records of calls.

use std::sync::Arc;

use reqwest::blocking::Client;
use serde_json::{Value, json};
use tests::events::{Events, Http, WAYS, builder};
use tests::front::{Door, Verdict};
use tests::mcp::{STATELESS, Schema, hello, meta, request};
use tests::process::AGENTS;
use tests::{Front, Gate, Plan, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("who_waits_long_is_told_that_its_call_goes_on", progress),
    ("who_waits_for_its_turn_is_told_so_too_and_a_cancellation_gets_through", turn),
    ("who_does_not_ask_is_told_nothing", quiet),
    ("who_leaves_a_call_that_goes_on_has_cancelled_it", left),
    ("a_session_has_records_of_its_calls_from_its_level_on", session_records),
    ("a_call_has_a_record_where_it_asks_for_one", own_record),
];

const OLD: &str = "2025-11-25";

/// A gate before a Vault that answers reads of this path late.
struct Late {
    _front: Front,
    gate: Gate,
    door: Arc<Door>,
}

impl Late {
    fn start(shared: &Shared, path: &'static str) -> Self {
        Self::with(shared, path, Plan::default())
    }

    fn with(shared: &Shared, path: &'static str, plan: Plan) -> Self {
        let front = Front::start(shared.world());
        let gate = Gate::start(shared.world(), &Plan { environment: front.environment(), ..plan });
        let written = gate.agent("agent_mtls").put(&format!("/secrets/{path}"), &json!({"data": {"a": 1}}));
        assert_eq!(written.status, 200, "{written:?}");
        let door = Arc::new(Door::default());
        front.treat(path, Verdict::Behind(Arc::clone(&door)));
        Self { _front: front, gate, door }
    }
}

fn client(gate: &Gate, http: Http) -> Client {
    let way = WAYS.into_iter().rfind(|(_, other)| *other == http).expect("a way");
    let issued = gate.issue(&certs::Leaf::agent("agent_mtls"));
    builder(gate.authority(), Some(&issued), way).build().expect("a client")
}

fn url(gate: &Gate) -> String {
    format!("https://localhost:{}/mcp", gate.tls)
}

/// A call of `kv.read` as `revision` has it, with more in its `_meta`.
fn reading(revision: &'static str, path: &str, more: &Value) -> (Vec<(&'static str, String)>, Value) {
    let mut headers = vec![("MCP-Protocol-Version", revision.to_owned())];
    let mut own = json!({});
    if revision == STATELESS {
        own = meta();
        let repeated = [("Mcp-Method", "tools/call"), ("Mcp-Name", "kv_read"), ("Mcp-Param-Path", path)];
        headers.extend(repeated.map(|(name, value)| (name, value.to_owned())));
    }
    let more = more.as_object().expect("an object").clone();
    own.as_object_mut().expect("an object").extend(more);
    let params = json!({"name": "kv_read", "arguments": {"path": path}, "_meta": own});
    (headers, request("tools/call", &params))
}

fn progress(shared: &Shared) {
    for (http, revision, token) in [
        (Http::One, OLD, json!("a token")),
        (Http::Two, OLD, json!(7)),
        (Http::One, STATELESS, json!(-1)),
        (Http::Two, STATELESS, json!("t")),
    ] {
        let late = Late::start(shared, "notices/late");
        let schema = Schema::of(revision);
        let (headers, message) = reading(revision, "notices/late", &json!({"progressToken": token}));
        let events = Events::post(&client(&late.gate, http), &url(&late.gate), &headers, &message);
        assert_eq!(events.header["content-type"], "text/event-stream");
        assert_eq!(events.header["cache-control"], "no-store");
        let told: Vec<f64> = (0..2)
            .map(|_| {
                let told = events.message();
                schema.check("ProgressNotification", &told);
                assert_eq!(told["params"]["progressToken"], token, "{told}");
                told["params"]["progress"].as_f64().expect("a number")
            })
            .collect();
        assert!(told[0] < told[1], "{told:?}");
        late.door.open();
        let answer = std::iter::repeat_with(|| events.message()).find(|message| message["method"].is_null());
        let answer = answer.expect("an answer");
        schema.check("CallToolResult", &answer["result"]);
        assert_eq!((&answer["id"], &answer["result"]["structuredContent"]["data"]), (&json!(7), &json!({"a": 1})));
        events.ends("after the answer");
    }
}

fn turn(shared: &Shared) {
    let sections = format!("{AGENTS}[limits]\nconcurrent = 1\nqueue_timeout = \"3s\"\n");
    let late = Late::with(shared, "notices/turn", Plan { sections, ..Plan::default() });
    let (client, url, schema) = (client(&late.gate, Http::Two), url(&late.gate), Schema::of(OLD));
    let first = std::thread::spawn({
        let (client, url) = (client.clone(), url.clone());
        let (headers, mut message) = reading(OLD, "notices/turn", &json!({}));
        message["id"] = json!("first");
        move || Events::asked(&client, &url, &headers, &message).json::<Value>().expect("JSON")
    });
    wait_for("it has the only turn", 20, || late.door.waiting() == 1);
    let (headers, message) = reading(OLD, "notices/turn", &json!({"progressToken": "t"}));
    let waits = || {
        let events = Events::post(&client, &url, &headers, &message);
        schema.check("ProgressNotification", &events.message());
        events
    };
    let answer = |events: &Events| {
        std::iter::repeat_with(|| events.message()).find(|message| message["method"].is_null()).expect("an answer")
    };
    let in_vain = waits();
    let refused = answer(&in_vain);
    schema.check("CallToolResult", &refused["result"]);
    assert!(refused.to_string().contains("too_many_at_once"), "{refused}");
    in_vain.ends("after the answer");
    let second = waits();
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "first"}});
    let version = [("MCP-Protocol-Version", OLD.to_owned())];
    assert_eq!(Events::asked(&client, &url, &version, &cancel).status(), 202);
    assert!(first.join().expect("an answer").to_string().contains("cancelled"));
    wait_for("it has its turn", 20, || late.door.waiting() == 2);
    late.door.open();
    assert_eq!(answer(&second)["result"]["structuredContent"]["data"], json!({"a": 1}));
    assert_eq!(late.gate.metric("portcullis_requests_waiting"), 0.0);
}

fn quiet(shared: &Shared) {
    let late = Late::start(shared, "notices/quiet");
    let client = client(&late.gate, Http::Two);
    // What is answered at once is answered as ever.
    let (headers, message) = reading(OLD, "notices/other", &json!({"progressToken": "t"}));
    let answer = Events::asked(&client, &url(&late.gate), &headers, &message);
    assert_eq!(answer.headers()["content-type"], "application/json");
    // Neither who gives no token, nor what is none, nor who takes no events is told of progress.
    let told = [
        (json!({}), "application/json, text/event-stream"),
        (json!({"progressToken": {"a": 1}}), "application/json, text/event-stream"),
        (json!({"progressToken": "t"}), "application/json"),
    ];
    let waiting = told.map(|(more, accept)| {
        let (mut headers, message) = reading(OLD, "notices/quiet", &more);
        headers.push(("Accept", accept.to_owned()));
        let (client, url) = (client.clone(), url(&late.gate));
        std::thread::spawn(move || {
            let answer = Events::asked(&client, &url, &headers, &message);
            (answer.headers()["content-type"].clone(), answer.json::<Value>().expect("JSON"))
        })
    });
    // Nor is who is answered on a stream of its own, as the first revision has it.
    let bridge = Events::open(&client, &url(&late.gate).replace("/mcp", "/mcp/sse"), &[]);
    let path = bridge.sent().data.as_str().expect("a path").to_owned();
    let bridged = std::thread::spawn({
        let (client, url) = (client.clone(), url(&late.gate).replace("/mcp", &path));
        let (headers, message) = reading("2024-11-05", "notices/quiet", &json!({"progressToken": "t"}));
        move || Events::asked(&client, &url, &headers, &message).status()
    });
    wait_for("all are asked", 20, || late.door.waiting() == 4);
    // The time in which another is told twice.
    let (headers, message) = reading(OLD, "notices/quiet", &json!({"progressToken": "t"}));
    let events = Events::post(&client, &url(&late.gate), &headers, &message);
    events.message();
    events.message();
    late.door.open();
    for waiting in waiting {
        let (media, answer) = waiting.join().expect("an answer");
        assert_eq!((media.as_bytes(), &answer["result"]["isError"]), (&b"application/json"[..], &json!(false)));
    }
    assert_eq!(bridged.join().expect("a status"), 202);
    let answer = std::iter::repeat_with(|| bridge.sent()).find(|sent| sent.data["id"] == 7);
    assert_eq!(answer.expect("an answer").data["result"]["isError"], false);
}

fn left(shared: &Shared) {
    for http in [Http::One, Http::Two] {
        let late = Late::start(shared, "notices/left");
        let (headers, message) = reading(OLD, "notices/left", &json!({"progressToken": "t"}));
        let events = Events::post(&client(&late.gate, http), &url(&late.gate), &headers, &message);
        events.message();
        drop(events);
        wait_for("it is ended", 20, || {
            !late.gate.logged(&json!({"operation": "kv.read", "decision": "cancelled"})).is_empty()
        });
        assert_eq!(late.door.waiting(), 1, "while Vault has it");
        late.door.open();
    }
}

/// The messages of the answer to a call.
fn messages(client: &Client, url: &str, (headers, message): &(Vec<(&'static str, String)>, Value)) -> Vec<Value> {
    let answer = Events::asked(client, url, headers, message);
    assert_eq!(answer.status(), 200);
    let is_stream = answer.headers()["content-type"] == "text/event-stream";
    let text = answer.text().expect("a text");
    if !is_stream {
        return vec![serde_json::from_str(&text).expect("JSON")];
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).expect("JSON")).collect()
}

fn session_records(shared: &Shared) {
    let gate = Gate::start(shared.world(), &Plan::default());
    tests::mcp::settled(&gate.keyed());
    let agent = gate.agent("agent_mtls");
    assert_eq!(agent.put("/secrets/notices/told", &json!({"data": {"a": 1}})).status, 200);
    let (client, url, schema) = (client(&gate, Http::Two), url(&gate), Schema::of(OLD));
    let session = || {
        let begun = agent.mcp_with(&[], &hello(OLD));
        begun.header("mcp-session-id").expect("a session").to_owned()
    };
    let [noisy, strict, other] = [session(), session(), session()];
    for (session, level) in [(&noisy, "debug"), (&strict, "warning")] {
        let set = request("logging/setLevel", &json!({"level": level}));
        let set = agent.mcp_with(&[("MCP-Protocol-Version", OLD), ("Mcp-Session-Id", session)], &set);
        assert_eq!(schema.result("EmptyResult", &set), json!({}));
    }
    let told = |session: &str, path: &str| {
        let (mut headers, message) = reading(OLD, path, &json!({}));
        headers.push(("Mcp-Session-Id", session.to_owned()));
        let mut messages = messages(&client, &url, &(headers, message));
        let answer = messages.pop().expect("an answer");
        schema.check("CallToolResult", &answer["result"]);
        messages.iter().for_each(|message| schema.check("LoggingMessageNotification", message));
        messages.iter().map(|message| message["params"].clone()).collect::<Vec<_>>()
    };
    let [record] = &told(&noisy, "notices/told")[..] else { panic!("no record") };
    assert_eq!((&record["level"], &record["logger"]), (&json!("info"), &json!("portcullis")));
    assert_eq!((&record["data"]["operation"], &record["data"]["decision"]), (&json!("kv.read"), &json!("allow")));
    assert!(record["data"]["request_id"].is_string() && !record.to_string().contains("told"), "{record}");
    let [record] = &told(&strict, "notices/nothing")[..] else { panic!("no record") };
    assert_eq!((&record["level"], &record["data"]["decision"]), (&json!("warning"), &json!("not_found")));
    assert!(told(&strict, "notices/told").is_empty() && told(&other, "notices/nothing").is_empty());
}

fn own_record(shared: &Shared) {
    let gate = Gate::start(shared.world(), &Plan::default());
    assert_eq!(gate.agent("agent_mtls").put("/secrets/notices/own", &json!({"data": {"a": 1}})).status, 200);
    let (client, url, schema) = (client(&gate, Http::One), url(&gate), Schema::of(STATELESS));
    let told = |path: &str, level: &str| {
        let level = json!({"io.modelcontextprotocol/logLevel": level});
        let mut messages = messages(&client, &url, &reading(STATELESS, path, &level));
        messages.pop().expect("an answer");
        messages.iter().for_each(|message| schema.check("LoggingMessageNotification", message));
        messages.len()
    };
    assert_eq!(told("notices/own", "info"), 1);
    assert_eq!(told("notices/own", "notice"), 0);
    assert_eq!(told("notices/none", "notice"), 1);
    let (headers, message) = reading(STATELESS, "notices/own", &json!({"io.modelcontextprotocol/logLevel": "loud"}));
    let answer = Events::asked(&client, &url, &headers, &message);
    assert_eq!(
        (answer.status().as_u16(), answer.json::<Value>().expect("JSON")["error"]["code"].as_i64()),
        (400, Some(-32602))
    );
}
