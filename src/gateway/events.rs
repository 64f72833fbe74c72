//! Streams of events (`GET /mcp`, and `GET /mcp/sse` as older bridges have it):
//! opened for whoever is let in, and open as long as they would be again.
//!
//! A stream holds no turn and is no request under way. Whose it is, is judged
//! against the state of the moment when a snapshot is published, when others
//! are suspended, and every [`LOOK`] for what time alone ends.

use std::sync::Arc;
use std::time::Duration;

use filters::grants::Agent;
use filters::headers::MCP_PROTOCOL_VERSION;
use filters::identity::Identity;
use filters::mcp::{self, Shown};
use filters::refusal::Refusal;
use pingora_core::protocols::http::ServerSession;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use crate::limits::{Full, Share};
use crate::service::{Caller, Outcome};

use super::reply::{Reply, Unwritten};
use super::{Request, Served, head, mcp::failed};

/// Longest time in which what has ended by time alone goes on.
const LOOK: Duration = Duration::from_secs(1);
/// Longest time for a client to take what it is sent.
const PATIENCE: Duration = Duration::from_secs(2);

/// A stream that was granted.
pub(super) struct Events {
    agent: Arc<Agent>,
    /// What its client may know of the tools.
    shown: Shown,
    /// Why it would not be granted any more.
    end: Option<Refusal>,
    _place: Share,
}

impl Events {
    /// Why it has ended, where it would not be granted any more.
    pub(super) const fn ended_by(&self) -> Option<&Refusal> {
        self.end.as_ref()
    }
}

impl Request<'_> {
    /// Grants a stream; nothing is sent on it yet.
    pub(super) fn listen(&self, session: &mut ServerSession, caller: &Caller<'_>) -> Served {
        let reply = self.granted(session, &caller.identity);
        let outcome = match &reply {
            Ok(_) => Outcome::allowed(),
            Err(refusal) => Outcome::refused("", refusal),
        };
        Served { reply, outcomes: outcome.into() }
    }

    fn granted(&self, session: &mut ServerSession, identity: &Identity) -> Result<Reply, Refusal> {
        let headers = &session.req_header().headers;
        match mcp::has_streams(head::text(headers, MCP_PROTOCOL_VERSION)) {
            Ok(true) => {}
            Ok(false) => return Err(Refusal::MethodNotAllowed("POST".into())),
            Err(failure) => return Ok(failed(&failure)),
        }
        if !head::lists_events(headers) {
            return Err(Refusal::NotAcceptable);
        }
        self.may_listen(identity)?;
        let place = self.context.state.streams.take(identity.agent.id.clone(), 1, self.context.snapshot.limits.streams);
        let place = place.map_err(|full| match full {
            Full::Own => Refusal::TooManyStreams,
            Full::All => Refusal::Overloaded,
        })?;
        // Its end is the connection's: nothing else was read meanwhile.
        session.set_keepalive(None);
        session.set_pipelining_enabled(false);
        let shown = Shown::to(identity, self.context.snapshot.tool_names);
        Ok(Reply::events(Events { agent: Arc::clone(&identity.agent), shown, end: None, _place: place }))
    }

    /// An agent without a role has nothing to be told of.
    fn may_listen(&self, identity: &Identity) -> Result<(), Refusal> {
        self.context.check_suspension(&identity.agent.id)?;
        if identity.agent.roles.is_empty() {
            return Err(Refusal::Forbidden);
        }
        Ok(())
    }

    /// Sends what there is to be told, until the stream ends: as a whole,
    /// unless its client has gone or takes nothing any more.
    pub(super) async fn attend(
        &mut self,
        session: &mut ServerSession,
        events: &mut Events,
        shutdown: &watch::Receiver<bool>,
    ) -> Result<(), Unwritten> {
        session.set_write_timeout(Some(PATIENCE));
        let mut shutdown = shutdown.clone();
        let mut snapshots = self.context.state.publications();
        let mut suspensions = self.context.state.vault.suspensions.changes();
        let (mut look, mut keep_alive) = (every(LOOK), every(self.context.snapshot.keep_alive));
        loop {
            match self.judge_again(session, events) {
                Ok(false) => {}
                Ok(true) => session.write_response_body(mcp::TOOLS_CHANGED.into(), false).await?,
                Err(refusal) => {
                    events.end = Some(refusal);
                    break;
                }
            }
            tokio::select! {
                () = async { _ = shutdown.wait_for(|down| *down).await } => break,
                _ = snapshots.changed() => {}
                _ = suspensions.changed() => {}
                _ = look.tick() => {}
                _ = keep_alive.tick() => session.write_response_body(mcp::KEEP_ALIVE.into(), false).await?,
                // There is nothing to read: it has gone.
                _ = session.read_body_or_idle(true) => return Err(Unwritten::Caller),
            }
        }
        timeout(PATIENCE, session.finish_body()).await.map_err(|_| Unwritten::Caller)??;
        Ok(())
    }

    /// Whether the client is shown other tools now.
    ///
    /// # Errors
    /// Why the stream would not be granted any more.
    fn judge_again(&mut self, session: &ServerSession, events: &mut Events) -> Result<bool, Refusal> {
        let before = std::mem::replace(&mut self.context.snapshot, Arc::clone(&self.context.state.snapshot()));
        self.check_origin()?;
        let identity = self.context.recognise(&self.offer(session)?)?;
        let same = |agent: &Agent| (&agent.id, agent.generation) == (&events.agent.id, events.agent.generation);
        if !same(&identity.agent) {
            return Err(Refusal::Unauthenticated);
        }
        self.may_listen(&identity)?;
        if Arc::ptr_eq(&before, &self.context.snapshot) {
            return Ok(false);
        }
        let shown = Shown::to(&identity, self.context.snapshot.tool_names);
        let changed = shown != events.shown;
        events.shown = shown;
        Ok(changed)
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
