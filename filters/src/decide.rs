//! The decision, and the only way from it to Vault (invariants 1, 2 and 7).
//!
//! A [`Permit`] has private fields and no constructor but [`decide`]:
//!
//! ```compile_fail
//! use filters::{decide::Permit, grants::Agent, operation::Operation};
//! fn forge(agent: std::sync::Arc<Agent>, operation: Operation) -> Permit {
//!     Permit { agent, role: None, operation, answer: Vec::new() }
//! }
//! ```
//!
//! and what reaches Vault for an agent has no constructor but a permit:
//!
//! ```compile_fail
//! use filters::{path::VaultPath, vault::{Method, VaultRequest}};
//! fn forge(path: VaultPath) -> VaultRequest {
//!     VaultRequest::new(Method::Get, path, None, true)
//! }
//! ```

use std::sync::Arc;

use crate::grants::{Agent, Engine, Limit, Resource, Role, Space};
use crate::identity::Identity;
use crate::operation::{Ask, Entry, Operation};
use crate::path::{SecretPath, VaultPath};
use crate::refusal::Refusal;
use crate::vault::{Layout, VaultRequest};

/// An operation that this agent may do now. Consumed by [`Permit::into_effect`].
#[derive(Debug)]
pub struct Permit {
    agent: Arc<Agent>,
    role: Option<(Arc<Role>, Option<Limit>)>,
    operation: Operation,
    answer: Vec<u8>,
}

/// What a permit turns into.
#[derive(Debug)]
pub enum Effect {
    /// Ask Vault with the agent's own token.
    Vault(VaultRequest),
    /// The gate's own answer, a JSON object.
    Own(Vec<u8>),
}

/// Whether `identity` may do `operation`: the credential carries the scope,
/// one role of the agent's holds scope and resource both, and none denies.
///
/// # Errors
/// [`Refusal::InsufficientScope`] where only the credential is short of it,
/// [`Refusal::Forbidden`] for everything else.
pub fn decide(identity: &Identity, operation: Operation) -> Result<Permit, Refusal> {
    let agent = Arc::clone(&identity.agent);
    let mut answer = Vec::new();
    let role = match (operation.kind.facts.scope, &operation.resource, &operation.ask) {
        (None, None, Ask::Own(own)) => {
            own(identity, &mut answer);
            None
        }
        (Some(scope), Some(resource), Ask::Vault { .. }) => {
            if !identity.scopes.contains(scope) {
                return Err(Refusal::InsufficientScope(scope));
            }
            Some(agent.role_for(scope, resource).ok_or(Refusal::Forbidden)?.clone())
        }
        _ => return Err(Refusal::Forbidden),
    };
    Ok(Permit { agent, role, operation, answer })
}

impl Permit {
    /// The name of the role that allowed; none where none was needed.
    #[must_use]
    pub fn role(&self) -> Option<&Arc<Role>> {
        self.role.as_ref().map(|(role, _)| role)
    }

    /// What kind of operation it is.
    #[must_use]
    pub const fn kind(&self) -> &'static Entry {
        self.operation.kind
    }

    /// Charges the limit of the role that allowed, if it has one, at `now`
    /// nanoseconds.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`].
    pub fn charge(&self, now: u64) -> Result<(), Refusal> {
        match &self.role {
            Some((_, Some(limit))) => limit.cell.charge(&limit.rate, now).map_err(Refusal::RateLimited),
            _ => Ok(()),
        }
    }

    /// What is done: the request to Vault, rendered below the agent's own
    /// namespace, or the gate's own answer.
    ///
    /// # Errors
    /// [`Refusal::Path`] where the rendered path would not be plain.
    pub fn into_effect(self, layout: &Layout) -> Result<Effect, Refusal> {
        let Ask::Vault { method, api, query, body, repeatable } = self.operation.ask else {
            return Ok(Effect::Own(self.answer));
        };
        let resource = self.operation.resource.ok_or(Refusal::Internal)?;
        let path = render(layout, &self.agent, &resource, &api)?;
        let path = match query {
            Some((name, number)) => path.with_number(name, number),
            None => path,
        };
        Ok(Effect::Vault(VaultRequest::new(method, path, body, repeatable)))
    }
}

