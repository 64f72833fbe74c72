//! HTTP as clients really speak it: `HEAD`, targets of both forms, requests in one write.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::Command;

use certs::Signer;
use serde_json::{Value, json};
use tests::http2;
use tests::provider::Provider;
use tests::{API_KEY, Client, Gate, Plan, wait_for};

use super::issuers::discovered;
use super::jwt::{bearer, claims};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("head_is_answered_wherever_get_is", heads),
    ("head_over_http2_has_no_body", heads_over_http2),
    ("a_target_may_be_a_whole_url", targets),
    ("an_encoded_body_is_refused", encodings),
    ("requests_in_one_write_are_all_answered", pipelined),
    ("an_empty_body_needs_no_type_and_a_time_is_read_as_vault_has_it", empty),
    ("json_may_begin_with_a_byte_order_mark", marked),
    ("an_early_refusal_over_http2_reaches_curl", early),
    ("an_early_refusal_over_http2_resets_no_stream", early_frames),
    ("what_a_head_would_have_held_goes_back", heads_of_wrapped_answers),
];

/// Head and body of what is answered to `text`, whose connection is then closed.
fn raw(client: &Client, text: &str) -> (String, String) {
    let mut stream = client.connect().expect("a connection");
    stream.write_all(text.as_bytes()).and_then(|()| stream.flush()).expect("written");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text}: {answer}"));
    (head.to_owned(), body.to_owned())
}

/// The head of an answer without what differs from one request to the next.
fn lasting(head: &str) -> Vec<String> {
    let passing = ["date:", "x-request-id:", "x-correlation-id:"];
    let lines = head.lines().map(str::to_ascii_lowercase);
    lines.filter(|line| !passing.iter().any(|name| line.starts_with(name))).collect()
}

