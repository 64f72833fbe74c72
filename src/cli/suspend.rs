//! `portcullis suspend`, `resume` and `suspended`.

use std::process::ExitCode;

use clap::Args;
use filters::names::AgentId;
use filters::refusal::Refusal;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{FAILED, Given, REFUSED, admin, load_elsewhere, print, refuse};
use crate::config::Settings;
use crate::vault::{Leases, NoLogin, Record, Suspensions, logged_in};

pub(super) const AFTER: &str = "\
Puts the agent on a record in Vault that every gate looks at twice a second:
from then on each refuses it with 403 `suspended` on every connection, closes
its streams, and drops its tokens in Vault; its leases end. The record outlives the
gates. Where the gate of this configuration answers at its admin socket, it
looks at once.

Logs in to Vault as the gate would, by the same file, environment and flags.

Exit codes:
  0  it is on the record, and its leases have ended
  1  Vault refused, or does not answer
  2  the configuration was refused, or no agent can have that name

Examples:
  portcullis suspend ci --reason \"key leaked, INC-42\"
  portcullis suspended
  portcullis resume ci";

/// Who is to do nothing for now.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Suspend {
    /// The agent.
    agent: String,
    /// Why, for people.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    given: Given,
}

/// Who may go on.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Resume {
    /// The agent.
    agent: String,
    #[command(flatten)]
    given: Given,
}

const NO_NAME: &str = "no agent can have that name: [a-z0-9][a-z0-9._-]{0,62} without `..`";

/// Why it was not done.
enum Problem {
    NoName,
    NoLogin(NoLogin),
    Vault(Refusal),
}

impl From<NoLogin> for Problem {
    fn from(problem: NoLogin) -> Self {
        Self::NoLogin(problem)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::Vault(refusal)
    }
}

pub(super) fn suspend(Suspend { agent, reason, given }: &Suspend) -> ExitCode {
    run(given, async |settings, suspensions, leases| {
        let agent = AgentId::parse(agent).ok_or(Problem::NoName)?;
        suspensions.suspend(&settings.layout, &agent, reason).await?;
        let looked = tell_gate(settings);
        let ended = leases.end_all(&settings.layout, &agent).await?;
        Ok(format!("{agent} is suspended; {ended} leases have ended; {looked}\n"))
    })
}

pub(super) fn resume(Resume { agent, given }: &Resume) -> ExitCode {
    run(given, async |settings, suspensions, _| {
        let agent = AgentId::parse(agent).ok_or(Problem::NoName)?;
        let configured = settings.agents.iter().any(|entry| entry.id == agent && entry.suspended);
        let was = suspensions.resume(&settings.layout, &agent).await?;
        let looked = tell_gate(settings);
        let done = if was { "is no longer on the record" } else { "was not on the record" };
        let still = if configured { "; the configuration suspends it still" } else { "" };
        Ok(format!("{agent} {done}{still}; {looked}\n"))
    })
}

pub(super) fn list(given: &Given) -> ExitCode {
    run(given, async |settings, suspensions, _| {
        let (_, record) = suspensions.read(&settings.layout).await?;
        let configured = settings.agents.iter().filter(|entry| entry.suspended);
        let configured = configured.map(|entry| format!("{}  by the configuration\n", entry.id));
        Ok(lines(&record).chain(configured).collect())
    })
}

fn lines(record: &Record) -> impl Iterator<Item = String> {
    record.iter().map(|(agent, suspension)| {
        let since = i64::try_from(suspension.since).unwrap_or(i64::MAX);
        let since = OffsetDateTime::from_unix_timestamp(since).ok().and_then(|time| time.format(&Rfc3339).ok());
        // A reason is somebody's text, and may not write to the terminal.
        let reason = suspension.reason.escape_debug();
        format!("{}  since {}  {reason}\n", agent.escape_debug(), since.unwrap_or_default())
    })
}

fn run(given: &Given, work: impl AsyncFnOnce(&Settings, &Suspensions, &Leases) -> Result<String, Problem>) -> ExitCode {
    let settings = match load_elsewhere(&given.clone().into()) {
        Ok(settings) => settings,
        Err(report) => return refuse(&report),
    };
    // There is one provider of cryptography; a second installation changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let working = logged_in(&settings, async |upstream, own| {
        let leases = Leases::new(std::sync::Arc::clone(upstream), own.clone());
        work(&settings, &Suspensions::new(own.clone()), &leases).await
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(|error| NoLogin(error.to_string()).into()).and_then(|runtime| runtime.block_on(working)) {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(problem) => {
            let (code, text) = match problem {
                Problem::NoName => (REFUSED, NO_NAME.to_owned()),
                Problem::NoLogin(problem) => (FAILED, problem.to_string()),
                Problem::Vault(refusal) => (FAILED, refusal.public().detail.to_owned()),
            };
            eprintln!("portcullis: {text}");
            ExitCode::from(code)
        }
    }
}

/// Has the gate of this configuration look at once, where it answers.
fn tell_gate(settings: &Settings) -> &'static str {
    match admin::ask(&settings.admin, "POST", "/admin/suspensions") {
        Ok(answer) if answer.status == 200 => "the gate here has looked, others do within a second",
        _ => "every gate looks within a second",
    }
}
