//! What is known of secrets without their values.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{PATH_SHARED, PathArguments, ask, secret, space};
use crate::catalog::answer::{data_of, write};
use crate::grants::{Engine, Resource};
use crate::operation::{Absent, Describe, Facts, Hints, Kind, Plan};
use crate::path::SecretPath;
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::vault::Method;

/// `kv.list`.
pub(in crate::catalog) struct List;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct ListArguments<'a> {
    /// Prefix whose direct children are listed; the root where it is absent.
    #[serde(borrow, default)]
    prefix: Cow<'a, str>,
    /// Whether the prefix is below the shared prefix instead.
    #[serde(default)]
    shared: bool,
}

/// Names directly below a prefix.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(in crate::catalog) struct ListAnswer<'a> {
    /// The names; one that ends in '/' has names below it.
    #[serde(borrow)]
    #[schemars(with = "Vec<String>")]
    keys: &'a RawValue,
}

impl Describe for List {
    type Arguments<'a> = ListArguments<'a>;
    type Answer<'a> = ListAnswer<'a>;
    const FACTS: Facts = Facts {
        name: "kv.list",
        title: "List secrets",
        summary: "Lists the names of the agent's secrets directly below a prefix.",
        scope: Some(Scope::List),
        engine: Some(Engine::Kv),
        named: true,
        hints: Hints { read_only: true, destructive: false, idempotent: true },
        method: "GET",
        template: "/secrets",
        query: &[("prefix", Kind::Text), ("shared", Kind::Plain)],
        takes_body: false,
        success: 200,
        absent: Absent::Empty("{\"keys\":[]}"),
    };

    fn plan(arguments: ListArguments<'_>) -> Result<Plan, Refusal> {
        let prefix = SecretPath::parse_prefix(&arguments.prefix)?;
        Ok((Some(Resource::Names(space(arguments.shared), prefix)), ask(Method::List, "metadata", None, true)))
    }

    fn project(body: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        write(&data_of::<ListAnswer<'_>>(body)?, out)
    }
}

/// `kv.metadata`.
pub(in crate::catalog) struct Metadata;

/// A secret's versions and times, never its values.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(in crate::catalog) struct MetadataAnswer<'a> {
    /// The latest version.
    current_version: u64,
    /// The oldest version that is kept.
    oldest_version: u64,
    /// How many versions are kept; 0 for the mount's default.
    max_versions: u64,
    /// Whether a write must name the version it replaces.
    cas_required: bool,
    /// When the secret was first written (RFC 3339).
    #[serde(borrow)]
    created_time: Cow<'a, str>,
    /// When it was last written (RFC 3339).
    #[serde(borrow)]
    updated_time: Cow<'a, str>,
    /// What operators noted about it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    custom_metadata: Option<&'a RawValue>,
    /// Each version's times, and whether it is destroyed.
    #[serde(borrow)]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    versions: &'a RawValue,
}

impl Describe for Metadata {
    type Arguments<'a> = PathArguments<'a>;
    type Answer<'a> = MetadataAnswer<'a>;
    const FACTS: Facts = Facts {
        name: "kv.metadata",
        title: "Read a secret's metadata",
        summary: "Tells the versions, times and custom metadata of a secret of the agent's, never its values.",
        scope: Some(Scope::Read),
        engine: Some(Engine::Kv),
        named: true,
        hints: Hints { read_only: true, destructive: false, idempotent: true },
        method: "GET",
        template: "/secrets/{path}:metadata",
        query: PATH_SHARED,
        takes_body: false,
        success: 200,
        absent: Absent::NotFound,
    };

    fn plan(arguments: PathArguments<'_>) -> Result<Plan, Refusal> {
        Ok((secret(&arguments.path, arguments.shared)?, ask(Method::Get, "metadata", None, true)))
    }

    fn project(body: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        write(&data_of::<MetadataAnswer<'_>>(body)?, out)
    }
}
