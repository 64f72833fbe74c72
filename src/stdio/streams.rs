//! Streams of what the gate says unasked, kept open: one that breaks off is asked for again, after a
//! pause that grows and is never the same for two clients.

use std::time::Duration;

use bytes::Bytes;
use filters::headers::LAST_EVENT_ID;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep};

use crate::random;

use super::bridge::Bridge;
use super::events::Events;
use super::gate::{Answer, Gate};
use super::message::Message;
use super::trouble::Trouble;

/// The notification that a subscription is granted (MCP 2026-07-28).
const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
/// First and longest pause before a stream is asked for again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// A stream that lasts as long was a good one: the next pause is the first again.
const LASTING: Duration = Duration::from_secs(10);

/// The pauses between one stream and the next.
struct Pauses {
    next: Duration,
    opened: Instant,
}

/// A message on a stream, as far as it is read.
#[derive(Deserialize)]
struct Heard<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    method: Option<String>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// The end of a stream.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The request was answered on it.
    Answered,
    /// It broke off, or ended without an answer.
    Over,
}

impl<G: Gate> Bridge<G> {
    /// Passes on what the gate says unasked in the session, for ever, or until it has no such streams.
    pub(super) async fn hear(&self) {
        let (mut pauses, mut events) = (Pauses::new(), Events::default());
        loop {
            let current = self.session.current();
            let mut headers = current.headers();
            headers.extend(last_event(&events));
            match self.gate.send(Method::GET, headers, Bytes::new()).await {
                Ok(mut answer) if answer.is_stream() => {
                    pauses.opened();
                    self.forward(&mut answer, &mut events, None, None).await;
                }
                Ok(answer) if answer.status == StatusCode::NOT_FOUND && current.is_kept() => {
                    if self.renew(current.number).await {
                        continue;
                    }
                }
                Ok(answer) if !passes(answer.status) => {
                    tracing::debug!(status = answer.status.as_u16(), "the gate has no stream of events");
                    return;
                }
                Ok(answer) => {
                    tracing::warn!(status = answer.status.as_u16(), "the stream of events is refused for now")
                }
                Err(trouble) => tracing::warn!(why = %trouble, "there is no stream of events for now"),
            }
            pauses.wait(events.retry()).await;
            events = Events::after(events.last_id().to_owned());
            // Before the stream, so that what may have changed meanwhile is told on it.
            self.subscribe_again().await;
        }
    }

    /// Keeps a subscription until the client cancels it, or the gate refuses it. Also where the gate ends
    /// it, as one that is replaced does, it is asked for again: whether it may go on is judged then.
    pub(super) async fn listen(&self, message: &Message) {
        let (mut pauses, mut events, mut acknowledged) = (Pauses::new(), Events::default(), false);
        loop {
            let mut headers = message.own_headers().unwrap_or_else(|| self.session.current().headers());
            headers.extend(last_event(&events));
            match self.gate.send(Method::POST, headers, message.text.clone()).await {
                Ok(mut answer) if answer.is_stream() => {
                    pauses.opened();
                    if self.forward(&mut answer, &mut events, Some(message), Some(&mut acknowledged)).await
                        == End::Answered
                    {
                        return;
                    }
                }
                Ok(answer) if acknowledged && passes(answer.status) => {
                    tracing::warn!(status = answer.status.as_u16(), "the subscription is refused for now");
                }
                Ok(answer) => return self.answer(message, answer).await,
                Err(trouble) if acknowledged => tracing::warn!(why = %trouble, "there is no subscription for now"),
                Err(trouble) => return self.fail(message, &trouble).await,
            }
            pauses.wait(events.retry()).await;
            events = Events::after(events.last_id().to_owned());
        }
    }

    /// Passes on a stream that answers one request.
    pub(super) async fn relay(&self, message: &Message, answer: &mut Answer) {
        let end = self.forward(answer, &mut Events::default(), Some(message), None).await;
        if end == End::Over && !message.ids.is_empty() {
            self.fail(message, &Trouble::Unreachable("the answer broke off".to_owned())).await;
        }
    }

    /// Passes on the messages of a stream until it is over, or `request` is answered on it. Of a
    /// subscription, which notes here that it was `acknowledged`, the client is told neither that it was
    /// so once more, nor that it has ended while it goes on.
    async fn forward(
        &self,
        answer: &mut Answer,
        events: &mut Events,
        request: Option<&Message>,
        mut acknowledged: Option<&mut bool>,
    ) -> End {
        let awaited = request.and_then(|message| message.ids.first()).map(|id| id.get());
        while let Ok(Some(part)) = answer.part().await {
            let Ok(messages) = events.read(&part) else {
                tracing::warn!("an event is too large to be passed on");
                return End::Over;
            };
            for data in messages {
                let Ok(Heard { id, method, error }) = serde_json::from_slice::<Heard<'_>>(&data) else {
                    tracing::warn!("an event that is no message is left out");
                    continue;
                };
                let answers = method.is_none() && awaited.is_some() && id.map(RawValue::get) == awaited;
                if let Some(before) = &mut acknowledged {
                    if answers && error.is_none() {
                        return End::Over;
                    }
                    if method.as_deref() == Some(ACKNOWLEDGED) && std::mem::replace(*before, true) {
                        continue;
                    }
                }
                self.out.send(data).await;
                if answers {
                    return End::Answered;
                }
            }
        }
        End::Over
    }
}

/// The header that has a stream go on after the last event that was had.
fn last_event(events: &Events) -> Option<(HeaderName, HeaderValue)> {
    let id = Some(events.last_id()).filter(|id| !id.is_empty())?;
    Some((LAST_EVENT_ID, HeaderValue::from_str(id).ok()?))
}

/// True for a refusal that time alone may end.
fn passes(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403 | 408 | 425 | 429) || status.is_server_error()
}

impl Pauses {
    fn new() -> Self {
        Self { next: PAUSES.0, opened: Instant::now() }
    }

    /// Notes that there is a stream.
    fn opened(&mut self) {
        self.opened = Instant::now();
    }

    /// Waits for at least `least`, where the gate has asked for that.
    async fn wait(&mut self, least: Option<Duration>) {
        if self.opened.elapsed() >= LASTING {
            self.next = PAUSES.0;
        }
        sleep(jittered(self.next).max(least.unwrap_or_default().min(PAUSES.1))).await;
        self.next = (self.next * 2).min(PAUSES.1);
        self.opened = Instant::now();
    }
}

/// A time between half of `most` and all of it.
fn jittered(most: Duration) -> Duration {
    let half = most / 2;
    let millis = u64::try_from(half.as_millis()).unwrap_or(u64::MAX);
    half + Duration::from_millis(random::u64() % millis.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_jittered_within_bounds() {
        let most = Duration::from_secs(8);
        let seen: Vec<_> = (0..100).map(|_| jittered(most)).collect();
        assert!(seen.iter().all(|pause| (most / 2..=most).contains(pause)), "{seen:?}");
        assert!(seen.iter().any(|pause| *pause != seen[0]), "{seen:?}");
    }
}
