//! Operations that the gate answers itself.

use schemars::JsonSchema;
use serde::Deserialize;

use super::access::{ACCESS, tell};
use super::wrap::{LookUp, Rewrap, Unwrap};
use crate::operation::{Annotations, Describe, Entry, OperationSpec, Plan};
use crate::refusal::Refusal;
use crate::shape::Shape;

/// Operations of no engine.
pub(super) static OPERATIONS: [Entry; 5] = [
    Entry::of::<Unwrap>(),
    Entry::of::<Rewrap>(),
    Entry::of::<LookUp>(),
    Entry::of::<WhoAmI>(),
    Entry::of::<ListAccess>(),
];

/// `whoami`.
pub(super) struct WhoAmI;

/// `access.list`.
pub(super) struct ListAccess;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

impl Describe for WhoAmI {
    type Arguments<'a> = Nothing;
    const SPEC: OperationSpec = OperationSpec {
        name: "whoami",
        title: "Who am I",
        summary: "Tells the agent that the caller is identified as and, like access.list, its grants and limits.",
        named: false,
        annotations: Annotations { read_only: true, destructive: false, idempotent: true },
        method: "GET",
        template: "/whoami",
        takes_body: false,
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &ACCESS;

    fn plan(_: Nothing) -> Result<Plan, Refusal> {
        Ok(Plan::own(tell))
    }
}

impl Describe for ListAccess {
    type Arguments<'a> = Nothing;
    const SPEC: OperationSpec = OperationSpec {
        name: "access.list",
        title: "What may I use",
        summary: "Tells the agent its grants (paths, keys and roles, with scopes and descriptions) and its \
            limits.",
        template: "/access",
        ..WhoAmI::SPEC
    };
    const SHAPE: &'static Shape = &ACCESS;

    fn plan(_: Nothing) -> Result<Plan, Refusal> {
        Ok(Plan::own(tell))
    }
}
