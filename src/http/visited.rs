//! The end of a request: it is counted, and told of.

use std::time::Instant;

use pingora_core::protocols::http::{ReusableHttpStream, ServerSession};

use crate::listener::Busy;
use crate::service::RefusedLogin;
use crate::telemetry::Record;

use super::request::{Request, Visit};
use super::routes;
use super::write::Unwritten;

/// A request that was served, to be told of at its end.
pub(super) struct Visited<'a> {
    pub(super) request: Request<'a>,
    pub(super) visit: Visit,
    /// The HTTP status of its answer.
    pub(super) status: u16,
    pub(super) started: Instant,
    pub(super) _busy: Busy,
}

impl Visited<'_> {
    /// Tells of the request once its answer is written or was given up; gives the connection for the
    /// next one, and what has come of that.
    pub(super) async fn end(
        mut self,
        session: ServerSession,
        written: Result<(), Unwritten>,
    ) -> Option<ReusableHttpStream> {
        if let Err(Unwritten::Upstream(refusal)) = &written {
            self.visit.refuse(refusal);
            self.request.context.state.metrics.upstream_broken.inc();
        }
        self.tell();
        // Without its end, the answer is visibly broken.
        written.ok()?;
        session.finish().await.ok()?
    }

    /// Counts the answer, and tells the sinks of each outcome.
    fn tell(&self) {
        let Self { request: Request { context, head, .. }, visit, started, .. } = self;
        let status = self.status;
        let route = visit.route.unwrap_or(routes::UNMATCHED);
        let took = started.elapsed();
        context.state.metrics.answered(route, status, took.as_secs_f64());
        context.state.metrics.correlated.inc();
        let login = visit.login.as_deref();
        let of_login = |field: fn(&RefusedLogin) -> &str| login.map_or("", field);
        let request = Record {
            request_id: &head.request_id,
            correlation_id: &head.correlation_id,
            client: head.client,
            method: head.method_name(),
            route: context.state.metrics.template(route),
            agent: visit.agent.as_ref().map_or("", |agent| agent.id.as_str()),
            namespace: visit.agent.as_ref().map_or("", |agent| agent.namespace.as_str()),
            proof: visit.proof,
            why: of_login(|login| &login.why),
            principal: of_login(|login| &login.principal),
            key: of_login(|login| &login.key),
            certificate: of_login(|login| &login.certificate),
            issuer: of_login(|login| &login.issuer),
            status,
            took,
            ..Record::default()
        };
        visit.outcomes.finish(&request, &context.state.sinks);
    }
}
