//! Key/value secrets, version 2.
//! API: <https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2>

mod names;
mod value;
mod versions;

pub(super) use names::{List, Metadata};
pub(super) use value::{Patch, Read, Write};
pub(super) use versions::{Delete, Destroy, Undelete};

use std::borrow::Cow;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::grants::{Resource, Space};
use crate::operation::{Ask, Kind};
use crate::path::SecretPath;
use crate::refusal::Refusal;
use crate::vault::Method;

const PATH_SHARED: &[(&str, Kind)] = &[("shared", Kind::Plain)];

fn space(shared: bool) -> Space {
    if shared { Space::Shared } else { Space::Own }
}

fn secret(path: &str, shared: bool) -> Result<Option<Resource>, Refusal> {
    Ok(Some(Resource::Secret(space(shared), SecretPath::parse(path)?)))
}

fn ask(method: Method, api: &str, body: Option<Vec<u8>>, repeatable: bool) -> Ask {
    Ask::Vault { method, api: api.to_owned(), query: None, body: body.map(Bytes::from), repeatable }
}

/// A secret, and nothing more.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct PathArguments<'a> {
    /// Path of the secret below the agent's namespace, segments joined by '/'.
    #[serde(borrow)]
    path: Cow<'a, str>,
    /// Whether the path is below the shared prefix instead.
    #[serde(default)]
    shared: bool,
}
