//! What a caller is answered, and how it is written.

use bytes::Bytes;
use filters::refusal::Refusal;
use http::HeaderValue;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE,
    HeaderName, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
};
use pingora_core::protocols::http::ServerSession;
use pingora_http::ResponseHeader;

use super::head::Head;

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    status: u16,
    media: &'static str,
    body: Bytes,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Reply {
    /// A JSON body.
    pub(super) fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, media: "application/json", body: body.into(), headers: Vec::new() }
    }

    /// No body.
    pub(super) fn empty(status: u16) -> Self {
        Self { status, media: "", body: Bytes::new(), headers: Vec::new() }
    }

    /// Plain text.
    pub(super) fn text(media: &'static str, body: Vec<u8>) -> Self {
        Self { status: 200, media, body: body.into(), headers: Vec::new() }
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
            Refusal::MethodNotAllowed(methods) => {
                if let Ok(methods) = HeaderValue::try_from(methods.as_str()) {
                    reply.headers.push((ALLOW, methods));
                }
            }
            Refusal::Unauthenticated => {
                reply.headers.push((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"portcullis\"")));
            }
            Refusal::InsufficientScope(scope) => {
                let challenge = format!("Bearer realm=\"portcullis\", error=\"insufficient_scope\", scope=\"{scope}\"");
                if let Ok(challenge) = HeaderValue::try_from(challenge) {
                    reply.headers.push((WWW_AUTHENTICATE, challenge));
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

    pub(super) const fn status(&self) -> u16 {
        self.status
    }

    /// Writes head and body.
    pub(super) async fn write(&self, session: &mut ServerSession, head: &Head) -> Result<(), pingora_core::BError> {
        let mut response = self.response(&head.request_id)?;
        response.insert_header("x-correlation-id", head.correlation_id.as_str())?;
        if let Some(origin) = head.origin.as_deref() {
            response.insert_header(ACCESS_CONTROL_ALLOW_ORIGIN, origin)?;
            response
                .insert_header(ACCESS_CONTROL_EXPOSE_HEADERS, "x-request-id, x-correlation-id, www-authenticate")?;
            response.insert_header(VARY, "origin")?;
        }
        self.send(session, response).await
    }

    /// Writes the answer to a head that could not be read.
    pub(super) async fn write_unread(&self, session: &mut ServerSession, id: &str) -> Result<(), pingora_core::BError> {
        let mut response = self.response(id)?;
        response.insert_header("x-correlation-id", id)?;
        self.send(session, response).await?;
        session.finish_body().await
    }

    async fn send(&self, session: &mut ServerSession, response: ResponseHeader) -> Result<(), pingora_core::BError> {
        session.write_response_header(Box::new(response)).await?;
        if self.body.is_empty() {
            return Ok(());
        }
        session.write_response_body(self.body.clone(), true).await
    }

    fn response(&self, request_id: &str) -> Result<ResponseHeader, pingora_core::BError> {
        let mut response = ResponseHeader::build_no_case(self.status, Some(10))?;
        if self.status != 204 {
            response.insert_header(CONTENT_LENGTH, self.body.len())?;
        }
        if !self.media.is_empty() {
            response.insert_header(CONTENT_TYPE, self.media)?;
        }
        // Any answer may carry a secret, or say whether there is one.
        response.insert_header(CACHE_CONTROL, "no-store")?;
        response.insert_header("x-content-type-options", "nosniff")?;
        response.insert_header("x-request-id", request_id)?;
        for (name, value) in &self.headers {
            response.insert_header(name.clone(), value.clone())?;
        }
        Ok(response)
    }
}
