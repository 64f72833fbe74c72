//! MCP over standard input and output: a client's lines, through `portcullis stdio`, at a real gate.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio as Pipe};
use std::sync::Arc;

use certs::{Leaf, Signer};
use serde_json::{Value, json};
use tests::front::{Door, Verdict};
use tests::mcp::{HANDSHAKEN, STATELESS, Schema, hello, meta, request};
use tests::process::{AGENTS, API_KEY, binary};
use tests::provider::Provider;
use tests::stdio::Stdio;
use tests::{Front, Gate, Plan, free_port, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("messages_of_every_revision_are_carried", carried),
    ("each_kind_of_credential_is_shown_to_the_gate", credentials),
    ("a_credential_that_is_replaced_is_used_at_once", replaced),
    ("whoever_is_refused_is_told_why_by_an_error", refused),
    ("a_line_that_is_no_message_harms_no_other", lines),
    ("a_client_is_told_of_changes_also_after_the_gate_was_away", told),
    ("a_subscription_outlives_its_gate", subscribed),
    ("it_ends_with_its_client_and_when_it_is_told_to", ends),
    ("a_command_line_that_cannot_work_is_refused", command_line),
    ("a_gate_within_the_process_serves_one_agent_by_its_grants", inside),
    ("a_gate_within_the_process_follows_its_configuration", inside_reloads),
    ("a_gate_within_the_process_tells_that_a_call_goes_on", inside_progress),
];

/// The arguments for a gate that is spoken to with a certificate, whose files are put into `folder`.
fn with_certificate(gate: &Gate, agent: &str, folder: &Path) -> Vec<String> {
    let at = |name: &str| folder.join(name).display().to_string();
    fs::write(at("ca.crt"), gate.authority()).expect("a file");
    gate.issue(&Leaf::agent(agent)).write(folder, "agent").expect("files");
    let address = format!("https://localhost:{}", gate.tls);
    let (ca, cert, key) = (at("ca.crt"), at("agent.crt"), at("agent.key"));
    ["--gate", &address, "--ca", &ca, "--cert", &cert, "--key", &key].map(str::to_owned).into()
}

fn start(arguments: &[String]) -> Stdio {
    Stdio::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[])
}

/// Who the gate says that its caller is, by which proof.
fn whoami(stdio: &mut Stdio) -> (String, String) {
    let told = stdio.call("whoami", &json!({}));
    let text = |name: &str| told[name].as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
    (text("agent"), text("proof"))
}

fn plain(gate: &Gate) -> String {
    format!("http://127.0.0.1:{}", gate.plain)
}

fn carried(shared: &Shared) {
    let gate = shared.gate();
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = with_certificate(gate, "agent_mtls", folder.path());
    for schema in Schema::all() {
        let mut stdio = start(&arguments);
        let revision = schema.revision;
        if revision == STATELESS {
            schema.result("DiscoverResult", &stdio.request(revision, "server/discover", &json!({})));
        } else {
            let welcome = stdio.greet(revision);
            assert_eq!(welcome["result"]["protocolVersion"], revision, "{welcome}");
        }
        let tools = schema.result("ListToolsResult", &stdio.request(revision, "tools/list", &json!({})));
        assert!(tools["tools"].as_array().is_some_and(|tools| tools.len() > 10), "{tools}");
        // A name that no header can hold as it is.
        let path = format!("stdio/{revision}/schlüssel");
        let mut call = |tool: &str, arguments: &Value| {
            let params = json!({"name": tool, "arguments": arguments});
            schema.result("CallToolResult", &stdio.request(revision, "tools/call", &params))
        };
        let written = call("kv.write", &json!({"path": path, "data": {"a": "line\nbreak"}}));
        assert_ne!(written["isError"], true, "{written}");
        let read = call("kv.read", &json!({"path": path}));
        assert_eq!(
            serde_json::from_str::<Value>(read["content"][0]["text"].as_str().expect("text")).expect("JSON")["data"],
            json!({"a": "line\nbreak"})
        );
        let read = |uri: String| stdio.request(revision, "resources/read", &json!({ "uri": uri }));
        let [plain, encoded] =
            [&path, &path.replace('ü', "%C3%BC")].map(|path| format!("kv://agent_mtls/{path}")).map(read);
        let resource = schema.result("ReadResourceResult", &encoded);
        assert!(resource["contents"][0]["text"].as_str().is_some_and(|text| text.contains("break")), "{resource}");
        assert_eq!(plain.json()["result"]["contents"][0]["text"], resource["contents"][0]["text"]);
        let unknown = schema.error(&stdio.request(revision, "no/such", &json!({})));
        assert_eq!(unknown["code"], -32601, "{unknown}");
        stdio.close();
        assert_eq!(stdio.ended(), Some(0), "{}", stdio.stderr());
        stdio.says_nothing_more();
    }
    // A batch is one line, and so is its answer.
    let mut stdio = start(&arguments);
    stdio.greet(HANDSHAKEN[0]);
    let ping = |id: u8| json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
    let answers = stdio.ask(&json!([ping(1), ping(2)]));
    assert_eq!(answers, json!([{"jsonrpc": "2.0", "id": 1, "result": {}}, {"jsonrpc": "2.0", "id": 2, "result": {}}]));
}

