//! Signatures and message authentication with a key that never leaves Vault.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{TRANSIT, about, key};
use crate::catalog::text::{Segment, Text};
use crate::json::Whole;
use crate::operation::{Annotations, Describe, OperationSpec, Plan, Reach, unfit};
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::shape::{Member, Shape, Type};

/// The hash of the input.
#[derive(Clone, Copy, Deserialize, Serialize, JsonSchema)]
enum Hash {
    /// SHA-1, for what is old.
    #[serde(rename = "sha1")]
    Sha1,
    /// SHA-2, 224 bits.
    #[serde(rename = "sha2-224")]
    Sha2With224,
    /// SHA-2, 256 bits: Vault's default.
    #[serde(rename = "sha2-256")]
    Sha2With256,
    /// SHA-2, 384 bits.
    #[serde(rename = "sha2-384")]
    Sha2With384,
    /// SHA-2, 512 bits.
    #[serde(rename = "sha2-512")]
    Sha2With512,
    /// SHA-3, 224 bits.
    #[serde(rename = "sha3-224")]
    Sha3With224,
    /// SHA-3, 256 bits.
    #[serde(rename = "sha3-256")]
    Sha3With256,
    /// SHA-3, 384 bits.
    #[serde(rename = "sha3-384")]
    Sha3With384,
    /// SHA-3, 512 bits.
    #[serde(rename = "sha3-512")]
    Sha3With512,
    /// Not at all; with prehashed input of RSA PKCS #1 v1.5 only.
    #[serde(rename = "none")]
    None,
}

/// The signature scheme of an RSA key.
#[derive(Clone, Copy, Deserialize, Serialize, JsonSchema)]
enum Scheme {
    /// RSASSA-PSS: Vault's default.
    #[serde(rename = "pss")]
    Pss,
    /// RSASSA-PKCS1-v1_5.
    #[serde(rename = "pkcs1v15")]
    Pkcs1v15,
}

/// The encoding of an ECDSA signature.
#[derive(Clone, Copy, Deserialize, Serialize, JsonSchema)]
enum Marshaling {
    /// ASN.1: Vault's default.
    #[serde(rename = "asn1")]
    Asn1,
    /// As JSON Web Signatures have it.
    #[serde(rename = "jws")]
    Jws,
}

/// The arguments of `transit.sign`.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct SignArguments<'a> {
    /// Name of the key.
    #[serde(borrow, skip_serializing)]
    key: Text<'a, Segment>,
    /// The bytes to sign, as base64.
    #[serde(borrow)]
    #[schemars(title = "Base64")]
    input: Cow<'a, str>,
    /// Context of a derived key, as base64.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(title = "Base64")]
    context: Option<Cow<'a, str>>,
    /// Version of the key; the latest where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_version: Option<Whole>,
    /// True if the input is a hash already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prehashed: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash_algorithm: Option<Hash>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature_algorithm: Option<Scheme>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    marshaling_algorithm: Option<Marshaling>,
}

/// The arguments of `transit.verify`: a signature or a keyed hash, and its input.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct VerifyArguments<'a> {
    /// Name of the key.
    #[serde(borrow, skip_serializing)]
    key: Text<'a, Segment>,
    /// The bytes that were signed, as base64.
    #[serde(borrow)]
    #[schemars(title = "Base64")]
    input: Cow<'a, str>,
    /// The signature from the answer of transit.sign.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    signature: Option<Cow<'a, str>>,
    /// The keyed hash from the answer of transit.hmac, instead of a signature.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(title = "Instead of a signature")]
    hmac: Option<Cow<'a, str>>,
    /// Context of a derived key, as base64.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(title = "Base64")]
    context: Option<Cow<'a, str>>,
    /// True if the input is a hash already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prehashed: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash_algorithm: Option<Hash>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature_algorithm: Option<Scheme>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    marshaling_algorithm: Option<Marshaling>,
}

/// The arguments of `transit.hmac`.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct HmacArguments<'a> {
    /// Name of the key.
    #[serde(borrow, skip_serializing)]
    key: Text<'a, Segment>,
    /// The bytes, as base64.
    #[serde(borrow)]
    #[schemars(title = "Base64")]
    input: Cow<'a, str>,
    /// Version of the key; the latest where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_version: Option<Whole>,
    #[serde(default, rename(serialize = "algorithm"), skip_serializing_if = "Option::is_none")]
    hash_algorithm: Option<Hash>,
}

/// `transit.sign`.
pub(in crate::catalog) struct Sign;

impl Describe for Sign {
    type Arguments<'a> = SignArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "transit.sign",
        title: "Sign",
        summary: "Signs bytes with a key that stays in Vault.",
        scope: Some(Scope::Write),
        engine: Some(TRANSIT),
        touch: Some(key),
        annotations: Annotations { read_only: true, destructive: false, idempotent: false },
        template: "/transit/sign",
        reach: Reach { behind: Some("hash_algorithm"), ..Reach::update(&["sign"]) },
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape {
        about: "A signature.",
        members: &[
            Member::new("signature", &["data", "signature"], Type::Text, "The value, prefixed with the key's version."),
            Member::new("key_version", &["data", "key_version"], Type::Count, "The version of the key.")
                .or_absent()
                .told("key_version"),
        ],
    };

    fn plan(arguments: SignArguments<'_>) -> Result<Plan, Refusal> {
        about(&arguments.key, "sign", &arguments)
    }
}

/// `transit.verify`.
pub(in crate::catalog) struct Verify;

impl Describe for Verify {
    type Arguments<'a> = VerifyArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "transit.verify",
        title: "Verify",
        summary: "Tells whether a signature or keyed hash was made by a key over these bytes.",
        scope: Some(Scope::Read),
        engine: Some(TRANSIT),
        touch: Some(key),
        annotations: Annotations { read_only: true, destructive: false, idempotent: true },
        template: "/transit/verify",
        reach: Reach { behind: Some("hash_algorithm"), ..Reach::update(&["verify"]) },
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape {
        about: "The result of the verification.",
        members: &[Member::new("valid", &["data", "valid"], Type::Flag, "True if the key made it over this input.")
            .told("valid")],
    };

    fn plan(arguments: VerifyArguments<'_>) -> Result<Plan, Refusal> {
        if arguments.signature.is_some() == arguments.hmac.is_some() {
            return Err(unfit("", "either signature or hmac"));
        }
        about(&arguments.key, "verify", &arguments)
    }
}

/// `transit.hmac`.
pub(in crate::catalog) struct Hmac;

impl Describe for Hmac {
    type Arguments<'a> = HmacArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "transit.hmac",
        title: "Keyed hash",
        summary: "Gives the keyed hash (HMAC) of bytes, with a key that stays in Vault.",
        scope: Some(Scope::Write),
        engine: Some(TRANSIT),
        touch: Some(key),
        annotations: Annotations { read_only: true, destructive: false, idempotent: true },
        template: "/transit/hmac",
        reach: Reach {
            behind: Some("hash_algorithm"),
            aliases: &[("algorithm", "hash_algorithm")],
            ..Reach::update(&["hmac"])
        },
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape {
        about: "A keyed hash.",
        members: &[Member::new("hmac", &["data", "hmac"], Type::Text, "The value, prefixed with the key's version.")],
    };

    fn plan(arguments: HmacArguments<'_>) -> Result<Plan, Refusal> {
        about(&arguments.key, "hmac", &arguments)
    }
}
