//! From a head to the surface that serves it: the route, the caller, the body where one is taken.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use filters::credential::{Offered, ProxyHeaders, offered, vault_token};
use filters::gate_token::{LoggedIn, Way};
use filters::names::AgentId;
use filters::refusal::Refusal;
use filters::rest::{Match, route as rest_route};
use filters::secret::Digest;
use http::{HeaderMap, Version};
use pingora_core::protocols::http::ServerSession;

use crate::admin;
use crate::service::{Caller, Offer, Outcome, Outcomes, Peer, RefusedLogin, Rejected, Target};
use crate::surfaces::docs::Page;
use crate::surfaces::listen::Stream;
use crate::surfaces::progress::{Progress, Waiting, attend, may_be_wanted};
use crate::surfaces::vault_api::Login;
use crate::surfaces::{self, Asked, Json, Reply, Served, listen, mcp, rest, sessions, vault_api};
use crate::telemetry::RouteId;

use super::body::Body;
use super::origin;
use super::request::{Request, Visit};
use super::routes::{self, Route, Serves};
use super::side::Side;
use super::write::Unwritten;

/// The surface that serves a request.
enum Surface<'a> {
    /// Messages of MCP, answered as the route says.
    Mcp {
        on_stream: bool,
    },
    Events(Stream),
    RecentEvents,
    EndOfSession,
    Docs(Page),
    /// That of operators, for an agent that may look at it.
    Operators(&'static admin::Route),
    Rest(Match<'a>),
    Vault(vault_api::Wanted),
    Login(Login),
}

impl Request<'_> {
    /// The surface that serves the request. It is found before the caller is known, for log and
    /// metrics; that there is none is told after.
    fn route(&self, found: Option<(RouteId, &Route)>, visit: &mut Visit) -> Result<Surface<'_>, Refusal> {
        if let Some((id, route)) = found {
            visit.route = Some(id);
            self.check_method(route)?;
            return match route.serves {
                Serves::Mcp => Ok(Surface::Mcp { on_stream: false }),
                Serves::AnsweredOnStream => Ok(Surface::Mcp { on_stream: true }),
                Serves::Events(stream) => Ok(Surface::Events(stream)),
                Serves::RecentEvents => Ok(Surface::RecentEvents),
                Serves::EndOfSession => Ok(Surface::EndOfSession),
                Serves::Page(page) => Ok(Surface::Docs(page)),
                Serves::Life
                | Serves::Readiness
                | Serves::Metrics
                | Serves::Metadata(_)
                | Serves::VaultHealth
                | Serves::VaultSealStatus
                | Serves::VaultLeader
                | Serves::Nothing => Err(Refusal::NotFound),
            };
        }
        if let Some((id, route)) = routes::of_operators(&self.head.path) {
            visit.route = Some(id);
            return Ok(Surface::Operators(route));
        }
        if self.is_vault_api() {
            visit.route = Some(routes::VAULT_API);
            let (head, snapshot) = (&self.head, &self.context.snapshot);
            let wanted = vault_api::Wanted::find(head.method.as_str(), &head.path, &head.query, snapshot)?;
            if let vault_api::Wanted::Path(vault_api::Asking { matched: Ok(matched), .. }) = &wanted {
                visit.outcomes = Outcome { operation: matched.kind().spec.name, ..Outcome::default() }.into();
            }
            return Ok(Surface::Vault(wanted));
        }
        if !self.context.snapshot.surfaces.rest {
            return Err(Refusal::NotFound);
        }
        let matched = rest_route(self.head.method.as_str(), &self.head.path)?;
        visit.route = Some(routes::of_operation(matched.kind));
        visit.outcomes = Outcome { operation: matched.kind.spec.name, ..Outcome::default() }.into();
        Ok(Surface::Rest(matched))
    }

    /// Serves the request; what is told of it is noted in `visit`.
    pub(super) async fn serve(&self, session: &mut ServerSession, visit: &mut Visit) -> Result<Reply, Refusal> {
        if let Some(reply) = self.of_operators(&session.req_header().headers, visit).await? {
            return Ok(reply);
        }
        let found = self.own_route();
        if let Some(reply) = self.own(session, found, visit)? {
            return Ok(reply);
        }
        let matched = self.route(found, visit);
        let matched = match matched {
            Ok(Surface::Vault(vault_api::Wanted::Login(mount, way))) => {
                Ok(Surface::Login(self.login(session, (mount, way)).await?))
            }
            matched => matched,
        };
        let login = if let Ok(Surface::Login(login)) = &matched { Some(login) } else { None };
        let caller = self.enter(session, login).await.map_err(|Rejected { refusal, login, of }| {
            visit.login = login;
            if let Some((agent, proof)) = of {
                (visit.agent, visit.proof) = (Some(agent), proof.name());
            }
            refusal
        })?;
        (visit.agent, visit.proof) = (Some(Arc::clone(caller.agent())), caller.identity.proof.name());
        let matched = match matched {
            // Messages are read before: they say if their client is to be told that they wait.
            Ok(surface @ Surface::Mcp { .. }) => Ok(surface),
            Ok(surface) => caller.turn().await.map(|()| surface),
            Err(refusal) => Err(refusal),
        };
        let reply = match matched {
            Ok(surface) => {
                let served = self.serve_on(surface, session, &caller).await;
                if served.reply.as_ref().is_ok_and(|reply| matches!(reply.body, surfaces::Body::Events(_))) {
                    // Its end is the connection's: nothing else was read meanwhile.
                    session.set_keepalive(None);
                    session.set_pipelining_enabled(false);
                }
                visit.outcomes = served.outcomes;
                served.reply
            }
            Err(refusal) => Err(refusal),
        };
        visit.parent = caller.parent();
        let (held, settled) = caller.settle().await;
        visit.turn = held;
        // A refusal of the limits' goes before whatever else there is to say.
        settled.and(reply)
    }

    /// Admits the caller, who may have to wait for its turn.
    async fn enter(&self, session: &ServerSession, login: Option<&Login>) -> Result<Caller<'_>, Rejected> {
        let offer = match login {
            Some(login) => Ok(self.offer_of(login.offered(), String::new())),
            None => self.offer(&session.req_header().headers, || self.base(session)),
        };
        let offer = offer.map_err(|refusal| {
            // A key that is not known yet says nothing of the credential.
            let unreadable = || Box::new(RefusedLogin::unreadable(self.peer().map(|(peer, _)| peer)));
            Rejected { login: refusal.public().status.is_client_error().then(unreadable), refusal, of: None }
        })?;
        let most = self.context.snapshot.limits.bounds.connections.per_agent;
        // An agent that has as many connections as it may loses the one it asks on.
        let connects = |agent: &AgentId| self.connection.serves(agent, most).map_err(|_| Refusal::TooManyConnections);
        self.context.enter(&offer, connects).await
    }

    /// The names of the headers by which the peer names its client, where it is a trusted proxy.
    pub(super) fn proxy_headers(&self) -> Option<&ProxyHeaders> {
        self.context.snapshot.credentials.proxies.headers_from(self.head.peer)
    }

    /// The credential in the head, and the facts it is judged with; `base` gives the address that a proof
    /// is for.
    pub(super) fn offer(
        &self,
        headers: &HeaderMap,
        base: impl FnOnce() -> Option<String>,
    ) -> Result<Offer<'_>, Refusal> {
        let (mut credential, mut of_token) = (offered(headers, self.proxy_headers())?, None);
        if self.is_vault_api()
            && let Some(token) = vault_token(headers)?
        {
            (credential, of_token) = self.context.offered_beside(credential, token, self.fingerprint())?;
        }
        let proves = matches!(credential, Offered::Dpop(..));
        let base = if proves { base().unwrap_or_default() } else { String::new() };
        Ok(Offer { of_token, ..self.offer_of(credential, base) })
    }

    fn offer_of(&self, credential: Offered, base: String) -> Offer<'_> {
        Offer {
            credential,
            of_token: None,
            peer: self.peer(),
            proxy: self.head.peer,
            client: self.head.client,
            target: Target { method: self.head.method_name(), base, path: &self.head.path },
            request_id: &self.head.request_id,
            correlation_id: &self.head.correlation_id,
        }
    }

    /// Reads the login of a client of Vault's.
    async fn login(&self, session: &mut ServerSession, at: (Box<str>, Way)) -> Result<Login, Refusal> {
        let body = self.body_of_login(session).await?;
        Login::read(at, &body, self.fingerprint())
    }

    /// The credential of an admitted request, where a token can stand for it.
    fn shown(&self, headers: &HeaderMap) -> Option<LoggedIn> {
        let offer = self.offer(headers, || None).ok()?;
        LoggedIn::of(&offer.credential, self.fingerprint().as_ref())
    }

    /// The peer that presented a certificate to the edge, and the listener's index.
    fn peer(&self) -> Option<(&Peer, usize)> {
        let Side::Edge { index, .. } = self.side else { return None };
        Some((self.connection.peer()?, index))
    }

    fn fingerprint(&self) -> Option<Digest> {
        self.peer().and_then(|(peer, _)| peer.fingerprint())
    }

    async fn serve_on(&self, surface: Surface<'_>, session: &mut ServerSession, caller: &Caller<'_>) -> Served {
        match surface {
            Surface::Mcp { on_stream } => self.serve_mcp(session, caller, on_stream).await,
            Surface::Events(stream) => listen::serve(&self.context, caller, &session.req_header().headers, stream),
            Surface::RecentEvents => listen::recent(&self.context, caller),
            Surface::EndOfSession => sessions::end(&self.context, caller, &session.req_header().headers),
            Surface::Docs(page) => {
                Served { reply: Ok(page.serve(self.context.snapshot.surfaces.rest)), outcomes: Outcomes::default() }
            }
            Surface::Operators(route) => {
                let reply = match self.context.check_observer(caller) {
                    Ok(()) => self.operators(&session.req_header().headers, route).await,
                    Err(refusal) => Err(refusal),
                };
                Served::decided(reply)
            }
            Surface::Login(login) => login.serve(&self.asked(&session.req_header().headers, caller, Bytes::new())),
            // It is large, and made where it stays.
            Surface::Vault(wanted) => {
                Box::into_pin(Box::write(Box::new_uninit(), self.serve_vault(session, caller, wanted))).await
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
                let form = if framed { Json::InParts } else { Json::Whole };
                match body {
                    // What it is read into counts no longer as a body.
                    Ok(body) => {
                        let asked = self.asked(&session.req_header().headers, caller, body.into_bytes());
                        rest::serve(&asked, &matched, form).await
                    }
                    Err(refusal) => Served::refused(matched.kind.spec.name, refusal),
                }
            }
        }
    }

    async fn serve_vault(&self, session: &mut ServerSession, caller: &Caller<'_>, wanted: vault_api::Wanted) -> Served {
        let body = match self.body(session, caller.agent()).await {
            Ok(body) => body.into_bytes(),
            Err(refusal) => return Served::refused("", refusal),
        };
        let framed = session.req_header().version >= Version::HTTP_11;
        let headers = &session.req_header().headers;
        let asked = self.asked(headers, caller, body);
        match &wanted {
            vault_api::Wanted::Path(asking) => vault_api::serve(&asked, asking, framed).await,
            vault_api::Wanted::Create => vault_api::create(&asked, self.shown(headers)),
            vault_api::Wanted::Own(own) => vault_api::serve_own(&asked, own).await,
            // It was read before its caller was known.
            vault_api::Wanted::Login(..) => Served::decided(Err(Refusal::Internal)),
        }
    }

    async fn serve_mcp(&self, session: &mut ServerSession, caller: &Caller<'_>, on_stream: bool) -> Served {
        let body = match mcp::check(&session.req_header().headers, self.head.wrap_ttl.as_deref()) {
            Ok(()) => self.body(session, caller.agent()).await,
            Err(refusal) => Err(refusal),
        };
        match body {
            Ok(body) if session.is_http2() || may_be_wanted(&body.bytes) => {
                // To watch its stream, and to tell of progress, takes the session.
                let headers = session.req_header().headers.clone();
                let asked = self.asked(&headers, caller, body.bytes.clone());
                let serving = pin!(async {
                    match on_stream {
                        false => mcp::serve(&asked).await,
                        true => mcp::serve_on_stream(&asked).await,
                    }
                });
                attend(&asked.progress, caller, serving, &mut Client { request: self, caller, session }).await
            }
            Ok(body) => {
                let asked = self.asked(&session.req_header().headers, caller, body.bytes.clone());
                match on_stream {
                    false => mcp::serve(&asked).await,
                    true => Box::pin(mcp::serve_on_stream(&asked)).await,
                }
            }
            Err(refusal) => Served::refused("", refusal),
        }
    }

    fn asked<'r>(&'r self, headers: &'r HeaderMap, caller: &'r Caller<'r>, body: Bytes) -> Asked<'r> {
        Asked {
            context: &self.context,
            caller,
            headers,
            path: &self.head.path,
            query: &self.head.query,
            wrap_ttl: self.head.wrap_ttl.as_deref(),
            body,
            progress: Progress::default(),
        }
    }

    /// Scheme and authority by which the gate is reached: as configured, else as the request has them.
    pub(super) fn base(&self, session: &ServerSession) -> Option<String> {
        origin::base(session, &self.context.snapshot, self.side)
    }
}

/// The client of messages that are being served.
struct Client<'a> {
    request: &'a Request<'a>,
    caller: &'a Caller<'a>,
    session: &'a mut ServerSession,
}

impl Waiting for Client<'_> {
    /// Returns when the client resets its stream of HTTP/2. Over HTTP/1.1 there is no such sign, since what
    /// comes meanwhile may be the next request.
    async fn gone(&mut self) {
        match self.session.watch_h2_stream_close() {
            Some(reset) => _ = reset.await,
            None => pending().await,
        }
    }

    async fn tell(&mut self, text: String) -> bool {
        let Self { request, caller, session } = self;
        let told = async {
            if session.response_written().is_none() {
                request.begin(session, caller).await?;
            }
            session.write_response_body(text.into(), false).await.map_err(Unwritten::from)
        };
        told.await.is_ok()
    }
}
