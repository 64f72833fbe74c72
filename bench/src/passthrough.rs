//! The bare pass-through: mTLS in, keep-alive plain HTTP out, no policy. What pingora itself costs.

use anyhow::{Context, Result};
use async_trait::async_trait;
use clap::Args;
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

#[derive(Args)]
pub(crate) struct Settings {
    /// Address of the TLS listener
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// Address of the plain HTTP server behind it
    #[arg(long)]
    pub(crate) upstream: SocketAddr,
    /// File with the CA that client certificates must chain to
    #[arg(long)]
    pub(crate) client_ca: PathBuf,
    /// File with the server's certificate
    #[arg(long)]
    pub(crate) certificate: PathBuf,
    /// File with the server's private key
    #[arg(long)]
    pub(crate) key: PathBuf,
}

impl Settings {
    /// Puts these settings on the command line of a child.
    pub(crate) fn pass_to(&self, command: &mut Command) {
        command
            .arg(format!("--listen={}", self.listen))
            .arg(format!("--upstream={}", self.upstream))
            .arg("--client-ca")
            .arg(&self.client_ca)
            .arg("--certificate")
            .arg(&self.certificate)
            .arg("--key")
            .arg(&self.key);
    }
}

struct Bare {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut Self::CTX) -> pingora_core::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

/// Serves until the process is told to end.
pub(crate) fn run(settings: &Settings) -> Result<()> {
    let mut server = Server::new_with_opt_and_conf(
        None,
        ServerConf {
            threads: 1,
            grace_period_seconds: Some(0),
            graceful_shutdown_timeout_seconds: Some(1),
            ..ServerConf::default()
        },
    );
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Bare { upstream: settings.upstream });
    service.add_tls_with_settings(&settings.listen.to_string(), None, tls(settings)?);
    server.add_service(service);
    server.run_forever()
}

fn tls(settings: &Settings) -> Result<TlsSettings> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&settings.client_ca).context("client CA")? {
        roots.add(certificate?)?;
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build()?;
    let mut tls = TlsSettings::intermediate(text(&settings.certificate)?, text(&settings.key)?)?;
    tls.set_client_cert_verifier(verifier);
    Ok(tls)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}
