//! The credential by which this process speaks to a gate, and whom it believes to be one. Files are
//! read anew for each request, so that what replaces them is used at once.

use std::path::{Path, PathBuf};

use filters::headers::API_KEY;
use filters::secret::Secret;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use reqwest::tls::{Certificate, Identity};
use reqwest::{Client, ClientBuilder};
use zeroize::Zeroizing;

use crate::config::files;

use super::trouble::cause;

/// Most bytes of a file.
const LARGEST: u64 = 1 << 20;

/// The place of a secret text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// The text itself, as the environment has it.
    Given(Secret),
    /// A file that holds nothing else but space around it.
    File(PathBuf),
}

/// The credential that goes in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// None: a certificate stands alone.
    None,
    /// An API key.
    ApiKey(Text),
    /// A bearer token.
    Token(Text),
}

/// The files of TLS, all PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The authorities that a gate's certificate must be of; those of the system where there is none.
    pub authorities: Option<PathBuf>,
    /// The client's certificate with its chain.
    pub certificate: Option<PathBuf>,
    /// Its key; where there is none, the file of the certificate holds both.
    pub key: Option<PathBuf>,
}

/// The contents of the files of TLS.
#[derive(PartialEq, Eq)]
pub(super) struct TlsPem {
    authorities: Option<Vec<u8>>,
    identity: Option<Zeroizing<Vec<u8>>>,
}

/// The header of a credential, where one goes in a header.
pub(super) type Header = Option<(HeaderName, HeaderValue)>;

impl Files {
    /// Reads the files.
    ///
    /// # Errors
    /// The file, and why it cannot be read.
    pub(super) fn read(&self) -> Result<TlsPem, String> {
        let authorities = self.authorities.as_deref().map(bytes).transpose()?;
        let mut identity = self.certificate.as_deref().map(bytes).transpose()?.map(Zeroizing::new);
        if let (Some(pem), Some(key)) = (&mut identity, &self.key) {
            let key = Zeroizing::new(bytes(key)?);
            // Made large enough at once, so that no copy of the key is left behind.
            let mut both = Zeroizing::new(Vec::with_capacity(pem.len() + key.len() + 1));
            both.extend_from_slice(pem);
            both.push(b'\n');
            both.extend_from_slice(&key);
            *pem = both;
        }
        Ok(TlsPem { authorities, identity })
    }
}

impl TlsPem {
    /// A client that believes and shows what was read.
    ///
    /// # Errors
    /// The reason why the PEM cannot be used.
    pub(super) fn client(&self, builder: ClientBuilder) -> Result<Client, String> {
        let mut builder = builder;
        if let Some(pem) = &self.authorities {
            let wrong = "the file of authorities holds no certificates in PEM";
            let found = Certificate::from_pem_bundle(pem).map_err(|_| wrong.to_owned())?;
            if found.is_empty() {
                return Err(wrong.to_owned());
            }
            builder = builder.tls_certs_only(found);
        }
        if let Some(pem) = &self.identity {
            let identity = Identity::from_pem(pem);
            let wrong = "the files of the client certificate and its key do not hold both, in PEM";
            builder = builder.identity(identity.map_err(|_| wrong.to_owned())?);
        }
        builder.build().map_err(|error| format!("the certificates and the key cannot be used: {}", cause(error)))
    }
}

impl Credential {
    /// The header that carries it.
    ///
    /// # Errors
    /// The file, and why there is no credential in it.
    pub(super) fn header(&self) -> Result<Header, String> {
        let (name, prefix, text) = match self {
            Self::None => return Ok(None),
            Self::ApiKey(text) => (API_KEY, "", text),
            Self::Token(text) => (AUTHORIZATION, "Bearer ", text),
        };
        let secret = text.read()?;
        let line = Zeroizing::new(format!("{prefix}{}", secret.expose().trim()));
        let value = HeaderValue::from_str(&line).ok().filter(|_| !secret.expose().trim().is_empty());
        let mut value = value.ok_or_else(|| format!("{}: does not hold one line of text", text.place()))?;
        value.set_sensitive(true);
        Ok(Some((name, value)))
    }
}

impl Text {
    fn place(&self) -> String {
        match self {
            Self::Given(_) => "the variable of the credential".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }

    fn read(&self) -> Result<Secret, String> {
        match self {
            Self::Given(secret) => Ok(secret.clone()),
            Self::File(path) => {
                let text = String::from_utf8(bytes(path)?);
                text.map(Secret::new).map_err(|_| format!("{}: does not hold text", path.display()))
            }
        }
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    files::read(path, LARGEST).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_goes_in_its_header_and_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "t.o.k\n").unwrap();
        let key = Credential::ApiKey(Text::Given(Secret::new("k-1".to_owned())));
        let (name, value) = key.header().unwrap().unwrap();
        assert_eq!((name, value.to_str().unwrap()), (API_KEY, "k-1"));
        assert!(!format!("{value:?}{key:?}").contains("k-1"));
        let token = Credential::Token(Text::File(file.clone()));
        assert_eq!(token.header().unwrap().unwrap().1, "Bearer t.o.k");
        for text in ["", " \n", "two\nlines"] {
            std::fs::write(&file, text).unwrap();
            assert!(token.header().is_err(), "{text:?}");
        }
        assert!(Credential::Token(Text::File(folder.path().join("none"))).header().unwrap_err().contains("none"));
    }
}
