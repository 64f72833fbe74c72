//! The one way to Vault: pooled keep-alive connections, deadlines, no redirect.
//!
//! The gate's own calls and the agents' take the same way. Nothing is retried
//! here but a request that may be repeated, on a connection that turned out
//! dead before a byte of the answer.

mod agents;
mod answer;
mod doubt;
mod envelope;
mod look;
mod pool;
mod rejected;

pub use agents::{Opened, Tokens, Unanswered};
pub use answer::{Answer, Arrival, Broken};
pub use envelope::{Envelope, Lane, Patience};

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use filters::audit::OwnId;
use filters::headers::{
    CORRELATION_ID, TRACEPARENT, TRACESTATE, VAULT_NAMESPACE, VAULT_REQUEST, VAULT_TOKEN, VAULT_WRAP_TTL,
};
use filters::names::Namespace;
use filters::secret::Digest;
use filters::vault::{VaultRequest, control};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, InvalidHeaderValue, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use pingora_core::connectors::ConnectorOptions;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::utils::tls::CertKey;
use pingora_http::RequestHeader;
use tokio::time::timeout;

use crate::config;
use crate::telemetry::{Seldom, Step, Timed};
use crate::tls::{self, End, UsedAs};

use answer::{Stop, answered, other_media, read_body};
use doubt::Doubts;
use pool::Pool;

/// Most connections kept idle.
const POOL: usize = 1024;

/// A whole answer may take this many times the longest silence.
const PARTS: u32 = 20;

/// One address of Vault's, for each lane.
struct Peers {
    background: Arc<HttpPeer>,
    requests: Arc<HttpPeer>,
}

/// The certificate that the gate presents.
struct Identity {
    key: Arc<CertKey>,
    digest: Digest,
    ends: Vec<End>,
    /// 1 for the first, one more for each that follows: none's connections are another's.
    generation: u64,
}

/// Vault, as the gate reaches it.
pub struct Upstream {
    pool: Arc<Pool>,
    peers: ArcSwap<Vec<Peers>>,
    /// Which of the peers answered last.
    current: AtomicUsize,
    /// The certificate that is presented to Vault.
    identity: ArcSwapOption<Identity>,
    settings: config::Upstream,
    /// The ends of the authorities of Vault's certificate.
    authority_ends: Vec<End>,
    host: HeaderValue,
    /// The correlation id of requests that no agent's call caused.
    own: HeaderValue,
    /// True where Vault says that it has namespaces; one without them would answer from its root.
    namespaces: AtomicBool,
    rejections: Seldom,
    unsent: Seldom,
    doubts: Doubts,
}

impl Upstream {
    /// Prepares connections; none is made yet. `own` is the correlation id of requests without one.
    ///
    /// # Errors
    /// A host that cannot stand in a header, authorities or a client
    /// certificate that cannot be used.
    pub fn new(settings: config::Upstream, own: OwnId) -> Result<Self, String> {
        let bracketed = settings.host.contains(':');
        let host = if bracketed { format!("[{}]", settings.host) } else { settings.host.clone() };
        // The framework reads the file by itself, passes over what it does not know, and panics.
        let checked = settings.authority.as_ref().map(|file| tls::check_authorities(file, UsedAs::VaultAuthority));
        let authority_ends = checked.transpose().map_err(|problem| format!("upstream.ca_file: {problem}"))?;
        let mut options = ConnectorOptions::new(POOL);
        options.ca_file = settings.authority.as_ref().map(|path| path.to_string_lossy().into_owned());
        let upstream = Self {
            pool: Arc::new(Pool::new(options, settings.idle)),
            peers: ArcSwap::default(),
            current: AtomicUsize::new(0),
            identity: ArcSwapOption::empty(),
            host: header(&format!("{host}:{}", settings.port))?,
            own: header(&own.to_string())?,
            settings,
            authority_ends: authority_ends.unwrap_or_default(),
            namespaces: AtomicBool::new(false),
            rejections: Seldom::default(),
            unsent: Seldom::default(),
            doubts: Doubts::default(),
        };
        upstream.read_identity()?;
        if let Ok(address) = upstream.settings.host.parse::<IpAddr>() {
            upstream.publish([SocketAddr::new(address, upstream.settings.port)]);
        }
        Ok(upstream)
    }

