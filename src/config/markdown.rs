//! The reference: every option as a Markdown table.

use std::fmt::Write as _;

use super::options::{Opt, Section};
use super::table::Table;

const INTRODUCTION: &str = "\
The file overrides the defaults, the environment overrides the file, and flags override the environment.
The file is the one that `--config` names, else the one that `APP_CONFIG_FILE` names, else `config.toml`,
`config.json` or `config.yaml` in the working directory.
";

/// One Markdown table per section, made from the table the readers use.
#[must_use]
pub fn options(table: &Table) -> String {
    let mut text = String::from(INTRODUCTION);
    for section in table.sections() {
        describe(section, &mut text);
    }
    text
}

fn describe(section: &Section, text: &mut String) {
    let variables = section.options.iter().any(|option| option.variable.is_some());
    let mark = if section.label.is_empty() { "" } else { "`" };
    let _ = writeln!(text, "\n## {mark}{}{mark}\n", section.title);
    let head = if variables { ("Variable | ", "--- | ") } else { ("", "") };
    let _ = writeln!(text, "| {}Key | Takes | Default | Meaning |\n| {}--- | --- | --- | --- |", head.0, head.1);
    for option in section.options {
        row(option, variables, text);
    }
}

fn row(option: &Opt, variables: bool, text: &mut String) {
    if variables {
        let variable = option.variable.map(|name| format!("`{name}`")).unwrap_or_default();
        let _ = write!(text, "| {variable} ");
    }
    let flag = option.flag.map(|flag| format!(", `{flag}`")).unwrap_or_default();
    let default = match option.default {
        "" => String::new(),
        shown if shown.starts_with(' ') => shown.trim_start().to_owned(),
        value => format!("`{value}`"),
    };
    let _ = writeln!(text, "| `{}`{flag} | {} | {default} | {} |", option.name, option.kind, option.text);
}
