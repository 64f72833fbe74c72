//! The configuration: checked as a whole, refused with every reason, swapped
//! while requests go on.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use serde_json::json;
use tests::process::{AGENTS, binary, sha256};
use tests::{API_KEY, Client, Gate, Plan, free_port, wait_for};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("check_says_everything_that_is_wrong_and_where", check),
    ("check_accepts_every_kind_of_file", kinds),
    ("no_report_echoes_a_value", echoes),
    ("plain_http_for_others_is_refused", loopback),
    ("a_taken_port_is_named_with_what_changes_it", taken),
    ("without_rest_routes_there_are_mcp_and_health_only", without_rest),
    ("a_change_takes_effect_on_open_connections", change),
    ("sighup_reads_the_files_again_on_open_connections", hangup),
    ("operators_have_the_files_read_and_see_what_is_in_force", operators),
    ("what_only_another_gate_can_do_is_told", pending),
    ("a_listener_never_serves_with_what_is_meant_for_another", exchanged),
    ("a_broken_file_changes_nothing", broken),
    ("keys_and_origins_are_swapped_whole", keys),
    ("a_new_key_is_its_agents_once_it_is_configured", new_key),
    ("a_server_certificate_is_swapped_for_new_connections", server_certificate),
    ("a_client_authority_that_goes_takes_its_agents_with_it", client_authority),
];

const CANARY: &str = "cnry7x";

/// Longest time for a process that is to end by itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the gate's binary in `folder` and waits for its end, which is brought about where it does
/// not come.
pub fn run(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(folder).env_clear().envs(environment.iter().copied());
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the gate");
    let (pid, (ended, waited)) = (child.id().to_string(), mpsc::channel::<()>());
    let killer = thread::spawn(move || {
        if waited.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").args(["-s", "KILL", &pid]).status();
        }
    });
    let output = child.wait_with_output().expect("the gate");
    drop(ended);
    killer.join().expect("a thread");
    output
}

/// The exit code, and everything that was said.
pub fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    (output.status.code(), text.concat())
}

/// A folder with one file.
pub fn folder_with(name: &str, text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(name), text).expect("a file");
    folder
}

fn check(_: &Shared) {
    let text = "vualt_addr = \"http://localhost:8200\"\nport = 70000\nplain = \"perhaps\"\n\n[roles.a]\nscopes = [\"sing\"]\n\n\
                [agents.a]\nroles = [\"b\"]\n";
    let folder = folder_with("gate.toml", text);
    let environment = [("RATE_LIMIT_REQUESTS", "many"), ("VAULT_ADDR", "ftp://vault")];
    for verb in [&["check", "--config", "gate.toml"][..], &["--config", "gate.toml"], &["run", "--config", "gate.toml"]]
    {
        let (code, text) = said(&run(folder.path(), verb, &environment));
        assert_eq!(code, Some(2), "{verb:?}: {text}");
        for place in [
            "gate.toml:1: unknown key `vualt_addr`",
            "did you mean `vault_addr`?",
            "gate.toml:2: `port`",
            "gate.toml:3: `plain`",
            "gate.toml:6: `roles.*.scopes`",
            "gate.toml:9: `agents.*.roles`",
            "RATE_LIMIT_REQUESTS: `rate_limit_requests`",
            "VAULT_ADDR: `vault_addr`",
        ] {
            assert!(text.contains(place), "{verb:?} does not say {place}: {text}");
        }
        assert!(text.contains("7 problems"), "{text}");
    }
    let (code, text) = said(&run(folder.path(), &["check", "--config", "missing.toml"], &[]));
    assert!(code == Some(2) && text.contains("--config"), "{text}");
}

