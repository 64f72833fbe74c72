//! What the gate answers itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::operation::{Absent, Ask, Describe, Facts, Hints, Plan};
use crate::refusal::Refusal;
use crate::scope::Scope;

/// `whoami`.
pub(super) struct WhoAmI;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// Who is asking, as the gate sees it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Myself<'a> {
    /// The agent's name.
    agent: &'a str,
    /// By what it was proved.
    proof: &'a str,
    /// What the credential carries.
    scopes: Vec<Scope>,
    /// The agent's roles.
    roles: Vec<&'a str>,
}

impl Describe for WhoAmI {
    type Arguments<'a> = Nothing;
    type Answer<'a> = Myself<'a>;
    const FACTS: Facts = Facts {
        name: "whoami",
        title: "Who am I",
        summary: "Tells which agent the gate takes the caller for, its scopes and its roles.",
        scope: None,
        engine: None,
        named: false,
        hints: Hints { read_only: true, destructive: false, idempotent: true },
        method: "GET",
        template: "/whoami",
        query: &[],
        takes_body: false,
        success: 200,
        absent: Absent::NotFound,
    };

    fn plan(_: Nothing) -> Result<Plan, Refusal> {
        Ok((None, Ask::Own(answer)))
    }

    fn project(_: &[u8], _: &mut Vec<u8>) -> Result<(), Refusal> {
        Err(Refusal::Internal)
    }
}

fn answer(identity: &Identity, out: &mut Vec<u8>) {
    let myself = Myself {
        agent: identity.agent.id.as_str(),
        proof: identity.proof.name(),
        scopes: identity.scopes.iter().collect(),
        roles: identity.agent.roles.iter().map(|(role, _)| &*role.name).collect(),
    };
    // Writing to a vector cannot fail, and the type has no map with odd keys.
    let _ = serde_json::to_writer(out, &myself);
}
