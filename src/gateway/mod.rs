//! The way of a request: head, identity, limit, body, operation, decision,
//! Vault, answer. One way, no back and forth.

mod authenticate;
mod body;
mod charge;
mod connection;
mod dismiss;
mod docs;
mod events;
mod handles;
mod handover;
mod head;
mod login;
mod mcp;
mod metadata;
mod own;
mod perform;
mod reply;
mod resources;
mod rest;
mod service;
mod stream;

pub use service::Endpoint;

use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use filters::grants::{Agent, Role};
use filters::identity::Identity;
use filters::refusal::Refusal;
use filters::rest::{self as routes, Match};
use futures_util::FutureExt as _;
use http::Method;
use pingora_core::protocols::http::{ReusableHttpStream, ServerSession};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::limits::{Share, Turn};
use crate::listener::Connection;
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::telemetry::{InProgress, Record, RouteId};
use crate::vault::Parcel;

use authenticate::{Claimed, Stop};
use docs::Page;
use head::Head;
use login::{Failure, RefusedLogin};
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

/// What became of a request, for log and metrics.
#[derive(Default)]
struct Outcome {
    route: Option<RouteId>,
    agent: Option<Arc<Agent>>,
    proof: &'static str,
    operation: &'static str,
    decision: &'static str,
    role: Option<Arc<Role>>,
    login: Option<Box<RefusedLogin>>,
    vault: Duration,
    /// Whether it is yet to be charged to its agent.
    owes: bool,
    /// Its agent's own, held until the answer is written.
    turn: Option<Turn>,
    /// Of what all share, held until there is an answer to write.
    work: Option<Share>,
}

