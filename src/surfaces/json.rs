//! The form of answers on REST and MCP: the JSON object that the operation's description gives.

use filters::operation::{Absent, Entry};
use filters::refusal::Refusal;
use filters::shape::Projection;

use crate::service::{Form, Formed, InParts, Unformed};

/// Answers as the catalog describes them.
#[derive(Clone, Copy, Debug)]
pub enum Json {
    /// Held whole: MCP's result carries the value twice.
    Whole,
    /// Sent on as they arrive, where they are large.
    InParts,
}

impl Form for Json {
    fn whole(&self, answer: Unformed<'_>) -> Result<Formed, Refusal> {
        let Unformed { entry, body, given } = answer;
        let body = match (body, entry.spec.absent) {
            (Some(body), _) => body,
            (None, Absent::Empty(body)) => body.as_bytes(),
            (None, Absent::NotFound | Absent::Version { .. }) => return Err(Refusal::Internal),
        };
        let mut out = Vec::with_capacity(body.len() + if given.is_empty() { 0 } else { 512 });
        let notes = entry.project(body, given, &mut out)?;
        Ok(Formed { body: out, notes, media: None })
    }

    fn takes_parts(&self) -> bool {
        matches!(self, Self::InParts)
    }

    fn begin(&self, entry: &'static Entry, _: &mut Vec<u8>) -> Box<dyn InParts> {
        Box::new(Projection::new(entry.shape))
    }
}

impl InParts for Projection {
    fn push(&mut self, part: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        Self::push(self, part, out)
    }

    fn finish(self: Box<Self>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        Self::finish(*self, out).map(drop)
    }
}
