//! `kms.sign` and `kms.verify`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Ciphertext, Hashed, KEY, KeyName, Plaintext, SPEC, Token, about, decoded, tokens};
use crate::catalog::text::Text;
use crate::kms::{KmsCall, Signed, SigningAlgorithm};
use crate::operation::{Annotations, Describe, OperationSpec, Plan, unfit};
use crate::refusal::Refusal;
use crate::scope::Scope;
use crate::shape::{Member, Shape, Type};

/// The kind of message: the message itself, or its digest.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
enum MessageType {
    #[serde(rename = "RAW")]
    Raw,
    #[serde(rename = "DIGEST")]
    Digest,
}

/// The input to sign: either `message` or `message_digest`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignArguments<'a> {
    /// Id, ARN or `alias/NAME` of the key; the configured one where it is absent.
    #[serde(borrow, default)]
    #[schemars(title = "Id, ARN or alias/NAME")]
    key_id: Option<Text<'a, KeyName>>,
    /// The message, as base64: 1 to 4096 bytes.
    #[serde(borrow, default)]
    #[schemars(title = "Base64")]
    message: Option<Text<'a, Plaintext>>,
    /// The message's digest, as base64, instead of the message.
    #[serde(borrow, default)]
    #[schemars(title = "Base64")]
    message_digest: Option<Text<'a, Hashed>>,
    #[schemars(title = "Such as ECDSA_SHA_256")]
    signing_algorithm: SigningAlgorithm,
    /// RAW for `message`, DIGEST for `message_digest`; may be left out.
    #[serde(default)]
    message_type: Option<MessageType>,
    /// Tokens of AWS's grants that have not spread yet.
    #[serde(borrow, default)]
    #[schemars(length(max = 10))]
    grant_tokens: Option<Vec<Text<'a, Token>>>,
}

/// The signature to verify, and its input: either `message` or `message_digest`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifyArguments<'a> {
    /// Id, ARN or `alias/NAME` of the key; the configured one where it is absent.
    #[serde(borrow, default)]
    #[schemars(title = "Id, ARN or alias/NAME")]
    key_id: Option<Text<'a, KeyName>>,
    /// The message, as base64: 1 to 4096 bytes.
    #[serde(borrow, default)]
    #[schemars(title = "Base64")]
    message: Option<Text<'a, Plaintext>>,
    /// The message's digest, as base64, instead of the message.
    #[serde(borrow, default)]
    #[schemars(title = "Base64")]
    message_digest: Option<Text<'a, Hashed>>,
    /// The signature from the answer of kms.sign.
    #[serde(borrow)]
    signature: Text<'a, Ciphertext>,
    #[schemars(title = "Such as ECDSA_SHA_256")]
    signing_algorithm: SigningAlgorithm,
    /// RAW for `message`, DIGEST for `message_digest`; may be left out.
    #[serde(default)]
    message_type: Option<MessageType>,
    /// Tokens of AWS's grants that have not spread yet.
    #[serde(borrow, default)]
    #[schemars(length(max = 10))]
    grant_tokens: Option<Vec<Text<'a, Token>>>,
}

/// `kms.sign`.
pub(super) struct Sign;

impl Describe for Sign {
    type Arguments<'a> = SignArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "kms.sign",
        title: "Sign with AWS KMS",
        summary: "Signs a message or digest with a key that stays in AWS KMS.",
        scope: Some(Scope::Write),
        template: "/kms/sign",
        ..SPEC
    };
    const SHAPE: &'static Shape = &Shape {
        about: "A signature.",
        members: &[Member::new("signature", &["signature"], Type::Text, "The signature, as base64."), KEY],
    };

    fn plan(arguments: SignArguments<'_>) -> Result<Plan, Refusal> {
        let SignArguments { key_id, message, message_digest, signing_algorithm, message_type, grant_tokens } =
            arguments;
        let signed = signed(message, message_digest, message_type, signing_algorithm)?;
        about(key_id, KmsCall::Sign(signed, tokens(grant_tokens)?))
    }
}

/// `kms.verify`.
pub(super) struct Verify;

impl Describe for Verify {
    type Arguments<'a> = VerifyArguments<'a>;
    const SPEC: OperationSpec = OperationSpec {
        name: "kms.verify",
        title: "Verify with AWS KMS",
        summary: "Tells whether a signature was made by a key of AWS KMS over this message.",
        scope: Some(Scope::Read),
        annotations: Annotations { read_only: true, destructive: false, idempotent: true },
        template: "/kms/verify",
        ..SPEC
    };
    const SHAPE: &'static Shape = &Shape {
        about: "The result of the verification.",
        members: &[Member::new("valid", &["valid"], Type::Flag, "True if the key signed this message.").told("valid")],
    };

    fn plan(arguments: VerifyArguments<'_>) -> Result<Plan, Refusal> {
        let signature = decoded("/signature", &arguments.signature)?;
        let VerifyArguments { message, message_digest, signing_algorithm, message_type, .. } = arguments;
        let signed = signed(message, message_digest, message_type, signing_algorithm)?;
        about(arguments.key_id, KmsCall::Verify(signed, signature, tokens(arguments.grant_tokens)?))
    }
}

fn signed(
    message: Option<Text<'_, Plaintext>>,
    digest: Option<Text<'_, Hashed>>,
    said: Option<MessageType>,
    algorithm: SigningAlgorithm,
) -> Result<Signed, Refusal> {
    let (message, is) = match (message, digest) {
        (Some(message), None) => (decoded("/message", &message)?, MessageType::Raw),
        (None, Some(digest)) => {
            let digest = decoded("/message_digest", &digest)?;
            if algorithm.digest_length() != Some(digest.len()) {
                return Err(unfit("/message_digest", "a digest as long as the algorithm's"));
            }
            (digest, MessageType::Digest)
        }
        _ => return Err(unfit("", "either message or message_digest")),
    };
    if said.is_some_and(|said| said != is) {
        return Err(unfit("/message_type", "RAW for a message, DIGEST for a message_digest"));
    }
    Ok(Signed { message: message.into(), digest: is == MessageType::Digest, algorithm })
}
