//! The gate's own dealings with Vault: its login, the agents' tokens and leases, suspensions, the
//! keys of handles, and Vault's health.

mod audit_keys;
mod clock;
mod gates;
mod handles;
mod handover;
mod health;
mod lease;
mod login;
mod operator;
mod own;
mod provision;
mod record;
mod returns;
mod suspension;
mod tokens;
mod transit;

pub use audit_keys::{AuditKeys, namings, verifiers};
pub use clock::epoch_seconds;
pub use gates::{Gates, LIVELY, Reports};
pub use handles::Handles;
pub use handover::{Given, Parcel, Returns};
pub use health::{Health, Monitor};
pub use lease::{Books, Issued, Leases, Wanted};
pub use login::{GateLogin, LoginState};
pub use operator::{NoLogin, logged_in};
pub use own::{Accessor, OwnCalls, Undone};
pub use provision::Provision;
pub use record::{Unread, Unwritten};
pub use suspension::{SuspendedAgents, Suspension, SuspensionEntry, Suspensions};
pub use tokens::{AgentToken, AgentTokens, CallTokens, Profile};

use std::sync::Arc;
use std::time::Duration;

use filters::audit::{ChainId, OwnId};
use filters::vault::Layout;

use crate::config::Settings;
use crate::exchange::Upstream;
use crate::telemetry::{Metrics, VaultKeys};

/// Vault, as the gate uses it.
pub struct Vault {
    /// The connections to it.
    pub upstream: Arc<Upstream>,
    /// The gate's own login.
    pub login: Arc<LoginState>,
    /// Its health.
    pub monitor: Monitor,
    /// The agents' tokens.
    pub tokens: AgentTokens,
    /// Calls with the gate's own token.
    pub own: OwnCalls,
    /// Finds out whether agents' tokens can be made.
    pub provision: Arc<Provision>,
    /// The keys of handles.
    pub handles: Handles,
    /// The keys of the audit.
    pub audit_keys: AuditKeys,
    /// The agents' leases.
    pub leases: Leases,
    /// Things that go back to Vault, since their agent did not get them.
    pub returns: Returns,
    /// The suspended agents.
    pub suspensions: Arc<Suspensions>,
}

impl Vault {
    /// Prepares everything; nothing is asked yet. `chain` names this process in Vault's audit too; `keys` are those of
    /// its own audit.
    ///
    /// # Errors
    /// The reason why Vault cannot be reached as the configuration says.
    pub fn new(settings: &Settings, metrics: Arc<Metrics>, chain: ChainId, keys: VaultKeys) -> Result<Self, String> {
        let upstream = Arc::new(Upstream::new(settings.upstream.clone(), OwnId::Gate(chain))?);
        let login = Arc::new(LoginState::new(settings.login.clone(), Arc::clone(&upstream)));
        let monitor = Monitor::new(Arc::clone(&upstream));
        let capacity = settings.child_tokens.capacity;
        let own = OwnCalls::new(Arc::clone(&upstream), Arc::clone(&login));
        let provision = Arc::new(Provision::new(own.clone()));
        let tokens = AgentTokens::new(own.clone(), Arc::clone(&provision), metrics, capacity);
        let handles = Handles::new(own.clone());
        let audit_keys = AuditKeys::new(own.clone(), keys);
        let leases = Leases::new(own.clone());
        let returns = Returns::new(own.clone());
        let gates = Gates::new(own.clone(), gate_name(settings));
        let suspensions = Arc::new(Suspensions::new(own.clone(), gates));
        Ok(Self { upstream, login, monitor, tokens, own, provision, handles, audit_keys, leases, returns, suspensions })
    }

    /// Removes from Vault what is this gate's, as far as `time` allows: the agents' tokens, things that
    /// nobody got, its report among the gates, its own login.
    pub async fn leave(&self, layout: &Layout, time: Duration) {
        let begun = tokio::time::Instant::now();
        self.tokens.drop_all(time).await;
        let left = time.saturating_sub(begun.elapsed()).max(LEAST);
        let leaving = async {
            tokio::join!(self.returns.finish(), self.suspensions.gates().leave(layout));
            self.login.leave().await
        };
        if !tokio::time::timeout(left, leaving).await.unwrap_or(false) {
            tracing::warn!("not everything of this gate's could be ended in Vault in time; it expires by itself");
        }
    }
}

/// Least time for the rest, after the agents' tokens.
const LEAST: Duration = Duration::from_secs(1);

/// The name of this gate among all: its host, its first port, and a random number for this start.
fn gate_name(settings: &Settings) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
    let host = if host.is_empty() { "gate" } else { &host };
    let port = settings.listeners.first().map_or(0, |listener| listener.address.port());
    format!("{host}:{port}-{:08x}", crate::random::u64() as u32)
}
