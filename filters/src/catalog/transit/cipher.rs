//! Encryption with a key that never leaves Vault.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

use super::{TRANSIT, about, key, one_or_batch};
use crate::catalog::text::{Segment, Text};
use crate::json::Whole;
use crate::lifetime::WrapTtl;
use crate::operation::{Annotations, Describe, OperationSpec, Plan, Reach};
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::shape::{Member, Shape, Type};

const PURE: Annotations = Annotations { read_only: true, destructive: false, idempotent: false };

const ERROR: Member =
    Member::given("error", Type::Text, "Why the item failed, in Vault's words; absent where it did not.").or_absent();

/// The result of encrypting one item of a batch.
const ENCRYPTED: &Shape = &Shape {
    about: "The result of one item.",
    members: &[
        Member::given("ciphertext", Type::Text, "The ciphertext, which names its key's version.").or_absent(),
        Member::given("key_version", Type::Count, "The version of the key.").or_absent(),
        ERROR,
    ],
};

/// The result of decrypting one item of a batch.
const DECRYPTED: &Shape = &Shape {
    about: "The result of one item.",
    members: &[Member::given("plaintext", Type::Text, "The bytes, as base64.").or_absent(), ERROR],
};

/// The answer of an encryption.
const CIPHERTEXT: &Shape = &Shape {
    about: "A ciphertext, or one result per item of the batch.",
    members: &[
        Member::new(
            "ciphertext",
            &["data", "ciphertext"],
            Type::Text,
            "The ciphertext, which names its key's version.",
        )
        .or_absent(),
        Member::new("key_version", &["data", "key_version"], Type::Count, "The version of the key.")
            .or_absent()
            .told("key_version"),
        Member::new(
            "batch_results",
            &["data", "batch_results"],
            Type::List(ENCRYPTED),
            "One result per item, in their order; one that failed has an error.",
        )
        .or_absent()
        .told("count"),
    ],
};

/// The arguments of `transit.encrypt`.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct EncryptArguments<'a> {
    /// Name of the key.
    #[serde(borrow, skip_serializing)]
    key: Text<'a, Segment>,
    /// The bytes to encrypt, as base64.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(title = "Base64")]
    plaintext: Option<Cow<'a, str>>,
    /// Context of a derived key, as base64.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(title = "Base64")]
    context: Option<Cow<'a, str>>,
    /// Version of the key; the latest where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_version: Option<Whole>,
    /// Several at once, instead of plaintext.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1000))]
    #[schemars(title = "Several, instead of one")]
    batch_input: Option<Vec<EncryptItem<'a>>>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EncryptItem<'a> {
    /// The bytes to encrypt, as base64.
    #[serde(borrow)]
    plaintext: Cow<'a, str>,
    /// Context of a derived key, as base64.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    context: Option<Cow<'a, str>>,
    /// Version of the key; the latest where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_version: Option<Whole>,
}

/// The arguments of `transit.rewrap`.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct CiphertextArguments<'a> {
    /// Name of the key.
    #[serde(borrow, skip_serializing)]
    key: Text<'a, Segment>,
    /// The ciphertext from the answer of an encryption.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    ciphertext: Option<Cow<'a, str>>,
    /// Context of a derived key, as base64.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(title = "Base64")]
    context: Option<Cow<'a, str>>,
    /// Several at once, instead of ciphertext.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1000))]
    #[schemars(title = "Several, instead of one")]
    batch_input: Option<Vec<CiphertextItem<'a>>>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CiphertextItem<'a> {
    /// The ciphertext from the answer of an encryption.
    #[serde(borrow)]
    ciphertext: Cow<'a, str>,
    /// Context of a derived key, as base64.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    context: Option<Cow<'a, str>>,
}

/// The arguments of `transit.decrypt`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct DecryptArguments<'a> {
    /// Name of the key.
    #[serde(borrow)]
    key: Text<'a, Segment>,
    /// The ciphertext from the answer of an encryption.
    #[serde(borrow, default)]
    ciphertext: Option<Cow<'a, str>>,
    /// Context of a derived key, as base64.
    #[serde(borrow, default)]
    #[schemars(title = "Base64")]
    context: Option<Cow<'a, str>>,
    /// Several at once, instead of ciphertext.
    #[serde(borrow, default)]
    #[schemars(length(min = 1, max = 1000))]
    #[schemars(title = "Several, instead of one")]
    batch_input: Option<Vec<CiphertextItem<'a>>>,
    /// Answer with a handle that is redeemed once, within this time.
    #[serde(default)]
    #[schemars(title = "Wrap the answer for, say, 5m")]
    wrap_ttl: Option<WrapTtl>,
}

/// `transit.encrypt`.
pub(in crate::catalog) struct Encrypt;

impl Describe for Encrypt {
    type Arguments<'a> = EncryptArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "transit.encrypt",
        title: "Encrypt",
        summary: "Encrypts bytes with a key that stays in Vault.",
        scope: Some(Scope::Write),
        engine: Some(TRANSIT),
        touch: Some(key),
        annotations: PURE,
        template: "/transit/encrypt",
        reach: Reach::update(&["encrypt"]),
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = CIPHERTEXT;

