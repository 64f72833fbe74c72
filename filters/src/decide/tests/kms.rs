//! AWS KMS: what is judged is the key that is asked.

use super::*;

fn granted(keys: &[&str]) -> Identity {
    let kms = keys.iter().map(|key| NamePattern::parse_slashed(key).unwrap()).collect();
    identity(Scopes::ALL, vec![Role { named: [(catalog::KMS, kms)].into(), ..role(&Scope::ALL, &[], &[], &[]) }])
}

/// The key that is asked, where `default` is the configured one.
fn asked(who: &Identity, name: &str, arguments: &str, default: Option<&str>) -> Result<String, Refusal> {
    let operation = catalog::find(name).unwrap().parse(arguments.as_bytes())?;
    let (layout, keyring) =
        (Layout { kms_default_key: default.map(Into::into), ..CATALOG.layout() }, Keyring::default());
    let permit = decide(who, operation, DecisionContext { layout: &layout, keyring: &keyring, client: None, now: 0 })?;
    let permitted = permit.into_permitted(&layout, 60)?;
    if let Some(wrap) = permitted.wrap {
        assert_ne!(wrap.origin.resource, Resource::Key(catalog::KMS, "".into()), "a handle names what was asked");
    }
    match permitted.effect {
        Effect::Kms(request) => {
            let (key, call) = request.into_parts();
            Ok(format!("{} {key}", call.action()))
        }
        other => panic!("{other:?}"),
    }
}

