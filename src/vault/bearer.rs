//! What Vault gives for an agent's own JWT: a token by which Vault's policies
//! and its audit see whoever the JWT is about, and no longer the gate.
//!
//! A JWT is exchanged once, however many requests bring it, and is kept by its
//! digest only.

use std::sync::Arc;
use std::time::Duration;

use filters::grants::Agent;
use filters::identity::Bearer;
use filters::names::{AgentId, Namespace};
use filters::refusal::Refusal;
use filters::secret::{Digest, Secret};
use filters::vault::{Trouble, control, trouble};
use moka::future::Cache;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use crate::config::TokenLogin;
use crate::exchange::{Envelope, Lane, Upstream};
use crate::telemetry::Metrics;

use super::child::{Auth, Child, Lifetime, Minted};
use super::epoch_seconds;

/// Most tokens that wait to be revoked; those above it expire by themselves.
const WAITING: usize = 1024;
/// How often tokens are looked for whose time is over.
const LOOK: Duration = Duration::from_secs(1);

/// Everything a token depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    agent: AgentId,
    namespace: Namespace,
    /// Of the JWT.
    digest: Digest,
    login: Arc<TokenLogin>,
}

/// The tokens that Vault has given for JWTs.
pub(super) struct Bearers {
    upstream: Arc<Upstream>,
    metrics: Arc<Metrics>,
    cache: Cache<Key, Arc<Child>>,
    /// Those that had to go before Vault ends them.
    left: Mutex<mpsc::Receiver<Arc<Child>>>,
}

impl Bearers {
    /// An empty cache of at most `capacity` tokens.
    pub(super) fn new(upstream: Arc<Upstream>, metrics: Arc<Metrics>, capacity: u64) -> Self {
        let (leave, left) = mpsc::channel(WAITING);
        let leaving = move |_: Arc<Key>, child: Arc<Child>, cause: RemovalCause| {
            if cause.was_evicted() {
                // Where too many wait it expires by itself.
                let _ = leave.try_send(child);
            }
        };
        let cache = Cache::builder().max_capacity(capacity).expire_after(Lifetime);
        // A new one is in use: it never makes room for an old one.
        let cache = cache.eviction_policy(EvictionPolicy::lru()).eviction_listener(leaving).build();
        Self { upstream, metrics, cache, left: Mutex::new(left) }
    }

    /// The token for `bearer`: from the cache, or given once however many wait.
    ///
    /// # Errors
    /// As [`Bearers::log_in`].
    pub(super) async fn token_for(
        &self,
        agent: &Agent,
        bearer: &Bearer,
        login: &Arc<TokenLogin>,
    ) -> Result<Arc<Child>, Refusal> {
        let key = Key::new(agent, bearer, login);
        if let Some(child) = self.cache.get(&key).await {
            self.metrics.child_tokens.cached.inc();
            return Ok(child);
        }
        let exchange = self.exchange(agent, bearer, login);
        Box::pin(self.cache.try_get_with(key, exchange)).await.map_err(|refusal| (*refusal).clone())
    }

    async fn exchange(&self, agent: &Agent, bearer: &Bearer, login: &TokenLogin) -> Result<Arc<Child>, Refusal> {
        let outcome = self.log_in(agent, bearer, login).await;
        let counters = &self.metrics.child_tokens;
        if outcome.is_ok() { &counters.minted } else { &counters.failed }.inc();
        let auth = outcome?;
        let left = u64::try_from(bearer.expires).unwrap_or(0).saturating_sub(epoch_seconds());
        let until = Duration::from_secs(left);
        let lifetime = match auth.lease_duration {
            0 => until,
            seconds => until.min(Duration::from_secs(seconds).mul_f64(0.8)),
        };
        let accessor = auth.accessor(agent);
        Ok(Arc::new(Child { token: Secret::new(auth.client_token), accessor, lifetime }))
    }

