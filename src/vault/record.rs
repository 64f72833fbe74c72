//! Records that the gate keeps in Vault's KV engine, each with its version.

use filters::path::PathProblem;
use filters::refusal::Refusal;
use filters::vault::VaultRequest;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Along, OwnCalls};

#[derive(Default, Deserialize)]
#[serde(default, bound = "T: DeserializeOwned + Default")]
struct Answer<T> {
    data: Data<T>,
}

#[derive(Default, Deserialize)]
#[serde(default, bound = "T: DeserializeOwned + Default")]
struct Data<T> {
    data: Option<T>,
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct Metadata {
    version: u64,
}

/// What is on the record, and at which version; 0 where there is none.
///
/// # Errors
/// [`Refusal::DeniedByVault`], [`Refusal::UpstreamNonsense`] for what is no such record, and that
/// Vault is away.
pub(super) async fn read<T: DeserializeOwned + Default>(
    own: &OwnCalls,
    request: Result<VaultRequest, PathProblem>,
    along: Along<'_>,
) -> Result<(u64, T), Refusal> {
    let answer = own.ask(request, along).await?;
    let found: Answer<T> = match answer.status {
        200 => serde_json::from_slice(&answer.body).map_err(|_| Refusal::UpstreamNonsense)?,
        // A record that was deleted is a 404 that tells its version.
        404 => serde_json::from_slice(&answer.body).unwrap_or_default(),
        403 => return Err(Refusal::DeniedByVault),
        _ => return Err(Refusal::UpstreamUnavailable),
    };
    Ok((found.data.metadata.version, found.data.data.unwrap_or_default()))
}
