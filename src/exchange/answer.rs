//! Vault's answers: read whole, or as they arrive.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use filters::refusal::Refusal;
use filters::vault::{Trouble, is_success, trouble};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use serde::Deserialize;

use super::pool::Pool;

/// Most interim answers (1xx) before the answer itself.
const INTERIM: usize = 8;

/// The reason why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// No connection, or it broke.
    Unreachable,
    /// Past the deadline.
    Late,
    /// Over the limit.
    TooLarge,
    /// Not HTTP.
    Nonsense,
}

impl From<Broken> for Refusal {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Unreachable => Self::UpstreamUnavailable,
            Broken::Late => Self::UpstreamTimeout,
            Broken::TooLarge => Self::AnswerTooLarge,
            Broken::Nonsense => Self::UpstreamNonsense,
        }
    }
}

/// Vault's answer, whole.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The media type, where that is not JSON's.
    pub media: Option<HeaderValue>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// True where Vault has done what was asked.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        is_success(self.status)
    }

    /// The refusal that an answer without success stands for. A token that Vault does not know is the
    /// gate's trouble, not the caller's.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match trouble(self.status, &self.body) {
            Trouble::Refused(refusal) => refusal,
            Trouble::InvalidToken => Refusal::UpstreamUnavailable,
        }
    }

    /// Reads the JSON body of a success.
    ///
    /// # Errors
    /// [`Answer::refusal`], and [`Refusal::UpstreamNonsense`] for a body of another form.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Refusal> {
        if !self.is_success() {
            return Err(self.refusal());
        }
        serde_json::from_slice(&self.body).map_err(|_| Refusal::UpstreamNonsense)
    }
}

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

/// The media type of an answer whose head has arrived, where that is not JSON's.
pub(super) fn other_media(session: &HttpSession) -> Option<HeaderValue> {
    let media = session.resp_header()?.headers.get(CONTENT_TYPE)?;
    (!media.as_bytes().starts_with(b"application/json")).then(|| media.clone())
}

/// An answer of Vault's that arrives.
pub struct Arrival {
    pub(super) pool: Arc<Pool>,
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
    /// True where Vault has done what was asked.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        is_success(self.status)
    }

    /// The media type, where that is not JSON's.
    #[must_use]
    pub fn media(&self) -> Option<HeaderValue> {
        other_media(&self.session)
    }

    /// Waits for the next part; `None` at the end.
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
        self.pool.keep(self.session, &self.peer).await;
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

/// Waits for the next part of a body that is not empty; `None` at its end. Where
/// only a chunk's head has arrived, the session gives nothing yet.
async fn read_chunk(session: &mut HttpSession) -> Result<Option<Bytes>, Broken> {
    loop {
        match session.read_body_bytes().await {
            Ok(Some(chunk)) if chunk.is_empty() => {}
            read => return read.map_err(|_| Broken::Unreachable),
        }
    }
}
