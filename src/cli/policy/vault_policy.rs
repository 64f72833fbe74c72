//! `portcullis policy`: the grants as policies of Vault's, printed or kept in
//! step with Vault.

use std::collections::{BTreeMap, BTreeSet};

use filters::grants::Role;
use filters::identity::UnknownAgents;
use filters::names::{AgentId, Namespace};
use filters::refusal::Refusal;
use filters::vault::admin::{self, TokenRole};
use filters::vault_policy::{MARK, Own, Policy, ROLES, Unprintable, roles_policy};
use similar::TextDiff;

use crate::config::{AgentEntry, ChildPolicies, Settings};
use crate::exchange::Envelope;
use crate::vault::{NoLogin, OwnCalls, Undone, logged_in};

/// Stands for the accessor where Vault is not asked for it.
const ACCESSOR: &str = "ACCESSOR";

/// Why nothing was printed or written.
#[derive(Debug)]
pub enum PolicyProblem {
    /// No agent of that name has an entry.
    UnknownAgent,
    /// Grants that no policy can hold.
    Unprintable(String, Unprintable),
    /// The credentials for Vault are missing or refused.
    NoLogin(NoLogin),
    /// Vault has no namespace that the configuration names.
    NoNamespace(Namespace),
    /// The question that Vault did not answer well, and its words.
    Vault(String, String),
}

impl From<NoLogin> for PolicyProblem {
    fn from(problem: NoLogin) -> Self {
        Self::NoLogin(problem)
    }
}

impl std::fmt::Display for PolicyProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnknownAgent => f.write_str("no agent of that name has an entry in the configuration"),
            Self::Unprintable(name, Unprintable::Unsayable(one, two)) => write!(
                f,
                "behind policy {name}, {one} and {two} overlap, and Vault would let one decide where roles give by both: \
                 write whole segments before `*`, or the same capabilities"
            ),
            Self::Unprintable(name, Unprintable::TooManyPaths) => {
                write!(f, "the patterns behind policy {name} overlap in more ways than a policy can say; use fewer `*`")
            }
            Self::NoLogin(problem) => {
                write!(f, "{problem}; the credentials must be of somebody who may write policies")
            }
            Self::NoNamespace(namespace) => {
                write!(f, "Vault has no namespace {namespace}: make it, with the mounts that its agents are to use")
            }
            Self::Vault(what, said) => write!(f, "{what}: {said}"),
        }
    }
}

/// The policy of one agent, as text.
///
/// # Errors
/// [`PolicyProblem::UnknownAgent`], [`PolicyProblem::Unprintable`].
pub fn of_agent(settings: &Settings, id: &AgentId) -> Result<String, PolicyProblem> {
    let stranger = [0];
    let entry = settings.agents.iter().find(|agent| agent.id == *id);
    let unknown = matches!(settings.identity.directory.unknown(), UnknownAgents::OwnNamespace(_));
    let unknown = unknown.then_some(&stranger[..]);
    let indices = entry.map(|entry| entry.roles.as_slice()).or(unknown).ok_or(PolicyProblem::UnknownAgent)?;
    let roles: Vec<&Role> = indices.iter().filter_map(|index| settings.roles.get(*index)).collect();
    let named = || settings.identity.directory.namespace_of(id, roles.iter().copied());
    let namespace = entry.and_then(|entry| entry.namespace.as_ref()).or_else(named);
    let namespace = within(namespace.unwrap_or(&settings.upstream.namespace));
    let title = format!("Agent {id}{namespace}, roles: {}.", names(&roles).join(", "));
    text(&roles, Own::Agent(id), settings, &title)
}

/// The words after the name of something in a namespace; none for the root.
fn within(namespace: &Namespace) -> String {
    if namespace.is_root() { String::new() } else { format!(" in {namespace}") }
}

/// Who is in a namespace.
#[derive(Default)]
pub(super) struct Tenants<'a> {
    agents: Vec<&'a AgentEntry>,
    /// Lists of roles that some agent has there, or may have.
    lists: BTreeSet<&'a [usize]>,
}

