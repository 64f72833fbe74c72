//! The things that records are searched for by.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use filters::audit::Naming;
use filters::lifetime::Lifetime;
use filters::vault::Layout;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use crate::cli::common::as_operator;
use crate::config::{AuditKey, Settings};
use crate::vault::{self, NoLogin, OwnCalls, Undone, logged_in};

/// Reads a time, or how long ago it was: milliseconds since the epoch.
pub(super) fn since(text: &str) -> Result<i128, &'static str> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(time.unix_timestamp_nanos() / 1_000_000);
    }
    let ago: Lifetime = text.parse().map_err(|_| "write such as `2030-01-31T12:00:00Z` or `24h`")?;
    Ok(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000 - i128::from(ago.seconds()) * 1000)
}

/// A time in milliseconds since the epoch, as text.
pub(super) fn at(milliseconds: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000);
    time.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

/// The key of names' HMACs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub(super) struct NameKey {
    /// File of the key of names' HMACs.
    #[arg(long, value_name = "KEYFILE")]
    name_key: Option<PathBuf>,
    /// Name of the transit key that it is derived from, where Vault has it.
    #[arg(long, value_name = "NAME", conflicts_with = "name_key")]
    name_transit_key: Option<Box<str>>,
}

impl NameKey {
    /// True where Vault is asked for it.
    pub(super) const fn is_in_vault(&self) -> bool {
        self.name_transit_key.is_some()
    }

    /// The forms of names in records, in one of which each is: by this key, which goes before that of the
    /// configuration.
    ///
    /// # Errors
    /// The file cannot be read, or holds no key; or Vault does not give one.
    pub(super) fn namings(&self, settings: Option<&mut Settings>) -> Result<Vec<Naming>, String> {
        let file = self.name_key.clone().map(AuditKey::File);
        let given = file.or_else(|| self.name_transit_key.clone().map(AuditKey::Transit));
        let configured = || settings.as_ref()?.audit.as_ref()?.name_key.clone();
        match (given.or_else(configured), settings) {
            (None, _) => Ok(vec![Naming::Clear]),
            (Some(AuditKey::File(path)), _) => of_file(&path).map(|naming| vec![naming]),
            (Some(AuditKey::Transit(name)), Some(settings)) => {
                asking(settings, async |own, layout| vault::namings(own, &name, layout).await)
            }
            (Some(AuditKey::Transit(_)), None) => Err("there is no configuration to ask Vault by".to_owned()),
        }
    }
}

fn of_file(path: &Path) -> Result<Naming, String> {
    let text = fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    Naming::of_key(&text).ok_or_else(|| format!("{} holds no key of names", path.display()))
}

/// Asks Vault by the configuration; an operator's VAULT_TOKEN goes before the gate's own login.
///
/// # Errors
/// Vault's words, or why it was not asked.
pub(super) fn asking<T>(
    settings: &mut Settings,
    work: impl AsyncFnOnce(&OwnCalls, &Layout) -> Result<T, Undone>,
) -> Result<T, String> {
    as_operator(settings);
    // There is one provider of cryptography; a second installation changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let layout = &settings.layout;
    let working =
        logged_in(settings, async |own| work(own, layout).await.map_err(|undone| NoLogin(undone.to_string())));
    runtime.block_on(working).map_err(|NoLogin(problem)| problem)
}
