//! Records as they are written: one line of JSON each, in the form of OCSF.

use serde_json::{Value, json};

use super::*;
use crate::catalog::{self, KV};
use crate::decide::Concern;
use crate::grants::{Resource, Space};
use crate::names::AgentId;
use crate::path::SecretPath;
use crate::secret::Digest;

/// The record of a body, which must be one line.
fn sealed(body: &[u8]) -> Value {
    let mut line = Vec::new();
    Chain::begin(ChainId::new(1), None).seal(body, &mut line);
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    let record: Value = serde_json::from_slice(&line).unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8(line)));
    for member in ["category_uid", "class_uid", "activity_id", "type_uid", "time", "severity_id", "status_id"] {
        assert!(record[member].is_u64(), "{member}: {record}");
    }
    assert_eq!(record["metadata"]["uid"], "0000000000000001-1");
    assert_eq!(record["metadata"]["sequence"], 1);
    let id = |name: &str| record[name].as_u64().unwrap();
    assert_eq!(
        (id("type_uid"), id("category_uid")),
        (id("class_uid") * 100 + id("activity_id"), id("class_uid") / 1000)
    );
    record
}

const READ: Activity<&str> = Activity {
    time: 1_700_000_000_000,
    stage: Stage::Ended { status: 200, took: 7 },
    correlation_id: "c-1",
    request_id: "r-1",
    trace: None,
    message: Some(2),
    client: None,
    asked: ("GET", "/secrets/{path}"),
    agent: "bob",
    namespace: "team-a/",
    proof: "certificate",
    operation: "kv.read",
    decision: "allow",
    role: "reader",
    observed: false,
    why: "",
    by_operator: false,
};

fn written(activity: &Activity<&str>, concerns: &[Concern], naming: &Naming) -> Value {
    let mut body = Vec::new();
    activity.write(concerns.iter(), naming, &mut body);
    sealed(&body)
}

#[test]
fn an_operation_is_an_activity_of_its_agent_about_its_resource() {
    let secret = Resource::Secret(Space::Shared, SecretPath::parse("team/db").unwrap());
    let concerns = [Concern { resource: Some(secret), version: Some(3), ..Concern::default() }, Concern::default()];
    let naming = Naming::of_key(&"07".repeat(32)).unwrap();
    let client = Some("192.0.2.7".parse().unwrap());
    let record = written(&Activity { client, ..READ }, &concerns, &naming);
    assert_eq!(
        (&record["class_uid"], &record["activity_id"], &record["status_id"]),
        (&json!(6003), &json!(2), &json!(1))
    );
    assert_eq!(record["metadata"]["correlation_uid"], "c-1");
    assert_eq!(record["actor"]["user"], json!({"type_id": 99, "type": "Agent", "name": "bob"}));
    assert_eq!(record["api"], json!({"operation": "kv.read", "request": {"uid": "r-1"}}));
    assert_eq!(record["src_endpoint"], json!({"ip": "192.0.2.7"}));
    assert_eq!(record["duration"], 7);
    let named = naming.of("team/db");
    let resource = json!({
        "type": "kv", "name": named, "namespace": "team-a/", "version": "3", "labels": ["shared"],
    });
    assert_eq!(record["resources"], json!([resource]));
    assert_eq!(record["unmapped"]["message"], 2);
    assert_eq!(record["unmapped"]["role"], "reader");
    assert!(record["unmapped"].get("trace_id").is_none());
    let traced = written(&Activity { trace: Some(TraceId::of([1, 2])), ..READ }, &concerns, &naming);
    assert_eq!(traced["unmapped"]["trace_id"], "00000000000000010000000000000002");
    let clear = written(&READ, &concerns, &Naming::Clear);
    assert_eq!(clear["resources"][0]["name"], "team/db");
}

