//! Charges: a request counts once against its agent's own limit, against that of all agents, and against
//! those of the role and of the operation where it comes to one; against all of them or against none.
//!
//! Role and operation are known when the body is read. Before that a request
//! owes, and what would be refused then is refused at once; it pays when it is
//! decided, or at its end where nothing is decided.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use filters::grants::Agent;
use filters::quota::{Exceeded, Limit, charge_all, check_all};
use filters::refusal::Refusal;

use crate::limits::SharedLimits;

use super::Context;

/// A caller's debt to its agent's limit and that of all. When it is dropped unpaid, this gate charges
/// it by itself.
pub(super) struct Debt<'a> {
    pub(super) context: &'a Context<'a>,
    agent: Arc<Agent>,
    owes: AtomicBool,
}

impl<'a> Debt<'a> {
    /// The debt of a request that is let through.
    pub(super) fn new(context: &'a Context<'a>, agent: &Arc<Agent>) -> Self {
        Self { context, agent: Arc::clone(agent), owes: AtomicBool::new(true) }
    }

    /// Owes once more, for a further message of a batch.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`] where that could not be paid now.
    pub(super) fn renew(&self) -> Result<(), Refusal> {
        self.context.check_limits(&self.agent)?;
        self.owes.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// True where nothing is owed.
    pub(super) fn is_paid(&self) -> bool {
        !self.owes.load(Ordering::Relaxed)
    }

    /// Owes nothing more, since nothing was done for it.
    pub(super) fn forgive(&self) {
        self.owes.store(false, Ordering::Relaxed);
    }

    /// Pays what is owed, where nothing was decided.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`].
    pub(super) async fn settle(&self) -> Result<(), Refusal> {
        self.pay([None, None]).await
    }

    /// Pays what is owed, and for what was decided.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`].
    pub(super) async fn pay(&self, finer: [Option<&Limit>; 2]) -> Result<(), Refusal> {
        let owes = self.owes.swap(false, Ordering::Relaxed);
        let owed = if owes { self.context.limits_of(&self.agent) } else { [None, None] };
        let ([agent, all], [role, operation]) = (owed, finer);
        let limits = [agent, all, role, operation];
        if limits.iter().all(Option::is_none) {
            return Ok(());
        }
        let (limits, now) = (limits.into_iter().flatten(), self.context.state.now());
        let charged = match &self.context.snapshot.limits.shared {
            Some(shared) => self.context.pay_together(shared, limits, now).await,
            None => charge_all(limits, now),
        };
        charged.map_err(|exceeded| self.context.limited(exceeded))
    }
}

impl Drop for Debt<'_> {
    fn drop(&mut self) {
        if *self.owes.get_mut() {
            let limits = self.context.limits_of(&self.agent).into_iter().flatten();
            let _ = charge_all(limits, self.context.state.now());
        }
    }
}

impl Context<'_> {
    /// Checks that a request of the agent's could be paid for now.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`]; nothing is charged.
    pub(super) fn check_limits(&self, agent: &Agent) -> Result<(), Refusal> {
        let limits = self.limits_of(agent).into_iter().flatten();
        check_all(limits, self.state.now()).map_err(|exceeded| self.limited(exceeded))
    }

    /// The refusal of a request that a limit does not let through, which is counted.
    fn limited(&self, exceeded: Exceeded) -> Refusal {
        self.state.metrics.limits.refused(exceeded.kind);
        Refusal::RateLimited(exceeded)
    }

    fn limits_of<'s>(&'s self, agent: &'s Agent) -> [Option<&'s Limit>; 2] {
        [agent.limit.as_ref(), self.snapshot.limits.global.as_ref()]
    }

    /// Charges limits that gates share. What this gate has let through is
    /// counted here too: it stops a flood without asking, and is what is known
    /// when the others are not heard of.
    async fn pay_together<'l>(
        &self,
        shared: &SharedLimits,
        limits: impl Iterator<Item = &'l Limit> + Clone,
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
