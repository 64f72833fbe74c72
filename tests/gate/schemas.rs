//! The schemas that programs are generated from: no part of them is left open, and what the gate
//! refuses of one argument by itself, its schema refuses.

use filters::catalog::{CATALOG, find};
use filters::mcp::{ToolNames, Tools};
use filters::openapi;
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("every_part_of_both_documents_has_a_schema_of_its_own", whole),
    ("an_argument_that_is_refused_by_itself_is_refused_by_its_schema", judged),
];

/// Members of a schema that hold schemas by name, that are one, and that hold some.
const BY_NAME: [&str; 3] = ["properties", "patternProperties", "$defs"];
const ONE: [&str; 5] = ["items", "additionalProperties", "propertyNames", "not", "contains"];
const SOME: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];

/// Where a schema says nothing: `true`, `{}`, a list of anything.
fn open(schema: &Value, place: &str, found: &mut Vec<String>) {
    let Some(members) = schema.as_object() else {
        found.push(format!("{place}: {schema}"));
        return;
    };
    let says = |name: &&str| members.contains_key(*name);
    let typed = ["type", "$ref", "const", "enum"].iter().chain(&SOME).any(says);
    // One of several forms of what is typed above.
    let form = members.keys().all(|name| name == "required") && says(&"required");
    let kind = &schema["type"];
    let list = kind == "array" || kind.as_array().is_some_and(|kinds| kinds.contains(&json!("array")));
    if !typed && !form || list && !says(&"items") {
        found.push(format!("{place}: {schema}"));
    }
    for name in BY_NAME {
        for (key, schema) in members.get(name).and_then(Value::as_object).into_iter().flatten() {
            open(schema, &format!("{place}/{key}"), found);
        }
    }
    for name in ONE {
        // What a secret holds is anybody's, and no other members are none.
        let free = name == "additionalProperties" && members.get(name).is_some_and(Value::is_boolean);
        if let Some(schema) = members.get(name).filter(|_| !free) {
            open(schema, &format!("{place}/{name}"), found);
        }
    }
    for name in SOME {
        for (index, schema) in members.get(name).and_then(Value::as_array).into_iter().flatten().enumerate() {
            open(schema, &format!("{place}/{name}/{index}"), found);
        }
    }
}

/// Walks a document to its schemas; tells how many there are.
fn walk(part: &Value, place: &str, found: &mut Vec<String>) -> usize {
    let each: Vec<(String, &Value)> = match part {
        Value::Object(members) => members.iter().map(|(name, part)| (name.clone(), part)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, part)| (index.to_string(), part)).collect(),
        _ => return 0,
    };
    let mut count = 0;
    for (name, part) in each {
        let place = format!("{place}/{name}");
        match name.as_str() {
            "schema" | "inputSchema" | "outputSchema" => {
                open(part, &place, found);
                count += 1;
            }
            "schemas" => {
                for (name, schema) in part.as_object().into_iter().flatten() {
                    open(schema, &format!("{place}/{name}"), found);
                    count += 1;
                }
            }
            _ => count += walk(part, &place, found),
        }
    }
    count
}

