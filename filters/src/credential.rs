//! The proof that a request's head offers: exactly one credential (invariants
//! 5 and 6).

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use crate::headers::{API_KEY, DPOP, MCP_METHOD, MCP_NAME, MCP_PROTOCOL_VERSION, VAULT_TOKEN, VAULT_WRAP_TTL};
use crate::names::AgentId;
use crate::refusal::Refusal;
use crate::secret::{Digest, Secret};

/// Headers that may stand once at most.
static SINGLE: [HeaderName; 7] =
    [AUTHORIZATION, DPOP, API_KEY, VAULT_WRAP_TTL, MCP_PROTOCOL_VERSION, MCP_METHOD, MCP_NAME];

/// The beginning of every key that the gate makes: `pck_[A-Za-z0-9_-]{43}` finds one that leaked.
pub const KEY_PREFIX: &str = "pck_";

/// The names of the headers by which a trusted proxy names its client.
#[derive(Clone, Debug)]
pub struct ProxyHeaders {
    /// Carries the distinguished name.
    pub identity: HeaderName,
    /// Carries `SUCCESS` where the proxy verified the certificate.
    pub verify: HeaderName,
    /// The part before the common name in the distinguished name.
    pub prefix: Box<str>,
}

/// The credentials that the head of a request offers.
#[derive(Debug, PartialEq, Eq)]
pub enum Offered {
    /// No credential; a certificate of the connection may stand alone.
    Nothing,
    /// An API key.
    ApiKey(Secret),
    /// A bearer token (RFC 6750).
    Bearer(Secret),
    /// A token that is bound to a key, and the proof of having that key (RFC 9449).
    Dpop(Secret, Secret),
    /// The distinguished name that a trusted proxy verified.
    DistinguishedName(String),
    /// The agent that this process speaks for, by the word of whoever started it; no head offers it.
    Process(AgentId),
}

/// Reads the one credential of a head. `proxy` is the configuration of the
/// identity header where the TCP peer is a trusted proxy, else `None`: then
/// such headers are not looked at.
///
/// # Errors
/// 400 for a header that stands twice, 401 for two credentials or one that is
/// not text.
pub fn offered(headers: &HeaderMap, proxy: Option<&ProxyHeaders>) -> Result<Offered, Refusal> {
    // Mostly no header at all stands twice.
    if headers.len() > headers.keys_len() && SINGLE.iter().any(|name| stands_twice(headers, name)) {
        return Err(Refusal::Malformed("A header that may stand once stands twice."));
    }
    let key = headers.get(API_KEY);
    let authorization = headers.get(AUTHORIZATION);
    let name = match proxy {
        Some(proxy) => distinguished_name(headers, proxy)?,
        None => None,
    };
    match (key, authorization, name) {
        (None, None, None) => Ok(Offered::Nothing),
        (Some(key), None, None) => text(key).map(|key| Offered::ApiKey(Secret::new(key.to_owned()))),
        (None, Some(value), None) => token(text(value)?, headers.get(DPOP)),
        (None, None, Some(name)) => Ok(Offered::DistinguishedName(name)),
        _ => Err(Refusal::Unauthenticated),
    }
}

/// The text that a client of Vault's sends as its token, if it sends one.
///
/// # Errors
/// 400 for a header that stands twice, 401 for one that is not text.
pub fn vault_token(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let Some(value) = headers.get(VAULT_TOKEN) else { return Ok(None) };
    if stands_twice(headers, &VAULT_TOKEN) {
        return Err(Refusal::Malformed("A header that may stand once stands twice."));
    }
    text(value).map(|token| Some(token).filter(|token| !token.is_empty()))
}

impl Offered {
    /// The credential that such a token is by its form; `None` for one that has no form of a credential's.
    #[must_use]
    pub fn by_form(token: &str) -> Option<Self> {
        let secret = || Secret::new(token.to_owned());
        if is_jwt(token) {
            Some(Self::Bearer(secret()))
        } else {
            token.starts_with(KEY_PREFIX).then(|| Self::ApiKey(secret()))
        }
    }
}

/// True for three parts of base64 (RFC 7515 section 3.1), of which the first is a JSON object.
fn is_jwt(token: &str) -> bool {
    token.starts_with("ey") && token.split('.').count() == 3
}

