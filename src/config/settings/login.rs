//! How the gate logs in to Vault.

use std::path::PathBuf;

use filters::secret::Secret;

/// How the gate logs in to Vault.
#[derive(Clone, Debug)]
pub enum Login {
    /// It cannot: it starts, and answers 503.
    None,
    /// By a token it was given.
    Token(Secret),
    /// By a token in a file, which somebody else replaces.
    TokenFile(PathBuf),
    /// By AppRole.
    AppRole {
        /// Mount of the auth method.
        mount: String,
        /// Role id.
        role_id: String,
        /// Secret id.
        secret_id: Secret,
    },
}

impl Login {
    /// As it stands in logs: the gate logs in by it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::None => "nothing",
            Self::Token(_) => "token",
            Self::TokenFile(_) => "token file",
            Self::AppRole { .. } => "AppRole",
        }
    }
}
