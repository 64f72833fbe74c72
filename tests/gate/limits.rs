//! Rate limits and the bounds of everything else.

use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::json;
use tests::client::Stream;
use tests::{Gate, Plan, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("over_the_rate_is_429_with_its_headers_on_every_surface", rate),
    ("a_roles_own_rate_is_counted_by_itself", role_rate),
    ("all_agents_together_have_a_rate_too", global_rate),
    ("an_operations_rate_is_each_agents_on_every_surface", operation_rate),
    ("what_one_limit_refuses_is_charged_to_no_other", together),
    ("what_comes_to_no_decision_is_charged_too", undecided),
    ("limits_of_operations_and_of_all_outlive_a_reload", reloaded),
    ("each_further_message_of_a_batch_is_charged", batch),
    ("an_agent_that_floods_waits_for_itself_and_for_nobody_else", flood),
    ("an_agents_own_number_of_turns_goes_before_that_of_all", own_turns),
    ("failed_authentications_are_limited_by_source", failures),
    ("bodies_over_the_limit_are_413", bodies),
    ("slow_heads_and_bodies_are_408", slow),
    ("over_the_bound_of_concurrent_work_is_503", overload),
    ("one_source_has_no_more_work_under_way_than_its_own", of_source),
    ("a_body_is_not_read_before_its_caller_is_known", early),
];

fn plan(top: &str, more: &str) -> Plan {
    Plan { top: top.to_owned(), sections: format!("{}\n{more}", tests::process::AGENTS), ..Plan::default() }
}

fn rate(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan("rate_limit_requests = 5\nrate_limit_window_seconds = 3600\n", ""));
    let client = gate.keyed();
    for _ in 0..5 {
        assert_eq!(client.get("/whoami").status, 200);
    }
    for refused in [client.get("/whoami"), client.call("whoami", &json!({})), client.get("/nothing")] {
        assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
        let seconds = |name: &str| refused.header(name).and_then(|value| value.parse::<u64>().ok());
        assert!(seconds("retry-after").is_some_and(|wait| (1..=720).contains(&wait)), "{refused:?}");
        assert_eq!(seconds("ratelimit-limit"), Some(5));
        assert_eq!(seconds("ratelimit-remaining"), Some(0));
        assert!(seconds("ratelimit-reset").is_some_and(|reset| reset > 2800));
    }
    assert_eq!(gate.agent("agent_mtls").get("/whoami").status, 200, "another agent has a limit of its own");
    assert_eq!(client.get("/healthz").status, 200);
}

fn role_rate(shared: &Shared) {
    let more = "[roles.slow]\nscopes = [\"read\"]\nkv = [\"slow/**\"]\nrate = { requests = 2, per = \"1h\" }\n\
                [roles.fast]\nscopes = [\"list\"]\nkv = [\"**\"]\nrate = { requests = 1000, per = \"60s\" }\n\
                [agents.alice]\nroles = [\"slow\", \"fast\"]\n";
    let gate = Gate::start(shared.world(), &plan("rate_limit_requests = 1\nrate_limit_window_seconds = 3600\n", more));
    let alice = gate.agent("alice");
    for _ in 0..2 {
        assert_eq!(alice.get("/secrets/slow/x").status, 404);
    }
    assert_eq!(alice.get("/secrets/slow/x").status, 429);
    for _ in 0..10 {
        assert_eq!(alice.get("/secrets").status, 200);
    }
}

const NO_OWN: &str = "rate_limit_requests = 1000\n";

fn global_rate(shared: &Shared) {
    let more = "[limits]\nrate = { requests = 5, per = \"1h\" }\n";
    let gate = Gate::start(shared.world(), &plan(NO_OWN, more));
    let (key, certificate) = (gate.keyed(), gate.agent("agent_mtls"));
    for _ in 0..2 {
        assert_eq!(key.get("/whoami").status, 200);
        assert_eq!(certificate.get("/whoami").status, 200);
    }
    assert_eq!(key.call("whoami", &json!({})).status, 200);
    for refused in [key.get("/whoami"), certificate.get("/whoami"), certificate.call("whoami", &json!({}))] {
        assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
        assert_eq!(refused.header("ratelimit-limit"), Some("5"));
        assert!(refused.header("retry-after").is_some());
    }
    assert_eq!(gate.local().get("/healthz").status, 200);
}

