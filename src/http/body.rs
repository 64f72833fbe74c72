//! The body of a request: read after its caller is known, bounded in size, in
//! time, and together with all others under way, of its agent and of everyone.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use filters::grants::Agent;
use filters::names::AgentId;
use filters::refusal::Refusal;
use http::header::{CONTENT_LENGTH, EXPECT};
use pingora_core::protocols::http::ServerSession;
use tokio::time::{Instant, timeout_at};

use crate::config::Limits;
use crate::limits::{Full, Share, Shares};

use crate::surfaces::text;

use super::head;
use super::request::Request;

/// The time for which a body may come more slowly than `limits.body_rate`.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes that no share is taken for: of such bodies an agent has no more than turns and places to wait for one.
const SMALL: usize = 16 << 10;
/// Most bytes that are set aside before they have arrived.
const AHEAD: usize = 64 << 10;

/// A body and its share of the bytes that may be held at once.
#[derive(Default)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    _share: Option<Share>,
}

impl Body {
    /// The bytes alone, which give the share back.
    pub(super) fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

impl Request<'_> {
    /// Reads the whole body of a caller's.
    pub(super) async fn body(&self, session: &mut ServerSession, agent: &Agent) -> Result<Body, Refusal> {
        self.body_of(session, Some(agent)).await
    }

    /// Reads the whole body of whoever is nobody yet, which is small.
    pub(super) async fn body_of_login(&self, session: &mut ServerSession) -> Result<Bytes, Refusal> {
        self.body_of(session, None).await.map(Body::into_bytes)
    }

    async fn body_of(&self, session: &mut ServerSession, agent: Option<&Agent>) -> Result<Body, Refusal> {
        let limits = &self.context.snapshot.limits.bounds;
        let declared = declared(session)?;
        // Nothing is of no type. A page of another origin is refused by its origin.
        if declared == Some(0) || session.is_body_empty() {
            return Ok(Body { bytes: Bytes::new(), _share: None });
        }
        let headers = &session.req_header().headers;
        // Clients of Vault's declare nothing, or a form.
        let (is_json, is_plain) = (self.is_vault_api() || head::is_json(headers), head::is_plain(headers));
        let expects = text(headers, EXPECT).is_some_and(|e| e.eq_ignore_ascii_case("100-continue"));
        let (bodies, started) = (&self.context.state.load.bodies, Instant::now());
        let mut arriving = Arriving { limits, agent, bodies, share: None, started, received: 0 };
        if !is_json {
            let is_empty = declared.is_none() && !expects && arriving.is_empty(session).await?;
            let empty = Body { bytes: Bytes::new(), _share: None };
            return if is_empty { Ok(empty) } else { Err(Refusal::UnsupportedMediaType) };
        }
        if !is_plain {
            return Err(Refusal::EncodedBody);
        }
        if declared.is_some_and(|length| length > limits.body) {
            return Err(Refusal::BodyTooLarge);
        }
        if expects {
            session.write_continue_response().await.map_err(|_| Refusal::RequestTimeout)?;
        }
        let bytes = arriving.read(session, declared).await?;
        Ok(Body { bytes, _share: arriving.share })
    }
}

fn declared(session: &ServerSession) -> Result<Option<usize>, Refusal> {
    match session.req_header().headers.get(CONTENT_LENGTH) {
        None => Ok(None),
        Some(value) => {
            let length = value.to_str().ok().and_then(|text| text.parse().ok());
            length.map(Some).ok_or(Refusal::Malformed("The Content-Length header is not a number."))
        }
    }
}

/// A body that arrives, and what it has been charged for.
struct Arriving<'a> {
    limits: &'a Limits,
    agent: Option<&'a Agent>,
    bodies: &'a Shares<AgentId>,
    share: Option<Share>,
    started: Instant,
    received: usize,
}

impl Arriving<'_> {
    async fn read(&mut self, session: &mut ServerSession, declared: Option<usize>) -> Result<Bytes, Refusal> {
        let Some(first) = self.next(session).await? else { return Ok(Bytes::new()) };
        let Some(second) = self.next(session).await? else { return Ok(first) };
        let room = declared.unwrap_or(0).min(AHEAD).max((first.len() + second.len()) * 2);
        let mut whole = BytesMut::with_capacity(room);
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        while let Some(chunk) = self.next(session).await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// Tells if a body of no declared length ends without a byte.
    async fn is_empty(&mut self, session: &mut ServerSession) -> Result<bool, Refusal> {
        while let Some(part) = self.next(session).await? {
            if !part.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The next part, charged for; `None` at the end.
    async fn next(&mut self, session: &mut ServerSession) -> Result<Option<Bytes>, Refusal> {
        let read = timeout_at(self.deadline(), session.read_request_body());
        let read = read.await.map_err(|_| Refusal::RequestTimeout)?;
        let Some(chunk) = read.map_err(|_| Refusal::Malformed("The body broke off."))? else { return Ok(None) };
        self.received += chunk.len();
        if self.received > self.limits.body {
            return Err(Refusal::BodyTooLarge);
        }
        if self.received > SMALL {
            let agent = self.agent.ok_or(Refusal::BodyTooLarge)?;
            self.charge(agent, chunk.len()).map_err(refused)?;
        }
        Ok(Some(chunk))
    }

    fn charge(&mut self, agent: &Agent, bytes: usize) -> Result<(), Full> {
        match &mut self.share {
            Some(share) => share.grow(bytes, self.limits.bodies)?,
            None => {
                let share = self.bodies.take(agent.id.clone(), self.received, self.limits.bodies)?;
                self.share = Some(share);
            }
        }
        Ok(())
    }

    /// When the next part must be there: in the time of a whole body, and no more slowly than bodies
    /// have to come.
    fn deadline(&self) -> Instant {
        let earned = Duration::from_secs_f64(self.received as f64 / self.limits.body_rate as f64);
        self.started + (GRACE + earned).min(self.limits.body_timeout)
    }
}

fn refused(full: Full) -> Refusal {
    match full {
        Full::Own => Refusal::TooManyAtOnce,
        Full::All => Refusal::Overloaded,
    }
}
