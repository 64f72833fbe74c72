//! One request: what it is served with, and what is told of it.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use filters::grants::Agent;
use filters::refusal::Refusal;
use filters::trace::{TraceId, TraceParent};
use futures_util::FutureExt as _;

use crate::listener::Connection;
use crate::service::{Context, Held, Outcomes, RefusedLogin};
use crate::telemetry::RouteId;

use super::head::Head;
use super::side::Side;

/// The facts of a request for log and metrics, and the turn it holds.
pub(super) struct Visit {
    pub(super) started: Instant,
    /// The HTTP status of its answer.
    pub(super) status: u16,
    pub(super) route: Option<RouteId>,
    pub(super) agent: Option<Arc<Agent>>,
    pub(super) proof: &'static str,
    pub(super) login: Option<Box<RefusedLogin>>,
    pub(super) outcomes: Outcomes,
    /// The span that the request belongs to, where its body says it.
    pub(super) parent: Option<TraceParent>,
    /// The turn of its agent, held until the answer is written.
    pub(super) turn: Option<Held>,
}

/// One request: its head, its connection, and the context it is served in.
pub(super) struct Request<'a> {
    pub(super) context: Context<'a>,
    pub(super) side: Side,
    pub(super) head: Head,
    pub(super) connection: &'a Connection,
}

impl Request<'_> {
    /// The trace that it is in, by its recording or its head.
    pub(super) fn trace_id(&self) -> Option<TraceId> {
        let recorded = self.context.recording.as_ref().map(|recording| recording.trace_id());
        recorded.or(self.head.parent.map(|parent| parent.trace))
    }
}

impl Visit {
    /// Begins now.
    pub(super) fn begin() -> Self {
        Self {
            started: Instant::now(),
            status: 0,
            route: None,
            agent: None,
            proof: "",
            login: None,
            outcomes: Outcomes::default(),
            parent: None,
            turn: None,
        }
    }

    /// Notes why the request as a whole is refused. Messages of a batch have their own reasons.
    pub(super) fn refuse(&mut self, refusal: &Refusal) {
        if let Outcomes::One(outcome) = &mut self.outcomes {
            outcome.decision = refusal.public().code;
        }
    }
}

/// Runs `work` to its end; `None` where it panics, so that a panic ends nothing else. The work is
/// large, and is not moved.
pub(super) async fn shielded<T>(work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    AssertUnwindSafe(work).catch_unwind().await.ok()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn a_panic_ends_nothing_but_its_work() {
        assert_eq!(shielded(pin!(async { 1 })).await, Some(1));
        let panics = async {
            yield_now().await;
            assert!(std::hint::black_box(false), "half-way");
        };
        assert_eq!(shielded(pin!(panics)).await, None);
    }
}
