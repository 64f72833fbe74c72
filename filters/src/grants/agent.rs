//! Agents: who has which roles.

use std::fmt;
use std::sync::Arc;

use super::{Allowed, Need, Role, Space, Unheld};
use crate::condition::Circumstances;
use crate::names::{AgentId, Namespace};
use crate::path::SecretPath;
use crate::quota::{Limit, Terms};
use crate::scope::Scope;
use crate::tally::Tally;

/// The weight of what a role allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The agent may do it: the usual kind of role.
    #[default]
    Enforce,
    /// The role is asked after all others. What it alone allows is done, and recorded as observed.
    Observe,
}

/// An agent: its roles in the order in which they are asked.
pub struct Agent {
    /// Its closed name.
    pub id: AgentId,
    /// Raised when the name is given to somebody else, who then inherits
    /// nothing that was issued before.
    pub generation: u32,
    /// The namespace of Vault's that all it asks for is in.
    pub namespace: Namespace,
    /// The name of the policy of its roles, beside a templated one in Vault.
    pub roles_policy: Arc<str>,
    /// Its roles.
    pub roles: Vec<(Arc<Role>, Option<Limit>)>,
    /// The limit charged before anything else is known of a request.
    pub limit: Option<Limit>,
    /// The limits of single operations, by name.
    pub operations: Vec<(&'static str, Limit)>,
    /// Other bounds.
    pub terms: Terms,
    /// The count of its requests.
    pub tally: Arc<Tally>,
}

impl Agent {
    /// The first role that allows, unless any role denies. Those that only observe are asked last.
    ///
    /// # Errors
    /// The deny that matches, or that there is no such role.
    pub fn judge(&self, need: &Need<'_>) -> Result<Allowed<'_>, Unheld<'_>> {
        for (role, _) in &self.roles {
            if let Some(pattern) = role.deny(need) {
                return Err(Unheld::Denied(role, pattern));
            }
        }
        let asked = |mode| {
            let mut roles = self.roles.iter().filter(move |(role, _)| role.mode == mode);
            roles.find_map(|role| Some(Allowed { role, grant: role.0.judge(need).ok()? }))
        };
        asked(Mode::Enforce).or_else(|| asked(Mode::Observe)).ok_or(Unheld::NoRole)
    }

    /// True where a role of its, under these circumstances, lets it look at what operators look at.
    #[must_use]
    pub fn observes(&self, circumstances: Circumstances) -> bool {
        let holds = |role: &Role| role.conditions.as_ref().is_none_or(|all| all.hold(circumstances).is_ok());
        self.roles.iter().any(|(role, _)| role.observe && holds(role))
    }

    /// The folders that roles with the scope `list` name directly below `prefix`: the way to what may be
    /// listed, for whom `prefix` itself may not be.
    pub fn ways_below(&self, space: Space, prefix: Option<&SecretPath>) -> impl Iterator<Item = &str> {
        let listing = self.roles.iter().filter(|(role, _)| role.scopes.contains(Scope::List));
        listing.flat_map(move |(role, _)| role.space(space).iter().filter_map(move |pattern| pattern.way_below(prefix)))
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roles = self.roles.iter().map(|(role, _)| &role.name);
        write!(f, "{}", self.id)?;
        f.debug_list().entries(roles).finish()
    }
}
