//! Child tokens: each agent's own short-lived token, minted through a token
//! role, cached by everything that may change what it is.
//!
//! A child token never leaves the gate, and a request never falls back to the
//! gate's own token where one cannot be minted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use filters::names::AgentId;
use filters::refusal::Refusal;
use filters::secret::Secret;
use filters::vault::{Trouble, control, trouble};
use futures_util::future::join_all;
use moka::Expiry;
use moka::future::Cache;
use serde::Deserialize;

use crate::config::{ChildPolicies, ChildTokens};
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

/// Everything a token depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    agent: AgentId,
    /// Of the profile.
    profile: Arc<str>,
    /// Of the gate's own login.
    generation: u64,
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
    pub async fn token_for(&self, agent: &AgentId, profile: &Profile) -> Result<Arc<Child>, Refusal> {
        let login = self.login.current().ok_or(Refusal::UpstreamUnavailable)?;
        if !profile.settings.enabled {
            let lifetime = Duration::from_secs(u64::from(profile.settings.ttl));
            return Ok(Arc::new(Child { token: login.token.clone(), accessor: None, lifetime }));
        }
        let key = Key { agent: agent.clone(), profile: Arc::clone(&profile.fingerprint), generation: login.generation };
        if let Some(child) = self.cache.get(&key).await {
            self.metrics.child_tokens.cached.inc();
            return Ok(child);
        }
        let mint = self.mint(agent, profile, &login.token, login.generation);
        self.cache.try_get_with(key, mint).await.map_err(|refusal| (*refusal).clone())
    }

    /// Forgets `child`, which Vault says is no token; another is minted next.
    pub async fn forget(&self, agent: &AgentId, profile: &Profile, child: &Arc<Child>) {
        let Some(login) = self.login.current() else { return };
        if !profile.settings.enabled {
            self.login.reject(login.generation);
            return;
        }
        let key = Key { agent: agent.clone(), profile: Arc::clone(&profile.fingerprint), generation: login.generation };
        if self.cache.get(&key).await.is_some_and(|cached| Arc::ptr_eq(&cached, child)) {
            self.cache.invalidate(&key).await;
        }
    }

    async fn mint(
        &self,
        agent: &AgentId,
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
        agent: &AgentId,
        profile: &Profile,
        gate: &Secret,
        generation: u64,
    ) -> Result<Child, Refusal> {
        let settings = &profile.settings;
        let (policies, alias) = match &settings.policies {
            ChildPolicies::PerAgent(prefix) => (format!("{prefix}{agent}"), false),
            ChildPolicies::Templated(policy) => (policy.clone(), true),
        };
        let wanted = control::ChildToken {
            agent: agent.clone(),
            policies: vec![policies.into()],
            alias,
            batch: settings.batch,
            ttl: settings.ttl,
        };
        let request = control::create_child(&settings.role, &wanted)?;
        let envelope = Envelope { lane: Lane::Requests, token: Some(gate), correlation: None, limit: ANSWER_LIMIT };
        let answer = self.upstream.ask(&request, envelope).await?;
        if answer.status != 200 {
            if trouble(answer.status, &answer.body) == Trouble::InvalidToken {
                self.login.reject(generation);
            }
            tracing::error!(%agent, status = answer.status, "Vault does not give the agent a child token");
            return Err(Refusal::UpstreamUnavailable);
        }
        let minted: Minted = serde_json::from_slice(&answer.body).map_err(|_| Refusal::UpstreamNonsense)?;
        let auth = minted.auth;
        if auth.identity_policies.is_some_and(|policies| !policies.is_empty()) {
            tracing::warn!(%agent, "the agent's entity in Vault has policies of its own, which widen its child tokens");
        }
        let seconds = if auth.lease_duration > 0 { auth.lease_duration } else { u64::from(profile.settings.ttl) };
        Ok(Child {
            token: Secret::new(auth.client_token),
            accessor: (!auth.accessor.is_empty()).then_some(auth.accessor),
            lifetime: Duration::from_secs(seconds).mul_f64(0.8),
        })
    }

    /// How many tokens are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.cache.iter().count()
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