/// The heads of `GET` and `HEAD`, of which the second has no body.
fn compare(client: &Client, more: &str, target: &str) -> String {
    let ask = |method: &str| {
        raw(client, &format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n"))
    };
    let ((whole, body), (head, nothing)) = (ask("GET"), ask("HEAD"));
    assert_eq!(lasting(&whole), lasting(&head), "{target}");
    assert!(!body.is_empty() && nothing.is_empty(), "{target}: {nothing}");
    head
}

fn heads(shared: &Shared) {
    let gate = shared.gate();
    assert_eq!(gate.keyed().put("/secrets/head/x", &json!({"data": {"a": 1}})).status, 200);
    let key = format!("X-API-Key: {API_KEY}\r\n");
    for (target, status) in [
        ("/healthz", "200"),
        ("/livez", "200"),
        ("/readyz", "200"),
        ("/whoami", "200"),
        ("/secrets/head/x", "200"),
        ("/secrets/head/absent", "404"),
        ("/secrets?prefix=head%2F", "200"),
        ("/openapi.json", "200"),
        ("/docs/start.js", "200"),
        ("/nothing", "404"),
        ("/db/creds/x", "405"),
    ] {
        let head = compare(&gate.local(), &key, target);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{target}: {head}");
    }
    let refused = compare(&gate.local(), "", "/secrets/head/x");
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    for target in ["/healthz", "/admin/config", "/admin/suspensions", "/admin/nothing"] {
        compare(&gate.operator(), "", target);
    }
    let (metrics, nothing) =
        raw(&gate.operator(), "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(metrics.starts_with("HTTP/1.1 200") && nothing.is_empty(), "{metrics} {nothing}");
    // A stream of events is not opened for its head.
    let events = format!("HEAD /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{key}\r\n");
    let (head, nothing) = raw(&gate.local(), &events);
    assert!(head.to_ascii_lowercase().contains("text/event-stream") && nothing.is_empty(), "{head} {nothing}");
    wait_for("no stream is open", 10, || gate.metric("portcullis_event_streams") < 1.0);
}

fn heads_over_http2(shared: &Shared) {
    let gate = shared.gate();
    assert_eq!(gate.keyed().put("/secrets/head/h2", &json!({"data": {"a": 1}})).status, 200);
    let authority = reqwest::Certificate::from_pem(gate.authority().as_bytes()).expect("a certificate");
    let client = reqwest::blocking::Client::builder().tls_certs_only([authority]).build().expect("a client");
    for (path, status) in [("/healthz", 200), ("/secrets/head/h2", 200), ("/secrets/head/absent", 404)] {
        let url = format!("https://localhost:{}{path}", gate.tls);
        let whole = client.get(&url).header("x-api-key", API_KEY).send().expect("an answer");
        let head = client.head(&url).header("x-api-key", API_KEY).send().expect("an answer");
        assert_eq!((head.version(), head.status().as_u16()), (reqwest::Version::HTTP_2, status), "{path}");
        let length = |answer: &reqwest::blocking::Response| answer.headers()["content-length"].clone();
        assert_eq!(length(&whole), length(&head), "{path}");
        assert!(head.bytes().expect("a body").is_empty(), "{path}");
    }
}

/// The answer to a head of these lines.
fn of_lines(client: &Client, lines: &str) -> (String, String) {
    raw(client, &format!("{lines}\r\nConnection: close\r\n\r\n"))
}

fn targets(shared: &Shared) {
    let gate = shared.gate();
    let key = format!("X-API-Key: {API_KEY}");
    for (target, host) in [
        ("http://localhost:1/whoami?", "localhost:1"),
        ("https://gate.example/whoami", "gate.example"),
        ("HTTP://[::1]:7/whoami", "[::1]:7"),
    ] {
        let (head, body) = of_lines(&gate.local(), &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{key}"));
        assert!(head.starts_with("HTTP/1.1 200") && body.contains("agent_api"), "{target}: {head} {body}");
    }
    for (target, host) in [
        ("http://evil.example/whoami", "localhost"),
        ("http://localhost/whoami", "evil.example"),
        ("http://localhost:1/whoami", "localhost"),
        ("http://user@localhost/whoami", "localhost"),
        ("http:///whoami", "localhost"),
        ("ftp://localhost/whoami", "localhost"),
        ("localhost/whoami", "localhost"),
    ] {
        let (head, _) = of_lines(&gate.local(), &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{key}"));
        assert!(head.starts_with("HTTP/1.1 400"), "{target} {host}: {head}");
    }
    // A page cannot have the operators' address asked by another name that way either.
    let by = |host: &str| {
        let lines = format!("GET http://{host}/admin/config HTTP/1.1\r\nHost: {host}");
        of_lines(&gate.admin_client(), &lines).0
    };
    assert!(by("evil.example").starts_with("HTTP/1.1 403") && by("localhost").starts_with("HTTP/1.1 200"));
    for client in [gate.local(), gate.stranger(), gate.operator()] {
        let (head, nothing) = of_lines(&client, "OPTIONS * HTTP/1.1\r\nHost: localhost");
        assert!(head.starts_with("HTTP/1.1 204") && head.contains("llow: GET, HEAD") && nothing.is_empty(), "{head}");
    }
    // As curl asks by a proxy.
    let mut curl = Command::new("curl");
    let url = format!("http://127.0.0.1:{}", gate.plain);
    let asked = curl.args(["--silent", "--fail", "--proxy", &url, "http://gate.example/healthz"]).output();
    assert_eq!(String::from_utf8_lossy(&asked.expect("curl").stdout), "{\"ok\":true}");
}

fn encodings(shared: &Shared) {
    let client = shared.gate().keyed();
    let send = |coding: &str| {
        let headers = [("Content-Type", "application/json"), ("Content-Encoding", coding)];
        client.send("PUT", "/secrets/wire/encoded", &headers, br#"{"data":{"a":1}}"#)
    };
    for coding in ["gzip", "br", "identity, gzip", "x"] {
        let refused = send(coding);
        assert_eq!((refused.status, refused.code().as_str()), (415, "unsupported_content_encoding"), "{coding}");
        assert_eq!(refused.header("accept-encoding"), Some("identity"), "{coding}");
    }
    assert_eq!(send("identity").status, 200);
}

fn pipelined(shared: &Shared) {
    let gate = shared.gate();
    let key = format!("Host: localhost\r\nX-API-Key: {API_KEY}\r\n");
    let put = |value: &str, framing: &str, body: &str| {
        format!("PUT /secrets/wire/{value} HTTP/1.1\r\n{key}Content-Type: application/json\r\n{framing}\r\n\r\n{body}")
    };
    let body = |value: &str| format!("{{\"data\":{{\"v\":\"{value}\"}}}}");
    let whole = |value: &str| put(value, &format!("Content-Length: {}", body(value).len()), &body(value));
    let chunked = |value: &str| {
        let body = body(value);
        put(value, "Transfer-Encoding: chunked", &format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()))
    };
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\n{key}\r\n");
    for client in [gate.local(), gate.stranger()] {
        let requests = [
            (whole("one"), 200),
            (get("/secrets/wire/one"), 200),
            (get("/nothing"), 404),
            (chunked("two"), 200),
            (get("/secrets/wire/two"), 200),
            (format!("HEAD /healthz HTTP/1.1\r\n{key}\r\n"), 200),
            // Some clients end a body with a line of its own.
            (whole("three") + "\r\n", 200),
            (get("/secrets/wire/three"), 200),
        ];
        let mut stream = client.connect().expect("a connection");
        let all: String = requests.iter().map(|(request, _)| request.as_str()).collect();
        stream.write_all(all.as_bytes()).and_then(|()| stream.flush()).expect("written");
        for (request, status) in &requests {
            if request.starts_with("HEAD") {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).expect("a head");
                    head.extend(byte);
                }
                continue;
            }
            let answer = Client::read(&mut stream).unwrap_or_else(|error| panic!("{request}: {error}"));
            assert_eq!((answer.status, answer.header("connection")), (*status, Some("keep-alive")), "{request}");
            if let Some(value) = request.strip_prefix("GET /secrets/wire/") {
                let value = value.split(' ').next().expect("a name");
                assert_eq!(answer.json()["data"]["v"], value, "answers come in their order");
            }
        }
        // A line end and a half of the next head, of which the rest comes when there was an answer.
        let next = get("/secrets/wire/four");
        let (begun, rest) = next.split_at(12);
        let four = whole("four") + "\r\n" + begun;
        stream.write_all(four.as_bytes()).and_then(|()| stream.flush()).expect("written");
        assert_eq!(Client::read(&mut stream).expect("an answer").status, 200);
        stream.write_all(rest.as_bytes()).and_then(|()| stream.flush()).expect("written");
        assert_eq!(Client::read(&mut stream).expect("an answer").json()["data"]["v"], "four");
    }
    // A line end alone is no request, and is not answered as a bad one.
    let mut stream = TcpStream::connect(("127.0.0.1", gate.plain)).expect("a connection");
    stream.write_all((whole("six") + "\r\n").as_bytes()).expect("written");
    stream.shutdown(Shutdown::Write).expect("ended");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.matches("HTTP/1.1").count() == 1, "{answer}");
    // A body that was refused unread is still no request.
    let mut stream = gate.local().connect().expect("a connection");
    let refused = put("five", "Content-Length: 9999999", &get("/secrets/wire/one"));
    stream.write_all(refused.as_bytes()).expect("written");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 413") && answer.matches("HTTP/1.1").count() == 1, "{answer}");
}

fn empty(shared: &Shared) {
    shared.postgres();
    let gate = shared.gate();
    let client = gate.keyed();
    let mut logins = Vec::new();
    for headers in [&[][..], &[("Content-Length", "0")], &[("Content-Type", "text/plain"), ("Content-Length", "0")]] {
        let login = client.send("POST", "/db/creds/readonly", headers, b"");
        assert_eq!(login.status, 200, "{headers:?}: {login:?}");
        logins.push(login.json()["lease_id"].clone());
    }
    let chunked = |body: &str| {
        let lines = format!(
            "POST /db/creds/readonly HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {API_KEY}\r\nConnection: close\r\n\
             Transfer-Encoding: chunked\r\n\r\n{body}"
        );
        raw(&gate.local(), &lines)
    };
    let (head, body) = chunked("0\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let login: Value = serde_json::from_str(&body).expect("JSON");
    logins.push(login["lease_id"].clone());
    assert!(chunked("2\r\n{}\r\n0\r\n\r\n").0.starts_with("HTTP/1.1 415"));
    let authority = reqwest::Certificate::from_pem(gate.authority().as_bytes()).expect("a certificate");
    let http2 = reqwest::blocking::Client::builder().tls_certs_only([authority]).build().expect("a client");
    let url = format!("https://localhost:{}/db/creds/readonly", gate.tls);
    let login = http2.post(&url).header("x-api-key", API_KEY).send().expect("an answer");
    assert_eq!((login.version(), login.status().as_u16()), (reqwest::Version::HTTP_2, 200));
    let login: Value = serde_json::from_slice(&login.bytes().expect("a body")).expect("JSON");
    logins.push(login["lease_id"].clone());
    // Nothing else is thereby read without its type, and what needs an argument says so.
    assert_eq!(client.send("POST", "/db/revoke", &[], b"").status, 422);
    for (increment, status) in
        [(json!("10m"), 200), (json!("1h30m"), 200), (json!(60), 200), (json!("soon"), 422), (json!(-1), 422)]
    {
        let renewed = client.post("/db/renew", &json!({"lease_id": logins[0], "increment": increment}));
        assert_eq!(renewed.status, status, "{increment}: {renewed:?}");
    }
    for lease in logins {
        assert_eq!(client.post("/db/revoke", &json!({"lease_id": lease})).status, 200);
    }
}

fn marked(shared: &Shared) {
    let key = Signer::p256("marked").expect("a key");
    let provider = Provider::start(&[&key], None);
    provider.mark();
    let environment = vec![("API_KEYS_JSON", "\u{feff}{\"a-key-with-a-mark\": \"agent_mtls\"}".to_owned())];
    let gate = Gate::start(shared.world(), &Plan { environment, ..discovered(&provider.issuer()) });
    assert_eq!(gate.local().with("X-API-Key", "a-key-with-a-mark").get("/whoami").json()["agent"], "agent_mtls");
    let token = key.token(&claims(&json!({"iss": provider.issuer()}))).expect("a token");
    let client = bearer(gate.local(), &token);
    wait_for("the keys were read", 20, || client.get("/whoami").status == 200);
}

fn early(shared: &Shared) {
    let gate = shared.gate();
    let authority = gate.folder().join("authority-of-wire.pem");
    std::fs::write(&authority, gate.authority()).expect("written");
    let url = format!("https://localhost:{}/secrets/wire/early", gate.tls);
    let body = "x".repeat(20_000);
    for (headers, code) in [
        (&[][..], "unauthenticated"),
        (&[&format!("X-API-Key: {API_KEY}"), "Content-Type: text/plain"][..], "unsupported_media_type"),
    ] {
        for size in [1, 300, 5_000, 20_000] {
            for _ in 0..5 {
                let mut curl = Command::new("curl");
                curl.args(["--silent", "--show-error", "--http2", "--max-time", "20", "--request", "PUT", "--cacert"]);
                curl.arg(&authority).args(["--data-binary", &body[..size]]);
                for header in headers {
                    curl.args(["--header", header]);
                }
                let done = curl.arg(&url).output().expect("curl");
                let told = String::from_utf8_lossy(&done.stdout);
                let error = String::from_utf8_lossy(&done.stderr);
                assert!(done.status.success() && told.contains(code), "{size}: {told} {error}");
            }
        }
    }
}

fn early_frames(shared: &Shared) {
    let mut connection = super::floods::http2(shared.gate(), None);
    let settings = http2::frame(http2::SETTINGS, 0, 0, &[]);
    let end = http2::frame(http2::DATA, 0x1, 1, b"{}");
    let ping = http2::frame(http2::PING, 0, 0, &[7; 8]);
    let begun = [&http2::post(1, "/mcp")[..], &http2::frame(http2::DATA, 0, 1, b" "), &ping].concat();
    http2::send(&mut connection, &[http2::PREFACE, &settings, &begun].concat()).expect("sent");
    let (mut pings, mut ended) = (0, false);
    // The body ends when its head was read; whatever follows the answer comes before the second ping does.
    while pings < 2 || !ended {
        let (kind, flags, stream, _) = http2::read(&mut connection).expect("a frame");
        assert!((kind, stream) != (http2::RST_STREAM, 1), "the answer is not cut off");
        if kind == http2::PING && flags & 1 == 1 {
            pings += 1;
            if pings == 1 {
                http2::send(&mut connection, &end).expect("sent");
            }
        }
        if stream == 1 && matches!(kind, http2::DATA | http2::HEADERS) && flags & 1 == 1 {
            ended = true;
            http2::send(&mut connection, &ping).expect("sent");
        }
    }
}

fn heads_of_wrapped_answers(shared: &Shared) {
    let gate: &Gate = shared.gate();
    assert_eq!(gate.keyed().put("/secrets/head/wrapped", &json!({"data": {"a": 1}})).status, 200);
    let given_back = |gate: &Gate| gate.stderr().matches("what its agent did not get was given back to Vault").count();
    let before = given_back(gate);
    let ask = format!(
        "HEAD /secrets/head/wrapped HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-API-Key: {API_KEY}\r\n\
         X-Vault-Wrap-TTL: 5m\r\n\r\n"
    );
    let (head, nothing) = raw(&gate.local(), &ask);
    assert!(head.starts_with("HTTP/1.1 200") && nothing.is_empty(), "{head} {nothing}");
    wait_for("the wrapped answer goes back", 20, || given_back(gate) > before);
}
