//! Texts that differ in one byte.

use proptest::prelude::*;

/// Puts another byte in the place of one, adds or removes one, or ends the text there.
pub(crate) fn one_byte() -> impl Strategy<Value = (usize, u8, u8)> {
    (0usize..4096, any::<u8>(), 0u8..4)
}

/// `text` with that done to it; it may be the same.
pub(crate) fn mutated(text: &str, (at, byte, kind): (usize, u8, u8)) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = at % bytes.len();
    match kind {
        0 => bytes[at] = byte,
        1 => bytes.insert(at, byte),
        2 => drop(bytes.remove(at)),
        _ => bytes.truncate(at),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
