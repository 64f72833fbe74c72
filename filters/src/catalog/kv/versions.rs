//! Versions of secrets: deleted, brought back, destroyed.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{KV, NO_SECRET, PATH_SHARED, PathArguments, SECRET, ask, secret};
use crate::catalog::text::{Path, Text};
use crate::json::Whole;
use crate::notes::Note;
use crate::operation::{Annotations, Capability, Describe, OperationSpec, Plan, Reach, unfit};
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::shape::Shape;
use crate::vault::Method;

/// Most versions that one call may delete, undelete or destroy.
const MAX_VERSIONS: usize = 100;

/// `kv.delete`.
pub(in crate::catalog) struct Delete;

impl Describe for Delete {
    type Arguments<'a> = PathArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "kv.delete",
        title: "Delete a secret",
        summary: "Deletes the latest version of a secret of the agent's; it can be undeleted.",
        scope: Some(Scope::Delete),
        engine: Some(KV),
        touch: Some(SECRET),
        annotations: Annotations { read_only: false, destructive: true, idempotent: true },
        method: "DELETE",
        template: "/secrets/{path}",
        query: PATH_SHARED,
        takes_body: false,
        success: 204,
        reach: Reach { method: Method::Delete, apis: &["data"], may: &[Capability::Delete], ..Reach::NOWHERE },
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape::DONE;

    fn plan(arguments: PathArguments<'_>) -> Result<Plan, Refusal> {
        Ok(Plan::about(secret(&arguments.path, arguments.shared == Some(true))?, ask("data", None, true)))
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct VersionsArguments<'a> {
    /// Path of the secret below the agent's namespace, segments joined by '/'.
    #[serde(borrow)]
    #[schemars(title = "Such as apps/db")]
    path: Text<'a, Path>,
    /// The versions, from 1; at most 100.
    #[schemars(length(min = 1, max = 100))]
    versions: Vec<Whole<1>>,
    /// True for a path below the shared prefix instead of the agent's namespace.
    #[serde(default)]
    #[schemars(title = "Below the shared prefix")]
    shared: Option<bool>,
}

fn plan_versions(api: &'static str, arguments: &VersionsArguments<'_>) -> Result<Plan, Refusal> {
    let versions = &arguments.versions;
    if versions.is_empty() || versions.len() > MAX_VERSIONS {
        return Err(unfit("/versions", "1 to 100 versions, each from 1"));
    }
    let body = serde_json::to_vec(&serde_json::json!({ "versions": versions })).map_err(|_| Refusal::Internal)?;
    let touched = secret(&arguments.path, arguments.shared == Some(true))?;
    let told = Note::Numbers(versions.iter().map(|version| version.get()).collect());
    Ok(Plan::about(touched, ask(api, Some(body), true)).noting("versions", told))
}

/// `kv.delete_versions`.
pub(in crate::catalog) struct DeleteVersions;

impl Describe for DeleteVersions {
    type Arguments<'a> = VersionsArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "kv.delete_versions",
        title: "Delete versions of a secret",
        summary: "Deletes versions of a secret of the agent's; they can be undeleted.",
        scope: Some(Scope::Delete),
        engine: Some(KV),
        touch: Some(SECRET),
        annotations: Annotations { read_only: false, destructive: true, idempotent: true },
        template: "/secrets/{path}:delete",
        query: PATH_SHARED,
        absent: NO_SECRET,
        reach: Reach::update(&["delete"]),
        rest_only: true,
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape::DONE;

    fn plan(arguments: VersionsArguments<'_>) -> Result<Plan, Refusal> {
        plan_versions("delete", &arguments)
    }
}

/// `kv.undelete`.
pub(in crate::catalog) struct Undelete;

impl Describe for Undelete {
    type Arguments<'a> = VersionsArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "kv.undelete",
        title: "Undelete versions of a secret",
        summary: "Brings deleted versions of a secret of the agent's back.",
        scope: Some(Scope::Write),
        engine: Some(KV),
        touch: Some(SECRET),
        annotations: Annotations { read_only: false, destructive: false, idempotent: true },
        template: "/secrets/{path}:undelete",
        query: PATH_SHARED,
        absent: NO_SECRET,
        reach: Reach::update(&["undelete"]),
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape::DONE;

    fn plan(arguments: VersionsArguments<'_>) -> Result<Plan, Refusal> {
        plan_versions("undelete", &arguments)
    }
}

/// `kv.destroy`.
pub(in crate::catalog) struct Destroy;

impl Describe for Destroy {
    type Arguments<'a> = VersionsArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "kv.destroy",
        title: "Destroy versions of a secret",
        summary: "Destroys versions of a secret of the agent's for good.",
        scope: Some(Scope::Write),
        engine: Some(KV),
        touch: Some(SECRET),
        annotations: Annotations { read_only: false, destructive: true, idempotent: true },
        template: "/secrets/{path}:destroy",
        query: PATH_SHARED,
        absent: NO_SECRET,
        reach: Reach::update(&["destroy"]),
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape::DONE;

    fn plan(arguments: VersionsArguments<'_>) -> Result<Plan, Refusal> {
        plan_versions("destroy", &arguments)
    }
}
