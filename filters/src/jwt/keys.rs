//! The keys of an issuer, each bound to the algorithms that fit it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use crate::json;
use crate::secret::{Digest, Secret};

/// Fewest bytes of a shared secret: as many as SHA-256 has (RFC 7518, 3.2).
pub const LEAST_SECRET: usize = 32;

/// Most keys of a set.
const MOST_KEYS: usize = 100;

/// Most keys that one token is tried with.
pub(super) const MOST_TRIED: usize = 8;

const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
const RSA: &[Algorithm] =
    &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

/// Members by which a JWK holds something private (RFC 7518, sections 6.2.2,
/// 6.3.2 and 6.4; RFC 8037).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The keys an issuer signs with: a shared secret, public keys, or both.
///
/// The secret is used for HS256 and nothing else, a public key only for the
/// algorithms of its type: what a token's header says chooses among those.
#[derive(Clone, Default)]
pub struct KeySet {
    secret: Option<DecodingKey>,
    public: Vec<PublicKey>,
    /// Of the secret's bytes and of the JWKS, by which two sets are compared.
    sources: [Option<Digest>; 2],
}

impl PartialEq for KeySet {
    fn eq(&self, other: &Self) -> bool {
        self.sources == other.sources
    }
}

impl Eq for KeySet {}

/// One public key.
#[derive(Clone)]
pub(super) struct PublicKey {
    id: Option<Box<str>>,
    /// The algorithm that it verifies.
    pub(super) algorithms: Vec<Algorithm>,
    /// The key itself.
    pub(super) key: DecodingKey,
}

/// Why a JWKS is not used. The text holds nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySetProblem {
    /// The text is no JSON object with a list of `keys` (RFC 7517).
    NotAKeySet,
    /// The list holds more keys than are read.
    TooMany,
    /// The list holds a private or shared key, with which any reader could sign.
    Private,
    /// None of its keys can be used.
    NoneUsable,
}

impl fmt::Display for KeySetProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAKeySet => "is not a JSON object with a list of `keys`, or names a member twice",
            Self::TooMany => "holds more than 100 keys",
            Self::Private => "holds a private or shared key",
            Self::NoneUsable => "holds no key that can be used: RSA of 2048 to 8192 bits, P-256, P-384 or Ed25519",
        })
    }
}

impl KeySet {
    /// The number of keys.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.public.len() + if self.secret.is_some() { 1 } else { 0 }
    }

    /// True where no token could be verified.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.secret.is_none() && self.public.is_empty()
    }

    /// The same, with a secret for HS256; `None` where it has fewer than `least` bytes, which is to be
    /// [`LEAST_SECRET`] unless nothing is at stake.
    #[must_use]
    pub fn with_secret(mut self, secret: &Secret, least: usize) -> Option<Self> {
        let bytes = secret.expose().as_bytes();
        self.secret = Some(DecodingKey::from_secret(bytes));
        self.sources[0] = Some(Digest::of(bytes));
        (bytes.len() >= least.max(1)).then_some(self)
    }

    /// The same, with the public keys of a JWKS (RFC 7517). Keys for something
    /// else than signatures, and of types and sizes that are not used, are
    /// left out.
    ///
    /// # Errors
    /// A set that is none, that holds anything private, or nothing of use.
    pub fn with_jwks(mut self, jwks: &[u8]) -> Result<Self, KeySetProblem> {
        let set = json::object(json::unmarked(jwks)).ok_or(KeySetProblem::NotAKeySet)?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or(KeySetProblem::NotAKeySet)?;
        if keys.len() > MOST_KEYS {
            return Err(KeySetProblem::TooMany);
        }
        self.public.clear();
        self.sources[1] = Some(Digest::of(jwks));
        for key in keys.iter().filter(|key| !key.is_null()) {
            let key = key.as_object().ok_or(KeySetProblem::NotAKeySet)?;
            if is_private(key) {
                return Err(KeySetProblem::Private);
            }
            self.public.extend(PublicKey::read(key));
        }
        if self.public.is_empty() { Err(KeySetProblem::NoneUsable) } else { Ok(self) }
    }

    /// The keys that a token may have been signed with: of the header's
    /// algorithm and, where it names one, of that name. A secret has no name.
    /// At most [`MOST_TRIED`] are to be tried.
    pub(super) fn fitting(&self, algorithm: Algorithm, id: Option<&str>) -> impl Iterator<Item = &DecodingKey> {
        let secret = self.secret.iter().filter(move |_| algorithm == Algorithm::HS256);
        let fits = move |key: &&PublicKey| {
            key.algorithms.contains(&algorithm) && id.is_none_or(|id| key.id.as_deref() == Some(id))
        };
        secret.chain(self.public.iter().filter(fits).map(|key| &key.key))
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} shared and {} public keys", u8::from(self.secret.is_some()), self.public.len())
    }
}