fn credentials(shared: &Shared) {
    let key = Signer::p256("one").expect("a key");
    let provider = Provider::start(&[&key], None);
    let gate = Gate::start(shared.world(), &super::issuers::discovered(&provider.issuer()));
    let claims = json!({"iss": provider.issuer(), "sub": "svc:agent_mtls"});
    let token = key.token(&super::jwt::claims(&claims)).expect("a token");
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("key"), format!("{API_KEY}\n")).expect("a file");
    fs::write(at("token"), format!("{token}\n")).expect("a file");
    let address = plain(&gate);
    let api = ("agent_api".to_owned(), "api_key".to_owned());
    let jwt = ("agent_mtls".to_owned(), "jwt".to_owned());
    for (arguments, variables, expected) in [
        (vec!["--api-key-file", "key"], vec![], &api),
        (vec![], vec![("GATE_API_KEY", API_KEY)], &api),
        (vec!["--token-file", "token"], vec![], &jwt),
        (vec![], vec![("GATE_TOKEN", token.as_str()), ("GATE_API_KEY", "")], &jwt),
    ] {
        let arguments: Vec<String> =
            arguments.iter().map(|name| if name.starts_with('-') { (*name).to_owned() } else { at(name) }).collect();
        let variables = [vec![("GATE_URL", address.as_str())], variables].concat();
        let mut stdio = Stdio::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &variables);
        stdio.greet("2025-06-18");
        assert_eq!(whoami(&mut stdio), *expected);
    }
    // A certificate alone, with its key in the same file, and beside a token of the same agent.
    let mut arguments = with_certificate(&gate, "agent_mtls", folder.path());
    let both = ["agent.crt", "agent.key"].map(|name| fs::read_to_string(at(name)).expect("a file")).concat();
    fs::write(at("both.pem"), both).expect("a file");
    arguments.truncate(4);
    arguments.extend(["--cert".to_owned(), at("both.pem")]);
    let mut stdio = start(&arguments);
    stdio.greet("2025-06-18");
    assert_eq!(whoami(&mut stdio), ("agent_mtls".to_owned(), "certificate".to_owned()));
    arguments.extend(["--token-file".to_owned(), at("token")]);
    let mut stdio = start(&arguments);
    stdio.greet("2025-06-18");
    assert_eq!(whoami(&mut stdio), jwt);
}

fn replaced(shared: &Shared) {
    let gate = shared.gate();
    let folder = tempfile::tempdir().expect("a folder");
    let mut stdio = start(&with_certificate(gate, "agent_mtls", folder.path()));
    stdio.greet("2025-06-18");
    assert_eq!(whoami(&mut stdio).0, "agent_mtls");
    gate.issue(&Leaf::agent("agent_jwt")).write(folder.path(), "agent").expect("files");
    assert_eq!(whoami(&mut stdio).0, "agent_jwt");
    // What is half there, or nonsense, changes nothing.
    for (file, text) in [("agent.crt", "-----BEGIN"), ("agent.key", "")] {
        fs::write(folder.path().join(file), text).expect("a file");
        assert_eq!(whoami(&mut stdio).0, "agent_jwt", "{file}");
    }
    assert!(stdio.stderr().contains("the credentials stay as they were"), "{}", stdio.stderr());
    gate.issue(&Leaf::agent("agent_mtls")).write(folder.path(), "agent").expect("files");
    assert_eq!(whoami(&mut stdio).0, "agent_mtls");
}

