use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::Error;

/// A key of an issuer of JWTs, which signs whatever it is given.
pub struct Signer {
    id: String,
    key: Key,
}

enum Key {
    Shared(Box<hmac::Key>),
    Rsa(RsaKeyPair),
    Elliptic(&'static str, EcdsaKeyPair),
    Edwards(Ed25519KeyPair),
}

impl Signer {
    /// HS256 by a shared secret.
    pub fn shared(secret: &[u8]) -> Signer {
        Signer { id: "shared".into(), key: Key::Shared(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret))) }
    }

    /// A new RSA key of 2048 bits.
    pub fn rsa(id: &str) -> Result<Signer, Error> {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| Error::SigningKey)?;
        Ok(Signer { id: id.into(), key: Key::Rsa(key) })
    }

    /// A new key on P-256, for ES256.
    pub fn p256(id: &str) -> Result<Signer, Error> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| Error::SigningKey)?;
        Ok(Signer { id: id.into(), key: Key::Elliptic("P-256", key) })
    }

    /// A new key on P-384, for ES384.
    pub fn p384(id: &str) -> Result<Signer, Error> {
        let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).map_err(|_| Error::SigningKey)?;
        Ok(Signer { id: id.into(), key: Key::Elliptic("P-384", key) })
    }

    /// A new Ed25519 key, for `EdDSA`.
    pub fn ed25519(id: &str) -> Result<Signer, Error> {
        let key = Ed25519KeyPair::generate().map_err(|_| Error::SigningKey)?;
        Ok(Signer { id: id.into(), key: Key::Edwards(key) })
    }

    /// The algorithm that it signs with where nothing else is asked for.
    pub fn algorithm(&self) -> &'static str {
        match self.key {
            Key::Shared(_) => "HS256",
            Key::Rsa(_) => "RS256",
            Key::Elliptic("P-384", _) => "ES384",
            Key::Elliptic(..) => "ES256",
            Key::Edwards(_) => "EdDSA",
        }
    }

    /// The public key as a JWK (RFC 7517); `null` for a shared one.
    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.key {
            Key::Shared(_) => return Value::Null,
            Key::Rsa(key) => {
                let public = key.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                json!({"kty": "RSA", "n": text(n.big_endian_without_leading_zero()),
                    "e": text(e.big_endian_without_leading_zero())})
            }
            Key::Elliptic(curve, key) => {
                // Uncompressed: one byte, then two halves.
                let point = key.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": curve, "x": text(x), "y": text(y)})
            }
            Key::Edwards(key) => json!({"kty": "OKP", "crv": "Ed25519", "x": text(key.public_key().as_ref())}),
        };
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".into(), self.id.as_str().into());
        }
        jwk
    }

    /// The public key in PEM (RFC 7468); `None` for a shared one.
    pub fn pem(&self) -> Option<String> {
        let der: PublicKeyX509Der<'_> = match &self.key {
            Key::Shared(_) => return None,
            Key::Rsa(key) => key.public_key().as_der().ok()?,
            Key::Elliptic(_, key) => key.public_key().as_der().ok()?,
            Key::Edwards(key) => key.public_key().as_der().ok()?,
        };
        Some(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der.as_ref())))
    }

    /// A token of these claims, with an ordinary header.
    pub fn token(&self, claims: &Value) -> Result<String, Error> {
        let header = json!({"typ": "JWT", "alg": self.algorithm(), "kid": self.id});
        self.token_of(&header.to_string(), &claims.to_string())
    }

    /// The public key's `cnf.jkt` (RFC 9449, RFC 7638).
    pub fn thumbprint(&self) -> String {
        let mut jwk = self.jwk();
        jwk.as_object_mut().map(|members| members.remove("kid"));
        // A map has its members in the order of their names, as is asked for.
        hash(&jwk.to_string())
    }

    /// A proof of having the key (DPoP, RFC 9449), beside an access token: an ordinary header and
    /// `ath`, with these members of header and claims added or instead.
    pub fn proof(&self, token: &str, header: &Value, claims: &Value) -> Result<String, Error> {
        let ordinary = json!({"typ": "dpop+jwt", "alg": self.algorithm(), "jwk": self.jwk()});
        let (header, claims) = (with(ordinary, header), with(json!({ "ath": hash(token) }), claims));
        self.token_of(&header.to_string(), &claims.to_string())
    }

    /// A token of these two texts, whatever they are.
    pub fn token_of(&self, header: &str, claims: &str) -> Result<String, Error> {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let header = serde_json::from_str::<Value>(header).unwrap_or_default();
        let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or_default();
        let signature = self.sign(message.as_bytes(), algorithm)?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// RSA by the named algorithm, all others by their one.
    fn sign(&self, message: &[u8], algorithm: &str) -> Result<Vec<u8>, Error> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Shared(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                let signed = key.sign(encoding(algorithm), &random, message, &mut signature);
                signed.map(|()| signature).map_err(|_| Error::SigningKey)
            }
            Key::Elliptic(_, key) => {
                key.sign(&random, message).map(|signature| signature.as_ref().to_vec()).map_err(|_| Error::SigningKey)
            }
            Key::Edwards(key) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }
}

/// An object with these members added or instead.
fn with(mut object: Value, changes: &Value) -> Value {
    if let (Some(members), Some(changes)) = (object.as_object_mut(), changes.as_object()) {
        members.extend(changes.clone());
    }
    object
}

/// SHA-256, in base64url.
fn hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

fn encoding(algorithm: &str) -> &'static dyn RsaEncoding {
    match algorithm {
        "RS384" => &signature::RSA_PKCS1_SHA384,
        "RS512" => &signature::RSA_PKCS1_SHA512,
        "PS256" => &signature::RSA_PSS_SHA256,
        "PS384" => &signature::RSA_PSS_SHA384,
        "PS512" => &signature::RSA_PSS_SHA512,
        _ => &signature::RSA_PKCS1_SHA256,
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm(), self.id)
    }
}
