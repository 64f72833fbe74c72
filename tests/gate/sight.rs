//! Health, metrics, the request log, and an orderly end.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use tests::{Client, Gate, Plan, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("metrics_are_for_operators_and_count_by_route_template", metrics),
    ("one_json_line_per_request_says_who_what_and_how_it_ended", log),
    ("one_json_line_per_operation_names_what_it_was_about", responses),
    ("an_agent_that_may_look_sees_what_operators_see", observed),
    ("a_gate_without_log_files_says_where_its_logs_are", without_files),
    ("the_level_of_the_server_log_changes_while_it_runs", level),
    ("the_line_of_a_refused_login_says_whose_it_was_and_why", refused_logins),
    ("readiness_details_are_for_operators", readiness),
    ("the_admin_socket_is_the_owners_alone", socket),
    ("what_changes_anything_is_asked_at_the_socket_alone", changes),
    ("a_page_in_a_browser_does_not_reach_operators_address", rebinding),
    ("sigterm_lets_requests_end_and_exits_0", sigterm),
];

fn metrics(shared: &Shared) {
    let gate = Gate::start(shared.world(), &Plan::default());
    let client = gate.agent("agent_mtls");
    client.get("/secrets/one/two");
    client.get("/secrets/one/three");
    client.call("kv.list", &json!({}));
    for outside in [gate.keyed(), client.clone()] {
        assert_eq!(outside.get("/metrics").status, 404);
    }
    let counted = || gate.metric("portcullis_decisions_total{decision=\"not_found\"}") == 4.0;
    wait_for("what was answered last is counted", 10, counted);
    let body = gate.admin_client().get("/metrics").body;
    let text = String::from_utf8(body).expect("text");
    for line in [
        "http_requests_total{method=\"GET\",route=\"/secrets/{path}\",status=\"404\"} 2",
        "http_requests_total{method=\"POST\",route=\"/mcp\",status=\"200\"} 1",
        "http_request_duration_seconds_count{method=\"GET\",route=\"/secrets/{path}\",status=\"404\"} 2",
        "portcullis_operations_total{operation=\"kv.list\",outcome=\"served\"} 1",
        "portcullis_operations_total{operation=\"kv.read\",outcome=\"not_found\"} 2",
        "portcullis_child_tokens_total{outcome=\"minted\"} 1",
        "portcullis_upstream_duration_seconds_count{operation=\"kv.read\"} 2",
        "portcullis_decisions_total{decision=\"not_found\"} 4",
        "portcullis_snapshot_version 1",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
    }
    assert!(gate.metric("http_requests_in_progress") >= 1.0, "the one that asks");
    assert!(gate.metric("http_requests_with_correlation_total") >= 3.0);
    assert!(!text.contains("one/two"), "paths are templates");
}

fn log(shared: &Shared) {
    let gate = Gate::start(shared.world(), &Plan::default());
    let client = gate.agent("agent_mtls").with("X-Correlation-Id", "trace-7");
    client.put("/secrets/logged/x", &json!({"data": {"a": 1}}));
    client.call("kv.read", &json!({"path": "logged/x"}));
    gate.agent("agent_jwt").get("/secrets/logged/x");
    gate.local().get("/whoami");
    wait_for("the lines are written", 10, || {
        gate.log().lines().filter(|line| line.contains("unauthenticated")).count() == 1
    });
    let lines: Vec<Value> = gate.log().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let find = |route: &str, agent: &str| {
        let found = lines.iter().find(|line| line["path"] == route && line["agent"].as_str().unwrap_or("") == agent);
        found.unwrap_or_else(|| panic!("{route} {agent} is not in {lines:?}"))
    };
    let put = find("/secrets/{path}", "agent_mtls");
    for (name, value) in [
        ("method", json!("PUT")),
        ("correlation_id", json!("trace-7")),
        ("proof", json!("certificate")),
        ("operation", json!("kv.write")),
        ("decision", json!("allow")),
        ("role", json!("all")),
        ("status", json!(200)),
        ("client", json!("127.0.0.1")),
    ] {
        assert_eq!(put[name], value, "{name} in {put}");
    }
    assert!(put["request_id"].is_string() && put["ts"].is_string());
    assert!(put["duration_ms"].as_f64() >= put["vault_ms"].as_f64());
    assert_eq!(find("/mcp", "agent_mtls")["operation"], "kv.read");
    let refused = find("/secrets/{path}", "agent_jwt");
    assert_eq!((&refused["decision"], &refused["status"]), (&json!("forbidden"), &json!(403)));
    assert_eq!(find("/whoami", "")["decision"], "unauthenticated");
    let file = std::fs::metadata(gate.folder().join("logs/requests.log")).expect("the log");
    assert_eq!(file.permissions().mode() & 0o777, 0o640, "it is for its owner and group");
}

