//! The capabilities of Vault's policies.

use crate::scope::Scope;

/// A capability of Vault's policies.
/// Source: <https://developer.hashicorp.com/vault/docs/concepts/policies#capabilities>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// `create`
    Create,
    /// `read`
    Read,
    /// `update`
    Update,
    /// `patch`
    Patch,
    /// `delete`
    Delete,
    /// `list`
    List,
}

impl Capability {
    /// As policies write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::List => "list",
        }
    }

    /// Every capability.
    pub const ALL: [Self; 6] = [Self::Create, Self::Read, Self::Update, Self::Patch, Self::Delete, Self::List];

    /// The scope that it needs.
    #[must_use]
    pub const fn scope(self) -> Scope {
        match self {
            Self::Create | Self::Update | Self::Patch => Scope::Write,
            Self::Read => Scope::Read,
            Self::Delete => Scope::Delete,
            Self::List => Scope::List,
        }
    }
}
