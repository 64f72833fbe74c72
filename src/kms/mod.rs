//! AWS KMS, asked with the gate's own credentials.
//!
//! No words of AWS's reach a caller: its errors become refusals by their codes, and its answers are
//! projected by the operation's shape.

mod health;
mod http;

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_kms::Client;
use aws_sdk_kms::config::{Builder, Credentials};
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{DataKeySpec, MessageType, SigningAlgorithmSpec};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use filters::kms::{Circumstances, DataKey, GrantTokens, KmsCall, KmsRequest, Signed};
use filters::refusal::Refusal;
use serde::{Serialize, Serializer};
use tokio::sync::OnceCell;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::config::Kms as Settings;

use health::KmsProblem;
use http::Bounded;

/// Longest time of one call: finding credentials, and asking twice.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time to connect.
const CONNECT: Duration = Duration::from_secs(2);
/// Longest time of one attempt.
const ATTEMPT: Duration = Duration::from_secs(4);
/// Most attempts.
const ATTEMPTS: u32 = 2;
/// The key that is asked about where there is no default one: nobody needs to have it.
const ANY_KEY: &str = "alias/portcullis-health";

/// AWS KMS, as the gate uses it.
pub struct Kms {
    settings: Settings,
    client: OnceCell<Client>,
    problem: KmsProblem,
}

/// The answer of AWS, in the form that shapes project.
#[derive(Default, Serialize)]
struct KmsAnswer {
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "in_the_clear")]
    plaintext: Option<Zeroizing<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
}

/// Serialises a plaintext: the answer goes to a caller who may have it.
fn in_the_clear<S: Serializer>(text: &Option<Zeroizing<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    text.as_ref().map(|text| text.as_str()).serialize(serializer)
}

impl Kms {
    /// A client that neither asks nor looks for credentials before the first call.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, client: OnceCell::new(), problem: KmsProblem::default() }
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(|| connect(&self.settings)).await
    }

    /// The reason why KMS cannot be used, for operators; `None` where it can.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.problem.get()
    }

    /// Asks about the default key by `DescribeKey`, once a minute, for ever.
    pub async fn watch(&self, default_key: impl Fn() -> Option<Box<str>>) {
        loop {
            let problem = self.probe(default_key()).await.err();
            tokio::time::sleep(self.problem.note(problem)).await;
        }
    }

    /// Asks once. Who may not describe the key is known to AWS, and may be allowed to use it.
    async fn probe(&self, default_key: Option<Box<str>>) -> Result<(), String> {
        let asked = async {
            let client = self.client().await;
            client.describe_key().key_id(default_key.as_deref().unwrap_or(ANY_KEY)).send().await
        };
        let told = timeout(TIMEOUT, asked).await.map_err(|_| "no answer in time".to_owned())?;
        told.map(drop).or_else(|error| {
            let code = error.code().unwrap_or_default();
            match meaning(code) {
                Refusal::NotFound if default_key.is_some() => Err("AWS_KMS_DEFAULT_KEY_ID names no key".to_owned()),
                Refusal::KmsUnavailable if code.is_empty() => Err(stage(&error).to_owned()),
                Refusal::KmsUnavailable => Err(format!("AWS says {code}")),
                _ => Ok(()),
            }
        })
    }

    /// Asks AWS; gives its answer as a JSON object.
    ///
    /// # Errors
    /// The meaning of AWS's error, and [`Refusal::KmsUnavailable`] where there is no answer in time.
    pub async fn ask(&self, request: KmsRequest) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let (key, call) = request.into_parts();
        let action = call.action();
        let asked = async {
            let client = self.client().await;
            ask(client, key.into(), call).await
        };
        let answer = timeout(TIMEOUT, asked).await.map_err(|_| {
            tracing::warn!(action, "AWS KMS did not answer in time");
            Refusal::KmsUnavailable
        })??;
        serde_json::to_vec(&answer).map(Zeroizing::new).map_err(|_| Refusal::Internal)
    }
}

async fn connect(settings: &Settings) -> Client {
    let times = TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(ATTEMPT).build();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(Bounded::new())
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(times);
    if let Some(region) = &settings.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(keys) = &settings.keys {
        let session = keys.session.as_ref().map(|session| session.expose().to_owned());
        let keys = Credentials::new(keys.id.expose(), keys.secret.expose(), session, None, "configuration");
        loader = loader.credentials_provider(keys);
    }
    let mut config = Builder::from(&loader.load().await);
    // The endpoint is that of KMS alone: credentials are found where AWS has them.
    config.set_endpoint_url(settings.endpoint.clone());
    Client::from_conf(config.build())
}

