//! YAML 1.2 and JSON into the tree: plain documents only. Anchors, aliases,
//! tags and a second document are refused: what a line says is what it means.

use std::collections::HashSet;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};
use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use super::node::{Content, Entry, Fault, Node};

/// Deepest nesting that is read; no option lies deeper than five.
const MAX_DEPTH: usize = 24;

/// Reads a YAML document.
///
/// # Errors
/// The first place where it does not parse.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let mut reader = Reader { events: Parser::new_from_str(text), line: 1 };
    reader.document()
}

/// Reads a JSON document (RFC 8259). It is YAML too, once it is known to be JSON.
///
/// # Errors
/// The first place where it does not parse.
pub(super) fn parse_json(text: &str) -> Result<Node, Fault> {
    // As the readers of TOML and YAML do.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        return Err(Fault { line: error.line().max(1), text: "the JSON does not parse here" });
    }
    // A tab cannot stand in a JSON string, and indents nothing.
    parse(&Zeroizing::new(text.replace('\t', " ")))
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    /// Of the event last read.
    line: usize,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Node, Fault> {
        let mut found = None;
        loop {
            match self.next()? {
                Event::StreamEnd => break,
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                _ if found.is_some() => return Err(self.fault("a second document is not read")),
                event => found = Some(self.node(event, 0)?),
            }
        }
        match found {
            None | Some(Node { content: Content::Nothing, .. }) => {
                Ok(Node { line: 1, content: Content::Table(Vec::new()) })
            }
            Some(node) => Ok(node),
        }
    }

    fn next(&mut self) -> Result<Event<'a>, Fault> {
        match self.events.next_event() {
            Some(Ok((event, Span { start, .. }))) => {
                self.line = start.line().max(1);
                Ok(event)
            }
            Some(Err(error)) => Err(Fault { line: error.marker().line().max(1), text: "the YAML does not parse here" }),
            None => Ok(Event::StreamEnd),
        }
    }

    const fn fault(&self, text: &'static str) -> Fault {
        Fault { line: self.line, text }
    }

    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<Node, Fault> {
        let line = self.line;
        let content = match event {
            _ if depth > MAX_DEPTH => return Err(self.fault("this lies too deep")),
            Event::Alias(_) => return Err(self.fault("an alias is not read: write the value out")),
            Event::Scalar(_, _, anchor, _) | Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _)
                if anchor != 0 =>
            {
                return Err(self.fault("an anchor is not read"));
            }
            Event::Scalar(_, _, _, Some(_)) | Event::SequenceStart(_, Some(_)) | Event::MappingStart(_, Some(_)) => {
                return Err(self.fault("a tag is not read: quote what shall be text"));
            }
            Event::Scalar(text, style, ..) => scalar(&text, style),
            Event::SequenceStart(..) => Content::List(self.list(depth)?),
            Event::MappingStart(..) => Content::Table(self.table(depth)?),
            _ => return Err(self.fault("the YAML does not parse here")),
        };
        Ok(Node { line, content })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Fault> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(list),
                event => list.push(self.node(event, depth + 1)?),
            }
        }
    }

    fn table(&mut self, depth: usize) -> Result<Vec<Entry>, Fault> {
        let (mut entries, mut keys) = (Vec::new(), HashSet::new());
        loop {
            let key = match self.next()? {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(text, _, 0, None) => text.into_owned(),
                _ => return Err(self.fault("a key must be plain text")),
            };
            let line = self.line;
            if !keys.insert(key.clone()) {
                return Err(self.fault("duplicate key"));
            }
            let value = self.next()?;
            entries.push(Entry { key, line, node: self.node(value, depth + 1)? });
        }
    }
}

/// By YAML 1.2's core schema: `yes` and `on` are text.
fn scalar(text: &str, style: ScalarStyle) -> Content {
    if style != ScalarStyle::Plain {
        return Content::Text(Zeroizing::new(text.to_owned()));
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Content::Nothing,
        "true" | "True" | "TRUE" => Content::Flag(true),
        "false" | "False" | "FALSE" => Content::Flag(false),
        _ => number(text).unwrap_or_else(|| Content::Text(Zeroizing::new(text.to_owned()))),
    }
}

fn number(text: &str) -> Option<Content> {
    if let Some(digits) = text.strip_prefix("0x") {
        return i64::from_str_radix(digits, 16).ok().map(Content::Integer);
    }
    let begins = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.');
    if !text.starts_with(begins) {
        return None;
    }
    match text.parse::<i64>() {
        Ok(number) => Some(Content::Integer(number)),
        Err(_) => text.parse::<f64>().ok().map(|_| Content::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(node: &Node) -> String {
        match &node.content {
            Content::Integer(number) => number.to_string(),
            Content::Text(text) => format!("{:?}", text.as_str()),
            Content::List(list) => format!("[{}]", list.iter().map(shape).collect::<Vec<_>>().join(" ")),
            Content::Table(table) => {
                let entry = |e: &Entry| format!("{}@{}={}", e.key, e.line, shape(&e.node));
                format!("{{{}}}", table.iter().map(entry).collect::<Vec<_>>().join(" "))
            }
            other => other.name().to_owned(),
        }
    }

    #[test]
    fn yaml_and_json_become_the_same_tree() {
        let yaml = "# c\na: 1\nb:\n  - x\n  - \"2\"\nc: {d: true, e: ~}\nf: 90s\ng: 1.5\n";
        assert_eq!(
            shape(&parse(yaml).unwrap()),
            r#"{a@2=1 b@3=["x" "2"] c@6={d@6=a truth value e@6=empty} f@7="90s" g@8=a fraction}"#
        );
        let json = "{\n\t\"a\": 1,\n\t\"b\": [\"x\", \"2\"],\n\t\"c\": \"a\\/\\u00e9\"\n}";
        assert_eq!(shape(&parse_json(json).unwrap()), r#"{a@2=1 b@3=["x" "2"] c@4="a/é"}"#);
        assert_eq!(shape(&parse("").unwrap()), "{}");
    }

    #[test]
    fn what_is_not_plain_is_refused_with_its_line() {
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        for (text, line) in [
            ("a: 1\nb: *x\n", 2),
            ("a: 1\nb: &x 2\n", 2),
            ("a: !!str 2\n", 1),
            ("a: 1\na: 2\n", 2),
            ("a: 1\n---\nb: 2\n", 3),
            ("a: [1\nb: 2\n", 2),
            ("? [a]\n: 1\n", 1),
            (deep.as_str(), 1),
        ] {
            assert_eq!(parse(text).err().map(|fault| fault.line), Some(line), "{text}");
        }
        assert_eq!(parse_json("{\n\"a\": 1,\n}").err().map(|fault| fault.line), Some(3));
        assert!(parse_json("\u{feff}{}").is_ok());
        assert!(parse_json("\u{feff}\u{feff}{}").is_err() && parse_json("{}\u{feff}").is_err());
        assert!(parse_json("a: 1").is_err());
    }
}
