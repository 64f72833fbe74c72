//! One immutable view of the configuration, swapped whole (invariant 8).
//!
//! A request uses the snapshot it started with. What must outlive a snapshot,
//! the state of the limits, is carried over from the one before.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use filters::credential::{ApiKeys, KeyEntry, ProxyHeaders};
use filters::forwarded;
use filters::grants::{Agent, Role};
use filters::headers::FORWARDED_FOR;
use filters::identity::{Directory, Family, Principal, Source, UnknownAgents};
use filters::jwt::Verified;
use filters::mcp::ToolNames;
use filters::names::{AgentId, Namespace};
use filters::quota::{Cell, Limit, Rate, Terms};
use filters::secret::Digest;
use filters::vault::Layout;
use filters::vault::provision::Making;
use filters::vault_policy::roles_policy;
use http::HeaderMap;
use ipnet::IpNet;
use moka::sync::Cache;

use crate::config::{Docs, Leases, Limits, Outline, Settings};
use crate::issuers::Issuers;
use crate::limits::{ConcurrencyLimits, SharedLimits};
use crate::tls::TlsMaterial;
use crate::vault::Profile;

/// Most agents without an entry that are kept at once.
const MAX_STRANGERS: u64 = 100_000;

/// What is made of settings before there is a snapshot of them, since it may fail.
pub struct Parts {
    /// TLS of each listener, in the order of the configuration.
    pub tls: Vec<Option<Arc<TlsMaterial>>>,
    /// Whose bearer tokens are believed.
    pub issuers: Arc<Issuers>,
    /// Where limits are counted together with other gates.
    pub shared_limits: Option<Arc<SharedLimits>>,
    /// What the configuration and its files say, by names.
    pub outline: Outline,
    /// The sections that say what only another gate can do.
    pub pending: Vec<&'static str>,
}

impl Parts {
    /// Says in the log what is worth a word.
    pub fn warn(&self) {
        self.tls.iter().flatten().for_each(|material| material.warn());
    }
}

/// The place of an issuer, and of one of its role rules.
type RoleRule = (usize, usize);

