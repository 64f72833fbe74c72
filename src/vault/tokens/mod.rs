//! The tokens that Vault is asked with for agents: one cache of them, by everything that a token
//! depends on.
//!
//! None of them leaves the gate, and a request never falls back to the gate's own token where its
//! agent has none.

mod jwt_login;
mod mint;
mod profile;
mod token;

pub use profile::Profile;
pub use token::AgentToken;

use std::sync::Arc;
use std::time::{Duration, Instant};

use filters::grants::Agent;
use filters::identity::{Actor, Bearer};
use filters::names::{AgentId, Namespace};
use filters::refusal::Refusal;
use filters::secret::{Digest, Secret};
use futures_util::future::join_all;
use moka::Expiry;
use moka::future::Cache;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use crate::config::{self, TokenLogin};
use crate::exchange::{Envelope, Tokens};
use crate::telemetry::Metrics;

use super::login::GateLogin;
use super::own::OwnCalls;
use super::provision::Provision;
use jwt_login::{JwtLogin, JwtLogins};
use mint::Minter;
use profile::Occasion;
use token::LeaseToken;

/// Most evicted tokens that wait to be revoked; further ones expire by themselves.
const WAITING: usize = 1024;
/// Time between two looks for tokens whose lifetime is over.
const LOOK: Duration = Duration::from_secs(1);
/// Most revocations under way at once.
const REVOCATIONS: usize = 16;

/// Everything that a token depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct TokenKey {
    agent: AgentId,
    namespace: Namespace,
    origin: TokenOrigin,
}

/// The way in which a token was obtained, with everything else that it depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum TokenOrigin {
    /// The gate made it through a token role.
    Minted {
        /// The generation of the agent's entry.
        agent_generation: u32,
        roles_policy: Arc<str>,
        /// The fingerprint of the [`Profile`].
        profile: Arc<str>,
        /// The generation of the gate's own login.
        login_generation: u64,
    },
    /// Vault gave it for a JWT.
    JwtLogin { jwt: Digest, login: Arc<TokenLogin> },
}

/// The way in which the next token is obtained.
enum TokenSource<'a> {
    /// The gate makes it with its own login.
    Mint(Arc<GateLogin>),
    /// Vault gives it for the agent's JWT.
    JwtLogin(&'a Bearer, &'a Arc<TokenLogin>),
}

impl TokenSource<'_> {
    /// The gate's own login, where its token serves every agent.
    fn shared<'a>(&'a self, profile: &Profile) -> Option<&'a GateLogin> {
        match self {
            Self::Mint(login) if !profile.settings().enabled => Some(login),
            Self::Mint(_) | Self::JwtLogin(..) => None,
        }
    }

    fn key(&self, agent: &Agent, profile: &Profile) -> TokenKey {
        let origin = match self {
            Self::Mint(login) => TokenOrigin::Minted {
                agent_generation: agent.generation,
                roles_policy: Arc::clone(&agent.roles_policy),
                profile: profile.fingerprint(),
                login_generation: login.generation,
            },
            Self::JwtLogin(bearer, login) => {
                TokenOrigin::JwtLogin { jwt: bearer.token.digest(), login: Arc::clone(login) }
            }
        };
        TokenKey { agent: agent.id.clone(), namespace: agent.namespace.clone(), origin }
    }
}

/// Holds a token for its lifetime.
struct Lifetime;

impl Expiry<TokenKey, Arc<AgentToken>> for Lifetime {
    fn expire_after_create(&self, _: &TokenKey, token: &Arc<AgentToken>, _: Instant) -> Option<Duration> {
        Some(token.lifetime)
    }
}

/// The tokens of this gate's agents.
pub struct AgentTokens {
    own: OwnCalls,
    minter: Minter,
    jwt_logins: JwtLogins,
    metrics: Arc<Metrics>,
    cache: Cache<TokenKey, Arc<AgentToken>>,
    /// Tokens that had to go before Vault ends them.
    evicted: Mutex<mpsc::Receiver<Arc<AgentToken>>>,
}

/// The tokens of this gate's agents, as one profile has them made for one call.
#[derive(Clone, Copy)]
pub struct CallTokens<'a> {
    tokens: &'a AgentTokens,
    occasion: Occasion<'a>,
}

