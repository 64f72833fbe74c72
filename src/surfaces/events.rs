//! Streams of events (`GET /mcp`, and `GET /mcp/sse` as older bridges have it):
//! opened for whoever is let in, and open as long as they would be again.

use std::sync::Arc;

use filters::grants::Agent;
use filters::headers::MCP_PROTOCOL_VERSION;
use filters::identity::Identity;
use filters::mcp::{self, Shown};
use filters::refusal::Refusal;
use http::HeaderMap;

use crate::limits::{Full, Share};
use crate::service::{Caller, Context, Offer, Outcome};

use super::mcp::failed;
use super::{Reply, Served, lists_events, text};

/// A stream that was granted.
pub struct Events {
    agent: Arc<Agent>,
    /// The tools that its client was last shown.
    shown: Shown,
    /// Why it would not be granted any more.
    end: Option<Refusal>,
    _place: Share,
}

/// Grants a stream; nothing is sent on it yet.
#[must_use]
pub fn serve(context: &Context<'_>, caller: &Caller<'_>, headers: &HeaderMap) -> Served {
    let reply = grant(context, &caller.identity, headers);
    let outcome = match &reply {
        Ok(_) => Outcome::allowed(),
        Err(refusal) => Outcome::refused("", refusal),
    };
    Served { reply, outcomes: outcome.into() }
}

fn grant(context: &Context<'_>, identity: &Identity, headers: &HeaderMap) -> Result<Reply, Refusal> {
    match mcp::has_streams(text(headers, MCP_PROTOCOL_VERSION)) {
        Ok(true) => {}
        Ok(false) => return Err(Refusal::MethodNotAllowed("POST".into())),
        Err(failure) => return Ok(failed(&failure)),
    }
    if !lists_events(headers) {
        return Err(Refusal::NotAcceptable);
    }
    may_listen(context, identity)?;
    let place = context.state.streams.take(identity.agent.id.clone(), 1, context.snapshot.limits.bounds.streams);
    let place = place.map_err(|full| match full {
        Full::Own => Refusal::TooManyStreams,
        Full::All => Refusal::Overloaded,
    })?;
    let shown = Shown::to(identity, context.snapshot.surfaces.tool_names);
    Ok(Reply::events(Events { agent: Arc::clone(&identity.agent), shown, end: None, _place: place }))
}

/// An agent without a role has nothing to be told of.
fn may_listen(context: &Context<'_>, identity: &Identity) -> Result<(), Refusal> {
    context.check_suspension(&identity.agent.id)?;
    if identity.agent.roles.is_empty() { Err(Refusal::Forbidden) } else { Ok(()) }
}

impl Events {
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