/// The headers of a head that [`offered`] looks at, and no others.
#[must_use]
pub fn credentials(headers: &HeaderMap, proxy: Option<&ProxyHeaders>) -> HeaderMap {
    let of_proxy = proxy.into_iter().flat_map(|proxy| [&proxy.identity, &proxy.verify]);
    let names = SINGLE.iter().chain(of_proxy);
    names.flat_map(|name| headers.get_all(name).iter().map(move |value| (name.clone(), value.clone()))).collect()
}

/// True for a header whose value may be a secret, by the words in its name.
#[must_use]
pub fn may_be_secret(name: &HeaderName) -> bool {
    const WORDS: [&str; 12] = [
        "assertion",
        "auth",
        "cookie",
        "credential",
        "dpop",
        "jwt",
        "key",
        "password",
        "secret",
        "session",
        "signature",
        "token",
    ];
    WORDS.iter().any(|word| name.as_str().contains(word))
}

fn stands_twice(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(name).iter().nth(1).is_some()
}

fn text(value: &http::HeaderValue) -> Result<&str, Refusal> {
    value.to_str().map_err(|_| Refusal::Unauthenticated)
}

/// The token of an `Authorization` header; by its scheme with the proof, or without looking at one.
fn token(value: &str, proof: Option<&http::HeaderValue>) -> Result<Offered, Refusal> {
    let secret = |text: &str| Secret::new(text.to_owned());
    match value.split_once(' ').map(|(scheme, token)| (scheme, token.trim())) {
        Some((_, "")) | None => Err(Refusal::Unauthenticated),
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Offered::Bearer(secret(token))),
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("dpop") => {
            let proof = proof.and_then(|proof| proof.to_str().ok()).ok_or(Refusal::InvalidProof)?;
            Ok(Offered::Dpop(secret(token), secret(proof)))
        }
        Some(_) => Err(Refusal::Unauthenticated),
    }
}

fn distinguished_name(headers: &HeaderMap, proxy: &ProxyHeaders) -> Result<Option<String>, Refusal> {
    if stands_twice(headers, &proxy.identity) || stands_twice(headers, &proxy.verify) {
        return Err(Refusal::Malformed("A header that may stand once stands twice."));
    }
    match (headers.get(&proxy.identity), headers.get(&proxy.verify)) {
        (None, _) => Ok(None),
        (Some(name), Some(verify)) if verify == "SUCCESS" => Ok(Some(text(name)?.to_owned())),
        (Some(_), _) => Err(Refusal::Unauthenticated),
    }
}

/// API keys by digest. Looking up a digest tells nothing of a key, so a hash
/// table is as good as constant time; the digest found is compared so anyway.
#[derive(Debug)]
pub struct ApiKeys<A>(std::collections::HashMap<[u8; 8], Vec<KeyEntry<A>>>);

impl<A> Default for ApiKeys<A> {
    fn default() -> Self {
        Self(std::collections::HashMap::new())
    }
}

/// One API key: its digest, its owner, its end.
#[derive(Clone, Debug)]
pub struct KeyEntry<A> {
    /// SHA-256 of the key.
    pub digest: Digest,
    /// The agent that it belongs to.
    pub agent: A,
    /// Seconds since the epoch from which it is not valid.
    pub expires: Option<i64>,
}

impl<A> ApiKeys<A> {
    /// Adds a key; `false` where its digest is there already.
    pub fn add(&mut self, entry: KeyEntry<A>) -> bool {
        let slot = self.0.entry(entry.digest.shelf()).or_default();
        let fresh = slot.iter().all(|other| other.digest != entry.digest);
        if fresh {
            slot.push(entry);
        }
        fresh
    }

    /// Every entry, in no order.
    pub fn entries(&self) -> impl Iterator<Item = &KeyEntry<A>> {
        self.0.values().flatten()
    }

