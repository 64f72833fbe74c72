//! Who is behind a balancer that forwards bytes as they are: the PROXY
//! protocol, version 2 (HAProxy's proxy-protocol.txt, section 2.2), with which
//! the balancer begins each connection.

use std::fmt;
use std::net::SocketAddr;

/// Bytes of the part of a header whose length is fixed.
pub const FIXED: usize = 16;

/// Most bytes of a header: addresses take 52, and what HAProxy can add fits.
pub const MOST: usize = 1024;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The type of a checksum (section 2.2.3).
const CRC32C: u8 = 0x03;

/// Why something is no header that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHeader {
    /// The header does not begin as version 2 does.
    Signature,
    /// Another version.
    Version,
    /// Neither LOCAL nor PROXY.
    Command,
    /// Neither TCP over IPv4, nor over IPv6, nor unspecified.
    Family,
    /// More than [`MOST`] bytes.
    TooLong,
    /// The header ends before the addresses do.
    Addresses,
    /// The bytes after the addresses are no list of types, lengths and values.
    Additions,
    /// The checksum does not fit the header.
    Checksum,
}

impl fmt::Display for BadHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signature => "no PROXY protocol header of version 2",
            Self::Version => "another version of the PROXY protocol than 2",
            Self::Command => "an unknown command",
            Self::Family => "addresses of no TCP connection",
            Self::TooLong => "too long",
            Self::Addresses => "too short for its addresses",
            Self::Additions => "broken additions",
            Self::Checksum => "a wrong checksum",
        })
    }
}

/// The number of bytes after the fixed part; with it at most [`MOST`].
///
/// # Errors
/// [`BadHeader`].
pub fn rest_of(fixed: &[u8; FIXED]) -> Result<usize, BadHeader> {
    let [signature @ .., command, _, high, low] = fixed;
    if signature != SIGNATURE {
        return Err(BadHeader::Signature);
    }
    if command >> 4 != 2 {
        return Err(BadHeader::Version);
    }
    let rest = length(*high, *low);
    if FIXED + rest > MOST { Err(BadHeader::TooLong) } else { Ok(rest) }
}

/// The client of the connection that begins with the whole header `header`;
/// `None` where it tells of none: the balancer speaks for itself (LOCAL), or
/// does not know.
///
/// # Errors
/// [`BadHeader`].
pub fn client(header: &[u8]) -> Result<Option<SocketAddr>, BadHeader> {
    let (fixed, rest) = header.split_first_chunk().ok_or(BadHeader::Signature)?;
    if rest.len() != rest_of(fixed)? {
        return Err(BadHeader::Addresses);
    }
    let [.., command, family, _, _] = fixed;
    let (client, additions) = match (command & 0x0f, family) {
        // What else these say counts for nothing.
        (0, _) | (1, 0x00) => return Ok(None),
        (1, 0x11) => version4(rest),
        (1, 0x21) => version6(rest),
        (1, _) => return Err(BadHeader::Family),
        _ => return Err(BadHeader::Command),
    }
    .ok_or(BadHeader::Addresses)?;
    check(header, additions)?;
    Ok(Some(client))
}

fn version4(rest: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let (addresses, additions) = rest.split_first_chunk::<12>()?;
    let [a, b, c, d, _, _, _, _, high, low, _, _] = *addresses;
    Some((([a, b, c, d], u16::from_be_bytes([high, low])).into(), additions))
}

fn version6(rest: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let (address, rest) = rest.split_first_chunk::<16>()?;
    let (others, additions) = rest.split_first_chunk::<20>()?;
    let [.., high, low, _, _] = *others;
    Some(((*address, u16::from_be_bytes([high, low])).into(), additions))
}

/// Checks the form of the additions and, where there is one, the checksum.
fn check(header: &[u8], mut additions: &[u8]) -> Result<(), BadHeader> {
    while let [kind, high, low, rest @ ..] = additions {
        let (value, others) = rest.split_at_checked(length(*high, *low)).ok_or(BadHeader::Additions)?;
        if *kind == CRC32C {
            let sum = value.try_into().map(u32::from_be_bytes).map_err(|_| BadHeader::Additions)?;
            let end = header.len() - others.len();
            let zeroed = |(at, byte): (usize, &u8)| if (end - 4..end).contains(&at) { 0 } else { *byte };
            if sum != crc32c(header.iter().enumerate().map(zeroed)) {
                return Err(BadHeader::Checksum);
            }
        }
        additions = others;
    }
    if additions.is_empty() { Ok(()) } else { Err(BadHeader::Additions) }
}

fn length(high: u8, low: u8) -> usize {
    u16::from_be_bytes([high, low]).into()
}

