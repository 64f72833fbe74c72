//! Streams of events, written as long as they last. A stream holds no turn and is no request under way.

use std::sync::Arc;
use std::time::Duration;

use filters::mcp;
use filters::refusal::Refusal;
use pingora_core::protocols::http::{ReusableHttpStream, ServerSession};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::events::Heard;
use crate::listener::Busy;
use crate::surfaces::events::{Attention, Events};

use super::request::{Request, Visit};
use super::write::Unwritten;

/// Longest time for a client to take what it is sent.
const PATIENCE: Duration = Duration::from_secs(2);

/// A stream whose head is written. It holds little: the work that granted it is over.
pub(super) struct OpenStream<'a> {
    pub(super) session: ServerSession,
    pub(super) events: Box<Events>,
    pub(super) request: Request<'a>,
    pub(super) visit: Visit,
    pub(super) _busy: Busy,
}

impl OpenStream<'_> {
    /// Sends what there is to be told, until the stream ends; gives the connection for the next
    /// request, and what has come of that.
    pub(super) async fn attend(mut self: Box<Self>, shutdown: &watch::Receiver<bool>) -> Option<ReusableHttpStream> {
        let written = self.tell(shutdown).await;
        if let Some(refusal) = self.events.ended_by() {
            self.visit.refuse(refusal);
        }
        self.request.end_stream(&mut self.visit, written)?;
        // To finish takes more room than all before.
        Box::pin(self.session.finish()).await.ok()?
    }

    /// The stream ends as a whole, unless its client has gone or takes nothing any more.
    async fn tell(&mut self, shutdown: &watch::Receiver<bool>) -> Result<(), Unwritten> {
        let Self { session, events, request, .. } = self;
        session.set_write_timeout(Some(PATIENCE));
        let mut shutdown = shutdown.clone();
        let mut attention = Attention::begin(&request.context);
        let mut keep_alive = interval(request.context.snapshot.surfaces.keep_alive);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        keep_alive.reset();
        session.write_response_body(events.opening().into(), false).await?;
        let mut heard = None;
        loop {
            // What was heard is told by the state of the moment in which it is told.
            match request.say(session, events, heard.take()) {
                Ok(text) if text.is_empty() => {}
                Ok(text) => session.write_response_body(text.into(), false).await?,
                Err(refusal) => {
                    events.end(refusal);
                    break;
                }
            }
            tokio::select! {
                next = attention.next(events) => heard = next,
                () = async { _ = shutdown.wait_for(|down| *down).await } => break,
                _ = keep_alive.tick() => session.write_response_body(mcp::KEEP_ALIVE.into(), false).await?,
                // There is nothing to read: it has gone.
                _ = session.read_body_or_idle(true) => return Err(Unwritten::Caller),
            }
        }
        session.write_response_body(events.closing().into(), false).await?;
        timeout(PATIENCE, session.finish_body()).await.map_err(|_| Unwritten::Caller)??;
        Ok(())
    }
}

impl Request<'_> {
    /// The text to be sent on the stream, by the snapshot of the moment.
    fn say(&mut self, session: &ServerSession, events: &mut Events, heard: Option<Heard>) -> Result<String, Refusal> {
        self.context.snapshot = Arc::clone(&self.context.state.snapshot());
        self.check_origin()?;
        events.say(heard, &self.context, &self.offer(session)?)
    }
}