    fn plan(arguments: EncryptArguments<'_>) -> Result<Plan, Refusal> {
        one_or_batch(
            &arguments.plaintext,
            &arguments.batch_input,
            "either plaintext or batch_input, of 1 to 1000 items",
        )?;
        about(&arguments.key, "encrypt", &arguments)
    }
}

/// `transit.decrypt`.
pub(in crate::catalog) struct Decrypt;

impl Describe for Decrypt {
    type Arguments<'a> = DecryptArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "transit.decrypt",
        title: "Decrypt",
        summary: "Decrypts what transit.encrypt encrypted.",
        scope: Some(Scope::Read),
        engine: Some(TRANSIT),
        touch: Some(key),
        annotations: PURE,
        template: "/transit/decrypt",
        reach: Reach::update(&["decrypt"]),
        secret: true,
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape {
        about: "A plaintext, or one result per item of the batch.",
        members: &[
            Member::new("plaintext", &["data", "plaintext"], Type::Text, "The bytes, as base64.").or_absent(),
            Member::new(
                "batch_results",
                &["data", "batch_results"],
                Type::List(DECRYPTED),
                "One result per item, in their order; one that failed has an error.",
            )
            .or_absent()
            .told("count"),
        ],
    };

    fn plan(arguments: DecryptArguments<'_>) -> Result<Plan, Refusal> {
        let DecryptArguments { key, ciphertext, context, batch_input, wrap_ttl } = arguments;
        let arguments = CiphertextArguments { key, ciphertext, context, batch_input };
        Ok(plan_ciphertext("decrypt", &arguments)?.wrapped(wrap_ttl))
    }
}

/// `transit.rewrap`.
pub(in crate::catalog) struct Rewrap;

impl Describe for Rewrap {
    type Arguments<'a> = CiphertextArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "transit.rewrap",
        title: "Encrypt anew",
        summary: "Encrypts a ciphertext anew with the latest version of its key, without showing what is in it.",
        scope: Some(Scope::Write),
        engine: Some(TRANSIT),
        touch: Some(key),
        annotations: PURE,
        template: "/transit/rewrap",
        reach: Reach::update(&["rewrap"]),
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = CIPHERTEXT;

    fn plan(arguments: CiphertextArguments<'_>) -> Result<Plan, Refusal> {
        plan_ciphertext("rewrap", &arguments)
    }
}

fn plan_ciphertext(api: &'static str, arguments: &CiphertextArguments<'_>) -> Result<Plan, Refusal> {
    one_or_batch(
        &arguments.ciphertext,
        &arguments.batch_input,
        "either ciphertext or batch_input, of 1 to 1000 items",
    )?;
    about(&arguments.key, api, arguments)
}

/// `transit.generate_data_key`.
pub(in crate::catalog) struct DataKey;

/// Length of a data key, in bits.
#[derive(Serialize)]
struct Bits(u64);

impl Bits {
    const ALLOWED: [u64; 3] = [128, 256, 512];
}

impl<'de> Deserialize<'de> for Bits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bits = <Whole>::deserialize(deserializer)?.get();
        if Self::ALLOWED.contains(&bits) {
            return Ok(Self(bits));
        }
        Err(serde::de::Error::custom(", expected 128, 256 or 512"))
    }
}

impl JsonSchema for Bits {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Bits".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "enum": Self::ALLOWED})
    }
}

/// Which key encrypts the data key, and how long the data key is.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct DataKeyArguments<'a> {
    /// Name of the key that encrypts it.
    #[serde(borrow, skip_serializing)]
    key: Text<'a, Segment>,
    /// Length in bits: 128, 256 or 512.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bits: Option<Bits>,
    /// Context of a derived key, as base64.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(title = "Base64")]
    context: Option<Cow<'a, str>>,
    /// Answer with a handle that is redeemed once, within this time.
    #[serde(default, skip_serializing)]
    #[schemars(title = "Wrap the answer for, say, 5m")]
    wrap_ttl: Option<WrapTtl>,
}

impl Describe for DataKey {
    type Arguments<'a> = DataKeyArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "transit.generate_data_key",
        title: "Generate a data key",
        summary: "Gives a new key to encrypt data with, in the clear and encrypted.",
        scope: Some(Scope::Write),
        engine: Some(TRANSIT),
        touch: Some(key),
        annotations: PURE,
        template: "/transit/data-key",
        reach: Reach::update(&["datakey/plaintext"]),
        secret: true,
        ..OperationSpec::POST
    };
    const SHAPE: &'static Shape = &Shape {
        about: "A new key, in the clear and encrypted.",
        members: &[
            Member::new("plaintext", &["data", "plaintext"], Type::Text, "The key itself, as base64."),
            Member::new(
                "ciphertext",
                &["data", "ciphertext"],
                Type::Text,
                "The same, encrypted: to keep beside the data.",
            ),
        ],
    };

    fn plan(arguments: DataKeyArguments<'_>) -> Result<Plan, Refusal> {
        Ok(about(&arguments.key, "datakey/plaintext", &arguments)?.wrapped(arguments.wrap_ttl))
    }
}
