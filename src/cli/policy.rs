//! `portcullis policy`.

mod gate;
pub mod vault_policy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use filters::names::AgentId;
use tokio::runtime::{Builder, Runtime};

use crate::config::{Flags, Login, Settings};
use crate::reload::{self, Seen};
use crate::vault::NoLogin;

use super::common::{FAILED, Given, REFUSED, as_operator, load, print};

use vault_policy::{PolicyProblem, Sync};

/// Vault is not as the configuration has it.
const DIFFERS: u8 = 3;

pub(super) const AFTER: &str = "\
Reads the same file, environment and flags as `portcullis run` would. --sync
asks Vault by VAULT_TOKEN of somebody who may write policies and token roles, in
each of Vault's namespaces that agents are in, and without one as the gate would.
Policies are removed only where they were written by this command.

Exit codes:
  0  printed; or Vault is as the configuration has it
  1  Vault refused, or does not answer
  2  the configuration was refused, or has no such agent
  3  Vault differs, and --yes was not given: nothing was written

Examples:
  portcullis policy agent_mtls | vault policy write mcp-agent-agent_mtls -
  portcullis policy --gate | vault policy write portcullis-gate -
  portcullis policy --sync                what would be written, line by line
  portcullis policy --sync --yes          write it
  portcullis policy --sync --yes --watch  and again whenever the file changes";

/// Which policies, and what becomes of them.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Policy {
    /// The agent whose policy is printed.
    #[arg(required_unless_present_any = ["sync", "gate"], conflicts_with_all = ["sync", "gate"])]
    agent: Option<String>,
    /// Print the policy that the gate itself needs, where it logs in.
    #[arg(long, conflicts_with = "sync")]
    gate: bool,
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

pub(super) fn run(Policy { agent, gate, sync: _, yes, watch, given }: Policy) -> ExitCode {
    let flags = given.into();
    let mut settings = match load(&flags) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let outcome = match agent {
        Some(agent) => {
            let id = AgentId::parse(&agent).ok_or(PolicyProblem::UnknownAgent);
            id.and_then(|id| vault_policy::of_agent(&settings, &id)).map(|text| {
                print(&text);
                ExitCode::SUCCESS
            })
        }
        None if gate => {
            print(&gate::of_gate(&settings));
            Ok(ExitCode::SUCCESS)
        }
        None => {
            as_operator(&mut settings);
            sync_all(&flags, &settings, yes, watch)
        }
    };
    outcome.unwrap_or_else(|problem| {
        eprintln!("portcullis: {problem}{}", asked_by(&problem, &settings));
        ExitCode::from(match problem {
            PolicyProblem::UnknownAgent | PolicyProblem::Unprintable(..) => REFUSED,
            PolicyProblem::NoLogin(_) | PolicyProblem::NoNamespace(_) | PolicyProblem::Vault(..) => FAILED,
        })
    })
}

/// As whom Vault was asked, where it did not do it.
fn asked_by(problem: &PolicyProblem, settings: &Settings) -> String {
    let by = settings.login.name();
    match (problem, &settings.login) {
        (PolicyProblem::Vault(..), Login::Token(_)) => {
            "; it was asked by VAULT_TOKEN, which must be an operator's".to_owned()
        }
        (PolicyProblem::Vault(..), _) => {
            format!("; it was asked by the gate's own login ({by}): give VAULT_TOKEN of an operator")
        }
        _ => String::new(),
    }
}

fn sync_all(flags: &Flags, settings: &Settings, write: bool, watch: bool) -> Result<ExitCode, PolicyProblem> {
    let runtime = runtime()?;
    let seen = watch.then(|| reload::digests(&settings.files));
    let code = runtime.block_on(sync_once(settings, write))?;
    if let Some(seen) = seen {
        runtime.block_on(sync_for_ever(flags, &settings.files, seen));
    }
    Ok(code)
}

/// The runtime in which a command asks Vault.
fn runtime() -> Result<Runtime, NoLogin> {
    // There is one provider of cryptography; a second installation changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Builder::new_current_thread().enable_all().build().map_err(|error| NoLogin(error.to_string()))
}

/// Asks Vault, in a runtime of its own.
pub(super) fn ask_vault<T>(asking: impl Future<Output = Result<T, PolicyProblem>>) -> Result<T, PolicyProblem> {
    runtime()?.block_on(asking)
}

async fn sync_once(settings: &Settings, write: bool) -> Result<ExitCode, PolicyProblem> {
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
async fn sync_for_ever(flags: &Flags, files: &[PathBuf], seen: Seen) {
    let changed = tokio::sync::Notify::new();
    let syncing = async {
        loop {
            changed.notified().await;
            let Ok(mut settings) = load(flags) else { continue };
            as_operator(&mut settings);
            if let Err(problem) = sync_once(&settings, true).await {
                eprintln!("portcullis: {problem}{}", asked_by(&problem, &settings));
            }
        }
    };
    tokio::select! {
        () = reload::watch(files, seen, || changed.notify_one()) => {}
        () = syncing => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read, refused};
    use super::super::{Command, Once};
    use super::*;

    #[test]
    fn policies_are_printed_or_written_when_told_so() {
        let policy = |line: &[&str]| read(&[&["policy"], line].concat());
        let is = |policy| Command::Once(Once::Policy(policy));
        let none = Policy { agent: None, gate: false, sync: false, yes: false, watch: false, given: Given::default() };
        let sync = |yes, watch| is(Policy { sync: true, yes, watch, ..none.clone() });
        let bob = Policy { agent: Some("bob".into()), ..none.clone() };
        assert_eq!(policy(&["bob"]), is(bob));
        assert_eq!(policy(&["--gate"]), is(Policy { gate: true, ..none.clone() }));
        assert_eq!(policy(&["--sync"]), sync(false, false));
        assert_eq!(policy(&["--sync", "--yes", "--watch"]), sync(true, true));
        for wrong in
            [&[][..], &["--yes"], &["bob", "--sync"], &["bob", "--gate"], &["--gate", "--sync"], &["--sync", "--watch"]]
        {
            assert!(refused(&[&["policy"], wrong].concat()), "{wrong:?}");
        }
    }
}
