//! Vault's answer as it arrives.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;

use super::{Broken, Upstream};

/// Most interim answers (1xx) before the answer itself.
const INTERIM: usize = 8;

/// Why there is no head of an answer.
pub(super) enum Stop {
    /// Not a byte of an answer came.
    Silent,
    /// The connection broke after something came.
    Broken,
    /// The request cannot be written, or what came is no answer to it.
    Nonsense,
}

/// Reads the head of the answer itself: interim ones before it (RFC 9110 section 15.2) say nothing
/// that the gate needs. Nobody asked for another protocol.
pub(super) async fn answered(session: &mut HttpSession) -> Result<(), Stop> {
    for interim in 0..=INTERIM {
        session.read_response().await.map_err(|_| if interim == 0 { Stop::Silent } else { Stop::Broken })?;
        match session.get_status().map_or(0, |status| status.as_u16()) {
            101 => return Err(Stop::Nonsense),
            100..=199 => {}
            _ => return Ok(()),
        }
    }
    Err(Stop::Nonsense)
}

/// An answer of Vault's that arrives.
pub struct Arrival {
    pub(super) upstream: Arc<Upstream>,
    pub(super) session: HttpSession,
    pub(super) peer: Arc<HttpPeer>,
    /// The HTTP status.
    pub status: u16,
    /// Parts that were read ahead.
    pub(super) arrived: VecDeque<Bytes>,
    pub(super) silence: Duration,
    pub(super) deadline: Instant,
}

impl Arrival {
    /// What arrives next; `None` at the end.
    ///
    /// # Errors
    /// [`Broken`] where it breaks off or is late.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        if let Some(part) = self.read_ahead() {
            return Ok(Some(part));
        }
        let patience = self.silence.min(self.deadline.saturating_duration_since(Instant::now()));
        tokio::time::timeout(patience, read_chunk(&mut self.session)).await.unwrap_or(Err(Broken::Late))
    }

    /// The next of the parts that were read ahead; `None` where the next must be waited for.
    pub fn read_ahead(&mut self) -> Option<Bytes> {
        self.arrived.pop_front()
    }

    /// Gives the connection back; only where all has arrived.
    pub async fn end(self) {
        self.upstream.keep(self.session, &self.peer).await;
    }
}

pub(super) async fn read_body(session: &mut HttpSession, limit: usize) -> Result<Bytes, Broken> {
    let first = match read_chunk(session).await? {
        None => return Ok(Bytes::new()),
        Some(chunk) if chunk.len() > limit => return Err(Broken::TooLarge),
        Some(chunk) => chunk,
    };
    let Some(second) = read_chunk(session).await? else { return Ok(first) };
    let mut body = BytesMut::with_capacity((first.len() + second.len()) * 2);
    body.extend_from_slice(&first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        if body.len() + chunk.len() > limit {
            return Err(Broken::TooLarge);
        }
        body.extend_from_slice(&chunk);
        next = read_chunk(session).await?;
    }
    Ok(body.freeze())
}

/// What arrives next of a body, and is something; `None` at its end. Where
/// only a chunk's head has arrived, the session gives nothing yet.
async fn read_chunk(session: &mut HttpSession) -> Result<Option<Bytes>, Broken> {
    loop {
        match session.read_body_bytes().await {
            Ok(Some(chunk)) if chunk.is_empty() => {}
            read => return read.map_err(|_| Broken::Unreachable),
        }
    }
}
