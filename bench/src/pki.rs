//! Certificates of one run, minted when it starts.

use anyhow::{Context, Result};
use certs::{Authority, Leaf, Signer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio_rustls::TlsConnector;

/// The agent that the generator presents itself as.
pub(crate) const AGENT: &str = "agent_mtls";

/// The agent that floods the gate.
pub(crate) const FLOODER: &str = "flooder";

/// Files for the servers and a connector for the generator.
pub(crate) struct Pki {
    pub(crate) ca: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) connector: TlsConnector,
    /// Presents no certificate.
    pub(crate) anonymous: TlsConnector,
    authority: Authority,
    /// Signs the agent's tokens.
    pub(crate) issuer: Signer,
    /// Its public half, as a file.
    pub(crate) jwks: PathBuf,
}

impl Pki {
    pub(crate) fn mint(folder: &Path) -> Result<Self> {
        let authority = Authority::new("Portcullis bench CA")?;
        let agent = authority.issue(&Leaf::agent(AGENT))?;
        authority.issue(&Leaf::agent(FLOODER))?.write(folder, FLOODER)?;
        authority.issue(&Leaf::server())?.write(folder, "server")?;
        let ca = folder.join("ca.crt");
        fs::write(&ca, authority.pem())?;
        let (issuer, jwks) = (Signer::p256("bench")?, folder.join("jwks.json"));
        fs::write(&jwks, json!({ "keys": [issuer.jwk()] }).to_string())?;
        Ok(Self {
            ca,
            certificate: folder.join("server.crt"),
            key: folder.join("server.key"),
            connector: connector(&authority.pem(), &agent.certificate, &agent.key)?,
            anonymous: anonymous(&authority.pem())?,
            authority,
            issuer,
            jwks,
        })
    }

    /// Another certificate and key of the servers, in place of those before.
    pub(crate) fn renew_server(&self, folder: &Path) -> Result<()> {
        Ok(self.authority.issue(&Leaf::server())?.write(folder, "server")?)
    }

    /// Another key beside the one that signs, in place of the one before.
    pub(crate) fn rotate_keys(&self) -> Result<()> {
        let keys = [self.issuer.jwk(), Signer::p256("next")?.jwk()];
        let beside = self.jwks.with_extension("next");
        fs::write(&beside, json!({ "keys": keys }).to_string())?;
        Ok(fs::rename(beside, &self.jwks)?)
    }

    /// So many tokens of the agent, no two alike.
    pub(crate) fn tokens(&self, count: u32) -> Result<Vec<String>> {
        let ends = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 3600;
        let claims =
            |id| json!({"iss": "mcp-auth", "aud": "mcp-agents", "sub": AGENT, "exp": ends, "scope": "read", "jti": id});
        (0..count).map(|id| Ok(self.issuer.token(&claims(id))?)).collect()
    }
}

fn anonymous(ca: &str) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).context("CA")?)?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Sessions are not resumed: each round pays its handshakes before the clock starts.
pub(crate) fn connector(ca: &str, certificate: &str, key: &str) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).context("CA")?)?;
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .context("client certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("client key")?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(chain, key)?;
    config.resumption = rustls::client::Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}
