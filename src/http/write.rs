//! The one place that writes answers.

use std::io;

use filters::headers::{CORRELATION_ID, REQUEST_ID, TRACE_ID};
use filters::refusal::Refusal;
use filters::trace::TraceParent;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE,
    InvalidHeaderValue, TRANSFER_ENCODING, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use pingora_core::protocols::http::ServerSession;
use pingora_http::ResponseHeader;

use crate::service::Caller;
use crate::surfaces::events::Events;
use crate::surfaces::{Body, Reply};

use super::request::Request;

/// The headers that pages of other origins may read beside those that browsers show them anyway.
const EXPOSED: HeaderValue = HeaderValue::from_static("x-request-id, x-correlation-id, x-trace-id, www-authenticate");

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

impl From<io::Error> for Unwritten {
    fn from(_: io::Error) -> Self {
        Self::Caller
    }
}

impl From<h2::Error> for Unwritten {
    fn from(_: h2::Error) -> Self {
        Self::Caller
    }
}

impl Request<'_> {
    /// Writes head and body, but for events: those are given back. Of an answer that was begun only the
    /// rest is written.
    pub(super) async fn answer(
        &self,
        reply: Reply,
        session: &mut ServerSession,
    ) -> Result<Option<Box<Events>>, Unwritten> {
        if session.response_written().is_some() {
            // What is no rest of it leaves it without its end.
            return if reply.is_stream() { send_body(reply.body, session).await } else { Err(Unwritten::Caller) };
        }
        let headers = self.headers(&reply, session, (&self.head.correlation_id, self.head.parent))?;
        if self.head.is_bodiless {
            return send_head(reply.status, session, headers).await.map(|()| None);
        }
        send(reply, session, headers).await
    }

    /// Begins an answer to the caller that is a stream of events.
    pub(super) async fn begin(&self, session: &mut ServerSession, caller: &Caller<'_>) -> Result<(), Unwritten> {
        // Its head says if another request may follow.
        if self.context.state.is_draining() {
            session.set_keepalive(None);
        }
        let begun = Reply::told(String::new());
        let known = (caller.correlation_id(), self.head.parent.or(caller.parent()));
        let headers = self.headers(&begun, session, known)?;
        Ok(session.write_response_header(response(begun.status, headers)).await?)
    }

    /// All headers of its answer, with what the request is known by.
    fn headers(
        &self,
        reply: &Reply,
        session: &ServerSession,
        (correlation, parent): (&str, Option<TraceParent>),
    ) -> Result<HeaderMap, Unwritten> {
        let mut headers = all_headers(reply, session, [&self.head.request_id, correlation])?;
        if let Some(trace) = self.trace_id().or(parent.map(|parent| parent.trace)) {
            headers.insert(TRACE_ID, HeaderValue::from_bytes(&trace.render())?);
        }
        let shown = |origin: &&String| self.context.snapshot.surfaces.origins.contains(origin);
        if let Some(origin) = self.head.origin.as_ref().filter(shown) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::try_from(origin)?);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            headers.insert(VARY, HeaderValue::from_static("origin"));
        }
        Ok(headers)
    }
}

/// Writes the answer to a head that could not be read.
pub(super) async fn write_unread(reply: Reply, session: &mut ServerSession, id: &str) -> Result<(), Unwritten> {
    let headers = all_headers(&reply, session, [id, id])?;
    send(reply, session, headers).await?;
    Ok(session.finish_body().await?)
}

/// Writes the head alone, with the headers that the whole answer has.
async fn send_head(status: u16, session: &mut ServerSession, headers: HeaderMap) -> Result<(), Unwritten> {
    let head = response(status, headers);
    match session {
        ServerSession::H2(stream) => stream.write_response_header(head, true)?,
        session => session.write_response_header(head).await?,
    }
    Ok(())
}

fn response(status: u16, headers: HeaderMap) -> Box<ResponseHeader> {
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    head.headers = headers;
    Box::new(ResponseHeader::from(head))
}

async fn send(reply: Reply, session: &mut ServerSession, headers: HeaderMap) -> Result<Option<Box<Events>>, Unwritten> {
    session.write_response_header(response(reply.status, headers)).await?;
    send_body(reply.body, session).await
}

async fn send_body(body: Body, session: &mut ServerSession) -> Result<Option<Box<Events>>, Unwritten> {
    match body {
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

/// The headers of an answer; the ids are those of the request and of the correlation.
fn all_headers(
    reply: &Reply,
    session: &ServerSession,
    [request_id, correlation_id]: [&str; 2],
) -> Result<HeaderMap, InvalidHeaderValue> {
    let mut headers = HeaderMap::with_capacity(12);
    match &reply.body {
        Body::Whole(_) if reply.status == 204 => {}
        // The rest of a stream may still be to come.
        Body::Whole(body) if !reply.is_stream() => drop(headers.insert(CONTENT_LENGTH, body.len().into())),
        Body::Whole(_) | Body::Streaming(_) | Body::Events(_) if takes_chunks(session) => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        Body::Whole(_) | Body::Streaming(_) | Body::Events(_) => {}
    }
    if !reply.media.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.media));
    }
    // Any answer may carry a secret, or say whether there is one.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REQUEST_ID, HeaderValue::try_from(request_id)?);
    headers.insert(CORRELATION_ID, HeaderValue::try_from(correlation_id)?);
    for (name, value) in &reply.headers {
        // One for each scheme; of any other header what was added stands alone.
        if name == WWW_AUTHENTICATE {
            headers.append(name, value.clone());
        } else {
            headers.insert(name, value.clone());
        }
    }
    Ok(headers)
}

/// True where a body of no known length has chunks, as in HTTP/1.1; before that it ends with the connection.
pub(super) fn takes_chunks(session: &ServerSession) -> bool {
    !session.is_http2() && session.req_header().version >= Version::HTTP_11
}
