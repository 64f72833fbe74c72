//! The bridge with a gate that answers as it is told: sessions, streams and their breaks.

use std::io::{BufRead as _, BufReader, PipeWriter, Write as _, pipe};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{Answer, Body, Bridge, Ended, Gate, Input, Output, Trouble};

const PATIENCE: Duration = Duration::from_secs(20);
const REVISION: &str = "2025-06-18";

/// A request that the gate got.
#[derive(Debug)]
struct Asked {
    method: Method,
    headers: HeaderMap,
    message: Value,
}

/// Status, further headers and body.
type Told = (u16, Vec<(&'static str, &'static str)>, String);

type Script = dyn Fn(&Asked, usize) -> Told + Send + Sync;

/// Answers by a script, given how often the same was asked before; a call of the tool `slow` when it
/// is let.
struct Scripted {
    script: Box<Script>,
    asked: Mutex<Vec<Asked>>,
    slow: Semaphore,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn what(&self) -> &str {
        self.message["method"].as_str().unwrap_or(self.method.as_str())
    }
}

impl Gate for Arc<Scripted> {
    async fn send(&self, method: Method, headers: HeaderMap, body: Bytes) -> Result<Answer, Trouble> {
        let asked = Asked { method, headers, message: serde_json::from_slice(&body).unwrap_or_default() };
        if asked.message["params"]["name"] == "slow" {
            self.slow.acquire().await.unwrap().forget();
        }
        let mut before = self.asked.lock().unwrap();
        let count = before.iter().filter(|other| other.what() == asked.what()).count();
        let (status, headers, body) = (self.script)(&asked, count);
        before.push(asked);
        let headers = headers.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let status = StatusCode::from_u16(status).unwrap();
        Ok(Answer { status, headers: headers.collect(), body: Body::Whole(body.into()) })
    }
}

/// A client, and the bridge that serves it.
struct Client {
    input: PipeWriter,
    lines: Receiver<Value>,
    gate: Arc<Scripted>,
    bridge: JoinHandle<Ended>,
}

fn serve(script: impl Fn(&Asked, usize) -> Told + Send + Sync + 'static) -> Client {
    let gate = Arc::new(Scripted { script: Box::new(script), asked: Mutex::default(), slow: Semaphore::new(0) });
    let ((from_client, input), (from_bridge, output)) = (pipe().unwrap(), pipe().unwrap());
    let (sender, lines) = channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(from_bridge).lines().map_while(Result::ok);
        lines.try_for_each(|line| sender.send(serde_json::from_str(&line).unwrap()))
    });
    let theirs = Arc::clone(&gate);
    let bridge = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let input = Input::read(|| Box::new(BufReader::new(from_client))).unwrap();
            let (out, _) = Output::write(output);
            Bridge::new(theirs, out).run(input, std::future::pending()).await
        })
    });
    Client { input, lines, gate, bridge }
}

impl Client {
    fn send(&mut self, message: &Value) {
        writeln!(self.input, "{message}").unwrap();
    }

    fn next(&self) -> Value {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    fn greet(&mut self) {
        self.send(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": REVISION}}));
        assert_eq!(self.next()["id"], 0);
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    }

    /// Sends nothing more; what the gate was asked, in the order it was.
    fn leave(self) -> Vec<Asked> {
        drop(self.input);
        assert_eq!(self.bridge.join().unwrap(), Ended::Input);
        assert!(self.lines.recv().is_err(), "nothing more was said");
        std::mem::take(&mut self.gate.asked.lock().unwrap())
    }
}

fn call(id: u8, tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool}})
}

fn result(asked: &Asked) -> Told {
    let body = json!({"jsonrpc": "2.0", "id": asked.message["id"], "result": {"protocolVersion": REVISION}});
    (200, vec![("content-type", "application/json")], body.to_string())
}

fn stream(events: &str) -> Told {
    (200, vec![("content-type", "text/event-stream; charset=utf-8")], events.to_owned())
}

fn event(message: &Value) -> String {
    format!("data: {message}\n\n")
}

fn notification(method: &str, number: u8) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": {"number": number}})
}

