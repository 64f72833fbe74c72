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

use crate::config::{self, AuditKey, Settings, SyslogTransport};
use crate::telemetry::{
    AuditFileTerms, AuditTerms, CheckpointSigner, OtlpLogs, Outward, SharedNaming, StandardOutput, Syslog, VaultKeys,
};

/// The keys of the audit that Vault has; nothing is known of them yet.
pub(super) fn vault_keys(settings: &Settings) -> VaultKeys {
    let [names, checkpoints] = settings.audit_transit_keys();
    VaultKeys {
        names: names.map(|name| (name.into(), Naming::Untold.into())),
        checkpoints: checkpoints.map(|name| (name.into(), Arc::default())),
    }
}

/// The terms of the audit of a gate that starts with the configuration of this digest; `chain` names its chain, and
/// `keys` are those that Vault has.
///
/// # Errors
/// A key cannot be read, or is none: which, and what to do.
pub(super) fn terms(
    audit: &config::Audit,
    keys: &VaultKeys,
    configuration: Digest,
    chain: ChainId,
) -> Result<AuditTerms, String> {
    let mut outlets: Vec<Box<dyn Outward>> = Vec::new();
    if audit.stdout {
        outlets.push(Box::new(StandardOutput::new().map_err(|error| format!("audit.stdout: {error}"))?));
    }
    if let Some(server) = &audit.syslog {
        outlets.push(Box::new(syslog(server)?));
    }
    if let Some(collector) = &audit.otlp {
        let logs = OtlpLogs::new(collector.clone()).map_err(|error| format!("audit.otlp: {error}"))?;
        outlets.push(Box::new(logs));
    }
    let config::Rotation { size, every, keep } = audit.rotation;
    Ok(AuditTerms {
        file: audit.file.clone().map(|path| AuditFileTerms { path, size, every, keep }),
        outlets,
        required: audit.required,
        sync_each: audit.sync_each,
        names: audit.name_key.as_ref().map_or_else(|| Ok(Naming::Clear.into()), |key| naming(key, keys))?,
        signer: signer(audit.checkpoint_key.as_ref(), keys)?,
        checkpoint_every: audit.checkpoint_every,
        chain,
        configuration,
    })
}

/// Names as HMACs by this key.
///
/// # Errors
/// The key cannot be read, or is none: what to do.
pub(super) fn naming(key: &AuditKey, keys: &VaultKeys) -> Result<SharedNaming, String> {
    let AuditKey::File(path) = key else {
        return Ok(keys.names.as_ref().map_or_else(|| Naming::Untold.into(), |(_, naming)| naming.clone()));
    };
    let mend = "make one with `portcullis audit key --names FILE`";
    let naming = Naming::of_key(&read(path, "name_key")?).ok_or_else(|| no_key(path, "name_key", mend))?;
    Ok(naming.into())
}

fn signer(key: Option<&AuditKey>, keys: &VaultKeys) -> Result<Option<CheckpointSigner>, String> {
    let Some(AuditKey::File(path)) = key else {
        return Ok(keys.checkpoints.as_ref().map(|(_, signer)| CheckpointSigner::Remote(Arc::clone(signer))));
    };
    let mend = "make one with `portcullis audit key --checkpoints NAME FILE`";
    let signer = NoteSigner::parse(&read(path, "checkpoint_key")?);
    signer.map(|signer| Some(CheckpointSigner::Here(signer))).ok_or_else(|| no_key(path, "checkpoint_key", mend))
}

fn read(path: &Path, option: &str) -> Result<Zeroizing<String>, String> {
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
