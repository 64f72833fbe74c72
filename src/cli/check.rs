//! `portcullis check`.

use std::process::ExitCode;

use crate::config::Flags;
use crate::server::preflight::{self, Preflight};

use super::common::{REFUSED, load, print};

pub(super) const AFTER: &str = "\
Reads the same file, environment and flags as `portcullis run` would, and the
certificates, keys and lists they name, and tries what it would need of this
machine: its addresses, sockets and folders. What somebody listens on is noted
only, since the gate that runs may. Problems go to standard error, each with its
file and line or its variable, what is wrong and what to do; values are never
shown.

Exit codes:
  0  a gate would start here; warnings and notes are printed
  2  it would not

Example:
  portcullis check --config new.toml && mv new.toml /etc/portcullis.toml";

pub(super) fn run(flags: &Flags) -> ExitCode {
    let settings = match load(flags) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    // There is one provider of cryptography; a second installation changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let Preflight { prepared, problems, taken } = preflight::run(&settings);
    let Some(prepared) = prepared.filter(|_| problems.is_empty()) else {
        eprintln!("configuration refused: {}", problems.join("\nconfiguration refused: "));
        return ExitCode::from(REFUSED);
    };
    let warnings = prepared.tls.iter().flatten().flat_map(|material| &material.warnings).chain(&settings.warnings);
    let warnings = warnings.map(|warning| format!("warning: {warning}\n"));
    let notes = taken.iter().map(|taken| format!("note: {taken}, unless it is the gate that is to be replaced\n"));
    print(&format!("{}configuration is valid\n", warnings.chain(notes).collect::<String>()));
    ExitCode::SUCCESS
}
