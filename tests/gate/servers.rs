//! The servers beside Vault, and how far the gate's own login reaches.

use serde_json::{Value, json};
use tests::World;

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("kms_opens_what_it_sealed_and_only_in_the_same_context", kms_seals),
    ("a_kms_alias_is_its_key", kms_alias),
    ("kms_verifies_what_it_signed_and_nothing_else", kms_signs),
    ("the_gates_login_makes_agents_tokens_and_ends_them", login_mints),
    ("the_gates_login_reaches_nothing_of_agents", login_is_confined),
];

/// `plain words`, in base64.
const PLAIN: &str = "cGxhaW4gd29yZHM=";

fn kms_seals(shared: &Shared) {
    let kms = shared.kms();
    let key = kms.create_key("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT");
    let context = json!({"agent": "agent_mtls"});
    let sealed = json!({"KeyId": key, "Plaintext": PLAIN, "EncryptionContext": context});
    let (status, sealed) = kms.ask("Encrypt", &sealed);
    assert_eq!(status, 200, "{sealed}");
    assert_ne!(sealed["CiphertextBlob"], PLAIN);
    let open = |context: &Value| {
        kms.ask("Decrypt", &json!({"CiphertextBlob": sealed["CiphertextBlob"], "EncryptionContext": context}))
    };
    let (status, opened) = open(&context);
    assert_eq!((status, &opened["Plaintext"]), (200, &json!(PLAIN)), "{opened}");
    let (status, opened) = open(&json!({"agent": "bob"}));
    assert_eq!((status, &opened["Plaintext"]), (400, &Value::Null), "{opened}");
}

fn kms_alias(shared: &Shared) {
    let kms = shared.kms();
    let key = kms.create_key("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT");
    kms.create_alias("alias/servers", &key);
    let (status, known) = kms.ask("DescribeKey", &json!({"KeyId": "alias/servers"}));
    assert_eq!((status, &known["KeyMetadata"]["KeyId"]), (200, &json!(key)), "{known}");
    let (status, unknown) = kms.ask("DescribeKey", &json!({"KeyId": "alias/nobody"}));
    assert_eq!(status, 400, "{unknown}");
}

fn kms_signs(shared: &Shared) {
    let kms = shared.kms();
    let key = kms.create_key("SIGN_VERIFY", "ECC_NIST_P256");
    let ask = |action: &str, message: &str, more: &Value| {
        let mut body = json!({"KeyId": key, "Message": message, "SigningAlgorithm": "ECDSA_SHA_256"});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        kms.ask(action, &body)
    };
    let (status, signed) = ask("Sign", PLAIN, &json!({}));
    assert_eq!(status, 200, "{signed}");
    let signature = json!({"Signature": signed["Signature"]});
    let (status, verified) = ask("Verify", PLAIN, &signature);
    assert_eq!((status, &verified["SignatureValid"]), (200, &json!(true)), "{verified}");
    let (_, verified) = ask("Verify", "b3RoZXIgd29yZHM=", &signature);
    assert_ne!(verified["SignatureValid"], json!(true), "{verified}");
}

/// A token of the gate's own AppRole.
fn login(world: &World) -> String {
    let credentials = json!({"role_id": world.role_id(), "secret_id": world.secret_id()});
    let (status, answer) = world.ask("POST", "auth/approle/login", &credentials);
    assert_eq!(status, 200, "{answer}");
    answer["auth"]["client_token"].as_str().expect("a token").to_owned()
}

fn login_mints(shared: &Shared) {
    let world = shared.world();
    let gate = login(world);
    let wanted = json!({"policies": ["mcp-agent-bob"], "type": "service", "ttl": "90s", "no_default_policy": true});
    let (status, minted) = world.ask_as(&gate, "POST", "auth/token/create/portcullis", &wanted);
    assert_eq!((status, &minted["auth"]["policies"]), (200, &json!(["mcp-agent-bob"])), "{minted}");
    let agent = minted["auth"]["client_token"].as_str().expect("a token");
    let read = || world.ask_as(agent, "GET", "secret/data/mcp/bob/none", &Value::Null).0;
    assert_eq!(read(), 404);
    let accessor = json!({"accessor": minted["auth"]["accessor"]});
    assert_eq!(world.ask_as(&gate, "POST", "auth/token/revoke-accessor", &accessor).0, 204);
    assert_eq!(read(), 403);
    for policy in ["root", "portcullis-gate", "default"] {
        let (status, minted) =
            world.ask_as(&gate, "POST", "auth/token/create/portcullis", &json!({"policies": [policy]}));
        assert_eq!(status, 400, "{policy}: {minted}");
    }
}

fn login_is_confined(shared: &Shared) {
    let world = shared.world();
    let (secret, body) = ("secret/data/mcp/bob/confined", json!({"data": {"k": "v"}}));
    assert_eq!(world.ask("POST", secret, &body).0, 200);
    let gate = login(world);
    let none = Value::Null;
    assert_eq!(world.ask_as(&gate, "GET", "auth/token/lookup-self", &none).0, 200);
    let plain = json!({"plaintext": PLAIN});
    for (method, path, body) in [
        ("GET", secret, &none),
        ("POST", secret, &body),
        ("DELETE", secret, &none),
        ("GET", "secret/metadata/mcp/bob/confined", &none),
        ("LIST", "secret/metadata/mcp/bob", &none),
        ("LIST", "secret/metadata/", &none),
        ("POST", "transit/encrypt/agents-key", &plain),
        ("POST", "transit/sign/agents-signing-key", &json!({"input": PLAIN})),
        ("GET", "transit/export/encryption-key/agents-key", &none),
        ("GET", "database/creds/readonly", &none),
        ("POST", "ssh/sign/ops", &none),
        ("POST", "pki/issue/service", &none),
        ("POST", "auth/token/create", &none),
        ("POST", "auth/token/create-orphan", &none),
        ("GET", "auth/approle/role/portcullis/role-id", &none),
        ("GET", "sys/policies/acl/portcullis-gate", &none),
        ("POST", "sys/leases/revoke-prefix/database", &none),
        ("LIST", "auth/token/accessors", &none),
    ] {
        let (status, answer) = world.ask_as(&gate, method, path, body);
        assert_eq!(status, 403, "{method} {path}: {answer}");
    }
    assert_eq!(world.ask("GET", secret, &none).1["data"]["data"], json!({"k": "v"}));
}
