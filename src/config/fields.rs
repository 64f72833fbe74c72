//! One table of the configuration, read by its [`Section`]: every given value
//! is checked once, by kind and bounds; what is not an option is reported.

use std::time::Duration;

use filters::secret::Secret;
use zeroize::Zeroizing;

use super::kind::{Kind, Value, Word, Wrong, word};
use super::near;
use super::node::{Content, Entry, Node};
use super::options::{Opt, Section};
use super::report::Place;
use super::source::Source;

/// A value with its place.
pub(super) struct Sited<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

/// A table of the configuration whose values were checked one by one.
pub(super) struct Fields<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) place: Place,
    section: &'static Section,
    slots: Vec<Slot<'a>>,
}

struct Slot<'a> {
    option: &'static Opt,
    place: Place,
    given: Given<'a>,
}

enum Given<'a> {
    Value(Value),
    Structure(&'a Node),
    /// It was reported.
    Wrong,
}

impl<'a> Fields<'a> {
    /// Reads `table`, and whatever the section's options have on the command
    /// line and in the environment.
    pub(super) fn new(source: &'a Source<'a>, section: &'static Section, table: Option<&'a Node>) -> Self {
        let place = table.map_or(Place::Nowhere, |node| source.line(node.line));
        let mut fields = Self { source, place, section, slots: Vec::new() };
        let entries = match table.map(|node| &node.content) {
            Some(Content::Table(entries)) => entries.as_slice(),
            Some(Content::Nothing) | None => &[],
            Some(other) => {
                let wrong = format!("`{}` is {}", section.label, other.name());
                source.findings.problem(&fields.place, wrong, "give a table");
                &[]
            }
        };
        for entry in entries {
            fields.put(entry);
        }
        for option in section.options {
            fields.override_by(option);
        }
        fields
    }

    fn put(&mut self, entry: &'a Entry) {
        let place = self.source.line(entry.line);
        let known = |option: &&Opt| {
            option.name == entry.key || entry.key.eq_ignore_ascii_case(option.name) && is_upper(&entry.key)
        };
        let Some(option) = self.section.options.iter().find(known) else {
            return self
                .source
                .findings
                .problem_with(&place, || near::unknown(&entry.key, self.section, self.source.table));
        };
        if let Some(other) = self.slot(option.name) {
            let wrong = format!("{} is given twice", self.name(option));
            return self.source.findings.problem(&place, wrong, format!("keep one; the other is at {}", other.place));
        }
        let given = self.read_entry(option, entry);
        self.slots.push(Slot { option, place, given });
    }

