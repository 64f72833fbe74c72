//! The gate's own keys in Vault's transit engine, asked for with its own token.

use filters::refusal::Refusal;
use filters::vault::transit::{self, KeyVersion, Signature, TransitKey};
use filters::vault::{is_nothing, is_refusal};
use zeroize::Zeroizing;

use crate::exchange::{Answer, Envelope};

use super::own::OwnCalls;

/// Most versions of a key that are looked at, the latest ones.
const VERSIONS: usize = 64;

/// The versions of a key, latest first; it is made, of this type, where it is missing.
pub(super) async fn versions(own: &OwnCalls, key: TransitKey<'_>, kind: &str) -> Result<Vec<KeyVersion>, Refusal> {
    let envelope = Envelope::look();
    let mut answer = own.ask(key.read(), envelope).await?;
    if answer.status == 404 && is_nothing(&answer.body) {
        let made = own.ask(key.create(kind), Envelope::soon()).await?;
        if !made.is_success() {
            return Err(refused(&made));
        }
        answer = own.ask(key.read(), envelope).await?;
    }
    if !answer.is_success() {
        return Err(refused(&answer));
    }
    read(&answer).ok_or(Refusal::UpstreamNonsense)
}

/// The versions in an answer, latest first.
pub(super) fn read(answer: &Answer) -> Option<Vec<KeyVersion>> {
    let mut versions = transit::versions(&answer.body)?;
    versions.truncate(VERSIONS);
    Some(versions)
}

/// The key that is derived from a version for one purpose.
pub(super) async fn derive(
    own: &OwnCalls,
    key: TransitKey<'_>,
    purpose: &str,
    version: u32,
) -> Result<Zeroizing<[u8; 32]>, Refusal> {
    let answer = own.ask(key.derive(purpose, version), Envelope::look()).await?;
    if !answer.is_success() {
        return Err(refused(&answer));
    }
    transit::derived(&answer.body).ok_or(Refusal::UpstreamNonsense)
}

/// The signature of a text by the latest version of a key.
pub(super) async fn sign(own: &OwnCalls, key: TransitKey<'_>, text: &str) -> Result<Signature, Refusal> {
    let answer = own.ask(key.sign(text), Envelope::look()).await?;
    if !answer.is_success() {
        return Err(refused(&answer));
    }
    transit::signature(&answer.body).ok_or(Refusal::UpstreamNonsense)
}

/// The refusal of an answer without success. Vault denies the key by its policy, or nothing is
/// mounted there; an answer that is not Vault's says nothing of the key.
fn refused(answer: &Answer) -> Refusal {
    match answer.status {
        400..=404 if is_refusal(&answer.body) => Refusal::NotProvisioned,
        429 | 472 | 473 | 500..=599 => Refusal::UpstreamUnavailable,
        _ => Refusal::UpstreamNonsense,
    }
}
