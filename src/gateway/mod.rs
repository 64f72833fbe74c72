//! The way of a request: head, identity, limit, body, operation, decision,
//! Vault, answer. One way, no back and forth.

mod authenticate;
mod body;
mod charge;
mod docs;
mod events;
mod handles;
mod handover;
mod head;
mod mcp;
mod metadata;
mod own;
mod perform;
mod reply;
mod resources;
mod rest;
mod service;
mod stream;

pub use service::{Endpoint, admin, edge};

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use filters::grants::{Agent, Role};
use filters::identity::Identity;
use filters::refusal::Refusal;
use filters::rest::{self as routes, Match};
use http::Method;
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::snapshot::Snapshot;
use crate::state::State;
use crate::telemetry::{Record, RouteId};
use crate::turns::Turn;
use crate::vault::Parcel;

use authenticate::{Claimed, Stop};
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
    options: HttpServerOptions,
}

/// Put on a connection that has served a request before.
struct Served;

/// What became of a request, for log and metrics.
#[derive(Default)]
struct Outcome {
    route: Option<RouteId>,
    agent: Option<Arc<Agent>>,
    proof: &'static str,
    operation: &'static str,
    decision: &'static str,
    role: Option<Arc<Role>>,
    vault: Duration,
    /// Whether it is yet to be charged to its agent.
    owes: bool,
    /// Held until the answer is written.
    turn: Option<Turn>,
}

/// What every stage of one request may look at.
struct Request<'a> {
    state: &'a State,
    side: Side,
    snapshot: Arc<Snapshot>,
    head: Head,
    /// What Vault has given out for it.
    parcel: Parcel<'a>,
}

impl Gateway {
    fn new(state: Arc<State>, side: Side) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(state.snapshot().limits.idle);
        Self { state, side, options }
    }

    async fn read_head(&self, session: &mut ServerSession) -> Option<()> {
        let limits = self.state.snapshot().limits.clone();
        let fresh = session.take_connection_user_context().is_none();
        let time = if fresh { limits.head_timeout } else { limits.idle + limits.head_timeout };
        session.set_keepalive(Some(limits.idle.as_secs().max(1)));
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
        let _ = Box::pin(reply.write_unread(session, &id)).await;
        None
    }

    async fn serve(&self, session: &mut ServerSession, admitted: bool, outcome: &mut Outcome) -> (Reply, Request<'_>) {
        let snapshot = Arc::clone(&self.state.snapshot());
        let (head, problem) = Head::read(session, &snapshot, self.side);
        let problem = if admitted { problem } else { Some(Refusal::Overloaded) };
        let parcel = Parcel::new(&self.state.vault.returns);
        let mut request = Request { state: &self.state, side: self.side, snapshot, head, parcel };
        let served = match problem {
            Some(refusal) => Err(refusal),
            None => request.serve(session, outcome).await,
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
            status,
            duration_us: microseconds(took),
            vault_us: microseconds(outcome.vault),
        });
    }
}

#[async_trait]
impl HttpServerApp for Gateway {
    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }

    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.read_head(&mut session).await?;
        let started = Instant::now();
        self.state.metrics.in_progress.inc();
        // Held until the answer is written: the gate does not end before.
        let mut share = self.state.load.request(self.state.snapshot().limits.requests);
        // Operators get in however full it is.
        let admitted = share.is_some() || matches!(self.side, Side::Admin);
        let mut outcome = Outcome::default();
        let (reply, mut request) = self.serve(&mut session, admitted, &mut outcome).await;
        // An agent that has as much as it may lets others be noticed before it is answered.
        if outcome.turn.as_ref().is_some_and(Turn::is_last) {
            yield_now().await;
        }
        // What is left unread of a body would be read as the next request's head.
        if *shutdown.borrow() || self.state.is_draining() || !session.is_body_done() {
            session.set_keepalive(None);
        }
        let status = reply.status();
        let (mut events, mut written) = match request.hand_over(reply, &mut session).await {
            Ok(events) => (events, Ok(())),
            Err(unwritten) => (None, Err(unwritten)),
        };
        self.state.metrics.in_progress.dec();
        if let Some(events) = &mut events {
            // It lasts, and is in nobody's way.
            drop((share.take(), outcome.turn.take()));
            written = Box::pin(request.attend(&mut session, events, shutdown, &mut outcome)).await;
        }
        if let Err(Unwritten::Upstream(refusal)) = &written {
            outcome.decision = refusal.public().code;
            self.state.metrics.upstream_broken.inc();
        }
        self.tell(&request.head, &outcome, status, started);
        // Without its end, the answer is visibly broken.
        written.ok()?;
        let mut settings = HttpPersistentSettings::for_session(&session);
        settings.set_user_context(Box::new(Served));
        let reusable = session.finish().await.ok()??;
        drop((share, events));
        Some(ReusedHttpStream::from_reusable_stream(reusable, settings))
    }
}

/// Where a request is served.
enum Surface<'a> {
    Mcp,
    Readiness,
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
        if self.asks_readiness(outcome)? {
            return Ok(Surface::Readiness);
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
        wait.over().await;
        self.authenticate(session).map_err(|stop| match stop {
            Stop::UnknownKey(wait) => self.without_key(&wait),
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
        let claimed = self.claimed(session).await?;
        outcome.agent = Some(Arc::clone(&claimed.identity.agent));
        outcome.proof = claimed.identity.proof.name();
        self.check_suspension(session, &claimed.identity)?;
        self.owe(&claimed.identity, outcome)?;
        // Who is over a limit has no proof remembered, and what is sent again is charged to nobody.
        let identity = self.use_up(claimed).await?;
        outcome.turn = Some(self.turn(&identity).await?);
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

    async fn serve_on(
        &self,
        surface: Result<Surface<'_>, Refusal>,
        session: &mut ServerSession,
        identity: &Identity,
        outcome: &mut Outcome,
    ) -> Result<Reply, Refusal> {
        match surface? {
            Surface::Mcp => self.mcp(session, identity, outcome).await,
            Surface::Readiness => Ok(self.ready()),
            Surface::Docs(page) => Ok(self.show(page, identity)),
            Surface::Rest(matched) => self.rest(session, &matched, identity, outcome).await,
        }
    }
}
