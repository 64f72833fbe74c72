//! Streams of events, written as long as they last.
//!
//! A stream holds no turn and is no request under way. Whose it is, is judged
//! against the state of the moment when a snapshot is published, when others
//! are suspended, and every [`LOOK`] for what time alone ends.

use std::sync::Arc;
use std::time::Duration;

use filters::mcp;
use filters::refusal::Refusal;
use pingora_core::protocols::http::{ReusableHttpStream, ServerSession};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use crate::surfaces::events::Events;

use super::Visited;
use super::request::Request;
use super::write::Unwritten;

/// Longest time in which what has ended by time alone goes on.
const LOOK: Duration = Duration::from_secs(1);
/// Longest time for a client to take what it is sent.
const PATIENCE: Duration = Duration::from_secs(2);

/// A stream whose head is written. It holds little: the work that granted it is over.
pub(super) struct OpenStream<'a> {
    pub(super) session: ServerSession,
    pub(super) events: Box<Events>,
    pub(super) visited: Visited<'a>,
}

impl OpenStream<'_> {
    /// Sends what there is to be told, until the stream ends; gives what [`Visited::end`] gives.
    pub(super) async fn attend(mut self: Box<Self>, shutdown: &watch::Receiver<bool>) -> Option<ReusableHttpStream> {
        let written = self.tell(shutdown).await;
        if let Some(refusal) = self.events.ended_by() {
            self.visited.visit.refuse(refusal);
        }
        self.visited.end(self.session, written).await
    }

    /// The stream ends as a whole, unless its client has gone or takes nothing any more.
    async fn tell(&mut self, shutdown: &watch::Receiver<bool>) -> Result<(), Unwritten> {
        let Self { session, events, visited: Visited { request, .. } } = self;
        session.set_write_timeout(Some(PATIENCE));
        let mut shutdown = shutdown.clone();
        let mut snapshots = request.context.state.publications();
        let mut suspensions = request.context.state.vault.suspensions.changes();
        let (mut look, mut keep_alive) = (every(LOOK), every(request.context.snapshot.surfaces.keep_alive));
        keep_alive.reset();
        session.write_response_body(events.opening().into(), false).await?;
        let mut heard = None;
        loop {
            // What was heard is told by the state of the moment in which it is told.
            let judged = request.judge_again(session, events);
            let told = heard.take().map_or(Ok(String::new()), |heard| events.told(&heard, &request.context));
            match judged.and_then(|changed| Ok(changed + &told?)) {
                Ok(text) if text.is_empty() => {}
                Ok(text) => session.write_response_body(text.into(), false).await?,
                Err(refusal) => {
                    events.end(refusal);
                    break;
                }
            }
            tokio::select! {
                next = events.next() => heard = Some(next),
                () = async { _ = shutdown.wait_for(|down| *down).await } => break,
                _ = snapshots.changed() => {}
                _ = suspensions.changed() => {}
                _ = look.tick() => {}
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
    /// Judges the stream by the snapshot of the moment, and gives what its client is to be told of that.
    fn judge_again(&mut self, session: &ServerSession, events: &mut Events) -> Result<String, Refusal> {
        self.context.snapshot = Arc::clone(&self.context.state.snapshot());
        self.check_origin()?;
        events.judge(&self.context, &self.offer(session)?)
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
