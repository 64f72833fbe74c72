//! The rights of each agent by a configuration, as lines that two configurations
//! can be compared by. No line has a secret in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use filters::catalog::Catalog;
use filters::grants::{self, AbsoluteGrant, Agent, Engine, Role};
use filters::identity::{Source, UnknownAgents};
use filters::jwt::Binding;
use filters::names::AgentId;
use filters::pattern::{NamePattern, PathPattern};
use filters::quota::Limit;
use filters::scope::{Scope, Scopes};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::config::{Identity, Listener, Settings};
use crate::snapshot::Snapshot;

/// Digits of a digest that are shown.
const SHOWN: usize = 12;

/// The rights of all agents.
pub(super) struct Holdings {
    /// Rules that are nobody's own.
    everyone: Lines,
    /// Credentials of agents.
    credentials: BTreeMap<AgentId, Lines>,
    /// Agents that have an entry.
    entries: BTreeSet<AgentId>,
    catalog: &'static Catalog,
    snapshot: Snapshot,
}

/// Lines in the order in which they are shown.
type Lines = BTreeMap<(Part, String), Held>;

/// The scopes and the grant behind a line.
#[derive(Clone, Default)]
struct Held {
    /// The scopes that it holds for; none where it is about no scope.
    scopes: Scopes,
    grant: Option<Grant>,
}

/// Something that a role gives.
#[derive(Clone)]
struct Grant {
    key: &'static str,
    pattern: Pattern,
    bounds: String,
}

#[derive(Clone)]
enum Pattern {
    Path(PathPattern),
    Name(NamePattern),
    Absolute(AbsoluteGrant),
}

/// The subject of a line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Entry,
    Grant,
    Deny,
    Credential,
    Limit,
    Shown,
}

/// The rights that somebody gains and loses.
pub(super) struct Change {
    /// Who.
    pub whose: String,
    /// Rights that they hold only now.
    pub gained: Vec<String>,
    /// Rights that they held only before.
    pub lost: Vec<String>,
}

impl Holdings {
    /// The rights of everyone by `settings`.
    #[must_use]
    pub(super) fn of(settings: Settings) -> Self {
        let entries = settings.agents.iter().map(|agent| agent.id.clone()).collect();
        let mut credentials = BTreeMap::<AgentId, Lines>::new();
        for (agent, line) in principals(&settings.identity).chain(keys(&settings)) {
            credentials.entry(agent).or_default().insert((Part::Credential, line), Held::default());
        }
        let mut everyone = rules(&settings.identity, &settings.roles);
        everyone.extend(balancers(&settings).map(|line| ((Part::Entry, line), Held::default())));
        if let (UnknownAgents::OwnNamespace(_), Some(rate)) =
            (settings.identity.directory.unknown(), settings.rate.filter(|_| settings.rate_limited))
        {
            everyone.insert((Part::Limit, format!("limit of an agent without an entry: {rate}")), Held::default());
        }
        let catalog = settings.catalog;
        Self { everyone, credentials, entries, catalog, snapshot: Snapshot::of_policy(settings) }
    }

    /// The changes if `new` were in force instead.
    #[must_use]
    pub(super) fn changes(&self, new: &Self) -> Vec<Change> {
        let everyone = change("every agent".to_owned(), &self.everyone, &new.everyone);
        let all = [&self.entries, &new.entries].into_iter().flatten();
        let all = all.chain(self.credentials.keys()).chain(new.credentials.keys());
        let agents: BTreeSet<&AgentId> = all.collect();
        let of_agent = |id: &AgentId| {
            let entry = match (self.entries.contains(id), new.entries.contains(id)) {
                (false, true) => " (new)",
                (true, false) => " (gone)",
                _ => "",
            };
            change(format!("agent {id}{entry}"), &self.lines(id), &new.lines(id))
        };
        everyone.into_iter().chain(agents.into_iter().filter_map(of_agent)).collect()
    }

