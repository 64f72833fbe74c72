//! Tokens that hold, and every way in which one may not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod mutation;

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use certs::Signer;
use filters::jwt::{
    Binding, Bound, Issuer, KeySet, KeySetProblem, LEAST_SECRET, LEEWAY, Presented, Refused, RoleRules, Verified,
};
use filters::scope::{Scope, Scopes};
use filters::secret::{Digest, Secret};
use mutation::{mutated, one_byte};
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW: i64 = 1_800_000_000;
const SHARED: &str = "a shared secret of forty-five bytes, no fewer";

static RSA: LazyLock<Signer> = LazyLock::new(|| Signer::rsa("rsa").unwrap());
static P256: LazyLock<Signer> = LazyLock::new(|| Signer::p256("p256").unwrap());
static P384: LazyLock<Signer> = LazyLock::new(|| Signer::p384("p384").unwrap());
static ED: LazyLock<Signer> = LazyLock::new(|| Signer::ed25519("ed").unwrap());

fn shared() -> Signer {
    Signer::shared(SHARED.as_bytes())
}

fn jwks(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

fn public() -> KeySet {
    KeySet::default().with_jwks(&jwks(&[RSA.jwk(), P256.jwk(), P384.jwk(), ED.jwk()])).unwrap()
}

fn both() -> KeySet {
    public().with_secret(&Secret::new(SHARED.into()), LEAST_SECRET).unwrap()
}

/// An issuer and its keys.
type Believed = (Issuer, KeySet);

fn issuer(keys: KeySet) -> Believed {
    (rules(), keys)
}

fn rules() -> Issuer {
    Issuer { audiences: vec!["mcp-agents".into(), "other".into()], ..Issuer::new("mcp-auth", "mcp-agents") }
}

fn claims() -> Value {
    json!({"iss": "mcp-auth", "aud": "mcp-agents", "sub": "ci", "iat": NOW, "exp": NOW + 300})
}

/// The claims with these members instead; `null` takes one away.
fn with(changes: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

fn verify((issuer, keys): &Believed, token: &str) -> Result<Verified, Refused> {
    issuer.verify(&Presented::read(&Secret::new(token.into()))?, keys, NOW)
}

fn judged(changes: &Value) -> Result<Verified, Refused> {
    verify(&issuer(both()), &shared().token(&with(changes)).unwrap())
}

fn scopes(list: &[Scope]) -> Scopes {
    list.iter().copied().collect()
}

#[test]
fn a_token_of_each_algorithm_holds() {
    let issuer = issuer(both());
    for signer in [&shared(), &*RSA, &*P256, &*P384, &*ED] {
        let verified = verify(&issuer, &signer.token(&claims()).unwrap()).unwrap();
        assert_eq!(&*verified.subject, "ci", "{signer:?}");
        assert_eq!(verified.expires, NOW + 300 + LEEWAY);
    }
    for algorithm in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
        let header = json!({"alg": algorithm, "kid": "rsa"}).to_string();
        assert!(verify(&issuer, &RSA.token_of(&header, &claims().to_string()).unwrap()).is_ok(), "{algorithm}");
    }
}

#[test]
fn ed25519_is_eddsa_by_its_full_name() {
    for (named, header) in
        [(None, "Ed25519"), (Some("Ed25519"), "Ed25519"), (Some("Ed25519"), "EdDSA"), (Some("EdDSA"), "Ed25519")]
    {
        let mut key = ED.jwk();
        named.into_iter().for_each(|name| key["alg"] = name.into());
        let issuer = issuer(KeySet::default().with_jwks(&jwks(&[key])).unwrap());
        let header = json!({"alg": header, "kid": "ed"}).to_string();
        assert!(verify(&issuer, &ED.token_of(&header, &claims().to_string()).unwrap()).is_ok(), "{named:?} {header}");
    }
    let mut wrong = P256.jwk();
    wrong["alg"] = "Ed25519".into();
    assert_eq!(KeySet::default().with_jwks(&jwks(&[wrong])), Err(KeySetProblem::NoneUsable));
}

#[test]
fn null_in_a_key_set_is_as_absence() {
    let mut key = P256.jwk();
    ["use", "alg", "key_ops", "d", "k"].iter().for_each(|name| key[*name] = Value::Null);
    let issuer = issuer(KeySet::default().with_jwks(&jwks(&[Value::Null, key, Value::Null])).unwrap());
    assert_eq!(issuer.1.len(), 1);
    assert!(verify(&issuer, &P256.token(&claims()).unwrap()).is_ok());
    let none = KeySet::default().with_jwks(&jwks(&[Value::Null]));
    assert_eq!(none, Err(KeySetProblem::NoneUsable));
}

#[test]
fn more_keys_than_are_tried_are_told_of() {
    let others = |count| (0..count).map(|n| Signer::p256(&format!("other{n}")).unwrap().jwk());
    let header = json!({"alg": "ES256"}).to_string();
    let token = P256.token_of(&header, &claims().to_string()).unwrap();
    for (before, expected) in [(7, true), (8, false)] {
        let keys: Vec<_> = others(before).chain([P256.jwk()]).collect();
        let issuer = issuer(KeySet::default().with_jwks(&jwks(&keys)).unwrap());
        let found = verify(&issuer, &token);
        assert!(if expected { found.is_ok() } else { found == Err(Refused::ManyKeys) }, "{before} before it");
        assert!(verify(&issuer, &P256.token(&claims()).unwrap()).is_ok(), "by its name");
    }
    let issuer = issuer(KeySet::default().with_jwks(&jwks(&others(8).collect::<Vec<_>>())).unwrap());
    assert_eq!(verify(&issuer, &token), Err(Refused::Signature), "all were tried");
}

#[test]
fn a_header_that_does_not_fit_is_refused() {
    let issuer = issuer(both());
    for (header, expected) in [
        (r#"{"alg":"none"}"#, Refused::Algorithm),
        (r#"{"alg":"NONE"}"#, Refused::Algorithm),
        (r#"{"alg":"hs256"}"#, Refused::Algorithm),
        (r#"{"alg":""}"#, Refused::Algorithm),
        (r#"{"alg":["HS256"]}"#, Refused::Algorithm),
        (r"{}", Refused::Algorithm),
        (r#"{"alg":"ES512"}"#, Refused::Algorithm),
        (r#"{"alg":"HS512"}"#, Refused::Key),
        (r#"{"alg":"HS384"}"#, Refused::Key),
        (r#"{"alg":"RS256"}"#, Refused::Signature),
        (r#"{"alg":"EdDSA"}"#, Refused::Signature),
        (r#"{"alg":"RS256","kid":"p256"}"#, Refused::Key),
        (r#"{"alg":"RS256","kid":"unknown"}"#, Refused::Key),
        (r#"{"alg":"HS256","kid":1}"#, Refused::Header),
        (r#"{"alg":"HS256","kid":null}"#, Refused::Header),
        (r#"{"alg":"HS256","crit":["exp"]}"#, Refused::Header),
        (r#"{"alg":"HS256","crit":[]}"#, Refused::Header),
        (r#"{"alg":"HS256","jwk":{"kty":"oct","k":"YQ"}}"#, Refused::Header),
        (r#"{"alg":"HS256","jku":"https://evil.example/jwks"}"#, Refused::Header),
        (r#"{"alg":"HS256","x5u":"https://evil.example/chain"}"#, Refused::Header),
        (r#"{"alg":"HS256","x5c":[]}"#, Refused::Header),
        (r#"{"alg":"HS256","alg":"HS256"}"#, Refused::Header),
        (r#"{"alg":"HS256","x":{"a":1,"a":2}}"#, Refused::Header),
        (r#"{"alg":"HS256","typ":"dpop+jwt"}"#, Refused::Header),
        (r#"{"alg":"HS256","typ":1}"#, Refused::Header),
        (r#"["HS256"]"#, Refused::Header),
        (r#"{"alg":"HS256"} {}"#, Refused::Header),
        ("", Refused::Header),
    ] {
        let token = shared().token_of(header, &claims().to_string()).unwrap();
        assert_eq!(verify(&issuer, &token), Err(expected), "{header}");
    }
    for header in
        [r#"{"alg":"HS256"}"#, r#"{"alg":"HS256","typ":"at+jwt"}"#, r#"{"alg":"HS256","typ":"application/JWT"}"#]
    {
        assert!(verify(&issuer, &shared().token_of(header, &claims().to_string()).unwrap()).is_ok(), "{header}");
    }
}

#[test]
fn algorithms_are_never_confused() {
    // HS256 with what is public as the secret, whether or not there is a secret too.
    let texts = [RSA.jwk().to_string(), RSA.jwk()["n"].as_str().unwrap().to_owned(), P256.jwk().to_string()];
    let mut keys: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
    keys.push(URL_SAFE_NO_PAD.decode(RSA.jwk()["n"].as_str().unwrap()).unwrap());
    keys.push(URL_SAFE_NO_PAD.decode(ED.jwk()["x"].as_str().unwrap()).unwrap());
    for key in keys {
        let forger = Signer::shared(&key);
        for id in ["rsa", "p256", "ed", "shared"] {
            let header = json!({"alg": "HS256", "kid": id}).to_string();
            let token = forger.token_of(&header, &claims().to_string()).unwrap();
            assert_eq!(verify(&issuer(public()), &token), Err(Refused::Key));
            assert_eq!(verify(&issuer(both()), &token), Err(Refused::Signature));
        }
    }
    let only = issuer(KeySet::default().with_secret(&Secret::new(SHARED.into()), LEAST_SECRET).unwrap());
    assert_eq!(verify(&only, &RSA.token(&claims()).unwrap()), Err(Refused::Key));
    // A key that says what it is for is for nothing else.
    let mut narrow = RSA.jwk();
    narrow["alg"] = "PS256".into();
    let narrow = issuer(KeySet::default().with_jwks(&jwks(&[narrow])).unwrap());
    assert_eq!(verify(&narrow, &RSA.token(&claims()).unwrap()), Err(Refused::Key));
}

#[test]
fn a_form_that_is_not_plain_is_refused() {
    let issuer = issuer(both());
    let token = shared().token(&claims()).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else { unreachable!() };
    let padded = URL_SAFE.encode(json!({"alg": "HS256", "typ": "JWT", "x": "1"}).to_string());
    assert!(padded.ends_with('='));
    let standard = STANDARD.encode(br#"{"alg":"HS256","x":"~~~???"}"#);
    assert!(standard.contains(['+', '/']));
    let long = shared().token(&with(&json!({"x": "a".repeat(16 << 10)}))).unwrap();
    for bad in [
        String::new(),
        ".".into(),
        "..".into(),
        "a.b.c".into(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{token}."),
        format!("{token}.{signature}"),
        format!("{token}.{signature}.{signature}"),
        format!("{padded}.{payload}.{signature}"),
        format!("{standard}.{payload}.{signature}"),
        format!("{header}.{payload}.{signature}="),
        format!("{header}.{payload}.{} {}", &signature[..4], &signature[4..]),
        format!(" {token}"),
        format!("{token}\n"),
        long,
    ] {
        let refused = verify(&issuer, &bad).unwrap_err();
        assert!(matches!(refused, Refused::Form | Refused::Signature | Refused::Header), "{refused:?}: {bad:.60}");
    }
    assert!(verify(&issuer, &token).is_ok());
}

#[test]
fn claims_that_do_not_fit_are_refused() {
    use Refused::Claim;
    for (changes, expected) in [
        (json!({"exp": null}), Claim("exp")),
        (json!({"exp": "1900000000"}), Claim("exp")),
        (json!({"exp": -1}), Claim("exp")),
        (json!({"exp": 1e300}), Claim("exp")),
        (json!({"exp": true}), Claim("exp")),
        (json!({"exp": [NOW + 300]}), Claim("exp")),
        (json!({"exp": 0}), Refused::Expired),
        (json!({"exp": NOW - LEEWAY}), Refused::Expired),
        (json!({"nbf": NOW + LEEWAY + 1}), Refused::Early),
        (json!({"nbf": "0"}), Claim("nbf")),
        (json!({"iat": "0"}), Claim("iat")),
        (json!({"iat": {}}), Claim("iat")),
        (json!({"sub": null}), Claim("sub")),
        (json!({"sub": ""}), Claim("sub")),
        (json!({"sub": 7}), Claim("sub")),
        (json!({"sub": ["ci"]}), Claim("sub")),
        (json!({"iss": null}), Refused::Issuer),
        (json!({"iss": "mcp-auth/"}), Refused::Issuer),
        (json!({"iss": "MCP-AUTH"}), Refused::Issuer),
        (json!({"iss": ["mcp-auth"]}), Claim("iss")),
        (json!({"aud": null}), Refused::Audience),
        (json!({"aud": []}), Refused::Audience),
        (json!({"aud": "mcp-agents other"}), Refused::Audience),
        (json!({"aud": ["mcp-agents", 1]}), Claim("aud")),
        (json!({"aud": {"mcp-agents": 1}}), Claim("aud")),
        (json!({"scope": 1}), Claim("scope")),
        (json!({"scope": ["read", 1]}), Claim("scope")),
        (json!({"scopes": {"read": true}}), Claim("scopes")),
        (json!({"scopes": ["read", 1]}), Claim("scopes")),
        (json!({"scp": 7}), Claim("scp")),
        (json!({"scp": true}), Claim("scp")),
        (json!({"scope": "read", "scopes": ["read", "write"]}), Claim("scopes")),
        (json!({"scope": "read", "scp": "write"}), Claim("scp")),
        (json!({"scope": "read", "scopes": "read", "scp": ""}), Claim("scp")),
        (json!({"scopes": [], "scp": "read"}), Claim("scp")),
        (json!({"cnf": "x"}), Claim("cnf")),
        (json!({"cnf": {}}), Claim("cnf")),
        (json!({"cnf": {"jkt": "x"}}), Claim("cnf")),
        (json!({"cnf": {"x5t#S256": "YQ"}}), Claim("cnf")),
        (json!({"cnf": {"x5t#S256": URL_SAFE_NO_PAD.encode([7; 32]), "jkt": "x"}}), Claim("cnf")),
        (json!({"cnf": {"jkt": URL_SAFE_NO_PAD.encode([7; 32]), "jwk": {}}}), Claim("cnf")),
    ] {
        assert_eq!(judged(&changes), Err(expected), "{changes}");
    }
    // As they stand, since no map of ours holds a name twice.
    for bad in [
        format!(r#"{{"iss":"mcp-auth","aud":"mcp-agents","sub":"ci","sub":"root","exp":{}}}"#, NOW + 300),
        format!(r#"{{"iss":"mcp-auth","aud":"mcp-agents","sub":"ci","exp":1,"\u0065xp":{}}}"#, NOW + 300),
        r#"["ci"]"#.into(),
        "null".into(),
        format!("{}x", claims()),
    ] {
        let token = shared().token_of(r#"{"alg":"HS256"}"#, &bad).unwrap();
        assert_eq!(verify(&issuer(both()), &token), Err(Claim("all")), "{bad}");
    }
    // `null` in the text itself, which is another type than a missing one.
    for name in ["exp", "iss", "aud", "sub"] {
        let mut bad = claims();
        bad[name] = Value::Null;
        assert_eq!(verify(&issuer(both()), &shared().token(&bad).unwrap()), Err(Claim(name)));
    }
    for name in ["nbf", "iat", "cnf", "scope", "scopes", "scp"] {
        let mut absent = claims();
        absent[name] = Value::Null;
        let generous = (Issuer { default_scopes: scopes(&[Scope::Read]), ..rules() }, both());
        let verified = verify(&generous, &shared().token(&absent).unwrap()).expect(name);
        assert!(verified.scopes == scopes(&[Scope::Read]) && verified.bound == Bound::default(), "{name}");
    }
    // One that must be bound is none by that.
    let mut unbound = claims();
    unbound["cnf"] = Value::Null;
    let bound = (Issuer { binding: Binding::Required, ..rules() }, both());
    assert_eq!(verify(&bound, &shared().token(&unbound).unwrap()), Err(Refused::Unbound));
}

#[test]
fn clocks_may_differ_by_the_leeway() {
    assert!(judged(&json!({"exp": NOW - LEEWAY + 1, "nbf": NOW + LEEWAY})).is_ok());
    assert!(judged(&json!({"exp": NOW as f64 + 0.5})).is_ok());
}

#[test]
fn a_token_carries_the_scopes_it_names() {
    for (changes, expected) in [
        (json!({}), Scopes::NONE),
        (json!({"scope": ""}), Scopes::NONE),
        (json!({"scope": "read list"}), scopes(&[Scope::Read, Scope::List])),
        (json!({"scope": "openid read  READ vault:write"}), scopes(&[Scope::Read])),
        (json!({"scopes": "write"}), scopes(&[Scope::Write])),
        (json!({"scopes": ["read", "delete", "admin"]}), scopes(&[Scope::Read, Scope::Delete])),
        (json!({"scopes": ["read", "write", "delete", "list"]}), Scopes::ALL),
        (json!({"scopes": []}), Scopes::NONE),
        (json!({"scope": "openid read", "scopes": ["read"], "scp": "read,email"}), scopes(&[Scope::Read])),
    ] {
        assert_eq!(judged(&changes).unwrap().scopes, expected, "{changes}");
    }
}

#[test]
fn scopes_mean_the_same_by_each_name_and_in_each_form() {
    let generous = (Issuer { default_scopes: Scopes::ALL, ..rules() }, both());
    let scopes_of = |changes| verify(&generous, &shared().token(&with(&changes)).unwrap()).unwrap().scopes;
    assert_eq!(scopes_of(json!({})), Scopes::ALL, "only a token without any of them gets the defaults");
    let two = scopes(&[Scope::Read, Scope::List]);
    for name in ["scope", "scopes", "scp"] {
        for (value, expected) in [
            (json!("read list"), two),
            (json!("read,list"), two),
            (json!("list, read"), two),
            (json!("read\tlist"), two),
            (json!(["read", "list"]), two),
            (json!(["read list", "openid"]), two),
            (json!(["read,list"]), two),
            (json!("read"), scopes(&[Scope::Read])),
            (json!(""), Scopes::NONE),
            (json!([]), Scopes::NONE),
            (json!("Read read; read.list"), Scopes::NONE),
        ] {
            assert_eq!(scopes_of(json!({ name: value })), expected, "{name}: {value}");
        }
    }
}

#[test]
fn the_first_rule_that_fits_gives_the_roles() {
    let with_rules = |claim: &str| {
        let values = ["admins", "deployers", "/corp/readers"].map(Into::into).into();
        (Issuer { roles: RoleRules { claim: claim.into(), values }, ..rules() }, both())
    };
    let role = |claim: &str, changes: Value| {
        verify(&with_rules(claim), &shared().token(&with(&changes)).unwrap()).unwrap().role
    };
    assert_eq!(role("groups", json!({"groups": ["x", "/corp/readers", "deployers"]})), Some(1));
    assert_eq!(role("groups", json!({"groups": "admins"})), Some(0));
    assert_eq!(role("/realm_access/roles", json!({"realm_access": {"roles": ["/corp/readers"]}})), Some(2));
    assert_eq!(role("/groups", json!({"groups": ["admins"]})), Some(0));
    assert_eq!(role("/https:~1~1corp~1groups/0", json!({"https://corp/groups": ["admins"]})), Some(0));
    for none in [
        json!({}),
        json!({"groups": []}),
        json!({"groups": ["admin", "ADMINS", ["admins"], 1]}),
        json!({"groups": {"admins": true}}),
        json!({"groups": "admins deployers"}),
    ] {
        assert_eq!(role("groups", none.clone()), None, "{none}");
    }
    assert_eq!(judged(&json!({"groups": ["admins"], "": "admins"})).unwrap().role, None);
}

#[test]
fn the_toggles_switch_off_one_check_each() {
    let token = |changes| shared().token(&with(&changes)).unwrap();
    let open = (Issuer { validate_issuer: false, ..rules() }, both());
    assert!(verify(&open, &token(json!({"iss": "else"}))).is_ok());
    assert!(verify(&open, &token(json!({"iss": null}))).is_ok());
    assert_eq!(verify(&open, &token(json!({"iss": 1}))), Err(Refused::Claim("iss")));
    assert_eq!(verify(&open, &token(json!({"aud": "else"}))), Err(Refused::Audience));
    let open = (Issuer { validate_audience: false, ..rules() }, both());
    assert!(verify(&open, &token(json!({"aud": ["else"]}))).is_ok());
    assert_eq!(verify(&open, &token(json!({"aud": 1}))), Err(Refused::Claim("aud")));
    assert_eq!(verify(&open, &token(json!({"iss": "else"}))), Err(Refused::Issuer));
    let named = (Issuer { require_kid: true, ..rules() }, both());
    let anonymous = RSA.token_of(r#"{"alg":"RS256"}"#, &claims().to_string()).unwrap();
    assert!(verify(&issuer(both()), &anonymous).is_ok());
    assert_eq!(verify(&named, &anonymous), Err(Refused::Key));
    assert!(verify(&named, &RSA.token(&claims()).unwrap()).is_ok());
    let renamed = (Issuer { subject_claim: "client_id".into(), ..rules() }, both());
    assert_eq!(&*verify(&renamed, &token(json!({"client_id": "x"}))).unwrap().subject, "x");
    for bad in [json!({}), json!({"client_id": ""}), json!({"client_id": 1}), json!({"client_id": "x", "sub": 7})] {
        assert_eq!(verify(&renamed, &token(bad.clone())), Err(Refused::Claim("sub")), "{bad}");
    }
}

#[test]
fn a_binding_is_read() {
    let text = |byte: u8| URL_SAFE_NO_PAD.encode([byte; 32]);
    let (certificate, key) = (Some(Digest::from([7; 32])), Some(Digest::from([8; 32])));
    let none = json!({});
    let of_certificate = json!({"cnf": {"x5t#S256": text(7)}});
    let of_key = json!({"cnf": {"jkt": text(8)}});
    let of_both = json!({"cnf": {"jkt": text(8), "x5t#S256": text(7)}});
    for (changes, bound, suffices) in [
        (none, Bound::default(), [true, false, false, false]),
        (of_certificate, Bound { certificate, key: None }, [true, true, true, false]),
        (of_key, Bound { certificate: None, key }, [true, true, false, true]),
        (of_both, Bound { certificate, key }, [true; 4]),
    ] {
        let asked = [Binding::Optional, Binding::Required, Binding::Certificate, Binding::Key];
        for (binding, suffices) in asked.into_iter().zip(suffices) {
            let issuer = (Issuer { binding, ..rules() }, both());
            let judged = verify(&issuer, &shared().token(&with(&changes)).unwrap()).map(|verified| verified.bound);
            assert_eq!(judged, if suffices { Ok(bound) } else { Err(Refused::Unbound) }, "{binding:?} {changes}");
        }
    }
}

#[test]
fn a_key_set_holds_public_keys_for_signatures_only() {
    let read = |keys: &[Value]| KeySet::default().with_jwks(&jwks(keys)).map(|_| ());
    let mut skipped = Vec::new();
    for (name, value) in
        [("use", json!("enc")), ("key_ops", json!(["sign"])), ("alg", json!("HS256")), ("kty", json!("EC"))]
    {
        let mut key = RSA.jwk();
        key[name] = value;
        skipped.push(key);
    }
    for (key, name, value) in [
        (&*RSA, "n", json!(URL_SAFE_NO_PAD.encode([255; 128]))),
        (&*RSA, "n", json!(URL_SAFE_NO_PAD.encode([vec![0; 129], vec![255; 255]].concat()))),
        (&*RSA, "e", json!("AQ")),
        (&*RSA, "e", json!("Ag")),
        (&*P256, "crv", json!("P-521")),
        (&*P256, "crv", json!("secp256k1")),
        (&*P256, "x", json!("AA")),
        (&*P256, "alg", json!("ES384")),
        (&*ED, "crv", json!("X25519")),
        (&*ED, "x", json!("AA")),
        (&*ED, "kid", json!(1)),
    ] {
        let mut bad = key.jwk();
        bad[name] = value;
        skipped.push(bad);
    }
    for key in skipped {
        assert_eq!(read(std::slice::from_ref(&key)), Err(KeySetProblem::NoneUsable), "{key}");
        assert_eq!(read(&[key, ED.jwk()]), Ok(()));
    }
    for name in ["d", "k", "p", "oth"] {
        let mut private = ED.jwk();
        private[name] = "AA".into();
        assert_eq!(read(&[RSA.jwk(), private]), Err(KeySetProblem::Private));
    }
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[1]}"#, r#"{"keys":[],"keys":[]}"#] {
        assert_eq!(KeySet::default().with_jwks(bad.as_bytes()).map(|_| ()), Err(KeySetProblem::NotAKeySet), "{bad}");
    }
    assert_eq!(read(&vec![ED.jwk(); 101]), Err(KeySetProblem::TooMany));
    assert!(KeySet::default().with_secret(&Secret::new("x".repeat(31)), LEAST_SECRET).is_none());
}

#[test]
fn nothing_of_a_token_is_ever_shown() {
    let issuer = issuer(both());
    let token = shared().token(&with(&json!({"sub": "canary-subject"}))).unwrap();
    let verified = verify(&issuer, &token).unwrap();
    let refused = judged(&json!({"sub": "canary-subject", "exp": 1})).unwrap_err();
    let shown = format!("{issuer:?} {verified:?} {refused} {refused:?}");
    for secret in ["canary-subject", SHARED, &token[token.len() - 20..]] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_other_text_than_the_signed_one_holds(change in one_byte()) {
        let issuer = issuer(both());
        let signer: &Signer = [&*P256, &*ED][change.0 % 2];
        let token = signer.token(&with(&json!({"scope": "read write"}))).unwrap();
        let mutated = mutated(&token, change);
        prop_assert_eq!(verify(&issuer, &mutated).is_ok(), mutated == token);
    }

    #[test]
    fn no_made_up_text_holds(text in "[-_.A-Za-z0-9=]{0,200}|.{0,60}", header in ".{0,40}", claims in ".{0,60}") {
        let issuer = issuer(public());
        prop_assert!(verify(&issuer, &text).is_err());
        prop_assert!(verify(&issuer, &shared().token_of(&header, &claims).unwrap()).is_err());
        let _ = KeySet::default().with_jwks(text.as_bytes());
    }
}
