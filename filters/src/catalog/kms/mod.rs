//! Cryptography with keys of AWS KMS.
//! API: <https://docs.aws.amazon.com/kms/latest/APIReference/>

mod cipher;
mod signature;

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::value::RawValue;

use cipher::{DataKey, Decrypt, Encrypt};
use signature::{Sign, Verify};

use super::text::{Kind, Text};
use crate::grants::{Engine, EngineSpec, GrantNames, Holds, Resource, Service};
use crate::kms::{self, Circumstances, GrantTokens, KmsCall};
use crate::operation::{About, Annotations, Ask, Entry, OperationSpec, Plan, Touched, unfit};
use crate::pattern::{BadPattern, NamePattern};
use crate::refusal::Refusal;
use crate::shape::{Member, Type};

/// The engine, which is not one of Vault's.
pub const KMS: Engine = Engine::of(&EngineSpec {
    name: "kms",
    title: "KMS",
    about: "AWS KMS.",
    holds: Holds::Names(GrantNames {
        several: "keys",
        example: "alias/agents-*",
        form: " as callers name them: ids, ARNs, `alias/NAME`; a `*` may end one",
        mend: "write a key's id, its ARN or `alias/NAME`; a `*` may end it",
        parse: key_pattern,
    }),
    service: Service::Kms,
    ..EngineSpec::VAULT
});

/// Its operations.
pub(super) static OPERATIONS: [Entry; 5] = [
    Entry::of::<Encrypt>(),
    Entry::of::<Decrypt>(),
    Entry::of::<DataKey>(),
    Entry::of::<Sign>(),
    Entry::of::<Verify>(),
];

const PURE: Annotations = Annotations { read_only: true, destructive: false, idempotent: false };

/// Bound of AWS's, in bytes.
const MAX_CONTEXT: usize = 8192;
/// Most tokens of grants.
const MAX_TOKENS: usize = 10;

const KEY: Member = Member::new("key_id", &["key_id"], Type::Text, "The ARN of the key.");
const CIPHERTEXT: Member = Member::new("ciphertext", &["ciphertext"], Type::Text, "The ciphertext, as base64.");
const PLAINTEXT: Member = Member::new("plaintext", &["plaintext"], Type::Text, "The bytes in the clear, as base64.");

const SPEC: OperationSpec =
    OperationSpec { engine: Some(KMS), touch: Some(key), annotations: PURE, ..OperationSpec::POST };

/// The name of a key, judged by [`kms::is_key_name`].
struct KeyName;
/// A token of one of AWS's grants.
struct Token;
/// Bytes in the clear.
struct Plaintext;
/// Bytes that AWS has made.
struct Ciphertext;
/// A digest.
struct Hashed;

const KEY_NAME: &str = "a key's id, ARN or alias/NAME";

impl Kind for KeyName {
    const MOST: usize = kms::MAX_KEY;
    const PATTERN: Option<&'static str> = Some(concat!(
        "^([A-Za-z0-9-]+|alias/[A-Za-z0-9/_-]{1,250}|arn:[A-Za-z0-9-]+:kms:[A-Za-z0-9-]+:[A-Za-z0-9-]+:",
        "(key/[A-Za-z0-9-]+|alias/[A-Za-z0-9/_-]{1,250}))$"
    ));
    const EXPECTED: Option<&'static str> = Some(KEY_NAME);
}

impl Kind for Token {
    const MOST: usize = 8192;
    const EXPECTED: Option<&'static str> = Some("a token of 1 to 8192 bytes");
}

/// Bytes as base64, with AWS's own bounds.
trait Bytes {
    const LEAST: usize = 1;
    const MOST: usize;
    const EXPECTED: &'static str;
}

impl Bytes for Plaintext {
    const MOST: usize = 4096;
    const EXPECTED: &'static str = "base64 of 1 to 4096 bytes";
}

impl Bytes for Ciphertext {
    const MOST: usize = 6144;
    const EXPECTED: &'static str = "base64 of 1 to 6144 bytes";
}

impl Bytes for Hashed {
    const LEAST: usize = 32;
    const MOST: usize = 64;
    const EXPECTED: &'static str = "base64 of 32 to 64 bytes";
}

impl<B: Bytes> Kind for B {
    const LEAST: usize = B::LEAST.div_ceil(3) * 4;
    const MOST: usize = B::MOST.div_ceil(3) * 4;
    const PATTERN: Option<&'static str> = Some("^[A-Za-z0-9+/]+={0,2}$");
    const EXPECTED: Option<&'static str> = Some(B::EXPECTED);
}

/// The schema of a context, judged by [`kms::context`].
struct Context;

impl JsonSchema for Context {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Context".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "additionalProperties": {"type": "string", "maxLength": MAX_CONTEXT},
            "propertyNames": {"type": "string", "minLength": 1},
        })
    }
}

/// A request about the key of that name; without one, about the configured key, whose name the
/// decision puts in.
fn about(name: Option<Text<'_, KeyName>>, call: KmsCall) -> Result<Plan, Refusal> {
    Ok(Plan::about(key(About::named(&name.unwrap_or_default()))?, Ask::Kms(call)))
}

/// A key; the configured one where the name is empty.
fn key(about: About<'_>) -> Result<Touched, Refusal> {
    if !about.name.is_empty() && !kms::is_key_name(about.name) {
        return Err(unfit("/key_id", KEY_NAME));
    }
    Ok(Resource::Key(KMS, about.name.into()).into())
}

/// Reads a key's id, ARN or `alias/…`; a `*` may end it.
fn key_pattern(text: &str) -> Result<NamePattern, BadPattern> {
    let stem = text.strip_suffix('*').unwrap_or(text);
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"/_-:".contains(&b);
    if !stem.bytes().all(fits) || text.len() > kms::MAX_KEY {
        return Err(BadPattern("a character that no key's name has"));
    }
    NamePattern::parse_slashed(text)
}

fn decoded<K: Bytes>(pointer: &'static str, text: &Text<'_, K>) -> Result<Vec<u8>, Refusal> {
    kms::bytes(text, K::MOST).ok_or_else(|| unfit(pointer, K::EXPECTED))
}

/// The context is read apart, so that a misfit's pointer names no name of the
/// caller's.
fn circumstances(
    context: Option<&RawValue>,
    grant_tokens: Option<Vec<Text<'_, Token>>>,
) -> Result<Circumstances, Refusal> {
    let context = match context {
        Some(json) => kms::context(json.get(), MAX_CONTEXT)
            .ok_or_else(|| unfit("/encryption_context", "an object of texts, 8192 bytes at most"))?,
        None => BTreeMap::new(),
    };
    Ok(Circumstances { context, grant_tokens: tokens(grant_tokens)? })
}

fn tokens(tokens: Option<Vec<Text<'_, Token>>>) -> Result<GrantTokens, Refusal> {
    let tokens = tokens.unwrap_or_default();
    if tokens.len() > MAX_TOKENS {
        return Err(unfit("/grant_tokens", "at most 10 tokens"));
    }
    Ok(tokens.iter().map(|token| token.to_string()).collect())
}
