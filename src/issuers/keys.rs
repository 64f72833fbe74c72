//! The keys of one issuer, replaced while the gate runs.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use filters::jwt::{KeySet, Verified};
use filters::secret::Digest;
use moka::sync::Cache;

/// Most verified tokens that are remembered, of each issuer.
const MOST_VERIFIED: u64 = 100_000;

/// Time for which a verified token that nobody presents is remembered.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(900);

/// The keys of an issuer, where they are known.
pub(super) struct LiveKeys(ArcSwapOption<Keys>);

/// Keys, and the tokens that were verified with them: both are replaced at once.
pub(super) struct Keys {
    pub(super) set: KeySet,
    pub(super) verified: Cache<Digest, Arc<Verified>>,
}

impl LiveKeys {
    pub(super) fn new(set: Option<KeySet>) -> Self {
        Self(ArcSwapOption::from_pointee(set.map(Keys::new)))
    }

    /// The current keys; `None` where they are not known.
    pub(super) fn current(&self) -> Option<Arc<Keys>> {
        self.0.load_full()
    }

    /// The number of known keys.
    pub(super) fn count(&self) -> usize {
        self.0.load().as_ref().map_or(0, |keys| keys.set.len())
    }

    /// The token of that digest, where it was verified with the current keys.
    pub(super) fn verified(&self, digest: &Digest) -> Option<Arc<Verified>> {
        self.0.load().as_ref()?.verified.get(digest)
    }

    /// Replaces the keys. Equal ones stay, with the tokens that were verified with them.
    pub(super) fn publish(&self, set: Option<KeySet>) {
        let same = |keys: &Arc<Keys>| set.as_ref() == Some(&keys.set);
        if !self.0.load().as_ref().is_some_and(same) {
            self.0.store(set.map(|set| Arc::new(Keys::new(set))));
        }
    }
}

impl Keys {
    fn new(set: KeySet) -> Self {
        let verified = Cache::builder().max_capacity(MOST_VERIFIED).time_to_idle(FORGOTTEN_AFTER).build();
        Self { set, verified }
    }
}
