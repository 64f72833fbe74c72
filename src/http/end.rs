//! The end of a request: it is counted, and told of.

use std::time::{Duration, SystemTime};

use crate::service::RefusedLogin;
use crate::telemetry::{Record, Recording};

use super::request::{Request, Visit};
use super::routes;
use super::write::Unwritten;

impl Request<'_> {
    /// Tells of the request once its answer is written or was given up; `None` where the connection is of
    /// no more use.
    pub(super) fn end(&self, visit: &mut Visit, written: Result<(), Unwritten>) -> Option<()> {
        let took = visit.started.elapsed();
        self.note(visit, &written);
        self.count(visit, took);
        self.tell(visit, took);
        // Without its end, the answer is visibly broken.
        written.ok()
    }

    /// Counts a stream of events that has begun.
    pub(super) fn begin_stream(&self, visit: &Visit) {
        self.count(visit, visit.started.elapsed());
    }

    /// Tells of a stream of events once it has ended; the request was counted when it began.
    pub(super) fn end_stream(&self, visit: &mut Visit, written: Result<(), Unwritten>) -> Option<()> {
        let lived = visit.started.elapsed();
        self.context.state.metrics.events.lives.observe(lived.as_secs_f64());
        self.note(visit, &written);
        if let Some(agent) = &visit.agent {
            agent.tally.see(self.context.state.after(visit.started, lived));
        }
        self.tell(visit, lived);
        written.ok()
    }

    /// Notes that the answer of Vault's broke off, where it did.
    fn note(&self, visit: &mut Visit, written: &Result<(), Unwritten>) {
        if let Err(Unwritten::Upstream(refusal)) = written {
            visit.refuse(refusal);
            self.context.state.metrics.vault.broken.inc();
        }
    }

    fn count(&self, visit: &Visit, took: Duration) {
        let state = self.context.state;
        let route = visit.route.unwrap_or(routes::UNMATCHED);
        state.metrics.answered(route, visit.status, took.as_secs_f64());
        if let Some(recording) = self.recorded() {
            state.metrics.recorded(route, visit.status, took.as_secs_f64(), recording.trace_id());
        }
        state.metrics.correlated.inc();
        if let Some(agent) = &visit.agent {
            visit.outcomes.count(&agent.tally, took, state.after(visit.started, took));
        }
    }

    /// Tells the sinks of each outcome.
    fn tell(&self, visit: &Visit, took: Duration) {
        let Self { context, head, .. } = self;
        let route = visit.route.unwrap_or(routes::UNMATCHED);
        let login = visit.login.as_deref();
        let of_login = |field: fn(&RefusedLogin) -> &str| login.map_or("", field);
        let request = Record {
            request_id: &head.request_id,
            correlation_id: &head.correlation_id,
            trace: self.trace_id(),
            client: head.client,
            method: head.method_name(),
            route: context.state.metrics.template(route),
            agent: visit.agent.as_ref().map_or("", |agent| agent.id.as_str()),
            namespace: visit.agent.as_ref().map_or("", |agent| agent.namespace.as_str()),
            proof: visit.proof,
            why: of_login(|login| &login.why),
            judged: login.map_or("", |login| login.judged),
            principal: of_login(|login| &login.principal),
            key: of_login(|login| &login.key),
            certificate: of_login(|login| &login.certificate),
            issuer: of_login(|login| &login.issuer),
            status: visit.status,
            took,
            ..Record::default()
        };
        visit.outcomes.finish(&request, &context.state.sinks);
        if login.is_some() {
            context.state.refused_logins.note(&request, SystemTime::now());
        }
        if let (Some(traces), Some(recording)) = (context.state.sinks.traces(), self.recorded()) {
            let public_url = context.snapshot.surfaces.public_url.as_deref();
            traces.finish(recording, &visit.outcomes.record(&request), public_url);
        }
    }

    /// The notes for its trace, where that is recorded.
    fn recorded(&self) -> Option<&Recording> {
        self.context.recording.as_deref().filter(|recording| recording.is_sampled())
    }
}
