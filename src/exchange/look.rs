//! Looks: questions of the background's that one connection must not hold up.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use filters::vault::VaultRequest;
use futures_util::future::{Either, select};
use pingora_core::upstreams::peer::HttpPeer;
use tokio::time::timeout;

use super::answer::Stop;
use super::{Answer, Broken, Envelope, Lane, Upstream};

/// The part of a look's time after which another connection is asked too.
const PARTS: u32 = 4;

/// The pool keeps nothing under it: whoever asks for it gets a fresh connection.
const FRESH: u64 = u64::MAX;

impl Upstream {
    /// Asks what may be asked twice, within `time`. Where a connection breaks, or a quarter of the
    /// time brings no answer, a fresh one is asked too, at the next address where there are
    /// several; whoever answers first is heard.
    ///
    /// # Errors
    /// [`Broken`].
    pub(super) async fn look(
        &self,
        request: &VaultRequest,
        envelope: Envelope<'_>,
        time: Duration,
    ) -> Result<Answer, Broken> {
        timeout(time, self.ask_twice(request, envelope, time / PARTS)).await.unwrap_or(Err(Broken::Late))
    }

    async fn ask_twice(
        &self,
        request: &VaultRequest,
        envelope: Envelope<'_>,
        patience: Duration,
    ) -> Result<Answer, Broken> {
        let mut first = pin!(self.exchange(request, envelope));
        let second = self.exchange_afresh(request, envelope);
        match timeout(patience, &mut first).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(_)) => return second.await,
            Err(_) => {}
        }
        match select(first, pin!(second)).await {
            Either::Left((Ok(answer), _)) | Either::Right((Ok(answer), _)) => Ok(answer),
            Either::Left((Err(_), second)) => second.await,
            Either::Right((Err(_), first)) => first.await,
        }
    }

    /// Asks on a connection that is made for it, and kept for others then.
    async fn exchange_afresh(&self, request: &VaultRequest, envelope: Envelope<'_>) -> Result<Answer, Broken> {
        let peers = self.peers.load_full();
        let first = self.current.load(Ordering::Relaxed);
        for turn in 1..=peers.len() {
            let index = (first + turn) % peers.len();
            let Some(peers) = peers.get(index) else { continue };
            let peer = match envelope.lane {
                Lane::Background => &peers.background,
                Lane::Requests => &peers.requests,
            };
            let fresh = HttpPeer { group_key: FRESH, ..HttpPeer::clone(peer) };
            let Ok((mut session, _)) = Box::pin(self.pool.connector.get_http_session(&fresh)).await else { continue };
            match self.converse(&mut session, request, envelope).await {
                Ok(()) => {}
                Err(Stop::Silent | Stop::Broken) => continue,
                Err(Stop::Nonsense) => return Err(Broken::Nonsense),
            }
            self.current.store(index, Ordering::Relaxed);
            return self.whole(session, &Arc::clone(peer), envelope.limit).await;
        }
        Err(Broken::Unreachable)
    }
}
