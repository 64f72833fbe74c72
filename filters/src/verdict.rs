//! The rule by which something is allowed or refused: the basis of decisions,
//! and of explanations without a request.

use crate::condition::Circumstances;
use crate::grants::{Agent, Allowed, Demand, EngineSpec, Grant, Holds, Mode, Need, Resource, Role, Shortfall, Unheld};
use crate::identity::Identity;
use crate::notes::{Note, Notes, OBSERVED, WHY};
pub use crate::operation::About;
use crate::operation::{Entry, OperationSpec, Touched, unfit};
use crate::path::below;
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::vault::{HANDLES, Layout};

/// Why something is refused.
#[derive(Clone, Copy, Debug)]
pub enum Denial<'a> {
    /// The resource is the gate's own, whatever a grant says.
    OfTheGate,
    /// The credential lacks the scope.
    Credential(Scope),
    /// A deny of this role matches.
    Denied(&'a Role, Grant<'a>),
    /// No role of the agent's holds all of it.
    NoRole,
}

impl Denial<'_> {
    /// Notes the reason for operators: of a deny its pattern, and of what no role holds the shortfall of each role.
    fn note(&self, agent: &Agent, need: &Need<'_>, notes: &mut Notes) {
        let why = match self {
            Self::OfTheGate => "it is the gate's own".to_owned(),
            Self::Credential(scope) => format!("the credential lacks the scope {}", scope.name()),
            Self::Denied(role, pattern) => {
                pattern.written().into_iter().for_each(|pattern| notes.add("deny", Note::Name(pattern)));
                format!("role {} denies it", role.name)
            }
            Self::NoRole if agent.roles.is_empty() => "the agent has no role".to_owned(),
            Self::NoRole => {
                let short = |role: &Role| Some(format!("{} lacks {}", role.name, role.judge(need).err()?.name()));
                let each: Vec<_> = agent.roles.iter().filter_map(|(role, _)| short(role)).collect();
                let list = if each.is_empty() { String::new() } else { format!(": {}", each.join(", ")) };
                format!("no role grants it{list}")
            }
        };
        notes.add(WHY, Note::text(&why));
    }
}

impl From<Denial<'_>> for Refusal {
    fn from(denial: Denial<'_>) -> Self {
        match denial {
            Denial::Credential(scope) => Self::InsufficientScope(scope),
            Denial::OfTheGate | Denial::Denied(..) | Denial::NoRole => Self::Forbidden,
        }
    }
}

/// The same, with the reason of a refusal noted, and of what only a role that observes lets through.
///
/// # Errors
/// As [`judge`].
pub(crate) fn judge_noting<'a>(
    identity: &'a Identity,
    need: &Need<'_>,
    layout: &Layout,
    notes: &mut Notes,
) -> Result<Allowed<'a>, Refusal> {
    let note = |denial: &Denial<'_>, notes: &mut Notes| denial.note(&identity.agent, need, notes);
    let allowed = judge(identity, need, layout).inspect_err(|denial| note(denial, notes))?;
    if allowed.role.0.mode == Mode::Observe {
        notes.add(OBSERVED, Note::Flag(true));
        note(&Denial::NoRole, notes);
    }
    Ok(allowed)
}

/// The role and grant of the agent that allow this.
///
/// # Errors
/// The rule that refuses it.
pub(crate) fn judge<'a>(identity: &'a Identity, need: &Need<'_>, layout: &Layout) -> Result<Allowed<'a>, Denial<'a>> {
    if is_the_gates(need.resource, layout) {
        return Err(Denial::OfTheGate);
    }
    if !identity.scopes.contains(need.scope) {
        return Err(Denial::Credential(need.scope));
    }
    identity.agent.judge(need).map_err(|unheld| match unheld {
        Unheld::Denied(role, pattern) => Denial::Denied(role, pattern),
        Unheld::NoRole => Denial::NoRole,
    })
}

/// The parts of Vault's API about the token that asks, and about what was given out under it, in whichever namespace: no
/// answer of the gate's tells of its tokens.
const OF_TOKENS: [&str; 5] = [
    "/auth/token/lookup-self/",
    "/auth/token/renew-self/",
    "/auth/token/revoke-self/",
    "/sys/leases/",
    "/sys/wrapping/",
];

/// True for a resource of the gate's own: a caller who may ask for authentication codes of the key behind handles has
/// every handle's key, and one who may sign by the key of checkpoints makes a chain anew.
fn is_the_gates(resource: &Resource, layout: &Layout) -> bool {
    let is_own = |name: &str| layout.own_keys().any(|key| key == name);
    let Resource::Key(engine, name) = resource else { return false };
    match engine.spec().holds {
        Holds::Absolute => {
            // Whatever is asked of the key: its name may stand anywhere behind the mount.
            below(name, layout.mount_of(HANDLES)).is_some_and(|rest| rest.split('/').any(is_own))
                || OF_TOKENS.iter().any(|path| format!("/{name}/").contains(path))
        }
        Holds::Names(_) | Holds::Paths => engine.name() == HANDLES && is_own(name),
    }
}

/// Puts the configured name where the caller gave none: what is judged is what is asked.
pub(crate) fn name(resource: &mut Resource, layout: &Layout) -> Result<(), Refusal> {
    if let Resource::Key(engine, name) = resource
        && name.is_empty()
        && engine.is_kms()
    {
        let key = layout.kms_default_key.clone();
        *name = key.ok_or_else(|| unfit("/key_id", "a key's name: there is no default"))?;
    }
    Ok(())
}

