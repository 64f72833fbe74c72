//! What a caller is answered, and how it is written.

use bytes::Bytes;
use filters::headers::{CORRELATION_ID, REQUEST_ID};
use filters::refusal::Refusal;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE,
    HeaderName, InvalidHeaderValue, RETRY_AFTER, TRANSFER_ENCODING, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use pingora_core::protocols::http::ServerSession;
use pingora_http::ResponseHeader;

use super::events::Events;
use super::head::Head;
use crate::service::Streaming;

/// What pages of other origins may read beside what browsers let them anyway.
const EXPOSED: HeaderValue = HeaderValue::from_static("x-request-id, x-correlation-id, www-authenticate");

/// An answer.
pub(super) struct Reply {
    status: u16,
    media: &'static str,
    body: Body,
    headers: Vec<(HeaderName, HeaderValue)>,
}

enum Body {
    Whole(Bytes),
    Streaming(Box<Streaming>),
    Events(Box<Events>),
}

/// Why an answer was not written to its end.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// The caller has gone, or takes nothing any more.
    Caller,
    /// Vault's answer broke off half-way.
    Upstream(Refusal),
}

impl From<pingora_core::BError> for Unwritten {
    fn from(_: pingora_core::BError) -> Self {
        Self::Caller
    }
}

impl From<InvalidHeaderValue> for Unwritten {
    fn from(_: InvalidHeaderValue) -> Self {
        Self::Caller
    }
}

impl Reply {
    /// A JSON body.
    pub(super) fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, media: "application/json", body: Body::Whole(body.into()), headers: Vec::new() }
    }

    /// A JSON body that is still arriving.
    pub(super) fn streaming(status: u16, streaming: Box<Streaming>) -> Self {
        Self { status, media: "application/json", body: Body::Streaming(streaming), headers: Vec::new() }
    }

    /// A stream of events, of which nothing is there yet.
    pub(super) fn events(events: Events) -> Self {
        let body = Body::Events(Box::new(events));
        let mut reply = Self { status: 200, media: "text/event-stream", body, headers: Vec::new() };
        // nginx would keep events back.
        reply.add("x-accel-buffering", HeaderValue::from_static("no"));
        reply
    }

    /// No body.
    pub(super) fn empty(status: u16) -> Self {
        Self { status, media: "", body: Body::Whole(Bytes::new()), headers: Vec::new() }
    }

    /// A success of this media type.
    pub(super) fn of(media: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status: 200, media, body: Body::Whole(body.into()), headers: Vec::new() }
    }

    /// What a refusal says.
    pub(super) fn refused(refusal: &Refusal, request_id: &str) -> Self {
        let mut reply = Self::json(refusal.public().status.as_u16(), refusal.body(request_id));
        if let Some(seconds) = refusal.retry_after() {
            reply.headers.push((RETRY_AFTER, seconds.into()));
        }
        match refusal {
            Refusal::RateLimited(exceeded) => {
                reply.add("ratelimit-limit", exceeded.limit.into());
                reply.add("ratelimit-remaining", 0.into());
                reply.add("ratelimit-reset", exceeded.reset.into());
            }
            Refusal::EncodedBody => reply.add("accept-encoding", HeaderValue::from_static("identity")),
            Refusal::MethodNotAllowed(methods) | Refusal::Verb(methods) => {
                // The core names the methods that are judged: a HEAD is judged as the GET.
                if let Ok(methods) = HeaderValue::try_from(methods.replace("GET", "GET, HEAD")) {
                    reply.headers.push((ALLOW, methods));
                }
            }
            _ => {}
        }
        reply
    }

    /// Adds a header.
    pub(super) fn add(&mut self, name: &'static str, value: HeaderValue) {
        self.headers.push((HeaderName::from_static(name), value));
    }

    /// Bytes of the body, as far as they are known.
    pub(super) fn size(&self) -> usize {
        match &self.body {
            Body::Whole(body) => body.len(),
            Body::Streaming(_) | Body::Events(_) => 0,
        }
    }

    pub(super) const fn status(&self) -> u16 {
        self.status
    }

    /// Writes head and body, but for events: those are given back.
    pub(super) async fn write(
        self,
        session: &mut ServerSession,
        head: &Head,
    ) -> Result<Option<Box<Events>>, Unwritten> {
        let mut headers = self.head(&head.request_id, &head.correlation_id)?;
        if let Some(origin) = head.origin.as_deref() {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::try_from(origin)?);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            headers.insert(VARY, HeaderValue::from_static("origin"));
        }
        if head.is_bodiless {
            return self.send_head(session, headers).await;
        }
        self.send(session, headers).await
    }

    /// Writes the answer to a head that could not be read.
    pub(super) async fn write_unread(self, session: &mut ServerSession, id: &str) -> Result<(), Unwritten> {
        let headers = self.head(id, id)?;
        self.send(session, headers).await?;
        Ok(session.finish_body().await?)
    }

    /// Writes the head alone, with the headers that the whole answer has.
    async fn send_head(
        self,
        session: &mut ServerSession,
        mut headers: HeaderMap,
    ) -> Result<Option<Box<Events>>, Unwritten> {
        if !matches!(self.body, Body::Whole(_)) {
            chunk(session, &mut headers);
        }
        let head = self.response(headers);
        match session {
            ServerSession::H2(stream) => stream.write_response_header(head, true)?,
            session => session.write_response_header(head).await?,
        }
        Ok(None)
    }

    fn response(&self, headers: HeaderMap) -> Box<ResponseHeader> {
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        head.headers = headers;
        Box::new(ResponseHeader::from(head))
    }

    async fn send(self, session: &mut ServerSession, mut headers: HeaderMap) -> Result<Option<Box<Events>>, Unwritten> {
        if !matches!(self.body, Body::Whole(_)) {
            chunk(session, &mut headers);
        }
        session.write_response_header(self.response(headers)).await?;
        match self.body {
            Body::Whole(body) => {
                if !body.is_empty() {
                    session.write_response_body(body, true).await?;
                }
            }
            Body::Streaming(streaming) => {
                let mut rest = Some(streaming);
                while let Some(streaming) = rest {
                    let (part, next) = Box::pin(streaming.next()).await.map_err(Unwritten::Upstream)?;
                    session.write_response_body(part.into(), next.is_none()).await?;
                    rest = next;
                }
            }
            Body::Events(events) => return Ok(Some(events)),
        }
        Ok(None)
    }

    fn head(&self, request_id: &str, correlation_id: &str) -> Result<HeaderMap, InvalidHeaderValue> {
        let mut headers = HeaderMap::with_capacity(12);
        if let (Body::Whole(body), true) = (&self.body, self.status != 204) {
            headers.insert(CONTENT_LENGTH, body.len().into());
        }
        if !self.media.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.media));
        }
        // Any answer may carry a secret, or say whether there is one.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REQUEST_ID, HeaderValue::try_from(request_id)?);
        headers.insert(CORRELATION_ID, HeaderValue::try_from(correlation_id)?);
        for (name, value) in &self.headers {
            // One for each scheme; of any other header what was added stands alone.
            if name == WWW_AUTHENTICATE {
                headers.append(name, value.clone());
            } else {
                headers.insert(name, value.clone());
            }
        }
        Ok(headers)
    }
}

/// A body of no known length has chunks in HTTP/1.1, and ends with the connection before.
fn chunk(session: &ServerSession, headers: &mut HeaderMap) {
    if !session.is_http2() && session.req_header().version >= Version::HTTP_11 {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}
