//! Outcomes of operations.

use std::sync::Arc;
use std::time::Duration;

use filters::grants::Role;
use filters::refusal::Refusal;

/// The outcome of one operation, for log and metrics.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The operation's name; empty where there was none.
    pub operation: &'static str,
    /// `allow`, or the code of the refusal; empty where nothing was decided.
    pub decision: &'static str,
    /// The role that allowed it.
    pub role: Option<Arc<Role>>,
    /// The time that Vault took.
    pub upstream: Duration,
    /// The time that all of it took, where it is one of several.
    pub took: Duration,
}

/// The outcomes of a request: one for each operation that it asked for.
#[derive(Debug)]
pub enum Outcomes {
    /// Of the request as a whole.
    One(Outcome),
    /// Of each message of a batch, in their order.
    Each(Vec<Outcome>),
}

impl Outcome {
    /// Allowed, without an operation of the catalog's.
    #[must_use]
    pub fn allowed() -> Self {
        Self { decision: "allow", ..Self::default() }
    }

    /// Refused before anything was decided.
    #[must_use]
    pub fn refused(operation: &'static str, refusal: &Refusal) -> Self {
        Self { operation, decision: refusal.public().code, ..Self::default() }
    }

    /// Takes in the outcome of a part of the operation.
    pub fn add(&mut self, part: Self) {
        self.upstream += part.upstream;
        if part.role.is_some() {
            self.role = part.role;
        }
    }
}

impl Default for Outcomes {
    fn default() -> Self {
        Self::One(Outcome::default())
    }
}

impl From<Outcome> for Outcomes {
    fn from(outcome: Outcome) -> Self {
        Self::One(outcome)
    }
}
