//! Keys of the audit that Vault has: of names' HMACs, and of checkpoints.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use filters::audit::{Checkpoint, Naming, NoteSigner};
use tokio::sync::watch;

/// The keys that Vault has, each with its name there, and those who wait for it.
#[derive(Clone, Default)]
pub struct VaultKeys {
    /// The key that names' HMACs are derived from.
    pub names: Option<(Box<str>, SharedNaming)>,
    /// The key of checkpoints.
    pub checkpoints: Option<(Box<str>, Arc<RemoteSigner>)>,
}

/// The form of names, which changes where Vault has its key.
#[derive(Clone)]
pub struct SharedNaming(Arc<ArcSwap<Naming>>);

/// The signer of checkpoints.
pub enum CheckpointSigner {
    /// A key that the gate has.
    Here(NoteSigner),
    /// A key that Vault has.
    Remote(Arc<RemoteSigner>),
}

/// A signer elsewhere. The writer asks for a note and goes on; a task has it made.
#[derive(Default)]
pub struct RemoteSigner {
    asked: watch::Sender<Option<Checkpoint>>,
    note: Mutex<Option<(Checkpoint, String)>>,
}

impl From<Naming> for SharedNaming {
    fn from(naming: Naming) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(naming)))
    }
}

impl SharedNaming {
    /// The form of the moment.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Naming>> {
        self.0.load()
    }

    /// Has names written in this form from now on.
    pub fn store(&self, naming: Naming) {
        self.0.store(Arc::new(naming));
    }

    /// True while the key is not known.
    pub(super) fn is_untold(&self) -> bool {
        matches!(**self.load(), Naming::Untold)
    }
}

impl RemoteSigner {
    /// Asks for a note; a checkpoint that was asked for before and is not signed yet is given up.
    pub(super) fn ask(&self, checkpoint: Checkpoint) {
        self.asked.send_replace(Some(checkpoint));
    }

    /// The note that is there since this was last called.
    pub(super) fn take(&self) -> Option<(Checkpoint, String)> {
        self.note.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits for a checkpoint that is to be signed.
    pub async fn next(&self) -> Checkpoint {
        let mut asked = self.asked.subscribe();
        let checkpoint = asked.wait_for(Option::is_some).await.ok().and_then(|asked| *asked);
        match checkpoint {
            Some(checkpoint) => checkpoint,
            // The other end is this signer's own.
            None => std::future::pending().await,
        }
    }

    /// Gives the note of a checkpoint.
    pub fn signed(&self, checkpoint: Checkpoint, note: String) {
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = Some((checkpoint, note));
        self.asked.send_if_modified(|asked| asked.take_if(|asked| *asked == checkpoint).is_some());
    }
}
