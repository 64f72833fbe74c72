//! The events of a gate, as `GET /events` tells them, for who speaks no MCP.

use bytes::Bytes;
use filters::headers::LAST_EVENT_ID;
use http::{HeaderMap, HeaderValue, Method};

use super::events::Events;
use super::gate::Gate;
use super::streams::{Pauses, passes};
use super::trouble::Trouble;

/// Gives each event to `tell`, a JSON object, until that takes no more. A stream that breaks off is opened
/// again, after the last event that was told.
///
/// # Errors
/// The trouble of the first attempt, and a refusal that time alone does not end.
pub async fn watch(gate: &impl Gate, mut tell: impl FnMut(&[u8]) -> bool) -> Result<(), Trouble> {
    let (mut pauses, mut events, mut opened) = (Pauses::new(), Events::default(), false);
    loop {
        let last = HeaderValue::from_str(events.last_id()).ok().filter(|id| !id.is_empty());
        let headers: HeaderMap = last.into_iter().map(|id| (LAST_EVENT_ID, id)).collect();
        match gate.send(Method::GET, headers, Bytes::new()).await {
            Ok(mut answer) if answer.is_stream() => {
                pauses.opened();
                opened = true;
                while let Ok(Some(part)) = answer.part().await {
                    let Ok(told) = events.read(&part) else { break };
                    if !told.iter().all(|event| tell(event)) {
                        return Ok(());
                    }
                }
                tracing::warn!("the stream of events has ended");
            }
            Ok(mut answer) => {
                let body = answer.whole().await.unwrap_or_default();
                let trouble = Trouble::of(answer.status, &answer.headers, &body);
                if !(opened && passes(answer.status)) {
                    return Err(trouble);
                }
                tracing::warn!(why = %trouble, "the stream of events is refused for now");
            }
            Err(trouble) if !opened => return Err(trouble),
            Err(trouble) => tracing::warn!(why = %trouble, "there is no stream of events for now"),
        }
        pauses.wait(events.retry()).await;
        events = Events::after(events.last_id().to_owned());
    }
}
