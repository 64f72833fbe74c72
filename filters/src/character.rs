//! Characters that a person reading a name or a text would not see as they are.

/// The kinds of characters that are not seen as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// A control character (general category Cc).
    Control,
    /// White space other than U+0020.
    Space,
    /// Zero-width, bidirectional, another format character, a variation selector, a filler.
    Invisible,
    /// For private use, a stand-in for what could not be read, or no character at all.
    NoCharacter,
}

/// The kind of `c`, where it is not seen as it is.
///
/// The invisible ones are those of `Default_Ignorable_Code_Point`, and with them format characters
/// (Cf) that move others, and blanks that are no white space.
/// Source: <https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt>
#[must_use]
pub fn unseen(c: char) -> Option<Unseen> {
    let code = u32::from(c);
    match code {
        0x20..=0x7e => None,
        _ if c.is_control() => Some(Unseen::Control),
        _ if c.is_whitespace() => Some(Unseen::Space),
        0xad | 0x34f | 0x61c | 0x70f | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x180b..=0x180f => Some(Unseen::Invisible),
        0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0x2800 | 0x3164 => Some(Unseen::Invisible),
        0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfffb => Some(Unseen::Invisible),
        0x13430..=0x1345f | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff => Some(Unseen::Invisible),
        0xe000..=0xf8ff | 0xfdd0..=0xfdef | 0xfffc..=0xfffd | 0xe1000.. => Some(Unseen::NoCharacter),
        _ if code & 0xfffe == 0xfffe => Some(Unseen::NoCharacter),
        _ => None,
    }
}

/// True where `c` is seen as it is.
#[must_use]
pub fn prints(c: char) -> bool {
    unseen(c).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_called_by_its_right_name() {
        for (c, expected) in [
            (' ', None),
            ('~', None),
            ('é', None),
            ('…', None),
            ('❤', None),
            ('🔑', None),
            ('日', None),
            ('\0', Some(Unseen::Control)),
            ('\u{7f}', Some(Unseen::Control)),
            ('\u{85}', Some(Unseen::Control)),
            ('\u{a0}', Some(Unseen::Space)),
            ('\u{2028}', Some(Unseen::Space)),
            ('\u{3000}', Some(Unseen::Space)),
            ('\u{ad}', Some(Unseen::Invisible)),
            ('\u{200b}', Some(Unseen::Invisible)),
            ('\u{200d}', Some(Unseen::Invisible)),
            ('\u{202e}', Some(Unseen::Invisible)),
            ('\u{2066}', Some(Unseen::Invisible)),
            ('\u{fe0e}', Some(Unseen::Invisible)),
            ('\u{fe0f}', Some(Unseen::Invisible)),
            ('\u{feff}', Some(Unseen::Invisible)),
            ('\u{1bca0}', Some(Unseen::Invisible)),
            ('\u{13430}', Some(Unseen::Invisible)),
            ('\u{e0041}', Some(Unseen::Invisible)),
            ('\u{e0100}', Some(Unseen::Invisible)),
            ('\u{fffd}', Some(Unseen::NoCharacter)),
            ('\u{e000}', Some(Unseen::NoCharacter)),
            ('\u{1ffff}', Some(Unseen::NoCharacter)),
            ('\u{10fffd}', Some(Unseen::NoCharacter)),
        ] {
            assert_eq!(unseen(c), expected, "{}", c.escape_unicode());
        }
    }
}
