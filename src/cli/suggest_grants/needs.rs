//! The grants that calls needed, as the log of operations tells of them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use filters::catalog::CATALOG;
use filters::grants::{Capabilities, Holds, Space};
use filters::names::AgentId;
use filters::operation::{Capability, OperationSpec};
use filters::scope::Scope;
use filters::vault::Method;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The beginning of a name that was told as its HMAC.
const HMAC: &str = "hmac-sha256:";

/// The members of a line that are read beside the name.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    ts: Cow<'a, str>,
    #[serde(borrow)]
    msg: Cow<'a, str>,
    #[serde(borrow, default)]
    subject: Cow<'a, str>,
    #[serde(borrow, default)]
    decision: Cow<'a, str>,
    #[serde(default)]
    observed: bool,
    #[serde(default)]
    shared: bool,
    path: Option<String>,
    prefix: Option<String>,
    key: Option<String>,
    role: Option<String>,
}

/// The key under which a role grants something, and the name or pattern there.
pub(super) type Grant = (&'static str, String);

/// What one agent's calls needed.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// Each grant with the scopes that were needed of it, and how often.
    pub(super) grants: BTreeMap<Grant, (BTreeSet<&'static str>, u64)>,
    /// Scopes that operations needed which touch nothing that has a name.
    pub(super) nameless: BTreeMap<&'static str, u64>,
    /// Vault's own paths with the capabilities that were needed there, and how often.
    pub(super) vault: BTreeMap<String, (Capabilities, u64)>,
    /// The number of calls whose names are not told.
    pub(super) untold: u64,
    /// The number of calls.
    pub(super) calls: u64,
}

/// The calls of a log.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// True where every call counts that was allowed, and not only those that were observed.
    pub(super) all: bool,
    /// The needs of each agent.
    pub(super) agents: BTreeMap<AgentId, Needs>,
    /// The first and the last time of a call that counts.
    pub(super) period: Option<(OffsetDateTime, OffsetDateTime)>,
}

impl Calls {
    /// Adds a line of the log; empty ones are nothing.
    ///
    /// # Errors
    /// Why it is none, without its text.
    pub(super) fn add(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        let line: Line<'_> = serde_json::from_slice(line).map_err(|_| "it is no line of a log of operations")?;
        let named =
            |spec: &OperationSpec| spec.name.bytes().map(|b| if b == b'.' { b'_' } else { b }).eq(line.msg.bytes());
        let spec = CATALOG.all().map(|entry| entry.spec).find(|spec| named(spec));
        let spec = spec.ok_or("it is not about an operation")?;
        let time = OffsetDateTime::parse(&line.ts, &Rfc3339).map_err(|_| "its time is none")?;
        if !(line.observed || self.all && line.decision == "allow") {
            return Ok(());
        }
        let agent = AgentId::parse(&line.subject).ok_or("its agent's name is none")?;
        let (first, last) = self.period.unwrap_or((time, time));
        self.period = Some((first.min(time), last.max(time)));
        self.agents.entry(agent).or_default().add(spec, line);
        Ok(())
    }
}

impl Needs {
    fn add(&mut self, spec: &'static OperationSpec, line: Line<'_>) {
        self.calls += 1;
        // What was made by another operation is the agent's already.
        let (Some(scope), Some(engine)) = (spec.scope, spec.engine) else { return };
        if !spec.named {
            *self.nameless.entry(scope.name()).or_default() += 1;
            return;
        }
        let named = [&line.path, &line.prefix, &line.key, &line.role].into_iter().find_map(Option::as_deref);
        let Some(name) = named.filter(|name| is_exact(name)) else {
            self.untold += 1;
            return;
        };
        let grant = match &engine.spec().holds {
            Holds::Absolute => return self.need_path(spec, scope, name),
            Holds::Names(_) => (engine.name(), name.to_owned()),
            Holds::Paths => {
                let space = if line.shared { Space::Shared } else { Space::Own };
                let path = match (&line.path, name) {
                    (Some(_), path) => path.to_owned(),
                    // Whoever lists needs all that is directly below.
                    (None, "") => "*".to_owned(),
                    (None, prefix) => format!("{prefix}/*"),
                };
                (space.key(), path)
            }
        };
        let (scopes, count) = self.grants.entry(grant).or_default();
        scopes.insert(scope.name());
        *count += 1;
    }

    /// Adds a call at one of Vault's own paths. Vault alone can tell if something is created or updated.
    fn need_path(&mut self, spec: &OperationSpec, scope: Scope, path: &str) {
        let needed: &[Capability] = match (scope, spec.reach.method) {
            (Scope::Read, _) => &[Capability::Read],
            (Scope::List, _) => &[Capability::List],
            (Scope::Write, Method::Patch) => &[Capability::Patch],
            (Scope::Write, _) => &[Capability::Create, Capability::Update],
            (Scope::Delete, _) => &[Capability::Delete],
        };
        let (capabilities, count) = self.vault.entry(path.to_owned()).or_default();
        capabilities.extend(needed);
        *count += 1;
    }
}

/// True for a name that a grant can have as it is: no HMAC, and nothing that would be a pattern.
fn is_exact(name: &str) -> bool {
    !(name.starts_with(HMAC) || name.contains('*') || name.split('/').any(|segment| segment == "+"))
}
