//! Concerns: the resource that records name, of an allowed operation and of a refused one.

use super::*;
use crate::grants::Space;
use crate::path::SecretPath;

/// The concern of an operation that was decided, and true where it is permitted.
fn concern(who: &Identity, name: &str, json: &str, keyring: &Keyring, layout: &Layout) -> (bool, Concern) {
    let operation = catalog::find(name).unwrap().parse(json.as_bytes()).unwrap();
    let ground = DecisionContext { layout, keyring, client: None, now: 1 };
    match decide(who, operation, ground).and_then(|permit| permit.into_permitted(layout, 60)) {
        Ok(permitted) => (true, permitted.concern),
        Err(refused) => (false, refused.concern),
    }
}

#[test]
fn an_operation_names_its_resource_whether_it_is_allowed_or_refused() {
    let layout = Layout { kms_default_key: Some("alias/own".into()), ..CATALOG.layout() };
    let keyring = Keyring::new([(1, [1; 32])]);
    let holds = [
        (catalog::DATABASE, names("k")),
        (catalog::TRANSIT, names("k")),
        (catalog::KMS, vec![NamePattern::parse_slashed("alias/*").unwrap()]),
    ];
    let bob = identity(Scopes::ALL, vec![Role { named: holds.into(), ..role(&Scope::ALL, &["a/**"], &[], &[]) }]);
    let nobody = identity(Scopes::ALL, Vec::new());
    let secret = |space, path: &str| Resource::Secret(space, SecretPath::parse(path).unwrap());
    let lease = Claims {
        operation: "db.issue_creds".into(),
        resource: Resource::Key("database".into(), "k".into()),
        expires: 100,
        stands_for: StandsFor::Lease { id: "l".into(), accessor: "a".into() },
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
            let (permitted, Concern { resource: told, version: asked }) = concern(who, name, json, &keyring, &layout);
            assert_eq!((permitted, &told, asked), (allowed, &resource, version), "{name}");
        }
    }
    let (_, foreign) = concern(&bob, "db.revoke", r#"{"lease_id":"none"}"#, &keyring, &layout);
    assert!(foreign.resource.is_none(), "a handle that does not open says nothing");
    let (permitted, own) = concern(&nobody, "whoami", "{}", &keyring, &layout);
    assert!(permitted && own.resource.is_none());
}
