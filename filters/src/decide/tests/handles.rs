//! Handles: who may redeem one, when, and by which request.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::grants::{Demand, Space};
use crate::notes::Notes;
use crate::operation::{Redeem, Redemption};

#[test]
fn a_handle_is_redeemed_by_its_holder_within_its_time_and_grants() {
    let layout = CATALOG.layout();
    let keyring = Keyring::new([(1, [1; 32])]);
    let mine = Role { named: [(catalog::DATABASE, names("readonly"))].into(), ..role(&Scope::ALL, &[], &[], &[]) };
    let bob = identity(Scopes::ALL, vec![mine]);
    let claims = Claims {
        operation: "db.issue_creds".into(),
        resource: Resource::Key("database".into(), "readonly".into()),
        expires: 100,
        stands_for: StandsFor::Lease { id: "database/creds/readonly/x".into(), accessor: "acc".into() },
    };
    let seal = |purpose, agent| keyring.seal(&claims, Binding { purpose, agent }).unwrap();
    let handle = seal(Purpose::Lease, &bob.agent);
    let redeem = |who: &Identity, name: &str, handle: &str, keyring: &Keyring, now| {
        let member = if name.starts_with("db") { "lease_id" } else { "handle" };
        let operation = catalog::find(name).unwrap().parse(format!("{{\"{member}\":\"{handle}\"}}").as_bytes())?;
        let permit = decide(who, operation, DecisionContext { layout: &layout, keyring, client: None, now })?;
        match permit.into_permitted(&layout, 60)?.effect {
            Effect::Redeem(redeemed) => Ok(format!("{:?}", redeemed.request)),
            other => panic!("{other:?}"),
        }
    };
    let renewed = redeem(&bob, "db.renew", &handle, &keyring, 99);
    assert_eq!(renewed.as_deref(), Ok("POST /v1/sys/leases/renew"));
    let revoked = redeem(&bob, "db.revoke", &handle, &keyring, 99);
    assert_eq!(revoked.as_deref(), Ok("POST /v1/sys/leases/revoke"));
    assert_eq!(redeem(&bob, "db.renew", &handle, &keyring, 100), Err(Refusal::NotFound));
    assert_eq!(redeem(&bob, "db.renew", &handle, &Keyring::default(), 1), Err(Refusal::UpstreamUnavailable));
    assert_eq!(redeem(&bob, "pki.revoke", &handle, &keyring, 1), Err(Refusal::Forbidden), "another purpose");
    let wrapped = seal(Purpose::Wrapped, &bob.agent);
    assert_eq!(redeem(&bob, "wrap.unwrap", &wrapped, &keyring, 1), Err(Refusal::Forbidden), "it holds a lease");
    let other = identity(Scopes::ALL, vec![role(&Scope::ALL, &[], &[], &[])]);
    assert_eq!(redeem(&other, "db.renew", &handle, &keyring, 1), Err(Refusal::Forbidden), "the grant is gone");
    let reader = Identity::new(Arc::clone(&bob.agent), [Scope::Read].into_iter().collect(), bob.proof);
    assert_eq!(redeem(&reader, "db.renew", &handle, &keyring, 1), Err(Refusal::InsufficientScope(Scope::Write)));
}

#[test]
fn a_handle_names_its_engine_as_it_always_has() {
    for engine in CATALOG.engines() {
        let (key, nameless) = (Resource::Key(engine, "k".into()), Resource::Nameless(engine));
        for (resource, sealed) in [
            (&key, json!({"key": [engine.name(), "k"]})),
            (&nameless, json!({"nameless": engine.name()})),
            (&Resource::Names(Space::Own, None), json!({"names": ["own", null]})),
        ] {
            assert_eq!(serde_json::to_value(resource.clone().by_name()).unwrap(), sealed);
            let opened: Resource<Box<str>> = serde_json::from_value(sealed).unwrap();
            assert_eq!(opened.of(engine).as_ref(), Some(resource));
        }
    }
    let (layout, keyring) = (CATALOG.layout(), Keyring::new([(1, [1; 32])]));
    let bob = identity(Scopes::ALL, vec![role(&Scope::ALL, &[], &[], &[])]);
    for (operation, engine) in [("db.issue_creds", "totp"), ("totp.code", "totp"), ("whoami", "database")] {
        let resource = Resource::Key(engine.into(), "k".into());
        let stands_for = StandsFor::Lease { id: "l".into(), accessor: "a".into() };
        let claims = Claims { operation: operation.into(), resource, expires: 100, stands_for };
        let handle = keyring.seal(&claims, Binding { purpose: Purpose::Lease, agent: &bob.agent }).unwrap();
        let json = json!({"lease_id": handle}).to_string();
        let operation = catalog::find("db.renew").unwrap().parse(json.as_bytes()).unwrap();
        let ground = DecisionContext { layout: &layout, keyring: &keyring, client: None, now: 1 };
        assert_eq!(decide(&bob, operation, ground).unwrap_err().refusal, Refusal::Forbidden, "{engine}");
    }
}

