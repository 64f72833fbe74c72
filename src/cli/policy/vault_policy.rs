//! `portcullis policy`: the grants as policies of Vault's, printed or kept in
//! step with Vault.

use std::collections::{BTreeMap, BTreeSet};

use filters::grants::Role;
use filters::identity::UnknownAgents;
use filters::names::AgentId;
use filters::policy::{MARK, Own, Policy, ROLES, TooManyPaths, roles_policy};
use filters::refusal::Refusal;
use filters::vault::admin::{self, TokenRole};
use similar::TextDiff;

use crate::config::{ChildPolicies, Settings};
use crate::vault::{Along, NoLogin, OwnCalls, Undone, logged_in};

/// Stands for the accessor where Vault is not asked for it.
const ACCESSOR: &str = "ACCESSOR";

/// Why nothing was printed or written.
#[derive(Debug)]
pub enum Problem {
    /// No agent of that name has an entry.
    UnknownAgent,
    /// Grants that no policy can hold.
    TooManyPaths(String),
    /// The credentials for Vault are missing or refused.
    NoLogin(NoLogin),
    /// What was asked of Vault, and what came of it.
    Vault(String, String),
}

impl Problem {
    fn vault(what: String, undone: &Undone) -> Self {
        Self::Vault(what, undone.to_string())
    }

    fn nonsense(what: String) -> Self {
        Self::Vault(what, Refusal::UpstreamNonsense.public().detail.to_owned())
    }
}

impl From<NoLogin> for Problem {
    fn from(problem: NoLogin) -> Self {
        Self::NoLogin(problem)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnknownAgent => f.write_str("no agent of that name has an entry in the configuration"),
            Self::TooManyPaths(name) => {
                write!(f, "the patterns behind policy {name} overlap in more ways than a policy can say; use fewer `*`")
            }
            Self::NoLogin(problem) => {
                write!(f, "{problem}; the credentials must be of somebody who may write policies")
            }
            Self::Vault(what, said) => write!(f, "{what}: {said}"),
        }
    }
}

/// The policy of one agent, as text.
///
/// # Errors
/// [`Problem::UnknownAgent`], [`Problem::TooManyPaths`].
pub fn of_agent(settings: &Settings, id: &AgentId) -> Result<String, Problem> {
    let stranger = [0];
    let known = settings.agents.iter().find(|agent| agent.id == *id).map(|agent| agent.roles.as_slice());
    let unknown = matches!(settings.identity.directory.unknown(), UnknownAgents::OwnNamespace(_));
    let unknown = unknown.then_some(&stranger[..]);
    let indices = known.or(unknown).ok_or(Problem::UnknownAgent)?;
    let roles: Vec<&Role> = indices.iter().filter_map(|index| settings.roles.get(*index)).collect();
    let title = format!("Agent {id}, roles: {}.", names(&roles).join(", "));
    text(&roles, Own::Agent(id), settings, &title)
}

