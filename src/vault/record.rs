//! Records that the gate keeps in Vault's KV engine, each with its version.

use std::fmt;

use filters::path::PathProblem;
use filters::refusal::Refusal;
use filters::vault::VaultRequest;
use filters::vault::record::{self, NoRecord, Record};
use serde::de::DeserializeOwned;

use crate::exchange::Envelope;

use super::OwnCalls;

/// Why a record cannot be read, for the log, readiness and whoever runs a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Vault does not answer, or gives no login.
    Away(Refusal),
    /// Vault's policy denies it.
    Denied,
    /// The answer, of this status, is not one of Vault's KV engine.
    Foreign(u16),
    /// It holds something else than it should.
    Malformed,
}

impl Unread {
    /// Whether it passes by itself, so that nobody needs to be told at once.
    pub(super) const fn passes(&self) -> bool {
        matches!(self, Self::Away(Refusal::UpstreamUnavailable | Refusal::UpstreamTimeout))
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(refusal) => f.write_str(refusal.public().detail),
            Self::Denied => f.write_str("Vault's policy denies it; see `portcullis-gate.hcl`"),
            Self::Foreign(status) => {
                write!(
                    f,
                    "the answer ({status}) is not one of Vault's KV engine; is that engine mounted at `kv_mount`?"
                )
            }
            Self::Malformed => f.write_str("it holds something else than it should; put an earlier version back"),
        }
    }
}

impl From<Unread> for Refusal {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Away(refusal) => refusal,
            Unread::Denied => Self::NotProvisioned,
            Unread::Foreign(_) | Unread::Malformed => Self::UpstreamNonsense,
        }
    }
}

/// What is on the record, and at which version.
///
/// # Errors
/// [`Unread`]; what is known stays as it is then.
pub(super) async fn read<T: DeserializeOwned>(
    own: &OwnCalls,
    request: Result<VaultRequest, PathProblem>,
    along: Envelope<'_>,
) -> Result<Record<T>, Unread> {
    let answer = own.ask(request, along).await.map_err(Unread::Away)?;
    match answer.status {
        403 => Err(Unread::Denied),
        429 | 472 | 473 | 500..=599 => Err(Unread::Away(Refusal::UpstreamUnavailable)),
        status => record::read(status, &answer.body).map_err(|no| match no {
            NoRecord::Foreign => Unread::Foreign(status),
            NoRecord::Malformed => Unread::Malformed,
        }),
    }
}
