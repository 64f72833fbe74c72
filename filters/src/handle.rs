//! Handles: what an agent gets instead of a lease's id, a certificate's serial
//! number or a wrapping token (DESIGN section 8).
//!
//! A handle is sealed (AES-256-GCM-SIV, RFC 8452), not signed: nobody can look
//! into it, and nobody but the agent it was given to can have it opened. What
//! it is bound to is authenticated and not in it: another agent, another
//! generation of the same name, another purpose, the agent in another namespace of Vault's, or a
//! changed bit, and it does not open.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::grants::{Agent, Resource};
use crate::refusal::Refusal;

/// The prefix of every handle, by which one that leaked is recognised.
pub const PREFIX: &str = "pch1_";
/// Longest handle that is looked at, in bytes of text.
pub const MAX_HANDLE: usize = 4096;
const NONCE: usize = 12;

/// The binding of what whoever has it may have opened.
const BEARER: &str = "portcullis handle 1\nbearer";

/// The purpose of a handle: one domain per kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A lease of Vault's.
    Lease,
    /// A certificate that may be revoked.
    Certificate,
    /// A wrapped answer.
    Wrapped,
    /// A place in a listing.
    Cursor,
    /// A session of MCP.
    Session,
    /// A stream of events that answers are sent on.
    Stream,
    /// A call that is to be confirmed.
    Confirmation,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 7] =
        [Self::Lease, Self::Certificate, Self::Wrapped, Self::Cursor, Self::Session, Self::Stream, Self::Confirmation];

    const fn name(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Certificate => "certificate",
            Self::Wrapped => "wrapped",
            Self::Cursor => "cursor",
            Self::Session => "session",
            Self::Stream => "stream",
            Self::Confirmation => "confirmation",
        }
    }
}

/// The claims that are sealed into a handle.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The operation that issued it.
    pub operation: Box<str>,
    /// The resource that the operation touched, its engine by name.
    pub resource: Resource<Box<str>>,
    /// The end of the handle, in seconds since the epoch.
    pub expires: u64,
    /// The thing that it stands for.
    pub stands_for: StandsFor,
}

/// The thing that a handle stands for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StandsFor {
    /// A lease, and the token that it ends with.
    Lease {
        /// Vault's id of the lease.
        id: Box<str>,
        /// The accessor of its token.
        accessor: Box<str>,
    },
    /// A certificate.
    Certificate {
        /// Its serial number, as Vault writes it.
        serial: Box<str>,
    },
    /// A wrapped answer.
    Wrapped {
        /// Vault's wrapping token.
        token: Box<str>,
    },
}

impl std::fmt::Debug for Claims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Claims({})", self.operation)
    }
}

/// The binding of a handle.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// The purpose of the handle.
    pub purpose: Purpose,
    /// The agent that holds it.
    pub agent: &'a Agent,
}

impl Binding<'_> {
    fn text(&self) -> String {
        let Self { purpose, agent } = self;
        let (purpose, namespace) = (purpose.name(), agent.namespace.as_str());
        format!("portcullis handle 1\n{purpose}\n{}\n{}\n{namespace}", agent.id, agent.generation)
    }
}

/// The keys of handles: the first seals, all open.
#[derive(Debug, Default)]
pub struct Keyring {
    keys: Vec<(u32, RandomizedNonceKey)>,
}

/// Why a handle does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The handle was not sealed for this holder and purpose, or its key is withdrawn.
    Foreign,
    /// The handle names a later version of the key than is known here: another gate may have seen it first.
    Later,
}

/// Why nothing was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoKey;

