//! Grants: what a role may touch, as data a person can read (DESIGN section 7).
//!
//! Patterns are only what Vault's policies can express too: literal segments,
//! `*` for one whole segment (Vault's `+`), `**` at the end (Vault's trailing
//! `*`), and a trailing `*` in a name.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::names::AgentId;
use crate::path::{self, SecretPath};
use crate::quota::{Cell, Rate};
use crate::scope::{Scope, Scopes};

/// A pattern over the path of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    segments: Vec<Segment>,
    /// `**` at the end: one or more further segments.
    open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    Any,
}

/// A pattern over one name, such as a transit key's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamePattern {
    /// Exactly this name.
    Exact(Box<str>),
    /// Any name that begins so.
    Prefix(Box<str>),
}

/// A pattern that is not one; the text says what would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPattern(pub &'static str);

impl PathPattern {
    /// Reads `apps/*/config`, `apps/**` or `**`.
    ///
    /// # Errors
    /// [`BadPattern`] for anything Vault's policies could not say.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let (body, open) = match text.strip_suffix("**") {
            Some("") => return Ok(Self { segments: Vec::new(), open: true }),
            Some(body) => (body.strip_suffix('/').ok_or(BadPattern("'**' must be a whole segment at the end"))?, true),
            None => (text, false),
        };
        let segments = body.split('/').map(Segment::parse).collect::<Result<_, _>>()?;
        Ok(Self { segments, open })
    }

    /// Whether the secret at `path` is covered.
    #[must_use]
    pub fn covers(&self, path: &SecretPath) -> bool {
        let mut rest = path.segments();
        self.segments.iter().all(|segment| rest.next().is_some_and(|name| segment.fits(name)))
            && (rest.next().is_some() == self.open)
    }

    /// Whether everything directly below `prefix` is covered, so that its
    /// names may be shown. `None` is the root of the namespace.
    #[must_use]
    pub fn covers_children(&self, prefix: Option<&SecretPath>) -> bool {
        match self.below(prefix) {
            Err(inside) => inside,
            Ok([]) => self.open,
            Ok(rest) => matches!(rest, [Segment::Any]),
        }
    }

    /// Whether `prefix` or anything below it may be covered: what a deny looks at.
    #[must_use]
    pub fn touches_children(&self, prefix: Option<&SecretPath>) -> bool {
        self.below(prefix).map_or_else(|inside| inside, |rest| self.open && rest.is_empty())
    }

    /// What is left of the pattern below `prefix`; where it ends before
    /// `prefix` does, or does not fit, whether `prefix` is inside.
    fn below(&self, prefix: Option<&SecretPath>) -> Result<&[Segment], bool> {
        let mut rest = self.segments.as_slice();
        for name in prefix.into_iter().flat_map(SecretPath::segments) {
            match rest.split_first() {
                Some((segment, after)) if segment.fits(name) => rest = after,
                Some(_) => return Err(false),
                None => return Err(self.open),
            }
        }
        Ok(rest)
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, BadPattern> {
        match text {
            "*" => Ok(Self::Any),
            _ if text.contains('*') => {
                Err(BadPattern("'*' stands for one whole segment, '**' for the rest of the path"))
            }
            _ if text.contains('+') => Err(BadPattern("'+' would be a wildcard in Vault's policy")),
            _ => match path::judge(text) {
                Ok(()) => Ok(Self::Literal(text.into())),
                Err(problem) => Err(BadPattern(problem.text())),
            },
        }
    }

    fn fits(&self, name: &str) -> bool {
        match self {
            Self::Literal(literal) => **literal == *name,
            Self::Any => true,
        }
    }
}

