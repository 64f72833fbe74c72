//! `portcullis import`.

pub mod users;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use zeroize::Zeroizing;

use super::common::{FAILED, REFUSED, print};

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

Examples:
  portcullis import config/users.json >agents.d/bridge.toml
  portcullis import config/users.json --api-keys <(printenv API_KEYS_JSON)";

/// Largest file that is read.
const MAX_FILE: usize = 16 << 20;

/// Of which files.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Import {
    /// The bridge's users, such as config/users.json.
    #[arg(value_name = "FILE")]
    users: PathBuf,
    /// File of what `API_KEYS_JSON` holds: their keys come out as digests.
    #[arg(long, value_name = "FILE")]
    api_keys: Option<PathBuf>,
}

pub(super) fn run(asked: &Import) -> ExitCode {
    match users(asked) {
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

fn users(Import { users, api_keys }: &Import) -> Result<Users, (u8, String)> {
    let refused = |file: &Path, problem: UsersProblem| (REFUSED, format!("{}: {problem}", file.display()));
    let mut taken = Users::read(&read(users)?).map_err(|problem| refused(users, problem))?;
    if let Some(file) = api_keys {
        taken.add_keys(&read(file)?).map_err(|problem| refused(file, problem))?;
    }
    Ok(taken)
}

fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, (u8, String)> {
    let failed = |why: &dyn std::fmt::Display| (FAILED, format!("{} cannot be read: {why}", file.display()));
    let mut bytes = Zeroizing::new(Vec::new());
    let read = File::open(file).and_then(|file| file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes));
    match read {
        Ok(length) if length <= MAX_FILE => Ok(bytes),
        Ok(_) => Err(failed(&"it is larger than 16MiB")),
        Err(error) => Err(failed(&error.kind())),
    }
}
