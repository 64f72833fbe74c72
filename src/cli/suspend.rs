//! `portcullis suspend`, `resume` and `suspended`.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use filters::identity::UnknownAgents;
use filters::names::AgentId;
use filters::vault::Layout;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use super::admin;
use super::common::{FAILED, Given, REFUSED, load_elsewhere, print, refuse};
use crate::config::{Settings, nearest_of};
use crate::vault::{
    Gates, LIVELY, Leases, NoLogin, Reports, SuspendedAgents, SuspensionEntry, Suspensions, Unread, Unwritten,
    epoch_seconds, logged_in,
};

/// It is on the record, and not every gate has said that it knows.
const UNCONFIRMED: u8 = 3;
/// The time that gates are waited for, which look twice a second.
const CONFIRM: Duration = Duration::from_secs(5);
/// The time between two questions about them.
const ASK: Duration = Duration::from_millis(50);

pub(super) const AFTER: &str = "\
Puts the agent on a record in Vault that every gate looks at twice a second:
from then on each refuses it with 403 `suspended` on every connection, closes
its streams, and drops its tokens in Vault; its leases end. The record outlives the
gates. Where the gate of this configuration answers at its admin socket, it
looks at once. Each gate writes into Vault what it has seen: the command waits for
those that were heard of within three minutes, and says which know it.

A name that has no entry in the configuration may be a slip, and needs --yes.

Logs in to Vault as the gate would, by the same file, environment and flags; a login
that is made for the command ends with it.

Exit codes:
  0  it is on the record, its leases have ended, and every gate has confirmed it
  1  Vault refused, or does not answer; what was done is told
  2  the configuration was refused, no agent can have that name, or none has it and
     --yes was not given: nothing was written
  3  it is on the record, and not every gate has confirmed it within 5 s, or none

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
    /// Also where no entry of the configuration has that name.
    #[arg(long)]
    yes: bool,
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
enum NotDone {
    NoName,
    /// No entry has that name; why that may be right, and what it may be a slip of.
    NoEntry(String),
    NoLogin(NoLogin),
    Unread(Unread),
    Unwritten(Unwritten),
}

impl From<NoLogin> for NotDone {
    fn from(problem: NoLogin) -> Self {
        Self::NoLogin(problem)
    }
}

impl From<Unread> for NotDone {
    fn from(problem: Unread) -> Self {
        Self::Unread(problem)
    }
}

impl From<Unwritten> for NotDone {
    fn from(problem: Unwritten) -> Self {
        Self::Unwritten(problem)
    }
}

impl NotDone {
    fn code(&self) -> u8 {
        match self {
            Self::NoName | Self::NoEntry(_) => REFUSED,
            Self::NoLogin(_) | Self::Unread(_) | Self::Unwritten(_) => FAILED,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::NoName => NO_NAME.to_owned(),
            Self::NoEntry(text) => text.clone(),
            Self::NoLogin(problem) => problem.to_string(),
            Self::Unread(problem) | Self::Unwritten(Unwritten::Unread(problem)) => {
                format!("the record of suspended agents cannot be read: {problem}")
            }
            Self::Unwritten(Unwritten::Refused(undone)) => format!("the record was not written: {undone}"),
        }
    }
}

/// The result of a suspension or its end.
struct Done {
    text: String,
    code: u8,
}

impl Done {
    /// All that was asked for, with what is told of it.
    const fn whole(text: String) -> Self {
        Self { text, code: 0 }
    }
}

pub(super) fn suspend(Suspend { agent, reason, yes, given }: &Suspend) -> ExitCode {
    let agent = match AgentId::parse(agent) {
        Some(agent) => agent,
        None => return refused(&NotDone::NoName),
    };
    let known = |settings: &Settings| match stranger(settings, &agent) {
        Some(warning) if !yes => {
            Err(NotDone::NoEntry(format!("{warning}; nothing was written, repeat with --yes if it is right")))
        }
        Some(warning) => {
            eprintln!("portcullis: {warning}");
            Ok(())
        }
        None => Ok(()),
    };
    run(given, known, async |settings, suspensions, leases| {
        let version = suspensions.suspend(&settings.layout, &agent, reason).await?;
        let looked = tell_gate(settings);
        let (ended, failed) = match leases.end_all(&settings.layout, &agent).await {
            Ok(ended) => (format!("{ended} leases have ended"), false),
            Err(undone) => (format!("ITS LEASES HAVE NOT ENDED, which the gates go on trying: {undone}"), true),
        };
        let (told, confirmed) = confirmed(suspensions.gates(), &settings.layout, version).await;
        let code = if failed { FAILED } else { confirmed };
        Ok(Done { text: format!("{agent} is suspended; {ended}; {looked}{told}"), code })
    })
}

