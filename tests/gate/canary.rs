//! Invariant 4: secrets do not leave by the side door. Canaries are planted in
//! every place of requests and answers, and looked for in everything that the
//! gate writes; only the answer of the read that asked for one may hold it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tests::process::AGENTS;
use tests::servers::collector::Collector;
use tests::{API_KEY, Client, Gate, Plan, Response, wait_for};

use super::audit::keyed;
use super::top;
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("what_callers_send_is_not_told", callers),
    ("what_vault_answers_is_not_told", answers),
    ("a_login_that_vault_refuses_is_not_told", refused_login),
    ("the_gates_own_token_is_not_told", own_token),
];

/// The beginning of every canary; letters and digits only, so that no
/// encoding hides it.
const STEM: &str = "cnry7x";

/// The texts that must not be found.
struct Search {
    secrets: Vec<String>,
}

impl Search {
    fn new(secrets: &[&str]) -> Self {
        let mut secrets: Vec<String> = secrets.iter().map(|secret| secret.to_lowercase()).collect();
        secrets.push(STEM.to_owned());
        let search = Self { secrets };
        for planted in ["x \"CNRY7Xabc\"", "hvb.AAAAAQ", "token s.aBcDeFgHiJkLmNoPqRsTuVwX,"] {
            assert!(search.find(planted).is_some(), "{planted}");
        }
        search
    }

    /// The first secret in `text`, with what stands around it.
    fn find(&self, text: &str) -> Option<String> {
        let lower = text.to_lowercase();
        let known = self.secrets.iter().filter_map(|secret| lower.find(secret.as_str()));
        let tokens = ["hvs.", "hvb.", "hvr."].iter().filter_map(|prefix| lower.find(prefix));
        let place = known.chain(tokens).chain(bare_token(&lower)).min()?;
        let start = place.saturating_sub(80);
        Some(String::from_utf8_lossy(&lower.as_bytes()[start..lower.len().min(place + 80)]).into_owned())
    }

    fn silent(&self, what: &str, text: &str) {
        let found = self.find(text);
        assert!(found.is_none(), "{what} tells {}", found.unwrap_or_default());
    }

    /// The head of an answer, and its body unless it is the read's own.
    fn hear(&self, what: &str, response: &Response) {
        let mut body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let failed = response.status >= 400 || body["error"].is_object() || body["result"]["isError"] == true;
        self.silent(what, &format!("{} {:?}", response.status, response.headers));
        if !failed {
            return;
        }
        // JSON-RPC and MCP ask for these three to be repeated.
        if let Some(message) = body.as_object_mut() {
            message.remove("id");
        }
        if let Some(data) = body.pointer_mut("/error/data").and_then(Value::as_object_mut) {
            data.remove("requested");
            data.remove("uri");
        }
        let text = if body.is_null() { String::from_utf8_lossy(&response.body).into_owned() } else { body.to_string() };
        self.silent(what, &text);
    }

    /// Everything that the gate wrote, once it has ended.
    fn everything(&self, gate: &mut Gate) {
        for path in ["/metrics", "/readyz", "/healthz", "/nothing"] {
            let response = gate.admin_client().get(path);
            self.silent(path, &format!("{:?} {}", response.headers, String::from_utf8_lossy(&response.body)));
        }
        for path in ["/admin/agents", "/admin/config"] {
            self.silent(path, &without_proved_names(gate.admin_client().get(path).json()));
        }
        let (code, frame) = top::frame(gate.folder(), &[("COLUMNS", "300"), ("LINES", "90")]);
        assert!(code == Some(0) && frame.contains("\nalice "), "{frame}");
        let is_signed = |line: &&str| line.starts_with("certificate: ");
        self.silent("top", &frame.lines().filter(|line| !is_signed(line)).collect::<Vec<_>>().join("\n"));
        assert_eq!(gate.terminate(), Some(0));
        let (log, errors) = (gate.log(), gate.stderr());
        assert!(errors.contains("the gate ends"), "nothing was written: {errors}");
        let audit = fs::read_to_string(gate.folder().join("audit.log")).expect("the audit");
        assert!(audit.contains("\"event\":\"stop\""), "nothing was recorded: {audit}");
        self.silent("the audit", &without_signed_names(&audit));
        self.silent("the request log", &without_signed_names(&log));
        self.silent("server.log", &without_signed_names(&gate.log_file("server.log")));
        self.silent("responses.log", &without_names(&gate.log_file("responses.log")));
        self.silent("standard error", &without_signed_names(&errors));
    }
}

