//! A gate: the real binary, started with a configuration of the test's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use certs::Issued;
use serde_json::Value;
use tempfile::TempDir;

use crate::world::World;
use crate::{Client, free_port, wait_for};

/// The API key of `agent_api` in every gate of the tests.
pub const API_KEY: &str = "k-3f9a-dev";

/// The files and options that a gate is started with.
pub struct Plan {
    /// Top-level keys, before any section.
    pub top: String,
    /// Sections.
    pub sections: String,
    /// Further environment.
    pub environment: Vec<(&'static str, String)>,
    /// `off`, `optional` or `required`.
    pub clients: &'static str,
    /// Most files that the process may open.
    pub files: Option<u32>,
    /// A path for its standard error, instead of a file that can be read.
    pub stderr: Option<&'static str>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            top: format!("rate_limit_enabled = false\n{NO_KMS}"),
            sections: AGENTS.to_owned(),
            environment: Vec::new(),
            clients: "optional",
            files: None,
            stderr: None,
        }
    }
}

/// AWS KMS is enabled, and nobody is there.
const NO_KMS: &str = "aws_kms_enabled = true\naws_region = \"us-east-1\"\naws_kms_endpoint = \"http://127.0.0.1:1\"\n\
                      aws_access_key_id = \"none\"\naws_secret_access_key = \"none\"\n";

/// Who is known where a test says nothing else.
pub const AGENTS: &str = r#"
[[identity.families]]
spiffe = "spiffe://portcullis.dev/agent/{name}"
agent = "{name}"

[roles.all]
scopes = ["read", "write", "delete", "list"]
kv = ["**"]
transit = ["*"]
database = ["*"]
ssh = ["*"]
pki = ["*"]
kms = ["*"]

[roles.reader]
scopes = ["read", "list"]
kv = ["public/**"]

[agents.agent_api]
roles = ["all"]
api_keys = [{ sha256 = "KEY" }]

[agents.agent_mtls]
roles = ["all"]

[agents.agent_jwt]
roles = ["reader"]
"#;

/// A process of the binary; ended when dropped.
pub struct Process(Child);

/// A running gate.
pub struct Gate {
    process: Process,
    folder: TempDir,
    /// Port of the TLS listener.
    pub tls: u16,
    /// Port of the plain listener.
    pub plain: u16,
    /// Port of the operators' listener.
    pub admin: u16,
    authority: String,
    agents: certs::Authority,
    environment: Vec<(&'static str, String)>,
}

/// The binary, built once.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let root = root();
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        // The whole workspace is selected so that features, and with them the
        // dependencies that are built already, are those of `cargo test --workspace`.
        let binaries = ["portcullis", "dev", "certs"].into_iter().flat_map(|name| ["--bin", name]);
        let arguments = ["build", "--quiet", "--workspace"].into_iter().chain(binaries);
        let mut build = Command::new(cargo);
        // What cargo says of this package would have crates built again that look at it.
        let of_package = std::env::vars_os().filter(|(name, _)| {
            ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix))
        });
        of_package.for_each(|(name, _)| _ = build.env_remove(name));
        let status = build.args(arguments).current_dir(&root).status();
        assert!(status.is_ok_and(|status| status.success()), "the gate does not build");
        let folder = std::env::current_exe().expect("this test's path");
        let target = folder.ancestors().nth(2).expect("the target folder");
        target.join("portcullis")
    })
}

/// The workspace's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root").to_owned()
}

impl Gate {
    /// Starts a gate in front of the world's Vault and waits until it serves.
    pub fn start(world: &World, plan: &Plan) -> Self {
        let gate = Self::start_unready(world, plan);
        let client = gate.admin_client();
        wait_for("the gate is ready", 20, || {
            client.try_send("GET", "/readyz", &[], b"").is_ok_and(|r| r.status == 200)
        });
        gate
    }

