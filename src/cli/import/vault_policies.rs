//! `portcullis import vault-policies`.

mod proposal;
mod reading;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use filters::grants::Role;
use filters::vault_policy::MARK;

use super::super::common::{FAILED, Given, REFUSED, as_operator, load, load_elsewhere, print, read, refuse};
use super::super::policy::{ask_vault, vault_policy::Sync};
use proposal::Proposal;
use reading::Stanza;

pub(in crate::cli) const AFTER: &str = "\
Prints a role for each policy, as TOML for the configuration or a file of a folder
that `include` names: absolute grants (`vault`) of its paths and capabilities, and
the scopes that these need. A file's policy has the name of the file, up to its
last dot. --from-vault takes all policies of the gate's namespace by VAULT_TOKEN,
and without one as the gate would, but for `root`, `default` and those that
`portcullis policy` has written.

A role gives no more than its policy. What no grant can say is a comment in its
place, for you to decide: paths with templates, with bounds of parameters or of
wrapping, with MFA or control groups, the capabilities sudo and subscribe. Where
another path would then give it, it is denied. Sentinel's policies are not read.

Exit codes:
  0  printed
  1  a file cannot be read, or Vault refused or does not answer
  2  the configuration was refused, or a policy is none: the others are printed

Examples:
  portcullis import vault-policies policies/*.hcl >roles.d/vault.toml
  VAULT_TOKEN=... portcullis import vault-policies --from-vault";

const HEAD: &str = "\
# Proposed from Vault's policies; read it before it is used. Of all policies of a token Vault takes the
# most specific path, and the gate that of each role by itself: an agent with two of these roles may do
# whatever one of them gives and none denies.
";

/// The policies that are read.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(super) struct VaultPolicies {
    /// Policies, HCL or JSON.
    #[arg(value_name = "FILE", required_unless_present = "from_vault", conflicts_with = "from_vault")]
    files: Vec<PathBuf>,
    /// Read those of the Vault that the configuration names.
    #[arg(long)]
    from_vault: bool,
    #[command(flatten)]
    given: Given,
}

pub(super) fn run(VaultPolicies { files, from_vault, given }: &VaultPolicies) -> ExitCode {
    let flags = given.clone().into();
    let settings = if *from_vault { load(&flags) } else { load_elsewhere(&flags).map_err(|report| refuse(&report)) };
    let mut settings = match settings {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let policies = if *from_vault {
        as_operator(&mut settings);
        ask_vault(Sync::with(&settings, async |sync| sync.policies().await)).map_err(|problem| problem.to_string())
    } else {
        files.iter().map(|file| of_file(file)).collect()
    };
    let policies = match policies {
        Ok(policies) => policies,
        Err(problem) => {
            eprintln!("portcullis: {problem}");
            return ExitCode::from(FAILED);
        }
    };
    let (mut names, mut good) = (BTreeSet::from([Role::own_namespace().name.into()]), true);
    print(HEAD);
    for (name, text) in policies {
        match judged(&name, &text, *from_vault) {
            Ok(Some(stanzas)) => {
                let proposal = Proposal::new(&name, &stanzas, &mut names);
                tell(&name, &proposal);
                print(&format!("\n{}", proposal.toml(&settings.layout)));
            }
            Ok(None) => {}
            Err(problem) => {
                eprintln!("portcullis: not taken: {name:?}: {problem}");
                good = false;
            }
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) }
}

/// The policy of a file, by its name.
fn of_file(file: &Path) -> Result<(String, String), String> {
    let bytes = read(file).map_err(|(_, problem)| problem)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok((file.file_stem().unwrap_or_default().to_string_lossy().into_owned(), text))
}

/// The paths of a policy; `None` where no role is to have them, which is told.
fn judged(name: &str, text: &str, of_vault: bool) -> Result<Option<Vec<Stanza>>, String> {
    let why = match name {
        _ if text.starts_with(MARK) => "`portcullis policy` has written it",
        "default" if of_vault => "it is what every token of Vault's may do with itself, which the gate does for agents",
        _ => return reading::read(text).map(Some),
    };
    eprintln!("portcullis: not taken: {name:?}: {why}");
    Ok(None)
}

fn tell(name: &str, proposal: &Proposal) {
    if let Some(role) = proposal.renamed() {
        eprintln!("portcullis: {name:?} becomes the role `{role}`: no role can have that name, or one has it");
    }
    let (lost, all) = proposal.lost();
    if lost > 0 {
        eprintln!("portcullis: {name:?}: {lost} of {all} paths are not carried over as they are; comments say why");
    }
}
