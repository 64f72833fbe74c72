//! Decisions, and the requests that they become.

mod concerns;
mod conditions;
mod handles;
mod kms;
mod verdict;

use super::*;
use crate::catalog::{self, CATALOG};
use crate::grants::Agent;
use crate::grants::Engine;
use crate::handle::{Purpose, StandsFor};
use crate::identity::Proof;
use crate::names::{AgentId, Namespace};
use crate::pattern::{NamePattern, PathPattern};
use crate::quota::Terms;
use crate::scope::Scopes;
use proptest::prelude::*;
use serde_json::json;

fn role(scopes: &[Scope], kv: &[&str], shared: &[&str], deny: &[&str]) -> Role {
    let patterns = |texts: &[&str]| texts.iter().map(|t| PathPattern::parse(t).unwrap()).collect();
    Role {
        name: "r".into(),
        scopes: scopes.iter().copied().collect(),
        kv: patterns(kv),
        shared: patterns(shared),
        named: of_vault().map(|engine| (engine, names("k"))).collect(),
        deny: patterns(deny),
        ..Role::default()
    }
}

/// The engines of Vault whose resources are names.
fn of_vault() -> impl Iterator<Item = Engine> {
    CATALOG.engines().filter(|engine| engine.names().is_some() && engine.default_mount().is_some())
}

fn names(name: &str) -> Vec<NamePattern> {
    vec![NamePattern::parse(name).unwrap()]
}

fn identity(scopes: Scopes, roles: Vec<Role>) -> Identity {
    let roles = roles.into_iter().map(|role| (Arc::new(role), None)).collect();
    let agent = Agent {
        id: AgentId::parse("bob").unwrap(),
        generation: 1,
        namespace: Namespace::default(),
        roles_policy: "".into(),
        tally: Arc::default(),
        roles,
        limit: None,
        operations: Vec::new(),
        terms: Terms::default(),
    };
    Identity::new(Arc::new(agent), scopes, Proof::Certificate)
}

