use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fmt};

use crate::Error;

/// Where a Vault is, and the token to use there.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// `http://127.0.0.1:8200`, for example.
    pub(crate) address: String,
    /// A token that may do what is asked. `Debug` does not show it.
    pub(crate) token: String,
    /// The certificate of the authority that signed the server's, PEM, for `https`.
    pub(crate) ca: Option<PathBuf>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("address", &self.address)
            .field("token", &"[redacted]")
            .field("ca", &self.ca)
            .finish()
    }
}

/// Vault's own command line, which is how this crate speaks to a server.
#[derive(Debug)]
pub(crate) struct Cli<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) endpoint: &'a Endpoint,
}

impl Cli<'_> {
    /// Runs `vault <arguments>` and returns what it prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String, Error> {
        let verb: Vec<&str> = arguments.iter().take(2).copied().collect();
        let asked = format!("vault {}", verb.join(" "));
        output(&mut self.command(arguments), &asked)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.binary);
        self.endpoint.export(&mut command);
        command.args(arguments);
        command
    }
}

impl Endpoint {
    /// Sets the variables by which `vault` and `bao` find this server.
    pub(crate) fn export(&self, command: &mut Command) {
        for prefix in ["VAULT", "BAO"] {
            command.env(format!("{prefix}_ADDR"), &self.address);
            command.env(format!("{prefix}_TOKEN"), &self.token);
            if let Some(ca) = &self.ca {
                command.env(format!("{prefix}_CACERT"), ca);
            }
        }
    }
}

/// A command that is not touched by settings for another Vault in the caller's environment.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("VAULT_") || text.starts_with("BAO_") {
            command.env_remove(&name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs `command` to its end and returns its standard output. `asked` names it in an error.
pub(crate) fn output(command: &mut Command, asked: &str) -> Result<String, Error> {
    let program = PathBuf::from(command.get_program());
    let output = command.output().map_err(|cause| Error::Start(program, cause))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Refused(asked.to_owned(), said))
}