/// A page of operators', without the names of refused credentials that a client authority has signed.
fn without_proved_names(mut page: Value) -> String {
    let nobody = page["nobody"].as_array_mut().into_iter().flatten();
    nobody.filter(|refused| refused["certificate"] != "").for_each(|refused| refused["principal"] = json!(null));
    page.to_string()
}

/// The lines, without the name that a client authority has signed: an operator maps by it.
fn without_signed_names(lines: &str) -> String {
    let without = |line: &str| match serde_json::from_str::<Value>(line) {
        Ok(mut told) if told["certificate"].is_object() => {
            told.as_object_mut().map(|told| told.remove("user"));
            told.to_string()
        }
        Ok(mut told) if told["certificate"].is_string() || told["fingerprint"].is_string() => {
            told.as_object_mut().map(|told| told.remove("principal"));
            told.to_string()
        }
        _ => line.to_owned(),
    };
    lines.lines().map(without).collect::<Vec<_>>().join("\n")
}

/// The lines of operations, without the names of secrets, of their fields, of keys and of roles.
fn without_names(lines: &str) -> String {
    let without = |line: &str| {
        let mut told: Value = serde_json::from_str(line).expect("JSON");
        let told = told.as_object_mut().expect("an object");
        told.retain(|name, _| !["path", "prefix", "keys", "key", "role"].contains(&name.as_str()));
        json!(told).to_string()
    };
    lines.lines().map(without).collect::<Vec<_>>().join("\n")
}

/// Where a token of OpenBao's form stands: a letter, a dot, 24 letters and digits.
fn bare_token(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric();
    (0..bytes.len().saturating_sub(26)).find(|&at| {
        let begins = at == 0 || !plain(&bytes[at - 1]);
        let prefix = matches!(bytes[at], b's' | b'b' | b'r') && bytes[at + 1] == b'.';
        begins && prefix && bytes[at + 2..at + 26].iter().all(plain)
    })
}

/// A canary of its own place.
fn canary(place: &str) -> String {
    format!("{STEM}{place}")
}

