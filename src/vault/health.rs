//! Vault's health, asked in the background: `/readyz` tells it, and requests are refused at once
//! while Vault is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use filters::vault::control::{self, About};

use crate::exchange::{Envelope, Upstream};

/// Pause between two questions while Vault is well.
const WELL: Duration = Duration::from_secs(1);
/// Pause between two questions while it is not, so that the gate serves within a second of Vault.
const UNWELL: Duration = Duration::from_millis(200);

/// The state that Vault reports of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// Vault was not asked yet.
    Unknown = 0,
    /// Active and unsealed.
    Active = 1,
    /// A standby that does not serve.
    Standby = 2,
    /// Sealed.
    Sealed = 3,
    /// Not initialised.
    Uninitialised = 4,
    /// Vault does not answer.
    Unreachable = 5,
}

impl Health {
    /// Every health, each at the place that it has as a number.
    pub const EVERY: [Self; 6] =
        [Self::Unknown, Self::Active, Self::Standby, Self::Sealed, Self::Uninitialised, Self::Unreachable];

    /// The health in one word, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Active => "active",
            Self::Standby => "standby",
            Self::Sealed => "sealed",
            Self::Uninitialised => "uninitialised",
            Self::Unreachable => "unreachable",
        }
    }

    /// True where Vault has told it.
    #[must_use]
    pub const fn is_told(self) -> bool {
        !matches!(self, Self::Unknown | Self::Unreachable)
    }

    /// True unless Vault has said that it is not initialised.
    #[must_use]
    pub const fn is_initialised(self) -> bool {
        !matches!(self, Self::Uninitialised)
    }

    /// True where it is sealed.
    #[must_use]
    pub const fn is_sealed(self) -> bool {
        matches!(self, Self::Sealed)
    }

    /// True where it stands by.
    #[must_use]
    pub const fn is_standby(self) -> bool {
        matches!(self, Self::Standby)
    }

    const fn of_status(status: u16) -> Self {
        match status {
            200 | 473 => Self::Active,
            429 | 472 => Self::Standby,
            503 => Self::Sealed,
            501 => Self::Uninitialised,
            _ => Self::Unreachable,
        }
    }

    fn of_byte(byte: u8) -> Self {
        Self::EVERY.get(usize::from(byte)).copied().unwrap_or(Self::Unknown)
    }
}

/// Asks Vault for its health.
pub struct Monitor {
    upstream: Arc<Upstream>,
    state: AtomicU8,
    version: ArcSwapOption<Box<str>>,
}

impl Monitor {
    /// Nothing is asked before [`Monitor::run`].
    #[must_use]
    pub fn new(upstream: Arc<Upstream>) -> Self {
        Self { upstream, state: AtomicU8::new(Health::Unknown as u8), version: ArcSwapOption::empty() }
    }

    /// The last health that was found.
    #[must_use]
    pub fn health(&self) -> Health {
        Health::of_byte(self.state.load(Ordering::Relaxed))
    }

    /// Vault's version, as it was told last.
    #[must_use]
    pub fn version(&self) -> Option<Arc<Box<str>>> {
        self.version.load_full()
    }

    /// True where requests may go to Vault: false while it is known to be away.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.health(), Health::Active | Health::Unknown)
    }

    /// Asks for ever, and keeps addresses and the client certificate fresh beside it: a name server
    /// that hangs delays no question.
    pub async fn run(&self) {
        tokio::join!(self.refresh(), self.watch());
    }

    async fn refresh(&self) {
        let mut told = String::new();
        loop {
            let pause = match self.upstream.refresh().await {
                Ok(()) => {
                    told.clear();
                    self.upstream.refresh_every()
                }
                Err(problem) => {
                    if problem != told {
                        tracing::warn!(%problem, "the way to Vault stays as it was");
                        told = problem;
                    }
                    UNWELL
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn watch(&self) {
        loop {
            let now = self.ask().await;
            let before = Health::of_byte(self.state.swap(now as u8, Ordering::Relaxed));
            if now != before {
                tracing::info!(before = before.name(), now = now.name(), "Vault's health changed");
            }
            tokio::time::sleep(if now == Health::Active { WELL } else { UNWELL }).await;
        }
    }

    /// Asks once, and notes whether Vault has namespaces.
    pub(super) async fn ask(&self) -> Health {
        let Ok(request) = control::health() else { return Health::Unknown };
        let envelope = Envelope::look();
        match self.upstream.ask(request, envelope).await {
            Ok(answer) => {
                if let Some(About { version, has_namespaces }) = control::about(&answer.body) {
                    self.upstream.note_namespaces(has_namespaces);
                    if self.version().is_none_or(|known| **known != *version) {
                        self.version.store(Some(Arc::new(version.into_owned().into_boxed_str())));
                    }
                }
                Health::of_status(answer.status)
            }
            Err(_) => Health::Unreachable,
        }
    }
}