/// Answers that suit every message; there are no streams.
fn usual(asked: &Asked) -> Told {
    match asked.what() {
        "GET" => (405, vec![], String::new()),
        "DELETE" => (204, vec![], String::new()),
        _ if asked.message.get("id").is_none() => (202, vec![], String::new()),
        _ => result(asked),
    }
}

#[test]
fn requests_are_answered_as_their_answers_come() {
    let mut client = serve(|asked, _| usual(asked));
    client.greet();
    client.send(&call(1, "slow"));
    client.send(&call(2, "quick"));
    assert_eq!(client.next()["id"], 2);
    client.gate.slow.add_permits(1);
    assert_eq!(client.next()["id"], 1);
    let asked = client.leave();
    let slow = asked.iter().find(|asked| asked.message["id"] == 1).unwrap();
    assert_eq!(slow.header("mcp-protocol-version"), Some(REVISION));
}

#[test]
fn a_cancelled_request_is_not_answered() {
    let mut client = serve(|asked, _| usual(asked));
    client.greet();
    client.send(&call(1, "slow"));
    client.send(
        &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1, "reason": "late"}}),
    );
    client.send(&call(2, "quick"));
    assert_eq!(client.next()["id"], 2);
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
    client.send(&json!({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "slow", "_meta": meta}}));
    let cancelled = json!({"requestId": 3, "_meta": meta});
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled}));
    client.send(&call(4, "quick"));
    assert_eq!(client.next()["id"], 4);
    client.gate.slow.add_permits(2);
    let asked: Vec<_> = client.leave().iter().map(|asked| asked.what().to_owned()).collect();
    let count = |method: &str| asked.iter().filter(|asked| *asked == method).count();
    // Where there is no handshake, the end of the connection says it.
    assert_eq!((count("notifications/cancelled"), count("tools/call")), (1, 2), "{asked:?}");
}

