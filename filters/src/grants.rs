//! Grants: what a role may touch, as data a person can read (DESIGN section 7).

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::condition::{Circumstances, Conditions, Failed};
use crate::names::Namespace;
use crate::path::SecretPath;
use crate::pattern::{NamePattern, PathPattern};
use crate::quota::{Limit, Rate};
use crate::scope::{Scope, Scopes};

mod absolute;
mod agent;
mod engine;
mod told;

pub use absolute::{AbsoluteGrant, Absolutes, Access, Capabilities, VAULT};
pub use agent::{Agent, Mode};
pub use engine::{Duration, Engine, EngineSpec, GrantNames, Holds, Service};

/// Which part of the KV tree a path is below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Space {
    /// The agent's own namespace.
    Own,
    /// The paths that agents share by grant.
    Shared,
}

impl Space {
    /// The key under which a role of the configuration grants its paths; the agent's own are granted
    /// by the name of the engine.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Own => "kv",
            Self::Shared => "shared",
        }
    }
}

/// The resource that an operation touches. Where it was written down, its engine is a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource<E = Engine> {
    /// A secret.
    Secret(Space, SecretPath),
    /// The names directly below a prefix; `None` is the root.
    Names(Space, Option<SecretPath>),
    /// A named thing of an engine: a transit key, a database role. A KMS key
    /// without a name is the configured default.
    Key(E, Box<str>),
    /// An engine, but nothing in it that has a name.
    Nameless(E),
}

impl Resource<Box<str>> {
    /// The resource, where what was written down is of `engine`, or has none; `None` else.
    #[must_use]
    pub fn of(self, engine: Engine) -> Option<Resource> {
        let known = |name: Box<str>| (*name == *engine.name()).then_some(engine);
        Some(match self {
            Self::Secret(space, path) => Resource::Secret(space, path),
            Self::Names(space, prefix) => Resource::Names(space, prefix),
            Self::Key(name, key) => Resource::Key(known(name)?, key),
            Self::Nameless(name) => Resource::Nameless(known(name)?),
        })
    }
}

impl Resource {
    /// The same resource, its engine by name, as it is written down.
    #[must_use]
    pub fn by_name(self) -> Resource<Box<str>> {
        match self {
            Self::Secret(space, path) => Resource::Secret(space, path),
            Self::Names(space, prefix) => Resource::Names(space, prefix),
            Self::Key(engine, name) => Resource::Key(engine.name().into(), name),
            Self::Nameless(engine) => Resource::Nameless(engine.name().into()),
        }
    }

    /// Its name, after the word for that; `None` for an engine alone, and for the default of a key.
    #[must_use]
    pub fn named(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Secret(_, path) => Some(("path", path.as_str())),
            Self::Names(_, prefix) => Some(("prefix", prefix.as_ref().map_or("", SecretPath::as_str))),
            Self::Key(engine, name) => Some((engine.word(), name)),
            Self::Nameless(_) => None,
        }
    }

    /// The key under which a role of the configuration grants it.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Secret(space, _) | Self::Names(space, _) => space.key(),
            Self::Key(engine, _) | Self::Nameless(engine) => engine.name(),
        }
    }
}

/// A request as an agent's roles are asked about it.
#[derive(Clone, Copy, Debug)]
pub struct Need<'a> {
    /// The kind of access.
    pub scope: Scope,
    /// The resource that is touched.
    pub resource: &'a Resource,
    /// The bounds of grants that apply beside it.
    pub demand: &'a Demand,
    /// From where and when.
    pub circumstances: Circumstances,
}

/// The parts of a request that grants bound beside the resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// The requested lifetime of an issued credential.
    pub ttl: Ttl,
    /// Whom an SSH certificate or password is to log in as, and with what.
    pub login: Option<Box<Login>>,
    /// The access to one of Vault's own paths.
    pub access: Option<Access>,
}

/// The requested lifetime of an issued credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ttl {
    /// Nothing is issued, or the engine alone decides.
    #[default]
    Fixed,
    /// As the engine's role has it.
    Unsaid,
    /// So many seconds.
    Seconds(u32),
}

/// Whom an SSH certificate or password is to log in as, and with what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// User names; the engine's default where there is none.
    pub principals: Vec<Box<str>>,
    /// Its extensions.
    pub extensions: Extensions,
}

/// Extensions of an SSH login, which allow more than running a command: `permit-pty` and the like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Extensions {
    /// A password, which has none.
    #[default]
    Fixed,
    /// As the engine's role has it.
    Unsaid,
    /// These.
    Named(Vec<Box<str>>),
}

/// The form in which secret material is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wrapping {
    /// Unless the caller asks otherwise.
    #[default]
    Optional,
    /// Never: only as a handle that is redeemed once.
    Required,
}

