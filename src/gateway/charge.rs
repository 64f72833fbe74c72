//! What a request is charged to: its agent's own limit, that of all agents, and
//! those of the role and of the operation, where it comes to one; once, and to
//! all of them or to none.
//!
//! Role and operation are known when the body is read. Before that a request
//! owes, and what would be refused then is refused at once; it pays when it is
//! decided, or at its end where nothing is decided.

use filters::identity::Identity;
use filters::quota::{Exceeded, Limit, charge_all, check_all};
use filters::refusal::Refusal;

use crate::limits::{SharedLimits, Turn};

use super::{Outcome, Request};

impl Request<'_> {
    /// Has the request owe a charge to its agent's limit and that of all.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`] where it could not be paid now.
    pub(super) fn owe(&self, identity: &Identity, outcome: &mut Outcome) -> Result<(), Refusal> {
        let limits = self.limits_of(identity).into_iter().flatten();
        check_all(limits, self.state.now()).map_err(Refusal::RateLimited)?;
        outcome.owes = true;
        Ok(())
    }

    /// Pays what is owed, where nothing was decided.
    pub(super) async fn settle(&self, identity: &Identity, outcome: &mut Outcome) -> Result<(), Refusal> {
        self.pay(identity, [None, None], outcome).await
    }

    /// Pays what is owed, and for what was decided.
    pub(super) async fn pay(
        &self,
        identity: &Identity,
        finer: [Option<&Limit>; 2],
        outcome: &mut Outcome,
    ) -> Result<(), Refusal> {
        let owed = if std::mem::take(&mut outcome.owes) { self.limits_of(identity) } else { [None, None] };
        let ([agent, all], [role, operation]) = (owed, finer);
        let limits = [agent, all, role, operation];
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

    fn limits_of<'a>(&'a self, identity: &'a Identity) -> [Option<&'a Limit>; 2] {
        [identity.agent.limit.as_ref(), self.snapshot.global.as_ref()]
    }

    /// Waits until it is the request's turn among those of its agent.
    pub(super) async fn turn(&self, identity: &Identity) -> Result<Turn, Refusal> {
        let turns = self.snapshot.turns.of(&identity.agent.id);
        let turn = turns.take(self.snapshot.limits.queue, &self.state.metrics.waiting).await;
        turn.ok_or(Refusal::TooManyAtOnce)
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
