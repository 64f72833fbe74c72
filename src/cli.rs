//! The command line.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use filters::names::AgentId;

pub use crate::config::Flags;
use crate::config::{self, Settings};
use crate::key::NewKey;
use crate::policy::{self, Problem, Sync};
use crate::reload;

/// Vault refused, or does not answer.
const FAILED: u8 = 1;
/// A configuration that was refused.
const REFUSED: u8 = 2;
/// Vault is not as the configuration has it.
const DIFFERS: u8 = 3;

/// What the process was started to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve.
    Run(Flags),
    /// Check the configuration.
    Check(Flags),
    /// Print the reference of options.
    Options,
    /// Print one agent's policy, or write all to Vault.
    Policy(Flags, Policies),
    /// Make an API key for this agent.
    NewKey(String),
}

/// Which policies, and what becomes of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policies {
    /// This agent's is printed.
    Print(String),
    /// What differs from Vault is shown, and written where that is said.
    Sync {
        /// Whether it is written.
        write: bool,
        /// Whether it is kept in step for ever.
        watch: bool,
    },
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

const POLICY_AFTER: &str = "\
Reads the same file, environment and flags as `portcullis run` would. --sync
logs in to Vault as the gate would: give it VAULT_TOKEN of somebody who may
write policies and token roles, with empty VAULT_ROLE_ID and VAULT_SECRET_ID.
Policies are removed only where they were written by this command.

Exit codes:
  0  printed; or Vault is as the configuration has it
  1  Vault refused, or does not answer
  2  the configuration was refused, or has no such agent
  3  Vault differs, and --yes was not given: nothing was written

Examples:
  portcullis policy agent_mtls | vault policy write mcp-agent-agent_mtls -
  portcullis policy --sync                what would be written, line by line
  portcullis policy --sync --yes          write it
  portcullis policy --sync --yes --watch  and again whenever the file changes";

const KEY_AFTER: &str = "\
The key goes to standard output, this once; what to put into the configuration
goes to standard error and holds no more than the key's digest. Every key
begins with pck_ and matches pck_[A-Za-z0-9_-]{43}, for scanners of leaks.

Exit codes:
  0  printed
  2  no name that an agent can have

Example:
  portcullis key new ci >ci.key   and add what it says to the configuration";

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
    /// Print an agent's policy for Vault, or keep Vault's policies in step.
    #[command(after_help = POLICY_AFTER)]
    Policy(PolicyLine),
    /// Make credentials.
    #[command(subcommand)]
    Key(KeyVerb),
    /// Print every option with its variable, kind and default, as Markdown.
    #[command(after_help = OPTIONS_AFTER)]
    Options,
}

#[derive(Debug, Subcommand)]
enum KeyVerb {
    /// Make an API key, and print it and what to put into the configuration.
    #[command(after_help = KEY_AFTER)]
    New {
        /// Whose key it is to be.
        agent: String,
    },
}

