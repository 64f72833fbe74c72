//! A configuration by its names, without the values, so that two
//! can be compared and the difference told.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;

use filters::secret::Digest;
use zeroize::Zeroizing;

use super::node::{Content, Node};

/// Most names that are told of one kind of change.
const MOST_NAMES: usize = 20;

/// A digest of what stands under each name: options, what tables of the file's
/// top hold (`agents.ci`), and files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline(BTreeMap<Box<str>, Digest>);

/// The names that stand in one configuration and not in another.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names<'a>(pub Vec<&'a str>);

/// The difference of a configuration from the one before.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes<'a> {
    /// The names that are new.
    pub added: Names<'a>,
    /// The names that are gone.
    pub removed: Names<'a>,
    /// The names that are in both, with other values.
    pub changed: Names<'a>,
}

impl Outline {
    /// Of a configuration file's tree.
    pub(super) fn of(tree: &Node) -> Self {
        let mut outline = Self::default();
        let Content::Table(top) = &tree.content else { return outline };
        for entry in top {
            let key = entry.key.to_ascii_lowercase();
            match &entry.node.content {
                Content::Table(members) => {
                    for member in members {
                        outline.add(format!("{key}.{}", member.key), &bytes_of(&member.node));
                    }
                }
                _ => outline.add(key, &bytes_of(&entry.node)),
            }
        }
        outline
    }

    /// Adds a file that the configuration is made of or names, by its path.
    pub fn add_file(&mut self, path: &Path, digest: Digest) {
        self.0.insert(path.to_string_lossy().into(), digest);
    }

    fn add(&mut self, name: String, bytes: &[u8]) {
        self.0.insert(name.into(), Digest::of(bytes));
    }

    /// The difference from the one `before`.
    #[must_use]
    pub fn changes<'a>(&'a self, before: &'a Self) -> Changes<'a> {
        let told = |own: &'a Self, other: &Self, is: fn(&Digest, Option<&Digest>) -> bool| {
            let names = own.0.iter().filter(|(name, digest)| is(digest, other.0.get(*name)));
            Names(names.map(|(name, _)| &**name).collect())
        };
        Changes {
            added: told(self, before, |_, was| was.is_none()),
            removed: told(before, self, |_, now| now.is_none()),
            changed: told(self, before, |now, was| was.is_some_and(|was| was != now)),
        }
    }
}

impl fmt::Display for Names<'_> {
    /// As many names as a line of the log bears, and how many more there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().take(MOST_NAMES).enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            // A key may hold what would end the line.
            name.chars().filter(|letter| !letter.is_control()).try_for_each(|letter| f.write_char(letter))?;
        }
        match self.0.len().saturating_sub(MOST_NAMES) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// The value as bytes that no other value has; they may hold secrets.
fn bytes_of(node: &Node) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::default();
    write(node, &mut bytes);
    bytes
}

fn write(node: &Node, out: &mut Vec<u8>) {
    let mut sized = |kind: u8, bytes: &[u8]| {
        out.push(kind);
        out.extend_from_slice(&bytes.len().to_le_bytes());
        out.extend_from_slice(bytes);
    };
    match &node.content {
        Content::Nothing | Content::Other => sized(b'n', &[]),
        Content::Flag(flag) => sized(b'b', &[u8::from(*flag)]),
        Content::Integer(number) => sized(b'i', &number.to_le_bytes()),
        Content::Text(text) => sized(b't', text.as_bytes()),
        Content::List(list) => {
            sized(b'l', &list.len().to_le_bytes());
            list.iter().for_each(|node| write(node, out));
        }
        Content::Table(entries) => {
            sized(b'o', &entries.len().to_le_bytes());
            for entry in entries {
                write_key(&entry.key, out);
                write(&entry.node, out);
            }
        }
    }
}

fn write_key(key: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&key.len().to_le_bytes());
    out.extend_from_slice(key.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::format::Format;
    use super::*;

    fn outline(text: &str) -> Outline {
        Outline::of(&Format::Toml.parse(text).unwrap_or_else(|_| panic!("it parses")))
    }

    #[test]
    fn a_difference_is_told_by_names_alone() {
        let before = outline("reload = true\n[limits]\nbody = \"1MiB\"\n[agents.a]\nroles = [\"x\"]\n[agents.b]\n");
        let after = outline("[agents.c]\n[agents.a]\nroles = [\"x\", \"y\"]\n[limits]\nbody = \"1MiB\"\n[agents.b]\n");
        let changes = after.changes(&before);
        assert_eq!(changes.added, Names(vec!["agents.c"]));
        assert_eq!(changes.removed, Names(vec!["reload"]));
        assert_eq!(changes.changed, Names(vec!["agents.a"]));
        assert_eq!(before.changes(&before.clone()), Changes::default());
    }

    #[test]
    fn what_is_split_otherwise_is_another_value() {
        let [one, two] = ["a = [\"bc\", \"\"]", "a = [\"b\", \"c\"]"].map(outline);
        assert_eq!(one.changes(&two).changed, Names(vec!["a"]));
        let [one, two] = ["a = [[1], 2]", "a = [[1, 2]]"].map(outline);
        assert_eq!(one.changes(&two).changed, Names(vec!["a"]));
        let [one, two] = ["a = 1", "a = \"1\""].map(outline);
        assert_eq!(one.changes(&two).changed, Names(vec!["a"]));
    }

    #[test]
    fn files_are_told_by_their_paths() {
        let (mut before, mut after) = (Outline::default(), Outline::default());
        before.add_file(Path::new("tls/server.crt"), Digest::of(b"one"));
        after.add_file(Path::new("tls/server.crt"), Digest::of(b"two"));
        assert_eq!(after.changes(&before).changed.to_string(), "tls/server.crt");
    }

    #[test]
    fn a_line_of_the_log_bears_twenty_names_and_stays_one() {
        let names: Vec<String> = (0..10_000).map(|number| format!("agents.a{number}")).collect();
        let told = Names(names.iter().map(String::as_str).collect()).to_string();
        assert!(told.starts_with("agents.a0, agents.a1, "), "{told}");
        assert!(told.ends_with("agents.a19 and 9980 more"), "{told}");
        assert_eq!(Names(vec!["a\nb"]).to_string(), "ab");
        assert_eq!(Names::default().to_string(), "");
    }
}
