use std::path::PathBuf;
use std::{fmt, io};

/// Why a certificate could not be minted, read or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The certificate or its key could not be encoded.
    Encoding(rcgen::Error),
    /// A subject of more than two common names.
    TooManyCommonNames(usize),
    /// A name that cannot be the name of an agent's files.
    AgentName(String),
    /// A certificate to be revoked could not be read.
    Unreadable,
    /// A key could not be made, or could not sign.
    SigningKey,
    /// A file could not be read or written.
    File(PathBuf, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Encoding(cause) => write!(f, "the certificate cannot be encoded: {cause}"),
            Error::TooManyCommonNames(count) => {
                write!(f, "{count} common names are more than the two that can be written")
            }
            Error::AgentName(name) => write!(
                f,
                "{name:?} is not an agent's name: [a-z0-9][a-z0-9._-]*, at most 63 characters, \
                 no \"..\", and neither \"ca\" nor \"server\""
            ),
            Error::Unreadable => f.write_str("the certificate cannot be read"),
            Error::SigningKey => f.write_str("the key cannot be made, or cannot sign"),
            Error::File(path, cause) => write!(f, "{}: {cause}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Encoding(cause) => Some(cause),
            Error::File(_, cause) => Some(cause),
            Error::TooManyCommonNames(_) | Error::AgentName(_) | Error::Unreadable | Error::SigningKey => None,
        }
    }
}

impl From<rcgen::Error> for Error {
    fn from(cause: rcgen::Error) -> Self {
        Error::Encoding(cause)
    }
}
