//! Absolute grants: Vault's own paths, and what may be done there, as a policy of Vault's has them.
//! Source: <https://developer.hashicorp.com/vault/docs/concepts/policies>

use std::collections::BTreeSet;
use std::fmt;

use super::{Engine, EngineSpec, Holds};
use crate::capability::Capability;
use crate::pattern::AbsolutePattern;

/// Some of Vault's capabilities.
pub type Capabilities = BTreeSet<Capability>;

/// All of Vault's engines, by Vault's own paths.
pub const VAULT: Engine = Engine::of(&EngineSpec {
    name: "vault",
    title: "Vault",
    about: "Vault's own paths, of whichever engine.",
    holds: Holds::Absolute,
    ..EngineSpec::VAULT
});

/// A pattern over Vault's own paths, and what may be done there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsoluteGrant {
    /// The paths.
    pub pattern: AbsolutePattern,
    /// The capabilities there. An empty set denies the path, whatever other roles give.
    pub may: Capabilities,
}

/// The access to one of Vault's own paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read what is there.
    Read,
    /// To list the names below it.
    List,
    /// To create or update something there; which of both it is Vault alone can tell.
    Write,
    /// To change a part of it.
    Patch,
    /// To delete it.
    Delete,
    /// To know which engine is mounted there.
    Mount,
}

impl Access {
    /// The access that needs this capability.
    #[must_use]
    pub const fn by(may: Capability) -> Self {
        match may {
            Capability::Create | Capability::Update => Self::Write,
            Capability::Read => Self::Read,
            Capability::Patch => Self::Patch,
            Capability::Delete => Self::Delete,
            Capability::List => Self::List,
        }
    }
}

impl AbsoluteGrant {
    /// True where it refuses.
    #[must_use]
    pub fn denies(&self) -> bool {
        self.may.is_empty()
    }

    /// True where it gives that access.
    fn gives(&self, access: Access) -> bool {
        let may = |capabilities: &[Capability]| capabilities.iter().any(|one| self.may.contains(one));
        match access {
            Access::Read => may(&[Capability::Read]),
            Access::List => may(&[Capability::List]),
            Access::Write => may(&[Capability::Create, Capability::Update]),
            Access::Patch => may(&[Capability::Patch]),
            Access::Delete => may(&[Capability::Delete]),
            Access::Mount => !self.denies(),
        }
    }
}

/// `kv/data/apps/* [read, list]`
impl fmt::Display for AbsoluteGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.may.iter().map(|capability| capability.name()).collect();
        let names = if names.is_empty() { "deny".to_owned() } else { names.join(", ") };
        write!(f, "{} [{names}]", self.pattern)
    }
}

/// The absolute grants of a role, in the order in which Vault asks them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Absolutes(Vec<AbsoluteGrant>);

impl Absolutes {
    /// The grants of one role. Those of the same path are one, which denies where one of them does.
    #[must_use]
    pub fn new(grants: impl IntoIterator<Item = AbsoluteGrant>) -> Self {
        let mut all: Vec<AbsoluteGrant> = Vec::new();
        for grant in grants {
            match all.iter_mut().find(|other| other.pattern == grant.pattern) {
                Some(other) if other.denies() || grant.denies() => other.may.clear(),
                Some(other) => other.may.extend(grant.may),
                None => all.push(grant),
            }
        }
        all.sort_by(|one, two| two.pattern.precedence(&one.pattern));
        Self(all)
    }

    /// The grant by which it gives that access to `path`, if it does.
    #[must_use]
    pub fn give(&self, path: &str, access: Access) -> Option<&AbsoluteGrant> {
        if access == Access::Mount {
            return self.iter().find(|grant| grant.gives(access) && grant.pattern.shares_root(path));
        }
        self.decides(path, access).filter(|grant| grant.gives(access))
    }

    /// The grant that refuses it.
    #[must_use]
    pub fn deny(&self, path: &str, access: Access) -> Option<&AbsoluteGrant> {
        if access == Access::Mount { None } else { self.decides(path, access).filter(|grant| grant.denies()) }
    }

    /// The one grant that decides what may be done at `path`: the most specific that fits. Where names are listed the
    /// path is that of a folder, which Vault finds by the path with a slash at its end too.
    #[must_use]
    pub fn decides(&self, path: &str, access: Access) -> Option<&AbsoluteGrant> {
        let fits = |path: &str| self.iter().find(|grant| grant.pattern.covers(path));
        if access != Access::List {
            return fits(path);
        }
        let folder = format!("{path}/");
        let exactly = self.iter().find(|grant| grant.pattern.is_exactly(&folder));
        exactly.or_else(|| fits(path)).or_else(|| fits(&folder))
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, AbsoluteGrant> {
        self.0.iter()
    }

    /// True where there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