fn operation_rate(shared: &Shared) {
    let more = "[limits.operations.\"kv.write\"]\nrequests = 2\nper = \"1h\"\n";
    let gate = Gate::start(shared.world(), &plan(NO_OWN, more));
    let (key, certificate) = (gate.keyed(), gate.agent("agent_mtls"));
    let body = json!({"data": {"k": "v"}});
    let tool = json!({"path": "limited/a", "data": {"k": "v"}});
    assert_eq!(key.put("/secrets/limited/a", &body).status, 200);
    assert_eq!(key.call("kv.write", &tool).status, 200);
    for refused in [key.put("/secrets/limited/a", &body), key.call("kv.write", &tool)] {
        assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"), "{refused:?}");
        assert_eq!((refused.header("ratelimit-limit"), refused.header("ratelimit-remaining")), (Some("2"), Some("0")));
    }
    assert_eq!(key.get("/secrets/limited/a").status, 200, "another operation has no such limit");
    assert_eq!(certificate.put("/secrets/limited/a", &body).status, 200, "another agent has its own");
}

fn together(shared: &Shared) {
    let more = "[limits.operations.whoami]\nrequests = 1\nper = \"1h\"\n";
    let gate = Gate::start(shared.world(), &plan("rate_limit_requests = 4\nrate_limit_window_seconds = 3600\n", more));
    let client = gate.keyed();
    assert_eq!(client.get("/whoami").status, 200);
    for _ in 0..8 {
        assert_eq!(client.get("/whoami").header("ratelimit-limit"), Some("1"));
    }
    for _ in 0..3 {
        assert_eq!(client.get("/secrets").status, 200);
    }
    assert_eq!(client.get("/secrets").header("ratelimit-limit"), Some("4"));
}

fn undecided(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan("rate_limit_requests = 6\nrate_limit_window_seconds = 3600\n", ""));
    let client = gate.keyed();
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    assert_eq!(client.get("/nothing").status, 404);
    assert_eq!(client.put("/secrets/a", &json!({"data": 1})).status, 422);
    assert_eq!(client.mcp_with(&[], &list).status, 200);
    let batch = client.mcp_with(&[], &json!([list, list, list, list]));
    let refused: Vec<_> =
        batch.json().as_array().expect("a batch").iter().map(|one| one["error"].is_object()).collect();
    assert_eq!(refused, [false, false, false, true], "{batch:?}");
    assert_eq!(client.get("/nothing").status, 429);
}

fn reloaded(shared: &Shared) {
    let more =
        "[limits]\nrate = { requests = 4, per = \"1h\" }\n[limits.operations.whoami]\nrequests = 1\nper = \"1h\"\n";
    let gate = Gate::start(shared.world(), &plan(NO_OWN, more));
    let client = gate.keyed();
    assert_eq!(client.get("/whoami").status, 200);
    gate.signal("HUP");
    wait_for("the reload", 10, || gate.metric("portcullis_reloads_total") >= 1.0);
    let refused = client.get("/whoami");
    assert_eq!((refused.status, refused.header("ratelimit-limit")), (429, Some("1")));
    for _ in 0..3 {
        assert_eq!(client.get("/secrets").status, 200);
    }
    let refused = client.get("/secrets");
    assert_eq!((refused.status, refused.header("ratelimit-limit")), (429, Some("4")));
}

fn batch(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan("rate_limit_requests = 3\nrate_limit_window_seconds = 3600\n", ""));
    let call = |id: u32| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "whoami"}});
    let messages = json!([call(1), call(2), call(3), call(4)]);
    let response = gate.keyed().mcp_with(&[], &messages);
    assert_eq!(response.status, 200, "{response:?}");
    let errors: Vec<bool> =
        response.json().as_array().expect("a batch").iter().map(|reply| reply["result"]["isError"] == true).collect();
    assert_eq!(errors, [false, false, false, true]);
    assert_eq!(gate.keyed().get("/whoami").status, 429);
}

