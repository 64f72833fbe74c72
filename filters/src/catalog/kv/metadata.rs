//! Metadata of secrets, without their values.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::{KV, NO_SECRET, PATH_SHARED, PathArguments, SECRET, absent, ask, secret};
use crate::catalog::text::{Path, Text};
use crate::json::Whole;
use crate::lifetime::Age;
use crate::notes::Note;
use crate::operation::{Annotations, Capability, Describe, OperationSpec, Plan, Reach};
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::shape::{Member, Shape, Type};
use crate::vault::Method;

/// The metadata of one version, by its number.
const VERSION: &Shape = &Shape {
    about: "One version, by its number.",
    members: &[
        Member::new("created_time", &[], Type::Text, "The time at which it was written (RFC 3339)."),
        Member::new(
            "deletion_time",
            &[],
            Type::Text,
            "The time of its deletion, past or planned; empty where there is none.",
        ),
        Member::new("destroyed", &[], Type::Flag, "True if it cannot be brought back."),
    ],
};

/// `kv.metadata`.
pub(in crate::catalog) struct Metadata;

impl Describe for Metadata {
    type Arguments<'a> = PathArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "kv.metadata",
        title: "Read a secret's metadata",
        summary: "Tells the versions, times and custom metadata of a secret of the agent's, never its values.",
        scope: Some(Scope::Read),
        engine: Some(KV),
        touch: Some(SECRET),
        annotations: Annotations { read_only: true, destructive: false, idempotent: true },
        method: "GET",
        template: "/secrets/{path}:metadata",
        query: PATH_SHARED,
        takes_body: false,
        absent: NO_SECRET,
        reach: Reach { method: Method::Get, apis: &["metadata"], may: &[Capability::Read], ..Reach::NOWHERE },
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape {
        about: "A secret's versions and times, never its values.",
        members: &[
            Member::new("current_version", &["data", "current_version"], Type::Count, "The latest version.")
                .told("version"),
            Member::new("oldest_version", &["data", "oldest_version"], Type::Count, "The oldest version that is kept."),
            Member::new(
                "max_versions",
                &["data", "max_versions"],
                Type::Count,
                "The number of versions that are kept; 0 for the mount's default.",
            ),
            Member::new(
                "cas_required",
                &["data", "cas_required"],
                Type::Flag,
                "True if a write must name the version it replaces.",
            ),
            Member::new(
                "created_time",
                &["data", "created_time"],
                Type::Text,
                "The time at which the secret was first written (RFC 3339).",
            ),
            Member::new(
                "updated_time",
                &["data", "updated_time"],
                Type::Text,
                "The time at which it was last written (RFC 3339).",
            ),
            Member::new("custom_metadata", &["data", "custom_metadata"], Type::Labels, "Custom metadata.").or_absent(),
            Member::new(
                "versions",
                &["data", "versions"],
                Type::Map(VERSION),
                "The times of each version, and true in destroyed if it cannot be brought back.",
            ),
        ],
    };

    fn plan(arguments: PathArguments<'_>) -> Result<Plan, Refusal> {
        Ok(Plan::about(secret(&arguments.path, arguments.shared == Some(true))?, ask("metadata", None, true)))
    }
}

/// Metadata to be set, of which Vault gets all but the path. `L` is a label's text.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct MetadataArguments<'a, L> {
    /// Path of the secret below the agent's namespace, segments joined by '/'.
    #[serde(borrow, skip_serializing)]
    #[schemars(title = "Such as apps/db")]
    path: Text<'a, Path>,
    /// The number of versions that are kept, older ones go with the next write; 0 for the mount's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_versions: Option<Whole<0, { u32::MAX as u64 }>>,
    /// True if a write must name the version it replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cas_required: Option<bool>,
    /// Age at which each version that is written from now on is deleted; 0 for the mount's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(title = "Such as 30d")]
    delete_version_after: Option<Age>,
    /// Texts by names of the caller's own; never for secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_metadata: Option<BTreeMap<String, L>>,
    /// True for a path below the shared prefix instead of the agent's namespace.
    #[serde(default, skip_serializing)]
    #[schemars(title = "Below the shared prefix")]
    shared: Option<bool>,
}

/// The new text of a label; none removes it.
#[derive(Deserialize, Serialize)]
#[serde(transparent)]
pub(in crate::catalog) struct Change(Option<String>);

impl JsonSchema for Change {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Change".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        true.into()
    }
}

fn plan_metadata<L: Serialize>(arguments: &MetadataArguments<'_, L>) -> Result<Plan, Refusal> {
    let body = serde_json::to_vec(arguments).map_err(|_| Refusal::Internal)?;
    let touched = secret(&arguments.path, arguments.shared == Some(true))?;
    let names = arguments.custom_metadata.iter().flat_map(BTreeMap::keys);
    let told = Note::Fields(names.map(|name| &**name).collect());
    Ok(Plan::about(touched, ask("metadata", Some(body), true)).noting("keys", told))
}

/// `kv.write_metadata`.
pub(in crate::catalog) struct WriteMetadata;

impl Describe for WriteMetadata {
    type Arguments<'a> = MetadataArguments<'a, String>;
    const SPEC: OperationSpec = OperationSpec {
        name: "kv.write_metadata",
        title: "Write a secret's metadata",
        summary: "Sets what is given of a secret's metadata, custom metadata as a whole; the rest stays.",
        scope: Some(Scope::Write),
        engine: Some(KV),
        touch: Some(SECRET),
        annotations: Annotations { read_only: false, destructive: true, idempotent: true },
        method: "PUT",
        template: "/secrets/{path}:metadata",
        query: PATH_SHARED,
        reach: Reach { apis: &["metadata"], may: &[Capability::Create, Capability::Update], ..Reach::NOWHERE },
        rest_only: true,
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape::DONE;

    fn plan(arguments: MetadataArguments<'_, String>) -> Result<Plan, Refusal> {
        plan_metadata(&arguments)
    }
}

/// `kv.patch_metadata`.
pub(in crate::catalog) struct PatchMetadata;

impl Describe for PatchMetadata {
    type Arguments<'a> = MetadataArguments<'a, Change>;
    const SPEC: OperationSpec = OperationSpec {
        name: "kv.patch_metadata",
        title: "Patch a secret's metadata",
        summary: "As kv.write_metadata, but custom metadata name by name: null removes one, the others stay.",
        scope: Some(Scope::Write),
        engine: Some(KV),
        touch: Some(SECRET),
        annotations: Annotations { read_only: false, destructive: true, idempotent: true },
        method: "PATCH",
        template: "/secrets/{path}:metadata",
        query: PATH_SHARED,
        absent: absent("There is no such secret: kv.write_metadata writes metadata before there is one."),
        reach: Reach { method: Method::Patch, apis: &["metadata"], may: &[Capability::Patch], ..Reach::NOWHERE },
        rest_only: true,
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape::DONE;

    fn plan(arguments: MetadataArguments<'_, Change>) -> Result<Plan, Refusal> {
        plan_metadata(&arguments)
    }
}