impl Tokens for CallTokens<'_> {
    type Token = Arc<AgentToken>;

    async fn token_of(&self, actor: &Actor) -> Result<Self::Token, Refusal> {
        self.tokens.token_for(actor, self.occasion).await
    }

    fn secret<'t>(&self, token: &'t Self::Token) -> &'t Secret {
        &token.token
    }

    async fn forget(&self, actor: &Actor, token: &Self::Token) -> bool {
        self.tokens.forget(actor, self.occasion.profile, token).await;
        true
    }
}

impl CallTokens<'_> {
    /// A token of `ttl` seconds for one lease, which ends with it; it is not kept. It carries the
    /// agent's own policies, also where child tokens are off. A token that Vault gives for a JWT
    /// lives as long as Vault's role says.
    ///
    /// # Errors
    /// As [`Tokens::token_of`]; [`Refusal::UpstreamNonsense`] for a token that cannot be revoked.
    pub async fn lease_token(&self, actor: &Actor, leases: &config::Leases, ttl: u32) -> Result<LeaseToken, Refusal> {
        let (agent, bearer, occasion) = (&**actor.agent(), actor.bearer(), self.occasion);
        match self.tokens.source(bearer, occasion.profile)? {
            TokenSource::Mint(_) => self.tokens.minter.lease_token(agent, occasion, &leases.role, ttl).await,
            TokenSource::JwtLogin(bearer, login) => {
                let logins = &self.tokens.jwt_logins;
                logins.lease_token(agent, JwtLogin { bearer, login }, occasion.correlation, ttl).await
            }
        }
    }
}