fn responses(shared: &Shared) {
    let told = |gate: &Gate| {
        let client = gate.agent("agent_mtls").with("X-Correlation-Id", "trace-8");
        assert_eq!(client.put("/secrets/told/x", &json!({"data": {"a": "a value"}})).status, 200);
        client.call("kv.read", &json!({"path": "told/x", "version": 1}));
        client.get("/secrets?prefix=told");
        client.call("transit.encrypt", &json!({"key": "agents-key", "plaintext": "eA=="}));
        gate.agent("agent_jwt").get("/secrets/told/x");
        let lines = || gate.log_file("responses.log");
        wait_for("the lines are written", 10, || lines().lines().count() == 5);
        assert!(!lines().contains("a value"));
        lines().lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")).collect::<Vec<_>>()
    };
    let gate = Gate::start(shared.world(), &Plan::default());
    let (written, expected) = (
        told(&gate),
        [
            ("kv_write", "info", "agent_mtls", "allow", "path", "told/x"),
            ("kv_read", "info", "agent_mtls", "allow", "path", "told/x"),
            ("kv_list", "info", "agent_mtls", "allow", "prefix", "told"),
            ("transit_encrypt", "info", "agent_mtls", "allow", "key", "agents-key"),
            ("kv_read", "warn", "agent_jwt", "forbidden", "path", "told/x"),
        ],
    );
    for (line, (msg, lvl, subject, decision, word, name)) in written.iter().zip(expected) {
        for (field, value) in [
            ("msg", msg),
            ("lvl", lvl),
            ("logger", "portcullis.response"),
            ("subject", subject),
            ("decision", decision),
            (word, name),
        ] {
            assert_eq!(line[field], value, "{field} in {line}");
        }
        assert!(line["request_id"].is_string() && line["ts"].is_string(), "{line}");
    }
    assert_eq!((&written[0]["correlation_id"], &written[0]["version"]), (&json!("trace-8"), &json!(1)));
    assert_eq!(written[1]["version"], 1);
    for line in &written[..2] {
        assert_eq!((&line["keys"], &line["count"]), (&json!(["a"]), &json!(1)), "{line}");
    }
    assert_eq!(written[2]["count"], 1);
    assert_eq!(written[3]["key_version"], 1);
    assert!(written[4]["why"].as_str().is_some_and(|why| why.starts_with("no role grants it: ")), "{}", written[4]);
    let key = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(key.path(), "ab".repeat(32)).expect("written");
    let path = key.path().display();
    let sections = format!(
        "{}[audit]\nname_key = \"{path}\"\nstdout = true\n[logging]\nnames = \"hmac\"\n",
        tests::process::AGENTS
    );
    let gate = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
    let naming = filters::audit::Naming::of_key(&"ab".repeat(32)).expect("a key");
    let first = &told(&gate)[0];
    assert_eq!((&first["path"], &first["keys"]), (&json!(naming.of("told/x")), &json!([naming.of("a")])));
    let sections = format!("{}[logging]\nnames = \"off\"\n", tests::process::AGENTS);
    let gate = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
    for line in told(&gate) {
        assert!(["path", "prefix", "key", "keys"].iter().all(|word| line[word].is_null()), "{line}");
    }
}