impl Keyring {
    /// The keys, each with its version; the first seals.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = (u32, [u8; 32])>) -> Self {
        let key = |(version, bytes): (u32, [u8; 32])| {
            let bytes = Zeroizing::new(bytes);
            RandomizedNonceKey::new(&AES_256_GCM_SIV, &*bytes).ok().map(|key| (version, key))
        };
        Self { keys: keys.into_iter().filter_map(key).collect() }
    }

    /// True where nothing can be sealed or opened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The version that seals.
    #[must_use]
    pub fn sealing(&self) -> Option<u32> {
        self.keys.first().map(|(version, _)| *version)
    }

    /// Seals `claims` for the holder that `binding` names.
    ///
    /// # Errors
    /// [`NoKey`] where there is no key.
    pub fn seal<T: Serialize>(&self, claims: &T, binding: Binding<'_>) -> Result<String, NoKey> {
        self.seal_for(claims, binding.text())
    }

    /// Seals what whoever has it may have opened: the gate itself says whose it is.
    ///
    /// # Errors
    /// [`NoKey`] where there is no key.
    pub fn seal_for_bearer<T: Serialize>(&self, claims: &T) -> Result<String, NoKey> {
        self.seal_for(claims, BEARER.to_owned())
    }

    fn seal_for<T: Serialize>(&self, claims: &T, binding: String) -> Result<String, NoKey> {
        let (version, key) = self.keys.first().ok_or(NoKey)?;
        let mut sealed = Zeroizing::new(serde_json::to_vec(claims).map_err(|_| NoKey)?);
        let nonce = key.seal_in_place_append_tag(Aad::from(binding), &mut *sealed).map_err(|_| NoKey)?;
        let mut bytes = Vec::with_capacity(4 + NONCE + sealed.len());
        bytes.extend_from_slice(&version.to_be_bytes());
        bytes.extend_from_slice(nonce.as_ref());
        bytes.extend_from_slice(&sealed);
        Ok(format!("{PREFIX}{}", BASE64.encode(bytes)))
    }

    /// Opens a handle.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn open<T: for<'a> Deserialize<'a>>(&self, handle: &str, binding: Binding<'_>) -> Result<T, Closed> {
        self.open_for(handle, binding.text())
    }

    /// Opens what was sealed for whoever has it.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn open_for_bearer<T: for<'a> Deserialize<'a>>(&self, handle: &str) -> Result<T, Closed> {
        self.open_for(handle, BEARER.to_owned())
    }

    fn open_for<T: for<'a> Deserialize<'a>>(&self, handle: &str, binding: String) -> Result<T, Closed> {
        let Sealed { version, nonce, sealed } = Sealed::parse(handle).ok_or(Closed::Foreign)?;
        let Some((_, key)) = self.keys.iter().find(|(known, _)| *known == version) else {
            let later = self.keys.iter().all(|(known, _)| *known < version);
            return Err(if later { Closed::Later } else { Closed::Foreign });
        };
        unseal(key, nonce, sealed, binding).ok_or(Closed::Foreign)
    }

    /// Opens a handle that is to be redeemed at `now`, in seconds since the epoch.
    ///
    /// # Errors
    /// [`Refusal::UpstreamUnavailable`] while there is no key, [`Refusal::HandleKeyUnknown`] for a
    /// handle whose key may be known soon, [`Refusal::NotFound`] for one that has ended, and
    /// [`Refusal::Forbidden`] for one that is not this holder's.
    pub fn redeem(&self, handle: &str, binding: Binding<'_>, now: u64) -> Result<Claims, Refusal> {
        if self.is_empty() {
            return Err(Refusal::UpstreamUnavailable);
        }
        let claims: Claims = self.open(handle, binding).map_err(|closed| match closed {
            Closed::Foreign => Refusal::Forbidden,
            Closed::Later => Refusal::HandleKeyUnknown,
        })?;
        if claims.holds_at(now) { Ok(claims) } else { Err(Refusal::NotFound) }
    }
}

/// The parts of a handle.
struct Sealed {
    version: u32,
    nonce: Nonce,
    sealed: Zeroizing<Vec<u8>>,
}

impl Sealed {
    fn parse(handle: &str) -> Option<Self> {
        let text = handle.strip_prefix(PREFIX).filter(|_| handle.len() <= MAX_HANDLE)?;
        let bytes = BASE64.decode(text).ok()?;
        let (version, rest) = bytes.split_at_checked(4)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE)?;
        Some(Self {
            version: u32::from_be_bytes(version.try_into().ok()?),
            nonce: Nonce::try_assume_unique_for_key(nonce).ok()?,
            sealed: Zeroizing::new(sealed.to_vec()),
        })
    }
}

fn unseal<T: for<'a> Deserialize<'a>>(
    key: &RandomizedNonceKey,
    nonce: Nonce,
    mut sealed: Zeroizing<Vec<u8>>,
    binding: String,
) -> Option<T> {
    let plain = key.open_in_place(nonce, Aad::from(binding), &mut sealed).ok()?;
    serde_json::from_slice(plain).ok()
}

impl Claims {
    /// True where it holds at `now`, in seconds since the epoch.
    #[must_use]
    pub const fn holds_at(&self, now: u64) -> bool {
        now < self.expires
    }
}

#[cfg(test)]
mod tests;