fn whole(_: &Shared) {
    let mut found = Vec::new();
    let document = openapi::document(&CATALOG);
    assert!(walk(&document, "", &mut found) > CATALOG.iter().count());
    let tools = Tools::of(&CATALOG, ToolNames::Dotted);
    for (entry, tool) in tools.iter() {
        let tool: Value = serde_json::from_str(tool).expect("JSON");
        assert_eq!(walk(&tool, entry.spec.name, &mut found), 1);
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Every argument of every operation, in as many samples as there are ways to put it.
fn samples() -> Vec<(&'static str, Value)> {
    let context = json!({"purpose": "test"});
    let (arn, alias) = ("arn:aws:kms:eu-west-1:111122223333:key/1", "alias/a");
    let (tokens, digest) = (json!(["a"]), "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY=");
    let hashed = json!({"prehashed": true, "hash_algorithm": "sha2-256", "signature_algorithm": "pss",
        "marshaling_algorithm": "asn1", "key": "k", "input": "YQ==", "context": "YQ=="});
    let with = |mut sample: Value, name: &str, value: Value| {
        sample[name] = value;
        sample
    };
    vec![
        ("kv.read", json!({"path": "a/b", "version": 1, "shared": true, "wrap_ttl": 60})),
        ("kv.read", json!({"path": "a", "wrap_ttl": "5m"})),
        ("kv.write", json!({"path": "a/b", "data": {"a": 1}, "cas": 0, "shared": false})),
        ("kv.patch", json!({"path": "a/b", "data": {"a": null}, "cas": 1, "shared": true})),
        ("kv.list", json!({"prefix": "a/b/", "shared": true})),
        ("kv.metadata", json!({"path": "a/b", "shared": true})),
        (
            "kv.write_metadata",
            json!({"path": "a/b", "max_versions": 3, "cas_required": true, "delete_version_after": "30d",
            "custom_metadata": {"a": "b"}, "shared": true}),
        ),
        (
            "kv.patch_metadata",
            json!({"path": "a/b", "max_versions": 0, "cas_required": false, "delete_version_after": 0,
            "custom_metadata": {"a": null}, "shared": true}),
        ),
        ("kv.delete", json!({"path": "a/b", "shared": true})),
        ("kv.delete_versions", json!({"path": "a/b", "versions": [1], "shared": true})),
        ("kv.undelete", json!({"path": "a/b", "versions": [1, 2], "shared": true})),
        ("kv.destroy", json!({"path": "a/b", "versions": [1], "shared": true})),
        ("transit.encrypt", json!({"key": "k", "plaintext": "YQ==", "context": "YQ==", "key_version": 1})),
        ("transit.encrypt", json!({"key": "k", "batch_input": [{"plaintext": "YQ==", "key_version": 1}]})),
        ("transit.decrypt", json!({"key": "k", "ciphertext": "vault:v1:a", "context": "YQ==", "wrap_ttl": 60})),
        ("transit.decrypt", json!({"key": "k", "batch_input": [{"ciphertext": "vault:v1:a"}]})),
        ("transit.rewrap", json!({"key": "k", "ciphertext": "vault:v1:a", "context": "YQ=="})),
        ("transit.rewrap", json!({"key": "k", "batch_input": [{"ciphertext": "vault:v1:a", "context": "YQ=="}]})),
        ("transit.generate_data_key", json!({"key": "k", "bits": 256, "context": "YQ==", "wrap_ttl": 60})),
        ("transit.sign", with(hashed.clone(), "key_version", 1.into())),
        ("transit.verify", with(hashed.clone(), "signature", "vault:v1:a".into())),
        ("transit.verify", with(hashed, "hmac", "vault:v1:a".into())),
        ("transit.hmac", json!({"key": "k", "input": "YQ==", "key_version": 1, "hash_algorithm": "none"})),
        ("transit.random", json!({"bytes": 32, "format": "hex", "wrap_ttl": 60})),
        ("db.issue_creds", json!({"role": "r", "wrap_ttl": "60s"})),
        ("db.lookup", json!({"lease_id": "pch1_a"})),
        ("db.renew", json!({"lease_id": "pch1_a", "increment": "1h"})),
        ("db.renew", json!({"lease_id": "pch1_a", "increment": 60})),
        ("db.revoke", json!({"lease_id": "pch1_a"})),
        (
            "ssh.sign",
            json!({"role": "r", "public_key": "ssh-ed25519 a", "cert_type": "user", "valid_principals": "ops",
            "ttl": 60, "extensions": {"permit-pty": ""}, "critical_options": {"force-command": "a"}}),
        ),
        ("ssh.otp", json!({"role": "r", "ip": "::1", "username": "ops", "port": 22, "wrap_ttl": 60})),
        (
            "pki.issue",
            json!({"role": "r", "common_name": "a.example", "alt_names": "b", "ip_sans": "::1",
            "uri_sans": "a:b", "ttl": "1h", "wrap_ttl": 60}),
        ),
        (
            "pki.sign",
            json!({"role": "r", "csr": "PEM", "common_name": "a.example", "alt_names": "b", "ip_sans": "::1",
            "uri_sans": "a:b", "ttl": "1h"}),
        ),
        ("pki.revoke", json!({"handle": "pch1_a"})),
        (
            "kms.encrypt",
            json!({"key_id": arn, "plaintext": "YQ==", "encryption_context": context, "grant_tokens": tokens}),
        ),
        (
            "kms.decrypt",
            json!({"key_id": alias, "ciphertext": "YQ==", "encryption_context": context,
            "grant_tokens": tokens, "wrap_ttl": 60}),
        ),
        (
            "kms.generate_data_key",
            json!({"key_id": alias, "number_of_bytes": 32, "encryption_context": context,
            "grant_tokens": tokens, "wrap_ttl": 60}),
        ),
        ("kms.generate_data_key", json!({"key_spec": "AES_256"})),
        (
            "kms.sign",
            json!({"key_id": alias, "message": "YQ==", "message_type": "RAW",
            "signing_algorithm": "ECDSA_SHA_256", "grant_tokens": tokens}),
        ),
        ("kms.sign", json!({"message_digest": digest, "signing_algorithm": "ECDSA_SHA_256"})),
        (
            "kms.verify",
            json!({"key_id": alias, "message": "YQ==", "message_type": "RAW", "signature": "YQ==",
            "signing_algorithm": "ECDSA_SHA_256", "grant_tokens": tokens}),
        ),
        ("kms.verify", json!({"message_digest": digest, "signature": "YQ==", "signing_algorithm": "ECDSA_SHA_256"})),
        ("wrap.unwrap", json!({"handle": "pch1_a"})),
        ("wrap.rewrap", json!({"handle": "pch1_a"})),
        ("wrap.lookup", json!({"handle": "pch1_a"})),
        ("whoami", json!({})),
    ]
}

/// Values of other kinds, for the place of this one.
fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::String(_) => {
            let long = ["a".repeat(300), "a".repeat(9_000)];
            let odd = ["", "/", "/a", "a//b", "a\\b", "a\nb"].map(str::to_owned);
            odd.into_iter().chain(long).map(Value::from).collect()
        }
        Value::Number(_) => [0_u64, 1, 7, 1 << 33].map(Value::from).to_vec(),
        Value::Array(items) => {
            let many = |count| items.first().map(|item| Value::from(vec![item.clone(); count]));
            [Some(json!([])), many(101), many(1001)].into_iter().flatten().collect()
        }
        Value::Object(_) => {
            let many: serde_json::Map<_, _> = (0..65).map(|number| (format!("n{number}"), json!(""))).collect();
            vec![json!({}), json!({"": "a"}), many.into()]
        }
        _ => Vec::new(),
    }
}

