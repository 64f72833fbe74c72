//! Encryption with a key that never leaves Vault.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{about, one_or_batch};
use crate::catalog::answer::{data_of, write};
use crate::grants::Engine;
use crate::operation::{Absent, Describe, Facts, Hints, Plan, unfit};
use crate::refusal::Refusal;
use crate::scope::Scope;

const PURE: Hints = Hints { read_only: true, destructive: false, idempotent: false };

/// What is encrypted.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct EncryptArguments<'a> {
    /// Name of the key.
    #[serde(borrow, skip_serializing)]
    key: Cow<'a, str>,
    /// The bytes to encrypt, as base64.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    plaintext: Option<Cow<'a, str>>,
    /// Context of a derived key, as base64.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    context: Option<Cow<'a, str>>,
    /// Version of the key; the latest where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_version: Option<u64>,
    /// Several at once, instead of plaintext.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1000))]
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
    key_version: Option<u64>,
}

/// What is decrypted, or encrypted anew.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct CiphertextArguments<'a> {
    /// Name of the key.
    #[serde(borrow, skip_serializing)]
    key: Cow<'a, str>,
    /// What an encryption answered.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    ciphertext: Option<Cow<'a, str>>,
    /// Context of a derived key, as base64.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    context: Option<Cow<'a, str>>,
    /// Several at once, instead of ciphertext.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1000))]
    batch_input: Option<Vec<CiphertextItem<'a>>>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CiphertextItem<'a> {
    /// What an encryption answered.
    #[serde(borrow)]
    ciphertext: Cow<'a, str>,
    /// Context of a derived key, as base64.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    context: Option<Cow<'a, str>>,
}

/// A ciphertext, or one result per item of the batch.
#[derive(Deserialize, Serialize, JsonSchema)]
pub(in crate::catalog) struct CiphertextAnswer<'a> {
    /// The ciphertext, which names its key's version.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    ciphertext: Option<Cow<'a, str>>,
    /// The version of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_version: Option<u64>,
    /// One result per item, in their order.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<serde_json::Value>>")]
    batch_results: Option<&'a RawValue>,
}

/// A plaintext, or one result per item of the batch.
#[derive(Deserialize, Serialize, JsonSchema)]
pub(in crate::catalog) struct PlaintextAnswer<'a> {
    /// The bytes, as base64.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    plaintext: Option<Cow<'a, str>>,
    /// One result per item, in their order.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<serde_json::Value>>")]
    batch_results: Option<&'a RawValue>,
}

/// `transit.encrypt`.
pub(in crate::catalog) struct Encrypt;

impl Describe for Encrypt {
    type Arguments<'a> = EncryptArguments<'a>;
    type Answer<'a> = CiphertextAnswer<'a>;
    const FACTS: Facts = Facts {
        name: "transit.encrypt",
        title: "Encrypt",
        summary: "Encrypts bytes with a key that stays in Vault.",
        scope: Some(Scope::Write),
        engine: Some(Engine::Transit),
        named: true,
        hints: PURE,
        method: "POST",
        template: "/transit/encrypt",
        query: &[],
        takes_body: true,
        success: 200,
        absent: Absent::NotFound,
    };

    fn plan(arguments: EncryptArguments<'_>) -> Result<Plan, Refusal> {
        one_or_batch(
            &arguments.plaintext,
            &arguments.batch_input,
            "either plaintext or batch_input, of 1 to 1000 items",
        )?;
        about(&arguments.key, "encrypt", &arguments)
    }

    fn project(body: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        write(&data_of::<CiphertextAnswer<'_>>(body)?, out)
    }
}

/// `transit.decrypt`.
pub(in crate::catalog) struct Decrypt;

impl Describe for Decrypt {
    type Arguments<'a> = CiphertextArguments<'a>;
    type Answer<'a> = PlaintextAnswer<'a>;
    const FACTS: Facts = Facts {
        name: "transit.decrypt",
        title: "Decrypt",
        summary: "Decrypts what transit.encrypt encrypted.",
        scope: Some(Scope::Read),
        engine: Some(Engine::Transit),
        named: true,
        hints: PURE,
        method: "POST",
        template: "/transit/decrypt",
        query: &[],
        takes_body: true,
        success: 200,
        absent: Absent::NotFound,
    };