fn kinds(_: &Shared) {
    for (name, text) in [
        ("config.toml", "vault_addr = \"http://127.0.0.1:8200\"\n[roles.a]\nscopes = [\"read\"]\nkv = [\"**\"]\n"),
        ("config.json", "{\"VAULT_ADDR\": \"http://127.0.0.1:8200\", \"port\": 8090}"),
        ("config.yaml", "vault_addr: http://127.0.0.1:8200\nroles:\n  a:\n    scopes: [read]\n    kv: [\"**\"]\n"),
        ("other.toml", ""),
    ] {
        let folder = folder_with(name, text);
        let environment: &[(&str, &str)] =
            if name.starts_with("other") { &[("APP_CONFIG_FILE", "other.toml")] } else { &[] };
        let output = run(folder.path(), &["check"], environment);
        let (code, text) = said(&output);
        assert_eq!(code, Some(0), "{name}: {text}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("configuration is valid"), "{name}: {text}");
    }
}

fn echoes(_: &Shared) {
    for (name, text) in [
        ("c.toml", "vault_addr = \"CANARY\"\nvault_token = [\"CANARY\"]\nport = \"CANARY\"\nCANARY = 1\n"),
        ("c.toml", "vault_token = CANARY\n"),
        ("c.toml", "vault_secret_id = \"CANARY\n"),
        ("c.toml", "[agents.a]\napi_keys = [{ sha256 = \"CANARY\" }]\n[agents.CANARY]\nCANARY = \"CANARY\"\n"),
        ("c.toml", "[[listeners]]\naddress = \"CANARY\"\ntls = { certificate = \"CANARY\", key = \"CANARY\" }\n"),
        ("c.json", "{\"api_keys_json\": {\"CANARY\": \"no agent CANARY\"}}"),
        ("c.json", "{\"vault_token\": CANARY}"),
        ("c.json", "[\"CANARY\"]"),
        ("c.yaml", "vault_token: *CANARY\n"),
        ("c.yaml", "vault_token: \"CANARY\\q\"\n"),
        ("c.yaml", "- CANARY\n"),
    ] {
        let text = text.replace("CANARY", CANARY);
        let folder = folder_with(name, &text);
        for verb in [&["check", "--config", name][..], &["--config", name]] {
            silent(&text, &run(folder.path(), verb, &[]));
        }
    }
    let value = format!("{CANARY} \"{CANARY}\" {{");
    let folder = folder_with("config.toml", "");
    for variable in
        ["VAULT_ADDR", "API_KEYS_JSON", "PORT", "HOST", "LOG_LEVEL", "TRUSTED_PROXIES", "CHILD_TOKEN_TTL", "RELOAD"]
    {
        silent(variable, &run(folder.path(), &["check"], &[(variable, &value)]));
    }
    for flag in ["--port", "--host", "--log-level"] {
        silent(flag, &run(folder.path(), &["check", flag, &value], &[]));
    }
}

fn silent(what: &str, output: &Output) {
    let (code, text) = said(output);
    assert_eq!(code, Some(2), "{what}: {text}");
    assert!(!text.to_lowercase().contains(CANARY), "{what}: {text}");
}

fn loopback(_: &Shared) {
    for address in ["0.0.0.0", "::", "192.0.2.1", "10.0.0.1"] {
        let folder = folder_with("config.toml", "");
        let (code, text) = said(&run(folder.path(), &[], &[("HOST", address)]));
        assert!(code == Some(2) && text.contains("HOST") && text.contains("127.0.0.1"), "{address}: {code:?} {text}");
        let place = if address.contains(':') { format!("[{address}]:8080") } else { format!("{address}:8080") };
        let folder = folder_with("config.toml", &format!("[[listeners]]\naddress = \"{place}\"\n"));
        let (code, text) = said(&run(folder.path(), &[], &[]));
        assert!(code == Some(2) && text.contains("config.toml:2"), "{address}: {code:?} {text}");
    }
}

fn taken(shared: &Shared) {
    let gate = shared.gate();
    let free = [free_port(), free_port(), free_port()].map(|port| port.to_string());
    let variables = ["PORT", "TLS_PORT", "ADMIN_PORT"];
    for (left, taken) in [gate.plain, gate.tls, gate.admin].into_iter().enumerate() {
        let mut environment: Vec<_> = variables.into_iter().zip(free.iter().map(String::as_str)).collect();
        let (variable, _) = environment.remove(left);
        let output = run(gate.folder(), &["--config", "config.toml"], &environment);
        let (code, text) = said(&output);
        assert_eq!(code, Some(2), "{variable}: {text}");
        assert!(text.contains(&format!("127.0.0.1:{taken}")) && text.contains(variable), "{variable}: {text}");
    }
    assert_eq!(gate.keyed().get("/whoami").status, 200, "the one that was there first goes on");
}

fn without_rest(shared: &Shared) {
    let environment = vec![("EXPOSE_REST_ROUTES", "false".to_owned())];
    let gate = Gate::start(shared.world(), &Plan { environment, ..Plan::default() });
    for client in [gate.keyed(), gate.agent("agent_mtls")] {
        for target in ["/secrets", "/secrets/x", "/transit/random"] {
            let response = client.get(target);
            assert_eq!((response.status, response.code().as_str()), (404, "not_found"), "{target}");
        }
        assert_eq!(client.put("/secrets/x", &json!({"data": {}})).status, 404);
        assert_eq!(client.delete("/secrets/x").status, 404);
        let written = client.call("kv.write", &json!({"path": "rest/off", "data": {"a": 1}})).json();
        assert_eq!(written["result"]["isError"], false, "{written}");
        assert_eq!(client.post("/mcp/rpc", &json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).status, 200);
        assert_eq!(client.get("/healthz").status, 200);
        assert_eq!(client.get("/readyz").status, 200);
    }
    assert_eq!(gate.local().get("/secrets/x").status, 401, "whether there is a route is told to agents only");
}

/// A plan of a gate that watches its files, with these sections more; who asks again and again until
/// it is known is not taken for one who guesses.
pub fn watched(more: &str) -> Plan {
    let many = "[limits]\nfailed_authentications = { requests = 100000, per = \"1s\" }\n";
    let environment = vec![("RELOAD", "true".to_owned())];
    Plan { environment, sections: format!("{AGENTS}{more}\n{many}"), ..Plan::default() }
}

/// A gate that watches its files.
fn watching(shared: &Shared) -> Gate {
    Gate::start(shared.world(), &watched(""))
}

/// Replaces the configuration as editors do: a new file takes the old one's place.
fn rewrite(gate: &Gate, change: impl FnOnce(String) -> String) {
    let path = gate.folder().join("config.toml");
    let text = fs::read_to_string(&path).expect("the configuration");
    let changed = change(text.clone());
    assert_ne!(changed, text, "nothing is changed");
    let beside = gate.folder().join("config.toml.new");
    fs::write(&beside, changed).expect("a file");
    fs::rename(&beside, &path).expect("in its place");
}

/// A caller on one connection, which must not break.
struct Kept {
    client: Client,
    stream: Box<dyn tests::client::Stream>,
}

impl Kept {
    fn new(client: Client) -> Self {
        let stream = client.connect().expect("a connection");
        Self { client, stream }
    }

    fn status(&mut self, target: &str) -> u16 {
        let answer = self.client.exchange(&mut self.stream, "GET", target, &[], b"");
        answer.expect("the connection stays").status
    }

    fn becomes(&mut self, target: &str, status: u16) {
        wait_for(&format!("{target} is {status}"), 20, || self.status(target) == status);
    }
}

fn change(shared: &Shared) {
    let gate = watching(shared);
    let mut alice = Kept::new(gate.agent("alice"));
    let mut reader = Kept::new(gate.agent("agent_jwt"));
    let mut other = Kept::new(gate.keyed());
    assert_eq!(alice.status("/whoami"), 401);
    assert_eq!(reader.status("/secrets?prefix=private"), 403);
    assert_eq!(other.status("/whoami"), 200);
    rewrite(&gate, |text| {
        let text = text.replace("kv = [\"public/**\"]", "kv = [\"private/**\"]");
        format!("{text}\n[agents.alice]\nroles = [\"all\"]\n")
    });
    alice.becomes("/whoami", 200);
    // The same snapshot holds both changes.
    assert_eq!(reader.status("/secrets?prefix=private"), 200);
    assert_eq!(reader.status("/secrets?prefix=public"), 403);
    assert_eq!(other.status("/whoami"), 200);
    assert_eq!(gate.metric("portcullis_reloads_total"), 1.0);
    assert_eq!(gate.metric("portcullis_snapshot_version"), 2.0);
    // And what was given is taken again.
    rewrite(&gate, |text| text.replace("[agents.alice]\nroles = [\"all\"]\n", ""));
    alice.becomes("/whoami", 401);
    assert_eq!(other.status("/whoami"), 200);
}

fn new_key(shared: &Shared) {
    let gate = watching(shared);
    let made = run(gate.folder(), &["key", "new", "alice.b"], &[]);
    assert!(made.status.success());
    let (key, entry) = (String::from_utf8(made.stdout).expect("text"), String::from_utf8(made.stderr).expect("text"));
    let key = key.trim_end();
    assert!(key.starts_with("pck_") && key.len() == 47 && !entry.contains(key), "{entry}");
    let mut holder = Kept::new(gate.local().with("X-API-Key", key));
    assert_eq!(holder.status("/whoami"), 401);
    rewrite(&gate, |text| format!("{text}\n{entry}roles = [\"all\"]\n"));
    holder.becomes("/whoami", 200);
    assert_eq!(gate.local().with("X-API-Key", key).get("/whoami").json()["agent"], "alice.b");
    let refused = run(gate.folder(), &["key", "new", "No Agent"], &[]);
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(2), 0));
}