/// The pointers to every value in it.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    let each: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => return,
    };
    for (name, value) in each {
        let at = format!("{at}/{name}");
        pointers(value, &at, all);
        all.push(at);
    }
}

fn judged(_: &Shared) {
    let (mut tried, mut wrong) = (0, Vec::new());
    let samples = samples();
    for entry in CATALOG.iter() {
        let (name, schema) = (entry.spec.name, entry.input_schema().to_value());
        let of_it = || samples.iter().filter(|(of, _)| *of == name);
        for (argument, _) in schema["properties"].as_object().into_iter().flatten() {
            let said = of_it().any(|(_, sample)| sample.get(argument).is_some());
            assert!(said, "no sample of {name} has {argument}");
        }
        let schema = jsonschema::validator_for(&schema).expect("a schema");
        for (_, sample) in of_it() {
            tried += compare(name, &schema, sample, &mut wrong);
        }
    }
    assert!(tried > 300, "{tried}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Puts others in the place of each value, and compares who refuses them; tells how many.
fn compare(name: &'static str, schema: &Validator, sample: &Value, wrong: &mut Vec<String>) -> usize {
    let takes = |arguments: &Value| find(name).expect(name).parse(arguments.to_string().as_bytes()).is_ok();
    assert!(takes(sample) && schema.is_valid(sample), "{name}: {sample}");
    let (mut all, mut tried) = (Vec::new(), 0);
    pointers(sample, "", &mut all);
    for pointer in all {
        for other in others(sample.pointer(&pointer).expect("a value")) {
            let mut changed = sample.clone();
            *changed.pointer_mut(&pointer).expect("a value") = other.clone();
            tried += 1;
            let (told, taken) = (schema.is_valid(&changed), takes(&changed));
            if told != taken {
                let other: String = other.to_string().chars().take(40).collect();
                wrong.push(format!("{name} {pointer} = {other}: by schema {told}, by the gate {taken}"));
            }
        }
    }
    tried
}
