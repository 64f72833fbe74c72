//! Tokens for development, and keys to sign them with. A gate only verifies;
//! this is what its developer has in place of an issuer.

use std::time::Duration;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use filters::pem::{self, Fault, Kind};
use filters::scope::Scope;
use filters::secret::Secret;
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// The key that a token is signed with.
pub(super) struct SigningKey {
    key: KeyMaterial,
    /// The thumbprint of the public half (RFC 7638) unless another name is given; a shared secret has none.
    id: Option<String>,
}

enum KeyMaterial {
    Shared(Box<hmac::Key>),
    Rsa(RsaKeyPair),
    Elliptic(Curve, EcdsaKeyPair),
    Edwards(Ed25519KeyPair),
}

#[derive(Clone, Copy)]
enum Curve {
    P256,
    P384,
}

/// The algorithms that a new key can be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Algorithm {
    /// RSA of 2048 bits.
    #[value(name = "RS256")]
    Rs256,
    /// P-256.
    #[value(name = "ES256")]
    Es256,
    /// P-384.
    #[value(name = "ES384")]
    Es384,
    /// Ed25519.
    #[value(name = "EdDSA")]
    EdDsa,
}

/// The claims of a token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claims<'a> {
    /// `iss`
    pub issuer: &'a str,
    /// `aud`
    pub audience: &'a str,
    /// `sub`
    pub subject: &'a str,
    /// `scope`; absent where there is none.
    pub scopes: &'a [Scope],
    /// `iat`, since the epoch.
    pub now: Duration,
    /// Seconds from then to `exp`.
    pub ttl: u32,
}

impl Curve {
    const fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
        }
    }
}

/// A new private key, as PEM (PKCS#8).
///
/// # Errors
/// The system gives no random numbers.
pub(super) fn new_private_key(algorithm: Algorithm) -> Result<Zeroizing<String>, Unspecified> {
    match algorithm {
        Algorithm::Rs256 => Ok(written(RsaKeyPair::generate(KeySize::Rsa2048)?.as_der()?.as_ref())),
        Algorithm::Es256 => Ok(written(EcdsaKeyPair::generate(Curve::P256.signing())?.to_pkcs8v1()?.as_ref())),
        Algorithm::Es384 => Ok(written(EcdsaKeyPair::generate(Curve::P384.signing())?.to_pkcs8v1()?.as_ref())),
        Algorithm::EdDsa => Ok(written(Ed25519KeyPair::generate()?.to_pkcs8v1()?.as_ref())),
    }
}

fn written(der: &[u8]) -> Zeroizing<String> {
    pem::encode("PRIVATE KEY", der)
}

impl SigningKey {
    /// HS256; `None` where the secret is empty.
    #[must_use]
    pub(super) fn shared(secret: &Secret) -> Option<Self> {
        let bytes = secret.expose().as_bytes();
        let key = KeyMaterial::Shared(Box::new(hmac::Key::new(hmac::HMAC_SHA256, bytes)));
        (!bytes.is_empty()).then_some(Self { key, id: None })
    }

    /// The same key, by this name (`kid`) where there is one.
    #[must_use]
    pub(super) fn named(self, id: Option<&str>) -> Self {
        Self { id: id.map(str::to_owned).or(self.id), ..self }
    }

    /// The private key in a PEM file: RSA, P-256, P-384 or Ed25519.
    ///
    /// # Errors
    /// [`Fault`], also where it is a key of another algorithm.
    pub(super) fn from_pem(text: &[u8]) -> Result<Self, Fault> {
        let key = pem::private_key(text)?;
        let other = Fault { line: None, what: "holds a private key that is none of RSA, P-256, P-384 and Ed25519" };
        Self::read(&key).ok_or(other)
    }

    fn read(key: &pem::Content) -> Option<Self> {
        let der = key.der.as_slice();
        let elliptic = |read: &dyn Fn(&'static EcdsaSigningAlgorithm) -> Option<EcdsaKeyPair>| {
            [Curve::P256, Curve::P384]
                .into_iter()
                .find_map(|curve| Some(KeyMaterial::Elliptic(curve, read(curve.signing())?)))
        };
        let key = match key.kind {
            Kind::Pkcs1Key => KeyMaterial::Rsa(RsaKeyPair::from_der(der).ok()?),
            Kind::Sec1Key => elliptic(&|curve| EcdsaKeyPair::from_private_key_der(curve, der).ok())?,
            _ => {
                let edwards = || Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok().map(KeyMaterial::Edwards);
                let elliptic = || elliptic(&|curve| EcdsaKeyPair::from_pkcs8(curve, der).ok());
                RsaKeyPair::from_pkcs8(der).ok().map(KeyMaterial::Rsa).or_else(elliptic).or_else(edwards)?
            }
        };
        let mut key = Self { key, id: None };
        // The members in the order of their names, as a JSON object has them here.
        let thumbprint = digest::digest(&digest::SHA256, key.public()?.to_string().as_bytes());
        key.id = Some(URL_SAFE_NO_PAD.encode(thumbprint));
        Some(key)
    }