    fn lines(&self, id: &AgentId) -> Lines {
        let mut lines = Lines::new();
        let Some(agent) = self.snapshot.agents.find(id) else { return lines };
        lines.extend(self.credentials.get(id).into_iter().flatten().map(|(line, held)| (line.clone(), held.clone())));
        let mut add = |part, line: String| lines.insert((part, line), Held::default());
        add(Part::Entry, format!("generation {}", agent.generation));
        if !agent.namespace.is_root() {
            add(Part::Entry, format!("in Vault's namespace {}", agent.namespace));
        }
        let roles: Vec<&str> = agent.roles.iter().map(|(role, _)| &*role.name).collect();
        let roles = if roles.is_empty() { "none".to_owned() } else { roles.join(", ") };
        add(Part::Entry, format!("roles, in this order: {roles}"));
        limits(&agent).for_each(|line| _ = add(Part::Limit, line));
        for (role, _) in &agent.roles {
            if let Some(tools) = &role.tools {
                let tools = if tools.is_empty() { "none".to_owned() } else { tools.join(", ") };
                let line = format!("tools that MCP shows by role {}: {tools}", role.name);
                lines.insert((Part::Shown, line), Held::default());
            }
            if role.observe {
                let conditions: Vec<String> = role.conditions.iter().flat_map(|all| all.told()).collect();
                let line = format!("looks at what operators look at {}", conditions.join(", "));
                lines.insert((Part::Grant, line.trim_end().to_owned()), Held::default());
            }
            for pattern in &role.deny {
                lines.insert((Part::Deny, format!("denied: kv {:?}", pattern.to_string())), Held::default());
            }
            for spec in self.catalog.iter().map(|entry| entry.spec).filter(|spec| !spec.named) {
                if let (Some(scope), Some(engine)) = (spec.scope, spec.engine)
                    && role.scopes.contains(scope)
                {
                    lines
                        .insert((Part::Grant, format!("{}{}", spec.name, bounds(role, Some(engine)))), Held::default());
                }
            }
            for grant in grants(role) {
                let held = lines.entry((Part::Grant, grant.to_string())).or_default();
                held.scopes = held.scopes.iter().chain(role.scopes.iter()).collect();
                held.grant = Some(grant);
            }
        }
        lines
    }
}

fn change(whose: String, old: &Lines, new: &Lines) -> Option<Change> {
    let (gained, lost) = (beyond(new, old), beyond(old, new));
    (!gained.is_empty() || !lost.is_empty()).then_some(Change { whose, gained, lost })
}

/// The lines of `one` beyond those of `other`.
fn beyond(one: &Lines, other: &Lines) -> Vec<String> {
    let beyond = one.iter().filter_map(|(line, held)| {
        let before = other.get(line);
        let more: Scopes =
            held.scopes.iter().filter(|scope| !before.is_some_and(|b| b.scopes.contains(*scope))).collect();
        if before.is_some() && more == Scopes::NONE {
            return None;
        }
        let names: Vec<&str> = more.iter().map(Scope::name).collect();
        let names = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
        let by = held.grant.as_ref().and_then(|grant| covering(grant, more, other));
        let by = by.map(|grant| format!(", covered by {:?}", grant.pattern.to_string())).unwrap_or_default();
        Some(format!("{}{names}{by}", line.1))
    });
    beyond.collect()
}

/// Another grant of `lines` that gives all this under these scopes.
fn covering<'a>(grant: &Grant, scopes: Scopes, lines: &'a Lines) -> Option<&'a Grant> {
    let covers = |held: &&Held| {
        scopes.iter().all(|scope| held.scopes.contains(scope)) && held.grant.as_ref().is_some_and(|g| g.covers(grant))
    };
    lines.values().find(covers)?.grant.as_ref()
}

impl Grant {
    fn covers(&self, other: &Self) -> bool {
        let wider = match (&self.pattern, &other.pattern) {
            (Pattern::Path(one), Pattern::Path(two)) => one.contains(two),
            (Pattern::Name(one), Pattern::Name(two)) => one.contains(two),
            _ => false,
        };
        wider && self.key == other.key && self.bounds == other.bounds
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}{}", self.key, self.pattern.to_string(), self.bounds)
    }
}

/// As it is written.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(pattern) => pattern.fmt(f),
            Self::Name(pattern) => f.write_str(&pattern.to_vault()),
            Self::Absolute(grant) => grant.fmt(f),
        }
    }
}

/// The rights that a role gives, with their bounds. Without a scope it gives
/// nothing.
fn grants(role: &Role) -> Vec<Grant> {
    if role.scopes == Scopes::NONE {
        return Vec::new();
    }
    let grant = |(key, engine, held)| {
        let pattern = match held {
            grants::Grant::Path(pattern) => Pattern::Path(pattern.clone()),
            grants::Grant::Name(pattern) => Pattern::Name(pattern.clone()),
            grants::Grant::Absolute(grant) => Pattern::Absolute(grant.clone()),
            grants::Grant::Nameless => return None,
        };
        Some(Grant { key, pattern, bounds: bounds(role, engine) })
    };
    role.grants().filter_map(grant).collect()
}

fn bounds(role: &Role, engine: Option<Engine>) -> String {
    let bounds = role.bounds(engine);
    if bounds.is_empty() { String::new() } else { format!(" ({})", bounds.join(", ")) }
}

