//! Requests of Vault's beside records of the gate's.

use serde_json::json;

use super::*;
use crate::audit::{Activity, Chain, ChainId, Stage};
use crate::decide::Concern;
use crate::grants::{Resource, Space};
use crate::path::SecretPath;

fn key() -> Naming {
    Naming::of_key(&"07".repeat(32)).unwrap()
}

/// A record as the gate writes it.
fn recorded(operation: &'static str, resource: Resource, decision: &'static str, naming: &Naming) -> RecordedCall {
    let activity = Activity {
        time: 1_700_000_000_500,
        stage: Stage::Ended { status: 200, took: 7 },
        correlation_id: "c-1",
        request_id: "r-1",
        trace: None,
        message: Some(2),
        client: None,
        asked: ("GET", "/secrets/{path}"),
        agent: "bob",
        namespace: "",
        proof: "certificate",
        operation,
        decision,
        role: "reader",
        observed: false,
        why: "",
        by_operator: false,
    };
    let concern = Concern { resource: Some(resource), version: None, ..Concern::default() };
    let (mut body, mut line) = (Vec::new(), Vec::new());
    activity.write(std::iter::once(&concern), naming, &mut body);
    Chain::begin(ChainId::new(1), None).seal(&body, &mut line);
    RecordedCall::read(line.trim_ascii_end()).unwrap()
}

fn secret(space: Space, path: &str) -> Resource {
    Resource::Secret(space, SecretPath::parse(path).unwrap())
}

/// A request as both servers write it down.
fn heard(mount: &str, path: &str, agent: Option<&str>) -> HeardRequest {
    let metadata = agent.map_or_else(|| json!({"role_name": "portcullis"}), |agent| json!({"agent": agent}));
    let line = json!({
        "time": "2023-11-14T22:13:20.25Z", "type": "response", "error": "permission denied",
        "auth": {"accessor": "hmac-sha256:1", "display_name": "token-bob", "metadata": metadata},
        "request": {
            "id": "v-1", "operation": "read", "mount_point": mount, "namespace": {"id": "root"}, "path": path,
            "remote_address": "192.0.2.7", "headers": {"x-correlation-id": ["c-1"], "user-agent": ["portcullis"]},
        },
    });
    HeardRequest::read(line.to_string().as_bytes()).unwrap()
}

#[test]
fn lines_of_both_audits_are_read() {
    let record = recorded("kv.read", secret(Space::Own, "team/db"), "allow", &key());
    assert_eq!((&*record.correlation, &*record.agent, &*record.operation), ("c-1", "bob", "kv.read"));
    assert_eq!((record.began, record.status, record.ended), (1_700_000_000_493, Some(200), true));
    assert_eq!((&*record.request.0, record.request.1, &*record.record), ("r-1", Some(2), "0000000000000001-1"));
    assert!(record.names(&key().of("team/db")) && record.needs_vault());
    let request = heard("secret/", "secret/data/mcp/bob/team/db", Some("bob"));
    assert_eq!((request.time, request.correlation.as_deref()), (1_700_000_000_250, Some("c-1")));
    assert_eq!((request.agent.as_deref(), request.answered, &*request.address), (Some("bob"), true, "192.0.2.7"));
    assert_eq!(request.error.as_deref(), Some("permission denied"));
    for none in ["", "{", "{}", r#"{"type":"request","time":"x","request":{"id":"1","path":"a"}}"#] {
        assert!(HeardRequest::read(none.as_bytes()).is_none() && RecordedCall::read(none.as_bytes()).is_none());
    }
    let bare = br#"{"type":"request","time":"2023-11-14T22:13:20Z","auth":null,"request":{"path":"sys/audit/test"}}"#;
    assert!(HeardRequest::read(bare).is_some_and(|bare| bare.address.is_empty() && bare.correlation.is_none()));
}

