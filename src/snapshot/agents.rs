//! The compiled policy while the gate runs: agents without an entry are made when they come, and
//! their limits go on counting over reloads.

use std::sync::Arc;

use filters::grants::Agent;
use filters::jwt::Verified;
use filters::names::AgentId;
use filters::policy::{Known, Policy, PolicySource, Stranger};
use filters::quota::Cell;
use filters::tally::Tally;
use moka::sync::Cache;

/// Most agents without an entry that are kept at once.
const MAX_STRANGERS: u64 = 100_000;

/// Every agent: those with an entry, and those that come without one.
pub struct Agents {
    policy: Policy,
    /// Agents without an entry.
    strangers: Cache<Stranger, Arc<Agent>>,
    /// The state of each limit of agents without an entry, by its name; shared by all snapshots.
    cells: Cache<(AgentId, Box<str>), Arc<Cell>>,
    /// The counts of requests of agents without an entry; shared by all snapshots.
    tallies: Cache<AgentId, Arc<Tally>>,
}

impl Agents {
    /// Compiles the policy; `previous` gives the state of the limits.
    pub(super) fn new(source: PolicySource, previous: Option<&Self>) -> Self {
        Self {
            policy: Policy::compile(source, previous.map(|previous| &previous.policy)),
            strangers: Cache::new(MAX_STRANGERS),
            cells: previous.map_or_else(|| Cache::new(MAX_STRANGERS), |previous| previous.cells.clone()),
            tallies: previous.map_or_else(|| Cache::new(MAX_STRANGERS), |previous| previous.tallies.clone()),
        }
    }

    /// The compiled policy.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The agent of that name, as [`Policy::agent`] judges.
    #[must_use]
    pub fn find(&self, id: &AgentId) -> Option<Arc<Agent>> {
        self.policy.agent(id).map(|known| self.made(known))
    }

    /// The agent that a token belongs to, as [`Policy::agent_of_token`] judges.
    #[must_use]
    pub fn find_by_token(&self, issuer: usize, token: &Verified) -> Option<Arc<Agent>> {
        self.policy.agent_of_token(issuer, token).map(|known| self.made(known))
    }

    /// The agents without an entry that have come to this snapshot, in no order; one may stand there for each
    /// rule that gave it roles.
    #[must_use]
    pub fn strangers(&self) -> Vec<Arc<Agent>> {
        self.strangers.iter().map(|(_, agent)| agent).collect()
    }

    fn made(&self, known: Known<'_>) -> Arc<Agent> {
        match known {
            Known::Entry(agent) => Arc::clone(agent),
            Known::Stranger(stranger) => self.strangers.get_with_by_ref(&stranger, || {
                let cell = |name: &str| self.cells.get_with((stranger.id().clone(), name.into()), Arc::default);
                let tally = self.tallies.get_with_by_ref(stranger.id(), Arc::default);
                Arc::new(self.policy.agent_without_entry(&stranger, tally, cell))
            }),
        }
    }
}