fn refused(shared: &Shared) {
    let limited = Plan { top: "rate_limit_requests = 3\n".to_owned(), ..Plan::default() };
    let gate = Gate::start(shared.world(), &limited);
    let address = plain(&gate);
    let ping = request("ping", &json!({}));
    let mut stranger = Stdio::start(&["--gate", &address], &[("GATE_API_KEY", "k-not-this-one")]);
    // A notification that is refused writes nothing, so that what comes is the answer to the request.
    stranger.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}));
    let told = stranger.ask(&ping);
    assert_eq!((&told["id"], &told["error"]["data"]["error"]), (&json!(7), &json!("unauthenticated")), "{told}");
    assert_eq!(told["error"]["code"], -32000, "{told}");
    assert!(told["error"]["message"].as_str().is_some_and(|text| text.ends_with('.')), "{told}");
    assert!(told["error"]["data"]["request_id"].is_string(), "{told}");
    // Each message of a batch is told.
    let other = json!({"jsonrpc": "2.0", "id": "b", "method": "ping"});
    let told = stranger.ask(&json!([ping, other]));
    assert_eq!((&told[0]["id"], &told[1]["id"]), (&json!(7), &json!("b")), "{told}");
    assert!(!stranger.stderr().contains("k-not-this-one"), "{}", stranger.stderr());

    let mut keyed = Stdio::start(&["--gate", &address], &[("GATE_API_KEY", API_KEY)]);
    let limited = (0..4).map(|_| keyed.ask(&ping)).find(|told| told.get("error").is_some()).expect("a limit");
    assert_eq!(limited["error"]["data"]["error"], "rate_limited", "{limited}");
    assert!(limited["error"]["data"]["retry_after"].as_u64().is_some_and(|seconds| seconds > 0), "{limited}");

    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let mut alone = Stdio::start(&["--gate", &nowhere], &[("GATE_API_KEY", API_KEY)]);
    let told = alone.ask(&hello("2025-11-25"));
    assert_eq!(told["error"]["data"]["error"], "gate_unreachable", "{told}");
    assert!(told["error"]["message"].as_str().is_some_and(|text| text.contains("refused")), "{told}");
    // One that is not believed is not told the credential either.
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = with_certificate(&gate, "agent_mtls", folder.path());
    fs::write(folder.path().join("ca.crt"), gate.agents().pem()).expect("a file");
    let mut wary = start(&arguments);
    let told = wary.ask(&ping);
    assert!(told["error"]["message"].as_str().is_some_and(|text| text.contains("certificate")), "{told}");
}

fn lines(shared: &Shared) {
    let gate = shared.gate();
    let mut stdio = Stdio::start(&["--gate", &plain(gate)], &[("GATE_API_KEY", API_KEY)]);
    stdio.greet("2025-11-25");
    let ping = request("ping", &json!({}));
    for (bytes, code) in [
        (&b"no JSON\n"[..], -32700),
        (b"\xff\xfe\n", -32700),
        (b"[1, 2]\n", -32600),
        (&[&[b'a'; (16 << 20) + 1][..], b"\n"].concat(), -32600),
    ] {
        stdio.write(bytes);
        let told = stdio.next();
        assert_eq!((&told["error"]["code"], told.get("id")), (&json!(code), None), "{told}");
        stdio.write(b"\n\r\n");
        assert_eq!(stdio.ask(&ping)["result"], json!({}));
    }
    // What the gate does not take is its own to say.
    let large = json!({"path": "stdio/large", "data": {"a": "a".repeat(2 << 20)}});
    let told = stdio.call("kv.write", &large);
    assert_eq!(told["data"]["error"], "body_too_large", "{told}");
}

