//! One immutable view of the configuration, swapped whole (invariant 8).
//!
//! A request uses the snapshot it started with. What must outlive a snapshot,
//! the state of the limits, is carried over from the one before.

mod agents;
mod proxies;

pub use agents::Agents;
pub use proxies::TrustedProxies;

use std::sync::Arc;
use std::time::SystemTime;

use filters::credential::{ApiKeys, KeyEntry};
use filters::grants::Agent;
use filters::identity::Source;
use filters::names::{AgentId, Namespace};
use filters::policy::{Policy, PolicySource, Rates};
use filters::quota::{Limit, LimitKind, Rate, Terms};
use filters::secret::Digest;
use filters::vault::Layout;
use filters::vault::provision::Making;

use crate::config::{self, Leases, Outline, Settings};
use crate::issuers::Issuers;
use crate::limits::{ConcurrencyLimits, SharedLimits};
use crate::tls::TlsMaterial;
use crate::vault::Profile;

/// Everything that a request reads.
pub struct Snapshot {
    /// The configuration that this was made of.
    pub about: About,
    /// TLS and metrics of each listener, in the order of the configuration.
    pub listeners: Vec<Listener>,
    /// The agents, and who reaches them.
    pub agents: Agents,
    /// The credentials that are believed.
    pub credentials: Credentials,
    /// Bounds and rates beside those of single agents.
    pub limits: Limits,
    /// The terms on which Vault is asked for agents.
    pub vault: VaultTerms,
    /// The surfaces that callers are shown.
    pub surfaces: config::Surfaces,
    /// True where metrics tell agents apart.
    pub agent_metrics: bool,
    /// Names by which operators' address is asked, besides `localhost` and itself.
    pub admin_hosts: Vec<String>,
}

/// The configuration that a snapshot was made of.
pub struct About {
    /// 1 for the first, one more for each that follows.
    pub version: u64,
    /// The moment in which it was read.
    pub loaded: SystemTime,
    /// SHA-256 of the configuration's files.
    pub digest: Digest,
    /// The names of everything that the configuration and its files say.
    pub outline: Outline,
    /// The changed sections that only another gate can put in force.
    pub pending: Vec<&'static str>,
}

/// The settings of one listener that a snapshot replaces.
pub struct Listener {
    /// Certificates and client authorities; `None` for plain HTTP.
    pub tls: Option<Arc<TlsMaterial>>,
    /// True where it serves metrics.
    pub metrics: bool,
    /// True where Vault's own API is served on it, if it is at all.
    pub vault_api: bool,
}

/// The credentials that are believed.
pub struct Credentials {
    /// The parts of a certificate in which a principal is looked for, in this order.
    pub sources: Vec<Source>,
    /// True where client certificates are believed.
    pub certificates: bool,
    /// The issuers of bearer tokens.
    pub issuers: Arc<Issuers>,
    /// API keys and their owners.
    pub api_keys: ApiKeys<Arc<Agent>>,
    /// The proxies whose word on their clients is believed.
    pub proxies: TrustedProxies,
}

/// Bounds and rates beside those of single agents.
pub struct Limits {
    /// The bounds of invariant 10.
    pub bounds: config::Limits,
    /// The limits that are counted together with other gates; `None` where this gate counts for itself.
    pub shared: Option<Arc<SharedLimits>>,
    /// The limit of all agents together.
    pub global: Option<Limit>,
    /// The number of requests of each agent that are served at once.
    pub concurrency: ConcurrencyLimits,
}

/// The terms on which Vault is asked for agents.
pub struct VaultTerms {
    /// The mounts and prefixes under which agents' things lie.
    pub layout: Layout,
    /// The profile of agents' tokens.
    pub child_tokens: Profile,
    /// Life and number of leases.
    pub leases: Leases,
    /// The token role and policies of each namespace; empty where no tokens are made for agents.
    pub makings: Vec<Making>,
    /// The namespaces below the root that agents may be in.
    pub namespaces: Vec<Namespace>,
    /// Seconds that a wrapped answer waits where only the role asks for wrapping.
    pub wrap_ttl: u32,
}

/// The parts of a snapshot that may fail, made before there is one.
pub struct Prepared {
    /// TLS of each listener, in the order of the configuration.
    pub tls: Vec<Option<Arc<TlsMaterial>>>,
    /// The issuers of bearer tokens.
    pub issuers: Arc<Issuers>,
    /// The limits that are counted together with other gates.
    pub shared_limits: Option<Arc<SharedLimits>>,
    /// The names of everything that the configuration and its files say.
    pub outline: Outline,
    /// The changed sections that only another gate can put in force.
    pub pending: Vec<&'static str>,
}

impl Prepared {
    /// Logs warnings about certificates and revocation lists.
    pub fn warn(&self) {
        self.tls.iter().flatten().for_each(|material| material.warn());
    }
}