/// The pattern by which a role holds a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant<'a> {
    /// This pattern of paths.
    Path(&'a PathPattern),
    /// This pattern of names.
    Name(&'a NamePattern),
    /// This pattern of Vault's own paths.
    Absolute(&'a AbsoluteGrant),
    /// The scope alone: what has no name needs no more.
    Nameless,
}

/// The requirement that a role does not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortfall {
    /// The scope.
    Scope,
    /// A pattern that covers the resource.
    Resource,
    /// So long a lifetime.
    Ttl,
    /// Other user names, or at least one.
    Principals,
    /// Other extensions, or at least one.
    Extensions,
    /// Other circumstances.
    Condition(Failed),
}

impl Shortfall {
    /// A word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scope => "the scope",
            Self::Resource => "a grant",
            Self::Ttl => "so long a ttl",
            Self::Principals => "the principals",
            Self::Extensions => "the extensions",
            Self::Condition(_) => "its conditions",
        }
    }
}

/// The role and the grant of an agent that allow a request.
#[derive(Clone, Copy, Debug)]
pub struct Allowed<'a> {
    /// The role, and its own limit.
    pub role: &'a (Arc<Role>, Option<Limit>),
    /// The grant of the role that covers the resource.
    pub grant: Grant<'a>,
}

/// Why none of an agent's roles allows.
#[derive(Clone, Copy, Debug)]
pub enum Unheld<'a> {
    /// A role's deny matches.
    Denied(&'a Role, Grant<'a>),
    /// None holds all of it.
    NoRole,
}

