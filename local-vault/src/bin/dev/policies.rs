use std::path::Path;
use std::process::{Command, Stdio};

use local_vault::{Error, Guarded, Vault};

use crate::Failure;
use crate::gate::CONFIGURATION;

/// Keeps Vault's policies in step with the configuration, as a process of its own.
#[derive(Debug)]
pub(crate) struct Policies {
    _process: Guarded,
}

impl Policies {
    /// Has Vault allow what the configuration grants, now and whenever it changes.
    pub(crate) fn keep(program: &Path, vault: &Vault) -> Result<Policies, Failure> {
        let once = sync(program, vault, &[]).stderr(Stdio::inherit()).status()?;
        if !once.success() {
            return Err("Vault's policies cannot be brought in step with config/dev.toml".into());
        }
        let process: Result<Guarded, Error> = Guarded::spawn(&mut sync(program, vault, &["--watch"]), None);
        Ok(Policies { _process: process? })
    }
}

fn sync(program: &Path, vault: &Vault, more: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(["policy", "--config", CONFIGURATION, "--sync", "--yes"])
        .args(more)
        .env("VAULT_ADDR", vault.address())
        .env("VAULT_TOKEN", vault.root_token())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}
