//! `portcullis schema`.

use std::process::ExitCode;

use super::common::print;
use crate::config::{self, Table};

pub(super) const AFTER: &str = "\
For editors, which then complete and check a configuration file while it is
written. `portcullis check` tells more: what one value alone cannot.

Exit code: 0.

Example:
  portcullis schema > portcullis.schema.json   and begin a TOML file with
  #:schema ./portcullis.schema.json";

pub(super) fn run() -> ExitCode {
    print(&format!("{:#}\n", config::schema(Table::of_gate())));
    ExitCode::SUCCESS
}