fn render(layout: &Layout, agent: &Agent, resource: &Resource, api: &str) -> Result<VaultPath, Refusal> {
    let (space, path) = match resource {
        Resource::Secret(space, path) => (*space, Some(path)),
        Resource::Names(space, prefix) => (*space, prefix.as_ref()),
        Resource::Nameless(Engine::Transit) => {
            return Ok(VaultPath::render(&[&layout.transit_mount, api])?);
        }
        Resource::Key(Engine::Transit, name) => {
            return Ok(VaultPath::render(&[&layout.transit_mount, api, name])?);
        }
        Resource::Key(Engine::Kv, _) | Resource::Nameless(Engine::Kv) => return Err(Refusal::Internal),
    };
    let path = path.map(SecretPath::as_str);
    let mut parts = [&*layout.kv_mount, api, "", "", ""];
    let head: &[&str] = match space {
        Space::Own => &[&layout.own_prefix, agent.id.as_str()],
        Space::Shared => &[&layout.shared_prefix],
    };
    let mut length = 2;
    for (place, part) in parts.iter_mut().skip(2).zip(head.iter().copied().chain(path)) {
        *place = part;
        length += 1;
    }
    Ok(VaultPath::render(parts.get(..length).ok_or(Refusal::Internal)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;
    use crate::grants::{NamePattern, PathPattern};
    use crate::identity::Proof;
    use crate::names::AgentId;
    use crate::scope::{Scope, Scopes};
    use proptest::prelude::*;

    fn layout() -> Layout {
        Layout {
            kv_mount: "secret".into(),
            transit_mount: "transit".into(),
            own_prefix: "mcp".into(),
            shared_prefix: "shared".into(),
        }
    }

    fn role(scopes: &[Scope], kv: &[&str], shared: &[&str], deny: &[&str]) -> Role {
        let patterns = |texts: &[&str]| texts.iter().map(|t| PathPattern::parse(t).unwrap()).collect();
        Role {
            name: "r".into(),
            scopes: scopes.iter().copied().collect(),
            kv: patterns(kv),
            shared: patterns(shared),
            transit: vec![NamePattern::Exact("k".into())],
            deny: patterns(deny),
            ..Role::default()
        }
    }

    fn identity(scopes: Scopes, roles: Vec<Role>) -> Identity {
        let roles = roles.into_iter().map(|role| (Arc::new(role), None)).collect();
        let agent = Agent { id: AgentId::parse("bob").unwrap(), roles, limit: None };
        Identity { agent: Arc::new(agent), scopes, proof: Proof::Certificate }
    }

    fn asked(identity: &Identity, name: &str, arguments: &str) -> Result<String, Refusal> {
        let operation = catalog::find(name).unwrap().parse(arguments.as_bytes())?;
        match decide(identity, operation)?.into_effect(&layout())? {
            Effect::Vault(request) => Ok(format!("{request:?}")),
            Effect::Own(answer) => Ok(String::from_utf8(answer).unwrap()),
        }
    }

    #[test]
    fn each_operation_asks_vault_below_the_agents_own_namespace() {
        let bob = identity(Scopes::ALL, vec![role(&Scope::ALL, &["**"], &["team/**"], &[])]);
        for (name, arguments, request) in [
            ("kv.read", r#"{"path":"a/b c"}"#, "GET /v1/secret/data/mcp/bob/a/b%20c"),
            ("kv.read", r#"{"path":"a","version":3}"#, "GET /v1/secret/data/mcp/bob/a?version=3"),
            ("kv.read", r#"{"path":"team/x","shared":true}"#, "GET /v1/secret/data/shared/team/x"),
            ("kv.write", r#"{"path":"a","data":{"x":1}}"#, "POST /v1/secret/data/mcp/bob/a"),
            ("kv.delete", r#"{"path":"a"}"#, "DELETE /v1/secret/data/mcp/bob/a"),
            ("kv.list", "{}", "LIST /v1/secret/metadata/mcp/bob"),
            ("kv.list", r#"{"prefix":"a/"}"#, "LIST /v1/secret/metadata/mcp/bob/a"),
            ("kv.undelete", r#"{"path":"a","versions":[1]}"#, "POST /v1/secret/undelete/mcp/bob/a"),
            ("kv.destroy", r#"{"path":"a","versions":[1]}"#, "POST /v1/secret/destroy/mcp/bob/a"),
            ("kv.patch", r#"{"path":"a","data":{"x":null}}"#, "PATCH /v1/secret/data/mcp/bob/a"),
            ("kv.metadata", r#"{"path":"a"}"#, "GET /v1/secret/metadata/mcp/bob/a"),
            ("transit.random", "{}", "POST /v1/transit/random/32"),
            ("transit.encrypt", r#"{"key":"k","plaintext":""}"#, "POST /v1/transit/encrypt/k"),
            ("transit.decrypt", r#"{"key":"k","ciphertext":"c"}"#, "POST /v1/transit/decrypt/k"),
            ("transit.rewrap", r#"{"key":"k","ciphertext":"c"}"#, "POST /v1/transit/rewrap/k"),
            ("transit.generate_data_key", r#"{"key":"k"}"#, "POST /v1/transit/datakey/plaintext/k"),
            ("transit.sign", r#"{"key":"k","input":""}"#, "POST /v1/transit/sign/k"),
            ("transit.verify", r#"{"key":"k","input":"","hmac":"h"}"#, "POST /v1/transit/verify/k"),
            ("transit.hmac", r#"{"key":"k","input":""}"#, "POST /v1/transit/hmac/k"),
        ] {
            assert_eq!(asked(&bob, name, arguments).as_deref(), Ok(request));
        }
        let me: serde_json::Value = serde_json::from_str(&asked(&bob, "whoami", "{}").unwrap()).unwrap();
        assert_eq!(me["agent"], "bob");
        assert_eq!(me["scopes"], serde_json::json!(["read", "write", "delete", "list"]));
    }

    #[test]
    fn one_role_must_hold_scope_and_resource_both() {
        let bob = identity(
            Scopes::ALL,
            vec![role(&[Scope::Read], &["prod/**"], &[], &[]), role(&[Scope::Write], &["dev/**"], &[], &[])],
        );
        let refused = Err(Refusal::Forbidden);
        assert!(asked(&bob, "kv.read", r#"{"path":"prod/x"}"#).is_ok());
        assert!(asked(&bob, "kv.write", r#"{"path":"dev/x","data":{}}"#).is_ok());
        assert_eq!(asked(&bob, "kv.write", r#"{"path":"prod/x","data":{}}"#), refused);
        assert_eq!(asked(&bob, "kv.read", r#"{"path":"dev/x"}"#), refused);
        assert_eq!(asked(&bob, "kv.read", r#"{"path":"prod/x","shared":true}"#), refused);
        assert_eq!(asked(&bob, "kv.list", r#"{"prefix":"prod"}"#), refused);
    }

    #[test]
    fn a_deny_wins_over_every_role() {
        let bob = identity(Scopes::ALL, vec![role(&Scope::ALL, &["**"], &[], &[]), role(&[], &[], &[], &["prod/**"])]);
        assert!(asked(&bob, "kv.read", r#"{"path":"dev/x"}"#).is_ok());
        assert_eq!(asked(&bob, "kv.read", r#"{"path":"prod/x"}"#), Err(Refusal::Forbidden));
        assert_eq!(asked(&bob, "kv.list", r#"{"prefix":"prod"}"#), Err(Refusal::Forbidden));
    }

    #[test]
    fn a_scope_that_only_the_credential_lacks_is_told_apart() {
        let bob = identity([Scope::List].into_iter().collect(), vec![role(&Scope::ALL, &["**"], &[], &[])]);
        assert_eq!(asked(&bob, "kv.read", r#"{"path":"x"}"#), Err(Refusal::InsufficientScope(Scope::Read)));
        let nobody = identity(Scopes::ALL, vec![]);
        assert_eq!(asked(&nobody, "kv.read", r#"{"path":"x"}"#), Err(Refusal::Forbidden));
        assert_eq!(asked(&nobody, "transit.random", "{}"), Err(Refusal::Forbidden));
        let keyed = identity(Scopes::ALL, vec![role(&Scope::ALL, &[], &[], &[])]);
        let other = r#"{"key":"another","plaintext":""}"#;
        assert_eq!(asked(&keyed, "transit.encrypt", other), Err(Refusal::Forbidden));
    }

    #[test]
    fn arguments_that_do_not_fit_are_named_without_their_value() {
        let bob = identity(Scopes::ALL, vec![role(&Scope::ALL, &["**"], &[], &[])]);
        for (name, arguments, pointer) in [
            ("kv.read", r#"{"path":"x","version":"hunter2"}"#, "/version"),
            ("kv.read", r#"{"path":"x","hunter2":1}"#, ""),
            ("kv.read", r#"{"version":1}"#, ""),
            ("kv.read", r#"{"path":"x","path":"hunter2"}"#, ""),
            ("kv.read", r#"{"path":"x","version":0}"#, "/version"),
            ("kv.write", r#"{"path":"x","data":"hunter2"}"#, "/data"),
            ("kv.write", r#"{"path":"x","data":{},"cas":"hunter2, expected hunter2"}"#, "/cas"),
            ("kv.undelete", r#"{"path":"x","versions":[]}"#, "/versions"),
            ("kv.undelete", r#"{"path":"x","versions":[1,"hunter2"]}"#, "/versions/1"),
            ("transit.random", r#"{"bytes":0}"#, "/bytes"),
            ("transit.encrypt", r#"{"key":"k"}"#, ""),
            ("transit.encrypt", r#"{"key":"k","batch_input":[{"plaintext":1}]}"#, "/batch_input/0/plaintext"),
            ("transit.sign", r#"{"key":"k","input":"","hash_algorithm":"hunter2"}"#, "/hash_algorithm"),
            ("transit.verify", r#"{"key":"k","input":""}"#, ""),
            ("transit.generate_data_key", r#"{"key":"k","bits":7}"#, "/bits"),
            ("transit.random", r#"{"format":"hunter2"}"#, "/format"),
        ] {
            let refusal = asked(&bob, name, arguments).unwrap_err();
            let Refusal::Arguments(misfit) = refusal else { panic!("{arguments}: {refusal:?}") };
            assert_eq!(misfit.pointer, pointer, "{arguments}: {misfit:?}");
            assert!(!misfit.expected.contains("hunter2"), "{misfit:?}");
        }
        assert!(matches!(asked(&bob, "kv.read", "{"), Err(Refusal::Malformed(_))));
        assert!(matches!(asked(&bob, "kv.read", r#"{"path":"../x"}"#), Err(Refusal::Path(_))));
    }

    proptest! {
        #[test]
        fn removing_a_grant_never_widens_access(
            patterns in prop::collection::vec(("[ab*]|\\*\\*", "[ab*]|\\*\\*"), 1..5),
            removed in 0_usize..5,
            path in "[ab](/[ab]){0,2}",
            name in prop::sample::select(vec!["kv.read", "kv.list", "kv.write"]),
        ) {
            let texts: Vec<String> = patterns.iter()
                .map(|(a, b)| if a == "**" { a.clone() } else { format!("{a}/{b}") })
                .collect();
            let fewer: Vec<&str> = texts.iter().enumerate().filter(|(i, _)| *i != removed).map(|(_, t)| t.as_str()).collect();
            let all: Vec<&str> = texts.iter().map(String::as_str).collect();
            let arguments = match name {
                "kv.list" => format!(r#"{{"prefix":"{path}"}}"#),
                "kv.write" => format!(r#"{{"path":"{path}","data":{{}}}}"#),
                _ => format!(r#"{{"path":"{path}"}}"#),
            };
            let with = asked(&identity(Scopes::ALL, vec![role(&Scope::ALL, &all, &[], &[])]), name, &arguments);
            let without = asked(&identity(Scopes::ALL, vec![role(&Scope::ALL, &fewer, &[], &[])]), name, &arguments);
            prop_assert!(with.is_ok() || without.is_err());
            if let Ok(request) = with {
                let inside = request.contains("/mcp/bob/");
                prop_assert!(inside);
            }
        }
    }
}
