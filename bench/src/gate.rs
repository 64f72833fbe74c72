//! The gate itself, with everything on: identity, grants, limits that the measured agent never
//! reaches, request log and metrics.

use crate::pki::{AGENT, FLOODER, Pki};
use crate::process::{Process, free_address};
use crate::wire;
use anyhow::{Context, Result, bail};
use filters::audit::{Naming, NoteSigner};
use filters::secret::Digest;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The agent's.
pub(crate) const API_KEY: &str = "pck_bench-bench-bench-bench-bench-bench-bench-b";

const READY: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// The Vault behind the gate and the gate's own login there.
pub(crate) struct Upstream {
    pub(crate) address: String,
    pub(crate) role_id: String,
    pub(crate) secret_id: String,
    /// Something that other gates of the bench do not have.
    pub(crate) with: With,
}

/// Something that is on in this gate, and off in others.
#[derive(Clone, Copy)]
pub(crate) enum With {
    Nothing,
    /// One trace of a hundred is sent to a collector, which is where Vault is.
    Traces,
    /// Records are written, and required where each is synced.
    Audit {
        each: bool,
    },
}

impl Upstream {
    /// The stub.
    pub(crate) fn stub(address: SocketAddr) -> Self {
        let (role_id, secret_id) = ("bench".into(), "bench".into());
        Self { address: format!("http://{address}"), role_id, secret_id, with: With::Nothing }
    }
}

/// The gate's binary: `GATE_BINARY`, or the one beside the bench's own.
pub(crate) fn find() -> Result<PathBuf> {
    let binary = match std::env::var_os("GATE_BINARY") {
        Some(binary) => PathBuf::from(binary),
        None => std::env::current_exe()?.with_file_name("portcullis"),
    };
    if !binary.is_file() {
        bail!("there is no {} (cargo build --release)", binary.display());
    }
    Ok(binary)
}

/// A gate that is ready.
pub(crate) struct Started {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// Where operators ask it.
    pub(crate) admin: SocketAddr,
    /// Its configuration.
    pub(crate) file: PathBuf,
}

/// The folder beside the configuration that holds more agents.
pub(crate) const AGENTS: &str = "agents.d";

/// Starts the gate on free loopback ports and waits until it says it is ready.
pub(crate) async fn start(
    binary: &Path,
    folder: &Path,
    pki: &Pki,
    upstream: &Upstream,
    core: Option<usize>,
) -> Result<Started> {
    let (address, admin) = (free_address()?, free_address()?);
    let home = tempfile::Builder::new().prefix("gate-").tempdir_in(folder)?.keep();
    let file = home.join("config.toml");
    // The audit is written beside the logs, apart from the configuration, as it mostly is.
    fs::create_dir(home.join("logs"))?;
    fs::create_dir(home.join(AGENTS))?;
    let more = upstream.with.configured(&home)?;
    fs::write(&file, configuration(&home, pki, &upstream.address, address, admin) + &more)?;
    let mut command = Command::new(binary);
    command
        .arg("--config")
        .arg(&file)
        .current_dir(&home)
        .env_clear()
        .env("VAULT_ROLE_ID", &upstream.role_id)
        .env("VAULT_SECRET_ID", &upstream.secret_id);
    if matches!(upstream.with, With::Traces) {
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &upstream.address);
        command.env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio").env("OTEL_TRACES_SAMPLER_ARG", "0.01");
    }
    let mut process = Process::start("gate", &mut command, core, &home)?;
    process.ready(async |_| (wire::status_of(admin, READY).await.ok()? == 200).then_some(())).await?;
    Ok(Started { process, address, admin, file })
}

impl With {
    /// The sections that it needs. Keys of the audit are written to `home`.
    fn configured(self, home: &Path) -> Result<String> {
        let Self::Audit { each } = self else { return Ok(String::new()) };
        let at = |name: &str| home.join(name).display().to_string();
        let signer = NoteSigner::of_seed("bench", &[1; 32]).context("a name of a key")?;
        fs::write(at("names.key"), "0b".repeat(Naming::KEY))?;
        fs::write(at("checkpoints.key"), &*signer.text(&[1; 32]))?;
        let sync = if each { "each" } else { "batch" };
        Ok(format!(
            r#"
[audit]
file = "{}"
name_key = "{}"
checkpoint_key = "{}"
sync = "{sync}"
required = {each}
"#,
            at("logs/audit.log"),
            at("names.key"),
            at("checkpoints.key"),
        ))
    }
}

fn configuration(home: &Path, pki: &Pki, vault: &str, address: SocketAddr, admin: SocketAddr) -> String {
    let (logs, socket) = (home.join("logs"), home.join("admin.sock"));
    let (logs, socket, ca, jwks) = (logs.display(), socket.display(), pki.ca.display(), pki.jwks.display());
    let digest = Digest::of(API_KEY.as_bytes()).to_hex();
    let (certificate, key) = (pki.certificate.display(), pki.key.display());
    format!(
        r#"vault_addr = "{vault}"
rate_limit_requests = 10000000
rate_limit_window_seconds = 60
log_dir = "{logs}"
plain = false
aws_kms_enabled = true
aws_kms_endpoint = "{vault}"
aws_region = "us-east-1"
aws_access_key_id = "bench"
aws_secret_access_key = "bench"
jwt_jwks_file = "{jwks}"
reload = true
include = ["{AGENTS}"]

[server]
threads = 1

[limits]
connections = 20000
connections_per_source = 20000
connections_per_agent = 20000
streams = 20000
streams_per_agent = 10000

[[listeners]]
address = "{address}"
tls = {{ certificate = "{certificate}", key = "{key}" }}
client_certificates = "optional"
client_ca = ["{ca}"]

[admin]
address = "{admin}"
socket = "{socket}"

[[identity.families]]
spiffe = "spiffe://portcullis.dev/agent/{{name}}"
agent = "{{name}}"

[roles.bench]
scopes = ["read", "write", "delete", "list"]
kv = ["**"]
transit = ["*"]
database = ["*"]
ssh = ["*"]
pki = ["*"]
kms = ["*"]

[agents.{AGENT}]
roles = ["bench"]
jwt = {{ subject = "{AGENT}" }}
api_keys = [{{ sha256 = "{digest}" }}]
concurrent = 2000

[agents.{FLOODER}]
roles = ["bench"]
"#
    )
}
