//! Wrapped answers, and how they are redeemed.
//! API: <https://developer.hashicorp.com/vault/docs/concepts/response-wrapping>

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::post;
use super::text::{Handle, Text};
use crate::handle::{Purpose, StandsFor};
use crate::operation::{Annotations, Call, Describe, OperationSpec, Plan, Redeem, Redemption, STANDS_FOR, WRAPPED};
use crate::refusal::Refusal;
use crate::shape::{Member, Shape, Type};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments<'a> {
    /// The handle from the wrapped answer.
    #[serde(borrow)]
    handle: Text<'a, Handle>,
}

/// Redeems the handle of a wrapped answer.
const fn of_answer(redeem: Redeem, call: fn(Redeem, &StandsFor) -> Result<Call, Refusal>) -> Redemption {
    Redemption { redeem, purpose: Purpose::Wrapped, engine: None, call }
}

/// The wrapping token itself asks, once: it is not in the body.
fn unwrapping(_: Redeem, held: &StandsFor) -> Result<Call, Refusal> {
    #[derive(Serialize)]
    struct Nothing {}
    let StandsFor::Wrapped { .. } = held else { return Err(Refusal::Forbidden) };
    post("wrapping/unwrap", &Nothing {}, false)
}

#[derive(Serialize)]
struct About<'a> {
    token: &'a str,
}

fn rewrapping(_: Redeem, held: &StandsFor) -> Result<Call, Refusal> {
    let StandsFor::Wrapped { token } = held else { return Err(Refusal::Forbidden) };
    post("wrapping/rewrap", &About { token }, false)
}

fn look_up(_: Redeem, held: &StandsFor) -> Result<Call, Refusal> {
    let StandsFor::Wrapped { token } = held else { return Err(Refusal::Forbidden) };
    post("wrapping/lookup", &About { token }, true)
}

/// `wrap.unwrap`.
pub(super) struct Unwrap;

impl Describe for Unwrap {
    type Arguments<'a> = Arguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "wrap.unwrap",
        title: "Unwrap an answer",
        summary: "Unwraps an answer for the agent it was wrapped for, once.",
        annotations: Annotations { read_only: false, destructive: true, idempotent: false },
        template: "/wrap/unwrap",
        rest_only: true,
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape {
        about: "The answer that was wrapped.",
        members: &[Member::new("answer", &["data", "answer"], Type::Object, "The answer of the operation.")],
    };

    fn plan(arguments: Arguments<'_>) -> Result<Plan, Refusal> {
        Ok(Plan::held(&arguments.handle, of_answer(Redeem::Unwrap, unwrapping)))
    }
}

/// `wrap.rewrap`.
pub(super) struct Rewrap;

impl Describe for Rewrap {
    type Arguments<'a> = Arguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "wrap.rewrap",
        title: "Wrap an answer anew",
        summary: "Gives another handle of an answer that still waits, for as long as at first; the old one is void.",
        annotations: Annotations { read_only: false, destructive: true, idempotent: false },
        template: "/wrap/rewrap",
        rest_only: true,
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape {
        about: "The new handle.",
        members: &[Member::given(WRAPPED, Type::Record(&STANDS_FOR), STANDS_FOR.about)],
    };

    fn plan(arguments: Arguments<'_>) -> Result<Plan, Refusal> {
        Ok(Plan::held(&arguments.handle, of_answer(Redeem::Rewrap, rewrapping)))
    }
}

/// `wrap.lookup`.
pub(super) struct LookUp;

impl Describe for LookUp {
    type Arguments<'a> = Arguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "wrap.lookup",
        title: "Look up a wrapped answer",
        summary: "Looks up a wrapped answer of this agent without unwrapping it: found only while it still waits.",
        annotations: Annotations { read_only: true, destructive: false, idempotent: true },
        template: "/wrap/lookup",
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape {
        about: "The times of a wrapped answer that still waits.",
        members: &[
            Member::new(
                "creation_time",
                &["data", "creation_time"],
                Type::Text,
                "The time at which it was wrapped (RFC 3339).",
            ),
            Member::new(
                "creation_ttl",
                &["data", "creation_ttl"],
                Type::Count,
                "Seconds for which it can be unwrapped.",
            ),
        ],
    };

    fn plan(arguments: Arguments<'_>) -> Result<Plan, Refusal> {
        Ok(Plan::held(&arguments.handle, of_answer(Redeem::LookUpWrap, look_up)))
    }
}