/// A role: scopes, and the resources they hold for.
#[derive(Debug, Default)]
pub struct Role {
    /// Its name in the configuration, and in the log when it decides.
    pub name: Box<str>,
    /// The kinds of access that it gives.
    pub scopes: Scopes,
    /// Paths in the agent's own namespace.
    pub kv: Vec<PathPattern>,
    /// Paths below the shared prefix.
    pub shared: Vec<PathPattern>,
    /// Names of keys and roles, by engine in the catalog's order; of KMS keys ids, ARNs or aliases, as
    /// callers name them.
    pub named: Vec<(Engine, Vec<NamePattern>)>,
    /// Vault's own paths.
    pub vault: Absolutes,
    /// Paths of the own namespace that are refused whatever else says.
    pub deny: Vec<PathPattern>,
    /// User names that SSH may log in as; whatever Vault's role allows where absent.
    pub ssh_principals: Option<Vec<NamePattern>>,
    /// Extensions that SSH certificates may carry; likewise.
    pub ssh_extensions: Option<Vec<NamePattern>>,
    /// Longest life of an SSH or PKI certificate, in seconds.
    pub max_ttl: Option<u32>,
    /// The form in which secret material is answered.
    pub wrapping: Wrapping,
    /// The weight of what it allows.
    pub mode: Mode,
    /// Operations whose tools are shown, of those that it gives; all where absent. It bounds no call.
    pub tools: Option<Box<[&'static str]>>,
    /// Operations that are confirmed first where a surface can ask for it, by their names.
    pub confirm: Vec<&'static str>,
    /// True where its agents may look at what operators look at: logs, agents, the configuration in force.
    pub observe: bool,
    /// The role's own limit, if it has one.
    pub rate: Option<Rate>,
    /// Most bytes of a request's body or of a tool's arguments.
    pub body: Option<usize>,
    /// Conditions under which it holds; always where absent. Its denies always hold.
    pub conditions: Option<Box<Conditions>>,
    /// The namespace of Vault's of the agents that have it, where it names one.
    pub namespace: Option<Namespace>,
    /// The operator's description, for the agents that have it.
    pub about: Option<Box<str>>,
    /// Descriptions of single grants, by their key and as they are written.
    pub abouts: HashMap<(&'static str, Box<str>), Box<str>>,
}

impl Role {
    /// The built-in role of an agent that is known by name only: everything in
    /// its own namespace, nothing else.
    #[must_use]
    pub fn own_namespace() -> Self {
        Self { name: "own-namespace".into(), scopes: Scopes::ALL, kv: vec![PathPattern::EVERYTHING], ..Self::default() }
    }

    /// The grant by which this role alone holds the scope, the resource and the demand, under these
    /// circumstances.
    ///
    /// # Errors
    /// The first of these that it is short of.
    pub fn judge(&self, need: &Need<'_>) -> Result<Grant<'_>, Shortfall> {
        if !self.scopes.contains(need.scope) {
            return Err(Shortfall::Scope);
        }
        let grant = self.grant(need).ok_or(Shortfall::Resource)?;
        self.admits(need.demand)?;
        match &self.conditions {
            Some(conditions) => conditions.hold(need.circumstances).map(|()| grant).map_err(Shortfall::Condition),
            None => Ok(grant),
        }
    }

    fn grant(&self, need: &Need<'_>) -> Option<Grant<'_>> {
        match need.resource {
            Resource::Secret(space, path) => self.space(*space).iter().find(|p| p.covers(path)).map(Grant::Path),
            Resource::Names(space, prefix) => {
                self.space(*space).iter().find(|p| p.covers_children(prefix.as_ref())).map(Grant::Path)
            }
            Resource::Key(engine, name) => match need.demand.access {
                Some(access) => self.vault.give(name, access).map(Grant::Absolute),
                None => self.names(*engine).iter().find(|p| p.covers(name)).map(Grant::Name),
            },
            Resource::Nameless(_) => Some(Grant::Nameless),
        }
    }

    fn admits(&self, demand: &Demand) -> Result<(), Shortfall> {
        let covered = |patterns: &[NamePattern], names: &[Box<str>]| {
            names.iter().all(|name| patterns.iter().any(|pattern| pattern.covers(name)))
        };
        if let (Ttl::Seconds(asked), Some(most)) = (demand.ttl, self.max_ttl)
            && asked > most
        {
            return Err(Shortfall::Ttl);
        }
        let Some(login) = &demand.login else { return Ok(()) };
        if self
            .ssh_principals
            .as_ref()
            .is_some_and(|may| login.principals.is_empty() || !covered(may, &login.principals))
        {
            return Err(Shortfall::Principals);
        }
        let fits = |may: &[NamePattern]| match &login.extensions {
            Extensions::Fixed => true,
            Extensions::Unsaid => self.all_extensions().is_some() || may.iter().any(NamePattern::covers_all),
            // Where none is named the engine puts in its own.
            Extensions::Named(names) => !names.is_empty() && covered(may, names),
        };
        if self.ssh_extensions.as_deref().is_some_and(|may| !fits(may)) {
            return Err(Shortfall::Extensions);
        }
        Ok(())
    }

    /// The extensions that a certificate gets where the role bounds them and
    /// none is asked for: all of them. `None` where there is no such bound, and
    /// where it cannot be named: the engine knows no way to ask for nothing.
    #[must_use]
    pub fn all_extensions(&self) -> Option<Vec<&str>> {
        let names = self.ssh_extensions.as_ref()?.iter().map(|pattern| match pattern {
            NamePattern::Exact(name) => Some(&**name),
            NamePattern::Prefix(_) => None,
        });
        names.collect::<Option<Vec<_>>>().filter(|names| !names.is_empty())
    }

    /// The names that the role holds of an engine; paths are not among them.
    #[must_use]
    pub fn names(&self, engine: Engine) -> &[NamePattern] {
        self.named.iter().find(|(held, _)| *held == engine).map_or(&[], |(_, names)| names)
    }

    /// The deny of this role that matches.
    #[must_use]
    pub fn deny(&self, need: &Need<'_>) -> Option<Grant<'_>> {
        match need.resource {
            Resource::Secret(Space::Own, path) => self.deny.iter().find(|p| p.covers(path)).map(Grant::Path),
            Resource::Names(Space::Own, prefix) => {
                self.deny.iter().find(|p| p.touches_children(prefix.as_ref())).map(Grant::Path)
            }
            Resource::Key(_, path) => {
                need.demand.access.and_then(|access| self.vault.deny(path, access)).map(Grant::Absolute)
            }
            Resource::Secret(Space::Shared, _) | Resource::Names(Space::Shared, _) | Resource::Nameless(_) => None,
        }
    }

    /// True where it gives anything at all of `engine` under `scope`; where nothing is `named`, where
    /// it gives the scope.
    #[must_use]
    pub fn reaches(&self, scope: Scope, engine: Engine, named: bool) -> bool {
        let holds = || match engine.spec().holds {
            Holds::Paths => !(self.kv.is_empty() && self.shared.is_empty()),
            Holds::Names(_) => !self.names(engine).is_empty(),
            Holds::Absolute => !self.vault.is_empty(),
        };
        self.scopes.contains(scope) && (!named || holds())
    }

    /// True where it lets the tool of that operation be shown to whom it gives it.
    #[must_use]
    pub fn shows(&self, operation: &str) -> bool {
        self.tools.as_ref().is_none_or(|tools| tools.contains(&operation))
    }

    fn space(&self, space: Space) -> &[PathPattern] {
        match space {
            Space::Own => &self.kv,
            Space::Shared => &self.shared,
        }
    }
}

/// Two roles that would have an agent in two namespaces.
#[must_use]
pub fn torn<'a>(roles: impl Iterator<Item = &'a Role>) -> Option<[&'a Role; 2]> {
    let mut naming = roles.filter(|role| role.namespace.is_some());
    let first = naming.next()?;
    naming.find(|role| role.namespace != first.namespace).map(|other| [first, other])
}
