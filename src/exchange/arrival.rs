//! Answers of Vault's as they arrive: whole, or part by part.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;

use super::{Broken, Upstream};

/// An answer of Vault's that arrives.
pub struct Arrival {
    pub(super) upstream: Arc<Upstream>,
    pub(super) session: HttpSession,
    pub(super) peer: Arc<HttpPeer>,
    /// The HTTP status.
    pub status: u16,
    pub(super) silence: Duration,
    pub(super) deadline: Instant,
}

impl Arrival {
    /// What arrives next; `None` at the end.
    ///
    /// # Errors
    /// [`Broken`] where it breaks off or is late.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        let patience = self.silence.min(self.deadline.saturating_duration_since(Instant::now()));
        tokio::time::timeout(patience, read_chunk(&mut self.session)).await.unwrap_or(Err(Broken::Late))
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
