//! The pieces of a string: UTF-8, and pairs of escapes.

use crate::refusal::Refusal;

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

/// True where the first half of a surrogate pair waits for the second.
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
