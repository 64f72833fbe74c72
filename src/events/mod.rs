//! Events: each change that was done goes to the streams of those whom it may concern (DESIGN section
//! 14). Who may see it is judged by each stream, when it tells it.

mod bus;
mod outbox;
mod relay;
mod sessions;
mod sync;

#[cfg(all(test, feature = "shuttle"))]
mod interleavings;
#[cfg(all(test, not(feature = "shuttle")))]
mod tests;

pub use bus::{Bus, Heard, StreamAddress, Subscription, Told};
pub use relay::share;
pub use sessions::{SessionChange, TooMany};
