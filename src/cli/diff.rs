//! `portcullis diff`.

mod policy_diff;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::config::{Flags, Report, Settings};

use super::common::{FAILED, REFUSED, load_elsewhere, print, refuse};

use policy_diff::{Change, Holdings};

pub(super) const AFTER: &str = "\
Reads both files with the environment of now, as `portcullis run` would, but
does not look for certificates and keys: files of elsewhere can be compared.
Says for each agent what it would gain (+) and lose (-): roles, grants with
their scopes and bounds, denies, credentials, limits, tools that MCP shows.
Where it had what it gains, or keeps what it loses, by one other grant, that is
told: `covered by \"**\"`.
API keys are named by the first digits of their digest. Where things lie in Vault
and all that is not about agents is not compared.

Exit codes:
  0  no agent would gain or lose anything
  1  what changes is told
  2  a file was refused

Example:
  portcullis diff /etc/portcullis.toml new.toml";

/// Which files.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Diff {
    /// Configuration that is in force.
    old: PathBuf,
    /// Configuration that would be.
    new: PathBuf,
}

pub(super) fn run(Diff { old, new }: &Diff) -> ExitCode {
    let (old, new) = match (load(old), load(new)) {
        (Ok(old), Ok(new)) => (old, new),
        (old, new) => {
            [old.err(), new.err()].iter().flatten().for_each(|report| _ = refuse(report));
            return ExitCode::from(REFUSED);
        }
    };
    let told = told(old, new);
    if told.is_empty() {
        print("no agent would gain or lose anything\n");
        return ExitCode::SUCCESS;
    }
    print(&told);
    ExitCode::from(FAILED)
}

/// Every agent's gains and losses; empty where there are none.
pub(super) fn told(old: Settings, new: Settings) -> String {
    let changes = Holdings::of(old).changes(&Holdings::of(new));
    changes.iter().map(of_one).collect::<Vec<_>>().join("\n")
}

fn load(path: &Path) -> Result<Settings, Report> {
    load_elsewhere(&Flags { config: Some(path.to_owned()), ..Flags::default() })
}

fn of_one(change: &Change) -> String {
    let mut text = format!("{}\n", change.whose);
    for (sign, lines) in [('-', &change.lost), ('+', &change.gained)] {
        for line in lines {
            let _ = writeln!(text, "  {sign} {line}");
        }
    }
    text
}
