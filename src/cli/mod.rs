//! The command line: a file for each verb.

mod access;
mod admin;
mod audit;
mod check;
mod common;
mod diff;
mod explain;
pub mod import;
mod jwt;
mod key;
mod options;
pub mod policy;
mod ready;
mod schema;
mod stdio;
mod suspend;
mod suggest;
mod suggest_grants;
mod top;
mod watch;

pub use common::Given;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

pub use crate::config::Flags;

/// The task that the process was started for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve.
    Run {
        /// The place of the configuration, and the options that override it.
        flags: Flags,
        /// True where a gate that runs already is replaced.
        upgrade: bool,
    },
    /// Something that ends by itself.
    Once(Once),
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
  0  ended by SIGTERM, SIGINT or SIGQUIT after draining; or the configuration is valid
  1  with --upgrade: not ready in time, or no gate handed its sockets over
  2  the configuration or the command line was refused; nothing was started

Examples:
  portcullis                              serve on 127.0.0.1:8089, with Vault at VAULT_ADDR
  portcullis --config /etc/portcullis.toml
  portcullis check --config new.toml      before putting it in place
  portcullis --upgrade & kill -QUIT OLD   replace a gate that runs, without a break
  portcullis options > options.md";

/// An edge proxy and policy enforcement point in front of HashiCorp Vault and OpenBao.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, after_help = AFTER, args_conflicts_with_subcommands = true)]
struct Line {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve; the default.
    #[command(after_help = AFTER)]
    Run(Serve),
    #[command(flatten)]
    Once(Once),
}

/// Verbs: commands that end by themselves.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Once {
    /// Verify the audit, search it, and make its keys.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Check the configuration and say everything that is wrong with it.
    #[command(after_help = check::AFTER)]
    Check(Given),
    /// Tell what each agent would gain and lose by another configuration.
    #[command(after_help = diff::AFTER)]
    Diff(diff::Diff),
    /// Tell whether an agent may do something, and by which rule.
    #[command(after_help = explain::AFTER)]
    Explain(explain::Explain),
    /// Print the users of a Vault MCP bridge as agents, or a Vault's policies as roles.
    #[command(after_help = import::AFTER)]
    Import(import::Import),
    /// Mint a token for development.
    #[command(after_help = jwt::AFTER)]
    Jwt(Box<jwt::Jwt>),
    /// Print an agent's policy for Vault, or keep Vault's policies in step.
    #[command(after_help = policy::AFTER)]
    Policy(policy::Policy),
    /// Tell whether the gate that runs with this configuration serves.
    #[command(after_help = ready::AFTER)]
    Ready(Given),
    /// Have every gate refuse an agent, and end what it holds.
    #[command(after_help = suspend::AFTER)]
    Suspend(suspend::Suspend),
    /// Let a suspended agent go on.
    #[command(after_help = suspend::AFTER)]
    Resume(suspend::Resume),
    /// List who is suspended, since when and why.
    #[command(after_help = suspend::AFTER)]
    Suspended(Given),
    /// Make credentials.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Print every option with its variable, kind and default, as Markdown.
    #[command(after_help = options::AFTER)]
    Options,
    /// Print the JSON Schema of the configuration file.
    #[command(after_help = schema::AFTER)]
    Schema,
    /// Speak MCP over standard input and output, for a desktop client.
    #[command(after_help = stdio::AFTER)]
    Stdio(stdio::Stdio),
    /// Show what a gate does, as it does it.
    #[command(after_help = top::AFTER)]
    Top(top::Top),
    /// Print the events that a gate tells, as they happen.
    #[command(after_help = watch::AFTER)]
    Watch(watch::Watch),
    /// Propose each agent's rate from what the request log tells of its traffic.
    #[command(after_help = suggest::AFTER)]
    SuggestLimits(suggest::Suggest),
    /// Propose the grants that calls needed which a role with `mode = "observe"` let through.
    #[command(after_help = suggest_grants::AFTER)]
    SuggestGrants(suggest_grants::SuggestGrants),
}

