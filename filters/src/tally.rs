//! The count of one agent's requests: a few atomic numbers, no clock; time is an argument.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The decision that is no refusal.
const ALLOWED: &str = "allow";

/// Counts of one agent's requests, and messages of its batches; shared by all snapshots, so that a reload
/// forgets nothing.
#[derive(Debug, Default)]
pub struct Tally {
    allowed: AtomicU64,
    /// Nanoseconds that all of them took.
    took: AtomicU64,
    last: AtomicU64,
    /// Refusals by code, of which there are as many as the gate has kinds of refusals at most.
    refused: Mutex<Vec<(&'static str, u64)>>,
}

/// The counts of a [`Tally`] at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were allowed.
    pub allowed: u64,
    /// Requests that were refused, by the code of the refusal, in the order in which codes came first.
    pub refused: Vec<(&'static str, u64)>,
    /// Time that all of them took.
    pub took: Duration,
    /// Nanoseconds on the clock of [`Tally::see`] at which the last one ended; `None` before the first.
    pub last: Option<u64>,
}

impl Tally {
    /// Notes that the agent was seen at `now`, in nanoseconds on a clock that begins above zero.
    pub fn see(&self, now: u64) {
        self.last.store(now, Ordering::Relaxed);
    }

    /// Counts a request that ended at `now`, on the clock of [`Tally::see`]. `decision` is `allow` or the code of the
    /// refusal; where it is empty, the agent was seen and nothing was decided.
    pub fn count(&self, decision: &'static str, took: Duration, now: u64) {
        self.see(now);
        if decision.is_empty() {
            return;
        }
        let took = took.as_secs().saturating_mul(1_000_000_000).saturating_add(took.subsec_nanos().into());
        self.took.fetch_add(took, Ordering::Relaxed);
        if decision == ALLOWED {
            self.allowed.fetch_add(1, Ordering::Relaxed);
        } else {
            self.refuse(decision);
        }
    }

    fn refuse(&self, code: &'static str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match refused.iter_mut().find(|(other, _)| *other == code) {
            Some((_, count)) => *count += 1,
            None => refused.push((code, 1)),
        }
    }

    /// Nanoseconds on the clock of [`Tally::see`] at which the last request ended; `None` before the first.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        Some(self.last.load(Ordering::Relaxed)).filter(|last| *last > 0)
    }

    /// The counts of this moment.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            allowed: self.allowed.load(Ordering::Relaxed),
            refused: self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            took: Duration::from_nanos(self.took.load(Ordering::Relaxed)),
            last: self.last(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_what_was_decided() {
        let tally = Tally::default();
        assert_eq!(tally.counts(), Counts::default());
        let decisions = ["allow", "forbidden", "allow", "not_found", "forbidden", ""];
        decisions.into_iter().zip(7..).for_each(|(decision, now)| tally.count(decision, Duration::from_millis(2), now));
        let refused = vec![("forbidden", 2), ("not_found", 1)];
        let counts = Counts { allowed: 2, refused, took: Duration::from_millis(10), last: Some(12) };
        assert_eq!(tally.counts(), counts);
    }
}
