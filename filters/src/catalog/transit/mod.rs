//! Cryptography as a service.
//! API: <https://developer.hashicorp.com/vault/api-docs/secret/transit>

mod cipher;
mod random;
mod signature;

pub(super) use cipher::{DataKey, Decrypt, Encrypt, Rewrap};
pub(super) use random::Random;
pub(super) use signature::{Hmac, Sign, Verify};

use std::borrow::Cow;

use serde::Serialize;

use super::text::{Segment, Text};
use super::{named, post};
use crate::grants::Engine;
use crate::operation::{About, Ask, Plan, Touched, unfit};
use crate::refusal::Refusal;

/// Most items of one batch.
const MAX_BATCH: usize = 1000;

/// A key.
fn key(about: About<'_>) -> Result<Touched, Refusal> {
    named(Engine::Transit, about.name)
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
