//! Real servers that the gate and Vault's engines speak to, each on a
//! loopback port of its own, with its files in a folder of its own, ended when
//! dropped.

pub mod collector;
mod haproxy;
mod kms;
mod kubernetes;
mod otelcol;
mod postgres;
mod prometheus;
mod redis;
mod sshd;

pub use haproxy::Haproxy;
pub use kms::Kms;
pub use kubernetes::Kubernetes;
pub use otelcol::Otelcol;
pub use postgres::Postgres;
pub use prometheus::{Prometheus, promtool};
pub use redis::{PASSWORD as REDIS_PASSWORD, Redis};
pub use sshd::{Identity, Sshd};

use std::path::PathBuf;

use rcgen::{CertificateParams, DnType, KeyPair};

/// A program, from PATH or where Debian keeps servers.
fn program(name: &str, elsewhere: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.extend(std::fs::read_dir(elsewhere).into_iter().flatten().flatten().map(|entry| entry.path().join("bin")));
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed; `make servers` installs it"))
}

/// A request for a certificate of that name, PEM.
pub fn csr(name: &str) -> String {
    let key = KeyPair::generate().expect("a key");
    let mut request = CertificateParams::new(vec![name.to_owned()]).expect("names");
    request.distinguished_name.push(DnType::CommonName, name);
    request.serialize_request(&key).expect("a request").pem().expect("PEM")
}