fn told(shared: &Shared) {
    let sections = AGENTS.replace("[agents.agent_api]\nroles = [\"all\"]", "[agents.agent_api]\nroles = [\"reader\"]");
    let mut gate = Gate::start(shared.world(), &Plan { sections, ..Plan::default() });
    let mut stdio = Stdio::start(&["--gate", &plain(&gate)], &[("GATE_API_KEY", API_KEY)]);
    stdio.greet("2025-06-18");
    let streams = |gate: &Gate| gate.metric("portcullis_event_streams");
    let change = |gate: &Gate, from: &str, to: &str| {
        let file = gate.folder().join("config.toml");
        let (from, to) =
            <(String, String)>::from([from, to].map(|role| format!("[agents.agent_api]\nroles = [\"{role}\"]")));
        let text = fs::read_to_string(&file).expect("a file");
        assert!(text.contains(&from));
        fs::write(&file, text.replace(&from, &to)).expect("a file");
        gate.signal("HUP");
    };
    let subscribe = request("resources/subscribe", &json!({"uri": "kv://agent_api/public/watched"}));
    let write = |gate: &Gate| gate.keyed().put("/secrets/public/watched", &json!({"data": {"a": 1}})).status;
    wait_for("a stream is open", 20, || streams(&gate) == 1.0);
    change(&gate, "reader", "all");
    stdio.notified("notifications/tools/list_changed");
    assert_eq!(stdio.ask(&subscribe)["result"], json!({}));
    assert_eq!(write(&gate), 200);
    stdio.notified("notifications/resources/updated");
    // The gate goes, and comes back: it does not know what was subscribed to, and is told again.
    gate.signal("TERM");
    assert_eq!(gate.ended(), Some(0));
    let unreachable = stdio.ask(&request("ping", &json!({})));
    assert_eq!(unreachable["error"]["data"]["error"], "gate_unreachable", "{unreachable}");
    let again = gate.start_again();
    assert_eq!(gate.replaced_by(again), Some(0));
    // What it watches may have changed meanwhile.
    stdio.notified("notifications/resources/updated");
    assert_eq!(write(&gate), 200);
    stdio.notified("notifications/resources/updated");
    change(&gate, "all", "reader");
    stdio.notified("notifications/tools/list_changed");
    stdio.close();
    assert_eq!(stdio.ended(), Some(0));
    wait_for("its stream has gone", 10, || streams(&gate) == 0.0);
}

/// Subscribes to a secret of this agent's, and gives what the client is told first.
fn subscribe(stdio: &mut Stdio, agent: &str) -> Value {
    let wanted = json!({"resourceSubscriptions": [format!("kv://{agent}/stdio/watched")]});
    let params = json!({"notifications": wanted, "_meta": meta()});
    stdio.send(&request("subscriptions/listen", &params));
    stdio.notified("notifications/subscriptions/acknowledged")
}

/// Fails where the next message does not tell that this agent's secret has changed.
fn is_told(stdio: &Stdio, agent: &str) {
    let message = stdio.next();
    Schema::of(STATELESS).check("ResourceUpdatedNotification", &message);
    assert_eq!(message["params"]["uri"], format!("kv://{agent}/stdio/watched"), "{message}");
}

fn subscribed(shared: &Shared) {
    let mut gate = Gate::start(shared.world(), &Plan::default());
    let mut stdio = Stdio::start(&["--gate", &plain(&gate)], &[("GATE_API_KEY", API_KEY)]);
    let streams = |gate: &Gate| gate.metric("portcullis_event_streams");
    let write = |gate: &Gate| gate.keyed().put("/secrets/stdio/watched", &json!({"data": {"a": 1}})).status;
    let acknowledged = subscribe(&mut stdio, "agent_api");
    Schema::of(STATELESS).check("SubscriptionsAcknowledgedNotification", &acknowledged);
    assert_eq!(write(&gate), 200);
    is_told(&stdio, "agent_api");
    // The gate ends it by its result, which is no end of it here.
    gate.signal("TERM");
    assert_eq!(gate.ended(), Some(0));
    let again = gate.start_again();
    assert_eq!(gate.replaced_by(again), Some(0));
    wait_for("the subscription is open again", 30, || {
        gate.admin_client().try_send("GET", "/readyz", &[], b"").is_ok_and(|r| r.status == 200) && streams(&gate) == 1.0
    });
    // What it watches may have changed meanwhile: the new gate does not know the last event.
    is_told(&stdio, "agent_api");
    assert_eq!(write(&gate), 200);
    is_told(&stdio, "agent_api");
    // The client ends it.
    let params = json!({"requestId": 7, "_meta": meta()});
    stdio.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}));
    wait_for("it has ended", 10, || streams(&gate) == 0.0);
    stdio.close();
    assert_eq!(stdio.ended(), Some(0));
    stdio.says_nothing_more();
}

