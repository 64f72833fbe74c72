//! Requests at Vault's own paths. They go on as they came, and so do Vault's answers, but for leases.
//!
//! Which of Vault's paths give out leases only its answers tell, and a lease ends with the token that it was made with.
//! So what gives one out for the agent's own token is taken back at once, and asked for again with a token of the lease's
//! own; from then on that token is made first.

use std::sync::Arc;

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
use super::streaming::{Performed, Streaming};

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
            match lease_of(&answer) {
                Told::Lease(id) => self.take_back(asking, agent, place(&leased), &id).await,
                Told::NoLease => return read(asking.form, entry, &answer),
                Told::Other => return Ok(as_it_is(answer)),
            }
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
                Opened::Part(arrival) if arrival.media().is_some() => {
                    let suspensions = Arc::clone(&self.state.vault.suspensions);
                    let streaming = Streaming::as_it_is(arrival, agent.id.clone(), suspensions);
                    return Ok(Performed::Streaming(Box::new(streaming)));
                }
                Opened::Part(arrival) => return self.begin(asking, agent, entry, arrival),
                Opened::Whole(answer) => match lease_of(&answer) {
                    Told::Lease(id) => self.take_back(asking, agent, place(&leased), &id).await,
                    Told::NoLease => return read(asking.form, entry, &answer).map(Performed::Whole),
                    Told::Other => return Ok(Performed::Whole(as_it_is(answer))),
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

/// The kinds of answers at Vault's own paths.
enum Told {
    /// One that gives out the lease of this id.
    Lease(Box<str>),
    /// One without a lease, or a refusal.
    NoLease,
    /// One that has no form of Vault's, and so no lease: a certificate, or the metadata of OpenID Connect.
    Other,
}

fn lease_of(answer: &Answer) -> Told {
    #[derive(Deserialize)]
    struct Leased {
        lease_id: Option<Box<str>>,
    }
    if answer.media.is_some() && answer.is_success() {
        return Told::Other;
    }
    match answer.json() {
        Ok(Leased { lease_id: None }) => Told::Other,
        Ok(Leased { lease_id: Some(id) }) if !id.is_empty() => Told::Lease(id),
        Ok(_) | Err(_) => Told::NoLease,
    }
}

fn as_it_is(answer: Answer) -> Formed {
    Formed { body: answer.body.into(), media: answer.media, ..Formed::default() }
}
