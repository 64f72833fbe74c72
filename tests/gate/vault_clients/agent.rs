//! Vault Agent and Vault Proxy, or OpenBao's: they log in by themselves.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use local_vault::binary;
use serde_json::json;
use tests::process::root;
use tests::{API_KEY, Client, free_port, wait_for};

use super::Served;
use crate::Shared;

/// A process of the command line; ended when dropped.
pub(super) struct Running {
    process: Child,
    log: String,
}

impl Running {
    /// Starts it as `agent` or `proxy`, with this file.
    pub(super) fn start(served: &Served, verb: &str, name: &str, text: &str) -> Self {
        let mut command = Command::new(binary(&root()).expect("a Vault").path);
        command.arg(verb);
        Self::run(served, &mut command, name, text)
    }

    /// Starts a program, with this file for its `-config`.
    pub(super) fn run(served: &Served, command: &mut Command, name: &str, text: &str) -> Self {
        let (file, log) = (served.write(&format!("{name}.hcl"), text), served.at(&format!("{name}.log")));
        let output = File::create(&log).expect("a file");
        let process = command
            .arg(format!("-config={file}"))
            .env_clear()
            .envs([("HOME", served.at("")), ("PATH", "/usr/bin:/bin".to_owned())])
            .stdin(Stdio::null())
            .stderr(output.try_clone().expect("the file"))
            .stdout(output)
            .spawn()
            .expect("it starts");
        Self { process, log }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has failed, and gives what it has said.
    pub(super) fn gives_up(mut self) -> String {
        let mut code = None;
        wait_for("it gives up", 30, || {
            code = self.process.try_wait().expect("its state");
            code.is_some()
        });
        assert!(code.is_some_and(|code| !code.success()), "{}", self.said());
        self.said()
    }

    /// Waits until something is so.
    pub(super) fn until(&mut self, what: &str, mut done: impl FnMut() -> bool) {
        wait_for(what, 30, || {
            let ended = self.process.try_wait().expect("its state");
            assert!(ended.is_none(), "{what}: it ended: {}", self.said());
            done()
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The ways to log in by itself, each with the agent that it is by it.
fn ways(served: &Served) -> [(&'static str, &'static str, String); 3] {
    let token = served.write("jwt", &served.token("agent_mtls"));
    let (role, secret) = (served.write("role", "agent_api"), served.write("secret", API_KEY));
    let (ca, certificate, key) = (served.at("ca.crt"), served.at("agent_mtls.crt"), served.at("agent_mtls.key"));
    [
        (
            "cert",
            "agent_mtls",
            format!("ca_cert = \"{ca}\"\n client_cert = \"{certificate}\"\n client_key = \"{key}\""),
        ),
        ("jwt", "agent_mtls", format!("path = \"{token}\"\n role = \"any\"\n remove_jwt_after_reading = false")),
        (
            "approle",
            "agent_api",
            format!(
                "role_id_file_path = \"{role}\"\n secret_id_file_path = \"{secret}\"\n\
                 remove_secret_id_file_after_reading = false"
            ),
        ),
    ]
}

/// The address of the gate, and a login of its own.
fn settings(served: &Served, method: &str, config: &str) -> String {
    // Requests show the certificate too, since a token of it is nothing without.
    let certificate = match method {
        "cert" => format!(
            "client_cert = \"{}\"\n client_key = \"{}\"",
            served.at("agent_mtls.crt"),
            served.at("agent_mtls.key")
        ),
        _ => String::new(),
    };
    format!(
        "vault {{\n address = \"{}\"\n ca_cert = \"{}\"\n {certificate}\n retry {{ num_retries = -1 }}\n}}\n\
         auto_auth {{\n method \"{method}\" {{\n config = {{\n {config}\n }}\n }}\n\
         sink \"file\" {{ config = {{ path = \"{}\" }} }}\n}}\n",
        served.address(),
        served.at("ca.crt"),
        served.at(&format!("{method}.token")),
    )
}

/// A template of the secret at a path below `secret/data`.
fn template(served: &Served, path: &str, to: &str) -> String {
    format!(
        "template_config {{\n static_secret_render_interval = \"1s\"\n exit_on_retry_failure = true\n}}\n\
         template {{\n contents = \"{{{{ with secret \\\"secret/data/{path}\\\" }}}}{{{{ .Data.data.password }}}} \
         {{{{ .Data.metadata.version }}}}{{{{ end }}}}\"\n destination = \"{}\"\n}}\n",
        served.at(to)
    )
}

pub(super) fn renders(shared: &Shared) {
    let served = Served::start(shared.world());
    for (method, agent, config) in ways(&served) {
        let path = format!("v1-agent/{method}");
        let owner = if agent == "agent_mtls" { served.gate.agent(agent) } else { served.gate.keyed() };
        let write = |password: &str| {
            let written = owner.put(&format!("/secrets/{path}"), &json!({"data": {"password": password}}));
            assert_eq!(written.status, 200, "{written:?}");
        };
        write("one");
        let rendered = format!("{method}.rendered");
        let text = settings(&served, method, &config) + &template(&served, &path, &rendered);
        let mut running = Running::start(&served, "agent", method, &text);
        let is = |text: &str| fs::read_to_string(served.at(&rendered)).is_ok_and(|found| found == text);
        running.until("the secret is rendered", || is("one 1"));
        write("two");
        running.until("the new version is rendered", || is("two 2"));
        // The token in its file is the agent's, where the certificate is shown that it was given for.
        let token = fs::read_to_string(served.at(&format!("{method}.token"))).expect("a token");
        let caller = if method == "cert" { served.gate.holder(&served.issued) } else { served.gate.stranger() };
        let told = caller.with("X-Vault-Token", token.trim()).get("/v1/auth/token/lookup-self").json();
        assert_eq!(told["data"]["display_name"], agent, "{told}");
        assert_eq!(told["data"]["path"], format!("auth/{method}/login"), "{told}");
    }
}

pub(super) fn refused(shared: &Shared) {
    let served = Served::start(shared.world());
    let [(method, _, config), ..] = ways(&served);
    let config = config.replace("agent_mtls", "agent_jwt");
    let text = settings(&served, method, &config).replace("agent_mtls", "agent_jwt");
    let text = text + &template(&served, "v1-agent/none", "none");
    let said = Running::start(&served, "agent", "refused", &text).gives_up();
    assert!(said.contains("Code: 403"), "{said}");
    assert!(!fs::exists(served.at("none")).expect("a folder"), "{said}");
}

pub(super) fn proxies(shared: &Shared) {
    let served = Served::start(shared.world());
    for (method, agent, config) in ways(&served) {
        let port = free_port();
        let text = settings(&served, method, &config)
            + &format!(
                "api_proxy {{ use_auto_auth_token = true }}\n\
                 listener \"tcp\" {{\n address = \"127.0.0.1:{port}\"\n tls_disable = true\n}}\n"
            );
        let mut running = Running::start(&served, "proxy", &format!("proxy-{method}"), &text);
        let client = Client::plain(port);
        let look = || client.try_send("GET", "/v1/auth/token/lookup-self", &[], b"").ok();
        running.until("it has logged in", || look().is_some_and(|answer| answer.status == 200));
        let told = look().expect("an answer").json();
        assert_eq!(told["data"]["display_name"], agent, "{told}");
        let path = format!("/v1/secret/data/v1-proxy/{method}");
        for version in 1..=2 {
            let written = client.put(&path, &json!({"data": {"n": version}}));
            assert_eq!((written.status, &written.json()["data"]["version"]), (200, &json!(version)), "{written:?}");
            assert_eq!(client.get(&path).json()["data"]["data"], json!({"n": version}));
        }
        let listed = client.send("LIST", "/v1/secret/metadata/v1-proxy", &[], b"").json();
        assert!(listed["data"]["keys"].as_array().is_some_and(|keys| keys.contains(&json!(method))), "{listed}");
        let sealed = client.put("/v1/transit/encrypt/agents-key", &json!({"plaintext": "aGk="})).json();
        let opened = client.put("/v1/transit/decrypt/agents-key", &json!({"ciphertext": sealed["data"]["ciphertext"]}));
        assert_eq!(opened.json()["data"]["plaintext"], "aGk=", "{opened:?}");
        let refused = client.get("/v1/secret/config");
        assert_eq!(refused.status, 403, "{refused:?}");
    }
}