    /// What Vault gives for the JWT; it is not kept.
    ///
    /// # Errors
    /// [`Refusal::LoginDenied`], [`Refusal::UpstreamUnavailable`] and the like.
    pub(super) async fn log_in(&self, agent: &Agent, bearer: &Bearer, login: &TokenLogin) -> Result<Auth, Refusal> {
        let request = control::login_jwt(&login.mount, login.role.as_deref(), &bearer.token)?;
        let namespace = Some(&agent.namespace);
        let envelope = Envelope { lane: Lane::Requests, namespace, ..Envelope::default() };
        let answer = self.upstream.ask(request, envelope).await?;
        if answer.status != 200 {
            return Err(refused(agent, login, answer.status, &answer.body));
        }
        let Minted { auth } = serde_json::from_slice(&answer.body).map_err(|_| Refusal::UpstreamNonsense)?;
        if auth.client_token.is_empty() {
            let mount = &login.mount;
            tracing::warn!(agent = %agent.id, mount, "Vault gives no token for the agent's JWT: it asks for more than that");
            return Err(Refusal::LoginDenied);
        }
        Ok(auth)
    }

    /// Forgets `child`, which Vault says is no token.
    pub(super) async fn forget(&self, agent: &Agent, bearer: &Bearer, login: &Arc<TokenLogin>, child: &Arc<Child>) {
        let key = Key::new(agent, bearer, login);
        if self.cache.get(&key).await.is_some_and(|cached| Arc::ptr_eq(&cached, child)) {
            self.cache.invalidate(&key).await;
        }
    }

    /// How many tokens are held.
    pub(super) fn held(&self) -> usize {
        self.cache.iter().count()
    }

    /// Forgets the tokens of agents, each with its token's namespace, that are `gone`; whoever asks
    /// revokes them.
    pub(super) async fn take(&self, gone: impl Fn(&AgentId, &Namespace) -> bool) -> Vec<Arc<Child>> {
        let taken: Vec<_> = self.cache.iter().filter(|(key, _)| gone(&key.agent, &key.namespace)).collect();
        for (key, _) in &taken {
            self.cache.invalidate(&**key).await;
        }
        taken.into_iter().map(|(_, child)| child).collect()
    }

    /// The next token that is held no longer: its JWT has ended before it did,
    /// or it had to make room.
    pub(super) async fn left(&self) -> Arc<Child> {
        let mut left = self.left.lock().await;
        loop {
            match timeout(LOOK, left.recv()).await {
                Ok(Some(child)) => return child,
                // The other end is the cache's.
                Ok(None) => std::future::pending().await,
                Err(_) => self.cache.run_pending_tasks().await,
            }
        }
    }
}

impl Key {
    fn new(agent: &Agent, bearer: &Bearer, login: &Arc<TokenLogin>) -> Self {
        let (id, namespace) = (agent.id.clone(), agent.namespace.clone());
        Self { agent: id, namespace, digest: bearer.token.digest(), login: Arc::clone(login) }
    }
}

/// What it means that Vault gives nothing for a JWT. Whether the token or the
/// role is at fault Vault tells in words only.
fn refused(agent: &Agent, login: &TokenLogin, status: u16, body: &[u8]) -> Refusal {
    let (agent, mount) = (&agent.id, &login.mount);
    let why = control::login_refused(body).unwrap_or("Vault's own log or audit device tells why");
    match status {
        400 | 403 => {
            tracing::warn!(%agent, mount, status, why, "Vault does not accept the agent's JWT");
            Refusal::LoginDenied
        }
        404 => {
            tracing::error!(%agent, mount, "Vault has no such auth method for agents' JWTs");
            Refusal::NotProvisioned
        }
        status => match trouble(status, body) {
            Trouble::Refused(refusal) => refusal,
            Trouble::InvalidToken => Refusal::UpstreamUnavailable,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::child::tests::moved;
    use super::*;

    #[test]
    fn what_one_namespace_gives_for_a_token_is_not_what_another_does() {
        let bearer = Bearer { token: Secret::new("t".into()), issuer: 0, expires: 0 };
        let login = Arc::new(TokenLogin { mount: "jwt".into(), role: None });
        let [here, there] = moved().map(|agent| Key::new(&agent, &bearer, &login));
        assert!(here != there);
    }
}
