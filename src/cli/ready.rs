//! `portcullis ready`.

use std::process::ExitCode;

use crate::config::Flags;

use super::admin;
use super::common::{FAILED, load_elsewhere, print, refuse};

pub(super) const AFTER: &str = "\
Asks the gate that runs with the same file, environment and flags, at its admin
socket or address, and prints what it says of itself. For probes that run beside
the gate, such as Kubernetes' `exec`: anyone else is told yes or no at `/readyz`, and
no detail.

Exit codes:
  0  it serves
  1  it does not, or nobody answers
  2  the configuration was refused

Example:
  portcullis ready --config /etc/portcullis.toml";

pub(super) fn run(flags: &Flags) -> ExitCode {
    let settings = match load_elsewhere(flags) {
        Ok(settings) => settings,
        Err(report) => return refuse(&report),
    };
    match admin::ask(&settings.admin, "GET", "/readyz") {
        Ok(answer) => {
            print(&format!("{}\n", answer.body));
            if answer.status == 200 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
        }
        Err(error) => {
            eprintln!("portcullis: the gate cannot be asked: {error}");
            ExitCode::from(FAILED)
        }
    }
}
