//! Child tokens: each agent's own short-lived token, minted through a token
//! role, cached by everything that may change what it is.
//!
//! A child token never leaves the gate, and a request never falls back to the
//! gate's own token where one cannot be minted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use filters::grants::Agent;
use filters::names::AgentId;
use filters::refusal::Refusal;
use filters::secret::Secret;
use filters::vault::{Trouble, control, trouble};
use futures_util::future::join_all;
use moka::Expiry;
use moka::future::Cache;
use serde::Deserialize;

use crate::config::{self, ChildPolicies, ChildTokens};
use crate::exchange::{Envelope, Lane, Upstream};
use crate::telemetry::Metrics;

use super::{ANSWER_LIMIT, LoginState};

/// How many revocations are under way at once when the gate shuts down.
const REVOCATIONS: usize = 16;

/// A token that an agent acts with.
#[derive(Debug)]
pub struct Child {
    /// The token.
    pub token: Secret,
    /// For revocation; batch tokens have none.
    accessor: Option<String>,
    /// How long it may be used.
    lifetime: Duration,
}

/// The settings that tokens are made by, and one text that stands for them all.
#[derive(Clone, Debug)]
pub struct Profile {
    settings: ChildTokens,
    fingerprint: Arc<str>,
}

impl Profile {
    /// The profile of `settings`.
    #[must_use]
    pub fn new(settings: ChildTokens) -> Self {
        let fingerprint = format!("{settings:?}").into();
        Self { settings, fingerprint }
    }
}

/// A token that one lease is asked for with.
pub struct LeaseToken {
    /// The token.
    pub token: Secret,
    /// By which it is revoked.
    pub accessor: String,
}

impl ChildPolicies {
    fn token(&self, agent: &Agent, batch: bool, ttl: u32) -> control::ChildToken {
        let (policies, alias) = match self {
            Self::PerAgent(prefix) => (vec![format!("{prefix}{}", agent.id).into()], false),
            Self::Templated(policy) => (vec![policy.as_str().into(), Arc::clone(&agent.roles_policy)], true),
        };
        control::ChildToken { agent: agent.id.clone(), policies, alias, batch, ttl }
    }
}

/// Everything a token depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    agent: AgentId,
    /// Of the agent's name.
    agent_generation: u32,
    roles_policy: Arc<str>,
    /// Of the profile.
    profile: Arc<str>,
    /// Of the gate's own login.
    generation: u64,
}

impl Key {
    fn new(agent: &Agent, profile: &Profile, generation: u64) -> Self {
        let profile = Arc::clone(&profile.fingerprint);
        let roles_policy = Arc::clone(&agent.roles_policy);
        Self { agent: agent.id.clone(), agent_generation: agent.generation, roles_policy, profile, generation }
    }
}

struct Lifetime;

impl Expiry<Key, Arc<Child>> for Lifetime {
    fn expire_after_create(&self, _: &Key, child: &Arc<Child>, _: Instant) -> Option<Duration> {
        Some(child.lifetime)
    }
}

/// The children of this gate.
pub struct Children {
    upstream: Arc<Upstream>,
    login: Arc<LoginState>,
    metrics: Arc<Metrics>,
    cache: Cache<Key, Arc<Child>>,
}

#[derive(Deserialize)]
struct Minted {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
    #[serde(default)]
    accessor: String,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    identity_policies: Option<Vec<String>>,
}

impl Children {
    /// An empty cache of at most `capacity` tokens.
    #[must_use]
    pub fn new(upstream: Arc<Upstream>, login: Arc<LoginState>, metrics: Arc<Metrics>, capacity: u64) -> Self {
        let cache = Cache::builder().max_capacity(capacity).expire_after(Lifetime).build();
        Self { upstream, login, metrics, cache }
    }

    /// The token for `agent`: from the cache, or minted once however many wait.
    ///
    /// # Errors
    /// [`Refusal::UpstreamUnavailable`] and the like where none can be minted.
    pub async fn token_for(&self, agent: &Agent, profile: &Profile) -> Result<Arc<Child>, Refusal> {
        let login = self.login.current().ok_or(Refusal::UpstreamUnavailable)?;
        if !profile.settings.enabled {
            let lifetime = Duration::from_secs(u64::from(profile.settings.ttl));
            return Ok(Arc::new(Child { token: login.token.clone(), accessor: None, lifetime }));
        }
        let key = Key::new(agent, profile, login.generation);
        if let Some(child) = self.cache.get(&key).await {
            self.metrics.child_tokens.cached.inc();
            return Ok(child);
        }
        let mint = self.mint(agent, profile, &login.token, login.generation);
        Box::pin(self.cache.try_get_with(key, mint)).await.map_err(|refusal| (*refusal).clone())
    }

    /// Forgets `child`, which Vault says is no token; another is minted next.
    pub async fn forget(&self, agent: &Agent, profile: &Profile, child: &Arc<Child>) {
        let Some(login) = self.login.current() else { return };
        if !profile.settings.enabled {
            self.login.reject(login.generation);
            return;
        }
        let key = Key::new(agent, profile, login.generation);
        if self.cache.get(&key).await.is_some_and(|cached| Arc::ptr_eq(&cached, child)) {
            self.cache.invalidate(&key).await;
        }
    }

