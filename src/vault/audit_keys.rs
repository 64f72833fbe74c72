//! Keys of the audit in Vault: the key of names' HMACs, which is derived from the latest version of a transit key, and
//! the key of checkpoints, which never leaves Vault.

use std::time::Duration;

use filters::audit::{Checkpoint, Naming, NoteVerifier};
use filters::refusal::Refusal;
use filters::vault::Layout;
use filters::vault::transit::{KeyVersion, TransitKey};
use tokio::time::sleep;

use crate::exchange::Envelope;
use crate::telemetry::{RemoteSigner, SharedNaming, VaultKeys};

use super::own::{OwnCalls, Undone};
use super::transit;

/// The purpose that the key of names is derived for.
const PURPOSE: &str = "portcullis audit names 1";
/// Pause between two looks at the versions of the key of names.
const LOOK: Duration = Duration::from_secs(5);
/// Pause while Vault gives nothing or does not answer.
const RETRY: Duration = Duration::from_millis(500);
/// Pause before the gate has a login.
const SEEK: Duration = Duration::from_millis(10);

/// The keys of the audit, as far as Vault has them.
pub struct AuditKeys {
    own: OwnCalls,
    keys: VaultKeys,
}

/// Tells once of a trouble, and once of its end.
struct Told {
    tells: bool,
    trouble: &'static str,
    end: &'static str,
}

impl AuditKeys {
    /// Nothing is asked before [`AuditKeys::run`].
    #[must_use]
    pub const fn new(own: OwnCalls, keys: VaultKeys) -> Self {
        Self { own, keys }
    }

    /// Keeps the key of names up to date and has checkpoints signed, for ever.
    pub async fn run(&self, layout: impl Fn() -> Layout) {
        let names = async {
            match &self.keys.names {
                Some((key, naming)) => self.keep_naming(key, naming, &layout).await,
                None => std::future::pending().await,
            }
        };
        let checkpoints = async {
            match &self.keys.checkpoints {
                Some((key, signer)) => self.sign(key, signer, &layout).await,
                None => std::future::pending().await,
            }
        };
        tokio::join!(names, checkpoints);
    }

    async fn keep_naming(&self, key: &str, naming: &SharedNaming, layout: &impl Fn() -> Layout) {
        let trouble = "the transit key of names' HMACs cannot be used: records name things by the version that is known, or not at all";
        let mut told = Told::new(trouble, "the transit key of names' HMACs can be used");
        let mut known = None;
        loop {
            let looked = self.name_by(key, naming, &layout(), &mut known).await;
            let pause = match (self.own.is_logged_in(), looked.is_ok()) {
                (false, _) => SEEK,
                (true, false) => RETRY,
                (true, true) => LOOK,
            };
            // That Vault is away is told elsewhere, and a key that is known stays.
            if !matches!(looked, Err(Refusal::UpstreamUnavailable | Refusal::UpstreamTimeout)) {
                told.tell(&looked);
            }
            sleep(pause).await;
        }
    }

    /// Names by the latest version, where that is another than the one that is known.
    async fn name_by(
        &self,
        key: &str,
        naming: &SharedNaming,
        layout: &Layout,
        known: &mut Option<KeyVersion>,
    ) -> Result<(), Refusal> {
        let key = TransitKey::named(key, layout);
        let latest = transit::versions(&self.own, key, "aes256-gcm96").await?.into_iter().next();
        let latest = latest.ok_or(Refusal::UpstreamNonsense)?;
        if known.as_ref() != Some(&latest) {
            naming.store(naming_of(&self.own, key, latest.number).await?);
            *known = Some(latest);
        }
        Ok(())
    }

    async fn sign(&self, key: &str, signer: &RemoteSigner, layout: &impl Fn() -> Layout) {
        let trouble = "Vault signs no checkpoints of the audit: they are written once it does";
        let mut told = Told::new(trouble, "Vault signs checkpoints of the audit again");
        let mut versions = Vec::new();
        loop {
            let checkpoint = signer.next().await;
            let noted = self.note(key, &checkpoint, &layout(), &mut versions).await;
            told.tell(&noted);
            match noted {
                Ok(note) => signer.signed(checkpoint, note),
                Err(_) => {
                    versions.clear();
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// The note of a checkpoint; `versions` are those of the key that are known.
    async fn note(
        &self,
        name: &str,
        checkpoint: &Checkpoint,
        layout: &Layout,
        versions: &mut Vec<KeyVersion>,
    ) -> Result<String, Refusal> {
        let key = TransitKey::named(name, layout);
        if versions.is_empty() {
            *versions = transit::versions(&self.own, key, "ed25519").await?;
        }
        let signature = transit::sign(&self.own, key, &checkpoint.text(name)).await?;
        if versions.iter().all(|version| version.number != signature.version) {
            *versions = transit::versions(&self.own, key, "ed25519").await?;
        }
        let version = versions.iter().find(|version| version.number == signature.version);
        let verifier = version.and_then(|version| NoteVerifier::new(name, version.public?));
        verifier.and_then(|verifier| verifier.note(checkpoint, &signature.bytes)).ok_or(Refusal::UpstreamNonsense)
    }
}

impl Told {
    const fn new(trouble: &'static str, end: &'static str) -> Self {
        Self { tells: false, trouble, end }
    }

    fn tell<T>(&mut self, outcome: &Result<T, Refusal>) {
        let (trouble, end) = (self.trouble, self.end);
        match outcome {
            Err(refusal) if !self.tells => tracing::error!(code = refusal.public().code, "{trouble}"),
            Ok(_) if self.tells => tracing::warn!("{end}"),
            _ => {}
        }
        self.tells = outcome.is_err();
    }
}

async fn naming_of(own: &OwnCalls, key: TransitKey<'_>, version: u32) -> Result<Naming, Refusal> {
    Ok(Naming::of_bytes(&*transit::derive(own, key, PURPOSE, version).await?))
}

/// The forms of names by each version of a transit key, latest first.
///
/// # Errors
/// Vault does not give them.
pub async fn namings(own: &OwnCalls, key: &str, layout: &Layout) -> Result<Vec<Naming>, Undone> {
    let mut namings = Vec::new();
    let key = TransitKey::named(key, layout);
    for version in look(own, key).await? {
        namings.push(naming_of(own, key, version.number).await?);
    }
    Ok(namings)
}

/// The keys that verify checkpoints, one for each version of a transit key, latest first.
///
/// # Errors
/// Vault does not give them.
pub async fn verifiers(own: &OwnCalls, key: &str, layout: &Layout) -> Result<Vec<NoteVerifier>, Undone> {
    let versions = look(own, TransitKey::named(key, layout)).await?;
    let verifiers = versions.into_iter().map(|version| NoteVerifier::new(key, version.public?));
    Ok(verifiers.collect::<Option<_>>().ok_or(Refusal::UpstreamNonsense)?)
}

/// The versions of a key that is there.
async fn look(own: &OwnCalls, key: TransitKey<'_>) -> Result<Vec<KeyVersion>, Undone> {
    let answer = own.succeed(key.read(), Envelope::default()).await?;
    Ok(transit::read(&answer).ok_or(Refusal::UpstreamNonsense)?)
}
