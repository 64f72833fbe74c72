//! `portcullis audit join`.

mod index;
mod report;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use filters::audit::{Fit, HeardRequest, Naming, OwnId, RecordedCall};
use filters::vault::admin;
use serde::Deserialize;
use time::OffsetDateTime;

use super::{criteria, files};
use crate::cli::common::{FAILED, Given, REFUSED, load_elsewhere, refuse};
use crate::config::Settings;
use crate::exchange::Envelope;

use index::{Index, Need, Terms};
use report::{Finding, Printer, Tally};

pub(super) const AFTER: &str = "\
Puts each call in the gate's audit beside the requests in Vault's that have its
correlation id, and compares agents and paths; names that are HMACs are computed by
the key, as for `audit search`. Then tells what one of both lacks:

  differs         agent, operation or path are others than the record's
  unrecorded      an agent's token or an unknown id, and no record of it
  other client    a request that has nothing of a gate's; that is no fault
  not in Vault's  a call that Vault must have been asked for

Without FILE, the gate's file and the key are those of the configuration; of one FILE,
those that were set aside of it are read too. Take the gate's files after Vault's.
Neither audit is verified: see `portcullis audit verify`. A million calls take 70 MB.

With --audit-hash Vault is asked for the HMACs of the ids (sys/audit-hash), where it
writes those in place of the ids; it takes VAULT_TOKEN or the configuration's login.

Exit codes:
  0  everything fits
  1  something is amiss, which is told; or a file cannot be read, or Vault refused
  2  the configuration or the command line was refused

Examples:
  portcullis audit join --vault-log /var/log/vault/audit.log --missing
  portcullis audit join --vault-log vault.log.1 --vault-log vault.log \\
      --name-key names.key --agent bob --since 24h audit.log
  ssh vault-1 cat /var/log/vault/audit.log | portcullis audit join --vault-log - \\
      --correlation-id 4bf92f3577b34da6a3ce929d0e0e4736";

/// Calls that are searched for in both audits.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Join {
    /// File of Vault's audit, or `-` for standard input; of several the oldest first.
    #[arg(long, value_name = "FILE", required = true)]
    vault_log: Vec<PathBuf>,
    /// The correlation id.
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// The agent.
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// The secret's path, or the name of the key or role.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// The earliest time: `2030-01-31T12:00:00Z`, or how long ago, as `24h`.
    #[arg(long, value_name = "TIME", value_parser = criteria::since)]
    since: Option<i128>,
    /// Print only what is amiss, and the summary.
    #[arg(long)]
    missing: bool,
    /// Print lines of JSON.
    #[arg(long)]
    json: bool,
    /// Name of the audit device of Vault's that writes HMACs in place of correlation ids.
    #[arg(long, value_name = "DEVICE")]
    audit_hash: Option<String>,
    #[command(flatten)]
    name_key: criteria::NameKey,
    /// Files of the gate's records.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    given: Given,
}

/// Milliseconds before now within which a call may have been under way.
const UNDER_WAY: u64 = 2_000;
/// Most requests whose answers are waited for; more are taken as they are.
const OPEN: usize = 100_000;

pub(super) fn run(mut asked: Join) -> ExitCode {
    let mut settings = None;
    if asked.files.is_empty() || asked.audit_hash.is_some() || asked.name_key.is_in_vault() {
        match load_elsewhere(&std::mem::take(&mut asked.given).into()) {
            Ok(loaded) => settings = Some(loaded),
            Err(report) => return refuse(&report),
        }
    }
    if asked.files.is_empty() {
        let audit = settings.as_ref().and_then(|settings| settings.audit.as_ref());
        asked.files.extend(audit.and_then(|audit| audit.file.clone()));
    }
    if asked.files.is_empty() {
        eprintln!("portcullis: the configuration has no audit.file: name files");
        return ExitCode::from(REFUSED);
    }
    match joined(&asked, settings.as_mut()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(problem) => {
            eprintln!("portcullis: {problem}");
            ExitCode::from(FAILED)
        }
    }
}

