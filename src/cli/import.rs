//! `portcullis import`.

pub mod users;
mod vault_policies;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::common::{REFUSED, print, read};

use users::{Users, UsersProblem};

pub(super) const AFTER: &str = "\
Prints an agent for each user of a Vault MCP bridge, as TOML for the configuration
or a file of a folder that `include` names. All have the role `bridge`: everything
in the own namespace. Four forms are read:
  {\"alice\": {…}, \"bob\": {…}}               subjects, with an object each
  [{\"subject\": \"alice\", …}]                objects that name their subject
  {\"users\": {\"alice\": {…}}}                and both as the only member of one
  {\"users\": [{\"subject\": \"alice\", …}]}
A subject that is no agent's name gets one that is, and keeps its tokens. On
standard error stands what was taken, which names are new, and what was not
taken; it holds no values. jwt_created_at, jwt_expires_at and jwt_ttl_seconds are
not needed: a token brings its own times.

Exit codes:
  0  printed
  1  a file cannot be read
  2  a file is none of these, nobody is in it, or two users would be one agent

`portcullis import vault-policies` prints roles for the policies of a Vault.

Examples:
  portcullis import config/users.json >agents.d/bridge.toml
  portcullis import config/users.json --api-keys <(printenv API_KEYS_JSON)";

/// Of which files.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Import {
    #[command(subcommand)]
    other: Option<Other>,
    /// The bridge's users, such as config/users.json.
    #[arg(value_name = "FILE", required = true)]
    users: Option<PathBuf>,
    /// File of what `API_KEYS_JSON` holds: their keys come out as digests.
    #[arg(long, value_name = "FILE")]
    api_keys: Option<PathBuf>,
}

/// Whatever else is imported.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
enum Other {
    /// Print a role for each policy of a Vault.
    #[command(after_help = vault_policies::AFTER)]
    VaultPolicies(vault_policies::VaultPolicies),
}

pub(super) fn run(Import { other, users, api_keys }: &Import) -> ExitCode {
    if let Some(Other::VaultPolicies(asked)) = other {
        return vault_policies::run(asked);
    }
    match of_bridge(users.as_deref().unwrap_or(Path::new("")), api_keys.as_deref()) {
        Ok(users) => {
            users.remarks().iter().for_each(|remark| eprintln!("portcullis: {remark}"));
            print(&users.toml());
            ExitCode::SUCCESS
        }
        Err((code, problem)) => {
            eprintln!("portcullis: {problem}");
            ExitCode::from(code)
        }
    }
}

fn of_bridge(users: &Path, api_keys: Option<&Path>) -> Result<Users, (u8, String)> {
    let refused = |file: &Path, problem: UsersProblem| (REFUSED, format!("{}: {problem}", file.display()));
    let mut taken = Users::read(&read(users)?).map_err(|problem| refused(users, problem))?;
    if let Some(file) = api_keys {
        taken.add_keys(&read(file)?).map_err(|problem| refused(file, problem))?;
    }
    Ok(taken)
}
