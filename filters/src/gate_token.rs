//! Tokens of the gate's own, for clients that log in first: the credential that was logged in with, sealed. All that ends
//! the credential ends the token.

use serde::{Deserialize, Serialize};

use crate::credential::Offered;
use crate::names::AgentId;
use crate::secret::{Digest, Secret};

/// A token, as it is sealed.
#[derive(Serialize, Deserialize)]
pub struct GateToken {
    /// Its number, by which it is ended.
    pub number: u64,
    /// The agent that it is of.
    pub agent: AgentId,
    /// The generation of the agent's entry.
    pub generation: u32,
    /// The numbers of the tokens that it was made with, the first one first: each ends it too.
    pub above: Vec<u64>,
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
#[derive(Serialize, Deserialize)]
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

    /// The credential, as it is offered to the gate.
    #[must_use]
    pub fn offered(&self) -> Offered {
        match self {
            Self::Certificate(_) => Offered::Nothing,
            Self::Jwt(token) => Offered::Bearer(Secret::new(token.as_ref().to_owned())),
            Self::ApiKey(key) => Offered::ApiKey(Secret::new(key.as_ref().to_owned())),
        }
    }

    /// The credential of a request whose connection presents the certificate of this fingerprint; `None` where a token
    /// cannot stand for it: for what each request proves anew, and for what others say of a caller.
    #[must_use]
    pub fn of(offered: &Offered, fingerprint: Option<&Digest>) -> Option<Self> {
        match offered {
            Offered::Nothing => fingerprint.map(Self::certificate),
            Offered::Bearer(token) => Some(Self::Jwt(token.expose().into())),
            Offered::ApiKey(key) => Some(Self::ApiKey(key.expose().into())),
            Offered::Dpop(..) | Offered::DistinguishedName(_) | Offered::Process(_) => None,
        }
    }
}

impl std::fmt::Debug for GateToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GateToken({})", self.login)
    }
}