impl NamePattern {
    /// Reads `deploy-*` or `deploy-key`.
    ///
    /// # Errors
    /// [`BadPattern`] for a `*` elsewhere than at the end, or a bad name.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let (stem, prefix) = text.strip_suffix('*').map_or((text, false), |stem| (stem, true));
        if stem.contains(['*', '+']) {
            return Err(BadPattern("'*' may stand at the end of a name only"));
        }
        if !(prefix && stem.is_empty()) {
            path::judge(stem).map_err(|problem| BadPattern(problem.text()))?;
        }
        Ok(if prefix { Self::Prefix(stem.into()) } else { Self::Exact(stem.into()) })
    }

    /// Reads the name of a KMS key, which may have slashes: `alias/agents-*`.
    ///
    /// # Errors
    /// As [`NamePattern::parse`].
    pub fn parse_slashed(text: &str) -> Result<Self, BadPattern> {
        let (parents, last) = text.rsplit_once('/').map_or((None, text), |(parents, last)| (Some(parents), last));
        let Some(parents) = parents else { return Self::parse(last) };
        for parent in parents.split('/') {
            Self::parse(parent).and_then(|pattern| match pattern {
                Self::Exact(_) => Ok(()),
                Self::Prefix(_) => Err(BadPattern("'*' may stand at the end of a name only")),
            })?;
        }
        Ok(match Self::parse(last)? {
            Self::Exact(_) => Self::Exact(text.into()),
            Self::Prefix(stem) => Self::Prefix(format!("{parents}/{stem}").into()),
        })
    }

    /// Whether `name` is covered.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *name,
            Self::Prefix(stem) => name.starts_with(&**stem),
        }
    }
}

/// The engines that an operation may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Key/value secrets, version 2.
    Kv,
    /// Cryptography as a service.
    Transit,
    /// Logins of databases.
    Database,
    /// SSH keys and one-time passwords.
    Ssh,
    /// Certificates.
    Pki,
    /// AWS KMS, which is not Vault's.
    Kms,
}

/// Which part of the KV tree a path is below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Space {
    /// The agent's own namespace.
    Own,
    /// The paths that agents share by grant.
    Shared,
}

/// What an operation touches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// A secret.
    Secret(Space, SecretPath),
    /// The names directly below a prefix; `None` is the root.
    Names(Space, Option<SecretPath>),
    /// A named thing of an engine: a transit key, a database role. A KMS key
    /// without a name is the configured default.
    Key(Engine, Box<str>),
    /// An engine, but nothing in it that has a name.
    Nameless(Engine),
}

/// What grants bound beside the resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// How long what is issued is to live.
    pub ttl: Ttl,
    /// Whom an SSH certificate or password is to log in as, and with what.
    pub login: Option<Login>,
}

/// How long what is issued is to live.
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
    /// Extensions such as `permit-pty`.
    pub extensions: Vec<Box<str>>,
}

/// Whether secret material is answered in the clear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wrapping {
    /// Unless the caller asks otherwise.
    #[default]
    Optional,
    /// Never: only as a handle that is redeemed once.
    Required,
}

/// A role: scopes, and the resources they hold for.
#[derive(Debug, Default)]
pub struct Role {
    /// Its name in the configuration, and in the log when it decides.
    pub name: Box<str>,
    /// What kinds of access it gives.
    pub scopes: Scopes,
    /// Paths in the agent's own namespace.
    pub kv: Vec<PathPattern>,
    /// Paths below the shared prefix.
    pub shared: Vec<PathPattern>,
    /// Names of transit keys.
    pub transit: Vec<NamePattern>,
    /// Names of database roles.
    pub database: Vec<NamePattern>,
    /// Names of SSH roles.
    pub ssh: Vec<NamePattern>,
    /// Names of PKI roles.
    pub pki: Vec<NamePattern>,
    /// KMS keys: ids, ARNs or aliases, as callers name them.
    pub kms: Vec<NamePattern>,
    /// Paths of the own namespace that are refused whatever else says.
    pub deny: Vec<PathPattern>,
    /// User names that SSH may log in as; whatever Vault's role allows where absent.
    pub ssh_principals: Option<Vec<NamePattern>>,
    /// Extensions that SSH certificates may carry; likewise.
    pub ssh_extensions: Option<Vec<NamePattern>>,
    /// Longest life of an SSH or PKI certificate, in seconds.
    pub max_ttl: Option<u32>,
    /// Whether secret material is answered in the clear.
    pub wrapping: Wrapping,
    /// The role's own limit, if it has one.
    pub rate: Option<Rate>,
}

