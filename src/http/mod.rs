//! The way of a request: head, identity, limit, body, operation, decision,
//! Vault, answer. One way, no back and forth.

mod attend;
mod body;
mod connection;
mod dismiss;
mod endpoint;
mod handover;
mod head;
mod own;
pub mod routes;
mod write;

pub use endpoint::Endpoint;

use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use filters::credential::{Offered, offered};
use filters::grants::Agent;
use filters::names::AgentId;
use filters::refusal::Refusal;
use filters::rest::{Match, route as rest_route};
use futures_util::FutureExt as _;
use http::Version;
use http::header::{AUTHORIZATION, HOST};
use http::uri::Authority;
use pingora_core::protocols::http::{ReusableHttpStream, ServerSession};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::listener::Connection;
use crate::service::{Caller, Context, Held, Holds, Offer, Outcome, Outcomes, Peer, RefusedLogin, Rejected, Target};
use crate::state::State;
use crate::surfaces::docs::Page;
use crate::surfaces::{self, Asked, Reply, Served, events, mcp, metadata, rest};
use crate::telemetry::{InProgress, Record, RouteId};
use crate::vault::Parcel;

use body::Body;
use head::Head;
use routes::{Route, Serves};
use write::{Unwritten, write_unread};

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
        self.state.metrics.answered(routes::UNREAD, reply.status, 0.0);
        let _ = timeout(dismiss::PATIENCE, Box::pin(write_unread(reply, session, &id))).await;
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
        let status = reply.status;
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
            let authorization = session.req_header().headers.get(AUTHORIZATION);
            let at = (request.base(session), request.head.is_mcp());
            metadata::challenge(&request.context.snapshot, &refusal, authorization, at, &mut reply);
            reply
        });
        request.head.origin.take_if(|origin| !request.context.snapshot.origins.contains(origin));
        (reply, request)
    }

    fn tell(&self, head: &Head, visit: &Visit, status: u16, started: Instant) {
        let route = visit.route.unwrap_or(routes::UNMATCHED);
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
                route: self.state.metrics.template(route),
                agent: visit.agent.as_ref().map_or("", |agent| agent.id.as_str()),
                namespace: visit.agent.as_ref().map_or("", |agent| agent.namespace.as_str()),
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
    Events,
    Docs(Page),
    Rest(Match<'a>),
}

impl Request<'_> {
    /// Where the request is served. Found before its caller is known, for log
    /// and metrics; told after.
    fn route(&self, found: Option<(RouteId, &Route)>, visit: &mut Visit) -> Result<Surface<'_>, Refusal> {
        if let Some((id, route)) = found {
            visit.route = Some(id);
            self.check_method(route)?;
            return match route.serves {
                Serves::Mcp => Ok(Surface::Mcp),
                Serves::Events => Ok(Surface::Events),
                Serves::Page(page) => Ok(Surface::Docs(page)),
                Serves::Life | Serves::Readiness | Serves::Metrics | Serves::Metadata(_) | Serves::Nothing => {
                    Err(Refusal::NotFound)
                }
            };
        }
        if !self.context.snapshot.rest {
            return Err(Refusal::NotFound);
        }
        let matched = rest_route(self.head.method.as_str(), &self.head.path)?;
        visit.route = Some(routes::of_operation(matched.kind));
        visit.outcomes = Outcome { operation: matched.kind.facts.name, ..Outcome::default() }.into();
        Ok(Surface::Rest(matched))
    }

    async fn serve(&self, session: &mut ServerSession, visit: &mut Visit) -> Result<Reply, Refusal> {
        if let Some(reply) = self.of_operators(visit).await? {
            return Ok(reply);
        }
        let found = self.own_route();
        if let Some(reply) = self.own(session, found, visit)? {
            return Ok(reply);
        }
        let matched = self.route(found, visit);
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
            Surface::Mcp => self.serve_mcp(session, caller).await,
            Surface::Events => self.serve_events(session, caller),
            Surface::Docs(page) => {
                Served { reply: Ok(page.serve(self.context.snapshot.rest)), outcomes: Outcomes::default() }
            }
            Surface::Rest(matched) => {
                let takes_body = rest::takes_body(&matched, &session.req_header().headers);
                let body = match takes_body {
                    Ok(true) => self.body(session, caller.agent()).await,
                    Ok(false) => Ok(Body::default()),
                    Err(refusal) => Err(refusal),
                };
                // Before HTTP/1.1 an answer that breaks off cannot be told from a whole one.
                let framed = session.req_header().version >= Version::HTTP_11;
                let holds = if framed { Holds::Little } else { Holds::Whole };
                match body {
                    // What it is read into counts no longer as a body.
                    Ok(body) => rest::serve(&self.asked(session, caller, body.into_bytes()), &matched, holds).await,
                    Err(refusal) => Served::refused(matched.kind.facts.name, refusal),
                }
            }
        }
    }

    async fn serve_mcp(&self, session: &mut ServerSession, caller: &Caller<'_>) -> Served {
        let body = match mcp::check(&session.req_header().headers, self.head.wrap_ttl.as_deref()) {
            Ok(()) => self.body(session, caller.agent()).await,
            Err(refusal) => Err(refusal),
        };
        match body {
            Ok(body) => mcp::serve(&self.asked(session, caller, body.bytes.clone())).await,
            Err(refusal) => Served::refused("", refusal),
        }
    }

    fn serve_events(&self, session: &mut ServerSession, caller: &Caller<'_>) -> Served {
        let served = events::serve(&self.context, caller, &session.req_header().headers);
        if served.reply.as_ref().is_ok_and(|reply| matches!(reply.body, surfaces::Body::Events(_))) {
            // Its end is the connection's: nothing else was read meanwhile.
            session.set_keepalive(None);
            session.set_pipelining_enabled(false);
        }
        served
    }

    fn asked<'r>(&'r self, session: &'r ServerSession, caller: &'r Caller<'r>, body: Bytes) -> Asked<'r> {
        Asked {
            context: &self.context,
            caller,
            request_id: &self.head.request_id,
            headers: &session.req_header().headers,
            query: &self.head.query,
            wrap_ttl: self.head.wrap_ttl.as_deref(),
            body,
        }
    }

    /// Scheme and authority by which the gate is reached: as configured, else as the request has them.
    fn base(&self, session: &ServerSession) -> Option<String> {
        if let Some(base) = &self.context.snapshot.public_url {
            return Some(base.to_string());
        }
        let Side::Edge { index, .. } = self.side else { return None };
        let tls = self.context.snapshot.tls.get(index).is_some_and(Option::is_some);
        let request = session.req_header();
        let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
        let authority: Authority =
            request.uri.authority().map_or(host, |authority| Some(authority.as_str()))?.parse().ok()?;
        let plain = !authority.as_str().contains('@') && !authority.host().is_empty();
        plain.then(|| format!("{}://{authority}", if tls { "https" } else { "http" }))
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
