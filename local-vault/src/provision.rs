use std::fmt;
use std::path::Path;

use crate::cli::{command, output};
use crate::{Error, Vault};

/// The credentials that the gate logs in with.
#[derive(Clone)]
pub struct Provisioned {
    /// AppRole's role id.
    pub role_id: String,
    /// AppRole's secret id. `Debug` does not show it.
    pub secret_id: String,
}

impl fmt::Debug for Provisioned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provisioned").field("role_id", &self.role_id).field("secret_id", &"[redacted]").finish()
    }
}

impl Vault {
    /// Gives the server what the gate and these agents need, by `local-vault/provision.sh`, which
    /// says what that is.
    ///
    /// Safe to repeat, with other agents too; every call makes a new secret id, and the ones before
    /// stay good.
    pub fn provision(&self, agents: &[&str]) -> Result<Provisioned, Error> {
        let cli = self.cli();
        let mut shell = command(Path::new("sh"));
        cli.endpoint.export(&mut shell);
        shell.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("provision.sh"));
        shell.env("AGENTS", agents.join(",")).env("VAULT_BINARY", cli.binary);
        let printed = output(&mut shell, "provision.sh")?;
        let field = |name: &str| {
            let line = printed.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::to_owned).ok_or_else(|| Error::Refused("provision.sh".into(), format!("printed no {name}")))
        };
        Ok(Provisioned { role_id: field("VAULT_ROLE_ID=")?, secret_id: field("VAULT_SECRET_ID=")? })
    }
}
