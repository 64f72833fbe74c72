//! New API keys: random text that a leak scanner recognises, of which the
//! configuration holds the digest only.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use filters::names::AgentId;
use filters::secret::Digest;
use rustls::crypto::{GetRandomFailed, aws_lc_rs};
use zeroize::Zeroizing;

/// How every key begins: `pck_[A-Za-z0-9_-]{43}` finds one that leaked.
pub const PREFIX: &str = "pck_";

/// Random bytes in a key.
const BYTES: usize = 32;

/// A key that is shown once.
pub struct NewKey(Zeroizing<String>);

impl NewKey {
    /// A key that nobody has had before.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn generate() -> Result<Self, GetRandomFailed> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        aws_lc_rs::default_provider().secure_random.fill(&mut *bytes)?;
        let mut text = Zeroizing::new(PREFIX.to_owned());
        URL_SAFE_NO_PAD.encode_string(*bytes, &mut text);
        Ok(Self(text))
    }

    /// The key itself.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What to put into the configuration for `agent`, as TOML.
    #[must_use]
    pub fn entry(&self, agent: &AgentId) -> String {
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
            let random = key.strip_prefix(PREFIX).unwrap();
            assert_eq!(URL_SAFE_NO_PAD.decode(random).unwrap().len(), BYTES);
        }
    }
}
