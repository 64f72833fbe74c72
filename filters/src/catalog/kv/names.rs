//! Names and metadata of secrets, without their values.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{KV, NAMES, NO_SECRET, PATH_SHARED, PathArguments, SECRET, ask, names_below, secret};
use crate::catalog::text::{Prefix, Text};
use crate::operation::{Absent, Annotations, Capability, Describe, Kind, OperationSpec, Plan, Reach};
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::shape::{Member, Shape, Type, UNREADABLE, UNREADABLE_MORE};
use crate::vault::Method;

/// `kv.list`.
pub(in crate::catalog) struct List;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct ListArguments<'a> {
    /// Prefix whose direct children are listed; the root where it is absent.
    #[serde(borrow, default)]
    prefix: Option<Text<'a, Prefix>>,
    /// True for a prefix below the shared prefix instead of the agent's namespace.
    #[serde(default)]
    #[schemars(title = "Below the shared prefix")]
    shared: Option<bool>,
}

impl Describe for List {
    type Arguments<'a> = ListArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "kv.list",
        title: "List secrets",
        summary: "Lists the names of the agent's secrets directly below a prefix.",
        scope: Some(Scope::List),
        engine: Some(KV),
        touch: Some(NAMES),
        annotations: Annotations { read_only: true, destructive: false, idempotent: true },
        method: "GET",
        template: "/secrets",
        query: &[("prefix", Kind::Text), ("shared", Kind::Plain)],
        takes_body: false,
        absent: Absent::Empty("{\"data\":{\"keys\":[]}}"),
        reach: Reach { method: Method::List, apis: &["metadata"], may: &[Capability::List], ..Reach::NOWHERE },
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape {
        about: "Names directly below a prefix.",
        members: &[
            Member::new("keys", &["data", "keys"], Type::Names, "The names; one that ends in '/' has names below it.")
                .told("count"),
            Member::given(
                UNREADABLE,
                Type::Texts,
                "Those of the names that the gate takes in no path, so that nothing can be asked of them here; absent \
                 where there is none.",
            )
            .or_absent(),
            Member::given(
                UNREADABLE_MORE,
                Type::Count,
                "How many more of them there are, where they are more than 64 KiB.",
            )
            .or_absent(),
        ],
    };

    fn plan(arguments: ListArguments<'_>) -> Result<Plan, Refusal> {
        let prefix = arguments.prefix.as_deref().unwrap_or_default();
        let touched = names_below(prefix, arguments.shared == Some(true))?;
        Ok(Plan::about(touched, ask("metadata", None, true)))
    }
}

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
            Member::new(
                "custom_metadata",
                &["data", "custom_metadata"],
                Type::Labels,
                "Custom metadata, as operators wrote it.",
            )
            .or_absent(),
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
