//! Ids that are accepted once: of proofs of possession (DPoP, RFC 9449), of confirmations.
//!
//! A cache that makes room by forgetting would accept some twice. These are two tables instead: one
//! takes new proofs, and when it is as old as a proof may become, the other is emptied and they
//! change places.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use filters::jwt::WINDOW;

/// Most proofs of one table: some 13,000 a second. Two full tables take 70 MiB.
const MOST: usize = 900_000;

/// Seconds for which gates tell each other of a proof: a minute more than it is valid, by which their
/// clocks may differ.
pub const KEPT: u64 = WINDOW.unsigned_abs() + 60;

/// The reason why a proof is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Used {
    /// The proof was used before.
    Before,
    /// No more proofs can be remembered.
    TooMany,
}

/// The proofs that this gate has seen used.
pub struct UsedOnce<T>(Mutex<Tables<T>>);

struct Tables<T> {
    /// Seconds in which a proof could be used again.
    window: i64,
    /// The time since which `current` takes new proofs, in seconds since the epoch. Where the clock is
    /// set back, nothing is dropped until it has caught up.
    since: i64,
    current: HashSet<T>,
    previous: HashSet<T>,
}

impl<T> Tables<T> {
    fn new(window: i64) -> Self {
        Self { window, since: 0, current: HashSet::new(), previous: HashSet::new() }
    }
}

impl<T: Eq + Hash> UsedOnce<T> {
    /// For proofs that hold no longer than `window`, in seconds.
    #[must_use]
    pub fn new(window: i64) -> Self {
        Self(Mutex::new(Tables::new(window)))
    }

    /// Notes a proof as used at `now`, in seconds since the epoch by the clock that it was judged by.
    ///
    /// # Errors
    /// [`Used`].
    pub fn use_up(&self, proof: T, now: i64) -> Result<(), Used> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).use_up(proof, now, MOST)
    }
}

impl<T: Eq + Hash> Tables<T> {
    fn use_up(&mut self, proof: T, now: i64, most: usize) -> Result<(), Used> {
        if now >= self.since.saturating_add(self.window) {
            let next = HashSet::with_capacity(self.current.len());
            self.previous = std::mem::replace(&mut self.current, next);
            self.since = now;
        }
        if self.current.contains(&proof) || self.previous.contains(&proof) {
            return Err(Used::Before);
        }
        if self.current.len() >= most {
            return Err(Used::TooMany);
        }
        self.current.insert(proof);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_known_for_as_long_as_it_could_be_used_again() {
        for first in [0, 1, WINDOW - 1] {
            let mut tables = Tables::new(WINDOW);
            assert_eq!(tables.use_up(0, 1000, 10), Ok(()));
            let used = 1000 + first;
            assert_eq!(tables.use_up(1, used, 10), Ok(()));
            for now in used..used + WINDOW {
                assert_eq!(tables.use_up(1, now, 10), Err(Used::Before), "{first} {now}");
            }
            // Nor before its time, should the clock be set back.
            assert_eq!(tables.use_up(1, used - 500, 10), Err(Used::Before));
            let _ = (tables.use_up(2, used + WINDOW, 10), tables.use_up(3, used + 2 * WINDOW, 10));
            assert_eq!(tables.use_up(1, used + 2 * WINDOW, 10), Ok(()));
        }
    }

    #[test]
    fn what_could_not_be_remembered_is_not_accepted() {
        let mut tables = Tables::new(WINDOW);
        for proof in 0..10 {
            assert_eq!(tables.use_up(proof, 1000, 10), Ok(()));
        }
        assert_eq!(tables.use_up(10, 1000 + WINDOW - 1, 10), Err(Used::TooMany));
        assert_eq!(tables.use_up(5, 1000, 10), Err(Used::Before));
        assert_eq!(tables.use_up(10, 1000 + WINDOW, 10), Ok(()));
        assert_eq!(tables.use_up(5, 1000 + WINDOW, 10), Err(Used::Before));
    }
}
