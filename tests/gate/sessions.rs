//! Sessions of MCP, and what they are told: by the revisions with a handshake, and by the first one,
//! whose answers come on a stream.

use certs::Leaf;
use reqwest::blocking::Client as Web;
use serde_json::{Value, json};
use tests::events::{self, Events, WAYS};
use tests::mcp::{Schema, hello, request};
use tests::process::AGENTS;
use tests::servers::{REDIS_PASSWORD, Redis};
use tests::{Client, Gate, Plan, Response, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("a_session_is_told_of_what_it_subscribes_to_until_it_ends", session),
    ("a_session_is_its_agents_alone", foreign),
    ("two_gates_share_events_and_sessions_also_when_their_server_was_away", shared),
    ("the_first_revision_is_answered_on_its_stream", first_revision),
];

const MORE: &str = "\n[agents.alice]\nroles = [\"all\"]\n[agents.bob]\nroles = [\"all\"]\n";
const REVISION: &str = "2025-11-25";

fn start(world: &Shared, redis: Option<&Redis>) -> Gate {
    let sections = format!("{AGENTS}{MORE}");
    let plan = match redis {
        None => Plan { sections, ..Plan::default() },
        Some(redis) => Plan {
            sections: format!("{sections}[rate_limit]\nbackend = \"redis\"\n"),
            environment: vec![("REDIS_URL", redis.url()), ("REDIS_PASSWORD", REDIS_PASSWORD.to_owned())],
            ..Plan::default()
        },
    };
    let gate = Gate::start(world.world(), &plan);
    wait_for("sessions can be sealed", 20, || begin(&gate.agent("alice")).header("mcp-session-id").is_some());
    gate
}

fn web(gate: &Gate, agent: &str) -> Web {
    let issued = gate.issue(&Leaf::agent(agent));
    events::builder(gate.authority(), Some(&issued), WAYS[3]).build().expect("a client")
}

fn at(gate: &Gate, path: &str) -> String {
    format!("https://localhost:{}{path}", gate.tls)
}

fn begin(client: &Client) -> Response {
    client.mcp(&hello(REVISION))
}

fn session_of(client: &Client) -> String {
    begin(client).header("mcp-session-id").expect("a session").to_owned()
}

fn ask(client: &Client, session: &str, method: &str, params: &Value) -> Response {
    client.mcp_with(&[("MCP-Protocol-Version", REVISION), ("Mcp-Session-Id", session)], &request(method, params))
}

fn end(client: &Client, session: &str) -> Response {
    client.send("DELETE", "/mcp", &[("Mcp-Session-Id", session)], b"")
}

fn open(gate: &Gate, agent: &str, session: &str) -> Events {
    Events::open(&web(gate, agent), &at(gate, "/mcp"), &[("Mcp-Session-Id", session)])
}

fn write(gate: &Gate, agent: &str, path: &str) {
    let written = gate.agent(agent).put(&format!("/secrets/{path}"), &json!({"data": {"a": 1}}));
    assert_eq!(written.status, 200, "{written:?}");
}

/// The next change of a resource that is told.
fn updated(events: &Events) -> Value {
    loop {
        let message = events.message();
        if message["method"] == "notifications/resources/updated" {
            Schema::of(REVISION).check("ResourceUpdatedNotification", &message);
            return message["params"]["uri"].clone();
        }
    }
}

fn session(shared: &Shared) {
    let gate = start(shared, None);
    let alice = gate.agent("alice");
    let session = session_of(&alice);
    assert!(session.bytes().all(|byte| byte.is_ascii_graphic()), "{session}");
    let events = open(&gate, "alice", &session);
    let uri = |path: &str| json!({"uri": format!("kv://alice/sessions/{path}")});
    for path in ["a", "folder/"] {
        assert_eq!(ask(&alice, &session, "resources/subscribe", &uri(path)).json()["result"], json!({}));
    }
    let elsewhere = ask(&alice, &session, "resources/subscribe", &json!({"uri": "kv://bob/a"})).json();
    assert_eq!(elsewhere["error"]["code"], -32002, "{elsewhere}");
    write(&gate, "alice", "sessions/unwatched");
    write(&gate, "alice", "sessions/a");
    assert_eq!(updated(&events), uri("a")["uri"]);
    write(&gate, "alice", "sessions/folder/b");
    assert_eq!(updated(&events), uri("folder/b")["uri"]);
    assert_eq!(ask(&alice, &session, "resources/unsubscribe", &uri("a")).json()["result"], json!({}));
    write(&gate, "alice", "sessions/a");
    write(&gate, "alice", "sessions/folder/c");
    assert_eq!(updated(&events), uri("folder/c")["uri"]);
    assert_eq!(end(&alice, &session).status, 204);
    events.rest("its session has ended");
    for refused in [ask(&alice, &session, "ping", &json!({})), end(&alice, &session)] {
        assert_eq!((refused.status, refused.code().as_str()), (404, "no_session"));
    }
    assert_eq!(alice.send("DELETE", "/mcp", &[], b"").status, 400);
    let without = alice.mcp(&request("resources/subscribe", &uri("a"))).json();
    assert_eq!(without["error"]["data"]["error"], "no_session", "{without}");
    assert_eq!(alice.mcp(&request("ping", &json!({}))).status, 200, "who names none needs none");
}

