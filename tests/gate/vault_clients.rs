//! Clients of Vault's, from their packages and as they are, use secrets through the gate.

mod agent;
mod guide;
mod requests;
mod slow;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::scope;

use certs::{Issued, Leaf, Signer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::process::root;
use tests::provider::Provider;
use tests::{API_KEY, Gate, World};

use super::clients::installed;
use super::{issuers, jwt};
use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("the_libraries_work", libraries),
    ("the_libraries_are_refused_what_is_not_granted", refused),
    ("the_agent_renders_secrets_anew", agent::renders),
    ("the_agent_is_refused_what_is_not_granted", agent::refused),
    ("the_proxy_asks_with_its_own_token", agent::proxies),
    ("the_lines_of_the_guide_work", guide::lines),
    ("terraform_is_answered", requests::terraform),
    ("external_secrets_is_answered", requests::external_secrets),
];

pub const SLOW: &[Case] = &[
    ("consul_template_renders_secrets_anew", slow::consul_template),
    ("consul_template_is_refused_what_is_not_granted", slow::refused),
    ("spring_works", slow::spring),
];

/// A library, as its package installs it.
#[derive(Clone, Copy, Debug)]
enum Library {
    /// hvac.
    Python,
    /// node-vault.
    Node,
    /// HashiCorp's own.
    Go,
    /// vaultrs.
    Rust,
    /// Spring Vault.
    Spring,
}

const LIBRARIES: [Library; 4] = [Library::Python, Library::Node, Library::Go, Library::Rust];

/// A gate, and the files of its callers.
struct Served {
    gate: Gate,
    folder: TempDir,
    key: Signer,
    provider: Provider,
    /// The certificate of `agent_mtls`, which its tokens are bound to.
    issued: Issued,
}

impl Served {
    fn start(world: &World) -> Self {
        let key = Signer::p256("one").expect("a key");
        let provider = Provider::start(&[&key], None);
        let gate = Gate::start(world, &issuers::discovered(&provider.issuer()));
        tests::mcp::settled(&gate.keyed());
        let [issued, reader] = ["agent_mtls", "agent_jwt"].map(|agent| gate.issue(&Leaf::agent(agent)));
        let served = Self { gate, folder: tempfile::tempdir().expect("a folder"), key, provider, issued };
        served.write("ca.crt", served.gate.authority());
        served.issued.write(served.folder(), "agent_mtls").expect("files");
        reader.write(served.folder(), "agent_jwt").expect("files");
        served
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The path of a file of this name.
    fn at(&self, name: &str) -> String {
        self.folder().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.at(name), text).expect("a file");
        self.at(name)
    }

    fn address(&self) -> String {
        format!("https://localhost:{}", self.gate.tls)
    }

    /// A JWT of an agent.
    fn token(&self, agent: &str) -> String {
        let claims = json!({"iss": self.provider.issuer(), "sub": format!("svc:{agent}")});
        self.key.token(&jwt::claims(&claims)).expect("a token")
    }

    /// A plan with these members.
    fn plan(&self, more: &Value) -> Value {
        with(&json!({"address": self.address(), "ca": self.at("ca.crt")}), more)
    }

