//! PROXY headers: whole ones only, and the client that is told stands in the
//! bytes.

#![no_main]
#![allow(missing_docs)]

use std::net::SocketAddr;

use filters::proxy_protocol::{FIXED, MOST, client, rest_of};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some(fixed) = input.first_chunk::<FIXED>() else { return };
    let Ok(rest) = rest_of(fixed) else {
        assert!(client(input).is_err());
        return;
    };
    assert!(FIXED + rest <= MOST);
    // One that is cut off, or longer than it says, is none.
    assert!(input.len() == FIXED + rest || client(input).is_err());
    let Some(Some(told)) = input.get(..FIXED + rest).map(|header| client(header).ok().flatten()) else { return };
    let (address, port) = match told {
        SocketAddr::V4(told) => (told.ip().octets().to_vec(), 8),
        SocketAddr::V6(told) => (told.ip().octets().to_vec(), 32),
    };
    assert!(input.iter().skip(FIXED).zip(&address).all(|(one, other)| one == other));
    assert!(input.iter().skip(FIXED + port).zip(told.port().to_be_bytes()).all(|(one, other)| *one == other));
});
