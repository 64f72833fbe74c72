//! What is allowed, and what it becomes.

use super::*;
use crate::catalog;
use crate::grants::{NamePattern, PathPattern};
use crate::identity::Proof;
use crate::names::AgentId;
use crate::scope::Scopes;
use crate::vault::Mounts;
use proptest::prelude::*;

fn layout() -> Layout {
    Layout {
        kv_mount: "secret".into(),
        mounts: Mounts { transit: "transit".into(), database: "database".into(), ssh: "ssh".into(), pki: "pki".into() },
        own_prefix: "mcp".into(),
        shared_prefix: "shared".into(),
        gate_prefix: "portcullis".into(),
        handle_key: "portcullis-handles".into(),
        kms_default_key: None,
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
    let agent = Agent { id: AgentId::parse("bob").unwrap(), generation: 1, roles, limit: None };
    Identity { agent: Arc::new(agent), scopes, proof: Proof::Certificate }
}

fn asked(identity: &Identity, name: &str, arguments: &str) -> Result<String, Refusal> {
    let operation = catalog::find(name).unwrap().parse(arguments.as_bytes())?;
    let (layout, keyring) = (layout(), Keyring::default());
    let ground = Ground { layout: &layout, keyring: &keyring, namespace: "", now: 0 };
    match decide(identity, operation, ground)?.into_effect(&layout)? {
        Effect::Vault(request) | Effect::Issue(_, _, request) => Ok(format!("{request:?}")),
        Effect::Redeem(redeemed) => Ok(format!("{:?}", redeemed.request)),
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
fn no_grant_gives_the_key_behind_handles() {
    let every = Role { transit: vec![NamePattern::parse("*").unwrap()], ..role(&Scope::ALL, &[], &[], &[]) };
    let bob = identity(Scopes::ALL, vec![every]);
    let of = |key| format!("{{\"key\":\"{key}\",\"input\":\"\"}}");
    assert!(asked(&bob, "transit.hmac", &of("portcullis")).is_ok());
    assert_eq!(asked(&bob, "transit.hmac", &of("portcullis-handles")), Err(Refusal::Forbidden));
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
