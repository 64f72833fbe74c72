//! Calls that are confirmed first: the question is sealed, and its answer is used once.

use filters::confirmation::{Confirmation, ConfirmationId, LASTS};
use filters::handle::{Keyring, Purpose};
use filters::operation::Entry;
use filters::refusal::Refusal;

use crate::limits::Used;
use crate::vault::epoch_seconds;

use super::{Caller, Context};

/// Seconds for which gates tell each other of a confirmation: a minute more than it holds, by which their clocks may
/// differ.
const KEPT: u64 = LASTS + 60;

/// The confirmation of a call, as far as the call brings one.
#[derive(Clone, Copy, Debug)]
pub struct Confirm<'a> {
    /// The arguments of the call.
    pub arguments: &'a [u8],
    /// The state that went out with the question, and whether the answer allows the call; `None` without an answer.
    pub answer: Option<(&'a str, bool)>,
}

impl Context<'_> {
    /// The state by which `caller` is asked to confirm a call, and makes it again.
    ///
    /// # Errors
    /// The refusal where there is no key to seal it with.
    pub fn to_confirm(&self, caller: &Caller<'_>, entry: &Entry, arguments: &[u8]) -> Result<String, Refusal> {
        let confirmation = Confirmation::of(entry, arguments, epoch_seconds());
        self.seal(caller.agent(), Purpose::Confirmation, &confirmation)
    }

    /// The confirmation that the call brings; it is not used up yet.
    pub(super) fn confirmed(
        &self,
        caller: &Caller<'_>,
        entry: &Entry,
        confirm: Confirm<'_>,
        keyring: &Keyring,
    ) -> Result<ConfirmationId, Refusal> {
        let (state, allows) = confirm.answer.ok_or(Refusal::ConfirmationRequired)?;
        if keyring.is_empty() {
            return Err(self.state.vault.handles.without());
        }
        let call = (entry, confirm.arguments);
        let opened = Confirmation::open(state, (keyring, caller.agent()), call, epoch_seconds());
        let id = opened.inspect_err(|refusal| self.seek_key(refusal))?;
        if allows { Ok(id) } else { Err(Refusal::NotConfirmed) }
    }

    /// Uses it up, at this gate and, where limits are shared, at all.
    pub(super) async fn use_up_confirmation(&self, id: ConfirmationId) -> Result<(), Refusal> {
        let now = i64::try_from(epoch_seconds()).unwrap_or(i64::MAX);
        match self.state.confirmations.use_up(id, now) {
            Err(Used::Before) => return Err(Refusal::NotConfirmed),
            Err(Used::TooMany) => return Err(Refusal::Overloaded),
            Ok(()) => {}
        }
        let Some(shared) = &self.snapshot.limits.shared else { return Ok(()) };
        match shared.use_up(("confirmation", &id.to_hex()), KEPT, &self.state.metrics).await {
            Some(false) => Err(Refusal::NotConfirmed),
            Some(true) | None => Ok(()),
        }
    }
}