/// Everything a request reads.
pub struct Snapshot {
    /// 1 for the first, one more for each that follows.
    pub version: u64,
    /// Of the configuration's files.
    pub digest: Digest,
    /// What the configuration and its files say, by names.
    pub outline: Outline,
    /// The sections that say what only another gate can do.
    pub pending: Vec<&'static str>,
    /// Whether each listener serves metrics, in the order of the configuration.
    pub metrics: Vec<bool>,
    /// Names by which operators' address is asked, besides `localhost` and itself.
    pub admin_hosts: Vec<String>,
    /// Where things lie in Vault.
    pub layout: Layout,
    /// The bounds of invariant 10.
    pub limits: Limits,
    /// What agents' tokens are like.
    pub child_tokens: Profile,
    /// What leases are like.
    pub leases: Leases,
    /// Where limits are counted together with other gates; `None` where this gate counts for itself.
    pub shared_limits: Option<Arc<SharedLimits>>,
    /// The limit of all agents together.
    pub global: Option<Limit>,
    /// How many requests of each agent are served at once.
    pub turns: ConcurrencyLimits,
    /// Seconds that a wrapped answer waits where only the role asks for wrapping.
    pub wrap_ttl: u32,
    /// Whether the REST surface is shown.
    pub rest: bool,
    /// How MCP tools are named.
    pub tool_names: ToolNames,
    /// How often an open stream of events is sent a comment.
    pub keep_alive: Duration,
    /// Who sees the documentation.
    pub docs: Docs,
    /// Scheme and authority by which callers reach the gate, where it is told.
    pub public_url: Option<Box<str>>,
    /// Agents that the configuration suspends.
    pub suspended: Vec<AgentId>,
    /// Origins whose pages may call.
    pub origins: Vec<String>,
    /// Where a certificate's principal is looked for.
    pub sources: Vec<Source>,
    /// Whether client certificates are believed.
    pub certificates: bool,
    /// Whose bearer tokens are believed.
    pub issuers: Arc<Issuers>,
    /// API keys and their owners.
    pub api_keys: ApiKeys<Arc<Agent>>,
    /// TLS of each listener, in the order of the configuration.
    pub tls: Vec<Option<Arc<TlsMaterial>>>,
    trusted_proxies: Vec<IpNet>,
    /// Whether their `X-Forwarded-For` is believed.
    forwarded_for: bool,
    proxy_headers: Option<ProxyHeaders>,
    /// The gate's own namespace in Vault.
    namespace: Namespace,
    directory: Directory,
    agents: HashMap<AgentId, Arc<Agent>>,
    /// Agents without an entry, by the roles that they have.
    strangers: Cache<(AgentId, Option<RoleRule>), Arc<Agent>>,
    /// What agents without an entry have used of their limits and of each role's;
    /// shared by all snapshots.
    cells: Cache<(AgentId, Box<str>), Arc<Cell>>,
    own_namespace: Arc<Role>,
    /// Of each issuer and each of its role rules the roles.
    role_rules: Vec<Vec<Vec<Arc<Role>>>>,
    /// What agents' tokens are made by in each namespace; none where none are made.
    pub makings: Vec<Making>,
    rate: Option<Rate>,
    rate_limited: bool,
    /// The rate of each operation that has one, for each agent.
    operations: Vec<(&'static str, Rate)>,
    /// Bounds of an agent without an entry, beside its rates.
    terms: Terms,
}

impl Snapshot {
    /// Compiles checked settings. `parts` were made of the same settings;
    /// `previous` gives the state of the limits.
    #[must_use]
    pub fn build(settings: Settings, parts: Parts, previous: Option<&Self>) -> Self {
        let roles: Vec<Arc<Role>> = settings.roles.into_iter().map(Arc::new).collect();
        let rate = settings.rate.filter(|_| settings.rate_limited);
        let suspended = settings.agents.iter().filter(|entry| entry.suspended).map(|entry| entry.id.clone()).collect();
        let operations = if settings.rate_limited { settings.operation_rates } else { Vec::new() };
        // The gate's own is what it was when it logged in.
        let namespace = previous.map_or(settings.upstream.namespace, |previous| previous.namespace.clone());
        let directory = &settings.identity.directory;
        let mut agents = HashMap::with_capacity(settings.agents.len());
        let own_turns = settings.agents.iter();
        let own_turns: Vec<_> =
            own_turns.map(|entry| (entry.id.clone(), entry.concurrent.unwrap_or(settings.limits.concurrent))).collect();
        let child_tokens = Profile::new(settings.vault_identity, settings.child_tokens);
        let terms = Terms {
            concurrent: settings.limits.concurrent,
            leases: settings.leases.per_agent,
            lease_ttl: (!child_tokens.is_by_jwt()).then_some(settings.leases.ttl),
            token_ttl: child_tokens.token_ttl(),
        };
        for entry in settings.agents {
            let before = previous.and_then(|previous| previous.agents.get(&entry.id));
            let roles = entry.roles.iter().filter_map(|index| roles.get(*index)).cloned();
            let limited = |role| limited(&entry.id, role, settings.rate_limited, before);
            let roles: Vec<_> = roles.map(limited).collect();
            let rate = entry.rate.or_else(|| widest(&roles)).or(rate).filter(|_| settings.rate_limited);
            let counted = before.and_then(|agent| agent.limit.as_ref());
            let limit = rate.map(|rate| Limit::new(rate, agent_limit(&entry.id), counted));
            let named = || directory.namespace_of(&entry.id, roles.iter().map(|(role, _)| &**role));
            let agent = Agent {
                id: entry.id.clone(),
                generation: entry.generation,
                namespace: entry.namespace.as_ref().or_else(named).unwrap_or(&namespace).clone(),
                roles_policy: roles_policy(roles.iter().map(|(role, _)| &*role.name)).into(),
                roles,
                limit,
                operations: of_operations(&entry.id, &operations, before),
                terms: Terms { concurrent: entry.concurrent.unwrap_or(terms.concurrent), ..terms },
            };
            agents.insert(entry.id, Arc::new(agent));
        }
        let list = |list: Vec<usize>| list.into_iter().filter_map(|index| roles.get(index)).cloned().collect();
        let role_rules = settings.identity.role_rules.into_iter().map(|rules| rules.into_iter().map(list).collect());
        // The built-in role comes first.
        let own_namespace = roles.first().map_or_else(|| Arc::new(Role::own_namespace()), Arc::clone);
        let turns =
            ConcurrencyLimits::new(own_turns.into_iter(), settings.limits.concurrent, previous.map(|p| &p.turns));
        let mut snapshot = Self {
            version: previous.map_or(1, |previous| previous.version + 1),
            digest: settings.digest,
            outline: parts.outline,
            pending: parts.pending,
            metrics: settings.listeners.iter().map(|listener| listener.metrics).collect(),
            admin_hosts: settings.admin.hosts,
            layout: settings.layout,
            limits: settings.limits,
            child_tokens,
            leases: settings.leases,
            turns,
            shared_limits: parts.shared_limits,
            global: settings
                .global_rate
                .filter(|_| settings.rate_limited)
                .map(|rate| Limit::new(rate, "all", previous.and_then(|previous| previous.global.as_ref()))),
            wrap_ttl: settings.wrap_ttl,
            rest: settings.rest,
            tool_names: settings.tool_names,
            keep_alive: settings.keep_alive,
            docs: settings.docs,
            public_url: settings.public_url,
            suspended,
            origins: settings.origins,
            sources: settings.identity.sources,
            certificates: settings.identity.certificates,
            issuers: parts.issuers,
            api_keys: ApiKeys::default(),
            tls: parts.tls,
            trusted_proxies: settings.identity.trusted_proxies,
            forwarded_for: settings.identity.forwarded_for,
            proxy_headers: settings.identity.proxy_headers,
            namespace,
            directory: settings.identity.directory,
            agents,
            strangers: Cache::new(MAX_STRANGERS),
            cells: previous.map_or_else(|| Cache::new(MAX_STRANGERS), |previous| previous.cells.clone()),
            own_namespace,
            role_rules: role_rules.collect(),
            makings: Vec::new(),
            rate,
            rate_limited: settings.rate_limited,
            operations,
            terms,
        };
        snapshot.makings = snapshot.find_makings();
        snapshot.add_keys(settings.api_keys);
        snapshot
    }

