//! The compiled policy: the agents of a configuration with their roles and limits, and the principals
//! that reach them.
//!
//! Rate limits go on counting where the policy before left off.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::grants::{Agent, Role};
use crate::identity::{Directory, Family, Principal, Source, UnknownAgents};
use crate::jwt::Verified;
use crate::names::{AgentId, Namespace};
use crate::quota::{Cell, Limit, LimitKind, Rate, Terms};
use crate::tally::Tally;
use crate::vault_policy::roles_policy;

/// A policy as it is configured, checked and not yet compiled.
#[derive(Debug)]
pub struct PolicySource {
    /// Every role, the built-in one first.
    pub roles: Vec<Role>,
    /// Every agent that has an entry.
    pub agents: Vec<AgentEntry>,
    /// The mapping of principals to agents.
    pub directory: Directory,
    /// The roles of each role rule of each issuer, as indices into `roles`.
    pub role_rules: Vec<Vec<Vec<usize>>>,
    /// The gate's own namespace in Vault.
    pub namespace: Namespace,
    /// Rates that agents have without naming them; `None` where rate limits are off.
    pub rates: Option<Rates>,
    /// Bounds of an agent whose entry names none.
    pub terms: Terms,
}

/// An agent's entry.
#[derive(Debug)]
pub struct AgentEntry {
    /// Its name.
    pub id: AgentId,
    /// True while the configuration suspends the agent.
    pub suspended: bool,
    /// Raised when the name is given to somebody else.
    pub generation: u32,
    /// Indices into the list of roles, in the order in which they are asked.
    pub roles: Vec<usize>,
    /// The namespace of Vault's that its own entry names.
    pub namespace: Option<Namespace>,
    /// Its own rate, if it has one.
    pub rate: Option<Rate>,
    /// Most of its requests that are served at once, where it has a number of its own.
    pub concurrent: Option<usize>,
}

/// Rates of every agent.
#[derive(Debug, Default)]
pub struct Rates {
    /// The rate of an agent that has no other.
    pub agent: Option<Rate>,
    /// The rate of each operation that has one.
    pub operations: Vec<(&'static str, Rate)>,
}

/// The place of an issuer, and of one of its role rules.
type RoleRule = (usize, usize);

/// The agents, and who reaches them.
pub struct Policy {
    directory: Directory,
    agents: HashMap<AgentId, Arc<Agent>>,
    suspended: Vec<AgentId>,
    /// The built-in role.
    own_namespace: Arc<Role>,
    role_rules: Vec<Vec<Vec<Arc<Role>>>>,
    defaults: Defaults,
}

/// The properties of an agent whose entry does not name its own.
struct Defaults {
    namespace: Namespace,
    rates: Option<Rates>,
    terms: Terms,
}

/// An agent that the policy lets in.
pub enum Known<'a> {
    /// An agent that has an entry.
    Entry(&'a Arc<Agent>),
    /// An agent without an entry, which [`Policy::agent_without_entry`] makes.
    Stranger(Stranger),
}

/// An agent without an entry: its name, and the role rule that fits its token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stranger {
    id: AgentId,
    rule: Option<RoleRule>,
}

impl Stranger {
    /// The agent's name.
    #[must_use]
    pub const fn id(&self) -> &AgentId {
        &self.id
    }
}

impl Policy {
    /// Compiles a policy; `before` is the one that it replaces.
    #[must_use]
    pub fn compile(source: PolicySource, before: Option<&Self>) -> Self {
        let PolicySource { roles, agents: entries, directory, role_rules, namespace, rates, terms } = source;
        let roles: Vec<Arc<Role>> = roles.into_iter().map(Arc::new).collect();
        let list = |list: Vec<usize>| list.into_iter().filter_map(|index| roles.get(index)).cloned().collect();
        let suspended = entries.iter().filter(|entry| entry.suspended).map(|entry| entry.id.clone()).collect();
        let defaults = Defaults { namespace, rates, terms };
        let mut agents = HashMap::with_capacity(entries.len());
        for entry in entries {
            let before = before.and_then(|before| before.agents.get(&entry.id));
            let agent = Arc::new(defaults.agent_of_entry(&entry, &roles, &directory, before));
            agents.insert(entry.id, agent);
        }
        Self {
            agents,
            suspended,
            own_namespace: roles.first().map_or_else(|| Arc::new(Role::own_namespace()), Arc::clone),
            role_rules: role_rules.into_iter().map(|rules| rules.into_iter().map(list).collect()).collect(),
            directory,
            defaults,
        }
    }

