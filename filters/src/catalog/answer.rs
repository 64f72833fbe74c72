//! What the answers of all engines share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;

/// It was done.
#[derive(Serialize, JsonSchema)]
pub(super) struct Done {
    /// Always true.
    ok: bool,
}

/// Vault's envelope around every answer.
#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

/// Reads what Vault answered.
pub(super) fn data_of<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    match serde_json::from_slice::<Envelope<T>>(body) {
        Ok(envelope) => Ok(envelope.data),
        Err(_) => Err(Refusal::UpstreamNonsense),
    }
}

/// Writes an answer.
pub(super) fn write(answer: &impl Serialize, out: &mut Vec<u8>) -> Result<(), Refusal> {
    serde_json::to_writer(out, answer).map_err(|_| Refusal::Internal)
}

/// Writes `{"ok":true}`.
pub(super) fn done(out: &mut Vec<u8>) -> Result<(), Refusal> {
    write(&Done { ok: true }, out)
}
