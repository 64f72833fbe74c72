//! What a request is charged to: the agent's own limit and that of all agents
//! as soon as its caller is known, those of the role and of the operation once
//! they are. Between the two it waits for its turn.

use filters::identity::Identity;
use filters::quota::{Exceeded, Limit, charge_all, check_all};
use filters::refusal::Refusal;

use crate::limits::SharedLimits;
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
        let turn = turns.take(self.snapshot.limits.queue, &self.state.metrics.waiting).await;
        turn.ok_or(Refusal::TooManyAtOnce)
    }

    /// Charges these limits, or none of them.
    pub(super) async fn pay(&self, limits: [Option<&Limit>; 2]) -> Result<(), Refusal> {
        if limits.iter().all(Option::is_none) {
            return Ok(());
        }
        let (limits, now) = (limits.into_iter().flatten(), self.state.now());
        let charged = match &self.snapshot.shared_limits {
            Some(shared) => self.pay_together(shared, limits, now).await,
            None => charge_all(limits, now),
        };
        charged.map_err(Refusal::RateLimited)
    }

    /// Charges limits that gates share. What this gate has let through is
    /// counted here too: it stops a flood without asking, and is what is known
    /// when the others are not heard of.
    async fn pay_together<'a>(
        &self,
        shared: &SharedLimits,
        limits: impl Iterator<Item = &'a Limit> + Clone,
        now: u64,
    ) -> Result<(), Exceeded> {
        check_all(limits.clone(), now)?;
        match shared.charge(limits.clone(), &self.state.metrics).await {
            Some(Err(exceeded)) => Err(exceeded),
            Some(Ok(())) => {
                // It has passed: a limit that others used up meanwhile stops the next one.
                for limit in limits {
                    let _ = limit.cell.charge(&limit.rate, now);
                }
                Ok(())
            }
            None => charge_all(limits, now),
        }
    }
}