/// Joins both audits; true where they fit.
fn joined(asked: &Join, mut settings: Option<&mut Settings>) -> Result<bool, String> {
    let namings = asked.name_key.namings(settings.as_deref_mut())?;
    let names = asked.path.as_ref().map(|path| namings.iter().map(|naming| naming.of(path)).collect::<Vec<_>>());
    let since = asked.since.map_or(0, |since| u64::try_from(since).unwrap_or_default());
    let under_way = now().saturating_sub(UNDER_WAY);
    let covers = |call: &RecordedCall| {
        call.time >= since && asked.correlation_id.as_ref().is_none_or(|id| **id == *call.correlation)
    };
    let wants = |call: &RecordedCall| {
        asked.agent.as_ref().is_none_or(|agent| **agent == *call.agent)
            && names.as_ref().is_none_or(|names| names.iter().any(|name| call.names(name)))
    };
    let mut index = Index::of(&files::all(&asked.files), &Terms { covers: &covers, wants: &wants })?;
    if let (Some(device), Some(settings)) = (&asked.audit_hash, settings) {
        hash(&mut index, device, settings)?;
    }
    let tally = Tally { unread: std::mem::take(&mut index.unread), ..Tally::default() };
    let printer = Printer::new(asked.json, asked.missing);
    let (heard, logins) = (None, HashSet::new());
    let mut joining = Joining { asked, namings, since, under_way, index, tally, printer, heard, logins };
    // A reader that has gone wants no more.
    match joining.vault_logs().and_then(|read| joining.rest().map(|()| read)) {
        Ok(read) => read?,
        Err(_) => return Ok(joining.tally.fits()),
    }
    joining.printer.finish(&joining.tally);
    Ok(joining.tally.fits())
}

fn now() -> u64 {
    u64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}

/// Asks Vault for the HMACs of all ids.
fn hash(index: &mut Index, device: &str, settings: &mut Settings) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Hash {
        data: Hashed,
    }
    #[derive(Deserialize)]
    struct Hashed {
        hash: String,
    }
    let ids = index.ids()?;
    criteria::asking(settings, async |own, _| {
        for id in &ids {
            let answer = own.succeed(admin::audit_hash(device, id), Envelope::default()).await?;
            let read: Hash = answer.json()?;
            index.note_hash(id, &read.data.hash);
        }
        Ok(())
    })
    .map_err(|problem| format!("sys/audit-hash/{device}: {problem}"))
}

/// A join under way.
struct Joining<'a> {
    asked: &'a Join,
    namings: Vec<Naming>,
    /// The earliest time that was asked for.
    since: u64,
    /// From then on calls may be under way, whose records follow.
    under_way: u64,
    index: Index,
    tally: Tally,
    printer: Printer,
    /// The times of the first and of the last line of Vault's.
    heard: Option<(u64, u64)>,
    /// HMACs of the accessors of the gate's own logins.
    logins: HashSet<Box<str>>,
}