/// Who is in which namespace. The gate's own is always among them.
pub(super) fn tenants(settings: &Settings) -> BTreeMap<&Namespace, Tenants<'_>> {
    let (own, directory) = (&settings.upstream.namespace, &settings.identity.directory);
    let mut tenants = BTreeMap::from([(own, Tenants::default())]);
    let roles = |list: &[usize]| list.iter().filter_map(|index| settings.roles.get(*index)).collect::<Vec<_>>();
    for agent in &settings.agents {
        let named = || directory.namespace_of(&agent.id, roles(&agent.roles).into_iter());
        let tenants = tenants.entry(agent.namespace.as_ref().or_else(named).unwrap_or(own)).or_default();
        tenants.agents.push(agent);
        tenants.lists.insert(&agent.roles);
    }
    let strangers = matches!(directory.unknown(), UnknownAgents::OwnNamespace(_)).then_some(&[0][..]);
    let rules = settings.identity.role_rules.iter().flatten().map(Vec::as_slice);
    let families = || directory.families().iter().filter_map(|family| family.namespace());
    for list in rules.chain(strangers) {
        let named = roles(list).into_iter().find_map(|role| role.namespace.as_ref());
        // Of roles that name none, the family decides, and whoever is of none is in the gate's own.
        let all = named.map_or_else(|| families().chain([own]).collect(), |named| vec![named]);
        all.into_iter().for_each(|namespace| _ = tenants.entry(namespace).or_default().lists.insert(list));
    }
    tenants
}

/// Every policy of a namespace, by its name.
fn all(settings: &Settings, tenants: &Tenants<'_>, accessor: &str) -> Result<BTreeMap<String, String>, PolicyProblem> {
    let mut policies = BTreeMap::new();
    match &settings.child_tokens.policies {
        ChildPolicies::PerAgent(prefix) => {
            for agent in &tenants.agents {
                policies.insert(format!("{prefix}{}", agent.id), of_agent(settings, &agent.id)?);
            }
        }
        ChildPolicies::Templated(base) => {
            let own = Role::own_namespace();
            let title = "Every agent's own namespace.";
            policies.insert(base.clone(), text(&[&own], Own::Templated(accessor), settings, title)?);
            for list in &tenants.lists {
                let roles: Vec<&Role> = list.iter().filter_map(|index| settings.roles.get(*index)).collect();
                let title = format!("Roles {}, but for the agent's own namespace.", names(&roles).join(", "));
                let name = roles_policy(names(&roles).into_iter());
                policies.insert(name, text(&roles, Own::Elsewhere, settings, &title)?);
            }
        }
    }
    Ok(policies)
}

fn names<'a>(roles: &[&'a Role]) -> Vec<&'a str> {
    roles.iter().map(|role| &*role.name).collect()
}

fn text(roles: &[&Role], own: Own<'_>, settings: &Settings, title: &str) -> Result<String, PolicyProblem> {
    let policy = Policy::of(settings.catalog, roles, own, &settings.layout);
    policy.map(|policy| policy.to_hcl(title)).map_err(|why| PolicyProblem::Unprintable(title.to_owned(), why))
}

/// The token roles by which agents' tokens and leases' tokens are made.
fn token_roles(settings: &Settings) -> [TokenRole; 2] {
    let (allowed, allowed_globs) = match &settings.child_tokens.policies {
        ChildPolicies::PerAgent(prefix) => (Vec::new(), vec![format!("{prefix}*")]),
        ChildPolicies::Templated(base) => (vec![base.clone()], vec![format!("{ROLES}*")]),
    };
    let role = |name: &str, service| TokenRole {
        name: name.to_owned(),
        allowed: allowed.clone(),
        allowed_globs: allowed_globs.clone(),
        aliased: settings.child_tokens.entity_alias,
        service,
    };
    [role(&settings.child_tokens.role, false), role(&settings.leases.role, true)]
}

