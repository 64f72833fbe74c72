//! Blocks and links of a Markdown document.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use tests::process::root;

use crate::gate::layout::files;

/// A document of the repository.
pub struct Document {
    /// The path from the root.
    pub file: String,
    /// The whole text.
    pub text: String,
}

/// Every Markdown document, but for those that came with schemas of others.
pub fn documents() -> Vec<Document> {
    let names = files().into_iter().filter(|file| file.ends_with(".md") && !file.starts_with("tests/schema/"));
    names.map(|file| Document { text: fs::read_to_string(root().join(&file)).expect("text"), file }).collect()
}

/// A block between fences, without the indentation of the list that it stands in.
pub struct Block {
    /// The text behind the first fence.
    pub info: String,
    /// The lines within.
    pub text: String,
}

impl Block {
    /// The first word behind the fence; a block that cannot be pasted at a gate has a second one.
    pub fn language(&self) -> &str {
        self.info.split(' ').next().unwrap_or_default()
    }
}

/// A part of a document: prose, or a block.
enum Part {
    Line(String),
    Block(Block),
}

fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut open: Option<(usize, Block)> = None;
    for line in text.lines() {
        let inside = line.trim_start();
        match &mut open {
            Some(_) if inside == "```" => parts.extend(open.take().map(|(_, block)| Part::Block(block))),
            Some((indent, block)) => {
                block.text.push_str(line.get(*indent..).unwrap_or_default());
                block.text.push('\n');
            }
            None => match inside.strip_prefix("```") {
                Some(info) => {
                    let block = Block { info: info.to_owned(), text: String::new() };
                    open = Some((line.len() - inside.len(), block));
                }
                None => parts.push(Part::Line(line.to_owned())),
            },
        }
    }
    assert!(open.is_none(), "a block has no end");
    parts
}

/// The blocks of a document.
pub fn blocks(text: &str) -> Vec<Block> {
    let all = parts(text).into_iter();
    all.filter_map(|part| match part {
        Part::Block(block) => Some(block),
        Part::Line(_) => None,
    })
    .collect()
}

/// The stretches of a document's prose outside of code, and those that are code.
fn split(text: &str) -> (Vec<&str>, Vec<&str>) {
    let (mut prose, mut code) = (Vec::new(), Vec::new());
    let mut fenced = false;
    // A paragraph is split whole: code may go on in its next line.
    for paragraph in text.split("\n\n") {
        let fences = paragraph.lines().filter(|line| line.trim_start().starts_with("```")).count();
        if fenced || fences > 0 {
            fenced ^= fences % 2 == 1;
            let outside =
                paragraph.split("```").next().filter(|_| fences > 0 && !paragraph.trim_start().starts_with("```"));
            prose.extend(outside);
            continue;
        }
        for (place, piece) in paragraph.split('`').enumerate() {
            if place % 2 == 0 { prose.push(piece) } else { code.push(piece) }
        }
    }
    (prose, code)
}

/// Code within sentences.
pub fn spans(text: &str) -> Vec<&str> {
    split(text).1
}

/// The targets of the links of a document.
pub fn links(text: &str) -> Vec<&str> {
    // Code within the text of a link is cut out with what is around it.
    let (prose, _) = split(text);
    let found = prose.iter().flat_map(|piece| piece.split("](").skip(1).filter_map(|rest| rest.split_once(')')));
    found.map(|(target, _)| target).collect()
}

/// The names by which headings are linked to, as GitHub and mdBook make them.
pub fn headings(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for part in parts(text) {
        let Part::Line(line) = part else { continue };
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let plain = title.trim().to_lowercase();
        let kept = plain.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let name: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let count = seen.entry(name.clone()).or_default();
        names.insert(if *count == 0 { name } else { format!("{name}-{count}") });
        *count += 1;
    }
    names
}