    /// What can be told of the policy alone; nothing can be served by it.
    #[must_use]
    pub fn of_policy(settings: Settings) -> Self {
        let outline = settings.outline.clone();
        Self::build(
            settings,
            Parts { tls: Vec::new(), issuers: Arc::default(), shared_limits: None, outline, pending: Vec::new() },
            None,
        )
    }

    fn add_keys(&mut self, keys: Vec<KeyEntry<AgentId>>) {
        for key in keys {
            match self.agent(&key.agent) {
                Some(agent) => {
                    self.api_keys.add(KeyEntry { digest: key.digest, agent, expires: key.expires });
                }
                None => tracing::warn!(agent = %key.agent, "an API key belongs to an agent that is not configured"),
            }
        }
    }

    /// The agent of that name: its entry, or the built-in role where agents
    /// without an entry have their own namespace.
    #[must_use]
    pub fn agent(&self, id: &AgentId) -> Option<Arc<Agent>> {
        if let Some(agent) = self.agents.get(id) {
            return Some(Arc::clone(agent));
        }
        match self.directory.unknown() {
            UnknownAgents::Refuse => None,
            UnknownAgents::OwnNamespace(_) => Some(self.stranger(id, None)),
        }
    }

    /// The agent that a token of the issuer at `place` is of: an entry has its own roles, others have
    /// those of the issuer's rule, where one fits.
    #[must_use]
    pub fn agent_of_token(&self, place: usize, token: &Verified) -> Option<Arc<Agent>> {
        let principal = Principal { source: Source::Jwt(place), value: token.subject.as_ref().to_owned() };
        let id = self.directory.agent_of(&principal)?;
        match token.role {
            Some(rule) if !self.agents.contains_key(&id) => Some(self.stranger(&id, Some((place, rule)))),
            _ => self.agent(&id),
        }
    }

    fn stranger(&self, id: &AgentId, rule: Option<RoleRule>) -> Arc<Agent> {
        self.strangers.get_with((id.clone(), rule), || Arc::new(self.new_stranger(id, rule)))
    }

    fn new_stranger(&self, id: &AgentId, rule: Option<RoleRule>) -> Agent {
        let of_rule = |(place, rule): RoleRule| self.role_rules.get(place)?.get(rule).map(Vec::as_slice);
        let roles = rule.map_or(self.built_in(), |rule| of_rule(rule).unwrap_or_default());
        let namespace = self.namespace_of_stranger(id, roles);
        let limit = |rate: Rate, name: String| {
            let cell = self.cells.get_with((id.clone(), name.as_str().into()), Arc::default);
            Limit { rate, cell, name: name.into() }
        };
        let of_role = |role: &Arc<Role>| {
            let rate = role.rate.filter(|_| self.rate_limited)?;
            Some(limit(rate, role_limit(id, role)))
        };
        let roles: Vec<_> = roles.iter().map(|role| (Arc::clone(role), of_role(role))).collect();
        let rate = widest(&roles).filter(|_| self.rate_limited).or(self.rate);
        Agent {
            id: id.clone(),
            generation: 1,
            namespace,
            roles_policy: roles_policy(roles.iter().map(|(role, _)| &*role.name)).into(),
            limit: rate.map(|rate| limit(rate, agent_limit(id))),
            roles,
            operations: self
                .operations
                .iter()
                .map(|(operation, rate)| (*operation, limit(*rate, operation_limit(id, operation))))
                .collect(),
            terms: self.terms,
        }
    }