#[derive(Debug, Args)]
struct PolicyLine {
    /// The agent whose policy is printed.
    #[arg(required_unless_present = "sync", conflicts_with = "sync")]
    agent: Option<String>,
    /// Show what differs between all policies and token roles and Vault's.
    #[arg(long)]
    sync: bool,
    /// Write it to Vault.
    #[arg(long, requires = "sync")]
    yes: bool,
    /// Go on, and do so again whenever the configuration changes.
    #[arg(long, requires = "yes")]
    watch: bool,
    #[command(flatten)]
    given: Given,
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
            Some(Verb::Key(KeyVerb::New { agent })) => Self::NewKey(agent),
            Some(Verb::Policy(PolicyLine { agent, sync: _, yes, watch, given })) => {
                let sync = Policies::Sync { write: yes, watch };
                Self::Policy(given.into(), agent.map_or(sync, Policies::Print))
            }
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
    let settings = match config::load(flags, &config::variable) {
        Ok(settings) => settings,
        Err(report) => {
            eprint!("{report}");
            return ExitCode::from(REFUSED);
        }
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

/// `portcullis options`.
#[must_use]
pub fn options() -> ExitCode {
    print(&config::options_as_markdown());
    ExitCode::SUCCESS
}

/// `portcullis key new`.
#[must_use]
pub fn new_key(agent: &str) -> ExitCode {
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

/// `portcullis policy`.
#[must_use]
pub fn policy(flags: &Flags, wanted: &Policies) -> ExitCode {
    let settings = match config::load(flags, &config::variable) {
        Ok(settings) => settings,
        Err(report) => {
            eprint!("{report}");
            return ExitCode::from(REFUSED);
        }
    };
    let outcome = match wanted {
        Policies::Print(agent) => {
            let id = AgentId::parse(agent).ok_or(Problem::UnknownAgent);
            id.and_then(|id| policy::of_agent(&settings, &id)).map(|text| {
                print(&text);
                ExitCode::SUCCESS
            })
        }
        Policies::Sync { write, watch } => sync(flags, settings, *write, *watch),
    };
    outcome.unwrap_or_else(|problem| {
        eprintln!("portcullis: {problem}");
        ExitCode::from(match problem {
            Problem::UnknownAgent | Problem::TooManyPaths(_) => REFUSED,
            Problem::NoLogin | Problem::Vault(..) => FAILED,
        })
    })
}

fn sync(flags: &Flags, settings: Settings, write: bool, watch: bool) -> Result<ExitCode, Problem> {
    // There is one provider of cryptography; a second installation changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|_| Problem::NoLogin)?;
    let code = runtime.block_on(sync_once(&settings, write))?;
    if watch {
        runtime.block_on(sync_for_ever(flags, &settings.files));
    }
    Ok(code)
}

async fn sync_once(settings: &Settings, write: bool) -> Result<ExitCode, Problem> {
    Sync::with(settings, async |sync| {
        let changes = sync.changes(settings).await?;
        for change in &changes {
            print(&change.to_string());
            if write {
                sync.make(change).await?;
            }
        }
        let (text, code) = match (changes.len(), write) {
            (0, _) => ("Vault is as the configuration has it\n".to_owned(), ExitCode::SUCCESS),
            (count, true) => (format!("written: {count}\n"), ExitCode::SUCCESS),
            (count, false) => {
                (format!("to write: {count}; nothing was written, repeat with --yes\n"), ExitCode::from(DIFFERS))
            }
        };
        print(&text);
        Ok(code)
    })
    .await
}

/// Syncs whenever one of `files` changes. A configuration that is refused, or
/// a Vault that is away, is told and waited out.
async fn sync_for_ever(flags: &Flags, files: &[PathBuf]) {
    let changed = tokio::sync::Notify::new();
    let syncing = async {
        loop {
            changed.notified().await;
            match config::load(flags, &config::variable) {
                Err(report) => eprint!("{report}"),
                Ok(settings) => {
                    if let Err(problem) = sync_once(&settings, true).await {
                        eprintln!("portcullis: {problem}");
                    }
                }
            }
        }
    };
    tokio::select! {
        () = reload::watch(files, || changed.notify_one()) => {}
        () = syncing => {}
    }
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
    fn policies_are_printed_or_written_when_told_so() {
        let policy = |line: &[&str]| read(&[&["portcullis", "policy"], line].concat());
        let sync = |write, watch| Command::Policy(Flags::default(), Policies::Sync { write, watch });
        assert_eq!(policy(&["bob"]), Command::Policy(Flags::default(), Policies::Print("bob".into())));
        assert_eq!(policy(&["--sync"]), sync(false, false));
        assert_eq!(policy(&["--sync", "--yes", "--watch"]), sync(true, true));
        for wrong in [&[][..], &["--yes"], &["bob", "--sync"], &["--sync", "--watch"]] {
            assert!(Line::try_parse_from([&["portcullis", "policy"], wrong].concat()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn help_names_exit_codes_and_examples() {
        for verb in ["run", "check", "options", "policy"] {
            let error = Line::try_parse_from(["portcullis", verb, "--help"]).err().map(|e| e.to_string());
            let help = error.unwrap_or_default();
            assert!(help.contains("Exit code"), "{help}");
        }
    }
}