    /// The entry of `key`, where it is valid at `now`, seconds since the epoch.
    #[must_use]
    pub fn find(&self, key: &Secret, now: i64) -> Option<&KeyEntry<A>> {
        let digest = key.digest();
        let found = self.0.get(&digest.shelf())?.iter().find(|entry| entry.digest == digest)?;
        found.expires.is_none_or(|expires| now < expires).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    fn head(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn proxy() -> ProxyHeaders {
        ProxyHeaders {
            identity: HeaderName::from_static("x-ssl-client-s-dn"),
            verify: HeaderName::from_static("x-ssl-client-verify"),
            prefix: "CN=".into(),
        }
    }

    #[test]
    fn exactly_one_credential_is_offered() {
        let secret = |text: &str| Secret::new(text.into());
        for (pairs, expected) in [
            (vec![], Ok(Offered::Nothing)),
            (vec![("x-api-key", "k")], Ok(Offered::ApiKey(secret("k")))),
            (vec![("authorization", "Bearer t")], Ok(Offered::Bearer(secret("t")))),
            (vec![("authorization", "bearer t")], Ok(Offered::Bearer(secret("t")))),
            (vec![("authorization", "Bearer t"), ("dpop", "p")], Ok(Offered::Bearer(secret("t")))),
            (vec![("authorization", "DPoP t"), ("dpop", "p")], Ok(Offered::Dpop(secret("t"), secret("p")))),
            (vec![("authorization", "dpop t"), ("dpop", "p")], Ok(Offered::Dpop(secret("t"), secret("p")))),
            (vec![("authorization", "DPoP t")], Err(Refusal::InvalidProof)),
            (vec![("authorization", "DPoP "), ("dpop", "p")], Err(Refusal::Unauthenticated)),
            (vec![("authorization", "DPoP t"), ("dpop", "p"), ("x-api-key", "k")], Err(Refusal::Unauthenticated)),
            (vec![("dpop", "p")], Ok(Offered::Nothing)),
            (vec![("authorization", "Basic t")], Err(Refusal::Unauthenticated)),
            (vec![("authorization", "Bearer ")], Err(Refusal::Unauthenticated)),
            (vec![("authorization", "Bearer t"), ("x-api-key", "k")], Err(Refusal::Unauthenticated)),
            (vec![("x-ssl-client-s-dn", "CN=bob"), ("x-ssl-client-verify", "SUCCESS")], Ok(Offered::Nothing)),
        ] {
            assert_eq!(offered(&head(&pairs), None), expected, "{pairs:?}");
        }
    }

    #[test]
    fn a_header_that_stands_twice_is_a_bad_request() {
        for name in SINGLE.iter().map(HeaderName::as_str) {
            let result = offered(&head(&[(name, "Bearer a"), (name, "Bearer b")]), None);
            assert!(matches!(result, Err(Refusal::Malformed(_))), "{name}");
        }
    }

    #[test]
    fn a_proxy_must_have_verified_the_name_it_forwards() {
        let proxy = proxy();
        let name = ("x-ssl-client-s-dn", "CN=bob");
        let read = |pairs: &[(&str, &str)]| offered(&head(pairs), Some(&proxy));
        assert_eq!(read(&[name, ("x-ssl-client-verify", "SUCCESS")]), Ok(Offered::DistinguishedName("CN=bob".into())));
        assert_eq!(read(&[name]), Err(Refusal::Unauthenticated));
        assert_eq!(read(&[name, ("x-ssl-client-verify", "FAILED")]), Err(Refusal::Unauthenticated));
        assert_eq!(
            read(&[name, ("x-ssl-client-verify", "SUCCESS"), ("x-api-key", "k")]),
            Err(Refusal::Unauthenticated)
        );
        assert!(matches!(read(&[name, name, ("x-ssl-client-verify", "SUCCESS")]), Err(Refusal::Malformed(_))));
    }

    #[test]
    fn a_key_has_one_owner_until_it_expires() {
        let mut keys = ApiKeys::default();
        let entry = |key: &str, agent, expires| KeyEntry { digest: Digest::of(key.as_bytes()), agent, expires };
        assert!(keys.add(entry("one", 1, None)));
        assert!(keys.add(entry("two", 2, Some(100))));
        assert!(!keys.add(entry("one", 3, None)));
        let owner = |key: &str, now| keys.find(&Secret::new(key.into()), now).map(|entry| entry.agent);
        assert_eq!(owner("one", 0), Some(1));
        assert_eq!(owner("two", 99), Some(2));
        assert_eq!(owner("two", 100), None);
        assert_eq!(owner("three", 0), None);
    }
}