fn operators(shared: &Shared) {
    let gate = Gate::start(shared.world(), &Plan::default());
    let admin = gate.operator();
    let before = admin.get("/admin/config").json();
    assert_eq!((&before["snapshot"], &before["agents"]), (&1.into(), &3.into()), "{before}");
    assert_eq!(before["digest"].as_str().map(str::len), Some(64), "{before}");
    let same = admin.post("/admin/reload", &serde_json::Value::Null);
    assert_eq!((same.status, same.json()), (200, serde_json::json!({"snapshot": 2})));
    assert_eq!(admin.get("/admin/config").json()["digest"], before["digest"], "the files are the same");
    rewrite(&gate, |text| format!("{text}\n[agents.carol]\n"));
    assert_eq!(admin.post("/admin/reload", &serde_json::Value::Null).json()["snapshot"], 3);
    let after = admin.get("/admin/config").json();
    assert_eq!(after["agents"], 4, "{after}");
    assert_ne!(after["digest"], before["digest"]);
    let told = told(&gate);
    assert_eq!((&told["added"], &told["removed"]), (&"agents.carol".into(), &"".into()), "{told}");
    assert!(told["changed"].as_str().is_some_and(|changed| changed.ends_with("/config.toml")), "{told}");
    assert_eq!(gate.metric("portcullis_reload_changes_total{change=\"added\"}"), 1.0);
    rewrite(&gate, |text| format!("{text}\n[agents.dave]\nroles = [\"nobody-has-it\"]\n"));
    let refused = admin.post("/admin/reload", &serde_json::Value::Null);
    assert_eq!((refused.status, refused.code().as_str()), (422, "configuration_refused"));
    let detail = refused.json()["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.contains("names a role that is not defined"), "{detail}");
    assert_eq!(admin.get("/admin/config").json()["snapshot"], 3, "the last good one stays");
    assert_eq!(admin.get("/admin/reload").status, 405);
    assert_eq!(gate.local().post("/admin/reload", &serde_json::Value::Null).status, 401, "that is for operators");
}

/// The gate's log line about its last reload.
fn told(gate: &Gate) -> serde_json::Value {
    let said = gate.stderr();
    let line = said.lines().rfind(|line| line.contains("the configuration was reloaded"));
    serde_json::from_str(line.expect("a line of the log")).expect("JSON")
}

fn hangup(shared: &Shared) {
    let gate = Gate::start(shared.world(), &Plan::default());
    let mut alice = Kept::new(gate.agent("alice"));
    assert_eq!(alice.status("/whoami"), 401);
    rewrite(&gate, |text| format!("{text}\n[agents.alice]\nroles = [\"all\"]\n"));
    assert_eq!(gate.metric("portcullis_reloads_total"), 0.0, "nothing is watched");
    gate.signal("HUP");
    alice.becomes("/whoami", 200);
    rewrite(&gate, |text| format!("{text}\n[roles.broken]\nscopes = 1\n"));
    gate.signal("HUP");
    wait_for("the fault is counted", 20, || gate.metric("portcullis_reload_failures_total") > 0.0);
    assert_eq!(alice.status("/whoami"), 200, "the last good one stays");
}

fn pending(shared: &Shared) {
    let gate = Gate::start(shared.world(), &Plan::default());
    let admin = gate.operator();
    let good = fs::read_to_string(gate.folder().join("config.toml")).expect("the configuration");
    let pending = || admin.get("/admin/config").json()["pending"].clone();
    let read = |text: String| {
        rewrite(&gate, |_| text);
        let answer = admin.post("/admin/reload", &json!(null));
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    assert_eq!((pending(), gate.local().get("/metrics").status), (json!([]), 401));
    read(format!("plain_metrics = true\n{good}\n[upstream]\ntimeout = \"31s\"\n[logging]\nrequests = false\n"));
    assert_eq!(pending(), json!(["logging", "upstream"]));
    assert!(gate.stderr().contains("\"sections\":\"logging, upstream\""), "{}", gate.stderr());
    assert_eq!(gate.local().get("/metrics").status, 200, "what a reload can change is changed");
    // It is told until it is so.
    read(format!("{good}\n[upstream]\ntimeout = \"31s\"\n[agents.dave]\n"));
    assert_eq!((pending(), gate.local().get("/metrics").status), (json!(["upstream"]), 401));
    read(good);
    assert_eq!(pending(), json!([]));
}

fn exchanged(shared: &Shared) {
    let port = free_port();
    let closed = format!(
        "[[listeners]]\naddress = \"127.0.0.1:{port}\"\ntls = {{ certificate = \"server.crt\", key = \"server.key\" }}\n"
    );
    let plan = Plan::default();
    let gate = Gate::start(shared.world(), &Plan { sections: format!("{}{closed}", plan.sections), ..plan });
    let identity = gate.issue(&certs::Leaf::agent("agent_mtls"));
    let believed = |port| Client::tls(port, gate.authority(), Some(&identity)).get("/whoami").status;
    assert_eq!((believed(gate.tls), believed(port)), (200, 401));
    let here = format!("127.0.0.1:{}", gate.tls);
    let there = format!("127.0.0.1:{port}");
    rewrite(&gate, |text| text.replace(&here, "here").replace(&there, &here).replace("here", &there));
    let refused = gate.operator().post("/admin/reload", &json!(null));
    assert_eq!((refused.status, refused.code().as_str()), (422, "configuration_refused"));
    assert!(refused.json()["detail"].as_str().is_some_and(|detail| detail.contains("needs another gate")));
    assert_eq!((believed(gate.tls), believed(port)), (200, 401));
}

fn broken(shared: &Shared) {
    let gate = watching(shared);
    let mut other = Kept::new(gate.keyed());
    let mut alice = Kept::new(gate.agent("alice"));
    let good = fs::read_to_string(gate.folder().join("config.toml")).expect("the configuration");
    let with_alice = "\n[agents.alice]\nroles = [\"all\"]\n";
    for (failures, more) in [
        format!("{with_alice}[roles.other]\nscopes = [\"{CANARY}\"]\n"),
        format!("{with_alice}{CANARY} = \n"),
        format!("{with_alice}[[listeners]]\naddress = \"127.0.0.1:{}\"\n", free_port()),
    ]
    .into_iter()
    .enumerate()
    {
        rewrite(&gate, |_| format!("{good}{more}"));
        let failures = (failures + 1) as f64;
        wait_for("the file is refused", 20, || gate.metric("portcullis_reload_failures_total") == failures);
        assert_eq!(other.status("/whoami"), 200);
        assert_eq!(alice.status("/whoami"), 401, "nothing of a broken file is used: {more}");
        assert_eq!(gate.metric("portcullis_reloads_total"), 0.0);
        assert_eq!(gate.metric("portcullis_snapshot_version"), 1.0);
    }
    let errors = gate.stderr();
    assert!(errors.contains("the last good one stays") && errors.contains("config.toml:"), "{errors}");
    assert!(!errors.contains(CANARY), "{errors}");
    rewrite(&gate, |_| format!("{good}{with_alice}"));
    alice.becomes("/whoami", 200);
    assert_eq!(other.status("/whoami"), 200);
}

fn keys(shared: &Shared) {
    let gate = watching(shared);
    let mut old = Kept::new(gate.keyed());
    let mut new = Kept::new(gate.local().with("X-API-Key", "another-key"));
    assert_eq!((old.status("/whoami"), new.status("/whoami")), (200, 401));
    let page = [("Origin", "https://page.example")];
    let from_page = || gate.keyed().send("GET", "/healthz", &page, b"").status;
    assert_eq!(from_page(), 403);
    rewrite(&gate, |text| {
        let text = text.replace(&sha256(API_KEY), &sha256("another-key"));
        format!("cors_allow_origins = [\"https://page.example\"]\n{text}")
    });
    new.becomes("/whoami", 200);
    assert_eq!(old.status("/whoami"), 401);
    assert_eq!(from_page(), 200);
}

fn server_certificate(shared: &Shared) {
    let gate = watching(shared);
    let identity = gate.issue(&certs::Leaf::agent("agent_mtls"));
    let mut before = Kept::new(gate.holder(&identity));
    assert_eq!(before.status("/whoami"), 200);
    let next = certs::Authority::new("next").expect("an authority");
    let after = Client::tls(gate.tls, &next.pem(), Some(&identity));
    assert!(after.try_send("GET", "/whoami", &[], b"").is_err(), "the authority is not the gate's yet");
    let server = next.issue(&certs::Leaf::server()).expect("a certificate");
    server.write(gate.folder(), "server").expect("files");
    wait_for("the new certificate is served", 20, || {
        after.try_send("GET", "/whoami", &[], b"").is_ok_and(|response| response.status == 200)
    });
    assert!(gate.holder(&identity).try_send("GET", "/whoami", &[], b"").is_err(), "the old one is served still");
    assert_eq!(before.status("/whoami"), 200);
    let changed = told(&gate)["changed"].as_str().unwrap_or_default().to_owned();
    assert!(changed.split(", ").any(|name| name.ends_with("server.crt")), "{changed}");
    // One that cannot be read changes nothing.
    let failures = gate.metric("portcullis_reload_failures_total");
    fs::write(gate.folder().join("server.crt"), "no certificate").expect("a file");
    wait_for("it is refused", 20, || gate.metric("portcullis_reload_failures_total") > failures);
    assert_eq!(after.get("/whoami").status, 200);
}

fn client_authority(shared: &Shared) {
    let gate = watching(shared);
    let client = gate.agent("agent_mtls");
    let mut before = Kept::new(client.clone());
    assert_eq!(before.status("/whoami"), 200);
    let next = certs::Authority::new("next agents").expect("an authority");
    let theirs = gate.holder(&next.issue(&certs::Leaf::agent("agent_mtls")).expect("a certificate"));
    assert!(theirs.try_send("GET", "/whoami", &[], b"").is_err());
    fs::write(gate.folder().join("ca.crt"), next.pem()).expect("a file");
    before.becomes("/whoami", 401);
    let again = client.try_send("GET", "/whoami", &[], b"");
    assert!(again.is_err() || again.is_ok_and(|response| response.status == 401), "not by a resumed session either");
    assert_eq!(theirs.get("/whoami").status, 200);
}