    /// Reads the client certificate again and looks the host name up. What
    /// fails leaves what was there.
    ///
    /// # Errors
    /// Which of the two failed, and why.
    pub async fn refresh(&self) -> Result<(), String> {
        let read = self.read_identity();
        match self.settings.host.parse::<IpAddr>() {
            Ok(address) => self.publish([SocketAddr::new(address, self.settings.port)]),
            Err(_) => {
                let name = (self.settings.host.as_str(), self.settings.port);
                let found = tokio::net::lookup_host(name).await;
                self.publish(found.map_err(|error| format!("Vault's name cannot be resolved: {error}"))?);
            }
        }
        read
    }

    /// Takes the client certificate from its files, if it is another one.
    fn read_identity(&self) -> Result<(), String> {
        let files = self.settings.identity.as_ref().filter(|_| self.settings.tls);
        let Some((certificate, key)) = files else { return Ok(()) };
        let tls::Pair { chain, key, .. } =
            tls::pair(certificate, key).map_err(|problem| format!("the client certificate for Vault: {problem}"))?;
        let ends = End::of_chain(UsedAs::VaultClient, certificate, &chain).collect();
        let chain: Vec<Vec<u8>> = chain.iter().map(|one| one.to_vec()).collect();
        let digest = Digest::of(&chain.concat());
        let now = self.identity.load();
        if now.as_ref().is_some_and(|now| now.digest == digest) {
            return Ok(());
        }
        let generation = now.as_ref().map_or(0, |now| now.generation) + 1;
        let key = Arc::new(CertKey::new(chain, key.secret_der().to_vec()));
        self.identity.store(Some(Arc::new(Identity { key, digest, ends, generation })));
        Ok(())
    }

    /// The ends of the certificate that is presented to Vault, and of the authorities of Vault's.
    #[must_use]
    pub fn ends(&self) -> Vec<End> {
        let identity = self.identity.load();
        self.authority_ends.iter().chain(identity.iter().flat_map(|identity| &identity.ends)).cloned().collect()
    }

    /// Which certificate new connections present: 0 for none, one more for each that followed.
    #[must_use]
    pub fn presents(&self) -> u64 {
        self.peers.load().first().map_or(0, |peers| generation(peers.requests.group_key))
    }

