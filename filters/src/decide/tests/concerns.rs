//! Concerns: the resource that records name, of an allowed operation and of a refused one.

use super::*;
use crate::grants::{Mode, Space};
use crate::notes::Note;
use crate::path::SecretPath;
use crate::shape::{Member, Projection, Shape, Type};

/// The concern of an operation that was decided, and true where it is permitted.
fn concern(who: &Identity, name: &str, json: &str, keyring: &Keyring, layout: &Layout) -> (bool, Concern) {
    let operation = catalog::find(name).unwrap().parse(json.as_bytes()).unwrap();
    let ground = DecisionContext { layout, keyring, client: None, now: 1 };
    match decide(who, operation, ground).and_then(|permit| permit.into_permitted(layout, 60)) {
        Ok(permitted) => (true, permitted.concern),
        Err(refused) => (false, refused.concern),
    }
}

/// Its notes, as text.
fn notes(concern: &Concern) -> String {
    let one = |(name, note): (&str, &Note)| match note {
        Note::Number(number) => format!("{name}={number}"),
        Note::Numbers(numbers) => format!("{name}={numbers:?}"),
        Note::Flag(flag) => format!("{name}={flag}"),
        Note::Text(text) | Note::Name(text) => format!("{name}={text}"),
        Note::Fields(fields) => format!("{name}={:?} +{}", fields.names, fields.more),
    };
    concern.notes.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_refusal_says_by_which_rule() {
    let (layout, keyring) = (CATALOG.layout(), Keyring::new([]));
    let named = |name: &str, role: Role| Role { name: name.into(), ..role };
    let night = named("night", role(&[Scope::Read], &["b/**"], &[], &[]));
    let writer = named("writer", role(&[Scope::Write], &["**"], &[], &[]));
    let denying = named("denying", role(&[Scope::Read], &["**"], &[], &["a/*"]));
    for (scopes, roles, told) in [
        (Scopes::ALL, vec![], "why=the agent has no role"),
        (Scopes::ALL, vec![night, writer], "why=no role grants it: night lacks a grant, writer lacks the scope"),
        (Scopes::ALL, vec![denying], "deny=a/*, why=role denying denies it"),
        ([Scope::Write].into_iter().collect(), vec![], "why=the credential lacks the scope read"),
    ] {
        let who = identity(scopes, roles);
        let (permitted, concern) = concern(&who, "kv.read", r#"{"path":"a/b"}"#, &keyring, &layout);
        assert!(!permitted);
        assert_eq!(notes(&concern), told);
    }
}

/// An answer of Vault's as it is.
static PASSED: Shape = Shape {
    about: "",
    members: &[
        Member::new("data", &["data"], Type::Any, "").or_absent(),
        Member::new("wrap_info", &["wrap_info"], Type::Any, "").or_absent(),
    ],
};

#[test]
fn a_role_that_observes_is_asked_last_and_noted() {
    let (layout, keyring) = (CATALOG.layout(), Keyring::new([]));
    let observing =
        || Role { name: "wide".into(), mode: Mode::Observe, ..role(&[Scope::Read], &["**"], &[], &["x/*"]) };
    let granting = Role { name: "narrow".into(), ..role(&[Scope::Read], &["a/*"], &[], &[]) };
    let both = identity(Scopes::ALL, vec![observing(), granting]);
    let observer = identity(Scopes::ALL, vec![observing()]);
    for (who, path, permitted, told) in [
        (&both, "a/b", true, ""),
        (&both, "b/c", true, "observed=true, why=no role grants it: narrow lacks a grant"),
        (&observer, "b/c", true, "observed=true, why=no role grants it"),
        (&both, "x/y", false, "deny=x/*, why=role wide denies it"),
    ] {
        let (allowed, concern) = concern(who, "kv.read", &format!(r#"{{"path":"{path}"}}"#), &keyring, &layout);
        assert_eq!((allowed, notes(&concern).as_str()), (permitted, told), "{path}");
    }
}

#[test]
fn an_answer_tells_what_it_was_and_no_value() {
    let read =
        r#"{"data":{"data":{"user":"x","data":{"z":1}},"metadata":{"version":3,"created_time":"t"}},"version":9}"#;
    for (name, answer, version, told) in [
        ("kv.read", read, Some(3), r#"keys=["user", "data"] +0"#),
        ("kv.write", r#"{"data":{"version":7,"created_time":"t"}}"#, Some(7), ""),
        ("kv.list", r#"{"request_id":"r","data":{"keys":["a","b/"]},"keys":[]}"#, None, "count=2"),
        ("transit.verify", r#"{"data":{"valid":false}}"#, None, "valid=false"),
        ("transit.encrypt", r#"{"data":{"ciphertext":"c","key_version":2}}"#, None, "key_version=2"),
        (
            "db.issue_creds",
            r#"{"lease_id":"l","renewable":true,"data":{"username":"u\u0041","password":"y"}}"#,
            None,
            "user=uA",
        ),
        ("kv.delete", "{}", None, ""),
    ] {
        let entry = catalog::find(name).unwrap();
        let whole = |mut machine: Projection| {
            let mut out = Vec::new();
            machine.push(answer.as_bytes(), &mut out).unwrap();
            machine.finish(&mut out).unwrap()
        };
        let passed = whole(Projection::new(&PASSED).telling(entry.shape));
        for noted in [entry.project(answer.as_bytes(), &[], &mut Vec::new()).unwrap(), passed] {
            let mut concern = Concern { notes: noted, ..Concern::default() };
            concern.answered();
            assert_eq!((concern.version, notes(&concern).as_str()), (version, told), "{name}");
        }
    }
}

#[test]
fn an_answer_that_is_none_of_the_operations_tells_nothing() {
    for (name, answer) in [
        ("kv.list", r#"{"data":["keys"]}"#),
        ("kv.list", r#"{"data":{"keys":{"a":1}}}"#),
        ("kv.read", r#"{"data":null,"wrap_info":{"token":"t"}}"#),
        ("kv.read", r#"{"wrap_info":{"data":{"data":{"a":1}}},"data":{"data":"s3cr3t","metadata":{"version":"3"}}}"#),
    ] {
        let shape = catalog::find(name).unwrap().shape;
        let (mut machine, mut out) = (Projection::new(&PASSED).telling(shape), Vec::new());
        machine.push(answer.as_bytes(), &mut out).unwrap();
        assert_eq!(machine.finish(&mut out).unwrap().iter().count(), 0, "{answer}");
    }
}

#[test]
fn an_operation_names_its_resource_whether_it_is_allowed_or_refused() {
    let layout = Layout { kms_default_key: Some("alias/own".into()), ..CATALOG.layout() };
    let keyring = Keyring::new([(1, [1; 32])]);
    let holds = [
        (catalog::DATABASE, names("k")),
        (catalog::TRANSIT, names("k")),
        (catalog::SSH, names("k")),
        (catalog::PKI, names("k")),
        (catalog::KMS, vec![NamePattern::parse_slashed("alias/*").unwrap()]),
    ];
    let bob = identity(Scopes::ALL, vec![Role { named: holds.into(), ..role(&Scope::ALL, &["a/**"], &[], &[]) }]);
    let nobody = identity(Scopes::ALL, Vec::new());
    let secret = |space, path: &str| Resource::Secret(space, SecretPath::parse(path).unwrap());
    let lease = Claims {
        operation: "db.issue_creds".into(),
        resource: Resource::Key("database".into(), "k".into()),
        expires: 100,
        stands_for: StandsFor::Lease { id: "database/creds/k/1234567890.ns1".into(), accessor: "a".into() },
    };
    let handle = keyring.seal(&lease, Binding { purpose: Purpose::Lease, agent: &bob.agent }).unwrap();
    let redeem = format!(r#"{{"lease_id":"{handle}"}}"#);
    let kms = r#"{"plaintext":"eA=="}"#;
    for (name, json, resource, version) in [
        ("kv.read", r#"{"path":"a/b","version":3}"#, Some(secret(Space::Own, "a/b")), Some(3)),
        ("kv.write", r#"{"path":"a/b","data":{"x":"y"}}"#, Some(secret(Space::Own, "a/b")), None),
        ("db.issue_creds", r#"{"role":"k"}"#, Some(Resource::Key(catalog::DATABASE, "k".into())), None),
        ("kms.encrypt", kms, Some(Resource::Key(catalog::KMS, "alias/own".into())), None),
        ("db.revoke", &redeem, Some(Resource::Key(catalog::DATABASE, "k".into())), None),
    ] {
        for (who, allowed) in [(&bob, true), (&nobody, false)] {
            let (permitted, Concern { resource: told, version: asked, .. }) =
                concern(who, name, json, &keyring, &layout);
            assert_eq!((permitted, &told, asked), (allowed, &resource, version), "{name}");
        }
    }
    for (name, json, noted) in [
        ("kv.write", r#"{"path":"a/b","data":{"user":"x","pass":{"y":1}}}"#, r#"keys=["user", "pass"] +0"#),
        ("kv.destroy", r#"{"path":"a/b","versions":[2,3]}"#, "versions=[2, 3]"),
        ("db.renew", &redeem, "lease_id_suffix=34567890"),
        ("ssh.otp", r#"{"role":"k","ip":"192.0.2.1","username":"deploy"}"#, "ip=192.0.2.1, user=deploy"),
        ("pki.issue", r#"{"role":"k","common_name":"a.example"}"#, "common_name=a.example"),
        ("kv.read", r#"{"path":"a/b"}"#, ""),
    ] {
        assert_eq!(notes(&concern(&bob, name, json, &keyring, &layout).1), noted, "{name}");
    }
    let (_, foreign) = concern(&bob, "db.revoke", r#"{"lease_id":"none"}"#, &keyring, &layout);
    assert!(foreign.resource.is_none(), "a handle that does not open says nothing");
    let (permitted, own) = concern(&nobody, "whoami", "{}", &keyring, &layout);
    assert!(permitted && own.resource.is_none());
}
