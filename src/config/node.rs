//! The text of a configuration file as one tree, whatever its format, in
//! which everything knows its line.

use zeroize::Zeroizing;

/// A value and the line on which it begins, counted from 1; in a second file
/// from where the lines of the first cannot reach.
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) content: Content,
}

impl Node {
    /// Counts its lines, and those of all below it, from `lines` on.
    pub(super) fn move_by(&mut self, lines: usize) {
        self.line += lines;
        match &mut self.content {
            Content::List(list) => list.iter_mut().for_each(|node| node.move_by(lines)),
            Content::Table(entries) => entries.iter_mut().for_each(|entry| {
                entry.line += lines;
                entry.node.move_by(lines);
            }),
            _ => {}
        }
    }
}

/// The content of a value. Not `Debug`: it may be a secret.
pub(super) enum Content {
    /// YAML's and JSON's null.
    Nothing,
    Flag(bool),
    Integer(i64),
    Text(Zeroizing<String>),
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// A fraction: nothing that an option takes.
    Other,
}

/// A key and its value.
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) node: Node,
}

impl Content {
    /// The word for it in a problem's text.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Nothing => "empty",
            Self::Flag(_) => "a truth value",
            Self::Integer(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other => "a fraction",
        }
    }
}

/// A place where the text does not parse. The text never quotes the file.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) text: &'static str,
}
