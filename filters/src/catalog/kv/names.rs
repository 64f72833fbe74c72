//! Names of secrets.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{KV, NAMES, ask, names_below};
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
        absent: Absent::Empty("{\"keys\":[]}"),
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
