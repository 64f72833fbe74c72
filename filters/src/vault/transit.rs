//! Keys of the gate's own in Vault's transit engine: keys of its own are derived from their versions, or they sign.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::{HANDLES, Layout, Method, VaultRequest, post};
use crate::path::{PathProblem, VaultPath};

/// A key of the gate's own.
#[derive(Clone, Copy, Debug)]
pub struct TransitKey<'a> {
    mount: &'a str,
    name: &'a str,
}

/// A version of a transit key, as Vault tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyVersion {
    /// The number, from 1.
    pub number: u32,
    /// The time it was made, in seconds since the epoch; 0 where that is not told so.
    pub made: u64,
    /// The public key, where it is an Ed25519 key.
    pub public: Option<[u8; 32]>,
}

/// A signature of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The number of the version.
    pub version: u32,
    /// The signature.
    pub bytes: Vec<u8>,
}

impl<'a> TransitKey<'a> {
    /// The key of that name, at the mount that keys of handles are at too.
    #[must_use]
    pub fn named(name: &'a str, layout: &'a Layout) -> Self {
        Self { mount: layout.mount_of(HANDLES), name }
    }

    /// The key that the keys of handles are derived from.
    #[must_use]
    pub fn of_handles(layout: &'a Layout) -> Self {
        Self::named(&layout.handle_key, layout)
    }

    fn path(self) -> Result<VaultPath, PathProblem> {
        VaultPath::render(&[self.mount, "keys", self.name])
    }

    /// Tells its versions.
    ///
    /// # Errors
    /// A bad mount or name.
    pub fn read(self) -> Result<VaultRequest, PathProblem> {
        Ok(VaultRequest::new(Method::Get, self.path()?, None, true))
    }

    /// Makes it, of a type of the engine's; changes nothing where it is there.
    ///
    /// # Errors
    /// A bad mount or name.
    pub fn create(self, kind: &str) -> Result<VaultRequest, PathProblem> {
        Ok(post(self.path()?, &json!({ "type": kind }), true))
    }

    /// Derives 32 bytes from one version of it, for one purpose.
    ///
    /// # Errors
    /// A bad mount or name.
    pub fn derive(self, purpose: &str, version: u32) -> Result<VaultRequest, PathProblem> {
        let path = VaultPath::render(&[self.mount, "hmac", self.name, "sha2-256"])?;
        Ok(post(path, &json!({"input": BASE64.encode(purpose), "key_version": version}), true))
    }

    /// Signs a text by its latest version.
    ///
    /// # Errors
    /// A bad mount or name.
    pub fn sign(self, text: &str) -> Result<VaultRequest, PathProblem> {
        let path = VaultPath::render(&[self.mount, "sign", self.name])?;
        Ok(post(path, &json!({"input": BASE64.encode(text)}), true))
    }
}

/// Reads the answer to [`TransitKey::read`]: the versions that are not withdrawn, latest first.
#[must_use]
pub fn versions(body: &[u8]) -> Option<Vec<KeyVersion>> {
    #[derive(Deserialize)]
    struct KeyAnswer {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        keys: BTreeMap<u32, Version>,
        #[serde(default)]
        min_decryption_version: u32,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Version {
        Made(u64),
        Public { public_key: String },
    }
    let data = serde_json::from_slice::<KeyAnswer>(body).ok()?.data;
    let live = data.keys.into_iter().rev().filter(|(number, _)| *number >= data.min_decryption_version);
    let version = |(number, version)| match version {
        Version::Made(made) => KeyVersion { number, made, public: None },
        Version::Public { public_key } => {
            let public = BASE64.decode(public_key).ok().and_then(|bytes| bytes.try_into().ok());
            KeyVersion { number, made: 0, public }
        }
    };
    Some(live.map(version).collect())
}

/// Reads the answer to [`TransitKey::derive`].
#[must_use]
pub fn derived(body: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    #[derive(Deserialize)]
    struct KeyAnswer<'a> {
        #[serde(borrow)]
        data: Hmac<'a>,
    }
    #[derive(Deserialize)]
    struct Hmac<'a> {
        hmac: &'a str,
    }
    let answer: KeyAnswer<'_> = serde_json::from_slice(body).ok()?;
    let text = answer.data.hmac.rsplit(':').next()?;
    // A decoder wants room for the padding too.
    let mut decoded = Zeroizing::new([0; 36]);
    let length = BASE64.decode_slice(text, &mut *decoded).ok()?;
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(decoded.get(..length).filter(|bytes| bytes.len() == 32)?);
    Some(key)
}

/// Reads the answer to [`TransitKey::sign`].
#[must_use]
pub fn signature(body: &[u8]) -> Option<Signature> {
    #[derive(Deserialize)]
    struct SignAnswer<'a> {
        #[serde(borrow)]
        data: Signed<'a>,
    }
    #[derive(Deserialize)]
    struct Signed<'a> {
        signature: &'a str,
    }
    let answer: SignAnswer<'_> = serde_json::from_slice(body).ok()?;
    let (version, bytes) = answer.data.signature.strip_prefix("vault:v")?.split_once(':')?;
    Some(Signature { version: version.parse().ok()?, bytes: BASE64.decode(bytes).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_latest_first_but_for_those_that_are_withdrawn() {
        let body = br#"{"data":{"keys":{"1":10,"2":20,"10":100},"min_decryption_version":2}}"#;
        let made = |number, made| KeyVersion { number, made, public: None };
        assert_eq!(versions(body), Some(vec![made(10, 100), made(2, 20)]));
        let key = BASE64.encode([7; 32]);
        let body = format!(r#"{{"data":{{"keys":{{"1":{{"creation_time":"x","public_key":"{key}"}}}}}}}}"#);
        assert_eq!(versions(body.as_bytes()).unwrap()[0].public, Some([7; 32]));
        assert_eq!(versions(b"{}"), None);
    }

    #[test]
    fn a_signature_names_its_version() {
        let signed = signature(br#"{"data":{"signature":"vault:v12:AAEC"}}"#);
        assert_eq!(signed, Some(Signature { version: 12, bytes: vec![0, 1, 2] }));
        for bad in ["AAEC", "vault:AAEC", "vault:v1", "vault:vx:AAEC", "vault:v1:%"] {
            assert_eq!(signature(format!(r#"{{"data":{{"signature":"{bad}"}}}}"#).as_bytes()), None, "{bad}");
        }
    }
}
