//! Answers that are too large to be held: sent on as they arrive, whole or
//! visibly broken.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tests::process::AGENTS;
use tests::stub;
use tests::{Client, Gate, Plan, World, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("a_list_of_50000_keys_passes_without_being_held", many_keys),
    ("vaults_own_answers_pass_without_being_held", vaults_own),
    ("an_answer_that_breaks_off_is_visibly_broken", broken_off),
    ("an_answer_in_pieces_is_put_together", pieces),
    ("callers_that_go_away_leave_nothing_under_way", gone),
];

const KEYS: usize = 50_000;
/// As long as a name may well be, so that the list takes some megabytes.
const PADDING: &str = "a-name-that-is-as-long-as-names-of-secrets-come-to-be-";
/// Lists under way at once.
const READERS: usize = 16;
/// Answers in pieces.
const ROUNDS: usize = 50;
/// Callers that go away.
const CALLERS: usize = 8;

fn name(number: usize) -> String {
    format!("{PADDING}{number:05}")
}

/// Fills a folder of `archive` in Vault itself.
fn fill(world: &World) {
    let address = world.vault_address();
    let port: u16 = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let client = Client::plain(port).with("X-Vault-Token", world.vault.root_token());
                let mut stream = client.connect().expect("a connection");
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= KEYS {
                        return;
                    }
                    let target = format!("/v1/secret/metadata/mcp/archive/many/{}", name(number));
                    let answer = client.exchange(&mut stream, "POST", &target, &[], b"{\"max_versions\":1}");
                    assert_eq!(answer.expect("an answer").status, 204);
                }
            });
        }
    });
}

/// The most memory the process has had, in bytes.
fn peak(gate: &Gate) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gate.pid())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

fn many_keys(shared: &Shared) {
    fill(shared.world());
    let expected: Vec<String> = (0..KEYS).map(name).collect();
    let sections = format!("{AGENTS}\n[agents.archive]\nroles = [\"all\"]\n");
    let gate = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
    let client = gate.agent("archive");
    assert_eq!(client.get("/secrets?prefix=none").status, 200);
    let before = peak(&gate);

    // Everyone has asked before anyone reads.
    let ask = || {
        let mut stream = client.connect().expect("a connection");
        stream.write_all(b"GET /secrets?prefix=many HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("asked");
        stream.flush().expect("asked");
        stream
    };
    let mut readers: Vec<_> = (0..READERS).map(|_| ask()).collect();
    let mut size = 0;
    for reader in &mut readers {
        let response = Client::read(reader).expect("an answer");
        assert_eq!((response.status, response.header("transfer-encoding")), (200, Some("chunked")));
        size = response.body.len();
        assert_eq!(response.json(), json!({"keys": expected}));
    }
    let grown = peak(&gate) - before;
    assert!(size > 2 << 20, "{size}");
    assert!(grown < READERS * (256 << 10) + (8 << 20), "{grown} bytes more for {READERS} answers of {size}");

    let http2 = http2(&gate, "archive");
    let response = http2.get(format!("https://localhost:{}/secrets?prefix=many", gate.tls)).send().expect("an answer");
    assert_eq!((response.status().as_u16(), response.version()), (200, reqwest::Version::HTTP_2));
    assert_eq!(response.json::<Value>().expect("JSON"), json!({"keys": expected}));

    let own = http2.get(format!("https://localhost:{}/v1/secret/metadata/many?list=true", gate.tls)).send();
    assert_eq!(own.expect("an answer").json::<Value>().expect("JSON")["data"]["keys"], json!(expected));

    // A tool's answer carries it twice, and is held: within the limit.
    let refused = client.call("kv.list", &json!({"prefix": "many"})).json();
    assert_eq!(refused["result"]["structuredContent"]["error"], "answer_too_large", "{refused}");
}

fn vaults_own(shared: &Shared) {
    const VALUE: usize = 900 << 10;
    let gate = Gate::start(shared.world(), &Plan::default());
    let client = gate.agent("agent_mtls");
    let value = "x".repeat(VALUE);
    let body = json!({"data": {"value": value}});
    assert_eq!(client.put("/v1/secret/data/v1-large/value", &body).status, 200);
    let target = "/v1/secret/data/v1-large/value";
    assert_eq!(client.get(target).json()["data"]["data"]["value"], value);
    let before = peak(&gate);
    let mut readers: Vec<_> = (0..READERS)
        .map(|_| {
            let mut stream = client.connect().expect("a connection");
            let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).and_then(|()| stream.flush()).expect("asked");
            stream
        })
        .collect();
    for reader in &mut readers {
        let response = Client::read(reader).expect("an answer");
        assert_eq!((response.status, response.header("transfer-encoding")), (200, Some("chunked")));
        assert_eq!(response.json()["data"]["data"]["value"], value);
    }
    let grown = peak(&gate) - before;
    assert!(grown < READERS * (256 << 10) + (8 << 20), "{grown} bytes more for {READERS} answers of {VALUE}");
    let http2 = http2(&gate, "agent_mtls");
    let response = http2.get(format!("https://localhost:{}{target}", gate.tls)).send().expect("an answer");
    assert_eq!(response.json::<Value>().expect("JSON")["data"]["data"]["value"], value);
    let head = http2.head(format!("https://localhost:{}{target}", gate.tls)).send().expect("an answer");
    assert_eq!((head.status().as_u16(), head.text().expect("no body").as_str()), (200, ""));
}

