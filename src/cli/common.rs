//! Arguments, exit codes and output that several verbs have in common.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use filters::scope::Scope;
use filters::secret::Secret;
use zeroize::Zeroizing;

use crate::config::{self, Environment, Flags, Login, Report, Settings};

/// The exit code where the command could not be carried out.
pub(super) const FAILED: u8 = 1;
/// A configuration or a command line that was refused.
pub(super) const REFUSED: u8 = 2;

/// Largest file that is read.
const MAX_FILE: usize = 16 << 20;

/// The place of the configuration, and the options that override it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Given {
    /// Configuration file: TOML, JSON or YAML, by the end of its name.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Loopback address of the plain-HTTP listener; instead of HOST.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) host: Option<String>,
    /// Port of the plain-HTTP listener; instead of PORT.
    #[arg(long, value_name = "PORT")]
    pub(super) port: Option<String>,
    /// Least severe level of the server log: trace, debug, info, warn, error; instead of `LOG_LEVEL`.
    #[arg(long, value_name = "LEVEL")]
    pub(super) log_level: Option<String>,
    /// Watch the configuration, certificates and keys, and reload them; instead of RELOAD.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) reload: Option<String>,
}

impl From<Given> for Flags {
    fn from(given: Given) -> Self {
        let Given { config, host, port, log_level, reload } = given;
        Self { config, host, port, log_level, reload }
    }
}

/// The configuration; where it is refused, its problems are told.
pub(super) fn load(flags: &Flags) -> Result<Settings, ExitCode> {
    config::load(flags, &config::variable).map_err(|report| refuse(&report))
}

/// The configuration, wherever it is read: whether certificates and keys are
/// there is not looked at.
pub(super) fn load_elsewhere(flags: &Flags) -> Result<Settings, Report> {
    config::load_from(flags, &Environment { probe: &|_| Ok(()), ..Environment::of_process() })
}

/// Takes an operator's VAULT_TOKEN in place of the gate's own login, for what the gate itself may not do, and says so
/// where both are given.
pub(super) fn as_operator(settings: &mut Settings) {
    let token = config::variable("VAULT_TOKEN").filter(|token| !token.is_empty());
    let Some(token) = token.map(Secret::new) else { return };
    if !matches!(settings.login, Login::None | Login::Token(_)) {
        let own = settings.login.name();
        eprintln!("portcullis: Vault is asked by VAULT_TOKEN, and not by the gate's own login ({own})");
    }
    settings.login = Login::Token(token);
}

/// Tells the problems of a configuration.
pub(super) fn refuse(report: &Report) -> ExitCode {
    eprint!("{report}");
    ExitCode::from(REFUSED)
}

/// Scopes, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ScopeList(pub(super) Vec<Scope>);

/// Reads names separated by spaces or commas.
pub(super) fn scopes(text: &str) -> Result<ScopeList, &'static str> {
    let one = |name| Scope::ALL.into_iter().find(|scope| scope.name() == name);
    let names = text.split([' ', ',']).filter(|name| !name.is_empty());
    names.map(one).collect::<Option<_>>().map(ScopeList).ok_or("each is one of read, write, delete, list")
}

/// The bytes of a file.
///
/// # Errors
/// [`FAILED`], and why it cannot be read; it may be larger than 16 MiB.
pub(super) fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, (u8, String)> {
    let failed = |why: &dyn std::fmt::Display| (FAILED, format!("{} cannot be read: {why}", file.display()));
    let mut bytes = Zeroizing::new(Vec::new());
    let read = File::open(file).and_then(|file| file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes));
    match read {
        Ok(length) if length <= MAX_FILE => Ok(bytes),
        Ok(_) => Err(failed(&"it is larger than 16MiB")),
        Err(error) => Err(failed(&error.kind())),
    }
}

/// Prints to standard output; a reader that has gone is no failure.
pub(super) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
