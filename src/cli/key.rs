//! `portcullis key`: new API keys, random text that a leak scanner recognises, of which the
//! configuration holds the digest only.

use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Subcommand;
use filters::credential::KEY_PREFIX;
use filters::names::AgentId;
use filters::secret::Digest;
use rustls::crypto::{GetRandomFailed, aws_lc_rs};
use zeroize::Zeroizing;

use super::common::{FAILED, REFUSED, print};

const NEW_AFTER: &str = "\
The key goes to standard output, this once; what to put into the configuration
goes to standard error and holds no more than the key's digest. Every key
begins with pck_ and matches pck_[A-Za-z0-9_-]{43}, for scanners of leaks.

Exit codes:
  0  printed
  2  no name that an agent can have

Example:
  portcullis key new ci >ci.key   and add what it says to the configuration";

/// Actions on keys.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum KeyCommand {
    /// Make an API key, and print it and what to put into the configuration.
    #[command(after_help = NEW_AFTER)]
    New {
        /// Agent that the key is for.
        agent: String,
    },
}

pub(super) fn run(KeyCommand::New { agent }: &KeyCommand) -> ExitCode {
    let Some(agent) = AgentId::parse(agent) else {
        eprintln!("portcullis: no agent can have that name: [a-z0-9][a-z0-9._-]{{0,62}} without `..`");
        return ExitCode::from(REFUSED);
    };
    match NewKey::generate() {
        Ok(key) => {
            eprint!("{}", key.entry(&agent));
            print(&format!("{}\n", key.text()));
            ExitCode::SUCCESS
        }
        Err(_) => {
            eprintln!("portcullis: the system gives no random numbers");
            ExitCode::from(FAILED)
        }
    }
}

/// Random bytes in a key.
const BYTES: usize = 32;

/// A key that is shown once.
struct NewKey(Zeroizing<String>);

impl NewKey {
    /// A key that nobody has had before.
    ///
    /// # Errors
    /// The system gives no random numbers.
    fn generate() -> Result<Self, GetRandomFailed> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        aws_lc_rs::default_provider().secure_random.fill(&mut *bytes)?;
        let mut text = Zeroizing::new(KEY_PREFIX.to_owned());
        URL_SAFE_NO_PAD.encode_string(*bytes, &mut text);
        Ok(Self(text))
    }

    /// The key itself.
    fn text(&self) -> &str {
        &self.0
    }

    /// The lines for the configuration of `agent`, as TOML.
    fn entry(&self, agent: &AgentId) -> String {
        let digest = Digest::of(self.0.as_bytes()).to_hex();
        format!("[agents.\"{agent}\"]\napi_keys = [{{ sha256 = \"{digest}\" }}]\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_keys_are_alike() {
        let keys: std::collections::HashSet<_> =
            (0..100).map(|_| NewKey::generate().unwrap().text().to_owned()).collect();
        assert_eq!(keys.len(), 100);
        for key in keys {
            let random = key.strip_prefix(KEY_PREFIX).unwrap();
            assert_eq!(URL_SAFE_NO_PAD.decode(random).unwrap().len(), BYTES);
        }
    }
}