#[test]
fn a_request_is_what_a_record_tells_of_where_the_path_is_the_same() {
    const ELSE: Fit = Fit::Differs(Difference::Kind);
    const OTHER: Fit = Fit::Differs(Difference::Path);
    let own = || secret(Space::Own, "team/db");
    let transit = || Resource::Key(catalog::find("transit.encrypt").unwrap().spec.engine.unwrap(), "k".into());
    let root = || Resource::Names(Space::Own, None);
    let cases = [
        ("kv.read", own(), "secret/", "secret/data/mcp/bob/team/db", Fit::Same),
        ("kv.read", own(), "apps/kv/", "apps/kv/data/a/b/c/bob/team/db", Fit::Same),
        ("kv.read", own(), "", "secret/data/mcp/bob/team/db", Fit::Same),
        ("kv.read", own(), "secret/", "secret/data/mcp/bob/team/db2", OTHER),
        ("kv.read", own(), "secret/", "secret/data/mcp/bob/x/team/db", OTHER),
        ("kv.read", own(), "secret/", "secret/data/shared/team/db", OTHER),
        ("kv.read", own(), "secret/", "secret/database/mcp/bob/team/db", ELSE),
        ("kv.read", own(), "transit/", "transit/decrypt/k", ELSE),
        ("kv.read", secret(Space::Shared, "team/db"), "secret/", "secret/data/shared/team/db", Fit::Same),
        ("kv.list", root(), "secret/", "secret/metadata/mcp/bob/", Fit::Same),
        ("kv.list", root(), "secret/", "secret/metadata/mcp/bob/team/", OTHER),
        ("transit.encrypt", transit(), "transit/", "transit/encrypt/k", Fit::Same),
        ("transit.encrypt", transit(), "transit/", "transit/encrypt/k2", OTHER),
        ("transit.encrypt", transit(), "transit/", "transit/decrypt/k", ELSE),
        ("whoami", own(), "secret/", "secret/data/mcp/bob/team/db", Fit::Same),
    ];
    for (operation, resource, mount, path, fit) in cases {
        for naming in [Naming::Clear, key()] {
            let record = recorded(operation, resource.clone(), "allow", &naming);
            let may = catalog::find(operation).and_then(|entry| entry.spec.reach.may.first());
            let may = may.map_or("read", |may| may.name());
            let heard = HeardRequest { operation: may.into(), ..heard(mount, path, Some("bob")) };
            assert_eq!(record.fit(&heard, std::slice::from_ref(&naming)), fit, "{operation} {path}");
        }
    }
}

#[test]
fn the_same_id_alone_proves_little() {
    let record = recorded("kv.read", secret(Space::Own, "team/db"), "allow", &key());
    let path = "secret/data/mcp/bob/team/db";
    let heard_bob = || heard("secret/", path, Some("bob"));
    assert_eq!(record.fit(&heard_bob(), &[Naming::Clear]), Fit::Unproved, "without the key");
    let rotated = [Naming::of_bytes(&[1; 32]), key()];
    assert_eq!(record.fit(&heard_bob(), &rotated), Fit::Same, "by an earlier version of the key");
    let untold = recorded("kv.read", secret(Space::Own, "team/db"), "allow", &Naming::Untold);
    assert_eq!(untold.fit(&heard_bob(), &[key()]), Fit::Unproved, "before the key was known");
    let alice = heard("secret/", path, Some("alice"));
    assert_eq!(record.fit(&alice, &[key()]), Fit::Differs(Difference::Agent));
    let written = HeardRequest { operation: "update".into(), ..heard("secret/", path, Some("bob")) };
    assert_eq!(record.fit(&written, &[key()]), Fit::Differs(Difference::Operation));
    let elsewhere = HeardRequest { namespace: "team-a".into(), ..heard("secret/", path, Some("bob")) };
    assert_eq!(record.fit(&elsewhere, &[key()]), Fit::Differs(Difference::Path));
    let minted = heard("auth/token/", "auth/token/create/portcullis", None);
    assert_eq!(record.fit(&minted, &[key()]), Fit::Beside);
    let bookkeeping = heard("secret/", "secret/metadata/portcullis/leases/bob", None);
    assert_eq!(record.fit(&bookkeeping, &[key()]), Fit::Beside, "with the gate's own token");
}

#[test]
fn only_what_was_allowed_and_is_vaults_needs_a_request() {
    let needs =
        |operation, decision| recorded(operation, secret(Space::Own, "a"), decision, &Naming::Clear).needs_vault();
    assert!(needs("kv.read", "allow"));
    for (operation, decision) in [("kv.read", "forbidden"), ("whoami", "allow"), ("kms.encrypt", "allow")] {
        assert!(!needs(operation, decision), "{operation} {decision}");
    }
}

#[test]
fn a_path_ends_with_whole_segments() {
    let request = heard("secret/", "secret/data/mcp/bob/team/db/", None);
    assert!(request.ends_with("team/db") && request.ends_with("db/") && !request.ends_with("b"));
}