/// One thing that is not in Vault as the configuration has it.
#[derive(Debug)]
pub struct Change {
    namespace: Namespace,
    step: Step,
}

/// The change that is needed.
#[derive(Debug)]
enum Step {
    /// A policy to write, and what differs.
    Write {
        /// Its name.
        name: String,
        /// The policy as it is to be.
        hcl: String,
        /// The difference from the one that is there, line by line.
        difference: String,
        /// True where there is none yet.
        new: bool,
    },
    /// A policy that nobody has any more.
    Remove(String),
    /// A token role.
    Role(TokenRole),
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let within = within(&self.namespace);
        match &self.step {
            Step::Write { name, difference, new, .. } => {
                writeln!(f, "{} policy {name}{within}", if *new { "+" } else { "~" })?;
                difference.lines().try_for_each(|line| writeln!(f, "    {line}"))
            }
            Step::Remove(name) => writeln!(f, "- policy {name}{within}"),
            Step::Role(role) => writeln!(f, "~ token role {}{within}", role.name),
        }
    }
}

/// Vault, as an operator sees it.
pub struct Sync {
    own: OwnCalls,
}

impl Sync {
    /// Runs `work` with a login by the gate's own configuration: its
    /// VAULT_TOKEN, where that is an operator's.
    ///
    /// # Errors
    /// [`PolicyProblem::NoLogin`], and what `work` says.
    pub async fn with<T>(
        settings: &Settings,
        work: impl AsyncFnOnce(&Self) -> Result<T, PolicyProblem>,
    ) -> Result<T, PolicyProblem> {
        logged_in(settings, async |own| work(&Self { own: own.clone() }).await).await
    }

    /// The differences between the configuration and Vault.
    ///
    /// # Errors
    /// [`PolicyProblem`].
    pub async fn changes(&self, settings: &Settings) -> Result<Vec<Change>, PolicyProblem> {
        let mut changes = Vec::new();
        for (namespace, tenants) in tenants(settings) {
            let place = NamespacePolicies { own: &self.own, namespace };
            let steps = place.steps(settings, &tenants).await?;
            changes.extend(steps.into_iter().map(|step| Change { namespace: namespace.clone(), step }));
        }
        Ok(changes)
    }

    /// All policies of the gate's own namespace, by their names; not `root`, which has no text.
    ///
    /// # Errors
    /// [`PolicyProblem`].
    pub async fn policies(&self) -> Result<Vec<(String, String)>, PolicyProblem> {
        let place = NamespacePolicies { own: &self.own, namespace: self.own.namespace() };
        let mut policies = Vec::new();
        for name in place.listed().await? {
            if let Some(text) = place.policy(&name).await?.filter(|_| name != "root") {
                policies.push((name, text));
            }
        }
        Ok(policies)
    }

    /// Makes one change.
    ///
    /// # Errors
    /// The words of Vault.
    pub async fn make(&self, change: &Change) -> Result<(), PolicyProblem> {
        let (what, request) = match &change.step {
            Step::Write { name, hcl, .. } => (format!("policy {name}"), admin::write_policy(name, hcl)),
            Step::Remove(name) => (format!("policy {name}"), admin::delete_policy(name)),
            Step::Role(role) => (format!("token role {}", role.name), admin::write_token_role(role)),
        };
        let place = NamespacePolicies { own: &self.own, namespace: &change.namespace };
        let outcome = self.own.succeed(request, place.along()).await;
        outcome.map(drop).map_err(|undone| place.problem(what, undone))
    }
}

/// One namespace, as an operator sees it.
#[derive(Clone, Copy)]
struct NamespacePolicies<'a> {
    own: &'a OwnCalls,
    namespace: &'a Namespace,
}