impl Role {
    /// The built-in role of an agent that is known by name only: everything in
    /// its own namespace, nothing else.
    #[must_use]
    pub fn own_namespace() -> Self {
        Self {
            name: "own-namespace".into(),
            scopes: Scopes::ALL,
            kv: vec![PathPattern { segments: Vec::new(), open: true }],
            ..Self::default()
        }
    }

    /// Whether this role alone holds the scope, the resource and what is
    /// demanded of it.
    #[must_use]
    pub fn allows(&self, scope: Scope, resource: &Resource, demand: &Demand) -> bool {
        self.scopes.contains(scope) && self.holds(resource) && self.admits(demand)
    }

    fn holds(&self, resource: &Resource) -> bool {
        match resource {
            Resource::Secret(space, path) => self.space(*space).iter().any(|p| p.covers(path)),
            Resource::Names(space, prefix) => self.space(*space).iter().any(|p| p.covers_children(prefix.as_ref())),
            Resource::Key(engine, name) => self.names(*engine).iter().any(|p| p.covers(name)),
            Resource::Nameless(_) => true,
        }
    }

    fn admits(&self, demand: &Demand) -> bool {
        let covered = |patterns: &[NamePattern], names: &[Box<str>]| {
            names.iter().all(|name| patterns.iter().any(|pattern| pattern.covers(name)))
        };
        let brief = match (demand.ttl, self.max_ttl) {
            (Ttl::Seconds(asked), Some(most)) => asked <= most,
            _ => true,
        };
        brief
            && demand.login.as_ref().is_none_or(|login| {
                let principals = self.ssh_principals.as_ref();
                principals.is_none_or(|may| !login.principals.is_empty() && covered(may, &login.principals))
                    && self.ssh_extensions.as_ref().is_none_or(|may| covered(may, &login.extensions))
            })
    }

    /// The names that the role holds of an engine; paths are not among them.
    #[must_use]
    pub fn names(&self, engine: Engine) -> &[NamePattern] {
        match engine {
            Engine::Kv => &[],
            Engine::Transit => &self.transit,
            Engine::Database => &self.database,
            Engine::Ssh => &self.ssh,
            Engine::Pki => &self.pki,
            Engine::Kms => &self.kms,
        }
    }

    /// Whether a deny of this role matches.
    #[must_use]
    pub fn denies(&self, resource: &Resource) -> bool {
        match resource {
            Resource::Secret(Space::Own, path) => self.deny.iter().any(|p| p.covers(path)),
            Resource::Names(Space::Own, prefix) => self.deny.iter().any(|p| p.touches_children(prefix.as_ref())),
            Resource::Secret(Space::Shared, _)
            | Resource::Names(Space::Shared, _)
            | Resource::Key(..)
            | Resource::Nameless(_) => false,
        }
    }

    /// Whether it gives anything at all of `engine` under `scope`; of what has
    /// no name, whether it gives the scope.
    #[must_use]
    pub fn reaches(&self, scope: Scope, engine: Engine, named: bool) -> bool {
        self.scopes.contains(scope)
            && match engine {
                _ if !named => true,
                Engine::Kv => !self.kv.is_empty() || !self.shared.is_empty(),
                other => !self.names(other).is_empty(),
            }
    }

    fn space(&self, space: Space) -> &[PathPattern] {
        match space {
            Space::Own => &self.kv,
            Space::Shared => &self.shared,
        }
    }
}

/// A limit and the state it is counted in.
#[derive(Clone, Debug)]
pub struct Limit {
    /// How much may pass.
    pub rate: Rate,
    /// What has passed; shared by all snapshots, so that a reload forgives nothing.
    pub cell: Arc<Cell>,
}

