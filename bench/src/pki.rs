//! Certificates of one run, minted when it starts.

use anyhow::{Context, Result, anyhow};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// The agent that the generator presents itself as.
pub(crate) const AGENT: &str = "agent_mtls";

/// Files for the servers and a connector for the generator.
pub(crate) struct Pki {
    pub(crate) ca: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) connector: TlsConnector,
}

impl Pki {
    pub(crate) fn mint(folder: &Path) -> Result<Self> {
        let authority_key = KeyPair::generate()?;
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority
            .distinguished_name
            .push(DnType::CommonName, "Portcullis bench CA");
        let root = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);

        let mut server = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()])?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let server_key = KeyPair::generate()?;
        let server = server.signed_by(&server_key, &issuer)?;

        let mut agent = CertificateParams::new(Vec::new())?;
        agent.distinguished_name.push(DnType::CommonName, AGENT);
        agent.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let uri = format!("spiffe://portcullis.dev/agent/{AGENT}");
        agent.subject_alt_names.push(SanType::URI(uri.try_into()?));
        let agent_key = KeyPair::generate()?;
        let agent = agent.signed_by(&agent_key, &issuer)?;

        let written = |name: &str, text: String| -> Result<PathBuf> {
            let path = folder.join(name);
            fs::write(&path, text)?;
            Ok(path)
        };
        Ok(Self {
            ca: written("ca.crt", root.pem())?,
            certificate: written("server.crt", server.pem())?,
            key: written("server.key", server_key.serialize_pem())?,
            connector: connector(&root.pem(), &agent.pem(), &agent_key.serialize_pem())?,
        })
    }
}

/// Sessions are not resumed: each round pays its handshakes before the clock starts.
fn connector(ca: &str, certificate: &str, key: &str) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).map_err(|e| anyhow!("{e}"))?)?;
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .context("client certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("client key")?;
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    config.resumption = rustls::client::Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}
