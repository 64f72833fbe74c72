//! Answers that are too large to be held: formed as they arrive, and sent on part by part.

use std::sync::Arc;

use filters::names::AgentId;
use filters::operation::Entry;
use filters::refusal::Refusal;
use http::HeaderValue;

use crate::exchange::Arrival;
use crate::vault::Suspensions;

use super::form::{Form, Formed, InParts};

/// Bytes of an answer that there is room for before it is sent on.
const ROOM: usize = 64 << 10;

/// An answer.
pub enum Performed {
    /// All of it.
    Whole(Formed),
    /// The rest of it is still to come.
    Streaming(Box<Streaming>),
}

/// An answer of which a part is there.
pub struct Streaming {
    arrival: Box<Arrival>,
    form: Box<dyn InParts>,
    /// Bytes that can be sent now.
    ready: Vec<u8>,
    /// Its agent, as long as that may have it.
    agent: AgentId,
    suspensions: Arc<Suspensions>,
}

impl Streaming {
    /// Begins with the parts that have arrived.
    ///
    /// # Errors
    /// Where these cannot be formed.
    pub(super) fn begin(
        mut arrival: Box<Arrival>,
        (form, entry): (&dyn Form, &'static Entry),
        agent: AgentId,
        suspensions: Arc<Suspensions>,
    ) -> Result<Self, Refusal> {
        let mut ready = Vec::with_capacity(ROOM);
        let mut form = form.begin(entry, &mut ready);
        while let Some(part) = arrival.read_ahead() {
            form.push(&part, &mut ready)?;
        }
        Ok(Self { arrival, form, ready, agent, suspensions })
    }

    /// Sends on what has no form of Vault's, as it comes.
    pub(super) fn as_it_is(arrival: Box<Arrival>, agent: AgentId, suspensions: Arc<Suspensions>) -> Self {
        Self { arrival, form: Box::new(AsItIs), ready: Vec::new(), agent, suspensions }
    }

    /// The media type, where that is not JSON's.
    #[must_use]
    pub fn media(&self) -> Option<HeaderValue> {
        self.arrival.media()
    }

    /// The part that is to be sent next; none follows the end, when the connection to Vault was given
    /// back.
    ///
    /// # Errors
    /// Where the answer breaks off, is not as it should be, or its agent was suspended meanwhile.
    pub async fn next(mut self: Box<Self>) -> Result<(Vec<u8>, Option<Box<Self>>), Refusal> {
        while self.ready.is_empty() {
            let part = self.arrival.next().await?;
            if self.suspensions.hold(&self.agent) {
                return Err(Refusal::Suspended);
            }
            match part {
                Some(part) => self.form.push(&part, &mut self.ready)?,
                None => {
                    let Self { arrival, form, mut ready, .. } = *self;
                    form.finish(&mut ready)?;
                    arrival.end().await;
                    return Ok((ready, None));
                }
            }
        }
        Ok((std::mem::take(&mut self.ready), Some(self)))
    }
}

/// An answer that is sent on byte for byte.
struct AsItIs;

impl InParts for AsItIs {
    fn push(&mut self, part: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        out.extend_from_slice(part);
        Ok(())
    }

    fn finish(self: Box<Self>, _: &mut Vec<u8>) -> Result<(), Refusal> {
        Ok(())
    }
}
