//! `portcullis watch`.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Args;
use tokio::runtime::Builder;
use tracing::Level;

use crate::config;
use crate::stdio::{Remote, events_endpoint, watch};
use crate::telemetry;

use super::access::Access;
use super::common::{FAILED, REFUSED};

pub(super) const AFTER: &str = "\
Prints one JSON object a line for each event that the gate tells this credential's
agent: what was done to which resource, never a value. A stream that breaks off is
opened again, and told of what came meanwhile. The log goes to standard error.

Without the flags, GATE_API_KEY or GATE_TOKEN may hold the key or token itself.

Exit codes:
  0  nobody reads standard output any more
  1  the gate cannot be reached, or refuses
  2  the command line, a file or a variable was refused

Examples:
  portcullis watch --gate https://gate.corp.example:8443 --cert ci.crt --key ci.key
  portcullis watch --gate https://gate.corp.example:8443 --token-file token | jq .resource";

/// The gate whose events are printed.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Watch {
    /// Address of the gate, as https://gate.corp.example:8443.
    #[arg(long, value_name = "URL", env = "GATE_URL")]
    gate: String,
    #[command(flatten)]
    access: Access,
    /// Least severe level of the log: trace, debug, info, warn, error.
    #[arg(long, value_name = "LEVEL", env = "LOG_LEVEL", default_value = "warn")]
    log_level: Level,
}

pub(super) fn run(watched: &Watch) -> ExitCode {
    // There is one provider of cryptography; a second installation changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    telemetry::start_server_log(watched.log_level);
    let remote = match watched.remote() {
        Ok(remote) => remote,
        Err(problem) => {
            eprintln!("portcullis: {problem}");
            return ExitCode::from(REFUSED);
        }
    };
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("portcullis: no thread can be started: {error}");
            return ExitCode::from(FAILED);
        }
    };
    match runtime.block_on(watch(&remote, print)) {
        // Whoever read it has gone.
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("portcullis: {trouble}");
            ExitCode::from(FAILED)
        }
    }
}

impl Watch {
    fn remote(&self) -> Result<Remote, String> {
        let place = events_endpoint(&self.gate).map_err(|problem| format!("--gate (GATE_URL) {problem}"))?;
        Remote::new(place, self.access.files()?, self.access.credential(config::variable)?)
    }
}

/// Prints one event; false where nobody reads any more.
fn print(event: &[u8]) -> bool {
    let mut out = io::stdout().lock();
    let printed = out.write_all(event).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    printed.is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read, refused};
    use super::super::{Command, Once};

    #[test]
    fn it_needs_a_gate() {
        let watch = read(&["watch", "--gate", "https://gate.corp.example", "--cert", "c"]);
        assert!(matches!(watch, Command::Once(Once::Watch(_))), "{watch:?}");
        assert!(refused(&["watch"]));
    }
}
