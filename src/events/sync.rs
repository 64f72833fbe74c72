//! Locks between threads: the standard library's, or, in tests of how threads may interleave,
//! shuttle's of the same form.

#[cfg(not(feature = "shuttle"))]
pub(super) use std::sync::{Mutex, MutexGuard};

#[cfg(feature = "shuttle")]
pub(super) use shuttle::sync::{Mutex, MutexGuard};
