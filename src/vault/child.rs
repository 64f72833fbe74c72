//! Agents' tokens. Child tokens: each agent's own short-lived one, minted
//! through a token role, cached by everything that may change what it is. Or
//! those that Vault gives for agents' own JWTs, see [`super::bearer`].
//!
//! Neither leaves the gate, and a request never falls back to the gate's own
//! token where there is none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use filters::grants::Agent;
use filters::identity::{Actor, Bearer};
use filters::names::{AgentId, Namespace};
use filters::refusal::Refusal;
use filters::secret::Secret;
use filters::vault::control;
use filters::vault::provision::{Making, lack};
use futures_util::future::join_all;
use moka::Expiry;
use moka::future::Cache;
use serde::Deserialize;

use crate::config::{self, ChildPolicies, ChildTokens, TokenLogin, VaultIdentity};
use crate::exchange::{Envelope, Lane, Patience, Tokens, Upstream};
use crate::telemetry::{Metrics, Seldom};

use super::bearer::Bearers;
use super::provision::Provision;
use super::{Accessor, LoginState};

/// How long a revocation may take.
const REVOKE: Duration = Duration::from_secs(5);
/// How many revocations are under way at once.
const REVOCATIONS: usize = 16;

/// A token that an agent acts with.
#[derive(Debug)]
pub struct Child {
    /// The token.
    pub token: Secret,
    /// For revocation; batch tokens have none.
    pub(super) accessor: Option<Accessor>,
    /// How long it may be used.
    pub(super) lifetime: Duration,
}

/// The settings that tokens are made by, and one text that stands for those of child tokens.
#[derive(Clone, Debug)]
pub struct Profile {
    identity: VaultIdentity,
    settings: ChildTokens,
    fingerprint: Arc<str>,
}

impl Profile {
    /// The profile of `settings`.
    #[must_use]
    pub fn new(identity: VaultIdentity, settings: ChildTokens) -> Self {
        let fingerprint = format!("{settings:?}").into();
        Self { identity, settings, fingerprint }
    }

    /// Seconds that a child token lives; `None` where Vault is asked with other tokens.
    #[must_use]
    pub fn token_ttl(&self) -> Option<u32> {
        (self.settings.enabled && !self.is_by_jwt()).then_some(self.settings.ttl)
    }

    /// Whether Vault is asked with what it gives for agents' own JWTs.
    #[must_use]
    pub const fn is_by_jwt(&self) -> bool {
        matches!(self.identity, VaultIdentity::Jwt(_))
    }

    /// What child tokens are made by in a namespace, those of `agent` for example; `None` where none
    /// are made.
    #[must_use]
    pub fn making(&self, namespace: &Namespace, agent: Option<&Agent>) -> Option<Making> {
        let settings = Some(&self.settings).filter(|settings| settings.enabled && !self.is_by_jwt())?;
        let policies = agent.map(|agent| settings.policies_of(agent)).unwrap_or_default();
        let (role, namespace) = (settings.role.as_str().into(), namespace.clone());
        Some(Making { role, policies, batch: settings.batch, namespace })
    }

    /// The JWT to exchange and where, or that a child token is wanted.
    fn exchanged<'a>(&'a self, actor: &'a Actor) -> Result<Option<(&'a Bearer, &'a Arc<TokenLogin>)>, Refusal> {
        let VaultIdentity::Jwt(logins) = &self.identity else { return Ok(None) };
        let bearer = actor.bearer().ok_or(Refusal::TokenRequired)?;
        let login = logins.get(bearer.issuer).ok_or(Refusal::TokenRequired)?;
        Ok(Some((bearer, login)))
    }
}

/// A token that one lease is asked for with.
pub struct LeaseToken {
    agent: AgentId,
    token: Secret,
    /// By which it is revoked.
    pub accessor: Accessor,
    /// Seconds it lives.
    pub ttl: u64,
}