impl Snapshot {
    /// Compiles checked settings. `prepared` was made of the same settings;
    /// `previous` gives the state of the limits.
    #[must_use]
    pub fn build(settings: Settings, prepared: Prepared, previous: Option<&Self>) -> Self {
        let Prepared { tls, issuers, shared_limits, outline, pending } = prepared;
        let Settings { identity, limits: bounds, leases, rate_limited, .. } = settings;
        let child_tokens = Profile::new(settings.vault_identity, settings.child_tokens);
        let source = PolicySource {
            roles: settings.roles,
            agents: settings.agents,
            directory: identity.directory,
            role_rules: identity.role_rules,
            // The gate's own is what it was when it logged in.
            namespace: previous
                .map_or(settings.upstream.namespace, |previous| previous.agents.policy().own_namespace().clone()),
            rates: rate_limited.then_some(Rates { agent: settings.rate, operations: settings.operation_rates }),
            terms: Terms {
                concurrent: bounds.concurrent,
                leases: leases.per_agent,
                lease_ttl: (!child_tokens.is_by_jwt()).then_some(leases.ttl),
                token_ttl: child_tokens.token_ttl(),
            },
        };
        let agents = Agents::new(source, previous.map(|previous| &previous.agents));
        let shown = settings.listeners.iter().map(|listener| (listener.metrics, listener.vault_api));
        let limits = Limits::new(
            bounds,
            shared_limits,
            settings.global_rate.filter(|_| rate_limited),
            agents.policy(),
            previous.map(|previous| &previous.limits),
        );
        Self {
            about: About {
                version: previous.map_or(1, |previous| previous.about.version + 1),
                loaded: SystemTime::now(),
                digest: settings.digest,
                outline,
                pending,
            },
            listeners: shown.zip(tls).map(|((metrics, vault_api), tls)| Listener { tls, metrics, vault_api }).collect(),
            credentials: Credentials {
                sources: identity.sources,
                certificates: identity.certificates,
                issuers,
                api_keys: owned_keys(settings.api_keys, &agents),
                proxies: TrustedProxies::new(identity.trusted_proxies, identity.forwarded_for, identity.proxy_headers),
            },
            limits,
            vault: VaultTerms {
                layout: settings.layout,
                makings: makings(&child_tokens, agents.policy()),
                namespaces: agents.policy().namespaces().into_keys().filter(|it| !it.is_root()).cloned().collect(),
                child_tokens,
                leases,
                wrap_ttl: settings.wrap_ttl,
            },
            agents,
            surfaces: settings.surfaces,
            agent_metrics: settings.agent_metrics,
            admin_hosts: settings.admin.hosts,
        }
    }

    /// Certificates and client authorities of the listener at that place.
    #[must_use]
    pub fn tls_of(&self, listener: usize) -> Option<&Arc<TlsMaterial>> {
        self.listeners.get(listener)?.tls.as_ref()
    }

    /// A snapshot that can be asked about its policy; no listener can serve by it.
    #[must_use]
    pub fn of_policy(settings: Settings) -> Self {
        let outline = settings.outline.clone();
        let prepared =
            Prepared { tls: Vec::new(), issuers: Arc::default(), shared_limits: None, outline, pending: Vec::new() };
        Self::build(settings, prepared, None)
    }
}

impl Limits {
    fn new(
        bounds: config::Limits,
        shared: Option<Arc<SharedLimits>>,
        global: Option<Rate>,
        policy: &Policy,
        previous: Option<&Self>,
    ) -> Self {
        let counted = previous.and_then(|previous| previous.global.as_ref());
        let each = policy.entries().map(|agent| (agent.id.clone(), agent.terms.concurrent));
        Self {
            concurrency: ConcurrencyLimits::new(
                each,
                bounds.concurrent,
                previous.map(|previous| &previous.concurrency),
            ),
            bounds,
            shared,
            global: global.map(|rate| Limit::new(rate, LimitKind::All, "all", counted)),
        }
    }
}

/// The keys whose agents the policy knows.
fn owned_keys(keys: Vec<KeyEntry<AgentId>>, agents: &Agents) -> ApiKeys<Arc<Agent>> {
    let mut owned = ApiKeys::default();
    for key in keys {
        match agents.find(&key.agent) {
            Some(agent) => _ = owned.add(KeyEntry { digest: key.digest, agent, expires: key.expires }),
            None => tracing::warn!(agent = %key.agent, "an API key belongs to an agent that is not configured"),
        }
    }
    owned
}

/// The token role and policies of each namespace that agents are in.
fn makings(tokens: &Profile, policy: &Policy) -> Vec<Making> {
    let namespaces = policy.namespaces().into_iter();
    namespaces.filter_map(|(namespace, agent)| tokens.making(namespace, agent)).collect()
}