fn limits(agent: &Agent) -> impl Iterator<Item = String> {
    let line = |whose: String, limit: &Limit| format!("limit of {whose}: {}", limit.rate);
    let own = agent.limit.iter().map(move |limit| line("all requests".to_owned(), limit));
    let of_role = move |(role, limit): &(std::sync::Arc<Role>, Option<Limit>)| {
        limit.as_ref().map(|limit| line(format!("role {}", role.name), limit))
    };
    own.chain(agent.roles.iter().filter_map(of_role))
}

fn principals(identity: &Identity) -> impl Iterator<Item = (AgentId, String)> {
    identity.directory.principals().map(|(principal, agent)| {
        let line = match principal.source {
            Source::Jwt(issuer) => {
                let issuer = identity.issuers.get(issuer).map(|issuer| &issuer.rules);
                let issuer = issuer.map(|issuer| format!(" of {:?}{}", issuer.name, bound(issuer.binding)));
                format!("jwt subject {:?}{}", principal.value, issuer.unwrap_or_default())
            }
            Source::Fingerprint => format!("certificate fingerprint {}", prefix(&principal.value)),
            source => format!("certificate {} {:?}", source.name(), principal.value),
        };
        (agent.clone(), line)
    })
}

/// To what a token must be bound.
const fn bound(binding: Binding) -> &'static str {
    match binding {
        Binding::Optional => "",
        Binding::Required => ", bound to a certificate or a key",
        Binding::Certificate => ", bound to a certificate",
        Binding::Key => ", bound to a key",
    }
}

fn keys(settings: &Settings) -> impl Iterator<Item = (AgentId, String)> {
    settings.api_keys.iter().map(|key| {
        let expires = key.expires.and_then(|time| OffsetDateTime::from_unix_timestamp(time).ok());
        let expires = expires.and_then(|time| time.format(&Rfc3339).ok());
        let until = expires.map(|time| format!(", until {time}")).unwrap_or_default();
        (key.agent.clone(), format!("api key sha256 {}{until}", prefix(&key.digest.to_hex())))
    })
}

fn prefix(hex: &str) -> String {
    format!("{}…", hex.get(..SHOWN).unwrap_or_default())
}

/// The balancers whose word on the client's address is believed before TLS.
fn balancers(settings: &Settings) -> impl Iterator<Item = String> {
    let listeners = settings.listeners.iter().filter(|listener| listener.proxy_protocol);
    listeners.flat_map(|Listener { address, .. }| {
        let line = move |network| format!("at {address} the client's address is what {network} says in a PROXY header");
        settings.identity.trusted_proxies.iter().map(line)
    })
}

/// Who is believed, and who the rest are.
fn rules(identity: &Identity, roles: &[Role]) -> Lines {
    let mut lines = Lines::new();
    let mut add = |line: String| lines.insert((Part::Entry, line), Held::default());
    add(match identity.directory.unknown() {
        UnknownAgents::Refuse => "agents without an entry are refused".to_owned(),
        UnknownAgents::OwnNamespace(_) => "agents without an entry have their own namespace".to_owned(),
    });
    if let UnknownAgents::OwnNamespace(Some(source)) = identity.directory.unknown() {
        add(match source {
            Source::Jwt(place) => {
                let name = identity.issuers.get(place).map_or("none", |issuer| &*issuer.rules.name);
                format!("a subject of {name:?} that nothing maps is the agent of that name")
            }
            source => format!("a {} that nothing maps is the agent of that name", source.name()),
        });
    }
    let sources: Vec<&str> = identity.sources.iter().map(|source| source.name()).collect();
    if identity.certificates {
        add(format!("certificates are believed, by {}", sources.join(", ")));
    }
    for (issuer, lists) in identity.issuers.iter().zip(&identity.role_rules) {
        let rules = &issuer.rules;
        add(format!("bearer tokens of {:?} are believed", rules.name));
        for (value, list) in rules.roles.values.iter().zip(lists) {
            let names: Vec<&str> = list.iter().filter_map(|index| roles.get(*index)).map(|role| &*role.name).collect();
            add(format!(
                "of them those with {:?} in {:?} have the roles {}",
                value,
                rules.roles.claim,
                names.join(", ")
            ));
        }
    }
    if identity.proxy_headers.is_some() {
        for network in &identity.trusted_proxies {
            add(format!("the identity header of {network} is believed"));
        }
    }
    if identity.forwarded_for {
        for network in &identity.trusted_proxies {
            add(format!("the client's address is what {network} says in X-Forwarded-For"));
        }
    }
    for family in identity.directory.families() {
        add(format!("family {family}"));
    }
    lines
}
