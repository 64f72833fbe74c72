//! The way of a request: head, identity, limit, body, operation, decision,
//! Vault, answer. One way, no back and forth.

mod body;
mod connection;
mod dismiss;
mod docs;
mod events;
mod handover;
mod head;
mod mcp;
mod metadata;
mod own;
mod reply;
mod resources;
mod rest;
mod service;

pub use service::Endpoint;

use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use filters::credential::{Offered, offered};
use filters::grants::Agent;
use filters::names::AgentId;
use filters::refusal::Refusal;
use filters::rest::{self as routes, Match};
use futures_util::FutureExt as _;
use http::Method;
use pingora_core::protocols::http::{ReusableHttpStream, ServerSession};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::listener::Connection;
use crate::service::{Caller, Context, Held, Offer, Outcome, Outcomes, Peer, RefusedLogin, Rejected, Target};
use crate::state::State;
use crate::telemetry::{InProgress, Record, RouteId};
use crate::vault::Parcel;

use docs::Page;
use head::Head;
use reply::{Reply, Unwritten};

/// Which side of the gate a listener is on.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// Callers', at this place among the listeners.
    Edge {
        /// Its place in the configuration.
        index: usize,
        /// Whether it is behind balancers that forward anybody's bytes.
        balanced: bool,
    },
    /// Operators'.
    Admin,
}

/// The application behind one listener.
pub struct Gateway {
    state: Arc<State>,
    side: Side,
}

/// What is told of a request.
#[derive(Default)]
struct Visit {
    route: Option<RouteId>,
    agent: Option<Arc<Agent>>,
    proof: &'static str,
    login: Option<Box<RefusedLogin>>,
    outcomes: Outcomes,
    /// Its agent's own, held until the answer is written.
    turn: Option<Held>,
}

/// What a surface answers, and what became of each operation that it was asked for.
struct Served {
    reply: Result<Reply, Refusal>,
    outcomes: Outcomes,
}

/// What every stage of one request may look at.
struct Request<'a> {
    context: Context<'a>,
    side: Side,
    head: Head,
    connection: &'a Connection,
}

impl Visit {
    /// Tells why the request as a whole is refused. Messages of a batch have their own reasons.
    fn refuse(&mut self, refusal: &Refusal) {
        if let Outcomes::One(outcome) = &mut self.outcomes {
            outcome.decision = refusal.public().code;
        }
    }
}

impl Gateway {
    const fn new(state: Arc<State>, side: Side) -> Self {
        Self { state, side }
    }

    /// Reads a head, the first of its connection where that is `fresh`; `None` where the connection
    /// is to be closed.
    async fn read_head(&self, session: &mut ServerSession, fresh: bool) -> Option<()> {
        let limits = self.state.snapshot().limits.clone();
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
        self.state.metrics.answered(RouteId::UNREAD, reply.status(), 0.0);
        let _ = timeout(dismiss::PATIENCE, Box::pin(reply.write_unread(session, &id))).await;
        None
    }