/// A gate that says as much as it can.
fn plan(keys: &str, more: &[(&'static str, String)]) -> Plan {
    let mut environment = vec![("LOG_LEVEL", "trace".to_owned()), ("RUST_LOG", "trace".to_owned())];
    environment.extend_from_slice(more);
    let sections = format!(
        "{AGENTS}\n[agents.alice]\nroles = [\"all\"]\njwt = {{ subject = \"{}\" }}\n[limits]\nfailed_authentications = {{ requests = 100000, per = \"1s\" }}\n\
         [audit]\nfile = \"audit.log\"\nrequired = true\n{keys}",
        canary("subject")
    );
    Plan { sections, environment, ..Plan::default() }
}

fn callers(shared: &Shared) {
    let (world, aws) = (shared.world(), shared.kms());
    let secret = canary("jwtsecretofmorethanthirtytwobytes");
    let [held, expired] = [4_102_444_800_u64, 1].map(|end| token(&secret, end, &json!({})));
    let search = Search::new(&[
        held.rsplit('.').next().expect("a signature"),
        expired.rsplit('.').next().expect("a signature"),
        "S01TQ0FOQVJZaW5wbGFpbnRleHQ0",
        "KMSCANARYinplaintext4",
        API_KEY,
        world.secret_id(),
        world.vault.root_token(),
    ]);
    let keys = json!({canary("envkey"): "alice"}).to_string();
    let (_folder, _, of_audit) = keyed();
    let collector = Collector::start();
    let mut gate = Gate::start(
        world,
        &plan(
            &format!("{of_audit}otlp = true\n[otel]\nendpoint = \"{}\"\n", collector.endpoint()),
            &[
                ("API_KEYS_JSON", keys),
                ("VAULT_TOKEN", canary("vaulttoken")),
                ("JWT_HS256_SECRET", secret.clone()),
                ("AWS_ACCESS_KEY_ID", canary("awsid")),
                ("AWS_SECRET_ACCESS_KEY", canary("awskey")),
                ("AWS_SESSION_TOKEN", canary("awstoken")),
                ("AWS_KMS_ENDPOINT", aws.endpoint()),
                ("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization={}", canary("otlp"))),
                ("OTEL_BSP_MAX_QUEUE_SIZE", "100000".to_owned()),
            ],
        ),
    );
    let key = aws.create_key("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT");
    let by_variable = gate.local().with("X-API-Key", &canary("envkey"));
    assert_eq!(by_variable.get("/whoami").json()["agent"], "alice");
    let by_token = gate.local().with("Authorization", &format!("Bearer {held}"));
    assert_eq!(by_token.get("/whoami").json()["agent"], "alice");
    for client in [gate.agent("agent_mtls"), gate.keyed(), by_variable, by_token] {
        secrets(&search, &client);
        kms(&search, &client, &key);
        targets(&search, &client);
        headers(&search, &client);
        bodies(&search, &client);
        messages(&search, &client);
        message_headers(&search, &client);
    }
    credentials(&search, &gate);
    proofs(&search, &gate, &secret);
    search.hear("an expired token", &gate.local().with("Authorization", &format!("Bearer {expired}")).get("/whoami"));
    heads(&search, &gate);
    over_http_2(&gate);
    let requests = gate.log();
    assert!(requests.contains("\"agent\":\"alice\"") && requests.contains("kv.write"), "{requests}");
    search.everything(&mut gate);
    let spans = collector.spans("");
    assert!(spans.iter().any(|span| span.name == "tools/call kv.write"), "nothing was sent: {spans:#?}");
    for (_, body) in collector.requests().iter().filter(|(head, _)| head.starts_with("post /v1/traces ")) {
        search.silent("a trace", &String::from_utf8_lossy(body));
    }
    let logs = collector.logs();
    assert!(logs.iter().any(|log| log.body.contains("kv.write")), "no record was sent: {logs:#?}");
    for log in logs {
        search.silent("a record", &without_signed_names(&log.body));
        search.silent("beside a record", &format!("{:?} {:?}", log.attributes, log.resource));
    }
}

/// Alice's, from an issuer that knows the secret.
fn token(secret: &str, end: u64, more: &Value) -> String {
    let mut claims = json!({"iss": "mcp-auth", "aud": "mcp-agents", "sub": canary("subject"), "exp": end,
        "scope": "read write delete list", "jti": canary("jti")});
    more.as_object().expect("claims").iter().for_each(|(name, value)| claims[name] = value.clone());
    certs::Signer::shared(secret.as_bytes()).token(&claims).expect("a token")
}

/// Encrypted and decrypted by AWS KMS, and told to nobody else.
fn kms(search: &Search, client: &Client, key: &str) {
    // Base64 as it is: a canary of its own, for what goes in and comes out.
    let plain = "S01TQ0FOQVJZaW5wbGFpbnRleHQ0";
    let context = json!({canary("contextname"): canary("contextvalue")});
    let arguments = json!({"key_id": key, "plaintext": plain, "encryption_context": context});
    let sealed = client.post("/kms/encrypt", &arguments);
    assert_eq!(sealed.status, 200, "{sealed:?}");
    search.hear("an encryption", &sealed);
    let mut open = json!({"key_id": key, "ciphertext": sealed.json()["ciphertext"], "encryption_context": context});
    for opened in [client.post("/kms/decrypt", &open), client.call("kms.decrypt", &open)] {
        assert!(String::from_utf8_lossy(&opened.body).contains(plain), "{opened:?}");
        search.hear("a decryption", &opened);
    }
    open["encryption_context"] = json!({canary("contextname"): 1});
    search.hear("a context that does not fit", &client.post("/kms/decrypt", &open));
    open["encryption_context"] = json!({canary("contextname"): canary("another")});
    search.hear("a context that is not the same", &client.post("/kms/decrypt", &open));
    open["key_id"] = json!(canary("keyid"));
    search.hear("a key that is not there", &client.call("kms.decrypt", &open));
    search.hear(
        "an argument that is none",
        &client.post("/kms/encrypt", &json!({canary("kmsfield"): canary("kmsvalue")})),
    );
}

/// Written and read, and told to nobody else.
fn secrets(search: &Search, client: &Client) {
    let (name, value) = (canary("path"), canary("value"));
    let target = format!("/secrets/{name}");
    let data = json!({"data": {canary("field"): value}});
    search.hear("a write", &client.put(&target, &data));
    let read = client.get(&target);
    assert!(String::from_utf8_lossy(&read.body).contains(&value), "{read:?}");
    search.hear("a read", &read);
    search.hear("a list", &client.get("/secrets"));
    let mut arguments = data;
    arguments["path"] = json!(name);
    search.hear("a tool that writes", &client.call("kv.write", &arguments));
    for read in
        [client.call("kv.read", &json!({"path": name})), client.call_stateless("kv.read", &json!({"path": name}))]
    {
        assert!(String::from_utf8_lossy(&read.body).contains(&value), "{read:?}");
        search.hear("a tool that reads", &read);
    }
    arguments["cas"] = json!(0);
    search.hear("a conflict", &client.put(&target, &json!({"data": arguments["data"], "cas": 0})));
    search.hear("a tool's conflict", &client.call("kv.write", &arguments));
    search.hear("a delete", &client.delete(&target));
    search.hear("a deleted secret", &client.get(&target));
    search.hear("a tool's deleted secret", &client.call("kv.read", &json!({"path": name})));
}

fn targets(search: &Search, client: &Client) {
    for target in [
        "/CANARY",
        "/CANARY?CANARY=CANARY",
        "/secrets/CANARY?version=CANARY",
        "/secrets/CANARY?CANARY=1",
        "/secrets/CANARY?version=1&version=CANARY",
        "/secrets/CANARY?shared=CANARY",
        "/secrets/CANARY?shared=true",
        "/secrets/CANARY?version=%zzCANARY",
        "/secrets/%2e%2e/CANARY",
        "/secrets/CANARY/../x",
        "/secrets//CANARY",
        "/secrets/CANARY%00",
        "/secrets/CANARY%0a",
        "/secrets/CANARY%ff",
        "/secrets/CANARY%252e",
        "/secrets/CANARY\\x",
        "/secrets/CANARY:undelete",
        "/secrets/CANARY:nothing",
        "/secrets?prefix=../CANARY",
        "/secrets?CANARY=x",
        "/transit/random?bytes=CANARY",
        "/transit/random?format=CANARY",
        "/transit/CANARY",
        "/mcp?CANARY=CANARY",
        "/whoami?CANARY=CANARY",
        "/healthz/CANARY",
        "/metrics?CANARY",
        "CANARY",
        "http://CANARY/secrets/CANARY",
        "/secrets/x#CANARY",
        "*CANARY",
    ] {
        let target = target.replace("CANARY", &canary("target"));
        for method in ["GET", "PUT", "POST", "DELETE", "OPTIONS", "CNRY7XMETHOD"] {
            if let Ok(response) = client.try_send(method, &target, &[("Content-Type", "application/json")], b"{}") {
                search.hear(&format!("{method} {target}"), &response);
            }
        }
    }
    let long = format!("/secrets/{}", canary("long").repeat(2_000));
    if let Ok(response) = client.try_send("GET", &long, &[], b"") {
        search.hear("a long target", &response);
    }
}

fn headers(search: &Search, client: &Client) {
    for name in [
        "Accept",
        "Accept-Encoding",
        "Connection",
        "Content-Encoding",
        "Content-Type",
        "Cookie",
        "DPoP",
        "Expect",
        "Forwarded",
        "Host",
        "If-Match",
        "MCP-Protocol-Version",
        "Mcp-Method",
        "Mcp-Name",
        "Mcp-Session-Id",
        "Origin",
        "Proxy-Authorization",
        "Range",
        "Referer",
        "TE",
        "Traceparent",
        "Upgrade",
        "User-Agent",
        "X-Canary",
        "X-Forwarded-For",
        "X-Request-Id",
        "X-SSL-Client-S-DN",
        "X-SSL-Client-Verify",
        "X-Vault-Namespace",
        "X-Vault-Token",
        "X-Vault-Wrap-TTL",
        "X-Cnry7x-Name",
    ] {
        let value = canary("header");
        for value in [value.clone(), format!("{value} \u{fc}\u{1f511} ,;=\"{value}")] {
            for (method, target) in [("GET", "/secrets/none"), ("POST", "/mcp"), ("GET", "/readyz")] {
                if let Ok(response) = client.try_send(method, target, &[(name, &value)], b"") {
                    search.hear(&format!("{method} {target} with {name}"), &response);
                }
            }
        }
    }
    for id in ["CANARY with spaces", "CANARY\"", "CANARY/..", "CANARY\u{e9}", &"CANARY".repeat(40)] {
        let id = id.replace("CANARY", &canary("correlation"));
        search.hear("a correlation id", &client.send("GET", "/whoami", &[("X-Correlation-Id", &id)], b""));
    }
}

fn bodies(search: &Search, client: &Client) {
    for body in [
        "CANARY",
        "\"CANARY\"",
        "{\"CANARY",
        "{\"data\":{\"a\":\"CANARY\"}",
        "{\"data\":{\"a\":\"CANARY\"}}}",
        "{\"data\":{\"a\":CANARY}}",
        "{\"data\":\"CANARY\"}",
        "{\"data\":[\"CANARY\"]}",
        "{\"CANARY\":{\"a\":1}}",
        "{\"data\":{},\"CANARY\":1}",
        "{\"data\":{},\"cas\":\"CANARY\"}",
        "{\"data\":{},\"shared\":\"CANARY, expected CANARY at line CANARY\"}",
        "{\"data\":{},\"data\":{\"CANARY\":1}}",
        "{\"data\":{},\"x, expected CANARY\":1}",
        "{\"data\":{},\"path\":\"CANARY\"}",
        "{\"versions\":[\"CANARY\"]}",
        "{\"versions\":{\"CANARY\":1}}",
        "{\"data\":{\"a\":\"CANARY\u{0}\"}}",
    ] {
        let body = body.replace("CANARY", &canary("body"));
        for (method, target) in [
            ("PUT", "/secrets/body"),
            ("POST", "/secrets/body:undelete"),
            ("POST", "/secrets/body:destroy"),
            ("POST", "/mcp"),
        ] {
            for media in ["application/json", "text/plain"] {
                let response = client.send(method, target, &[("Content-Type", media)], body.as_bytes());
                search.hear(&format!("{method} {target} {body}"), &response);
            }
        }
    }
    let large = format!("{{\"data\":{{\"a\":\"{}\"}}}}", canary("large").repeat(200_000));
    for (method, target) in [("PUT", "/secrets/body"), ("POST", "/mcp")] {
        // The gate may close before it has taken it all.
        if let Ok(response) = client.try_send(method, target, &[("Content-Type", "application/json")], large.as_bytes())
        {
            assert_eq!(response.status, 413);
            search.hear("a body that is too large", &response);
        }
    }
}

fn messages(search: &Search, client: &Client) {
    let value = canary("message");
    let odd = format!("x, expected {value} at line 1");
    for message in [
        json!({"jsonrpc": value, "id": 1, "method": "ping"}),
        json!({"jsonrpc": "2.0", "id": value, "method": "ping"}),
        json!({"jsonrpc": "2.0", "id": value, "method": value}),
        json!({"jsonrpc": "2.0", "id": [value], "method": "ping"}),
        json!({"jsonrpc": "2.0", "id": value.repeat(1_000), "method": "ping"}),
        json!({"jsonrpc": "2.0", "id": 1, "method": value}),
        json!({"jsonrpc": "2.0", "id": 1, "method": [value]}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": value}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {value.as_str(): value}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "ping", value.as_str(): value}),
        json!({"jsonrpc": "2.0", "id": 1, "result": {value.as_str(): value}}),
        json!({"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": value}}),
        json!({"jsonrpc": "2.0", "method": value, "params": {"a": value}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": value}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": [value]}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": value}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": [value]}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "kv.read", "arguments": value}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"cursor": value}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": {"progressToken": value}}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": value}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "resources/list", "params": {"cursor": value}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": value}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": format!("kv://{value}/a")}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": format!("kv://agent_api/{value}")}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "resources/get", "params": {"uri": format!("kv://agent_api/../{value}")}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "resources/get", "params": {"uri": format!("kv://agent_api/a?{value}")}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "prompts/get", "params": {"name": value}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "prompts/get", "params": {"name": "kv_read", "arguments": {value.as_str(): value}}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "prompts/get", "params": {"name": "kv_write", "arguments": {"path": "a", "data": value}}}),
        json!([{"jsonrpc": "2.0", "id": 1, "method": value}, {"jsonrpc": value}]),
        json!([value]),
    ] {
        search.hear(&message.to_string(), &client.mcp(&message));
        search.hear(&message.to_string(), &client.mcp_with(&[], &message));
    }
    for arguments in [
        json!({"path": format!("../{value}")}),
        json!({"path": [value]}),
        json!({"path": "a", "version": value}),
        json!({"path": "a", "version": odd}),
        json!({"path": "a", "data": value}),
        json!({"path": "a", "data": {}, "cas": odd}),
        json!({"path": "a", "versions": [value]}),
        json!({"path": "a", "versions": value}),
        json!({"path": "a", value.as_str(): 1}),
        json!({odd.as_str(): odd}),
        json!({format!("x field {value}"): 1}),
        json!({"prefix": {value.as_str(): 1}}),
        json!({"bytes": value, "format": value}),
        json!({"format": odd}),
        json!({"format": {odd.as_str(): 1}}),
    ] {
        for tool in
            ["kv.read", "kv.write", "kv.list", "kv.delete", "kv.undelete", "kv.destroy", "transit.random", "whoami"]
        {
            search.hear(&format!("{tool} {arguments}"), &client.call(tool, &arguments));
            search.hear(&format!("{tool} {arguments}"), &client.call_stateless(tool, &arguments));
        }
    }
    search.hear("a tool", &client.call_stateless(&value, &json!({})));
}