#[test]
fn facts_that_wait_become_the_records_that_they_would_have_been() {
    let naming = Naming::of_key(&"07".repeat(32)).unwrap();
    let secret = |path: &str| Resource::Secret(Space::Own, SecretPath::parse(path).unwrap());
    let about = |resource, version| Concern { resource: Some(resource), version, ..Concern::default() };
    let concerns = [
        about(secret("team/schlüssel"), Some(3)),
        Concern::default(),
        about(Resource::Names(Space::Shared, None), None),
        about(Resource::Key(catalog::find("transit.encrypt").unwrap().spec.engine.unwrap(), "k".into()), None),
        about(Resource::Nameless(KV), None),
    ];
    let many: Vec<_> = (0..40).map(|number| about(secret(&format!("n/{number}")), None)).collect();
    let other = Activity { why: "no grant für \"x\"", namespace: "", role: "", request_id: "", ..READ };
    let told = [(READ, &concerns[..]), (other, &[]), (other, &many), (READ, &concerns[..1])];
    let mut backlog = Backlog::default();
    for round in 0..2 {
        let mut bodies = Vec::new();
        for (activity, concerns) in told {
            let mut body = Vec::new();
            activity.write(concerns.iter(), &naming, &mut body);
            Occurrence::Ended.write(7, &mut bodies);
            backlog.add_body(|out| Occurrence::Ended.write(7, out));
            backlog.add(activity, concerns.iter());
            bodies.push(b'\n');
            bodies.extend_from_slice(&body);
            bodies.push(b'\n');
        }
        assert_eq!(backlog.len(), 2 * told.len());
        assert!(backlog.size() > bodies.len() / 4, "{} bytes", backlog.size());
        let mut drained = Vec::new();
        backlog.drain(&naming, |body| drained.extend([body, b"\n"].concat()));
        assert_eq!(String::from_utf8(drained).unwrap(), String::from_utf8(bodies).unwrap(), "round {round}");
        assert_eq!((backlog.is_empty(), backlog.size()), (true, 0));
    }
}

#[test]
fn an_operation_is_read_created_updated_or_deleted() {
    for (operation, activity) in [
        ("kv.read", 2),
        ("kv.list", 2),
        ("kv.write", 3),
        ("kv.delete", 4),
        ("db.issue_creds", 1),
        ("db.revoke", 4),
        ("db.renew", 3),
        ("whoami", 2),
        ("", 99),
    ] {
        assert!(operation.is_empty() || catalog::find(operation).is_some(), "{operation}");
        let record = written(&Activity { operation, ..READ }, &[], &Naming::Clear);
        assert_eq!(record["activity_id"], activity, "{operation}");
    }
    let nameless = written(&Activity { operation: "", asked: ("", ""), ..READ }, &[], &Naming::Clear);
    assert_eq!(nameless["api"], json!({"operation": "", "request": {"uid": "r-1"}}));
    let by_operator =
        Activity { operation: "", asked: ("POST", "/admin/reload"), agent: "", by_operator: true, ..READ };
    let record = written(&by_operator, &[], &Naming::Clear);
    assert_eq!((&record["activity_id"], &record["actor"]["user"]["type"]), (&json!(3), &json!("Operator")));
}

#[test]
fn a_refusal_and_a_beginning_are_told_apart_from_a_success() {
    let refused = written(&Activity { decision: "forbidden", role: "", ..READ }, &[], &Naming::Clear);
    assert_eq!((&refused["status_id"], &refused["severity_id"]), (&json!(2), &json!(2)));
    assert_eq!(refused["unmapped"]["decision"], "forbidden");
    let begun = written(&Activity { stage: Stage::Permitted, asked: ("", ""), ..READ }, &[], &Naming::Clear);
    assert_eq!((&begun["status_id"], &begun["unmapped"]["stage"]), (&json!(0), &json!("permitted")));
    assert!(begun.get("http_response").is_none());
}

#[test]
fn a_refused_login_and_what_the_gate_does_itself_are_records_too() {
    let login = Login {
        time: 1_700_000_000_000,
        correlation_id: "",
        request_id: "r-1",
        trace: Some(TraceId::of([1, 2])),
        client: Some("2001:db8::1".parse().unwrap()),
        decision: "unauthenticated",
        judged: "bearer",
        why: "the token \"has\" ended",
        principal: "a\"}\n{\u{7f}",
        key: "ba7816bf",
        certificate: "00ff",
        issuer: "https://idp.example",
        status: 401,
    };
    let mut body = Vec::new();
    login.write(&mut body);
    let record = sealed(&body);
    assert_eq!((&record["class_uid"], &record["user"]["name"]), (&json!(3002), &json!("a\"}\n{\u{7f}")));
    assert_eq!(record["auth_protocol"], "bearer");
    assert_eq!(record["unmapped"]["trace_id"], "00000000000000010000000000000002");
    assert_eq!(record["certificate"]["fingerprints"][0]["value"], "00ff");
    let (bob, digest) = (AgentId::parse("bob").unwrap(), Digest::of(b"x"));
    for (occurrence, event) in [
        (Occurrence::Started { version: "1.0", configuration: digest }, "start"),
        (Occurrence::Ended, "stop"),
        (Occurrence::Lost { records: 3 }, "lost"),
        (Occurrence::Checkpoint { note: "a\nb\n\n\u{2014} c d\n" }, "checkpoint"),
        (Occurrence::Reloaded { old: digest, new: digest, version: 2 }, "reload"),
        (Occurrence::Suspended(&bob), "suspend"),
        (Occurrence::Resumed(&bob), "resume"),
    ] {
        let mut body = Vec::new();
        occurrence.write(1_700_000_000_000, &mut body);
        assert_eq!(sealed(&body)["unmapped"]["event"], event);
    }
}
