//! `kms.encrypt`, `kms.decrypt` and `kms.generate_data_key`.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    CIPHERTEXT, Ciphertext, Context, KEY, KeyName, PLAINTEXT, Plaintext, SPEC, Token, about, circumstances, decoded,
};
use crate::catalog::text::Text;
use crate::json::Whole;
use crate::kms::{self, KeySpec, KmsCall};
use crate::lifetime::WrapTtl;
use crate::operation::{Describe, OperationSpec, Plan, unfit};
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::shape::Shape;

/// Most bytes of a data key.
const MAX_DATA_KEY: u64 = 1024;

/// The arguments of `kms.encrypt`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EncryptArguments<'a> {
    /// Id, ARN or `alias/NAME` of the key; the configured one where it is absent.
    #[serde(borrow, default)]
    #[schemars(title = "Id, ARN or alias/NAME")]
    key_id: Option<Text<'a, KeyName>>,
    /// The bytes to encrypt, as base64: 1 to 4096 of them.
    #[serde(borrow)]
    #[schemars(title = "Base64")]
    plaintext: Text<'a, Plaintext>,
    /// Context that must be given again to decrypt; not a secret.
    #[serde(borrow, default)]
    #[schemars(with = "Option<Context>")]
    encryption_context: Option<&'a RawValue>,
    /// Tokens of AWS's grants that have not spread yet.
    #[serde(borrow, default)]
    #[schemars(length(max = 10))]
    grant_tokens: Option<Vec<Text<'a, Token>>>,
}

/// The arguments of `kms.decrypt`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DecryptArguments<'a> {
    /// Id, ARN or `alias/NAME` of the key; the configured one where it is absent.
    #[serde(borrow, default)]
    #[schemars(title = "Id, ARN or alias/NAME")]
    key_id: Option<Text<'a, KeyName>>,
    /// The ciphertext from the answer of kms.encrypt or kms.generate_data_key.
    #[serde(borrow)]
    ciphertext: Text<'a, Ciphertext>,
    /// The context that was given to encrypt.
    #[serde(borrow, default)]
    #[schemars(with = "Option<Context>")]
    encryption_context: Option<&'a RawValue>,
    /// Tokens of AWS's grants that have not spread yet.
    #[serde(borrow, default)]
    #[schemars(length(max = 10))]
    grant_tokens: Option<Vec<Text<'a, Token>>>,
    /// Answer with a handle that is redeemed once, within this time.
    #[serde(default)]
    #[schemars(title = "Wrap the answer for, say, 5m")]
    wrap_ttl: Option<WrapTtl>,
}

/// The kind of data key: `key_spec` or `number_of_bytes`; AES_256 where neither is given.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DataKeyArguments<'a> {
    /// Id, ARN or `alias/NAME` of the key; the configured one where it is absent.
    #[serde(borrow, default)]
    #[schemars(title = "Id, ARN or alias/NAME")]
    key_id: Option<Text<'a, KeyName>>,
    #[serde(default)]
    key_spec: Option<KeySpec>,
    /// Length of the key in bytes, instead of key_spec.
    #[serde(default)]
    #[schemars(title = "Instead of key_spec")]
    number_of_bytes: Option<Whole<1, MAX_DATA_KEY>>,
    /// Context that must be given again to decrypt; not a secret.
    #[serde(borrow, default)]
    #[schemars(with = "Option<Context>")]
    encryption_context: Option<&'a RawValue>,
    /// Tokens of AWS's grants that have not spread yet.
    #[serde(borrow, default)]
    #[schemars(length(max = 10))]
    grant_tokens: Option<Vec<Text<'a, Token>>>,
    /// Answer with a handle that is redeemed once, within this time.
    #[serde(default)]
    #[schemars(title = "Wrap the answer for, say, 5m")]
    wrap_ttl: Option<WrapTtl>,
}

/// `kms.encrypt`.
pub(super) struct Encrypt;

impl Describe for Encrypt {
    type Arguments<'a> = EncryptArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "kms.encrypt",
        title: "Encrypt with AWS KMS",
        summary: "Encrypts up to 4096 bytes with a key that stays in AWS KMS.",
        scope: Some(Scope::Write),
        template: "/kms/encrypt",
        ..SPEC
    };
    const SHAPE: &'static Shape = &Shape { about: "A ciphertext.", members: &[CIPHERTEXT, KEY] };

    fn plan(arguments: EncryptArguments<'_>) -> Result<Plan, Refusal> {
        let plaintext = decoded("/plaintext", &arguments.plaintext)?;
        let circumstances = circumstances(arguments.encryption_context, arguments.grant_tokens)?;
        about(arguments.key_id, KmsCall::Encrypt(plaintext.into(), circumstances))
    }
}

/// `kms.decrypt`.
pub(super) struct Decrypt;

impl Describe for Decrypt {
    type Arguments<'a> = DecryptArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "kms.decrypt",
        title: "Decrypt with AWS KMS",
        summary: "Decrypts what a key of AWS KMS has encrypted.",
        scope: Some(Scope::Read),
        template: "/kms/decrypt",
        secret: true,
        ..SPEC
    };
    const SHAPE: &'static Shape = &Shape { about: "The plaintext.", members: &[PLAINTEXT, KEY] };

    fn plan(arguments: DecryptArguments<'_>) -> Result<Plan, Refusal> {
        let ciphertext = decoded("/ciphertext", &arguments.ciphertext)?;
        let circumstances = circumstances(arguments.encryption_context, arguments.grant_tokens)?;
        Ok(about(arguments.key_id, KmsCall::Decrypt(ciphertext, circumstances))?.wrapped(arguments.wrap_ttl))
    }
}

/// `kms.generate_data_key`.
pub(super) struct DataKey;

impl Describe for DataKey {
    type Arguments<'a> = DataKeyArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "kms.generate_data_key",
        title: "Make a data key with AWS KMS",
        summary: "Makes a new key, in the clear and encrypted with a key of AWS KMS.",
        scope: Some(Scope::Write),
        template: "/kms/data-key",
        secret: true,
        ..SPEC
    };
    const SHAPE: &'static Shape = &Shape { about: "A data key.", members: &[PLAINTEXT, CIPHERTEXT, KEY] };

    fn plan(arguments: DataKeyArguments<'_>) -> Result<Plan, Refusal> {
        let size = match (arguments.key_spec, arguments.number_of_bytes) {
            (Some(spec), None) => kms::DataKey::Spec(spec),
            (None, None) => kms::DataKey::Spec(KeySpec::Aes256),
            (None, Some(count)) => kms::DataKey::Bytes(count.get().try_into().map_err(|_| Refusal::Internal)?),
            (Some(_), Some(_)) => return Err(unfit("", "either key_spec or number_of_bytes")),
        };
        let circumstances = circumstances(arguments.encryption_context, arguments.grant_tokens)?;
        Ok(about(arguments.key_id, KmsCall::DataKey(size, circumstances))?.wrapped(arguments.wrap_ttl))
    }
}