    /// Answers the request whose head was read; gives the connection for the next one, and what has
    /// come of that.
    async fn answer(
        &self,
        mut session: ServerSession,
        connection: &Arc<Connection>,
        shutdown: &watch::Receiver<bool>,
    ) -> Option<ReusableHttpStream> {
        let started = Instant::now();
        let _busy = connection.begin();
        // The gate does not end before the answer is written.
        let progress = InProgress::begin(&self.state.metrics.in_progress);
        let mut visit = Visit::default();
        let (reply, mut request) = self.serve_one(&mut session, connection, &mut visit).await;
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
        let status = reply.status();
        let (mut events, mut written) = match request.write(&mut session, reply, &visit).await {
            Ok(events) => (events, Ok(())),
            Err(unwritten) => (None, Err(unwritten)),
        };
        drop(progress);
        if let Some(events) = &mut events {
            // It lasts, and is in nobody's way.
            drop(visit.turn.take());
            written = Box::pin(request.attend(&mut session, events, shutdown)).await;
            if let Some(refusal) = events.ended_by() {
                visit.refuse(refusal);
            }
        }
        if let Err(Unwritten::Upstream(refusal)) = &written {
            visit.refuse(refusal);
            self.state.metrics.upstream_broken.inc();
        }
        self.tell(&request.head, &visit, status, started);
        // Without its end, the answer is visibly broken.
        written.ok()?;
        session.finish().await.ok()?
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
        let context = Context { state: &self.state, snapshot, parcel };
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
            let mut reply = Reply::refused(&refusal, &request.head.request_id);
            request.challenge(session, &refusal, &mut reply);
            reply
        });
        request.head.origin.take_if(|origin| !request.context.snapshot.origins.contains(origin));
        (reply, request)
    }

    fn tell(&self, head: &Head, visit: &Visit, status: u16, started: Instant) {
        let route = visit.route.unwrap_or(RouteId::UNMATCHED);
        let took = started.elapsed();
        self.state.metrics.answered(route, status, took.as_secs_f64());
        self.state.metrics.correlated.inc();
        let Some(log) = &self.state.log else { return };
        let line = |outcome: &Outcome, message: Option<usize>, took: Duration| {
            let login = visit.login.as_deref();
            let of_login = |field: fn(&RefusedLogin) -> &str| login.map_or("", field);
            log.add(&Record {
                request_id: &head.request_id,
                correlation_id: &head.correlation_id,
                message,
                client: head.client,
                method: head.method_name(),
                route: route.labels().1,
                agent: visit.agent.as_ref().map_or("", |agent| agent.id.as_str()),
                proof: visit.proof,
                operation: outcome.operation,
                decision: outcome.decision,
                role: outcome.role.as_ref().map_or("", |role| &*role.name),
                why: of_login(|login| &login.why),
                principal: of_login(|login| &login.principal),
                key: of_login(|login| &login.key),
                certificate: of_login(|login| &login.certificate),
                issuer: of_login(|login| &login.issuer),
                status,
                duration_us: microseconds(took),
                vault_us: microseconds(outcome.upstream),
            });
        };
        match &visit.outcomes {
            Outcomes::One(outcome) => line(outcome, None, took),
            Outcomes::Each(outcomes) => {
                outcomes.iter().enumerate().for_each(|(place, outcome)| line(outcome, Some(place), outcome.took));
            }
        }
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What `work` comes to; `None` where it panics, which is to end nothing else. It stays where it is: it
/// is large.
async fn shielded<T>(work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    AssertUnwindSafe(work).catch_unwind().await.ok()
}

/// Where a request is served.
enum Surface<'a> {
    Mcp,
    Docs(Page),
    Rest(Match<'a>),
}

impl Request<'_> {
    /// Where the request is served. Found before its caller is known, for log
    /// and metrics; told after.
    fn route(&self, visit: &mut Visit) -> Result<Surface<'_>, Refusal> {
        if self.head.is_mcp() {
            visit.route = Some(if self.head.method == Method::GET { RouteId::EVENTS } else { RouteId::MCP });
            return Ok(Surface::Mcp);
        }
        if let Some(page) = self.docs_page(visit)? {
            return Ok(Surface::Docs(page));
        }
        if !self.context.snapshot.rest {
            return Err(Refusal::NotFound);
        }
        let matched = routes::route(self.head.method.as_str(), &self.head.path)?;
        visit.route = Some(RouteId::of(matched.kind));
        visit.outcomes = Outcome { operation: matched.kind.facts.name, ..Outcome::default() }.into();
        Ok(Surface::Rest(matched))
    }

    async fn serve(&self, session: &mut ServerSession, visit: &mut Visit) -> Result<Reply, Refusal> {
        if let Some(reply) = self.of_operators(visit).await? {
            return Ok(reply);
        }
        if let Some(reply) = self.own(visit)? {
            return Ok(reply);
        }
        if let Some(reply) = self.metadata(session, visit)? {
            return Ok(reply);
        }
        if let Some(reply) = self.public_page(visit)? {
            return Ok(reply);
        }
        let matched = self.route(visit);
        let caller = self.admit(session).await.map_err(|Rejected { refusal, login, of }| {
            visit.login = login;
            if let Some((agent, proof)) = of {
                (visit.agent, visit.proof) = (Some(agent), proof.name());
            }
            refusal
        })?;
        (visit.agent, visit.proof) = (Some(Arc::clone(caller.agent())), caller.identity.proof.name());
        let reply = match matched {
            Ok(surface) => {
                let served = self.serve_on(surface, session, &caller).await;
                visit.outcomes = served.outcomes;
                served.reply
            }
            Err(refusal) => Err(refusal),
        };
        let (held, settled) = caller.settle().await;
        visit.turn = Some(held);
        // A refusal of the limits' goes before whatever else there is to say.
        settled.and(reply)
    }

    /// Who is asking, where that is let in.
    async fn admit(&self, session: &ServerSession) -> Result<Caller<'_>, Rejected> {
        let offer = self.offer(session).map_err(|refusal| Rejected {
            refusal,
            login: Some(Box::new(RefusedLogin::unreadable(self.peer().map(|(peer, _)| peer)))),
            of: None,
        })?;
        let most = self.context.snapshot.limits.connections.per_agent;
        // An agent that has as many connections as it may loses the one it asks on.
        let connects = |agent: &AgentId| self.connection.serves(agent, most).map_err(|_| Refusal::TooManyConnections);
        self.context.admit(&offer, connects).await
    }

    /// What the head offers to be known by.
    fn offer(&self, session: &ServerSession) -> Result<Offer<'_>, Refusal> {
        let proxy_headers = self.context.snapshot.proxy_headers_from(self.head.peer);
        let credential = offered(&session.req_header().headers, proxy_headers)?;
        let proves = matches!(credential, Offered::Dpop(..));
        let base = if proves { self.base(session).unwrap_or_default() } else { String::new() };
        Ok(Offer {
            credential,
            peer: self.peer(),
            proxy: self.head.peer,
            client: self.head.client,
            target: Target { method: self.head.method_name(), base, path: &self.head.path },
            correlation_id: &self.head.correlation_id,
        })
    }

    /// Who presented a certificate to the edge, and the listener's index.
    fn peer(&self) -> Option<(&Peer, usize)> {
        let Side::Edge { index, .. } = self.side else { return None };
        Some((self.connection.peer()?, index))
    }

    async fn serve_on(&self, surface: Surface<'_>, session: &mut ServerSession, caller: &Caller<'_>) -> Served {
        match surface {
            Surface::Mcp => self.mcp(session, caller).await,
            Surface::Docs(page) => Served { reply: Ok(self.show(page)), outcomes: Outcomes::default() },
            Surface::Rest(matched) => self.rest(session, &matched, caller).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_nothing_but_its_work() {
        assert_eq!(shielded(pin!(async { 1 })).await, Some(1));
        let panics = async {
            yield_now().await;
            assert!(std::hint::black_box(false), "half-way");
        };
        assert_eq!(shielded(pin!(panics)).await, None);
    }
}