fn ends(shared: &Shared) {
    let address = plain(shared.gate());
    let start = || Stdio::start(&["--gate", &address], &[("GATE_API_KEY", API_KEY)]);
    // What was asked before the end is answered, as where a shell pipes a few lines.
    let mut piped = start();
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
    piped.write(format!("{}\n{list}", hello("2025-06-18")).as_bytes());
    piped.close();
    assert_eq!(piped.next()["id"], 7);
    assert_eq!(piped.next()["id"], 2);
    assert_eq!(piped.ended(), Some(0));
    piped.says_nothing_more();
    for signal in ["TERM", "INT"] {
        let mut told = start();
        told.greet("2025-06-18");
        told.signal(signal);
        assert_eq!(told.ended(), Some(0), "{signal}");
        told.says_nothing_more();
    }
    // Nobody reads.
    let mut command = Command::new(binary());
    command.args(["stdio", "--gate", &address]).env_clear().env("GATE_API_KEY", API_KEY);
    let mut deaf = command.stdin(Pipe::piped()).stdout(Pipe::piped()).stderr(Pipe::null()).spawn().expect("a process");
    drop(deaf.stdout.take());
    let mut input = deaf.stdin.take().expect("its input");
    std::io::Write::write_all(&mut input, format!("{list}\n").as_bytes()).expect("it reads");
    wait_for("it has ended", 20, || deaf.try_wait().expect("its state").is_some());
    assert_eq!(deaf.wait().expect("its end").code(), Some(0));
}

fn command_line(shared: &Shared) {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = with_certificate(shared.gate(), "agent_mtls", folder.path());
    let of = |from: &str, to: &str| arguments.iter().map(|one| one.replace(from, to)).collect::<Vec<_>>();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("none"), "nothing in it").expect("a file");
    for (arguments, told) in [
        (of("https://localhost", "http://gate.corp.example"), "https://"),
        (of("agent.key", "missing.key"), "missing.key"),
        (of("agent.crt", "none"), "PEM"),
        (of("ca.crt", "none"), "certificate"),
        (arguments[..4].to_vec(), "credential"),
        (vec![], "--gate"),
    ] {
        let output = Command::new(binary()).arg("stdio").args(&arguments).env_clear().stdin(Pipe::null()).output();
        let output = output.expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]), "{said}");
        assert!(said.contains(told), "{told}: {said}");
    }
}

/// A gate within the process, by the configuration of this one, for that agent.
fn within(shared: &Shared, gate: &Gate, agent: &str) -> Stdio {
    within_before(shared, gate, agent, &[])
}

/// The same with more variables.
fn within_before(shared: &Shared, gate: &Gate, agent: &str, more: &[(&str, String)]) -> Stdio {
    let config = gate.folder().join("config.toml");
    let (role, secret) = (shared.world().role_id(), shared.world().secret_id());
    let login = [("VAULT_ROLE_ID", role), ("VAULT_SECRET_ID", secret), ("SUBJECT", agent)];
    let more = more.iter().map(|(name, value)| (*name, value.as_str()));
    let variables: Vec<_> = login.into_iter().chain(more).collect();
    Stdio::start(&["--vault", "--config", &config.display().to_string()], &variables)
}

fn inside(shared: &Shared) {
    let gate = Gate::start(shared.world(), &Plan::default());
    let mut stdio = within(shared, &gate, "agent_api");
    for schema in Schema::all() {
        let revision = schema.revision;
        if revision == STATELESS {
            schema.result("DiscoverResult", &stdio.request(revision, "server/discover", &json!({})));
        } else {
            assert_eq!(stdio.greet(revision)["result"]["protocolVersion"], revision);
        }
        schema.result("ListToolsResult", &stdio.request(revision, "tools/list", &json!({})));
        let params = json!({"name": "kv.write", "arguments": {"path": format!("within/{revision}"), "data": {"a": 1}}});
        let written = schema.result("CallToolResult", &stdio.request(revision, "tools/call", &params));
        assert_ne!(written["isError"], true, "{written}");
        assert_eq!(gate.keyed().get(&format!("/secrets/within/{revision}")).json()["data"], json!({"a": 1}));
    }
    stdio.greet("2025-06-18");
    assert_eq!(whoami(&mut stdio), ("agent_api".to_owned(), "process".to_owned()));
    let large = json!({"path": "within/large", "data": {"a": "a".repeat(2 << 20)}});
    assert_eq!(stdio.call("kv.write", &large)["data"]["error"], "body_too_large");
    stdio.close();
    assert_eq!(stdio.ended(), Some(0), "{}", stdio.stderr());
    stdio.says_nothing_more();
    let line = gate
        .log()
        .lines()
        .find(|line| line.contains("\"proof\":\"process\"") && line.contains("kv.write"))
        .map(str::to_owned);
    let line: Value = serde_json::from_str(&line.expect("a line of the request log")).expect("JSON");
    assert_eq!((&line["agent"], &line["decision"]), (&json!("agent_api"), &json!("allow")), "{line}");

    let mut reader = within(shared, &gate, "agent_jwt");
    reader.greet("2025-06-18");
    let refused = reader.call("kv.write", &json!({"path": "public/a", "data": {"a": 1}}));
    assert_eq!(refused["error"], "forbidden", "{refused}");
    let mut nobody = within(shared, &gate, "agent_none");
    nobody.close();
    assert_eq!(nobody.ended(), Some(2));
    assert!(nobody.stderr().contains("agent_none"), "{}", nobody.stderr());
}