fn observed(shared: &Shared) {
    let top = format!("environment = \"development\"\n{}", Plan::default().top);
    let sections = format!(
        "{}[roles.auditor]\nscopes = [\"read\"]\nobserve = true\n[roles.late]\nscopes = [\"read\"]\nobserve = true\n\
         sources = [\"192.0.2.0/24\"]\n[agents.auditor]\nroles = [\"auditor\"]\n[agents.late]\nroles = [\"late\"]\n",
        tests::process::AGENTS
    );
    let gate = Gate::start(shared.world(), &Plan { top, sections: sections.clone(), ..Plan::default() });
    let (auditor, operators) = (gate.agent("auditor"), gate.admin_client());
    gate.agent("agent_mtls").put("/secrets/seen/x", &json!({"data": {"a": "a value"}}));
    gate.agent("agent_jwt").get("/secrets/seen/x");
    for client in [&auditor, &operators] {
        let lines = |log: &str, query: &str| {
            let answer = client.get(&format!("/observability/logs/{log}?{query}"));
            assert_eq!(answer.status, 200, "{answer:?}");
            answer.json()["lines"].as_array().expect("lines").clone()
        };
        wait_for("its line", 10, || lines("responses", "msg=kv_write&path=seen%2Fx").len() == 1);
        let refused = || lines("requests", "agent=agent_jwt&status=403&limit=1");
        wait_for("the refusal's line", 10, || refused().len() == 1);
        assert_eq!(refused()[0]["decision"], json!("forbidden"));
        wait_for("a line of the server's", 10, || !lines("server", "").is_empty());
        let summary = client.get("/observability/summary").json();
        assert_eq!((&summary["ok"], &summary["readiness"]["vault"]["ok"]), (&json!(true), &json!(true)), "{summary}");
        assert!(summary["in_flight"]["requests"].is_u64() && summary["uptime_seconds"].is_u64());
        assert!(client.get("/admin/config").json()["digest"].is_string());
        assert_eq!(client.get("/observability/logs/requests?limit=0").status, 400);
        assert_eq!(client.post("/admin/reload", &Value::Null).status, 403, "a look is no change");
    }
    let echoed = auditor.with("X-Api-Key-Of-Mine", "s3cr3t").with("X-Seen", "yes").get("/echo-headers");
    assert_eq!(
        (&echoed.json()["headers"]["x-seen"], format!("{echoed:?}").contains("s3cr3t")),
        (&json!(["yes"]), false)
    );
    let paths = ["/observability/summary", "/observability/logs/requests", "/echo-headers", "/admin/config"];
    for (client, status) in [(gate.agent("agent_mtls"), 403), (gate.agent("late"), 403), (gate.local(), 401)] {
        assert_eq!(paths.map(|path| client.get(path).status), [status; 4]);
    }
    let gate = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
    assert_eq!(paths.map(|path| gate.agent("auditor").get(path).status), [200, 200, 404, 200], "not in production");
}

fn level(shared: &Shared) {
    const TOLD: &str = "\"msg\":\"the configuration was reloaded\"";
    let gate = Gate::start(shared.world(), &Plan::default());
    let reload = || assert_eq!(gate.operator().post("/admin/reload", &Value::Null).status, 200);
    let set = |level: &str| {
        let file = gate.folder().join("config.toml");
        let text = std::fs::read_to_string(&file).expect("the configuration");
        let rest = text.lines().filter(|line| !line.starts_with("log_level")).collect::<Vec<_>>().join("\n");
        std::fs::write(&file, format!("log_level = \"{level}\"\n{rest}")).expect("written");
        reload();
    };
    reload();
    let line: Value = gate
        .stderr()
        .lines()
        .find(|line| line.contains(TOLD))
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .expect("a line");
    assert_eq!((&line["lvl"], &line["logger"]), (&json!("info"), &json!("portcullis.reload")));
    set("error");
    let before = gate.stderr().matches(TOLD).count();
    reload();
    assert_eq!(gate.stderr().matches(TOLD).count(), before, "it is no error");
    set("info");
    reload();
    assert!(gate.stderr().matches(TOLD).count() > before);
    let written = || gate.log_file("server.log").matches(TOLD).count() == gate.stderr().matches(TOLD).count();
    wait_for("the file has what standard error has", 10, written);
}

