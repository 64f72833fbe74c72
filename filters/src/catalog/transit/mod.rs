//! Cryptography as a service.
//! API: <https://developer.hashicorp.com/vault/api-docs/secret/transit>

mod cipher;
mod random;
mod signature;

use std::borrow::Cow;

use serde::Serialize;

use super::text::{Segment, Text};
use super::{named, post};
use crate::grants::{Engine, EngineSpec, GrantNames, Holds, Service};
use crate::operation::{About, Ask, Entry, Plan, Touched, unfit};
use crate::refusal::Refusal;

/// The engine. The key behind handles lies in it too.
pub const TRANSIT: Engine = Engine::of(&EngineSpec {
    name: "transit",
    title: "transit",
    about: "Cryptography as a service.",
    holds: Holds::Names(GrantNames { several: "keys", example: "agents-*", ..GrantNames::PLAIN }),
    service: Service::Vault("transit"),
    ..EngineSpec::VAULT
});

/// Its operations.
pub(super) static OPERATIONS: [Entry; 8] = [
    Entry::of::<cipher::Encrypt>(),
    Entry::of::<cipher::Decrypt>(),
    Entry::of::<cipher::Rewrap>(),
    Entry::of::<cipher::DataKey>(),
    Entry::of::<signature::Sign>(),
    Entry::of::<signature::Verify>(),
    Entry::of::<signature::Hmac>(),
    Entry::of::<random::Random>(),
];

/// Most items of one batch.
const MAX_BATCH: usize = 1000;

/// A key.
fn key(about: About<'_>) -> Result<Touched, Refusal> {
    named(TRANSIT, about.name)
}

/// A request about the key of that name. None of them changes anything in
/// Vault, so that each may be sent again.
fn about(name: &Text<'_, Segment>, api: &'static str, body: &impl Serialize) -> Result<Plan, Refusal> {
    Ok(Plan::about(key(About::named(name))?, Ask::Vault(post(api, body, true)?)))
}

/// One input or a batch of them, never both and never none.
fn one_or_batch<T>(one: &Option<Cow<'_, str>>, batch: &Option<Vec<T>>, what: &'static str) -> Result<(), Refusal> {
    match (one, batch) {
        (Some(_), None) => Ok(()),
        (None, Some(items)) if (1..=MAX_BATCH).contains(&items.len()) => Ok(()),
        _ => Err(unfit("", what)),
    }
}
