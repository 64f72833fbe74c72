//! The way of a request: head, identity, limit, body, operation, decision,
//! Vault, answer. One way, no back and forth.

mod attend;
mod body;
mod connection;
mod dismiss;
mod dispatch;
mod end;
mod endpoint;
mod handover;
mod head;
mod origin;
mod own;
mod request;
pub mod routes;
mod side;
mod wire;
mod write;

pub use endpoint::Endpoint;
pub(crate) use head::request_id;

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use filters::refusal::Refusal;
use http::header::AUTHORIZATION;
use pingora_core::protocols::http::{ReusableHttpStream, ServerSession};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::listener::Connection;
use crate::service::{Context, Held};
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::surfaces::{Reply, metadata, vault_api};
use crate::telemetry::{InProgress, Inbound, Recording, Step};
use crate::vault::Parcel;

use attend::OpenStream;
use head::Head;
use request::{Request, Visit, shielded};
use side::Side;
use write::write_unread;

/// A request whose head is read, answered as far as there is an answer.
enum Answered<'a> {
    /// The whole answer is written. Holds the connection, with what has come of the next request, where
    /// there may be one.
    Whole(Option<ReusableHttpStream>),
    /// Events are still to come.
    Stream(Box<OpenStream<'a>>),
}

/// The application behind one listener.
pub struct Gateway {
    state: Arc<State>,
    side: Side,
}

impl Gateway {
    const fn new(state: Arc<State>, side: Side) -> Self {
        Self { state, side }
    }

    /// Reads a head, the first of its connection where that is `fresh`; `None` where the connection
    /// is to be closed.
    async fn read_head(&self, session: &mut ServerSession, fresh: bool) -> Option<()> {
        let limits = self.state.snapshot().limits.bounds.clone();
        let time = if fresh { limits.head_timeout } else { limits.idle + limits.head_timeout };
        // It bounds each silence; until the first head has arrived, that of the whole head is bound enough.
        let silence = if fresh { limits.head_timeout.as_secs() + 1 } else { limits.idle.as_secs() };
        session.set_keepalive(Some(silence));
        session.set_write_timeout(Some(limits.body_timeout));
        let refusal = match timeout(time, session.read_request()).await {
            Ok(Ok(true)) => return Some(()),
            Ok(Ok(false)) => return None,
            Ok(Err(_)) => Refusal::Malformed("The request's head cannot be read."),
            Err(_) if fresh => Refusal::RequestTimeout,
            Err(_) => return None,
        };
        session.set_keepalive(None);
        let id = head::request_id();
        let reply = Reply::refused(&refusal, &id);
        self.state.metrics.answered(routes::UNREAD, reply.status, 0.0);
        let _ = timeout(dismiss::PATIENCE, Box::pin(write_unread(reply, session, &id))).await;
        None
    }

    /// Answers the request whose head was read.
    async fn answer<'a>(
        &'a self,
        mut session: ServerSession,
        connection: &'a Arc<Connection>,
        shutdown: &watch::Receiver<bool>,
    ) -> Answered<'a> {
        let busy = connection.begin();
        // The gate does not end before the answer is written.
        let progress = InProgress::begin(&self.state.metrics.in_progress);
        let mut visit = Visit::begin();
        let (reply, request) = self.serve_one(&mut session, connection, &mut visit).await;
        // An agent that has as much as it may lets others be noticed before it is answered.
        if visit.turn.as_ref().is_some_and(Held::is_last) {
            yield_now().await;
        }
        if session.is_http2() && !session.is_body_done() {
            dismiss::drain(&mut session).await;
        }
        // What is left unread of a body would be read as the next request's head.
        if *shutdown.borrow() || self.state.is_draining() || !session.is_body_done() {
            session.set_keepalive(None);
        }
        visit.status = reply.status;
        let written = request.write(&mut session, reply, &visit).await;
        drop(progress);
        let written = match written {
            Ok(Some(events)) => {
                // It lasts, and is in nobody's way.
                visit.turn = None;
                request.begin_stream(&visit);
                return Answered::Stream(Box::new(OpenStream::open(session, events, request, visit, busy)));
            }
            Ok(None) => Ok(()),
            Err(unwritten) => Err(unwritten),
        };
        match request.end(&mut visit, written) {
            Some(()) => Answered::Whole(session.finish().await.ok().flatten()),
            None => Answered::Whole(None),
        }
    }

    async fn serve_one<'a>(
        &'a self,
        session: &mut ServerSession,
        connection: &'a Connection,
        visit: &mut Visit,
    ) -> (Reply, Request<'a>) {
        let snapshot = Arc::clone(&self.state.snapshot());
        let (head, problem) = Head::read(session, &snapshot, self.side, connection.client());
        let parcel = Parcel::new(&self.state.vault.returns);
        let mut context = Context { state: &self.state, snapshot, parcel, recording: None };
        context.recording = self.recording(&context.snapshot, &head, (session, connection), visit.started);
        let mut request = Request { context, side: self.side, head, connection };
        let served = match problem {
            Some(refusal) => Err(refusal),
            None => {
                let served = shielded(pin!(request.serve(session, visit))).await;
                served.unwrap_or_else(|| Err(request.panicked(session)))
            }
        };
        let reply = served.unwrap_or_else(|refusal| {
            visit.refuse(&refusal);
            request.context.parcel.give_back(0);
            if matches!(refusal, Refusal::Suspended | Refusal::TooManyConnections) {
                session.set_keepalive(None);
            }
            let id = &request.head.request_id;
            let vaults = request.is_vault_api();
            let mut reply = if vaults { vault_api::refused(&refusal, id) } else { Reply::refused(&refusal, id) };
            let authorization = session.req_header().headers.get(AUTHORIZATION);
            let at = (request.base(session), request.head.is_mcp());
            metadata::challenge(&request.context.snapshot, &refusal, authorization, at, &mut reply);
            reply
        });
        // Whoever watches the gate is in no trace.
        if visit.route.is_some_and(routes::tells_of_gate) {
            request.context.recording = None;
        }
        if let Some(parent) = visit.parent.take() {
            request.head.belongs_to(parent);
        }
        (reply, request)
    }

    /// The notes for the trace of a caller's request, where traces are on.
    fn recording(
        &self,
        snapshot: &Snapshot,
        head: &Head,
        (session, connection): (&ServerSession, &Connection),
        began: Instant,
    ) -> Option<Box<Recording>> {
        let Side::Edge { index: listener, .. } = self.side else { return None };
        let traces = self.state.sinks.traces()?;
        let request = session.req_header();
        let secure = snapshot.tls_of(listener).is_some();
        let propagated = snapshot.surfaces.trace_context;
        let recording = traces.record(Inbound { version: request.version, secure, listener, began, propagated });
        if !(propagated && head.leaves_trace_to_body()) {
            recording.settle(head.trace(&request.headers));
        }
        if let Some((from, to)) = connection.take_handshake() {
            recording.done(Step::Handshake, from, to);
        }
        Some(recording)
    }
}