#[test]
fn a_handle_is_redeemed_by_the_request_of_its_operation() {
    let (layout, keyring) = (CATALOG.layout(), Keyring::new([(1, [1; 32])]));
    let bob = identity(Scopes::ALL, vec![role(&Scope::ALL, &["**"], &[], &[])]);
    let lease = || StandsFor::Lease { id: "l".into(), accessor: "a".into() };
    let wrapped = || StandsFor::Wrapped { token: "t".into() };
    let named = |engine| Resource::Key(engine, "k".into());
    for (name, issuer, resource, stands_for, more, expected) in [
        ("db.renew", "db.issue_creds", named(catalog::DATABASE), lease(), "", json!({"lease_id": "l"})),
        ("db.lookup", "db.issue_creds", named(catalog::DATABASE), lease(), "", json!({"lease_id": "l"})),
        (
            "db.renew",
            "db.issue_creds",
            named(catalog::DATABASE),
            lease(),
            r#","increment":"1m""#,
            json!({"lease_id": "l", "increment": 60}),
        ),
        ("db.revoke", "db.issue_creds", named(catalog::DATABASE), lease(), "", json!({"lease_id": "l", "sync": true})),
        (
            "pki.revoke",
            "pki.sign",
            named(catalog::PKI),
            StandsFor::Certificate { serial: "1:2".into() },
            "",
            json!({"serial_number": "1:2"}),
        ),
        ("wrap.unwrap", "transit.random", Resource::Nameless(catalog::TRANSIT), wrapped(), "", json!({})),
        ("wrap.rewrap", "pki.issue", named(catalog::PKI), wrapped(), "", json!({"token": "t"})),
        ("wrap.lookup", "pki.issue", named(catalog::PKI), wrapped(), "", json!({"token": "t"})),
    ] {
        let purpose = match stands_for {
            StandsFor::Lease { .. } => Purpose::Lease,
            StandsFor::Certificate { .. } => Purpose::Certificate,
            StandsFor::Wrapped { .. } => Purpose::Wrapped,
        };
        let resource = resource.by_name();
        let claims = Claims { operation: issuer.into(), resource, expires: 100, stands_for };
        let handle = keyring.seal(&claims, Binding { purpose, agent: &bob.agent }).unwrap();
        let member = if name.starts_with("db") { "lease_id" } else { "handle" };
        let json = format!("{{\"{member}\":\"{handle}\"{more}}}");
        let operation = catalog::find(name).unwrap().parse(json.as_bytes()).unwrap();
        let ground = DecisionContext { layout: &layout, keyring: &keyring, client: None, now: 1 };
        let effect = decide(&bob, operation, ground).unwrap().into_permitted(&layout, 60).unwrap().effect;
        let Effect::Redeem(Redeemed { request, .. }) = effect else { panic!("{effect:?}") };
        assert_eq!(serde_json::from_slice::<serde_json::Value>(request.body().unwrap()).unwrap(), expected, "{name}");
        // A wrapping token is good once.
        assert_eq!(request.is_repeatable(), !matches!(name, "wrap.unwrap" | "wrap.rewrap"), "{name}");
        let path = if name == "pki.revoke" { "/v1/pki/revoke" } else { "/v1/sys/" };
        assert!(request.path().starts_with(path), "{request:?}");
    }
}

#[test]
fn nothing_is_built_before_it_is_allowed() {
    static BUILT: AtomicUsize = AtomicUsize::new(0);
    let built = || BUILT.load(Ordering::Relaxed);
    let (layout, keyring) = (CATALOG.layout(), Keyring::new([(1, [1; 32])]));
    let ground = DecisionContext { layout: &layout, keyring: &keyring, client: None, now: 1 };
    let bob = identity(Scopes::ALL, vec![role(&Scope::ALL, &[], &[], &[])]);
    let asked = |name: &str, ask| {
        let kind = catalog::find(name).unwrap();
        let (resource, demand) = (None, Demand::default());
        decide(&bob, Operation { kind, resource, ask, demand, wrap: None, size: 0, notes: Notes::default() }, ground)
    };
    let permit = asked(
        "whoami",
        Ask::Own(|_, _, _| {
            BUILT.fetch_add(1, Ordering::Relaxed);
        }),
    )
    .unwrap();
    assert_eq!(built(), 0);
    permit.into_permitted(&layout, 60).unwrap();
    assert_eq!(built(), 1);
    let held = |name: &str| {
        let claims = Claims {
            operation: "db.issue_creds".into(),
            resource: Resource::Key("database".into(), name.into()),
            expires: 100,
            stands_for: StandsFor::Lease { id: "l".into(), accessor: "a".into() },
        };
        let binding = Binding { purpose: Purpose::Lease, agent: &bob.agent };
        let call = |_: Redeem, _: &StandsFor| {
            BUILT.fetch_add(1, Ordering::Relaxed);
            Err(Refusal::Internal)
        };
        let redeem = Redeem::RevokeLease;
        let redemption = Redemption { redeem, purpose: Purpose::Lease, engine: None, call };
        asked("db.revoke", Ask::Held(keyring.seal(&claims, binding).unwrap().into(), redemption))
    };
    assert_eq!(held("another").unwrap_err().refusal, Refusal::Forbidden);
    let permit = held("k").unwrap();
    assert_eq!(built(), 1);
    assert_eq!(permit.into_permitted(&layout, 60).unwrap_err().refusal, Refusal::Internal);
    assert_eq!(built(), 2);
}
