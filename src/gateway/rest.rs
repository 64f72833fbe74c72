//! The REST surface.

use filters::operation::Operation;
use filters::refusal::Refusal;
use filters::rest::{self, Carried, Match};
use http::Version;
use pingora_core::protocols::http::ServerSession;

use crate::service::{Called, Caller, Holds, Performed};

use super::reply::Reply;
use super::{Request, Served, head};

impl Request<'_> {
    /// Serves one REST request.
    pub(super) async fn rest(&self, session: &mut ServerSession, matched: &Match<'_>, caller: &Caller<'_>) -> Served {
        let facts = matched.kind.facts;
        // Before HTTP/1.1 an answer that breaks off cannot be told from a whole one.
        let framed = session.req_header().version >= Version::HTTP_11;
        let holds = if framed { Holds::Little } else { Holds::Whole };
        let Called { answer, outcome } = match self.rest_operation(session, matched, caller).await {
            Ok(operation) => self.context.call(caller, operation, holds).await,
            Err(refusal) => Called::refused(facts.name, refusal),
        };
        let reply = answer.map(|performed| match (facts.success, performed) {
            (204, _) => Reply::empty(204),
            (status, Performed::Whole(answer)) => Reply::json(status, answer),
            (status, Performed::Streaming(streaming)) => Reply::streaming(status, streaming),
        });
        Served { reply, outcomes: outcome.into() }
    }

    async fn rest_operation(
        &self,
        session: &mut ServerSession,
        matched: &Match<'_>,
        caller: &Caller<'_>,
    ) -> Result<Operation, Refusal> {
        if !head::accepts_json(&session.req_header().headers) {
            return Err(Refusal::NotAcceptable);
        }
        let (wrap_ttl, bounds) = (self.head.wrap_ttl.as_deref(), self.context.snapshot.limits.json);
        let carried = Carried { query: &self.head.query, wrap_ttl, bounds, ..Carried::default() };
        if !matched.kind.facts.takes_body {
            return rest::operation(matched, carried);
        }
        let body = self.body(session, caller.agent()).await?;
        rest::operation(matched, Carried { body: &body.bytes, ..carried })
    }
}