pub(super) fn resume(Resume { agent, given }: &Resume) -> ExitCode {
    run(given, anything, async |settings, suspensions, _| {
        let agent = AgentId::parse(agent).ok_or(NotDone::NoName)?;
        let configured = settings.agents.iter().any(|entry| entry.id == agent && entry.suspended);
        let still = if configured { "; the configuration suspends it still" } else { "" };
        let Some(version) = suspensions.resume(&settings.layout, &agent).await? else {
            return Ok(Done::whole(format!("{agent} was not on the record{still}\n")));
        };
        let looked = tell_gate(settings);
        let (told, code) = confirmed(suspensions.gates(), &settings.layout, version).await;
        Ok(Done { text: format!("{agent} is no longer on the record{still}; {looked}{told}"), code })
    })
}

pub(super) fn list(given: &Given) -> ExitCode {
    run(given, anything, async |settings, suspensions, _| {
        let (_, record) = suspensions.read(&settings.layout).await?;
        let configured = settings.agents.iter().filter(|entry| entry.suspended);
        let configured = configured.map(|entry| format!("{}  by the configuration\n", entry.id));
        Ok(Done::whole(lines(&record).chain(configured).collect()))
    })
}

fn lines(record: &SuspendedAgents) -> impl Iterator<Item = String> {
    record.iter().map(|(agent, entry)| {
        // Both are somebody's text, and may not write to the terminal.
        let agent = agent.escape_debug();
        let SuspensionEntry::Suspended(suspension) = entry else {
            return format!("{agent}  by an entry that cannot be read\n");
        };
        let since = i64::try_from(suspension.since).unwrap_or(i64::MAX);
        let since = OffsetDateTime::from_unix_timestamp(since).ok().and_then(|time| time.format(&Rfc3339).ok());
        format!("{agent}  since {}  {}\n", since.unwrap_or_default(), suspension.reason.escape_debug())
    })
}

/// Why a name may be a slip: no entry of the configuration has it.
fn stranger(settings: &Settings, agent: &AgentId) -> Option<String> {
    let entries = settings.agents.iter().map(|entry| &entry.id);
    let keys = settings.api_keys.iter().map(|key| &key.agent);
    let principals = settings.identity.directory.principals().map(|(_, agent)| agent);
    let named: BTreeSet<&AgentId> = entries.chain(keys).chain(principals).collect();
    if named.contains(agent) {
        return None;
    }
    let directory = &settings.identity.directory;
    let by = match directory.families().iter().find(|family| family.could_be(agent)) {
        Some(family) => format!("only the family {family} could bring it"),
        None if matches!(directory.unknown(), UnknownAgents::OwnNamespace(Some(_))) => {
            "only `unknown_agents = \"own-namespace\"` could bring it".to_owned()
        }
        None => "nobody can come by that name".to_owned(),
    };
    let slip = nearest_of(agent.as_str(), named.into_iter().map(AgentId::as_str));
    let slip = slip.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    Some(format!("no entry of the configuration is called `{agent}`; {by}{slip}"))
}

/// Waits until every gate that runs has seen this version of the record; tells which have, and
/// gives the exit code that says whether all.
async fn confirmed(gates: &Gates, layout: &Layout, version: u64) -> (String, u8) {
    let until = Instant::now() + CONFIRM;
    loop {
        let read = gates.read(layout).await;
        let over = Instant::now() >= until;
        match read {
            Ok(reports) => {
                let told = Told::of(&reports, version, epoch_seconds());
                if told.by_all() || over {
                    return (told.to_string(), if told.by_all() { 0 } else { UNCONFIRMED });
                }
            }
            Err(unread) if over || matches!(unread, Unread::Denied) => {
                let why = unread.to_string();
                return (format!("which gates know it cannot be told: {why}\n"), UNCONFIRMED);
            }
            Err(_) => {}
        }
        tokio::time::sleep(ASK).await;
    }
}

