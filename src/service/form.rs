//! The form of answers, which is the surface's: the service only says when there is one to be formed.

use filters::notes::Notes;
use filters::operation::{Absent, Entry};
use filters::refusal::Refusal;
use filters::vault::is_partial;
use filters::vault::record::is_destroyed;
use http::HeaderValue;
use serde_json::{Value, json};

use crate::exchange::Answer;

/// The form that a surface gives answers.
pub trait Form: Sync {
    /// The whole of an answer.
    ///
    /// # Errors
    /// [`Refusal::UpstreamNonsense`] where it is not as the operation's answers are.
    fn whole(&self, answer: Unformed<'_>) -> Result<Formed, Refusal>;

    /// Is shown an answer that tells of a version which is deleted or destroyed.
    fn gone(&self, _: &'static Entry, _: &[u8]) {}

    /// The answer where it is given to Vault to keep, as what this handle stands for so many seconds.
    fn wrapped(&self, handle: &str, operation: &str, ttl: u64) -> Vec<u8> {
        json!({"wrapped": {"handle": handle, "operation": operation, "ttl": ttl}}).to_string().into_bytes()
    }

    /// True where an answer may be sent on as it arrives; the surface needs all of it at once else.
    fn takes_parts(&self) -> bool;

    /// Begins an answer that is formed as it arrives, and writes what can be sent before that to `out`.
    fn begin(&self, entry: &'static Entry, out: &mut Vec<u8>) -> Box<dyn InParts>;
}

/// Forms an answer as it arrives.
pub trait InParts: Send {
    /// Takes the next part, and writes what can be sent of it to `out`.
    ///
    /// # Errors
    /// As [`Form::whole`].
    fn push(&mut self, part: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal>;

    /// Takes the end, and writes the rest to `out`.
    ///
    /// # Errors
    /// As [`Form::whole`].
    fn finish(self: Box<Self>, out: &mut Vec<u8>) -> Result<(), Refusal>;
}

/// A success that has no form yet.
#[derive(Clone, Copy, Debug)]
pub struct Unformed<'a> {
    /// The kind of operation that it answers.
    pub entry: &'static Entry,
    /// The body of the service that was asked; `None` where it has nothing there, and the operation
    /// takes that for an answer.
    pub body: Option<&'a [u8]>,
    /// Members that the gate gives beside it, such as a handle.
    pub given: &'a [(&'a str, Value)],
}

/// An answer that has its form.
#[derive(Debug, Default)]
pub struct Formed {
    /// The answer.
    pub body: Vec<u8>,
    /// The notes of it, for records.
    pub notes: Notes,
    /// The media type, where that is not JSON's.
    pub media: Option<HeaderValue>,
}

impl From<Vec<u8>> for Formed {
    /// An answer that records tell nothing of.
    fn from(body: Vec<u8>) -> Self {
        Self { body, ..Self::default() }
    }
}

/// Reads an answer of Vault's as the operation does, and has a success formed.
///
/// # Errors
/// The refusal that it stands for.
pub(super) fn read(form: &dyn Form, entry: &'static Entry, answer: &Answer) -> Result<Formed, Refusal> {
    let body = match answer.status {
        _ if answer.is_success() => Some(&*answer.body),
        status if entry.is_batch() && is_partial(status, &answer.body) => Some(&*answer.body),
        _ => match (answer.refusal(), entry.spec.absent) {
            (Refusal::NotFound, Absent::Empty(_)) => None,
            (Refusal::NotFound, Absent::Version { none, deleted, destroyed }) => {
                let Some(for_good) = is_destroyed(&answer.body) else { return Err(Refusal::Absent(none)) };
                form.gone(entry, &answer.body);
                return Err(Refusal::Absent(if for_good { destroyed } else { deleted }));
            }
            (refusal, _) => return Err(refusal),
        },
    };
    form.whole(Unformed { entry, body, given: &[] })
}
