//! The file of the authorities of Vault's certificate, looked at before the framework reads it, which
//! panics where it cannot use it.

use std::fmt;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::{PemObject as _, SectionKind};

use crate::files;

/// Most bytes of the file.
const MOST: u64 = 4 << 20;

/// Checks that the file holds certificates of authorities, and nothing else.
///
/// # Errors
/// The problem with the file, with its path.
pub(super) fn check(path: &Path) -> Result<(), String> {
    let told = |problem: &dyn fmt::Display| format!("upstream.ca_file: {}: {problem}", path.display());
    let bytes = files::read(path, MOST).map_err(|error| told(&error))?;
    let mut store = RootCertStore::empty();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(&bytes) {
        let (SectionKind::Certificate, der) = section.map_err(|_| told(&"cannot be read as PEM"))? else {
            return Err(told(&"holds something else than certificates"));
        };
        store.add(der.into()).map_err(|_| told(&"holds a certificate that can be no authority"))?;
    }
    if store.is_empty() { Err(told(&"holds no certificate in PEM")) } else { Ok(()) }
}
