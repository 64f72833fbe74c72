//! The body of a request: read after its caller is known, bounded in size, in
//! time, and together with all others under way.

use bytes::{Bytes, BytesMut};
use filters::refusal::Refusal;
use http::header::{CONTENT_LENGTH, EXPECT};
use pingora_core::protocols::http::ServerSession;
use tokio::time::timeout;

use crate::state::Share;

use super::{Request, head};

/// A body and its share of the bytes that may be held at once.
pub(super) struct Body<'a> {
    pub(super) bytes: Bytes,
    _share: Share<'a>,
}

impl Request<'_> {
    /// Reads the whole body.
    pub(super) async fn body(&self, session: &mut ServerSession) -> Result<Body<'_>, Refusal> {
        let limits = &self.snapshot.limits;
        let headers = &session.req_header().headers;
        if !head::is_json(headers) {
            return Err(Refusal::UnsupportedMediaType);
        }
        let declared = declared(session)?;
        if declared.is_some_and(|length| length > limits.body) {
            return Err(Refusal::BodyTooLarge);
        }
        let room = declared.unwrap_or(limits.body);
        let share = self.state.load.body(room, limits.bodies_in_flight).ok_or(Refusal::Overloaded)?;
        let expects = head::text(headers, EXPECT).is_some_and(|e| e.eq_ignore_ascii_case("100-continue"));
        if expects {
            session.write_continue_response().await.map_err(|_| Refusal::RequestTimeout)?;
        }
        let read = read(session, limits.body, declared);
        let bytes = timeout(limits.body_timeout, read).await.map_err(|_| Refusal::RequestTimeout)??;
        Ok(Body { bytes, _share: share })
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

async fn read(session: &mut ServerSession, limit: usize, declared: Option<usize>) -> Result<Bytes, Refusal> {
    let broken = Refusal::Malformed("The body broke off.");
    let mut whole: Option<BytesMut> = None;
    let mut first: Option<Bytes> = None;
    while let Some(chunk) = session.read_request_body().await.map_err(|_| broken.clone())? {
        let before = whole.as_ref().map_or_else(|| first.as_ref().map_or(0, Bytes::len), BytesMut::len);
        if before + chunk.len() > limit {
            return Err(Refusal::BodyTooLarge);
        }
        match (&mut whole, first.take()) {
            (Some(whole), _) => whole.extend_from_slice(&chunk),
            (None, None) => first = Some(chunk),
            (None, Some(begin)) => {
                let mut joined = BytesMut::with_capacity(declared.unwrap_or((begin.len() + chunk.len()) * 2));
                joined.extend_from_slice(&begin);
                joined.extend_from_slice(&chunk);
                whole = Some(joined);
            }
        }
    }
    Ok(whole.map(BytesMut::freeze).or(first).unwrap_or_default())
}