    /// The ways of a caller in, and who it is by each.
    fn ways(&self) -> [(&'static str, Value); 5] {
        let jwt = self.token("agent_mtls");
        let certificate = self.certificate("agent_mtls");
        let approle = json!({"role_id": "agent_api", "secret_id": API_KEY});
        [
            ("agent_mtls", with(&certificate, &json!({"login": {"method": "cert", "data": {}}}))),
            ("agent_mtls", json!({"login": {"method": "jwt", "data": {"role": "any", "jwt": jwt}}})),
            ("agent_mtls", json!({"token": jwt})),
            ("agent_api", json!({"login": {"method": "approle", "data": approle}})),
            ("agent_api", json!({"token": API_KEY})),
        ]
    }

    fn certificate(&self, agent: &str) -> Value {
        json!({"certificate": self.at(&format!("{agent}.crt")), "key": self.at(&format!("{agent}.key"))})
    }
}

/// An object with the members of another.
fn with(object: &Value, more: &Value) -> Value {
    let mut object = object.clone();
    object.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    object
}

impl Library {
    /// Has it do what the plan says, and gives what it saw.
    fn follow(self, plan: &Value) -> Value {
        let script = |name: &str| root().join("tests/clients").join(name);
        let mut command = match self {
            Self::Python => {
                let mut command = Command::new(installed("target/venv/bin/python"));
                // It leaves nothing beside the script.
                command.arg("-B").arg(script("hvac_client.py"));
                command
            }
            Self::Node => {
                let mut command = Command::new("node");
                command
                    .arg(script("vault_client.mjs"))
                    .args(installed("target/node/node_modules/node-vault").ancestors().nth(2));
                command
            }
            Self::Spring => {
                let built = installed("target/vault-clients/spring").display().to_string();
                let mut command = Command::new("java");
                command.args(["-cp", &format!("{built}/classes:{built}/libraries/*"), "Caller"]);
                command
            }
            Self::Go => Command::new(installed("target/vault-clients/go")),
            Self::Rust => Command::new(installed("target/debug/vault-rs")),
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        process.stdin.take().expect("its input").write_all(plan.to_string().as_bytes()).expect("it reads its plan");
        let output = process.wait_with_output().expect("it ends");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{self:?}: {plan}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Has it call, and compares what it saw.
    fn sees(self, plan: &Value, expected: &[(Value, Value)]) {
        let calls: Vec<_> = expected.iter().map(|(call, _)| call).collect();
        let saw = self.follow(&with(plan, &json!({"calls": calls})));
        let saw = saw.as_array().expect("a list");
        for (place, (call, expected)) in expected.iter().enumerate() {
            assert_eq!(saw.get(place), Some(expected), "{self:?}: {call} of {plan}: {saw:?}");
        }
    }
}

fn libraries(shared: &Shared) {
    let served = Served::start(shared.world());
    scope(|threads| {
        for library in LIBRARIES {
            let served = &served;
            threads.spawn(move || {
                works(library, served);
            });
        }
    });
}

/// Has it work by every way in.
fn works(library: Library, served: &Served) {
    for (way, (agent, plan)) in served.ways().iter().enumerate() {
        library.sees(&served.plan(plan), &working(agent, &format!("v1-{library:?}/{way}")));
    }
}

/// What every library does with a secret and a key, and sees.
fn working(agent: &str, folder: &str) -> Vec<(Value, Value)> {
    let path = &format!("{folder}/db");
    let (one, two) = (json!({"password": "one"}), json!({"password": "two"}));
    let patched = json!({"password": "two", "user": "päss\u{1f511}\"\\\n"});
    vec![
        (json!(["lookup"]), json!(agent)),
        (json!(["write", path, one]), json!(1)),
        (json!(["read", path]), json!([1, one])),
        (json!(["write", path, two]), json!(2)),
        (json!(["read", path]), json!([2, two])),
        (json!(["patch", path, {"user": patched["user"]}]), json!(3)),
        (json!(["read", path]), json!([3, patched])),
        (json!(["version", path, 1]), one),
        (json!(["list", folder]), json!(["db"])),
        (json!(["read", format!("{folder}/none")]), json!({"status": 404})),
        (json!(["encrypt", "agents-key", "aGk="]), json!("vault:v1:")),
        (json!(["decrypt", "agents-key"]), json!("aGk=")),
        // From here on it asks with another token.
        (json!(["create", "10m"]), json!(600)),
        (json!(["lookup"]), json!(agent)),
        (json!(["delete", path]), Value::Null),
        (json!(["revoke"]), Value::Null),
        (json!(["version", path, 1]), json!({"status": 403})),
    ]
}

/// What a reader is refused, and sees.
fn forbidden() -> Vec<(Value, Value)> {
    let forbidden = || json!({"status": 403});
    vec![
        (json!(["lookup"]), json!("agent_jwt")),
        (json!(["read", "public/v1-refused"]), json!({"status": 404})),
        (json!(["write", "public/v1-refused", {"a": "b"}]), forbidden()),
        (json!(["read", "v1-refused"]), forbidden()),
        (json!(["list", "v1-refused"]), forbidden()),
        (json!(["delete", "public/v1-refused"]), forbidden()),
        (json!(["encrypt", "agents-key", "aGk="]), forbidden()),
    ]
}

fn refused(shared: &Shared) {
    let served = Served::start(shared.world());
    let known = forbidden();
    let forbidden = json!({"status": 403});
    // Who is not known is refused the same, and more.
    let mut unknown = known[2..].to_vec();
    unknown.push((json!(["create", "10m"]), forbidden.clone()));
    let wrong = json!({"role": "any", "jwt": format!("{}x", served.token("agent_mtls"))});
    scope(|threads| {
        for library in LIBRARIES {
            let (served, known, unknown, wrong, forbidden) = (&served, &known, &unknown, &wrong, &forbidden);
            threads.spawn(move || {
                let login = json!({"login": {"method": "cert", "data": {}}});
                library.sees(&served.plan(&with(&served.certificate("agent_jwt"), &login)), known);
                library.sees(&served.plan(&json!({"token": served.token("agent_jwt")})), known);
                library.sees(&served.plan(&json!({"token": "hvs.CAESIJsomething"})), unknown);
                let login = json!({"login": {"method": "jwt", "data": wrong}, "calls": []});
                assert_eq!(library.follow(&served.plan(&login)), json!([forbidden]), "{library:?}");
            });
        }
    });
}
