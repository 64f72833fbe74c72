//! Vault's and KMS's answers for each operation, made of what the catalog reads in them.

use anyhow::{Context, Result};
use filters::catalog;
use filters::shape::Type;
use serde_json::{Map, Value, json};

/// Which operation's answer a request of Vault's API gets, by the beginning of its path; the first
/// that fits, and what is not here is about a secret's value.
const ROUTES: [(&str, &str, &str); 20] = [
    ("LIST", "secret/metadata/", "kv.list"),
    ("GET", "secret/metadata/", "kv.metadata"),
    ("DELETE", "secret/data/", "kv.delete"),
    ("POST", "secret/undelete/", "kv.undelete"),
    ("POST", "secret/destroy/", "kv.destroy"),
    ("POST", "transit/encrypt/", "transit.encrypt"),
    ("POST", "transit/decrypt/", "transit.decrypt"),
    ("POST", "transit/rewrap/", "transit.rewrap"),
    ("POST", "transit/datakey/", "transit.generate_data_key"),
    ("POST", "transit/sign/", "transit.sign"),
    ("POST", "transit/verify/", "transit.verify"),
    ("POST", "transit/hmac/", "transit.hmac"),
    ("POST", "transit/random/", "transit.random"),
    ("GET", "database/creds/", "db.issue_creds"),
    ("POST", "ssh/sign/", "ssh.sign"),
    ("POST", "ssh/creds/", "ssh.otp"),
    ("POST", "pki/issue/", "pki.issue"),
    ("POST", "pki/sign/", "pki.sign"),
    ("POST", "pki/revoke", "pki.revoke"),
    ("POST", "sys/leases/renew", "db.renew"),
];

/// As long as a ciphertext or a short key.
const TEXT: &str = "vault:v1:8SDd3WHDOjf7mq69CyCqYjBXAiQQAVZRkFM13ok481zoCmHnSeDX9vyf7w==";

/// One answer: for which method, and paths that begin so; none is HTTP's 204.
pub(crate) struct Answer {
    pub(crate) method: &'static str,
    pub(crate) prefix: &'static str,
    pub(crate) body: Option<String>,
}

/// All of Vault's answers but those about secrets' values.
pub(crate) fn of_vault() -> Result<Vec<Answer>> {
    let special = [
        ("GET", "secret/data/portcullis/leases/", Some(record())),
        ("POST", "sys/wrapping/wrap", Some(wrapped())),
        ("POST", "sys/wrapping/lookup", Some(of_operation("wrap.lookup")?)),
        ("POST", "sys/wrapping/unwrap", Some(of_operation("wrap.unwrap")?)),
        ("POST", "sys/leases/revoke", None),
        // A collector's.
        ("POST", "traces", None),
        ("POST", "auth/token/revoke-accessor", None),
        ("GET", "transit/keys/", Some(json!({"data": {"keys": {"1": 1_767_225_600}}}).to_string())),
        ("POST", "transit/hmac/portcullis-handles/", Some(handle_key())),
    ];
    let mut answers: Vec<_> =
        special.into_iter().map(|(method, prefix, body)| Answer { method, prefix, body }).collect();
    for (method, prefix, operation) in ROUTES {
        let body = of_operation(operation)?;
        let nothing = catalog::find(operation).is_some_and(|kind| kind.shape.is_given());
        answers.push(Answer { method, prefix, body: (!nothing).then_some(body) });
    }
    Ok(answers)
}

/// One of KMS's, with what any of its actions answers.
pub(crate) fn of_kms() -> String {
    let bytes = "QUJD".repeat(40);
    json!({
        "CiphertextBlob": bytes,
        "Plaintext": "YmVuY2g=",
        "Signature": bytes,
        "SignatureValid": true,
        "KeyId": "arn:aws:kms:us-east-1:111122223333:key/6f1c5b0e-0d3c-4f3e-8a59-1f6f0d3f2b17",
    })
    .to_string()
}

/// Vault's answer to an operation: each required member where the catalog looks for it.
fn of_operation(name: &str) -> Result<String> {
    let kind = catalog::find(name).with_context(|| format!("no operation {name}"))?;
    let mut answer = json!({
        "request_id": "6f1c5b0e-0d3c-4f3e-8a59-1f6f0d3f2b11",
        "lease_id": "database/creds/bench/vAz6ZcAxXNJ4Yjn2DzvY8fSk",
        "renewable": true,
        "lease_duration": 3600,
        "data": {},
        "wrap_info": null,
        "warnings": null,
        "auth": null,
        "mount_type": "bench",
    });
    for member in kind.shape.members.iter().filter(|member| !member.optional) {
        if let Some((last, path)) = member.from.split_last() {
            let within = path.iter().fold(&mut answer, |within, name| &mut within[*name]);
            within[*last] = sample(member.holds);
        }
    }
    Ok(answer.to_string())
}

fn sample(holds: Type) -> Value {
    match holds {
        Type::Text => TEXT.into(),
        Type::Count | Type::Number => 3600.into(),
        Type::Flag => true.into(),
        Type::Object | Type::Labels | Type::Map(_) | Type::Record(_) => {
            json!({"username": "demo", "password": "correct-horse-battery"})
        }
        Type::Any => Value::Null,
        Type::List(_) | Type::Texts | Type::Names => (0..10).map(|number| format!("name-{number}")).collect(),
    }
}

/// The record of leases: the one that every lease of the stub is.
fn record() -> String {
    let live = Map::from_iter([(ACCESSOR.to_owned(), json!({"expires": 2_082_758_400, "generation": 0}))]);
    json!({"data": {"data": {"leases": live}, "metadata": {"version": 1}}}).to_string()
}

/// The accessor of every token.
pub(crate) const ACCESSOR: &str = "bench-child-accessor";

fn wrapped() -> String {
    let info = json!({
        "token": "hvs.bench-wrapping-token",
        "accessor": "bench-wrapping-accessor",
        "ttl": 300,
        "creation_time": "2026-01-01T00:00:00Z",
        "creation_path": "sys/wrapping/wrap",
    });
    json!({"data": null, "wrap_info": info}).to_string()
}

/// 32 bytes, as transit's HMAC gives them.
fn handle_key() -> String {
    json!({"data": {"hmac": format!("vault:v1:{}=", "A".repeat(43))}}).to_string()
}
