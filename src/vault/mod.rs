//! What the gate does with Vault for itself: its login, the agents' child
//! tokens, and an eye on Vault's health.

mod child;
mod health;
mod login;

pub use child::{Child, Children, Profile};
pub use health::{Health, Monitor};
pub use login::{GateLogin, LoginState};

use std::sync::Arc;

use crate::config::Settings;
use crate::exchange::Upstream;
use crate::telemetry::Metrics;

/// Vault, as the gate uses it.
pub struct Vault {
    /// The way there.
    pub upstream: Arc<Upstream>,
    /// The gate's own login.
    pub login: Arc<LoginState>,
    /// Its health.
    pub monitor: Monitor,
    /// The agents' tokens.
    pub children: Children,
}

impl Vault {
    /// Prepares everything; nothing is asked yet.
    ///
    /// # Errors
    /// A host or namespace that cannot stand in a header.
    pub fn new(settings: &Settings, metrics: Arc<Metrics>) -> Result<Self, http::header::InvalidHeaderValue> {
        let upstream = Arc::new(Upstream::new(settings.upstream.clone())?);
        let login = Arc::new(LoginState::new(settings.login.clone(), Arc::clone(&upstream)));
        let monitor = Monitor::new(Arc::clone(&upstream));
        let capacity = settings.child_tokens.capacity;
        let children = Children::new(Arc::clone(&upstream), Arc::clone(&login), metrics, capacity);
        Ok(Self { upstream, login, monitor, children })
    }
}

/// Most bytes of an answer to the gate itself.
const ANSWER_LIMIT: usize = 1 << 20;