/// Options of the gate that serves.
#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    given: Given,
    /// Take the listening sockets over from the gate that has them, once it gets SIGQUIT; where none has, just start.
    #[arg(long)]
    upgrade: bool,
}

impl From<Serve> for Command {
    fn from(serve: Serve) -> Self {
        Self::Run { flags: serve.given.into(), upgrade: serve.upgrade }
    }
}

impl From<Line> for Command {
    fn from(line: Line) -> Self {
        match line.verb {
            None => line.serve.into(),
            Some(Verb::Run(serve)) => serve.into(),
            Some(Verb::Once(once)) => Self::Once(once),
        }
    }
}

impl Once {
    /// Does it, and says how it went.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self {
            Self::Audit(audit) => audit::run(audit),
            Self::Check(given) => check::run(&given.into()),
            Self::Diff(files) => diff::run(&files),
            Self::Explain(asked) => explain::run(asked),
            Self::Import(files) => import::run(&files),
            Self::Jwt(jwt) => jwt::run(&jwt),
            Self::Policy(policy) => policy::run(policy),
            Self::Ready(given) => ready::run(&given.into()),
            Self::Suspend(asked) => suspend::suspend(&asked),
            Self::Resume(asked) => suspend::resume(&asked),
            Self::Suspended(given) => suspend::list(&given),
            Self::Key(key) => key::run(&key),
            Self::Options => options::run(),
            Self::Schema => schema::run(),
            Self::Stdio(stdio) => stdio::run(&stdio),
            Self::Top(top) => top::run(top),
            Self::Watch(watched) => watch::run(&watched),
            Self::SuggestLimits(asked) => suggest::run(asked),
            Self::SuggestGrants(asked) => suggest_grants::run(asked),
        }
    }
}

/// Reads the command line; prints help, the version or what is wrong with it,
/// and ends the process then.
#[must_use]
pub fn parse() -> Command {
    Line::parse().into()
}

#[cfg(test)]
mod tests {
    mod engine;

    use super::*;
    use clap::CommandFactory;

    /// The command of a line after the program's name.
    pub(super) fn read(line: &[&str]) -> Command {
        Line::try_parse_from([&["portcullis"], line].concat()).unwrap_or_else(|error| panic!("{error}")).into()
    }

    pub(super) fn refused(line: &[&str]) -> bool {
        Line::try_parse_from([&["portcullis"], line].concat()).is_err()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Line::command().debug_assert();
    }

    #[test]
    fn running_is_the_default() {
        let flags = Flags { port: Some("1".into()), reload: Some("true".into()), ..Flags::default() };
        let run = |flags: &Flags, upgrade| Command::Run { flags: flags.clone(), upgrade };
        assert_eq!(read(&[]), run(&Flags::default(), false));
        assert_eq!(read(&["--port", "1", "--reload"]), run(&flags, false));
        assert_eq!(read(&["run", "--reload", "--port=1", "--upgrade"]), run(&flags, true));
        let off = Given { reload: Some("false".into()), ..Given::default() };
        assert_eq!(read(&["check", "--reload=false"]), Command::Once(Once::Check(off)));
        assert_eq!(read(&["options"]), Command::Once(Once::Options));
        assert!(refused(&["--port", "1", "check"]));
    }

    /// Every verb that does something by itself.
    fn verbs(command: &clap::Command) -> Vec<&clap::Command> {
        let below = command.get_subcommands().flat_map(verbs);
        let itself = (!command.is_subcommand_required_set()).then_some(command);
        itself.into_iter().chain(below).collect()
    }

    #[test]
    fn help_names_exit_codes_and_examples() {
        let line = Line::command();
        for verb in verbs(&line) {
            let after = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(after.contains("Exit code") && after.contains("Example"), "{}: {after}", verb.get_name());
        }
    }
}