/// Each operation with its least arguments, and the action that it asks.
const EVERY: [(&str, &str, &str); 6] = [
    ("kms.encrypt", r#""plaintext":"YQ==""#, "Encrypt"),
    ("kms.decrypt", r#""ciphertext":"YQ==","wrap_ttl":60"#, "Decrypt"),
    ("kms.generate_data_key", r#""key_spec":"AES_256""#, "GenerateDataKey"),
    ("kms.generate_data_key", r#""grant_tokens":[]"#, "GenerateDataKey"),
    ("kms.sign", r#""message":"YQ==","signing_algorithm":"ECDSA_SHA_256""#, "Sign"),
    ("kms.verify", r#""message":"YQ==","signature":"YQ==","signing_algorithm":"ECDSA_SHA_256""#, "Verify"),
];

#[test]
fn a_key_is_asked_by_grant() {
    let bob = granted(&["alias/bob-*"]);
    for (name, rest, action) in EVERY {
        let about = |key: &str| asked(&bob, name, &format!(r#"{{"key_id":"{key}",{rest}}}"#), None);
        assert_eq!(about("alias/bob-1"), Ok(format!("{action} alias/bob-1")));
        assert_eq!(about("alias/ann-1"), Err(Refusal::Forbidden), "{name}");
        assert_eq!(about("1234abcd"), Err(Refusal::Forbidden), "{name}: a grant of an alias is none of an id");
        assert!(matches!(about("alias/bob-?"), Err(Refusal::Arguments(_))), "{name}");
        assert!(matches!(about(""), Err(Refusal::Arguments(_))), "{name}: an empty name is no key's");
    }
}

#[test]
fn a_call_that_names_no_key_is_judged_by_the_configured_one() {
    for (name, rest, action) in EVERY {
        let arguments = format!("{{{rest}}}");
        let ask = |keys: &[&str], default| asked(&granted(keys), name, &arguments, default);
        assert_eq!(ask(&["alias/main"], Some("alias/main")), Ok(format!("{action} alias/main")));
        assert_eq!(ask(&["alias/other"], Some("alias/main")), Err(Refusal::Forbidden), "{name}");
        assert_eq!(ask(&[], Some("alias/main")), Err(Refusal::Forbidden), "{name}");
        let Err(Refusal::Arguments(misfit)) = ask(&["*"], None) else { panic!("{name}: asked without a key") };
        assert_eq!(misfit.pointer, "/key_id");
    }
}

#[test]
fn what_aws_would_refuse_is_not_asked() {
    let bob = granted(&["*"]);
    let long = |bytes: usize| "YWJj".repeat(bytes.div_ceil(3));
    let (most, over) = (format!("{}YQ==", long(4095)), long(4098));
    let encrypt = |text: &str| asked(&bob, "kms.encrypt", &format!(r#"{{"plaintext":"{text}"}}"#), Some("k"));
    assert!(encrypt(&most).is_ok());
    assert!(encrypt(&over).is_err());
    let over_context = format!(r#"{{"plaintext":"YQ==","encryption_context":{{"hunter2":"{}"}}}}"#, "a".repeat(8186));
    let signed = |rest: &str| format!(r#"{{"signing_algorithm":"ECDSA_SHA_256",{rest}}}"#);
    for (name, arguments, pointer) in [
        ("kms.encrypt", r#"{"plaintext":"hunter2"}"#.to_owned(), "/plaintext"),
        ("kms.encrypt", r#"{"plaintext":""}"#.to_owned(), "/plaintext"),
        ("kms.encrypt", r#"{"plaintext":"YQ==","endpoint":"http://hunter2"}"#.to_owned(), ""),
        ("kms.encrypt", r#"{"plaintext":"YQ==","region":"hunter2"}"#.to_owned(), ""),
        ("kms.encrypt", r#"{"plaintext":"YQ==","encryption_context":{"hunter2":1}}"#.to_owned(), "/encryption_context"),
        ("kms.encrypt", over_context, "/encryption_context"),
        ("kms.encrypt", r#"{"plaintext":"YQ==","grant_tokens":[""]}"#.to_owned(), "/grant_tokens/0"),
        ("kms.encrypt", format!(r#"{{"plaintext":"YQ==","grant_tokens":{:?}}}"#, ["a"; 11]), "/grant_tokens"),
        ("kms.encrypt", r#"{"plaintext":"YQ==","wrap_ttl":60}"#.to_owned(), ""),
        ("kms.decrypt", format!(r#"{{"ciphertext":"{}"}}"#, long(6147)), "/ciphertext"),
        ("kms.generate_data_key", r#"{"key_spec":"AES_256","number_of_bytes":32}"#.to_owned(), ""),
        ("kms.generate_data_key", r#"{"key_spec":"AES_192"}"#.to_owned(), "/key_spec"),
        ("kms.generate_data_key", r#"{"number_of_bytes":0}"#.to_owned(), "/number_of_bytes"),
        ("kms.generate_data_key", r#"{"number_of_bytes":1025}"#.to_owned(), "/number_of_bytes"),
        ("kms.sign", r#"{"message":"YQ==","signing_algorithm":"hunter2"}"#.to_owned(), "/signing_algorithm"),
        ("kms.sign", signed(r#""grant_tokens":[]"#), ""),
        ("kms.sign", signed(&format!(r#""message":"YQ==","message_digest":"{}""#, long(33))), ""),
        ("kms.sign", signed(r#""message":"YQ==","message_type":"DIGEST""#), "/message_type"),
        ("kms.sign", signed(&format!(r#""message_digest":"{}""#, long(66))), "/message_digest"),
        ("kms.verify", signed(r#""message":"YQ==","signature":"""#), "/signature"),
    ] {
        let refusal = asked(&bob, name, &arguments, Some("k")).unwrap_err();
        let Refusal::Arguments(misfit) = refusal else { panic!("{arguments}: {refusal:?}") };
        assert_eq!(misfit.pointer, pointer, "{arguments}: {misfit:?}");
        assert!(!misfit.expected.contains("hunter2"), "{misfit:?}");
    }
}

#[test]
fn nothing_that_is_encrypted_is_ever_printed() {
    let operation = catalog::find("kms.encrypt").unwrap().parse(br#"{"plaintext":"aHVudGVyMg=="}"#).unwrap();
    let printed = format!("{operation:?}");
    assert!(printed.contains("Encrypt") && !printed.contains("104, 117") && !printed.contains("hunter2"), "{printed}");
}
