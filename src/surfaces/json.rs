//! The form of answers on REST and MCP: the JSON object that the operation's description gives.

use filters::operation::{Absent, Entry};
use filters::refusal::Refusal;
use filters::shape::Projection;

use crate::service::{Form, InParts, Unformed};

/// Answers as the catalog describes them.
#[derive(Clone, Copy, Debug)]
pub enum Json {
    /// Held whole: MCP's result carries the value twice.
    Whole,
    /// Sent on as they arrive, where they are large.
    InParts,
}

impl Form for Json {
    fn whole(&self, answer: Unformed<'_>) -> Result<Vec<u8>, Refusal> {
        let Unformed { entry, body, given } = answer;
        let Some(body) = body else {
            let Absent::Empty(answer) = entry.spec.absent else { return Err(Refusal::Internal) };
            return Ok(answer.into());
        };
        if given.is_empty() {
            let mut out = Vec::with_capacity(body.len());
            entry.project(body, &mut out)?;
            return Ok(out);
        }
        let mut out = Vec::with_capacity(body.len() + 512);
        let mut projection = Projection::new(entry.shape);
        for (name, value) in given {
            projection.give(name, value, &mut out);
        }
        projection.push(body, &mut out)?;
        projection.finish(&mut out)?;
        Ok(out)
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
        Self::finish(*self, out)
    }
}