/// An agent: its roles in the order in which they are asked.
pub struct Agent {
    /// Its closed name.
    pub id: AgentId,
    /// Raised when the name is given to somebody else, who then inherits
    /// nothing that was issued before.
    pub generation: u32,
    /// Its roles.
    pub roles: Vec<(Arc<Role>, Option<Limit>)>,
    /// The limit charged before anything else is known of a request.
    pub limit: Option<Limit>,
}

impl Agent {
    /// The first role that allows, unless any role denies.
    #[must_use]
    pub fn role_for(&self, scope: Scope, resource: &Resource, demand: &Demand) -> Option<&(Arc<Role>, Option<Limit>)> {
        if self.roles.iter().any(|(role, _)| role.denies(resource)) {
            return None;
        }
        self.roles.iter().find(|(role, _)| role.allows(scope, resource, demand))
    }

    /// Whether any role gives anything of `engine` under `scope`.
    #[must_use]
    pub fn reaches(&self, scope: Scope, engine: Engine, named: bool) -> bool {
        self.roles.iter().any(|(role, _)| role.reaches(scope, engine, named))
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roles = self.roles.iter().map(|(role, _)| &role.name);
        write!(f, "{}", self.id)?;
        f.debug_list().entries(roles).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> SecretPath {
        SecretPath::parse(text).unwrap()
    }

    #[test]
    fn patterns_cover_what_they_say() {
        for (pattern, covered, not) in [
            ("**", vec!["a", "a/b/c"], vec![]),
            ("apps/**", vec!["apps/a", "apps/a/b"], vec!["apps", "appsx/a", "x/apps/a"]),
            ("apps/*", vec!["apps/a"], vec!["apps", "apps/a/b"]),
            ("apps/*/db", vec!["apps/x/db"], vec!["apps/db", "apps/x/y/db", "apps/x/dbx"]),
            ("apps/db", vec!["apps/db"], vec!["apps", "apps/db/x", "APPS/db"]),
            ("*/**", vec!["a/b", "a/b/c"], vec!["a"]),
        ] {
            let pattern = PathPattern::parse(pattern).unwrap();
            for yes in covered {
                assert!(pattern.covers(&path(yes)), "{pattern:?} {yes}");
            }
            for no in not {
                assert!(!pattern.covers(&path(no)), "{pattern:?} {no}");
            }
        }
    }

    #[test]
    fn a_listing_is_covered_only_where_every_name_in_it_is() {
        for (pattern, prefix, covered) in [
            ("**", "", true),
            ("**", "a/b", true),
            ("apps/**", "", false),
            ("apps/**", "apps", true),
            ("apps/**", "apps/x", true),
            ("apps/**", "other", false),
            ("apps/*", "apps", true),
            ("apps/*", "apps/x", false),
            ("apps/*/db", "apps", false),
            ("apps/*/*", "apps/x", true),
            ("apps/db", "apps", false),
            ("*", "", true),
        ] {
            let prefix = SecretPath::parse_prefix(prefix).unwrap();
            let parsed = PathPattern::parse(pattern).unwrap();
            assert_eq!(parsed.covers_children(prefix.as_ref()), covered, "{pattern} {prefix:?}");
        }
    }

    #[test]
    fn what_vault_could_not_say_is_no_pattern() {
        for bad in
            ["", "/", "a//b", "/a", "a/", "a*", "a/b*", "a/**/b", "a**", "***", "..", "a/../b", "a+b", "+", "a\\b"]
        {
            assert!(PathPattern::parse(bad).is_err(), "{bad}");
        }
        for bad in ["", "a*b", "*a", "**", "a/b", "..", "+"] {
            assert!(NamePattern::parse(bad).is_err(), "{bad}");
        }
        assert!(NamePattern::parse("deploy-*").unwrap().covers("deploy-1"));
        assert!(NamePattern::parse("*").unwrap().covers("any"));
        assert!(!NamePattern::parse("deploy").unwrap().covers("deploy-1"));
    }
}