impl Joining<'_> {
    /// Takes the lines of Vault's logs. A request is judged with its answer, or at the end where there is none.
    fn vault_logs(&mut self) -> io::Result<Result<(), String>> {
        let mut open: HashMap<Box<str>, HeardRequest> = HashMap::new();
        for path in &self.asked.vault_log {
            let take = |line: &[u8], _, number| {
                let Some(heard) = HeardRequest::read(line) else {
                    self.tally.unread.note(path, number);
                    return Ok(());
                };
                let (first, last) = self.heard.unwrap_or((heard.time, heard.time));
                self.heard = Some((first.min(heard.time), last.max(heard.time)));
                if heard.answered {
                    open.remove(&heard.request);
                    return self.take(&heard);
                }
                if open.len() >= OPEN {
                    open.drain().try_for_each(|(_, heard)| self.take(&heard))?;
                }
                open.insert(heard.request.clone(), heard);
                Ok(())
            };
            let read = match path.as_os_str().to_str() {
                Some("-") => files::lines_of(io::stdin().lock(), take)?,
                _ => files::lines(path, take)?,
            };
            if let Err(error) = read {
                return Ok(Err(format!("{} cannot be read: {error}", path.display())));
            }
        }
        let mut open: Vec<_> = open.into_values().collect();
        open.sort_unstable_by_key(|heard| heard.time);
        open.iter().try_for_each(|heard| self.take(heard))?;
        Ok(Ok(()))
    }

    fn take(&mut self, heard: &HeardRequest) -> io::Result<()> {
        if heard.time < self.since {
            return Ok(());
        }
        if heard.address.is_empty() {
            self.tally.internal += 1;
            return Ok(());
        }
        let Some(id) = heard.correlation.as_deref() else { return self.without_id(heard) };
        self.tally.identified += 1;
        let of_id = self.index.of_id(id, heard.time);
        if !of_id.is_empty() {
            return self.compare(heard, of_id);
        }
        match OwnId::parse(id) {
            Some(_) if heard.agent.is_some() => self.unrecorded(heard, "an agent's token with an id of the gate's own"),
            Some(OwnId::Gate(chain)) if self.index.has(chain) => self.own(heard),
            None if self.index.is_own(id) => self.own(heard),
            Some(OwnId::Gate(_)) => {
                self.tally.other_gates += 1;
                Ok(())
            }
            Some(OwnId::Command(_)) => {
                self.tally.commands += 1;
                Ok(())
            }
            None if id.starts_with("hmac-sha256:") && self.asked.audit_hash.is_none() => {
                self.tally.hidden += 1;
                Ok(())
            }
            None => self.unrecorded(heard, "no record has its id"),
        }
    }

    fn own(&mut self, heard: &HeardRequest) -> io::Result<()> {
        self.tally.own += 1;
        if !heard.accessor.is_empty() && !self.logins.contains(&heard.accessor) {
            self.logins.insert(heard.accessor.clone());
        }
        Ok(())
    }

    fn without_id(&mut self, heard: &HeardRequest) -> io::Result<()> {
        if heard.agent.is_some() {
            return self.unrecorded(heard, "an agent's token without an id");
        }
        if self.logins.contains(&heard.accessor) {
            return self.unrecorded(heard, "the gate's own token without an id");
        }
        if !self.was_asked_for(heard) {
            return Ok(());
        }
        self.tally.others += 1;
        self.printer.print(Finding::Other, None, Some(heard), "")
    }

    /// True where a request that no record tells of fits what was asked for.
    fn was_asked_for(&self, heard: &HeardRequest) -> bool {
        let Join { correlation_id, agent, path, .. } = self.asked;
        let is = |wanted: &Option<String>, told: &Option<Box<str>>| {
            wanted.as_deref().is_none_or(|wanted| told.as_deref() == Some(wanted))
        };
        is(correlation_id, &heard.correlation)
            && is(agent, &heard.agent)
            && path.as_ref().is_none_or(|path| heard.ends_with(path))
    }

    fn unrecorded(&mut self, heard: &HeardRequest, why: &str) -> io::Result<()> {
        if !self.was_asked_for(heard) {
            return Ok(());
        }
        let before = self.index.span.is_some_and(|(first, _)| heard.time < first);
        let after = self.index.span.is_none_or(|(_, last)| heard.time > last);
        if before || after && heard.time > self.under_way {
            self.tally.outside += 1;
            return Ok(());
        }
        self.tally.unrecorded += 1;
        self.printer.print(Finding::Unrecorded, None, Some(heard), why)
    }

    /// Finds the record, among those with the request's id, that tells of it best.
    fn compare(&mut self, heard: &HeardRequest, of_id: std::ops::Range<usize>) -> io::Result<()> {
        let judged = of_id.filter_map(|at| {
            let call = self.index.read(at)?;
            let fit = call.fit(heard, &self.namings);
            let rank = match fit {
                Fit::Same => (0, None),
                Fit::Unproved => (1, None),
                Fit::Beside => (2, None),
                Fit::Differs(in_what) => (3, Some(in_what)),
            };
            Some(((rank, self.index.is_seen(at), call.began.abs_diff(heard.time)), at, call, fit))
        });
        let Some((_, at, call, fit)) = judged.min_by_key(|(rank, ..)| *rank) else {
            return self.unrecorded(heard, "its record cannot be read any more");
        };
        if matches!(fit, Fit::Same | Fit::Unproved) {
            self.index.see(at);
        }
        let was_searched = matches!(fit, Fit::Differs(_)) && self.was_asked_for(heard);
        if !self.index.is_wanted(at) && !was_searched {
            return Ok(());
        }
        let (finding, why) = match fit {
            Fit::Same | Fit::Unproved => {
                self.tally.joined += 1;
                self.tally.unproved += u64::from(fit == Fit::Unproved);
                (Finding::Joined, "")
            }
            Fit::Beside => {
                self.tally.beside += 1;
                (Finding::Beside, "")
            }
            Fit::Differs(in_what) => {
                self.tally.differs += 1;
                (Finding::Differs, in_what.text())
            }
        };
        self.printer.print(finding, Some(&call), Some(heard), why)
    }

    /// Tells of the records that no request was found for.
    fn rest(&mut self) -> io::Result<()> {
        self.tally.calls = self.index.seen() as u64;
        for (at, began, need) in self.index.unseen() {
            let is_covered = self.heard.is_some_and(|(first, last)| (first.max(self.since)..=last).contains(&began));
            match need {
                Need::Nothing => self.tally.unasked += 1,
                Need::Unknown => self.tally.unfinished += 1,
                Need::Vault if !is_covered => self.tally.later += 1,
                Need::Vault => {
                    self.tally.missing += 1;
                    self.printer.print(Finding::Missing, self.index.read(at).as_ref(), None, "")?;
                }
            }
        }
        Ok(())
    }
}