impl AgentTokens {
    /// The tokens that `profile` has made for the call of this correlation id.
    #[must_use]
    pub const fn by<'a>(&'a self, profile: &'a Profile, correlation: Option<&'a str>) -> CallTokens<'a> {
        CallTokens { tokens: self, occasion: Occasion { profile, correlation } }
    }

    /// An empty cache of at most `capacity` tokens.
    #[must_use]
    pub fn new(own: OwnCalls, provision: Arc<Provision>, metrics: Arc<Metrics>, capacity: u64) -> Self {
        let (evict, evicted) = mpsc::channel(WAITING);
        let evicting = move |key: Arc<TokenKey>, token: Arc<AgentToken>, cause: RemovalCause| {
            // A minted token whose time in the cache is over soon expires by itself; a login may go on.
            let goes_on = cause == RemovalCause::Size || matches!(key.origin, TokenOrigin::JwtLogin { .. });
            if cause.was_evicted() && goes_on && token.accessor.is_some() {
                // A token for which the queue has no room expires by itself too.
                let _ = evict.try_send(token);
            }
        };
        // The newest token is in use: it never makes room for an old one.
        let cache = Cache::builder().max_capacity(capacity).eviction_policy(EvictionPolicy::lru());
        let cache = cache.expire_after(Lifetime).eviction_listener(evicting).build();
        let minter = Minter::new(own.clone(), provision);
        let jwt_logins = JwtLogins::new(Arc::clone(own.upstream()));
        Self { own, minter, jwt_logins, metrics, cache, evicted: Mutex::new(evicted) }
    }

    /// The token that Vault is asked with for `actor`: from the cache, or obtained once however
    /// many wait for it.
    ///
    /// # Errors
    /// [`Refusal::UpstreamUnavailable`] and the like where there is none; [`Refusal::TokenRequired`]
    /// and [`Refusal::LoginDenied`] where Vault is asked with agents' own JWTs.
    async fn token_for(&self, actor: &Actor, occasion: Occasion<'_>) -> Result<Arc<AgentToken>, Refusal> {
        let (agent, bearer, profile) = (&**actor.agent(), actor.bearer(), occasion.profile);
        let source = self.source(bearer, profile)?;
        if let Some(login) = source.shared(profile) {
            return Ok(Arc::new(AgentToken { token: login.token.clone(), accessor: None, lifetime: Duration::ZERO }));
        }
        let key = source.key(agent, profile);
        if let Some(token) = self.cache.get(&key).await {
            self.metrics.vault.child_tokens.cached.inc();
            return Ok(token);
        }
        let obtained = self.obtain(agent, occasion, source);
        Box::pin(self.cache.try_get_with(key, obtained)).await.map_err(|refusal| (*refusal).clone())
    }

    /// Forgets `token`, which Vault says is no token; another is obtained next.
    async fn forget(&self, actor: &Actor, profile: &Profile, token: &Arc<AgentToken>) {
        let (agent, bearer) = (&**actor.agent(), actor.bearer());
        self.metrics.vault.child_tokens.replaced.inc();
        let Ok(source) = self.source(bearer, profile) else { return };
        if let Some(login) = source.shared(profile) {
            self.own.login().reject(login.generation);
            return;
        }
        let key = source.key(agent, profile);
        if self.cache.get(&key).await.is_some_and(|cached| Arc::ptr_eq(&cached, token)) {
            self.cache.invalidate(&key).await;
        }
    }

    fn source<'a>(&self, bearer: Option<&'a Bearer>, profile: &'a Profile) -> Result<TokenSource<'a>, Refusal> {
        if let Some((bearer, login)) = profile.jwt_login(bearer)? {
            return Ok(TokenSource::JwtLogin(bearer, login));
        }
        self.own.login().current().map(TokenSource::Mint).ok_or(Refusal::UpstreamUnavailable)
    }

    async fn obtain(
        &self,
        agent: &Agent,
        occasion: Occasion<'_>,
        source: TokenSource<'_>,
    ) -> Result<Arc<AgentToken>, Refusal> {
        let obtained = match source {
            TokenSource::Mint(_) => self.minter.token(agent, occasion).await,
            TokenSource::JwtLogin(bearer, login) => {
                self.jwt_logins.token(agent, JwtLogin { bearer, login }, occasion.correlation).await
            }
        };
        let counters = &self.metrics.vault.child_tokens;
        if obtained.is_ok() { &counters.minted } else { &counters.failed }.inc();
        obtained.map(Arc::new)
    }

    /// The number of tokens that are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.cache.iter().count()
    }

    /// The number of tokens that were held a moment ago, which is found at once.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.cache.entry_count()
    }

    /// Revokes evicted tokens, for ever.
    pub async fn run(&self) {
        let mut evicted = self.evicted.lock().await;
        loop {
            match timeout(LOOK, evicted.recv()).await {
                Ok(Some(token)) => self.revoke([token]).await,
                // The cache holds the other end, so this never happens.
                Ok(None) => std::future::pending().await,
                Err(_) => self.cache.run_pending_tasks().await,
            }
        }
    }

    /// Drops the tokens of one agent: batch tokens by forgetting them, service tokens by revoking them.
    pub async fn drop_of(&self, agent: &AgentId) {
        self.drop_where(|holder, _| holder == agent).await;
    }

    /// Drops in the same way the tokens whose agent and namespace are `gone`.
    pub async fn drop_where(&self, gone: impl Fn(&AgentId, &Namespace) -> bool) {
        let dropped: Vec<_> = self.cache.iter().filter(|(key, _)| gone(&key.agent, &key.namespace)).collect();
        for (key, _) in &dropped {
            self.cache.invalidate(&**key).await;
        }
        self.revoke(dropped.into_iter().map(|(_, token)| token)).await;
    }

    /// Drops in the same way every token, as far as `time` allows.
    pub async fn drop_all(&self, time: Duration) {
        if timeout(time, self.drop_where(|_, _| true)).await.is_err() {
            tracing::warn!("not every token of an agent could be revoked in time; they expire by themselves");
        }
    }

    /// Revokes the service tokens among `tokens`.
    async fn revoke(&self, tokens: impl IntoIterator<Item = Arc<AgentToken>>) {
        if !self.own.is_logged_in() {
            return;
        }
        let tokens: Vec<_> = tokens.into_iter().filter(|token| token.accessor.is_some()).collect();
        for some in tokens.chunks(REVOCATIONS) {
            let accessors = some.iter().filter_map(|token| token.accessor.as_ref());
            let revoked = join_all(accessors.map(|accessor| self.own.revoke(accessor, Envelope::soon()))).await;
            if revoked.iter().any(Result::is_err) {
                tracing::warn!("a token of an agent could not be revoked; it expires by itself");
            }
        }
    }
}

#[cfg(test)]
mod tests;
