use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{Error, Product};

/// The options that a Vault runs with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The port on 127.0.0.1; `None` takes a free one.
    pub port: Option<u16>,
    /// `https` with this certificate. Needs [`Storage::Disk`].
    pub tls: Option<Tls>,
    /// Where it keeps what it is given.
    pub storage: Storage,
    /// The file of its audit, with the correlation ids of requests: begun anew by [`crate::Vault::start`]. Without one
    /// no audit is kept, and audit devices can be made through the API.
    pub audit: Option<PathBuf>,
}

/// A server certificate, by the paths of its PEM files.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate, valid for 127.0.0.1.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The certificate of the authority that signed it.
    pub ca: PathBuf,
}

/// Where a Vault keeps what it is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// Dev mode: in memory, gone after a stop, and quick to start.
    #[default]
    Memory,
    /// On disk, in a temporary folder: still there after a restart. One unseal key, used
    /// without being asked.
    Disk,
}

impl Options {
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The arguments after `vault server`. What they need is written into `folder`.
    pub(crate) fn arguments(
        &self,
        product: Product,
        port: u16,
        root_token: &str,
        folder: &Path,
    ) -> Result<Vec<String>, Error> {
        match self.storage {
            Storage::Memory => Ok(vec![
                "-dev".to_owned(),
                format!("-dev-root-token-id={root_token}"),
                format!("-dev-listen-address=127.0.0.1:{port}"),
                "-dev-no-store-token".to_owned(),
                format!("-config={}", written(folder, &self.audited(product))?),
            ]),
            Storage::Disk => {
                let data = folder.join("data");
                fs::create_dir_all(&data).map_err(Error::file(&data))?;
                Ok(vec![format!("-config={}", written(folder, &self.config(product, port, &data))?)])
            }
        }
    }

    fn config(&self, product: Product, port: u16, data: &Path) -> Value {
        let mut config = self.audited(product);
        let mut listener = json!({
            "address": format!("127.0.0.1:{port}"),
            "tls_disable": self.tls.is_none(),
        });
        if let (Some(tls), Some(fields)) = (&self.tls, listener.as_object_mut()) {
            fields.insert("tls_cert_file".into(), json!(absolute(&tls.certificate)));
            fields.insert("tls_key_file".into(), json!(absolute(&tls.key)));
        }
        let more = json!({
            "storage": storage(product, data),
            "listener": { "tcp": listener },
            "api_addr": format!("{}://127.0.0.1:{port}", self.scheme()),
            "cluster_addr": format!("https://127.0.0.1:{}", port.saturating_add(1)),
            "disable_mlock": true,
        });
        if let (Some(config), Value::Object(more)) = (config.as_object_mut(), more) {
            config.extend(more);
        }
        config
    }

    /// OpenBao takes audit devices from its configuration, and through the API only where that allows it; Vault has
    /// them through the API alone.
    fn audited(&self, product: Product) -> Value {
        match (product, &self.audit) {
            (Product::Vault, _) => json!({}),
            (Product::OpenBao, None) => json!({ "unsafe_allow_api_audit_creation": true }),
            (Product::OpenBao, Some(file)) => {
                // An object of one member alone is taken for a part of the name above it.
                let device = json!({ "description": "development", "options": { "file_path": absolute(file) } });
                json!({ "audit": [{ "file": { "file": device } }] })
            }
        }
    }
}

fn written(folder: &Path, config: &Value) -> Result<String, Error> {
    let path = folder.join("vault.json");
    fs::write(&path, config.to_string()).map_err(Error::file(&path))?;
    Ok(path.display().to_string())
}

/// The storage in this folder; OpenBao has no plain files.
fn storage(product: Product, folder: &Path) -> Value {
    match product {
        Product::Vault => json!({ "file": { "path": folder } }),
        Product::OpenBao => json!({ "raft": { "path": folder, "node_id": "one" } }),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}
