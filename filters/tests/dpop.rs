//! Proofs of possession: one that holds, and every way in which one may not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod mutation;

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certs::Signer;
use filters::jwt::{ALGORITHMS, Asked, ProofId, Refused, WINDOW};
use filters::secret::{Digest, Secret};
use mutation::{mutated, one_byte};
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW: i64 = 1_800_000_000;
const TOKEN: &str = "header.claims.signature";
const BASE: &str = "https://gate.example";
const PATH: &str = "/secrets/a%2Fb";

static RSA: LazyLock<Signer> = LazyLock::new(|| Signer::rsa("rsa").unwrap());
static P256: LazyLock<Signer> = LazyLock::new(|| Signer::p256("p256").unwrap());
static P384: LazyLock<Signer> = LazyLock::new(|| Signer::p384("p384").unwrap());
static ED: LazyLock<Signer> = LazyLock::new(|| Signer::ed25519("ed").unwrap());

fn digest(text: &str) -> String {
    let hex = Digest::of(text.as_bytes()).to_hex();
    let bytes: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The thumbprint by RFC 7638: `json!` has its members in the order of their names.
fn thumbprint(key: &Signer) -> Digest {
    let mut jwk = key.jwk();
    jwk.as_object_mut().unwrap().remove("kid");
    Digest::of(jwk.to_string().as_bytes())
}

fn header(key: &Signer) -> Value {
    json!({"typ": "dpop+jwt", "alg": key.algorithm(), "jwk": key.jwk()})
}

fn claims() -> Value {
    json!({"jti": "one", "htm": "PUT", "htu": format!("{BASE}{PATH}"), "iat": NOW, "ath": digest(TOKEN)})
}

/// The same with these members instead; `null` takes one away.
fn with(mut value: Value, changes: &Value) -> Value {
    for (name, change) in changes.as_object().unwrap() {
        match change {
            Value::Null => drop(value.as_object_mut().unwrap().remove(name)),
            change => value[name] = change.clone(),
        }
    }
    value
}

fn signed(key: &Signer, header: &Value, claims: &Value) -> String {
    key.token_of(&header.to_string(), &claims.to_string()).unwrap()
}

fn check_at(key: &Signer, proof: &str, now: i64) -> Result<ProofId, Refused> {
    let token = Secret::new(TOKEN.into());
    let asked = Asked { method: "PUT", base: BASE, path: PATH, token: &token, key: thumbprint(key) };
    asked.proven_by(&Secret::new(proof.into()), now)
}

fn check(key: &Signer, proof: &str) -> Result<ProofId, Refused> {
    check_at(key, proof, NOW)
}

#[test]
fn a_proof_of_each_algorithm_holds() {
    let mut held = Vec::new();
    for key in [&*P256, &*P384, &*ED, &*RSA] {
        let algorithms: &[&str] = match key.algorithm() {
            "RS256" => &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
            "EdDSA" => &["EdDSA", "Ed25519"],
            other => &[other],
        };
        for algorithm in algorithms {
            let proof = signed(key, &with(header(key), &json!({"alg": algorithm})), &claims());
            assert!(check(key, &proof).is_ok(), "{algorithm}");
            held.push(*algorithm);
        }
    }
    held.sort_unstable();
    let mut told: Vec<&str> = ALGORITHMS.split(' ').collect();
    told.sort_unstable();
    assert_eq!(held, told);
}

#[test]
fn the_example_of_rfc_9449_holds() {
    let proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZ\
                 OXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIs\
                 ImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJ\
                 jZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05\
                 yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmc\
                 w6Fy1dqd-jfxSYoMxhAJpLjA";
    let key = URL_SAFE_NO_PAD.decode("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I").unwrap();
    let key: [u8; 32] = key.try_into().unwrap();
    let token = Secret::new("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU".into());
    let base = "https://resource.example.org";
    let asked = Asked { method: "GET", base, path: "/protectedresource", token: &token, key: key.into() };
    assert!(asked.proven_by(&Secret::new(proof.into()), 1_562_262_618).is_ok());
}

#[test]
fn a_header_that_does_not_fit_is_refused() {
    let ec = P256.jwk();
    for (changes, expected) in [
        (json!({"typ": null}), Refused::Header),
        (json!({"typ": "JWT"}), Refused::Header),
        (json!({"typ": "dpop"}), Refused::Header),
        (json!({"typ": ["dpop+jwt"]}), Refused::Header),
        (json!({"crit": ["exp"], "exp": 1}), Refused::Header),
        (json!({"crit": []}), Refused::Header),
        (json!({"jwk": null}), Refused::Header),
        (json!({"jwk": ec.to_string()}), Refused::Header),
        (json!({"jwk": [ec]}), Refused::Header),
        (json!({"jwk": {"kty": "oct", "k": "AA"}}), Refused::Header),
        (json!({"jwk": with(ec.clone(), &json!({"d": "AA"}))}), Refused::Header),
        (json!({"jwk": with(ec.clone(), &json!({"k": "AA"}))}), Refused::Header),
        (json!({"jwk": with(ec.clone(), &json!({"use": "enc"}))}), Refused::Header),
        (json!({"jwk": with(ec.clone(), &json!({"crv": "secp256k1"}))}), Refused::Header),
        (json!({"jwk": with(ec.clone(), &json!({"x": "AA"}))}), Refused::Header),
        (json!({"jwk": with(ec.clone(), &json!({"y": null}))}), Refused::Header),
        (json!({"jwk": Signer::p256("p256").unwrap().jwk()}), Refused::Key),
        (json!({"jwk": ED.jwk()}), Refused::Key),
        (json!({"alg": null}), Refused::Algorithm),
        (json!({"alg": "none"}), Refused::Algorithm),
        (json!({"alg": "HS256"}), Refused::Algorithm),
        (json!({"alg": "ES384"}), Refused::Algorithm),
        (json!({"alg": "ES256K"}), Refused::Algorithm),
        (json!({"alg": "es256"}), Refused::Algorithm),
        (json!({"alg": ["ES256"]}), Refused::Algorithm),
    ] {
        let proof = signed(&P256, &with(header(&P256), &changes), &claims());
        assert_eq!(check(&P256, &proof), Err(expected), "{changes}");
    }
    // The private half beside the public one, and a key that is for one algorithm only.
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth"] {
        let jwk = with(RSA.jwk(), &json!({name: "AA"}));
        let proof = signed(&RSA, &with(header(&RSA), &json!({"jwk": jwk})), &claims());
        assert_eq!(check(&RSA, &proof), Err(Refused::Header), "{name}");
    }
    let narrow = with(header(&RSA), &json!({"jwk": with(RSA.jwk(), &json!({"alg": "PS256"}))}));
    assert_eq!(check(&RSA, &signed(&RSA, &narrow, &claims())), Err(Refused::Algorithm));
    // The public key as a shared secret.
    let forged = Signer::shared(ec.to_string().as_bytes());
    let proof = signed(&forged, &with(header(&P256), &json!({"alg": "HS256"})), &claims());
    assert_eq!(check(&P256, &proof), Err(Refused::Algorithm));
    // Texts that no map of ours gives.
    let text = header(&P256).to_string();
    for bad in [
        text.replacen('{', r#"{"typ":"dpop+jwt","#, 1),
        text.replacen(r#""kty""#, r#""kty":"EC","kty""#, 1),
        format!("[{text}]"),
        format!("{text}x"),
        String::new(),
    ] {
        let proof = P256.token_of(&bad, &claims().to_string()).unwrap();
        assert_eq!(check(&P256, &proof), Err(Refused::Header), "{bad}");
    }
}

#[test]
fn claims_that_do_not_fit_are_refused() {
    use Refused::{Claim, Request};
    for (changes, expected) in [
        (json!({"jti": null}), Claim("jti")),
        (json!({"jti": ""}), Claim("jti")),
        (json!({"jti": 1}), Claim("jti")),
        (json!({"jti": "a".repeat(257)}), Claim("jti")),
        (json!({"htm": null}), Claim("htm")),
        (json!({"htm": ["PUT"]}), Claim("htm")),
        (json!({"htm": "GET"}), Request),
        (json!({"htm": "put"}), Request),
        (json!({"htu": null}), Claim("htu")),
        (json!({"htu": 1}), Claim("htu")),
        (json!({"htu": BASE}), Request),
        (json!({"htu": PATH}), Request),
        (json!({"htu": format!("{BASE}/secrets/a/b")}), Request),
        (json!({"htu": format!("{BASE}{PATH}/")}), Request),
        (json!({"htu": format!("{BASE}/x/..{PATH}")}), Request),
        (json!({"htu": format!("http://gate.example{PATH}")}), Request),
        (json!({"htu": format!("https://gate.example.evil{PATH}")}), Request),
        (json!({"htu": format!("https://gate.example:8443{PATH}")}), Request),
        (json!({"htu": format!("https://gate.example@evil{PATH}")}), Request),
        (json!({"iat": null}), Claim("iat")),
        (json!({"iat": NOW.to_string()}), Claim("iat")),
        (json!({"iat": -1}), Claim("iat")),
        (json!({"iat": 1e300}), Claim("iat")),
        (json!({"iat": 0}), Refused::Expired),
        (json!({"iat": NOW - 61}), Refused::Expired),
        (json!({"iat": NOW + 6}), Refused::Early),
        (json!({"ath": null}), Claim("ath")),
        (json!({"ath": "x"}), Claim("ath")),
        (json!({"ath": format!("{}=", digest(TOKEN))}), Claim("ath")),
        (json!({"ath": Digest::of(TOKEN.as_bytes()).to_hex()}), Claim("ath")),
        (json!({"ath": digest("another.access.token")}), Refused::Token),
    ] {
        let proof = signed(&P256, &header(&P256), &with(claims(), &changes));
        assert_eq!(check(&P256, &proof), Err(expected), "{changes}");
    }
    for changes in [
        json!({"jti": "a".repeat(256)}),
        json!({"htu": format!("HTTPS://Gate.Example:443{PATH}?version=1#part")}),
        json!({"htu": format!("{BASE}/secr%65ts/a%2fb")}),
        json!({"iat": NOW - 60}),
        json!({"iat": NOW + 5}),
        json!({"nonce": "whatever", "sub": "whoever"}),
    ] {
        assert!(check(&P256, &signed(&P256, &header(&P256), &with(claims(), &changes))).is_ok(), "{changes}");
    }
    // Where the gate cannot tell how it is reached, no URL is the right one.
    let (token, key) = (Secret::new(TOKEN.into()), thumbprint(&P256));
    let asked = Asked { method: "PUT", base: "", path: PATH, token: &token, key };
    for url in [PATH, "x"] {
        let proof = signed(&P256, &header(&P256), &with(claims(), &json!({ "htu": url })));
        assert_eq!(asked.proven_by(&Secret::new(proof), NOW), Err(Request), "{url}");
    }
    let twice = claims().to_string().replacen('{', r#"{"jti":"two","#, 1);
    let proof = P256.token_of(&header(&P256).to_string(), &twice).unwrap();
    assert_eq!(check(&P256, &proof), Err(Claim("all")));
}

#[test]
fn only_the_signature_of_the_bound_key_counts() {
    let proof = signed(&P256, &header(&P256), &claims());
    assert!(check(&P256, &proof).is_ok());
    assert_eq!(check(&ED, &proof), Err(Refused::Key), "the token is bound to another");
    let stranger = Signer::p256("p256").unwrap();
    assert_eq!(check(&P256, &signed(&stranger, &header(&P256), &claims())), Err(Refused::Signature));
    let (message, signature) = proof.rsplit_once('.').unwrap();
    for bad in [
        String::new(),
        message.to_owned(),
        format!("{message}."),
        format!("{message}.{}", &signature[..40]),
        format!("{proof}."),
        format!("{proof}="),
        format!("{proof},{proof}"),
        format!("{proof} "),
    ] {
        assert!(matches!(check(&P256, &bad), Err(Refused::Form | Refused::Signature)), "{bad:.60}");
    }
    let large = signed(&P256, &header(&P256), &with(claims(), &json!({"x": "a".repeat(16 << 10)})));
    assert_eq!(check(&P256, &large), Err(Refused::Form));
}

#[test]
fn a_proof_is_known_by_its_key_and_its_name() {
    let id = |key: &Signer, changes: &Value| check(key, &signed(key, &header(key), &with(claims(), changes))).unwrap();
    let one = id(&P256, &json!({}));
    assert_eq!(one, id(&P256, &json!({"iat": NOW - 1, "x": 1})), "whatever else it says");
    assert_ne!(one, id(&P256, &json!({"jti": "two"})));
    assert_ne!(one, id(&ED, &json!({})));
    // Not accepted again once it may be forgotten.
    let ahead = signed(&P256, &header(&P256), &with(claims(), &json!({"iat": NOW + 5})));
    assert!(check_at(&P256, &ahead, NOW + WINDOW - 1).is_ok());
    assert_eq!(check_at(&P256, &ahead, NOW + WINDOW), Err(Refused::Expired));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_other_text_than_the_signed_one_holds(change in one_byte()) {
        let key: &Signer = [&*P256, &*ED][change.0 % 2];
        let proof = signed(key, &header(key), &claims());
        let mutated = mutated(&proof, change);
        prop_assert_eq!(check(key, &mutated).is_ok(), mutated == proof);
    }
}
