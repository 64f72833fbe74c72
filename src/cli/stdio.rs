//! `portcullis stdio`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use filters::names::AgentId;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tracing::Level;

use crate::config::{self, Flags};
use crate::server::inside::Inside;
use crate::server::raise_files;
use crate::stdio::{Courier, Ended, Gate, Input, Output, Remote, endpoint};
use crate::telemetry;

use super::access::Access;
use super::common::{FAILED, REFUSED};

/// Threads of a gate that serves one client.
const THREADS: usize = 2;

pub(super) const AFTER: &str = "\
Reads one JSON-RPC message a line and writes one a line, and nothing else, to
standard output; the log goes to standard error. It ends when its input does.

With --gate it speaks to a gate. A credential for that is a client certificate,
an API key or a bearer token; a certificate may stand beside one of the others. Without the flags, GATE_API_KEY or GATE_TOKEN
may hold the key or token itself. No flag does, since other users see flags.
Files are read anew for each request: what replaces them is used at once.

With --vault it is a gate itself, with the gate's login to Vault, and speaks for
the agent that --subject names, by that agent's grants and limits. Whoever may
start it so may speak for every agent.

Exit codes:
  0  the client has ended, or SIGTERM or SIGINT came
  1  standard input or output cannot be used
  2  the command line, a file or a variable was refused

Examples:
  portcullis stdio --gate https://gate.corp.example:8443 --cert ci.crt --key ci.key
  GATE_API_KEY=… portcullis stdio --gate https://gate.corp.example:8443
  SUBJECT=ci portcullis stdio --vault --config portcullis.toml";

/// The gate that a desktop client is to speak to.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Stdio {
    /// Address of the gate, as https://gate.corp.example:8443.
    #[arg(long, value_name = "URL", env = "GATE_URL", required_unless_present = "vault", conflicts_with = "vault")]
    gate: Option<String>,
    /// Be the gate, straight to Vault, by a configuration as `portcullis run` has it, but listen nowhere.
    #[arg(long, requires = "subject")]
    vault: bool,
    /// Agent to speak for, with --vault.
    #[arg(long, value_name = "AGENT", env = "SUBJECT")]
    subject: Option<String>,
    /// Configuration file, with --vault.
    #[arg(long, value_name = "FILE", requires = "vault")]
    config: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
    /// Least severe level of the log: trace, debug, info, warn, error; without it warn, or the configuration's.
    #[arg(long, value_name = "LEVEL", env = "LOG_LEVEL")]
    log_level: Option<Level>,
}

pub(super) fn run(stdio: &Stdio) -> ExitCode {
    // There is one provider of cryptography; a second installation changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    telemetry::tell_panics();
    let served = match &stdio.gate {
        Some(address) => stdio.speak(address),
        None => stdio.be(),
    };
    match served {
        Ok(ended) => {
            tracing::debug!(?ended, "the client is served no more");
            ExitCode::SUCCESS
        }
        Err(Unserved::Refused(problem)) => {
            eprintln!("portcullis: {problem}");
            ExitCode::from(REFUSED)
        }
        Err(Unserved::Failed(error)) => {
            eprintln!("portcullis: standard input and output cannot be used: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Why the client is not served.
enum Unserved {
    Refused(String),
    Failed(io::Error),
}

impl From<String> for Unserved {
    fn from(problem: String) -> Self {
        Self::Refused(problem)
    }
}

impl From<io::Error> for Unserved {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl Stdio {
    /// Serves the client by the gate at `address`.
    fn speak(&self, address: &str) -> Result<Ended, Unserved> {
        telemetry::start_server_log(self.log_level.unwrap_or(Level::WARN));
        let place = endpoint(address).map_err(|problem| format!("--gate (GATE_URL) {problem}"))?;
        let remote = Remote::new(place, self.access.files()?, self.access.credential(config::variable)?)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let ended = runtime.block_on(carried(remote));
        // A read or a write that nobody ends is not waited for.
        runtime.shutdown_background();
        Ok(ended?)
    }

    /// Serves the client by a gate of this process.
    fn be(&self) -> Result<Ended, Unserved> {
        let agent = self.subject.as_deref().and_then(AgentId::parse);
        let agent = agent.ok_or("--subject (SUBJECT) is no name that an agent can have".to_owned())?;
        let level = self.log_level.map(|level| level.to_string().to_lowercase());
        let flags = Flags { config: self.config.clone(), log_level: level, ..Flags::default() };
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
        let ended = runtime.block_on(async {
            let gate = Arc::new(Inside::start(flags, agent, raise_files()).await?);
            let ended = carried(Arc::clone(&gate)).await;
            gate.end().await;
            Ok::<_, Unserved>(ended?)
        });
        runtime.shutdown_background();
        ended
    }
}

async fn carried(gate: impl Gate) -> io::Result<Ended> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let input = Input::read(|| Box::new(io::stdin().lock()))?;
    let (out, written) = Output::write(io::stdout());
    let ended = Courier::new(gate, out).run(input, told).await;
    if ended == Ended::Input {
        // The client may still read what it asked for.
        let _ = written.await;
    }
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use filters::secret::Secret;

    use super::super::tests::{read, refused};
    use super::super::{Command, Once};
    use super::*;
    use crate::stdio::{Credential, Text};

    fn stdio(line: &[&str]) -> Stdio {
        match read(&[&["stdio", "--gate", "https://gate.corp.example"], line].concat()) {
            Command::Once(Once::Stdio(stdio)) => stdio,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn exactly_one_credential_goes_in_a_header() {
        let file = |name: &str| Text::File(name.into());
        let given = |text: &str| Text::Given(Secret::new(text.to_owned()));
        let all = [("GATE_API_KEY", "k"), ("GATE_TOKEN", "")];
        let (key, token) = (["--api-key-file", "a"], ["--token-file", "b"]);
        let cert = ["--cert", "c"];
        for (line, variables, expected) in [
            (&key[..], &[][..], Some(Credential::ApiKey(file("a")))),
            (&token, &[], Some(Credential::Token(file("b")))),
            (&[], &all, Some(Credential::ApiKey(given("k")))),
            (&cert, &[], Some(Credential::None)),
            (&cert, &all, Some(Credential::ApiKey(given("k")))),
            (&[], &[], None),
            (&key, &all, None),
            (&[key, token].concat(), &[], None),
        ] {
            let variable =
                |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, text)| (*text).to_owned());
            assert_eq!(stdio(line).access.credential(variable).ok(), expected, "{line:?} {variables:?}");
        }
        assert!(stdio(&["--key", "k"]).access.files().is_err());
        assert!(refused(&["stdio", "--api-key", "k"]), "others would see it");
    }
}
