//! Bounds on requests (invariant 10): rates, alone or shared with other gates; requests at once, and which
//! of them are cancelled; and proofs, each of which is used once.

mod concurrency;
mod failures;
mod running;
mod shared;
mod shares;
mod used_proofs;

pub use concurrency::{ConcurrencyLimit, ConcurrencyLimits, Place, QueuePlace, Turn};
pub use failures::{Failures, network};
pub use running::{CallName, Running, RunningCalls};
pub use shared::SharedLimits;
pub use shares::{Full, Share, Shares};
pub use used_proofs::{KEPT, Used, UsedOnce};
