//! Requests at Vault's own paths. They go on as they came, and so do Vault's answers, but for leases.
//!
//! Which of Vault's paths give out leases only its answers tell, and a lease ends with the token that it was made with.
//! So what gives one out for the agent's own token is taken back at once, and asked for again with a token of the lease's
//! own; from then on that token is made first.

use filters::decide::{AgentRequest, Passing};
use filters::grants::Agent;
use filters::operation::Entry;
use filters::refusal::Refusal;
use filters::vault::control;
use serde::Deserialize;

use crate::exchange::{Answer, Envelope, Opened};

use super::Context;
use super::call::Asking;
use super::form::{Formed, read};
use super::streaming::Performed;

impl Context<'_> {
    /// Asks, and holds the whole answer.
    pub(super) async fn pass(
        &self,
        asking: Asking<'_>,
        agent: &Agent,
        entry: &'static Entry,
        passing: Passing,
    ) -> Result<Formed, Refusal> {
        let Passing { origin, request, leased } = passing;
        self.check_circuit()?;
        if !self.gives_leases(&leased) {
            let answer = self.ask_vault(asking, request).await?;
            let Some(id) = lease_of(&answer) else { return read(asking.form, entry, &answer) };
            self.take_back(asking, agent, place(&leased), &id).await;
        }
        self.lease(asking, entry, origin, leased).await
    }

    /// Asks, and begins an answer that is too large to be held; a lease is in none of these.
    pub(super) async fn pass_in_parts(
        &self,
        asking: Asking<'_>,
        agent: &Agent,
        entry: &'static Entry,
        passing: Passing,
    ) -> Result<Performed, Refusal> {
        let Passing { origin, request, leased } = passing;
        self.check_circuit()?;
        if !self.gives_leases(&leased) {
            let opened = self.state.vault.upstream.open_for(request, &self.tokens(asking), self.envelope(asking)).await;
            match self.heard(opened)? {
                Opened::Part(arrival) => return self.begin(asking, agent, entry, arrival),
                Opened::Whole(answer) => match lease_of(&answer) {
                    Some(id) => self.take_back(asking, agent, place(&leased), &id).await,
                    None => return read(asking.form, entry, &answer).map(Performed::Whole),
                },
            }
        }
        self.lease(asking, entry, origin, leased).await.map(Performed::Whole)
    }

    fn gives_leases(&self, request: &AgentRequest) -> bool {
        self.state.vault.leases.are_given(&request.actor().agent().namespace, place(request))
    }

    /// Revokes a lease that would end with the agent's token, as it does by itself else.
    async fn take_back(&self, asking: Asking<'_>, agent: &Agent, place: &str, id: &str) {
        self.state.vault.leases.learn(&agent.namespace, place);
        let envelope = Envelope { namespace: Some(&agent.namespace), ..self.envelope(asking) };
        if let Err(undone) = self.state.vault.own.succeed(control::revoke_lease(id), envelope).await {
            let agent = agent.id.as_str();
            tracing::warn!(agent, why = %undone, "a lease that is asked for again cannot be revoked; it ends with its token");
        }
    }
}

/// The place where leases are given out: the path without its last segment.
fn place(request: &AgentRequest) -> &str {
    let path = request.rendered().path();
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    path.rsplit_once('/').map_or(path, |(place, _)| place)
}

/// Vault's id of the lease that it has given out.
fn lease_of(answer: &Answer) -> Option<Box<str>> {
    #[derive(Deserialize)]
    struct Leased {
        lease_id: Box<str>,
    }
    let leased: Leased = answer.json().ok()?;
    Some(leased.lease_id).filter(|id| !id.is_empty())
}
