//! Answers, as values: `http` writes them.

use bytes::Bytes;
use filters::refusal::Refusal;
use http::HeaderValue;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, RETRY_AFTER};

use crate::service::Streaming;

use super::events::Events;

const EVENTS: &str = "text/event-stream";

/// An answer.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The media type of the body; empty where there is none.
    pub media: &'static str,
    /// The body.
    pub body: Body,
    /// Headers beside those that every answer has.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// The body of an answer.
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// A JSON object that is still arriving.
    Streaming(Box<Streaming>),
    /// A stream of events.
    Events(Box<Events>),
}

impl Reply {
    /// A JSON body.
    #[must_use]
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, media: "application/json", body: Body::Whole(body.into()), headers: Vec::new() }
    }

    /// A JSON body that is still arriving.
    #[must_use]
    pub fn streaming(status: u16, streaming: Box<Streaming>) -> Self {
        Self { status, media: "application/json", body: Body::Streaming(streaming), headers: Vec::new() }
    }

    /// A stream of events, of which nothing is there yet.
    #[must_use]
    pub fn events(events: Events) -> Self {
        Self::stream(Body::Events(Box::new(events)))
    }

    /// A stream of these events and no more.
    #[must_use]
    pub fn told(events: String) -> Self {
        Self::stream(Body::Whole(events.into()))
    }

    fn stream(body: Body) -> Self {
        let mut reply = Self { status: 200, media: EVENTS, body, headers: Vec::new() };
        // nginx would keep events back.
        reply.add("x-accel-buffering", HeaderValue::from_static("no"));
        reply
    }

    /// True for a stream of events.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.media == EVENTS
    }

    /// No body.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self { status, media: "", body: Body::Whole(Bytes::new()), headers: Vec::new() }
    }

    /// A success of this media type.
    #[must_use]
    pub fn of(media: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status: 200, media, body: Body::Whole(body.into()), headers: Vec::new() }
    }

    /// The answer that tells of a refusal.
    #[must_use]
    pub fn refused(refusal: &Refusal, request_id: &str) -> Self {
        let mut reply = Self::json(refusal.public().status.as_u16(), refusal.body(request_id));
        if let Some(seconds) = refusal.retry_after() {
            reply.headers.push((RETRY_AFTER, seconds.into()));
        }
        match refusal {
            Refusal::RateLimited(exceeded) => {
                reply.add("ratelimit-limit", exceeded.limit.into());
                reply.add("ratelimit-remaining", 0.into());
                reply.add("ratelimit-reset", exceeded.reset.into());
            }
            Refusal::EncodedBody => reply.add("accept-encoding", HeaderValue::from_static("identity")),
            Refusal::MethodNotAllowed(methods) | Refusal::Verb(methods) => {
                // The core names the methods that are judged: a HEAD is judged as the GET.
                if let Ok(methods) = HeaderValue::try_from(methods.replace("GET", "GET, HEAD")) {
                    reply.headers.push((ALLOW, methods));
                }
            }
            _ => {}
        }
        reply
    }

    /// The same of another media type, where one is told.
    #[must_use]
    pub fn of_type(mut self, media: Option<HeaderValue>) -> Self {
        if let Some(media) = media {
            self.media = "";
            self.headers.push((CONTENT_TYPE, media));
        }
        self
    }

    /// Adds a header.
    pub fn add(&mut self, name: &'static str, value: HeaderValue) {
        self.headers.push((HeaderName::from_static(name), value));
    }

    /// Bytes of the body, as far as they are known.
    #[must_use]
    pub fn size(&self) -> usize {
        match &self.body {
            Body::Whole(body) => body.len(),
            Body::Streaming(_) | Body::Events(_) => 0,
        }
    }
}
