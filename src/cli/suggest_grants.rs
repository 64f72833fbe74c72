//! `portcullis suggest-grants`.

mod fold;
mod needs;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use filters::grants::{Capabilities, Space};
use filters::names::AgentId;
use filters::pattern::AbsolutePattern;
use filters::vault::Layout;
use serde_json::Value;

use super::common::{FAILED, Given, load_elsewhere, print, refuse};
use super::suggest::{configured, period, read};
use fold::fold;
use needs::{Calls, Needs};

pub(super) const AFTER: &str = "\
Reads the log of operations and prints, for each agent, roles that would have
allowed what a role with `mode = \"observe\"` let through: exact names first, and no
scope for a name that did not need it. Where more than --fold paths differ in one
segment alone, they are one pattern, with that segment left open; nothing is wider.
Without LOGFILE it is the log of the configuration (responses.log), with the parts
that were set aside; `-` is standard input.

A log whose names are HMACs or left out (`logging.names`) tells of no grant: set it
to `clear` while roles observe. What a call needs beside grants, such as a longer
`max_ttl`, and from where it came, is for you to add.

Exit codes:
  0  roles were proposed
  1  a file cannot be read, or no such call is in there, or none is named
  2  the configuration or the command line was refused

Examples:
  portcullis suggest-grants
  portcullis suggest-grants --all --fold 20 logs/responses.log
  zcat old/*.gz | portcullis suggest-grants -";

/// Of what, and by what terms.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct SuggestGrants {
    /// Logs of operations, or `-`.
    #[arg(value_name = "LOGFILE")]
    files: Vec<PathBuf>,
    /// Take every call that was allowed, and not only what was observed.
    #[arg(long)]
    all: bool,
    /// Most paths that differ in one segment alone and are still named one by one.
    #[arg(long, value_name = "NUMBER", default_value = "5")]
    fold: usize,
    #[command(flatten)]
    given: Given,
}

pub(super) fn run(asked: SuggestGrants) -> ExitCode {
    let settings = match load_elsewhere(&asked.given.into()) {
        Ok(settings) => settings,
        Err(report) => return refuse(&report),
    };
    let files = match asked.files.is_empty() {
        false => asked.files,
        true => settings.logging.files.as_ref().map(|files| configured(&files.folder, "responses")).unwrap_or_default(),
    };
    let mut calls = Calls { all: asked.all, ..Calls::default() };
    let bad = match read(&files, |line| calls.add(line)) {
        Ok(bad) => bad,
        Err(problem) => {
            eprintln!("portcullis: {problem}");
            return ExitCode::from(FAILED);
        }
    };
    let kind = if calls.all { "allowed" } else { "observed" };
    let Some(times) = calls.period else {
        eprintln!("portcullis: no call that was {kind} is in there; lines that are none: {bad}");
        return ExitCode::from(FAILED);
    };
    let untold: u64 = calls.agents.values().map(|needs| needs.untold).sum();
    if untold > 0 {
        eprintln!(
            "portcullis: {untold} calls are left out, whose names are HMACs, or not there, or would be patterns: grants \
             need `logging.names = \"clear\"`"
        );
    }
    let (from, to) = period(times);
    let mut text = format!("# From {from} to {to}: what calls needed that were {kind}; {bad} lines left out.\n");
    let mut proposed = false;
    for (agent, needs) in &calls.agents {
        let roles = roles(agent, needs, asked.fold);
        proposed |= !roles.is_empty();
        tell(agent, needs, &roles, &settings.layout, &mut text);
    }
    print(&text);
    if proposed { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

/// Names and patterns with their counts, by the key of the configuration.
type Grants = BTreeMap<&'static str, BTreeMap<String, u64>>;

/// A role that is proposed.
#[derive(Debug)]
struct Proposed {
    name: String,
    scopes: BTreeSet<&'static str>,
    grants: Grants,
    /// Vault's own paths and patterns with their counts, by what may be done there.
    vault: BTreeMap<Capabilities, BTreeMap<String, u64>>,
}

/// A role for each set of scopes, since within one each scope holds for every name; and one for Vault's own paths, of
/// which each has its own capabilities.
fn roles(agent: &AgentId, needs: &Needs, most: usize) -> Vec<Proposed> {
    let mut by_scopes: BTreeMap<BTreeSet<&'static str>, Grants> = BTreeMap::new();
    for ((key, name), (scopes, count)) in &needs.grants {
        by_scopes.entry(scopes.clone()).or_default().entry(key).or_default().insert(name.clone(), *count);
    }
    for scope in needs.nameless.keys() {
        by_scopes.entry(BTreeSet::from([*scope])).or_default();
    }
    let name = |of: &str| format!("{:.40}-{of}", agent.as_str());
    let folded = |(key, names): (&'static str, BTreeMap<String, u64>)| {
        let of_paths = [Space::Own, Space::Shared].map(Space::key).contains(&key);
        (key, if of_paths { fold(names, most, "*") } else { names })
    };
    let role = |(scopes, grants): (BTreeSet<&'static str>, Grants)| Proposed {
        name: name(&scopes.iter().copied().collect::<Vec<_>>().join("-")),
        scopes,
        grants: grants.into_iter().map(folded).collect(),
        vault: BTreeMap::new(),
    };
    let mut roles: Vec<_> = by_scopes.into_iter().map(role).collect();
    if !needs.vault.is_empty() {
        let mut vault: BTreeMap<Capabilities, BTreeMap<String, u64>> = BTreeMap::new();
        for (path, (may, count)) in &needs.vault {
            vault.entry(may.clone()).or_default().insert(path.clone(), *count);
        }
        let vault: BTreeMap<_, _> = vault.into_iter().map(|(may, paths)| (may, fold(paths, most, "+"))).collect();
        let scopes = vault.keys().flatten().map(|capability| capability.scope().name()).collect();
        roles.push(Proposed { name: name("vault"), scopes, grants: Grants::new(), vault });
    }
    roles
}

fn tell(agent: &AgentId, needs: &Needs, roles: &[Proposed], layout: &Layout, text: &mut String) {
    let Needs { calls, untold, nameless, .. } = needs;
    let untold = if *untold == 0 { String::new() } else { format!(", {untold} of them without a name to grant") };
    let _ = write!(text, "\n# {agent}: {calls} calls{untold}.\n");
    for role in roles {
        let scopes: Vec<_> = role.scopes.iter().map(|scope| format!("\"{scope}\"")).collect();
        let _ = writeln!(text, "[roles.{}]\nscopes = [{}]", bare(&role.name), scopes.join(", "));
        for (scope, count) in nameless.iter().filter(|(scope, _)| role.scopes.iter().eq([*scope])) {
            let _ = writeln!(text, "# Of {count} calls that touch nothing with a name the scope `{scope}` is enough.");
        }
        role.tell_grants(layout, text);
    }
    if !roles.is_empty() {
        let names: Vec<_> = roles.iter().map(|role| format!("\"{}\"", role.name)).collect();
        let name = bare(agent.as_str());
        let _ = writeln!(text, "# Beside its other roles:\n# [agents.{name}]\n# roles = [{}]", names.join(", "));
    }
}

impl Proposed {
    fn tell_grants(&self, layout: &Layout, text: &mut String) {
        for (key, names) in &self.grants {
            let _ = writeln!(text, "{key} = [");
            for (name, count) in names {
                let _ = writeln!(text, "  {}, # {count}", Value::from(name.as_str()));
            }
            text.push_str("]\n");
        }
        if self.vault.is_empty() {
            return;
        }
        text.push_str("vault = [\n");
        for (may, path, count) in self.vault.iter().flat_map(|(may, paths)| paths.iter().map(move |(p, n)| (may, p, n)))
        {
            let names: Vec<_> = may.iter().map(|capability| format!("\"{}\"", capability.name())).collect();
            let dangerous = AbsolutePattern::parse(path).is_ok_and(|pattern| layout.danger(&pattern).is_some());
            let dangerous = if dangerous { ", dangerous = true" } else { "" };
            let (path, names) = (Value::from(path.as_str()), names.join(", "));
            let _ = writeln!(text, "  {{ path = {path}, capabilities = [{names}]{dangerous} }}, # {count}");
        }
        text.push_str("]\n");
    }
}

/// A name as a key of TOML.
fn bare(name: &str) -> String {
    if name.contains('.') { format!("\"{name}\"") } else { name.to_owned() }
}
