//! Tokens that Vault gives for agents' own JWTs: Vault's policies and its audit see whoever the JWT
//! is about, and no longer the gate.

use std::sync::Arc;
use std::time::Duration;

use filters::grants::Agent;
use filters::identity::Bearer;
use filters::refusal::Refusal;
use filters::vault::control;

use crate::config::TokenLogin;
use crate::exchange::{Answer, Envelope, Lane, Upstream};
use crate::vault::clock::epoch_seconds;

use super::token::{AgentToken, Auth, LeaseToken, lifetime};

/// An agent's JWT, and the login that takes it.
#[derive(Clone, Copy)]
pub(super) struct JwtLogin<'a> {
    pub(super) bearer: &'a Bearer,
    pub(super) login: &'a TokenLogin,
}

/// Logs agents in by their JWTs.
pub(super) struct JwtLogins {
    upstream: Arc<Upstream>,
}

impl JwtLogins {
    /// Logs in over `upstream`.
    pub(super) const fn new(upstream: Arc<Upstream>) -> Self {
        Self { upstream }
    }

    /// The token for a JWT, which is used no longer than the JWT.
    ///
    /// # Errors
    /// [`Refusal::LoginDenied`], [`Refusal::UpstreamUnavailable`] and the like.
    pub(super) async fn token(
        &self,
        agent: &Agent,
        by: JwtLogin<'_>,
        correlation: Option<&str>,
    ) -> Result<AgentToken, Refusal> {
        let auth = self.log_in(agent, by, correlation).await?;
        let left = u64::try_from(by.bearer.expires).unwrap_or(0).saturating_sub(epoch_seconds());
        let left = Duration::from_secs(left);
        let lifetime = auth.seconds().map_or(left, |seconds| lifetime(seconds).min(left));
        Ok(auth.into_token(agent, lifetime))
    }

    /// A token for one lease, which lives as long as Vault's role says, or `ttl` seconds where it
    /// says nothing.
    ///
    /// # Errors
    /// As [`JwtLogins::token`]; [`Refusal::UpstreamNonsense`] for a token that cannot be revoked.
    pub(super) async fn lease_token(
        &self,
        agent: &Agent,
        by: JwtLogin<'_>,
        correlation: Option<&str>,
        ttl: u32,
    ) -> Result<LeaseToken, Refusal> {
        let auth = self.log_in(agent, by, correlation).await?;
        let ttl = auth.seconds().unwrap_or(ttl.into());
        auth.into_lease_token(agent, ttl)
    }

    async fn log_in(&self, agent: &Agent, by: JwtLogin<'_>, correlation: Option<&str>) -> Result<Auth, Refusal> {
        let JwtLogin { bearer, login } = by;
        let request = control::login_jwt(&login.mount, login.role.as_deref(), &bearer.token)?;
        let namespace = Some(&agent.namespace);
        let envelope = Envelope { lane: Lane::Requests, namespace, correlation, ..Envelope::default() };
        let answer = self.upstream.ask(request, envelope).await?;
        if !answer.is_success() {
            return Err(refused(agent, login, &answer));
        }
        let auth = Auth::read(&answer)?;
        if auth.client_token.is_empty() {
            let mount = &login.mount;
            tracing::warn!(agent = %agent.id, mount, "Vault gives no token for the agent's JWT: it asks for more than that");
            return Err(Refusal::LoginDenied);
        }
        Ok(auth)
    }
}

/// The refusal where Vault gives nothing for a JWT. Whether the token or the role is at fault, Vault
/// tells in words only.
fn refused(agent: &Agent, login: &TokenLogin, answer: &Answer) -> Refusal {
    let (agent, mount, status) = (&agent.id, &login.mount, answer.status);
    let why = control::login_refused(&answer.body).unwrap_or("Vault's own log or audit device tells why");
    match status {
        400 | 403 => {
            tracing::warn!(%agent, mount, status, why, "Vault does not accept the agent's JWT");
            Refusal::LoginDenied
        }
        404 => {
            tracing::error!(%agent, mount, "Vault has no such auth method for agents' JWTs");
            Refusal::NotProvisioned
        }
        _ => answer.refusal(),
    }
}
