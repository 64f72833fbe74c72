//! Families of principals that one rule maps.

use std::fmt;

use super::{Principal, Source};
use crate::names::{AgentId, Namespace};

/// A rule that maps a family of principals to agents by one `{name}` in each
/// of two templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    pub(super) source: Source,
    principal: Template,
    agent: Template,
    namespace: Option<Namespace>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Template {
    before: Box<str>,
    after: Box<str>,
}

impl Template {
    fn parse(text: &str) -> Option<Self> {
        let (before, after) = text.split_once("{name}")?;
        let plain = !before.contains(['{', '}']) && !after.contains(['{', '}']);
        plain.then(|| Self { before: before.into(), after: after.into() })
    }

    fn take<'a>(&self, text: &'a str) -> Option<&'a str> {
        text.strip_prefix(&*self.before)?.strip_suffix(&*self.after)
    }

    fn put(&self, name: &str) -> String {
        format!("{}{name}{}", self.before, self.after)
    }

    /// True where some text may fit both; also for some that share none.
    fn may_meet(&self, other: &Self) -> bool {
        let begins = self.before.starts_with(&*other.before) || other.before.starts_with(&*self.before);
        let ends = self.after.ends_with(&*other.after) || other.after.ends_with(&*self.after);
        begins && ends
    }
}

impl Family {
    /// `None` unless each template holds `{name}` once.
    #[must_use]
    pub fn parse(source: Source, principal: &str, agent: &str) -> Option<Self> {
        let (principal, agent) = (Template::parse(principal)?, Template::parse(agent)?);
        Some(Self { source, principal, agent, namespace: None })
    }

    /// The same, of which the agents are in this namespace of Vault's.
    #[must_use]
    pub fn in_namespace(self, namespace: Option<Namespace>) -> Self {
        Self { namespace, ..self }
    }

    /// That namespace, where it names one.
    #[must_use]
    pub const fn namespace(&self) -> Option<&Namespace> {
        self.namespace.as_ref()
    }

    /// True where the two name different namespaces and one agent could come of both.
    #[must_use]
    pub fn is_torn_from(&self, other: &Self) -> bool {
        let two = self.namespace.is_some() && other.namespace.is_some();
        two && self.namespace != other.namespace && self.agent.may_meet(&other.agent)
    }

    /// True where one agent could come of both families, or one principal fit both.
    #[must_use]
    pub fn may_meet(&self, other: &Self) -> bool {
        self.source == other.source && self.principal.may_meet(&other.principal)
            || self.source.kind() == other.source.kind() && self.agent.may_meet(&other.agent)
    }

    /// True where a principal could give an agent any name.
    #[must_use]
    pub fn gives_every_name(&self) -> bool {
        self.agent.before.is_empty() && self.agent.after.is_empty()
    }

    /// True where some principal of the family is this agent.
    #[must_use]
    pub fn could_be(&self, agent: &AgentId) -> bool {
        self.agent.take(agent.as_str()).is_some_and(|name| AgentId::parse(name).is_some())
    }

    pub(super) fn agent_of(&self, principal: &Principal) -> Option<AgentId> {
        if self.source != principal.source {
            return None;
        }
        let name = AgentId::parse(self.principal.take(&principal.value)?)?;
        AgentId::parse(&self.agent.put(name.as_str()))
    }
}

/// As it is written.
impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} = {:?}, agent = {:?}",
            self.source.name(),
            self.principal.put("{name}"),
            self.agent.put("{name}")
        )?;
        self.namespace.iter().try_for_each(|namespace| write!(f, ", namespace = {:?}", namespace.as_str()))
    }
}