async fn ask(client: &Client, key: String, call: KmsCall) -> Result<KmsAnswer, Refusal> {
    match call {
        KmsCall::Encrypt(plaintext, Circumstances { context, grant_tokens }) => {
            let ask = client.encrypt().key_id(key).plaintext(blob(&plaintext));
            let ask = ask.set_encryption_context(Some(context.into_iter().collect()));
            let told = ask.set_grant_tokens(Some(grant_tokens)).send().await.map_err(|error| refusal(&error))?;
            Ok(KmsAnswer { ciphertext: text(told.ciphertext_blob), key_id: told.key_id, ..KmsAnswer::default() })
        }
        KmsCall::Decrypt(ciphertext, Circumstances { context, grant_tokens }) => {
            let ask = client.decrypt().key_id(key).ciphertext_blob(Blob::new(ciphertext));
            let ask = ask.set_encryption_context(Some(context.into_iter().collect()));
            let told = ask.set_grant_tokens(Some(grant_tokens)).send().await.map_err(|error| refusal(&error))?;
            Ok(KmsAnswer { plaintext: secret(told.plaintext), key_id: told.key_id, ..KmsAnswer::default() })
        }
        KmsCall::DataKey(size, circumstances) => data_key(client, key, size, circumstances).await,
        KmsCall::Sign(signed, grant_tokens) => sign(client, key, signed, grant_tokens).await,
        KmsCall::Verify(signed, signature, grant_tokens) => {
            let algorithm = SigningAlgorithmSpec::from(signed.algorithm.name());
            let ask = client.verify().key_id(key).message(blob(&signed.message)).message_type(kind(&signed));
            let ask = ask.signing_algorithm(algorithm).signature(Blob::new(signature));
            let valid = match ask.set_grant_tokens(Some(grant_tokens)).send().await {
                Ok(told) => told.signature_valid,
                // AWS reports a signature that does not hold as an error.
                Err(error) if error.code() == Some("KMSInvalidSignatureException") => false,
                Err(error) => return Err(refusal(&error)),
            };
            Ok(KmsAnswer { valid: Some(valid), ..KmsAnswer::default() })
        }
    }
}

async fn data_key(client: &Client, key: String, size: DataKey, around: Circumstances) -> Result<KmsAnswer, Refusal> {
    let ask = client.generate_data_key().key_id(key);
    let ask = match size {
        DataKey::Spec(spec) => ask.key_spec(DataKeySpec::from(spec.name())),
        DataKey::Bytes(count) => ask.number_of_bytes(count.into()),
    };
    let ask = ask.set_encryption_context(Some(around.context.into_iter().collect()));
    let told = ask.set_grant_tokens(Some(around.grant_tokens)).send().await.map_err(|error| refusal(&error))?;
    let (plaintext, ciphertext) = (secret(told.plaintext), text(told.ciphertext_blob));
    Ok(KmsAnswer { plaintext, ciphertext, key_id: told.key_id, ..KmsAnswer::default() })
}

async fn sign(client: &Client, key: String, signed: Signed, grant_tokens: GrantTokens) -> Result<KmsAnswer, Refusal> {
    let algorithm = SigningAlgorithmSpec::from(signed.algorithm.name());
    let ask = client.sign().key_id(key).message(blob(&signed.message)).message_type(kind(&signed));
    let ask = ask.signing_algorithm(algorithm).set_grant_tokens(Some(grant_tokens));
    let told = ask.send().await.map_err(|error| refusal(&error))?;
    Ok(KmsAnswer { signature: text(told.signature), key_id: told.key_id, ..KmsAnswer::default() })
}

fn blob(bytes: &[u8]) -> Blob {
    Blob::new(bytes)
}

const fn kind(signed: &Signed) -> MessageType {
    if signed.digest { MessageType::Digest } else { MessageType::Raw }
}

fn text(bytes: Option<Blob>) -> Option<String> {
    bytes.map(|bytes| STANDARD.encode(bytes))
}

fn secret(bytes: Option<Blob>) -> Option<Zeroizing<String>> {
    bytes.map(|bytes| Zeroizing::new(STANDARD.encode(Zeroizing::new(bytes.into_inner()))))
}

/// The refusal of an error. Its words may quote the request, or the gate's account in AWS, so they are
/// not even logged.
fn refusal<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Refusal {
    let code = error.code().unwrap_or_default();
    let refusal = meaning(code);
    if refusal == Refusal::KmsUnavailable {
        tracing::warn!(code, stage = stage(error), "AWS KMS cannot be used");
    }
    refusal
}

/// The stage of a call that failed.
const fn stage<E, R>(error: &SdkError<E, R>) -> &'static str {
    match error {
        SdkError::ConstructionFailure(_) => "before it was sent",
        SdkError::TimeoutError(_) => "no answer in time",
        SdkError::DispatchFailure(_) => "no credentials or no connection",
        SdkError::ResponseError(_) => "no answer of its API",
        _ => "an error of AWS's",
    }
}

/// The refusal of an AWS error code.
/// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html>
/// and the errors of each action.
fn meaning(code: &str) -> Refusal {
    match code {
        "AccessDeniedException" | "AccessDenied" => Refusal::DeniedByKms,
        "NotFoundException" => Refusal::NotFound,
        "DisabledException"
        | "IncorrectKeyException"
        | "IncorrectKeyMaterialException"
        | "InvalidArnException"
        | "InvalidCiphertextException"
        | "InvalidGrantTokenException"
        | "InvalidKeyUsageException"
        | "KMSInvalidStateException"
        | "UnsupportedOperationException"
        | "ValidationError"
        | "ValidationException" => Refusal::RejectedByKms,
        // Throttling, failures of AWS, and credentials of the gate's that are wrong or have expired:
        // nothing that the caller can mend.
        _ => Refusal::KmsUnavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_caller_cannot_mend_is_the_gates_trouble() {
        for (code, refusal) in [
            ("AccessDeniedException", Refusal::DeniedByKms),
            ("NotFoundException", Refusal::NotFound),
            ("InvalidCiphertextException", Refusal::RejectedByKms),
            ("KMSInvalidStateException", Refusal::RejectedByKms),
            ("ThrottlingException", Refusal::KmsUnavailable),
            ("UnrecognizedClientException", Refusal::KmsUnavailable),
            ("ExpiredTokenException", Refusal::KmsUnavailable),
            ("KMSInternalException", Refusal::KmsUnavailable),
            ("", Refusal::KmsUnavailable),
        ] {
            assert_eq!(meaning(code), refusal, "{code}");
        }
    }
}
