//! Answers that nobody has a turn for: to the anonymous, and refusals. They are written within a short
//! time and from a pool of their own, so that who does not read them is in nobody's way (invariant 10).

use std::pin::pin;
use std::time::Duration;

use filters::refusal::Refusal;
use http::header::CONTENT_LENGTH;
use pingora_core::protocols::http::ServerSession;
use tokio::time::timeout;

use crate::config::Bounds;
use crate::limits::{Full, Share};
use crate::service::place;
use crate::surfaces::events::Events;
use crate::surfaces::{Reply, text};

use super::request::{Request, Visit, shielded};
use super::routes;
use super::side::Side;
use super::write::Unwritten;

/// Longest time for such an answer to be taken, where it is small.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a large one that may take a second more.
const EACH_SECOND: usize = 64 << 10;
/// Most bytes of a body that are taken for nothing, and the longest time for it.
const DRAINED: usize = 64 << 10;
const DRAIN_TIME: Duration = Duration::from_secs(1);
/// How many may be under way.
const BOUNDS: Bounds = Bounds { all: 1024, each: 128 };

/// Takes the rest of a small body that nobody reads: a stream that is reset before its body has ended
/// loses its answer in some clients (curl up to 7.88 among them). Holds none of it.
pub(super) async fn drain(session: &mut ServerSession) {
    let declared = text(&session.req_header().headers, CONTENT_LENGTH).and_then(|length| length.parse().ok());
    if declared.is_some_and(|length: usize| length > DRAINED) {
        return;
    }
    let drained = async {
        let mut left = DRAINED;
        while let Ok(Some(part)) = session.read_request_body().await {
            let Some(less) = left.checked_sub(part.len()) else { return };
            left = less;
        }
    };
    // What has not come by then is left.
    let _ = timeout(DRAIN_TIME, drained).await;
}

impl Request<'_> {
    /// Writes the answer; gives back events that are still to come.
    pub(super) async fn write(
        &self,
        session: &mut ServerSession,
        reply: Reply,
        visit: &Visit,
    ) -> Result<Option<Box<Events>>, Unwritten> {
        let patience = PATIENCE + Duration::from_secs((reply.size() / EACH_SECOND) as u64);
        let writing = pin!(self.hand_over(reply, session));
        let writing = shielded(writing);
        let written = if visit.turn.is_some() || matches!(self.side, Side::Admin) {
            writing.await
        } else {
            // Probes get through however many others are under way.
            let is_probe = visit.route.is_some_and(routes::is_probe);
            let share = if is_probe { Ok(None) } else { self.dismissed().map(Some) };
            let Ok(_share) = share else {
                self.context.state.metrics.undismissed.inc();
                return Err(Unwritten::Caller);
            };
            timeout(patience, writing).await.map_err(|_| Unwritten::Caller)?
        };
        written.unwrap_or_else(|| {
            self.count_panic();
            Err(Unwritten::Caller)
        })
    }

    fn dismissed(&self) -> Result<Share, Full> {
        self.context.state.load.dismissed.take(place(self.head.client), 1, BOUNDS)
    }

    /// Counts a panic on the way of this request, which ends nothing but the request.
    pub(super) fn panicked(&self, session: &mut ServerSession) -> Refusal {
        session.set_keepalive(None);
        self.count_panic();
        Refusal::Internal
    }

    fn count_panic(&self) {
        self.context.state.metrics.panics.inc();
        tracing::error!(request_id = %self.head.request_id, "a request has ended in a panic");
    }
}
