//! Tokens of the gate's own, for clients that log in first: the credential that was logged in with, sealed. All that ends
//! the credential ends the token.

use serde::{Deserialize, Serialize};

use crate::names::AgentId;
use crate::secret::Digest;

/// A token, as it is sealed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateToken {
    /// Its number, by which it is ended.
    pub number: u64,
    /// The agent that it is of.
    pub agent: AgentId,
    /// The generation of the agent's entry.
    pub generation: u32,
    /// The path of the login.
    pub login: Box<str>,
    /// Seconds since the epoch at which it was made.
    pub issued: u64,
    /// Seconds since the epoch at which it ends.
    pub expires: u64,
    /// The credential.
    pub stands_for: LoggedIn,
}

/// The way in which a client logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// With the certificate of its connection.
    Certificate,
    /// With a JWT.
    Jwt,
    /// With an agent's name and API key.
    AppRole,
}

/// A credential that was logged in with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoggedIn {
    /// The certificate of this fingerprint, which the connection must present.
    Certificate(Box<str>),
    /// A JWT.
    Jwt(Box<str>),
    /// An API key.
    ApiKey(Box<str>),
}

impl LoggedIn {
    /// A certificate.
    #[must_use]
    pub fn certificate(fingerprint: &Digest) -> Self {
        Self::Certificate(fingerprint.to_hex().into())
    }
}

impl std::fmt::Debug for GateToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GateToken({})", self.login)
    }
}
