//! What a string is made of, piece by piece: UTF-8, and pairs of escapes.

use crate::refusal::Refusal;

/// How many bytes `rest` begins with that end no string and begin no escape, nor are control
/// characters. Eight are looked at in one.
pub(super) fn plain(rest: &[u8]) -> usize {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = EACH << 7;
    // The lowest of the high bits that are set tells the first byte that is less than `bound`.
    let less = |word: u64, bound: u8| word.wrapping_sub(EACH * u64::from(bound)) & !word & HIGH;
    let is = |word: u64, byte: u8| less(word ^ (EACH * u64::from(byte)), 1);
    let (words, tail) = rest.as_chunks();
    for (index, &word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(word);
        let ends = less(word, 0x20) | is(word, b'"') | is(word, b'\\');
        if ends != 0 {
            return index * 8 + ends.trailing_zeros() as usize / 8;
        }
    }
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    rest.len() - tail.len() + tail.iter().position(ends).unwrap_or(tail.len())
}

/// A reader of UTF-8 whose pieces may break anywhere.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    /// A character that has begun.
    begun: [u8; 4],
    length: usize,
}

impl Utf8 {
    /// Takes the next piece.
    pub(super) fn take(&mut self, mut piece: &[u8]) -> Result<(), Refusal> {
        while self.length > 0 {
            let Some((&byte, after)) = piece.split_first() else { return Ok(()) };
            piece = after;
            self.add(byte)?;
            match std::str::from_utf8(self.begun.get(..self.length).unwrap_or_default()) {
                Ok(_) => self.length = 0,
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(Refusal::UpstreamNonsense),
            }
        }
        if piece.is_ascii() {
            return Ok(());
        }
        let Err(error) = std::str::from_utf8(piece) else { return Ok(()) };
        if error.error_len().is_some() {
            return Err(Refusal::UpstreamNonsense);
        }
        piece.get(error.valid_up_to()..).unwrap_or_default().iter().try_for_each(|&byte| self.add(byte))
    }

    /// The string ends, or an escape begins: no character is half there.
    pub(super) fn end(&self) -> Result<(), Refusal> {
        if self.length == 0 { Ok(()) } else { Err(Refusal::UpstreamNonsense) }
    }

    fn add(&mut self, byte: u8) -> Result<(), Refusal> {
        *self.begun.get_mut(self.length).ok_or(Refusal::UpstreamNonsense)? = byte;
        self.length += 1;
        Ok(())
    }
}

/// Whether the first half of a surrogate pair waits for the second.
#[derive(Debug, Default)]
pub(super) struct Escaped {
    waits: bool,
}

impl Escaped {
    /// `\uXXXX` was read.
    pub(super) fn unit(&mut self, value: u16) -> Result<(), Refusal> {
        let second = matches!(value, 0xDC00..=0xDFFF);
        if self.waits != second {
            return Err(Refusal::UpstreamNonsense);
        }
        self.waits = matches!(value, 0xD800..=0xDBFF);
        Ok(())
    }

    /// Something else was read.
    pub(super) fn other(&self) -> Result<(), Refusal> {
        if self.waits { Err(Refusal::UpstreamNonsense) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_plain_is_so_byte_by_byte(text in prop::collection::vec(
            prop_oneof![any::<u8>(), Just(b'"'), Just(b'\\'), Just(b'!'), Just(0x1f), Just(0x20), Just(0xa2)], 0..40,
        )) {
            let ends = |byte: &u8| *byte == b'"' || *byte == b'\\' || *byte < 0x20;
            prop_assert_eq!(plain(&text), text.iter().position(ends).unwrap_or(text.len()));
        }
    }
}
