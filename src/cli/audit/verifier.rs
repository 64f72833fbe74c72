//! `portcullis audit verifier`.

use std::fs;
use std::process::ExitCode;

use clap::Args;
use filters::audit::{NoteSigner, NoteVerifier};
use zeroize::Zeroizing;

use super::criteria;
use crate::cli::common::{FAILED, Given, REFUSED, load_elsewhere, print, refuse};
use crate::config::{AuditKey, Settings};
use crate::vault;

pub(super) const AFTER: &str = "\
Prints the key that verifies checkpoints, of the one that the configuration signs them
by: of a file, or of each version of a transit key, a line each, latest first. Vault is
asked for those by VAULT_TOKEN, or as the gate would ask. Keep them elsewhere, for
`portcullis audit verify --key`; after the transit key was rotated, print them again.

Exit codes:
  0  printed
  1  the file cannot be read, or Vault does not give them
  2  the configuration or the command line was refused, or names no key

Examples:
  portcullis audit verifier >verifiers.txt
  VAULT_TOKEN=... portcullis audit verifier --config /etc/portcullis.toml";

/// The configuration.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Verifier {
    #[command(flatten)]
    given: Given,
}

pub(super) fn run(asked: Verifier) -> ExitCode {
    let mut settings = match load_elsewhere(&asked.given.into()) {
        Ok(settings) => settings,
        Err(report) => return refuse(&report),
    };
    let Some(key) = settings.audit.as_ref().and_then(|audit| audit.checkpoint_key.clone()) else {
        eprintln!("portcullis: the configuration names no key of checkpoints");
        return ExitCode::from(REFUSED);
    };
    match verifiers(&key, &mut settings) {
        Ok(verifiers) => {
            verifiers.iter().for_each(|verifier| print(&format!("{verifier}\n")));
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("portcullis: {problem}");
            ExitCode::from(FAILED)
        }
    }
}

fn verifiers(key: &AuditKey, settings: &mut Settings) -> Result<Vec<NoteVerifier>, String> {
    match key {
        AuditKey::File(path) => {
            let text = fs::read_to_string(path).map(Zeroizing::new);
            let text = text.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
            let verifier = NoteSigner::parse(&text).and_then(|signer| signer.verifier());
            let verifier = verifier.ok_or_else(|| format!("{} holds no key of checkpoints", path.display()))?;
            Ok(vec![verifier])
        }
        AuditKey::Transit(name) => {
            criteria::asking(settings, async |own, layout| vault::verifiers(own, name, layout).await)
        }
    }
}
