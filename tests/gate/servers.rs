//! The servers beside Vault do what the gate relies on.

use serde_json::{Value, json};

use crate::{Case, Shared};

pub const CASES: &[Case] = &[
    ("kms_opens_what_it_sealed_and_only_in_the_same_context", kms_seals),
    ("a_kms_alias_is_its_key", kms_alias),
    ("kms_verifies_what_it_signed_and_nothing_else", kms_signs),
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