fn message_headers(search: &Search, client: &Client) {
    let value = canary("mcpheader");
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "kv.list", "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": value, "version": value},
        "io.modelcontextprotocol/clientCapabilities": {value.as_str(): {}},
        value.as_str(): value,
    }}});
    for (name, value) in [
        ("MCP-Protocol-Version", value.clone()),
        ("MCP-Protocol-Version", format!("{value}!")),
        ("MCP-Protocol-Version", value.repeat(100)),
        ("Mcp-Method", value.clone()),
        ("Mcp-Name", value.clone()),
        ("Mcp-Name", format!("=?base64?{value}?=")),
        ("Mcp-Param-Path", value.clone()),
        ("Mcp-Session-Id", value.clone()),
    ] {
        let mut headers =
            vec![("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", "kv.list")];
        headers.retain(|(other, _)| *other != name);
        headers.push((name, &value));
        search.hear(&format!("{name} {value}"), &client.mcp_with(&headers, &message));
    }
}

fn credentials(search: &Search, gate: &Gate) {
    let value = canary("credential");
    for client in [gate.local(), gate.stranger(), gate.agent("agent_mtls"), gate.agent(&canary("agent")), gate.keyed()]
    {
        for (name, text) in [
            ("X-API-Key", value.clone()),
            ("X-API-Key", value.repeat(100)),
            ("Authorization", format!("Bearer {value}")),
            ("Authorization", format!("bearer  {value} {value}")),
            ("Authorization", format!("Basic {value}")),
            ("Authorization", format!("DPoP {value}")),
            ("Authorization", value.clone()),
            ("Authorization", format!("Bearer eyJhbGciOiJub25lIn0.{value}.{value}")),
            ("X-SSL-Client-S-DN", format!("CN={value}")),
        ] {
            for target in ["/whoami", "/secrets/x", "/mcp"] {
                search.hear(name, &client.send("GET", target, &[(name, &text)], b""));
                search.hear(name, &client.send("GET", target, &[(name, &text), (name, &text)], b""));
            }
        }
    }
}

