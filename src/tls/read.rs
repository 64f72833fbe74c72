//! Reads the files of TLS, and says why one cannot be used.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use filters::pem;
use rustls::pki_types::CertificateDer;

use crate::config::files;

/// Most bytes of a file of certificates or of a key.
pub(super) const LARGEST: u64 = 4 << 20;

/// The reason why a TLS file cannot be used.
#[derive(Debug)]
pub struct TlsProblem {
    path: PathBuf,
    /// The line of the fault, where there is one.
    line: Option<usize>,
    what: Cow<'static, str>,
}

impl TlsProblem {
    pub(super) fn new(path: &Path, what: &'static str) -> Self {
        Self { path: path.to_owned(), line: None, what: what.into() }
    }

    fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self { path: path.to_owned(), line: None, what: format!("cannot be read: {error}").into() }
    }

    pub(super) fn of_text(path: &Path, fault: pem::Fault) -> Self {
        Self { path: path.to_owned(), line: fault.line, what: fault.what.into() }
    }
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        self.line.iter().try_for_each(|line| write!(f, "{line}:"))?;
        write!(f, " {}", self.what)
    }
}

impl std::error::Error for TlsProblem {}

/// The certificates of a file of authorities.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    ders(path, pem::certificates)
}

pub(super) fn ders(
    path: &Path,
    read: impl FnOnce(&[u8]) -> Result<Vec<Vec<u8>>, pem::Fault>,
) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let found = read(&text(path, LARGEST)?).map_err(|fault| TlsProblem::of_text(path, fault))?;
    Ok(found.into_iter().map(CertificateDer::from).collect())
}

pub(super) fn text(path: &Path, most: u64) -> Result<Vec<u8>, TlsProblem> {
    files::read(path, most).map_err(|error| TlsProblem::unreadable(path, &error))
}
