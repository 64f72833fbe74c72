//! Shares of a bounded resource (invariant 10): the amount that all owners hold together and the
//! amount of each are bounded, so that nobody can use up what others need.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Bounds;

/// Number of owners up to which those that hold nothing are kept.
const FEW: usize = 1024;

/// The bound that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The bound of the owner.
    Own,
    /// The bound of all owners together.
    All,
}

/// The amounts that are held of one resource, in all and by owner.
#[derive(Debug)]
pub struct Shares<K> {
    all: Arc<AtomicUsize>,
    owners: Mutex<Owners<K>>,
}

#[derive(Debug)]
struct Owners<K> {
    held: HashMap<K, Arc<AtomicUsize>>,
    /// Number of owners at which those that hold nothing are removed.
    many: usize,
}

/// A share, given back when dropped.
#[derive(Debug)]
pub struct Share {
    all: Arc<AtomicUsize>,
    own: Arc<AtomicUsize>,
    amount: usize,
}

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self { all: Arc::default(), owners: Mutex::new(Owners { held: HashMap::new(), many: FEW }) }
    }
}

impl<K: Eq + Hash> Shares<K> {
    /// A share of `amount` for `owner`.
    ///
    /// # Errors
    /// [`Full`]; nothing is held then.
    pub fn take(&self, owner: K, amount: usize, bounds: Bounds) -> Result<Share, Full> {
        let mut share = Share { all: Arc::clone(&self.all), own: self.of(owner), amount: 0 };
        share.grow(amount, bounds)?;
        Ok(share)
    }

    /// The amount that all owners hold.
    #[must_use]
    pub fn held(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }

    /// The amount that this owner holds.
    #[must_use]
    pub fn held_by(&self, owner: &K) -> usize {
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.held.get(owner).map_or(0, |own| own.load(Ordering::Relaxed))
    }

    fn of(&self, owner: K) -> Arc<AtomicUsize> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = owners.held.get(&owner) {
            return Arc::clone(own);
        }
        if owners.held.len() >= owners.many {
            owners.held.retain(|_, own| Arc::strong_count(own) > 1);
            owners.many = (owners.held.len() * 2).max(FEW);
        }
        Arc::clone(owners.held.entry(owner).or_default())
    }
}

impl Share {
    /// Adds `amount` to the share.
    ///
    /// # Errors
    /// [`Full`]; the share stays as it was.
    pub fn grow(&mut self, amount: usize, bounds: Bounds) -> Result<(), Full> {
        if !add(&self.own, amount, bounds.each) {
            return Err(Full::Own);
        }
        if !add(&self.all, amount, bounds.all) {
            self.own.fetch_sub(amount, Ordering::Relaxed);
            return Err(Full::All);
        }
        self.amount += amount;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.own.fetch_sub(self.amount, Ordering::Relaxed);
        self.all.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

/// Adds `amount` where the sum is not above `most`; true where it was added.
fn add(to: &AtomicUsize, amount: usize, most: usize) -> bool {
    let sum = |held: usize| held.checked_add(amount).filter(|sum| *sum <= most);
    to.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { all: 3, each: 2 };

    #[test]
    fn shares_are_bounded_by_owner_and_together_and_given_back() {
        let shares = Shares::default();
        let take = |owner: &'static str| shares.take(owner, 1, BOUNDS);
        let held = [take("a").unwrap(), take("a").unwrap()];
        assert_eq!(take("a").unwrap_err(), Full::Own);
        let other = take("b").unwrap();
        assert_eq!(take("c").unwrap_err(), Full::All);
        assert_eq!((shares.held(), shares.held_by(&"a"), shares.held_by(&"d")), (3, 2, 0));
        drop(held);
        assert!(take("c").is_ok());
        drop(other);
        assert_eq!(shares.held(), 0);
    }

    #[test]
    fn a_share_grows_within_the_bounds() {
        let shares = Shares::default();
        let mut share = shares.take("a", 0, BOUNDS).unwrap();
        share.grow(2, BOUNDS).unwrap();
        assert_eq!(share.grow(1, BOUNDS), Err(Full::Own));
        assert_eq!(share.grow(usize::MAX, BOUNDS), Err(Full::Own));
        let mut other = shares.take("b", 1, BOUNDS).unwrap();
        assert_eq!(other.grow(1, BOUNDS), Err(Full::All));
        drop(share);
        assert_eq!(shares.held(), 1);
        other.grow(1, BOUNDS).unwrap();
    }

    #[test]
    fn nothing_is_kept_of_owners_that_hold_nothing() {
        let shares = Shares::default();
        let kept = shares.take(0, 1, BOUNDS).unwrap();
        for owner in 1..3 * FEW {
            drop(shares.take(owner, 1, BOUNDS).unwrap());
        }
        assert!(shares.owners.lock().unwrap().held.len() <= FEW);
        drop(kept);
    }
}