impl PublicKey {
    /// The key that a token brings itself, and its thumbprint; `None` where that is none of use, or
    /// holds anything private.
    pub(super) fn brought(jwk: &Value) -> Option<(Self, Digest)> {
        let jwk = jwk.as_object().filter(|jwk| !is_private(jwk))?;
        Some((Self::read(jwk)?, thumbprint(jwk)?))
    }

    fn read(jwk: &Map<String, Value>) -> Option<Self> {
        let (key, fitting) = match text(jwk, "kty")? {
            "RSA" => rsa(jwk)?,
            "EC" => elliptic(jwk)?,
            "OKP" if text(jwk, "crv") == Some("Ed25519") => {
                let point = bytes(jwk, "x").filter(|point| point.len() == 32)?;
                (DecodingKey::from_ed_der(&point), &[Algorithm::EdDSA][..])
            }
            _ => return None,
        };
        let algorithms = match said(jwk, "alg") {
            None => fitting.to_vec(),
            Some(named) => {
                let named = algorithm(named.as_str()?)?;
                vec![*fitting.iter().find(|fits| **fits == named)?]
            }
        };
        let id = match said(jwk, "kid") {
            None => None,
            Some(id) => Some(id.as_str()?.into()),
        };
        is_for_signatures(jwk).then_some(Self { id, algorithms, key })
    }
}

/// The algorithm of that name. `Ed25519` (RFC 9864) is what `EdDSA` is with the only curve used here.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    if name == "Ed25519" { Some(Algorithm::EdDSA) } else { name.parse().ok() }
}

/// An optional member; `null` says no more than its absence would.
fn said<'a>(jwk: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    jwk.get(name).filter(|value| !value.is_null())
}

fn is_private(jwk: &Map<String, Value>) -> bool {
    PRIVATE.iter().any(|name| said(jwk, name).is_some())
}

/// The SHA-256 of what makes the key, in the one form that RFC 7638 gives it. Of a key that was
/// read: nothing in it needs escaping.
fn thumbprint(jwk: &Map<String, Value>) -> Option<Digest> {
    let names: &[&str] = match text(jwk, "kty")? {
        "RSA" => &["e", "kty", "n"],
        "EC" => &["crv", "kty", "x", "y"],
        _ => &["crv", "kty", "x"],
    };
    let member = |name: &&str| Some(format!("\"{name}\":\"{}\"", text(jwk, name)?));
    let members = names.iter().map(member).collect::<Option<Vec<_>>>()?;
    Some(Digest::of(format!("{{{}}}", members.join(",")).as_bytes()))
}

fn is_for_signatures(jwk: &Map<String, Value>) -> bool {
    let usage = said(jwk, "use").is_none_or(|usage| usage == "sig");
    let verifies = |operations: &Value| operations.as_array().is_some_and(|list| list.iter().any(|op| op == "verify"));
    usage && said(jwk, "key_ops").is_none_or(verifies)
}

fn rsa(jwk: &Map<String, Value>) -> Option<(DecodingKey, &'static [Algorithm])> {
    let (modulus, exponent) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    let start = modulus.iter().position(|byte| *byte != 0)?;
    let modulus = modulus.get(start..)?;
    let bits = modulus.len() * 8 - modulus.first()?.leading_zeros() as usize;
    let odd = exponent.last().is_some_and(|byte| byte & 1 == 1);
    let usable = RSA_BITS.contains(&bits) && odd && exponent.as_slice() != [1] && exponent.first() != Some(&0);
    usable.then(|| (DecodingKey::from_rsa_raw_components(modulus, &exponent), RSA))
}

fn elliptic(jwk: &Map<String, Value>) -> Option<(DecodingKey, &'static [Algorithm])> {
    let (length, algorithms): (_, &[Algorithm]) = match text(jwk, "crv")? {
        "P-256" => (32, &[Algorithm::ES256]),
        "P-384" => (48, &[Algorithm::ES384]),
        _ => return None,
    };
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    // Uncompressed (SEC 1, section 2.3.3).
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    (x.len() == length && y.len() == length).then(|| (DecodingKey::from_ec_der(&point), algorithms))
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    jwk.get(name)?.as_str()
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text(jwk, name)?).ok()
}
