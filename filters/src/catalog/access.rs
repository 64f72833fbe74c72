//! The answer to an agent that asks what it may use: its own roles and limits, and nobody else's.

use jiff::Timestamp;
use serde::Serialize;

use super::CATALOG;
use crate::grants::{Agent, Engine, Grant, Role, Space};
use crate::identity::Presented;
use crate::pattern::PathPattern;
use crate::quota::Limit;
use crate::scope::{Scope, Scopes};
use crate::shape::{Member, Shape, Type};

/// The caller's identity, grants and limits.
pub(super) static ACCESS: Shape = Shape {
    about: "The caller's identity, as the gate sees it, with grants and limits.",
    members: &[
        Member::given("agent", Type::Text, "The agent's name."),
        Member::given("subject", Type::Text, "The agent's name again, under the key that other bridges use."),
        Member::given("proof", Type::Text, "The kind of credential that proved the identity."),
        Member::given("expires", Type::Text, "The end of the credential (RFC 3339); absent where it has none.")
            .or_absent(),
        Member::given("scopes", Type::Texts, "The scopes that the credential carries."),
        Member::given("roles", Type::Texts, "The agent's roles."),
        Member::given("namespace", Type::Text, "Vault's namespace that all of the agent's is in; empty for the root."),
        Member::given("grants", Type::List(&GRANT), "The grants that this credential can use, role by role."),
        Member::given(
            "denied",
            Type::Texts,
            "Paths in the agent's own namespace that are refused in spite of any grant; patterns as in grants.",
        ),
        Member::given("limits", Type::Record(&LIMITS), "The agent's limits."),
    ],
};

static GRANT: Shape = Shape {
    about: "One grant.",
    members: &[
        Member::given("engine", Type::Text, "The engine, by the name under which roles grant it."),
        Member::given("shared", Type::Flag, "For kv: true for paths that agents share, false for the agent's own.")
            .or_absent(),
        Member::given(
            "name",
            Type::Text,
            "A path, or the name of a key or role. In a path a segment * is any one segment, and ** at the end is all \
         that lies below; a name that ends in * is any that begins so.",
        )
        .or_absent(),
        Member::given("operation", Type::Text, "Instead of a name: an operation on nothing that has a name.")
            .or_absent(),
        Member::given("scopes", Type::Texts, "The allowed kinds of access: read, write, delete, list."),
        Member::given("role", Type::Text, "The role that gives it; one role must allow the whole of a request."),
        Member::given("about", Type::Text, "The operator's description of its purpose.").or_absent(),
        Member::given("bounds", Type::Texts, "Conditions and upper bounds of the grant; absent where there are none.")
            .or_absent(),
    ],
};

static LIMITS: Shape = Shape {
    about: "The agent's limits.",
    members: &[
        Member::given("rates", Type::List(&RATE), "The rates of requests that pass; requests above get 429."),
        Member::given("concurrent", Type::Count, "Most requests that are served at once; others wait."),
        Member::given("leases", Type::Count, "Most live leases."),
        Member::given("lease_seconds", Type::Count, "Longest life of a lease; absent where Vault decides.").or_absent(),
        Member::given(
            "token_seconds",
            Type::Count,
            "Life of the token that Vault is asked with; absent where Vault decides, or it is the gate's.",
        )
        .or_absent(),
    ],
};

static RATE: Shape = Shape {
    about: "One rate.",
    members: &[
        Member::given(
            "role",
            Type::Text,
            "The role whose requests are limited; without role and operation, all requests are.",
        )
        .or_absent(),
        Member::given("operation", Type::Text, "The operation that is limited.").or_absent(),
        Member::given("requests_per_minute", Type::Number, "The sustained rate."),
        Member::given("at_once", Type::Count, "The size of a burst."),
    ],
};

#[derive(Serialize)]
struct Access<'a> {
    agent: &'a str,
    subject: &'a str,
    proof: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    scopes: Vec<Scope>,
    roles: Vec<&'a str>,
    namespace: &'a str,
    grants: Vec<Granted<'a>>,
    denied: Vec<String>,
    limits: Limits<'a>,
}

#[derive(Serialize)]
struct Granted<'a> {
    engine: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    shared: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'static str>,
    scopes: Vec<Scope>,
    role: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bounds: Vec<String>,
}

#[derive(Serialize)]
struct Limits<'a> {
    rates: Vec<Rated<'a>>,
    concurrent: usize,
    leases: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_seconds: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_seconds: Option<u32>,
}

#[derive(Serialize)]
struct Rated<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'static str>,
    requests_per_minute: f64,
    at_once: u32,
}

/// Writes the answer.
pub(super) fn tell(agent: &Agent, presented: Presented, out: &mut Vec<u8>) {
    let Presented { scopes, proof, expires } = presented;
    let roles = || agent.roles.iter().map(|(role, _)| &**role);
    let access = Access {
        agent: agent.id.as_str(),
        subject: agent.id.as_str(),
        proof: proof.name(),
        expires: expires.and_then(|time| Timestamp::from_second(time).ok()).map(|time| time.to_string()),
        scopes: scopes.iter().collect(),
        roles: roles().map(|role| &*role.name).collect(),
        namespace: agent.namespace.as_str(),
        grants: roles().flat_map(|role| granted(role, scopes)).collect(),
        denied: roles().flat_map(|role| role.deny.iter().map(PathPattern::to_string)).collect(),
        limits: limits(agent),
    };
    // Writing to a vector cannot fail, and the type has no map with odd keys.
    let _ = serde_json::to_writer(out, &access);
}

/// The grants of the role, for a credential with these scopes.
fn granted(role: &Role, scopes: Scopes) -> Vec<Granted<'_>> {
    let held: Vec<Scope> = role.scopes.iter().filter(|scope| scopes.contains(*scope)).collect();
    let grant = |key, engine: Option<Engine>, name: Option<Box<str>>| Granted {
        engine: engine.map_or(Space::Own.key(), Engine::name),
        shared: engine.is_none().then_some(key == Space::Shared.key()),
        about: role.about(key, name.as_deref()),
        name,
        operation: None,
        scopes: held.clone(),
        role: &role.name,
        bounds: role.bounds(engine),
    };
    if held.is_empty() {
        return Vec::new();
    }
    let named = role.grants().map(|(key, engine, held)| grant(key, engine, Grant::written(held)));
    let nameless = CATALOG.iter().map(|entry| entry.spec).filter(|spec| !spec.named).filter_map(|spec| {
        let (engine, scope) = (spec.engine?, spec.scope.filter(|scope| held.contains(scope))?);
        Some(Granted { operation: Some(spec.name), scopes: vec![scope], ..grant(engine.name(), Some(engine), None) })
    });
    named.chain(nameless).collect()
}

fn limits(agent: &Agent) -> Limits<'_> {
    let rated = |limit: &Limit| Rated {
        role: None,
        operation: None,
        requests_per_minute: limit.rate.per_minute(),
        at_once: limit.rate.burst(),
    };
    let all = agent.limit.iter().map(rated);
    let roles = agent.roles.iter().filter_map(|(role, limit)| {
        let limit = limit.as_ref()?;
        Some(Rated { role: Some(&role.name), ..rated(limit) })
    });
    let operations = agent.operations.iter().map(|(name, limit)| Rated { operation: Some(*name), ..rated(limit) });
    Limits {
        rates: all.chain(roles).chain(operations).collect(),
        concurrent: agent.terms.concurrent,
        leases: agent.terms.leases,
        lease_seconds: agent.terms.lease_ttl,
        token_seconds: agent.terms.token_ttl,
    }
}
