//! What the gate answers itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::operation::{Describe, Facts, Hints, Plan};
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::shape::{Member, Shape, Type};

/// `whoami`.
pub(super) struct WhoAmI;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

impl Describe for WhoAmI {
    type Arguments<'a> = Nothing;
    const FACTS: Facts = Facts {
        name: "whoami",
        title: "Who am I",
        summary: "Tells which agent the gate takes the caller for, its scopes and its roles.",
        named: false,
        hints: Hints { read_only: true, destructive: false, idempotent: true },
        method: "GET",
        template: "/whoami",
        takes_body: false,
        ..Facts::POST
    };
    const SHAPE: &'static Shape = &Shape {
        about: "Who is asking, as the gate sees it.",
        members: &[
            Member::given("agent", Type::Text, "The agent's name."),
            Member::given("subject", Type::Text, "The same, by the name that other bridges give it."),
            Member::given("proof", Type::Text, "By what it was proved."),
            Member::given("scopes", Type::Texts, "What the credential carries."),
            Member::given("roles", Type::Texts, "The agent's roles."),
        ],
    };

    fn plan(_: Nothing) -> Result<Plan, Refusal> {
        Ok(Plan::own(answer))
    }
}

#[derive(Serialize)]
struct Myself<'a> {
    agent: &'a str,
    subject: &'a str,
    proof: &'a str,
    scopes: Vec<Scope>,
    roles: Vec<&'a str>,
}

fn answer(identity: &Identity, out: &mut Vec<u8>) {
    let myself = Myself {
        agent: identity.agent.id.as_str(),
        subject: identity.agent.id.as_str(),
        proof: identity.proof.name(),
        scopes: identity.scopes.iter().collect(),
        roles: identity.agent.roles.iter().map(|(role, _)| &*role.name).collect(),
    };
    // Writing to a vector cannot fail, and the type has no map with odd keys.
    let _ = serde_json::to_writer(out, &myself);
}
