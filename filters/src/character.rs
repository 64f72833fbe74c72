//! Characters that a person reading a name or a text would not see as they are.

/// Whether `c` prints: it is no control character, no space but U+0020, and none that is zero-width,
/// bidirectional, another format character, a variation selector, for private use or no character.
#[must_use]
pub fn prints(c: char) -> bool {
    c == ' '
        || !(c.is_control()
            || c.is_whitespace()
            || matches!(u32::from(c),
                0xad | 0x34f | 0x61c | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x180b..=0x180f
                | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0x2800 | 0x3164
                | 0xe000..=0xf8ff | 0xfdd0..=0xfdef | 0xfe00..=0xfe0f | 0xfeff | 0xffa0
                | 0xfff0..=0xffff | 0x1d173..=0x1d17a | 0xe0000..)
            || u32::from(c) & 0xfffe == 0xfffe)
}
