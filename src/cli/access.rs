//! The flags and variables of a credential, for verbs that are clients of a gate.

use std::path::PathBuf;

use clap::Args;
use filters::secret::Secret;

use crate::stdio::{Credential, Files, Text};

/// The credential that a gate is shown.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(super) struct Access {
    /// Authorities that the gate's certificate must be of, PEM; without it those of the system.
    #[arg(long, value_name = "FILE", env = "GATE_CA_FILE")]
    ca: Option<PathBuf>,
    /// Client certificate with its chain, PEM.
    #[arg(long, value_name = "FILE", env = "GATE_CERT_FILE")]
    cert: Option<PathBuf>,
    /// Key of the client certificate, PEM; without it the file of the certificate holds both.
    #[arg(long, value_name = "FILE", env = "GATE_KEY_FILE")]
    key: Option<PathBuf>,
    /// File that holds an API key.
    #[arg(long, value_name = "FILE", env = "GATE_API_KEY_FILE")]
    api_key_file: Option<PathBuf>,
    /// File that holds a bearer token.
    #[arg(long, value_name = "FILE", env = "GATE_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

impl Access {
    pub(super) fn files(&self) -> Result<Files, String> {
        if self.key.is_some() && self.cert.is_none() {
            return Err("--key (GATE_KEY_FILE) needs --cert (GATE_CERT_FILE)".to_owned());
        }
        Ok(Files { authorities: self.ca.clone(), certificate: self.cert.clone(), key: self.key.clone() })
    }

    /// The one credential beside a certificate.
    pub(super) fn credential(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Credential, String> {
        // Clients set variables to nothing where a user has entered nothing.
        let given =
            |name: &str| variable(name).filter(|text| !text.is_empty()).map(|text| Text::Given(Secret::new(text)));
        let file = |file: &Option<PathBuf>| file.clone().map(Text::File);
        let keys = [file(&self.api_key_file), given("GATE_API_KEY")].into_iter().flatten().map(Credential::ApiKey);
        let tokens = [file(&self.token_file), given("GATE_TOKEN")].into_iter().flatten().map(Credential::Token);
        let mut found = keys.chain(tokens);
        let credential = found.next();
        if found.next().is_some() {
            let names = "GATE_API_KEY_FILE, GATE_API_KEY, GATE_TOKEN_FILE and GATE_TOKEN";
            return Err(format!("more than one credential is given: of {names}, or their flags, one may be"));
        }
        match credential {
            Some(credential) => Ok(credential),
            None if self.cert.is_some() => Ok(Credential::None),
            None => {
                Err("there is no credential: give --cert, --api-key-file, --token-file or their variables".to_owned())
            }
        }
    }
}