    /// The gate's own namespace.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        &self.settings.namespace
    }

    /// Notes whether Vault has namespaces. Until it is known, none is asked in but the gate's own.
    pub fn note_namespaces(&self, known: bool) {
        self.namespaces.store(known, Ordering::Relaxed);
    }

    /// The time between two refreshes.
    #[must_use]
    pub const fn refresh_every(&self) -> Duration {
        self.settings.resolve
    }

    fn publish(&self, addresses: impl IntoIterator<Item = SocketAddr>) {
        let both = |address| Peers {
            background: Arc::new(self.peer(address, Lane::Background)),
            requests: Arc::new(self.peer(address, Lane::Requests)),
        };
        let peers: Vec<_> = addresses.into_iter().map(both).collect();
        let who = |peers: &Peers| (peers.requests._address.clone(), peers.requests.group_key);
        let same = |now: &[Peers]| now.iter().map(who).eq(peers.iter().map(who));
        if !peers.is_empty() && !same(&self.peers.load()) {
            self.peers.store(Arc::new(peers));
        }
    }

    fn peer(&self, address: SocketAddr, lane: Lane) -> HttpPeer {
        let mut peer = HttpPeer::new(address, self.settings.tls, self.settings.server_name.clone());
        let identity = self.identity.load();
        let generation = identity.as_ref().map_or(0, |identity| identity.generation);
        // By its serial numbers alone the pool could take one certificate for another.
        peer.group_key = group(generation, lane);
        peer.client_cert_key = identity.as_ref().map(|identity| Arc::clone(&identity.key));
        peer.options.connection_timeout = Some(self.settings.connect_timeout);
        peer.options.total_connection_timeout = Some(self.settings.connect_timeout);
        peer.options.idle_timeout = Some(self.settings.idle);
        peer
    }

    /// Asks Vault for the gate and reads the whole answer. The request is taken by value, which nobody
    /// has an agent's by.
    ///
    /// # Errors
    /// [`Broken`].
    pub async fn ask(&self, request: VaultRequest, envelope: Envelope<'_>) -> Result<Answer, Broken> {
        let answer = self.answer(&request, envelope).await?;
        self.tell_rejection(&request, envelope, false, &answer);
        Ok(answer)
    }

    /// True where Vault does not know the token that this answer was asked for with. Where its words
    /// leave that open, the token is looked up, once for all who ask within a second.
    pub async fn denies_token(&self, envelope: Envelope<'_>, answer: &Answer) -> bool {
        self.doubts.deny(envelope.token, answer, self.is_gone(envelope)).await
    }

    /// True where Vault does not find the token. A token that may not look itself up is known.
    async fn is_gone(&self, envelope: Envelope<'_>) -> bool {
        let Ok(request) = control::lookup_self() else { return false };
        let Envelope { lane, token, namespace, correlation, .. } = envelope;
        let patience = Patience::Look(doubt::LOOK);
        let envelope = Envelope { lane, token, namespace, correlation, patience, ..Envelope::default() };
        self.ask(request, envelope).await.is_ok_and(|answer| doubt::is_unknown(&answer))
    }

    async fn answer(&self, request: &VaultRequest, envelope: Envelope<'_>) -> Result<Answer, Broken> {
        let time = match envelope.patience {
            Patience::Usual => self.settings.timeout,
            Patience::For(time) => time,
            // It is rare, and twice as large as what every request waits in.
            Patience::Look(time) if request.is_repeatable() => {
                return Box::pin(self.look(request, envelope, time)).await;
            }
            Patience::Look(time) => time,
        };
        let span = span(request, envelope);
        // It is large, and stays where it is made.
        let exchange = pin!(self.exchange(request, Envelope { span: Some(&span), ..envelope }));
        let answer = timeout(time, exchange).await.unwrap_or(Err(Broken::Late));
        match &answer {
            Ok(answer) => span.answered(answer.status),
            Err(broken) => span.refused(&(*broken).into()),
        }
        answer
    }

    async fn exchange(&self, request: &VaultRequest, envelope: Envelope<'_>) -> Result<Answer, Broken> {
        let (session, peer) = self.converse_anywhere(request, envelope).await?;
        self.whole(session, &peer, envelope.limit).await
    }

    /// Reads the answer whose head has arrived.
    async fn whole(&self, mut session: HttpSession, peer: &Arc<HttpPeer>, limit: usize) -> Result<Answer, Broken> {
        let status = session.get_status().map_or(0, |status| status.as_u16());
        let media = other_media(&session);
        let body = read_body(&mut session, limit).await?;
        self.pool.keep(session, peer).await;
        Ok(Answer { status, media, body })
    }

    /// Asks Vault and gives the answer as it arrives. Each part may take as
    /// long as a whole answer may otherwise.
    ///
    /// # Errors
    /// [`Broken`] before the answer's head.
    async fn arrive(&self, request: &VaultRequest, envelope: Envelope<'_>) -> Result<Arrival, Broken> {
        let silence = self.settings.timeout;
        let span = span(request, envelope);
        let conversing = pin!(self.converse_anywhere(request, Envelope { span: Some(&span), ..envelope }));
        let conversed = timeout(silence, conversing).await.unwrap_or(Err(Broken::Late));
        let (session, peer) = conversed.inspect_err(|broken| span.refused(&(*broken).into()))?;
        let status = session.get_status().map_or(0, |status| status.as_u16());
        span.answered(status);
        let deadline = Instant::now() + silence * PARTS;
        let (pool, arrived) = (Arc::clone(&self.pool), VecDeque::new());
        Ok(Arrival { pool, session, peer, status, arrived, silence, deadline })
    }

    /// Sends the request, and again where a pooled connection turns out dead
    /// before a byte of the answer; the answer's head has arrived then.
    async fn converse_anywhere(
        &self,
        request: &VaultRequest,
        envelope: Envelope<'_>,
    ) -> Result<(HttpSession, Arc<HttpPeer>), Broken> {
        loop {
            let (mut session, peer, reused) = self.connect(envelope.lane).await?;
            match self.converse(&mut session, request, envelope).await {
                Ok(()) => return Ok((session, peer)),
                // Each turn takes a connection out of the pool, so this ends.
                Err(Stop::Silent) if reused && request.is_repeatable() => {}
                Err(Stop::Silent | Stop::Broken) => return Err(Broken::Unreachable),
                Err(Stop::Nonsense) => return Err(Broken::Nonsense),
            }
        }
    }

    /// A connection, to the peer that answered last or to the next one.
    async fn connect(&self, lane: Lane) -> Result<(HttpSession, Arc<HttpPeer>, bool), Broken> {
        let peers = self.peers.load_full();
        let first = self.current.load(Ordering::Relaxed);
        for turn in 0..peers.len() {
            let index = (first + turn) % peers.len();
            let Some(peers) = peers.get(index) else { continue };
            let peer = match lane {
                Lane::Background => &peers.background,
                Lane::Requests => &peers.requests,
            };
            // Making a connection is rare and holds much: it is kept out of every request's way.
            let connected = match self.pool.connector.reused_http_session(&**peer).await {
                Some(session) => Ok((session, true)),
                None => Box::pin(self.pool.connector.get_http_session(&**peer)).await,
            };
            if let Ok((session, reused)) = connected {
                if turn > 0 {
                    self.current.store(index, Ordering::Relaxed);
                }
                return Ok((session, Arc::clone(peer), reused));
            }
        }
        Err(Broken::Unreachable)
    }

    async fn converse(
        &self,
        session: &mut HttpSession,
        request: &VaultRequest,
        envelope: Envelope<'_>,
    ) -> Result<(), Stop> {
        let head = self.head(request, envelope)?;
        session.write_request_header(head).await.map_err(|_| Stop::Silent)?;
        if let Some(body) = request.body() {
            session.write_body(body).await.map_err(|_| Stop::Silent)?;
        }
        session.finish_body().await.map_err(|_| Stop::Silent)?;
        answered(session).await
    }

    /// The head: what is set here, and nothing of the caller's.
    fn head(&self, request: &VaultRequest, envelope: Envelope<'_>) -> Result<Box<RequestHeader>, Stop> {
        let elsewhere = envelope.namespace.is_some_and(|namespace| *namespace != self.settings.namespace);
        if elsewhere && !self.namespaces.load(Ordering::Relaxed) {
            if let Some(left_out) = self.unsent.due() {
                tracing::error!(left_out, "a namespace is not asked in: this Vault has none, or is not known to");
            }
            return Err(Stop::Broken);
        }
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = Method::try_from(request.method().name()).map_err(|_| Stop::Nonsense)?;
        head.uri = Uri::try_from(request.path()).map_err(|_| Stop::Nonsense)?;
        head.headers = self.headers(request, envelope).map_err(|_| Stop::Nonsense)?;
        Ok(Box::new(head.into()))
    }

    fn headers(&self, request: &VaultRequest, envelope: Envelope<'_>) -> Result<HeaderMap, InvalidHeaderValue> {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(HOST, self.host.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static("portcullis"));
        headers.insert(VAULT_REQUEST, HeaderValue::from_static("true"));
        if let Some(token) = envelope.token {
            let mut value = HeaderValue::try_from(token.expose())?;
            value.set_sensitive(true);
            headers.insert(VAULT_TOKEN, value);
        }
        let namespace = envelope.namespace.unwrap_or(&self.settings.namespace);
        if !namespace.is_root() && !request.is_of_the_root() {
            headers.insert(VAULT_NAMESPACE, HeaderValue::try_from(namespace.as_str())?);
        }
        if let Some(seconds) = envelope.wrap_ttl {
            headers.insert(VAULT_WRAP_TTL, seconds.into());
        }
        let correlation = envelope.correlation.map_or_else(|| Ok(self.own.clone()), HeaderValue::try_from)?;
        headers.insert(CORRELATION_ID, correlation);
        if let Some((parent, state)) = envelope.span.and_then(Timed::context) {
            headers.insert(TRACEPARENT, HeaderValue::from_bytes(&parent.render())?);
            if !state.is_empty() {
                headers.insert(TRACESTATE, HeaderValue::try_from(state)?);
            }
        }
        for (name, value) in request.headers() {
            headers.insert(name.clone(), HeaderValue::try_from(&**value)?);
        }
        if let Some(body) = request.body() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(request.method().media()));
            headers.insert(CONTENT_LENGTH, body.len().into());
        }
        Ok(headers)
    }
}

/// The step of the trace in which this is asked.
fn span<'a>(request: &VaultRequest, envelope: Envelope<'a>) -> Timed<'a> {
    let method = request.method().name();
    let (recording, entry) = envelope.traced.unzip();
    Timed::begin(recording, Step::Exchange { method, entry })
}

/// The number by which the pool keeps connections to one address apart.
const fn group(generation: u64, lane: Lane) -> u64 {
    generation << 1 | lane as u64
}

const fn generation(group: u64) -> u64 {
    group >> 1
}

fn header(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::try_from(text).map_err(|error| format!("Vault's host: {error}"))
}
