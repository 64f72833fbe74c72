//! Bearer tokens: what holds says what the issuer asks for, whoever reads it;
//! sets of keys.

#![no_main]
#![allow(missing_docs)]

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use filters::jwt::{Issuer, KeySet, LEEWAY, Presented, RoleRules};
use filters::secret::Secret;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const SECRET: &str = "a shared secret of forty-five bytes, no fewer";
const NOW: i64 = 1_800_000_000;

fuzz_target!(|input: (&str, &str, &str)| {
    let (text, header, claims) = input;
    let Some(keys) = KeySet::default().with_secret(&Secret::new(SECRET.to_owned()), 1) else { return };
    let roles = RoleRules { claim: "/groups".into(), values: vec!["g".into()] };
    let issuer = Issuer { roles, ..Issuer::new("i", "a") };
    let verify = |token: String| issuer.verify(&Presented::read(&Secret::new(token))?, &keys, NOW);
    assert!(verify(text.to_owned()).is_err(), "nobody has signed it");
    let _ = keys.clone().with_jwks(text.as_bytes());
    let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = BASE64.encode(hmac::sign(&key, message.as_bytes()));
    let Ok(verified) = verify(format!("{message}.{signature}")) else { return };
    let read = |text| serde_json::from_str::<Value>(text).unwrap_or_default();
    let (header, claims) = (read(header), read(claims));
    let says = |name: &str| claims.get(name).cloned().unwrap_or_default();
    assert_eq!(header.get("alg").and_then(Value::as_str), Some("HS256"));
    assert!(header.get("crit").is_none() && header.get("jwk").is_none());
    assert_eq!(says("sub"), *verified.subject);
    assert_eq!(says("iss"), "i");
    let of_us = |audience: &Value| audience == "a";
    assert!(of_us(&says("aud")) || says("aud").as_array().is_some_and(|list| list.iter().any(of_us)));
    assert!(says("exp").as_f64().is_some_and(|end| end as i64 + LEEWAY > NOW));
});
