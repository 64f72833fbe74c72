//! The values of options: read from a variable's text or from the file's tree,
//! and checked against its bounds.

use std::fmt;
use std::time::Duration;

use filters::lifetime as duration;
use zeroize::Zeroizing;

use super::node::{Content, Node};
use super::report::Place;

/// The kind of an option's value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// `true` or `false`.
    Flag,
    /// Text of one line.
    Text,
    /// Text that is never shown.
    Secret,
    /// A whole number from one bound to the other.
    Number(u64, u64),
    /// A duration, bounds in milliseconds.
    Time(u64, u64),
    /// A number of bytes.
    Size(u64, u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts; in a variable separated by commas.
    Words,
    /// A list of texts, of tables, or of both.
    Grants,
    /// API keys and their agents: JSON text, or a table.
    Keys,
    /// A table with options of its own.
    Table,
    /// A list of tables, or one.
    Tables,
    /// A table whose keys are names.
    Named,
}

/// A value that was read.
#[derive(Clone)]
pub(super) enum Value {
    Flag(bool),
    Number(u64),
    Time(Duration),
    Text(Zeroizing<String>),
    Words(Vec<Word>),
}

/// One text of a list, with its place.
#[derive(Clone)]
pub(super) struct Word {
    pub(super) place: Place,
    pub(super) text: String,
}

/// Why a value is none; the word after the option's name.
pub(super) struct Wrong(pub(super) String);

impl Kind {
    /// True where the file's tree is kept as it is, for a section of its own.
    pub(super) const fn is_structure(self) -> bool {
        matches!(self, Self::Grants | Self::Keys | Self::Table | Self::Tables | Self::Named)
    }

    /// Reads the text of a variable, a flag or a default.
    ///
    /// # Errors
    /// The problem with it.
    pub(super) fn read_text(self, text: &str, place: &Place) -> Result<Value, Wrong> {
        let wrong = || self.malformed();
        match self {
            Self::Flag => flag(text).map(Value::Flag).ok_or_else(wrong),
            Self::Number(..) => self.bounded(text.parse().ok().ok_or_else(wrong)?),
            Self::Words => Ok(Value::Words(words(text, place))),
            _ => self.read_word(text),
        }
    }

    /// Reads a value of the file.
    ///
    /// # Errors
    /// The problem with it.
    pub(super) fn read_node(self, node: &Node, place: impl Fn(usize) -> Place) -> Result<Value, Wrong> {
        match (self, &node.content) {
            (Self::Flag, Content::Flag(flag)) => Ok(Value::Flag(*flag)),
            (Self::Number(..) | Self::Size(..), Content::Integer(number)) => self.bounded(natural(*number)?),
            (Self::Time(..), Content::Integer(number)) => self.bounded(natural(*number)?.saturating_mul(1000)),
            (Self::Text | Self::Secret | Self::Time(..) | Self::Size(..) | Self::Choice(_), Content::Text(text)) => {
                self.read_word(text)
            }
            (Self::Words, Content::Text(text)) => Ok(Value::Words(words(text, &place(node.line)))),
            (Self::Words, Content::List(list)) => {
                list.iter().map(|node| word(node, &place)).collect::<Result<_, _>>().map(Value::Words)
            }
            (_, content) => Err(Wrong(format!("is {}", content.name()))),
        }
    }

    fn read_word(self, text: &str) -> Result<Value, Wrong> {
        let wrong = || self.malformed();
        match self {
            Self::Time(..) => self.bounded(milliseconds(text).ok_or_else(wrong)?),
            Self::Size(..) => self.bounded(bytes(text).ok_or_else(wrong)?),
            Self::Choice(words) => {
                let found = words.iter().find(|word| word.eq_ignore_ascii_case(text)).ok_or_else(wrong)?;
                Ok(Value::Text(Zeroizing::new((*found).to_owned())))
            }
            _ if text.is_empty() => Err(Wrong("is empty".to_owned())),
            _ if text.chars().any(char::is_control) => Err(Wrong("has a control character".to_owned())),
            Self::Secret if !text.bytes().all(|b| b.is_ascii_graphic()) => {
                Err(Wrong("has a space or a character that is not ASCII".to_owned()))
            }
            _ => Ok(Value::Text(Zeroizing::new(text.to_owned()))),
        }
    }

    fn malformed(self) -> Wrong {
        let what = match self {
            Self::Flag => "neither true nor false",
            Self::Number(..) => "not a whole number",
            Self::Time(..) => "not a duration",
            Self::Size(..) => "not a size",
            Self::Choice(_) => "none of the words it takes",
            _ => "not what it takes",
        };
        Wrong(format!("is {what}"))
    }

