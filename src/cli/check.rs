//! `portcullis check`.

use std::process::ExitCode;

use super::{Flags, REFUSED, load, print};
use crate::reload;

pub(super) const AFTER: &str = "\
Reads the same file, environment and flags as `portcullis run` would, and the
certificates, keys and lists they name. Connects to nothing. Problems go to standard error, each with its file and line or its
variable, what is wrong and what to do; values are never shown.

Exit codes:
  0  the configuration is valid; warnings are printed
  2  it is not

Example:
  portcullis check --config new.toml && mv new.toml /etc/portcullis.toml";

pub(super) fn run(flags: &Flags) -> ExitCode {
    let settings = match load(flags) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let parts = match reload::parts(&settings, None) {
        Ok(parts) => parts,
        Err(problem) => {
            eprintln!("configuration refused: {problem}");
            return ExitCode::from(REFUSED);
        }
    };
    let warnings = parts.tls.iter().flatten().flat_map(|material| &material.warnings).chain(&settings.warnings);
    let warnings = warnings.map(|warning| format!("warning: {warning}\n"));
    print(&format!("{}configuration is valid\n", warnings.collect::<String>()));
    ExitCode::SUCCESS
}
