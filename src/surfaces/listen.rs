//! Grants streams of events: `GET /mcp`, `GET /mcp/sse` as older bridges have it, `GET /events`, and
//! `subscriptions/listen`; and tells of recent events without one.

use filters::event::EventId;
use filters::handle::Purpose;
use filters::headers::{LAST_EVENT_ID, MCP_PROTOCOL_VERSION};
use filters::mcp::{self, Call, Failure, Feed, Filter, Revision, Shown, Wanted};
use filters::refusal::Refusal;
use http::HeaderMap;

use crate::events::{Bus, StreamAddress};
use crate::limits::Full;
use crate::service::{Caller, Context};

use super::events::{Events, may_listen};
use super::{Asked, Reply, Served, accepts_events, lists_events, sessions, text};

/// The parameter of a query that names a stream.
const STREAM: &str = "session";

/// A stream that a `GET` opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Of the revisions of MCP with a handshake.
    Mcp,
    /// As older bridges have it.
    Bridge,
    /// For those who speak no MCP.
    Plain,
}

/// Grants a stream; nothing is sent on it yet.
#[must_use]
pub fn serve(context: &Context<'_>, caller: &Caller<'_>, headers: &HeaderMap, stream: Stream) -> Served {
    let reply = match stream {
        Stream::Mcp => of_mcp(context, caller, headers),
        Stream::Bridge if accepts_events(headers) => of_bridge(context, caller, headers),
        Stream::Plain if accepts_events(headers) => grant(context, caller, headers, Feed::Plain).map(Reply::events),
        Stream::Bridge | Stream::Plain => Err(Refusal::NotAcceptable),
    };
    Served::decided(reply)
}

fn of_mcp(context: &Context<'_>, caller: &Caller<'_>, headers: &HeaderMap) -> Result<Reply, Refusal> {
    match mcp::has_streams(text(headers, MCP_PROTOCOL_VERSION)) {
        Ok(true) => {}
        Ok(false) => return Err(Refusal::MethodNotAllowed("POST".into())),
        Err(failure) => return Ok(failed(&failure)),
    }
    if !lists_events(headers) {
        return Err(Refusal::NotAcceptable);
    }
    let session = sessions::named(context, &caller.identity, headers)?;
    let wanted = Wanted { tools: true, resources: true, ..Wanted::default() };
    let mut events = grant(context, caller, headers, Feed::Handshaken(wanted))?;
    events.belongs_to(session);
    Ok(Reply::events(events))
}

/// The answer to a request without a message.
fn failed(failure: &Failure) -> Reply {
    let mut body = Vec::new();
    failure.write(None, Revision::V2025_11_25, &mut body);
    Reply::json(failure.status(Revision::V2025_11_25), body)
}

fn of_bridge(context: &Context<'_>, caller: &Caller<'_>, headers: &HeaderMap) -> Result<Reply, Refusal> {
    let mut events = grant(context, caller, headers, Feed::Bridge(None))?;
    // While nothing can be sealed, it is told of events alone.
    let handle = context.seal(caller.agent(), Purpose::Stream, &events.address()).ok();
    events.is_answered_at(handle.map(|handle| format!("/mcp/sse?{STREAM}={handle}")));
    Ok(Reply::events(events))
}

/// The stream that the query of a message names, on which it is to be answered.
///
/// # Errors
/// [`Refusal::NoSession`] for one that is not the caller's, or not open on this gate.
pub(super) fn named(asked: &Asked<'_>) -> Result<StreamAddress, Refusal> {
    let named = |part: &&str| part.split_once('=').is_some_and(|(name, _)| name == STREAM);
    let handle = asked.query.split('&').find(named).and_then(|part| part.split_once('='));
    let (_, handle) = handle.ok_or(Refusal::NoSession)?;
    let agent = asked.caller.agent();
    let address = asked.context.open(agent, Purpose::Stream, handle, Refusal::NoSession)?;
    if asked.context.state.events.has_stream(&agent.id, address) { Ok(address) } else { Err(Refusal::NoSession) }
}

fn grant(context: &Context<'_>, caller: &Caller<'_>, headers: &HeaderMap, feed: Feed) -> Result<Events, Refusal> {
    let identity = &caller.identity;
    may_listen(context, identity)?;
    let place = context.state.streams.take(identity.agent.id.clone(), 1, context.snapshot.limits.bounds.streams);
    let place = place.map_err(|full| match full {
        Full::Own => Refusal::TooManyStreams,
        Full::All => Refusal::Overloaded,
    })?;
    let last = text(headers, LAST_EVENT_ID).and_then(EventId::parse);
    let heard = Bus::subscribe(&context.state.events, &identity.agent.id, last, feed.is_curious());
    let shown = Shown::to(identity, context.snapshot.surfaces.tool_names);
    Ok(Events::new(caller, feed, shown, heard, place))
}

impl Asked<'_> {
    /// Grants a subscription.
    ///
    /// # Errors
    /// [`Refusal::NotAcceptable`] where the caller takes no events, and why it is granted none.
    pub(super) fn subscribe(&self, call: &Call<'_>, filter: &Filter) -> Result<Reply, Refusal> {
        if !lists_events(self.headers) {
            return Err(Refusal::NotAcceptable);
        }
        let may_read = |operation| self.context.judge(self.caller, operation).is_ok();
        let wanted = filter.grant(&self.caller.agent().id, may_read);
        let feed = Feed::Subscription(call.id.to_owned(), wanted);
        grant(self.context, self.caller, self.headers, feed).map(Reply::events)
    }
}

/// The events of late that the caller may see, the oldest first.
#[must_use]
pub fn recent(context: &Context<'_>, caller: &Caller<'_>) -> Served {
    let reply = may_listen(context, &caller.identity).map(|()| {
        let events = context.state.events.recent(&caller.agent().id);
        let seen = events.iter().filter(|told| context.may_hear(&caller.identity, caller.client, &told.event));
        let events: Vec<String> = seen.map(|told| mcp::plain(told.id, &told.event)).collect();
        Reply::json(200, format!("{{\"events\":[{}]}}", events.join(",")))
    });
    Served::decided(reply)
}
