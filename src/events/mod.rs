//! Events: each change that was done goes to the streams of those whom it may concern (DESIGN section
//! 14). Who may see it is judged by each stream, when it tells it.

mod bus;

pub use bus::{Bus, Heard, Subscription, Told};