/// Proofs beside a token that holds, one of which does.
fn proofs(search: &Search, gate: &Gate, secret: &str) {
    let key = certs::Signer::p256(&canary("kid")).expect("a key");
    let held = token(secret, 4_102_444_800, &json!({"cnf": {"jkt": key.thumbprint()}}));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let good = json!({"jti": canary("proof"), "htm": "GET", "htu": "http://localhost/whoami", "iat": now});
    let ask = |header: Value, claims: &Value| {
        let proof = key.proof(&held, &header, claims).expect("a proof");
        let client = gate.local().with("Authorization", &format!("DPoP {held}")).with("DPoP", &proof);
        client.get("/whoami")
    };
    for name in ["jti", "htm", "htu", "iat", "ath"] {
        let mut claims = good.clone();
        claims[name] = json!([canary("claim")]);
        search.hear(name, &ask(json!({}), &claims));
        claims[name] = canary("claim").into();
        search.hear(name, &ask(json!({name: canary("parameter")}), &claims));
    }
    assert_eq!(ask(json!({}), &good).json()["agent"], "alice");
    search.hear("a proof that was used", &ask(json!({}), &good));
}

/// Heads that are no heads, on both listeners.
fn heads(search: &Search, gate: &Gate) {
    for head in [
        "CANARY\r\n\r\n",
        "CANARY CANARY CANARY\r\n\r\n",
        "GET /CANARY\r\n\r\n",
        "GET /CANARY HTTP/9.9\r\n\r\n",
        "GET /CANARY HTTP/1.1CANARY\r\nHost: x\r\n\r\n",
        "GET /CANARY x HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nBad Name CANARY: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nX-API-Key CANARY\r\n\r\n",
        "GET / HTTP/1.1\r\nX-API-Key: CANARY\u{0}CANARY\r\n\r\n",
        "GET / HTTP/1.1\r\nX-API-Key: CANARY\u{1}\r\n\r\n",
        "GET / HTTP/1.1\r\n X-API-Key: CANARY\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX-API-Key: CANARY\r\n folded CANARY\r\n\r\n",
        "GET / HTTP/1.1\r\n: CANARY\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: CANARY\r\nHost: CANARY\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\nX-API-Key: CANARY\n\n",
        "GET / HTTP/1.1\r\nX-API-Key: CANARY",
        "GET /CANARY",
        "PUT /secrets/x HTTP/1.1\r\nHost: x\r\nX-API-Key: KEY\r\nContent-Type: application/json\r\nContent-Length: CANARY\r\n\r\n",
        "PUT /secrets/x HTTP/1.1\r\nHost: x\r\nX-API-Key: KEY\r\nContent-Type: application/json\r\nContent-Length: 5\r\nContent-Length: 6CANARY\r\n\r\nCANARY",
        "PUT /secrets/x HTTP/1.1\r\nHost: x\r\nX-API-Key: KEY\r\nContent-Type: application/json\r\nTransfer-Encoding: CANARY\r\n\r\nCANARY",
        "PUT /secrets/x HTTP/1.1\r\nHost: x\r\nX-API-Key: KEY\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nCANARY\r\nCANARY\r\n",
        "PUT /secrets/x HTTP/1.1\r\nHost: x\r\nX-API-Key: KEY\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nCANARYCANARY\r\n0\r\n\r\n",
        "PUT /secrets/x HTTP/1.1\r\nHost: x\r\nX-API-Key: KEY\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"data\":\"CANARY",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nCANARY CANARY CANARY CANARY",
        "CONNECT CANARY:443 HTTP/1.1\r\nHost: CANARY\r\n\r\n",
    ] {
        let head = head.replace("CANARY", &canary("head")).replace("KEY", API_KEY);
        for port in [gate.plain, gate.tls, gate.admin] {
            search.silent(&head, &raw(port, head.as_bytes()));
        }
    }
    let value = canary("longhead");
    for head in [
        format!("GET / HTTP/1.1\r\nX-Long: {}\r\n\r\n", value.repeat(20_000)),
        format!("GET / HTTP/1.1\r\n{}: x\r\n\r\n", value.repeat(20_000)),
        format!("GET / HTTP/1.1\r\n{}\r\n", format!("{value}: {value}\r\n").repeat(1_000)),
        format!("GET /{} HTTP/1.1\r\n\r\n", value.repeat(20_000)),
    ] {
        search.silent("a head that is too long", &raw(gate.plain, head.as_bytes()));
    }
}

