//! What the gate does with Vault for itself: its login, the agents' child
//! tokens and leases, the keys of handles, and an eye on Vault's health.

mod bearer;
mod child;
mod handles;
mod health;
mod lease;
mod login;
mod operator;
mod own;
mod record;
mod suspension;

pub use child::{Child, Children, Profile};
pub use handles::Handles;
pub use health::{Health, Monitor};
pub use lease::{Issued, Leases, Wanted};
pub use login::{GateLogin, LoginState};
pub use operator::{NoLogin, logged_in};
pub use own::{Along, OwnCalls};
pub use suspension::{Record, Suspension, Suspensions};

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

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
    /// What is asked with the gate's own token.
    pub own: OwnCalls,
    /// The keys of handles.
    pub handles: Handles,
    /// The agents' leases.
    pub leases: Leases,
    /// Who may do nothing for now.
    pub suspensions: Arc<Suspensions>,
    /// The namespace it all is in; empty for the root's.
    pub namespace: Box<str>,
}

impl Vault {
    /// Prepares everything; nothing is asked yet.
    ///
    /// # Errors
    /// Why Vault cannot be reached as the configuration says.
    pub fn new(settings: &Settings, metrics: Arc<Metrics>) -> Result<Self, String> {
        let upstream = Arc::new(Upstream::new(settings.upstream.clone())?);
        let login = Arc::new(LoginState::new(settings.login.clone(), Arc::clone(&upstream)));
        let monitor = Monitor::new(Arc::clone(&upstream));
        let capacity = settings.child_tokens.capacity;
        let children = Children::new(Arc::clone(&upstream), Arc::clone(&login), metrics, capacity);
        let own = OwnCalls::new(Arc::clone(&upstream), Arc::clone(&login));
        let handles = Handles::new(own.clone());
        let leases = Leases::new(Arc::clone(&upstream), own.clone());
        let suspensions = Arc::new(Suspensions::new(own.clone()));
        let namespace = settings.upstream.namespace.clone().unwrap_or_default().into();
        Ok(Self { upstream, login, monitor, children, own, handles, leases, suspensions, namespace })
    }
}

/// Most bytes of an answer to the gate itself.
const ANSWER_LIMIT: usize = 1 << 20;

/// The wall clock, in seconds since the epoch.
#[must_use]
pub fn epoch_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
