//! The wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time of the wall clock, in seconds since the epoch.
#[must_use]
pub fn epoch_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
