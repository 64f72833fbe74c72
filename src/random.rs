//! Numbers that need not be secret: request ids, jitter.

use std::hash::{BuildHasher, RandomState};

/// A number that differs from process to process and from call to call.
#[must_use]
pub(crate) fn u64() -> u64 {
    RandomState::new().hash_one(0_u8)
}
