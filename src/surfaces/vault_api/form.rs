//! The form of answers: Vault's own, but for what must not go out.

use std::sync::OnceLock;

use filters::notes::Notes;
use filters::operation::Entry;
use filters::refusal::Refusal;
use filters::shape::{Member, Projection, Shape, Type};
use serde_json::Value;

use crate::service::{Form, InParts, Unformed};

const LEASE_ID: &str = "lease_id";
const LEASE_DURATION: &str = "lease_duration";

/// A member that is passed as it is.
const fn passed(name: &'static str, from: &'static [&'static str]) -> Member {
    Member::new(name, from, Type::Any, "").or_absent()
}

const REQUEST_ID: Member = passed("request_id", &["request_id"]);
const RENEWABLE: Member = passed("renewable", &["renewable"]);
const DATA: Member = passed("data", &["data"]);
const WARNINGS: Member = passed("warnings", &["warnings"]);
const MOUNT_TYPE: Member = passed("mount_type", &["mount_type"]);

/// An answer without a lease of the agent's.
static UNLEASED: Shape =
    Shape { about: "", members: &[REQUEST_ID, RENEWABLE, DATA, WARNINGS, MOUNT_TYPE, passed(LEASE_DURATION, &[LEASE_DURATION])] };
/// One whose lease the gate tells.
static LEASED: Shape = Shape { about: "", members: &[REQUEST_ID, RENEWABLE, DATA, WARNINGS, MOUNT_TYPE] };

/// Answers as Vault gives them.
#[derive(Debug)]
pub(super) struct Vaults {
    is_framed: bool,
    gone: OnceLock<Vec<u8>>,
}

impl Vaults {
    pub(super) const fn new(is_framed: bool) -> Self {
        Self { is_framed, gone: OnceLock::new() }
    }

    /// The answer that tells of a version that is deleted or destroyed, where there was one.
    pub(super) fn gone(self) -> Option<Vec<u8>> {
        self.gone.into_inner()
    }
}

impl Form for Vaults {
    fn whole(&self, answer: Unformed<'_>) -> Result<Vec<u8>, Refusal> {
        let Unformed { body, given, .. } = answer;
        let body = body.ok_or(Refusal::NotFound)?;
        if body.is_empty() {
            return Ok(Vec::new());
        }
        let mut out = Vec::with_capacity(body.len() + 64);
        let mut projection = begin(given, &mut out);
        projection.push(body, &mut out)?;
        projection.finish(&mut out)?;
        Ok(out)
    }

    fn gone(&self, entry: &'static Entry, body: &[u8]) {
        let unformed = self.whole(Unformed { entry, body: Some(body), given: &[] });
        _ = unformed.map(|answer| self.gone.set(answer));
    }

    fn note(&self, entry: &'static Entry, answer: &[u8], notes: &mut Notes) {
        entry.shape.note_in(answer, notes);
    }

    fn takes_parts(&self) -> bool {
        self.is_framed
    }

    fn begin(&self, _: &'static Entry, out: &mut Vec<u8>) -> Box<dyn InParts> {
        Box::new(begin(&[], out))
    }
}

/// Begins an answer with what the gate tells itself.
fn begin(given: &[(&str, Value)], out: &mut Vec<u8>) -> Projection {
    let leased = given.iter().any(|(name, _)| *name == LEASE_DURATION);
    let mut projection = Projection::new(if leased { &LEASED } else { &UNLEASED });
    // The handle of a certificate stands where Vault has the lease of one.
    let handle = given.iter().find(|(name, _)| *name != LEASE_DURATION).map(|(_, handle)| handle);
    projection.give(LEASE_ID, handle.unwrap_or(&Value::String(String::new())), out);
    given
        .iter()
        .filter(|(name, _)| *name == LEASE_DURATION)
        .for_each(|(name, value)| projection.give(name, value, out));
    projection.give("wrap_info", &Value::Null, out);
    projection.give("auth", &Value::Null, out);
    projection
}
