//! Messages of OTLP, posted to a collector.
//! Source: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

use std::fmt;
use std::io::Write as _;
use std::sync::LazyLock;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use reqwest::redirect::Policy;
use reqwest::tls::Certificate;
use reqwest::{Client, Identity, Response};
use zeroize::Zeroizing;

use crate::config;

use super::spans::text;

/// Most bytes that are read of an answer.
const LARGEST: usize = 64 << 10;
/// Longest time that a collector may have the gate wait.
const LONGEST: Duration = Duration::from_secs(30);

/// A collector.
pub(in crate::telemetry) struct Collector {
    client: Client,
    settings: config::Otlp,
}

/// The reason why a message was not taken.
pub(in crate::telemetry) enum Untaken {
    /// Nobody answered.
    Unreachable(reqwest::Error),
    /// It may be sent again, after a time where that is said.
    Later(StatusCode, Option<Duration>),
    /// It is never taken.
    Never(StatusCode),
}

impl Untaken {
    /// The time until it may be sent again, `usual` where it is not said; `None` where it may not.
    pub(in crate::telemetry) fn pause(&self, usual: Duration) -> Option<Duration> {
        match self {
            Self::Unreachable(_) => Some(usual),
            Self::Later(_, pause) => Some(pause.map_or(usual, |pause| pause.min(LONGEST))),
            Self::Never(_) => None,
        }
    }
}

impl fmt::Display for Untaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) if error.is_timeout() => f.write_str("it does not answer in time"),
            Self::Unreachable(error) if error.is_connect() => f.write_str("it cannot be reached"),
            Self::Unreachable(_) => f.write_str("it does not answer"),
            Self::Later(status, _) | Self::Never(status) => write!(f, "it answers {status}"),
        }
    }
}

impl Collector {
    /// The collector of these settings.
    ///
    /// # Errors
    /// Its authorities or the gate's certificate cannot be used.
    pub(in crate::telemetry) fn new(settings: config::Otlp) -> Result<Self, String> {
        let mut builder = Client::builder()
            .timeout(settings.timeout)
            .redirect(Policy::none())
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
            .https_only(settings.url.starts_with("https:"));
        if let Some(authorities) = &settings.authorities {
            let certificates = authorities.iter().map(|der| Certificate::from_der(der)).collect::<Result<Vec<_>, _>>();
            builder = builder.tls_certs_only(certificates.map_err(|error| error.to_string())?);
        }
        if let Some((certificate, key)) = &settings.identity {
            let read = |path: &std::path::Path| {
                std::fs::read(path).map(Zeroizing::new).map_err(|error| format!("{}: {error}", path.display()))
            };
            let pem = Zeroizing::new([&read(key)?[..], b"\n", &read(certificate)?[..]].concat());
            builder = builder.identity(Identity::from_pem(&pem).map_err(|error| error.to_string())?);
        }
        let client = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { client, settings })
    }

    /// The body of a message, compressed where that is wished.
    pub(in crate::telemetry) fn body(&self, message: &impl Message) -> Vec<u8> {
        let plain = message.encode_to_vec();
        if !self.settings.gzip {
            return plain;
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let encoded = encoder.write_all(&plain).and_then(|()| encoder.finish());
        encoded.unwrap_or_default()
    }

    /// Posts a body; gives the answer's.
    ///
    /// # Errors
    /// [`Untaken`].
    pub(in crate::telemetry) async fn post(&self, body: Vec<u8>) -> Result<Vec<u8>, Untaken> {
        let mut request = self.client.post(&self.settings.url).headers(self.settings.headers.clone());
        request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        if self.settings.gzip {
            request = request.header(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let response = request.body(body).send().await.map_err(Untaken::Unreachable)?;
        match response.status() {
            status if status.is_success() => read(response).await.map_err(Untaken::Unreachable),
            status @ (StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT) => {
                let seconds = response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
                Err(Untaken::Later(status, seconds.map(Duration::from_secs)))
            }
            status => Err(Untaken::Never(status)),
        }
    }
}

/// The gate, as it is named to collectors. Processes are told apart by a random id.
pub(in crate::telemetry) fn resource(settings: &config::Otlp) -> Resource {
    static INSTANCE: LazyLock<String> = LazyLock::new(|| format!("{:016x}", crate::random::u64()));
    let given = |name: &str| settings.resource.iter().any(|(other, _)| other == name);
    let own = [("service.version", env!("CARGO_PKG_VERSION")), ("service.instance.id", &INSTANCE)];
    let own = own.into_iter().filter(|(name, _)| !given(name));
    let configured = settings.resource.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Resource {
        attributes: configured.chain(own).map(|(name, value)| text(name, value)).collect(),
        ..Resource::default()
    }
}

/// The source of whatever is sent.
pub(in crate::telemetry) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

/// The beginning of an answer's body.
async fn read(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await? {
        if body.len() + part.len() > LARGEST {
            break;
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}
