//! PEM: every place that looks like the beginning of a block is a block that
//! was read, or the text is refused.

#![no_main]
#![allow(missing_docs)]

use filters::pem;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let beginnings = text.windows(7).filter(|part| *part == b"--BEGIN").count();
    type Read = fn(&[u8]) -> Result<Vec<Vec<u8>>, pem::Fault>;
    let kinds: [(&str, Read); 2] = [("CERTIFICATE", pem::certificates), ("X509 CRL", pem::revocation_lists)];
    for (label, read) in kinds {
        let Ok(found) = read(text) else { continue };
        assert_eq!(found.len(), beginnings);
        let written: String = found.iter().map(|der| pem::encode(label, der).to_string()).collect();
        assert_eq!(read(written.as_bytes()), Ok(found));
    }
    if let Ok(found) = pem::chain(text) {
        assert!((1..=beginnings).contains(&found.len()));
    }
    if let Ok(key) = pem::private_key(text) {
        assert!(beginnings > 0 && !key.der.is_empty());
    }
});
