//! Numbers that need not be secret: request ids, jitter.

use std::hash::{BuildHasher, RandomState};

/// A number that differs from process to process and from call to call.
#[must_use]
pub(crate) fn u64() -> u64 {
    RandomState::new().hash_one(0_u8)
}

/// Another number for each `place`, by one random `seed` (SplitMix64: Steele, Lea and Flood, 2014).
#[must_use]
pub(crate) const fn derived(seed: u64, place: u64) -> u64 {
    let mut number = seed.wrapping_add(place.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}
