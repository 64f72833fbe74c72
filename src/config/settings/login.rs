//! The gate's login to Vault.

use std::path::PathBuf;

use filters::secret::Secret;

/// The gate's login to Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// By a signed token that somebody else issues.
    Jwt(SignedToken),
    /// By the token of a Kubernetes service account.
    Kubernetes(SignedToken),
    /// By the certificate that the gate presents to Vault.
    Certificate {
        /// Mount of the auth method.
        mount: String,
        /// The role to log in as; any that fits where absent.
        role: Option<String>,
    },
}

/// A login by a signed token (JWT) in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedToken {
    /// Mount of the auth method.
    pub mount: String,
    /// The role to log in as; the auth method's own default where absent.
    pub role: Option<String>,
    /// The file, which somebody else replaces.
    pub file: PathBuf,
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
            Self::Jwt(_) => "JWT",
            Self::Kubernetes(_) => "Kubernetes",
            Self::Certificate { .. } => "TLS certificate",
        }
    }
}
