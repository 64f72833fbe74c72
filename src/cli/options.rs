//! `portcullis options`.

use std::process::ExitCode;

use super::common::print;
use crate::config::{self, Table};

pub(super) const AFTER: &str = "\
Exit code: 0.

Example:
  portcullis options > options.md";

pub(super) fn run() -> ExitCode {
    print(&config::options_as_markdown(Table::of_gate()));
    ExitCode::SUCCESS
}
