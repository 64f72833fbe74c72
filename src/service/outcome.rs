//! Outcomes of operations.

use std::sync::Arc;
use std::time::Duration;

use filters::grants::Role;
use filters::notes::{OBSERVED, WHY};
use filters::refusal::Refusal;
use filters::tally::Tally;

use crate::telemetry::{Call, Calls, Record, Sinks};

/// The outcome of one operation, for log and metrics.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The operation's name; empty where there was none.
    pub operation: &'static str,
    /// `allow`, or the code of the refusal; empty where nothing was decided.
    pub decision: &'static str,
    /// The role that allowed it.
    pub role: Option<Arc<Role>>,
    /// The time that all of it took, where it is one of several.
    pub took: Duration,
    /// The calls that were made for it.
    pub calls: Calls,
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
    /// The outcome of one call, allowed by `role` where one was needed.
    pub(super) fn of(call: Call, role: Option<Arc<Role>>) -> Self {
        let (operation, decision) = (call.entry.spec.name, call.refused.unwrap_or("allow"));
        let mut outcome = Self { operation, decision, role, ..Self::default() };
        outcome.calls.add(call);
        outcome
    }

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

    fn record<'r>(&'r self, request: &Record<'r>) -> Record<'r> {
        let concern = self.calls.iter().next().map(|call| &call.concern);
        Record {
            operation: self.operation,
            decision: self.decision,
            role: self.role.as_ref().map_or("", |role| &*role.name),
            observed: concern.is_some_and(|concern| concern.notes.is_raised(OBSERVED)),
            why: concern.and_then(|concern| concern.notes.text(WHY)).unwrap_or(request.why),
            concern,
            calls: Some(&self.calls),
            ..*request
        }
    }

    /// Takes in the outcome of a part of the operation.
    pub fn add(&mut self, part: Self) {
        self.calls.append(part.calls);
        if part.role.is_some() {
            self.role = part.role;
        }
    }
}

impl Outcomes {
    /// The record of the request as a whole, which `request` is without its outcome.
    #[must_use]
    pub fn record<'r>(&'r self, request: &Record<'r>) -> Record<'r> {
        match self {
            Self::One(outcome) => outcome.record(request),
            Self::Each(_) => *request,
        }
    }

    /// Tells the sinks of each outcome; `request` is what all of them have in common.
    pub fn finish(&self, request: &Record<'_>, sinks: &Sinks) {
        match self {
            Self::One(outcome) => sinks.finish(&outcome.record(request)),
            Self::Each(outcomes) => outcomes.iter().enumerate().for_each(|(place, outcome)| {
                sinks.finish(&Record { message: Some(place), took: outcome.took, ..outcome.record(request) });
            }),
        }
    }

    /// Counts the outcomes of an agent's request, which took so long and ended at `now`, on the clock of the limits.
    pub fn count(&self, tally: &Tally, took: Duration, now: u64) {
        match self {
            Self::One(outcome) => tally.count(outcome.decision, took, now),
            Self::Each(outcomes) => {
                outcomes.iter().for_each(|outcome| tally.count(outcome.decision, outcome.took, now));
            }
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use filters::catalog;
    use filters::decide::Concern;

    use super::*;
    use crate::telemetry::Sink;

    /// Keeps the place, the decision and the number of calls of each record.
    #[derive(Default)]
    struct Kept(Mutex<Vec<(Option<usize>, &'static str, usize)>>);

    impl Sink for Kept {
        fn finish(&self, record: &Record<'_>) {
            let calls = record.calls.map_or(0, |calls| calls.iter().count());
            self.0.lock().unwrap().push((record.message, record.decision, calls));
        }
    }

    fn called() -> Outcome {
        let (entry, concern) = (catalog::find("kv.read").unwrap(), Concern::default());
        Outcome::of(Call { entry, concern, refused: None, upstream: None, event: None }, None)
    }

    #[test]
    fn each_sink_is_told_once_of_each_message_of_a_batch() {
        let kept = [Arc::new(Kept::default()), Arc::new(Kept::default())];
        let sinks: Sinks = kept.iter().map(|kept| Arc::clone(kept) as Arc<dyn Sink>).collect();
        let mut walked = called();
        walked.add(called());
        let batch = Outcomes::Each(vec![called(), Outcome::refused("kv.read", &Refusal::Forbidden), walked]);
        batch.finish(&Record::default(), &sinks);
        Outcomes::from(called()).finish(&Record::default(), &sinks);
        let told = [(Some(0), "allow", 1), (Some(1), "forbidden", 0), (Some(2), "allow", 2), (None, "allow", 1)];
        assert!(kept.iter().all(|kept| *kept.0.lock().unwrap() == told));
    }
}
