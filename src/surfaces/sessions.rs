//! Sessions of MCP: begun by the handshake, named by their sealed id, ended by `DELETE`.

use filters::handle::Purpose;
use filters::headers::MCP_SESSION_ID;
use filters::identity::Identity;
use filters::mcp::{Call, Failure, Level, Session, Watched};
use filters::refusal::Refusal;
use http::HeaderMap;

use crate::events::{SessionChange, TooMany};
use crate::service::{Caller, Context};

use super::{Asked, Reply, Served};

/// The session that a request names, where it names one.
///
/// # Errors
/// [`Refusal::NoSession`] for one that has ended, or is not the caller's.
pub(super) fn named(
    context: &Context<'_>,
    identity: &Identity,
    headers: &HeaderMap,
) -> Result<Option<Session>, Refusal> {
    let mut ids = headers.get_all(MCP_SESSION_ID).iter();
    let Some(id) = ids.next() else { return Ok(None) };
    let id = id.to_str().ok().filter(|_| ids.next().is_none()).ok_or(Refusal::NoSession)?;
    open(context, identity, id).map(Some)
}

/// The session of that id.
///
/// # Errors
/// As [`named`].
pub(super) fn open(context: &Context<'_>, identity: &Identity, id: &str) -> Result<Session, Refusal> {
    let session: Session = context.open(&identity.agent, Purpose::Session, id, Refusal::NoSession)?;
    let lasts = session.lasts(context.now(), identity.proof) && !context.state.events.has_ended(session.number());
    if lasts { Ok(session) } else { Err(Refusal::NoSession) }
}

/// Ends the session that is named.
#[must_use]
pub fn end(context: &Context<'_>, caller: &Caller<'_>, headers: &HeaderMap) -> Served {
    let reply = match named(context, &caller.identity, headers) {
        Ok(Some(session)) => {
            // There is always room for an end.
            let _ = context.state.events.change_session(SessionChange::End { number: session.number() });
            Ok(Reply::empty(204))
        }
        Ok(None) => Err(Refusal::Malformed("The header Mcp-Session-Id must name the session that is to end.")),
        Err(refusal) => Err(refusal),
    };
    Served::decided(reply)
}

impl Asked<'_> {
    /// The id of a new session; `None` while nothing can be sealed. The first revision knows of none, but
    /// there are clients that speak it over the transport of the next one, which does.
    pub(super) fn begin_session(&self) -> Option<String> {
        let identity = &self.caller.identity;
        let session = Session::begin(self.context.state.events.session_number(), self.context.now(), identity.proof);
        self.context.seal(&identity.agent, Purpose::Session, &session).ok()
    }

    /// Has the session told of its calls, from this severity on; without one there is nobody to tell.
    pub(super) fn set_level(&self, session: Option<u64>, level: Level) {
        if let Some(number) = session {
            // There is always room for a level.
            let _ = self.context.state.events.change_session(SessionChange::Level { number, level });
        }
    }

    /// Has the session told of a resource, which its agent must be able to read now; or, unless `watch`,
    /// told of it no longer.
    ///
    /// # Errors
    /// The failure of the request.
    pub(super) fn watch(&self, call: &Call<'_>, uri: &str, watch: bool) -> Result<(), Failure> {
        let refused = |refusal| Failure::of(refusal, call);
        let agent = self.caller.agent();
        let session = named(self.context, &self.caller.identity, self.headers).map_err(refused)?;
        let number = session.ok_or_else(|| refused(Refusal::NoSession))?.number();
        if !watch {
            let _ = self.context.state.events.change_session(SessionChange::Unwatch { number, uri: uri.into() });
            return Ok(());
        }
        let (_, operation) = Watched::parse(uri, &agent.id).map_err(refused)?;
        self.context.judge(self.caller, operation).map_err(refused)?;
        let change = SessionChange::Watch { number, agent: agent.id.clone(), uri: uri.into() };
        let changed = self.context.state.events.change_session(change);
        changed.map_err(|TooMany| Failure::Parameters("The session is told of as many resources as it may be"))
    }
}