    const fn algorithm(&self) -> &'static str {
        match self.key {
            KeyMaterial::Shared(_) => "HS256",
            KeyMaterial::Rsa(_) => "RS256",
            KeyMaterial::Elliptic(Curve::P256, _) => "ES256",
            KeyMaterial::Elliptic(Curve::P384, _) => "ES384",
            KeyMaterial::Edwards(_) => "EdDSA",
        }
    }

    /// The members of the public half (RFC 7518, RFC 8037); a shared secret has none.
    fn public(&self) -> Option<Value> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &self.key {
            KeyMaterial::Shared(_) => None,
            KeyMaterial::Rsa(key) => {
                let (n, e) = (key.public_key().modulus(), key.public_key().exponent());
                let (n, e) = (n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
                Some(json!({"e": text(e), "kty": "RSA", "n": text(n)}))
            }
            KeyMaterial::Elliptic(curve, key) => {
                // One byte says that it is uncompressed; two halves follow (SEC 1, section 2.3.3).
                let point = key.public_key().as_ref().get(1..)?;
                let (x, y) = point.split_at_checked(point.len() / 2)?;
                Some(json!({"crv": curve.name(), "kty": "EC", "x": text(x), "y": text(y)}))
            }
            KeyMaterial::Edwards(key) => {
                Some(json!({"crv": "Ed25519", "kty": "OKP", "x": text(key.public_key().as_ref())}))
            }
        }
    }

    /// The set of its public half (RFC 7517); a shared secret has none.
    #[must_use]
    pub(super) fn jwks(&self) -> Option<Value> {
        let mut key = self.public()?;
        let members = key.as_object_mut()?;
        members.extend([
            ("alg".to_owned(), self.algorithm().into()),
            ("kid".to_owned(), self.id.as_deref()?.into()),
            ("use".to_owned(), "sig".into()),
        ]);
        Some(json!({ "keys": [key] }))
    }

    /// A token of these claims.
    ///
    /// # Errors
    /// The key cannot sign.
    pub(super) fn token(&self, claims: Claims<'_>) -> Result<String, Unspecified> {
        let mut header = json!({"alg": self.algorithm(), "typ": "JWT"});
        if let (Some(id), Some(members)) = (&self.id, header.as_object_mut()) {
            members.insert("kid".to_owned(), id.as_str().into());
        }
        let message = [header, claims.json()].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = self.sign(message.as_bytes())?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let random = SystemRandom::new();
        match &self.key {
            KeyMaterial::Shared(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            KeyMaterial::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)?;
                Ok(signature)
            }
            KeyMaterial::Elliptic(_, key) => Ok(key.sign(&random, message)?.as_ref().to_vec()),
            KeyMaterial::Edwards(key) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }
}

impl Claims<'_> {
    fn json(&self) -> Value {
        let now = self.now.as_secs();
        let mut claims = json!({
            "iss": self.issuer,
            "aud": self.audience,
            "sub": self.subject,
            "iat": now,
            "exp": now + u64::from(self.ttl),
        });
        let scopes: Vec<&str> = self.scopes.iter().copied().map(Scope::name).collect();
        if let (false, Some(members)) = (scopes.is_empty(), claims.as_object_mut()) {
            members.insert("scope".to_owned(), scopes.join(" ").into());
        }
        claims
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;
    use filters::jwt::{Issuer, KeySet, LEEWAY, Presented};
    use filters::scope::Scopes;

    const CLAIMS: Claims<'static> = Claims {
        issuer: "i",
        audience: "a",
        subject: "s",
        scopes: &[Scope::Read, Scope::List],
        now: Duration::from_secs(1000),
        ttl: 60,
    };

    fn verified(keys: KeySet, token: String) -> (Box<str>, Scopes, i64) {
        let issuer = Issuer::new(CLAIMS.issuer, CLAIMS.audience);
        let token = Secret::new(token);
        let verified = issuer.verify(&Presented::read(&token).unwrap(), &keys, 1000).unwrap();
        (verified.subject, verified.scopes, verified.expires)
    }

    #[test]
    fn a_token_of_each_key_holds_by_its_public_half() {
        let expected = ("s".into(), [Scope::Read, Scope::List].into_iter().collect(), 1060 + LEEWAY);
        for algorithm in Algorithm::value_variants() {
            let key = SigningKey::from_pem(new_private_key(*algorithm).unwrap().as_bytes()).unwrap();
            let jwks = key.jwks().unwrap();
            let keys = KeySet::default().with_jwks(jwks.to_string().as_bytes()).unwrap();
            assert_eq!(verified(keys, key.token(CLAIMS).unwrap()), expected, "{algorithm:?}");
            assert!(KeySet::default().with_jwks(format!("\u{feff}{jwks}").as_bytes()).is_ok());
            assert_eq!(jwks["keys"][0]["alg"], algorithm.to_possible_value().unwrap().get_name());
        }
        let secret = Secret::new("x".to_owned());
        let keys = KeySet::default().with_secret(&secret, 1).unwrap();
        let key = SigningKey::shared(&secret).unwrap();
        assert_eq!(verified(keys, key.token(CLAIMS).unwrap()), expected);
        assert!(key.jwks().is_none() && SigningKey::shared(&Secret::new(String::new())).is_none());
    }

    #[test]
    fn a_key_is_named_by_its_thumbprint() {
        let key = SigningKey::from_pem(new_private_key(Algorithm::Es256).unwrap().as_bytes()).unwrap();
        let jwk = &key.jwks().unwrap()["keys"][0];
        let (x, y) = (&jwk["x"], &jwk["y"]);
        let canonical = format!("{{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":{x},\"y\":{y}}}");
        let expected = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, canonical.as_bytes()));
        assert_eq!(jwk["kid"], expected.as_str());
        assert!(SigningKey::from_pem(b"none").is_err());
    }
}
