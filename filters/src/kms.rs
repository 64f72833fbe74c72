//! Requests to AWS KMS, and the names of its keys.
//! API: <https://docs.aws.amazon.com/kms/latest/APIReference/>
//!
//! A [`KmsRequest`] cannot be made outside this crate, and holds no
//! credential, region or endpoint: these are the gate's own.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::Deserialize;
use zeroize::Zeroizing;

/// Most bytes of a key's name.
pub(crate) const MAX_KEY: usize = 2048;
/// Most bytes of an alias, without `alias/`.
const MAX_ALIAS: usize = 250;

/// One request to AWS KMS about one key.
#[derive(Debug)]
pub struct KmsRequest {
    key: Box<str>,
    call: KmsCall,
}

impl KmsRequest {
    pub(crate) const fn new(key: Box<str>, call: KmsCall) -> Self {
        Self { key, call }
    }

    /// The key's name, never empty, and what is asked of it.
    #[must_use]
    pub fn into_parts(self) -> (Box<str>, KmsCall) {
        (self.key, self.call)
    }
}

/// The request that is made of a key.
pub enum KmsCall {
    /// Encrypt the bytes.
    Encrypt(Zeroizing<Vec<u8>>, Circumstances),
    /// Decrypt the bytes.
    Decrypt(Vec<u8>, Circumstances),
    /// Make a data key.
    DataKey(DataKey, Circumstances),
    /// Sign.
    Sign(Signed, GrantTokens),
    /// Verify this signature.
    Verify(Signed, Vec<u8>, GrantTokens),
}

/// Tokens of AWS's grants that have not spread yet.
pub type GrantTokens = Vec<String>;

/// The circumstances that encryption is bound to beside the key.
pub struct Circumstances {
    /// Context that must be given again to decrypt.
    pub context: BTreeMap<String, String>,
    /// Tokens of AWS's grants.
    pub grant_tokens: GrantTokens,
}

/// The size of a data key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataKey {
    /// A key of AES.
    Spec(KeySpec),
    /// So many bytes, from 1 to 1024.
    Bytes(u16),
}

/// The input of a signature.
pub struct Signed {
    /// The message, or its digest.
    pub message: Zeroizing<Vec<u8>>,
    /// True where it is a digest already.
    pub digest: bool,
    /// The algorithm.
    pub algorithm: SigningAlgorithm,
}

/// Which AES a data key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum KeySpec {
    /// 32 bytes.
    #[serde(rename = "AES_256")]
    Aes256,
    /// 16 bytes.
    #[serde(rename = "AES_128")]
    Aes128,
}

impl KeySpec {
    /// As AWS has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes256 => "AES_256",
            Self::Aes128 => "AES_128",
        }
    }
}

/// The signature algorithm of a key.
/// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum SigningAlgorithm {
    #[serde(rename = "RSASSA_PSS_SHA_256")]
    PssSha256,
    #[serde(rename = "RSASSA_PSS_SHA_384")]
    PssSha384,
    #[serde(rename = "RSASSA_PSS_SHA_512")]
    PssSha512,
    #[serde(rename = "RSASSA_PKCS1_V1_5_SHA_256")]
    Pkcs1Sha256,
    #[serde(rename = "RSASSA_PKCS1_V1_5_SHA_384")]
    Pkcs1Sha384,
    #[serde(rename = "RSASSA_PKCS1_V1_5_SHA_512")]
    Pkcs1Sha512,
    #[serde(rename = "ECDSA_SHA_256")]
    EcdsaSha256,
    #[serde(rename = "ECDSA_SHA_384")]
    EcdsaSha384,
    #[serde(rename = "ECDSA_SHA_512")]
    EcdsaSha512,
    #[serde(rename = "SM2DSA")]
    Sm2Dsa,
    #[serde(rename = "ML_DSA_SHAKE_256")]
    MlDsaShake256,
    #[serde(rename = "ED25519_SHA_512")]
    Ed25519Sha512,
    #[serde(rename = "ED25519_PH_SHA_512")]
    Ed25519PhSha512,
}

impl SigningAlgorithm {
    /// The length of a message's digest in bytes; `None` where the algorithm takes messages only.
    #[must_use]
    pub const fn digest_length(self) -> Option<usize> {
        match self {
            Self::PssSha256 | Self::Pkcs1Sha256 | Self::EcdsaSha256 | Self::Sm2Dsa => Some(32),
            Self::PssSha384 | Self::Pkcs1Sha384 | Self::EcdsaSha384 => Some(48),
            Self::PssSha512 | Self::Pkcs1Sha512 | Self::EcdsaSha512 | Self::Ed25519PhSha512 => Some(64),
            Self::MlDsaShake256 | Self::Ed25519Sha512 => None,
        }
    }

