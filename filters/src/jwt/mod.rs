//! Bearer tokens: JWTs (RFC 7519) signed by an issuer that the configuration
//! names, read as RFC 8725 asks for.
//!
//! ```text
//! text ─► three parts ─► Presented ─► its issuer ─► keys that fit ─► signature ─► claims ─► Verified
//! ```

mod claims;
mod keys;
mod proof;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

pub use keys::{KeySet, KeySetProblem, LEAST_SECRET};
pub use proof::{ALGORITHMS, Asked, ProofId, WINDOW};

use crate::json;
use crate::scope::Scopes;
use crate::secret::{Digest, Secret};
use claims::Claims;
use keys::MOST_TRIED;

/// Most bytes of a token.
pub const LONGEST: usize = 16 << 10;

/// Most bytes of a key's name.
const LONGEST_KEY_ID: usize = 256;

/// Seconds by which clocks may differ, unless configured.
pub const LEEWAY: i64 = 60;

/// Header parameters by which a token brings its own key, and the one by which
/// it asks for what is not understood here.
const REFUSED: [&str; 5] = ["crit", "jwk", "jku", "x5u", "x5c"];

/// An issuer whose tokens are accepted, and the checks that they must pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The value that `iss` must have.
    pub name: Box<str>,
    /// Of which `aud` must name one.
    pub audiences: Vec<Box<str>>,
    /// Seconds by which the clocks may differ.
    pub leeway: i64,
    /// True where a token must name its key.
    pub require_kid: bool,
    /// True where `iss` is checked.
    pub validate_issuer: bool,
    /// True where `aud` is checked.
    pub validate_audience: bool,
    /// To what a token must be bound.
    pub binding: Binding,
    /// The scopes of a token that names none.
    pub default_scopes: Scopes,
    /// The claim that names the subject.
    pub subject_claim: Box<str>,
    /// From what a token says of its subject to roles.
    pub roles: RoleRules,
}

/// The binding that an issuer's tokens must have, so that they are good for their sender only. A
/// binding that a token has is checked whatever is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// To nothing.
    Optional,
    /// To a certificate or to a key.
    Required,
    /// To a certificate (RFC 8705).
    Certificate,
    /// To a key (RFC 9449).
    Key,
}

/// The claim that says which groups a subject is of, and what each is worth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleRules {
    /// The claim's name, or a JSON pointer (RFC 6901) where it begins with `/`.
    pub claim: Box<str>,
    /// Values of it; the first that the token has decides.
    pub values: Vec<Box<str>>,
}

/// A token that holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Verified {
    /// Whom it is about.
    pub subject: Box<str>,
    /// The scopes that it carries.
    pub scopes: Scopes,
    /// The first of the issuer's [`RoleRules`] that fits.
    pub role: Option<usize>,
    /// Seconds since the epoch from which it does not hold, leeway included.
    pub expires: i64,
    /// To what it is bound.
    pub bound: Bound,
}

/// To what a token is bound (`cnf`, RFC 7800); both must hold where there are both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// The SHA-256 of a certificate (RFC 8705).
    pub certificate: Option<Digest>,
    /// The thumbprint of a key (RFC 9449, RFC 7638).
    pub key: Option<Digest>,
}

/// A token as it was presented: read, and nothing of it believed.
pub struct Presented<'a> {
    message: &'a str,
    signature: &'a str,
    header: Map<String, Value>,
    claims: Claims,
}

/// Why a token does not hold. For the log: the text says nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The token is not three parts of base64url, or too long.
    Form,
    /// Its header is not one, or has a parameter that is not taken.
    Header,
    /// Its algorithm is not used here.
    Algorithm,
    /// There is no such key.
    Key,
    /// More keys fit than are tried, and the first ones do not hold.
    ManyKeys,
    /// The signature is not of that key.
    Signature,
    /// A claim is absent where it must not be, or of another type.
    Claim(&'static str),
    /// The token has expired.
    Expired,
    /// The token is not valid yet.
    Early,
    /// The token is another issuer's.
    Issuer,
    /// The token is for another audience.
    Audience,
    /// The token is bound to no holder, where it must be.
    Unbound,
    /// A proof of another request.
    Request,
    /// A proof beside another token.
    Token,
}

impl<'a> Presented<'a> {
    /// Reads a compact JWS (RFC 7515, section 7.1).
    ///
    /// # Errors
    /// The fault in its form, its header, or the type of a claim.
    pub fn read(token: &'a Secret) -> Result<Self, Refused> {
        let token = token.expose();
        if token.len() > LONGEST {
            return Err(Refused::Form);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Refused::Form)?;
        let (header, payload) = message.split_once('.').ok_or(Refused::Form)?;
        let (header, payload) = (decoded(header)?, decoded(payload)?);
        decoded(signature)?;
        let header = json::object(&header).ok_or(Refused::Header)?;
        let claims = json::object(&payload).ok_or(Refused::Claim("all"))?;
        Ok(Self { message, signature, header, claims: Claims::read(claims)? })
    }