    /// The agent of that name: its entry, or one with the built-in role where agents without an entry
    /// have their own namespace.
    #[must_use]
    pub fn agent(&self, id: &AgentId) -> Option<Known<'_>> {
        match (self.agents.get(id), self.directory.unknown()) {
            (Some(agent), _) => Some(Known::Entry(agent)),
            (None, UnknownAgents::Refuse) => None,
            (None, UnknownAgents::OwnNamespace(_)) => Some(Known::Stranger(Stranger { id: id.clone(), rule: None })),
        }
    }

    /// The agent that a token belongs to, of the issuer at the place `issuer`. An agent with an entry
    /// has the roles of its entry, another those of the issuer's rule, where one fits.
    #[must_use]
    pub fn agent_of_token(&self, issuer: usize, token: &Verified) -> Option<Known<'_>> {
        let principal = Principal { source: Source::Jwt(issuer), value: token.subject.as_ref().to_owned() };
        let id = self.directory.agent_of(&principal)?;
        match token.role {
            Some(rule) if !self.agents.contains_key(&id) => {
                Some(Known::Stranger(Stranger { id, rule: Some((issuer, rule)) }))
            }
            _ => self.agent(&id),
        }
    }

    /// Makes an agent without an entry, whose requests `tally` counts. `cell` gives the state of the limit of that
    /// name.
    #[must_use]
    pub fn agent_without_entry(
        &self,
        stranger: &Stranger,
        tally: Arc<Tally>,
        cell: impl Fn(&str) -> Arc<Cell>,
    ) -> Agent {
        let id = &stranger.id;
        let of_rule = |(issuer, rule): RoleRule| self.role_rules.get(issuer)?.get(rule).map(Vec::as_slice);
        let roles = stranger.rule.map_or(self.built_in(), |rule| of_rule(rule).unwrap_or_default());
        let namespace = self.namespace_without_entry(id, roles).clone();
        let rates = self.defaults.rates.as_ref();
        let limit = |rate, kind, name: String| Limit { rate, kind, cell: cell(&name), name: name.into() };
        let of_role =
            |role: &Arc<Role>| rates.and(role.rate).map(|rate| limit(rate, LimitKind::Role, role_limit(id, role)));
        let roles: Vec<_> = roles.iter().map(|role| (Arc::clone(role), of_role(role))).collect();
        let rate = rates.and_then(|rates| widest(&roles).or(rates.agent));
        let of_operation =
            |&(name, rate): &(&'static str, Rate)| (name, limit(rate, LimitKind::Operation, operation_limit(id, name)));
        Agent {
            id: id.clone(),
            generation: 1,
            namespace,
            roles_policy: roles_policy(roles.iter().map(|(role, _)| &*role.name)).into(),
            limit: rate.map(|rate| limit(rate, LimitKind::Agent, agent_limit(id))),
            roles,
            operations: self.defaults.operations().iter().map(of_operation).collect(),
            terms: self.defaults.terms,
            tally,
        }
    }

    /// The roles of agents without an entry for which no rule fits.
    const fn built_in(&self) -> &[Arc<Role>] {
        std::slice::from_ref(&self.own_namespace)
    }

    fn namespace_without_entry<'a>(&'a self, id: &AgentId, roles: &'a [Arc<Role>]) -> &'a Namespace {
        let named = self.directory.namespace_of(id, roles.iter().map(|role| &**role));
        named.unwrap_or(&self.defaults.namespace)
    }

    /// True where some credential brings the agent into that namespace of Vault's.
    #[must_use]
    pub fn may_be_in(&self, id: &AgentId, namespace: &Namespace) -> bool {
        if let Some(agent) = self.agents.get(id) {
            return agent.namespace == *namespace;
        }
        let mut lists = self.role_rules.iter().flatten().map(Vec::as_slice).chain([self.built_in()]);
        lists.any(|roles| self.namespace_without_entry(id, roles) == namespace)
    }

    /// Every namespace of Vault's that an agent may be in, with one agent of it that has an entry,
    /// where there is one.
    #[must_use]
    pub fn namespaces(&self) -> BTreeMap<&Namespace, Option<&Agent>> {
        let mut found = BTreeMap::<&Namespace, Option<&Agent>>::new();
        self.agents.values().for_each(|agent| _ = found.entry(&agent.namespace).or_insert(Some(agent)));
        let families = self.directory.families().iter().filter_map(Family::namespace);
        let of_rules = self.role_rules.iter().flatten().flatten().filter_map(|role| role.namespace.as_ref());
        families.chain(of_rules).for_each(|namespace| _ = found.entry(namespace).or_default());
        if found.is_empty() || self.directory.unknown() != UnknownAgents::Refuse {
            found.entry(&self.defaults.namespace).or_default();
        }
        found
    }

    /// The gate's own namespace in Vault.
    #[must_use]
    pub const fn own_namespace(&self) -> &Namespace {
        &self.defaults.namespace
    }

    /// The agents that have an entry.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Agent> {
        self.agents.values().map(|agent| &**agent)
    }

    /// The agents that the configuration suspends.
    #[must_use]
    pub fn suspended(&self) -> &[AgentId] {
        &self.suspended
    }

    /// The mapping of principals to agents.
    #[must_use]
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }
}