fn http2(gate: &Gate, agent: &str) -> reqwest::blocking::Client {
    let issued = gate.issue(&certs::Leaf::agent(agent));
    let pem = format!("{}{}", issued.certificate, issued.key);
    reqwest::blocking::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(gate.authority().as_bytes()).expect("PEM")])
        .identity(reqwest::Identity::from_pem(pem.as_bytes()).expect("PEM"))
        .build()
        .expect("a client")
}

/// The way in which a stub in Vault's place sends a secret's value.
#[derive(Clone, Copy)]
enum Breaks {
    /// After a megabyte of it.
    Late,
    /// After its first bytes.
    Early,
    /// In the middle of it, nonsense comes.
    Nonsense,
    /// It has no end.
    Never,
}

/// Begins a secret's value, and breaks it off.
fn value(stream: &mut TcpStream, breaks: Breaks) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    let chunk = |stream: &mut TcpStream, text: &str| write!(stream, "{:x}\r\n{text}\r\n", text.len());
    chunk(stream, "{\"data\":{\"data\":{\"value\":\"")?;
    let part = "x".repeat(16 << 10);
    match breaks {
        Breaks::Early => {}
        Breaks::Late | Breaks::Nonsense => {
            for _ in 0..64 {
                chunk(stream, &part)?;
            }
            if matches!(breaks, Breaks::Nonsense) {
                chunk(stream, "\"}}} and more\n")?;
                return stream.write_all(b"0\r\n\r\n");
            }
        }
        Breaks::Never => loop {
            chunk(stream, &part)?;
        },
    }
    Err(io::ErrorKind::ConnectionAborted.into())
}

/// A gate in front of a stub.
fn before(shared: &Shared, secret: impl Fn(&mut TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Gate {
    let environment = vec![("VAULT_ADDR", stub::start(secret))];
    Gate::start(shared.world(), &Plan { environment, ..Plan::default() })
}

fn broken_off(shared: &Shared) {
    for breaks in [Breaks::Late, Breaks::Nonsense] {
        let gate = before(shared, move |stream| value(stream, breaks));
        let client = gate.agent("agent_mtls");
        let broken = client.try_send("GET", "/secrets/x", &[], b"");
        assert!(broken.is_err(), "the last chunk came: {broken:?}");
        let http2 = http2(&gate, "agent_mtls");
        let response = http2.get(format!("https://localhost:{}/secrets/x", gate.tls)).send().expect("a head");
        assert_eq!((response.status().as_u16(), response.version()), (200, reqwest::Version::HTTP_2));
        assert!(response.bytes().is_err(), "the stream ended as if all had come");
        let told = |log: &str| log.contains("upstream_unavailable") || log.contains("upstream_nonsense");
        wait_for("the log tells it", 10, || told(&gate.log()));
    }
    let gate = before(shared, |stream| value(stream, Breaks::Early));
    let refused = gate.agent("agent_mtls").get("/secrets/x");
    assert_eq!((refused.status, refused.code().as_str()), (503, "upstream_unavailable"));
}

/// Heads of chunks that arrive in two parts, and values byte by byte.
fn pieces(shared: &Shared) {
    let gate = before(shared, |stream| {
        stream.set_nodelay(true)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        let text = r#"{"data":{"data":{"value":"whole"},"metadata":{"created_time":"2026-01-01T00:00:00Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}}}"#;
        let (first, second) = text.split_at(30);
        let body = format!("{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n", first.len(), second.len());
        body.bytes().try_for_each(|byte| stream.write_all(&[byte]))
    });
    let client = gate.agent("agent_mtls");
    for _ in 0..ROUNDS {
        let response = client.get("/secrets/x");
        assert_eq!((response.status, &response.json()["data"]["value"]), (200, &json!("whole")), "{response:?}");
    }
}

fn gone(shared: &Shared) {
    let gate = before(shared, |stream| value(stream, Breaks::Never));
    let client = gate.agent("agent_mtls");
    for _ in 0..CALLERS {
        let mut stream = client.connect().expect("a connection");
        stream.write_all(b"GET /secrets/x HTTP/1.1\r\nHost: x\r\n\r\n").expect("asked");
        let mut some = [0; 4096];
        stream.read_exact(&mut some).expect("a part");
    }
    wait_for("nothing is under way", 20, || gate.metric("http_requests_in_progress") <= 1.0);
    assert_eq!(client.get("/whoami").status, 200);
}