    /// The built-in role, that of agents without an entry for which no rule fits.
    const fn built_in(&self) -> &[Arc<Role>] {
        std::slice::from_ref(&self.own_namespace)
    }

    fn namespace_of_stranger(&self, id: &AgentId, roles: &[Arc<Role>]) -> Namespace {
        self.directory.namespace_of(id, roles.iter().map(|role| &**role)).unwrap_or(&self.namespace).clone()
    }

    /// Whether the agent is in that namespace of Vault's, with some credential.
    #[must_use]
    pub fn may_be_in(&self, id: &AgentId, namespace: &Namespace) -> bool {
        if let Some(agent) = self.agents.get(id) {
            return agent.namespace == *namespace;
        }
        let mut lists = self.role_rules.iter().flatten().map(Vec::as_slice).chain([self.built_in()]);
        lists.any(|roles| self.namespace_of_stranger(id, roles) == *namespace)
    }

    /// For one agent with an entry of each namespace, where there is one.
    fn find_makings(&self) -> Vec<Making> {
        let mut places = BTreeMap::<&Namespace, Option<&Agent>>::new();
        self.agents.values().for_each(|agent| _ = places.entry(&agent.namespace).or_insert(Some(agent)));
        let families = self.directory.families().iter().filter_map(Family::namespace);
        let of_rules = self.role_rules.iter().flatten().flatten().filter_map(|role| role.namespace.as_ref());
        families.chain(of_rules).for_each(|namespace| _ = places.entry(namespace).or_default());
        if places.is_empty() || self.directory.unknown() != UnknownAgents::Refuse {
            places.entry(&self.namespace).or_default();
        }
        places.into_iter().filter_map(|(namespace, agent)| self.child_tokens.making(namespace, agent)).collect()
    }

    /// How many agents have an entry.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.agents.len()
    }

    /// The mapping of principals to agents.
    #[must_use]
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The identity header, where `peer` is a proxy whose word is taken.
    #[must_use]
    pub fn proxy_headers_from(&self, peer: Option<IpAddr>) -> Option<&ProxyHeaders> {
        let headers = self.proxy_headers.as_ref()?;
        self.is_trusted_proxy(peer?.to_canonical()).then_some(headers)
    }

    /// The address of the client behind `peer`, as far as trusted proxies' word for it is taken.
    #[must_use]
    pub fn client_behind(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.forwarded_for {
            return peer;
        }
        // What is no text is no address either.
        let values = headers.get_all(FORWARDED_FOR).iter().map(|value| value.to_str().unwrap_or_default());
        forwarded::client(peer, values, |address| self.is_trusted_proxy(address))
    }

    /// Whether a proxy's word on its clients is taken from that address.
    #[must_use]
    pub fn is_trusted_proxy(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }
}

/// A role of an agent's with its own limit, counted where it was before.
fn limited(id: &AgentId, role: Arc<Role>, on: bool, before: Option<&Arc<Agent>>) -> (Arc<Role>, Option<Limit>) {
    let same = |other: &&(Arc<Role>, Option<Limit>)| other.0.name == role.name;
    let counted = before.and_then(|agent| agent.roles.iter().find(same)).and_then(|(_, limit)| limit.as_ref());
    let limit = role.rate.filter(|_| on).map(|rate| Limit::new(rate, role_limit(id, &role), counted));
    (role, limit)
}

/// An agent's limits of single operations, counted where they were before.
fn of_operations(
    id: &AgentId,
    rates: &[(&'static str, Rate)],
    before: Option<&Arc<Agent>>,
) -> Vec<(&'static str, Limit)> {
    let counted = |operation| {
        let (_, limit) = before?.operations.iter().find(|(other, _)| *other == operation)?;
        Some(limit)
    };
    let limit = |&(operation, rate)| (operation, Limit::new(rate, operation_limit(id, operation), counted(operation)));
    rates.iter().map(limit).collect()
}

/// The name of an agent's own limit; neither part of any such name holds a colon.
fn agent_limit(id: &AgentId) -> String {
    format!("agent:{id}")
}

fn role_limit(id: &AgentId, role: &Role) -> String {
    format!("role:{id}:{}", role.name)
}

fn operation_limit(id: &AgentId, operation: &str) -> String {
    format!("operation:{id}:{operation}")
}

/// The widest rate among the roles, so that an agent's own limit never stops
/// what one of its roles allows.
fn widest(roles: &[(Arc<Role>, Option<Limit>)]) -> Option<Rate> {
    let rates = roles.iter().filter_map(|(role, _)| role.rate);
    rates.reduce(|widest, rate| if rate.is_wider_than(&widest) { rate } else { widest })
}