    /// True where it does not name the public key that verifies it: with a key that is not known, its
    /// signature says no more than a broken one.
    #[must_use]
    pub fn names_no_key(&self) -> bool {
        !self.header.contains_key("kid") && self.header.get("alg").is_some_and(|name| name != "HS256")
    }

    /// Whom it says it is of: good for choosing whose keys are tried.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.claims.text("iss").ok()?
    }
}

impl Issuer {
    /// One of that name whose tokens name this audience, with every check on
    /// and nothing given that a token does not say.
    #[must_use]
    pub fn new(name: &str, audience: &str) -> Self {
        Self {
            name: name.into(),
            audiences: vec![audience.into()],
            leeway: LEEWAY,
            require_kid: false,
            validate_issuer: true,
            validate_audience: true,
            binding: Binding::Optional,
            default_scopes: Scopes::NONE,
            subject_claim: "sub".into(),
            roles: RoleRules::default(),
        }
    }

    /// Verifies a token at `now`, seconds since the epoch.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn verify(&self, token: &Presented<'_>, keys: &KeySet, now: i64) -> Result<Verified, Refused> {
        self.check_signature(token, keys)?;
        self.judge(&token.claims, now)
    }

    fn check_signature(&self, token: &Presented<'_>, keys: &KeySet) -> Result<(), Refused> {
        let Presented { message, signature, header, .. } = token;
        if REFUSED.iter().any(|name| header.contains_key(*name)) || !is_jwt(header.get("typ")) {
            return Err(Refused::Header);
        }
        let algorithm = header.get("alg").and_then(Value::as_str).ok_or(Refused::Algorithm)?;
        let algorithm = keys::algorithm(algorithm).ok_or(Refused::Algorithm)?;
        let id = match header.get("kid") {
            None if self.require_kid => return Err(Refused::Key),
            None => None,
            Some(Value::String(id)) if id.len() <= LONGEST_KEY_ID => Some(id.as_str()),
            Some(_) => return Err(Refused::Header),
        };
        let mut refused = Refused::Key;
        for (tried, key) in keys.fitting(algorithm, id).enumerate() {
            if tried == MOST_TRIED {
                return Err(Refused::ManyKeys);
            }
            match jsonwebtoken::crypto::verify(signature, message.as_bytes(), key, algorithm) {
                Ok(true) => return Ok(()),
                Ok(false) | Err(_) => refused = Refused::Signature,
            }
        }
        Err(refused)
    }

    fn judge(&self, claims: &Claims, now: i64) -> Result<Verified, Refused> {
        let expires = claims.time("exp")?.ok_or(Refused::Claim("exp"))?.saturating_add(self.leeway);
        if expires <= now {
            return Err(Refused::Expired);
        }
        if claims.time("nbf")?.is_some_and(|begins| begins > now.saturating_add(self.leeway)) {
            return Err(Refused::Early);
        }
        if self.validate_issuer && claims.text("iss")? != Some(&*self.name) {
            return Err(Refused::Issuer);
        }
        let ours = |name: &&str| self.audiences.iter().any(|audience| **audience == **name);
        if self.validate_audience && !claims.names("aud")?.iter().any(ours) {
            return Err(Refused::Audience);
        }
        let bound = claims.bound()?;
        let suffices = match self.binding {
            Binding::Optional => true,
            Binding::Required => bound != Bound::default(),
            Binding::Certificate => bound.certificate.is_some(),
            Binding::Key => bound.key.is_some(),
        };
        if !suffices {
            return Err(Refused::Unbound);
        }
        Ok(Verified {
            subject: claims.subject(&self.subject_claim)?.into(),
            scopes: claims.scopes()?.unwrap_or(self.default_scopes),
            role: claims.first_of(&self.roles),
            expires,
            bound,
        })
    }
}

/// Tokens for something else may be signed with the same key (RFC 8725, 3.11).
fn is_jwt(kind: Option<&Value>) -> bool {
    let Some(kind) = kind else { return true };
    let kind = kind.as_str().unwrap_or_default().to_ascii_lowercase();
    matches!(kind.strip_prefix("application/").unwrap_or(&kind), "jwt" | "at+jwt")
}

fn decoded(part: &str) -> Result<Vec<u8>, Refused> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::Form)
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[a token that holds]")
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "not a compact JWS of 16 KiB at most",
            Self::Header => "a header that is not taken",
            Self::Algorithm => "an algorithm that is not used",
            Self::Key => "no key fits",
            Self::ManyKeys => {
                "more than 8 keys of the issuer fit and the first 8 do not hold: have tokens name theirs (`kid`)"
            }
            Self::Signature => "the signature does not hold",
            Self::Claim(name) => return write!(f, "the claim `{name}` is absent or not of its type"),
            Self::Expired => "expired",
            Self::Early => "not valid yet",
            Self::Issuer => "another issuer",
            Self::Audience => "another audience",
            Self::Unbound => "not bound to its sender",
            Self::Request => "of another request",
            Self::Token => "of another token",
        })
    }
}
