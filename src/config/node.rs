//! The text of a configuration file as one tree, whatever its format, in
//! which everything knows its line.

use std::path::Path;

use zeroize::Zeroizing;

use super::{from_toml, from_yaml};

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

/// What a value is. Not `Debug`: it may be a secret.
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
    /// What it is, in a problem's text.
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

/// A format of configuration files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Toml,
    Json,
    Yaml,
}

impl Format {
    /// By the extension of the file's name.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "toml" => Some(Self::Toml),
            "json" => Some(Self::Json),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }

    /// Reads `text`, whose top is a table.
    ///
    /// # Errors
    /// Every [`Fault`] found, at least one.
    pub(super) fn parse(self, text: &str) -> Result<Node, Vec<Fault>> {
        match self {
            Self::Toml => from_toml::parse(text),
            Self::Json => from_yaml::parse_json(text).map_err(|fault| vec![fault]),
            Self::Yaml => from_yaml::parse(text).map_err(|fault| vec![fault]),
        }
    }
}
