//! Open streams of events, open as long as they would be granted again.

use std::sync::Arc;

use filters::grants::Agent;
use filters::identity::Identity;
use filters::mcp::Shown;
use filters::refusal::Refusal;

use crate::limits::Share;
use crate::service::{Context, Offer};

/// A stream that was granted.
pub struct Events {
    agent: Arc<Agent>,
    /// The tools that its client was last shown.
    shown: Shown,
    /// Why it would not be granted any more.
    end: Option<Refusal>,
    _place: Share,
}

/// An agent without a role has nothing to be told of.
pub(super) fn may_listen(context: &Context<'_>, identity: &Identity) -> Result<(), Refusal> {
    context.check_suspension(&identity.agent.id)?;
    if identity.agent.roles.is_empty() { Err(Refusal::Forbidden) } else { Ok(()) }
}

impl Events {
    /// A stream of this identity's, which was shown these tools.
    pub(super) fn new(identity: &Identity, shown: Shown, place: Share) -> Self {
        Self { agent: Arc::clone(&identity.agent), shown, end: None, _place: place }
    }

    /// Tells if the client is shown other tools by this context than before. `offer` is what the
    /// stream was granted by.
    ///
    /// # Errors
    /// Why the stream would not be granted any more.
    pub fn judge(&mut self, context: &Context<'_>, offer: &Offer<'_>) -> Result<bool, Refusal> {
        let identity = context.recognise(offer)?;
        let same = |agent: &Agent| (&agent.id, agent.generation) == (&self.agent.id, self.agent.generation);
        if !same(&identity.agent) {
            return Err(Refusal::Unauthenticated);
        }
        may_listen(context, &identity)?;
        let shown = Shown::to(&identity, context.snapshot.surfaces.tool_names);
        let changed = shown != self.shown;
        self.shown = shown;
        Ok(changed)
    }

    /// Ends it for this reason.
    pub fn end(&mut self, refusal: Refusal) {
        self.end = Some(refusal);
    }

    /// Why it has ended, where it would not be granted any more.
    #[must_use]
    pub const fn ended_by(&self) -> Option<&Refusal> {
        self.end.as_ref()
    }
}
