//! Names in records: in clear, or as HMACs, by which a record can be found and from which nothing is read.

use std::fmt;

use aws_lc_rs::hmac;

/// The text before an HMAC, as Vault's own audit writes it.
pub(super) const PREFIX: &str = "hmac-sha256:";

/// The name that stands for any while the key is not known; no HMAC reads so.
pub(super) const UNTOLD: &str = "hmac-sha256:untold";

/// The form in which records name secrets, keys and roles.
pub enum Naming {
    /// As they are.
    Clear,
    /// As HMAC-SHA256 by a key of the gate's own, in hexadecimal.
    Hmac(Box<hmac::Key>),
    /// Not at all: the key of their HMACs is not known yet.
    Untold,
}

impl fmt::Debug for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clear => "clear",
            Self::Hmac(_) => "hmac",
            Self::Untold => "untold",
        })
    }
}

impl Naming {
    /// Bytes of a key.
    pub const KEY: usize = 32;

    /// HMACs by the key that `text` has, in 64 hexadecimal digits; `None` for any other text.
    #[must_use]
    pub fn of_key(text: &str) -> Option<Self> {
        let text = text.trim_ascii();
        if text.len() != 2 * Self::KEY || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let pairs = (0..Self::KEY).map(|place| u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok());
        let key: Vec<u8> = pairs.collect::<Option<_>>()?;
        Some(Self::of_bytes(&key))
    }

    /// HMACs by that key.
    #[must_use]
    pub fn of_bytes(key: &[u8]) -> Self {
        Self::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }

    /// The name as records have it.
    #[must_use]
    pub fn of(&self, name: &str) -> String {
        match self {
            Self::Clear => name.to_owned(),
            Self::Untold => UNTOLD.to_owned(),
            Self::Hmac(key) => {
                let digits = digits(key, name);
                PREFIX.chars().chain(digits.into_iter().map(char::from)).collect()
            }
        }
    }

    /// Writes it as a JSON string.
    pub(super) fn write(&self, name: &str, out: &mut Vec<u8>) {
        match self {
            Self::Clear => super::text(name, out),
            Self::Untold => super::text(UNTOLD, out),
            Self::Hmac(key) => {
                out.push(b'"');
                out.extend_from_slice(PREFIX.as_bytes());
                out.extend_from_slice(&digits(key, name));
                out.push(b'"');
            }
        }
    }
}

/// The hexadecimal digits of a name's HMAC.
fn digits(key: &hmac::Key, name: &str) -> [u8; 64] {
    // A letter lies 39 places behind the digit that would be its number's.
    let digit = |value: u8| b'0' + value + 39 * u8::from(value > 9);
    let mut digits = [0; 64];
    let (pairs, _) = digits.as_chunks_mut();
    for (pair, byte) in pairs.iter_mut().zip(hmac::sign(key, name.as_bytes()).as_ref()) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_hmac_and_is_written_as_it_is_computed() {
        // RFC 4231 has no key of this length; the value is that of OpenSSL's `dgst -sha256 -mac HMAC`.
        let naming = Naming::of_key(&format!("{}\n", "0b".repeat(32))).unwrap();
        let mut out = Vec::new();
        naming.write("Hi There", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("\"{}\"", naming.of("Hi There")));
        assert_eq!(
            naming.of("Hi There"),
            "hmac-sha256:198a607eb44bfbc69903a0f1cf2bbdc5ba0aa3f3d9ae3c1c7a3b1696a0b68cf7"
        );
        assert_ne!(naming.of("a"), naming.of("b"));
        assert_eq!(Naming::Clear.of("team/db"), "team/db");
        let mut out = Vec::new();
        Naming::Untold.write("team/db", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("\"{}\"", Naming::Untold.of("x")));
    }

    #[test]
    fn a_key_is_hexadecimal_and_whole() {
        for bad in ["", "0b", &"0b".repeat(31), &"0b".repeat(33), &"0g".repeat(32), &"é".repeat(32)] {
            assert!(Naming::of_key(bad).is_none(), "{bad}");
        }
    }
}