fn without_files(shared: &Shared) {
    let plan = Plan { environment: vec![("LOG_DIR", "off".to_owned())], ..Plan::default() };
    let gate = Gate::start(shared.world(), &plan);
    for log in ["requests", "responses", "server"] {
        let absent = gate.admin_client().get(&format!("/observability/logs/{log}"));
        assert_eq!((absent.status, absent.code().as_str()), (404, "not_found"), "{log}");
        let told = absent.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(told.contains("LOG_DIR is off"), "{told}");
    }
    assert_eq!(gate.admin_client().get("/observability/logs/requests?limit=0").status, 400, "the query goes first");
    assert_eq!(gate.admin_client().get("/observability/summary").status, 200);
    assert!(!gate.folder().join("logs").exists() && !gate.folder().join("off").exists());
}

fn refused_logins(shared: &Shared) {
    const SECRET: &str = "a-shared-secret-of-the-tests-that-is-long-enough";
    let plan = Plan { environment: vec![("JWT_HS256_SECRET", SECRET.to_owned())], ..Plan::default() };
    let gate = Gate::start(shared.world(), &plan);
    let token = |changes: Value| {
        let token = certs::Signer::shared(SECRET.as_bytes()).token(&super::jwt::claims(&changes)).expect("a token");
        super::jwt::bearer(gate.local(), &token)
    };
    let key = "a-key-that-nobody-has";
    let issued = gate.issue(&certs::Leaf::agent("nobody"));
    let der = filters::pem::certificates(issued.certificate.as_bytes()).expect("a certificate").remove(0);
    let fingerprint = filters::secret::Digest::of(&der).to_hex();
    let long = format!("quote\" and line\n{}", "x".repeat(1000));
    let (shown, digest) = (&long[..256], tests::process::sha256(key));
    for (client, expected) in [
        (gate.local(), json!({"why": "there is no credential"})),
        (
            gate.local().with("X-API-Key", key),
            json!({"why": "the key is unknown, or has expired", "key": &digest[..8]}),
        ),
        (token(json!({"exp": 1})), json!({"why": "the token: expired", "issuer": "mcp-auth"})),
        (token(json!({"iss": "x\ny"})), json!({"why": "the token: another issuer"})),
        (
            token(json!({ "sub": long })),
            json!({"why": "the subject is mapped to no agent", "issuer": "mcp-auth", "principal": shown}),
        ),
        (
            gate.holder(&issued),
            json!({"why": "the agent of its name is none here", "certificate": fingerprint,
                "principal": "spiffe://portcullis.dev/agent/nobody"}),
        ),
        (
            gate.holder(&issued).with("X-API-Key", tests::API_KEY),
            json!({"why": "the certificate beside the credential is not its agent's", "certificate": fingerprint,
                "principal": "agent_api", "key": &tests::process::sha256(tests::API_KEY)[..8]}),
        ),
    ] {
        let answer = client.get("/whoami");
        assert_eq!(answer.status, 401);
        let id = answer.json()["request_id"].as_str().expect("an id").to_owned();
        wait_for("the line is written", 10, || gate.log().contains(&id));
        let log = gate.log();
        let line = log.lines().find(|line| line.contains(&id)).expect("a line");
        let line: Value = serde_json::from_str(line).expect("JSON");
        for name in ["why", "principal", "key", "certificate", "issuer"] {
            assert_eq!(line[name], expected[name], "{name} in {line}");
        }
        let told = String::from_utf8(answer.body).expect("text");
        assert!(!told.contains(expected["why"].as_str().expect("a reason")), "{told}");
    }
    assert!(!gate.log().contains(key));
}

fn readiness(shared: &Shared) {
    let gate = shared.gate();
    assert_eq!(gate.keyed().get("/readyz").json(), json!({"ok": true}));
    assert_eq!(gate.keyed().get("/secrets/none").status, 404);
    let detail = gate.admin_client().get("/readyz").json();
    assert_eq!((&detail["vault"]["ok"], &detail["vault"]["health"]), (&json!(true), &json!("active")), "{detail}");
    assert!(detail["vault"]["child_tokens"].as_u64() >= Some(1), "{detail}");
    assert_eq!(gate.admin_client().get("/secrets/x").status, 404, "operators' side has no agents' routes");
    assert_eq!(gate.admin_client().get("/whoami").status, 404);
}