    /// As AWS has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PssSha256 => "RSASSA_PSS_SHA_256",
            Self::PssSha384 => "RSASSA_PSS_SHA_384",
            Self::PssSha512 => "RSASSA_PSS_SHA_512",
            Self::Pkcs1Sha256 => "RSASSA_PKCS1_V1_5_SHA_256",
            Self::Pkcs1Sha384 => "RSASSA_PKCS1_V1_5_SHA_384",
            Self::Pkcs1Sha512 => "RSASSA_PKCS1_V1_5_SHA_512",
            Self::EcdsaSha256 => "ECDSA_SHA_256",
            Self::EcdsaSha384 => "ECDSA_SHA_384",
            Self::EcdsaSha512 => "ECDSA_SHA_512",
            Self::Sm2Dsa => "SM2DSA",
            Self::MlDsaShake256 => "ML_DSA_SHAKE_256",
            Self::Ed25519Sha512 => "ED25519_SHA_512",
            Self::Ed25519PhSha512 => "ED25519_PH_SHA_512",
        }
    }
}

impl KmsCall {
    /// The action of AWS's API.
    #[must_use]
    pub const fn action(&self) -> &'static str {
        match self {
            Self::Encrypt(..) => "Encrypt",
            Self::Decrypt(..) => "Decrypt",
            Self::DataKey(..) => "GenerateDataKey",
            Self::Sign(..) => "Sign",
            Self::Verify(..) => "Verify",
        }
    }
}

/// The action only: what is asked may be secret.
impl fmt::Debug for KmsCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.action())
    }
}

/// True where `name` can be a key's: an id, an alias, or the ARN of either.
/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#key-id>
#[must_use]
pub fn is_key_name(name: &str) -> bool {
    let arn = || {
        let mut parts = name.splitn(6, ':');
        let mut part = || parts.next().filter(|part| !part.is_empty() && part.bytes().all(is_plain));
        let head = part() == Some("arn") && part().is_some() && part() == Some("kms");
        // The region and the account.
        head && part().is_some() && part().is_some() && parts.next().is_some_and(is_within_account)
    };
    name.len() <= MAX_KEY && (is_id(name) || is_alias(name) || arn())
}

fn is_within_account(resource: &str) -> bool {
    is_alias(resource) || resource.strip_prefix("key/").is_some_and(is_id)
}

fn is_alias(name: &str) -> bool {
    let fits = |byte: u8| is_plain(byte) || matches!(byte, b'/' | b'_');
    name.strip_prefix("alias/").is_some_and(|alias| (1..=MAX_ALIAS).contains(&alias.len()) && alias.bytes().all(fits))
}

fn is_id(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_plain)
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

/// Reads the base64 of 1 to `most` bytes.
#[must_use]
pub fn bytes(text: &str, most: usize) -> Option<Vec<u8>> {
    // Not decoded at all where it would be too long.
    let possible = text.len() <= most.div_ceil(3) * 4;
    let bytes = possible.then(|| STANDARD.decode(text).ok())??;
    (1..=most).contains(&bytes.len()).then_some(bytes)
}

/// Reads an encryption context: names and values of at most `most` bytes in
/// all, no name empty or twice.
#[must_use]
pub fn context(json: &str, most: usize) -> Option<BTreeMap<String, String>> {
    let Context(pairs) = serde_json::from_str(json).ok()?;
    let length: usize = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
    let whole = length <= most && pairs.iter().all(|(name, _)| !name.is_empty());
    let count = pairs.len();
    let context: BTreeMap<_, _> = pairs.into_iter().collect();
    (whole && context.len() == count).then_some(context)
}

struct Context(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Context {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> serde::de::Visitor<'de> for Pairs {
            type Value = Context;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Context, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Context(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_by_id_alias_or_arn() {
        for name in [
            "1234abcd-12ab-34cd-56ef-1234567890ab",
            "mrk-1234abcd12ab34cd56ef1234567890ab",
            "alias/agents",
            "alias/team_1/agents-2",
            "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            "arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/agents",
        ] {
            assert!(is_key_name(name), "{name}");
        }
        for name in [
            "",
            "a b",
            "a/b",
            "key/a",
            "alias/",
            "alias/..",
            "alias/a\n",
            "alias/é",
            "alias/a*",
            "arn:aws:kms:eu-west-1:111122223333:key/",
            "arn:aws:kms:eu-west-1:111122223333:key/a/b",
            "arn:aws:kms::111122223333:key/a",
            "arn:aws:s3:eu-west-1:111122223333:key/a",
            "arn:aws:kms:eu-west-1:111122223333:alias/a:b",
            "https://example.com/",
            &"a".repeat(2049),
            &format!("alias/{}", "a".repeat(251)),
        ] {
            assert!(!is_key_name(name), "{name}");
        }
    }

    #[test]
    fn bytes_are_base64_within_their_bound() {
        assert_eq!(bytes("YQ==", 1).as_deref(), Some(&b"a"[..]));
        for (text, most) in [("", 1), ("YQ", 1), ("YR==", 1), ("YWI=", 1), ("YWJj", 2), ("YQ==\n", 9), ("_w==", 9)] {
            assert_eq!(bytes(text, most), None, "{text}");
        }
    }

    #[test]
    fn a_context_is_texts_by_names_that_are_there_once() {
        let pairs = [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())];
        assert_eq!(context(r#"{"b":"2","a":"1"}"#, 4), Some(pairs.into()));
        for (json, most) in [(r#"{"a":"1","a":"1"}"#, 9), (r#"{"a":1}"#, 9), (r#"{"":"1"}"#, 9), (r#"{"a":"1"}"#, 1)] {
            assert_eq!(context(json, most), None, "{json}");
        }
    }
}