    fn plan(arguments: CiphertextArguments<'_>) -> Result<Plan, Refusal> {
        plan_ciphertext("decrypt", &arguments)
    }

    fn project(body: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        write(&data_of::<PlaintextAnswer<'_>>(body)?, out)
    }
}

/// `transit.rewrap`.
pub(in crate::catalog) struct Rewrap;

impl Describe for Rewrap {
    type Arguments<'a> = CiphertextArguments<'a>;
    type Answer<'a> = CiphertextAnswer<'a>;
    const FACTS: Facts = Facts {
        name: "transit.rewrap",
        title: "Encrypt anew",
        summary: "Encrypts a ciphertext anew with the latest version of its key, without showing what is in it.",
        scope: Some(Scope::Write),
        engine: Some(Engine::Transit),
        named: true,
        hints: PURE,
        method: "POST",
        template: "/transit/rewrap",
        query: &[],
        takes_body: true,
        success: 200,
        absent: Absent::NotFound,
    };

    fn plan(arguments: CiphertextArguments<'_>) -> Result<Plan, Refusal> {
        plan_ciphertext("rewrap", &arguments)
    }

    fn project(body: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        write(&data_of::<CiphertextAnswer<'_>>(body)?, out)
    }
}

fn plan_ciphertext(api: &str, arguments: &CiphertextArguments<'_>) -> Result<Plan, Refusal> {
    one_or_batch(
        &arguments.ciphertext,
        &arguments.batch_input,
        "either ciphertext or batch_input, of 1 to 1000 items",
    )?;
    about(&arguments.key, api, arguments)
}

/// `transit.generate_data_key`.
pub(in crate::catalog) struct DataKey;

/// Which key encrypts the data key, and how long the data key is.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct DataKeyArguments<'a> {
    /// Name of the key that encrypts it.
    #[serde(borrow, skip_serializing)]
    key: Cow<'a, str>,
    /// Length in bits: 128, 256 or 512.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bits: Option<u32>,
    /// Context of a derived key, as base64.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    context: Option<Cow<'a, str>>,
}

/// A new key, in the clear and encrypted.
#[derive(Deserialize, Serialize, JsonSchema)]
pub(in crate::catalog) struct DataKeyAnswer<'a> {
    /// The key itself, as base64.
    #[serde(borrow)]
    plaintext: Cow<'a, str>,
    /// The same, encrypted: to keep beside the data.
    #[serde(borrow)]
    ciphertext: Cow<'a, str>,
}

impl Describe for DataKey {
    type Arguments<'a> = DataKeyArguments<'a>;
    type Answer<'a> = DataKeyAnswer<'a>;
    const FACTS: Facts = Facts {
        name: "transit.generate_data_key",
        title: "Generate a data key",
        summary: "Gives a new key to encrypt data with, in the clear and encrypted.",
        scope: Some(Scope::Write),
        engine: Some(Engine::Transit),
        named: true,
        hints: PURE,
        method: "POST",
        template: "/transit/data-key",
        query: &[],
        takes_body: true,
        success: 200,
        absent: Absent::NotFound,
    };

    fn plan(arguments: DataKeyArguments<'_>) -> Result<Plan, Refusal> {
        if !matches!(arguments.bits, None | Some(128 | 256 | 512)) {
            return Err(unfit("/bits", "128, 256 or 512"));
        }
        about(&arguments.key, "datakey/plaintext", &arguments)
    }

    fn project(body: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        write(&data_of::<DataKeyAnswer<'_>>(body)?, out)
    }
}
