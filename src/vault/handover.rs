//! Leases, tokens and certificates that Vault has given out for a request, until the agent has them.
//! Where the agent has gone, or the answer became an error, they go back to Vault.

use std::mem::take;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use filters::names::{AgentId, Namespace};
use tokio::sync::{Mutex as AsyncMutex, mpsc};

use super::own::{Accessor, OwnCalls};

/// Most things that wait to go back; further ones expire by themselves.
const WAITING: usize = 1_024;
/// Pause between two looks whether all of it has gone back.
const LOOK: Duration = Duration::from_millis(10);

/// Something that Vault has given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// A lease on an agent's record, by the accessor of its token.
    Lease {
        /// The agent.
        agent: AgentId,
        /// The accessor of the lease's token.
        accessor: Accessor,
    },
    /// A token with which something ends: a one-time password, a wrapped answer.
    Token {
        /// The accessor of the token.
        accessor: Accessor,
    },
    /// A certificate.
    Certificate {
        /// Its serial number, as Vault writes it.
        serial: Box<str>,
        /// The namespace it was issued in.
        namespace: Namespace,
    },
}

/// The queue of things that go back to Vault.
pub struct Returns {
    pub(super) own: OwnCalls,
    back: mpsc::Sender<Given>,
    pub(super) waiting: AsyncMutex<mpsc::Receiver<Given>>,
    /// The number of things on their way.
    pub(super) under_way: AtomicUsize,
}

impl Returns {
    /// An empty queue; nothing goes back before [`Returns::run`].
    #[must_use]
    pub fn new(own: OwnCalls) -> Self {
        let (back, waiting) = mpsc::channel(WAITING);
        Self { own, back, waiting: AsyncMutex::new(waiting), under_way: AtomicUsize::new(0) }
    }

    /// Waits until [`Returns::run`] has given back everything.
    pub(super) async fn finish(&self) {
        while self.under_way.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Given {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Lease { .. } => "lease",
            Self::Token { .. } => "token",
            Self::Certificate { .. } => "certificate",
        }
    }
}

/// The things that one request was given. They go back when the parcel is dropped, unless it was
/// handed over.
pub struct Parcel<'a> {
    returns: &'a Returns,
    given: Mutex<Vec<Given>>,
}

impl<'a> Parcel<'a> {
    /// An empty parcel.
    #[must_use]
    pub const fn new(returns: &'a Returns) -> Self {
        Self { returns, given: Mutex::new(Vec::new()) }
    }

    /// Adds a thing.
    pub fn put(&self, given: Given) {
        self.given().push(given);
    }

    /// Removes a thing that has gone back already.
    pub fn remove(&self, given: &Given) {
        self.given().retain(|one| one != given);
    }

    /// The number of things in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.given().len()
    }

    /// True where nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives back all but the first `kept` things.
    pub fn give_back(&self, kept: usize) {
        let mut given = self.given();
        let kept = kept.min(given.len());
        let back = given.split_off(kept);
        drop(given);
        for one in back {
            self.returns.under_way.fetch_add(1, Ordering::Relaxed);
            if self.returns.back.try_send(one).is_err() {
                self.returns.under_way.fetch_sub(1, Ordering::Relaxed);
                tracing::error!("too much waits to be given back to Vault; it expires by itself");
            }
        }
    }

    /// Notes that the agent has everything, so that nothing goes back.
    pub fn handed_over(&self) {
        drop(take(&mut *self.given()));
    }

    fn given(&self) -> MutexGuard<'_, Vec<Given>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Parcel<'_> {
    fn drop(&mut self) {
        self.give_back(0);
    }
}
