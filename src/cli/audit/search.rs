//! `portcullis audit search`.

use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;

use super::{criteria, files};
use crate::cli::common::{FAILED, Given, REFUSED, load_elsewhere, refuse};
use crate::config::Settings;

pub(super) const AFTER: &str = "\
Prints the records that fit all that is given, as they are, one line each. --path is a
secret's path, or a key's or role's name, as agents write it; where records have HMACs
of names, the same HMAC is computed by the key: that of a file, or of each version of a
transit key, for which Vault is asked by VAULT_TOKEN, or as the gate would ask. Without
FILE, the file and the key are those of the configuration. Of one FILE, those that were
set aside of it are read too.
Nothing is verified: see `portcullis audit verify`.

Exit codes:
  0  records were printed
  1  none fits, or a file cannot be read
  2  the configuration or the command line was refused

Examples:
  portcullis audit search --agent bob --path team/db --since 24h
  portcullis audit search --decision forbidden --name-key names.key audit.log
  portcullis audit search --path team/db --name-transit-key portcullis-names audit.log";

/// Records that are searched for, and where.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Search {
    /// The agent.
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// The secret's path, or the name of the key or role.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// The decision: `allow`, or the code of a refusal.
    #[arg(long, value_name = "CODE")]
    decision: Option<String>,
    /// The earliest time: `2030-01-31T12:00:00Z`, or how long ago, as `24h`.
    #[arg(long, value_name = "TIME", value_parser = criteria::since)]
    since: Option<i128>,
    #[command(flatten)]
    name_key: criteria::NameKey,
    /// Files of records.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    given: Given,
}

/// The parts of a record that are compared.
#[derive(Deserialize)]
struct Line {
    time: i128,
    #[serde(default)]
    actor: Actor,
    #[serde(default)]
    user: Named,
    #[serde(default)]
    resources: Vec<Named>,
    unmapped: Unmapped,
}

#[derive(Default, Deserialize)]
struct Actor {
    user: Named,
}

#[derive(Default, Deserialize)]
struct Named {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Unmapped {
    decision: Option<String>,
}

pub(super) fn run(mut asked: Search) -> ExitCode {
    let mut settings = None;
    if asked.files.is_empty() || asked.name_key.is_in_vault() {
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
    match found(&asked, settings.as_mut()) {
        Ok(0) => {
            eprintln!("portcullis: no record fits");
            ExitCode::from(FAILED)
        }
        Ok(_) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("portcullis: {problem}");
            ExitCode::from(FAILED)
        }
    }
}

/// Prints what fits, and gives how many that are.
fn found(asked: &Search, settings: Option<&mut Settings>) -> Result<u64, String> {
    let names: Option<Vec<String>> = match &asked.path {
        Some(path) => Some(asked.name_key.namings(settings)?.iter().map(|naming| naming.of(path)).collect()),
        None => None,
    };
    let (mut out, mut count) = (BufWriter::new(io::stdout().lock()), 0);
    for path in &files::all(&asked.files) {
        let read = files::lines(path, |text, _, _| {
            let line = serde_json::from_slice(text);
            if line.is_ok_and(|line| fits(asked, names.as_deref(), &line)) {
                count += 1;
                out.write_all(text)?;
                out.write_all(b"\n")?;
            }
            Ok::<_, io::Error>(())
        });
        match read {
            Ok(read) => read.map_err(|error| format!("{} cannot be read: {error}", path.display()))?,
            // A reader that has gone wants no more.
            Err(_) => return Ok(count),
        }
    }
    let _ = out.flush();
    Ok(count)
}

fn fits(asked: &Search, names: Option<&[String]>, line: &Line) -> bool {
    let is = |wanted: Option<&str>, told: &Option<String>| wanted.is_none_or(|wanted| told.as_deref() == Some(wanted));
    let agent = asked.agent.as_deref();
    let about = |names: &[String]| {
        line.resources.iter().filter_map(|resource| resource.name.as_ref()).any(|name| names.contains(name))
    };
    (is(agent, &line.actor.user.name) || is(agent, &line.user.name))
        && names.is_none_or(about)
        && is(asked.decision.as_deref(), &line.unmapped.decision)
        && asked.since.is_none_or(|since| line.time >= since)
}
