//! Ends the tokens and leases of suspended agents in Vault.

use std::collections::HashMap;
use std::time::Duration;

use filters::names::AgentId;
use filters::vault::Layout;
use tokio::time::Instant;

use crate::vault::lease::Leases;
use crate::vault::tokens::AgentTokens;

use super::Suspensions;

/// Time after which an agent's tokens and leases are ended once more: requests that were under way
/// have ended by then.
const AGAIN: Duration = Duration::from_secs(30);

/// The state of one suspended agent's sweep.
struct Sweep {
    since: Instant,
    turns: u32,
    /// True where the log says that its leases cannot be ended.
    told: bool,
}

impl Suspensions {
    /// Sweeps suspended agents after every look at the record, for ever.
    pub(super) async fn sweep(&self, tokens: &AgentTokens, leases: &Leases, layout: &impl Fn() -> Layout) {
        let mut swept = HashMap::<AgentId, Sweep>::new();
        let mut looks = self.looked.subscribe();
        while looks.changed().await.is_ok() {
            let current = self.current.load_full();
            swept.retain(|agent, _| current.contains(agent));
            for agent in &*current {
                let sweep = swept.entry(agent.clone()).or_insert_with(|| {
                    tracing::warn!(%agent, "the agent is suspended");
                    Sweep { since: Instant::now(), turns: 0, told: false }
                });
                if sweep.is_due() && self.own.is_logged_in() {
                    sweep.make(agent, tokens, leases, &layout()).await;
                }
            }
        }
    }
}

impl Sweep {
    /// True at once, and once more for requests that were under way then.
    fn is_due(&self) -> bool {
        match self.turns {
            0 => true,
            1 => self.since.elapsed() >= AGAIN,
            _ => false,
        }
    }

    async fn make(&mut self, agent: &AgentId, tokens: &AgentTokens, leases: &Leases, layout: &Layout) {
        tokens.drop_of(agent).await;
        match leases.end_all(layout, agent).await {
            Ok(ended) => {
                self.turns += 1;
                self.told = false;
                tracing::warn!(%agent, ended, "the suspended agent's leases have ended");
            }
            Err(undone) if !self.told => {
                self.told = true;
                let code = undone.refusal.public().code;
                tracing::error!(%agent, code, "the suspended agent's leases cannot be ended yet");
            }
            Err(_) => {}
        }
    }
}