    /// The advice in a problem's mend.
    pub(super) fn mend(self) -> String {
        match self {
            Self::Time(..) => format!("write {self}, such as `90s`, `1h30m` or `500ms`"),
            Self::Size(..) => format!("write {self}, such as `900KB` or `1MiB`"),
            Self::Words | Self::Grants => "write a list of texts, such as `[\"a\", \"b\"]`".to_owned(),
            _ => format!("write {self}"),
        }
    }

    fn bounded(self, number: u64) -> Result<Value, Wrong> {
        match self {
            Self::Number(low, high) | Self::Time(low, high) | Self::Size(low, high)
                if !(low..=high).contains(&number) =>
            {
                Err(Wrong("is out of bounds".to_owned()))
            }
            Self::Time(..) => Ok(Value::Time(Duration::from_millis(number))),
            _ => Ok(Value::Number(number)),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Flag => f.write_str("`true` or `false`"),
            Self::Text => f.write_str("a text"),
            Self::Secret => f.write_str("a secret text"),
            Self::Number(low, high) => write!(f, "a whole number from {low} to {high}"),
            Self::Time(low, high) => write!(f, "a duration from {} to {}", Shown::Time(low), Shown::Time(high)),
            Self::Size(low, high) => write!(f, "a size from {} to {}", Shown::Size(low), Shown::Size(high)),
            Self::Choice(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
                write!(f, "one of {}", words.join(", "))
            }
            Self::Words => f.write_str("a list of texts"),
            Self::Grants => f.write_str("a list of texts or tables"),
            Self::Keys => f.write_str("a map from API key to agent"),
            Self::Table => f.write_str("a table"),
            Self::Tables => f.write_str("a list of tables"),
            Self::Named => f.write_str("a table of named tables"),
        }
    }
}

enum Shown {
    Time(u64),
    Size(u64),
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, units): (u64, &[(u64, &str)]) = match self {
            Self::Time(number) => (*number, &[(3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")]),
            Self::Size(number) => (*number, &[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")]),
        };
        let fits = units.iter().find(|(unit, _)| number >= *unit && number % unit == 0);
        match fits {
            Some((unit, name)) => write!(f, "{}{name}", number / unit),
            None => write!(f, "{number}"),
        }
    }
}

fn natural(number: i64) -> Result<u64, Wrong> {
    u64::try_from(number).map_err(|_| Wrong("is negative".to_owned()))
}

fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn words(text: &str, place: &Place) -> Vec<Word> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| Word { place: place.clone(), text: part.to_owned() }).collect()
}

/// Reads one text of a list.
pub(super) fn word(node: &Node, place: impl Fn(usize) -> Place) -> Result<Word, Wrong> {
    match &node.content {
        Content::Text(text) if !text.is_empty() && !text.chars().any(char::is_control) => {
            Ok(Word { place: place(node.line), text: text.to_string() })
        }
        Content::Text(_) => Err(Wrong("holds an empty text or a control character".to_owned())),
        content => Err(Wrong(format!("holds what is {}", content.name()))),
    }
}

/// `90s`, `500ms`, `1h30m`, `7d`, or seconds; a number may stand apart from its unit.
fn milliseconds(text: &str) -> Option<u64> {
    let (number, unit) = measure(text)?;
    let joined =
        if unit.bytes().all(|byte| byte.is_ascii_alphabetic()) { Some(format!("{number}{unit}")) } else { None };
    duration::milliseconds(joined.as_deref().unwrap_or(text))
}

/// `1MiB`, `900KB`, or bytes.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = measure(text)?;
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "kib" => 1 << 10,
        "mb" => 1_000_000,
        "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "gib" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

fn measure(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_read_with_their_units() {
        for (text, expected) in [
            ("90s", Some(90_000)),
            ("90", Some(90_000)),
            ("500ms", Some(500)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("1 h", Some(3_600_000)),
            ("1h30m", Some(5_400_000)),
            ("1.5s", Some(1500)),
            ("7d", Some(604_800_000)),
        ] {
            assert_eq!(milliseconds(text), expected, "{text}");
        }
        for (text, expected) in
            [("1MiB", Some(1 << 20)), ("900KB", Some(900_000)), ("17", Some(17)), ("1 kib", Some(1024))]
        {
            assert_eq!(bytes(text), expected, "{text}");
        }
        for bad in ["", "s", "-1s", "1w", "1.d", "99999999999999999999h", "1e3"] {
            assert_eq!(milliseconds(bad), None, "{bad}");
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn bounds_are_shown_in_round_units() {
        assert_eq!(Kind::Time(500, 3_600_000).to_string(), "a duration from 500ms to 1h");
        assert_eq!(Kind::Size(1024, 64 << 20).to_string(), "a size from 1KiB to 64MiB");
    }
}