impl ChildTokens {
    fn policies_of(&self, agent: &Agent) -> Vec<Arc<str>> {
        match &self.policies {
            ChildPolicies::PerAgent(prefix) => vec![format!("{prefix}{}", agent.id).into()],
            ChildPolicies::Templated(policy) => vec![policy.as_str().into(), Arc::clone(&agent.roles_policy)],
        }
    }

    fn token(&self, agent: &Agent, batch: bool, ttl: u32) -> control::ChildToken {
        let (policies, namespace) = (self.policies_of(agent), agent.namespace.clone());
        control::ChildToken { agent: agent.id.clone(), namespace, policies, alias: self.entity_alias, batch, ttl }
    }
}

/// Everything a token depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    agent: AgentId,
    /// Of the agent's name.
    agent_generation: u32,
    namespace: Namespace,
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
        Self {
            agent: agent.id.clone(),
            agent_generation: agent.generation,
            namespace: agent.namespace.clone(),
            roles_policy,
            profile,
            generation,
        }
    }
}

/// A token is held for its lifetime.
pub(super) struct Lifetime;

impl<K> Expiry<K, Arc<Child>> for Lifetime {
    fn expire_after_create(&self, _: &K, child: &Arc<Child>, _: Instant) -> Option<Duration> {
        Some(child.lifetime)
    }
}

/// The tokens of this gate's agents.
pub struct Children {
    upstream: Arc<Upstream>,
    login: Arc<LoginState>,
    provision: Arc<Provision>,
    metrics: Arc<Metrics>,
    cache: Cache<Key, Arc<Child>>,
    bearers: Bearers,
    refusals: Seldom,
}

/// Vault's answer with a new token.
#[derive(Deserialize)]
pub(super) struct Minted {
    pub(super) auth: Auth,
}

#[derive(Deserialize)]
pub(super) struct Auth {
    pub(super) client_token: String,
    #[serde(default)]
    pub(super) accessor: String,
    #[serde(default)]
    pub(super) lease_duration: u64,
    #[serde(default)]
    identity_policies: Option<Vec<String>>,
}

impl Auth {
    /// By which the token is revoked; batch tokens have none.
    pub(super) fn accessor(&self, agent: &Agent) -> Option<Accessor> {
        let accessor = || Accessor { text: self.accessor.as_str().into(), namespace: agent.namespace.clone() };
        (!self.accessor.is_empty()).then(accessor)
    }
}

/// The tokens of this gate's agents, as one profile makes them.
#[derive(Clone, Copy)]
pub struct AgentTokens<'a> {
    children: &'a Children,
    profile: &'a Profile,
}

impl Tokens for AgentTokens<'_> {
    type Token = Arc<Child>;

    async fn token_of(&self, actor: &Actor) -> Result<Self::Token, Refusal> {
        self.children.token_for(actor, self.profile).await
    }

    fn secret<'t>(&self, token: &'t Self::Token) -> &'t Secret {
        &token.token
    }

    async fn forget(&self, actor: &Actor, token: &Self::Token) -> bool {
        self.children.forget(actor, self.profile, token).await;
        true
    }
}

impl Tokens for LeaseToken {
    type Token = Secret;

    async fn token_of(&self, actor: &Actor) -> Result<Self::Token, Refusal> {
        if actor.agent().id == self.agent { Ok(self.token.clone()) } else { Err(Refusal::Internal) }
    }

    fn secret<'t>(&self, token: &'t Self::Token) -> &'t Secret {
        token
    }

    /// There is no other: what it was made for hangs on it.
    async fn forget(&self, _: &Actor, _: &Self::Token) -> bool {
        false
    }
}

impl Children {
    /// The tokens that `profile` makes.
    #[must_use]
    pub const fn by<'a>(&'a self, profile: &'a Profile) -> AgentTokens<'a> {
        AgentTokens { children: self, profile }
    }

