//! From an operation to its answer: decide, ask Vault with the agent's own
//! token, project.

use std::time::Instant;

use filters::decide::{Effect, decide};
use filters::identity::Identity;
use filters::operation::{Absent, Entry, Operation};
use filters::refusal::Refusal;
use filters::vault::{Trouble, VaultRequest, trouble};

use crate::exchange::{Answer, Envelope, Lane};

use super::{Outcome, Request};

impl Request<'_> {
    /// The answer, a JSON object.
    pub(super) async fn perform(
        &self,
        identity: &Identity,
        operation: Operation,
        outcome: &mut Outcome,
    ) -> Result<Vec<u8>, Refusal> {
        let kind = operation.kind;
        outcome.operation = kind.facts.name;
        let result = self.permitted(identity, operation, outcome).await;
        match &result {
            Ok(_) => self.state.metrics.served(kind),
            Err(refusal) => self.state.metrics.refused(kind, refusal.public().code),
        }
        result
    }

    async fn permitted(
        &self,
        identity: &Identity,
        operation: Operation,
        outcome: &mut Outcome,
    ) -> Result<Vec<u8>, Refusal> {
        let permit = decide(identity, operation)?;
        permit.charge(self.state.now())?;
        outcome.decision = "allow";
        outcome.role = permit.role().cloned();
        let kind = permit.kind();
        match permit.into_effect(&self.snapshot.layout)? {
            Effect::Own(answer) => Ok(answer),
            Effect::Vault(request) => {
                let started = Instant::now();
                let answer = self.ask_vault(identity, &request).await;
                let took = started.elapsed();
                outcome.vault += took;
                self.state.metrics.upstream.observe(took.as_secs_f64());
                read(kind, &answer?)
            }
        }
    }

    /// Asks with the agent's token, and once more with another where Vault no
    /// longer knows the first. A refused token has done nothing, so that any
    /// request may be asked again.
    async fn ask_vault(&self, identity: &Identity, request: &VaultRequest) -> Result<Answer, Refusal> {
        if !self.state.vault.monitor.is_open() {
            return Err(Refusal::UpstreamUnavailable);
        }
        let agent = &identity.agent.id;
        let profile = &self.snapshot.child_tokens;
        let mut renewed = false;
        loop {
            let child = self.state.vault.children.token_for(agent, profile).await?;
            let envelope = Envelope {
                lane: Lane::Requests,
                token: Some(&child.token),
                correlation: Some(&self.head.correlation_id),
                limit: self.snapshot.limits.answer,
            };
            let answer = self.state.vault.upstream.ask(request, envelope).await.inspect_err(|_| {
                self.state.metrics.upstream_broken.inc();
            })?;
            let dead = answer.status == 403 && trouble(answer.status, &answer.body) == Trouble::InvalidToken;
            if !dead || renewed {
                return Ok(answer);
            }
            renewed = true;
            self.state.metrics.child_tokens.replaced.inc();
            self.state.vault.children.forget(agent, profile, &child).await;
        }
    }
}

/// What Vault's answer means for the operation.
fn read(kind: &'static Entry, answer: &Answer) -> Result<Vec<u8>, Refusal> {
    match answer.status {
        200..=299 => {
            let mut out = Vec::with_capacity(answer.body.len());
            kind.project(&answer.body, &mut out)?;
            Ok(out)
        }
        404 => match kind.facts.absent {
            Absent::NotFound => Err(Refusal::NotFound),
            Absent::Empty(answer) => Ok(answer.into()),
        },
        status => match trouble(status, &answer.body) {
            Trouble::Refused(refusal) => Err(refusal),
            // A token that is dead twice is the gate's trouble, not the caller's.
            Trouble::InvalidToken => Err(Refusal::UpstreamUnavailable),
        },
    }
}
