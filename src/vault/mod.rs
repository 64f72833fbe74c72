//! What the gate does with Vault for itself: its login, the agents' child
//! tokens, and an eye on Vault's health.

mod child;
mod health;
mod login;

pub use child::{Child, Children, Profile};
pub use health::{Health, Monitor};
pub use login::{GateLogin, LoginState};

/// Most bytes of an answer to the gate itself.
const ANSWER_LIMIT: usize = 1 << 20;