/// Sends bytes and no more, and gives what comes back.
fn raw(port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a deadline");
    let mut answer = Vec::new();
    // The gate may close before it has taken it all.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn over_http_2(gate: &Gate) {
    let issued = gate.issue(&certs::Leaf::agent("agent_mtls"));
    let identity = reqwest::Identity::from_pem(format!("{}{}", issued.certificate, issued.key).as_bytes());
    let client = reqwest::blocking::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(gate.authority().as_bytes()).expect("a certificate")])
        .identity(identity.expect("an identity"))
        .build()
        .expect("a client");
    let value = canary("http2");
    let request = client.put(format!("https://localhost:{}/secrets/{value}", gate.tls)).header("x-canary", &value);
    let body = format!("{{\"data\":{{\"{value}\":\"{value}\"}}}}");
    let response = request.header("content-type", "application/json").body(body).send().expect("an answer");
    assert_eq!((response.version(), response.status().as_u16()), (reqwest::Version::HTTP_2, 200));
}

/// Something that stands where Vault would, and answers by the path.
fn fake_vault(answer: fn(&str) -> String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("its address"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let Some(path) = read_request(&mut stream) else { return };
                let _ = stream.write_all(answer(&path).as_bytes());
            });
        }
    });
    address
}

/// The path of a request, once all of it is there.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let length = stream.read(&mut chunk).ok().filter(|length| *length > 0)?;
        request.extend_from_slice(&chunk[..length]);
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let declared = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        if body.len() >= declared.unwrap_or(0) {
            return head.split(' ').nth(1).map(str::to_owned);
        }
    }
}