    /// Starts a gate and waits until it answers at all.
    pub fn start_unready(world: &World, plan: &Plan) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (tls, plain, admin) = (free_port(), free_port(), free_port());
        let at = |name: &str| folder.path().join(name).display().to_string();
        let agents = certs::Authority::new("agents").expect("an authority");
        fs::write(at("ca.crt"), agents.pem()).expect("a file");
        let server = world.authority.issue(&certs::Leaf::server()).expect("a certificate");
        server.write(folder.path(), "server").expect("files");
        let digest = sha256(API_KEY);
        let config = format!(
            r#"
vault_addr = "{vault}"
port = {plain}
plain = true
log_dir = "{logs}"
{top}
[[listeners]]
address = "127.0.0.1:{tls}"
tls = {{ certificate = "{certificate}", key = "{key}" }}
client_certificates = "{clients}"
client_ca = ["{ca}"]

[admin]
address = "127.0.0.1:{admin}"
socket = "{socket}"

[server]
threads = 2
{sections}"#,
            vault = world.vault_address(),
            logs = at("logs"),
            top = plan.top,
            certificate = at("server.crt"),
            key = at("server.key"),
            clients = plan.clients,
            ca = at("ca.crt"),
            socket = at("admin.sock"),
            sections = plan.sections.replace("KEY", &digest),
        );
        fs::write(at("config.toml"), config).expect("a file");
        if let Some(path) = plan.stderr {
            std::os::unix::fs::symlink(path, at("stderr")).expect("a link");
        }
        let login = [("VAULT_ROLE_ID", world.role_id()), ("VAULT_SECRET_ID", world.secret_id())];
        let login = login.map(|(name, value)| (name, value.to_owned()));
        let environment = login.into_iter().chain(plan.environment.iter().cloned()).collect::<Vec<_>>();
        let process = spawn(folder.path(), &environment, &[], plan.files);
        let authority = world.authority.pem();
        let mut gate = Self { process, folder, tls, plain, admin, authority, agents, environment };
        wait_for("the gate answers", 20, || {
            let ended = gate.process.0.try_wait().expect("the gate's state");
            assert!(ended.is_none(), "the gate ended: {}", gate.stderr());
            // Each listener binds by itself.
            let ports = [gate.admin, gate.plain, gate.tls];
            ports.iter().all(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok())
        });
        gate
    }

    /// Starts another gate with the same files, to replace this one.
    pub fn start_successor(&self) -> Process {
        spawn(self.folder.path(), &self.environment, &["--upgrade"], None)
    }

    /// Starts another gate with the same files, once this one has ended.
    pub fn start_again(&self) -> Process {
        spawn(self.folder.path(), &self.environment, &[], None)
    }

    /// Waits until this gate has ended, for its exit code; from then on this is `successor`.
    pub fn replaced_by(&mut self, successor: Process) -> Option<i32> {
        let code = self.ended();
        self.process = successor;
        code
    }

    /// True where it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.process.0.try_wait().expect("the gate's state").is_none()
    }

    /// A certificate of the gate's client authority.
    pub fn issue(&self, leaf: &certs::Leaf) -> Issued {
        self.agents.issue(leaf).expect("a certificate")
    }

    /// The client authority itself.
    pub const fn agents(&self) -> &certs::Authority {
        &self.agents
    }

    /// The authority of the gate's server certificate, in PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// An agent with its certificate.
    pub fn agent(&self, name: &str) -> Client {
        self.holder(&self.issue(&certs::Leaf::agent(name)))
    }

    /// A caller with any certificate.
    pub fn holder(&self, issued: &Issued) -> Client {
        Client::tls(self.tls, &self.authority, Some(issued))
    }

    /// A caller over TLS without a certificate.
    pub fn stranger(&self) -> Client {
        Client::tls(self.tls, &self.authority, None)
    }

    /// A caller over plain HTTP without a credential.
    pub fn local(&self) -> Client {
        Client::plain(self.plain)
    }

    /// `agent_api`, over plain HTTP with its key.
    pub fn keyed(&self) -> Client {
        self.local().with("X-API-Key", API_KEY)
    }

    /// An operator.
    pub fn admin_client(&self) -> Client {
        Client::plain(self.admin)
    }

    /// An operator who may change things.
    pub fn operator(&self) -> Client {
        Client::unix(&self.folder.path().join("admin.sock"))
    }

    /// Where the gate keeps its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The gate's standard error so far.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }

    /// The lines of the request log.
    pub fn log(&self) -> String {
        self.log_file("requests.log")
    }

    /// The lines of the request log that have all of these members.
    pub fn logged(&self, members: &Value) -> Vec<Value> {
        let wanted = members.as_object().expect("an object");
        let log = self.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| wanted.iter().all(|(name, value)| line[name] == *value)).collect()
    }

    /// The text of a log.
    pub fn log_file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join("logs").join(name)).unwrap_or_default()
    }

    /// One metric's value, by its name and labels as they are printed; by its name alone the sum of its series.
    pub fn metric(&self, name: &str) -> f64 {
        let body = self.admin_client().get("/metrics").body;
        let text = String::from_utf8(body).expect("text");
        let series =
            text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Sends the signal of that name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill");
    }

    /// Sends SIGTERM and waits for the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.ended()
    }

    /// Waits for its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        self.process.ended()
    }
}

impl Process {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        let mut code = None;
        wait_for("the gate ends", 40, || {
            let status = self.0.try_wait().expect("the gate's state");
            code = status.and_then(|status| status.code());
            status.is_some()
        });
        code
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the binary by the configuration in `folder`, and appends what it says to a file there.
fn spawn(folder: &Path, environment: &[(&str, String)], more: &[&str], files: Option<u32>) -> Process {
    let mut command = match files {
        None => Command::new(binary()),
        Some(most) => {
            let mut shell = Command::new("/bin/sh");
            shell.arg("-c").arg(format!("ulimit -n {most} && exec \"$0\" \"$@\"")).arg(binary());
            shell
        }
    };
    command.arg("--config").arg(folder.join("config.toml")).args(more).current_dir(folder).env_clear();
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let errors = fs::OpenOptions::new().create(true).append(true).open(folder.join("stderr")).expect("a file");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    Process(command.spawn().expect("the gate"))
}

/// SHA-256, in hexadecimal.
pub fn sha256(text: &str) -> String {
    let provider = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let hash = provider.tls13().expect("TLS 1.3").common.hash_provider.hash(text.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