/// Every policy, by its name.
fn all(settings: &Settings, accessor: &str) -> Result<BTreeMap<String, String>, Problem> {
    let mut policies = BTreeMap::new();
    match &settings.child_tokens.policies {
        ChildPolicies::PerAgent(prefix) => {
            for agent in &settings.agents {
                policies.insert(format!("{prefix}{}", agent.id), of_agent(settings, &agent.id)?);
            }
        }
        ChildPolicies::Templated(base) => {
            let own = Role::own_namespace();
            let title = "Every agent's own namespace.";
            policies.insert(base.clone(), text(&[&own], Own::Templated(accessor), settings, title)?);
            let rules = settings.identity.role_rules.iter().flatten().map(Vec::as_slice);
            let unknown = matches!(settings.identity.directory.unknown(), UnknownAgents::OwnNamespace(_));
            let strangers = unknown.then_some(&[0][..]);
            let of_agents = settings.agents.iter().map(|agent| agent.roles.as_slice());
            let lists: BTreeSet<&[usize]> = of_agents.chain(rules).chain(strangers).collect();
            for list in lists {
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

fn text(roles: &[&Role], own: Own<'_>, settings: &Settings, title: &str) -> Result<String, Problem> {
    let policy = Policy::of(roles, own, &settings.layout);
    policy.map(|policy| policy.to_hcl(title)).map_err(|TooManyPaths| Problem::TooManyPaths(title.to_owned()))
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
pub enum Change {
    /// A policy to write, and what differs.
    Write {
        /// Its name.
        name: String,
        /// What it is to be.
        hcl: String,
        /// How that differs from what is there, line by line.
        difference: String,
        /// Whether there is none yet.
        new: bool,
    },
    /// A policy that nobody has any more.
    Remove(String),
    /// A token role.
    Role(TokenRole),
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Write { name, difference, new, .. } => {
                writeln!(f, "{} policy {name}", if *new { "+" } else { "~" })?;
                difference.lines().try_for_each(|line| writeln!(f, "    {line}"))
            }
            Self::Remove(name) => writeln!(f, "- policy {name}"),
            Self::Role(role) => writeln!(f, "~ token role {}", role.name),
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
    /// [`Problem::NoLogin`], and what `work` says.
    pub async fn with<T>(
        settings: &Settings,
        work: impl AsyncFnOnce(&Self) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        logged_in(settings, async |_, own| work(&Self { own: own.clone() }).await).await
    }

    /// What differs between the configuration and Vault.
    ///
    /// # Errors
    /// [`Problem`].
    pub async fn changes(&self, settings: &Settings) -> Result<Vec<Change>, Problem> {
        let mut changes = Vec::new();
        let wanted = all(settings, &self.accessor(settings).await?)?;
        for (name, hcl) in &wanted {
            let stands = self.policy(name).await?;
            if stands.as_deref() == Some(hcl) {
                continue;
            }
            let new = stands.is_none();
            let stands = stands.unwrap_or_default();
            let difference = TextDiff::from_lines(stands.as_str(), hcl).unified_diff().context_radius(0).to_string();
            changes.push(Change::Write { name: name.clone(), hcl: hcl.clone(), difference, new });
        }
        for name in self.listed().await? {
            let ours = self.is_ours(settings, &name);
            if ours && !wanted.contains_key(&name) && self.policy(&name).await?.is_some_and(|p| p.starts_with(MARK)) {
                changes.push(Change::Remove(name));
            }
        }
        for role in token_roles(settings) {
            let what = || format!("token role {}", role.name);
            let stands = match self.own.succeed(admin::read_token_role(&role.name), Along::default()).await {
                Ok(answer) => role.is_what_stands(&answer.body).ok_or_else(|| Problem::nonsense(what()))?,
                Err(Undone { refusal: Refusal::NotFound, .. }) => false,
                Err(undone) => return Err(Problem::vault(what(), &undone)),
            };
            if !stands {
                changes.push(Change::Role(role));
            }
        }
        Ok(changes)
    }

    /// Makes one change.
    ///
    /// # Errors
    /// What Vault says.
    pub async fn make(&self, change: &Change) -> Result<(), Problem> {
        let (what, request) = match change {
            Change::Write { name, hcl, .. } => (format!("policy {name}"), admin::write_policy(name, hcl)),
            Change::Remove(name) => (format!("policy {name}"), admin::delete_policy(name)),
            Change::Role(role) => (format!("token role {}", role.name), admin::write_token_role(role)),
        };
        let outcome = self.own.succeed(request, Along::default()).await;
        outcome.map(drop).map_err(|undone| Problem::vault(what, &undone))
    }

    /// Only what carries the mark is ever removed, and only what has a name of this configuration's.
    fn is_ours(&self, settings: &Settings, name: &str) -> bool {
        match &settings.child_tokens.policies {
            ChildPolicies::PerAgent(prefix) => name.starts_with(prefix),
            ChildPolicies::Templated(_) => name.starts_with(ROLES),
        }
    }

    async fn accessor(&self, settings: &Settings) -> Result<String, Problem> {
        match &settings.child_tokens.policies {
            ChildPolicies::PerAgent(_) => Ok(ACCESSOR.to_owned()),
            ChildPolicies::Templated(_) => {
                let what = || "the token method's accessor".to_owned();
                let answer = self.own.succeed(admin::token_method(), Along::default()).await;
                let answer = answer.map_err(|undone| Problem::vault(what(), &undone))?;
                admin::accessor(&answer.body).ok_or_else(|| Problem::nonsense(what()))
            }
        }
    }

    async fn listed(&self) -> Result<Vec<String>, Problem> {
        let what = || "the list of policies".to_owned();
        let answer = self.own.succeed(admin::list_policies(), Along::default()).await;
        let answer = answer.map_err(|undone| Problem::vault(what(), &undone))?;
        admin::names(&answer.body).ok_or_else(|| Problem::nonsense(what()))
    }

    async fn policy(&self, name: &str) -> Result<Option<String>, Problem> {
        match self.own.succeed(admin::read_policy(name), Along::default()).await {
            Ok(answer) => {
                admin::policy(&answer.body).map(Some).ok_or_else(|| Problem::nonsense(format!("policy {name}")))
            }
            Err(Undone { refusal: Refusal::NotFound, .. }) => Ok(None),
            Err(undone) => Err(Problem::vault(format!("policy {name}"), &undone)),
        }
    }
}