/// A Vault whose secrets are answered once the door is open.
fn slow_vault(shared: &Shared, sections: &str) -> (Gate, Arc<Door>) {
    let door = Arc::new(Door::default());
    let theirs = Arc::clone(&door);
    let address = tests::stub::start(move |stream| {
        theirs.pass();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{SECRET}", SECRET.len())
    });
    let environment = vec![("VAULT_ADDR", address)];
    let plan = Plan { environment, ..plan("rate_limit_enabled = false\n", sections) };
    (Gate::start(shared.world(), &plan), door)
}

const SECRET: &str = r#"{"data":{"data":{"k":"v"},"metadata":{"version":1,"created_time":"2026-01-01T00:00:00Z"}}}"#;

#[derive(Default)]
struct Door {
    /// True where it is open, and how many stand before it.
    state: Mutex<(bool, usize)>,
    opened: Condvar,
}

impl Door {
    fn pass(&self) {
        let mut state = self.state.lock().expect("the door");
        state.1 += 1;
        while !state.0 {
            state = self.opened.wait(state).expect("the door");
        }
        state.1 -= 1;
    }

    fn waiting(&self) -> usize {
        self.state.lock().expect("the door").1
    }

    fn open(&self) {
        self.state.lock().expect("the door").0 = true;
        self.opened.notify_all();
    }
}

fn flood(shared: &Shared) {
    let more = "[limits]\nconcurrent = 3\nqueue = 4\nqueue_timeout = \"60s\"\n";
    let (gate, door) = slow_vault(shared, more);
    let read = |client: &tests::Client| client.get("/secrets/a");
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..7).map(|_| scope.spawn(|| read(&gate.keyed()).status)).collect();
        wait_for("three are with Vault", 10, || door.waiting() == 3);
        wait_for("four wait", 10, || gate.metric("portcullis_requests_waiting") == 4.0);
        for refused in [read(&gate.keyed()), gate.keyed().call("whoami", &json!({}))] {
            assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_at_once"), "{refused:?}");
            assert_eq!(refused.header("retry-after"), Some("1"));
        }
        assert_eq!(door.waiting(), 3, "what waits is not with Vault");
        let other = gate.agent("agent_mtls");
        assert_eq!(other.get("/whoami").status, 200, "another agent is served");
        let through = scope.spawn(|| read(&gate.agent("agent_mtls")).status);
        wait_for("another agent's read is with Vault", 10, || door.waiting() == 4);
        door.open();
        assert_eq!(through.join().expect("an answer"), 200);
        for answer in asked {
            assert_eq!(answer.join().expect("an answer"), 200, "who waited is served");
        }
    });
    assert_eq!(gate.metric("portcullis_requests_waiting"), 0.0);
    assert_eq!(read(&gate.keyed()).status, 200);
}

fn own_turns(shared: &Shared) {
    let more = "[agents.alice]\nroles = [\"all\"]\nconcurrent = 2\n[limits]\nconcurrent = 1\nqueue = 0\n";
    let (gate, door) = slow_vault(shared, more);
    std::thread::scope(|scope| {
        let read = |name: &str| gate.agent(name).get("/secrets/a").status;
        let mut asked = Vec::new();
        for (name, most) in [("alice", 2), ("agent_mtls", 1)] {
            let before = door.waiting();
            asked.extend((0..most).map(|_| scope.spawn(move || read(name))));
            wait_for("they are with Vault", 10, || door.waiting() == before + most);
            assert_eq!(read(name), 429, "{name}");
        }
        door.open();
        asked.into_iter().for_each(|answer| assert_eq!(answer.join().expect("an answer"), 200));
    });
}

fn failures(shared: &Shared) {
    let more = "[limits]\nfailed_authentications = { requests = 3, per = \"1h\" }\n";
    let gate = Gate::start(shared.world(), &plan("rate_limit_enabled = false\n", more));
    let wrong = gate.local().with("X-API-Key", "guess");
    for _ in 0..3 {
        assert_eq!(wrong.get("/whoami").status, 401);
    }
    let refused = wrong.get("/whoami");
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_failures"));
    let wait = refused.header("retry-after").and_then(|wait| wait.parse::<u64>().ok());
    assert!(wait.is_some_and(|wait| (1000..=1200).contains(&wait)), "three an hour is one in 20 minutes: {wait:?}");
    assert_eq!(gate.keyed().get("/whoami").status, 429, "a right guess is not told apart");
    assert_eq!(gate.agent("agent_mtls").get("/whoami").status, 200, "a certificate cannot be guessed");
    assert!(gate.metric("portcullis_failed_authentications_total") >= 3.0);
}