    async fn mint(
        &self,
        agent: &Agent,
        profile: &Profile,
        gate: &Secret,
        generation: u64,
    ) -> Result<Arc<Child>, Refusal> {
        let outcome = self.ask_for_one(agent, profile, gate, generation).await;
        let counter =
            if outcome.is_ok() { &self.metrics.child_tokens.minted } else { &self.metrics.child_tokens.failed };
        counter.inc();
        outcome.map(Arc::new)
    }

    async fn ask_for_one(
        &self,
        agent: &Agent,
        profile: &Profile,
        gate: &Secret,
        generation: u64,
    ) -> Result<Child, Refusal> {
        let settings = &profile.settings;
        let wanted = settings.policies.token(agent, settings.batch, settings.ttl);
        let auth = self.create(&settings.role, &wanted, gate, generation).await?;
        let seconds = if auth.lease_duration > 0 { auth.lease_duration } else { u64::from(settings.ttl) };
        Ok(Child {
            token: Secret::new(auth.client_token),
            accessor: (!auth.accessor.is_empty()).then_some(auth.accessor),
            lifetime: Duration::from_secs(seconds).mul_f64(0.8),
        })
    }

    /// A token of `ttl` seconds for one lease, which ends with it; it is not kept. It carries
    /// the agent's own policies, be child tokens on or off.
    ///
    /// # Errors
    /// As [`Children::token_for`].
    pub async fn lease_token(
        &self,
        agent: &Agent,
        profile: &Profile,
        leases: &config::Leases,
        ttl: u32,
    ) -> Result<LeaseToken, Refusal> {
        let login = self.login.current().ok_or(Refusal::UpstreamUnavailable)?;
        let wanted = profile.settings.policies.token(agent, false, ttl);
        let auth = self.create(&leases.role, &wanted, &login.token, login.generation).await?;
        if auth.accessor.is_empty() {
            return Err(Refusal::UpstreamNonsense);
        }
        Ok(LeaseToken { token: Secret::new(auth.client_token), accessor: auth.accessor })
    }

    async fn create(
        &self,
        role: &str,
        wanted: &control::ChildToken,
        gate: &Secret,
        generation: u64,
    ) -> Result<Auth, Refusal> {
        let agent = &wanted.agent;
        let request = control::create_child(role, wanted)?;
        let envelope = Envelope { lane: Lane::Requests, token: Some(gate), limit: ANSWER_LIMIT, ..Envelope::default() };
        let answer = self.upstream.ask(&request, envelope).await?;
        if answer.status != 200 {
            if trouble(answer.status, &answer.body) == Trouble::InvalidToken {
                self.login.reject(generation);
            }
            tracing::error!(%agent, role, status = answer.status, "Vault does not give the agent a token");
            return Err(Refusal::UpstreamUnavailable);
        }
        let Minted { auth } = serde_json::from_slice(&answer.body).map_err(|_| Refusal::UpstreamNonsense)?;
        if auth.identity_policies.as_ref().is_some_and(|policies| !policies.is_empty()) {
            tracing::warn!(%agent, "the agent's entity in Vault has policies of its own, which widen its tokens");
        }
        Ok(auth)
    }

    /// How many tokens are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.cache.iter().count()
    }

    /// Drops the tokens of one agent: batch tokens by forgetting them, service tokens by revoking them.
    pub async fn drop_of(&self, agent: &AgentId) {
        let keys: Vec<_> = self.cache.iter().filter(|(key, _)| key.agent == *agent).collect();
        for (key, child) in keys {
            self.cache.invalidate(&*key).await;
            if let (Some(accessor), Some(login)) = (&child.accessor, self.login.current()) {
                self.revoke(accessor, &login.token).await;
            }
        }
    }

    /// Drops every token: a batch token by forgetting it, a service token by
    /// revoking it, as far as `time` allows.
    pub async fn drop_all(&self, time: Duration) {
        let accessors: Vec<String> = self.cache.iter().filter_map(|(_, child)| child.accessor.clone()).collect();
        self.cache.invalidate_all();
        let Some(login) = self.login.current() else { return };
        let revoke_all = async {
            for some in accessors.chunks(REVOCATIONS) {
                let each = some.iter().map(|accessor| self.revoke(accessor, &login.token));
                join_all(each).await;
            }
        };
        if tokio::time::timeout(time, revoke_all).await.is_err() {
            tracing::warn!("not every child token could be revoked in time; they expire by themselves");
        }
    }

    async fn revoke(&self, accessor: &str, gate: &Secret) {
        let Ok(request) = control::revoke_accessor(accessor) else { return };
        let envelope = Envelope { token: Some(gate), limit: ANSWER_LIMIT, ..Envelope::default() };
        let outcome = self.upstream.ask(&request, envelope).await;
        if !outcome.is_ok_and(|answer| answer.status == 204) {
            tracing::warn!("a child token could not be revoked; it expires by itself");
        }
    }
}