impl Defaults {
    fn agent_of_entry(
        &self,
        entry: &AgentEntry,
        roles: &[Arc<Role>],
        directory: &Directory,
        before: Option<&Arc<Agent>>,
    ) -> Agent {
        let id = &entry.id;
        let rates = self.rates.as_ref();
        let roles = entry.roles.iter().filter_map(|index| roles.get(*index)).cloned();
        let roles: Vec<_> = roles.map(|role| limited(id, role, rates.is_some(), before)).collect();
        let rate = rates.and_then(|rates| entry.rate.or_else(|| widest(&roles)).or(rates.agent));
        let counted = before.and_then(|agent| agent.limit.as_ref());
        // Of whoever had the name before, nothing is told.
        let same = before.filter(|agent| agent.generation == entry.generation);
        let named = || directory.namespace_of(id, roles.iter().map(|(role, _)| &**role));
        Agent {
            id: id.clone(),
            generation: entry.generation,
            namespace: entry.namespace.as_ref().or_else(named).unwrap_or(&self.namespace).clone(),
            roles_policy: roles_policy(roles.iter().map(|(role, _)| &*role.name)).into(),
            limit: rate.map(|rate| Limit::new(rate, LimitKind::Agent, agent_limit(id), counted)),
            operations: of_operations(id, self.operations(), before),
            roles,
            terms: Terms { concurrent: entry.concurrent.unwrap_or(self.terms.concurrent), ..self.terms },
            tally: same.map(|agent| Arc::clone(&agent.tally)).unwrap_or_default(),
        }
    }