fn bodies(shared: &Shared) {
    let gate = Gate::start(shared.world(), &plan("rate_limit_enabled = false\n", "[limits]\nbody = 2000\n"));
    let client = gate.keyed();
    let fits = json!({"data": {"v": "x".repeat(1900)}});
    let over = json!({"data": {"v": "x".repeat(2000)}});
    assert_eq!(client.put("/secrets/limit/x", &fits).status, 200);
    let refused = client.put("/secrets/limit/x", &over);
    assert_eq!((refused.status, refused.code().as_str()), (413, "body_too_large"));
    assert_eq!(client.call("kv.write", &json!({"path": "x", "data": over})).status, 413);
    // Chunked, so that the length is not known before.
    let mut stream = client.connect().expect("a connection");
    let head = format!(
        "PUT /secrets/limit/x HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        tests::API_KEY
    );
    stream.write_all(head.as_bytes()).expect("written");
    let chunk = format!("7d0\r\n{}\r\n", "x".repeat(2000));
    let _ = stream.write_all(chunk.as_bytes()).and_then(|()| stream.write_all(chunk.as_bytes()));
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&answer));
}

fn slow(shared: &Shared) {
    let more = "[limits]\nhead_timeout = \"500ms\"\nbody_timeout = \"500ms\"\n";
    let gate = Gate::start(shared.world(), &plan("rate_limit_enabled = false\n", more));
    let body = format!(
        "PUT /secrets/x HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {}\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{{",
        tests::API_KEY
    );
    for begun in ["GET /whoami HTTP/1.1\r\nHost: loc", &body] {
        let mut stream = gate.local().connect().expect("a connection");
        stream.write_all(begun.as_bytes()).expect("written");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.starts_with(b"HTTP/1.1 408"), "{begun:.20}: {}", String::from_utf8_lossy(&answer));
    }
}

/// A request of `agent_api` whose body has begun and does not end.
fn unfinished(gate: &Gate) -> Box<dyn Stream> {
    let head = format!(
        "PUT /secrets/x HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {}\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{{",
        tests::API_KEY
    );
    let mut stream = gate.local().connect().expect("a connection");
    stream.write_all(head.as_bytes()).expect("written");
    stream
}

fn overload(shared: &Shared) {
    let more = "[limits]\nrequests = 1\nrequests_per_source = 2\nbody_timeout = \"20s\"\n";
    let gate = Gate::start(shared.world(), &plan("rate_limit_enabled = false\n", more));
    let held = unfinished(&gate);
    let mut refused = None;
    wait_for("the gate is at its limit", 10, || {
        let response = gate.agent("agent_mtls").get("/whoami");
        refused = (response.status == 503).then_some(response);
        refused.is_some()
    });
    let refused = refused.expect("a refusal");
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("overloaded", Some("1")));
    assert_eq!(gate.local().get("/healthz").status, 200, "probes get in");
    assert_eq!(gate.stranger().get("/whoami").status, 401, "who has no identity takes nothing from those who have");
    assert_eq!(gate.admin_client().get("/livez").status, 200, "operators get in");
    drop(held);
    wait_for("the gate serves again", 10, || gate.agent("agent_mtls").get("/whoami").status == 200);
}

fn of_source(shared: &Shared) {
    let more = "[limits]\nrequests = 100\nrequests_per_source = 1\nbody_timeout = \"20s\"\n";
    let gate = Gate::start(shared.world(), &plan("rate_limit_enabled = false\n", more));
    let held = unfinished(&gate);
    let agent = gate.agent("agent_mtls");
    wait_for("the source is at its limit", 10, || agent.get("/whoami").code() == "too_many_from_address");
    assert_eq!(agent.get("/whoami").header("retry-after"), Some("1"));
    assert_eq!(gate.local().get("/healthz").status, 200, "probes get in");
    drop(held);
    wait_for("the gate serves again", 10, || agent.get("/whoami").status == 200);
}

fn early(shared: &Shared) {
    let gate = shared.gate();
    let mut stream = gate.local().connect().expect("a connection");
    let head = "PUT /secrets/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("written");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 401"), "{}", String::from_utf8_lossy(&answer));
}
