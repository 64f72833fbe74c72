//! Grants streams of events (`GET /mcp`, and `GET /mcp/sse` as older bridges have it).

use filters::headers::MCP_PROTOCOL_VERSION;
use filters::identity::Identity;
use filters::mcp::{self, Shown};
use filters::refusal::Refusal;
use http::HeaderMap;

use crate::limits::Full;
use crate::service::{Caller, Context, Outcome};

use super::events::{Events, may_listen};
use super::mcp::failed;
use super::{Reply, Served, lists_events, text};

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
    Ok(Reply::events(Events::new(identity, shown, place)))
}
