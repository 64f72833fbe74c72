use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use time::OffsetDateTime;

use crate::facts::serial;
use crate::{Authority, Error, Validity};

/// A certificate revocation list.
#[derive(Clone, Debug)]
pub struct Crl {
    /// In PEM.
    pub pem: String,
    /// In DER.
    pub der: Vec<u8>,
}

impl Authority {
    /// Signs the list number `number`, which revokes the first certificate in each of `revoked`
    /// (PEM), whoever issued it.
    pub fn crl(&self, number: u64, revoked: &[&str], validity: Validity) -> Result<Crl, Error> {
        let now = OffsetDateTime::now_utc();
        let (this_update, next_update) = validity.bounds(now);
        let entry = |pem: &&str| {
            let serial_number = SerialNumber::from(serial(pem).ok_or(Error::Unreadable)?);
            Ok(RevokedCertParams { serial_number, revocation_time: now, reason_code: None, invalidity_date: None })
        };
        let params = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect::<Result<_, Error>>()?,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer)?;
        Ok(Crl { pem: list.pem()?, der: list.der().to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

    use super::*;
    use crate::Leaf;

    #[test]
    fn a_list_holds_what_it_is_to_revoke() {
        let authority = Authority::new("CA").unwrap();
        let intermediate = authority.intermediate("below", Validity::Now).unwrap();
        let leaf = intermediate.issue(&Leaf::agent("a")).unwrap();
        let crl = authority.crl(7, &[&leaf.certificate, &intermediate.pem()], Validity::Now).unwrap();
        let (_, list) = CertificateRevocationList::from_der(&crl.der).unwrap();
        let held: Vec<_> = list.iter_revoked_certificates().map(|entry| entry.raw_serial().to_vec()).collect();
        assert_eq!(held, [serial(&leaf.certificate).unwrap(), serial(&intermediate.pem()).unwrap()]);
        assert!(crl.pem.starts_with("-----BEGIN X509 CRL-----"));
    }

    #[test]
    fn a_certificate_comes_with_the_intermediates_above_it() {
        let authority = Authority::new("CA").unwrap();
        let one = authority.intermediate("one", Validity::Now).unwrap();
        let two = one.intermediate("two", Validity::Now).unwrap();
        let leaf = two.issue(&Leaf::agent("a")).unwrap();
        assert!(leaf.certificate.ends_with(&format!("{}{}", two.pem(), one.pem())));
        assert_eq!(leaf.certificate.matches("BEGIN CERTIFICATE").count(), 3);
    }
}
