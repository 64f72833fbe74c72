//! Grants streams of events: `GET /mcp`, `GET /mcp/sse` as older bridges have it, `GET /events`, and
//! `subscriptions/listen`; and tells of recent events without one.

use filters::condition::Circumstances;
use filters::event::EventId;
use filters::headers::{LAST_EVENT_ID, MCP_PROTOCOL_VERSION};
use filters::mcp::{self, Call, Feed, Filter, Shown, Wanted};
use filters::refusal::Refusal;
use http::HeaderMap;

use crate::events::Bus;
use crate::limits::Full;
use crate::service::{Caller, Context, Outcome};
use crate::vault::epoch_seconds;

use super::events::{Events, may_listen};
use super::mcp::failed;
use super::{Asked, Reply, Served, accepts_events, lists_events, text};

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
        Stream::Bridge if accepts_events(headers) => grant(context, caller, headers, Feed::Bridge),
        Stream::Plain if accepts_events(headers) => grant(context, caller, headers, Feed::Plain),
        Stream::Bridge | Stream::Plain => Err(Refusal::NotAcceptable),
    };
    let outcome = match &reply {
        Ok(_) => Outcome::allowed(),
        Err(refusal) => Outcome::refused("", refusal),
    };
    Served { reply, outcomes: outcome.into() }
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
    grant(context, caller, headers, Feed::Handshaken(Wanted::default()))
}

fn grant(context: &Context<'_>, caller: &Caller<'_>, headers: &HeaderMap, feed: Feed) -> Result<Reply, Refusal> {
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
    Ok(Reply::events(Events::new(caller, feed, shown, heard, place)))
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
        grant(self.context, self.caller, self.headers, Feed::Subscription(call.id.to_owned(), wanted))
    }
}

/// The events of late that the caller may see, the oldest first.
#[must_use]
pub fn recent(context: &Context<'_>, caller: &Caller<'_>) -> Served {
    let reply = may_listen(context, &caller.identity).map(|()| {
        let circumstances = Circumstances { client: caller.client, now: epoch_seconds() };
        let layout = &context.snapshot.vault.layout;
        let events = context.state.events.recent(&caller.agent().id);
        let seen = events.iter().filter(|told| told.event.is_seen_by(&caller.identity, layout, circumstances));
        let events: Vec<String> = seen.map(|told| mcp::plain(told.id, &told.event)).collect();
        Reply::json(200, format!("{{\"events\":[{}]}}", events.join(",")))
    });
    let outcome = match &reply {
        Ok(_) => Outcome::allowed(),
        Err(refusal) => Outcome::refused("", refusal),
    };
    Served { reply, outcomes: outcome.into() }
}