fn foreign(shared: &Shared) {
    let gate = start(shared, None);
    let alice = gate.agent("alice");
    let session = session_of(&alice);
    assert_eq!(ask(&alice, &session, "ping", &json!({})).status, 200);
    let mut forged = session.clone().into_bytes();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let forged = String::from_utf8(forged).expect("text");
    let by_key = gate.keyed();
    let own = session_of(&by_key);
    for (client, session) in [
        (&gate.agent("bob"), session.as_str()),
        (&by_key, &session),
        (&alice, &own),
        (&alice, &forged),
        (&alice, "7"),
        (&alice, ""),
    ] {
        let opened = client.send("GET", "/mcp", &[("Accept", "text/event-stream"), ("Mcp-Session-Id", session)], b"");
        for refused in [ask(client, session, "tools/list", &json!({})), end(client, session), opened] {
            assert_eq!((refused.status, refused.code().as_str()), (404, "no_session"), "{session}");
        }
    }
    assert_eq!(ask(&alice, &session, "ping", &json!({})).status, 200, "nobody else ends it");
    // The stateless revision has none, whatever is sent with it.
    let stateless = alice.with("Mcp-Session-Id", "7").call_stateless("whoami", &json!({}));
    assert_eq!(stateless.status, 200, "{stateless:?}");
}

fn shared(shared: &Shared) {
    let mut redis = Redis::start();
    let (one, other) = (start(shared, Some(&redis)), start(shared, Some(&redis)));
    let is_shared = |gate: &Gate| gate.metric("portcullis_events_shared") == 1.0;
    wait_for("events are shared", 10, || is_shared(&one) && is_shared(&other));
    let (here, there) = (one.agent("alice"), other.agent("alice"));
    let session = session_of(&here);
    let uri = json!({"uri": "kv://alice/sessions/shared"});
    assert_eq!(ask(&there, &session, "resources/subscribe", &uri).json()["result"], json!({}), "of any gate");
    let events = open(&other, "alice", &session);
    let plain = Events::open(&web(&one, "alice"), &at(&one, "/events"), &[]);
    write(&one, "alice", "sessions/shared");
    assert_eq!(updated(&events), uri["uri"]);
    let first = plain.sent();
    assert_eq!(first.data["version"], 1, "told once by the gate it was done through: {first:?}");
    write(&other, "alice", "sessions/shared");
    assert_eq!((updated(&events), plain.sent().data["version"].clone()), (uri["uri"].clone(), json!(2)));
    // Whoever comes back by another gate is told of what it has missed.
    let last = first.id.expect("an id");
    let back = Events::open(&web(&other, "alice"), &at(&other, "/events"), &[("Last-Event-ID", &last)]);
    assert_eq!(back.sent().data["version"], 2);
    redis.stop();
    wait_for("both know", 10, || !is_shared(&one) && !is_shared(&other));
    write(&one, "alice", "sessions/shared");
    assert_eq!(plain.sent().data["version"], 3, "its own gate goes on");
    redis.resume();
    wait_for("both are back", 10, || is_shared(&one) && is_shared(&other));
    let told = std::iter::repeat_with(|| back.sent()).find(|sent| sent.event != "gap").expect("an event");
    assert_eq!(told.data["version"], 3, "what was done meanwhile is told late");
    assert_eq!(end(&here, &session).status, 204);
    wait_for("the other knows", 10, || ask(&there, &session, "ping", &json!({})).status == 404);
    events.rest("its session was ended elsewhere");
    // A gate that starts now knows what the others do.
    let third = start(shared, Some(&redis));
    wait_for("it is told", 10, || ask(&third.agent("alice"), &session, "ping", &json!({})).status == 404);
}

fn first_revision(shared: &Shared) {
    let gate = start(shared, None);
    let events = Events::open(&web(&gate, "alice"), &at(&gate, "/mcp/sse"), &[("Accept", "*/*")]);
    let endpoint = events.sent();
    assert_eq!(endpoint.event, "endpoint");
    let path = endpoint.data.as_str().expect("a path");
    assert!(path.starts_with("/mcp/sse?"), "{path}");
    let alice = gate.agent("alice");
    let send = |client: &Client, message: &Value| client.post(path, message);
    let sent = send(&alice, &hello("2024-11-05"));
    assert_eq!((sent.status, sent.body.len()), (202, 0));
    let answer = events.message();
    assert_eq!((&answer["id"], &answer["result"]["serverInfo"]["name"]), (&json!(7), &json!("portcullis")));
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(send(&alice, &initialized).status, 202);
    let call = request("tools/call", &json!({"name": "whoami", "arguments": {}}));
    assert_eq!(send(&alice, &call).status, 202);
    let answer = std::iter::repeat_with(|| events.sent()).find(|sent| sent.event == "message").expect("an answer");
    assert_eq!(answer.data["result"]["structuredContent"]["agent"], "alice");
    for (client, path) in [(&gate.agent("bob"), path), (&alice, "/mcp/sse"), (&alice, "/mcp/sse?session=7")] {
        let refused = client.post(path, &call);
        assert_eq!((refused.status, refused.code().as_str()), (404, "no_session"), "{path}");
    }
    drop(events);
    wait_for("its client has gone", 10, || send(&alice, &call).status == 404);
    // There are clients that speak it without its transport.
    let welcome = alice.mcp(&hello("2024-11-05"));
    let session = welcome.header("mcp-session-id").expect("a session");
    let uri = json!({"uri": "kv://alice/sessions/first"});
    assert_eq!(ask(&alice, session, "resources/subscribe", &uri).json()["result"], json!({}));
}