/// What every stage of one request may look at.
struct Request<'a> {
    state: &'a State,
    side: Side,
    snapshot: Arc<Snapshot>,
    head: Head,
    connection: &'a Connection,
    /// What Vault has given out for it.
    parcel: Parcel<'a>,
    /// Why its credential does not hold.
    failure: OnceLock<Failure>,
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
        let mut outcome = Outcome::default();
        let (reply, mut request) = self.serve_one(&mut session, connection, &mut outcome).await;
        // Nothing that others need is held while the answer waits for its reader.
        drop(outcome.work.take());
        // An agent that has as much as it may lets others be noticed before it is answered.
        if outcome.turn.as_ref().is_some_and(Turn::is_last) {
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
        let (mut events, mut written) = match request.write(&mut session, reply, &outcome).await {
            Ok(events) => (events, Ok(())),
            Err(unwritten) => (None, Err(unwritten)),
        };
        drop(progress);
        if let Some(events) = &mut events {
            // It lasts, and is in nobody's way.
            drop(outcome.turn.take());
            written = Box::pin(request.attend(&mut session, events, shutdown, &mut outcome)).await;
        }
        if let Err(Unwritten::Upstream(refusal)) = &written {
            outcome.decision = refusal.public().code;
            self.state.metrics.upstream_broken.inc();
        }
        self.tell(&request.head, &outcome, status, started);
        // Without its end, the answer is visibly broken.
        written.ok()?;
        session.finish().await.ok()?
    }

    async fn serve_one<'a>(
        &'a self,
        session: &mut ServerSession,
        connection: &'a Connection,
        outcome: &mut Outcome,
    ) -> (Reply, Request<'a>) {
        let snapshot = Arc::clone(&self.state.snapshot());
        let (head, problem) = Head::read(session, &snapshot, self.side, connection.client());
        let parcel = Parcel::new(&self.state.vault.returns);
        let failure = OnceLock::new();
        let mut request = Request { state: &self.state, side: self.side, snapshot, head, connection, parcel, failure };
        let served = match problem {
            Some(refusal) => Err(refusal),
            None => {
                let served = shielded(pin!(request.serve(session, outcome))).await;
                served.unwrap_or_else(|| Err(request.panicked(session)))
            }
        };
        let reply = served.unwrap_or_else(|refusal| {
            outcome.decision = refusal.public().code;
            request.parcel.give_back(0);
            let mut reply = Reply::refused(&refusal, &request.head.request_id);
            request.challenge(session, &refusal, &mut reply);
            reply
        });
        request.head.origin.take_if(|origin| !request.snapshot.origins.contains(origin));
        (reply, request)
    }

    fn tell(&self, head: &Head, outcome: &Outcome, status: u16, started: Instant) {
        let route = outcome.route.unwrap_or(RouteId::UNMATCHED);
        let took = started.elapsed();
        self.state.metrics.answered(route, status, took.as_secs_f64());
        self.state.metrics.correlated.inc();
        let Some(log) = &self.state.log else { return };
        let login = outcome.login.as_deref();
        let of_login = |field: fn(&RefusedLogin) -> &str| login.map_or("", field);
        let microseconds = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        log.add(&Record {
            request_id: &head.request_id,
            correlation_id: &head.correlation_id,
            client: head.client,
            method: head.method_name(),
            route: route.labels().1,
            agent: outcome.agent.as_ref().map_or("", |agent| agent.id.as_str()),
            proof: outcome.proof,
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
            vault_us: microseconds(outcome.vault),
        });
    }
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
    fn route(&self, outcome: &mut Outcome) -> Result<Surface<'_>, Refusal> {
        if self.head.is_mcp() {
            outcome.route = Some(if self.head.method == Method::GET { RouteId::EVENTS } else { RouteId::MCP });
            return Ok(Surface::Mcp);
        }
        if let Some(page) = self.docs_page(outcome)? {
            return Ok(Surface::Docs(page));
        }
        if !self.snapshot.rest {
            return Err(Refusal::NotFound);
        }
        let matched = routes::route(self.head.method.as_str(), &self.head.path)?;
        outcome.route = Some(RouteId::of(matched.kind));
        outcome.operation = matched.kind.facts.name;
        Ok(Surface::Rest(matched))
    }

    /// Who is asking. A token of an unknown key is looked at once more when its issuer was asked.
    async fn claimed(&self, session: &mut ServerSession) -> Result<Claimed, Refusal> {
        let wait = match self.authenticate(session) {
            Err(Stop::UnknownKey(wait)) => wait,
            known => return known.map_err(Stop::refusal),
        };
        let all_known = wait.over().await;
        self.authenticate(session).map_err(|stop| match stop {
            Stop::UnknownKey(_) => self.without_key(all_known),
            stop => stop.refusal(),
        })
    }

    async fn serve(&self, session: &mut ServerSession, outcome: &mut Outcome) -> Result<Reply, Refusal> {
        if let Some(reply) = self.of_operators(outcome).await? {
            return Ok(reply);
        }
        if let Some(reply) = self.own(outcome)? {
            return Ok(reply);
        }
        if let Some(reply) = self.metadata(session, outcome)? {
            return Ok(reply);
        }
        if let Some(reply) = self.public_page(outcome)? {
            return Ok(reply);
        }
        let matched = self.route(outcome);
        let claimed = self.claimed(session).await.inspect_err(|_| {
            outcome.login = Some(Box::new(self.refused_login(session)));
        })?;
        outcome.agent = Some(Arc::clone(&claimed.identity.agent));
        outcome.proof = claimed.identity.proof.name();
        self.check_suspension(session, &claimed.identity)?;
        self.check_connections(session, &claimed.identity)?;
        self.owe(&claimed.identity, outcome)?;
        // Who is over a limit has no proof remembered, and what is sent again is charged to nobody.
        let identity = self.use_up(claimed).await.inspect_err(|_| {
            outcome.login = Some(Box::new(self.refused_login(session)));
        })?;
        outcome.turn = Some(self.turn(&identity).await?);
        outcome.work = Some(self.begin_work()?);
        // It may have waited.
        self.check_suspension(session, &identity)?;
        let served = self.serve_on(matched, session, &identity, outcome).await;
        // A refusal of the limits' goes before whatever else there is to say.
        self.settle(&identity, outcome).await?;
        served
    }

    /// A suspended agent is refused, and loses its connection where that is its alone.
    fn check_suspension(&self, session: &mut ServerSession, identity: &Identity) -> Result<(), Refusal> {
        if !self.state.vault.suspensions.hold(&identity.agent.id) {
            return Ok(());
        }
        session.set_keepalive(None);
        Err(Refusal::Suspended)
    }

    /// An agent that has as many connections as it may loses the one it asks on.
    fn check_connections(&self, session: &mut ServerSession, identity: &Identity) -> Result<(), Refusal> {
        let most = self.snapshot.limits.connections.per_agent;
        self.connection.serves(&identity.agent.id, most).map_err(|_| {
            session.set_keepalive(None);
            Refusal::TooManyConnections
        })
    }

    async fn serve_on(
        &self,
        surface: Result<Surface<'_>, Refusal>,
        session: &mut ServerSession,
        identity: &Identity,
        outcome: &mut Outcome,
    ) -> Result<Reply, Refusal> {
        match surface? {
            Surface::Mcp => self.mcp(session, identity, outcome).await,
            Surface::Docs(page) => Ok(self.show(page, identity)),
            Surface::Rest(matched) => self.rest(session, &matched, identity, outcome).await,
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
