//! The REST surface.

use filters::identity::Identity;
use filters::refusal::Refusal;
use filters::rest::{self, Carried, Match};
use http::Version;
use pingora_core::protocols::http::ServerSession;

use super::reply::Reply;
use super::stream::{Holds, Performed};
use super::{Outcome, Request, head};

impl Request<'_> {
    /// Serves one REST request.
    pub(super) async fn rest(
        &self,
        session: &mut ServerSession,
        matched: &Match<'_>,
        identity: &Identity,
        outcome: &mut Outcome,
    ) -> Result<Reply, Refusal> {
        let facts = matched.kind.facts;
        if !head::accepts_json(&session.req_header().headers) {
            return Err(Refusal::NotAcceptable);
        }
        let wrap_ttl = self.head.wrap_ttl.as_deref();
        let carried =
            Carried { query: &self.head.query, wrap_ttl, bounds: self.snapshot.limits.json, ..Carried::default() };
        let operation = if facts.takes_body {
            let body = self.body(session, &identity.agent).await?;
            rest::operation(matched, Carried { body: &body.bytes, ..carried })?
        } else {
            rest::operation(matched, carried)?
        };
        // Before HTTP/1.1 an answer that breaks off cannot be told from a whole one.
        let framed = session.req_header().version >= Version::HTTP_11;
        let holds = if framed { Holds::Little } else { Holds::Whole };
        Ok(match (facts.success, self.perform_as(holds, identity, operation, outcome).await?) {
            (204, _) => Reply::empty(204),
            (status, Performed::Whole(answer)) => Reply::json(status, answer),
            (status, Performed::Streaming(streaming)) => Reply::streaming(status, streaming),
        })
    }
}