impl<'a> NamespacePolicies<'a> {
    fn along(self) -> Envelope<'a> {
        Envelope { namespace: Some(self.namespace), ..Envelope::default() }
    }

    fn problem(self, what: impl std::fmt::Display, undone: impl Into<Undone>) -> PolicyProblem {
        PolicyProblem::Vault(format!("{what}{}", within(self.namespace)), undone.into().to_string())
    }

    async fn steps(self, settings: &Settings, tenants: &Tenants<'_>) -> Result<Vec<Step>, PolicyProblem> {
        let mut steps = Vec::new();
        self.look().await?;
        let wanted = all(settings, tenants, &self.accessor(settings).await?)?;
        for (name, hcl) in &wanted {
            let stands = self.policy(name).await?;
            if stands.as_deref() == Some(hcl) {
                continue;
            }
            let new = stands.is_none();
            let stands = stands.unwrap_or_default();
            let difference = TextDiff::from_lines(stands.as_str(), hcl).unified_diff().context_radius(0).to_string();
            steps.push(Step::Write { name: name.clone(), hcl: hcl.clone(), difference, new });
        }
        for name in self.listed().await? {
            let ours = is_ours(settings, &name);
            if ours && !wanted.contains_key(&name) && self.policy(&name).await?.is_some_and(|p| p.starts_with(MARK)) {
                steps.push(Step::Remove(name));
            }
        }
        for role in token_roles(settings) {
            if !self.has(&role).await? {
                steps.push(Step::Role(role));
            }
        }
        Ok(steps)
    }

    /// Tells a namespace that Vault does not have from one that has nothing.
    async fn look(self) -> Result<(), PolicyProblem> {
        match self.own.ask(admin::list_policies(), self.along()).await {
            Ok(answer) if answer.status == 404 && admin::is_no_namespace(&answer.body) => {
                Err(PolicyProblem::NoNamespace(self.namespace.clone()))
            }
            _ => Ok(()),
        }
    }

    /// True where the token role is as it should be.
    async fn has(self, role: &TokenRole) -> Result<bool, PolicyProblem> {
        let what = format_args!("token role {}", role.name);
        match self.own.succeed(admin::read_token_role(&role.name), self.along()).await {
            Ok(answer) => {
                role.is_what_stands(&answer.body).ok_or_else(|| self.problem(what, Refusal::UpstreamNonsense))
            }
            Err(Undone { refusal: Refusal::NotFound, .. }) => Ok(false),
            Err(undone) => Err(self.problem(what, undone)),
        }
    }

    async fn accessor(self, settings: &Settings) -> Result<String, PolicyProblem> {
        match &settings.child_tokens.policies {
            ChildPolicies::PerAgent(_) => Ok(ACCESSOR.to_owned()),
            ChildPolicies::Templated(_) => {
                let what = "the token method's accessor";
                let answer = self.own.succeed(admin::token_method(), self.along()).await;
                let answer = answer.map_err(|undone| self.problem(what, undone))?;
                admin::accessor(&answer.body).ok_or_else(|| self.problem(what, Refusal::UpstreamNonsense))
            }
        }
    }

    async fn listed(self) -> Result<Vec<String>, PolicyProblem> {
        let what = "the list of policies";
        let answer = self.own.succeed(admin::list_policies(), self.along()).await;
        let answer = answer.map_err(|undone| self.problem(what, undone))?;
        admin::names(&answer.body).ok_or_else(|| self.problem(what, Refusal::UpstreamNonsense))
    }

    async fn policy(self, name: &str) -> Result<Option<String>, PolicyProblem> {
        let what = format_args!("policy {name}");
        match self.own.succeed(admin::read_policy(name), self.along()).await {
            Ok(answer) => {
                admin::policy(&answer.body).map(Some).ok_or_else(|| self.problem(what, Refusal::UpstreamNonsense))
            }
            Err(Undone { refusal: Refusal::NotFound, .. }) => Ok(None),
            Err(undone) => Err(self.problem(what, undone)),
        }
    }
}

/// Only what carries the mark is ever removed, and only what has a name of this configuration's.
fn is_ours(settings: &Settings, name: &str) -> bool {
    match &settings.child_tokens.policies {
        ChildPolicies::PerAgent(prefix) => name.starts_with(prefix),
        ChildPolicies::Templated(_) => name.starts_with(ROLES),
    }
}
