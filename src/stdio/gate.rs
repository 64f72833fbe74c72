//! The gate that messages are handed to, by its HTTP surface: far away, or within this process.

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode};
use tokio::sync::mpsc::Receiver;

use super::trouble::Trouble;

/// Most bytes of an answer that is held whole, and of an event.
pub(super) const LARGEST: usize = 64 << 20;

/// Takes requests to the path of MCP.
pub trait Gate: Send + Sync + 'static {
    /// Sends one request; `headers` are those of MCP. The credential, and what else HTTP needs, is
    /// added here.
    ///
    /// # Errors
    /// [`Trouble`] where there is no answer at all.
    fn send(
        &self,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> impl Future<Output = Result<Answer, Trouble>> + Send;
}

/// A gate's answer.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The head.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

/// The body of an answer.
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// One that is still arriving.
    Arriving(reqwest::Response),
    /// Events of a gate within this process, as they happen.
    Told(Receiver<Bytes>),
}

impl Answer {
    /// True where the body is a stream of events.
    pub(super) fn is_stream(&self) -> bool {
        let media = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim();
        self.status == StatusCode::OK && media.eq_ignore_ascii_case("text/event-stream")
    }

    /// The next part of the body; `None` at its end.
    ///
    /// # Errors
    /// [`Trouble::Unreachable`] where it breaks off.
    pub(super) async fn part(&mut self) -> Result<Option<Bytes>, Trouble> {
        match &mut self.body {
            Body::Whole(bytes) => Ok(Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty())),
            Body::Arriving(response) => response.chunk().await.map_err(Trouble::unanswered),
            Body::Told(events) => Ok(events.recv().await),
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// [`Trouble::TooLarge`], and [`Trouble::Unreachable`] where it breaks off.
    pub(super) async fn whole(&mut self) -> Result<Bytes, Trouble> {
        let mut whole = BytesMut::new();
        while let Some(part) = self.part().await? {
            if whole.len() + part.len() > LARGEST {
                return Err(Trouble::TooLarge);
            }
            whole.extend_from_slice(&part);
        }
        Ok(whole.freeze())
    }
}