/// Which gates know it.
struct Told<'a> {
    know: Vec<&'a str>,
    /// Gates that run and have not said so, with the seconds since they were heard of.
    silent: Vec<(&'a str, u64)>,
    /// The same of those that most likely run no longer.
    gone: Vec<(&'a str, u64)>,
}

impl<'a> Told<'a> {
    fn of(reports: &'a Reports, version: u64, now: u64) -> Self {
        let mut told = Self { know: Vec::new(), silent: Vec::new(), gone: Vec::new() };
        for (gate, seen) in reports {
            let age = now.saturating_sub(seen.at);
            match (seen.version >= version, age <= LIVELY) {
                (true, true) => told.know.push(gate),
                (false, true) => told.silent.push((gate, age)),
                (_, false) => told.gone.push((gate, age)),
            }
        }
        told
    }

    fn by_all(&self) -> bool {
        self.silent.is_empty() && !self.know.is_empty()
    }
}

impl std::fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.know.len() + self.silent.len();
        match all {
            0 => f.write_str("no gate has been heard of lately; one that starts reads it first\n")?,
            _ => writeln!(f, "confirmed by {} of {all} gates", self.know.len())?,
        }
        // Names are somebody's text, and may not write to the terminal.
        for gate in &self.know {
            writeln!(f, "  {}", gate.escape_debug())?;
        }
        for (gate, age) in &self.silent {
            writeln!(f, "  {}  NOT CONFIRMED, heard of {age} s ago", gate.escape_debug())?;
        }
        for (gate, age) in &self.gone {
            writeln!(f, "  {}  not heard of for {age} s, most likely ended", gate.escape_debug())?;
        }
        Ok(())
    }
}

/// Does it by the configuration, where `may` finds nothing wrong with that.
fn run(
    given: &Given,
    may: impl FnOnce(&Settings) -> Result<(), NotDone>,
    work: impl AsyncFnOnce(&Settings, &Suspensions, &Leases) -> Result<Done, NotDone>,
) -> ExitCode {
    let settings = match load_elsewhere(&given.clone().into()) {
        Ok(settings) => settings,
        Err(report) => return refuse(&report),
    };
    if let Err(problem) = may(&settings) {
        return refused(&problem);
    }
    // There is one provider of cryptography; a second installation changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let working = logged_in(&settings, async |own| {
        let suspensions = Suspensions::new(own.clone(), Gates::new(own.clone(), ""));
        work(&settings, &suspensions, &Leases::new(own.clone())).await
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(|error| NoLogin(error.to_string()).into()).and_then(|runtime| runtime.block_on(working)) {
        Ok(Done { text, code }) => {
            print(&text);
            ExitCode::from(code)
        }
        Err(problem) => {
            let by = match problem {
                NotDone::NoLogin(_) | NotDone::NoName | NotDone::NoEntry(_) => String::new(),
                NotDone::Unread(_) | NotDone::Unwritten(_) => {
                    format!("; Vault was asked by the gate's own login ({})", settings.login.name())
                }
            };
            eprintln!("portcullis: {}{by}", problem.text());
            ExitCode::from(problem.code())
        }
    }
}

const fn anything(_: &Settings) -> Result<(), NotDone> {
    Ok(())
}

fn refused(problem: &NotDone) -> ExitCode {
    eprintln!("portcullis: {}", problem.text());
    ExitCode::from(problem.code())
}

/// Has the gate of this configuration look at once, where it answers.
fn tell_gate(settings: &Settings) -> &'static str {
    match admin::ask(&settings.admin, "POST", "/admin/suspensions") {
        Ok(answer) if answer.status == 200 => "the gate here has looked; ",
        _ => "",
    }
}
