//! An agent's token, and Vault's answer that has one.

use std::time::Duration;

use filters::grants::Agent;
use filters::identity::Actor;
use filters::names::AgentId;
use filters::refusal::Refusal;
use filters::secret::Secret;
use serde::Deserialize;

use crate::exchange::{Answer, Tokens};
use crate::vault::own::Accessor;

/// A token that an agent acts with.
#[derive(Debug)]
pub struct AgentToken {
    /// The token.
    pub token: Secret,
    /// The accessor by which it is revoked; batch tokens have none.
    pub(super) accessor: Option<Accessor>,
    /// The time for which it may be used.
    pub(super) lifetime: Duration,
}

/// A token that one lease is asked for with.
pub struct LeaseToken {
    agent: AgentId,
    token: Secret,
    /// The accessor by which it is revoked.
    pub accessor: Accessor,
    /// Seconds it lives.
    pub ttl: u64,
}

impl Tokens for LeaseToken {
    type Token = Secret;

    async fn token_of(&self, actor: &Actor) -> Result<Self::Token, Refusal> {
        if actor.agent().id == self.agent { Ok(self.token.clone()) } else { Err(Refusal::Internal) }
    }

    fn secret<'t>(&self, token: &'t Self::Token) -> &'t Secret {
        token
    }

    /// There is no other: the lease hangs on this one.
    async fn forget(&self, _: &Actor, _: &Self::Token) -> bool {
        false
    }
}

/// Vault's answer with a new token.
#[derive(Deserialize)]
struct TokenAnswer {
    auth: Auth,
}

/// A new token, as Vault gives it.
#[derive(Deserialize)]
pub(super) struct Auth {
    pub(super) client_token: String,
    #[serde(default)]
    accessor: String,
    /// Seconds it lives; 0 where Vault tells none.
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    pub(super) identity_policies: Option<Vec<String>>,
}

impl Auth {
    /// Reads the answer to a login, or to making a token.
    ///
    /// # Errors
    /// As [`Answer::json`].
    pub(super) fn read(answer: &Answer) -> Result<Self, Refusal> {
        Ok(answer.json::<TokenAnswer>()?.auth)
    }

    /// Seconds it lives, where Vault tells them.
    pub(super) fn seconds(&self) -> Option<u64> {
        Some(self.lease_duration).filter(|seconds| *seconds > 0)
    }

    /// The token, to be used for `lifetime`.
    pub(super) fn into_token(self, agent: &Agent, lifetime: Duration) -> AgentToken {
        AgentToken { accessor: self.accessor(agent), token: Secret::new(self.client_token), lifetime }
    }

    /// The token for a lease, which lives `ttl` seconds.
    ///
    /// # Errors
    /// [`Refusal::UpstreamNonsense`] for a token that cannot be revoked.
    pub(super) fn into_lease_token(self, agent: &Agent, ttl: u64) -> Result<LeaseToken, Refusal> {
        let Some(accessor) = self.accessor(agent) else {
            tracing::error!(agent = %agent.id, "Vault gives a batch token, with which no lease is taken");
            return Err(Refusal::UpstreamNonsense);
        };
        Ok(LeaseToken { agent: agent.id.clone(), token: Secret::new(self.client_token), accessor, ttl })
    }

    fn accessor(&self, agent: &Agent) -> Option<Accessor> {
        let accessor = || Accessor { text: self.accessor.as_str().into(), namespace: agent.namespace.clone() };
        (!self.accessor.is_empty()).then(accessor)
    }
}

/// The time for which the gate uses a token that lives `seconds` in Vault.
pub(super) fn lifetime(seconds: u64) -> Duration {
    Duration::from_secs(seconds).mul_f64(0.8)
}
