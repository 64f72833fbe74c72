//! The last step of a request: its answer is written, and what Vault gave out for it is its
//! agent's, or goes back.

use futures_util::FutureExt as _;
use pingora_core::protocols::http::ServerSession;

use crate::surfaces::Reply;
use crate::surfaces::events::Events;

use super::request::Request;
use super::write::Unwritten;

impl Request<'_> {
    /// Writes the answer, but for events: those are given back. What an answer holds that was
    /// given out for this request is not written to a caller that has gone.
    pub(super) async fn hand_over(
        &self,
        reply: Reply,
        session: &mut ServerSession,
    ) -> Result<Option<Box<Events>>, Unwritten> {
        if !self.context.parcel.is_empty() && is_gone(session) {
            return Err(Unwritten::Caller);
        }
        let events = self.answer(reply, session).await?;
        // Nobody has what an answer without its body would have held.
        if !self.head.is_bodiless {
            self.context.parcel.handed_over();
        }
        Ok(events)
    }
}

/// True where the caller has closed its connection or given the request up. Writing an answer into a
/// closed connection is no error.
fn is_gone(session: &mut ServerSession) -> bool {
    // It waits, or sends the next request, or has gone.
    matches!(session.read_body_or_idle(true).now_or_never(), Some(Err(_)))
}
