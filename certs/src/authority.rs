use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::{fmt, io};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use time::OffsetDateTime;

use crate::facts::{certifies, digest};
use crate::leaf::subject;
use crate::{Error, Leaf, Validity};

/// In seconds.
const YEAR: i64 = 365 * 86_400;

/// A certificate authority: its certificate and its key.
pub struct Authority {
    pub(crate) issuer: Issuer<'static, KeyPair>,
    certificate: String,
    /// The certificates that holders of its certificates present beside them: empty where it signed itself.
    chain: String,
}

/// A certificate with its private key.
#[derive(Clone)]
pub struct Issued {
    /// The certificate, PEM, and after it the intermediates up to the self-signed authority.
    pub certificate: String,
    /// The private key, PKCS#8 PEM. `Debug` does not show it.
    pub key: String,
}

impl Authority {
    /// Makes a new authority with a key of its own, valid for two years.
    pub fn new(common_name: &str) -> Result<Authority, Error> {
        let key = KeyPair::generate()?;
        let params = authority_params(common_name, Validity::Seconds(2 * YEAR))?;
        let certificate = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        Ok(Authority { issuer, certificate, chain: String::new() })
    }

    /// Makes an authority with a key of its own, whose certificate this one signs.
    pub fn intermediate(&self, common_name: &str, validity: Validity) -> Result<Authority, Error> {
        let key = KeyPair::generate()?;
        let mut params = authority_params(common_name, validity)?;
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        let chain = format!("{certificate}{}", self.chain);
        Ok(Authority { issuer: Issuer::new(params, key), certificate, chain })
    }

    /// Brings back the authority that `certificate` is of; `None` when `key` is not its key.
    ///
    /// `common_name` is the one in `certificate`; whoever calls has read it from there.
    pub(crate) fn kept(common_name: &str, certificate: String, key: &str) -> Option<Authority> {
        let key = KeyPair::from_pem(key).ok()?;
        if !certifies(&certificate, key.public_key_raw()) {
            return None;
        }
        let issuer = Issuer::new(authority_params(common_name, Validity::Now).ok()?, key);
        Some(Authority { issuer, certificate, chain: String::new() })
    }

    /// The authority's certificate, PEM.
    pub fn pem(&self) -> String {
        self.certificate.clone()
    }

    /// Makes a key and signs a certificate for it.
    pub fn issue(&self, leaf: &Leaf) -> Result<Issued, Error> {
        let key = KeyPair::generate()?;
        let certificate = leaf.params()?.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate: format!("{}{}", certificate.pem(), self.chain), key: key.serialize_pem() })
    }

    pub(crate) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Issued {
    /// Writes `<name>.crt`, and `<name>.key` for its owner only (mode 0600), into `dir`, which
    /// must be there.
    pub fn write(&self, dir: &Path, name: &str) -> io::Result<()> {
        write_private(&dir.join(format!("{name}.key")), &self.key)?;
        fs::write(dir.join(format!("{name}.crt")), &self.certificate)
    }

    /// The certificate's `x5t#S256` (RFC 8705); `None` when it cannot be read.
    pub fn thumbprint(&self) -> Option<String> {
        digest(&self.certificate).map(|digest| URL_SAFE_NO_PAD.encode(digest))
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("certificate", &self.certificate).field("key", &"[redacted]").finish()
    }
}

/// Writes a file of mode 0600. A file that was there with wider rights loses them first.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())
}

fn authority_params(common_name: &str, validity: Validity) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = validity.bounds(OffsetDateTime::now_utc());
    params.distinguished_name = subject(&[common_name.to_owned()])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}