/// Most grants that are named.
const NAMED: usize = 20;

/// The grants for an operation that the agent's roles hold now, in one sentence; `None` where it touches
/// nothing that a grant names, or something that another operation made.
#[must_use]
pub fn granted(identity: &Identity, spec: &OperationSpec, circumstances: Circumstances) -> Option<String> {
    let (scope, engine) = (spec.scope?, spec.engine.filter(|_| spec.named)?);
    let EngineSpec { holds, bounds_ttl, bounds_login, .. } = engine.spec();
    if spec.reach.apis.is_empty() && !engine.is_kms() && !matches!(holds, Holds::Absolute) {
        return None;
    }
    let held = |role: &&Role| {
        let conditions = role.conditions.as_ref();
        role.scopes.contains(scope) && conditions.is_none_or(|conditions| conditions.hold(circumstances).is_ok())
    };
    let roles: Vec<&Role> = identity.agent.roles.iter().map(|(role, _)| &**role).filter(held).collect();
    let names = || roles.iter().flat_map(|role| role.names(engine)).map(ToString::to_string).collect();
    Some(match holds {
        Holds::Paths => {
            let own = roles.iter().flat_map(|role| &role.kv).map(ToString::to_string).collect();
            let shared = roles.iter().flat_map(|role| &role.shared).map(ToString::to_string).collect();
            let denies = identity.agent.roles.iter().any(|(role, _)| !role.deny.is_empty());
            let own = sentence(if denies { "paths, but for what is denied" } else { "paths" }, own);
            format!("{own} {}", sentence("shared paths", shared))
        }
        Holds::Names(of) if *bounds_ttl || *bounds_login => {
            sentence(&format!("{}, each within its bounds", of.several), names())
        }
        Holds::Names(of) => sentence(of.several, names()),
        Holds::Absolute => {
            let paths = roles.iter().flat_map(|role| role.vault.iter()).map(ToString::to_string);
            sentence("paths of Vault's", paths.collect())
        }
    })
}

fn sentence(what: &str, mut grants: Vec<String>) -> String {
    grants.sort_unstable();
    grants.dedup();
    let more = if grants.len() > NAMED { ", and more" } else { "" };
    grants.truncate(NAMED);
    let grants = if grants.is_empty() { "none".to_owned() } else { grants.join(", ") };
    format!("Granted {what}: {grants}{more}.")
}

/// An operation as grants are asked about it, without its other arguments.
#[derive(Clone, Debug)]
pub struct Question {
    /// The kind of operation.
    pub kind: &'static Entry,
    needs: Option<(Scope, Resource)>,
    demand: Demand,
}

/// Why a question cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unaskable {
    /// The name is none; as the gate refuses it.
    Name(Refusal),
    /// Only the operation's handle tells what it touches.
    ByHandle,
}

impl Question {
    /// A question about `kind` and this resource.
    ///
    /// # Errors
    /// [`Unaskable`].
    pub fn new(kind: &'static Entry, about: About<'_>, layout: &Layout) -> Result<Self, Unaskable> {
        let spec = kind.spec;
        let (Some(scope), Some(touch)) = (spec.scope, spec.touch) else {
            // What has a name but no engine of its own is about what another made.
            let question = Self { kind, needs: None, demand: Demand::default() };
            return if spec.named { Err(Unaskable::ByHandle) } else { Ok(question) };
        };
        let Touched { mut resource, demand } = touch(about).map_err(Unaskable::Name)?;
        name(&mut resource, layout).map_err(Unaskable::Name)?;
        Ok(Self { kind, needs: Some((scope, resource)), demand })
    }

    /// The same question by the resource's name alone: what other bounds there are is met by arguments yet to come.
    #[must_use]
    pub fn by_name(self) -> Self {
        Self { demand: Demand { access: self.demand.access, ..Demand::default() }, ..self }
    }

    /// The role and grant that allow it under these circumstances; `None` where any agent may do it.
    ///
    /// # Errors
    /// The rule that refuses it.
    pub fn answer<'a>(
        &self,
        identity: &'a Identity,
        layout: &Layout,
        circumstances: Circumstances,
    ) -> Result<Option<Allowed<'a>>, Denial<'a>> {
        self.need(circumstances).map(|need| judge(identity, &need, layout)).transpose()
    }

    /// The shortfall of each role of the agent, where none allows it.
    pub fn shortfalls<'a>(
        &'a self,
        agent: &'a Agent,
        circumstances: Circumstances,
    ) -> impl Iterator<Item = (&'a Role, Shortfall)> {
        let roles = self.need(circumstances).into_iter().flat_map(|need| agent.roles.iter().map(move |r| (r, need)));
        roles.filter_map(|((role, _), need)| Some((&**role, role.judge(&need).err()?)))
    }

    fn need(&self, circumstances: Circumstances) -> Option<Need<'_>> {
        let (scope, resource) = self.needs.as_ref()?;
        Some(Need { scope: *scope, resource, demand: &self.demand, circumstances })
    }

    /// The scope that it needs, and what it touches.
    #[must_use]
    pub const fn needs(&self) -> Option<&(Scope, Resource)> {
        self.needs.as_ref()
    }
}