/// CRC-32C (RFC 9260 appendix A), bit by bit: of a few bytes, once per connection.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    let bit = |sum: u32, _| (sum >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(sum & 1));
    !bytes.fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(byte), bit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// A header with these two bytes and what follows the length.
    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family][..], &length, rest].concat()
    }

    fn of(source: SocketAddr, additions: &[u8]) -> Vec<u8> {
        let port = source.port().to_be_bytes();
        let (family, addresses) = match source {
            SocketAddr::V4(source) => (0x11, [&source.ip().octets()[..], &[192, 0, 2, 1]].concat()),
            SocketAddr::V6(source) => (0x21, [&source.ip().octets()[..], &[0xfe; 16]].concat()),
        };
        header(0x21, family, &[&addresses, &port[..], &[0x20, 0xfb], additions].concat())
    }

    /// The same with a checksum at its end.
    fn summed(source: SocketAddr, additions: &[u8]) -> Vec<u8> {
        let mut header = of(source, &[additions, &[CRC32C, 0, 4, 0, 0, 0, 0]].concat());
        let sum = crc32c(header.iter().copied());
        let end = header.len() - 4;
        header.truncate(end);
        header.extend(sum.to_be_bytes());
        header
    }

    fn told(header: &[u8]) -> Result<Option<String>, BadHeader> {
        client(header).map(|client| client.map(|client| client.to_string()))
    }

    #[test]
    fn a_checksum_is_that_of_the_catalogues() {
        assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
    }

    #[test]
    fn a_header_tells_the_client_or_nobody() {
        let one: SocketAddr = "203.0.113.7:4711".parse().unwrap();
        let other = "[2001:db8::7]:443".parse().unwrap();
        let noop = [0x04, 0, 2, 0xff, 0xff];
        for (header, expected) in [
            (of(one, &[]), Some("203.0.113.7:4711")),
            (of(one, &noop), Some("203.0.113.7:4711")),
            (summed(one, &noop), Some("203.0.113.7:4711")),
            (of(other, &[]), Some("[2001:db8::7]:443")),
            (summed(other, &[]), Some("[2001:db8::7]:443")),
            (header(0x20, 0x00, &[]), None),
            (header(0x20, 0x11, &[1]), None),
            (header(0x21, 0x00, &[7; 9]), None),
        ] {
            assert_eq!(told(&header), Ok(expected.map(str::to_owned)), "{header:?}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let one: SocketAddr = "203.0.113.7:4711".parse().unwrap();
        let mut wrong = summed(one, &[]);
        *wrong.last_mut().unwrap() ^= 1;
        let mut cut = of(one, &[]);
        cut.pop();
        for (header, expected) in [
            (b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 8443\r\n".to_vec(), BadHeader::Signature),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on".to_vec(), BadHeader::Signature),
            (Vec::new(), BadHeader::Signature),
            (header(0x11, 0x11, &[0; 12]), BadHeader::Version),
            (header(0x31, 0x11, &[0; 12]), BadHeader::Version),
            (header(0x22, 0x11, &[0; 12]), BadHeader::Command),
            (header(0x21, 0x12, &[0; 12]), BadHeader::Family),
            (header(0x21, 0x31, &[0; 216]), BadHeader::Family),
            (header(0x21, 0x11, &[0; 11]), BadHeader::Addresses),
            (header(0x21, 0x21, &[0; 35]), BadHeader::Addresses),
            (cut, BadHeader::Addresses),
            (header(0x20, 0x00, &[0; MOST - FIXED + 1]), BadHeader::TooLong),
            (of(one, &[4, 0]), BadHeader::Additions),
            (of(one, &[4, 0, 3, 1, 2]), BadHeader::Additions),
            (of(one, &[CRC32C, 0, 2, 1, 2]), BadHeader::Additions),
            (wrong, BadHeader::Checksum),
        ] {
            assert_eq!(told(&header), Err(expected), "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(version4: bool, bytes: [u8; 16], port: u16, value in vec(any::<u8>(), 0..200)) {
            let [a, b, c, d, ..] = bytes;
            let source: SocketAddr = if version4 { ([a, b, c, d], port).into() } else { (bytes, port).into() };
            let length = u16::try_from(value.len()).unwrap().to_be_bytes();
            let additions = [&[0xe0][..], &length, &value].concat();
            prop_assert_eq!(client(&of(source, &additions)), Ok(Some(source)));
            prop_assert_eq!(client(&summed(source, &additions)), Ok(Some(source)));
        }

        #[test]
        fn a_byte_that_changed_makes_no_other_client(bytes: [u8; 16], port: u16, at: prop::sample::Index, by in 1..=u8::MAX) {
            let source: SocketAddr = (bytes, port).into();
            let mut header = summed(source, &[]);
            let at = at.index(header.len());
            header[at] ^= by;
            if let Ok(Some(told)) = client(&header) {
                prop_assert_eq!(told, source);
            }
        }

        #[test]
        fn no_bytes_make_it_fall(command: u8, family: u8, rest in vec(any::<u8>(), 0..300), bytes in vec(any::<u8>(), 0..80)) {
            let _ = client(&bytes);
            let _ = client(&header(command, family, &rest));
        }
    }
}
