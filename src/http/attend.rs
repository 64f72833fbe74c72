//! Streams of events, written as long as they last. A stream holds no turn and is no request under way.

use std::sync::Arc;

use filters::credential::credentials;
use filters::mcp;
use filters::refusal::Refusal;
use http::HeaderMap;
use pingora_core::protocols::http::ServerSession;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::events::Heard;
use crate::listener::Busy;
use crate::surfaces::events::{Attention, Events};

use super::request::{Request, Visit};
use super::wire::Wire;
use super::write::Unwritten;

/// A stream whose head is written. It holds little: the work that granted it is over.
pub(super) struct OpenStream<'a> {
    wire: Option<Wire>,
    /// The headers by which its caller is judged again.
    credentials: HeaderMap,
    events: Box<Events>,
    request: Request<'a>,
    visit: Visit,
    _busy: Busy,
}

impl<'a> OpenStream<'a> {
    /// The stream that the request of this session becomes.
    pub(super) fn open(
        session: ServerSession,
        events: Box<Events>,
        request: Request<'a>,
        visit: Visit,
        busy: Busy,
    ) -> Self {
        let credentials = credentials(&session.req_header().headers, request.proxy_headers());
        Self { wire: Wire::of(session), credentials, events, request, visit, _busy: busy }
    }

    /// Sends what there is to be told, until the stream ends.
    pub(super) async fn attend(mut self: Box<Self>, shutdown: &watch::Receiver<bool>) {
        let written = self.tell(shutdown).await;
        if let Some(refusal) = self.events.ended_by() {
            self.visit.refuse(refusal);
        }
        self.request.end_stream(&mut self.visit, written);
    }

    /// The stream ends as a whole, unless its client has gone or takes nothing any more.
    async fn tell(&mut self, shutdown: &watch::Receiver<bool>) -> Result<(), Unwritten> {
        let Self { wire, credentials, events, request, .. } = self;
        let wire = wire.as_mut().ok_or(Unwritten::Caller)?;
        let mut shutdown = shutdown.clone();
        let mut attention = Attention::begin(&request.context);
        let mut keep_alive = interval(request.context.snapshot.surfaces.keep_alive);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        keep_alive.reset();
        wire.send(&events.opening()).await?;
        let mut heard = None;
        loop {
            // What was heard is told by the state of the moment in which it is told.
            match request.say(credentials, events, heard.take()) {
                Ok(text) if text.is_empty() => {}
                Ok(text) => wire.send(&text).await?,
                Err(refusal) => {
                    events.end(refusal);
                    break;
                }
            }
            tokio::select! {
                next = attention.next(events) => heard = next,
                () = async { _ = shutdown.wait_for(|down| *down).await } => break,
                _ = keep_alive.tick() => wire.send(mcp::KEEP_ALIVE).await?,
                () = wire.gone() => return Err(Unwritten::Caller),
            }
        }
        wire.send(&events.closing()).await?;
        wire.finish().await
    }
}

impl Request<'_> {
    /// The text to be sent on the stream, by the snapshot of the moment. The proof of having a token's key
    /// was of the request that opened it.
    fn say(&mut self, credentials: &HeaderMap, events: &mut Events, heard: Option<Heard>) -> Result<String, Refusal> {
        self.context.snapshot = Arc::clone(&self.context.state.snapshot());
        self.check_origin()?;
        events.say(heard, &self.context, &self.offer(credentials, || None)?)
    }
}
