//! `portcullis key`.

use std::process::ExitCode;

use clap::Subcommand;
use filters::names::AgentId;

use super::{FAILED, REFUSED, print};
use crate::key::NewKey;

const NEW_AFTER: &str = "\
The key goes to standard output, this once; what to put into the configuration
goes to standard error and holds no more than the key's digest. Every key
begins with pck_ and matches pck_[A-Za-z0-9_-]{43}, for scanners of leaks.

Exit codes:
  0  printed
  2  no name that an agent can have

Example:
  portcullis key new ci >ci.key   and add what it says to the configuration";

/// What is done with keys.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Key {
    /// Make an API key, and print it and what to put into the configuration.
    #[command(after_help = NEW_AFTER)]
    New {
        /// Whose key it is to be.
        agent: String,
    },
}

pub(super) fn run(Key::New { agent }: &Key) -> ExitCode {
    let Some(agent) = AgentId::parse(agent) else {
        eprintln!("portcullis: no agent can have that name: [a-z0-9][a-z0-9._-]{{0,62}} without `..`");
        return ExitCode::from(REFUSED);
    };
    match NewKey::generate() {
        Ok(key) => {
            eprint!("{}", key.entry(&agent));
            print(&format!("{}\n", key.text()));
            ExitCode::SUCCESS
        }
        Err(_) => {
            eprintln!("portcullis: the system gives no random numbers");
            ExitCode::from(FAILED)
        }
    }
}
