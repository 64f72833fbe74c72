//! The HTTP client for AWS: the one of its SDK, with a bound on the size of answers, which the SDK
//! holds whole.

use aws_sdk_kms::config::{RuntimeComponents, SharedHttpClient};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use http_body_util::Limited;

/// Most bytes of an answer, of KMS or of a service that gives the gate credentials. A ciphertext has
/// some 8 KiB at most.
const LARGEST: usize = 64 << 10;

/// A client that ends answers at [`LARGEST`].
#[derive(Debug)]
pub(super) struct Bounded<T>(T);

impl Bounded<SharedHttpClient> {
    /// A client with the cryptography of the process and the proxies of the environment.
    pub(super) fn new() -> Self {
        Self(Builder::new().build_with_connector_fn(|settings, components| {
            let mut connector = ConnectorBuilder::default().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
            connector.set_connector_settings(settings.cloned());
            connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
            connector.set_proxy_config(Some(ProxyConfig::from_env()));
            connector.build()
        }))
    }
}

impl HttpClient for Bounded<SharedHttpClient> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Bounded(self.0.http_connector(settings, components)))
    }
}

impl HttpConnector for Bounded<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let answering = self.0.call(request);
        let bounded = |body: SdkBody| SdkBody::from_body_1_x(Limited::new(body, LARGEST));
        HttpConnectorFuture::new(async move { Ok(answering.await?.map(bounded)) })
    }
}