#[test]
fn what_waits_for_no_answer_gets_none() {
    let mut client = serve(|asked, _| match asked.message.get("id").filter(|id| id.is_u64()) {
        Some(_) if asked.message.get("method").is_some() => result(asked),
        _ => (400, vec![], json!({"jsonrpc": "2.0", "error": {"code": -32600}}).to_string()),
    });
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/odd"}));
    client.send(&json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
    client.send(&json!({"jsonrpc": "2.0", "id": null, "method": "ping"}));
    let told = client.next();
    assert_eq!((&told["error"]["code"], told.get("id")), (&json!(-32600), None), "{told}");
    client.send(&call(2, "quick"));
    assert_eq!(client.next()["id"], 2);
    client.leave();
}

#[test]
fn a_session_that_is_forgotten_is_begun_anew_with_its_subscriptions() {
    let mut client = serve(|asked, count| match (asked.what(), asked.header("mcp-session-id")) {
        ("initialize", None) => {
            let (status, mut headers, body) = result(asked);
            headers.push(("mcp-session-id", if count == 0 { "one" } else { "two" }));
            (status, headers, body)
        }
        ("tools/call", Some("one")) => (404, vec![], r#"{"error":"not_found","detail":"No session."}"#.to_owned()),
        (_, Some(_)) => usual(asked),
        (what, None) => panic!("{what} without a session"),
    });
    client.greet();
    let subscribe = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": "kv://a/b"}});
    client.send(&subscribe);
    assert_eq!(client.next()["id"], 1);
    client.send(&call(2, "kv.read"));
    let told = client.next();
    assert!(told["id"] == 2 && told["result"].is_object(), "{told}");
    let asked = client.leave();
    let told: Vec<_> = asked
        .iter()
        .filter(|asked| asked.method != Method::GET)
        .map(|asked| (asked.what(), asked.header("mcp-session-id")))
        .collect();
    assert_eq!(
        told,
        [
            ("initialize", None),
            ("notifications/initialized", Some("one")),
            ("resources/subscribe", Some("one")),
            ("tools/call", Some("one")),
            ("initialize", None),
            ("notifications/initialized", Some("two")),
            ("resources/subscribe", Some("two")),
            ("tools/call", Some("two")),
            ("DELETE", Some("two")),
        ]
    );
}

#[test]
fn a_stream_that_breaks_off_goes_on_after_its_last_event() {
    let mut client = serve(|asked, count| match (asked.what(), count) {
        ("GET", 0) => stream(&format!(": hello\n\nid: 7\n{}data: {{\"cut\"", event(&notification("one", 1)))),
        ("GET", 1) => (503, vec![], String::new()),
        ("GET", 2) => stream(&format!("{}data: no message\n\n", event(&notification("two", 2)))),
        _ => usual(asked),
    });
    client.greet();
    assert_eq!((client.next(), client.next()), (notification("one", 1), notification("two", 2)));
    let asked = client.leave();
    let streams: Vec<_> = asked.iter().filter(|asked| asked.method == Method::GET).collect();
    let after: Vec<_> = streams.iter().map(|asked| asked.header("last-event-id")).collect();
    assert_eq!(after[..3], [None, Some("7"), Some("7")]);
    assert!(streams.iter().all(|asked| asked.header("mcp-protocol-version") == Some(REVISION)));
}

#[test]
fn a_subscription_lasts_over_breaks_and_ends_until_it_is_refused() {
    let acknowledged = || event(&notification("notifications/subscriptions/acknowledged", 0));
    let mut client = serve(move |asked, count| match count {
        0 => stream(&format!("{}id: 1\n{}", acknowledged(), event(&notification("one", 1)))),
        1 => (503, vec![], String::new()),
        2 => {
            let end = serde_json::from_str(&result(asked).2).unwrap();
            stream(&(acknowledged() + &event(&notification("two", 2)) + &event(&end)))
        }
        _ => (403, vec![], json!({"jsonrpc": "2.0", "id": "s", "error": {"code": -32000}}).to_string()),
    });
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
    client.send(&json!({"jsonrpc": "2.0", "id": "s", "method": "subscriptions/listen", "params": {"_meta": meta}}));
    assert_eq!(client.next(), notification("notifications/subscriptions/acknowledged", 0));
    assert_eq!((client.next(), client.next()), (notification("one", 1), notification("two", 2)));
    let asked = client.leave();
    for asked in &asked {
        assert_eq!(asked.header("mcp-method"), Some("subscriptions/listen"));
        assert_eq!(asked.header("mcp-protocol-version"), Some("2026-07-28"));
    }
    let after: Vec<_> = asked.iter().map(|asked| asked.header("last-event-id")).collect();
    assert_eq!(after[..3], [None, Some("1"), Some("1")]);
}

#[test]
fn a_subscription_that_is_refused_is_answered() {
    let mut client = serve(|_, count| match count {
        0 => stream(&event(&notification("notifications/subscriptions/acknowledged", 0))),
        _ => (400, vec![], json!({"jsonrpc": "2.0", "id": "s", "error": {"code": -32602}}).to_string()),
    });
    client.send(&json!({"jsonrpc": "2.0", "id": "s", "method": "subscriptions/listen"}));
    assert_eq!(client.next(), notification("notifications/subscriptions/acknowledged", 0));
    assert_eq!(client.next()["error"]["code"], -32602);
    client.leave();
}

#[test]
fn an_answer_may_be_a_stream_and_one_that_breaks_off_is_an_error() {
    let mut client = serve(|asked, count| match (asked.what(), count) {
        ("tools/call", 0) => {
            stream(&(event(&notification("progress", 1)) + &event(&serde_json::from_str(&result(asked).2).unwrap())))
        }
        ("tools/call", _) => stream(&event(&notification("progress", 2))),
        _ => usual(asked),
    });
    client.greet();
    client.send(&call(1, "kv.read"));
    assert_eq!(client.next(), notification("progress", 1));
    assert_eq!(client.next()["id"], 1);
    client.send(&call(2, "kv.read"));
    assert_eq!(client.next(), notification("progress", 2));
    let told = client.next();
    assert_eq!((&told["id"], &told["error"]["data"]["error"]), (&json!(2), &json!("gate_unreachable")), "{told}");
    client.leave();
}
