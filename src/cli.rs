//! The command line.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config;
pub use crate::config::Flags;

/// A configuration that was refused.
const REFUSED: u8 = 2;

/// What the process was started to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve.
    Run(Flags),
    /// Check the configuration.
    Check(Flags),
    /// Print the reference of options.
    Options,
}

const AFTER: &str = "\
Configuration, each layer overriding the one before:
  1. built-in defaults
  2. a file: --config, else APP_CONFIG_FILE, else config.toml, config.json or
     config.yaml in the working directory
  3. environment variables, such as VAULT_ADDR, VAULT_ROLE_ID, PORT
  4. flags
`portcullis options` lists every option with its variable and default.
Relative paths begin at the working directory.

Exit codes:
  0  ended by SIGTERM or SIGINT after draining; or the configuration is valid
  2  the configuration or the command line was refused; nothing was started

Examples:
  portcullis                              serve on 127.0.0.1:8089, with Vault at VAULT_ADDR
  portcullis --config /etc/portcullis.toml
  portcullis check --config new.toml      before putting it in place
  portcullis options > options.md";

const CHECK_AFTER: &str = "\
Reads the same file, environment and flags as `portcullis run` would, and the
certificates and keys they name as far as whether they can be read. Connects to
nothing. Problems go to standard error, each with its file and line or its
variable, what is wrong and what to do; values are never shown.

Exit codes:
  0  the configuration is valid; warnings are printed
  2  it is not";

const OPTIONS_AFTER: &str = "\
Exit code: 0.

Example:
  portcullis options > options.md";

/// An edge proxy and policy enforcement point in front of HashiCorp Vault and OpenBao.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, after_help = AFTER, args_conflicts_with_subcommands = true)]
struct Line {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    given: Given,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve; the default.
    #[command(after_help = AFTER)]
    Run(Given),
    /// Check the configuration and say everything that is wrong with it.
    #[command(after_help = CHECK_AFTER)]
    Check(Given),
    /// Print every option with its variable, kind and default, as Markdown.
    #[command(after_help = OPTIONS_AFTER)]
    Options,
}

#[derive(Debug, Args)]
struct Given {
    /// Configuration file: TOML, JSON or YAML, by the end of its name.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Loopback address of the plain-HTTP listener; instead of HOST.
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// Port of the plain-HTTP listener; instead of PORT.
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// Least severe level of the server log: trace, debug, info, warn, error; instead of `LOG_LEVEL`.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Watch the configuration, certificates and keys, and reload them; instead of RELOAD.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    reload: Option<String>,
}

impl From<Given> for Flags {
    fn from(given: Given) -> Self {
        let Given { config, host, port, log_level, reload } = given;
        Self { config, host, port, log_level, reload }
    }
}

impl From<Line> for Command {
    fn from(line: Line) -> Self {
        match line.verb {
            None => Self::Run(line.given.into()),
            Some(Verb::Run(given)) => Self::Run(given.into()),
            Some(Verb::Check(given)) => Self::Check(given.into()),
            Some(Verb::Options) => Self::Options,
        }
    }
}

/// Reads the command line; prints help, the version or what is wrong with it,
/// and ends the process then.
#[must_use]
pub fn parse() -> Command {
    Line::parse().into()
}

/// `portcullis check`.
#[must_use]
pub fn check(flags: &Flags) -> ExitCode {
    match config::load(flags, &config::variable) {
        Ok(settings) => {
            let warnings = settings.warnings.iter().map(|warning| format!("warning: {warning}\n"));
            print(&format!("{}configuration is valid\n", warnings.collect::<String>()));
            ExitCode::SUCCESS
        }
        Err(report) => {
            eprint!("{report}");
            ExitCode::from(REFUSED)
        }
    }
}

/// `portcullis options`.
#[must_use]
pub fn options() -> ExitCode {
    print(&config::options_as_markdown());
    ExitCode::SUCCESS
}

/// Whoever stops reading has seen enough.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn read(line: &[&str]) -> Command {
        Line::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).into()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Line::command().debug_assert();
    }

    #[test]
    fn running_is_the_default() {
        let flags = Flags { port: Some("1".into()), reload: Some("true".into()), ..Flags::default() };
        assert_eq!(read(&["portcullis"]), Command::Run(Flags::default()));
        assert_eq!(read(&["portcullis", "--port", "1", "--reload"]), Command::Run(flags.clone()));
        assert_eq!(read(&["portcullis", "run", "--reload", "--port=1"]), Command::Run(flags));
        let off = Flags { reload: Some("false".into()), ..Flags::default() };
        assert_eq!(read(&["portcullis", "check", "--reload=false"]), Command::Check(off));
        assert_eq!(read(&["portcullis", "options"]), Command::Options);
        assert!(Line::try_parse_from(["portcullis", "--port", "1", "check"]).is_err());
    }

    #[test]
    fn help_names_exit_codes_and_examples() {
        for verb in ["run", "check", "options"] {
            let error = Line::try_parse_from(["portcullis", verb, "--help"]).err().map(|e| e.to_string());
            let help = error.unwrap_or_default();
            assert!(help.contains("Exit code"), "{help}");
        }
    }
}