    fn operations(&self) -> &[(&'static str, Rate)] {
        self.rates.as_ref().map(|rates| rates.operations.as_slice()).unwrap_or_default()
    }
}

/// A role of an agent's with its own limit, counted where it was before.
fn limited(id: &AgentId, role: Arc<Role>, on: bool, before: Option<&Arc<Agent>>) -> (Arc<Role>, Option<Limit>) {
    let same = |other: &&(Arc<Role>, Option<Limit>)| other.0.name == role.name;
    let counted = before.and_then(|agent| agent.roles.iter().find(same)).and_then(|(_, limit)| limit.as_ref());
    let limit = role.rate.filter(|_| on).map(|rate| Limit::new(rate, LimitKind::Role, role_limit(id, &role), counted));
    (role, limit)
}

/// An agent's limits of single operations, counted where they were before.
fn of_operations(
    id: &AgentId,
    rates: &[(&'static str, Rate)],
    before: Option<&Arc<Agent>>,
) -> Vec<(&'static str, Limit)> {
    let counted = |operation| {
        let (_, limit) = before?.operations.iter().find(|(other, _)| *other == operation)?;
        Some(limit)
    };
    let limit = |&(operation, rate)| {
        let name = operation_limit(id, operation);
        (operation, Limit::new(rate, LimitKind::Operation, name, counted(operation)))
    };
    rates.iter().map(limit).collect()
}

/// The name of an agent's own limit; neither part of any such name holds a colon.
fn agent_limit(id: &AgentId) -> String {
    format!("agent:{id}")
}

fn role_limit(id: &AgentId, role: &Role) -> String {
    format!("role:{id}:{}", role.name)
}

fn operation_limit(id: &AgentId, operation: &str) -> String {
    format!("operation:{id}:{operation}")
}

/// The widest rate among the roles, so that an agent's own limit never stops
/// what one of its roles allows.
fn widest(roles: &[(Arc<Role>, Option<Limit>)]) -> Option<Rate> {
    let rates = roles.iter().filter_map(|(role, _)| role.rate);
    rates.reduce(|widest, rate| if rate.is_wider_than(&widest) { rate } else { widest })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::identity::UnknownAgents::OwnNamespace;

    fn id(name: &str) -> AgentId {
        AgentId::parse(name).unwrap()
    }

    fn role(name: &str, rate: Option<Rate>) -> Role {
        Role { name: name.into(), rate, ..Role::own_namespace() }
    }

    fn rate(requests: u32) -> Rate {
        Rate::new(requests, Duration::from_secs(60), 1).unwrap()
    }

    /// The agent `known` with the role `wide`, and a rule that gives others that role.
    fn source(limited: bool) -> PolicySource {
        let mut directory = Directory::new(OwnNamespace(Some(Source::Jwt(0))));
        directory.keep(id("known"));
        let entry = AgentEntry {
            id: id("known"),
            suspended: true,
            generation: 1,
            roles: vec![1],
            namespace: None,
            rate: None,
            concurrent: Some(7),
        };
        PolicySource {
            roles: vec![Role::own_namespace(), role("wide", Some(rate(60)))],
            agents: vec![entry],
            directory,
            role_rules: vec![vec![vec![1]]],
            namespace: Namespace::default(),
            rates: limited.then(|| Rates { agent: Some(rate(1)), operations: vec![("kv.read", rate(2))] }),
            terms: Terms { concurrent: 3, ..Terms::default() },
        }
    }

    fn made(policy: &Policy, known: Option<Known<'_>>) -> Arc<Agent> {
        match known.expect("an agent") {
            Known::Entry(agent) => Arc::clone(agent),
            Known::Stranger(stranger) => {
                Arc::new(policy.agent_without_entry(&stranger, Arc::default(), |_| Arc::default()))
            }
        }
    }

    fn names(agent: &Agent) -> Vec<&str> {
        agent.roles.iter().map(|(role, _)| &*role.name).collect()
    }

    #[test]
    fn an_entry_has_its_roles_and_others_those_of_the_rule_or_the_built_in_one() {
        let policy = Policy::compile(source(true), None);
        let known = made(&policy, policy.agent(&id("known")));
        assert_eq!((names(&known), known.terms.concurrent), (vec!["wide"], 7));
        let other = made(&policy, policy.agent(&id("other")));
        assert_eq!((names(&other), other.terms.concurrent), (vec!["own-namespace"], 3));
        let ruled = Stranger { id: id("other"), rule: Some((0, 0)) };
        assert_eq!(names(&made(&policy, Some(Known::Stranger(ruled)))), ["wide"]);
        let lost = Stranger { id: id("other"), rule: Some((1, 0)) };
        assert!(names(&made(&policy, Some(Known::Stranger(lost)))).is_empty(), "a rule that is none gives nothing");
        assert_eq!(policy.suspended(), [id("known")]);
    }

    #[test]
    fn an_agent_without_a_rate_has_its_widest_roles_or_the_default() {
        for limited in [true, false] {
            let policy = Policy::compile(source(limited), None);
            for (name, expected) in [("known", rate(60)), ("other", rate(1))] {
                let agent = made(&policy, policy.agent(&id(name)));
                assert_eq!(agent.limit.as_ref().map(|limit| limit.rate), limited.then_some(expected), "{name}");
                assert_eq!(agent.operations.len(), usize::from(limited), "{name}");
            }
        }
    }

    #[test]
    fn limits_go_on_counting_over_a_new_policy() {
        let cells = |policy: &Policy| {
            let agent = made(policy, policy.agent(&id("known")));
            let limits =
                [agent.limit.as_ref(), agent.roles[0].1.as_ref(), agent.operations.first().map(|(_, limit)| limit)];
            limits.map(|limit| Arc::clone(&limit.unwrap().cell))
        };
        let before = Policy::compile(source(true), None);
        let after = Policy::compile(source(true), Some(&before));
        assert!(cells(&before).iter().zip(&cells(&after)).all(|(one, other)| Arc::ptr_eq(one, other)));
        let tally = |policy: &Policy| Arc::clone(&made(policy, policy.agent(&id("known"))).tally);
        assert!(Arc::ptr_eq(&tally(&before), &tally(&after)), "its requests are counted on");
        let mut of_another = source(true);
        of_another.agents[0].generation = 2;
        let of_another = Policy::compile(of_another, Some(&before));
        assert!(!Arc::ptr_eq(&tally(&before), &tally(&of_another)), "the name was given to somebody else");
    }
}
