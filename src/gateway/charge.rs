//! What a request is charged to: the agent's own limit and that of all agents
//! as soon as its caller is known, those of the role and of the operation once
//! they are. Between the two it waits for its turn.

use filters::identity::Identity;
use filters::quota::{Limit, charge_all};
use filters::refusal::Refusal;

use crate::turns::Turn;

use super::Request;

impl Request<'_> {
    /// Charges the agent's own limit and that of all agents.
    pub(super) async fn charge(&self, identity: &Identity) -> Result<(), Refusal> {
        self.pay([identity.agent.limit.as_ref(), self.snapshot.global.as_ref()]).await
    }

    /// Waits until it is the request's turn among those of its agent.
    pub(super) async fn turn(&self, identity: &Identity) -> Result<Turn, Refusal> {
        let turns = self.snapshot.turns.of(&identity.agent.id);
        let turn = turns.take(self.snapshot.limits.turns, &self.state.metrics.waiting).await;
        turn.ok_or(Refusal::TooManyAtOnce)
    }

    /// Charges these limits, or none of them.
    pub(super) async fn pay(&self, limits: [Option<&Limit>; 2]) -> Result<(), Refusal> {
        if limits.iter().all(Option::is_none) {
            return Ok(());
        }
        charge_all(limits.into_iter().flatten(), self.state.now()).map_err(Refusal::RateLimited)
    }
}