fn socket(shared: &Shared) {
    let gate = shared.gate();
    let path = gate.folder().join("admin.sock");
    let mode = std::fs::metadata(&path).expect("a socket").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let mut stream = UnixStream::connect(&path).expect("a connection");
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("written");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"health\":\"active\""), "{answer}");
}

fn changes(shared: &Shared) {
    let gate = shared.gate();
    let admin = gate.admin_client();
    let version = || admin.get("/admin/config").json()["snapshot"].clone();
    let before = version();
    for path in ["/admin/reload", "/admin/suspensions", "/admin/config"] {
        for method in ["POST", "PUT", "DELETE"] {
            let refused = admin.send(method, path, &[("Content-Type", "application/json")], b"");
            assert_eq!((refused.status, refused.code().as_str()), (403, "socket_only"), "{method} {path}");
            let told = refused.json()["detail"].as_str().unwrap_or_default().to_owned();
            assert!(told.contains("admin.socket"), "{told}");
        }
    }
    assert_eq!(version(), before);
    assert_eq!(admin.get("/admin/suspensions").status, 200, "who is suspended is shown");
    assert_eq!(gate.operator().post("/admin/suspensions", &Value::Null).status, 200);
    assert_eq!(gate.operator().post("/admin/config", &Value::Null).status, 405);
}

/// The status of `GET path` asked by that name.
fn asked_as(client: &Client, host: &str, path: &str) -> u16 {
    let mut stream = client.connect().expect("a connection");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("written");
    Client::read(&mut stream).expect("an answer").status
}

fn rebinding(shared: &Shared) {
    let gate = Gate::start(shared.world(), &Plan::default());
    let by = |host: &str, path: &str| asked_as(&gate.admin_client(), host, path);
    let here = format!("127.0.0.1:{}", gate.admin);
    for path in ["/admin/config", "/admin/suspensions", "/metrics", "/readyz", "/healthz"] {
        for host in ["evil.example", &format!("evil.example:{}", gate.admin), "localhost.evil.example", "192.0.2.1"] {
            assert_eq!(by(host, path), 403, "{host} {path}");
        }
        for host in [&here, "localhost", &format!("localhost:{}", gate.admin), "[::1]:9901"] {
            assert_eq!(by(host, path), 200, "{host} {path}");
        }
    }
    assert_eq!(asked_as(&gate.operator(), "whatever.example", "/admin/config"), 200, "no page reaches the socket");
    let config = gate.folder().join("config.toml");
    let text = std::fs::read_to_string(&config).expect("the configuration");
    std::fs::write(&config, text.replace("[admin]\n", "[admin]\nhosts = [\"gate.internal\"]\n")).expect("a file");
    assert_eq!(gate.operator().post("/admin/reload", &Value::Null).status, 200);
    assert_eq!((by("Gate.Internal:9901", "/admin/config"), by("evil.example", "/admin/config")), (200, 403));
    assert_eq!(gate.operator().get("/admin/config").json()["pending"], json!([]), "it is in force");
}

fn sigterm(shared: &Shared) {
    let mut gate = Gate::start(shared.world(), &Plan::default());
    let client = gate.keyed();
    let mut stream = client.connect().expect("a connection");
    let head = format!(
        "PUT /secrets/drained HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {}\r\nContent-Type: application/json\r\nContent-Length: 18\r\n\r\n{{\"data\":",
        tests::API_KEY
    );
    stream.write_all(head.as_bytes()).expect("written");
    wait_for("the request is under way", 10, || gate.metric("http_requests_in_progress") >= 2.0);
    let pid = gate.pid().to_string();
    let sent = std::process::Command::new("kill").args(["-TERM", &pid]).status();
    assert!(sent.is_ok_and(|status| status.success()));
    wait_for("the gate no longer accepts", 10, || gate.local().connect().is_err());
    stream.write_all(b"{\"a\":\"b\"}}").expect("the open request goes on");
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut answer).expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(gate.terminate(), Some(0));
    assert!(gate.log().contains("kv.write"), "the last line is written too");
}
