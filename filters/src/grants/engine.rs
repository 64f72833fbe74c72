//! Engines as values. Grants, mounts, policies, options and documents are told by an engine's
//! description, which stands in the engine's own file in the catalog.

use std::fmt;

use crate::pattern::{BadPattern, NamePattern};

/// A secrets engine, known by its description. Two are the same where their names are.
#[derive(Clone, Copy)]
pub struct Engine(&'static EngineSpec);

/// One engine, as configuration and documents know it.
#[derive(Debug)]
pub struct EngineSpec {
    /// The key in a role of the configuration, the name of its section, and the tag in documents.
    pub name: &'static str,
    /// The name that sentences have: `transit`, `SSH`.
    pub title: &'static str,
    /// One sentence for people.
    pub about: &'static str,
    /// The kind of names that grants hold.
    pub holds: Holds,
    /// The service that is asked.
    pub service: Service,
    /// True where a role bounds the lifetime of what is issued (`max_ttl`).
    pub bounds_ttl: bool,
    /// True where a role bounds user names and extensions.
    pub bounds_login: bool,
    /// Durations that its section of the configuration has beside the mount.
    pub durations: &'static [Duration],
}

/// The kind of names that the grants of an engine hold.
#[derive(Clone, Copy, Debug)]
pub enum Holds {
    /// Paths of secrets. There is one engine of paths, with options of its own.
    Paths,
    /// Names of keys or roles.
    Names(GrantNames),
    /// Vault's own paths. It is no engine of its own, but all of them.
    Absolute,
}

/// The names of an engine's keys or roles, as grants write them.
#[derive(Clone, Copy, Debug)]
pub struct GrantNames {
    /// The word for several of them: `keys`.
    pub several: &'static str,
    /// A pattern for the documents: `agents-*`.
    pub example: &'static str,
    /// The end of the sentence about them in the options.
    pub form: &'static str,
    /// Advice for whoever wrote a pattern that is none.
    pub mend: &'static str,
    /// Reads one pattern.
    pub parse: fn(&str) -> Result<NamePattern, BadPattern>,
}

/// The service behind an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Vault, at a mount: this one unless another is configured.
    Vault(&'static str),
    /// AWS KMS.
    Kms,
}

/// A duration that an operator sets for one engine.
#[derive(Debug)]
pub struct Duration {
    /// Its key in the engine's section.
    pub name: &'static str,
    /// Least and most, in milliseconds.
    pub bounds: (u64, u64),
    /// Its default, as the file would have it.
    pub default: &'static str,
    /// One line of the reference.
    pub about: &'static str,
}

impl Engine {
    /// The engine of a description.
    #[must_use]
    pub const fn of(spec: &'static EngineSpec) -> Self {
        Self(spec)
    }

    /// Its description.
    #[must_use]
    pub const fn spec(self) -> &'static EngineSpec {
        self.0
    }

    /// The key in a role of the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0.name
    }

    /// The names that its grants hold; `None` where they hold paths.
    #[must_use]
    pub const fn names(self) -> Option<&'static GrantNames> {
        match &self.0.holds {
            Holds::Paths | Holds::Absolute => None,
            Holds::Names(names) => Some(names),
        }
    }

    /// The word for one of those names: `key`, `role`, `path`.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.names().map_or("path", |names| names.several.strip_suffix('s').unwrap_or(names.several))
    }

    /// True where AWS KMS is asked and not Vault.
    #[must_use]
    pub const fn is_kms(self) -> bool {
        matches!(self.0.service, Service::Kms)
    }

    /// The mount that it has unless another is configured; `None` where it is not of Vault.
    #[must_use]
    pub const fn default_mount(self) -> Option<&'static str> {
        match self.0.service {
            Service::Vault(mount) => Some(mount),
            Service::Kms => None,
        }
    }
}

impl EngineSpec {
    /// Defaults of a description: roles of an engine of Vault's, which bound nothing.
    pub const VAULT: Self = Self {
        name: "",
        title: "",
        about: "",
        holds: Holds::Names(GrantNames::PLAIN),
        service: Service::Vault(""),
        bounds_ttl: false,
        bounds_login: false,
        durations: &[],
    };
}

impl GrantNames {
    /// Defaults of names: of roles, each a plain name that a `*` may end.
    pub const PLAIN: Self = Self {
        several: "roles",
        example: "agents",
        form: "; a `*` may end a name",
        mend: "write a name; a `*` may end it",
        parse: NamePattern::parse,
    };
}

impl Service {
    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vault(_) => "Vault",
            Self::Kms => "AWS KMS",
        }
    }
}

impl PartialEq for Engine {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0) || self.0.name == other.0.name
    }
}

impl Eq for Engine {}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}