    /// An empty cache of at most `capacity` tokens, which are made by `makes`.
    #[must_use]
    pub fn new(makes: (Arc<Upstream>, Arc<LoginState>, Arc<Provision>), metrics: Arc<Metrics>, capacity: u64) -> Self {
        let (upstream, login, provision) = makes;
        let cache = Cache::builder().max_capacity(capacity).expire_after(Lifetime).build();
        let bearers = Bearers::new(Arc::clone(&upstream), Arc::clone(&metrics), capacity);
        Self { upstream, login, provision, metrics, cache, bearers, refusals: Seldom::default() }
    }

    /// The token that Vault is asked with for `actor`: from the cache, or
    /// made once however many wait.
    ///
    /// # Errors
    /// [`Refusal::UpstreamUnavailable`] and the like where there is none;
    /// [`Refusal::TokenRequired`] and [`Refusal::LoginDenied`] where Vault is
    /// asked with agents' own JWTs.
    async fn token_for(&self, actor: &Actor, profile: &Profile) -> Result<Arc<Child>, Refusal> {
        let agent = actor.agent();
        if let Some((bearer, login)) = profile.exchanged(actor)? {
            return self.bearers.token_for(agent, bearer, login).await;
        }
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

    /// Forgets `child`, which Vault says is no token; another is made next.
    async fn forget(&self, actor: &Actor, profile: &Profile, child: &Arc<Child>) {
        let agent = actor.agent();
        self.metrics.child_tokens.replaced.inc();
        if let Ok(Some((bearer, login))) = profile.exchanged(actor) {
            return self.bearers.forget(agent, bearer, login, child).await;
        }
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
        let wanted = settings.token(agent, settings.batch, settings.ttl);
        let auth = self.create(&settings.role, &wanted, gate, generation).await?;
        let seconds = if auth.lease_duration > 0 { auth.lease_duration } else { u64::from(settings.ttl) };
        Ok(Child {
            accessor: auth.accessor(agent),
            token: Secret::new(auth.client_token),
            lifetime: Duration::from_secs(seconds).mul_f64(0.8),
        })
    }

    /// A token of `ttl` seconds for one lease, which ends with it; it is not kept. It carries
    /// the agent's own policies, be child tokens on or off. What Vault gives for a JWT lives as
    /// long as Vault's role says.
    ///
    /// # Errors
    /// As [`Children::token_for`]; [`Refusal::UpstreamNonsense`] for a token that cannot be revoked.
    pub async fn lease_token(
        &self,
        actor: &Actor,
        profile: &Profile,
        leases: &config::Leases,
        ttl: u32,
    ) -> Result<LeaseToken, Refusal> {
        let agent = actor.agent();
        let auth = match profile.exchanged(actor)? {
            Some((bearer, login)) => self.bearers.log_in(agent, bearer, login).await?,
            None => {
                let login = self.login.current().ok_or(Refusal::UpstreamUnavailable)?;
                let wanted = profile.settings.token(agent, false, ttl);
                let auth = self.create(&leases.role, &wanted, &login.token, login.generation).await?;
                Auth { lease_duration: ttl.into(), ..auth }
            }
        };
        let Some(accessor) = auth.accessor(agent) else {
            tracing::error!(agent = %agent.id, "Vault gives a batch token, with which no lease is taken");
            return Err(Refusal::UpstreamNonsense);
        };
        let ttl = if auth.lease_duration > 0 { auth.lease_duration } else { ttl.into() };
        Ok(LeaseToken { agent: agent.id.clone(), token: Secret::new(auth.client_token), accessor, ttl })
    }

    async fn create(
        &self,
        role: &str,
        wanted: &control::ChildToken,
        gate: &Secret,
        generation: u64,
    ) -> Result<Auth, Refusal> {
        let control::ChildToken { agent, namespace, .. } = wanted;
        let request = control::create_child(role, wanted)?;
        let envelope =
            Envelope { lane: Lane::Requests, token: Some(gate), namespace: Some(namespace), ..Envelope::default() };
        let answer = self.upstream.ask(request, envelope).await?;
        if answer.status != 200 {
            if self.upstream.denies_token(envelope, &answer).await {
                self.login.reject(generation);
                return Err(Refusal::UpstreamUnavailable);
            }
            return Err(self.not_made(wanted, role, answer.status, &answer.body));
        }
        let Minted { auth } = serde_json::from_slice(&answer.body).map_err(|_| Refusal::UpstreamNonsense)?;
        if auth.identity_policies.as_ref().is_some_and(|policies| !policies.is_empty()) {
            tracing::warn!(%agent, "the agent's entity in Vault has policies of its own, which widen its tokens");
        }
        Ok(auth)
    }

    /// What it means that Vault makes no token. Whoever calls can have it said, so it is said seldom.
    fn not_made(&self, wanted: &control::ChildToken, role: &str, status: u16, body: &[u8]) -> Refusal {
        let control::ChildToken { agent, namespace, .. } = wanted;
        let lack = lack(status, body);
        let why = lack.map(|lack| self.provision.mend(lack, role, namespace)).unwrap_or_default();
        if let Some(left_out) = self.refusals.due() {
            tracing::error!(%agent, %namespace, role, status, why, left_out, "Vault does not give the agent a token");
        }
        if lack.is_none() {
            return Refusal::UpstreamUnavailable;
        }
        self.provision.want();
        Refusal::NotProvisioned
    }

    /// How many tokens are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.cache.iter().count() + self.bearers.held()
    }

