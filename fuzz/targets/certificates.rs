//! Certificates and distinguished names, as they are mapped to principals.

#![no_main]
#![allow(missing_docs)]

use filters::certificate::PeerCertificate;
use filters::identity::{Principal, Source};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|der: &[u8]| {
    if let Ok(name) = std::str::from_utf8(der) {
        let principal = Principal::of_distinguished_name(name, "CN=");
        assert!(principal.is_none_or(|principal| !principal.value.is_empty() && name.contains(&principal.value)));
    }
    let Some(facts) = PeerCertificate::parse(der) else { return };
    let found = facts.uris.len() + facts.dns.len() + facts.emails.len() + facts.common_names.len();
    let named = [Source::Spiffe, Source::Uri, Source::Dns, Source::Email, Source::CommonName];
    assert!(found > 0 || Principal::of_certificate(&facts, &named).is_none());
    assert!(Principal::of_certificate(&facts, &[Source::Fingerprint]).is_some());
});
