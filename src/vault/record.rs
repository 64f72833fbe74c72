//! Records that gates keep in Vault's KV engine: read with their version, and changed only where
//! nobody else has changed them meanwhile (check-and-set).

use std::fmt;

use filters::path::PathProblem;
use filters::refusal::Refusal;
use filters::vault::VaultRequest;
use filters::vault::record::{self, NoRecord, Record};
use serde::de::DeserializeOwned;

use crate::exchange::Envelope;

use super::own::{OwnCalls, Undone};

/// Most attempts at one change; each but the first follows a change by somebody else.
const ATTEMPTS: usize = 10;

/// The reason why a record cannot be read, for the log, readiness and whoever runs a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Vault does not answer, or gives no login.
    Away(Refusal),
    /// Vault's policy denies it.
    Denied,
    /// The answer, of this status, is not one of Vault's KV engine.
    Foreign(u16),
    /// The record holds something else than it should.
    Malformed,
}

impl Unread {
    /// True where it will pass by itself, so that nobody needs to be told at once.
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

/// A record that cannot be read is the gate's trouble, whatever it holds.
impl From<Unread> for Undone {
    fn from(unread: Unread) -> Self {
        let refusal = if unread == Unread::Denied { Refusal::NotProvisioned } else { Refusal::UpstreamUnavailable };
        Self::new(refusal, unread.to_string())
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

/// The reason why a record was not changed.
#[derive(Debug)]
pub enum Unwritten {
    /// The record cannot be read, and nothing is written over it.
    Unread(Unread),
    /// The change is refused, by the gate or by Vault.
    Refused(Undone),
}

impl From<Unread> for Unwritten {
    fn from(unread: Unread) -> Self {
        Self::Unread(unread)
    }
}

impl From<Refusal> for Unwritten {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.into())
    }
}

impl From<Unwritten> for Undone {
    fn from(unwritten: Unwritten) -> Self {
        match unwritten {
            Unwritten::Unread(unread) => unread.into(),
            Unwritten::Refused(undone) => undone,
        }
    }
}

impl From<Unwritten> for Refusal {
    fn from(unwritten: Unwritten) -> Self {
        match unwritten {
            Unwritten::Unread(unread) => unread.into(),
            Unwritten::Refused(undone) => undone.refusal,
        }
    }
}

/// A record that several gates read and change.
pub(super) trait SharedRecord {
    /// Its form in Vault.
    type Stored: DeserializeOwned;
    /// Its form in the gate.
    type Entries: Clone + PartialEq;

    /// The request that reads it.
    fn reading(&self) -> Result<VaultRequest, PathProblem>;

    /// The request that writes `entries` where the record is still at `version`.
    fn writing(&self, version: u64, entries: &Self::Entries) -> Result<VaultRequest, PathProblem>;

    /// The entries of what lies in Vault; `None` where there is no record.
    fn entries(&self, stored: Option<Self::Stored>) -> Self::Entries;

    /// The envelopes of a change: of its read, and of its write.
    fn envelopes(&self) -> (Envelope<'_>, Envelope<'_>);
}

/// A record at one of its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Versioned<T> {
    /// 0 where there has never been a record.
    pub(super) version: u64,
    /// The entries at that version.
    pub(super) entries: T,
}

/// The end of a change that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Updated {
    /// The version at which the record is as wanted.
    pub(super) version: u64,
    /// False where it was so before.
    pub(super) changed: bool,
}

/// Reads a record.
///
/// # Errors
/// [`Unread`]; whoever asks keeps what was known.
pub(super) async fn read<R: SharedRecord>(
    own: &OwnCalls,
    record: &R,
    envelope: Envelope<'_>,
) -> Result<Versioned<R::Entries>, Unread> {
    let answer = own.ask(record.reading(), envelope).await.map_err(Unread::Away)?;
    let read: Record<R::Stored> = match answer.status {
        403 => return Err(Unread::Denied),
        429 | 472 | 473 | 500..=599 => return Err(Unread::Away(Refusal::UpstreamUnavailable)),
        status => record::read(status, &answer.body).map_err(|no| match no {
            NoRecord::Foreign => Unread::Foreign(status),
            NoRecord::Malformed => Unread::Malformed,
        })?,
    };
    Ok(Versioned { version: read.version, entries: record.entries(read.data) })
}

/// Changes a record: applies `change` to the `known` entries, or to those that are read, and writes the
/// result unless somebody else has written the record meanwhile. Then it is read and changed again,
/// [`ATTEMPTS`] times at most. A change without effect writes nothing.
///
/// # Errors
/// [`Unwritten`], and the refusal of `change`.
pub(super) async fn update<R: SharedRecord>(
    own: &OwnCalls,
    record: &R,
    mut known: Option<Versioned<R::Entries>>,
    change: impl Fn(&mut R::Entries) -> Result<(), Refusal>,
) -> Result<Updated, Unwritten> {
    let (to_read, to_write) = record.envelopes();
    for _ in 0..ATTEMPTS {
        let Versioned { version, entries } = match known.take() {
            Some(known) => known,
            None => read(own, record, to_read).await?,
        };
        let mut changed = entries.clone();
        change(&mut changed)?;
        if changed == entries {
            return Ok(Updated { version, changed: false });
        }
        match own.succeed(record.writing(version, &changed), to_write).await {
            Ok(answer) => {
                return Ok(Updated { version: record::written(&answer.body).unwrap_or(version + 1), changed: true });
            }
            Err(Undone { refusal: Refusal::CheckAndSet, .. }) => {}
            Err(undone) => return Err(Unwritten::Refused(undone)),
        }
    }
    Err(Refusal::UpstreamUnavailable.into())
}