    /// Revokes, for ever, what is held no longer and Vault still knows.
    pub async fn run(&self) {
        loop {
            let child = self.bearers.left().await;
            self.end([child]).await;
        }
    }

    /// Drops the tokens of one agent: batch tokens by forgetting them, service tokens by revoking them.
    pub async fn drop_of(&self, agent: &AgentId) {
        self.drop_where(|holder, _| holder == agent).await;
    }

    /// Drops likewise the tokens of agents, each with its token's namespace, that are `gone`.
    pub async fn drop_where(&self, gone: impl Fn(&AgentId, &Namespace) -> bool) {
        let found: Vec<_> = self.cache.iter().filter(|(key, _)| gone(&key.agent, &key.namespace)).collect();
        for (key, _) in &found {
            self.cache.invalidate(&**key).await;
        }
        let children = found.into_iter().map(|(_, child)| child);
        self.end(children.chain(self.bearers.take(gone).await)).await;
    }

    /// Drops every token: a batch token by forgetting it, a service token by
    /// revoking it, as far as `time` allows.
    pub async fn drop_all(&self, time: Duration) {
        let children: Vec<_> = self.cache.iter().map(|(_, child)| child).collect();
        self.cache.invalidate_all();
        let all = children.into_iter().chain(self.bearers.take(|_, _| true).await);
        if tokio::time::timeout(time, self.end(all)).await.is_err() {
            tracing::warn!("not every token of an agent could be revoked in time; they expire by themselves");
        }
    }

    /// Revokes those that can be.
    async fn end(&self, children: impl IntoIterator<Item = Arc<Child>>) {
        let Some(login) = self.login.current() else { return };
        let children: Vec<_> = children.into_iter().filter(|child| child.accessor.is_some()).collect();
        for some in children.chunks(REVOCATIONS) {
            let accessors = some.iter().filter_map(|child| child.accessor.as_ref());
            join_all(accessors.map(|accessor| self.revoke(accessor, &login.token))).await;
        }
    }

    async fn revoke(&self, accessor: &Accessor, gate: &Secret) {
        let Ok(request) = control::revoke_accessor(&accessor.text) else { return };
        let namespace = Some(&accessor.namespace);
        let patience = Patience::Look(REVOKE);
        let envelope = Envelope { token: Some(gate), namespace, patience, ..Envelope::default() };
        let outcome = self.upstream.ask(request, envelope).await;
        if !outcome.is_ok_and(|answer| control::is_revoked(answer.status, &answer.body)) {
            tracing::warn!("a token of an agent could not be revoked; it expires by itself");
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
