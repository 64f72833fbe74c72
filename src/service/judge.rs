//! Judgements without a call: nothing is charged, and Vault is not asked.

use std::net::IpAddr;

use filters::catalog::CATALOG;
use filters::condition::Circumstances;
use filters::decide::{DecisionContext, decide};
use filters::event::Event;
use filters::grants::Engine;
use filters::identity::Identity;
use filters::operation::{Entry, Operation};
use filters::refusal::Refusal;
use filters::verdict::{About, Question, granted};

use crate::vault::epoch_seconds;

use super::{Caller, Context};

impl Context<'_> {
    /// Judges the operation as [`Context::call`] would.
    ///
    /// # Errors
    /// The refusal that a call would have.
    pub fn judge(&self, caller: &Caller<'_>, operation: Operation) -> Result<(), Refusal> {
        let keyring = self.state.vault.handles.keyring();
        decide(&caller.identity, operation, self.decision_context(caller, &keyring))?;
        Ok(())
    }

    /// True where the caller may now have an operation of this kind done on what has this name, by some arguments.
    #[must_use]
    pub fn may_use(&self, caller: &Caller<'_>, kind: &'static Entry, about: About<'_>) -> bool {
        let layout = &self.snapshot.vault.layout;
        let circumstances = Circumstances { client: caller.client, now: epoch_seconds() };
        let question = Question::new(kind, about, layout).map(Question::by_name);
        question.is_ok_and(|question| question.answer(&caller.identity, layout, circumstances).is_ok())
    }

    /// True where a role of the caller's gives it anything of this engine.
    #[must_use]
    pub fn may_use_any(&self, caller: &Caller<'_>, engine: Engine) -> bool {
        let roles = &caller.agent().roles;
        let given = |scope, named| roles.iter().any(|(role, _)| role.reaches(scope, engine, named));
        let mut kinds = CATALOG.iter().filter(|kind| kind.spec.engine == Some(engine));
        kinds.any(|kind| kind.spec.scope.is_some_and(|scope| given(scope, kind.spec.named)))
    }

    /// Lets the caller look at what operators look at, where a role of its says so.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`].
    pub fn check_observer(&self, caller: &Caller<'_>) -> Result<(), Refusal> {
        let circumstances = Circumstances { client: caller.client, now: epoch_seconds() };
        if caller.agent().observes(circumstances) { Ok(()) } else { Err(Refusal::Forbidden) }
    }

    /// True where `identity`, who listens from the address `client`, may be told of this event now.
    #[must_use]
    pub fn may_hear(&self, identity: &Identity, client: Option<IpAddr>, event: &Event) -> bool {
        let circumstances = Circumstances { client, now: epoch_seconds() };
        event.is_seen_by(identity, &self.snapshot.vault.layout, circumstances)
    }
}

/// Tells with a refusal what the agent's roles hold of that kind.
pub(super) fn ungranted(
    refusal: Refusal,
    identity: &Identity,
    kind: &'static Entry,
    context: DecisionContext<'_>,
) -> Refusal {
    if refusal != Refusal::Forbidden {
        return refusal;
    }
    let circumstances = Circumstances { client: context.client, now: context.now };
    granted(identity, kind.spec, circumstances).map_or(refusal, Refusal::Ungranted)
}
