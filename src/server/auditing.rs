//! The audit as it is configured: its keys are read, and its outlets made.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use filters::audit::{ChainId, Naming, NoteSigner};
use filters::secret::Digest;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use crate::config::{self, SyslogTransport};
use crate::telemetry::{AuditFileTerms, AuditTerms, Outward, StandardOutput, Syslog};

/// The terms of the audit of a gate that starts with the configuration of this digest; `chain` names its chain.
///
/// # Errors
/// A key cannot be read, or is none: which, and what to do.
pub(super) fn terms(audit: &config::Audit, configuration: Digest, chain: ChainId) -> Result<AuditTerms, String> {
    let naming = audit.name_key.as_deref().map_or(Ok(Naming::Clear), hmacs)?;
    let signer = |path: &std::path::PathBuf| {
        let mend = "make one with `portcullis audit key --checkpoints NAME FILE`";
        NoteSigner::parse(&key(path, "checkpoint_key")?).ok_or_else(|| no_key(path, "checkpoint_key", mend))
    };
    let mut outlets: Vec<Box<dyn Outward>> = Vec::new();
    if audit.stdout {
        outlets.push(Box::new(StandardOutput::new().map_err(|error| format!("audit.stdout: {error}"))?));
    }
    if let Some(server) = &audit.syslog {
        outlets.push(Box::new(syslog(server)?));
    }
    let config::Rotation { size, every, keep } = audit.rotation;
    Ok(AuditTerms {
        file: audit.file.clone().map(|path| AuditFileTerms { path, size, every, keep }),
        outlets,
        required: audit.required,
        sync_each: audit.sync_each,
        naming,
        signer: audit.checkpoint_key.as_ref().map(signer).transpose()?,
        checkpoint_every: audit.checkpoint_every,
        chain,
        configuration,
    })
}

/// Names as HMACs by the key in this file.
///
/// # Errors
/// The key cannot be read, or is none: what to do.
pub(super) fn hmacs(path: &Path) -> Result<Naming, String> {
    let mend = "make one with `portcullis audit key --names FILE`";
    Naming::of_key(&key(path, "name_key")?).ok_or_else(|| no_key(path, "name_key", mend))
}

fn key(path: &Path, option: &str) -> Result<Zeroizing<String>, String> {
    let read = fs::read_to_string(path).map(Zeroizing::new);
    read.map_err(|error: io::Error| format!("audit.{option} {}: {error}", path.display()))
}

fn no_key(path: &Path, option: &str, mend: &str) -> String {
    format!("audit.{option} {}: holds no such key; {mend}", path.display())
}

fn syslog(server: &config::Syslog) -> Result<Syslog, String> {
    let (host, port) = (server.host.clone(), server.port);
    Ok(match server.transport {
        SyslogTransport::Udp => Syslog::udp(host, port),
        SyslogTransport::Tcp => Syslog::tcp(host, port),
        SyslogTransport::Tls => {
            let mut roots = RootCertStore::empty();
            let authorities = server.authorities.iter().flatten();
            roots.add_parsable_certificates(authorities.map(|der| CertificateDer::from(der.clone())));
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            let config = config.map_err(|error| format!("audit.syslog: {error}"))?;
            let config = config.with_root_certificates(roots).with_no_client_auth();
            Syslog::tls(host, port, config).ok_or("audit.syslog: its host is no name that a certificate carries")?
        }
    })
}
