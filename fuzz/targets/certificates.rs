//! Certificates and distinguished names, as they are mapped to principals.

#![no_main]
#![allow(missing_docs)]

use filters::certificate::{PeerCertificate, Svid};
use filters::identity::{Principal, Source};
use filters::spiffe::SpiffeId;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|der: &[u8]| {
    if let Ok(name) = std::str::from_utf8(der) {
        let principal = Principal::of_distinguished_name(name, "CN=");
        assert!(principal.is_none_or(|principal| !principal.value.is_empty() && name.contains(&principal.value)));
        let plain = |id: SpiffeId| id.as_str() == name && !name.contains(['%', '?', '#', '@']);
        assert!(SpiffeId::parse(name).is_none_or(plain));
    }
    let Some(facts) = PeerCertificate::parse(der) else { return };
    let found =
        facts.uris.len() + facts.dns.len() + facts.emails.len() + facts.common_names.as_ref().map_or(1, Vec::len);
    let named = [Source::Spiffe, Source::Uri, Source::Dns, Source::Email, Source::CommonName];
    assert!(found > 0 || Principal::of_certificate(&facts, &named).is_err());
    let broken = matches!(facts.svid(), Svid::Broken(_));
    assert_eq!(Principal::of_certificate(&facts, &[Source::Fingerprint]).is_err(), broken);
});
