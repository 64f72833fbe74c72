use std::path::{Path, PathBuf};
use std::{fmt, io};

/// Why there is no Vault, or none in the wanted state.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// There is no Vault in `PATH` and no Go to build one with.
    NoGo(io::Error),
    /// There is no OpenBao in `PATH` and no Python to install one with; what Python said.
    NoPython(String),
    /// Vault could not be built.
    Build(String),
    /// A program could not be started.
    Start(PathBuf, io::Error),
    /// A file or folder could not be read or written.
    File(PathBuf, io::Error),
    /// No port is free.
    Port(io::Error),
    /// Vault ended, or did not become ready in time; the end of its log.
    NotReady(String),
    /// Vault refused a command; what was asked and what it said.
    Refused(String, String),
    /// A signal could not be sent.
    Signal(io::Error),
    /// The options contradict each other.
    Options(&'static str),
}

impl Error {
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |cause| Error::File(path.to_path_buf(), cause)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoGo(cause) => write!(
                f,
                "no Vault: put `vault` in PATH, or install Go 1.26 to build one, \
                 or leave BACKEND away for OpenBao (go: {cause})"
            ),
            Error::NoPython(said) => write!(
                f,
                "no OpenBao: put `bao` in PATH, or install Python 3 with its venv to install one \
                 (Debian: python3-venv), or build a Vault with BACKEND=vault: {said}"
            ),
            Error::Build(said) => write!(f, "Vault cannot be built: {said}"),
            Error::Start(path, cause) => write!(f, "{} does not start: {cause}", path.display()),
            Error::File(path, cause) => write!(f, "{}: {cause}", path.display()),
            Error::Port(cause) => write!(f, "no free port on loopback: {cause}"),
            Error::NotReady(log) => write!(f, "Vault is not ready; its log ends:\n{log}"),
            Error::Refused(asked, said) => write!(f, "`{asked}` failed: {said}"),
            Error::Signal(cause) => write!(f, "Vault cannot be signalled: {cause}"),
            Error::Options(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}
