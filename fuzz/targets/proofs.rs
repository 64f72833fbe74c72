//! Proofs of possession: what holds is of the key, the request and the token,
//! whoever reads it.

#![no_main]
#![allow(missing_docs, clippy::expect_used)]

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use filters::jwt::Asked;
use filters::secret::{Digest, Secret};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const NOW: i64 = 1_800_000_000;
const TOKEN: &str = "t";

static KEY: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed of 32 bytes"));

fuzz_target!(|input: (&str, &str, &str)| {
    let (text, header, claims) = input;
    let x = BASE64.encode(KEY.public_key().as_ref());
    let key = Digest::of(format!("{{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"{x}\"}}").as_bytes());
    let token = Secret::new(TOKEN.to_owned());
    let asked = Asked { method: "GET", base: "https://g", path: "/a", token: &token, key };
    assert!(asked.proven_by(&Secret::new(text.to_owned()), NOW).is_err(), "nobody has signed it");
    let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
    let signature = BASE64.encode(KEY.sign(message.as_bytes()));
    if asked.proven_by(&Secret::new(format!("{message}.{signature}")), NOW).is_err() {
        return;
    }
    let read = |text| serde_json::from_str::<Value>(text).unwrap_or_default();
    let (header, claims) = (read(header), read(claims));
    let says = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    assert_eq!(header.get("typ").and_then(Value::as_str), Some("dpop+jwt"));
    assert_eq!(header.get("alg").and_then(Value::as_str), Some("EdDSA"));
    assert!(header.get("crit").is_none() && header.pointer("/jwk/d").is_none());
    assert_eq!(header.pointer("/jwk/x").and_then(Value::as_str), Some(x.as_str()));
    assert_eq!((says("htm"), says("ath")), ("GET", BASE64.encode(digest(&SHA256, TOKEN.as_bytes())).as_str()));
    assert!(says("htu").to_ascii_lowercase().starts_with("https://g"), "{}", says("htu"));
    assert!((1..=256).contains(&says("jti").len()));
    assert!(claims.get("iat").and_then(Value::as_f64).is_some_and(|made| (made - NOW as f64).abs() < 61.0));
});