fn inside_reloads(shared: &Shared) {
    let gate = Gate::start(shared.world(), &Plan::default());
    let mut stdio = within(shared, &gate, "agent_api");
    subscribe(&mut stdio, "agent_api");
    let write = json!({"path": "stdio/watched", "data": {"a": 1}});
    stdio.send(&request("tools/call", &json!({"name": "kv.write", "arguments": write})));
    let mut told = [stdio.next(), stdio.next()];
    told.sort_by_key(|message| message.get("method").is_some());
    assert!(told[0]["result"].is_object() && told[1]["method"] == "notifications/resources/updated", "{told:?}");
    stdio.greet("2025-06-18");
    assert_eq!(whoami(&mut stdio).0, "agent_api");
    let file = gate.folder().join("config.toml");
    let text = fs::read_to_string(&file).expect("a file");
    // Both of its streams end, and are refused from then on.
    fs::write(&file, text.replace("[agents.agent_api]\n", "[agents.agent_api]\nsuspended = true\n")).expect("a file");
    stdio.signal("HUP");
    wait_for("it is suspended", 20, || stdio.call("whoami", &json!({}))["data"]["error"] == "suspended");
    stdio.signal("TERM");
    assert_eq!(stdio.ended(), Some(0));
}

fn inside_progress(shared: &Shared) {
    let gate = Gate::start(shared.world(), &Plan::default());
    let front = Front::start(shared.world());
    assert_eq!(gate.keyed().put("/secrets/stdio/late", &json!({"data": {"a": 1}})).status, 200);
    let mut stdio = within_before(shared, &gate, "agent_api", &front.environment());
    let read = |revision: &str, id: u64, path: &str| {
        let mut own = if revision == STATELESS { meta() } else { json!({}) };
        own["progressToken"] = json!(id);
        let params = json!({"name": "kv.read", "arguments": {"path": path}, "_meta": own});
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
    };
    let is_cancelled = || {
        let log = gate.log();
        let own = log.lines().filter(|line| line.contains("\"proof\":\"process\"")).collect::<Vec<_>>();
        own.iter().any(|line| line.contains("\"kv.read\"") && line.contains("\"decision\":\"cancelled\""))
    };
    for revision in [HANDSHAKEN[3], STATELESS] {
        let schema = Schema::of(revision);
        stdio.greet(HANDSHAKEN[3]);
        let door = Arc::new(Door::default());
        front.treat("stdio/late", Verdict::Behind(Arc::clone(&door)));
        stdio.send(&read(revision, 8, "stdio/late"));
        let told = [stdio.next(), stdio.next()].map(|told| {
            schema.check("ProgressNotification", &told);
            assert_eq!(told["params"]["progressToken"], 8, "{told}");
            told["params"]["progress"].as_f64().expect("a number")
        });
        assert!(told[0] < told[1], "{told:?}");
        // What is answered at once is answered meanwhile, with nothing before it.
        stdio.send(&read(revision, 9, "stdio/none"));
        let answer = std::iter::repeat_with(|| stdio.next()).find(|next| next["params"]["progressToken"] != 8);
        assert_eq!(answer.expect("an answer")["id"], 9);
        door.open();
        let answer = std::iter::repeat_with(|| stdio.next()).find(|next| next["method"].is_null()).expect("an answer");
        schema.check("CallToolResult", &answer["result"]);
        assert_eq!((&answer["id"], &answer["result"]["structuredContent"]["data"]), (&json!(8), &json!({"a": 1})));
    }
    // Who cancels hears nothing more of it, and Vault is not waited for.
    let door = Arc::new(Door::default());
    front.treat("stdio/late", Verdict::Behind(Arc::clone(&door)));
    assert!(!is_cancelled());
    stdio.send(&read(STATELESS, 10, "stdio/late"));
    assert_eq!(stdio.next()["params"]["progressToken"], 10);
    let cancel = json!({"requestId": 10, "_meta": meta()});
    stdio.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel}));
    wait_for("it is ended", 20, is_cancelled);
    assert_eq!(door.waiting(), 1, "while Vault has it");
    door.open();
}
