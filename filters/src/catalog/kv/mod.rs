//! Key/value secrets, version 2.
//! API: <https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2>

mod metadata;
mod names;
mod value;
mod versions;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;

use super::text::{Path, Text};
use crate::grants::{Engine, EngineSpec, Holds, Resource, Service, Space};
use crate::operation::{Absent, Ask, Body, Call, Entry, Kind, Touch, Touched};
use crate::path::SecretPath;
use crate::refusal::Refusal;
use crate::shape::{Member, Shape, Type};

/// The engine. The gate's own records lie in it too.
pub const KV: Engine = Engine::of(&EngineSpec {
    name: Space::Own.key(),
    title: "KV",
    about: "Key/value secrets, version 2.",
    holds: Holds::Paths,
    service: Service::Vault("secret"),
    ..EngineSpec::VAULT
});

/// Its operations.
pub(super) static OPERATIONS: [Entry; 11] = [
    Entry::of::<value::Read>(),
    Entry::of::<value::Write>(),
    Entry::of::<value::Patch>(),
    Entry::of::<names::List>(),
    Entry::of::<metadata::Metadata>(),
    Entry::of::<metadata::WriteMetadata>(),
    Entry::of::<metadata::PatchMetadata>(),
    Entry::of::<versions::Delete>(),
    Entry::of::<versions::DeleteVersions>(),
    Entry::of::<versions::Undelete>(),
    Entry::of::<versions::Destroy>(),
];

const PATH_SHARED: &[(&str, Kind)] = &[("shared", Kind::Plain)];

/// Reads the secret that a question names.
const SECRET: Touch = |about| secret(about.name, about.shared);
/// Reads the prefix that a question names.
const NAMES: Touch = |about| names_below(about.name, about.shared);

const fn space(shared: bool) -> Space {
    if shared { Space::Shared } else { Space::Own }
}

/// A secret.
fn secret(path: &str, shared: bool) -> Result<Touched, Refusal> {
    Ok(Resource::Secret(space(shared), SecretPath::parse(path)?).into())
}

/// The names directly below a prefix.
fn names_below(prefix: &str, shared: bool) -> Result<Touched, Refusal> {
    Ok(Resource::Names(space(shared), SecretPath::parse_prefix(prefix)?).into())
}

fn ask(api: &'static str, body: Option<Vec<u8>>, repeatable: bool) -> Ask {
    Ask::Vault(Call { api: api.into(), query: None, body: body.map(|body| Body::Whole(Bytes::from(body))), repeatable })
}

/// The answer for a secret that is not there.
const NO_SECRET: Absent = absent("There is no such secret, or no such version of it.");

/// Tells a deleted or destroyed version from none, of which `none` is the text.
pub(super) const fn absent(none: &'static str) -> Absent {
    Absent::Version {
        none,
        deleted: "This version of the secret is deleted: kv.undelete brings it back; kv.metadata tells the versions.",
        destroyed: "This version of the secret is destroyed, for good; kv.metadata tells the others.",
    }
}

/// The answer of a write.
const WRITTEN: &Shape = &Shape {
    about: "The version that was written.",
    members: &[
        Member::new("version", &["data", "version"], Type::Count, "Its number, from 1.").told("version"),
        Member::new(
            "created_time",
            &["data", "created_time"],
            Type::Text,
            "The time at which it was written (RFC 3339).",
        ),
    ],
};

/// A secret, and nothing more.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct PathArguments<'a> {
    /// Path of the secret below the agent's namespace, segments joined by '/'.
    #[serde(borrow)]
    #[schemars(title = "Such as apps/db")]
    path: Text<'a, Path>,
    /// True for a path below the shared prefix instead of the agent's namespace.
    #[serde(default)]
    #[schemars(title = "Below the shared prefix")]
    shared: Option<bool>,
}
