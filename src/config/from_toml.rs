//! TOML into the tree. The parser's own messages are not passed on but where
//! they are known to be fixed texts.

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};
use zeroize::Zeroizing;

use super::node::{Content, Entry, Fault, Node};

/// Most faults reported of one file.
const MAX_FAULTS: usize = 20;

/// Texts of the parser that are passed on.
const KNOWN: [&str; 12] = [
    "duplicate key",
    "unclosed array table",
    "unclosed table",
    "unclosed array",
    "unclosed inline table",
    "key with no value",
    "missing value for key",
    "missing value",
    "extra comma in array",
    "extra comma in inline table",
    "missing comma between array elements",
    "invalid basic string",
];

/// Reads a TOML document.
///
/// # Errors
/// Every place where it does not parse.
pub(super) fn parse(text: &str) -> Result<Node, Vec<Fault>> {
    let lines = Lines::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(errors.iter().take(MAX_FAULTS).map(|error| fault(error, &lines)).collect());
    }
    Ok(Node { line: 1, content: Content::Table(entries(table.into_inner(), &lines)) })
}

fn fault(error: &Error, lines: &Lines) -> Fault {
    let said = error.message();
    let known = KNOWN.into_iter().find(|text| said.starts_with(text));
    Fault {
        line: error.span().map_or(1, |span| lines.of_byte(span.start)),
        text: known.unwrap_or("the TOML does not parse here"),
    }
}

fn entries(table: DeTable<'_>, lines: &Lines) -> Vec<Entry> {
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let entry = |(key, value): (Spanned<_>, _)| {
        let line = lines.of_byte(key.span().start);
        let key: std::borrow::Cow<'_, str> = key.into_inner();
        Entry { key: key.into_owned(), line, node: node(value, lines) }
    };
    entries.into_iter().map(entry).collect()
}

fn node(value: Spanned<DeValue<'_>>, lines: &Lines) -> Node {
    let line = lines.of_byte(value.span().start);
    let content = match value.into_inner() {
        DeValue::String(text) => Content::Text(Zeroizing::new(text.into_owned())),
        DeValue::Integer(number) => {
            let read = i64::from_str_radix(number.as_str(), number.radix());
            read.map_or(Content::Other, Content::Integer)
        }
        DeValue::Boolean(flag) => Content::Flag(flag),
        DeValue::Array(list) => Content::List(list.into_iter().map(|value| node(value, lines)).collect()),
        DeValue::Table(table) => Content::Table(entries(table, lines)),
        DeValue::Datetime(date) => Content::Text(Zeroizing::new(date.to_string())),
        DeValue::Float(_) => Content::Other,
    };
    Node { line, content }
}

/// Where each line begins, so that a position is looked up and not counted.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at + 1).collect())
    }

    fn of_byte(&self, at: usize) -> usize {
        1 + self.0.partition_point(|begin| *begin <= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(text: &str) -> Vec<(String, usize)> {
        match parse(text).unwrap_or_else(|faults| panic!("{faults:?}")).content {
            Content::Table(entries) => entries.into_iter().map(|e| (e.key, e.line)).collect(),
            _ => panic!("no table"),
        }
    }

    #[test]
    fn every_key_knows_its_line_and_keeps_its_order() {
        let lines = lines_of("b = 0x1F\na = \"x\"\n\n[z]\nk = 1\n[[l]]\n[[l]]\n");
        let expected = [("b", 1), ("a", 2), ("z", 4), ("l", 6)];
        assert_eq!(lines, expected.map(|(key, line)| (key.to_owned(), line)));
    }

    #[test]
    fn every_fault_is_reported_and_none_quotes_the_text() {
        let faults = parse("a = hunter2\nb = 1\nb = 2\nc = [1,\n").err().unwrap();
        assert!(faults.len() >= 2, "{faults:?}");
        assert!(faults.iter().any(|f| f.line == 1), "{faults:?}");
        assert!(faults.iter().any(|f| f.line == 3 && f.text == "duplicate key"), "{faults:?}");
        assert!(!format!("{faults:?}").contains("hunter2"));
    }
}
