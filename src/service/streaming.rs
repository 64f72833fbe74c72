//! Answers that are too large to be held: projected as they arrive, and sent
//! on part by part.

use std::sync::Arc;

use bytes::Bytes;
use filters::names::AgentId;
use filters::operation::Entry;
use filters::refusal::Refusal;
use filters::shape::Projection;
use filters::vault::VaultRequest;

use crate::exchange::{Answer, Arrival, Broken, Envelope, Upstream};
use crate::vault::Suspensions;

use super::call::read;
use super::{Caller, Context};

/// Most bytes of an answer that are held before it is sent on.
const HELD: usize = 64 << 10;

/// How much of an answer the caller's surface holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// All of it, within the limit: MCP's carries the value twice.
    Whole,
    /// Little: what is larger is sent on as it arrives.
    Little,
}

/// An answer.
pub enum Performed {
    /// A JSON object.
    Whole(Vec<u8>),
    /// The rest of it is still to come.
    Streaming(Box<Streaming>),
}

/// A JSON object of which a part is there.
pub struct Streaming {
    arrival: Box<Arrival>,
    projection: Projection,
    /// What is ready to be sent.
    ready: Vec<u8>,
    /// Whose it is, as long as they may have it.
    agent: AgentId,
    suspensions: Arc<Suspensions>,
}

/// What has arrived of an answer, or all of it.
pub(super) enum Opened {
    Whole(Answer),
    Part(Box<Arrival>, Vec<Bytes>),
}

impl Opened {
    /// Asks Vault; of what is to be held little, no more than [`HELD`] is
    /// waited for.
    pub(super) async fn ask(
        upstream: &Arc<Upstream>,
        holds: Holds,
        request: &VaultRequest,
        envelope: Envelope<'_>,
    ) -> Result<Self, Broken> {
        match holds {
            Holds::Whole => upstream.ask(request, envelope).await.map(Self::Whole),
            Holds::Little => {
                let begun = begin(upstream.open(request, envelope).await?, envelope.limit).await;
                if let Ok(Self::Whole(answer)) = &begun {
                    upstream.tell_rejection(request, envelope, answer);
                }
                begun
            }
        }
    }

    /// True where Vault does not know the token.
    pub(super) async fn denies_token(&self, upstream: &Upstream, envelope: Envelope<'_>) -> bool {
        match self {
            Self::Whole(answer) if answer.status == 403 => upstream.denies_token(envelope, answer).await,
            _ => false,
        }
    }
}

impl Context<'_> {
    /// Asks Vault, and begins an answer that is too large to be held.
    pub(super) async fn stream(
        &self,
        caller: &Caller<'_>,
        kind: &'static Entry,
        request: &VaultRequest,
    ) -> Result<Performed, Refusal> {
        match self.open_vault(Holds::Little, caller, request).await? {
            Opened::Whole(answer) => read(kind, &answer).map(Performed::Whole),
            Opened::Part(arrival, parts) => {
                let (projection, ready) = (Projection::new(kind.shape), Vec::with_capacity(HELD));
                let suspensions = Arc::clone(&self.state.vault.suspensions);
                let agent = caller.agent().id.clone();
                let mut streaming = Streaming { arrival, projection, ready, agent, suspensions };
                for part in parts {
                    streaming.projection.push(&part, &mut streaming.ready)?;
                }
                Ok(Performed::Streaming(Box::new(streaming)))
            }
        }
    }
}

/// Reads until the answer has ended, or there is enough of it. What is no
/// success is read whole, within `limit`.
async fn begin(mut arrival: Arrival, limit: usize) -> Result<Opened, Broken> {
    let success = arrival.is_success();
    let (mut parts, mut held) = (Vec::new(), 0);
    while let Some(part) = arrival.next().await? {
        held += part.len();
        parts.push(part);
        match success {
            true if held >= HELD => return Ok(Opened::Part(Box::new(arrival), parts)),
            false if held > limit => return Err(Broken::TooLarge),
            _ => {}
        }
    }
    let status = arrival.status;
    arrival.end().await;
    let body = if parts.len() > 1 { parts.concat().into() } else { parts.pop().unwrap_or_default() };
    Ok(Opened::Whole(Answer { status, body }))
}

impl Streaming {
    /// What is to be sent next; `None` at the end, when the connection to
    /// Vault was given back.
    pub async fn next(mut self: Box<Self>) -> Result<(Vec<u8>, Option<Box<Self>>), Refusal> {
        while self.ready.is_empty() {
            let part = self.arrival.next().await?;
            if self.suspensions.hold(&self.agent) {
                return Err(Refusal::Suspended);
            }
            match part {
                Some(part) => self.projection.push(&part, &mut self.ready)?,
                None => {
                    let Self { arrival, projection, mut ready, .. } = *self;
                    projection.finish(&mut ready)?;
                    arrival.end().await;
                    return Ok((ready, None));
                }
            }
        }
        Ok((std::mem::take(&mut self.ready), Some(self)))
    }
}