fn reply(status: u16, body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

fn healthy() -> String {
    reply(200, &json!({"initialized": true, "sealed": false, "standby": false}))
}

fn hostile_vault(path: &str) -> String {
    let value = canary("vault");
    let auth = |token: &str| json!({"auth": {"client_token": token, "accessor": value, "lease_duration": 3600, "policies": [value]}});
    let errors = |status: u16| reply(status, &json!({"errors": [value, format!("1 error occurred: {value}")]}));
    let body = |text: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    match path.rsplit('/').next().unwrap_or_default() {
        _ if path.contains("/sys/health") => healthy(),
        // Without a word on who is suspended the gate does not serve.
        _ if path.ends_with("/portcullis/suspended") => reply(404, &json!({"errors": []})),
        _ if path.contains("/transit/keys/") => errors(403),
        _ if path.contains("/auth/approle/login") => reply(200, &auth(&canary("gatetoken"))),
        _ if path.contains("/auth/token/create") => reply(200, &auth(&canary("childtoken"))),
        "0" => format!("HTTP/1.1 307 x\r\nLocation: http://{value}/{value}\r\nContent-Length: 0\r\n\r\n"),
        "1" => format!("{value} {value}\r\n\r\n"),
        "2" => format!("HTTP/1.1 {value}\r\n\r\n"),
        "3" => format!("HTTP/1.1 200 OK\r\n{value} {value}\r\nContent-Length: 0\r\n\r\n"),
        "4" => format!("HTTP/1.1 200 OK\r\nContent-Length: {value}\r\n\r\n{value}"),
        "5" => format!("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{{\"data\":\"{value}"),
        "6" => format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{value}\r\n{value}"),
        "7" => format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", value.repeat(200_000)),
        "8" => body(&value),
        "9" => {
            body(&format!("{{\"data\":{{\"data\":{{\"a\":\"{value}\"}},\"metadata\":{{\"version\":\"{value}\"}}}}}}"))
        }
        "10" => body(&format!("{{\"data\":{{\"data\":{{\"a\":\"{value}\"}}}}}}")),
        "11" => body(&format!("{{\"data\":{{\"data\":{{\"a\":{value}}}}}}}")),
        "12" => reply(404, &json!({"data": {"data": null, "metadata": {"custom_metadata": {"a": value}}}})),
        "13" => body(&format!("\"{}\"", value.repeat(800_000))),
        "14" => format!("HTTP/1.1 500 {value}\r\nX: {value}\r\nContent-Length: 0\r\n\r\n"),
        status => errors(status.parse().unwrap_or(500)),
    }
}

fn answers(shared: &Shared) {
    let search = Search::new(&[shared.world().secret_id()]);
    let address = fake_vault(hostile_vault);
    let (_folder, _, of_audit) = keyed();
    let mut gate = Gate::start(shared.world(), &plan(&of_audit, &[("VAULT_ADDR", address)]));
    let client = gate.keyed();
    for name in (0..15).chain([400, 403, 404, 405, 412, 429, 472, 473, 500, 502, 503]) {
        let target = format!("/secrets/{name}");
        let path = json!({"path": name.to_string()});
        let data = json!({"data": {"a": canary("written")}});
        let with_path = json!({"path": name.to_string(), "data": {"a": canary("written")}});
        for response in [
            client.get(&target),
            client.put(&target, &data),
            client.get(&format!("/secrets?prefix={name}")),
            client.delete(&target),
            client.call("kv.read", &path),
            client.call("kv.write", &with_path),
            client.call_stateless("kv.read", &path),
        ] {
            search.hear(&format!("an answer to {name}"), &response);
        }
        let read = client.get(&target);
        assert!(read.status >= 400, "{name}: {read:?}");
    }
    search.everything(&mut gate);
}

fn refused_login(shared: &Shared) {
    fn refusing(path: &str) -> String {
        if path.contains("/sys/health") {
            return healthy();
        }
        reply(400, &json!({"errors": [canary("login")], "data": {"secret_id": canary("login")}}))
    }
    let search = Search::new(&[]);
    let more = [("VAULT_ADDR", fake_vault(refusing)), ("VAULT_SECRET_ID", canary("secretid"))];
    let (_folder, _, of_audit) = keyed();
    let mut gate = Gate::start_unready(shared.world(), &plan(&of_audit, &more));
    wait_for("the refusal is in the log", 20, || gate.stderr().contains("cannot log in"));
    for response in [gate.admin_client().get("/readyz"), gate.keyed().get("/readyz"), gate.keyed().get("/secrets/x")] {
        assert_eq!(response.status, 503);
        search.hear("a refused login", &response);
    }
    search.everything(&mut gate);
}

fn own_token(shared: &Shared) {
    let root = shared.world().vault.root_token();
    let search = Search::new(&[root, API_KEY]);
    let more = [("VAULT_ROLE_ID", String::new()), ("VAULT_SECRET_ID", String::new()), ("VAULT_TOKEN", root.to_owned())];
    let (_folder, _, of_audit) = keyed();
    let mut gate = Gate::start(shared.world(), &plan(&of_audit, &more));
    secrets(&search, &gate.keyed());
    search.everything(&mut gate);
}
