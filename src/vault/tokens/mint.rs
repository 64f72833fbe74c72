//! Child tokens: each agent's own short-lived one, made by the gate's login through a token role.

use std::sync::Arc;

use filters::grants::Agent;
use filters::refusal::Refusal;
use filters::vault::control;
use filters::vault::provision::lack;

use crate::exchange::{Answer, Envelope, Lane};
use crate::telemetry::Seldom;
use crate::vault::own::OwnCalls;
use crate::vault::provision::Provision;

use super::profile::Occasion;
use super::token::{AgentToken, Auth, LeaseToken, lifetime};

/// Makes child tokens.
pub(super) struct Minter {
    own: OwnCalls,
    provision: Arc<Provision>,
    refusals: Seldom,
}

impl Minter {
    /// Makes them by `own` calls; `provision` knows what is missing in Vault for it.
    pub(super) fn new(own: OwnCalls, provision: Arc<Provision>) -> Self {
        Self { own, provision, refusals: Seldom::default() }
    }

    /// Makes a token for the requests of `agent`.
    ///
    /// # Errors
    /// [`Refusal::NotProvisioned`], [`Refusal::UpstreamUnavailable`] and the like.
    pub(super) async fn token(&self, agent: &Agent, occasion: Occasion<'_>) -> Result<AgentToken, Refusal> {
        let Occasion { profile, correlation } = occasion;
        let settings = profile.settings();
        let wanted = profile.child_token(agent, settings.batch, settings.ttl);
        let auth = self.create(&settings.role, &wanted, correlation).await?;
        let lifetime = lifetime(auth.seconds().unwrap_or(settings.ttl.into()));
        Ok(auth.into_token(agent, lifetime))
    }

    /// Makes a token of `ttl` seconds for one lease.
    ///
    /// # Errors
    /// As [`Minter::token`].
    pub(super) async fn lease_token(
        &self,
        agent: &Agent,
        occasion: Occasion<'_>,
        role: &str,
        ttl: u32,
    ) -> Result<LeaseToken, Refusal> {
        let wanted = occasion.profile.child_token(agent, false, ttl);
        let auth = self.create(role, &wanted, occasion.correlation).await?;
        auth.into_lease_token(agent, ttl.into())
    }

    async fn create(
        &self,
        role: &str,
        wanted: &control::ChildToken,
        correlation: Option<&str>,
    ) -> Result<Auth, Refusal> {
        let control::ChildToken { agent, namespace, .. } = wanted;
        let namespace = Some(namespace);
        let envelope = Envelope { lane: Lane::Requests, namespace, correlation, ..Envelope::default() };
        let answer = self.own.ask(control::create_child(role, wanted), envelope).await?;
        if !answer.is_success() {
            return Err(self.not_made(wanted, role, &answer));
        }
        let auth = Auth::read(&answer)?;
        if auth.identity_policies.as_ref().is_some_and(|policies| !policies.is_empty()) {
            tracing::warn!(%agent, "the agent's entity in Vault has policies of its own, which widen its tokens");
        }
        Ok(auth)
    }

    /// The refusal where Vault makes no token. Any caller can cause the line in the log, so it is
    /// written seldom.
    fn not_made(&self, wanted: &control::ChildToken, role: &str, answer: &Answer) -> Refusal {
        let control::ChildToken { agent, namespace, .. } = wanted;
        let (status, lack) = (answer.status, lack(answer.status, &answer.body));
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
}
