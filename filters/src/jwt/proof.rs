//! Proofs of possession (DPoP, RFC 9449): one request's own token, signed with
//! the key that the access token is bound to. Nothing here says whether a
//! proof was used before; that is asked of its [`ProofId`].

use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::keys::{self, PublicKey};
use super::{Presented, Refused};
use crate::secret::{Digest, Secret};

/// The algorithms that a proof may be signed with, as clients are told.
pub const ALGORITHMS: &str = "ES256 ES384 EdDSA Ed25519 RS256 RS384 RS512 PS256 PS384 PS512";

/// Seconds that a proof holds from when it was made.
const AGE: i64 = 60;

/// Seconds by which its maker's clock may be ahead.
const AHEAD: i64 = 5;

/// Seconds for which a proof that was accepted might be accepted again.
pub const WINDOW: i64 = AHEAD + AGE + 1;

/// Most bytes of a proof's own name (`jti`).
const LONGEST_ID: usize = 256;

/// The request that a proof must be of.
#[derive(Debug)]
pub struct Asked<'a> {
    /// As it stands in the head.
    pub method: &'a str,
    /// Scheme and authority by which the client reaches the gate.
    pub base: &'a str,
    /// As it stands in the head, without the query.
    pub path: &'a str,
    /// The access token.
    pub token: &'a Secret,
    /// The thumbprint of the key that the token is bound to.
    pub key: Digest,
}

/// Names one proof among those of all keys: it is accepted once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProofId(Digest);

impl ProofId {
    /// Lower-case hexadecimal, 64 characters.
    #[must_use]
    pub fn to_hex(self) -> String {
        self.0.to_hex()
    }
}

impl Asked<'_> {
    /// Checks a proof at `now`, seconds since the epoch, by all of RFC 9449, section 4.3, but for
    /// nonces, which the gate gives none of. Only the key that the token is bound to is ever used.
    ///
    /// # Errors
    /// The first thing that is wrong with it; [`Refused::Key`] where it is another key's.
    pub fn proven_by(&self, proof: &Secret, now: i64) -> Result<ProofId, Refused> {
        let proof = Presented::read(proof)?;
        self.check_signature(&proof)?;
        let claim = |name| proof.claims.text(name)?.ok_or(Refused::Claim(name));
        let id = claim("jti")?;
        if id.len() > LONGEST_ID {
            return Err(Refused::Claim("jti"));
        }
        let here = resource(&format!("{}{}", self.base, self.path));
        if claim("htm")? != self.method || here.is_none() || resource(claim("htu")?) != here {
            return Err(Refused::Request);
        }
        let made = proof.claims.time("iat")?.ok_or(Refused::Claim("iat"))?;
        if made.saturating_add(AGE) < now {
            return Err(Refused::Expired);
        }
        if made > now.saturating_add(AHEAD) {
            return Err(Refused::Early);
        }
        if proof.claims.digest("ath")? != self.token.digest() {
            return Err(Refused::Token);
        }
        Ok(ProofId(self.key.followed_by(id.as_bytes())))
    }

    fn check_signature(&self, proof: &Presented<'_>) -> Result<(), Refused> {
        let Presented { message, signature, header, .. } = proof;
        let says = |name: &str| header.get(name).and_then(Value::as_str);
        if says("typ") != Some("dpop+jwt") || header.contains_key("crit") {
            return Err(Refused::Header);
        }
        let (key, thumbprint) = header.get("jwk").and_then(PublicKey::brought).ok_or(Refused::Header)?;
        if thumbprint != self.key {
            return Err(Refused::Key);
        }
        let algorithm: Option<Algorithm> = says("alg").and_then(keys::algorithm);
        let algorithm = algorithm.filter(|name| key.algorithms.contains(name)).ok_or(Refused::Algorithm)?;
        match jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.key, algorithm) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Refused::Signature),
        }
    }
}

/// A URL without query and fragment, in the one spelling that others of it have in common (RFC 3986,
/// sections 6.2.2 and 6.2.3). Dots are left: no path with them is served.
fn resource(url: &str) -> Option<String> {
    let url = url.split(['?', '#']).next()?;
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (scheme, authority) = (scheme.to_ascii_lowercase(), authority.to_ascii_lowercase());
    let port = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    let authority = authority.strip_suffix(port).or(authority.strip_suffix(':')).unwrap_or(&authority);
    let path = if path.is_empty() { "/".to_owned() } else { decoded(path) };
    (!authority.is_empty()).then(|| format!("{scheme}://{authority}{path}"))
}

/// A path in which only that is percent-encoded that must be, in upper case.
fn decoded(path: &str) -> String {
    let mut parts = path.split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..2).filter(|digits| !digits.starts_with('+'));
        let byte = byte.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => out.push(char::from(byte)),
            Some(byte) => out.push_str(&format!("%{byte:02X}")),
            None => out.push('%'),
        }
        out.push_str(if byte.is_some() { part.get(2..).unwrap_or_default() } else { part });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_url_are_alike() {
        for (one, other) in [
            ("https://gate.example", "https://gate.example/"),
            ("https://gate.example:443/a", "HTTPS://Gate.EXAMPLE/a"),
            ("http://gate.example:/a", "http://gate.example:80/a"),
            ("https://[::1]:443/a", "https://[::1]/a"),
            ("https://gate.example/a?b=/c#d", "https://gate.example/a"),
            ("https://gate.example?b", "https://gate.example/#d"),
            ("https://gate.example/%7ea%2fb%C3%a4", "https://gate.example/~a%2Fb%c3%A4"),
            ("https://gate.example/%zz%", "https://gate.example/%zz%"),
        ] {
            assert!(resource(one).is_some() && resource(one) == resource(other), "{one} {other}");
        }
        for (one, other) in [
            ("https://gate.example/a", "https://gate.example/A"),
            ("https://gate.example/a", "https://gate.example/a/"),
            ("https://gate.example/a", "http://gate.example/a"),
            ("https://gate.example/a", "https://gate.example:80/a"),
            ("https://gate.example/a", "https://gate.example:8443/a"),
            ("https://gate.example/a", "https://u@gate.example/a"),
            ("https://gate.example/a%2fb", "https://gate.example/a/b"),
            ("https://gate.example/a%+1b", "https://gate.example/a%01b"),
            ("https://gate.example/%2541", "https://gate.example/A"),
        ] {
            assert_ne!(resource(one), resource(other), "{one} {other}");
        }
        for none in ["", "/a", "gate.example/a", "ftp://gate.example/a", "https:///a", "https://:443/a"] {
            assert_eq!(resource(none), None, "{none}");
        }
    }
}