fn asked(identity: &Identity, name: &str, arguments: &str) -> Result<String, Refusal> {
    let operation = catalog::find(name).unwrap().parse(arguments.as_bytes())?;
    let (layout, keyring) = (CATALOG.layout(), Keyring::default());
    let ground = DecisionContext { layout: &layout, keyring: &keyring, client: None, now: 0 };
    match decide(identity, operation, ground)?.into_permitted(&layout, 60)?.effect {
        Effect::Vault(request) | Effect::Issue(_, _, request) => Ok(format!("{:?}", request.rendered())),
        Effect::Pass(passing) => Ok(format!("{:?}", passing.request.rendered())),
        Effect::Redeem(redeemed) => Ok(format!("{:?}", redeemed.request)),
        Effect::Kms(request) => Ok(format!("{request:?}")),
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
        ("kv.delete_versions", r#"{"path":"a","versions":[1]}"#, "POST /v1/secret/delete/mcp/bob/a"),
        ("kv.undelete", r#"{"path":"a","versions":[1]}"#, "POST /v1/secret/undelete/mcp/bob/a"),
        ("kv.destroy", r#"{"path":"a","versions":[1]}"#, "POST /v1/secret/destroy/mcp/bob/a"),
        ("kv.patch", r#"{"path":"a","data":{"x":null}}"#, "PATCH /v1/secret/data/mcp/bob/a"),
        ("kv.metadata", r#"{"path":"a"}"#, "GET /v1/secret/metadata/mcp/bob/a"),
        ("kv.write_metadata", r#"{"path":"a","max_versions":2}"#, "POST /v1/secret/metadata/mcp/bob/a"),
        ("kv.patch_metadata", r#"{"path":"a","shared":false}"#, "PATCH /v1/secret/metadata/mcp/bob/a"),
        ("transit.random", "{}", "POST /v1/transit/random/32"),
        ("transit.encrypt", r#"{"key":"k","plaintext":""}"#, "POST /v1/transit/encrypt/k"),
        ("transit.decrypt", r#"{"key":"k","ciphertext":"c"}"#, "POST /v1/transit/decrypt/k"),
        ("transit.rewrap", r#"{"key":"k","ciphertext":"c"}"#, "POST /v1/transit/rewrap/k"),
        ("transit.generate_data_key", r#"{"key":"k"}"#, "POST /v1/transit/datakey/plaintext/k"),
        ("transit.sign", r#"{"key":"k","input":""}"#, "POST /v1/transit/sign/k"),
        ("transit.verify", r#"{"key":"k","input":"","hmac":"h"}"#, "POST /v1/transit/verify/k"),
        ("transit.hmac", r#"{"key":"k","input":""}"#, "POST /v1/transit/hmac/k"),
        ("db.issue_creds", r#"{"role":"k"}"#, "GET /v1/database/creds/k"),
        ("ssh.sign", r#"{"role":"k","public_key":"x"}"#, "POST /v1/ssh/sign/k"),
        ("ssh.otp", r#"{"role":"k","ip":"192.0.2.1","username":"u"}"#, "POST /v1/ssh/creds/k"),
        ("pki.issue", r#"{"role":"k","common_name":"c"}"#, "POST /v1/pki/issue/k"),
        ("pki.sign", r#"{"role":"k","csr":"x"}"#, "POST /v1/pki/sign/k"),
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
fn what_is_demanded_must_be_in_the_same_role() {
    let bounded = Role {
        ssh_principals: Some([names("ops"), names("dep*")].concat()),
        ssh_extensions: Some(names("permit-pty")),
        max_ttl: Some(600),
        ..role(&Scope::ALL, &[], &[], &[])
    };
    let bob = identity(Scopes::ALL, vec![bounded]);
    let sign = |more: &str| asked(&bob, "ssh.sign", &format!(r#"{{"role":"k","public_key":"x"{more}}}"#));
    for allowed in [
        r#","valid_principals":"ops""#,
        r#","valid_principals":"ops, deploy","ttl":"10m""#,
        r#","valid_principals":"ops","ttl":600,"extensions":{"permit-pty":""}"#,
        r#","valid_principals":"ops","extensions":{}"#,
    ] {
        assert!(sign(allowed).is_ok(), "{allowed}");
    }
    for refused in [
        "",
        r#","valid_principals":"root""#,
        r#","valid_principals":"ops,root""#,
        r#","valid_principals":"ops","ttl":601"#,
        r#","valid_principals":"ops","extensions":{"permit-port-forwarding":""}"#,
        r#","valid_principals":"ops","extensions":{"permit-pty":"","permit-port-forwarding":""}"#,
    ] {
        assert_eq!(sign(refused), Err(Refusal::Forbidden), "{refused}");
    }
    for wrong in [r#","valid_principals":"""#, r#","valid_principals":"ops,,x""#, r#","valid_principals":"a b""#] {
        assert!(matches!(sign(wrong), Err(Refusal::Arguments(_))), "{wrong}");
    }
    assert!(asked(&bob, "ssh.otp", r#"{"role":"k","ip":"::1","username":"ops"}"#).is_ok());
    assert_eq!(asked(&bob, "ssh.otp", r#"{"role":"k","ip":"::1","username":"root"}"#), Err(Refusal::Forbidden));
    assert_eq!(asked(&bob, "pki.issue", r#"{"role":"k","common_name":"c","ttl":"11m"}"#), Err(Refusal::Forbidden));
}

/// The body of what is asked of Vault.
fn body(identity: &Identity, name: &str, arguments: &str) -> serde_json::Value {
    let operation = catalog::find(name).unwrap().parse(arguments.as_bytes()).unwrap();
    let (layout, keyring) = (CATALOG.layout(), Keyring::default());
    let ground = DecisionContext { layout: &layout, keyring: &keyring, client: None, now: 0 };
    match decide(identity, operation, ground).unwrap().into_permitted(&layout, 60).unwrap().effect {
        Effect::Vault(request) | Effect::Issue(_, _, request) => {
            serde_json::from_slice(request.rendered().body().unwrap()).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_longest_life_of_the_role_is_asked_for_where_the_caller_names_none() {
    let bounded = Role { max_ttl: Some(600), ..role(&Scope::ALL, &[], &[], &[]) };
    let (bob, free) =
        (identity(Scopes::ALL, vec![bounded]), identity(Scopes::ALL, vec![role(&Scope::ALL, &[], &[], &[])]));
    for (name, arguments) in
        [("ssh.sign", r#"{"role":"k","public_key":"x"}"#), ("pki.issue", r#"{"role":"k","common_name":"c"}"#)]
    {
        assert_eq!(body(&bob, name, arguments)["ttl"], "600s");
        assert_eq!(body(&free, name, arguments)["ttl"], serde_json::Value::Null);
        let named = arguments.replace('}', r#","ttl":"1m"}"#);
        assert_eq!(body(&bob, name, &named)["ttl"], "60s");
    }
}

#[test]
fn the_extensions_of_the_role_are_asked_for_where_the_caller_names_none() {
    let with = |bound: Option<&[&str]>, max_ttl| {
        let patterns = |list: &[&str]| list.iter().map(|text| NamePattern::parse(text).unwrap()).collect();
        let role = Role { ssh_extensions: bound.map(patterns), max_ttl, ..role(&Scope::ALL, &[], &[], &[]) };
        identity(Scopes::ALL, vec![role])
    };
    let sign = |more: &str| format!(r#"{{"role":"k","public_key":"x"{more}}}"#);
    for unsaid in ["", r#","extensions":null"#, r#","extensions":{}"#, r#","cert_type":"host""#] {
        let sent = |who: &Identity| body(who, "ssh.sign", &sign(unsaid));
        let none = serde_json::Value::Null;
        let forwarding = json!({"permit-port-forwarding": ""});
        assert_eq!(sent(&with(Some(&["permit-port-forwarding"]), None))["extensions"], forwarding, "{unsaid}");
        let both = sent(&with(Some(&["a", "b"]), Some(60)));
        assert_eq!((&both["extensions"], &both["ttl"]), (&json!({"a": "", "b": ""}), &json!("60s")), "{unsaid}");
        // Where nothing is bounded, Vault's role decides.
        for free in [None, Some(&["*"][..]), Some(&["a", "*"][..])] {
            assert_eq!(sent(&with(free, None))["extensions"], none, "{unsaid}");
        }
        // What cannot be named cannot be asked for, nor can nothing.
        for bound in [&[][..], &["permit-*"], &["a", "permit-*"]] {
            let refused = asked(&with(Some(bound), None), "ssh.sign", &sign(unsaid));
            assert_eq!(refused, Err(Refusal::Forbidden), "{unsaid} {bound:?}");
        }
    }
    let named = sign(r#","extensions":{"permit-pty":""}"#);
    let some = body(&with(Some(&["permit-*"]), None), "ssh.sign", &named);
    assert_eq!(some["extensions"], json!({"permit-pty": ""}));
    assert_eq!(asked(&with(Some(&[]), None), "ssh.sign", &named), Err(Refusal::Forbidden));
    // A password carries none.
    let password = r#"{"role":"k","ip":"::1","username":"ops"}"#;
    assert!(asked(&with(Some(&[]), None), "ssh.otp", password).is_ok());
    // A role that comes later does not lend what it allows.
    let pty = Role { ssh_extensions: Some(names("permit-pty")), ..role(&Scope::ALL, &[], &[], &[]) };
    let none = Role { ssh_extensions: Some(Vec::new()), ..role(&Scope::ALL, &[], &[], &[]) };
    let two = identity(Scopes::ALL, vec![none, pty]);
    assert_eq!(body(&two, "ssh.sign", &sign(""))["extensions"], json!({"permit-pty": ""}));
}

#[test]
fn no_grant_gives_a_key_of_the_gates_own() {
    let every = Role { named: [(catalog::TRANSIT, names("*"))].into(), ..role(&Scope::ALL, &[], &[], &[]) };
    let bob = identity(Scopes::ALL, vec![every]);
    let of = |key| format!("{{\"key\":\"{key}\",\"input\":\"\"}}");
    assert!(asked(&bob, "transit.hmac", &of("portcullis")).is_ok());
    assert_eq!(asked(&bob, "transit.hmac", &of("portcullis-handles")), Err(Refusal::Forbidden));
    let layout = Layout { audit_keys: vec!["portcullis-notes".into()], ..CATALOG.layout() };
    let ground = DecisionContext { layout: &layout, keyring: &Keyring::default(), client: None, now: 0 };
    for (key, allowed) in [("portcullis-notes", false), ("portcullis-note", true)] {
        let operation = catalog::find("transit.sign").unwrap().parse(of(key).as_bytes()).unwrap();
        assert_eq!(decide(&bob, operation, ground).is_ok(), allowed, "{key}");
    }
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