    fn read_entry(&self, option: &'static Opt, entry: &'a Entry) -> Given<'a> {
        if option.kind.is_structure() {
            return Given::Structure(&entry.node);
        }
        let place = self.source.line(entry.node.line);
        match option.kind.read_node(&entry.node, |line| self.source.line(line)) {
            Ok(value) => Given::Value(value),
            Err(wrong) => self.refuse(option, &place, &wrong),
        }
    }

    /// Puts the flag, else the variable, in place of what the file says.
    fn override_by(&mut self, option: &'static Opt) {
        let flag = option.flag.and_then(|name| Some((Place::Flag(name), self.source.flag(name)?)));
        let variable = || option.variable.and_then(|name| Some((Place::Variable(name), self.source.variable(name)?)));
        let Some((place, text)) = flag.or_else(variable) else { return };
        let given = match option.kind {
            Kind::Keys => Given::Value(Value::Text(text)),
            kind => match kind.read_text(&text, &place) {
                Ok(value) => Given::Value(value),
                Err(wrong) => self.refuse(option, &place, &wrong),
            },
        };
        self.slots.retain(|slot| slot.option.name != option.name);
        self.slots.push(Slot { option, place, given });
    }

    fn refuse(&self, option: &Opt, place: &Place, wrong: &Wrong) -> Given<'a> {
        self.source.findings.problem(place, format!("{} {}", self.name(option), wrong.0), option.kind.mend());
        Given::Wrong
    }

    fn name(&self, option: &Opt) -> String {
        self.label(option.name)
    }

    /// The option's full name, as it stands in problems.
    pub(super) fn label(&self, name: &str) -> String {
        match self.section.label {
            "" => format!("`{name}`"),
            label => format!("`{label}.{name}`"),
        }
    }

    /// Notes a problem with the option `name`.
    pub(super) fn problem(&self, name: &str, place: &Place, wrong: &str, mend: &str) {
        self.source.findings.problem(place, format!("{} {wrong}", self.label(name)), mend);
    }

    fn slot(&self, name: &str) -> Option<&Slot<'a>> {
        self.slots.iter().find(|slot| slot.option.name == name)
    }

    /// True where it is given, be it wrong.
    pub(super) fn given(&self, name: &str) -> bool {
        self.slot(name).is_some()
    }

    /// Where it is given.
    pub(super) fn place_of(&self, name: &str) -> Place {
        self.slot(name).map_or_else(|| self.place.clone(), |slot| slot.place.clone())
    }

    /// Reports it where it is missing.
    pub(super) fn require(&self, name: &str) {
        let described = self.section.options.iter().find(|option| option.name == name);
        if let Some(option) = described.filter(|_| !self.given(name)) {
            let about = option.text.trim_end_matches("; required.");
            self.problem(name, &self.place, "is missing", &format!("give it: {about}"));
        }
    }

    /// The value given, else the default.
    fn value(&self, name: &str) -> Option<Sited<Value>> {
        if let Some(Slot { place, given: Given::Value(value), .. }) = self.slot(name) {
            return Some(Sited { place: place.clone(), value: value.clone() });
        }
        let Some(option) = self.section.options.iter().find(|option| option.name == name) else {
            self.problem(
                name,
                &Place::Nowhere,
                "is read but not described",
                "this is a defect of the program: report it",
            );
            return None;
        };
        if option.default.is_empty() || option.default.starts_with(' ') {
            return None;
        }
        let value = option.kind.read_text(option.default, &Place::Nowhere).ok()?;
        Some(Sited { place: self.place.clone(), value })
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.value(name)?.value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        match self.value(name)?.value {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    pub(super) fn size(&self, name: &str) -> Option<usize> {
        usize::try_from(self.number(name)?).ok()
    }

    /// A duration; its default is there, so zero stands for nothing.
    pub(super) fn time(&self, name: &str) -> Duration {
        match self.value(name) {
            Some(Sited { value: Value::Time(time), .. }) => time,
            _ => Duration::ZERO,
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<Sited<String>> {
        let found = self.value(name)?;
        match found.value {
            Value::Text(text) => Some(Sited { place: found.place, value: text.to_string() }),
            _ => None,
        }
    }

    pub(super) fn secret(&self, name: &str) -> Option<Sited<Secret>> {
        let mut found = self.value(name)?;
        match &mut found.value {
            Value::Text(text) => Some(Sited { value: Secret::new(std::mem::take(&mut **text)), place: found.place }),
            _ => None,
        }
    }

    pub(super) fn words(&self, name: &str) -> Vec<Word> {
        match self.value(name) {
            Some(Sited { value: Value::Words(words), .. }) => words,
            _ => Vec::new(),
        }
    }

    /// The text of [`Kind::Keys`], as it stood in a variable.
    pub(super) fn raw_text(&self, name: &str) -> Option<&Zeroizing<String>> {
        match &self.slot(name)?.given {
            Given::Value(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The file's tree below it.
    pub(super) fn structure(&self, name: &str) -> Option<&'a Node> {
        match &self.slot(name)?.given {
            Given::Structure(node) => Some(node),
            _ => None,
        }
    }

    /// A section, empty where it is not given.
    pub(super) fn table(&self, name: &str, section: &'static Section) -> Fields<'a> {
        Fields::new(self.source, section, self.structure(name))
    }

    /// A list of sections; one table counts as a list of one.
    pub(super) fn tables(&self, name: &str, section: &'static Section) -> Vec<Fields<'a>> {
        match self.structure(name) {
            Some(Node { content: Content::List(list), .. }) => {
                list.iter().map(|node| Fields::new(self.source, section, Some(node))).collect()
            }
            Some(node) => vec![Fields::new(self.source, section, Some(node))],
            None => Vec::new(),
        }
    }

    /// A list of texts and of tables of `section`, each of which has a text by `name` and comes with it.
    pub(super) fn grants(&self, name: &str, section: &'static Section) -> Vec<(Word, Option<Self>)> {
        let Some(node) = self.structure(name) else { return Vec::new() };
        let place = |line| self.source.line(line);
        let read = |node: &'a Node| match &node.content {
            Content::Table(_) => {
                let table = Fields::new(self.source, section, Some(node));
                table.require("name");
                let named = table.text("name").map(|Sited { place, value }| Word { place, text: value });
                Ok(named.map(|word| (word, Some(table))))
            }
            _ => word(node, place).map(|word| Some((word, None))),
        };
        let found = match (&node.content, Kind::Words.read_node(node, place)) {
            (Content::List(list), _) => list.iter().filter_map(|node| read(node).transpose()).collect(),
            (_, Ok(Value::Words(words))) => Ok(words.into_iter().map(|word| (word, None)).collect()),
            (content, _) => Err(Wrong(format!("is {}", content.name()))),
        };
        found.unwrap_or_else(|wrong| {
            self.problem(name, &place(node.line), &wrong.0, &Kind::Grants.mend());
            Vec::new()
        })
    }

    /// Sections by name.
    pub(super) fn named(&self, name: &str, section: &'static Section) -> Vec<(Sited<&'a str>, Fields<'a>)> {
        let Some(node) = self.structure(name) else { return Vec::new() };
        let entries = match &node.content {
            Content::Table(entries) => entries.as_slice(),
            Content::Nothing => &[],
            other => {
                self.problem(
                    name,
                    &self.source.line(node.line),
                    &format!("is {}", other.name()),
                    "give a table of named tables",
                );
                &[]
            }
        };
        let read = |entry: &'a Entry| {
            let key = Sited { place: self.source.line(entry.line), value: entry.key.as_str() };
            let mut fields = Fields::new(self.source, section, Some(&entry.node));
            fields.place = key.place.clone();
            (key, fields)
        };
        entries.iter().map(read).collect()
    }
}

fn is_upper(key: &str) -> bool {
    !key.bytes().any(|b| b.is_ascii_lowercase())
}
